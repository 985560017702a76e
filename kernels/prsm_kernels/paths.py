"""Shortest paths, and those round nodes that pass nothing on."""

import numpy as np

from ._jit import inlined, kernel
from .queueing import COUNTS, ascending

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
def path_tree(source_of, cost_ms, last_edge, order, before, length_ms):
    """What paths round some nodes follow from, see `paths_around`: paths where all pass messages on, by the order of their ends.

    Parameters
    ----------
    source_of : ndarray of int32, shape (m,)
        Node from which each edge comes.
    cost_ms, last_edge, order
        See `shortest_paths`.
    before : ndarray of int32, shape (n * n,)
        [source * n + k] filled for k > 0: place in the order of the node from which the path enters the k-th nearest.
    length_ms : ndarray of float64, shape (n * n,)
        [source * n + k] filled: length of the path to the k-th nearest.
    """
    n = int(np.sqrt(np.float64(order.size)) + 0.5)
    place = np.empty(n, np.int32)
    for source in range(n):
        row = source * n
        place[source], length_ms[row] = 0, 0.0
        for k in range(1, n):
            node = order[row + k]
            if node < 0:
                break
            edge = last_edge[row + node]
            place[node], before[row + k] = k, place[source_of[edge]]
            length_ms[row + k] = length_ms[row + before[row + k]] + cost_ms[edge] + _TIE_MS


@inlined
def _divide(relays, source, order, before, length_ms, onward, cut, kept, lengths, lost):
    """Nodes whose path stays, with its length, and those whose path passes a node that passes nothing on; their numbers."""
    onward[:] = np.inf
    onward[source], cut[0], kept[0], lengths[0] = 0.0, 0, source, 0.0
    keeping, losing = 1, 0
    for k in range(1, order.size):
        node = order[k]
        if node < 0:
            break
        gone = np.int64(cut[before[k]])
        cut[k] = gone | (relays[node] == 0)
        onward[node] = np.inf if cut[k] else length_ms[k]
        # without branches, which nothing foretells
        kept[keeping], lengths[keeping], lost[losing] = node, length_ms[k], node
        keeping += 1 - gone
        losing += gone
    return keeping, losing


@inlined
def _reach(indptr, target, reverse, cost_ms, cost_back_ms, node, onward, reached, last_edge):
    """When a node is reached at soonest, and what that has to be less than for others to be reached sooner by way of it."""
    least, by, latest = np.inf, -1, -np.inf
    for edge in range(indptr[node], indptr[node + 1]):
        to = target[edge]
        length = onward[to] + cost_back_ms[edge] + _TIE_MS
        by = edge if length < least else by
        least = min(length, least)
        latest = max(latest, reached[to] - cost_ms[edge])
    last_edge[node] = reverse[by] if by >= 0 else -1
    return least, latest


@inlined
def _correct(indptr, target, cost_ms, relays, node, onward, reached, last_edge, waiting):
    """Reach others that `node` passes on to sooner, those that have been reached already, and so on from them."""
    size, waiting[0] = 1, node
    while size > 0:
        size -= 1
        node = waiting[size]
        for edge in range(indptr[node], indptr[node + 1]):
            length, to = onward[node] + cost_ms[edge] + _TIE_MS, target[edge]
            if length < reached[to]:
                reached[to], last_edge[to] = length, edge
                if relays[to]:
                    onward[to] = length
                    # one that waits already is not noted twice
                    at = 0
                    while at < size and waiting[at] != to:
                        at += 1
                    waiting[at] = to
                    size = max(size, at + 1)


@inlined
def _merge(kept, lengths, keeping, lost, later, losing, order):
    """Write down those kept and those lost by length; the lengths of both have room for one more."""
    while losing > 0 and later[losing - 1] == np.inf:
        losing -= 1
    lengths[keeping], later[losing] = np.inf, np.inf
    at, to = 0, 0
    for k in range(keeping + losing):
        stays = lengths[at] <= later[to]
        order[k] = kept[at] if stays else lost[to]
        at += stays
        to += 1 - stays
    order[keeping + losing :] = -1


@kernel
def paths_around(
    indptr, target, reverse, cost_ms, cost_back_ms, relays, sources, whole_edge, whole_order, whole_ms, before, length_ms,
    last_edge, order, distance_ms,
):  # fmt: skip
    """Shortest paths where some nodes pass nothing on, from those of the same graph where all do.

    Paths that pass none of these nodes stay. The others' ends are reached from their neighbours in the order of their distance
    before, which is nearly that of their distance now, so that few have to be corrected.

    Parameters
    ----------
    indptr, target, cost_ms, sources, last_edge, order, distance_ms
        See `shortest_paths`; the graph has each edge in both directions.
    reverse : ndarray of int32, shape (m,)
        The edge in the other direction.
    cost_back_ms : ndarray of float64, shape (m,)
        Cost of the edge in the other direction.
    relays : ndarray of uint8, shape (n,)
        0 for nodes that pass nothing on; they can still be ends of a path.
    whole_edge, whole_order, whole_ms
        `last_edge`, `order` and `distance_ms` where all pass messages on.
    before, length_ms
        From `path_tree`.
    """
    n = indptr.size - 1
    onward, reached, cut = np.empty(n, np.float64), np.empty(n, np.float64), np.empty(n, np.uint8)
    kept, lengths, lost, later = np.empty(n, np.int32), np.empty(n + 1), np.empty(n, np.int32), np.empty(n + 1)
    came, keys, places, counts = np.empty(n), np.empty(n, np.uint32), np.empty((2, n), np.int32), np.empty(COUNTS, np.int64)
    waiting = np.empty(n, np.int32)
    for s in range(sources.size):
        row = slice(sources[s] * n, sources[s] * n + n)
        edges, ways_ms = last_edge[row], distance_ms[row]
        edges[:], ways_ms[:] = whole_edge[row], whole_ms[row]
        keeping, losing = _divide(
            relays, sources[s], whole_order[row], before[row], length_ms[row], onward, cut, kept, lengths, lost
        )
        reached[:] = -np.inf
        for k in range(losing):
            node = lost[k]
            reached[node], latest = _reach(indptr, target, reverse, cost_ms, cost_back_ms, node, onward, reached, edges)
            if relays[node]:
                onward[node] = reached[node]
                if latest > reached[node]:
                    _correct(indptr, target, cost_ms, relays, node, onward, reached, edges, waiting)
        for k in range(losing):
            came[k] = reached[lost[k]]
        late = places[ascending(came[:losing], keys, places, counts)]
        for k in range(losing):
            waiting[k], later[k] = lost[late[k]], came[late[k]]
            ways_ms[waiting[k]] = later[k]
        _merge(kept, lengths, keeping, waiting, later, losing, order[row])
