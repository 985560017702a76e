"""Runs scaling tests: the scenarios of a configuration one after another, each kept as soon as it is done."""

from __future__ import annotations

import shutil
import threading
from contextlib import nullcontext, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from prsm_scale import __version__
from prsm_scale.checks import check_scenarios
from prsm_scale.columns import SCENARIO_COLUMNS
from prsm_scale.config import Scenario
from prsm_scale.controller.config import ScalingTestConfig
from prsm_scale.controller.files import provenance_of
from prsm_scale.controller.result import ScalingTestResult
from prsm_scale.crew import Crew
from prsm_scale.errors import UsageError
from prsm_scale.monitor import HostMonitor
from prsm_scale.progress import Meter, Progress, Report
from prsm_scale.runs import run_scenario
from prsm_scale.store import RunStore, frame

if TYPE_CHECKING:
    import pandas as pd


class Switch(Protocol):
    """What is set once the caller wants a test to stop: an Event, or what processes share."""

    def is_set(self) -> bool:
        """Whether that is so."""


_AT_A_TIME = 2
"""Scenarios under way together."""


class Cancelled(Exception):
    """The caller asked a test to stop."""


def run_test(
    config: ScalingTestConfig,
    *,
    full: bool = False,
    threads: int | None = None,
    progress: Report | None = None,
    partial: Path | None = None,
    cancel: Switch | None = None,
    command: str | None = None,
) -> ScalingTestResult:
    """Run one configuration.

    Parameters
    ----------
    config : ScalingTestConfig
    full : bool
        Whether to simulate all operations that are offered in the test, in place of as many as the precision needs.
    threads : int, optional
        Default: one for each processor; the results do not depend on it.
    progress : callable, optional
        Called with a `Progress` as work gets done, from one thread or another but never from two at once.
    partial : path, optional
        Folder in which scenarios are kept until all are done; one that an earlier attempt has left is gone on with.
    cancel : Switch, optional
        Once it is set the test stops, with `Cancelled`.
    command : str, optional
        Command line to note down.

    Raises
    ------
    UsageError
        If a scenario's graph, matrix or table of rounds does not serve, before anything runs.
    """
    scenarios = config.scenarios(full)
    check_scenarios(scenarios)
    started = datetime.now(UTC)
    provenance = provenance_of(config, started, command)
    watch = HostMonitor()
    store = _kept(partial, config, full) if partial else None

    def go_on(_: Progress) -> None:
        if cancel is not None and cancel.is_set():
            raise Cancelled

    def report(told: Progress) -> None:
        go_on(told)
        if progress is not None:
            progress(told)

    with watch if config.enable_resource_monitoring else nullcontext():
        rows = _rows_of(scenarios, threads, report, store)
        table = frame([{**row, "run_id": ""} for row in rows], SCENARIO_COLUMNS)
        advice = _recommend(config, table, threads, go_on)
    return ScalingTestResult(
        config, started, datetime.now(UTC), table, watch.samples, advice, provenance | {"full": full}
    )  # fmt: skip


def drop_partial(partial: Path) -> None:
    """Remove what was kept of a test once its result is stored."""
    shutil.rmtree(partial, ignore_errors=True)


def _kept(partial: Path, config: ScalingTestConfig, full: bool) -> RunStore:
    """Journal of a test: the one that an earlier attempt at the same test has left, or a new one."""
    settings = config.to_dict() | {"full": full}
    if partial.is_dir():
        with suppress(UsageError):
            store = RunStore.resume(partial, settings)
            if store.provenance["prsm_scale"] == __version__:
                return store
        drop_partial(partial)
    return RunStore.create(partial.parent, settings, run_id=partial.name)


def _rows_of(scenarios: list[Scenario], threads: int | None, report: Report, store: RunStore | None) -> list[dict[str, Any]]:
    """Simulate what the store does not hold, two scenarios at a time: one computes while the other is prepared."""
    from prsm_scale.columns import records

    rows = {row["scenario_id"]: row for row in records(store.scenarios)} if store is not None else {}
    # what takes longest first, so that all threads have work to the end
    todo = sorted((one for one in scenarios if one.scenario_id not in rows), key=lambda one: one.nodes, reverse=True)
    crew, lock = Crew(threads), threading.Lock()

    def tell(told: Progress) -> None:
        crew.check()
        report(told)

    meter = Meter(todo, tell)

    def keep(row: dict[str, Any]) -> None:
        with lock:
            if store is not None:
                store.append(row)
            rows[row["scenario_id"]] = row

    crew.each(lambda scenario: run_scenario(scenario, crew, meter, keep), todo, _AT_A_TIME)
    return [rows[one.scenario_id] for one in scenarios]


def _recommend(config: ScalingTestConfig, table: pd.DataFrame, threads: int | None, report: Report) -> dict[str, Any]:
    """Try changes of the system under the first network condition."""
    from prsm_scale.experiments.recommending import recommend

    basis = table[table["network_condition"] == config.network_conditions[0].value]
    return recommend(basis, threads=threads, progress=report).to_dict()
