"""Links and lines of replicas: conditions, draws common to all scenarios, regions and matrices."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import networkx as nx
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from prsm_scale.axes import Network
from prsm_scale.environments import (
    CONDITIONS,
    Condition,
    Links,
    build_links,
    read_latency_matrix,
    resolve_condition,
    select_regions,
)
from prsm_scale.errors import UsageError
from prsm_scale.topology import TopologyGraph, build_topology


def scenario(**changes: Any) -> SimpleNamespace:
    fields: dict[str, Any] = {
        "nodes": 12,
        "topology": "fully_connected",
        "graph": None,
        "mesh_degree": None,
        "branching": 4,
        "edge_probability": None,
        "network": "wan",
        "delay_min_ms": None,
        "delay_max_ms": None,
        "loss": None,
        "bandwidth_mbps": None,
        "delay": None,
        "environment": "local_simulation",
        "regions": None,
        "latency_matrix": None,
        "seed": 7,
    }
    return SimpleNamespace(**fields | changes)


def build(**changes: Any) -> tuple[TopologyGraph, Links]:
    point = scenario(**changes)
    graph = build_topology(point)
    return graph, build_links(point, graph, cores=4)


def sparse_base(**changes: Any) -> dict[tuple[int, int], float]:
    graph, links = build(**changes)
    senders = np.repeat(np.arange(graph.nodes), np.diff(graph.indptr))
    return dict(zip(zip(senders.tolist(), graph.indices.tolist(), strict=True), links.base_ms.tolist(), strict=True))


def only_line(failure: pytest.ExceptionInfo[UsageError]) -> str:
    (line,) = failure.value.lines
    return line


# Conditions


def test_conditions_are_those_of_the_model() -> None:
    assert list(CONDITIONS) == list(Network)
    assert CONDITIONS["lan"] == Condition("lan", 1, 5, 0.0001, 1000)
    assert CONDITIONS["wan"] == Condition("wan", 50, 100, 0.001, 100)
    assert CONDITIONS["intercontinental"] == Condition("intercontinental", 150, 300, 0.005, 25)
    assert CONDITIONS["poor"] == Condition("poor", 200, 500, 0.02, 10)
    assert CONDITIONS["ideal"] == Condition("ideal", 0, 0, 0, float("inf"))


def test_own_values_stand_in_for_the_conditions() -> None:
    point = scenario(delay_min_ms=10, delay_max_ms=20, loss=0.0, bandwidth_mbps=float("inf"))
    assert resolve_condition(point) == Condition("wan", 10, 20, 0, float("inf"))
    assert resolve_condition(scenario(delay_max_ms=60)).min_ms == 50


@pytest.mark.parametrize(
    ("changes", "field", "says"),
    [
        ({"network": "wam"}, "network", "did you mean 'wan'?"),
        ({"delay_min_ms": 120}, "delay_min_ms", "120 to 100 ms on network 'wan'"),
        ({"delay_max_ms": 10}, "delay_max_ms", "50 to 10 ms"),
        ({"delay_max_ms": float("nan")}, "delay_max_ms", "50 to nan ms"),
        ({"environment": "hybrid_egde"}, "environment", "did you mean 'hybrid_edge'?"),
    ],
)
def test_impossible_conditions_are_refused_in_one_line(changes: dict[str, Any], field: str, says: str) -> None:
    with pytest.raises(UsageError) as failure:
        build(**changes)
    assert only_line(failure).startswith(f"{field}: ")
    assert says in only_line(failure)


# Local simulation


@pytest.mark.parametrize("network", CONDITIONS)
def test_base_delays_lie_in_the_range_of_the_condition(network: str) -> None:
    _, links = build(network=network, nodes=40)
    off_diagonal = links.base_ms[~np.eye(40, dtype=bool)]
    assert links.condition == CONDITIONS[network]
    assert CONDITIONS[network].min_ms <= off_diagonal.min() <= off_diagonal.max() <= CONDITIONS[network].max_ms
    assert not links.base_ms.diagonal().any()
    assert links.base_ms.dtype == np.float32 and links.base_ms.flags.c_contiguous
    np.testing.assert_array_equal(links.base_ms, links.base_ms.T)
    assert links.loss.tolist() == pytest.approx([CONDITIONS[network].loss])
    assert links.edge_bandwidth_mbps.tolist() == [np.inf]
    np.testing.assert_array_equal(links.uplink_mbps, np.full(40, CONDITIONS[network].bandwidth_mbps, np.float32))
    np.testing.assert_array_equal(links.downlink_mbps, links.uplink_mbps)
    assert links.regions == ("",) * 40


def test_base_delays_are_uniform_and_independent() -> None:
    nodes = 400
    _, links = build(nodes=nodes)
    draws = (links.base_ms[np.tril_indices(nodes, -1)].astype(float) - 50) / 50
    count = draws.size
    assert abs(draws.mean() - 1 / 2) < 4 / (12 * count) ** 0.5
    assert abs(draws.var() - 1 / 12) < 4 / (180 * count) ** 0.5
    assert abs(np.corrcoef(draws[:-1], draws[1:])[0, 1]) < 4 / count**0.5
    per_replica = (links.base_ms.sum(axis=0) / (nodes - 1) - 50) / 50
    assert abs(per_replica.std() / (1 / (12 * nodes)) ** 0.5 - 1) < 0.2


def test_a_link_is_the_same_whatever_the_size_and_topology() -> None:
    _, small = build(nodes=10)
    _, large = build(nodes=300)
    np.testing.assert_array_equal(small.base_ms, large.base_ms[:10, :10])
    for topology in ("mesh", "star", "random"):
        sparse = sparse_base(nodes=300, topology=topology)
        assert all(delay == large.base_ms[v, u] for (u, v), delay in sparse.items())


def test_another_seed_gives_other_links_and_another_range_only_scales_them() -> None:
    _, links = build()
    _, reseeded = build(seed=8)
    _, scaled = build(delay_min_ms=500, delay_max_ms=1000)
    assert (links.base_ms != reseeded.base_ms).sum() == 12 * 11
    np.testing.assert_allclose(scaled.base_ms, 10 * links.base_ms, rtol=1e-6)


def test_a_law_for_every_message_leaves_no_base_delay() -> None:
    assert not build(delay="constant(250)")[1].base_ms.any()
    assert not build(delay="constant(250)", topology="ring")[1].base_ms.any()


# What a graph says of its links


def test_graph_attributes_go_before_the_condition() -> None:
    overlay = nx.cycle_graph(12)
    overlay.edges[3, 4].update(delay_ms=1.5, loss=0.25, bandwidth_mbps=2)
    graph, links = build(topology="graph", graph=overlay)
    told = np.flatnonzero(graph.delay_ms == 1.5)
    assert len(told) == 2
    assert links.base_ms[told].tolist() == [1.5] * 2
    assert links.loss[told].tolist() == [0.25] * 2
    assert links.edge_bandwidth_mbps[told].tolist() == [2] * 2
    rest = np.setdiff1d(np.arange(24), told)
    assert (links.base_ms[rest] >= 50).all() and np.isinf(links.edge_bandwidth_mbps[rest]).all()
    assert links.loss[rest] == pytest.approx(0.001)


def test_attributes_of_a_complete_graph_are_indexed_receiver_sender() -> None:
    overlay = nx.DiGraph(nx.complete_graph(5))
    overlay.edges[1, 3].update(delay_ms=8.0, loss=0.5, bandwidth_mbps=4)
    _, links = build(topology="graph", graph=overlay, nodes=5)
    assert (links.base_ms[3, 1], links.loss[3, 1], links.edge_bandwidth_mbps[3, 1]) == (8, 0.5, 4)
    assert links.base_ms[1, 3] == build(nodes=5)[1].base_ms[1, 3]
    assert links.loss[1, 3] == pytest.approx(0.001)
    assert np.isinf(links.edge_bandwidth_mbps[1, 3])


def test_a_complete_graph_without_attributes_is_fully_connected() -> None:
    _, generated = build(nodes=9)
    _, users = build(nodes=9, topology="graph", graph=nx.complete_graph(9))
    np.testing.assert_array_equal(generated.base_ms, users.base_ms)
    assert users.loss.shape == users.edge_bandwidth_mbps.shape == (1,)


# Regions


def test_packaged_matrix_is_published_data_with_its_source() -> None:
    matrix = read_latency_matrix()
    assert len(matrix.regions) == 21
    assert matrix.rtt_ms.shape == (21, 21)
    place = matrix.regions.index
    assert matrix.rtt_ms[place("us-east-1"), place("eu-west-1")] == 70.45
    assert matrix.rtt_ms[place("eu-west-1"), place("us-east-1")] == 69.44


def test_base_delay_is_half_the_round_trip_from_sender_to_receiver() -> None:
    _, links = build(environment="multi_region_cloud", regions=("us-east-1", "eu-west-1", "ap-northeast-1"), nodes=7)
    assert links.regions == ("us-east-1", "eu-west-1", "ap-northeast-1") * 2 + ("us-east-1",)
    assert links.base_ms[1, 0] == np.float32(70.45 / 2)
    assert links.base_ms[0, 1] == np.float32(69.44 / 2)
    assert links.base_ms[4, 3] == links.base_ms[4, 6] == links.base_ms[1, 0]
    assert links.base_ms[3, 0] == links.base_ms[0, 6] == 0.25
    assert not links.base_ms.diagonal().any()
    assert links.condition.loss == 0.001


def test_regions_default_to_all_and_serve_sparse_graphs_too() -> None:
    _, dense = build(environment="multi_region_cloud", nodes=50)
    assert len(set(dense.regions)) == 21
    sparse = sparse_base(environment="multi_region_cloud", nodes=50, topology="mesh")
    assert all(delay == dense.base_ms[v, u] for (u, v), delay in sparse.items())


def test_a_repeated_region_gets_replicas_each_time() -> None:
    chosen, one_way_ms = select_regions(read_latency_matrix(), ["us-east-1", "us-east-1", "eu-west-1"])
    assert chosen == ("us-east-1", "us-east-1", "eu-west-1")
    np.testing.assert_array_equal(one_way_ms, [[0.25, 0.25, 35.225], [0.25, 0.25, 35.225], [34.72, 34.72, 0.25]])


def test_rows_may_come_in_another_order_and_unused_cells_may_be_blank(tmp_path: Path) -> None:
    file = tmp_path / "own.csv"
    file.write_text('# a source\nfrom/to,here,"there, far",moon\nmoon,2600,,\n"there, far",30,,\nhere,,40,\n')
    _, links = build(environment="multi_region_cloud", latency_matrix=str(file), regions=["here", "there, far"], nodes=4)
    assert links.base_ms[1].tolist() == [20, 0, 20, 0.25]
    assert links.base_ms[0].tolist() == [0, 15, 0.25, 15]


@given(st.permutations(range(21)), st.integers(1, 21))
def test_chosen_regions_keep_their_delays_in_any_order(order: list[int], count: int) -> None:
    matrix = read_latency_matrix()
    everything = select_regions(matrix)[1]
    picked = order[:count]
    _, one_way_ms = select_regions(matrix, [matrix.regions[index] for index in picked])
    np.testing.assert_array_equal(one_way_ms, everything[np.ix_(picked, picked)])


def test_missing_region_is_refused_with_the_nearest_one() -> None:
    with pytest.raises(UsageError) as failure:
        build(environment="multi_region_cloud", regions=("us-east-1", "eu-wst-1"))
    assert only_line(failure).startswith("regions: 'eu-wst-1'")
    assert "21 regions" in only_line(failure) and "did you mean 'eu-west-1'?" in only_line(failure)
    with pytest.raises(UsageError, match="one or more"):
        select_regions(read_latency_matrix(), [])


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (None, "No such file"),
        ("", "no matrix"),
        ("# only a comment\n,a,b\n", "no matrix"),
        (",a,b\na,1,2\n", "region 'b' has no rows"),
        (",a,b\na,1,2\nb,2,1\nc,3,3\n", "region 'c' has no columns"),
        (",a,a\na,1,2\n", "region 'a' has 2 columns"),
        (",a,b\na,1,2\nb,2,1\nb,2,1\n", "region 'b' has 2 rows"),
        (",a,b\na,1,2\nb,2\n", "row 'b' has 1 values, 2 are needed"),
        (",a,b\na,1,2\nb,fast,1\n", "from 'b' to 'a' it has 'fast'"),
        (",a,b\na,1,-2\nb,2,1\n", "from 'a' to 'b' it has '-2'"),
        (",a,b\na,1,inf\nb,2,1\n", "from 'a' to 'b' it has 'inf'"),
        (",a,b\na,1,\nb,2,1\n", "blank from 'a' to 'b'"),
        (b"\xff\xfe\x00", "not CSV"),
    ],
)
def test_malformed_matrices_are_refused_in_one_line(tmp_path: Path, text: str | bytes | None, says: str) -> None:
    file = tmp_path / "own.csv"
    if text is not None:
        file.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(UsageError) as failure:
        build(environment="multi_region_cloud", latency_matrix=str(file))
    assert only_line(failure).startswith("latency_matrix: ")
    assert says in only_line(failure)
