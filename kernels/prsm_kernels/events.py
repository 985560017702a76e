"""The events engine: every message an event, every queue exact, several operations in flight. Semantics: docs/events.md."""

import numpy as np

from ._jit import inlined
from ._jit import uncounted_kernel as kernel
from .event_clients import lose_patience, start_operation, time_out
from .event_hops import ends_of, generation, is_flooded, launch, make_copies, size_of, within_host
from .event_queue import enqueue, free_record, new_record, next_event, schedule
from .event_roles import role_in, still_in
from .event_rounds import advance, count_message, duration, inherit, start_jobs, step_ms, take_reply
from .event_script import turn_page
from .event_types import (
    ARRIVE,
    ASK,
    ASK_AGAIN,
    CHECK,
    CLIENT_LINE,
    CLOSED,
    COPY,
    DEST,
    DONE,
    DUPLICATE,
    ENTERS,
    EPOCH,
    FINISHED,
    FIRST,
    FORWARD,
    FREE_RECORDS,
    FREE_SLOT,
    FROM,
    GO,
    GOING,
    HANDLE,
    HEAP,
    INGRESS_BUSY,
    INVALID,
    JOB,
    KIND,
    LAST_OPERATION,
    LEFT,
    LOG,
    LOG_BEGIN,
    LOG_END,
    LOGGED,
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
    RESUME,
    RESUMES,
    ROUND,
    SALT,
    SCRIPT,
    SLOT,
    SOLO,
    SOURCE,
    SPENT,
    START,
    TIMEOUT,
    TIMER,
    TODO_COMPLETES,
    TODO_END,
    TODO_FIRST,
    TODO_SLOT,
    USEFUL,
    VIEW,
    VOID,
    WANTS,
)
from .event_views import change_view, counts_now, is_useful, resume, run_out
from .event_window import admit_next, to_do


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
def _arrive(table, machines, limits, faults, state, record, now):
    """Pass an arrived copy through the downlink; returns whether it has been received by now."""
    row = state.record[record]
    node = row[NODE]
    if node == state.idle.size:
        take_reply(table, limits, faults, state, record, now)
        return False
    if not state.alive[node]:
        if row[LOG] >= 0:
            state.log_ms[row[LOG], 2] = np.inf
        free_record(state, record)
        return False
    received_ms = now
    came_from, _ = ends_of(state, row)
    if not within_host(machines, came_from, node):
        line, line_ms = machines.host[node], size_of(table, faults, row) * machines.in_ms_per_byte[node]
        received_ms = max(now, state.downlink_ms[line] + line_ms)
        state.downlink_ms[line] = received_ms
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
def _job_of(table, paths, limits, faults, state, row):
    """What a received copy is to the replica that has received it, its job; -1 where that passes on nothing for others."""
    slot, r, node, source = row[SLOT], row[ROUND], row[NODE], row[SOURCE]
    drops = limits.faulty and faults.drops[node]
    if row[DEST] != node:
        return -1 if drops else FORWARD
    if not is_flooded(table, paths, r):
        return HANDLE
    nth, latest = 1, state.seen[slot, r, 0, source, node]
    if limits.faulty:
        nth, latest = generation(table, state, slot, r, row) + 1, state.seen[slot, r, row[SALT] // INVALID, source, node]
    if latest >= nth or source == node:
        return DUPLICATE
    state.seen[slot, r, row[SALT] // INVALID, source, node] = nth
    if drops:
        return HANDLE if table.receives[r, role_in(state, slot, row[VIEW], node)] else DUPLICATE
    return FIRST


@inlined
def _receive(table, paths, limits, faults, state, record):
    """Decide what a received copy is to `node`; returns its job, which waits for a core where CPU costs anything."""
    row = state.record[record]
    slot, r, node = row[SLOT], row[ROUND], row[NODE]
    job = _job_of(table, paths, limits, faults, state, row)
    if job < 0:
        free_record(state, record)
        return job
    if job in (HANDLE, FIRST):
        if limits.faulty:
            counts = is_useful(table, faults, state, row, node)
        else:
            counts = table.receives[r, role_in(state, slot, 0, node)] != 0 and state.stage[slot, node] <= r
        if counts:
            state.counts[state.slot_operation[slot], r, USEFUL] += 1
            if row[LOG] >= 0:
                state.log[row[LOG], 9] = 1
    if limits.contended or job == FIRST:
        enqueue(state, node, record, job, False)
    row[JOB] = job
    return job


@inlined
def _finish(table, paths, law, limits, faults, state, record, job, now):
    """Do what follows from a finished job of `node`; its record is freed unless it goes on."""
    row = state.record[record]
    slot, r, node = row[SLOT], row[ROUND], row[NODE]
    if job == HANDLE or job == FIRST:
        if not limits.faulty or counts_now(table, faults, state, record, node, now):
            count_message(table, paths, limits, faults, state, record, node)
    elif job == CHECK:
        if not limits.faulty or (still_in(state, node) and state.in_view[node] == row[VIEW]):
            to_do(state, slot, node, 1)
    elif job == FORWARD:
        copy = make_copies(
            table, paths, law, limits, faults, state, record, slot, r, node, row[SOURCE], -1, row[DEST], 1
        )  # fmt: skip
        computed_ms, _, _ = duration(table, paths, limits, faults, state, row, 1)
        inherit(state, copy, record, computed_ms)
        state.scalars[GO] = copy


@inlined
def _lead_on(table, limits, faults, state, record, now):
    """Let a copy leave that is ready, and the one after it become ready."""
    row = state.record[record]
    state.scalars[GO] = record
    if row[KIND] == COPY and row[NEXT] >= 0:
        after_ms = 0.0 if row[FROM] == CLIENT_LINE else step_ms(table, limits, faults, state, row[ROUND], row[FROM])
        schedule(state, now + after_ms, row[NEXT], COPY)
    row[NEXT] = -1


@inlined
def _tick(table, paths, law, machines, limits, faults, state, record, now):
    """Handle an event that is none of a message's or of a job's; returns the node whose cores may start jobs."""
    kind, node = state.record[record, KIND], state.record[record, NODE]
    if kind == START:
        start_operation(table, paths, law, limits, faults, state, record, now)
    elif kind == TIMEOUT:
        time_out(limits, faults, state, record, now)
    elif kind == ASK or kind == ASK_AGAIN:
        lose_patience(table, paths, law, limits, faults, state, record, now)
    elif kind == TIMER:
        run_out(faults, state, record, now)
        return node
    elif kind == RESUME:
        state.scalars[RESUMES] = record
        return node
    elif kind == SCRIPT:
        turn_page(table, paths, law, machines, faults, state, record)
    elif kind == VOID:
        while record >= 0:
            following = state.record[record, NEXT]
            free_record(state, record)
            record = following
    return -1


@inlined
def _dispatch(table, paths, law, machines, limits, faults, state, record, now):
    """Handle one event; returns the node whose cores may start jobs, -1 if there is none."""
    row = state.record[record]
    kind, node = row[KIND], row[NODE]
    received = kind == RECEIVED
    if kind == ARRIVE:
        received = _arrive(table, machines, limits, faults, state, record, now)
    elif kind == COPY or kind == RESEND:
        _lead_on(table, limits, faults, state, record, now)
        return -1
    elif kind != RECEIVED and kind != DONE:
        return _tick(table, paths, law, machines, limits, faults, state, record, now)
    finished = kind == DONE
    if received:
        if limits.faulty and not state.alive[node]:
            free_record(state, record)
            return -1
        if _receive(table, paths, limits, faults, state, record) < 0:
            return -1
        if limits.contended:
            return node
        finished = True
    if finished:
        if limits.contended:
            state.idle[node] += 1
        job = row[JOB]
        _finish(table, paths, law, limits, faults, state, record, job, now)
        # a flooded copy that costs nothing is still in the queue, to be passed on and freed there
        if limits.contended or job != FIRST:
            state.scalars[SPENT] = record
        return node
    return -1


@inlined
def _pages_left(faults, state):
    """1 where the script goes on, which is an event that waits."""
    return 1 if state.scalars[EPOCH] + 1 < faults.script.at_ms.size else 0


@kernel
def begin_events(limits, faults, state):
    """Schedule the first operations of a state just made."""
    scalars = state.scalars
    if faults.script.at_ms.size > 1:
        schedule(state, faults.script.at_ms[1], new_record(state, -1, 0, 0, 0), SCRIPT)
    if limits.mode == OPEN and scalars[LAST_OPERATION] > 0:
        schedule(state, state.start_ms[0], new_record(state, -1, 0, 0, 0), START)
    if limits.mode == CLOSED:
        for _ in range(limits.clients):
            schedule(state, 0.0, new_record(state, -1, 0, 0, 0), START)


@kernel
def run_events(table, paths, law, machines, limits, faults, state, budget):
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
    faults : EventFaults
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
        if scalars[HEAP] <= 1 and scalars[HEAP] == _pages_left(faults, state):
            if limits.mode != SOLO or scalars[NEXT_OPERATION] >= scalars[LAST_OPERATION]:
                return FINISHED
            schedule(state, state.clock[0], new_record(state, -1, 0, 0, 0), START)
        now, record = next_event(state)
        state.clock[0] = now
        scalars[POPPED] += 1
        scalars[TODO_SLOT], scalars[GO], scalars[SPENT], scalars[WANTS], scalars[ENTERS], scalars[RESUMES] = (
            -1,
            -1,
            -1,
            -1,
            -1,
            -1,
        )
        node = _dispatch(table, paths, law, machines, limits, faults, state, record, now)
        if scalars[GO] >= 0:
            launch(table, paths, law, machines, limits, faults, state, scalars[GO], now)
        if scalars[WANTS] >= 0 or scalars[ENTERS] >= 0:
            change_view(table, limits, faults, state, node, now)
        first, end, begins = node, node + 1, True
        while True:
            if scalars[TODO_SLOT] < 0 and scalars[RESUMES] >= 0:
                first = state.record[scalars[RESUMES], NODE]
                end = first + 1
                resume(limits, state, begins, now)
                begins = False
            slot, completes = scalars[TODO_SLOT], scalars[TODO_COMPLETES] == 1
            if slot >= 0:
                first, end = scalars[TODO_FIRST], scalars[TODO_END]
                scalars[TODO_SLOT] = -1
            for node in range(max(first, 0), end):
                if slot >= 0 and state.alive[node]:
                    advance(table, limits, faults, state, slot, node, completes, now)
                # a replica that enters a view has gone through all operations before its cores take received copies
                if not limits.contended or scalars[RESUMES] < 0 or state.record[scalars[RESUMES], NODE] != node:
                    start_jobs(table, paths, law, machines, limits, faults, state, node, now)
            admit_next(limits, state)
            if scalars[TODO_SLOT] < 0 and scalars[RESUMES] < 0:
                break
        # only now, so that the operation's slot is not free while the operation goes on
        if scalars[SPENT] >= 0:
            free_record(state, scalars[SPENT])
    return GOING
