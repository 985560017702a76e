"""What is next to do in the events engine, and the window of operations that a primary has in flight."""

from ._jit import inlined
from .event_queue import release_slot
from .event_roles import role_in, still_in
from .event_types import (
    ADMITTED,
    ENDED,
    HOLDS_PLACE,
    IN_FLIGHT,
    TODO_COMPLETES,
    TODO_END,
    TODO_FIRST,
    TODO_SLOT,
    WAITING,
    WAITING_LAST,
    WAITS_FOR_PLACE,
)


@inlined
def to_do(state, slot, node, completes):
    """Let the operation in `slot` go on at `node`: complete its round, or enter it."""
    scalars = state.scalars
    scalars[TODO_SLOT], scalars[TODO_FIRST], scalars[TODO_END], scalars[TODO_COMPLETES] = slot, node, node + 1, completes


@inlined
def propose(table, state, slot, now):
    """Note that an operation is proposed; times count from its last proposal."""
    if state.committed[slot] >= table.commit_need:
        commit_ms = state.commit_ms[state.slot_operation[slot]] if state.slot_flags[slot] & ADMITTED else 0.0
        state.commit_ms[state.slot_operation[slot]] = commit_ms + (state.proposed_ms[slot] - now)
    state.proposed_ms[slot] = now


@inlined
def admit(table, limits, state, slot, node, now):
    """Give an operation a place in the primary's window, or let it wait for one; returns whether it has it."""
    scalars = state.scalars
    if state.slot_flags[slot] & ENDED:
        return False
    if scalars[IN_FLIGHT] < limits.window and not state.slot_flags[slot] & WAITS_FOR_PLACE:
        scalars[IN_FLIGHT] += 1
        propose(table, state, slot, now)
        state.slot_flags[slot] |= ADMITTED | HOLDS_PLACE
        return True
    state.waits_at[slot] = node
    if state.slot_flags[slot] & WAITS_FOR_PLACE:
        return False
    state.slot_flags[slot] |= WAITS_FOR_PLACE
    state.slot_next[slot] = -1
    if scalars[WAITING] < 0:
        scalars[WAITING] = slot
    else:
        state.slot_next[scalars[WAITING_LAST]] = slot
    scalars[WAITING_LAST] = slot
    return False


@inlined
def give_place_back(state, slot):
    """Give an operation's place in the window back, if it has one."""
    if state.slot_flags[slot] & HOLDS_PLACE:
        state.slot_flags[slot] &= ~HOLDS_PLACE & 0xFF
        state.scalars[IN_FLIGHT] -= 1


@inlined
def admit_next(limits, state):
    """Let an operation that waits for a place in the window go on if there is one; those that have failed are dropped."""
    scalars = state.scalars
    while scalars[IN_FLIGHT] < limits.window and scalars[WAITING] >= 0:
        slot = scalars[WAITING]
        scalars[WAITING] = state.slot_next[slot]
        state.slot_flags[slot] &= ~WAITS_FOR_PLACE & 0xFF
        node = state.waits_at[slot]
        # who has left the view since has left the proposal to the next primary
        if not state.slot_flags[slot] & ENDED and (
            not limits.faulty or (still_in(state, node) and role_in(state, slot, state.in_view[node], node) == 0)
        ):
            to_do(state, slot, node, 0)
            return
        release_slot(state, slot)
