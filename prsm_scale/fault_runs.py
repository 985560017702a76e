"""Scenarios under fault scripts: run on the events engine, measured, kept."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from prsm_kernels.event_types import LAST_OPERATION
from prsm_scale.axes import Engine
from prsm_scale.config import Scenario
from prsm_scale.crew import Crew
from prsm_scale.engine import simulate_scenario
from prsm_scale.errors import UsageError
from prsm_scale.estimates import half_width
from prsm_scale.events import EventRun, gaps_ms
from prsm_scale.fault_columns import FAULT_COLUMNS, TIMELINE_COLUMNS
from prsm_scale.fault_metrics import Observed, measure, timeline
from prsm_scale.fault_schedule import Schedule, event_script, make_schedule
from prsm_scale.fault_scripts import READY, FaultScript, choose, load_fault_scripts
from prsm_scale.faults import varies
from prsm_scale.metrics import why_infeasible
from prsm_scale.plans import Plan, make_plan, relay_centrality
from prsm_scale.progress import Progress, Report
from prsm_scale.system import build_system
from prsm_scale.validation import gathering
from prsm_scale.view_change import Timing, timing_of

if TYPE_CHECKING:
    import pandas as pd


_BINS_PER_TIMEOUT: Final = 4
_MOST_BINS: Final = 200
_FIRST_OPERATIONS, _STEP_EVENTS = 256, 100_000
"""Of a closed loop: operations that are waited for at first, and events after which the time is looked at."""
_PER_TIMEOUT, _LOAD, _OF_CAPACITY = 80.0, 0.2, 64
"""Operations in a time-out, share of the capacity, and operations from which that is measured; see `sensible_rate`."""


@dataclass(frozen=True, eq=False, repr=False)
class FaultRun:
    """A scenario under one fault script.

    Attributes
    ----------
    scenario : Scenario
    script : FaultScript
    timing : Timing
        T and what follows from it.
    seen : tuple of Observed
        What each replicate showed: arrays with one element for each operation, and its schedule.
    bin_ms : float
        Length of the bins of `timeline`.
    """

    scenario: Scenario
    script: FaultScript
    timing: Timing
    seen: tuple[Observed, ...]
    bin_ms: float

    @cached_property
    def rows(self) -> list[dict[str, Any]]:
        """One row a replicate, without the run's name."""
        about = {
            "script": self.script.name,
            "scenario_id": self.scenario.scenario_id,
            "node_count": self.scenario.nodes,
            "offered_ops_per_second": self.scenario.rate,
            "fault_script": self.script.model_dump_json(exclude_defaults=True),
            "scenario": self.scenario.model_dump_json(),
        }
        return [about | measure(one, self.timing, self.scenario.batch) for one in self.seen]

    @cached_property
    def bins(self) -> list[dict[str, Any]]:
        """One row a replicate and bin, without the run's name."""
        parts = [timeline(one, self.bin_ms, self.scenario.batch) for one in self.seen]
        return [{"script": self.script.name} | row for part in parts for row in part]

    @property
    def metrics(self) -> pd.DataFrame:
        """One row a replicate, see `prsm_scale.fault_columns.FAULT_COLUMNS`."""
        from prsm_scale.store import frame

        return frame([{**row, "run_id": ""} for row in self.rows], FAULT_COLUMNS)

    @property
    def timeline(self) -> pd.DataFrame:
        """One row a replicate and bin of time, see `prsm_scale.fault_columns.TIMELINE_COLUMNS`."""
        from prsm_scale.store import frame

        return frame([{**row, "run_id": ""} for row in self.bins], TIMELINE_COLUMNS)

    def mean(self, name: str) -> tuple[float, float] | None:
        """Mean of a metric over the replicates that have it, and half its 95 % interval; None where none has it."""
        known = np.array([row[name] for row in self.rows if row.get(name) is not None], np.float64)
        if not known.size:
            return None
        error = float(known.std(ddof=1)) / known.size**0.5 if known.size > 1 else 0.0
        return float(known.mean()), half_width(error, known.size)

    def plot(self, file: str | os.PathLike[str] | None = None) -> Any:
        """Draw throughput and latency over time with the fault periods shaded, and write the figure if a file is named.

        Returns
        -------
        matplotlib.figure.Figure

        Raises
        ------
        PrsmScaleError
            If the file cannot be written.
        """
        from prsm_scale.report.fault_timeline import draw, save_timelines

        if file is not None:
            save_timelines([self], Path(file))
        return draw([self])

    def save(self, out_dir: str | os.PathLike[str] = "results") -> Path:
        """Store the tables in a new folder under `out_dir`, and return that folder; see `save_fault_runs`."""
        return save_fault_runs([self], out_dir)

    def __repr__(self) -> str:
        """Tell the scenario and what the script did to it, in one line."""
        told = [f"n = {self.scenario.nodes}, {self.scenario.topology}, {self.scenario.network}", self.script.name]
        for name, words in (("unavailable_ms", "down {:.4g} ms"), ("time_to_recover_ms", "recovered after {:.4g} ms")):
            mean = self.mean(name)
            told += [words.format(mean[0])] if mean else []
        told.append(f"{sum(row['failed'] for row in self.rows)} of {sum(row['operations'] for row in self.rows)} operations lost")
        return f"<FaultRun: {'; '.join(told)}>"


def fault_run(
    scenario: Scenario | Mapping[str, Any],
    script: FaultScript | Mapping[str, Any] | str | os.PathLike[str],
    threads: int | None = None,
    progress: Report | None = None,
    bin_ms: float | None = None,
) -> FaultRun:
    """Run a scenario under a fault script, on the events engine.

    Parameters
    ----------
    scenario : Scenario or dict
        The scenario, or its settings. Its `rate` or `clients` set the load, its `replicates` the number of repetitions.
    script : FaultScript, dict, str or path
        The script, its fields, the name of one shipped with the package (``"primary_crash"``), or a TOML file that holds one.
    threads : int, optional
        Default: one for each processor; the results do not depend on it.
    progress : callable, optional
        Called as replicates get done.
    bin_ms : float, optional
        Length of the bins of the timeline; by default a quarter of T, and at least a 200th of the duration.

    Returns
    -------
    FaultRun

    Raises
    ------
    UsageError
        One line for each fault of scenario and script, before anything runs.
    """
    given = scenario if isinstance(scenario, Scenario) else Scenario(**{"engine": Engine.EVENTS, **scenario})
    (run,) = run_scripts(given, [read_script(script)], threads, progress, bin_ms)
    return run


def read_script(script: FaultScript | Mapping[str, Any] | str | os.PathLike[str]) -> FaultScript:
    """Take a script as `fault_run` does."""
    if isinstance(script, FaultScript):
        return script
    if isinstance(script, Mapping):
        return FaultScript(**script)
    if not os.fspath(script).endswith(".toml"):
        (one,) = choose(load_fault_scripts(READY), os.fspath(script), "script")
        return one
    held = load_fault_scripts(Path(script))
    if len(held) > 1:
        raise UsageError("script", os.fspath(script), f"a file with one script, not {len(held)}")
    return held[0]


@dataclass(frozen=True)
class Planned:
    """A scenario and scripts that suit it.

    Attributes
    ----------
    scenario : Scenario
        On the events engine.
    plan : Plan
        With its time-outs.
    timing : Timing
    scripts : tuple of FaultScript
    schedules : tuple of Schedule
        Of the first replicate, for each script.
    """

    scenario: Scenario
    plan: Plan
    timing: Timing
    scripts: tuple[FaultScript, ...]
    schedules: tuple[Schedule, ...]


def sensible_rate(scenario: Scenario) -> float:
    """Operations per second at which outages stand out and little queues.

    80 in the time-out of a view, and at most a fifth of the capacity of the rounds engine.
    """
    idle = scenario.but(engine=Engine.ROUNDS, clients=None, rate=0.0, operations=_OF_CAPACITY)
    per_ms = min(_PER_TIMEOUT / timing_of(scenario).view_timeout_ms, _LOAD * simulate_scenario(idle).capacity.saturation_per_ms)
    return float(f"{1000.0 * scenario.batch * per_ms:.2g}")


def plan_scripts(scenario: Scenario, scripts: Sequence[FaultScript]) -> Planned:
    """Check that scripts suit a scenario, which takes some operations at rest where its time-outs follow from their latency.

    Raises
    ------
    UsageError
        One line for each fault.
    """
    scenario = scenario.but(engine=Engine.EVENTS)
    reason = why_infeasible(scenario)
    if reason:
        raise UsageError("profile", scenario.profile, f"one with enough memory; the scenario {reason}")
    if scenario.rate == 0.0 and scenario.clients is None:
        raise UsageError("rate", scenario.rate, "more than 0, or clients in its place")
    plan = make_plan(scenario)
    timing = plan.timing or timing_of(scenario)
    faults: list[UsageError] = []
    schedules = []
    for script in scripts:
        with gathering(faults, f"script {script.name!r}"):
            schedules.append(make_schedule(script, scenario, timing))
    if faults:
        raise UsageError.gather(faults)
    return Planned(scenario, replace(plan, timing=timing), timing, tuple(scripts), tuple(schedules))


def run_scripts(
    scenario: Scenario,
    scripts: Sequence[FaultScript],
    threads: int | None = None,
    progress: Report | None = None,
    bin_ms: float | None = None,
) -> list[FaultRun]:
    """Run a scenario under each of several scripts; see `fault_run`."""
    return _Job(plan_scripts(scenario, scripts), threads, progress).run(bin_ms)


class _Job(Crew):
    """Replicates of all scripts, side by side."""

    def __init__(self, planned: Planned, threads: int | None, report: Report | None) -> None:
        super().__init__(threads)
        self.planned, self.report = planned, report
        scenario, centrality = planned.scenario, relay_centrality(planned.plan)
        count = scenario.replicates if varies(scenario) else 1
        self.systems = [build_system(planned.plan, replicate, centrality) for replicate in range(count)]
        self.begun, self.done, self.messages = time.perf_counter(), 0, 0
        self.total = len(planned.scripts) * scenario.replicates
        self.lock = threading.Lock()

    def run(self, bin_ms: float | None) -> list[FaultRun]:
        """Run all, and deal the replicates out to their scripts."""
        scenario, timing, count = self.planned.scenario, self.planned.timing, self.planned.scenario.replicates
        tasks = [(script, replicate) for script in self.planned.scripts for replicate in range(count)]
        self._tell("")
        seen = self.each(lambda task: self._observe(*task), tasks)
        runs = []
        for place, script in enumerate(self.planned.scripts):
            duration_ms = self.planned.schedules[place].duration_ms
            width = bin_ms or max(timing.view_timeout_ms / _BINS_PER_TIMEOUT, duration_ms / _MOST_BINS)
            runs.append(FaultRun(scenario, script, timing, tuple(seen[place * count : (place + 1) * count]), width))
        return runs

    def _observe(self, script: FaultScript, replicate: int) -> Observed:
        scenario = self.planned.scenario
        schedule = make_schedule(script, scenario, self.planned.timing, replicate)
        system, arrays = self.systems[replicate % len(self.systems)], event_script(schedule, scenario.nodes)
        if scenario.clients:
            run = EventRun(system, replicate, script=arrays)
            count = self._stop_clients(run, schedule.duration_ms)
        else:
            count = _starts_before(scenario, replicate, schedule.duration_ms)
            run = EventRun(system, replicate, last=count, script=arrays)
        while not run.advance(count):
            self.check()
        with self.lock:
            self.done += 1
            self.messages += int(run.state.counts[:count, :, 0].sum())
            self._tell(script.name)
        return _observed(run, count, schedule)

    def _stop_clients(self, run: EventRun, end_ms: float) -> int:
        """Let a closed loop go on until a time, and ask no more from then on; how many operations have started."""
        count = _FIRST_OPERATIONS
        while run.state.clock[0] < end_ms:
            if run.advance(count, _STEP_EVENTS):
                count = max(run.started, count + count // 4)
            self.check()
        run.state.scalars[LAST_OPERATION] = run.started
        return run.started

    def _tell(self, current: str) -> None:
        if self.report is not None:
            seconds = time.perf_counter() - self.begun
            left = seconds * (self.total / self.done - 1.0) if self.done else None
            rate = self.messages / max(seconds, 1e-9)
            self.report(Progress(self.done, self.total, self.messages, rate, left, current, 0.0))


def _starts_before(scenario: Scenario, replicate: int, end_ms: float) -> int:
    """Operations that start before a time in open loop, at least one."""
    count = expected = int(scenario.proposals_per_ms * end_ms) + 1
    while True:
        starts_ms = np.cumsum(gaps_ms(scenario, np.arange(count, dtype=np.uint32), replicate))
        if starts_ms[-1] >= end_ms:
            return max(1, int(np.searchsorted(starts_ms, end_ms)))
        count += expected // 4 + 16


def _observed(run: EventRun, count: int, schedule: Schedule) -> Observed:
    """Keep what a run shows of the operations that started in time."""
    state = run.state
    started = int(np.searchsorted(state.start_ms[:count], schedule.duration_ms))
    start, latency, ended, views, violated = (
        np.array(getattr(state, name)[:started]) for name in ("start_ms", "latency_ms", "ended", "views", "violated")
    )
    return Observed(run.replicate, schedule, start, latency, ended, views, violated, np.array(state.entered_ms))


def save_fault_runs(runs: Iterable[FaultRun], out_dir: str | os.PathLike[str] = "results", command: str | None = None) -> Path:
    """Write faults.parquet and fault_timeline.parquet of runs of one scenario into a new folder under `out_dir`.

    Parameters
    ----------
    runs
        From `run_scripts`.
    out_dir
        Folder that holds the runs; made if need be.
    command
        Command line that made them, if one did.

    Raises
    ------
    UsageError
        If the folder cannot be written.
    PrsmScaleError
        If a file cannot be written.
    """
    from prsm_scale.table_runs import write_tables

    kept = list(runs)
    scripts = [run.script.model_dump(mode="json", exclude_defaults=True) for run in kept]
    tables = {
        "faults.parquet": (FAULT_COLUMNS, [row for run in kept for row in run.rows]),
        "fault_timeline.parquet": (TIMELINE_COLUMNS, [row for run in kept for row in run.bins]),
    }
    return write_tables(out_dir, {**kept[0].scenario.model_dump(mode="json"), "fault_scripts": scripts}, tables, command=command)
