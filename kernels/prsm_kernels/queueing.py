"""Sorted arrivals and FIFO queues, sixteen operations at once.

The order of arrivals at one receiver differs from operation to operation, so it is found by a sorting network: its comparisons
do not depend on the data, and each one orders all sixteen lanes.
"""

import numpy as np

from ._jit import inlined, kernel
from .lanes import (
    LANES,
    add_mask,
    any_lane,
    bits_of,
    float_of_bits,
    greater,
    lesser,
    load,
    select,
    spread,
    spread_int,
    store,
)

_CHUNK = 256
_INF = np.float32(np.inf)
_DIGIT_BITS, _FEW_BITS = 11, 8
"""Of digits by which values are sorted: of many, and of as many as there are nodes."""
COUNTS = 1 << _FEW_BITS
"""Numbers in which `ascending` counts."""
_ONE = np.uint32(1)
_ZERO = np.uint32(0)


@inlined
def _order(row, i, j):
    """Exchange elements i < j where they are not ascending."""
    x, y = load(row, i * LANES), load(row, j * LANES)
    store(row, i * LANES, lesser(x, y))
    store(row, j * LANES, greater(x, y))


@inlined
def _cross(row, a, b, c, d, stop, mirrored):
    """Two stages of a bitonic merge on four elements; elements at or past `stop` count as inf and stay.

    The first stage orders (a, c) and (b, d), or (a, d) and (b, c) when mirrored; the second (a, b) and (c, d).
    """
    if d < stop:
        w, x = load(row, a * LANES), load(row, b * LANES)
        y, z = load(row, c * LANES), load(row, d * LANES)
        if mirrored:
            y, z = z, y
        low, other = lesser(w, y), lesser(x, z)
        high, last = greater(w, y), greater(x, z)
        store(row, a * LANES, lesser(low, other))
        store(row, b * LANES, greater(low, other))
        if mirrored:
            high, last = last, high
        store(row, c * LANES, lesser(high, last))
        store(row, d * LANES, greater(high, last))
    else:
        if c < stop:
            if mirrored:
                _order(row, b, c)
            else:
                _order(row, a, c)
        if b < stop:
            _order(row, a, b)


@inlined
def _two_stages(row, start, stop, k):
    """Order all elements k apart, and then all k / 2 apart, in blocks of 2 k."""
    quarter = k // 2
    for block in range(start, stop, 2 * k):
        for i in range(block, block + quarter):
            _cross(row, i, i + quarter, i + k, i + k + quarter, stop, False)


@inlined
def _merge(row, start, stop, run):
    """Merge sorted runs of `run` elements of row[start:stop] in pairs."""
    half = run // 2
    block = start
    while block + run < stop:
        for i in range(block, block + half):
            mirror = 2 * block + 2 * run - 1 - i
            _cross(row, i, i + half, mirror - half, mirror, stop, True)
        block += 2 * run
    end = min(stop, block)
    k = half // 2
    while 2 * k > _CHUNK:
        _two_stages(row, start, end, k)
        k //= 4
    # what is left concerns stretches that the cache holds, one after another
    for first in range(start, end, _CHUNK):
        last, step = min(end, first + _CHUNK), k
        while step > 1:
            _two_stages(row, first, last, step)
            step //= 4
        if step == 1:
            for i in range(first, last - 1, 2):
                _order(row, i, i + 1)


@inlined
def _sort_chunk(row, start, stop):
    for i in range(start, stop - 3, 4):
        _order(row, i, i + 1)
        _order(row, i + 2, i + 3)
        _order(row, i, i + 2)
        _order(row, i + 1, i + 3)
        _order(row, i + 1, i + 2)
    tail = stop - (stop - start) % 4
    for i in range(tail + 1, stop):
        for j in range(i, tail, -1):
            _order(row, j - 1, j)
    run = 4
    while run < stop - start:
        _merge(row, start, stop, run)
        run *= 2


@kernel
def sort_lanes(row, count):
    """Sort the first `count` values of each lane of `row` in place, ascending.

    Batcher's bitonic sorter (AFIPS 1968) with mirrored first stages, so that any `count` works, two stages to a pass.

    Parameters
    ----------
    row : ndarray of float32, shape (>= count * 16,)
        Value i of lane l at ``i * 16 + l``.
    count : int
    """
    for start in range(0, count, _CHUNK):
        _sort_chunk(row, start, min(start + _CHUNK, count))
    run = _CHUNK
    while run < count:
        _merge(row, 0, count, run)
        run *= 2


@inlined
def mark(arrival, earlier):
    """`arrival` with its last mantissa bit telling whether it belongs to an earlier round."""
    if not earlier:
        return float_of_bits(bits_of(arrival) & np.uint32(0xFFFFFFFE))
    # inf with its last bit set would be no number; what never arrives needs no mark
    return select(arrival < _INF, float_of_bits(bits_of(arrival) | _ONE), arrival)


@inlined
def start_job(core_ms, at, cores, ready, duration):
    """Run a job of `duration` on the earliest free core at `ready` or later; returns its end.

    `core_ms` holds the times at which the cores are free, ascending, core c of lane l at ``at + c * 16 + l``.
    """
    end = greater(load(core_ms, at), ready) + duration
    rising = end
    for c in range(1, cores):
        free = load(core_ms, at + c * LANES)
        store(core_ms, at + (c - 1) * LANES, lesser(free, rising))
        rising = greater(free, rising)
    store(core_ms, at + (cores - 1) * LANES, rising)
    return end


@inlined
def serve(row, count, need, downlink, in_ms, core_ms, at, cores, handle_ms, handle_earlier_ms):
    """Pass sorted arrivals through a downlink and a CPU until `need` of them have been handled.

    A FIFO tandem by Lindley's recursion: a message has been received at ``max(arrival, previous + in_ms)``, so a lone one does
    not wait, and is then handled by the first free core.

    Parameters
    ----------
    row : ndarray of float32
        `count` sorted arrivals a lane, made by `mark`. Those handled here are replaced by inf.
    need : int lanes
        Arrivals of this round that end it, at least 1.
    downlink : float lanes
        When the downlink is free.
    in_ms, handle_ms, handle_earlier_ms : float32
        Receive time of a message; CPU time of one of this round, and of one of an earlier round.
    core_ms, at, cores
        See `start_job`.

    Returns
    -------
    (float lanes, float lanes, float lanes)
        When the last needed message was handled, inf if never; its arrival; when the downlink is free.
    """
    finished, critical = spread(_INF), spread(_INF)
    handled = spread_int(_ZERO)
    current, earlier = spread(handle_ms), spread(handle_earlier_ms)
    for i in range(count):
        arrival = load(row, i * LANES)
        # what never arrives keeps nobody busy: in a later view the replica may go on
        active = (handled < need) & (arrival < _INF)
        if not any_lane(active):
            break
        of_round = (bits_of(arrival) & _ONE) == _ZERO
        received = greater(arrival, downlink + in_ms)
        downlink = select(active, received, downlink)
        first = load(core_ms, at)
        end = greater(received, first) + select(of_round, current, earlier)
        rising = select(active, end, first)
        for c in range(1, cores):
            free = load(core_ms, at + c * LANES)
            store(core_ms, at + (c - 1) * LANES, lesser(free, rising))
            rising = greater(free, rising)
        store(core_ms, at + (cores - 1) * LANES, rising)
        counted = active & of_round
        finished = select(counted, end, finished)
        critical = select(counted, arrival, critical)
        handled = add_mask(handled, counted)
        store(row, i * LANES, greater(arrival, select(active, spread(_INF), spread(-_INF))))
    return select(handled < need, spread(_INF), finished), critical, downlink


@kernel
def virtual_waits(times_ms, works_ms, free_ms):
    """Waiting of one who came at any time to a first-come first-served queue.

    Parameters
    ----------
    times_ms : ndarray of float64, shape (jobs,)
        Arrivals of jobs, ascending.
    works_ms : ndarray of float64, shape (jobs,)
        Their durations.
    free_ms : ndarray of float64, shape (servers,)
        Working memory.

    Returns
    -------
    (float, float)
        Mean over time, ms; share of the time in which one would wait at all.
    """
    servers = free_ms.size
    free_ms[:] = times_ms[0]
    area, busy = 0.0, 0.0
    for i in range(times_ms.size - 1):
        end = max(free_ms[0], times_ms[i]) + works_ms[i]
        place = 1
        while place < servers and free_ms[place] < end:
            free_ms[place - 1] = free_ms[place]
            place += 1
        free_ms[place - 1] = end
        gap = times_ms[i + 1] - times_ms[i]
        wait = max(0.0, free_ms[0] - times_ms[i])
        spent = min(wait, gap)
        area += wait * spent - spent * spent / 2.0
        busy += spent
    span = times_ms[-1] - times_ms[0]
    return area / span, busy / span


@kernel
def handled_ms(ordered_ms, weight, need, handle_ms, rho, out):
    """When needed messages have been handled, in queues that other work keeps busy for a share of the time.

    ``max_i a_i + (k - i + 1) handle + rho (a_k - a_i)`` over the sorted arrivals a up to the k-th: Lindley's recursion, with what
    others bring between the i-th and the last message ahead of that.

    Parameters
    ----------
    ordered_ms : ndarray of float64, shape (messages, nodes)
        Arrivals at each node, ascending; inf if one never comes.
    weight : float
        Messages for which each stands.
    need : ndarray of int32, shape (nodes,)
        k, messages that are needed.
    handle_ms : ndarray of float64, shape (nodes,)
        Time that a message takes.
    rho : ndarray of float64, shape (nodes,)
        Share of the time that is taken by others.
    out : ndarray of float64, shape (nodes,)
        Filled; inf where too few come, -inf where none is needed.
    """
    messages = ordered_ms.shape[0]
    for node in range(need.size):
        last = min(max(int(np.ceil(need[node] / weight)) - 1, 0), messages - 1)
        final, done = ordered_ms[last, node], -np.inf
        for i in range(messages):
            ahead = need[node] - (i + 1) * weight + weight
            if ahead <= 0.0:
                break
            came = ordered_ms[i, node]
            done = max(done, came + ahead * handle_ms[node] + rho[node] * (final - came)) if final < np.inf else np.inf
        out[node] = done


@inlined
def order_by_bits(keys, places, count, counts, bits):
    """Sort the first `count` of places[0] by their keys, two digits of so many bits; equal ones stay in their order.

    Returns the row of `places`, shape (2, count or more), that then holds them. `counts` has room for all values of a digit.
    """
    source, mask = 0, np.uint32((1 << bits) - 1)
    for start in range(0, 2 * bits, bits):
        shift = np.uint32(start)
        for digit in range(counts.size):
            counts[digit] = 0
        for k in range(count):
            counts[(keys[places[source, k]] >> shift) & mask] += 1
        if count == 0 or counts[(keys[places[source, 0]] >> shift) & mask] == count:
            continue
        below = 0
        for digit in range(counts.size):
            below, counts[digit] = below + counts[digit], below
        for k in range(count):
            place = places[source, k]
            digit = (keys[place] >> shift) & mask
            places[1 - source, counts[digit]] = place
            counts[digit] += 1
        source = 1 - source
    return source


@inlined
def _insert_in_order(places, size, values):
    """Sort the first so many places, which nearly are, by their values."""
    for k in range(1, size):
        place, at = places[k], k
        while at > 0 and values[places[at - 1]] > values[place]:
            places[at] = places[at - 1]
            at -= 1
        places[at] = place


@inlined
def ascending(values, keys, places, counts):
    """Row of `places`, shape (2, size), that then holds those of the values, inf among them, in ascending order.

    Equal ones stay in their order. They are sorted by the digits of where they lie between the ends, then by insertion.
    """
    size, low, high = values.size, np.float32(np.inf), np.float32(-np.inf)
    for s in range(size):
        low = min(low, values[s])
        high = max(high, values[s] if values[s] < np.inf else high)
    most = np.float32((1 << 2 * _FEW_BITS) - 1)
    scale = most / (high - low) if high > low else np.float32(0.0)
    for s in range(size):
        places[0, s] = s
        keys[s] = np.uint32(min((values[s] - low) * scale, most) if values[s] < np.inf else most)
    row = order_by_bits(keys, places, size, counts, _FEW_BITS)
    _insert_in_order(places[row], size, values)
    return row


@kernel
def sort_jobs(times_ms, works_ms, end_ms, keys, places, counts, sorted_times_ms, sorted_works_ms):
    """Sort jobs by the time at which they come; those that come at the same time stay in their order.

    By digits of the time, as 22 bits of the whole, then by insertion of what these leave undecided.

    Parameters
    ----------
    times_ms, works_ms : ndarray of float64, shape (jobs,)
        Times, 0 or more, in any order, and durations.
    end_ms : float
        Jobs that do not come before this are left out.
    keys : ndarray of uint32, shape (jobs,)
    places : ndarray of int32, shape (2, jobs)
    counts : ndarray of int64, shape (2048,)
        Working memory.
    sorted_times_ms, sorted_works_ms : ndarray of float64, shape (jobs,)
        Filled.

    Returns
    -------
    int
        Jobs kept.
    """
    scale = ((1 << 2 * _DIGIT_BITS) - 1) / end_ms
    jobs = 0
    for i in range(times_ms.size):
        if times_ms[i] < end_ms:
            keys[i] = np.uint32(times_ms[i] * scale)
            places[0, jobs] = i
            jobs += 1
    source = order_by_bits(keys, places, jobs, counts, _DIGIT_BITS)
    for k in range(jobs):
        time, work = times_ms[places[source, k]], works_ms[places[source, k]]
        at = k
        while at > 0 and sorted_times_ms[at - 1] > time:
            sorted_times_ms[at], sorted_works_ms[at] = sorted_times_ms[at - 1], sorted_works_ms[at - 1]
            at -= 1
        sorted_times_ms[at], sorted_works_ms[at] = time, work
    return jobs
