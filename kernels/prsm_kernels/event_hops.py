"""Copies of the events engine on their way: routes, draws, uplinks and links."""

import numpy as np

from ._jit import subkernel
from ._jit import uncounted_inlined as inlined
from .codes import AMONG_REPLICAS, DIRECT, GOSSIP
from .delay import draw_pair, hop_delay
from .event_queue import free_record, log_row, new_record, schedule
from .event_types import (
    ARRIVE,
    BASE,
    CLIENT_LINE,
    DEST,
    EDGE,
    EGRESS_BUSY,
    FROM,
    HERE,
    LOG,
    LOG_HOP,
    LOSSES,
    NEXT,
    NO_EDGE,
    NODE,
    NOWHERE,
    PROPAGATED,
    RELAY_EGRESS,
    REPEAT,
    REPEATED,
    REPEATS,
    RESEND,
    ROUND,
    SENT_BYTES,
    SLOT,
    SOURCE,
    TRANSMISSIONS,
    TRANSMITTED,
    TRAVEL,
)
from .lanes import LANES, load, select, spread_int, store

_LOSS_SCALE = np.float32(2.0**31)
_HOP = 1 << 20


@subkernel
def draw(k0, k1, sender, counter, base_ms, loss, law, travel_ms, lost):
    """Delays of up to sixteen copies of one message: travel and number of losses, into `travel_ms` and `lost`."""
    key0, key1, source = spread_int(k0), spread_int(k1), spread_int(sender)
    receiver = load(counter, 0)
    even, odd = draw_pair(key0, key1, receiver, source)
    bits = select((source & np.uint32(1)) == np.uint32(0), even, odd)
    threshold = load(loss, 0) * _LOSS_SCALE
    travel, _, count = hop_delay(bits, key0, key1, receiver, source, load(base_ms, 0), threshold, law)
    store(travel_ms, 0, travel)
    store(lost, 0, count)


@inlined
def next_hop(paths, node, root, leaf):
    """Edge by which a message from `root` to `leaf` leaves `node`, -1 if there is no way, and its hops from there on less one."""
    n = paths.indptr.size - 1
    at, hops = leaf, 0
    while True:
        edge = paths.last_edge[root * n + at]
        if edge < 0 or paths.source[edge] == node:
            return edge, hops
        at = paths.source[edge]
        hops += 1


@inlined
def _set_route(paths, state, lane, record, node, source, dest, site):
    """Find the next hop of a copy at `node` and what its draw needs."""
    n = state.idle.size
    row = state.record[record]
    row[FROM], row[SOURCE], row[DEST] = node, source, dest
    root, leaf = (site if source == n else source), (site if dest == n else dest)
    state.base_ms[lane], state.loss[lane] = np.float32(0.0), np.float32(0.0)
    state.counter[lane] = np.uint32(dest)
    row[NODE], row[EDGE] = dest, NO_EDGE
    if root == leaf:
        row[EDGE] = HERE
        return
    if paths.kind == DIRECT:
        link = leaf * n + root
        state.base_ms[lane] = paths.base_ms[link]
        state.loss[lane] = paths.loss[0 if paths.loss.size == 1 else link]
        return
    edge, hops = next_hop(paths, site if node == CLIENT_LINE else node, root, leaf)
    row[EDGE] = edge
    if edge < 0:
        row[EDGE] = NOWHERE
        return
    state.base_ms[lane], state.loss[lane] = paths.base_ms[edge], paths.loss[edge]
    state.counter[lane] = np.uint32(dest + hops * _HOP)
    if hops > 0:
        row[NODE] = paths.target[edge]


@inlined
def _set_edge(paths, state, lane, record, node, source, edge):
    """Send a flooded copy over a link."""
    row = state.record[record]
    row[FROM], row[SOURCE], row[DEST], row[EDGE], row[NODE] = node, source, paths.target[edge], edge, paths.target[edge]
    state.base_ms[lane], state.loss[lane] = paths.base_ms[edge], paths.loss[edge]
    state.counter[lane] = np.uint32(edge)


@inlined
def copies_of(table, paths, r, node, flooded, source):
    """Copies that `node` sends of a message of round r."""
    if not flooded:
        return table.addressed[r, node]
    degree = paths.indptr[node + 1] - paths.indptr[node]
    return degree if node == source else degree - 1


@inlined
def is_flooded(table, paths, r):
    """Whether messages of round r are flooded."""
    return paths.kind == GOSSIP and table.kind[r] == AMONG_REPLICAS


@inlined
def make_copies(table, paths, law, state, slot, r, node, source, came_from, first_dest):
    """Make the copies that leave `node`, with the draws of their hop, as a list linked by NEXT; returns its head.

    Flooded: to all neighbours but `came_from`. Else: from `first_dest` on round the ring, as many as are addressed; or the
    one copy of a message that passes `node`, or that a client sends.
    """
    n = state.idle.size
    flooded = is_flooded(table, paths, r)
    site = state.client[state.slot_operation[slot]]
    total = copies_of(table, paths, r, node, flooded, source) if source == node or flooded else 1
    edge = paths.indptr[node] if flooded else 0
    head, last = -1, -1
    made = 0
    while made < total:
        lanes = min(LANES, total - made)
        before = last
        for lane in range(lanes):
            record = new_record(state, slot, r, node, source)
            if flooded:
                if paths.target[edge] == came_from:
                    edge += 1
                _set_edge(paths, state, lane, record, node, source, edge)
                edge += 1
            else:
                dest = first_dest + made + lane
                _set_route(paths, state, lane, record, node, source, dest - n if dest >= n and total > 1 else dest, site)
            if last >= 0:
                state.record[last, NEXT] = record
            else:
                head = record
            last = record
        draw(
            state.keys[slot, r, 0], state.keys[slot, r, 1], np.uint32(source), state.counter, state.base_ms, state.loss, law,
            state.travel_ms, state.lost,
        )  # fmt: skip
        record = head if before < 0 else state.record[before, NEXT]
        for lane in range(lanes):
            state.way_ms[record, TRAVEL], state.way_ms[record, BASE] = state.travel_ms[lane], state.base_ms[lane]
            state.record[record, LOSSES] = state.lost[lane]
            record = state.record[record, NEXT]
        made += lanes
    return head


@inlined
def _log_hop(state, record, operation, ready_ms, start_ms, arrive_ms):
    row = state.record[record]
    at = log_row(state, operation, row[ROUND], LOG_HOP)
    row[LOG] = at
    if at >= 0:
        entry, times = state.log[at], state.log_ms[at]
        entry[3], entry[4], entry[6], entry[7] = row[SOURCE], row[DEST], row[NODE], row[REPEAT]
        entry[5] = state.idle.size if row[FROM] == CLIENT_LINE else row[FROM]
        entry[8], entry[9] = row[LOSSES] > 0, 0
        times[0], times[1], times[2] = ready_ms, start_ms, np.inf if row[LOSSES] > 0 else arrive_ms
        times[3:6] = np.inf


@inlined
def _take_lines(paths, machines, state, row, size, ready_ms):
    """Let a copy take its turn on uplink and link; returns (start, transmission time)."""
    node, edge = row[FROM], row[EDGE]
    site = state.client[state.slot_operation[row[SLOT]]] if node == CLIENT_LINE else node
    start_ms = ready_ms
    if node != CLIENT_LINE:
        line_ms = size * machines.out_ms_per_byte[node]
        if line_ms > 0.0:
            start_ms = max(ready_ms, state.uplink_ms[node])
            state.uplink_ms[node] = start_ms + line_ms
        state.busy[EGRESS_BUSY, node] += line_ms
        state.busy[SENT_BYTES, node] += size
        if row[SOURCE] != node:
            state.busy[RELAY_EGRESS, node] += line_ms
    hop_ms = size * paths.ms_per_byte[edge if edge >= 0 else site]
    if edge >= 0 and state.edge_ms_per_byte[edge] > 0.0:
        start_ms = max(start_ms, state.link_ms[edge])
        link_ms = size * state.edge_ms_per_byte[edge]
        state.link_ms[edge] = start_ms + link_ms
        state.link_busy[edge] += link_ms
    return start_ms, hop_ms


@inlined
def launch(table, paths, law, machines, state, record, ready_ms):
    """Put a copy that is ready onto the uplink, and let it arrive, be lost, or vanish."""
    row, way = state.record[record], state.way_ms[record]
    operation, r = state.slot_operation[row[SLOT]], row[ROUND]
    start_ms, hop_ms = _take_lines(paths, machines, state, row, table.bytes[r], ready_ms)
    if row[EDGE] == NOWHERE:
        free_record(state, record)
    elif row[EDGE] == HERE:
        _log_hop(state, record, operation, ready_ms, start_ms, start_ms)
        schedule(state, start_ms, record, ARRIVE)
    else:
        state.counts[operation, r, TRANSMISSIONS] += 1
        arrive_ms = start_ms + hop_ms + way[TRAVEL]
        _log_hop(state, record, operation, ready_ms, start_ms, arrive_ms)
        if row[LOSSES] == 0:
            way[PROPAGATED] += way[TRAVEL]
            way[TRANSMITTED] += hop_ms
            schedule(state, arrive_ms, record, ARRIVE)
        else:
            state.counts[operation, r, REPEATS] += 1
            if law.stream:
                wait_ms = min(max(200.0, law.rto_offset + law.rto_slope * way[BASE]) * 2.0 ** row[REPEAT], 120_000.0)
                row[LOSSES] -= 1
                row[REPEAT] += 1
                way[REPEATED] += wait_ms
                schedule(state, start_ms + wait_ms, record, RESEND)
            else:
                free_record(state, record)
