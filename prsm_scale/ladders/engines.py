"""Ladder (b): the rounds engine held against the events engine, over topologies, conditions, loads and sizes."""

from __future__ import annotations

import math
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from importlib.resources import files
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from prsm_scale.axes import Dissemination, Engine
from prsm_scale.config import Scenario
from prsm_scale.environments import resolve_condition
from prsm_scale.ladders.checks import Check, Estimate, relative_error
from prsm_scale.ladders.quantities import METRICS, predicted
from prsm_scale.ladders.tasks import Simulate, Task, about

LADDER: Final = "engines"
COLUMNS: Final = (
    "mean_latency_ms",
    "median_latency_ms",
    "p99_latency_ms",
    "saturation_ops_per_second",
    "message_count",
    "bytes_per_operation",
)
"""Quantities compared, besides those that have a bar and the distance between the two distributions of latency."""

_ROUNDS_OPERATIONS: Final = 4
"""Operations on the rounds engine for each on the events engine."""
_HEAVY_LOAD: Final = 0.7


@dataclass(frozen=True)
class Point:
    """A scenario for both engines, at one load.

    Attributes
    ----------
    settings : dict
        Of the scenario.
    load : float
        Rate over capacity; 0 for operations one at a time.
    operations : int
        That the events engine counts.
    """

    settings: dict[str, Any]
    load: float
    operations: int

    @property
    def case(self) -> str:
        """The settings in few words."""
        told = {
            name: value for name, value in self.settings.items() if name not in ("nodes", "free_cpu", "bandwidth_mbps", "window")
        }
        words = [f"n = {self.settings['nodes']}", *(_WORDS.get(name, "{}").format(value) for name, value in told.items())]
        return ", ".join([*words, f"load {self.load:g}"])


_WORDS: Final = {"byzantine_ratio": "silent {:g}", "payload_bytes": "{} B", "batch": "batch {}"}


def grid(quick: bool = False) -> Iterator[Point]:
    """Points of data/engines.toml, all or the quick ones."""
    for one in _data()["sets"]:
        for point in one["points"]:
            own = dict(point)
            loads, fast = own.pop("loads", one["loads"]), own.pop("quick", ())
            operations = own.pop("operations", one["operations"])
            yield from (Point(one["settings"] | own, load, operations) for load in (fast if quick else loads))


def tasks(quick: bool = False) -> list[Task]:
    """One task for each point of the grid."""
    bars = _data()["bars"]
    return [Task(point.case, partial(_run, point, bars)) for point in grid(quick)]


def _data() -> dict[str, Any]:
    return tomllib.loads((files("prsm_scale") / "data" / "engines.toml").read_text(encoding="utf-8"))


def _run(point: Point, bars: Mapping[str, Mapping[str, float]], simulate: Simulate) -> Iterable[Check]:
    rate = 0.0
    if point.load > 0.0:
        idle = simulate(Scenario(**point.settings, rate=0.0, operations=64))
        rate = point.load * float(idle.row["saturation_ops_per_second"])
    rounds = Scenario(**point.settings, rate=rate, operations=_ROUNDS_OPERATIONS * point.operations)
    events = Scenario(**point.settings, rate=rate, operations=point.operations, engine=Engine.EVENTS.value)
    ours, theirs = simulate(rounds), simulate(events)
    regime = regime_of(rounds, rate / (theirs.row["saturation_ops_per_second"] or math.inf))
    spread = "direct" if rounds.dissemination == Dissemination.DIRECT else "relayed"
    check = partial(Check, LADDER, point.case, f"{regime}, {spread}", **about(rounds))
    own_bars = {**bars["all"], **bars.get(regime, {})}
    level = own_bars.pop("ks_level", None)
    for metric in dict.fromkeys((*COLUMNS, *own_bars)):
        unit = METRICS[metric]
        found, reference = predicted(ours, metric, unit), predicted(theirs, metric, unit)
        if found is not None and reference is not None:
            error, bar = relative_error(found, reference), own_bars.get(metric)
            yield check(metric=metric, unit=unit, predicted=found, reference=reference, error=error, bar=bar)
    distance = Estimate.exact(ks_distance(ours.latency_ms, theirs.latency_ms))
    bar = None if level is None else ks_critical(level, ours.latency_ms.size, theirs.latency_ms.size)
    yield check(metric="ks_distance", unit="", predicted=distance, error=distance, bar=bar)


def regime_of(scenario: Scenario, load: float) -> str:
    """Name of the regime that decides how far the engines may differ.

    Parameters
    ----------
    scenario
    load
        Rate over the capacity that the events engine measures.
    """
    if scenario.free_cpu and math.isinf(resolve_condition(scenario).bandwidth_mbps):
        return "no contention"
    if load > 1.0:
        return "overload"
    return "above 70 %" if load > _HEAVY_LOAD else "below 70 %"


def ks_distance(one: NDArray[np.float64], other: NDArray[np.float64]) -> float:
    """Largest difference between two empirical distribution functions."""
    both = np.concatenate([one, other])
    below = [np.searchsorted(np.sort(values), both, side="right") / values.size for values in (one, other)]
    return float(np.abs(below[0] - below[1]).max())


def ks_critical(level: float, size: int, other: int) -> float:
    """Distance that two samples of one law pass with probability `level` (Smirnov's limit)."""
    return math.sqrt(-math.log(level / 2.0) / 2.0 * (size + other) / (size * other))
