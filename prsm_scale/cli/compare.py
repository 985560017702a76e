"""``prsm-scale compare``: what got worse and what got better from one run to another."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from prsm_scale.atomic import dumps
from prsm_scale.cli.output import load_run, terminal
from prsm_scale.errors import UsageError

if TYPE_CHECKING:
    from prsm_scale.store import StoredRun

REGRESSED = 3


_HELP = """Find what got worse and what got better from one run to another, scenario by scenario.

    BEFORE and AFTER are runs: folders, files of results, or names of either in results/.

    \b
    prsm-scale compare RUN RUN
    prsm-scale compare RUN --against last --json

    Scenarios of the same version and seed have to be equal; others differ where a change passes the tolerance and is significant.
    Exits with 3 if anything got worse.
"""


@click.command("compare", help=_HELP)
@click.argument("runs", nargs=-1, metavar="[BEFORE] AFTER")
@click.option("--against", type=click.Choice(["last"]), help="take the last run of the same configuration as BEFORE")
@click.option("--tolerance", type=float, default=0.02, show_default=True, help="smallest relative change that counts")
@click.option("--metrics", metavar="TEXT", help="columns to compare, separated by commas [throughput, latencies, success, costs]")
@click.option("--out", metavar="FOLDER", default="results", show_default=True, help="where runs lie that are given by name")
@click.option("--all", "everything", is_flag=True, help="list what is unchanged or not comparable as well")
@click.option("--json", "as_json", is_flag=True, help="print one JSON document in place of tables")
def command(
    runs: tuple[str, ...],
    against: str | None,
    tolerance: float,
    metrics: str | None,
    out: str,
    everything: bool,
    as_json: bool,
) -> None:
    """Find what got worse and what got better from one run to another, scenario by scenario."""
    from prsm_scale.analysis.compare import DEFAULT_METRICS, check_request, compare

    columns = tuple(part.strip() for part in metrics.split(",")) if metrics else DEFAULT_METRICS
    check_request(tolerance, columns)
    before, after = _two(runs, against, out)
    comparison = compare(before, after, tolerance, columns)
    if not comparison.changes:
        raise UsageError("runs", f"{before.path}, {after.path}", "two runs that share a scenario, whatever its seed")
    if as_json:
        ends = {name: _told(run) for name, run in (("before", before), ("after", after))}
        click.echo(dumps(ends | comparison.document(), indent=1))
    else:
        from prsm_scale.report.comparison import comparison_parts

        console = terminal()
        for name, run in (("before", before), ("after ", after)):
            unfinished = "" if run.finished else ", unfinished"
            console.print(f"{name} {run.path}, version {_told(run)['version']}{unfinished}", soft_wrap=True)
        console.print()
        for part in comparison_parts(comparison, everything):
            console.print(part)
    if comparison.regressions:
        raise click.exceptions.Exit(REGRESSED)


def _two(runs: tuple[str, ...], against: str | None, out: str) -> tuple[StoredRun, StoredRun]:
    wanted = 1 if against else 2
    if len(runs) != wanted:
        allowed = "one run with --against last" if against else "two runs, or one with --against last"
        raise UsageError("runs", " ".join(runs), allowed)
    loaded = [load_run(name, out) for name in runs]
    if against:
        from prsm_scale.analysis.history import earlier

        loaded.insert(0, earlier(loaded[0]))
    return loaded[0], loaded[1]


def _told(run: StoredRun) -> dict[str, str | bool | None]:
    held = run.provenance
    return {
        "run": held["run_id"],
        "path": str(run.path),
        "created_utc": held.get("created_utc"),
        "version": held.get("prsm_scale"),
        "finished": run.finished,
    }
