"""Latency over the load: each system's capacity is found first, then it is simulated at fractions of it."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from prsm_scale.checks import check_scenarios
from prsm_scale.config import Scenario
from prsm_scale.errors import SweepInterrupted
from prsm_scale.loads import LoadSweep
from prsm_scale.progress import Meter, Progress
from prsm_scale.runs import Run, run_scenario
from prsm_scale.store import RunStore, frame

if TYPE_CHECKING:
    import pandas as pd

_CAPACITY = "saturation_ops_per_second"


@dataclass(frozen=True, eq=False)
class LoadCurve(Run):
    """Latency over the load, of one system or more.

    `sweep` holds the settings; ``load_curve(**settings)`` makes the same curve. `scenarios` holds the idle systems too, from
    which the capacities come, and `fits` one row for each system.
    """

    @property
    def points(self) -> pd.DataFrame:
        """The scenarios under load, with the columns of `prsm_scale.analysis.load_curve.with_loads`."""
        from prsm_scale.analysis.load_curve import with_loads

        table = with_loads(self.scenarios)
        return table[table["load"] > 0].reset_index(drop=True)


def load_curve(threads: int | None = None, progress: Callable[[Progress], None] | None = None, **settings: Any) -> LoadCurve:
    """Simulate systems at fractions of their capacities and fit mean latency over the load, in memory.

    Parameters
    ----------
    threads, progress
        See `prsm_scale.sweep`.
    **settings
        Of `prsm_scale.loads.LoadSweep`: ``load_curve(nodes=[16, 64], loads="0.05..0.98", network="lan")``.

    Raises
    ------
    UsageError
        For settings that are not allowed, before anything runs.
    """
    from prsm_scale.analysis.load_curve import fit_load_curves
    from prsm_scale.columns import FIT_COLUMNS, SCENARIO_COLUMNS

    grid = LoadSweep(**settings)
    check_scenarios(grid.scenarios())
    rows: list[dict[str, Any]] = []
    _run_all(grid, {}, threads, progress, rows.append)
    scenarios = frame([{**row, "run_id": ""} for row in rows], SCENARIO_COLUMNS)
    fits = frame([{**fit, "run_id": ""} for fit in fit_load_curves(scenarios)], FIT_COLUMNS)
    return LoadCurve(grid.to_dict(), scenarios, fits)


def run_loads(
    grid: LoadSweep,
    out_dir: str | os.PathLike[str] = "results",
    threads: int | None = None,
    progress: Callable[[Progress], None] | None = None,
    resume: str | os.PathLike[str] | None = None,
    command: str | None = None,
) -> LoadCurve:
    """Simulate systems at fractions of their capacities, storing each scenario as soon as it is done.

    Parameters, errors and what Ctrl-C does are those of `prsm_scale.runs.run_sweep`.
    """
    from prsm_scale.analysis.load_curve import fit_load_curves

    check_scenarios(grid.scenarios())
    settings = grid.to_dict()
    store = RunStore.resume(resume, settings) if resume is not None else RunStore.create(out_dir, settings, command=command)
    rows = store.scenarios
    held = dict(zip(rows["scenario_id"], rows[_CAPACITY], strict=True))
    try:
        _run_all(grid, held, threads, progress, store.append)
    except KeyboardInterrupt:
        left = sum(_left(grid, idle, held) for idle in grid.scenarios())
        raise SweepInterrupted(store.path, grid.size - left, grid.size) from None
    stored = store.finish(fit_load_curves(store.scenarios))
    return LoadCurve(settings, stored.scenarios, stored.fits, stored.path)


def _run_all(
    grid: LoadSweep,
    held: dict[str, float | None],
    threads: int | None,
    progress: Callable[[Progress], None] | None,
    keep: Callable[[dict[str, Any]], object],
) -> None:
    """Run what is not held yet; `held` gives the capacity by the id of each scenario that is, and is kept up to date."""

    def hold(row: dict[str, Any]) -> None:
        keep(row)
        held[row["scenario_id"]] = row.get(_CAPACITY)

    systems = grid.scenarios()
    left = [_left(grid, idle, held) for idle in systems]
    meter = Meter([idle for idle, count in zip(systems, left, strict=True) for _ in range(count)], progress)
    for idle, count in zip(systems, left, strict=True):
        end = meter.done + count
        if idle.scenario_id not in held:
            run_scenario(idle, threads, meter, hold)
        for scenario in _ahead(grid, idle, held):
            run_scenario(scenario, threads, meter, hold)
        while meter.done < end:  # a system without capacity cannot be loaded
            meter.begin(idle).end(0)


def _ahead(grid: LoadSweep, idle: Scenario, held: Mapping[str, float | None]) -> list[Scenario]:
    """Scenarios under load that are not held yet, of a system that is held idle."""
    return [one for one in grid.at_loads(idle, held[idle.scenario_id]) if one.scenario_id not in held]


def _left(grid: LoadSweep, idle: Scenario, held: Mapping[str, float | None]) -> int:
    return len(_ahead(grid, idle, held)) if idle.scenario_id in held else 1 + len(grid.loads)
