"""How far a run has come."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from prsm_scale.config import Scenario


@dataclass(frozen=True)
class Progress:
    """How far a sweep has come.

    Attributes
    ----------
    done, total : int
        Scenarios.
    messages : int
        Messages simulated so far.
    messages_per_second : float
    seconds_left : float or None
        None while nothing is known.
    current : str
        What is under way.
    share : float
        Part of the scenario under way that is done; of several, the sum of their parts.
    """

    done: int
    total: int
    messages: int
    messages_per_second: float
    seconds_left: float | None
    current: str
    share: float


Report = Callable[[Progress], None]


def label(scenario: Scenario) -> str:
    """Name a scenario that is under way."""
    return f"n = {scenario.nodes}, {scenario.topology}, {scenario.network}"


class Meter:
    """Turns what gets done of scenarios, one after another or several at once, into `Progress`.

    Parameters
    ----------
    scenarios
        All that will be simulated.
    report
        What to call; from one thread or another, but never from two at once.
    """

    def __init__(self, scenarios: Sequence[Scenario], report: Report | None) -> None:
        self.report = report
        self.total, self.weight = len(scenarios), sum(weight(one.nodes) for one in scenarios)
        self.begun = time.perf_counter()
        self.done, self.messages, self.passed = 0, 0, 0.0
        self.under_way: list[Gauge] = []
        self.lock = threading.Lock()

    def begin(self, scenario: Scenario) -> Gauge:
        """Take a scenario for one that is under way."""
        gauge = Gauge(self, scenario)
        with self.lock:
            self.under_way.append(gauge)
            self.tell(gauge.name)
        return gauge

    def tell(self, current: str) -> None:
        """Report; called with the lock held."""
        if self.report is None:
            return
        seconds = time.perf_counter() - self.begun
        passed = self.passed + sum(one.share * one.weight for one in self.under_way)
        left = seconds * (self.weight / passed - 1.0) if passed > 0 else None
        messages = self.messages + sum(one.messages for one in self.under_way)
        rate = messages / seconds if seconds > 0 else 0.0
        share = sum(one.share for one in self.under_way)
        self.report(Progress(self.done, self.total, messages, rate, left, current, share))


class Gauge:
    """What a scenario that is under way tells its `Meter`."""

    def __init__(self, meter: Meter, scenario: Scenario) -> None:
        self.meter, self.name, self.weight = meter, label(scenario), weight(scenario.nodes)
        self.operations, self.needed, self.messages = 0, 1, 0

    @property
    def share(self) -> float:
        """Part that is done."""
        return min(1.0, self.operations / self.needed)

    def tick(self, done: int, needed: int, messages: int = 0) -> None:
        """Count operations, and their messages; called from any thread."""
        with self.meter.lock:
            self.operations += done
            self.needed = max(needed, self.needed)
            self.messages += messages
            self.meter.tell(self.name)

    def end(self, messages: int) -> None:
        """Count the scenario as done."""
        meter = self.meter
        with meter.lock:
            meter.under_way.remove(self)
            meter.done += 1
            meter.messages += messages
            meter.passed += self.weight
            meter.tell(self.name)


def weight(nodes: int) -> float:
    """How long a scenario of so many replicas takes, beside others."""
    return float(nodes) ** 2
