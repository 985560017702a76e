"""Making and growing the state of the events engine."""

import numpy as np

from .codes import GOSSIP, TO_CLIENT, TO_PRIMARY
from .event_queue import MOST_RECORDS
from .event_types import (
    ASKING,
    CLOSED,
    FREE_RECORD,
    FREE_RECORDS,
    FREE_SLOT,
    LAST_OPERATION,
    MORE_LOG,
    MORE_OPERATIONS,
    MORE_RECORDS,
    MORE_SLOTS,
    NEXT,
    RECORD_COLUMNS,
    RESUMED,
    SCALARS,
    TIMED,
    UNBORN,
    VIEWS,
    WAITING,
    EventFaults,
    EventLoad,
    EventState,
    EventTable,
)
from .lanes import LANES
from .types import Machines, Paths

_PER_RECORD = {"heap_ms", "heap_order", "record", "way_ms"}
_PER_SLOT = {
    "slot_operation", "slot_records", "slot_flags", "slot_next", "slot_view", "turn", "waits_at", "committed", "replies", "value",
    "prepared", "settled", "proposed_ms", "keys", "stage", "count", "parts_ms", "seen", "marks", "early", "early_view",
}  # fmt: skip
_PER_OPERATION = {
    "start_ms", "client", "slot_of", "ended", "latency_ms", "commit_ms", "flight_ms", "breakdown_ms", "counts", "first_view",
    "views", "violated",
}  # fmt: skip
_PER_LINE = {"log_ms", "log"}
_GROUPS = {MORE_RECORDS: _PER_RECORD, MORE_SLOTS: _PER_SLOT, MORE_OPERATIONS: _PER_OPERATION, MORE_LOG: _PER_LINE}
_EMPTY = {"latency_ms": np.inf, "commit_ms": np.inf, "flight_ms": np.inf, "slot_of": UNBORN}


def record_margin(table: EventTable, faults: EventFaults, nodes: int, cores: int) -> int:
    """Records that one event may make at most: all rounds' multicasts of one replica, and what its cores start at once."""
    waits = (table.need > 0) | (table.kind == TO_CLIENT)[:, None]
    spontaneous = (table.sends > 0) & ~np.maximum.accumulate(waits, axis=0)
    spontaneous[table.kind == TO_PRIMARY] = False
    spontaneous[table.rounds :] = False
    at_once = spontaneous.any(axis=0) @ (1, nodes - 1)
    margin = ((table.kind.size + cores + 2) * (nodes + 2) + RESUMED * table.rounds) * (1 + int(faults.invalid.max()))
    return int(margin * (1 + at_once))


def make_state(
    table: EventTable,
    paths: Paths,
    machines: Machines,
    limits: EventLoad,
    faults: EventFaults,
    edge_ms_per_byte: np.ndarray,
    last_operation: int,
) -> EventState:
    """State of a run that has not begun.

    Parameters
    ----------
    table, paths, machines, limits, faults
        What will be simulated.
    edge_ms_per_byte : ndarray of float64, shape (m,)
        Transmission time of a byte on links with a bandwidth of their own, 0 for others.
    last_operation : int
        Operations that may start at most.

    Returns
    -------
    EventState
        Grown by `grow` as `run_events` asks for it.
    """
    rounds, n, several = table.rounds, machines.alive.size, table.kind.size
    edges = max(edge_ms_per_byte.size, 1)
    links = np.zeros(edges)
    links[: edge_ms_per_byte.size] = edge_ms_per_byte
    seen = (0, several, 1 + int(faults.invalid.max()), n, n) if paths.kind == GOSSIP else (1, 1, 1, 1, 1)
    # what only time-outs need is a stand-in without them
    per_slot, views, replicas = (0, VIEWS, n) if limits.faulty else (1, 1, 1)
    scalars = np.zeros(SCALARS, np.int64)
    scalars[[FREE_RECORD, FREE_SLOT, TIMED, WAITING, ASKING]] = -1
    scalars[LAST_OPERATION] = last_operation
    entered_ms = np.full(VIEWS, np.inf)
    entered_ms[0] = 0.0

    def ints(*shape: int) -> np.ndarray:
        return np.zeros(shape, np.int32)

    state = EventState(
        scalars=scalars, clock=np.zeros(1), heap_ms=np.empty(0), heap_order=np.empty(0, np.int64),
        record=ints(0, RECORD_COLUMNS), way_ms=np.zeros((0, 6)), alive=machines.alive & faults.script.alive[0],
        idle=np.full(n, machines.cores, np.int32), queue=np.full((n, 4), -1, np.int32),
        uplink_ms=np.zeros(n), downlink_ms=np.full(n, -np.inf), link_ms=np.zeros(edges), edge_ms_per_byte=links,
        busy=np.zeros((7, n)), link_busy=np.zeros(edges), marks=np.zeros((per_slot, n), np.uint8),
        busy_marks=np.zeros((2, 7, n)), link_marks=np.zeros((2, edges)),
        slot_operation=ints(0), slot_records=ints(0), slot_flags=np.zeros(0, np.uint8), slot_next=ints(0), slot_view=ints(0),
        turn=ints(0), waits_at=ints(0), committed=ints(0), replies=ints(0, 2), value=np.zeros(0, np.uint8),
        prepared=np.zeros(0, np.uint8), settled=np.zeros(0, np.uint8), proposed_ms=np.zeros(0),
        keys=np.zeros((0, rounds, 2), np.uint32), stage=np.zeros((0, n), np.int8), count=ints(0, rounds, n),
        parts_ms=np.zeros((0, rounds, n, 4)), seen=np.zeros(seen, np.uint16),
        early=ints(per_slot, rounds, n), early_view=ints(per_slot, n),
        start_ms=np.zeros(0), client=ints(0), slot_of=ints(0), ended=np.zeros(0, np.uint8),
        latency_ms=np.zeros(0), commit_ms=np.zeros(0), flight_ms=np.zeros(0), breakdown_ms=np.zeros((0, 6)),
        counts=np.zeros((0, several, 4), np.int64), first_view=ints(0), views=ints(0), violated=np.zeros(0, np.uint8),
        in_view=ints(n), wanted=ints(n), failures=ints(n), again=ints(n), due_ms=np.full(n, np.inf), timer_ms=np.full(n, np.inf),
        timer_for=ints(n), heard=ints(replicas, replicas), ballots=ints(views, replicas), proofs=ints(views, replicas),
        own_proofs=ints(n),
        changing=np.full((views, 3), -1, np.int32), entered_ms=entered_ms,
        log_ms=np.zeros((1, 6)), log=ints(1, 11),
        counter=np.zeros(LANES, np.uint32), base_ms=np.zeros(LANES, np.float32), loss=np.zeros(LANES, np.float32),
        travel_ms=np.zeros(LANES, np.float32), lost=np.zeros(LANES, np.uint32), key_lanes=np.zeros(2 * LANES, np.uint32),
    )  # fmt: skip
    starters = limits.clients if limits.mode == CLOSED else 1
    state = grow(state, MORE_RECORDS, max(4 * limits.margin, 4096) + starters)
    return grow(state, MORE_SLOTS, 16)


def grow(state: EventState, what: int, least: int = 0) -> EventState:
    """Double the arrays that `run_events` found too small, or make them `least` long.

    Parameters
    ----------
    state : EventState
    what : int
        `event_types.MORE_RECORDS`, `MORE_SLOTS`, `MORE_OPERATIONS` or `MORE_LOG`.
    least : int
        Length to reach.

    Returns
    -------
    EventState
        With copies of these arrays and the others as they are.

    Raises
    ------
    MemoryError
        If there would be more records than their numbers have bits.
    """
    names = sorted(_GROUPS[what])
    old = len(getattr(state, {MORE_RECORDS: "record", MORE_SLOTS: "stage", MORE_OPERATIONS: "ended", MORE_LOG: "log"}[what]))
    size = max(2 * old, least, 16)
    if what == MORE_RECORDS and size > MOST_RECORDS:
        raise MemoryError(f"more than {MOST_RECORDS} messages under way")
    grown = {}
    for name in names:
        array = getattr(state, name)
        if len(array) == old:  # but for stand-ins
            grown[name] = np.full((size, *array.shape[1:]), _EMPTY.get(name, 0), array.dtype)
            grown[name][:old] = array
    state = state._replace(**grown)
    if what == MORE_RECORDS:
        state.record[old:, NEXT] = _chain(old, size, state.scalars[FREE_RECORD])
        state.scalars[FREE_RECORD] = old
        state.scalars[FREE_RECORDS] += size - old
    if what == MORE_SLOTS:
        state.slot_next[old:] = _chain(old, size, state.scalars[FREE_SLOT])
        state.scalars[FREE_SLOT] = old
    return state


def _chain(old: int, size: int, after: int) -> np.ndarray:
    """Links of a list of the new elements, ending in the old list."""
    return np.append(np.arange(old + 1, size), after)
