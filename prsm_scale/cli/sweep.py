"""``prsm-scale sweep``: simulate a grid of scenarios."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from prsm_scale.atomic import dumps
from prsm_scale.axes import Environment
from prsm_scale.cli import INTERRUPTED, PROGRAM
from prsm_scale.cli.options import SectionCommand, SectionOption, given_settings, setting_options
from prsm_scale.cli.output import (
    Run,
    check_figure,
    load_run,
    print_json,
    print_run,
    run_folder,
    terminal,
    write_figure,
)
from prsm_scale.cli.progress import ProgressLine
from prsm_scale.config import AXES, Scenario, Sweep, load_sweep
from prsm_scale.errors import SweepInterrupted

_MOST_POINTS = 12
_RUN_OPTIONS = (
    SectionOption(["--config"], metavar="FILE", help="TOML file of settings; options go before it"),
    SectionOption(["--out"], metavar="FOLDER", default="results", help="where runs are stored [results]"),
    SectionOption(["--resume"], metavar="RUN", help="go on with this run, by its own settings unless others are given"),
    SectionOption(["--threads"], type=click.IntRange(min=1), help="threads to use [one per processor]"),
    SectionOption(["--dry-run"], is_flag=True, help="list the scenarios and stop"),
    SectionOption(["--json", "as_json"], is_flag=True, help="print one JSON document in place of tables"),
    SectionOption(["--plot"], metavar="FILE", help="write a figure as well (.png, .svg or .pdf)"),
    SectionOption(["--quiet", "-q"], is_flag=True, help="no progress, and the run's folder in place of tables"),
)


def _run(
    config: str | None,
    out: str,
    resume: str | None,
    threads: int | None,
    dry_run: bool,
    as_json: bool,
    plot: str | None,
    quiet: bool,
    **options: Any,
) -> None:
    sweep = _read(config, out, resume, given_settings(options))
    if plot:
        check_figure(plot)
    scenarios = sweep.scenarios()
    if dry_run:
        _print_plan(scenarios, as_json)
        return
    folder = run_folder(resume, out) if resume else None
    run = _simulate(sweep, scenarios, Path(out), folder, threads, quiet)
    if as_json:
        print_json(run)
    elif quiet:
        click.echo(run.path)
    else:
        print_run(run)
    if plot:
        write_figure(run, plot)


def _read(config: str | None, out: str, resume: str | None, settings: Mapping[str, Any]) -> Sweep:
    if config:
        return load_sweep(config, **settings)
    if resume and not settings:
        return Sweep(**load_run(resume, out).provenance["sweep"])
    return Sweep(**settings)


def _announcement(scenarios: Sequence[Scenario]) -> str:
    points = [str(count) for count in sorted({one.nodes for one in scenarios})]
    if len(points) > _MOST_POINTS:
        points[_MOST_POINTS - 2 : -1] = ["..."]
    return f"nodes {', '.join(points)}; scenarios: {len(scenarios)}"


def _print_plan(scenarios: Sequence[Scenario], as_json: bool) -> None:
    if any(one.environment == Environment.MULTI_REGION_CLOUD for one in scenarios):
        from prsm_scale.environments import check_regions

        check_regions(scenarios)
    if as_json:
        plan = [one.model_dump(mode="json") | {"scenario_id": one.scenario_id} for one in scenarios]
        click.echo(dumps({"scenarios": plan}, indent=1))
        return
    from prsm_scale.report.tables import plain_table

    values = {name: [str(getattr(one, name)) for one in scenarios] for name in ("nodes", *AXES[:-1])}
    shown = [name for name in values if name == "nodes" or len(set(values[name])) > 1]
    rows = zip(*(values[name] for name in shown), (one.scenario_id for one in scenarios), strict=True)
    table = plain_table((*shown, "scenario_id"), list(rows), left=(*shown[1:], "scenario_id"))
    console = terminal()
    console.print(table)
    console.print(_announcement(scenarios), soft_wrap=True)


def _simulate(
    sweep: Sweep, scenarios: Sequence[Scenario], out: Path, folder: Path | None, threads: int | None, quiet: bool
) -> Run:
    from prsm_scale.runs import run_sweep

    command = shlex.join([PROGRAM, *sys.argv[1:]])
    try:
        with ProgressLine(len(scenarios), quiet, _announcement(scenarios)) as progress:
            return run_sweep(sweep, out, threads, progress, resume=folder, command=command)
    except SweepInterrupted as stop:
        click.echo(f"{PROGRAM}: interrupted; {stop.done} of {stop.total} scenarios are in {stop.path}", err=True)
        click.echo(f"go on with: {PROGRAM} sweep --resume {shlex.quote(str(stop.path))}", err=True)
        raise click.exceptions.Exit(INTERRUPTED) from None


command = SectionCommand(
    "sweep",
    params=[*setting_options(), *_RUN_OPTIONS],
    callback=_run,
    help="""Simulate a grid of scenarios, and fit curves over the number of nodes.

    \b
    prsm-scale sweep --nodes 10..1000
    prsm-scale sweep --nodes 4,16,64..1024 --topology mesh,star --network lan,wan --byzantine 0,0.1
    prsm-scale sweep --nodes 10..300 --environment multi_region_cloud --regions us-east-1,eu-west-1
    prsm-scale sweep --topology overlay.graphml --nodes file

    Nodes: 10,20,40 is a list; 10..1000 doubles from 10 and ends at 1000; 10..1000:50 steps by 50; 10..1000/12
    is twelve log-spaced points.""",
)
