"""Where an operation's time went: the chain of messages that decided its latency, walked back from the client."""

import numpy as np

from ._jit import inlined, subkernel
from .arrivals import edge_back, line_place_back, line_wait_ms, onward_ms
from .client import NOWHERE, walk
from .codes import (
    AMONG_REPLICAS,
    CPU,
    GOSSIP,
    PROPAGATION,
    QUEUEING,
    RETRANSMISSION,
    TO_CLIENT,
    TO_PRIMARY,
    TRANSMISSION,
)
from .lanes import LANES, load, spread_int, store

_INF = np.float32(np.inf)


@inlined
def _onward_position(paths, i, node, edge):
    """Place of a copy among those that `node` sends of sender i's message, of which none goes back where it came from."""
    back = edge_back(paths, i, node)
    return np.float32(edge - paths.indptr[node] - (1 if 0 <= back < edge else 0))


@inlined
def _line_queue(rounds, paths, machines, scratch, r, lane, i, node, edge):
    """How much later than the first copy `node` lets that of sender i's message over `edge` go."""
    burst = r * machines.in_ms_per_byte.size + node
    behind = _onward_position(paths, i, node, edge)
    send, line = rounds.send_ms[burst], rounds.bytes[r] * machines.out_ms_per_byte[node]
    at = burst * LANES + lane
    if machines.shared:
        place = paths.line_place[edge]
        if node != i:
            back = line_place_back(paths, machines, edge_back(paths, i, node))
            return onward_ms(behind, place, back, send, line)
        queue = behind * send
        if place >= 0 and machines.contended:
            begun = np.float32(rounds.line_first[burst]) * send
            if machines.busy > np.float32(0.0):
                begun += scratch.wait[lane] * machines.nic_wait_ms[node]
            queue = max(queue, max(begun, scratch.backlog_ms[at] - scratch.first_ms[at]) + np.float32(place) * line)
        return queue
    queue = behind * max(send, line)
    if node == i and machines.contended:
        queue = max(queue, scratch.backlog_ms[at] + behind * line - scratch.first_ms[at])
    return queue


@inlined
def _flooded_path(rounds, paths, machines, scratch, r, lane, i, j):
    """(relays by how much slower they are, transmission, waiting) of the undisturbed flood path from i to j."""
    n = machines.in_ms_per_byte.size
    size, slot = rounds.bytes[r], rounds.relay_slot[r]
    relays, transmission, waiting = np.float32(0.0), np.float32(0.0), np.float32(0.0)
    node = j
    while node != i:
        edge = paths.last_edge[i * n + node]
        if edge < 0:
            break
        node = paths.source[edge]
        transmission += size * paths.ms_per_byte[edge]
        queue = _line_queue(rounds, paths, machines, scratch, r, lane, i, node, edge)
        if node != i:
            relays += machines.slow[node]
            if slot >= 0:
                queue += paths.relay_ms[slot, i * n + node]
            if machines.relay_wait_ms.size > 1:
                nic_ms = line_wait_ms(machines, node, paths.line_place[edge] if machines.shared else 0)
                queue += scratch.wait[LANES + lane] * (machines.cpu_wait_ms[node] + nic_ms)
        waiting += queue
    return relays, transmission, waiting


@inlined
def _add_flood(rounds, paths, machines, scratch, parts, r, lane, i, j):
    """Attribute one gossiped message; what a detour or a loss added counts as propagation."""
    n = machines.in_ms_per_byte.size
    relays, transmission, waiting = _flooded_path(rounds, paths, machines, scratch, r, lane, i, j)
    relays = relays * paths.forward_ms
    left = scratch.critical_ms[(r * n + j) * LANES + lane] - scratch.first_ms[(r * n + i) * LANES + lane]
    travel = max(left - transmission - waiting - relays, np.float32(0.0))
    parts[lane, PROPAGATION] += travel
    parts[lane, TRANSMISSION] += transmission
    parts[lane, CPU] += relays


@inlined
def begin_walk_back(rounds, scratch, primary):
    """Put every lane at the replica whose reply was the last one needed."""
    n = scratch.at[LANES]
    last = rounds.kind.size - 1
    for l in range(LANES):
        sender = scratch.critical[last * n * LANES + l]
        scratch.node[l] = primary if sender == np.uint32(NOWHERE) else np.int64(sender)


@inlined
def _set_out(rounds, paths, machines, scratch, parts, r, primary):
    """Set each lane's message of round r, from scratch.root to scratch.leaf, and count the CPU time at its ends."""
    n = machines.in_ms_per_byte.size
    kind = rounds.kind[r]
    for l in range(LANES):
        j = scratch.node[l]
        if kind == TO_CLIENT:
            scratch.root[l], scratch.leaf[l] = j, scratch.client[l]
            parts[l, CPU] += rounds.sign_ms[r * n + j] + rounds.send_ms[r * n + j]
        elif kind == TO_PRIMARY:
            # a chain that ends elsewhere began with a replica that waits for no request
            asked = j == primary
            scratch.root[l], scratch.leaf[l] = scratch.client[l] if asked else j, j
            parts[l, CPU] += rounds.handle_ms[r * n + j] if asked else np.float32(0.0)
        else:
            i = np.int64(scratch.critical[(r * n + j) * LANES + l])
            scratch.root[l], scratch.leaf[l] = i, j
            scratch.node[l] = i
            parts[l, CPU] += rounds.quorum_ms[r * n + j]
            if i != j:
                sent_ms = rounds.sign_ms[r * n + i] + rounds.send_ms[r * n + i]
                parts[l, CPU] += sent_ms + rounds.handle_ms[r * n + j]
                if paths.kind == GOSSIP:
                    _add_flood(rounds, paths, machines, scratch, parts, r, l, i, j)


@subkernel
def step_back(rounds, paths, law, machines, scratch, parts, r, primary):
    """Attribute the message of round r that decided each lane's latency, and step to its sender.

    The key lanes of the round must be in ``scratch.keys``. `parts` has shape (16, 6).
    """
    n = machines.in_ms_per_byte.size
    _set_out(rounds, paths, machines, scratch, parts, r, primary)
    kind = rounds.kind[r]
    if kind == AMONG_REPLICAS and paths.kind == GOSSIP:
        return
    outside = spread_int(np.uint32(n))
    for l in range(LANES):
        scratch.ids[l] = np.uint32(scratch.leaf[l])
        scratch.ids[LANES + l] = np.uint32(scratch.root[l])
    receiver = outside if kind == TO_CLIENT else load(scratch.ids, 0)
    sender = outside if kind == TO_PRIMARY else load(scratch.ids, LANES)
    travel, extra, fixed, _, slowed, _ = walk(paths, law, machines, scratch, receiver, sender, rounds.bytes[r], False)
    store(scratch.lane, 0, travel)
    store(scratch.lane, LANES, extra)
    store(scratch.lane, 2 * LANES, fixed)
    store(scratch.lane, 3 * LANES, slowed)
    for l in range(LANES):
        relays = scratch.lane[3 * LANES + l] * paths.forward_ms
        parts[l, PROPAGATION] += scratch.lane[l]
        parts[l, RETRANSMISSION] += scratch.lane[LANES + l]
        parts[l, TRANSMISSION] += scratch.lane[2 * LANES + l] - relays
        parts[l, CPU] += relays


@inlined
def add_queueing(parts, latency_ms):
    """Call queueing what the chain's other parts leave of the latency: waiting in CPUs, lines, and behind other operations."""
    for l in range(LANES):
        if latency_ms[l] == _INF:
            parts[l] = np.float32(0.0)
            continue
        known = np.float32(0.0)
        for part in range(parts.shape[1]):
            known += parts[l, part]
        parts[l, QUEUEING] = max(latency_ms[l] - known, np.float32(0.0))
