"""A run on the terminal: what `sweep`, `load`, `show` and `fit` do alike."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import click

from prsm_scale.atomic import dumps
from prsm_scale.cli import INTERRUPTED, PROGRAM
from prsm_scale.columns import records
from prsm_scale.config import AXES, Scenario
from prsm_scale.errors import SweepInterrupted, UsageError
from prsm_scale.report.series import NODES, RATE, RATIO, common, split

if TYPE_CHECKING:
    import pandas as pd
    from rich.console import Console, RenderableType

    from prsm_scale.analysis.thresholds import Thresholds
    from prsm_scale.report.series import Series
    from prsm_scale.store import StoredRun

_MOST_LISTED = 12

FIGURE_SUFFIXES = (".png", ".svg", ".pdf")


class Run(Protocol):
    """A run, just finished or read back."""

    @property
    def path(self) -> Path | None:
        """Folder of the run, where it has one."""

    @property
    def scenarios(self) -> pd.DataFrame:
        """One row a scenario."""

    @property
    def fits(self) -> pd.DataFrame:
        """One row a fitted curve."""


def load_run(name: str, out: str = "results") -> StoredRun:
    """Read a run by its path, or by its name alone where it lies in `out`."""
    from prsm_scale.store import load

    return load(run_folder(name, out))


def run_folder(name: str, out: str = "results") -> Path:
    """Find a run by its path, or by its name inside `out`; of a single file of results, the ending may be left out."""
    places = [place.with_name(f"{place.name}{ending}") for place in (Path(name), Path(out) / name) for ending in ("", ".parquet")]
    return next((place for place in places if place.exists()), Path(name))


def check_figure(file: str) -> None:
    """Reject a figure that could not be written, before a simulation goes before it."""
    if Path(file).suffix.lower() not in FIGURE_SUFFIXES:
        raise UsageError("plot", file, f"a file that ends in {', '.join(FIGURE_SUFFIXES)}")
    place = Path(file).absolute()
    if not place.parent.is_dir():
        raise UsageError("plot", file, "a file in a folder that is there")
    if place.is_dir() or not os.access(place if place.exists() else place.parent, os.W_OK):
        raise UsageError("plot", file, "a file that can be written")


def listed(values: Iterable[float]) -> str:
    """Write numbers in order, each once; of many, the first and the last."""
    points = [f"{value:.10g}" for value in sorted(set(values))]
    if len(points) > _MOST_LISTED:
        points[_MOST_LISTED - 2 : -1] = ["..."]
    return ", ".join(points)


def print_plan(scenarios: Sequence[Scenario], announcement: str, as_json: bool, **more: Any) -> None:
    """Print what a run would simulate; `more` goes into the JSON document."""
    from prsm_scale.checks import check_scenarios

    check_scenarios(scenarios)
    if as_json:
        plan = [one.model_dump(mode="json") | {"scenario_id": one.scenario_id} for one in scenarios]
        click.echo(dumps({"scenarios": plan} | more, indent=1))
        return
    from prsm_scale.report.tables import plain_table

    values = {name: [str(getattr(one, name)) for one in scenarios] for name in ("nodes", *AXES[:-1])}
    shown = [name for name in values if name == "nodes" or len(set(values[name])) > 1]
    rows = zip(*(values[name] for name in shown), (one.scenario_id for one in scenarios), strict=True)
    table = plain_table((*shown, "scenario_id"), list(rows), left=(*shown[1:], "scenario_id"))
    console = terminal()
    console.print(table)
    console.print(announcement, soft_wrap=True)


def command_line() -> str:
    """The command that this process was started with."""
    return shlex.join([PROGRAM, *sys.argv[1:]])


@contextmanager
def resumable(command: str) -> Iterator[None]:
    """On Ctrl-C, say what is stored and by which command to go on, and exit."""
    try:
        yield
    except SweepInterrupted as stop:
        click.echo(f"{PROGRAM}: interrupted; {stop.done} of {stop.total} scenarios are in {stop.path}", err=True)
        click.echo(f"go on with: {PROGRAM} {command} --resume {shlex.quote(str(stop.path))}", err=True)
        raise click.exceptions.Exit(INTERRUPTED) from None


def print_run(run: Run, over_load: bool = False, thresholds: Thresholds | None = None) -> None:
    """Print a run's table, plot, fitted curves, findings and folder; over the load, or over the number of nodes."""
    rows, console = records(run.scenarios), terminal()
    parts = _parts_over_load(run) if over_load else _parts(run, split(rows, records(run.fits)), thresholds)
    for part in filter(None, parts):
        console.print(part)
        console.print()
    console.print(f"{len(rows)} scenario{'s' * (len(rows) != 1)} in {run.path}", soft_wrap=True)


def _parts(run: Run, series: Sequence[Series], thresholds: Thresholds | None) -> list[RenderableType]:
    from prsm_scale.report.findings import findings
    from prsm_scale.report.fits import fit_summary
    from prsm_scale.report.resilience import grids, resilience_table
    from prsm_scale.report.tables import plots, result_table

    shared = common([row for one in series for row in one.rows])
    parts: list[RenderableType] = [shared, *map(result_table, series), *plots(series)]
    if found := grids(run.scenarios):
        parts += ["over the share of faulty replicas:", *map(resilience_table, found)]
    if any(one.fits for one in series):
        parts += ["fits over n, [95 % intervals]:", *map(fit_summary, (one for one in series if one.fits))]
    return [*parts, "findings:", findings(run.scenarios, thresholds)] if series else parts


def _parts_over_load(run: Run) -> list[RenderableType]:
    from prsm_scale.report.load_curve import load_plot, load_summary, load_table

    series = series_over_load(run)
    shared = common([row for one in series for row in one.rows], RATE)
    parts: list[RenderableType] = [shared, *map(load_table, series), *load_plot(series)]
    fitted = [one for one in series if one.fits]
    if fitted:
        parts += ["mean latency over the load rho, [95 % intervals]:", *map(load_summary, fitted)]
    return parts


def series_over_load(run: Run) -> list[Series]:
    """Series of a run of `load`, one for each system."""
    from prsm_scale.analysis.load_curve import with_loads

    fits = [{**fit, NODES: fit["nodes_min"]} for fit in records(run.fits)]
    return split(records(with_loads(run.scenarios)), fits, RATE)


def print_json(run: Run, over_load: bool = False, thresholds: Thresholds | None = None) -> None:
    """Print a run as one JSON document; over the load, each scenario with its load, else with what they say over n."""
    rows = [row for one in series_over_load(run) for row in one.rows] if over_load else records(run.scenarios)
    document: dict[str, Any] = {
        "run": run.path and run.path.name,
        "path": run.path and str(run.path),
        "scenarios": rows,
        "fits": records(run.fits),
    }
    if not over_load:
        from prsm_scale.analysis.scaling import analyse

        document["analysis"] = [one.to_dict() for one in analyse(run.scenarios, thresholds)]
    if not over_load and run.scenarios[RATIO].nunique() > 1:
        from prsm_scale.analysis.resilience import byzantine_resilience

        document["byzantine_resilience"] = byzantine_resilience(run.scenarios)
    click.echo(dumps(document, indent=1))


def write_figure(run: Run, file: str, over_load: bool = False) -> None:
    """Write a figure of a run, and a second one where the share of faulty replicas varies; say so."""
    if over_load:
        from prsm_scale.report.hockey_sticks import save_hockey_sticks

        save_hockey_sticks(series_over_load(run), file)
    else:
        from prsm_scale.report.plots import save_figure

        save_figure(split(records(run.scenarios), records(run.fits)), file)
    click.echo(f"figure in {file}", err=True)
    if not over_load:
        _write_heat_maps(run, Path(file))


def _write_heat_maps(run: Run, file: Path) -> None:
    from prsm_scale.report.resilience import grids

    if found := grids(run.scenarios):
        from prsm_scale.report.heat_map import save_heat_maps

        beside = file.with_stem(f"{file.stem}-resilience")
        save_heat_maps(found, beside)
        click.echo(f"resilience in {beside}", err=True)


def terminal(stderr: bool = False) -> Console:
    """Make a console that keeps the width of tables when its output goes to a file, and plain text plain."""
    from rich.console import Console

    from prsm_scale.report.tables import WIDTH

    console = Console(stderr=stderr, markup=False, highlight=False, emoji=False)
    console.width = max(console.width, WIDTH) if console.is_terminal else WIDTH
    return console
