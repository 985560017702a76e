"""The events engine: every message an event, every queue exact, several operations in flight. Semantics: docs/events.md."""

import numpy as np

from ._jit import uncounted_inlined as inlined
from ._jit import uncounted_kernel as kernel
from .event_hops import is_flooded, launch, make_copies
from .event_queue import enqueue, free_record, log_mark, new_record, next_event, schedule
from .event_rounds import (
    admit_next,
    advance,
    count_message,
    give_place_back,
    inherit,
    settle,
    start_jobs,
    take_reply,
    to_do,
)
from .event_types import (
    ARRIVE,
    CHECK,
    CLIENT_LINE,
    CLOSED,
    COPY,
    COUNTED,
    COUNTED_END,
    DEST,
    DONE,
    DUPLICATE,
    FINISHED,
    FIRST,
    FORWARD,
    FREE_RECORDS,
    FREE_SLOT,
    GO,
    GOING,
    HANDLE,
    HEAP,
    HOLDS_PLACE,
    INGRESS_BUSY,
    JOB,
    KIND,
    LAST_OPERATION,
    LEFT,
    LOG,
    LOG_BEGIN,
    LOG_END,
    LOGGED,
    MARK_FAILED,
    MARK_STARTED,
    MORE_LOG,
    MORE_OPERATIONS,
    MORE_RECORDS,
    MORE_SLOTS,
    NEXT,
    NEXT_OPERATION,
    NODE,
    OPEN,
    POPPED,
    RECEIVED,
    RELAY_INGRESS,
    RESEND,
    ROUND,
    SENT,
    SLOT,
    SOLO,
    SOURCE,
    SPENT,
    START,
    TIMED,
    TIMEOUT,
    TODO_COMPLETES,
    TODO_END,
    TODO_FIRST,
    TODO_SLOT,
    USEFUL,
)
from .lanes import LANES, spread_int, store
from .rng import threefry2x32


@inlined
def _room(limits, state):
    """`GOING` where no event can outgrow an array, else which must grow."""
    scalars = state.scalars
    if scalars[FREE_RECORDS] < limits.margin:
        return MORE_RECORDS
    if scalars[FREE_SLOT] < 0:
        return MORE_SLOTS
    if scalars[NEXT_OPERATION] + 1 >= state.start_ms.size and scalars[NEXT_OPERATION] < scalars[LAST_OPERATION]:
        return MORE_OPERATIONS
    if scalars[LOG_END] > scalars[LOG_BEGIN] and scalars[LOGGED] + 4 * limits.margin > state.log_ms.shape[0]:
        return MORE_LOG
    return GOING


@inlined
def _claim(table, state, operation):
    """Give an operation a slot with a clean state and its keys."""
    scalars = state.scalars
    slot = scalars[FREE_SLOT]
    scalars[FREE_SLOT] = state.slot_next[slot]
    state.slot_operation[slot], state.slot_flags[slot], state.slot_of[operation] = operation, 0, slot
    state.committed[slot], state.replies[slot] = 0, 0
    state.stage[slot] = 0
    state.count[slot] = 0
    if state.seen.size > 1:
        state.seen[slot] = 0
    for r in range(table.kind.size):
        low, high = spread_int(table.keys[r, 0]), spread_int(table.keys[r, 1])
        k0, k1 = threefry2x32(low, high, spread_int(np.uint32(operation)), spread_int(np.uint32(table.replicate)))
        store(state.key_lanes, 0, k0)
        store(state.key_lanes, LANES, k1)
        state.keys[slot, r, 0], state.keys[slot, r, 1] = state.key_lanes[0], state.key_lanes[LANES]
    return slot


@inlined
def _mark_counted(state, operation):
    """Keep the busy times at the start of the first and of the last counted operation."""
    for mark in range(2):
        if operation == (state.scalars[COUNTED] if mark == 0 else state.scalars[COUNTED_END] - 1):
            for what in range(state.busy.shape[0]):
                for node in range(state.busy.shape[1]):
                    state.marks[mark, what, node] = state.busy[what, node]
            for edge in range(state.link_busy.size):
                state.link_marks[mark, edge] = state.link_busy[edge]


@inlined
def _start(table, paths, law, limits, state, record, now):
    """Start the next operation: its request leaves the client, and replicas enter the first round."""
    scalars = state.scalars
    free_record(state, record)
    operation = scalars[NEXT_OPERATION]
    if operation >= scalars[LAST_OPERATION]:
        return
    scalars[NEXT_OPERATION] = operation + 1
    if limits.mode == OPEN and operation + 1 < scalars[LAST_OPERATION]:
        schedule(state, state.start_ms[operation + 1], new_record(state, -1, 0, 0, 0), START)
    state.start_ms[operation] = now
    _mark_counted(state, operation)
    slot = _claim(table, state, operation)
    if scalars[TIMED] < 0:
        scalars[TIMED] = operation
        schedule(state, now + limits.timeout_ms, new_record(state, -1, 0, 0, 0), TIMEOUT)
    n = state.idle.size
    log_mark(state, operation, 0, n, MARK_STARTED, now)
    state.counts[operation, 0, SENT] += 1
    request = make_copies(table, paths, law, state, slot, 0, CLIENT_LINE, n, -1, table.primary)
    scalars[GO] = request
    scalars[TODO_SLOT], scalars[TODO_FIRST], scalars[TODO_END], scalars[TODO_COMPLETES] = slot, 0, n, 0


@inlined
def _open(state, operation):
    """Whether an operation that has started is unanswered, or has a place in the window still."""
    slot = state.slot_of[operation]
    return state.ended[operation] == 0 or (slot >= 0 and state.slot_flags[slot] & HOLDS_PLACE != 0)


@inlined
def _time_out(limits, state, record, now):
    """Take the place of the operation whose time is up, which fails unless it was answered; set the timer for the next."""
    scalars = state.scalars
    operation = scalars[TIMED]
    if _open(state, operation):
        slot = state.slot_of[operation]
        holder = new_record(state, slot, 0, 0, 0)
        if state.ended[operation] == 0:
            state.ended[operation] = 2
            log_mark(state, operation, 0, state.idle.size, MARK_FAILED, now)
            settle(limits, state, slot, now)
        give_place_back(state, slot)
        free_record(state, holder)
    operation += 1
    while operation < scalars[NEXT_OPERATION] and not _open(state, operation):
        operation += 1
    if operation < scalars[NEXT_OPERATION]:
        scalars[TIMED] = operation
        schedule(state, state.start_ms[operation] + limits.timeout_ms, record, TIMEOUT)
    else:
        scalars[TIMED] = -1
        free_record(state, record)


@inlined
def _arrive(table, machines, limits, state, record, now):
    """Pass an arrived copy through the downlink; returns whether it has been received by now."""
    row = state.record[record]
    node = row[NODE]
    if node == state.idle.size:
        take_reply(table, limits, state, record, now)
        return False
    if not machines.alive[node]:
        if row[LOG] >= 0:
            state.log_ms[row[LOG], 2] = np.inf
        free_record(state, record)
        return False
    line_ms = table.bytes[row[ROUND]] * machines.in_ms_per_byte[node]
    received_ms = max(now, state.downlink_ms[node] + line_ms)
    state.downlink_ms[node] = received_ms
    state.busy[INGRESS_BUSY, node] += line_ms
    if row[DEST] != node:
        state.busy[RELAY_INGRESS, node] += line_ms
    if row[LOG] >= 0:
        state.log_ms[row[LOG], 3] = received_ms
    if received_ms > now:
        schedule(state, received_ms, record, RECEIVED)
        return False
    return True


@inlined
def _receive(table, paths, limits, state, record):
    """Decide what a received copy is to `node`; returns its job, which waits for a core where CPU costs anything."""
    row = state.record[record]
    slot, r, node, source = row[SLOT], row[ROUND], row[NODE], row[SOURCE]
    job = HANDLE
    if row[DEST] != node:
        job = FORWARD
    elif is_flooded(table, paths, r):
        job = DUPLICATE if state.seen[slot, r, source, node] or source == node else FIRST
        state.seen[slot, r, source, node] = 1
    if job in (HANDLE, FIRST) and table.receives[r, node] and state.stage[slot, node] <= r:
        state.counts[state.slot_operation[slot], r, USEFUL] += 1
        if row[LOG] >= 0:
            state.log[row[LOG], 9] = 1
    if limits.contended or job == FIRST:
        enqueue(state, node, record, job, False)
    row[JOB] = job
    return job


@inlined
def _finish(table, paths, law, state, record, job):
    """Do what follows from a finished job of `node`; its record is freed unless it goes on."""
    row = state.record[record]
    slot, r, node = row[SLOT], row[ROUND], row[NODE]
    if job == HANDLE or job == FIRST:
        count_message(table, paths, state, record, node)
    elif job == CHECK:
        to_do(state, slot, node, 1)
    elif job == FORWARD:
        copy = make_copies(table, paths, law, state, slot, r, node, row[SOURCE], -1, row[DEST])
        inherit(state, copy, record, table.transit_ms[r] + table.send_ms[r])
        state.scalars[GO] = copy


@inlined
def _dispatch(table, paths, law, machines, limits, state, record, now):
    """Handle one event; returns the node whose cores may start jobs, -1 if there is none."""
    row = state.record[record]
    kind, node = row[KIND], row[NODE]
    received = kind == RECEIVED
    if kind == ARRIVE:
        received = _arrive(table, machines, limits, state, record, now)
    elif kind == COPY or kind == RESEND:
        state.scalars[GO] = record
        if kind == COPY and row[NEXT] >= 0:
            schedule(state, now + table.send_ms[row[ROUND]], row[NEXT], COPY)
        row[NEXT] = -1
        return -1
    elif kind == START:
        _start(table, paths, law, limits, state, record, now)
        return -1
    elif kind == TIMEOUT:
        _time_out(limits, state, record, now)
        return -1
    finished = kind == DONE
    if received:
        _receive(table, paths, limits, state, record)
        if limits.contended:
            return node
        finished = True
    if finished:
        if limits.contended:
            state.idle[node] += 1
        job = row[JOB]
        _finish(table, paths, law, state, record, job)
        # a flooded copy that costs nothing is still in the queue, to be passed on and freed there
        if limits.contended or job != FIRST:
            state.scalars[SPENT] = record
        return node
    return -1


@kernel
def begin_events(limits, state):
    """Schedule the first operations of a state just made."""
    scalars = state.scalars
    if limits.mode == OPEN and scalars[LAST_OPERATION] > 0:
        schedule(state, state.start_ms[0], new_record(state, -1, 0, 0, 0), START)
    if limits.mode == CLOSED:
        for _ in range(limits.clients):
            schedule(state, 0.0, new_record(state, -1, 0, 0, 0), START)


@kernel
def run_events(table, paths, law, machines, limits, state, budget):
    """Simulate until all counted operations have ended, arrays must grow, or `budget` events have been handled.

    Call again with the same arguments, arrays grown by `event_state` where that was asked for, to go on: the result does not
    depend on where calls end.

    Parameters
    ----------
    table : EventTable
    paths : Paths
    law : Law
    machines : Machines
        Its waits behind other operations are not used.
    limits : EventLoad
    state : EventState
        Changed in place.
    budget : int
        Events after which to return; five million take about half a second.

    Returns
    -------
    int
        `event_types.FINISHED`, `GOING`, or which arrays must grow.
    """
    scalars = state.scalars
    for _ in range(budget):
        status = _room(limits, state)
        if status != GOING:
            return status
        if scalars[LEFT] == 0:
            return FINISHED
        if scalars[HEAP] == 0:
            if limits.mode != SOLO or scalars[NEXT_OPERATION] >= scalars[LAST_OPERATION]:
                return FINISHED
            schedule(state, state.clock[0], new_record(state, -1, 0, 0, 0), START)
        now, record = next_event(state)
        state.clock[0] = now
        scalars[POPPED] += 1
        scalars[TODO_SLOT], scalars[GO], scalars[SPENT] = -1, -1, -1
        node = _dispatch(table, paths, law, machines, limits, state, record, now)
        if scalars[GO] >= 0:
            launch(table, paths, law, machines, state, scalars[GO], now)
        first, end = node, node + 1
        while True:
            slot, completes = scalars[TODO_SLOT], scalars[TODO_COMPLETES] == 1
            if slot >= 0:
                first, end = scalars[TODO_FIRST], scalars[TODO_END]
                scalars[TODO_SLOT] = -1
            for node in range(max(first, 0), end):
                if slot >= 0 and machines.alive[node]:
                    advance(table, limits, state, slot, node, completes, now)
                start_jobs(table, paths, law, machines, limits, state, node, now)
            admit_next(table, limits, state)
            if scalars[TODO_SLOT] < 0:
                break
        # only now, so that the operation's slot is not free while the operation goes on
        if scalars[SPENT] >= 0:
            free_record(state, scalars[SPENT])
    return GOING
