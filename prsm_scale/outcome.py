"""What a simulation gives, whichever engine ran it: operations, what the system can do, and their row of results."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from prsm_scale.axes import Engine
from prsm_scale.capacity import Work
from prsm_scale.estimates import effective_size, half_width, mean_latency
from prsm_scale.plans import Plan
from prsm_scale.system import System

FIRST, MOST = 368, 50_000
"""Operations simulated at first and at most, where the user leaves the number to the precision.

The first are as many as bound the 99th percentile from above with 97.5 % probability: 0.99**368 < 0.025. They are whole sixteens.
"""
_GROWTH, _MOST_GROWTH = 1.05, 3.0
"""Margin on the number of operations that the variance seen so far asks for, and how far it grows at once."""
_STEP = 1.3
"""How far it grows at once for the 99th percentile, of which the few operations beyond it give but a rough idea."""


COPY = 1 << 24
"""Added to an operation's number for each further start."""


class Progress(Protocol):
    """What is called as work gets done, from any thread."""

    def __call__(self, done: int, needed: int, messages: int = 0, /) -> None:
        """Take operations done since the last call, operations known to be needed, and messages simulated since the last call."""


@dataclass(frozen=True, eq=False)
class Operations:
    """Operations of one or more replicates of a system, one element or row for each.

    Attributes
    ----------
    replicate, operation : ndarray of uint32, shape (N,)
    latency_ms : ndarray of float64, shape (N,)
        Request to last needed reply; inf if that never comes.
    commit_ms : ndarray of float64, shape (N,)
        Proposal to commit by n - f replicas; inf if never.
    flight_ms : ndarray of float64, shape (N,)
        Proposal to the primary's own commit, for which it has a place in the pipeline window; inf if never.
    breakdown_ms : ndarray of float64, shape (N, 6)
        Propagation, transmission, CPU, queueing, retransmission, view change.
    sent, useful, repeats : ndarray of int64, shape (N, rounds)
        Messages sent; those that arrived before their receiver's round was complete; losses.
    transmissions : ndarray of float64, shape (N, rounds)
        Transmissions over links, hops and repeats included.
    view_changes : ndarray of int64, shape (N,)
        Views that failed before the operation was answered.
    violated : ndarray of bool, shape (N,)
        Whether honest replicas committed different values.
    waits : ndarray of float64, shape (N, 2)
        By how much the waits behind other operations that were drawn for it, at its replicas and at relays, are longer than on
        average, in units of the mean; 0 where none is drawn.
    lost_ms : ndarray of float64, shape (N,)
        By how much longer than on average its request took for retransmissions; 0 where that is not known.
    """

    replicate: NDArray[np.uint32]
    operation: NDArray[np.uint32]
    latency_ms: NDArray[np.float64]
    commit_ms: NDArray[np.float64]
    flight_ms: NDArray[np.float64]
    breakdown_ms: NDArray[np.float64]
    sent: NDArray[np.int64]
    useful: NDArray[np.int64]
    repeats: NDArray[np.int64]
    transmissions: NDArray[np.float64]
    view_changes: NDArray[np.int64]
    violated: NDArray[np.bool_]
    waits: NDArray[np.float64]
    lost_ms: NDArray[np.float64]

    @property
    def starts(self) -> int:
        """How often each of them starts, one after another in the arrays."""
        return int(self.operation.max(initial=0)) // COPY + 1

    @property
    def alike(self) -> NDArray[np.int64] | None:
        """Number that the starts of an operation have alike; None where each starts once."""
        return None if self.starts == 1 else self.replicate.astype(np.int64) << 32 | self.operation % COPY

    @property
    def mean_flight_ms(self) -> float:
        """Mean time in flight of those that are decided; inf where none is."""
        decided = self.flight_ms[np.isfinite(self.flight_ms)]
        return float(decided.mean()) if decided.size else np.inf


@dataclass(frozen=True)
class Capacity:
    """What a system can do, and what it did.

    Attributes
    ----------
    saturation_per_ms : float
        Proposals per ms at most, averaged over placements of faulty replicas; 0 where nothing ends, inf where nothing limits.
    bottleneck : str or None
        The resource that limits it, of most placements.
    demand_ms : dict of str to float
        Time for which each proposal occupies the busiest member of each resource class, and its share of the window, which is
        inf where no operation ends.
    done_per_ms : float
        Proposals per ms that ended in time at the offered load.
    """

    saturation_per_ms: float
    bottleneck: str | None
    demand_ms: dict[str, float]
    done_per_ms: float


@dataclass(frozen=True, eq=False)
class Outcome:
    """A simulated scenario.

    Attributes
    ----------
    plan : Plan
    operations : Operations
        In the order simulated, waiting behind others and backlog included.
    clusters, strata : ndarray of int64, shape (N,)
        Number of the group of each operation, independent of the others, and of the stratum that the group was drawn from.
    systems : tuple of System
        One, or one for each replicate where faulty replicas differ.
    works : tuple of Work
    capacity : Capacity
    wall_seconds : float
    messages : int
        Messages simulated.
    failover : (float, float) or None
        View changes and latency, ms, of the first operation of a run that begins in view 0, on average over placements of faulty
        replicas; None where none is faulty.
    shared : (float, float)
        Standard error of mean latency, ms, that clusters do not show, as they share how messages travel; the number of placements
        that tells it.
    """

    plan: Plan
    operations: Operations
    clusters: NDArray[np.int64]
    strata: NDArray[np.int64]
    systems: tuple[System, ...]
    works: tuple[Work, ...]
    capacity: Capacity
    wall_seconds: float
    messages: int
    failover: tuple[float, float] | None = None
    shared: tuple[float, float] = (0.0, 1.0)

    @property
    def scenario(self) -> Any:
        """The scenario simulated."""
        return self.plan.scenario

    @property
    def homogeneous(self) -> bool:
        """Whether clusters of operations are alike, and operations of a cluster independent: no placements, queues or copies."""
        return len(self.systems) == 1 and self.scenario.engine == Engine.ROUNDS and self.operations.starts == 1

    @property
    def weights(self) -> NDArray[np.float64]:
        """Share of the operations whose work each of `works` is."""
        if len(self.works) == 1:
            return np.ones(1)
        count = np.bincount(self.operations.replicate, minlength=len(self.works))
        return np.asarray(count / count.sum(), np.float64)

    @property
    def latency_ms(self) -> NDArray[np.float64]:
        """Latency of each operation, ms; inf if it never ends."""
        return self.operations.latency_ms

    @property
    def commit_ms(self) -> NDArray[np.float64]:
        """Commit time of each operation, ms; inf if it never commits."""
        return self.operations.commit_ms

    @cached_property
    def row(self) -> dict[str, Any]:
        """The scenario's row of results, see `prsm_scale.columns.SCENARIO_COLUMNS`."""
        from prsm_scale.metrics import scenario_row

        return scenario_row(self)

    def __repr__(self) -> str:
        """Tell the scenario and its main results in one line."""
        scenario, row = self.scenario, self.row
        mean, most = row.get("mean_latency_ms"), row["saturation_ops_per_second"]
        told = f"mean latency {mean:.4g} ms" if mean is not None else row["reason"]
        can = f", at most {most:.3g} operations/s ({row['bottleneck']})" if row["bottleneck"] else ""
        size = self.operations.latency_ms.size
        return f"<Outcome: n = {scenario.nodes}, {scenario.topology}, {scenario.network}, {size} operations: {told}{can}>"


def join(parts: Sequence[Operations]) -> Operations:
    """Put operations one after another."""
    if len(parts) == 1:
        return parts[0]
    names = Operations.__dataclass_fields__
    return Operations(**{name: np.concatenate([getattr(part, name) for part in parts]) for name in names})


def as_of(operations: Operations, replicate: int, count: int) -> Operations:
    """So many operations of another replicate that go as these do, in turn."""
    number = np.arange(count, dtype=np.uint32)
    names = Operations.__dataclass_fields__
    same = {name: getattr(operations, name)[number % operations.operation.size] for name in names}
    return Operations(**same | {"replicate": np.full(count, replicate, np.uint32), "operation": number})


def more_operations(
    scenario: Any,
    operations: Operations,
    clusters: NDArray[np.int64],
    strata: NDArray[np.int64],
    homogeneous: bool,
    most: int,
    reach: int,
) -> int:
    """Operations that bring the mean's interval within the precision and bound the 99th percentile, by what is seen.

    Parameters
    ----------
    scenario : Scenario
    operations : Operations
    clusters, strata : ndarray of int64, shape (N,)
        See `Outcome`.
    homogeneous : bool
        Whether operations of different clusters are alike; see `estimates.effective_size`.
    most, reach : int
        Operations at most, and at most where that is as many as it takes.

    Returns
    -------
    int
        Of all; 0 if there are enough.
    """
    ended = operations.latency_ms <= scenario.operation_timeout_ms
    if ended.sum() < 2:
        return 0
    mean, error, groups = mean_latency(operations, ended, clusters, strata)
    latency, clusters, strata = operations.latency_ms[ended], clusters[ended], strata[ended]
    share = (half_width(error, groups) / mean / scenario.precision) ** 2 if mean > 0 else 0.0
    few = FIRST / effective_size(latency, clusters, strata, 0.99, homogeneous)
    if max(share, few) <= 1.0:
        return 0
    growth = min(_GROWTH * max(share, min(few, _STEP)), _MOST_GROWTH)
    limit = reach if operations.latency_ms.size * _GROWTH * max(share, few) <= reach else most
    return min(int(operations.latency_ms.size * growth) + 1, limit)
