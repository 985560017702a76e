"""Shortest paths and relays' loads against SciPy and NetworkX; relays' queues against a plain FIFO."""

from __future__ import annotations

from typing import NamedTuple

import networkx as nx
import numpy as np
import pytest
from scipy.sparse import csr_array
from scipy.sparse.csgraph import dijkstra

from prsm_kernels import (
    count_copies,
    count_floods,
    count_transits,
    path_tree,
    paths_around,
    queue_waits,
    relay_waits,
    shortest_paths,
)

HOP_MS = 1e-6
"""What `shortest_paths` adds for each hop."""


class Routes(NamedTuple):
    indptr: np.ndarray
    target: np.ndarray
    source: np.ndarray
    cost: np.ndarray
    last_edge: np.ndarray
    order: np.ndarray
    distance: np.ndarray

    @property
    def n(self):
        return self.indptr.size - 1


def routes_of(graph, cost, relays=None):
    """All shortest paths of an undirected graph, with a cost for each direction of each edge."""
    n = graph.number_of_nodes()
    matrix = csr_array(nx.to_scipy_sparse_array(graph, nodelist=range(n), dtype=float))
    matrix.sort_indices()
    indptr, target = matrix.indptr.astype(np.int32), matrix.indices.astype(np.int32)
    source = np.repeat(np.arange(n, dtype=np.int32), np.diff(indptr))
    weight = np.array([cost(a, b) for a, b in zip(source, target, strict=True)], np.float64)
    last_edge, order = (np.full(n * n, -7, np.int32) for _ in range(2))
    distance = np.empty(n * n, np.float32)
    alive = np.ones(n, np.uint8) if relays is None else relays
    shortest_paths(indptr, target, weight, alive, np.arange(n, dtype=np.int32), last_edge, order, distance)
    grid = (n, n)
    return Routes(indptr, target, source, weight, last_edge.reshape(grid), order.reshape(grid), distance.reshape(grid))


def random_costs(seed):
    """Costs that make every shortest path unique, other in the two directions."""
    table = np.random.default_rng(seed).uniform(1, 100, (200, 200))
    return lambda a, b: table[a, b]


def path(routes, source, node):
    """Nodes from source to node along the stored edges."""
    nodes = [int(node)]
    while nodes[0] != source:
        nodes.insert(0, int(routes.source[routes.last_edge[source, nodes[0]]]))
    return nodes


def scipy_distance(routes, relays):
    """Row by row: from each source, the graph without the edges that leave nodes which relay nothing."""
    rows = []
    for source in range(routes.n):
        passes = (relays[routes.source] > 0) | (routes.source == source)
        matrix = csr_array((routes.cost[passes], (routes.source[passes], routes.target[passes])), shape=(routes.n, routes.n))
        rows.append(dijkstra(matrix, indices=source))
    return np.array(rows)


GRAPHS = {
    "sparse": lambda: nx.gnm_random_graph(40, 80, seed=1),
    "tree": lambda: nx.full_rary_tree(3, 40),
    "ring": lambda: nx.cycle_graph(17),
    "star": lambda: nx.star_graph(12),
    "dense": lambda: nx.gnp_random_graph(25, 0.5, seed=2),
    "complete": lambda: nx.complete_graph(9),
    "two parts": lambda: nx.disjoint_union(nx.cycle_graph(7), nx.path_graph(5)),
    "lone nodes": lambda: nx.gnm_random_graph(30, 20, seed=3),
    "no edge": lambda: nx.empty_graph(4),
}


@pytest.mark.parametrize("silent", [0.0, 0.3], ids=["all relay", "some relay"])
@pytest.mark.parametrize("name", GRAPHS)
def test_shortest_paths_are_scipys(name, silent):
    """Distances, paths that have them, relays on these, and the order of nodes, unreachable ones included."""
    graph = GRAPHS[name]()
    relays = (np.random.default_rng(4).random(graph.number_of_nodes()) >= silent).astype(np.uint8)
    routes = routes_of(graph, random_costs(5), relays)
    expected = scipy_distance(routes, relays)
    assert np.array_equal(np.isinf(routes.distance), np.isinf(expected))
    assert np.allclose(routes.distance, expected, rtol=1e-6, atol=2e-5)
    for source in range(routes.n):
        reached = np.flatnonzero(np.isfinite(expected[source]))
        order = routes.order[source]
        assert sorted(order[: reached.size]) == reached.tolist() and (order[reached.size :] == -1).all()
        assert order[0] == source and (np.diff(routes.distance[source][order[: reached.size]]) >= 0).all()
        assert (routes.last_edge[source][np.isinf(expected[source])] == -1).all() and routes.last_edge[source, source] == -1
        for node in reached:
            nodes = path(routes, source, node)
            length = sum(routes.cost[routes.last_edge[source, step]] for step in nodes[1:])
            assert length == pytest.approx(expected[source, node], rel=1e-9)
            assert all(relays[step] for step in nodes[1:-1])


def test_of_equal_paths_the_one_with_fewer_hops_is_taken():
    """A ring with a chord as long as the way round: both ways cost the same, one has a hop."""
    graph = nx.cycle_graph(8)
    graph.add_edge(0, 4)
    routes = routes_of(graph, lambda a, b: 4.0 if {int(a), int(b)} == {0, 4} else 1.0)
    assert path(routes, 0, 4) == [0, 4] and path(routes, 4, 0) == [4, 0]
    assert routes.distance[0, 4] == pytest.approx(4.0, abs=2 * HOP_MS)


def test_paths_without_cost_have_the_fewest_hops():
    graph = GRAPHS["sparse"]()
    routes = routes_of(graph, lambda a, b: 0.0)
    hops = dict(nx.all_pairs_shortest_path_length(graph))
    for source in graph:
        assert {node: len(path(routes, source, node)) - 1 for node in hops[source]} == hops[source]


def test_some_sources_fill_their_own_rows_only():
    routes = routes_of(GRAPHS["sparse"](), random_costs(6))
    n = routes.n
    last_edge, order = np.full(n * n, -7, np.int32), np.full(n * n, -7, np.int32)
    distance = np.full(n * n, -7, np.float32)
    sources = np.array([3, 17], np.int32)
    shortest_paths(routes.indptr, routes.target, routes.cost, np.ones(n, np.uint8), sources, last_edge, order, distance)
    for found, whole in zip((last_edge, order, distance), (routes.last_edge, routes.order, routes.distance), strict=True):
        assert np.array_equal(found.reshape(n, n)[sources], whole[sources])
        assert (np.delete(found.reshape(n, n), sources, axis=0) == -7).all()


def transits(routes, senders, receivers):
    n = routes.n
    through, crossing = np.full(n * n, -7, np.int32), np.zeros(routes.target.size)
    hops = count_transits(
        np.asarray(senders, np.int32), receivers, routes.last_edge.ravel(), routes.source, routes.order.ravel(),
        through, crossing,
    )  # fmt: skip
    return through.reshape(n, n), crossing, hops


@pytest.mark.parametrize("name", ["sparse", "tree", "ring", "star", "dense", "two parts", "lone nodes"])
def test_transits_of_all_to_all_are_betweenness(name):
    """Where paths are unique: messages forwarded by nodes, carried by edges, and the sum of these."""
    routes = routes_of(GRAPHS[name](), random_costs(7))
    n = routes.n
    directed = nx.DiGraph()
    directed.add_nodes_from(range(n))
    directed.add_weighted_edges_from(zip(routes.source.tolist(), routes.target.tolist(), routes.cost.tolist(), strict=True))
    through, crossing, hops = transits(routes, range(n), np.ones(n, np.uint8))
    nodes = nx.betweenness_centrality(directed, weight="weight", normalized=False)
    edges = nx.edge_betweenness_centrality(directed, weight="weight", normalized=False)
    assert through.sum(axis=0) == pytest.approx([nodes[node] for node in range(n)])
    assert crossing == pytest.approx([edges[edge] for edge in zip(routes.source.tolist(), routes.target.tolist(), strict=True)])
    assert hops == crossing.sum()


@pytest.mark.parametrize("name", ["sparse", "star", "lone nodes"])
def test_transits_of_some_to_some(name):
    """Counted message by message along the paths, with nodes that relay nothing."""
    graph = GRAPHS[name]()
    rng = np.random.default_rng(8)
    relays = (rng.random(graph.number_of_nodes()) < 0.8).astype(np.uint8)
    routes = routes_of(graph, random_costs(9), relays)
    senders = np.flatnonzero(rng.random(routes.n) < 0.5)
    receivers = (rng.random(routes.n) < 0.5).astype(np.uint8)
    through, crossing, hops = transits(routes, senders, receivers)
    plain = np.zeros((routes.n, routes.n), int)
    used = np.zeros(routes.target.size)
    for source in senders:
        for node in np.flatnonzero(receivers):
            if node != source and np.isfinite(routes.distance[source, node]):
                nodes = path(routes, source, node)
                plain[source, nodes[1:-1]] += 1
                used[[routes.last_edge[source, step] for step in nodes[1:]]] += 1
    assert np.array_equal(through[senders], plain[senders])
    assert np.array_equal(crossing, used) and hops == used.sum()


@pytest.mark.parametrize("lost", [0.05, 0.3, 0.7])
@pytest.mark.parametrize("name", GRAPHS)
def test_paths_around_are_those_of_a_fresh_search(name, lost):
    """Bit for bit, sources that pass nothing on and nodes beyond reach included."""
    whole = routes_of(GRAPHS[name](), random_costs(12))
    n = whole.n
    relays = (np.random.default_rng(3).random(n) >= lost).astype(np.uint8)
    relays[n // 2] = 0
    fresh = routes_of(GRAPHS[name](), random_costs(12), relays)
    at = {(a, b): edge for edge, (a, b) in enumerate(zip(whole.source, whole.target, strict=True))}
    reverse = np.array([at[b, a] for a, b in zip(whole.source, whole.target, strict=True)], np.int32)
    last_edge, order, distance = np.full(n * n, -7, np.int32), np.full(n * n, -7, np.int32), np.empty(n * n, np.float32)
    before, length = np.full(n * n, -7, np.int32), np.full(n * n, np.nan)
    path_tree(whole.source, whole.cost, whole.last_edge.ravel(), whole.order.ravel(), before, length)
    for sources in np.array_split(np.arange(n, dtype=np.int32), 2):
        paths_around(
            whole.indptr, whole.target, reverse, whole.cost, whole.cost[reverse], relays, sources, whole.last_edge.ravel(),
            whole.order.ravel(), whole.distance.ravel(), before, length, last_edge, order, distance,
        )  # fmt: skip
    assert np.array_equal(distance, fresh.distance.ravel())
    assert np.array_equal(last_edge, fresh.last_edge.ravel())
    assert np.array_equal(order, fresh.order.ravel())


def test_floods_are_counted_node_by_node():
    """Each node passes a message on once, over all edges but that by which it came; a source named twice floods twice."""
    relays = np.ones(40, np.uint8)
    relays[[3, 17, 18]] = 0
    routes = routes_of(GRAPHS["sparse"](), random_costs(5), relays)
    sources = np.array([1, 3, 5, 9, 9], np.int32)
    passed, back = np.zeros(40, np.int64), np.zeros(routes.target.size, np.int64)
    count_floods(sources, relays, routes.last_edge.ravel(), passed, back)
    plain, came = np.zeros(40, int), np.zeros(routes.target.size, int)
    for source in sources:
        for node in range(40):
            if node != source and relays[node] and routes.distance[source, node] < np.inf:
                plain[node] += 1
                came[routes.last_edge[source, node]] += 1
    assert np.array_equal(passed, plain) and np.array_equal(back, came)
    assert passed.max() > 2 and passed[3] == 0


@pytest.mark.parametrize("by_node", [False, True])
def test_queues_of_many_messages_are_fifo(by_node):
    """At more nodes and from more senders than are looked at together; messages that come at one time wait in their order."""
    n, rng = 70, np.random.default_rng(8)
    senders = np.sort(rng.choice(n, 53, replace=False)).astype(np.int32)
    start = rng.integers(0, 4, n).astype(np.float32)
    distance = rng.integers(0, 300, (n, n)).astype(np.float32)
    distance[senders[4], 5:20] = np.inf
    service = rng.uniform(0.0, 8.0, n if by_node else (n, n)).astype(np.float32)
    waits = np.full((n, n), -1.0, np.float32)
    for begin, end in ((0, 33), (33, n)):
        queue_waits(start, senders, distance.ravel(), service.ravel(), begin, end, waits.ravel())
    for node in range(n):
        came = start[senders] + distance[senders, node]
        free, expected = np.float32(0.0), np.zeros(senders.size, np.float32)
        for s in np.argsort(came, kind="stable"):
            if came[s] < np.inf:
                expected[s] = max(free, came[s]) - came[s]
                free = max(free, came[s]) + (service[node] if by_node else service[senders[s], node])
        assert np.array_equal(waits[senders, node], expected)
    assert waits[senders].max() > 20.0
    assert (np.delete(waits, senders, axis=0) == -1.0).all()


def fifo_waits(arrivals, services):
    """Wait of each job in a queue with one server, in the order given."""
    free, waits = 0.0, np.zeros(len(arrivals))
    for job in np.argsort(arrivals):
        begin = max(free, arrivals[job])
        waits[job] = begin - arrivals[job]
        free = begin + services[job]
    return waits


def relay_ms(routes, start_ms, senders, service_ms, gossip=False):
    """Waiting at relays, [receiver, source] or for gossip [source, node]; the queues in two calls."""
    n = routes.n
    who, service = np.asarray(senders, np.int32), np.ascontiguousarray(service_ms, np.float32).ravel()
    waits, found = np.zeros(n * n, np.float32), np.zeros(n * n, np.float32)
    for begin, end in ((0, n // 2), (n // 2, n)):
        queue_waits(start_ms.astype(np.float32), who, routes.distance.ravel(), service, begin, end, waits)
    relay_waits(waits, who, routes.last_edge.ravel(), routes.source, routes.order.ravel(), gossip, found)
    return found.reshape(n, n)


@pytest.mark.parametrize("gossip", [False, True], ids=["routed", "gossip"])
def test_waits_at_the_hub_of_a_star_are_a_fifo(gossip):
    """One relay, so nothing is approximate: each leaf's message waits for those that came to the hub before it."""
    n, rng = 12, np.random.default_rng(10)
    routes = routes_of(nx.star_graph(n - 1), random_costs(11))
    start = rng.uniform(0, 30, n).astype(np.float32)
    service = np.zeros((n, n), np.float32)
    service[1:, 0] = rng.uniform(5, 25, n - 1)
    leaves = np.arange(1, n)
    found = relay_ms(routes, start, leaves, service, gossip)
    waits = fifo_waits(start[leaves] + routes.distance[leaves, 0], service[leaves, 0])
    assert waits.max() > 10
    for leaf, wait in zip(leaves, waits, strict=True):
        others = np.delete(leaves, leaf - 1)
        if gossip:  # [source, node]: the hub holds the message back, leaves do not
            assert found[leaf, 0] == pytest.approx(wait, rel=1e-5, abs=1e-4)
            assert (found[leaf, others] == 0).all()
        else:  # [receiver, source]
            assert found[0, leaf] == 0
            assert found[others, leaf] == pytest.approx(wait, rel=1e-5, abs=1e-4)


@pytest.mark.parametrize("n", [6, 60])
def test_messages_that_come_together_go_by_their_senders_number(n):
    """One order for ties, whatever sorts: compiled, in plain Python and on any machine."""
    routes = routes_of(nx.star_graph(n - 1), lambda a, b: 10.0)
    service = np.zeros((n, n))
    service[1:, 0] = 2.0
    found = relay_ms(routes, np.zeros(n), np.arange(1, n), service, gossip=True)
    assert found[1:, 0] == pytest.approx(2.0 * np.arange(n - 1))


def test_equal_relays_in_a_row_hold_a_message_back_once():
    """Two messages meet at node 2 of a Y; behind the queue that spaces them by its service none waits again."""
    graph = nx.Graph([(0, 2), (1, 2), (2, 3), (3, 4), (4, 5)])
    routes = routes_of(graph, lambda a, b: 10.0)
    found = relay_ms(routes, np.zeros(6), [0, 1], np.full((6, 6), 4.0))
    first, second = np.sort(found[2:, :2], axis=1).T
    assert (first == 0).all()
    assert second == pytest.approx([0.0, 4.0, 4.0, 4.0])


def test_unreachable_nodes_wait_for_nothing():
    routes = routes_of(GRAPHS["two parts"](), random_costs(12))
    n = routes.n
    found = relay_ms(routes, np.zeros(n), range(n), np.ones((n, n)))
    assert np.isfinite(found).all()
    assert (found[np.isinf(routes.distance).T] == 0).all()


@pytest.mark.parametrize("share", [1.0, 0.5])
def test_copies_of_floods_are_counted_edge_by_edge(share):
    """A node sends on over all edges but that by which a message came; links count both ways or not at all."""
    relays = np.ones(40, np.uint8)
    relays[[3, 17, 18]] = 0
    routes = routes_of(GRAPHS["sparse"](), random_costs(5), relays)
    low, high = np.minimum(routes.source, routes.target), np.maximum(routes.source, routes.target)
    counted = np.random.default_rng(2).random((40, 40))[low, high] < share
    sources = np.array([1, 3, 5, 9, 9], np.int32)
    passed, back = np.zeros(40, np.int64), np.zeros(routes.target.size, np.int64)
    count_floods(sources, relays, routes.last_edge.ravel(), passed, back)
    arriving, leaving = np.zeros(40), np.zeros(40)
    count_copies(routes.indptr, routes.target, passed + np.bincount(sources, minlength=40), back, counted, arriving, leaving)
    came, went = np.zeros(40), np.zeros(40)
    for source in sources:
        for node, to in zip(routes.source[counted], routes.target[counted], strict=True):
            passes = relays[node] and routes.distance[source, node] < np.inf
            if node == source or (passes and routes.source[routes.last_edge[source, node]] != to):
                came[to] += 1
                went[node] += 1
    assert np.array_equal(arriving, came) and np.array_equal(leaving, went)
    assert went[3] == counted[routes.source == 3].sum()
