"""``prsm-scale history``: the runs of a folder, and where their metrics go."""

from __future__ import annotations

import click

from prsm_scale.atomic import dumps
from prsm_scale.cli import PROGRAM
from prsm_scale.cli.output import terminal

_HELP = """List the runs of a folder, oldest first, and the trends of their metrics.

    DIRECTORY is the folder that holds the runs [results].

    \b
    prsm-scale history
    prsm-scale history scaling_test_results --name comprehensive_scaling --metric p99_latency_ms

    A trend is of runs that hold the same scenarios. It is told from ranks, so that a single outlier makes none.
"""


@click.command("history", help=_HELP)
@click.argument("directory", default="results")
@click.option("--metric", metavar="TEXT", help="columns to follow, separated by commas [throughput, latencies and success]")
@click.option("--name", metavar="TEXT", help="only runs of the configuration of this name")
@click.option("--limit", type=click.IntRange(min=1), metavar="NUMBER", help="only so many of the newest")
@click.option("--json", "as_json", is_flag=True, help="print one JSON document in place of tables")
def command(directory: str, metric: str | None, name: str | None, limit: int | None, as_json: bool) -> None:
    """List the runs of a folder, oldest first, and the trends of their metrics."""
    from prsm_scale.analysis.history import HEADLINES, history

    metrics = tuple(part.strip() for part in metric.split(",")) if metric else HEADLINES
    found = history(directory, metrics, name, limit)
    for line in found.damaged:
        click.echo(f"{PROGRAM}: left out: {line}", err=True)
    if as_json:
        click.echo(dumps(found.document(), indent=1))
        return
    from prsm_scale.report.history import history_parts

    console = terminal()
    for part in history_parts(found):
        console.print(part)
