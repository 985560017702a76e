"""How replicas of the events engine vote where some are faulty, and how long they wait; docs/faults.md."""

import numpy as np

from ._jit import inlined
from .event_queue import new_record, schedule
from .event_roles import primary_in, still_in
from .event_types import (
    COMMITTED,
    ENDED,
    KNOWN,
    NEXT_OPERATION,
    OLDEST,
    PREPARED,
    REPLIED,
    ROUND,
    SLOT,
    SOURCE,
    TIMER,
    VIEW,
)

_MOST_DOUBLED = 30


@inlined
def _side(faults, state, slot, view, node):
    """Values that a replica votes for in a view, as bits."""
    return faults.side[faults.equivocates[primary_in(state, slot, view)], node]


@inlined
def agree(faults, state, slot, view, source, node):
    """Whether what one replica votes for counts at another; one that votes for the wrong value goes along with all others."""
    own = _side(faults, state, slot, view, node)
    return own == 0 or _side(faults, state, slot, view, source) & own != 0


@inlined
def _value(faults, state, slot, view, node):
    """Value that a replica votes for, and replies: what an honest primary proposed, unless it has a value of its own."""
    split = faults.equivocates[primary_in(state, slot, view)] or faults.equivocates[node]
    return _side(faults, state, slot, view, node) if split else state.value[slot]


@inlined
def choose_value(faults, state, slot, node, view):
    """Let a primary propose, in a later view what an honest replica has prepared; its time starts anew with that."""
    if not faults.equivocates[node]:
        state.value[slot] = 2 if state.prepared[slot] == 2 else 1
    if view > state.first_view[state.slot_operation[slot]]:
        state.parts_ms[slot, 0, node] = 0.0


@inlined
def prepare(faults, state, slot, node):
    """Note that a replica has prepared."""
    state.marks[slot, node] |= PREPARED
    if faults.honest[node]:
        state.prepared[slot] |= _value(faults, state, slot, state.in_view[node], node)


@inlined
def commit(faults, state, slot, node, now):
    """Note that a replica has committed; returns whether that counts and is for the first time."""
    first = not state.marks[slot, node] & COMMITTED
    state.marks[slot, node] |= COMMITTED
    if faults.honest[node]:
        state.settled[slot] |= _value(faults, state, slot, state.in_view[node], node)
        if state.settled[slot] == 3:
            state.violated[state.slot_operation[slot]] = 1
    state.failures[node] = 0
    if state.due_ms[node] < np.inf and state.timer_for[node] == state.slot_operation[slot]:
        wait_for_oldest(faults, state, node, now)
    return first and not faults.equivocates[node]


@inlined
def agreed_replies(faults, state, slot, row):
    """(Replies that agree with the one that has come, whether it counts): one of each replica, and no wrong one."""
    source = row[SOURCE]
    value = _value(faults, state, slot, row[VIEW], source)
    if value == 0 or state.marks[slot, source] & REPLIED:
        return 0, False
    state.marks[slot, source] |= REPLIED
    state.replies[slot, 0] += value & 1
    state.replies[slot, 1] += value >> 1
    return max(state.replies[slot, 0] * (value & 1), state.replies[slot, 1] * (value >> 1)), True


@inlined
def useful(table, faults, state, row, node):
    """Whether a received message of a protocol's round comes before its receiver has completed that."""
    slot, r, view, source = row[SLOT], row[ROUND], row[VIEW], row[SOURCE]
    if r == 0:
        return not state.marks[slot, node] & KNOWN
    if not agree(faults, state, slot, view, source, node):
        return False
    if not table.receives[r, 0 if primary_in(state, slot, view) == node else 1]:
        return False
    if view == state.in_view[node] and still_in(state, node):
        return state.stage[slot, node] <= r
    return view > state.in_view[node] and view >= state.wanted[node]


# Timers.


@inlined
def patience_ms(faults, state, node, again):
    """How long a replica waits, after the views that have failed in a row."""
    return faults.view_timeout_ms * 2.0 ** min(state.failures[node] + again, _MOST_DOUBLED)


@inlined
def set_timer(state, node, due_ms, operation):
    """Start a replica's timer."""
    state.due_ms[node], state.timer_for[node] = due_ms, operation
    if due_ms < state.timer_ms[node]:
        state.timer_ms[node] = due_ms
        schedule(state, due_ms, new_record(state, -1, 0, node, node), TIMER)


@inlined
def _awaits(state, slot, node, asks):
    """Whether a replica waits for an operation, or for the next view on its account."""
    if state.slot_flags[slot] & ENDED or state.marks[slot, node] & (KNOWN | COMMITTED) != KNOWN:
        return False
    return asks or primary_in(state, slot, state.in_view[node]) != node


@inlined
def oldest_awaited(state, node):
    """Operation of the lowest number that a replica waits for, -1 for none."""
    asks = state.wanted[node] > state.in_view[node]
    for operation in range(state.scalars[OLDEST], state.scalars[NEXT_OPERATION]):
        slot = state.slot_of[operation]
        if slot >= 0 and _awaits(state, slot, node, asks):
            return operation
    return -1


@inlined
def wait_for_oldest(faults, state, node, now):
    """Start the timer of a replica for what it waits for, or stop it."""
    operation = oldest_awaited(state, node)
    if operation >= 0:
        set_timer(state, node, now + patience_ms(faults, state, node, 0), operation)
    else:
        state.due_ms[node] = np.inf


@inlined
def learn(faults, state, slot, node, now):
    """Let a replica know an operation; where it waits for nothing yet, its timer starts."""
    if state.marks[slot, node] & KNOWN:
        return
    state.marks[slot, node] |= KNOWN
    asks = state.wanted[node] > state.in_view[node]
    if state.due_ms[node] == np.inf and _awaits(state, slot, node, asks):
        operation = state.timer_for[node] if asks else state.slot_operation[slot]
        state.again[node] = 0
        set_timer(state, node, now + patience_ms(faults, state, node, 0), operation)


@inlined
def let_go(faults, state, slot, now):
    """Let all replicas stop waiting for an operation that is over."""
    for node in range(state.idle.size):
        if state.due_ms[node] == np.inf:
            continue
        if state.wanted[node] > state.in_view[node]:
            if oldest_awaited(state, node) < 0:
                state.due_ms[node] = np.inf
        elif state.timer_for[node] == state.slot_operation[slot]:
            wait_for_oldest(faults, state, node, now)
