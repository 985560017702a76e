"""``prsm-scale show``: show a stored run."""

from __future__ import annotations

import click

from prsm_scale.cli import PROGRAM
from prsm_scale.cli.output import check_figure, load_run, print_json, print_run, write_figure
from prsm_scale.loads import holds_loads


@click.command("show")
@click.argument("run")
@click.option("--json", "as_json", is_flag=True, help="print one JSON document in place of tables")
@click.option("--plot", metavar="FILE", help="write a figure as well (.png, .svg or .pdf)")
def command(run: str, as_json: bool, plot: str | None) -> None:
    """Show a stored run: its table, plot and fitted curves.

    RUN is the run's folder, or its name where it lies in results/.
    """
    if plot:
        check_figure(plot)
    stored = load_run(run)
    over_load = holds_loads(stored.provenance["sweep"])
    if not stored.finished:
        maker = "load" if over_load else "sweep"
        click.echo(f"unfinished; go on with: {PROGRAM} {maker} --resume {stored.path}", err=True)
    if as_json:
        print_json(stored, over_load)
    else:
        print_run(stored, over_load)
    if plot:
        write_figure(stored, plot, over_load)
