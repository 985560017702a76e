"""Records, the heap of scheduled events, and the queues of the events engine."""

from ._jit import inlined
from .event_types import (
    CERTIFICATES,
    COMPUTED,
    COUNTED,
    COUNTED_END,
    ENDED,
    FREE_RECORD,
    FREE_RECORDS,
    FREE_SLOT,
    GONE,
    HEAP,
    HOLDS_PLACE,
    JOB,
    KIND,
    LEFT,
    LOG,
    LOG_BEGIN,
    LOG_END,
    LOG_MARK,
    LOGGED,
    LOSSES,
    NEXT,
    NODE,
    NUMBER,
    OF_VIEW,
    PLACE,
    PROPAGATED,
    REPEAT,
    REPEATED,
    ROUND,
    SALT,
    SEQUENCE,
    SLOT,
    SOURCE,
    TRANSMITTED,
    VIEW,
    VIEWS,
    WAITS_FOR_PLACE,
)

_RECORD_BITS = 24
_RECORD_MASK = (1 << _RECORD_BITS) - 1
MOST_RECORDS = 1 << _RECORD_BITS


@inlined
def schedule(state, time_ms, record, kind):
    """Put an event on the heap. It is the youngest, so among events of its time it comes last."""
    scalars, heap_ms, heap_order = state.scalars, state.heap_ms, state.heap_order
    state.record[record, KIND] = kind
    order = scalars[SEQUENCE] << _RECORD_BITS | record
    scalars[SEQUENCE] += 1
    i = scalars[HEAP]
    scalars[HEAP] = i + 1
    while i > 0:
        up = (i - 1) >> 2
        if heap_ms[up] <= time_ms:
            break
        heap_ms[i] = heap_ms[up]
        heap_order[i] = heap_order[up]
        i = up
    heap_ms[i] = time_ms
    heap_order[i] = order


@inlined
def next_event(state):
    """Take the earliest event off the heap; returns (time, record)."""
    scalars, heap_ms, heap_order = state.scalars, state.heap_ms, state.heap_order
    first_ms, first = heap_ms[0], heap_order[0] & _RECORD_MASK
    size = scalars[HEAP] - 1
    scalars[HEAP] = size
    time_ms, order = heap_ms[size], heap_order[size]
    i = 0
    while True:
        child = 4 * i + 1
        if child >= size:
            break
        least = child
        for other in range(child + 1, min(child + 4, size)):
            sooner = heap_ms[other] < heap_ms[least]
            if sooner or (heap_ms[other] == heap_ms[least] and heap_order[other] < heap_order[least]):
                least = other
        if time_ms < heap_ms[least] or (time_ms == heap_ms[least] and order < heap_order[least]):
            break
        heap_ms[i] = heap_ms[least]
        heap_order[i] = heap_order[least]
        i = least
    heap_ms[i] = time_ms
    heap_order[i] = order
    return first_ms, first


@inlined
def record_at(state, i):
    """Record of an element of the heap."""
    return state.heap_order[i] & _RECORD_MASK


@inlined
def new_record(state, slot, r, node, source):
    """Take a free record for something of the operation in `slot`; of none if that is -1."""
    scalars = state.scalars
    record = scalars[FREE_RECORD]
    row = state.record[record]
    scalars[FREE_RECORD] = row[NEXT]
    scalars[FREE_RECORDS] -= 1
    row[SLOT], row[ROUND], row[NODE], row[SOURCE] = slot, r, node, source
    row[LOSSES], row[REPEAT], row[NEXT], row[LOG], row[VIEW], row[SALT], row[CERTIFICATES] = 0, 0, -1, -1, 0, 0, 0
    way = state.way_ms[record]
    way[PROPAGATED], way[TRANSMITTED], way[COMPUTED], way[REPEATED] = 0.0, 0.0, 0.0, 0.0
    if slot >= 0:
        state.slot_records[slot] += 1
    return record


@inlined
def _free_slot(state, slot):
    state.slot_next[slot] = state.scalars[FREE_SLOT]
    state.scalars[FREE_SLOT] = slot


@inlined
def release_slot(state, slot):
    """Free the slot of an operation that has ended, or of a view change, once nothing of it is left."""
    scalars, flags = state.scalars, state.slot_flags[slot]
    if flags & ENDED and not flags & (WAITS_FOR_PLACE | HOLDS_PLACE) and state.slot_records[slot] == 0:
        _free_slot(state, slot)
        operation = state.slot_operation[slot]
        state.slot_of[operation] = GONE
        if scalars[COUNTED] <= operation < scalars[COUNTED_END]:
            scalars[LEFT] -= 1
    elif flags & OF_VIEW and state.slot_records[slot] == 0:
        _free_slot(state, slot)
        view = state.slot_view[slot]
        if state.changing[view % VIEWS, NUMBER] == view:
            state.changing[view % VIEWS, PLACE] = -1


@inlined
def free_record(state, record):
    """Give a record back."""
    slot = state.record[record, SLOT]
    state.record[record, NEXT] = state.scalars[FREE_RECORD]
    state.scalars[FREE_RECORD] = record
    state.scalars[FREE_RECORDS] += 1
    if slot >= 0:
        state.slot_records[slot] -= 1
        release_slot(state, slot)


@inlined
def enqueue(state, node, record, job, own):
    """Let a job wait for a core of `node`; a replica's own steps (`own`) wait apart."""
    queue = state.queue[node]
    first = 2 if own else 0
    state.record[record, JOB] = job
    state.record[record, NEXT] = -1
    if queue[first] < 0:
        queue[first] = record
    else:
        state.record[queue[first + 1], NEXT] = record
    queue[first + 1] = record


@inlined
def dequeue(state, node):
    """Take the next job of `node`, its own steps first; -1 if there is none."""
    queue = state.queue[node]
    first = 2 if queue[2] >= 0 else 0
    record = queue[first]
    if record >= 0:
        queue[first] = state.record[record, NEXT]
        state.record[record, NEXT] = -1
    return record


@inlined
def log_row(state, operation, r, what):
    """Take a row of the log for something of `operation`; -1 if that is not logged."""
    scalars = state.scalars
    if operation < scalars[LOG_BEGIN] or operation >= scalars[LOG_END]:
        return -1
    row = scalars[LOGGED]
    scalars[LOGGED] = row + 1
    state.log[row, 0], state.log[row, 1], state.log[row, 2] = what, operation, r
    return row


@inlined
def log_mark(state, operation, r, replica, what, time_ms):
    """Note a moment of an operation."""
    row = log_row(state, operation, r, LOG_MARK)
    if row >= 0:
        state.log[row, 3], state.log[row, 4] = replica, what
        state.log_ms[row, 0] = time_ms
