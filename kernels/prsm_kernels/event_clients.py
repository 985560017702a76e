"""Clients of the events engine: operations that start, time out, and are asked for again."""

import numpy as np

from ._jit import inlined, subkernel
from .event_hops import make_copies, make_key
from .event_queue import free_record, log_mark, new_record, schedule
from .event_roles import primary_in
from .event_rounds import settle
from .event_types import (
    ASK,
    ASK_AGAIN,
    ASKING,
    CLIENT_LINE,
    CLIENT_VIEW,
    COPY,
    COUNTED,
    COUNTED_END,
    FREE_SLOT,
    GO,
    GONE,
    HOLDS_PLACE,
    KIND,
    LAST_OPERATION,
    MARK_FAILED,
    MARK_STARTED,
    NEXT_OPERATION,
    OLDEST,
    OPEN,
    SALT,
    SENT,
    SOURCE,
    START,
    TIMED,
    TIMEOUT,
    TODO_COMPLETES,
    TODO_END,
    TODO_FIRST,
    TODO_SLOT,
)
from .event_window import give_place_back
from .lanes import LANES


@inlined
def _claim(table, limits, state, operation):
    """Give an operation a slot with a clean state and its keys."""
    scalars = state.scalars
    slot = scalars[FREE_SLOT]
    scalars[FREE_SLOT] = state.slot_next[slot]
    state.slot_operation[slot], state.slot_flags[slot], state.slot_of[operation] = operation, 0, slot
    state.turn[slot] = operation % state.idle.size if table.rotating else 0
    state.first_view[operation] = scalars[CLIENT_VIEW]
    state.committed[slot] = 0
    state.replies[slot] = 0
    state.stage[slot] = 0
    state.count[slot] = 0
    if state.seen.size > 1:
        state.seen[slot] = 0
    if limits.faulty:
        state.value[slot], state.prepared[slot], state.settled[slot] = 1, 0, 0
        state.marks[slot] = 0
        state.early_view[slot] = 0
    for r in range(table.rounds):
        make_key(state, table.keys[r, 0], table.keys[r, 1], np.uint32(operation), np.uint32(table.replicate))
        state.keys[slot, r, 0], state.keys[slot, r, 1] = state.key_lanes[0], state.key_lanes[LANES]
    return slot


@inlined
def _mark_counted(state, operation):
    """Keep the busy times at the start of the first and of the last counted operation."""
    for mark in range(2):
        if operation == (state.scalars[COUNTED] if mark == 0 else state.scalars[COUNTED_END] - 1):
            for what in range(state.busy.shape[0]):
                for node in range(state.busy.shape[1]):
                    state.busy_marks[mark, what, node] = state.busy[what, node]
            for edge in range(state.link_busy.size):
                state.link_marks[mark, edge] = state.link_busy[edge]


@subkernel
def start_operation(table, paths, law, limits, faults, state, record, now):
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
    slot = _claim(table, limits, state, operation)
    if scalars[TIMED] < 0:
        scalars[TIMED] = operation
        schedule(state, now + limits.timeout_ms, new_record(state, -1, 0, 0, 0), TIMEOUT)
    if limits.faulty:
        while state.slot_of[scalars[OLDEST]] == GONE:
            scalars[OLDEST] += 1
        if scalars[ASKING] < 0:
            scalars[ASKING] = operation
            schedule(state, now + faults.client_timeout_ms, new_record(state, -1, 0, 0, 0), ASK)
    n = state.idle.size
    log_mark(state, operation, 0, n, MARK_STARTED, now)
    state.counts[operation, 0, SENT] += 1
    primary = primary_in(state, slot, scalars[CLIENT_VIEW])
    # the record that was freed stands for the request, as one that is new
    like = new_record(state, slot, 0, 0, n)
    scalars[GO] = make_copies(table, paths, law, limits, faults, state, like, slot, 0, CLIENT_LINE, n, -1, primary, 1)
    free_record(state, like)
    scalars[TODO_SLOT], scalars[TODO_FIRST], scalars[TODO_END], scalars[TODO_COMPLETES] = slot, 0, n, 0


@inlined
def _ask_all(table, paths, law, limits, faults, state, operation, again, now):
    """Let a client without its answer send its request to all replicas, for the time `again` from 1."""
    slot, n = state.slot_of[operation], state.idle.size
    later = new_record(state, slot, 0, 0, n)
    state.record[later, SALT] = again
    state.counts[operation, 0, SENT] += n
    copies = make_copies(table, paths, law, limits, faults, state, later, slot, 0, CLIENT_LINE, n, -1, 0, n)
    free_record(state, later)
    schedule(state, now, copies, COPY)
    at_ms = now + faults.client_timeout_ms * 2.0**again
    if at_ms < state.start_ms[operation] + limits.timeout_ms:
        later = new_record(state, -1, 0, 0, operation)
        state.record[later, SALT] = again + 1
        schedule(state, at_ms, later, ASK_AGAIN)


@inlined
def _set_chain(state, record, chain, operation, after_ms, kind):
    """Set a chain of timers, kept by one record, to an operation's; end it after the last that has started."""
    scalars = state.scalars
    if operation < scalars[NEXT_OPERATION]:
        scalars[chain] = operation
        schedule(state, state.start_ms[operation] + after_ms, record, kind)
    else:
        scalars[chain] = -1
        free_record(state, record)


@subkernel
def lose_patience(table, paths, law, limits, faults, state, record, now):
    """Let the client ask all whose time it is; the first time-outs are a chain, for they come in the order of the starts."""
    scalars, row = state.scalars, state.record[record]
    first = row[KIND] == ASK
    operation = scalars[ASKING] if first else row[SOURCE]
    if state.ended[operation] == 0:
        again = 1 if first else row[SALT]
        _ask_all(table, paths, law, limits, faults, state, operation, again, now)
    if not first:
        free_record(state, record)
        return
    operation += 1
    while operation < scalars[NEXT_OPERATION] and state.ended[operation] != 0:
        operation += 1
    _set_chain(state, record, ASKING, operation, faults.client_timeout_ms, ASK)


@inlined
def _open(state, operation):
    """Whether an operation that has started is unanswered, or has a place in the window still."""
    slot = state.slot_of[operation]
    return state.ended[operation] == 0 or (slot >= 0 and state.slot_flags[slot] & HOLDS_PLACE != 0)


@subkernel
def time_out(limits, faults, state, record, now):
    """Take the place of the operation whose time is up, which fails unless it was answered; set the timer for the next."""
    scalars = state.scalars
    operation = scalars[TIMED]
    if _open(state, operation):
        slot = state.slot_of[operation]
        holder = new_record(state, slot, 0, 0, 0)
        if state.ended[operation] == 0:
            state.ended[operation] = 2
            log_mark(state, operation, 0, state.idle.size, MARK_FAILED, now)
            settle(limits, faults, state, slot, now)
        give_place_back(state, slot)
        free_record(state, holder)
    operation += 1
    while operation < scalars[NEXT_OPERATION] and not _open(state, operation):
        operation += 1
    _set_chain(state, record, TIMED, operation, limits.timeout_ms, TIMEOUT)
