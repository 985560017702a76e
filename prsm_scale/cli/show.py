"""``prsm-scale show``: show a stored run."""

from __future__ import annotations

from typing import Any

import click

from prsm_scale.cli import PROGRAM
from prsm_scale.cli.options import SectionCommand, SectionOption, threshold_options
from prsm_scale.cli.output import check_figure, load_run, print_json, print_run, write_figure
from prsm_scale.errors import UsageError
from prsm_scale.loads import holds_loads


def _show(run: str, as_json: bool, plot: str | None, **options: Any) -> None:
    from prsm_scale.analysis.thresholds import Thresholds

    given = {name: value for name, value in options.items() if value is not None}
    thresholds = Thresholds(**given)
    if plot:
        check_figure(plot)
    stored = load_run(run)
    over_load = holds_loads(stored.provenance["sweep"])
    if over_load and given:
        raise UsageError.gather(
            UsageError(name, value, "only for a run over the number of nodes") for name, value in given.items()
        )
    if not stored.finished:
        maker = "load" if over_load else "sweep"
        click.echo(f"unfinished; go on with: {PROGRAM} {maker} --resume {stored.path}", err=True)
    if as_json:
        print_json(stored, over_load, thresholds)
    else:
        print_run(stored, over_load, thresholds)
    if plot:
        write_figure(stored, plot, over_load)


command = SectionCommand(
    "show",
    params=[
        click.Argument(["run"]),
        SectionOption(["--json", "as_json"], is_flag=True, help="print one JSON document in place of tables"),
        SectionOption(["--plot"], metavar="FILE", help="write a figure as well (.png, .svg or .pdf)"),
        *threshold_options(),
    ],
    callback=_show,
    help="""Show a stored run: its table, plot, fitted curves and findings.

    RUN is the run's folder, or its name where it lies in results/.""",
)
