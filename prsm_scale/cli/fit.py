"""``prsm-scale fit``: fit the curves of a stored run again."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

import click

from prsm_scale.atomic import dumps
from prsm_scale.cli.output import load_run, series_over_load, terminal
from prsm_scale.columns import records
from prsm_scale.loads import holds_loads
from prsm_scale.report.series import split

if TYPE_CHECKING:
    from rich.console import RenderableType

    from prsm_scale.store import StoredRun


@click.command("fit")
@click.argument("run")
@click.option("--json", "as_json", is_flag=True, help="print one JSON document in place of tables")
def command(run: str, as_json: bool) -> None:
    """Fit the curves of a stored run, finished or not, and show all laws that were tried.

    RUN is the run's folder, or its name where it lies in results/. Nothing is written to it.
    """
    from prsm_scale.analysis.load_curve import fit_load_curves
    from prsm_scale.analysis.sweep_fits import fit_scenarios
    from prsm_scale.columns import FIT_COLUMNS
    from prsm_scale.store import frame

    stored = load_run(run)
    over_load = holds_loads(stored.provenance["sweep"])
    fit = fit_load_curves if over_load else fit_scenarios
    refitted = replace(stored, fits=frame(fit(stored.scenarios), FIT_COLUMNS))
    if as_json:
        click.echo(dumps({"run": stored.path.name, "fits": records(refitted.fits)}, indent=1))
        return
    console = terminal()
    if refitted.fits.empty:
        console.print(f"nothing to fit: a curve needs scenarios at {'some load' if over_load else 'two or more n'}")
    for part in _over_load(refitted) if over_load else _over_nodes(refitted):
        console.print(part)


def _over_nodes(run: StoredRun) -> Iterator[RenderableType]:
    from prsm_scale.report.fits import fit_summary, fit_table

    for series in split(records(run.scenarios), records(run.fits)):
        if series.fits:
            yield from (fit_table(series), "", fit_summary(series), "")
    if len(run.fits):
        yield "* smallest AICc; [95 % bootstrap intervals]; misfit: root mean square of log residuals"


def _over_load(run: StoredRun) -> Iterator[RenderableType]:
    from prsm_scale.report.load_curve import load_summary

    for series in series_over_load(run):
        if series.fits:
            yield from (load_summary(series), "")
    if len(run.fits):
        yield "[95 % bootstrap intervals]; misfit: root mean square of log residuals"
