"""What replicas of the events engine do: jobs on their cores, votes and rounds; and what their replies end."""

from ._jit import inlined
from .codes import CPU, PROPAGATION, QUEUEING, RETRANSMISSION, TO_CLIENT, TRANSMISSION, VIEW_CHANGE
from .event_hops import copies_of, is_flooded, launch, make_copies
from .event_patience import agreed_replies, choose_value, commit, let_go, prepare
from .event_queue import (
    dequeue,
    enqueue,
    free_record,
    log_mark,
    log_row,
    new_record,
    schedule,
)
from .event_roles import primary_in, role_in, still_in
from .event_types import (
    ADMITTED,
    CERTIFICATES,
    CHECK,
    CLIENT_VIEW,
    CLOSED,
    COMPUTED,
    COPY,
    CPU_BUSY,
    DONE,
    DUPLICATE,
    ENDED,
    EPOCH,
    FIRST,
    FORWARD,
    FROM,
    HANDLE,
    HOLDS_PLACE,
    INVALID,
    JOB,
    LOG,
    LOG_JOB,
    MARK_COMMITTED,
    MARK_COMPLETED,
    MARK_ENDED,
    NEXT,
    NODE,
    PROPAGATED,
    RELAY_CPU,
    REPEATED,
    ROUND,
    SALT,
    SEND,
    SENT,
    SLOT,
    SOURCE,
    START,
    TRANSMITTED,
    USEFUL,
    VIEW,
)
from .event_window import admit, give_place_back, propose, to_do


@inlined
def pace(table, limits, faults, state, node):
    """Factor on the CPU times of what a replica begins now."""
    if limits.faulty:
        return table.slow[node] * faults.script.slow[state.scalars[EPOCH], node]
    return table.slow[node]


@inlined
def duration(table, paths, limits, faults, state, row, role):
    """(CPU time of a job, its share that is forwarding for others, when the first of its copies is ready or -1)."""
    r, node, job = row[ROUND], row[NODE], row[JOB]
    send_ms, transit_ms, receive_ms, sign_ms = table.send_ms[r], table.transit_ms[r], table.receive_ms[r], table.sign_ms[r]
    quorum_ms = table.quorum_ms[r, role]
    if row[CERTIFICATES] > 0:
        receive_ms += row[CERTIFICATES] * faults.certificate_ms[r - table.rounds]
        sign_ms += row[CERTIFICATES] * faults.certificate_sign_ms
    slow = pace(table, limits, faults, state, node)
    send_ms, transit_ms, receive_ms = send_ms * slow, transit_ms * slow, receive_ms * slow
    sign_ms, quorum_ms = sign_ms * slow, quorum_ms * slow
    if job == HANDLE:
        return receive_ms, 0.0, -1.0
    if job == FORWARD:
        return transit_ms + send_ms, transit_ms + send_ms, -1.0
    if job == DUPLICATE:
        return transit_ms, transit_ms, -1.0
    if job == CHECK:
        return quorum_ms, 0.0, -1.0
    copies = copies_of(table, paths, r, node, role, is_flooded(table, paths, r), row[SOURCE]) * send_ms
    if job == SEND:
        return sign_ms + copies, 0.0, sign_ms + send_ms
    own_ms = receive_ms - transit_ms if table.receives[r, role] else 0.0
    return transit_ms + copies + own_ms, transit_ms + copies, transit_ms + send_ms


@inlined
def start_jobs(table, paths, law, machines, limits, faults, state, node, now):
    """Start jobs on the idle cores of `node`, and let their copies leave."""
    while state.idle[node] > 0:
        record = dequeue(state, node)
        if record < 0:
            break
        row = state.record[record]
        slot, r, job = row[SLOT], row[ROUND], row[JOB]
        role = role_in(state, slot, row[VIEW], node)
        duration_ms, relay_ms, ready_ms = duration(table, paths, limits, faults, state, row, role)
        state.busy[CPU_BUSY, node] += duration_ms
        state.busy[RELAY_CPU, node] += relay_ms
        if row[LOG] >= 0:
            state.log_ms[row[LOG], 4], state.log_ms[row[LOG], 5] = now, now + duration_ms
        at = log_row(state, state.slot_operation[slot], r, LOG_JOB)
        if at >= 0:
            state.log[at, 3], state.log[at, 4] = node, job
            state.log_ms[at, 0], state.log_ms[at, 1] = now, now + duration_ms
        if ready_ms >= 0.0:
            _leave(table, paths, law, machines, limits, faults, state, record, now, ready_ms)
        if limits.contended:
            state.idle[node] -= 1
            schedule(state, now + duration_ms, record, DONE)
        else:
            free_record(state, record)


@inlined
def _leave(table, paths, law, machines, limits, faults, state, record, now, ready_ms):
    """Let the copies leave that a job makes, the first `ready_ms` after it began."""
    row = state.record[record]
    slot, r, node, source, job = row[SLOT], row[ROUND], row[NODE], row[SOURCE], row[JOB]
    n = state.idle.size
    primary = primary_in(state, slot, row[VIEW])
    role = 0 if node == primary else 1
    came_from = row[FROM] if job == FIRST else -1
    first_dest = n if table.kind[r] == TO_CLIENT else primary if table.addressed[r, role] == 1 else node + 1
    total = copies_of(table, paths, r, node, role, is_flooded(table, paths, r), source)
    copy = make_copies(table, paths, law, limits, faults, state, record, slot, r, node, source, came_from, first_dest, total)
    inherit(state, copy, record, ready_ms)
    at_ms, hold_ms = now + ready_ms, 0.0
    if limits.faulty and job == SEND:
        hold_ms = faults.hold_ms[node] + faults.script.hold_ms[state.scalars[EPOCH], node]
    if limits.stepwise or hold_ms > 0.0:
        if copy >= 0:
            schedule(state, at_ms + hold_ms, copy, COPY)
    else:
        while copy >= 0:
            following = state.record[copy, NEXT]
            state.record[copy, NEXT] = -1
            launch(table, paths, law, machines, limits, faults, state, copy, at_ms)
            at_ms += step_ms(table, limits, faults, state, r, node)
            copy = following


@inlined
def step_ms(table, limits, faults, state, r, node):
    """CPU time from one copy of a message to the next."""
    return table.send_ms[r] * pace(table, limits, faults, state, node) if node >= 0 else table.send_ms[r]


@inlined
def send(table, limits, faults, state, slot, r, node, view, salt, certificates):
    """Let `node` make a message of its own, and as many invalid ones after it as it floods others with."""
    invalid = faults.invalid[node] if limits.faulty and table.kind[r] != TO_CLIENT else 0
    for number in range(invalid + 1):
        record = new_record(state, slot, r, node, node)
        if limits.faulty:
            row = state.record[record]
            row[VIEW], row[SALT], row[CERTIFICATES] = view, salt + INVALID * number, certificates
        enqueue(state, node, record, SEND, True)


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
def count_message(table, paths, limits, faults, state, record, node):
    """Count a message that `node` has handled; the one that completes the round lets the replica go on."""
    row = state.record[record]
    slot, r, source = row[SLOT], row[ROUND], row[SOURCE]
    role = role_in(state, slot, state.in_view[node], node)
    if not table.receives[r, role]:
        return
    state.count[slot, r, node] += 1
    held_back = role == 0 and r == 1 and not state.slot_flags[slot] & ADMITTED
    if state.stage[slot, node] != r or held_back or state.count[slot, r, node] != table.need[r, role]:
        return
    parts = state.parts_ms[slot, r, node]
    duration_ms, _, _ = duration(table, paths, limits, faults, state, row, role)
    add_way(state, parts, record, slot, r, source)
    parts[COMPUTED] += duration_ms
    if not check_quorum(table, state, slot, r, node, role):
        to_do(state, slot, node, 1)


@inlined
def check_quorum(table, state, slot, r, node, role):
    """Let a complete quorum be checked where that costs time; returns whether it does."""
    quorum_ms = table.quorum_ms[r, role]
    if quorum_ms > 0.0:
        state.parts_ms[slot, r, node, COMPUTED] += quorum_ms * table.slow[node]
        record = new_record(state, slot, r, node, node)
        state.record[record, VIEW] = state.in_view[node]
        enqueue(state, node, record, CHECK, True)
    return quorum_ms > 0.0


@inlined
def _enter_round(table, limits, faults, state, slot, r, node, role, now):
    """Let `node` enter round r and send; returns whether it is there, and not waiting for a place in the window."""
    view = state.in_view[node]
    if r == 1 and role == 0:
        if not state.slot_flags[slot] & HOLDS_PLACE:
            if not admit(table, limits, state, slot, node, now):
                return False
        elif limits.faulty:
            propose(table, state, slot, now)
        if limits.faulty:
            choose_value(faults, state, slot, node, view)
    if limits.faulty and r == table.commit_round:
        prepare(faults, state, slot, node)
    if table.sends[r, role]:
        state.counts[state.slot_operation[slot], r, SENT] += table.addressed[r, role]
        send(table, limits, faults, state, slot, r, node, view, 0, 0)
    return True


@inlined
def _complete_round(table, limits, faults, state, slot, r, node, role, now):
    """Note that `node` has completed round r."""
    operation = state.slot_operation[slot]
    if table.receives[r, role]:
        log_mark(state, operation, r, node, MARK_COMPLETED, now)
    if r != table.commit_round:
        return
    if not limits.faulty or commit(faults, state, slot, node, now):
        state.committed[slot] += 1
        if state.committed[slot] == table.commit_need:
            if state.slot_flags[slot] & ADMITTED:
                state.commit_ms[operation] = now - state.proposed_ms[slot]
            else:  # the moment of the commit, until the proposal comes
                state.proposed_ms[slot] = now
            log_mark(state, operation, r, node, MARK_COMMITTED, now)
    if role == 0:
        state.flight_ms[operation] = now - state.proposed_ms[slot]
        give_place_back(state, slot)


@inlined
def advance(table, limits, faults, state, slot, node, completes, now):
    """Carry the operation in `slot` on at `node`, through all rounds that need no further message."""
    if limits.faulty and not still_in(state, node):
        return
    r = state.stage[slot, node]
    role = role_in(state, slot, state.in_view[node], node)
    parts = state.parts_ms
    while r < table.rounds:
        if not completes:
            if not _enter_round(table, limits, faults, state, slot, r, node, role, now):
                return
            if table.need[r, role] > 0 and state.count[slot, r, node] < table.need[r, role]:
                return
            for part in range(4):
                parts[slot, r, node, part] = parts[slot, r - 1, node, part] if r > 0 else 0.0
            if table.need[r, role] > 0 and check_quorum(table, state, slot, r, node, role):
                return
        completes = False
        _complete_round(table, limits, faults, state, slot, r, node, role, now)
        r += 1
        state.stage[slot, node] = r


@inlined
def settle(limits, faults, state, slot, now):
    """Note that an operation is over, answered or failed, and let its client go on."""
    state.slot_flags[slot] |= ENDED
    if limits.faulty:
        let_go(faults, state, slot, now)
    if limits.mode == CLOSED:
        schedule(state, now, new_record(state, -1, 0, 0, 0), START)


@inlined
def take_reply(table, limits, faults, state, record, now):
    """Count a reply at its client; the last one needed ends the operation."""
    row = state.record[record]
    slot, r = row[SLOT], row[ROUND]
    if not state.slot_flags[slot] & ENDED:
        agreed, counted = state.replies[slot, 0] + 1, True
        if limits.faulty:
            agreed, counted = agreed_replies(faults, state, slot, row)
        else:
            state.replies[slot, 0] = agreed
        if counted:
            state.counts[state.slot_operation[slot], r, USEFUL] += 1
            if row[LOG] >= 0:
                state.log[row[LOG], 9] = 1
            if agreed == table.client_need:
                _answer(limits, faults, state, record, now)
    free_record(state, record)


@inlined
def _answer(limits, faults, state, record, now):
    """End an operation with the last reply that its client needs."""
    row = state.record[record]
    slot, r = row[SLOT], row[ROUND]
    operation = state.slot_operation[slot]
    state.ended[operation] = 1
    latency_ms = now - state.start_ms[operation]
    state.latency_ms[operation] = latency_ms
    parts, told = state.parts_ms[slot, r, row[SOURCE]], state.breakdown_ms[operation]
    add_way(state, parts, record, slot, r, row[SOURCE])
    told[PROPAGATION], told[TRANSMISSION], told[CPU] = parts[PROPAGATED], parts[TRANSMITTED], parts[COMPUTED]
    told[RETRANSMISSION] = parts[REPEATED]
    waited_ms = latency_ms - parts[0] - parts[1] - parts[2] - parts[3]
    if row[VIEW] > state.first_view[operation]:
        state.views[operation] = row[VIEW] - state.first_view[operation]
        told[VIEW_CHANGE] = state.proposed_ms[slot] - state.start_ms[operation]
        waited_ms -= told[VIEW_CHANGE]
    told[QUEUEING] = max(0.0, waited_ms)
    state.scalars[CLIENT_VIEW] = max(state.scalars[CLIENT_VIEW], row[VIEW])
    log_mark(state, operation, r, state.idle.size, MARK_ENDED, now)
    settle(limits, faults, state, slot, now)
