"""Run the ladders, keep what they say."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prsm_scale.axes import Engine, as_tuple
from prsm_scale.columns import VALIDATION_COLUMNS
from prsm_scale.config import Scenario
from prsm_scale.crew import Crew
from prsm_scale.engine import simulate_scenario
from prsm_scale.errors import UsageError, one_of
from prsm_scale.ladders import closed_forms, engines, measurements, peers
from prsm_scale.ladders.cases import load_cases
from prsm_scale.ladders.checks import Check
from prsm_scale.ladders.summary import Bar, summarise
from prsm_scale.ladders.tasks import Task
from prsm_scale.outcome import Outcome
from prsm_scale.progress import Progress, Report

if TYPE_CHECKING:
    import pandas as pd


class Ladder(StrEnum):
    """What the program is held against."""

    CLOSED_FORMS = closed_forms.LADDER
    ENGINES = engines.LADDER
    PEERS = peers.LADDER
    MEASUREMENTS = measurements.LADDER


_ENGINES = (Engine.ROUNDS.value, Engine.EVENTS.value)


@dataclass(frozen=True, eq=False)
class Validation:
    """What the ladders say.

    Attributes
    ----------
    settings : dict
        Arguments of `validate`.
    checks : tuple of Check
        One for each prediction.
    """

    settings: dict[str, Any]
    checks: tuple[Check, ...]

    @property
    def table(self) -> pd.DataFrame:
        """One row a prediction, see `prsm_scale.columns.VALIDATION_COLUMNS`."""
        from prsm_scale.store import frame

        return frame([check.row() | {"run_id": ""} for check in self.checks], VALIDATION_COLUMNS)

    @property
    def page(self) -> str:
        """All of it as a Markdown page."""
        from prsm_scale.report.validation import page

        return page(self)

    @property
    def bars(self) -> list[Bar]:
        """How each group of each ladder does."""
        return summarise(self.checks)

    @property
    def met(self) -> bool:
        """Whether every bar is met."""
        return all(bar.met for bar in self.bars)

    def save(self, out_dir: str | os.PathLike[str] = "results", command: str | None = None) -> Path:
        """Store the table and its page in a new folder under `out_dir`, and return that folder.

        Raises
        ------
        UsageError
            If the folder cannot be written.
        PrsmScaleError
            If a file cannot be written.
        """
        from prsm_scale.ladders.store import write_checks

        return write_checks(out_dir, [check.row() for check in self.checks], self.page, self.settings, command)


def validate(
    ladders: str | Iterable[str] = tuple(Ladder),
    quick: bool = False,
    engine: str | None = None,
    cases: str | os.PathLike[str] | None = None,
    threads: int | None = None,
    progress: Report | None = None,
) -> Validation:
    """Hold the program against closed forms, its own other engine, peers, and measured systems.

    Parameters
    ----------
    ladders
        Some of ``closed_forms``, ``engines``, ``peers`` and ``measurements``. Default: all.
    quick
        Leave out what takes long: most of the grid of engines, nine tenths of the peers' operations.
    engine
        Engine to hold against closed forms, peers and measurements. Default: both against closed forms and peers; for a measured
        system the one that its case names, else rounds.
    cases
        TOML file of measured systems of your own; then only these are run.
    threads
        Default: one for each processor; the results do not depend on it.
    progress
        Called as tasks get done.

    Returns
    -------
    Validation

    Raises
    ------
    UsageError
        For what is not allowed, before anything runs.
    """
    chosen, file = check_ladders(ladders), None if cases is None else str(cases)
    tasks = planned(chosen, quick, engine, file)
    settings = {"ladders": [str(ladder) for ladder in chosen], "quick": quick, "engine": engine, "cases": file}
    return Validation(settings, _Crew(len(tasks), threads, progress).run(tasks))


class _Crew(Crew):
    """Runs tasks side by side, one thread each, and tells how far they have come."""

    def __init__(self, total: int, threads: int | None, report: Report | None) -> None:
        super().__init__(threads)
        self.total, self.report = total, report
        self.begun, self.done, self.messages = time.perf_counter(), 0, 0
        self.lock = threading.Lock()

    def run(self, tasks: Sequence[Task]) -> tuple[Check, ...]:
        """Checks of all tasks, in the order of the tasks."""
        return tuple(check for checks in self.each(self._run, tasks) for check in checks)

    def _run(self, task: Task) -> list[Check]:
        self._tell(task)
        checks = list(task.run(self._simulate))
        with self.lock:
            self.done += 1
        return checks

    def _simulate(self, scenario: Scenario) -> Outcome:
        outcome = simulate_scenario(scenario, 1, lambda *_: self.check())
        with self.lock:
            self.messages += outcome.messages
        return outcome

    def _tell(self, task: Task) -> None:
        with self.lock:
            rate = self.messages / (time.perf_counter() - self.begun)
            if self.report is not None:
                self.report(Progress(self.done, self.total, self.messages, rate, None, task.name, 0.0))


def planned(ladders: Iterable[Ladder], quick: bool = False, engine: str | None = None, cases: str | None = None) -> list[Task]:
    """What `validate` would run: some ladders, or the cases of a file.

    Raises
    ------
    UsageError
        As `validate` does.
    """
    if engine is not None and engine not in _ENGINES:
        raise UsageError("engine", engine, one_of(_ENGINES, engine))
    both = (engine,) if engine else _ENGINES
    makers: dict[Ladder, Callable[[], list[Task]]] = {
        Ladder.CLOSED_FORMS: lambda: closed_forms.tasks(both),
        Ladder.ENGINES: lambda: engines.tasks(quick),
        Ladder.PEERS: lambda: peers.tasks(both, quick),
        Ladder.MEASUREMENTS: lambda: measurements.tasks(load_cases(cases), engine),
    }
    chosen = ladders if cases is None else (Ladder.MEASUREMENTS,)
    return [task for ladder in chosen for task in makers[ladder]()]


def check_ladders(names: str | Iterable[str]) -> tuple[Ladder, ...]:
    """Check names of ladders and bring them into their order.

    Raises
    ------
    UsageError
        If one is not there, or there are none.
    """
    given = as_tuple(names)
    for name in given or ("",):
        if name not in list(Ladder):
            raise UsageError("ladder", name, one_of(Ladder, name))
    return tuple(ladder for ladder in Ladder if ladder in given)
