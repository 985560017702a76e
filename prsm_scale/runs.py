"""Grids of scenarios: run, kept, resumed, read back."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prsm_scale.cautions import AccuracyWarning, caution
from prsm_scale.checks import check_scenarios
from prsm_scale.config import Scenario, Sweep
from prsm_scale.crew import Crew
from prsm_scale.engine import simulate_scenario
from prsm_scale.errors import SweepInterrupted, UsageError
from prsm_scale.metrics import infeasible_row, memory_mb, why_infeasible
from prsm_scale.monitor import HostMonitor
from prsm_scale.operations import operation_arrays
from prsm_scale.outcome import Outcome
from prsm_scale.progress import Meter, Progress
from prsm_scale.store import RunStore, frame
from prsm_scale.store import load as load_stored
from prsm_scale.table_runs import add_host_samples, host_samples

if TYPE_CHECKING:
    import pandas as pd

    from prsm_scale.analysis.scaling import Analysis

_SHOWN = (
    "operations_per_second",
    "saturation_ops_per_second",
    "median_latency_ms",
    "p95_latency_ms",
    "p99_latency_ms",
    "success_rate",
    "message_count",
    "bottleneck",
)


@dataclass(frozen=True, eq=False, repr=False)
class Run:
    """Results of a sweep.

    Attributes
    ----------
    sweep : dict
        The sweep's settings; ``Sweep(**settings)`` makes the same one.
    scenarios : pandas.DataFrame
        One row a scenario, see `prsm_scale.columns.SCENARIO_COLUMNS`.
    fits : pandas.DataFrame
        One row a fitted curve, see `prsm_scale.columns.FIT_COLUMNS`.
    path : pathlib.Path or None
        Folder of the stored run.
    samples : sequence of dict
        Samples of the host of a run without a folder.
    """

    sweep: Mapping[str, Any]
    scenarios: pd.DataFrame
    fits: pd.DataFrame
    path: Path | None = None
    samples: Sequence[Mapping[str, Any]] = ()

    @property
    def resilience(self) -> pd.DataFrame:
        """Success, latency and view changes by share of faulty replicas and n; see `prsm_scale.analysis.resilience`."""
        from prsm_scale.analysis.resilience import resilience

        return resilience(self.scenarios)

    @property
    def byzantine_resilience(self) -> dict[float, dict[int, float | None]]:
        """Success by share of faulty replicas and n, ``{ratio: {n: success}}``."""
        from prsm_scale.analysis.resilience import byzantine_resilience

        return byzantine_resilience(self.scenarios)

    @property
    def analysis(self) -> list[Analysis]:
        """What each group of scenarios that differ in n alone says; see `prsm_scale.analysis.scaling.analyse`."""
        from prsm_scale.analysis.scaling import analyse

        return analyse(self.scenarios)

    @property
    def host_resources(self) -> pd.DataFrame:
        """One row a sample of the host while it simulated, see `prsm_scale.host_columns`; none where it was not monitored."""
        from prsm_scale.host_columns import HOST_COLUMNS

        return frame(self.samples or host_samples(self.path), HOST_COLUMNS)

    def __repr__(self) -> str:
        """Tell the scenarios and their main results in one line."""
        table = self.scenarios
        told = {
            "n = {}": _ends(table["node_count"], "{:,.0f}"),
            "{}": ", ".join(name for axis in ("topology", "network_condition") for name in table[axis].unique()),
            "mean latency {} ms": _ends(table["mean_latency_ms"]),
            "at most {} operations/s": _ends(table["saturation_ops_per_second"]),
            "bottleneck {}": ", ".join(table["bottleneck"].dropna().unique()),
            "in {}": str(self.path or ""),
        }
        count = f"{len(table)} scenario{'s' * (len(table) != 1)}"
        parts = (words.format(what) for words, what in told.items() if what)
        return f"<{type(self).__name__}: {'; '.join([count, *parts])}>"

    def _repr_html_(self) -> str:
        """Show what `prsm-scale show` tabulates, in a notebook."""
        from prsm_scale.columns import GROUP_COLUMNS

        varied = [name for name in GROUP_COLUMNS if self.scenarios[name].nunique() > 1]
        return f"<p>{escape(repr(self))}</p>{self.scenarios[['node_count', *varied, *_SHOWN]].to_html(index=False, max_rows=60)}"

    def save(self, out_dir: str | os.PathLike[str] = "results") -> Path:
        """Store the run as Parquet, CSV and JSON in a new folder under `out_dir`, and return that folder.

        Raises
        ------
        UsageError
            If the folder cannot be written.
        PrsmScaleError
            If a file cannot be written.
        """
        store = RunStore.create(out_dir, self.sweep)
        for row in _records(self.scenarios):
            store.append(row)
        add_host_samples(store, self.samples or host_samples(self.path))
        store.finish(_records(self.fits))
        return store.path


def _ends(values: pd.Series[Any], form: str = "{:.4g}") -> str:
    """Write the least and the greatest of the values that are known."""
    known = values.dropna()
    return " to ".join(dict.fromkeys(map(form.format, (known.min(), known.max())))) if len(known) else ""


def _records(table: pd.DataFrame) -> list[dict[str, Any]]:
    return [{str(name): value for name, value in row.items()} for row in table.to_dict(orient="records")]


def simulate(threads: int | None = None, **settings: Any) -> Outcome:
    """Simulate one scenario.

    Parameters
    ----------
    threads : int, optional
        Default: one for each processor; the result does not depend on it.
    **settings
        Of `prsm_scale.Scenario`: ``simulate(nodes=100, topology="ring", network="lan")``.

    Returns
    -------
    Outcome
        Per-operation arrays, and `row`, the scenario's metrics.

    Raises
    ------
    UsageError
        For settings that are not allowed, and for a profile without the memory that the scenario needs.

    Warns
    -----
    AccuracyWarning
        Where the engine's stated error passes a tenth.
    """
    scenario = Scenario(**settings)
    reason = why_infeasible(scenario)
    if reason:
        raise UsageError("profile", scenario.profile, f"one with enough memory; the scenario {reason}")
    outcome = simulate_scenario(scenario, threads)
    if told := caution(outcome.row):
        warnings.warn(told, AccuracyWarning, stacklevel=2)
    return outcome


def sweep(
    threads: int | None = None, progress: Callable[[Progress], None] | None = None, monitor: bool = False, **settings: Any
) -> Run:
    """Simulate a grid of scenarios and fit the curves, in memory.

    Parameters
    ----------
    threads : int, optional
        Default: one for each processor; the results do not depend on it.
    progress : callable, optional
        Called with a `Progress` as work gets done, from one thread or another but never from two at once.
    monitor : bool
        Whether to sample what the host does meanwhile, for `Run.host_resources`; the results do not depend on it.
    **settings
        Of `prsm_scale.Sweep`: ``sweep(nodes="10..1000", topology=["mesh", "star"])``.

    Raises
    ------
    UsageError
        For settings that are not allowed, before anything runs.
    """
    grid = Sweep(**settings)
    scenarios_of_grid = grid.scenarios()
    check_scenarios(scenarios_of_grid)
    rows: list[dict[str, Any]] = []
    with HostMonitor() if monitor else nullcontext() as watch:
        _run_all(scenarios_of_grid, frozenset(), threads, progress, rows.append)
    from prsm_scale.analysis.sweep_fits import fit_scenarios
    from prsm_scale.columns import FIT_COLUMNS, SCENARIO_COLUMNS

    scenarios = frame([{**row, "run_id": ""} for row in rows], SCENARIO_COLUMNS)
    fits = frame([{**fit, "run_id": ""} for fit in fit_scenarios(scenarios)], FIT_COLUMNS)
    return Run(grid.to_dict(), scenarios, fits, samples=watch.samples if watch else ())


def run_sweep(
    grid: Sweep,
    out_dir: str | os.PathLike[str] = "results",
    threads: int | None = None,
    progress: Callable[[Progress], None] | None = None,
    resume: str | os.PathLike[str] | None = None,
    command: str | None = None,
    save_operations: bool = False,
    monitor: bool = True,
) -> Run:
    """Simulate a grid of scenarios, storing each as soon as it is done.

    Parameters
    ----------
    grid : Sweep
    out_dir : path
        Folder under which the run gets a folder of its own.
    threads, progress
        See `sweep`.
    resume : path, optional
        Stored run to go on with: scenarios that it holds are not simulated again.
    command : str, optional
        Command line to note down.
    save_operations : bool
        Whether to store single operations too, in operations.parquet. A stored run that has them goes on to do so; one without is
        simulated again for them.
    monitor : bool
        Whether to sample what the host does meanwhile, into host_resources.parquet; a run that is gone on with keeps the samples
        that it has. The results do not depend on it.

    Raises
    ------
    UsageError
        If a graph, a matrix, a law or a table of rounds does not serve, or the folder cannot be written; before anything runs.
    SweepInterrupted
        On Ctrl-C; what is done is stored.
    PrsmScaleError
        If a result cannot be written; those before it are kept.
    """
    scenarios = grid.scenarios()
    check_scenarios(scenarios)
    settings = grid.to_dict()
    if resume is not None:
        store = RunStore.resume(resume, settings, save_operations)
    else:
        store = RunStore.create(out_dir, settings, command=command, save_operations=save_operations)
    operations = store.operations

    def keep_operations(outcome: Outcome) -> None:
        if operations is not None:
            operations.add(outcome.scenario.scenario_id, operation_arrays(outcome))

    watch = HostMonitor()
    try:
        with watch if monitor else nullcontext():
            _run_all(scenarios, store.completed, threads, progress, store.append, keep_operations)
    except KeyboardInterrupt:
        done = store.completed.intersection(one.scenario_id for one in scenarios)
        raise SweepInterrupted(store.path, len(done), len(scenarios)) from None
    finally:
        add_host_samples(store, watch.samples)
    from prsm_scale.analysis.sweep_fits import fit_scenarios

    stored = store.finish(fit_scenarios(store.scenarios))
    return Run(settings, stored.scenarios, stored.fits, stored.path)


def load(path: str | os.PathLike[str]) -> Run:
    """Read a stored run back, finished or not; a `LoadCurve` where its loads were varied.

    Raises
    ------
    UsageError
        If there is no run, or its files are damaged, of a newer version, or not prsm-scale's.
    """
    from prsm_scale.load_runs import LoadCurve
    from prsm_scale.loads import holds_loads

    stored = load_stored(path)
    settings = stored.provenance["sweep"]
    kind = LoadCurve if holds_loads(settings) else Run
    return kind(settings, stored.scenarios, stored.fits, stored.path)


def _run_all(
    scenarios: list[Scenario],
    completed: frozenset[str],
    threads: int | None,
    progress: Callable[[Progress], None] | None,
    keep: Callable[[dict[str, Any]], object],
    keep_operations: Callable[[Outcome], object] = lambda outcome: None,
) -> None:
    todo = [scenario for scenario in scenarios if scenario.scenario_id not in completed]
    meter = Meter(todo, progress)
    for scenario in todo:
        run_scenario(scenario, threads, meter, keep, keep_operations)


def run_scenario(
    scenario: Scenario,
    threads: int | Crew | None,
    meter: Meter,
    keep: Callable[[dict[str, Any]], object],
    keep_operations: Callable[[Outcome], object] = lambda outcome: None,
) -> dict[str, Any]:
    """Simulate one scenario of many, unless its profile cannot hold it; keep its operations and its row, and return that."""
    gauge = meter.begin(scenario)
    reason = why_infeasible(scenario)
    if reason:
        row, messages = infeasible_row(scenario, reason, memory_mb(scenario)), 0
    else:
        outcome = simulate_scenario(scenario, threads, gauge.tick)
        row, messages = outcome.row, outcome.messages
        keep_operations(outcome)
    keep(row)
    gauge.end(messages)
    return row
