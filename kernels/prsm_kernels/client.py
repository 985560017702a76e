"""Rounds between a client and replicas. The client of each lane sits with another replica, so hops differ between lanes."""

import numpy as np

from ._jit import inlined, subkernel
from .arrivals import counts, departure, hop_ms_per_byte
from .codes import DIRECT
from .delay import draw_pair, hop_delay, mean_repeats_ms
from .lanes import LANES, add_mask, load, select, spread, spread_int, store
from .queueing import start_job
from .quorum import kth_smallest
from .rounds import census

_INF = np.float32(np.inf)
_LOSS_SCALE = np.float32(2.0**31)
_HOP = np.uint32(1 << 20)
NOWHERE = 0xFFFFFFFF


@inlined
def next_hop(paths, machines, lane, at, lane_index, root, leaf, size):
    """Look up the next hop of one lane on the way back from `leaf` to `root`; returns whether there is one.

    `at[lane_index]` is where the walk is. To `lane` go the hop's base delay, loss threshold and transmission time, and the factor
    on the CPU times of the relay that sends it, 0 if there is none.
    """
    here = at[lane_index]
    base, loss, fixed, slow = np.float32(0.0), np.float32(0.0), np.float32(0.0), np.float32(0.0)
    there = here
    if here != root and here != NOWHERE:
        n = at[LANES]
        if paths.kind == DIRECT:
            link = leaf * n + root
            base = paths.base_ms[link]
            loss = paths.loss[0 if paths.loss.size == 1 else link]
            fixed = size * hop_ms_per_byte(paths, machines, root, leaf)
            there = root
        else:
            edge = paths.last_edge[root * n + here]
            if edge < 0:
                fixed = _INF
                there = NOWHERE
            else:
                base = paths.base_ms[edge]
                loss = paths.loss[edge]
                there = paths.source[edge]
                fixed = size * paths.ms_per_byte[edge]
                if there != root:
                    slow = machines.slow[there]
                    fixed += paths.forward_ms * slow
    lane[lane_index] = base
    lane[LANES + lane_index] = loss * _LOSS_SCALE
    lane[2 * LANES + lane_index] = fixed
    lane[3 * LANES + lane_index] = slow
    at[lane_index] = there
    return there != here


@subkernel
def walk(paths, law, machines, scratch, receiver, sender, size, averaged):
    """Delay of one message a lane from node scratch.root[lane] to node scratch.leaf[lane], hop by hop.

    Returns
    -------
    (float lanes, float lanes, float lanes, int lanes, float lanes, float lanes)
        Propagation with jitter, time lost to retransmission, transmission and forwarding, ms; losses; relays, each by its
        `Machines.slow`; if `averaged`, time lost to retransmission on average over draws, of a stream, ms.
    """
    k0, k1 = load(scratch.keys, 0), load(scratch.keys, LANES)
    root, leaf = scratch.root, scratch.leaf
    zero, none = spread(np.float32(0.0)), spread_int(np.uint32(0))
    travel, extra, fixed, repeats, relays, mean_extra = zero, zero, zero, none, zero, zero
    for l in range(LANES):
        scratch.at[l] = leaf[l]
    hop = np.uint32(0)
    while True:
        moving = 0
        for l in range(LANES):
            if next_hop(paths, machines, scratch.lane, scratch.at, l, root[l], leaf[l], size):
                scratch.moved[l] = np.float32(1.0)
                moving += 1
            else:
                scratch.moved[l] = np.float32(0.0)
        if moving == 0:
            break
        base, threshold = load(scratch.lane, 0), load(scratch.lane, LANES)
        even, odd = draw_pair(k0, k1, receiver + hop, sender)
        bits = select((sender & np.uint32(1)) == np.uint32(0), even, odd)
        a, b, c = hop_delay(bits, k0, k1, receiver + hop, sender, base, threshold, law)
        moved = load(scratch.moved, 0) == np.float32(1.0)
        travel = select(moved, travel + a, travel)
        extra = select(moved, extra + b, extra)
        if averaged:
            mean_extra = select(moved, mean_extra + mean_repeats_ms(base, threshold, law), mean_extra)
        fixed = select(moved, fixed + load(scratch.lane, 2 * LANES), fixed)
        repeats = select(moved, repeats + c, repeats)
        relays = select(moved, relays + load(scratch.lane, 3 * LANES), relays)
        hop = np.uint32(hop + _HOP)
    return travel, extra, fixed, repeats, relays, mean_extra


@inlined
def client_message(paths, law, machines, scratch, size, replica, reply):
    """Delay parts of a message between `replica` and each lane's client."""
    n = machines.in_ms_per_byte.size
    for l in range(LANES):
        scratch.root[l] = replica if reply else scratch.client[l]
        scratch.leaf[l] = scratch.client[l] if reply else replica
    outside, inside = spread_int(np.uint32(n)), spread_int(np.uint32(replica))
    receiver = outside if reply else inside
    sender = inside if reply else outside
    return walk(paths, law, machines, scratch, receiver, sender, size, law.stream and not reply)


@inlined
def wait_at_relays(machines, scratch, n, replica, reply):
    """Waiting behind other operations of a message between `replica` and each lane's client, at the relays on its way."""
    for l in range(LANES):
        root, leaf = (replica, scratch.client[l]) if reply else (scratch.client[l], replica)
        scratch.lane[l] = machines.relay_wait_ms[leaf * n + root]
    return load(scratch.lane, 0) * load(scratch.wait, LANES)


@subkernel
def request(rounds, paths, law, machines, scratch, r, replica):
    """Carry the client's request to a replica and through its CPU."""
    n = machines.in_ms_per_byte.size
    travel, extra, fixed, repeats, _, mean_extra = client_message(paths, law, machines, scratch, rounds.bytes[r], replica, False)
    if law.stream:
        store(scratch.lost_ms, 0, extra - mean_extra)
    arrived = load(scratch.done_ms, (r * n + replica) * LANES) + (travel + extra + fixed)
    if machines.relay_wait_ms.size > 1:
        arrived = arrived + wait_at_relays(machines, scratch, n, replica, False)
    time = arrived
    if machines.contended:
        at = replica * machines.cores * LANES
        time = start_job(scratch.core_ms, at, machines.cores, arrived, spread(rounds.handle_ms[r * n + replica]))
        store(scratch.downlink_ms, replica * LANES, arrived)
    if machines.busy > np.float32(0.0):
        time = time + load(scratch.wait, 0) * machines.cpu_wait_ms[replica]
    store(scratch.counts, LANES, load(scratch.counts, LANES) + repeats)
    if machines.alive[replica]:
        store(scratch.done_ms, ((r + 1) * n + replica) * LANES, time)
        store(scratch.counts, 0, add_mask(load(scratch.counts, 0), time < _INF))


@inlined
def _direct_reply(rounds, paths, law, machines, scratch, r, i):
    """Delay of the reply of replica i to each lane's client over a direct link, and its losses; none to a client at i."""
    n = scratch.at[LANES]
    k0, k1 = load(scratch.keys, 0), load(scratch.keys, LANES)
    common_loss = paths.loss.size == 1
    for l in range(LANES):
        link = scratch.client[l] * n + i
        scratch.lane[2 * LANES + l] = rounds.bytes[r] * hop_ms_per_byte(paths, machines, i, scratch.client[l])
        scratch.lane[l] = paths.base_ms[link]
        scratch.lane[LANES + l] = paths.loss[0 if common_loss else link] * _LOSS_SCALE
        scratch.moved[l] = np.float32(scratch.client[l] != i)
    receiver, sender = spread_int(np.uint32(n)), spread_int(np.uint32(i))
    even, odd = draw_pair(k0, k1, receiver, sender)
    bits = odd if i & 1 else even
    base, threshold = load(scratch.lane, 0), load(scratch.lane, LANES)
    travel, extra, lost = hop_delay(bits, k0, k1, receiver, sender, base, threshold, law)
    elsewhere = load(scratch.moved, 0) == np.float32(1.0)
    delay = travel + extra + load(scratch.lane, 2 * LANES)
    return select(elsewhere, delay, spread(np.float32(0.0))), select(elsewhere, lost, spread_int(np.uint32(0)))


@inlined
def _reply_departure(paths, scratch, n, i, leave, ready):
    """When the reply of replica i leaves: `ready` in lanes whose client is on the same host, else in its turn on the line."""
    for l in range(LANES):
        scratch.moved[l] = np.float32(paths.near[scratch.client[l] * n + i])
    return select(load(scratch.moved, 0) == np.float32(1.0), ready, leave)


@inlined
def _replies_of(rounds, paths, law, machines, scratch, r, values):
    """Carry replies with one of these values to the client; returns (when the `client_need`-th has come, sender, useful)."""
    n = machines.in_ms_per_byte.size
    count = 0
    repeats = load(scratch.counts, LANES)
    for s in range(rounds.sender_at[r], rounds.sender_at[r + 1]):
        i = rounds.senders[s]
        agrees, side = counts(rounds, r, i, n, values), rounds.side[r * n + i]
        # each reply is drawn for its losses once: with those of the first value, unless it has but the other
        new = (values == 1 and side != 2) or values == side
        if not (agrees or new):
            continue
        if paths.kind == DIRECT:
            delay, lost = _direct_reply(rounds, paths, law, machines, scratch, r, i)
        else:
            travel, extra, fixed, lost, _, _ = client_message(paths, law, machines, scratch, rounds.bytes[r], i, True)
            delay = travel + extra + fixed
            if machines.relay_wait_ms.size > 1:
                delay = delay + wait_at_relays(machines, scratch, n, i, True)
        leave = departure(rounds, machines, scratch, r, i, 0, 0)
        if machines.contended and machines.shared:
            leave = _reply_departure(paths, scratch, n, i, leave, load(scratch.first_ms, (r * n + i) * LANES))
        if new:
            repeats = repeats + select(leave < _INF, lost, spread_int(np.uint32(0)))
        if agrees:
            store(scratch.row_ms, count * LANES, leave + delay)
            count += 1
    store(scratch.counts, LANES, repeats)
    need = spread_int(np.uint32(rounds.client_need))
    time = kth_smallest(scratch.row_ms, count, need, spread(np.float32(0.0)))
    sender, useful = census(rounds, scratch, r, NOWHERE, n, values, count, time, time)
    return time, sender, useful


@subkernel
def replies(rounds, paths, law, machines, scratch, r, split):
    """Carry the replies to the client; returns when the `client_need`-th that agrees with others has come.

    `split`: whether replicas have been told different values.
    """
    n = machines.in_ms_per_byte.size
    time, sender, useful = _replies_of(rounds, paths, law, machines, scratch, r, 1)
    if split:
        other, whose, many = _replies_of(rounds, paths, law, machines, scratch, r, 2)
        sooner = other < time
        time, sender = select(sooner, other, time), select(sooner, whose, sender)
        useful = select(sooner, many, useful)
    store(scratch.counts, 0, useful)
    store(scratch.critical, r * n * LANES, sender)
    return time
