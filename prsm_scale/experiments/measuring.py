"""A scenario as an experiment sees it, and the ratio of two of them with its interval.

Two scenarios of the same seed share the draws of their operations by number. What an operation adds to a mean, relative to that
mean, is nearly the same in both, so that the ratio of two means is known far better than either.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from prsm_scale.config import Scenario
from prsm_scale.engine import simulate_scenario
from prsm_scale.estimates import half_width, mean_and_error
from prsm_scale.latest import Latest
from prsm_scale.metrics import infeasible_row, memory_mb, why_infeasible
from prsm_scale.outcome import Outcome

Vector = NDArray[np.float64]
_FEWEST_CLUSTERS: Final = 8


@dataclass(frozen=True, eq=False)
class Share:
    """What single operations add to a quantity.

    Attributes
    ----------
    value : float
        The quantity.
    keys : ndarray of int64, shape (N,)
        Numbers of the operations.
    clusters : ndarray of int64, shape (N,)
        Numbers of their independent groups.
    relative : ndarray of float64, shape (N,)
        By how much each operation, taken alone, is above the value, relative to it. Their mean is 0, and the error of that is the
        error of the value's logarithm.
    strata : ndarray of int64, shape (N,), optional
        Numbers of the strata of the groups; one by default.
    """

    value: float
    keys: NDArray[np.int64]
    clusters: NDArray[np.int64]
    relative: Vector
    strata: NDArray[np.int64] | None = None

    @property
    def half_width(self) -> float:
        """Half the 95 % interval of the value's logarithm."""
        return half_width(*mean_and_error(self.relative, self.clusters, self.strata)[1:])


@dataclass(frozen=True, eq=False)
class Measured:
    """What was simulated of a scenario.

    Attributes
    ----------
    row : dict
        Its row of SCENARIO_COLUMNS.
    latency : Share or None
        Mean latency in ms of the operations that were answered in time; None where none was.
    throughput : Share or None
        Saturation throughput in operations per second; None where nothing is answered or nothing limits it.
    """

    row: dict[str, Any]
    latency: Share | None
    throughput: Share | None

    @property
    def feasible(self) -> bool:
        """Whether it could be simulated."""
        return bool(self.row.get("feasible", True))

    @property
    def success(self) -> float:
        """Share of operations that were answered in time."""
        return float(self.row.get("success_rate") or 0.0)

    @property
    def overloaded(self) -> bool:
        """Whether more is offered than it can do."""
        used = self.row.get("utilisation")
        return used is not None and used >= 1.0


@dataclass(frozen=True)
class Effect:
    """A quantity before and after a change.

    Attributes
    ----------
    before, after : float
        Its values, over the operations that both have where these are paired.
    ratio, low, high : float
        after / before, and the 95 % interval of that.
    basis : str
        Where the interval comes from: ``exact``, as nothing in it was drawn by operation; ``paired`` differences of operations
        with the same draws; or ``independent`` errors.
    """

    before: float
    after: float
    ratio: float
    low: float
    high: float
    basis: str


_known: Latest[str, Measured] = Latest(512)


def measure(scenario: Scenario) -> Measured:
    """Simulate a scenario on one thread, or remember what came out when this process did so before."""
    return _known.get(scenario.scenario_id, lambda: _measured(scenario))


def _measured(scenario: Scenario) -> Measured:
    reason = why_infeasible(scenario)
    return Measured(infeasible_row(scenario, reason, memory_mb(scenario)), None, None) if reason else _simulated(scenario)


def _simulated(scenario: Scenario) -> Measured:
    outcome = simulate_scenario(scenario, threads=1)
    return Measured(outcome.row, _latency(outcome), _throughput(outcome))


def _keys(outcome: Outcome) -> NDArray[np.int64]:
    operations = outcome.operations
    return operations.replicate.astype(np.int64) << 32 | operations.operation.astype(np.int64)


def _latency(outcome: Outcome) -> Share | None:
    ended = outcome.latency_ms <= outcome.scenario.operation_timeout_ms
    if not ended.any():
        return None
    latency = outcome.latency_ms[ended]
    mean = float(latency.mean())
    relative = latency / mean - 1.0 if mean else np.zeros(latency.size)
    return Share(mean, _keys(outcome)[ended], _units(outcome)[ended], relative, outcome.strata[ended])


def _throughput(outcome: Outcome) -> Share | None:
    """What operations say of the capacity: that of their placement of faulty replicas, or their time in a window that binds."""
    value = outcome.row["saturation_ops_per_second"]
    if not value:
        return None
    replicate, flight = outcome.operations.replicate, outcome.operations.flight_ms
    relative = np.zeros(replicate.size)
    if len(outcome.systems) > 1:
        each = np.array([_place_capacity(outcome, k) for k in range(len(outcome.systems))])
        mean = float(np.average(each, weights=outcome.weights))
        if 0.0 < mean < math.inf:
            relative = (each / mean - 1.0)[replicate]
    elif outcome.capacity.bottleneck == "pipeline_window":
        finite = np.isfinite(flight)
        relative[finite] = 1.0 - flight[finite] / flight[finite].mean()
    return Share(value, _keys(outcome), _units(outcome), relative, outcome.strata)


def _place_capacity(outcome: Outcome, place: int) -> float:
    """Proposals per ms of one placement of faulty replicas."""
    flight = outcome.operations.flight_ms[outcome.operations.replicate == place]
    finite = flight[np.isfinite(flight)]
    if not finite.size:
        return 0.0
    busiest = max(outcome.works[place].busiest_ms, float(finite.mean()) / outcome.scenario.window)
    return finite.size / flight.size / busiest if busiest > 0.0 else math.inf


def _units(outcome: Outcome) -> NDArray[np.int64]:
    """Independent groups of operations; each one alone where these are too few: the strata that they share make it worth more."""
    few = np.unique(outcome.clusters).size < _FEWEST_CLUSTERS
    return np.arange(outcome.clusters.size) if few and len(outcome.systems) == 1 else outcome.clusters


def effect(before: Share | None, after: Share | None) -> Effect | None:
    """Ratio of a quantity after a change to that before, with its 95 % interval, by the delta method on its logarithm.

    Parameters
    ----------
    before, after : Share or None
        Where the numbers of operations are the same, each pair's difference counts; operations of one alone are left out.

    Returns
    -------
    Effect or None
        None where one is not known.
    """
    if before is None or after is None or before.value <= 0.0 or after.value <= 0.0:
        return None
    ratio = after.value / before.value
    if not before.relative.any() and not after.relative.any():
        return Effect(before.value, after.value, ratio, ratio, ratio, "exact")
    _, here, there = np.intersect1d(before.keys, after.keys, return_indices=True)
    if here.size * 2 > max(before.keys.size, after.keys.size):
        difference = after.relative[there] - before.relative[here]
        strata = None if after.strata is None else after.strata[there]
        spread, basis = Share(ratio, after.keys[there], after.clusters[there], difference, strata).half_width, "paired"
    else:
        spread, basis = math.hypot(before.half_width, after.half_width), "independent"
        here, there = np.arange(before.keys.size), np.arange(after.keys.size)
    was = before.value * (1.0 + float(before.relative[here].mean()))
    is_now = after.value * (1.0 + float(after.relative[there].mean()))
    ratio = is_now / was
    return Effect(was, is_now, ratio, ratio * math.exp(-spread), ratio * math.exp(spread), basis)
