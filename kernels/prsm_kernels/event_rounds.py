"""What replicas of the events engine do: jobs on their cores, votes, rounds, and the window of the primary."""

from ._jit import uncounted_inlined as inlined
from .codes import CPU, PROPAGATION, QUEUEING, RETRANSMISSION, TO_CLIENT, TRANSMISSION
from .event_hops import copies_of, is_flooded, launch, make_copies
from .event_queue import (
    dequeue,
    enqueue,
    free_record,
    log_mark,
    log_row,
    new_record,
    release_slot,
    schedule,
)
from .event_types import (
    ADMITTED,
    CHECK,
    CLOSED,
    COMPUTED,
    COPY,
    CPU_BUSY,
    DONE,
    DUPLICATE,
    ENDED,
    FIRST,
    FORWARD,
    FROM,
    HANDLE,
    HOLDS_PLACE,
    IN_FLIGHT,
    JOB,
    LOG,
    LOG_JOB,
    MARK_COMMITTED,
    MARK_COMPLETED,
    MARK_ENDED,
    NEXT,
    PROPAGATED,
    RELAY_CPU,
    REPEATED,
    ROUND,
    SEND,
    SENT,
    SLOT,
    SOURCE,
    START,
    TODO_COMPLETES,
    TODO_END,
    TODO_FIRST,
    TODO_SLOT,
    TRANSMITTED,
    USEFUL,
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
def _duration(table, paths, r, node, job, source):
    """(CPU time of a job, its share that is forwarding for others, when the first of its copies is ready or -1)."""
    send_ms, transit_ms = table.send_ms[r], table.transit_ms[r]
    if job == HANDLE:
        return table.receive_ms[r], 0.0, -1.0
    if job == FORWARD:
        return transit_ms + send_ms, transit_ms + send_ms, -1.0
    if job == DUPLICATE:
        return transit_ms, transit_ms, -1.0
    if job == CHECK:
        return table.quorum_ms[r, node], 0.0, -1.0
    copies = copies_of(table, paths, r, node, is_flooded(table, paths, r), source) * send_ms
    if job == SEND:
        return table.sign_ms[r] + copies, 0.0, table.sign_ms[r] + send_ms
    own_ms = table.receive_ms[r] - transit_ms if table.receives[r, node] else 0.0
    return transit_ms + copies + own_ms, transit_ms + copies, transit_ms + send_ms


@inlined
def start_jobs(table, paths, law, machines, load, state, node, now):
    """Start jobs on the idle cores of `node`, and let their copies leave."""
    n = state.idle.size
    while state.idle[node] > 0:
        record = dequeue(state, node)
        if record < 0:
            break
        row = state.record[record]
        slot, r, job, source = row[SLOT], row[ROUND], row[JOB], row[SOURCE]
        duration_ms, relay_ms, ready_ms = _duration(table, paths, r, node, job, source)
        state.busy[CPU_BUSY, node] += duration_ms
        state.busy[RELAY_CPU, node] += relay_ms
        if row[LOG] >= 0:
            state.log_ms[row[LOG], 4], state.log_ms[row[LOG], 5] = now, now + duration_ms
        at = log_row(state, state.slot_operation[slot], r, LOG_JOB)
        if at >= 0:
            state.log[at, 3], state.log[at, 4] = node, job
            state.log_ms[at, 0], state.log_ms[at, 1] = now, now + duration_ms
        if ready_ms >= 0.0:
            came_from = row[FROM] if job == FIRST else -1
            first_dest = n if table.kind[r] == TO_CLIENT else table.primary if table.addressed[r, node] == 1 else node + 1
            copy = make_copies(table, paths, law, state, slot, r, node, source, came_from, first_dest)
            inherit(state, copy, record, ready_ms)
            at_ms = now + ready_ms
            if load.stepwise:
                if copy >= 0:
                    schedule(state, at_ms, copy, COPY)
            else:
                while copy >= 0:
                    following = state.record[copy, NEXT]
                    launch(table, paths, law, machines, state, copy, at_ms)
                    at_ms += table.send_ms[r]
                    copy = following
        if load.contended:
            state.idle[node] -= 1
            schedule(state, now + duration_ms, record, DONE)
        else:
            free_record(state, record)


@inlined
def inherit(state, copy, record, computed_ms):
    """Give a message's copies the parts of its way so far; none for a message of the sender's own."""
    way = state.way_ms[record]
    while copy >= 0:
        own = state.way_ms[copy]
        own[PROPAGATED], own[TRANSMITTED], own[REPEATED] = way[PROPAGATED], way[TRANSMITTED], way[REPEATED]
        own[COMPUTED] = way[COMPUTED] + computed_ms
        copy = state.record[copy, NEXT]


@inlined
def add_way(state, parts, record, slot, r, source):
    """Set `parts` to those of the sender of a message of round r when it sent, and of the message's way."""
    way = state.way_ms[record]
    for part in range(4):
        parts[part] = way[part]
        if r > 0 and source < state.idle.size:
            parts[part] += state.parts_ms[slot, r - 1, source, part]


@inlined
def count_message(table, paths, state, record, node):
    """Count a message that `node` has handled; the one that completes the round lets the replica go on."""
    row = state.record[record]
    slot, r, source = row[SLOT], row[ROUND], row[SOURCE]
    if not table.receives[r, node]:
        return
    state.count[slot, r, node] += 1
    held_back = node == table.primary and r == 1 and not state.slot_flags[slot] & ADMITTED
    if state.stage[slot, node] != r or held_back or state.count[slot, r, node] != table.need[r, node]:
        return
    parts = state.parts_ms[slot, r, node]
    duration_ms, _, _ = _duration(table, paths, r, node, row[JOB], source)
    add_way(state, parts, record, slot, r, source)
    parts[COMPUTED] += duration_ms
    if not check_quorum(table, state, slot, r, node):
        to_do(state, slot, node, 1)


@inlined
def check_quorum(table, state, slot, r, node):
    """Let a complete quorum be checked where that costs time; returns whether it does."""
    quorum_ms = table.quorum_ms[r, node]
    if quorum_ms > 0.0:
        state.parts_ms[slot, r, node, COMPUTED] += quorum_ms
        enqueue(state, node, new_record(state, slot, r, node, node), CHECK, True)
    return quorum_ms > 0.0


@inlined
def _admit(table, load, state, slot, now):
    """Give an operation a place in the primary's window, or let it wait for one; returns whether it has it."""
    scalars = state.scalars
    if state.slot_flags[slot] & ENDED:
        return False
    if scalars[IN_FLIGHT] < load.window:
        scalars[IN_FLIGHT] += 1
        state.slot_flags[slot] |= ADMITTED | HOLDS_PLACE
        if state.committed[slot] >= table.commit_need:
            state.commit_ms[state.slot_operation[slot]] = state.proposed_ms[slot] - now
        state.proposed_ms[slot] = now
        return True
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
def admit_next(table, load, state):
    """Let an operation that waits for a place in the window go on if there is one; those that have failed are dropped."""
    scalars = state.scalars
    while scalars[IN_FLIGHT] < load.window and scalars[WAITING] >= 0:
        slot = scalars[WAITING]
        scalars[WAITING] = state.slot_next[slot]
        state.slot_flags[slot] &= ~WAITS_FOR_PLACE & 0xFF
        if not state.slot_flags[slot] & ENDED:
            to_do(state, slot, table.primary, 0)
            return
        release_slot(state, slot)


@inlined
def advance(table, load, state, slot, node, completes, now):
    """Carry the operation in `slot` on at `node`, through all rounds that need no further message."""
    r = state.stage[slot, node]
    parts = state.parts_ms
    while r < table.kind.size:
        if not completes:
            outside = r == 1 and node == table.primary and not state.slot_flags[slot] & ADMITTED
            if outside and not _admit(table, load, state, slot, now):
                return
            if table.sends[r, node]:
                state.counts[state.slot_operation[slot], r, SENT] += table.addressed[r, node]
                enqueue(state, node, new_record(state, slot, r, node, node), SEND, True)
            if table.need[r, node] > 0 and state.count[slot, r, node] < table.need[r, node]:
                return
            for part in range(4):
                parts[slot, r, node, part] = parts[slot, r - 1, node, part] if r > 0 else 0.0
            if table.need[r, node] > 0 and check_quorum(table, state, slot, r, node):
                return
        completes = False
        operation = state.slot_operation[slot]
        if table.receives[r, node]:
            log_mark(state, operation, r, node, MARK_COMPLETED, now)
        if r == table.commit_round:
            state.committed[slot] += 1
            if state.committed[slot] == table.commit_need:
                if state.slot_flags[slot] & ADMITTED:
                    state.commit_ms[operation] = now - state.proposed_ms[slot]
                else:  # the moment of the commit, until the proposal comes
                    state.proposed_ms[slot] = now
                log_mark(state, operation, r, node, MARK_COMMITTED, now)
            if node == table.primary:
                state.flight_ms[operation] = now - state.proposed_ms[slot]
                give_place_back(state, slot)
        r += 1
        state.stage[slot, node] = r


@inlined
def settle(load, state, slot, now):
    """Note that an operation is over, answered or failed, and let its client go on."""
    state.slot_flags[slot] |= ENDED
    if load.mode == CLOSED:
        schedule(state, now, new_record(state, -1, 0, 0, 0), START)


@inlined
def take_reply(table, load, state, record, now):
    """Count a reply at its client; the last one needed ends the operation."""
    row = state.record[record]
    slot, r = row[SLOT], row[ROUND]
    if not state.slot_flags[slot] & ENDED:
        operation = state.slot_operation[slot]
        state.replies[slot] += 1
        state.counts[operation, r, USEFUL] += 1
        if row[LOG] >= 0:
            state.log[row[LOG], 9] = 1
        if state.replies[slot] == table.client_need:
            state.ended[operation] = 1
            latency_ms = now - state.start_ms[operation]
            state.latency_ms[operation] = latency_ms
            parts, told = state.parts_ms[slot, r, row[SOURCE]], state.breakdown_ms[operation]
            add_way(state, parts, record, slot, r, row[SOURCE])
            told[PROPAGATION], told[TRANSMISSION], told[CPU] = parts[PROPAGATED], parts[TRANSMITTED], parts[COMPUTED]
            told[RETRANSMISSION] = parts[REPEATED]
            told[QUEUEING] = max(0.0, latency_ms - parts[0] - parts[1] - parts[2] - parts[3])
            log_mark(state, operation, r, state.idle.size, MARK_ENDED, now)
            settle(load, state, slot, now)
    free_record(state, record)
