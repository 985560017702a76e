"""``prsm-scale fit``: fit the curves of a stored run again."""

from __future__ import annotations

import click

from prsm_scale.atomic import dumps
from prsm_scale.cli.output import load_run, terminal
from prsm_scale.report.series import records, split


@click.command("fit")
@click.argument("run")
@click.option("--json", "as_json", is_flag=True, help="print one JSON document in place of tables")
def command(run: str, as_json: bool) -> None:
    """Fit the curves of a stored run, finished or not, and show all laws that were tried.

    RUN is the run's folder, or its name where it lies in results/. Nothing is written to it.
    """
    from prsm_scale.analysis.sweep_fits import fit_scenarios
    from prsm_scale.columns import FIT_COLUMNS
    from prsm_scale.report.fits import fit_summary, fit_table
    from prsm_scale.store import frame

    stored = load_run(run)
    fits = records(frame(fit_scenarios(stored.scenarios), FIT_COLUMNS))
    if as_json:
        click.echo(dumps({"run": stored.path.name, "fits": fits}, indent=1))
        return
    console = terminal()
    for series in split(records(stored.scenarios), fits):
        if series.fits:
            console.print(fit_table(series))
            console.print()
            console.print(fit_summary(series))
            console.print()
    if not fits:
        console.print("nothing to fit: a curve needs scenarios at two or more n")
    else:
        console.print("* smallest AICc; [95 % bootstrap intervals]; misfit: root mean square of log residuals")
