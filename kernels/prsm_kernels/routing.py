"""The work and the queues that relaying makes."""

import numpy as np

from ._jit import kernel
from .queueing import COUNTS, ascending

_TOGETHER = 16
"""Nodes whose numbers lie together in memory, and are looked at together."""


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


@kernel
def count_copies(indptr, target, sent, back, counted, arriving, leaving):
    """Count the copies of flooded messages that come to nodes and leave them over some edges.

    Parameters
    ----------
    indptr, target : ndarray of int32, shape (n + 1,), (m,)
        Directed edges in CSR form, each in both directions.
    sent : ndarray of int64, shape (n,)
        Messages that each node sends or passes on: over all its edges but that by which one came.
    back : ndarray of int64, shape (m,)
        From `count_floods`.
    counted : ndarray of bool, shape (m,)
        Edges whose copies count, alike in both directions.
    arriving, leaving : ndarray of float64, shape (n,)
        Increased.
    """
    for node in range(sent.size):
        for edge in range(indptr[node], indptr[node + 1]):
            if counted[edge]:
                to = target[edge]
                leaving[node] += sent[node]
                arriving[to] += sent[node]
                # of those that came over this edge no copy goes back
                leaving[to] -= back[edge]
                arriving[node] -= back[edge]


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
    places, counts = np.empty((2, size), np.int32), np.empty(COUNTS, np.int64)
    for first in range(begin, end, _TOGETHER):
        last = min(first + _TOGETHER, end)
        for s in range(size):
            row = senders[s] * n
            for node in range(first, last):
                arrivals[node - first, s] = start_ms[senders[s]] + distance_ms[row + node]
        for node in range(first, last):
            came = arrivals[node - first]
            ordered = ascending(came, keys, places, counts)
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
