"""``prsm-scale load``: how latency grows with load."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from prsm_scale.cli.options import AXIS_SECTION, RUN_OPTIONS, SectionCommand, SectionOption, given_settings, setting_options
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
from prsm_scale.config import read_config
from prsm_scale.errors import UsageError
from prsm_scale.loads import DEFAULT_LOADS, DEFAULT_NODES, LoadSweep, holds_loads

_LOADS = f"load, as a fraction of the capacity; from 1 on is overload [{DEFAULT_LOADS}]"


def _run(
    loads: str | None,
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
    given = given_settings(options) | ({} if loads is None else {"loads": loads})
    grid = _read(config, out, resume, given)
    if plot:
        check_figure(plot)
    if dry_run:
        print_plan(grid.scenarios(), _announcement(grid), as_json, loads=grid.loads)
        return
    run = _simulate(grid, Path(out), run_folder(resume, out) if resume else None, threads, quiet)
    if as_json:
        print_json(run, over_load=True)
    elif quiet:
        click.echo(run.path)
    else:
        print_run(run, over_load=True)
    if plot:
        write_figure(run, plot, over_load=True)


def _read(config: str | None, out: str, resume: str | None, settings: dict[str, Any]) -> LoadSweep:
    """Make a grid of these settings, in place of the file's, which stand in place of those of the run to go on with."""
    held = load_run(resume, out).provenance["sweep"] if resume else {}
    if resume and not holds_loads(held):
        raise UsageError("resume", resume, "a run of load")
    return LoadSweep(**(held | (read_config(config) if config else {}) | settings))


def _announcement(grid: LoadSweep) -> str:
    nodes = listed(one.nodes for one in grid.scenarios())
    return f"nodes {nodes}; loads {listed(grid.loads)}; scenarios: {grid.size}"


def _simulate(grid: LoadSweep, out: Path, folder: Path | None, threads: int | None, quiet: bool) -> Run:
    from prsm_scale.load_runs import run_loads

    with resumable("load"), ProgressLine(grid.size, quiet, _announcement(grid)) as progress:
        return run_loads(grid, out, threads, progress, resume=folder, command=command_line())


def _options() -> Iterator[click.Option]:
    yield SectionOption(["--loads"], section=AXIS_SECTION, metavar="TEXT", help=_LOADS)
    for option in setting_options():
        if option.name == "nodes":
            option.help = f"replicas [{DEFAULT_NODES}]"
        if option.name not in ("rate", "clients"):
            yield option


command = SectionCommand(
    "load",
    params=[*_options(), *RUN_OPTIONS],
    callback=_run,
    help="""Simulate systems at fractions of their capacities: how latency grows with load, and where to stop.

    \b
    prsm-scale load --nodes 16,64 --network lan
    prsm-scale load --nodes 16 --loads 0.1,0.5,0.9 --profile minimal --plot curve.png

    The capacity is that of the idle system, which is simulated first; mean latency over the load rho is fitted by
    L0 + a rho / (2 (1 - rho)), and the knee is where throughput over latency is greatest.

    Loads: 0.1,0.5,0.9 is a list; 0.05..0.98 is ten loads, denser near 1; 0.05..0.98/20 is twenty. Nodes: as for
    sweep.""",
)
