"""What happened to single operations in the events engine, as tables; `prsm_scale.events.trace_operations` fills them."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

Ids = NDArray[np.int64]
Flags = NDArray[np.bool_]
Times = NDArray[np.float64]
Names = NDArray[np.str_]

STARTED, COMPLETED, COMMITTED, ENDED, FAILED = "started", "completed", "committed", "ended", "failed"
"""Moments of an operation, see `Marks`."""
SEND, RECEIVE, FORWARD, DUPLICATE, CHECK = "send", "receive", "forward", "duplicate", "check"
"""Jobs of a CPU, see `Jobs`."""


@dataclass(frozen=True, eq=False)
class _Table:
    """Columns of equal length."""

    operation: Ids

    def __len__(self) -> int:
        """Count the rows."""
        return int(self.operation.size)

    def take(self, rows: Flags | Ids) -> Self:
        """Keep the rows of a mask, or those of these numbers in their order."""
        return type(self)(**{column.name: getattr(self, column.name)[rows] for column in fields(self)})


@dataclass(frozen=True, eq=False)
class Hops(_Table):
    """Transmissions: one element for each time that a copy of a message was put onto a line.

    Nodes are the replicas, 0 to n - 1, and the client, n.

    Attributes
    ----------
    operation : ndarray of int64, shape (N,)
    round : ndarray of int64, shape (N,)
        Index into the trace's `rounds`.
    source, destination : ndarray of int64, shape (N,)
        Node that made the message, and node to which it is addressed; under gossip the receiver of this hop.
    sender, receiver : ndarray of int64, shape (N,)
        Nodes at the two ends of this hop.
    repeat : ndarray of int64, shape (N,)
        0 for the first transmission of this copy over this hop, 1, 2, ... for those after a loss.
    lost : ndarray of bool, shape (N,)
    ready_ms : ndarray of float64, shape (N,)
        Virtual time at which the copy was ready for the uplink, like all times that follow.
    leave_ms : ndarray of float64, shape (N,)
        When it started onto the uplink.
    arrive_ms : ndarray of float64, shape (N,)
        When its last byte arrived; inf if it was lost or its receiver is silent.
    received_ms : ndarray of float64, shape (N,)
        When it was through the downlink; inf if never.
    begin_ms, end_ms : ndarray of float64, shape (N,)
        Its job at the receiver's CPU. Both are `received_ms` where that costs nothing, and inf or NaN where there is none.
    useful : ndarray of bool, shape (N,)
        Whether it arrived before the receiver had completed the round.
    """

    round: Ids
    source: Ids
    destination: Ids
    sender: Ids
    receiver: Ids
    repeat: Ids
    lost: Flags
    ready_ms: Times
    leave_ms: Times
    arrive_ms: Times
    received_ms: Times
    begin_ms: Times
    end_ms: Times
    useful: Flags

    @property
    def arrived(self) -> Flags:
        """Whether each arrived at a node that lives."""
        return np.isfinite(self.arrive_ms)

    @property
    def to_silent(self) -> Flags:
        """Whether each went to a silent replica, of which nothing more is heard."""
        return ~self.lost & ~self.arrived

    @property
    def late(self) -> Flags:
        """Whether each arrived where it was to go, but was of no use there any more: too late, or not the first copy."""
        there: Flags = self.receiver == self.destination
        return self.arrived & there & ~self.useful


@dataclass(frozen=True, eq=False)
class Marks(_Table):
    """Moments at which something was reached.

    Attributes
    ----------
    operation : ndarray of int64, shape (N,)
    round : ndarray of int64, shape (N,)
        Index into the trace's `rounds`.
    replica : ndarray of int64, shape (N,)
        Where it was; n is the client.
    what : ndarray of str, shape (N,)
        "started": the client sent its request. "completed": the replica completed the round. "committed": as many replicas as the
        protocol asks for have completed the commit round. "ended": the client has its answer. "failed": it gave up.
    time_ms : ndarray of float64, shape (N,)
        Virtual time.
    """

    round: Ids
    replica: Ids
    what: Names
    time_ms: Times

    @property
    def completed(self) -> Flags:
        """Whether each is the end of a round: at a replica, or of the last one at the client."""
        return np.isin(self.what, (COMPLETED, ENDED))


@dataclass(frozen=True, eq=False)
class Jobs(_Table):
    """Jobs of the replicas' CPUs.

    Attributes
    ----------
    operation : ndarray of int64, shape (N,)
    round : ndarray of int64, shape (N,)
        Index into the trace's `rounds`.
    replica : ndarray of int64, shape (N,)
    what : ndarray of str, shape (N,)
        "send": sign and send copies. "receive": handle a message. "forward": pass one on. "duplicate": drop a further copy of a
        flooded message. "check": verify a quorum as a whole.
    begin_ms, end_ms : ndarray of float64, shape (N,)
        Virtual times.
    """

    round: Ids
    replica: Ids
    what: Names
    begin_ms: Times
    end_ms: Times


@dataclass(frozen=True, eq=False)
class Trace:
    """What happened to some operations of a scenario, with others around them.

    Attributes
    ----------
    scenario : Scenario
    rounds : tuple of str
        Names of the protocol's rounds.
    hops : Hops
    marks : Marks
    jobs : Jobs
    """

    scenario: Any
    rounds: tuple[str, ...]
    hops: Hops
    marks: Marks
    jobs: Jobs

    @property
    def nodes(self) -> int:
        """Number of replicas, and the client's number among the nodes."""
        return int(self.scenario.nodes)

    @property
    def operations(self) -> tuple[int, ...]:
        """Operations traced, in order."""
        return tuple(int(number) for number in np.unique(self.marks.operation))

    def of(self, operation: int) -> Trace:
        """Keep one operation, its transmissions in the order in which they left."""
        hops = self.hops.take(self.hops.operation == operation)
        hops = hops.take(np.argsort(hops.leave_ms, kind="stable"))
        marks = self.marks.take(self.marks.operation == operation)
        return Trace(self.scenario, self.rounds, hops, marks, self.jobs.take(self.jobs.operation == operation))

    def moment_ms(self, what: str) -> float | None:
        """Time of the first mark of a kind, None where there is none."""
        times = self.marks.time_ms[self.marks.what == what]
        return float(times.min()) if times.size else None

    def name(self, node: int) -> str:
        """Name a node as tables and figures do: a replica's number, or "client"."""
        return "client" if node == self.nodes else str(node)


def lanes(begin: NDArray[Any], end: NDArray[Any]) -> Ids:
    """Deal intervals over as few lanes as hold them without overlap.

    Examples
    --------
    >>> lanes(np.array([0, 1, 3]), np.array([2, 4, 5])).tolist()
    [0, 1, 0]
    """
    lane = np.zeros(begin.size, np.int64)
    free: list[Any] = []
    for k in np.argsort(begin, kind="stable"):
        open_lane = next((place for place, until in enumerate(free) if until <= begin[k]), len(free))
        free[open_lane : open_lane + 1] = [end[k]]
        lane[k] = open_lane
    return lane
