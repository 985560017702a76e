"""View changes of the events engine: timers that run out, VIEW-CHANGE and NEW-VIEW, and operations proposed again."""

import numpy as np

from ._jit import inlined, subkernel
from .event_patience import agree, learn, oldest_awaited, patience_ms, set_timer, useful, wait_for_oldest
from .event_queue import free_record, new_record, release_slot, schedule
from .event_roles import primary_in, role_in, still_in
from .event_rounds import give_place_back, send, to_do
from .event_types import (
    CERTIFICATES,
    DEST,
    ENDED,
    ENTERS,
    FREE_SLOT,
    HOLDS_PLACE,
    INVALID,
    KNOWN,
    NEXT_OPERATION,
    NODE,
    NUMBER,
    OF_VIEW,
    OLDEST,
    OPERATION,
    PLACE,
    PREPARED,
    RESUME,
    RESUMED,
    RESUMES,
    ROUND,
    SALT,
    SENT,
    SLOT,
    SOURCE,
    TIMER,
    VIEW,
    VIEWS,
    WANTS,
)


@inlined
def is_useful(table, faults, state, row, node):
    """Whether a received message counts for something yet."""
    r, view = row[ROUND], row[VIEW]
    if row[SALT] >= INVALID:
        return False
    if r < table.rounds:
        return useful(table, faults, state, row, node)
    if r > table.rounds:
        return view > state.in_view[node] and view >= state.wanted[node]
    return _is_news(faults, state, row, node)


@inlined
def _is_news(faults, state, row, node):
    """Whether a VIEW-CHANGE counts."""
    view, source = row[VIEW], row[SOURCE]
    later = view > state.in_view[node] and view > state.heard[node, source]
    return later and not faults.equivocates[source] and state.changing[view % VIEWS, NUMBER] == view


@inlined
def _hear(faults, state, row, node):
    """Count a VIEW-CHANGE; enough of them make the replica join, or complete the view's quorum."""
    view, source = row[VIEW], row[SOURCE]
    if _is_news(faults, state, row, node):
        place = view % VIEWS
        state.heard[node, source] = view
        state.ballots[place, node] += 1
        state.proofs[place, node] += row[CERTIFICATES]
        joins = view > state.wanted[node] and state.ballots[place, node] >= faults.joins
        if joins or (view == state.wanted[node] and state.ballots[place, node] == faults.quorum - 1):
            state.scalars[WANTS] = view


@inlined
def counts_now(table, faults, state, record, node, now):
    """Take note of a message that `node` has handled; returns whether it counts in a round of the view that `node` is in."""
    row = state.record[record]
    slot, r, view, source = row[SLOT], row[ROUND], row[VIEW], row[SOURCE]
    if row[SALT] >= INVALID:
        return False
    if r == table.rounds:
        _hear(faults, state, row, node)
        return False
    if r > table.rounds:
        if view > state.in_view[node] and view >= state.wanted[node]:
            state.scalars[ENTERS] = view
        return False
    if r == 0 or (r == 1 and source == primary_in(state, slot, view)):
        learn(faults, state, slot, node, now)
    if r == 0:
        return still_in(state, node) and state.stage[slot, node] == 0
    if not agree(faults, state, slot, view, source, node):
        return False
    if view == state.in_view[node]:
        return still_in(state, node)
    if view > state.in_view[node] and view >= state.wanted[node]:
        if r == 1 and view > state.wanted[node] and source == primary_in(state, slot, view):
            state.scalars[ENTERS] = view
        _keep_early(table, state, slot, r, view, node)
    return False


@inlined
def _keep_early(table, state, slot, r, view, node):
    """Keep a message of a later view until that is entered; of several such views, those of the last one."""
    if state.early_view[slot, node] < view:
        state.early_view[slot, node] = view
        state.early[slot, :, node] = 0
    if state.early_view[slot, node] == view and table.receives[r, role_in(state, slot, view, node)]:
        state.early[slot, r, node] += 1


@inlined
def _certificates(state, node):
    """Operations under way that a replica has prepared."""
    count = 0
    for operation in range(state.scalars[OLDEST], state.scalars[NEXT_OPERATION]):
        slot = state.slot_of[operation]
        if slot >= 0 and state.marks[slot, node] & PREPARED and not state.slot_flags[slot] & ENDED:
            count += 1
    return count


@inlined
def _slot_of_view(table, state, view, operation):
    """Slot of the messages that lead to a view; `operation` is whose timer ran out, should nobody have asked for it before."""
    changing = state.changing[view % VIEWS]
    if changing[NUMBER] != view:
        changing[NUMBER], changing[OPERATION], changing[PLACE] = view, operation, -1
        state.ballots[view % VIEWS] = 0
        state.proofs[view % VIEWS] = 0
    if changing[PLACE] < 0:
        slot = state.scalars[FREE_SLOT]
        state.scalars[FREE_SLOT] = state.slot_next[slot]
        changing[PLACE] = slot
        state.slot_operation[slot], state.slot_view[slot], state.slot_flags[slot] = changing[OPERATION], view, OF_VIEW
        state.turn[slot] = changing[OPERATION] % state.idle.size if table.rotating else 0
        if state.seen.size > 1:
            state.seen[slot] = 0
    return changing[PLACE]


@subkernel
def run_out(faults, state, record, now):
    """Handle a timer's event: the replica asks for the next view, or again for the one that it has asked for."""
    node = state.record[record, NODE]
    due_ms, current = state.due_ms[node], state.timer_ms[node] == now
    if current:
        state.timer_ms[node] = np.inf
    if current and now < due_ms < np.inf:
        state.timer_ms[node] = due_ms
        schedule(state, due_ms, record, TIMER)
        return
    free_record(state, record)
    if not current or due_ms > now:
        return
    state.due_ms[node] = np.inf
    wanted = state.wanted[node]
    if oldest_awaited(state, node) < 0:
        return
    if wanted > state.in_view[node] and state.ballots[wanted % VIEWS, node] < faults.quorum - 1:
        state.again[node] += 1
        state.scalars[WANTS] = wanted
    else:
        state.scalars[WANTS] = wanted + 1


@subkernel
def change_view(table, limits, faults, state, node, now):
    """Let a replica ask for the view that an event made it want, start it as its primary, or enter one."""
    scalars = state.scalars
    view = scalars[WANTS]
    if view >= 0:
        most, wanted = faults.quorum - 1, state.wanted[node]
        slot = _slot_of_view(table, state, view, state.timer_for[node])
        operation, ballots = state.slot_operation[slot], state.ballots[view % VIEWS, node]
        if view > wanted:
            state.failures[node] += view - wanted
            state.wanted[node], state.again[node] = view, 0
        if view > wanted or ballots < most:
            certificates = _certificates(state, node)
            state.own_proofs[node] = certificates
            state.counts[operation, table.rounds, SENT] += table.addressed[table.rounds, 1]
            send(table, limits, faults, state, slot, table.rounds, node, view, state.again[node], certificates)
        if ballots >= most and primary_in(state, slot, view) == node:
            state.counts[operation, table.rounds + 1, SENT] += table.addressed[table.rounds + 1, 0]
            certificates = state.own_proofs[node] + state.proofs[view % VIEWS, node]
            send(table, limits, faults, state, slot, table.rounds + 1, node, view, 0, certificates)
            scalars[ENTERS] = view
        else:
            again = 0 if ballots >= most else state.again[node]
            state.timer_for[node] = operation
            if oldest_awaited(state, node) >= 0:
                set_timer(state, node, now + patience_ms(faults, state, node, again), operation)
            else:
                state.due_ms[node] = np.inf
    if scalars[ENTERS] >= 0:
        _enter(table, faults, state, node, scalars[ENTERS], now)


@subkernel
def _enter(table, faults, state, node, view, now):
    """Let a replica enter a view, and go on there with each operation in turn."""
    scalars = state.scalars
    state.in_view[node], state.wanted[node], state.again[node] = view, view, 0
    if view < VIEWS:
        state.entered_ms[view] = min(state.entered_ms[view], now)
    for operation in range(scalars[OLDEST], scalars[NEXT_OPERATION]):
        slot = state.slot_of[operation]
        if slot >= 0:
            _restart(table, state, slot, node, view)
    wait_for_oldest(faults, state, node, now)
    record = new_record(state, -1, 0, node, scalars[OLDEST])
    state.record[record, VIEW], state.record[record, DEST] = view, scalars[NEXT_OPERATION]
    scalars[RESUMES] = record


@inlined
def _restart(table, state, slot, node, view):
    """Let a replica begin an operation anew in a view, with what came early of that; one that is over it takes for done."""
    if state.slot_flags[slot] & ENDED:
        state.stage[slot, node] = table.rounds
        return
    asks = primary_in(state, slot, view) == node and not state.marks[slot, node] & KNOWN
    state.stage[slot, node] = 0 if asks else 1
    state.parts_ms[slot, 0, node] = 0.0
    came = state.early_view[slot, node] == view
    for r in range(state.count.shape[1]):
        state.count[slot, r, node] = state.early[slot, r, node] if came else 0


@subkernel
def resume(limits, state, first, now):
    """Let a replica that has entered a view go on with the next operation; `first` tells the first of an event.

    Its proposals go before received copies that wait. Where nothing costs anything, each operation is an event.
    """
    record = state.scalars[RESUMES]
    row = state.record[record]
    node, operation = row[NODE], row[SOURCE]
    while operation < row[DEST] and not _goes_on(state, operation, node, row[VIEW]):
        operation += 1
    row[SOURCE] = operation + 1
    row[SALT] = 1 if first else row[SALT] + 1
    if operation >= row[DEST] or state.in_view[node] != row[VIEW] or not still_in(state, node):
        state.scalars[RESUMES] = -1
        free_record(state, record)
        return
    to_do(state, state.slot_of[operation], node, 0)
    if row[SALT] == RESUMED or not limits.contended:
        state.scalars[RESUMES] = -1
        schedule(state, now, record, RESUME)


@inlined
def _goes_on(state, operation, node, view):
    """Whether a replica has to go on with an operation in a view; of one that is over its primary gives the place back."""
    slot = state.slot_of[operation]
    if slot < 0:
        return False
    if state.slot_flags[slot] & ENDED:
        if primary_in(state, slot, view) == node and state.slot_flags[slot] & HOLDS_PLACE:
            give_place_back(state, slot)
            release_slot(state, slot)
        return False
    return state.stage[slot, node] == 1
