"""Graphs as arrays: what generators promise, what files and NetworkX graphs become, what is refused."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import networkx as nx
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from prsm_scale.axes import Topology
from prsm_scale.errors import UsageError
from prsm_scale.topology import (
    TOPOLOGIES,
    TopologyGraph,
    build_topology,
    graph_topology,
    mesh_degree,
    read_graph,
)


def scenario(**changes: Any) -> SimpleNamespace:
    fields: dict[str, Any] = {
        "nodes": 20,
        "topology": "mesh",
        "graph": None,
        "mesh_degree": None,
        "branching": 4,
        "edge_probability": None,
        "seed": 7,
    }
    return SimpleNamespace(**fields | changes)


def build(**changes: Any) -> TopologyGraph:
    return build_topology(scenario(**changes))


def pairs(graph: TopologyGraph) -> list[tuple[int, int]]:
    senders = np.repeat(np.arange(graph.nodes), np.diff(graph.indptr))
    return list(zip(senders.tolist(), graph.indices.tolist(), strict=True))


def neighbours(graph: TopologyGraph, node: int) -> list[int]:
    return list(map(int, graph.indices[graph.indptr[node] : graph.indptr[node + 1]]))


def only_line(failure: pytest.ExceptionInfo[UsageError]) -> str:
    (line,) = failure.value.lines
    return line


# Generators


@pytest.mark.parametrize("topology", [name for name in TOPOLOGIES if name != "fully_connected"])
@pytest.mark.parametrize("nodes", [4, 5, 7, 10, 33, 200])
def test_generated_graphs_are_connected_two_way_and_ordered(topology: str, nodes: int) -> None:
    graph = build(topology=topology, nodes=nodes)
    links = pairs(graph)
    assert graph.name == topology
    assert graph.nodes == nodes
    assert not graph.complete
    assert links == sorted(set(links))
    assert {(v, u) for u, v in links} == set(links)
    assert all(u != v for u, v in links)
    assert nx.is_connected(nx.Graph(links)) and len(nx.Graph(links)) == nodes
    assert [a.dtype for a in (graph.indptr, graph.indices)] == [np.int32] * 2
    assert [a.dtype for a in (graph.delay_ms, graph.bandwidth_mbps, graph.loss)] == [np.float32] * 3
    assert np.isnan(graph.delay_ms).all() and np.isnan(graph.loss).all() and np.isinf(graph.bandwidth_mbps).all()
    assert len(graph.delay_ms) == len(graph.bandwidth_mbps) == len(graph.loss) == len(links)
    assert all(a.flags.c_contiguous for a in (graph.indices, graph.delay_ms, graph.bandwidth_mbps, graph.loss))


def test_generators_are_the_topologies_a_user_can_name() -> None:
    assert set(TOPOLOGIES) == set(Topology)


def test_fully_connected_takes_no_memory_per_pair() -> None:
    graph = build(topology="fully_connected", nodes=100_000)
    assert graph.complete
    assert graph.indices.size == graph.delay_ms.size == 0
    assert graph.indptr.shape == (100_001,)
    assert graph.digest != build(topology="fully_connected", nodes=100_001).digest


def test_ring_star_and_tree_have_their_shape() -> None:
    ring = build(topology="ring", nodes=9)
    assert all(neighbours(ring, i) == sorted([(i - 1) % 9, (i + 1) % 9]) for i in range(9))
    star = build(topology="star", nodes=9)
    assert neighbours(star, 0) == list(range(1, 9))
    assert all(neighbours(star, i) == [0] for i in range(1, 9))
    tree = build(topology="hierarchical", nodes=40, branching=3)
    assert all((i, (i - 1) // 3) in pairs(tree) for i in range(1, 40))
    assert len(pairs(tree)) == 2 * 39


@pytest.mark.parametrize(("nodes", "degree"), [(4, 3), (5, 4), (10, 4), (16, 4), (17, 6), (64, 6), (100, 7), (1000, 10)])
def test_mesh_degree_grows_with_the_logarithm(nodes: int, degree: int) -> None:
    assert mesh_degree(nodes) == degree
    graph = build(nodes=nodes)
    assert set(np.diff(graph.indptr).tolist()) == {degree}


@pytest.mark.parametrize(("nodes", "asked", "given"), [(10, 2, 2), (11, 3, 4), (40, 35, 35), (11, 10, 10), (60, 30, 30)])
def test_mesh_degree_can_be_set(nodes: int, asked: int, given: int) -> None:
    graph = build(nodes=nodes, mesh_degree=asked)
    assert set(np.diff(graph.indptr).tolist()) == {given}


def test_random_graph_has_the_expected_number_of_links() -> None:
    nodes, chance = 300, 0.1
    graph = build(topology="random", nodes=nodes, edge_probability=chance)
    mean = nodes * (nodes - 1) / 2 * chance
    assert abs(len(pairs(graph)) / 2 - mean) < 4 * (mean * (1 - chance)) ** 0.5
    by_default = build(topology="random", nodes=nodes)
    assert abs(len(pairs(by_default)) / nodes - 2 * np.log(nodes)) < 1.5


@pytest.mark.parametrize("topology", ["mesh", "random"])
def test_seed_decides_the_graph(topology: str) -> None:
    digests = {build(topology=topology, nodes=50, seed=seed).digest for seed in (0, 1, 2**63 - 1)}
    assert len(digests) == 3
    assert build(topology=topology, nodes=50).digest == build(topology=topology, nodes=50).digest


@pytest.mark.parametrize(
    ("changes", "field", "says"),
    [
        ({"nodes": 3}, "nodes", "4 or more"),
        ({"mesh_degree": 1}, "mesh_degree", "2 to 19"),
        ({"mesh_degree": 20}, "mesh_degree", "2 to 19"),
        ({"topology": "hierarchical", "branching": 0}, "branching", "1 or more"),
        ({"topology": "random", "edge_probability": 0.0}, "edge_probability", "above 0"),
        ({"topology": "random", "nodes": 200, "edge_probability": 1e-4}, "edge_probability", "about 0.026"),
        ({"topology": "msh"}, "topology", "did you mean 'mesh'?"),
        ({"topology": "overlay.pdf"}, "topology", ".graphml"),
    ],
)
def test_impossible_graphs_are_refused_in_one_line(changes: dict[str, Any], field: str, says: str) -> None:
    with pytest.raises(UsageError) as failure:
        build(**changes)
    assert only_line(failure).startswith(f"{field}: ")
    assert says in only_line(failure)


# NetworkX graphs


def test_labels_are_numbered_in_natural_order() -> None:
    graph = graph_topology(nx.relabel_nodes(nx.path_graph(12), {i: f"n{i}" for i in range(12)}))
    assert graph.labels == tuple(f"n{i}" for i in range(12))
    assert neighbours(graph, 10) == [9, 11]


def test_directions_of_a_link_may_differ() -> None:
    digraph = nx.DiGraph(nx.cycle_graph(4))
    digraph.add_edge(0, 1, delay_ms=5, bandwidth_mbps="10", loss=0.25)
    digraph.add_edge(1, 0, delay_ms=7.5)
    graph = graph_topology(digraph)
    there, back = pairs(graph).index((0, 1)), pairs(graph).index((1, 0))
    assert graph.delay_ms[[there, back]].tolist() == [5, 7.5]
    assert graph.bandwidth_mbps[[there, back]].tolist() == [10, np.inf]
    assert graph.loss[there] == 0.25
    assert np.isnan(graph.loss[back]) and np.isnan(graph.delay_ms).sum() == 6


def test_undirected_attributes_hold_both_ways() -> None:
    cycle = nx.cycle_graph(5)
    cycle.edges[1, 2].update(delay_ms=3.0, bandwidth_mbps=float("inf"))
    graph = graph_topology(cycle)
    assert [pair for pair, delay in zip(pairs(graph), graph.delay_ms, strict=True) if delay == 3.0] == [
        (1, 2),
        (2, 1),
    ]


def test_users_complete_graph_is_complete_and_one_less_link_is_not() -> None:
    complete = nx.complete_graph(6)
    assert graph_topology(complete).complete
    assert len(pairs(graph_topology(complete))) == 30
    complete.remove_edge(2, 4)
    assert not graph_topology(complete).complete


def test_multigraph_without_parallel_edges_is_taken() -> None:
    assert graph_topology(nx.MultiGraph(nx.cycle_graph(6))).digest == graph_topology(nx.cycle_graph(6)).digest


@given(seed=st.integers(0, 2**32))
def test_order_of_insertion_does_not_matter(seed: int) -> None:
    original = nx.star_graph(8)
    for number, (u, v) in enumerate(original.edges()):
        original.edges[u, v]["delay_ms"] = number
    nodes, edges = list(original), [pair[:: random.Random(seed).choice((1, -1))] for pair in original.edges()]
    random.Random(seed).shuffle(nodes)
    random.Random(seed).shuffle(edges)
    shuffled = nx.Graph()
    shuffled.add_nodes_from(nodes)
    shuffled.add_edges_from((u, v, original.edges[u, v]) for u, v in edges)
    one, two = graph_topology(original), graph_topology(shuffled)
    assert one.digest == two.digest
    np.testing.assert_array_equal(one.delay_ms, two.delay_ms)


def test_digest_follows_links_and_attributes() -> None:
    def changed(change: Callable[[Any], Any]) -> str:
        graph = nx.cycle_graph(6)
        change(graph)
        return graph_topology(graph).digest

    digests = [
        changed(lambda g: None),
        changed(lambda g: g.add_edge(0, 3)),
        changed(lambda g: g.add_edge(0, 1, delay_ms=1)),
        changed(lambda g: g.add_edge(0, 1, loss=0.5)),
        changed(lambda g: g.add_edge(0, 1, bandwidth_mbps=1)),
        changed(lambda g: g.add_edge(1, 2, bandwidth_mbps=1)),
    ]
    assert len(set(digests)) == len(digests)
    assert changed(lambda g: g.add_edge(0, 1, colour="red")) == digests[0]


def _with_edge(**attributes: Any) -> Any:
    graph = nx.cycle_graph(5)
    graph.edges[3, 4].update(attributes)
    return graph


@pytest.mark.parametrize(
    ("graph", "says"),
    [
        (nx.path_graph(3), "3 nodes"),
        (nx.disjoint_union_all([nx.path_graph(k) for k in (2, 5, 3)]), "3 components of 5, 3, 2 nodes"),
        (nx.empty_graph(9), "9 components of 1, 1, 1, 1, 1, 1, ... nodes"),
        (nx.Graph([(0, 1), (1, 2), (2, 3), (2, 2)]), "node 2 is linked to itself"),
        (nx.MultiGraph([(0, 1), (1, 2), (2, 3), (2, 1)]), "edge 1-2 appears more than once"),
        (nx.DiGraph([(0, 1), (1, 0), (1, 2), (2, 1), (2, 3)]), "edge 2-3 is one-way"),
        (_with_edge(delay_ms=-5), "edge 3-4 has delay_ms -5"),
        (_with_edge(delay_ms=float("nan")), "edge 3-4 has delay_ms nan"),
        (_with_edge(delay_ms=float("inf")), "edge 3-4 has delay_ms inf"),
        (_with_edge(delay_ms="soon"), "edge 3-4 has delay_ms soon"),
        (_with_edge(delay_ms=[1]), "edge 3-4 has delay_ms [1]"),
        (_with_edge(bandwidth_mbps=0), "edge 3-4 has bandwidth_mbps 0"),
        (_with_edge(loss=1), "edge 3-4 has loss 1, it must be 0 to 0.999"),
        (_with_edge(delay=3), "did you mean 'delay_ms'?"),
        ([(0, 1)], "a networkx Graph"),
    ],
)
def test_unusable_graphs_are_refused_in_one_line(graph: Any, says: str) -> None:
    with pytest.raises(UsageError) as failure:
        graph_topology(graph)
    assert only_line(failure).startswith("topology: ")
    assert says in only_line(failure)


def test_number_of_nodes_must_agree() -> None:
    assert build(topology="graph", graph=nx.cycle_graph(20)).nodes == 20
    with pytest.raises(UsageError, match="has 21 nodes"):
        build(topology="graph", graph=nx.cycle_graph(21))


# Files


def test_graphml_read_back_is_the_graph(tmp_path: Path) -> None:
    original = nx.relabel_nodes(_with_edge(delay_ms=12.5, loss=0.01), {i: f"replica-{i + 8}" for i in range(5)})
    nx.write_graphml(original, tmp_path / "overlay.graphml")
    read = build(topology=str(tmp_path / "overlay.graphml"), nodes=5)
    assert read.digest == graph_topology(original).digest
    assert read.labels == ("replica-8", "replica-9", "replica-10", "replica-11", "replica-12")


def test_networkx_own_edge_list_is_read(tmp_path: Path) -> None:
    nx.write_edgelist(_with_edge(delay_ms=2.0), tmp_path / "overlay.edgelist")
    assert graph_topology(read_graph(tmp_path / "overlay.edgelist")).digest == graph_topology(_with_edge(delay_ms=2)).digest


EDGE_LISTS = {
    "blanks": "0 1\n1 2 4.5\n\n# done\n2\t3 \n3 0\n",
    "commas": "0, 1\n1, 2, 4.5\n2, 3\n3, 0\n",
    "header": "u,v,delay_ms\n0,1,\n1,2,4.5\n2,3,\n3,0,\n",
    "other columns": "Source,Target,colour,delay_ms\n0,1,red,\n1,2,blue,4.5\n2,3\n3,0\n",
    "byte order mark": "\ufeffu v delay_ms\n0 1\n1 2 4.5\n2 3\n3 0",
    "both directions": "0 1\n1 0\n1 2 4.5\n2 1 4.5\n2 3\n3 2\n3 0\n0 3\n",
}


@pytest.mark.parametrize("text", EDGE_LISTS.values(), ids=EDGE_LISTS)
def test_edge_lists_of_any_dress_are_the_same_graph(tmp_path: Path, text: str) -> None:
    expected = nx.cycle_graph(4)
    expected.edges[1, 2]["delay_ms"] = 4.5
    (tmp_path / "a.csv").write_text(text, encoding="utf-8")
    assert graph_topology(read_graph(tmp_path / "a.csv")).digest == graph_topology(expected).digest


def test_edge_list_columns_without_header_are_delay_bandwidth_loss(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("a b 1 2 0.5\nb c\nc d\nd a")
    graph = graph_topology(read_graph(tmp_path / "a.txt"))
    assert (graph.delay_ms[0], graph.bandwidth_mbps[0], graph.loss[0]) == (1, 2, 0.5)


def test_edge_list_in_both_directions_may_be_asymmetric(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("a b 1\nb a 2\nb c\nc b\nc d\nd c")
    assert graph_topology(read_graph(tmp_path / "a.txt")).delay_ms[:2].tolist() == [1, 2]


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        ("a.graphml", None, "No such file"),
        ("a.csv", None, "No such file"),
        ("a.graphml", "<graphml", "not GraphML"),
        ("a.graphml", "<html></html>", "not GraphML"),
        ("a.csv", "a,b\nb\n", "line 2 has 1 fields"),
        ("a.csv", "u,v\na,b,5\n", "line 2 has 3 fields, 2 to 2"),
        ("a.csv", "a,b\nb,c\nc,d\na,b\n", "line 4 repeats edge a-b"),
        ("a.csv", "a,b\nb,a\nb,c\nc,d\n", "edge b-c is one-way"),
        ("a.csv", "a,b\nb,c\nc,d\nd,d\n", "node d is linked to itself"),
        ("a.csv", "a,b,x\nb,c\nc,d\n", "edge a-b has delay_ms x"),
        ("a.csv", "u,v,delay\na,b,1\nb,c\nc,d\n", "did you mean 'delay_ms'?"),
        ("a.txt", "a b {'delay_ms': oops}\n", "not an edge list"),
        ("a.txt", "a b {1}\n", "not an edge list"),
        ("a.txt", "", "0 nodes"),
        ("a.txt", b"\xff\xfe\x00", "not an edge list"),
    ],
)
def test_unusable_files_are_refused_in_one_line(tmp_path: Path, name: str, text: str | bytes | None, says: str) -> None:
    file = tmp_path / name
    if text is not None:
        file.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(UsageError) as failure:
        build(topology=str(file))
    assert only_line(failure).startswith("topology: ")
    assert says in only_line(failure)
