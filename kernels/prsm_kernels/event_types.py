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

START, COPY, ARRIVE, RECEIVED, DONE, RESEND, TIMEOUT, TIMER, RESUME, ASK, ASK_AGAIN, SCRIPT, VOID = range(13)
"""Kinds of events; the last is what a crash has made of one."""

HANDLE, FORWARD, DUPLICATE, FIRST, SEND, CHECK = range(6)
"""Kinds of CPU jobs: a message for this replica, one for another, a further and the first copy of a flooded one, a multicast, a
quorum's aggregate."""

KIND, JOB, SLOT, ROUND, NODE, FROM, SOURCE, DEST, EDGE, LOSSES, REPEAT, NEXT, LOG, VIEW, SALT, CERTIFICATES = range(16)
"""Columns of `EventState.record`. `SALT` is how often the message has been sent before, plus, where it is the i-th invalid one
after it, i times `INVALID`."""
INVALID = 1 << 16
RECORD_COLUMNS = 16
PROPAGATED, TRANSMITTED, COMPUTED, REPEATED, TRAVEL, BASE = range(6)
"""Columns of `EventState.way_ms`: the parts of the whole way so far, then the hop's travel and base delay."""
NO_EDGE, NOWHERE, HERE = -1, -2, -3
"""In place of a record's edge: a direct link, no route, and a client at the replica's own site."""
CLIENT_LINE = -1
"""Sender of a hop that starts at a client's own line."""

(HEAP, SEQUENCE, FREE_RECORD, FREE_RECORDS, FREE_SLOT, NEXT_OPERATION, LAST_OPERATION, IN_FLIGHT, WAITING, WAITING_LAST,
 COUNTED, COUNTED_END, LEFT, TIMED, LOGGED, LOG_BEGIN, LOG_END, TODO_SLOT, TODO_FIRST, TODO_END, TODO_COMPLETES, GO,
 SPENT, POPPED, OLDEST, CLIENT_VIEW, ASKING, EPOCH, WANTS, ENTERS, RESUMES) = range(31)  # fmt: skip
"""Columns of `EventState.scalars`."""
SCALARS = 31

ENDED, ADMITTED, HOLDS_PLACE, WAITS_FOR_PLACE, OF_VIEW = 1, 2, 4, 8, 16
"""Bits of `EventState.slot_flags`; the last one is set where a slot is a view change's."""
KNOWN, PREPARED, COMMITTED, REPLIED = 1, 2, 4, 8
"""Bits of `EventState.marks`."""
NUMBER, OPERATION, PLACE = range(3)
"""Columns of `EventState.changing`."""
VIEWS = 64
"""Views that may be under way at a time."""
RESUMED = 64
"""Operations that a replica goes on with at once when it enters a view; the next are another event."""

GONE, UNBORN = -1, -2
"""In place of an operation's slot."""

SENT, USEFUL, REPEATS, TRANSMISSIONS = range(4)
"""Columns of `EventState.counts`."""

CPU_BUSY, RELAY_CPU, EGRESS_BUSY, RELAY_EGRESS, INGRESS_BUSY, RELAY_INGRESS, SENT_BYTES = range(7)
"""Rows of `EventState.busy`."""

LOG_HOP, LOG_MARK, LOG_JOB = range(3)
MARK_STARTED, MARK_COMPLETED, MARK_COMMITTED, MARK_ENDED, MARK_FAILED = range(5)


class EventTable(NamedTuple):
    """A protocol's table, then VIEW-CHANGE and NEW-VIEW; see `types.Rounds`. Roles are 0, the primary, and 1, a backup."""

    kind: Ints
    """(R + 2,) `codes.TO_PRIMARY`, `AMONG_REPLICAS` or `TO_CLIENT`."""
    bytes: Doubles
    """(R + 2,) bytes of a message on the wire."""
    sign_ms: Doubles
    """(R + 2,) CPU time before the copies of a message."""
    send_ms: Doubles
    """(R + 2,) CPU time of each copy."""
    receive_ms: Doubles
    """(R + 2,) CPU time of a message at its receiver."""
    transit_ms: Doubles
    """(R + 2,) CPU time of a message that is for others or known already."""
    quorum_ms: Doubles
    """(R + 2, 2) [round, role] CPU time once a round's arrivals are complete."""
    need: Ints
    """(R + 2, 2) arrivals from others that complete the round; 0 for replicas that wait for none."""
    sends: NDArray[np.uint8]
    """(R + 2, 2) whether a replica sends in the round."""
    receives: NDArray[np.uint8]
    """(R + 2, 2) whether messages of the round are for this replica."""
    addressed: Ints
    """(R + 2, 2) replicas to which a sender's message goes."""
    keys: NDArray[np.uint32]
    """(R, 2) stream keys."""
    seed: NDArray[np.uint32]
    """(2,)."""
    slow: Doubles
    """(n,) factor on a replica's CPU times."""
    rounds: int
    """R."""
    commit_round: int
    commit_need: int
    client_need: int
    rotating: bool
    """Whether each operation has the next replica for its primary."""
    replicate: int


class EventScript(NamedTuple):
    """What happens to replicas and links and when: row e holds from `at_ms[e]` on. `E` rows."""

    at_ms: Doubles
    """(E,) ascending from 0."""
    alive: NDArray[np.uint8]
    """(E, n) 0 while crashed."""
    slow: Doubles
    """(E, n) factor on the CPU time of jobs that begin."""
    group: Ints
    """(E, n) copies between different groups vanish when they would leave; a client belongs to its site's."""
    hold_ms: Doubles
    """(E, n) by how much a replica's own messages leave late."""
    loss: NDArray[np.float32]
    """(E,) further probability of each copy and hop to be lost."""
    delay_ms: Doubles
    """(E,) further delay of each copy and hop."""


class EventFaults(NamedTuple):
    """What replicas do about faults, and which are faulty how; see docs/faults.md."""

    view_timeout_ms: float
    client_timeout_ms: float
    joins: int
    """Others' VIEW-CHANGEs that a replica joins."""
    quorum: int
    """VIEW-CHANGEs of a view, one's own included."""
    certificate_bytes: float
    certificate_ms: Doubles
    """(2,) CPU time of each certificate in a received VIEW-CHANGE or NEW-VIEW."""
    certificate_sign_ms: float
    honest: NDArray[np.uint8]
    equivocates: NDArray[np.uint8]
    """(n,)."""
    side: NDArray[np.uint8]
    """(2, n) values that replicas vote for, as bits, under a primary that does not equivocate and under one that does."""
    drops: NDArray[np.uint8]
    """(n,) whether a replica passes on nothing for others."""
    invalid: Ints
    """(n,) invalid messages that follow each of a replica's own to replicas."""
    hold_ms: Doubles
    """(n,) by how much a replica's own messages leave late."""
    script: EventScript


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
    faulty: bool
    """Whether time-outs run, for replicas are faulty or a script makes them so; `EventFaults` is not read otherwise."""
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
    alive: NDArray[np.uint8]
    """(n,) 0 for a replica that is silent or has crashed."""
    idle: Ints
    """(n,) cores without a job."""
    queue: Ints
    """(n, 4) first and last of the received copies that wait for a core, and of the replica's own steps; -1 none."""
    uplink_ms: Doubles
    """(n,) by host, see `types.Machines.host`: when the uplink is free."""
    downlink_ms: Doubles
    link_ms: Doubles
    """(m,) when each limited link is free; (1,) where none is limited."""
    edge_ms_per_byte: Doubles
    """(m,) 0 for links without a limit of their own."""
    busy: Doubles
    """(7, n) time for which resources were busy, summed over cores, and bytes sent."""
    link_busy: Doubles
    busy_marks: Doubles
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
    slot_view: Ints
    """(S,) view to which a view change leads."""
    turn: Ints
    """(S,) by how much the operation's primary is further than the view's number."""
    waits_at: Ints
    """(S,) replica at which the operation waits for a place in the window."""
    committed: Ints
    replies: Ints
    """(S, 2) replies that agree, for either value."""
    value: NDArray[np.uint8]
    """(S,) value that the last primary proposed that does not equivocate, as a bit."""
    prepared: NDArray[np.uint8]
    """(S,) values that honest replicas have prepared, as bits."""
    settled: NDArray[np.uint8]
    """(S,) values that honest replicas have committed."""
    proposed_ms: Doubles
    """(S,) when a primary last proposed."""
    keys: NDArray[np.uint32]
    """(S, R, 2) key of each round."""
    stage: NDArray[np.int8]
    """(S, n) round that a replica is in."""
    count: Ints
    """(S, R, n) messages handled."""
    parts_ms: Doubles
    """(S, R, n, 4) where the time until a replica completed a round went: propagation, transmission, CPU, retransmission."""
    seen: NDArray[np.uint16]
    """(S, R + 2, invalid + 1, n, n) [.., source, node] when gossiping: the latest message received, counted from 1; 0 none."""
    marks: NDArray[np.uint8]
    """(S, n) `KNOWN` ..., with time-outs."""
    early: Ints
    """(S, R, n) messages handled of a view that the replica has not entered."""
    early_view: Ints
    """(S, n) that view."""
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
    """(K, R + 2, 4)."""
    first_view: Ints
    """(K,) view that clients knew when the operation started."""
    views: Ints
    """(K,) view changes from there to the answer."""
    violated: NDArray[np.uint8]
    """(K,) whether honest replicas have committed different values."""
    in_view: Ints
    """(n,) view that a replica is in."""
    wanted: Ints
    """(n,) view that it has asked for; where later than its own, it takes no part in that."""
    failures: Ints
    """(n,) views that failed in a row."""
    again: Ints
    """(n,) how often it has repeated its VIEW-CHANGE."""
    due_ms: Doubles
    """(n,) when its timer runs out; inf if it is stopped."""
    timer_ms: Doubles
    """(n,) its scheduled event; inf if there is none. It is looked at again at that time, should the timer run longer by then."""
    timer_for: Ints
    """(n,) operation for which the timer was started."""
    heard: Ints
    """(n, n) [receiver, sender] latest view that a replica has been asked for."""
    ballots: Ints
    """(VIEWS, n) [view modulo VIEWS] VIEW-CHANGEs of others that each replica has handled."""
    proofs: Ints
    """(VIEWS, n) certificates in them."""
    own_proofs: Ints
    """(n,) certificates in a replica's own last VIEW-CHANGE."""
    changing: Ints
    """(VIEWS, 3) number of a view, the operation for which it was asked first, and the slot of its messages, -1 for none."""
    entered_ms: Doubles
    """(VIEWS,) when a replica first entered each of the first views, 0 for view 0, inf if none has."""
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
