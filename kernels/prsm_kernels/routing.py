"""Shortest paths, and the work and the queues that relaying makes."""

import numpy as np

from ._jit import inlined, kernel
from .queueing import order_by_bits

_TOGETHER = 16
"""Nodes whose numbers lie together in memory, and are looked at together."""
_DIGIT_BITS = 8
"""Of the numbers by which a few messages are sorted."""
_TIE_MS = 1e-6
"""Added for each hop, so that of two paths of equal delay the one with fewer hops is taken."""


@inlined
def _sift_down(heap_key, heap_node, size):
    i = 0
    while True:
        child = 2 * i + 1
        if child >= size:
            return
        if child + 1 < size and heap_key[child + 1] < heap_key[child]:
            child += 1
        if heap_key[i] <= heap_key[child]:
            return
        heap_key[i], heap_key[child] = heap_key[child], heap_key[i]
        heap_node[i], heap_node[child] = heap_node[child], heap_node[i]
        i = child


@inlined
def _push(heap_key, heap_node, size, key, node):
    i = size
    heap_key[i], heap_node[i] = key, node
    while i > 0 and heap_key[(i - 1) // 2] > heap_key[i]:
        up = (i - 1) // 2
        heap_key[i], heap_key[up] = heap_key[up], heap_key[i]
        heap_node[i], heap_node[up] = heap_node[up], heap_node[i]
        i = up


@inlined
def _insert_in_order(places, size, values):
    """Sort the first so many places, which nearly are, by their values."""
    for k in range(1, size):
        place, at = places[k], k
        while at > 0 and values[places[at - 1]] > values[place]:
            places[at] = places[at - 1]
            at -= 1
        places[at] = place


@kernel
def shortest_paths(indptr, target, cost_ms, relays, sources, last_edge, order, distance_ms):
    """Shortest paths from some nodes to all, by Dijkstra's algorithm with a binary heap.

    Parameters
    ----------
    indptr, target : ndarray of int32, shape (n + 1,), (m,)
        Directed edges in CSR form.
    cost_ms : ndarray of float64, shape (m,)
        Cost of each edge, >= 0.
    relays : ndarray of uint8, shape (n,)
        0 for nodes that pass nothing on; they can still be ends of a path.
    sources : ndarray of int32
        Nodes from which to search.
    last_edge, order : ndarray of int32, shape (n * n,)
        Rows of the sources are filled: [source * n + node] the edge by which the path enters node, -1 if there is none;
        [source * n + k] the k-th nearest node, -1 after the last reachable one.
    distance_ms : ndarray of float32, shape (n * n,)
        [source * n + node], inf if unreachable.
    """
    n = indptr.size - 1
    heap_key = np.empty(target.size + 1, np.float64)
    heap_node = np.empty(target.size + 1, np.int32)
    best = np.empty(n, np.float64)
    for s in range(sources.size):
        source = sources[s]
        row = source * n
        best[:] = np.inf
        last_edge[row : row + n] = -1
        order[row : row + n] = -1
        distance_ms[row : row + n] = np.inf
        best[source] = 0.0
        heap_key[0], heap_node[0] = 0.0, source
        size = 1
        settled = 0
        while size > 0:
            key, node = heap_key[0], heap_node[0]
            size -= 1
            heap_key[0], heap_node[0] = heap_key[size], heap_node[size]
            _sift_down(heap_key, heap_node, size)
            if key > best[node] or distance_ms[row + node] < np.inf:
                continue
            distance_ms[row + node] = key
            order[row + settled] = node
            settled += 1
            if node != source and not relays[node]:
                continue
            for edge in range(indptr[node], indptr[node + 1]):
                to = target[edge]
                length = key + cost_ms[edge] + _TIE_MS
                if length < best[to]:
                    best[to] = length
                    last_edge[row + to] = edge
                    _push(heap_key, heap_node, size, length, to)
                    size += 1


@kernel
def paths_around(
    indptr, target, source_of, reverse, cost_ms, cost_back_ms, relays, sources, whole_edge, whole_order,
    last_edge, order, distance_ms,
):  # fmt: skip
    """Shortest paths where some nodes pass nothing on, from those of the same graph where all do.

    Paths that pass none of these nodes stay. The others' ends are reached from their neighbours, by label-correcting sweeps
    in the order of their distance before, to and fro.

    Parameters
    ----------
    indptr, target, cost_ms, sources, last_edge, order, distance_ms
        See `shortest_paths`; the graph has each edge in both directions.
    source_of, reverse : ndarray of int32, shape (m,)
        Node from which each edge comes, and the edge in the other direction.
    cost_back_ms : ndarray of float64, shape (m,)
        Cost of the edge in the other direction.
    relays : ndarray of uint8, shape (n,)
        0 for nodes that pass nothing on; they can still be ends of a path.
    whole_edge, whole_order : ndarray of int32, shape (n * n,)
        `last_edge` and `order` where all pass messages on.
    """
    n = indptr.size - 1
    best, onward = np.empty(n, np.float64), np.empty(n, np.float64)
    lost, kept = np.empty(n, np.int32), np.empty(n, np.int32)
    for s in range(sources.size):
        source = sources[s]
        row = source * n
        best[:], onward[:] = np.inf, np.inf
        last_edge[row : row + n] = -1
        order[row : row + n] = -1
        distance_ms[row : row + n] = np.inf
        best[source], onward[source], kept[0] = 0.0, 0.0, source
        keeping, losing = 1, 0
        while keeping + losing < n and whole_order[row + keeping + losing] >= 0:
            node = whole_order[row + keeping + losing]
            edge = whole_edge[row + node]
            length = onward[source_of[edge]] + cost_ms[edge] + _TIE_MS
            if length < np.inf:
                best[node], last_edge[row + node] = length, edge
                if relays[node]:
                    onward[node] = length
                kept[keeping] = node
                keeping += 1
            else:
                lost[losing] = node
                losing += 1
        sooner, forward = losing > 0, True
        while sooner:
            sooner = False
            for k in range(losing):
                node = lost[k] if forward else lost[losing - 1 - k]
                # without branches, which nothing foretells
                least, by = best[node], -1
                for edge in range(indptr[node], indptr[node + 1]):
                    length = onward[target[edge]] + cost_back_ms[edge] + _TIE_MS
                    by = edge if length < least else by
                    least = min(length, least)
                if by >= 0:
                    best[node], last_edge[row + node] = least, reverse[by]
                    sooner = True
                if relays[node]:
                    onward[node] = best[node]
            forward = not forward
        _insert_in_order(lost, losing, best)
        at, to = 0, 0
        for k in range(keeping + losing):
            if at < keeping and (to == losing or best[kept[at]] <= best[lost[to]]):
                node, at = kept[at], at + 1
            elif best[lost[to]] < np.inf:
                node, to = lost[to], to + 1
            else:
                break
            order[row + k], distance_ms[row + node] = node, best[node]


@kernel
def count_transits(senders, receivers, last_edge, source_of, order, through, crossing):
    """Count the messages that relays and edges carry when each of `senders` sends one along shortest paths to all `receivers`.

    Parameters
    ----------
    senders : ndarray of int32
    receivers : ndarray of uint8, shape (n,)
        1 for nodes that get a message.
    last_edge, source_of, order
        See `types.Paths`.
    through : ndarray of int32, shape (n * n,)
        [sender * n + node] filled: messages of sender that node forwards.
    crossing : ndarray of float64, shape (m,)
        Increased by the messages that cross each directed edge.

    Returns
    -------
    float
        Hops of all these messages together.
    """
    n = receivers.size
    hops = 0.0
    for s in range(senders.size):
        source = senders[s]
        row = source * n
        through[row : row + n] = 0
        count = n
        while count > 0 and order[row + count - 1] < 0:
            count -= 1
        for k in range(count - 1, 0, -1):
            node = order[row + k]
            carried = through[row + node] + receivers[node]
            edge = last_edge[row + node]
            crossing[edge] += carried
            hops += carried
            before = source_of[edge]
            if before != source:
                through[row + before] += carried
    return hops


@kernel
def count_floods(sources, relays, last_edge, passed, back):
    """Count what nodes do when each of `sources` floods a message, the first copies of which come over shortest paths.

    Parameters
    ----------
    sources : ndarray of int32
        A source named twice floods two messages.
    relays : ndarray of uint8, shape (n,)
        0 for nodes that pass nothing on.
    last_edge
        See `types.Paths`.
    passed : ndarray of int64, shape (n,)
        Increased by the messages of others that each node passes on.
    back : ndarray of int64, shape (m,)
        Increased by those of them that came over each directed edge: no copy goes back over it.
    """
    n = relays.size
    for s in range(sources.size):
        row = sources[s] * n
        for node in range(n):
            edge = last_edge[row + node]
            if edge >= 0 and relays[node]:
                passed[node] += 1
                back[edge] += 1


@inlined
def _ascending(values, keys, places, counts):
    """Row of `places`, shape (2, size), that then holds those of the values, inf among them, in ascending order.

    They are sorted by the digits of where they lie between the ends, then by insertion.
    """
    size, low, high = values.size, np.float32(np.inf), np.float32(-np.inf)
    for s in range(size):
        low = min(low, values[s])
        high = max(high, values[s] if values[s] < np.inf else high)
    most = np.float32((1 << 2 * _DIGIT_BITS) - 1)
    scale = most / (high - low) if high > low else np.float32(0.0)
    for s in range(size):
        places[0, s] = s
        keys[s] = np.uint32(min((values[s] - low) * scale, most) if values[s] < np.inf else most)
    row = order_by_bits(keys, places, size, counts, _DIGIT_BITS)
    _insert_in_order(places[row], size, values)
    return row


@kernel
def queue_waits(start_ms, senders, distance_ms, service_ms, begin, end, waits_ms):
    """Waiting of one round's messages in the FIFO queue of each of the nodes begin .. end - 1.

    Messages come to a node when an undisturbed network would bring them.

    Parameters
    ----------
    start_ms : ndarray of float32, shape (n,)
        When each node sends, 0 or later.
    senders : ndarray of int32
        At least one.
    distance_ms : ndarray of float32, shape (n * n,)
        [source * n + node].
    service_ms : ndarray of float32, shape (n * n,) or (n,)
        [source * n + node]: how long the node is busy with the message of source; [node] where it is so with all.
    begin, end : int
    waits_ms : ndarray of float32, shape (n * n,)
        [source * n + node] filled for these nodes, 0 where the message does not come.
    """
    n, size = start_ms.size, senders.size
    arrivals, keys = np.empty((_TOGETHER, size), np.float32), np.empty(size, np.uint32)
    places, counts = np.empty((2, size), np.int32), np.empty(1 << _DIGIT_BITS, np.int64)
    for first in range(begin, end, _TOGETHER):
        last = min(first + _TOGETHER, end)
        for s in range(size):
            row = senders[s] * n
            for node in range(first, last):
                arrivals[node - first, s] = start_ms[senders[s]] + distance_ms[row + node]
        for node in range(first, last):
            came = arrivals[node - first]
            ordered = _ascending(came, keys, places, counts)
            free = np.float32(0.0)
            for k in range(size):
                s = places[ordered, k]
                arrived = came[s]
                if arrived == np.inf:
                    came[s] = np.float32(0.0)
                    continue
                started = max(free, arrived)
                free = started + service_ms[node if service_ms.size == n else senders[s] * n + node]
                came[s] = started - arrived
        for s in range(size):
            row = senders[s] * n
            for node in range(first, last):
                waits_ms[row + node] = arrivals[node - first, s]


@kernel
def relay_waits(waits_ms, senders, last_edge, source_of, order, gossip, relay_ms):
    """Waiting at relays along the paths of one round's messages.

    A queue that lets messages pass one by one also spaces them for the queues behind it, so a message waits on its way not for
    the sum of its relays' queues but for the longest: each relay adds what its own wait exceeds the longest so far. This is an
    approximation, exact where messages pass one relay, as in a star.

    Parameters
    ----------
    waits_ms : ndarray of float32, shape (n * n,)
        From `queue_waits`.
    senders : ndarray of int32
    last_edge, source_of, order
        See `types.Paths`.
    gossip : bool
        Chooses the layout of `relay_ms`, see `types.Paths`.
    relay_ms : ndarray of float32, shape (n * n,)
        Filled.
    """
    n = int(np.sqrt(np.float64(waits_ms.size)) + 0.5)
    longest = np.empty(n, np.float32)
    for s in range(senders.size):
        source = senders[s]
        row = source * n
        longest[source] = np.float32(0.0)
        for k in range(1, n):
            node = order[row + k]
            if node < 0:
                break
            before = source_of[last_edge[row + node]]
            so_far = longest[before]
            # the sender's own uplink queue is exact elsewhere
            longest[node] = max(so_far, waits_ms[row + before]) if before != source else so_far
            if gossip:
                relay_ms[row + node] = max(np.float32(0.0), waits_ms[row + node] - longest[node])
            else:
                relay_ms[node * n + source] = longest[node]


@kernel
def path_sums(values, last_edge, source_of, order, out):
    """Sums over the relays of shortest paths.

    Parameters
    ----------
    values : ndarray of float32, shape (m,)
        Of each relay that sends over an edge.
    last_edge, source_of, order
        See `types.Paths`.
    out : ndarray of float32, shape (n * n,)
        [node * n + source] filled where there is a way.
    """
    n = int(np.sqrt(np.float64(out.size)) + 0.5)
    so_far = np.empty(n, np.float32)
    for source in range(n):
        row = source * n
        so_far[source] = np.float32(0.0)
        for k in range(1, n):
            node = order[row + k]
            if node < 0:
                break
            edge = last_edge[row + node]
            before = source_of[edge]
            so_far[node] = so_far[before] + (values[edge] if before != source else np.float32(0.0))
            out[node * n + source] = so_far[node]
