"""Fault scripts of the events engine: replicas that crash and recover, and what holds for a time."""

import numpy as np

from ._jit import inlined, subkernel
from .event_hops import draw_again
from .event_patience import wait_for_oldest
from .event_queue import dequeue, free_record, record_at, schedule
from .event_types import (
    COPY,
    DONE,
    EPOCH,
    FROM,
    HEAP,
    KIND,
    NEXT,
    NEXT_OPERATION,
    NODE,
    OLDEST,
    RECEIVED,
    RESEND,
    SCRIPT,
    VOID,
)


@subkernel
def turn_page(table, paths, law, machines, faults, state, record):
    """Let the next row of the script hold."""
    script = faults.script
    state.scalars[EPOCH] += 1
    epoch = state.scalars[EPOCH]
    if epoch + 1 < script.at_ms.size:
        schedule(state, script.at_ms[epoch + 1], record, SCRIPT)
    else:
        free_record(state, record)
    if script.loss[epoch] != script.loss[epoch - 1] or script.delay_ms[epoch] != script.delay_ms[epoch - 1]:
        for i in range(state.scalars[HEAP]):
            copy = record_at(state, i)
            if state.record[copy, KIND] != COPY and state.record[copy, KIND] != RESEND:
                continue
            while copy >= 0:
                draw_again(table, paths, law, faults, state, copy)
                copy = state.record[copy, NEXT]
    for node in range(state.alive.size):
        alive = machines.alive[node] and script.alive[epoch, node]
        if state.alive[node] and not alive:
            _crash(state, node)
        elif alive and not state.alive[node]:
            _recover(table, machines, faults, state, node)


@inlined
def _crash(state, node):
    """Drop what a replica has begun and what waits for it, and stop its timer."""
    state.alive[node] = 0
    state.due_ms[node] = np.inf
    record = dequeue(state, node)
    while record >= 0:
        free_record(state, record)
        record = dequeue(state, node)
    for i in range(state.scalars[HEAP]):
        row = state.record[record_at(state, i)]
        leaves = row[KIND] == COPY or row[KIND] == RESEND
        comes = row[KIND] == DONE or row[KIND] == RECEIVED
        if (comes and row[NODE] == node) or (leaves and row[FROM] == node):
            row[KIND] = VOID


@inlined
def _recover(table, machines, faults, state, node):
    """Start a replica in the view it was in; there it votes for no operation that has started, but waits for those it knows."""
    state.alive[node] = 1
    state.idle[node] = machines.cores
    state.wanted[node], state.failures[node], state.again[node] = state.in_view[node], 0, 0
    for operation in range(state.scalars[OLDEST], state.scalars[NEXT_OPERATION]):
        slot = state.slot_of[operation]
        if slot >= 0:
            state.stage[slot, node] = table.rounds
    wait_for_oldest(faults, state, node, state.clock[0])
