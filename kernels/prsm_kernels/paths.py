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


@inlined
def _reach(indptr, target, reverse, cost_back_ms, node, best, onward, last_edge, row):
    """Reach a node from the neighbour by which it is reached soonest."""
    # without branches, which nothing foretells
    least, by = best[node], -1
    for edge in range(indptr[node], indptr[node + 1]):
        length = onward[target[edge]] + cost_back_ms[edge] + _TIE_MS
        by = edge if length < least else by
        least = min(length, least)
    if by >= 0:
        best[node], last_edge[row + node] = least, reverse[by]


@inlined
def _correct(indptr, target, cost_ms, relays, node, best, onward, reached, last_edge, row, waiting):
    """Reach others that `node` passes on to sooner, those that have been reached already, and so on from them."""
    size, waiting[0] = 1, node
    while size > 0:
        size -= 1
        node = waiting[size]
        for edge in range(indptr[node], indptr[node + 1]):
            length, to = onward[node] + cost_ms[edge] + _TIE_MS, target[edge]
            if length < reached[to]:
                best[to], reached[to], last_edge[row + to] = length, length, edge
                if relays[to]:
                    onward[to] = length
                    # one that waits already is not noted twice
                    at = 0
                    while at < size and waiting[at] != to:
                        at += 1
                    waiting[at] = to
                    size = max(size, at + 1)


@kernel
def paths_around(
    indptr, target, source_of, reverse, cost_ms, cost_back_ms, relays, sources, whole_edge, whole_order,
    last_edge, order, distance_ms,
):  # fmt: skip
    """Shortest paths where some nodes pass nothing on, from those of the same graph where all do.

    Paths that pass none of these nodes stay. The others' ends are reached from their neighbours in the order of their distance
    before, which is nearly that of their distance now, so that few have to be corrected.

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
    best, onward, reached = np.empty(n, np.float64), np.empty(n, np.float64), np.empty(n, np.float64)
    lost, kept, waiting = np.empty(n, np.int32), np.empty(n, np.int32), np.empty(n, np.int32)
    lengths, keys, places, counts = np.empty(n), np.empty(n, np.uint32), np.empty((2, n), np.int32), np.empty(COUNTS, np.int64)
    for s in range(sources.size):
        source = sources[s]
        row = source * n
        best[:], onward[:], reached[:] = np.inf, np.inf, -np.inf
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
        for k in range(losing):
            node = lost[k]
            _reach(indptr, target, reverse, cost_back_ms, node, best, onward, last_edge, row)
            reached[node] = best[node]
            if relays[node] and best[node] < np.inf:
                onward[node] = best[node]
                _correct(indptr, target, cost_ms, relays, node, best, onward, reached, last_edge, row, waiting)
        for k in range(losing):
            lengths[k] = best[lost[k]]
        late = places[ascending(lengths[:losing], keys, places, counts)]
        at, to = 0, 0
        for k in range(keeping + losing):
            if at < keeping and (to == losing or best[kept[at]] <= lengths[late[to]]):
                node, at = kept[at], at + 1
            elif lengths[late[to]] < np.inf:
                node, to = lost[late[to]], to + 1
            else:
                break
            order[row + k], distance_ms[row + node] = node, best[node]
