"""``prsm-scale faults``: what crashes, partitions and bursts of loss do to a running system, and how long it takes to recover."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from prsm_scale.atomic import dumps
from prsm_scale.axes import Engine
from prsm_scale.cli.options import SectionCommand, SectionOption, given_settings, one_scenario, scenario_options
from prsm_scale.cli.output import check_figure, command_line, print_plan, terminal
from prsm_scale.cli.progress import ProgressLine
from prsm_scale.config import Scenario, read_config
from prsm_scale.fault_scripts import FaultScript, choose, load_fault_scripts

if TYPE_CHECKING:
    from prsm_scale.fault_runs import FaultRun

DEFAULT_NODES = 16
_RATE = "80 in the time-out of a view, at most a fifth of the capacity"
_OF_NO_USE = ("engine", "operations", "precision", "warmup")
"""Settings of tests that have a steady state."""
_HELP = {
    "nodes": f"replicas [{DEFAULT_NODES}]",
    "rate": f"operations offered per second [{_RATE}]",
    "duration_s": "length of the test in virtual seconds [the script's, else 60]",
}
_OPTIONS = (
    SectionOption(["--only"], metavar="NAMES", help="scripts to run, separated by commas [all]"),
    SectionOption(["--script"], metavar="FILE", help="TOML file with scripts of your own, in place of the ready ones"),
    SectionOption(["--list", "listing"], is_flag=True, help="list the scripts and stop"),
    SectionOption(["--config"], metavar="FILE", help="TOML file of settings; options go before it"),
    SectionOption(["--out"], metavar="FOLDER", default="results", help="where runs are stored [results]"),
    SectionOption(["--threads"], type=click.IntRange(min=1), help="threads to use [one per processor]"),
    SectionOption(["--dry-run"], is_flag=True, help="check all, list what would happen when, and stop"),
    SectionOption(["--json", "as_json"], is_flag=True, help="print one JSON document in place of tables"),
    SectionOption(["--plot"], metavar="FILE", help="write a figure as well (.png, .svg or .pdf)"),
    SectionOption(["--quiet", "-q"], is_flag=True, help="no progress, and the run's folder in place of tables"),
)


def _run(
    only: str | None,
    script: str | None,
    listing: bool,
    config: str | None,
    out: str,
    threads: int | None,
    dry_run: bool,
    as_json: bool,
    plot: str | None,
    quiet: bool,
    **options: Any,
) -> None:
    scripts = choose(load_fault_scripts(script), only)
    if listing:
        _list(scripts, as_json)
        return
    given = (read_config(config) if config else {}) | given_settings(options)
    if plot:
        check_figure(plot)
    scenario = _scenario(given)
    if "duration_s" in given:
        scripts = [one.lasting(scenario.duration_s) for one in scripts]
    if dry_run:
        _print_plan(scenario, scripts, as_json)
        return
    runs = _simulate(scenario, scripts, threads, quiet)
    from prsm_scale.fault_runs import save_fault_runs

    path = save_fault_runs(runs, out, command_line())
    if as_json:
        click.echo(dumps(_document(runs, path), indent=1))
    elif quiet:
        click.echo(path)
    else:
        _print(runs, path)
    if plot:
        from prsm_scale.report.fault_timeline import save_timelines

        save_timelines(runs, plot)
        click.echo(f"figure in {plot}", err=True)


def _scenario(given: dict[str, Any]) -> Scenario:
    """Make the scenario, with a rate that suits it where none is given."""
    scenario = one_scenario(given | {"engine": Engine.EVENTS}, {"nodes": DEFAULT_NODES})
    if given.keys() & {"rate", "clients"}:
        return scenario
    from prsm_scale.fault_runs import sensible_rate

    return one_scenario(given | {"engine": Engine.EVENTS, "rate": sensible_rate(scenario)}, {"nodes": DEFAULT_NODES})


def _simulate(scenario: Scenario, scripts: Sequence[FaultScript], threads: int | None, quiet: bool) -> list[FaultRun]:
    from prsm_scale.fault_runs import run_scripts

    total = len(scripts) * scenario.replicates
    told = f"n = {scenario.nodes}; {', '.join(one.name for one in scripts)}; {scenario.replicates} replicates each"
    with ProgressLine(total, quiet, told) as progress:
        return run_scripts(scenario, scripts, threads, progress)


def _list(scripts: Sequence[FaultScript], as_json: bool) -> None:
    if as_json:
        click.echo(dumps({"scripts": [one.model_dump(mode="json", exclude_defaults=True) for one in scripts]}, indent=1))
        return
    from prsm_scale.report.tables import plain_table

    rows = [(one.name, one.about) for one in scripts]
    terminal().print(plain_table(("script", "what happens"), rows, left=("script", "what happens"), wrap=("what happens",)))


def _print_plan(scenario: Scenario, scripts: Sequence[FaultScript], as_json: bool) -> None:
    """Print who does what when, in the first replicate."""
    from prsm_scale.fault_runs import plan_scripts

    planned = plan_scripts(scenario, scripts)
    if as_json:
        held = [one.model_dump(mode="json", exclude_defaults=True) for one in scripts]
        print_plan([planned.scenario], "", True, scripts=held, view_timeout_ms=planned.timing.view_timeout_ms)
        return
    from prsm_scale.report.fault_table import plan_table

    console = terminal()
    console.print(plan_table(planned))
    console.print(
        f"T = {planned.timing.view_timeout_ms / 1000.0:.4g} s; {scenario.replicates} replicates of each", soft_wrap=True
    )


def _print(runs: Sequence[FaultRun], path: Path) -> None:
    from prsm_scale.report.fault_table import fault_notes, fault_table, scene, spark_lines

    console = terminal()
    console.print(scene(runs[0]), soft_wrap=True)
    console.print()
    console.print(fault_table(runs))
    for note in fault_notes(runs):
        console.print(note)
    console.print()
    console.print(spark_lines(runs))
    console.print()
    console.print(f"{len(runs)} script{'s' * (len(runs) != 1)} in {path}", soft_wrap=True)


def _document(runs: Sequence[FaultRun], path: Path) -> dict[str, Any]:
    from prsm_scale.columns import validate_rows
    from prsm_scale.fault_columns import FAULT_COLUMNS

    rows = [{**row, "run_id": path.name} for run in runs for row in run.rows]
    return {"run": path.name, "path": str(path), "faults": validate_rows(rows, FAULT_COLUMNS)}


command = SectionCommand(
    "faults",
    params=[*scenario_options(_OF_NO_USE, _HELP), *_OPTIONS],
    callback=_run,
    help="""Run a system under fault scripts: how far it falls, and how long it takes to recover.

    \b
    prsm-scale faults
    prsm-scale faults --only primary_crash,half_partition --nodes 31 --network lan --plot faults.png
    prsm-scale faults --script mine.toml --rate 20 --byzantine 0.1 --behaviour delay

    The ready scripts run unless --script names others; docs/fault_scripts.md has their grammar, and defines what is
    measured. T is the time-out of a view.""",
)
