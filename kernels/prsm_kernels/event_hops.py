"""Copies of the events engine on their way: routes, draws, uplinks and links."""

import numpy as np

from ._jit import inlined, subkernel
from .codes import AMONG_REPLICAS, DIRECT, GOSSIP
from .delay import draw_pair, hop_delay
from .event_queue import free_record, log_row, new_record, schedule
from .event_types import (
    ARRIVE,
    BASE,
    CERTIFICATES,
    CLIENT_LINE,
    DEST,
    EDGE,
    EGRESS_BUSY,
    EPOCH,
    FROM,
    HERE,
    INVALID,
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
    SALT,
    SENT_BYTES,
    SLOT,
    SOURCE,
    TRANSMISSIONS,
    TRANSMITTED,
    TRAVEL,
    VIEW,
)
from .lanes import LANES, load, select, spread_int, store
from .rng import DOMAIN_OPERATION, threefry2x32

_LOSS_SCALE = np.float32(2.0**31)
_HOP = 1 << 20
_SALT = 1 << 20
_VIEWS_APART, _ASKED, _CHANGE = 64, 60, 62
"""Numbers of the streams of draws, see docs/faults.md."""


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
def copies_of(table, paths, r, node, role, flooded, source):
    """Copies that `node` sends of a message of round r."""
    if not flooded:
        return table.addressed[r, role]
    degree = paths.indptr[node + 1] - paths.indptr[node]
    return degree if node == source else degree - 1


@inlined
def is_flooded(table, paths, r):
    """Whether messages of round r are flooded."""
    return paths.kind == GOSSIP and table.kind[r] == AMONG_REPLICAS


@inlined
def generation(table, state, slot, r, row):
    """How many messages of the round its sender has sent before, for what came earlier of it to be told apart."""
    if r == 0 or r >= table.rounds:
        return row[SALT] % INVALID
    return max(0, row[VIEW] - state.first_view[state.slot_operation[slot]])


@inlined
def stream_of(table, state, slot, r, row):
    """Number of the stream of a message's draws: that of its round, unless views have changed or a client has asked again."""
    again = row[SALT] % INVALID
    if r == 0:
        return 0 if again == 0 else _ASKED + _VIEWS_APART * (again - 1)
    changes = row[VIEW] - state.first_view[state.slot_operation[slot]]
    if r >= table.rounds:
        return _CHANGE + r - table.rounds + _VIEWS_APART * max(0, changes - 1)
    return r + _VIEWS_APART * max(0, changes)


@inlined
def make_key(state, key0, key1, counter0, counter1):
    """Encrypt a counter into the first element of either half of `key_lanes`."""
    k0, k1 = threefry2x32(spread_int(key0), spread_int(key1), spread_int(counter0), spread_int(counter1))
    store(state.key_lanes, 0, k0)
    store(state.key_lanes, LANES, k1)


@inlined
def _set_key(table, state, slot, r, row):
    """Find the key of a message's draws, into `key_lanes`."""
    stream = stream_of(table, state, slot, r, row)
    if stream == r:
        state.key_lanes[0], state.key_lanes[LANES] = state.keys[slot, r, 0], state.keys[slot, r, 1]
    else:
        make_key(state, table.seed[0], table.seed[1], np.uint32(stream), np.uint32(DOMAIN_OPERATION))
        operation = np.uint32(state.slot_operation[slot])
        make_key(state, state.key_lanes[0], state.key_lanes[LANES], operation, np.uint32(table.replicate))


@inlined
def _sender_word(row, r, source):
    """Counter word of a message's sender; what it sends again, and what is invalid, have draws of their own."""
    return np.uint32(source + _SALT * (row[SALT] // INVALID + (row[SALT] % INVALID if r > 0 else 0)))


@inlined
def _trouble(faults, state, lanes):
    """Let the script add to the chance of loss of copies about to be drawn."""
    loss = faults.script.loss[state.scalars[EPOCH]]
    if loss > np.float32(0.0):
        for lane in range(lanes):
            state.loss[lane] = np.float32(1.0) - (np.float32(1.0) - state.loss[lane]) * (np.float32(1.0) - loss)


@inlined
def make_copies(table, paths, law, limits, faults, state, like, slot, r, node, source, came_from, first_dest, total):
    """Make the `total` copies that leave `node`, with the draws of their hop, as a list linked by NEXT; returns its head.

    They are of the message that the record `like` is about. Flooded: to all neighbours but `came_from`. Else: from `first_dest`
    on round the ring.
    """
    n = state.idle.size
    flooded = is_flooded(table, paths, r)
    site = state.client[state.slot_operation[slot]]
    edge = paths.indptr[node] if flooded else 0
    k0, k1, sender, later_ms = np.uint32(0), np.uint32(0), np.uint32(source), 0.0
    if limits.faulty:
        row = state.record[like]
        _set_key(table, state, slot, r, row)
        k0, k1 = state.key_lanes[0], state.key_lanes[LANES]
        sender = _sender_word(row, r, source)
        later_ms = faults.script.delay_ms[state.scalars[EPOCH]]
    else:
        k0, k1 = state.keys[slot, r, 0], state.keys[slot, r, 1]
    head, last = -1, -1
    made = 0
    while made < total:
        lanes = min(LANES, total - made)
        before = last
        for lane in range(lanes):
            record = new_record(state, slot, r, node, source)
            if limits.faulty:
                for column in (VIEW, SALT, CERTIFICATES):
                    state.record[record, column] = state.record[like, column]
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
        if limits.faulty:
            _trouble(faults, state, lanes)
        draw(k0, k1, sender, state.counter, state.base_ms, state.loss, law, state.travel_ms, state.lost)
        record = head if before < 0 else state.record[before, NEXT]
        for lane in range(lanes):
            state.way_ms[record, TRAVEL], state.way_ms[record, BASE] = state.travel_ms[lane] + later_ms, state.base_ms[lane]
            state.record[record, LOSSES] = state.lost[lane]
            record = state.record[record, NEXT]
        made += lanes
    return head


@inlined
def draw_again(table, paths, law, faults, state, record):
    """Draw the hop again of a copy that has not left, or is to be repeated, for its chance of loss is another now."""
    row = state.record[record]
    slot, r, source = row[SLOT], row[ROUND], row[SOURCE]
    if row[EDGE] < NO_EDGE:
        return
    if is_flooded(table, paths, r):
        _set_edge(paths, state, 0, record, row[FROM], source, row[EDGE])
    else:
        _set_route(paths, state, 0, record, row[FROM], source, row[DEST], state.client[state.slot_operation[slot]])
    _set_key(table, state, slot, r, row)
    k0, k1 = state.key_lanes[0], state.key_lanes[LANES]
    _trouble(faults, state, 1)
    sender = _sender_word(row, r, source)
    draw(k0, k1, sender, state.counter, state.base_ms, state.loss, law, state.travel_ms, state.lost)
    state.way_ms[record, TRAVEL] = state.travel_ms[0] + faults.script.delay_ms[state.scalars[EPOCH]]
    row[LOSSES] = max(0, state.lost[0] - row[REPEAT])


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
def ends_of(state, row):
    """Replicas at whose sites a hop begins and ends."""
    site = state.client[state.slot_operation[row[SLOT]]]
    return site if row[FROM] == CLIENT_LINE else row[FROM], site if row[NODE] == state.idle.size else row[NODE]


@inlined
def within_host(machines, node, to):
    """Whether a hop stays within a host that replicas share."""
    return machines.shared and machines.host[node] == machines.host[to]


@inlined
def _take_lines(paths, machines, state, row, size, ready_ms):
    """Let a copy take its turn on uplink and link; returns (start, transmission time)."""
    node, edge = row[FROM], row[EDGE]
    site, to = ends_of(state, row)
    start_ms, near = ready_ms, within_host(machines, site, to)
    if node != CLIENT_LINE and not near:
        line_ms = size * machines.out_ms_per_byte[node]
        if line_ms > 0.0:
            line = machines.host[node]
            start_ms = max(ready_ms, state.uplink_ms[line])
            state.uplink_ms[line] = start_ms + line_ms
        state.busy[EGRESS_BUSY, node] += line_ms
        state.busy[SENT_BYTES, node] += size
        if row[SOURCE] != node:
            state.busy[RELAY_EGRESS, node] += line_ms
    hop_ms = size * (paths.ms_per_byte[edge] if edge >= 0 else max(paths.ms_per_byte[site], machines.in_ms_per_byte[to]))
    if edge < 0 and near:
        hop_ms = 0.0
    if edge >= 0 and state.edge_ms_per_byte[edge] > 0.0:
        start_ms = max(start_ms, state.link_ms[edge])
        link_ms = size * state.edge_ms_per_byte[edge]
        state.link_ms[edge] = start_ms + link_ms
        state.link_busy[edge] += link_ms
    return start_ms, hop_ms


@inlined
def size_of(table, faults, row):
    """Bytes of a message."""
    size = table.bytes[row[ROUND]]
    if row[CERTIFICATES] > 0:
        size += row[CERTIFICATES] * faults.certificate_bytes
    return size


@inlined
def _parted(faults, state, row):
    """Whether a copy would go from one group of a partition to another."""
    group, epoch = faults.script.group, state.scalars[EPOCH]
    node, to = ends_of(state, row)
    return group[epoch, node] != group[epoch, to]


@inlined
def launch(table, paths, law, machines, limits, faults, state, record, ready_ms):
    """Put a copy that is ready onto the uplink, and let it arrive, be lost, or vanish."""
    row, way = state.record[record], state.way_ms[record]
    operation, r = state.slot_operation[row[SLOT]], row[ROUND]
    if limits.faulty and _parted(faults, state, row):
        free_record(state, record)
        return
    start_ms, hop_ms = _take_lines(paths, machines, state, row, size_of(table, faults, row), ready_ms)
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
