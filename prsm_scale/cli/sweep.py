"""``prsm-scale sweep``: simulate a grid of scenarios."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from prsm_scale.cli.options import RUN_OPTIONS, SectionCommand, SectionOption, given_settings, setting_options
from prsm_scale.cli.output import (
    Run,
    check_figure,
    command_line,
    listed,
    load_run,
    print_json,
    print_plan,
    print_run,
    resumable,
    run_folder,
    write_figure,
)
from prsm_scale.cli.progress import ProgressLine
from prsm_scale.config import Scenario, Sweep, read_config

_SAVE_OPERATIONS = SectionOption(
    ["--save-operations"], is_flag=True, help="store every operation's latency too, in operations.parquet"
)
_NO_MONITOR = SectionOption(
    ["--no-monitor"], is_flag=True, help="take no samples of this host's CPU, memory, network and disk meanwhile"
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
    save_operations: bool,
    no_monitor: bool,
    **options: Any,
) -> None:
    sweep = _read(config, out, resume, given_settings(options))
    if plot:
        check_figure(plot)
    scenarios = sweep.scenarios()
    if dry_run:
        print_plan(scenarios, _announcement(scenarios), as_json)
        return
    run = _simulate(
        sweep,
        ProgressLine(len(scenarios), quiet, _announcement(scenarios)),
        out_dir=Path(out),
        threads=threads,
        resume=run_folder(resume, out) if resume else None,
        save_operations=save_operations,
        monitor=not no_monitor,
    )
    if as_json:
        print_json(run)
    elif quiet:
        click.echo(run.path)
    else:
        print_run(run)
    if plot:
        write_figure(run, plot)


def _read(config: str | None, out: str, resume: str | None, settings: dict[str, Any]) -> Sweep:
    """Make a sweep of these settings, in place of the file's, which stand in place of those of the run to go on with."""
    held = load_run(resume, out).provenance["sweep"] if resume else {}
    return Sweep(**(held | (read_config(config) if config else {}) | settings))


def _announcement(scenarios: Sequence[Scenario]) -> str:
    return f"nodes {listed(one.nodes for one in scenarios)}; scenarios: {len(scenarios)}"


def _simulate(sweep: Sweep, line: ProgressLine, **how: Any) -> Run:
    from prsm_scale.runs import run_sweep

    with resumable("sweep"), line as progress:
        return run_sweep(sweep, progress=progress, command=command_line(), **how)


command = SectionCommand(
    "sweep",
    params=[*setting_options(), *RUN_OPTIONS, _SAVE_OPERATIONS, _NO_MONITOR],
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
