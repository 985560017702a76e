"""A batch of operations, run block by block and resumable in the middle of any of them."""

import numpy as np

from ._jit import inlined
from ._jit import uncounted_kernel as kernel
from .arrivals import depart
from .client import replies, request
from .codes import AMONG_REPLICAS, GOSSIP, TO_ALL, TO_CLIENT, TO_PRIMARY, VIEW_CHANGE
from .lanes import LANES, lesser, load, select, spread, spread_int, store
from .quorum import kth_smallest
from .rng import threefry2x32
from .rounds import WAVES, flood, hosted, line_up_edges, receive, share_downlinks, wait_factor
from .trace import add_queueing, begin_walk_back, step_back
from .types import Machines, Paths, Rounds, Scratch

_INF = np.float32(np.inf)
BLOCK, ROUND, STAGE, POSITION = range(4)
_BEGIN, _FLOOD, _RECEIVE, _END = range(4)
_LINE_BYTES = 64
_FLOOD_WORK = 4
"""A flooded message costs about as much as this many direct ones."""


def _aligned(size: int, kind: type) -> np.ndarray:
    """Zeros that begin with a line of the cache, so that sixteen lanes fill one and do not lie across two."""
    memory = np.zeros(size * np.dtype(kind).itemsize + _LINE_BYTES, np.uint8)
    begin = -memory.ctypes.data % _LINE_BYTES
    return memory[begin : begin + size * np.dtype(kind).itemsize].view(kind)


def make_scratch(rounds: Rounds, paths: Paths, machines: Machines, spare: Scratch | None = None) -> Scratch:
    """Working memory for `simulate`, for one thread.

    Parameters
    ----------
    rounds, paths, machines
        The system to be simulated.
    spare : Scratch, optional
        One that is no longer in use, whose arrays serve again where they are large enough.

    Returns
    -------
    Scratch
        About ``64 * n * (3 R + cores + carried)`` bytes, and ``64 * n**2`` more when gossiping.
    """
    n, count = machines.in_ms_per_byte.size, rounds.kind.size
    capacity, longest = 0, 1
    for r in range(count):
        senders = int(rounds.sender_at[r + 1] - rounds.sender_at[r])
        arriving = senders + int(rounds.noise[r])
        longest = max(longest, arriving + capacity)
        if machines.contended and rounds.kind[r] == AMONG_REPLICAS and r < machines.last_round:
            span = rounds.receivers[rounds.receiver_at[r] : rounds.receiver_at[r + 1]]
            needs = rounds.need[r * n : (r + 1) * n][span]
            needs = needs[needs > 0]
            if needs.size:
                capacity += max(0, arriving - int(needs.min()))

    block, flooding = n * LANES, paths.kind == GOSSIP
    whole = LANES * (n if flooding else 1)
    edges = paths.target.size if flooding else 1
    floats = {
        "done_ms": (count + 1) * block, "first_ms": count * block, "backlog_ms": count * block, "uplink_ms": block,
        "hosted_ms": block if machines.shared else LANES, "downlink_ms": block, "core_ms": block * machines.cores,
        "carry_ms": max(block * capacity, LANES), "row_ms": longest * LANES, "sorted_ms": longest * LANES,
        "critical_ms": count * block, "committed_ms": block, "wave_ms": WAVES * whole,
        "flood_ms": whole * n, "lane": 4 * LANES, "wait": 2 * LANES, "lost_ms": LANES, "moved": LANES, "edge_ms": edges,
    }  # fmt: skip
    words = {"keys": 7 * LANES, "critical": count * block, "ids": 2 * LANES, "counts": 2 * LANES}
    bursts = count * int(np.bincount(machines.host).max())
    places = {"client": LANES, "bursts": bursts, "root": LANES, "leaf": LANES, "node": LANES, "near": n}
    flags = {"queued": count * n, "moved_on": n if flooding else 1}
    arrays = {"progress": np.zeros(4, np.int64), "carried": np.zeros(n, np.int32), "at": np.full(LANES + 1, n, np.int64)}
    for sizes, kind in ((floats, np.float32), (words, np.uint32), (places, np.int64), (flags, np.uint8)):
        for name, size in sizes.items():
            old = getattr(spare, name, None)
            arrays[name] = _aligned(size, kind) if old is None or old.size < size else old[:size]
    return Scratch(**arrays)


@inlined
def _begin_block(machines, batch, scratch, start):
    for l in range(LANES):
        scratch.client[l] = batch.client[start + l]
    scratch.done_ms[:] = np.float32(0.0)
    scratch.backlog_ms[:] = np.float32(0.0)
    scratch.lost_ms[:] = np.float32(0.0)
    if machines.contended:
        scratch.uplink_ms[:] = np.float32(0.0)
        scratch.downlink_ms[:] = np.float32(0.0)
        scratch.core_ms[:] = np.float32(0.0)
        scratch.carried[:] = 0


@inlined
def set_key(batch, scratch, start, index, at, group):
    """Store the key lanes of stream `index` of the block that starts at `start`; one key for 16 operations if `group`."""
    low, high = spread_int(batch.keys[index, 0]), spread_int(batch.keys[index, 1])
    operation = load(batch.operation, start) >> np.uint32(4 if group else 0)
    k0, k1 = threefry2x32(low, high, operation, load(batch.replicate, start))
    store(scratch.keys, at * LANES, k0)
    store(scratch.keys, (at + 1) * LANES, k1)


@inlined
def _begin_round(rounds, paths, law, machines, batch, scratch, start, r):
    """Copy each replica's state to the next row, so that those the round leaves out keep it, and send."""
    n = machines.in_ms_per_byte.size
    set_key(batch, scratch, start, r, 0, False)
    set_key(batch, scratch, start, rounds.kind.size, 2, False)
    set_key(batch, scratch, start, rounds.kind.size + 1, 4, True)
    store(scratch.keys, 6 * LANES, load(batch.operation, start))
    if machines.busy > np.float32(0.0):
        store(scratch.wait, 0, wait_factor(scratch.keys, machines.busy, 0))
        store(scratch.wait, LANES, wait_factor(scratch.keys, machines.busy, 1))
    scratch.counts[:] = np.uint32(0)
    for i in range(n):
        at = (r * n + i) * LANES
        if rounds.base[r] >= -1:
            store(scratch.done_ms, at, load(scratch.done_ms, ((rounds.base[r] + 1) * n + i) * LANES) + rounds.timer_ms[r])
        store(scratch.done_ms, at + n * LANES, load(scratch.done_ms, at))
        store(scratch.critical, at, spread_int(np.uint32(i)))
    if paths.kind == GOSSIP and rounds.kind[r] == AMONG_REPLICAS:
        line_up_edges(rounds, paths, law, machines, scratch, r)
    if rounds.kind[r] != TO_PRIMARY and rounds.kind[r] != TO_ALL:
        depart(rounds, paths, machines, scratch, r)


@inlined
def _count_round(rounds, machines, batch, scratch, start, r):
    """Write the counters of round r; a sender that never got that far has sent nothing."""
    n = machines.in_ms_per_byte.size
    kind = rounds.kind[r]
    asked = 1 if kind == TO_PRIMARY else n if kind == TO_ALL else 0
    for l in range(LANES):
        sent = asked
        for s in range(rounds.sender_at[r], rounds.sender_at[r + 1]):
            i = rounds.senders[s]
            if scratch.done_ms[(r * n + i) * LANES + l] < _INF:
                sent += 1 if kind == TO_CLIENT else rounds.addressed[r * n + i]
        batch.sent[start + l, r] = sent
        batch.useful[start + l, r] = scratch.counts[l]
        batch.repeats[start + l, r] = scratch.counts[LANES + l]


@inlined
def _commits(rounds, machines, batch, scratch, start):
    """When `commit_need` replicas on a side have committed; notes lanes in which honest ones of both sides have."""
    n = machines.in_ms_per_byte.size
    row = (rounds.commit_round + 1) * n * LANES
    voting = 0
    for l in range(LANES):
        scratch.lane[l], scratch.lane[LANES + l] = _INF, _INF
    for i in range(n):
        side = rounds.side[rounds.commit_round * n + i]
        if machines.alive[i] and (side == 1 or side == 2):
            done = load(scratch.done_ms, row + i * LANES)
            store(scratch.committed_ms, voting * LANES, done)
            if machines.honest[i]:
                store(scratch.lane, (side - 1) * LANES, lesser(done, load(scratch.lane, (side - 1) * LANES)))
            voting += 1
    for l in range(LANES):
        batch.violated[start + l] = scratch.lane[l] < _INF and scratch.lane[LANES + l] < _INF
    need = spread_int(np.uint32(rounds.commit_need))
    return kth_smallest(scratch.committed_ms, voting, need, spread(np.float32(0.0)))


@inlined
def _end_block(rounds, paths, law, machines, batch, scratch, start):
    n = machines.in_ms_per_byte.size
    committed = _commits(rounds, machines, batch, scratch, start)
    proposed = load(scratch.done_ms, (rounds.proposal * n + batch.primary) * LANES)
    store(batch.commit_ms, start, select(committed < _INF, committed - proposed, committed))
    decided = load(scratch.done_ms, ((rounds.commit_round + 1) * n + batch.primary) * LANES)
    store(batch.flight_ms, start, select(decided < _INF, decided - proposed, decided))
    store(batch.lost_ms, start, load(scratch.lost_ms, 0))
    for l in range(LANES):
        for at in range(2):
            batch.waits[start + l, at] = scratch.wait[at * LANES + l] if machines.busy > np.float32(0.0) else np.float32(1.0)
    parts = batch.breakdown_ms[start : start + LANES]
    parts[:] = np.float32(0.0)
    begin_walk_back(rounds, scratch, batch.primary)
    # of an operation whose views have failed, all that was before the last proposal is due to that
    changed = rounds.proposal > 1
    for r in range(rounds.kind.size - 1, rounds.proposal - 1 if changed else -1, -1):
        set_key(batch, scratch, start, r, 0, False)
        step_back(rounds, paths, law, machines, scratch, parts, r, batch.primary)
    if changed:
        for l in range(LANES):
            parts[l, VIEW_CHANGE] = scratch.done_ms[(rounds.proposal * n + batch.primary) * LANES + l]
    add_queueing(parts, batch.latency_ms[start : start + LANES])


@kernel
def simulate(rounds, paths, law, machines, batch, scratch, budget):
    """Simulate operations until all of `batch` are done or about `budget` messages have been drawn.

    Call again with the same arguments to go on: the result does not depend on where calls end.

    Parameters
    ----------
    rounds : Rounds
    paths : Paths
    law : Law
    machines : Machines
    batch : Batch
        Its output arrays are filled, 16 operations at a time.
    scratch : Scratch
        From `make_scratch`; holds the progress between calls. One per thread.
    budget : int
        Messages after which to return; a call of 20 million takes about a tenth of a second.

    Returns
    -------
    bool
        True when the whole batch is done.
    """
    progress = scratch.progress
    blocks = batch.operation.size // LANES
    spent = 0
    while progress[BLOCK] < blocks:
        start = progress[BLOCK] * LANES
        r = progress[ROUND]
        if progress[STAGE] == _BEGIN:
            if r == 0:
                _begin_block(machines, batch, scratch, start)
            _begin_round(rounds, paths, law, machines, batch, scratch, start, r)
            progress[STAGE] = _FLOOD
            progress[POSITION] = rounds.sender_at[r]
        senders = rounds.sender_at[r + 1] - rounds.sender_at[r]
        if progress[STAGE] == _FLOOD:
            if paths.kind == GOSSIP and rounds.kind[r] == AMONG_REPLICAS:
                while progress[POSITION] < rounds.sender_at[r + 1]:
                    begin = progress[POSITION]
                    end = min(begin + WAVES, rounds.sender_at[r + 1])
                    flood(rounds, paths, law, machines, scratch, r, begin, end)
                    progress[POSITION] = end
                    spent += (end - begin) * machines.in_ms_per_byte.size * LANES * _FLOOD_WORK
                    if spent >= budget:
                        return False
            if hosted(rounds, paths, machines, r):
                share_downlinks(rounds, paths, law, machines, scratch, r)
            progress[STAGE] = _RECEIVE
            progress[POSITION] = rounds.receiver_at[r]
        if progress[STAGE] == _RECEIVE:
            if rounds.kind[r] == AMONG_REPLICAS:
                work = max(1, senders * LANES * paths.work)
                while progress[POSITION] < rounds.receiver_at[r + 1]:
                    first = progress[POSITION]
                    last = min(rounds.receiver_at[r + 1], first + max(1, (budget - spent) // work))
                    receive(rounds, paths, law, machines, scratch, r, first, last)
                    progress[POSITION] = last
                    spent += (last - first) * work
                    if spent >= budget:
                        return False
            elif rounds.kind[r] == TO_CLIENT:
                store(batch.latency_ms, start, replies(rounds, paths, law, machines, scratch, r, batch.split))
            else:
                for place in range(rounds.receiver_at[r], rounds.receiver_at[r + 1]):
                    request(rounds, paths, law, machines, scratch, r, rounds.receivers[place])
            progress[STAGE] = _END
        _count_round(rounds, machines, batch, scratch, start, r)
        progress[STAGE] = _BEGIN
        progress[ROUND] = r + 1
        if r + 1 == rounds.kind.size:
            _end_block(rounds, paths, law, machines, batch, scratch, start)
            progress[BLOCK] += 1
            progress[ROUND] = 0
    return True
