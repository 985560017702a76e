"""Messages of one round of sixteen operations: when senders let them go, and when they reach a receiver."""

import numpy as np

from ._jit import inlined, subkernel
from .codes import DIRECT, GOSSIP, TO_ALL, TO_CLIENT, TO_PRIMARY
from .delay import draw_pair, hop_delay
from .lanes import LANES, any_lane, greater, load, select, spread, spread_int, store
from .queueing import start_job

_INF = np.float32(np.inf)
_ZERO = np.uint32(0)
_LOSS_SCALE = np.float32(2.0**31)
_HOP = np.uint32(1 << 20)
"""Counter words hold the receiver in 20 bits and the hop above them; the sender, and above it the number of an invalid copy."""


@subkernel
def depart(rounds, paths, machines, scratch, r):
    """Let every sender of round r sign its message and queue the copies on its CPU and uplink."""
    n = machines.in_ms_per_byte.size
    for s in range(rounds.sender_at[r], rounds.sender_at[r + 1]):
        i = rounds.senders[s]
        at = (r * n + i) * LANES
        ready = load(scratch.done_ms, at)
        hold = machines.hold_ms[i]
        if machines.contended:
            copies = np.float32(rounds.fanout[r * n + i])
            sign, send = rounds.sign_ms[r * n + i], rounds.send_ms[r * n + i]
            cores_at = i * machines.cores * LANES
            begin = greater(load(scratch.core_ms, cores_at), ready)
            # who never gets so far keeps its CPU and uplink free: in a later view it may go on
            goes = ready < _INF
            work = select(goes, spread(sign + copies * send), spread(np.float32(0.0)))
            start_job(scratch.core_ms, cores_at, machines.cores, select(goes, ready, spread(np.float32(0.0))), work)
            first = begin + (sign + send) + hold
            if machines.busy > np.float32(0.0) and not machines.shared:
                first = first + load(scratch.wait, 0) * machines.nic_wait_ms[i]
            transmission = rounds.bytes[r] * machines.out_ms_per_byte[i]
            step = max(send, transmission)
            backlog = load(scratch.uplink_ms, i * LANES)
            last = greater(first + (copies - np.float32(1.0)) * step, backlog + (copies - np.float32(1.0)) * transmission)
            store(scratch.uplink_ms, i * LANES, select(goes, last + transmission, backlog))
            store(scratch.first_ms, at, first)
            store(scratch.backlog_ms, at, backlog)
            scratch.queued[r * n + i] = any_lane(first < backlog)
        else:
            store(scratch.first_ms, at, ready + hold)
    if machines.contended and machines.shared:
        share_lines(rounds, paths, machines, scratch, r)


@inlined
def _line_copies(rounds, paths, machines, scratch, r, i, lane):
    """Copies of sender i's message of round r that take the line of its host."""
    n = machines.in_ms_per_byte.size
    if rounds.kind[r] == TO_CLIENT and paths.near[scratch.client[lane] * n + i]:
        return np.float32(0.0)
    return np.float32(rounds.line_copies[r * n + i])


@inlined
def _begin_ms(rounds, machines, scratch, burst, lane):
    """When the first copy of a burst, [round * n + sender], that takes the line is ready for it."""
    r = burst // machines.in_ms_per_byte.size
    if rounds.kind[r] == TO_PRIMARY or rounds.kind[r] == TO_ALL:
        return _INF
    begin = scratch.first_ms[burst * LANES + lane] + np.float32(rounds.line_first[burst]) * rounds.send_ms[burst]
    if machines.busy > np.float32(0.0):
        begin += scratch.wait[lane] * machines.nic_wait_ms[burst % machines.in_ms_per_byte.size]
    return begin


@inlined
def _sort_bursts(rounds, machines, scratch, r, begin, end, lane):
    """List the bursts that replicas begin .. end - 1 make up to round r by their beginnings; returns how many."""
    n = machines.in_ms_per_byte.size
    count = 0
    for earlier in range(r + 1):
        for s in range(rounds.sender_at[earlier], rounds.sender_at[earlier + 1]):
            i = rounds.senders[s]
            if i < begin or i >= end:
                continue
            burst = earlier * n + i
            start = _begin_ms(rounds, machines, scratch, burst, lane)
            if start == _INF:
                continue
            k = count
            while k > 0 and _begin_ms(rounds, machines, scratch, scratch.bursts[k - 1], lane) > start:
                scratch.bursts[k] = scratch.bursts[k - 1]
                k -= 1
            scratch.bursts[k] = burst
            count += 1
    return count


@subkernel
def share_lines(rounds, paths, machines, scratch, r):
    """Queue the bursts of round r of each host on its line, first come first served.

    Lindley's recursion over the beginnings of all its replicas' bursts so far. A burst of an earlier round that begins later than
    one of this round has not waited for it.
    """
    n = machines.in_ms_per_byte.size
    begin = 0
    while begin < n:
        end = begin + 1
        while end < n and machines.host[end] == machines.host[begin]:
            end += 1
        for lane in range(LANES):
            free = np.float32(0.0)
            for k in range(_sort_bursts(rounds, machines, scratch, r, begin, end, lane)):
                burst = scratch.bursts[k]
                of_round, i = burst // n, burst % n
                if of_round == r:
                    scratch.backlog_ms[burst * LANES + lane] = free
                copies = _line_copies(rounds, paths, machines, scratch, of_round, i, lane)
                if copies > np.float32(0.0):
                    line = rounds.bytes[of_round] * machines.out_ms_per_byte[i]
                    step = max(rounds.send_ms[burst], line)
                    more = copies - np.float32(1.0)
                    start = _begin_ms(rounds, machines, scratch, burst, lane)
                    free = max(start + more * step, max(start, free) + more * line) + line
        begin = end


@inlined
def _shared_departure(rounds, machines, scratch, r, i, position, place):
    """`departure` where the line is that of a host."""
    burst = r * machines.in_ms_per_byte.size + i
    first, send = load(scratch.first_ms, burst * LANES), rounds.send_ms[burst]
    ready = first + np.float32(position) * send
    if place < 0:
        return ready
    behind = np.float32(place) * (rounds.bytes[r] * machines.out_ms_per_byte[i])
    begun = first + np.float32(rounds.line_first[burst]) * send
    if machines.busy > np.float32(0.0):
        begun = begun + load(scratch.wait, 0) * machines.nic_wait_ms[i]
    return greater(ready, greater(begun, load(scratch.backlog_ms, burst * LANES)) + behind)


@inlined
def departure(rounds, machines, scratch, r, i, position, place):
    """When copy number `position` of sender i's message of round r starts onto the uplink, on a host's line as number `place`."""
    at = (r * machines.in_ms_per_byte.size + i) * LANES
    first = load(scratch.first_ms, at)
    if not machines.contended:
        return first
    if machines.shared:
        return _shared_departure(rounds, machines, scratch, r, i, position, place)
    transmission = rounds.bytes[r] * machines.out_ms_per_byte[i]
    step = max(rounds.send_ms[at // LANES], transmission)
    behind = np.float32(position)
    if scratch.queued[at // LANES]:
        return greater(first + behind * step, load(scratch.backlog_ms, at) + behind * transmission)
    return first + behind * step


@inlined
def egress_position(rounds, r, i, j, n):
    """Place of receiver j in the order in which sender i sends its copies: i + 1, i + 2, ... round the ring, or the only one."""
    if rounds.addressed[r * n + i] == 1:
        return 0
    return j - i - 1 if j > i else j - i - 1 + n


@inlined
def line_place(rounds, paths, machines, r, i, j, n):
    """Copies of sender i's message of round r that take its host's line before the one for j; -1 if that takes none."""
    if not machines.shared:
        return 0
    if rounds.addressed[r * n + i] == 1:
        return -1 if paths.near[j * n + i] else 0
    return paths.line_place[j * n + i]


@inlined
def edge_back(paths, i, node):
    """The edge from `node` to whence the shortest path brings sender i's message, -1 at i: copies queue as if none took it."""
    edge = paths.last_edge[i * (paths.indptr.size - 1) + node]
    return np.int64(paths.reverse[edge]) if edge >= 0 else np.int64(-1)


@inlined
def line_place_back(paths, machines, back):
    """`Paths.line_place` of the copy that is not sent over edge `back`; -1 if it takes no line."""
    return np.int64(paths.line_place[back]) if machines.shared and back >= 0 else np.int64(-1)


@inlined
def line_wait_ms(machines, node, place):
    """Mean wait at a relay behind other operations for its line, which copies within a shared host, of place -1, do not take."""
    if machines.shared and place < 0:
        return np.float32(0.0)
    return machines.nic_wait_ms[node]


@inlined
def onward_ms(position, place, back, send_ms, line_ms):
    """How much later than the first copy a relay on a shared host lets one go, that of place `back` left out."""
    ready = np.float32(position) * send_ms
    if place < 0:
        return ready
    before = place - 1 if 0 <= back < place else place
    return max(ready, np.float32(before) * line_ms)


@inlined
def hop_ms_per_byte(paths, machines, i, j):
    """Transmission time over a direct link: the slower of the two ends' lines, none within a host."""
    if machines.shared and machines.host[i] == machines.host[j]:
        return np.float32(0.0)
    return max(paths.ms_per_byte[i], machines.in_ms_per_byte[j])


@inlined
def heard(rounds, r, j, n):
    """Values whose messages of round r count at j: its own, or those of honest replicas where it votes for the wrong one."""
    return max(rounds.side[r * n + j], 1)


@inlined
def counts(rounds, r, i, n, values):
    """Whether the message of round r of sender i counts for one who holds these values: they have one in common."""
    return rounds.side[r * n + i] & values != 0


@inlined
def _direct_copy(rounds, paths, law, machines, scratch, bits, k0, k1, r, i, j, again):
    """(Arrival of sender i's message of round r at j, losses); of its `again`-th invalid one where that is not 0."""
    n = machines.in_ms_per_byte.size
    receiver, sender = spread_int(np.uint32(j)), spread_int(np.uint32(i + again * _HOP))
    link = j * n + i
    threshold = paths.loss[0 if paths.loss.size == 1 else link] * _LOSS_SCALE
    travel, extra, lost = hop_delay(bits, k0, k1, receiver, sender, spread(paths.base_ms[link]), spread(threshold), law)
    position = egress_position(rounds, r, i, j, n) + again * rounds.addressed[r * n + i]
    place = line_place(rounds, paths, machines, r, i, j, n)
    if place >= 0:
        place += again * rounds.line_copies[r * n + i] // (1 + machines.invalid[i])
    leave = departure(rounds, machines, scratch, r, i, position, place)
    if machines.contended:
        leave = leave + rounds.bytes[r] * hop_ms_per_byte(paths, machines, i, j)
    return leave + (travel + extra), select(leave < _INF, lost, spread_int(_ZERO))


@inlined
def direct_row(rounds, paths, law, machines, scratch, k0, k1, r, j):
    """Arrivals of round r at j over direct links; returns how many."""
    n = machines.in_ms_per_byte.size
    receiver = spread_int(np.uint32(j))
    repeats = load(scratch.counts, LANES)
    common_loss = paths.loss.size == 1
    values = heard(rounds, r, j, n)
    even, odd = receiver, receiver
    pair = -1
    count = 0
    for s in range(rounds.sender_at[r], rounds.sender_at[r + 1]):
        i = rounds.senders[s]
        if i == j or not counts(rounds, r, i, n, values):
            continue
        sender = spread_int(np.uint32(i))
        if i >> 1 != pair:
            pair = i >> 1
            even, odd = draw_pair(k0, k1, receiver, sender)
        bits = odd if i & 1 else even
        link = j * n + i
        threshold = paths.loss[0 if common_loss else link] * _LOSS_SCALE
        travel, extra, lost = hop_delay(bits, k0, k1, receiver, sender, spread(paths.base_ms[link]), spread(threshold), law)
        place = line_place(rounds, paths, machines, r, i, j, n)
        leave = departure(rounds, machines, scratch, r, i, egress_position(rounds, r, i, j, n), place)
        if machines.contended:
            leave = leave + rounds.bytes[r] * hop_ms_per_byte(paths, machines, i, j)
        store(scratch.row_ms, count * LANES, leave + (travel + extra))
        repeats = repeats + select(leave < _INF, lost, spread_int(_ZERO))
        count += 1
    store(scratch.counts, LANES, repeats)
    return count


@subkernel
def noise_row(rounds, paths, law, machines, scratch, r, j, count):
    """Arrivals of round r at j that count for nothing, after the `count` that do; returns how many.

    An invalid message takes its sender's way, and over relays its delay, right after the one before.
    """
    n = machines.in_ms_per_byte.size
    k0, k1 = load(scratch.keys, 0), load(scratch.keys, LANES)
    receiver = spread_int(np.uint32(j))
    repeats = load(scratch.counts, LANES)
    noise = 0
    for s in range(rounds.sender_at[r], rounds.sender_at[r + 1]):
        i = rounds.senders[s]
        if i == j:
            continue
        spacing = max(rounds.send_ms[r * n + i], rounds.bytes[r] * machines.out_ms_per_byte[i]) * rounds.fanout[r * n + i]
        spacing /= np.float32(1 + machines.invalid[i])
        for again in range(1 if counts(rounds, r, i, n, heard(rounds, r, j, n)) else 0, machines.invalid[i] + 1):
            if paths.kind == DIRECT:
                even, odd = draw_pair(k0, k1, receiver, spread_int(np.uint32(i + again * _HOP)))
                bits = odd if i & 1 else even
                time, lost = _direct_copy(rounds, paths, law, machines, scratch, bits, k0, k1, r, i, j, again)
                repeats = repeats + lost
            else:
                if paths.kind == GOSSIP:
                    time = load(scratch.flood_ms, (j * n + i) * LANES)
                else:
                    time, lost = _routed_copy(rounds, paths, law, machines, scratch, k0, k1, r, i, j)
                    repeats = repeats + lost
                time = time + np.float32(again) * spacing
            store(scratch.row_ms, (count + noise) * LANES, time)
            noise += 1
    store(scratch.counts, LANES, repeats)
    return noise


@inlined
def _routed_copy(rounds, paths, law, machines, scratch, k0, k1, r, i, j):
    """(Arrival of sender i's message of round r at j over the shortest path, losses on the way)."""
    n = machines.in_ms_per_byte.size
    repeats = spread_int(_ZERO)
    slot = rounds.relay_slot[r]
    sender = spread_int(np.uint32(i))
    place = line_place(rounds, paths, machines, r, i, j, n)
    leave = departure(rounds, machines, scratch, r, i, egress_position(rounds, r, i, j, n), place)
    time = leave
    if slot >= 0:
        time = time + paths.relay_ms[slot, j * n + i]
    if machines.relay_wait_ms.size > 1:
        time = time + load(scratch.wait, LANES) * machines.relay_wait_ms[j * n + i]
    counter = np.uint32(j)
    at = j
    while at != i:
        edge = paths.last_edge[i * n + at]
        if edge < 0:
            time = spread(_INF)
            break
        threshold = spread(paths.loss[edge] * _LOSS_SCALE)
        even, odd = draw_pair(k0, k1, spread_int(counter), sender)
        bits = odd if i & 1 else even
        travel, extra, lost = hop_delay(bits, k0, k1, spread_int(counter), sender, spread(paths.base_ms[edge]), threshold, law)
        at = paths.source[edge]
        fixed = rounds.bytes[r] * paths.ms_per_byte[edge]
        if at != i:
            fixed += paths.forward_ms * machines.slow[at]
        time = time + (travel + extra) + fixed
        repeats = repeats + select(leave < _INF, lost, spread_int(_ZERO))
        counter = np.uint32(counter + _HOP)
    return time, repeats


@inlined
def routed_row(rounds, paths, law, machines, scratch, k0, k1, r, j):
    """Arrivals of round r at j over shortest paths, hop by hop; returns how many."""
    n = machines.in_ms_per_byte.size
    repeats = load(scratch.counts, LANES)
    count = 0
    for s in range(rounds.sender_at[r], rounds.sender_at[r + 1]):
        i = rounds.senders[s]
        if i != j and counts(rounds, r, i, n, heard(rounds, r, j, n)):
            time, lost = _routed_copy(rounds, paths, law, machines, scratch, k0, k1, r, i, j)
            store(scratch.row_ms, count * LANES, time)
            repeats = repeats + lost
            count += 1
    store(scratch.counts, LANES, repeats)
    return count


@inlined
def gossip_row(rounds, machines, scratch, r, j):
    n = machines.in_ms_per_byte.size
    count = 0
    for s in range(rounds.sender_at[r], rounds.sender_at[r + 1]):
        i = rounds.senders[s]
        if i != j and counts(rounds, r, i, n, heard(rounds, r, j, n)):
            store(scratch.row_ms, count * LANES, load(scratch.flood_ms, (j * n + i) * LANES))
            count += 1
    return count
