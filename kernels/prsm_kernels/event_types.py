"""Arrays of the events engine, and the columns of those that hold several things. Times in ms; `n` replicas, `R` rounds."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from .types import Ints

Doubles = NDArray[np.float64]

SOLO, OPEN, CLOSED = range(3)
"""How operations come: each in a system at rest, at given times, or when a client's last has ended."""

FINISHED, GOING, MORE_OPERATIONS, MORE_RECORDS, MORE_SLOTS, MORE_LOG = range(6)
"""What `events.run_events` returns: all counted operations have ended, its budget is spent, or arrays must grow."""

START, COPY, ARRIVE, RECEIVED, DONE, RESEND, TIMEOUT = range(7)
"""Kinds of events."""

HANDLE, FORWARD, DUPLICATE, FIRST, SEND, CHECK = range(6)
"""Kinds of CPU jobs: a message for this replica, one for another, a further and the first copy of a flooded one, a multicast, a
quorum's aggregate."""

KIND, JOB, SLOT, ROUND, NODE, FROM, SOURCE, DEST, EDGE, LOSSES, REPEAT, NEXT, LOG = range(13)
"""Columns of `EventState.record`."""
RECORD_COLUMNS = 16
PROPAGATED, TRANSMITTED, COMPUTED, REPEATED, TRAVEL, BASE = range(6)
"""Columns of `EventState.way_ms`: the parts of the whole way so far, then the hop's travel and base delay."""
NO_EDGE, NOWHERE, HERE = -1, -2, -3
"""In place of a record's edge: a direct link, no route, and a client at the replica's own site."""
CLIENT_LINE = -1
"""Sender of a hop that starts at a client's own line."""

(HEAP, SEQUENCE, FREE_RECORD, FREE_RECORDS, FREE_SLOT, NEXT_OPERATION, LAST_OPERATION, IN_FLIGHT, WAITING, WAITING_LAST,
 COUNTED, COUNTED_END, LEFT, TIMED, LOGGED, LOG_BEGIN, LOG_END, TODO_SLOT, TODO_FIRST, TODO_END, TODO_COMPLETES, GO,
 SPENT, POPPED) = range(24)  # fmt: skip
"""Columns of `EventState.scalars`."""
SCALARS = 24

ENDED, ADMITTED, HOLDS_PLACE, WAITS_FOR_PLACE = 1, 2, 4, 8
"""Bits of `EventState.slot_flags`."""

GONE, UNBORN = -1, -2
"""In place of an operation's slot."""

SENT, USEFUL, REPEATS, TRANSMISSIONS = range(4)
"""Columns of `EventState.counts`."""

CPU_BUSY, RELAY_CPU, EGRESS_BUSY, RELAY_EGRESS, INGRESS_BUSY, RELAY_INGRESS, SENT_BYTES = range(7)
"""Rows of `EventState.busy`."""

LOG_HOP, LOG_MARK, LOG_JOB = range(3)
MARK_STARTED, MARK_COMPLETED, MARK_COMMITTED, MARK_ENDED, MARK_FAILED = range(5)


class EventTable(NamedTuple):
    """A protocol's table for one system; see `types.Rounds`."""

    kind: Ints
    """(R,) `codes.TO_PRIMARY`, `AMONG_REPLICAS` or `TO_CLIENT`."""
    bytes: Doubles
    """(R,) bytes of a message on the wire."""
    sign_ms: Doubles
    """(R,) CPU time before the copies of a message."""
    send_ms: Doubles
    """(R,) CPU time of each copy."""
    receive_ms: Doubles
    """(R,) CPU time of a message at its receiver."""
    transit_ms: Doubles
    """(R,) CPU time of a message that is for others or known already."""
    quorum_ms: Doubles
    """(R, n) CPU time once a round's arrivals are complete."""
    need: Ints
    """(R, n) arrivals from others that complete the round; 0 for replicas that wait for none."""
    sends: NDArray[np.uint8]
    """(R, n) whether a replica sends in the round."""
    receives: NDArray[np.uint8]
    """(R, n) whether messages of the round are for this replica."""
    addressed: Ints
    """(R, n) replicas to which a sender's message goes."""
    keys: NDArray[np.uint32]
    """(R, 2) stream keys."""
    commit_round: int
    commit_need: int
    client_need: int
    primary: int
    replicate: int


class EventLoad(NamedTuple):
    """How operations come and what bounds them."""

    mode: int
    """`SOLO`, `OPEN` or `CLOSED`."""
    clients: int
    window: int
    """Operations that the primary has in flight at most."""
    timeout_ms: float
    contended: bool
    """False: CPU and lines cost nothing."""
    stepwise: bool
    """Whether copies that several cores make at a time compete for an uplink, so that each is an event."""
    margin: int
    """Records that one event may make at most."""


class EventState(NamedTuple):
    """The state of a run, its results and its log; made by `event_state.make_state`. `P` records, `S` slots, `K` operations."""

    scalars: NDArray[np.int64]
    clock: Doubles
    """(1,) present time."""
    heap_ms: Doubles
    """(P,) times of scheduled events, a heap with four children to a node."""
    heap_order: NDArray[np.int64]
    """(P,) sequence number times 2**24 plus record."""
    record: Ints
    """(P, RECORD_COLUMNS) messages, jobs and timers."""
    way_ms: Doubles
    """(P, 6)."""
    idle: Ints
    """(n,) cores without a job."""
    queue: Ints
    """(n, 4) first and last of the received copies that wait for a core, and of the replica's own steps; -1 none."""
    uplink_ms: Doubles
    """(n,) when the uplink is free."""
    downlink_ms: Doubles
    link_ms: Doubles
    """(m,) when each limited link is free; (1,) where none is limited."""
    edge_ms_per_byte: Doubles
    """(m,) 0 for links without a limit of their own."""
    busy: Doubles
    """(7, n) time for which resources were busy, summed over cores, and bytes sent."""
    link_busy: Doubles
    marks: Doubles
    """(2, 7, n) `busy` when the first and the last counted operation started."""
    link_marks: Doubles
    """(2, m)."""
    slot_operation: Ints
    """(S,) operation whose state a slot holds."""
    slot_records: Ints
    """(S,) records that belong to it."""
    slot_flags: NDArray[np.uint8]
    slot_next: Ints
    """(S,) next free slot, or next operation that waits for a place in the window."""
    committed: Ints
    replies: Ints
    proposed_ms: Doubles
    """(S,) when the primary proposed."""
    keys: NDArray[np.uint32]
    """(S, R, 2) key of each round."""
    stage: NDArray[np.int8]
    """(S, n) round that a replica is in."""
    count: Ints
    """(S, R, n) messages handled."""
    parts_ms: Doubles
    """(S, R, n, 4) where the time until a replica completed a round went: propagation, transmission, CPU, retransmission."""
    seen: NDArray[np.uint8]
    """(S, R, n, n) [.., source, node] when gossiping: whether a message has been received."""
    start_ms: Doubles
    """(K,) in for open loops: start of each operation."""
    client: Ints
    """(K,) replica with which the client sits."""
    slot_of: Ints
    """(K,) slot of an operation under way, `GONE` once nothing of it is left, `UNBORN` before it starts."""
    ended: NDArray[np.uint8]
    """(K,) 0 under way, 1 answered, 2 failed."""
    latency_ms: Doubles
    """(K,) inf unless answered."""
    commit_ms: Doubles
    """(K,) proposal to commit by `commit_need` replicas, inf if never."""
    flight_ms: Doubles
    """(K,) proposal to the primary's own commit, inf if never."""
    breakdown_ms: Doubles
    """(K, 6) by `codes.PROPAGATION` ..."""
    counts: NDArray[np.int64]
    """(K, R, 4)."""
    log_ms: Doubles
    """(L, 6) hop: ready, leave, arrive, received, begin, end; mark: time; job: begin, end."""
    log: Ints
    """(L, 11) hop: LOG_HOP, operation, round, source, destination, sender, receiver, repeat, lost, useful; mark: LOG_MARK,
    operation, round, replica, what; job: LOG_JOB, operation, round, replica, kind."""
    counter: NDArray[np.uint32]
    """(16,) drawing: first counter word of each copy."""
    base_ms: NDArray[np.float32]
    loss: NDArray[np.float32]
    travel_ms: NDArray[np.float32]
    """(16,) out of drawing."""
    lost: NDArray[np.uint32]
    key_lanes: NDArray[np.uint32]
    """(32,)."""
