"""One round of one block of sixteen operations: floods, deliveries, completions.

The kernel knows senders, receivers, arrivals needed, sizes and costs; which protocol they belong to is in the table alone.
"""

import numpy as np

from ._jit import inlined, subkernel
from .arrivals import (
    counts,
    departure,
    direct_row,
    edge_back,
    gossip_row,
    heard,
    line_place_back,
    line_wait_ms,
    noise_row,
    onward_ms,
    routed_row,
)
from .codes import AMONG_REPLICAS, DIRECT, GOSSIP
from .delay import draw_pair, exponential_variate, hop_delay, unit
from .lanes import (
    LANES,
    add_mask,
    any_lane,
    bits_of,
    greater,
    lesser,
    load,
    prefetch,
    select,
    spread,
    spread_int,
    store,
    to_float,
)
from .queueing import mark, serve, sort_lanes, start_job
from .quorum import kth_smallest
from .rng import threefry2x32

_INF = np.float32(np.inf)
_ONE = np.uint32(1)
_ZERO = np.uint32(0)
_LONG = np.float32(3e38)
"""Later than anything that arrives."""
_NOT_MARK = np.uint32(0xFFFFFFFE)
_LOSS_SCALE = np.float32(2.0**31)
_SURELY = np.float32(1.0 - 2e-6)
"""Single precision may be off by so much where times are added up in another order."""
WAVES = 8
"""Messages that are flooded before they are put where they are received from."""
_STRATA = np.uint32(15)


@inlined
def wait_factor(keys, busy, where):
    """How long an operation waits behind others, in units of the mean wait: 0, or with probability `busy` exponential.

    One draw for all waits of an operation at its replicas, and one for all at relays, since all work on the same operations.
    Stratified: of 16 operations that follow one another, each takes another sixteenth of the law, which makes means precise.
    """
    none, place = spread_int(_ZERO), spread_int(np.uint32(where))
    bits, _ = threefry2x32(load(keys, 2 * LANES), load(keys, 3 * LANES), none, place)
    turn, _ = threefry2x32(load(keys, 4 * LANES), load(keys, 5 * LANES), none, place)
    stratum = to_float((load(keys, 6 * LANES) + turn) & _STRATA)
    u = (stratum * _LOSS_SCALE + unit(bits)) * np.float32(1.0 / 16.0)
    return greater((exponential_variate(u) + np.float32(np.log(busy))) / busy, spread(np.float32(0.0)))


@inlined
def line_up_edges(rounds, paths, law, machines, scratch, r):
    """Note how long a copy of round r takes at least to get over each edge from when its message is ready for the first."""
    n = machines.in_ms_per_byte.size
    for node in range(n):
        # copies that do not take a shared line may leave before others
        line = rounds.bytes[r] * machines.out_ms_per_byte[node]
        step = np.float32(0.0) if machines.shared else max(rounds.send_ms[r * n + node], line)
        begin = paths.indptr[node]
        for edge in range(begin, paths.indptr[node + 1]):
            # no draw is shorter than the base delay, and one copy of those before is perhaps not sent
            least = rounds.bytes[r] * paths.ms_per_byte[edge] + paths.base_ms[edge] * law.least
            scratch.edge_ms[edge] = (least + np.float32(max(edge - begin - 1, 0)) * step) * _SURELY


@inlined
def _onward_from(rounds, paths, machines, scratch, r, i, node, wave):
    """When `node` can pass sender i's message on."""
    arrived = load(scratch.wave_ms, (wave + node) * LANES)
    if node == i:
        return arrived
    held = paths.forward_ms * machines.slow[node]
    slot = rounds.relay_slot[r]
    if slot >= 0:
        held += paths.relay_ms[slot, i * machines.in_ms_per_byte.size + node]
    arrived = arrived + held
    if machines.relay_wait_ms.size > 1:
        nic_ms = np.float32(0.0) if machines.shared else machines.nic_wait_ms[node]
        arrived = arrived + load(scratch.wait, LANES) * (machines.cpu_wait_ms[node] + nic_ms)
    return arrived


@inlined
def _comes_sooner(paths, law, scratch, k0, k1, i, edge, leave, wave):
    """Let a copy of sender i's message that leaves at `leave` cross an edge; true if none has come sooner."""
    to = paths.target[edge]
    crossing, sender = spread_int(np.uint32(edge)), spread_int(np.uint32(i))
    even, odd = draw_pair(k0, k1, crossing, sender)
    bits = odd if i & 1 else even
    threshold = spread(paths.loss[edge] * _LOSS_SCALE)
    travel, extra, _ = hop_delay(bits, k0, k1, crossing, sender, spread(paths.base_ms[edge]), threshold, law)
    time = leave + (travel + extra)
    known = load(scratch.wave_ms, (wave + to) * LANES)
    if not any_lane(time < known):
        return False
    store(scratch.wave_ms, (wave + to) * LANES, lesser(time, known))
    scratch.moved_on[to] = 0
    return True


@inlined
def _may_reach_sooner(paths, scratch, arrived, node, wave):
    """List the edges over which `node` may reach a neighbour sooner in any lane; returns how many."""
    earliest = arrived * _SURELY
    # of indices without a sign none can count from the end, which would be looked into
    first, count = np.uintp(wave), np.uintp(0)
    for edge in range(np.uintp(paths.indptr[node]), np.uintp(paths.indptr[node + 1])):
        known = load(scratch.wave_ms, (first + np.uintp(paths.target[edge])) * np.uintp(LANES))
        scratch.near[count] = edge
        count += np.uintp(any_lane(earliest + scratch.edge_ms[edge] < known))
    return count


@inlined
def _spread_from(rounds, paths, law, machines, scratch, k0, k1, r, i, node, wave):
    """Pass sender i's message on from `node` to its neighbours; true if that was sooner for any."""
    n = machines.in_ms_per_byte.size
    size, send = rounds.bytes[r], rounds.send_ms[r * n + node]
    arrived = _onward_from(rounds, paths, machines, scratch, r, i, node, wave)
    back = edge_back(paths, i, node)
    place_back = line_place_back(paths, machines, back)
    line = size * machines.out_ms_per_byte[node]
    step = max(send, line)
    begin = paths.indptr[node]
    sooner = False
    for k in range(_may_reach_sooner(paths, scratch, arrived, node, wave)):
        edge = scratch.near[k]
        position = edge - begin - (1 if 0 <= back < edge else 0)
        place = paths.line_place[edge] if machines.shared else 0
        if node == i:
            leave = departure(rounds, machines, scratch, r, i, position, place)
        elif machines.shared:
            leave = arrived + onward_ms(position, place, place_back, send, line)
            if machines.relay_wait_ms.size > 1:
                leave = leave + load(scratch.wait, LANES) * line_wait_ms(machines, node, place)
        else:
            leave = arrived + np.float32(position) * step
        leave = leave + size * paths.ms_per_byte[edge]
        sooner |= _comes_sooner(paths, law, scratch, k0, k1, i, edge, leave, wave)
    return sooner


@inlined
def _passes_on(paths, machines, node):
    """Whether a node passes messages of others on, and has a neighbour other than the one that a message came from."""
    return machines.relays[node] and paths.indptr[node + 1] - paths.indptr[node] > 1


@inlined
def _flood_from(rounds, paths, law, machines, scratch, r, i, wave):
    """Flood the message of sender i through the graph: the earliest of all paths, drawn edge by edge.

    Label-correcting sweeps in the order of the distance from the sender, over nodes reached sooner since they passed it on.
    """
    n, slot = machines.in_ms_per_byte.size, rounds.relay_slot[r]
    k0, k1 = load(scratch.keys, 0), load(scratch.keys, LANES)
    # nodes are not visited in the order in which these lie in memory
    for node in range(0, n, LANES):
        prefetch(paths.last_edge, i * n + node)
        if slot >= 0:
            prefetch(paths.relay_ms[slot], i * n + node)
    for node in range(n):
        store(scratch.wave_ms, (wave + node) * LANES, spread(_INF))
        scratch.moved_on[node] = 1
    store(scratch.wave_ms, (wave + i) * LANES, load(scratch.first_ms, (r * n + i) * LANES))
    scratch.moved_on[i] = 0
    again = True
    while again:
        again = False
        for k in range(n):
            node = paths.order[i * n + k]
            if node < 0:
                break
            if scratch.moved_on[node] == 0 and (node == i or _passes_on(paths, machines, node)):
                scratch.moved_on[node] = 1
                sooner = _spread_from(rounds, paths, law, machines, scratch, k0, k1, r, i, node, wave)
                again = again or sooner


@subkernel
def flood(rounds, paths, law, machines, scratch, r, begin, end):
    """Flood the messages of the senders begin .. end - 1 of the list `rounds.senders`, at most `WAVES` of them.

    What comes to a node from senders that follow one another lies together in memory, so several waves are written there at once.
    """
    n = machines.in_ms_per_byte.size
    for s in range(begin, end):
        _flood_from(rounds, paths, law, machines, scratch, r, rounds.senders[s], (s - begin) * n)
    for node in range(n):
        for s in range(begin, end):
            wave = load(scratch.wave_ms, ((s - begin) * n + node) * LANES)
            store(scratch.flood_ms, (node * n + rounds.senders[s]) * LANES, wave)


@inlined
def census(rounds, scratch, r, j, n, values, count, arrival, time):
    """Whose message of round r came to j at `arrival`, but for the last bit, j if nobody's; and how many came by `time`.

    Of the messages that count for one who holds these `values`, which `scratch.row_ms` has in the order of their senders.
    """
    wanted = bits_of(arrival) & _NOT_MARK
    limit = lesser(time, spread(_LONG))
    sender, useful = spread_int(np.uint32(j)), spread_int(_ZERO)
    position = 0
    for s in range(rounds.sender_at[r], rounds.sender_at[r + 1]):
        i = rounds.senders[s]
        if i != j and position < count and counts(rounds, r, i, n, values):
            came = load(scratch.row_ms, position * LANES)
            sender = select((bits_of(came) & _NOT_MARK) == wanted, spread_int(np.uint32(i)), sender)
            useful = add_mask(useful, came <= limit)
            position += 1
    return sender, useful


@inlined
def _complete_in_queue(rounds, machines, scratch, r, j, count, noise):
    """Completion of round r at j with a downlink and a CPU to pass; returns (time, critical arrival)."""
    n = machines.in_ms_per_byte.size
    row = scratch.sorted_ms
    need = rounds.need[r * n + j]
    for i in range(count):
        store(row, i * LANES, mark(load(scratch.row_ms, i * LANES), False))
    for i in range(count, count + noise):
        store(row, i * LANES, mark(load(scratch.row_ms, i * LANES), True))
    count += noise
    capacity = scratch.carry_ms.size // (n * LANES)
    carried = scratch.carried[j]
    carry_at = j * capacity * LANES
    for i in range(carried):
        store(row, (count + i) * LANES, mark(load(scratch.carry_ms, carry_at + i * LANES), True))
    total = count + carried
    sort_lanes(row, total)
    in_ms = rounds.in_ms[r * n + j]
    handle = rounds.handle_ms[r * n + j]
    # what counts for nothing costs like the rest; what was left over from the round before, like that
    earlier = rounds.handle_ms[(r - 1) * n + j] if carried > 0 else handle
    finished, critical, downlink = serve(
        row, total, spread_int(np.uint32(need)), load(scratch.downlink_ms, j * LANES), in_ms,
        scratch.core_ms, j * machines.cores * LANES, machines.cores, handle, earlier,
    )  # fmt: skip
    store(scratch.downlink_ms, j * LANES, downlink)
    ready = load(scratch.done_ms, (r * n + j) * LANES)
    time = greater(finished, ready)
    check = rounds.quorum_ms[r * n + j]
    if check > np.float32(0.0):
        done = time < _INF
        begin, work = select(done, time, spread(np.float32(0.0))), select(done, spread(check), spread(np.float32(0.0)))
        end = start_job(scratch.core_ms, j * machines.cores * LANES, machines.cores, begin, work)
        time = select(done, end, time)
    if r < machines.last_round:
        for i in range(need, total):
            store(scratch.carry_ms, carry_at + (i - need) * LANES, load(row, i * LANES))
        scratch.carried[j] = max(total - need, 0)
    return time, select(finished <= ready, spread(-_INF), critical)


@inlined
def hosted(rounds, paths, machines, r):
    """Whether the messages of round r, each from the same sender, are queued together on the downlinks of shared hosts."""
    alone = rounds.sender_at[r + 1] - rounds.sender_at[r] == 1
    return machines.shared and machines.contended and rounds.kind[r] == AMONG_REPLICAS and paths.kind != GOSSIP and alone


@inlined
def _only_arrival(rounds, paths, law, machines, scratch, r, j):
    """When the only sender's message of round r comes to j; inf if never, or if it counts for nothing."""
    k0, k1 = load(scratch.keys, 0), load(scratch.keys, LANES)
    if paths.kind == DIRECT:
        count = direct_row(rounds, paths, law, machines, scratch, k0, k1, r, j)
    else:
        count = routed_row(rounds, paths, law, machines, scratch, k0, k1, r, j)
    return load(scratch.row_ms, 0) if count > 0 else spread(_INF)


@subkernel
def share_downlinks(rounds, paths, law, machines, scratch, r):
    """Let the downlink of each host take in what the only sender of round r sends to its replicas, in the order of arrival."""
    n, i = machines.in_ms_per_byte.size, rounds.senders[rounds.sender_at[r]]
    repeats = load(scratch.counts, LANES)
    first = rounds.receiver_at[r]
    while first < rounds.receiver_at[r + 1]:
        host, last = machines.host[rounds.receivers[first]], first
        while last < rounds.receiver_at[r + 1] and machines.host[rounds.receivers[last]] == host:
            j = rounds.receivers[last]
            store(scratch.hosted_ms, j * LANES, _only_arrival(rounds, paths, law, machines, scratch, r, j))
            last += 1
        for lane in range(LANES):
            count = 0
            for place in range(first, last):
                j = rounds.receivers[place]
                before = i if paths.kind == DIRECT else paths.source[max(paths.last_edge[i * n + j], 0)]
                if machines.host[before] == host:
                    continue
                arrival = scratch.hosted_ms[j * LANES + lane]
                k = count
                while k > 0 and scratch.hosted_ms[scratch.bursts[k - 1] * LANES + lane] > arrival:
                    scratch.bursts[k] = scratch.bursts[k - 1]
                    k -= 1
                scratch.bursts[k] = j
                count += 1
            free = -_INF
            for k in range(count):
                at = scratch.bursts[k] * LANES + lane
                free = max(scratch.hosted_ms[at], free + rounds.bytes[r] * machines.in_ms_per_byte[scratch.bursts[k]])
                scratch.hosted_ms[at] = free
        first = last
    store(scratch.counts, LANES, repeats)


@subkernel
def receive(rounds, paths, law, machines, scratch, r, begin, end):
    """Deliver and complete round r at the receivers begin .. end - 1 of the list `rounds.receivers`."""
    n = machines.in_ms_per_byte.size
    k0, k1 = load(scratch.keys, 0), load(scratch.keys, LANES)
    guess = spread(np.float32(0.0))
    for receiver in range(begin, end):
        j = rounds.receivers[receiver]
        ready = load(scratch.done_ms, (r * n + j) * LANES)
        time = ready
        if rounds.need[r * n + j] > 0:
            if paths.kind == DIRECT:
                count = direct_row(rounds, paths, law, machines, scratch, k0, k1, r, j)
            elif paths.kind == GOSSIP:
                count = gossip_row(rounds, machines, scratch, r, j)
            else:
                count = routed_row(rounds, paths, law, machines, scratch, k0, k1, r, j)
            if count == 1 and hosted(rounds, paths, machines, r):
                store(scratch.row_ms, 0, load(scratch.hosted_ms, j * LANES))
            noise = noise_row(rounds, paths, law, machines, scratch, r, j, count) if rounds.noise[r] > 0 else 0
            if machines.contended:
                time, critical = _complete_in_queue(rounds, machines, scratch, r, j, count, noise)
            else:
                guess = kth_smallest(scratch.row_ms, count, spread_int(np.uint32(rounds.need[r * n + j])), guess)
                time = greater(guess, ready)
                critical = select(guess <= ready, spread(-_INF), guess)
            if machines.busy > np.float32(0.0):
                time = time + (load(scratch.wait, 0) * machines.cpu_wait_ms[j] + machines.slowed_ms[r * n + j])
            # in a queue, arrivals lost their last bit before they were handled
            limit = mark(time, True) if machines.contended else time
            sender, useful = census(rounds, scratch, r, j, n, heard(rounds, r, j, n), count, critical, limit)
            store(scratch.counts, 0, load(scratch.counts, 0) + useful)
            store(scratch.critical, (r * n + j) * LANES, sender)
            store(scratch.critical_ms, (r * n + j) * LANES, critical)
        store(scratch.done_ms, ((r + 1) * n + j) * LANES, time)
