"""What is kept because it took long to make, and that it is the right one."""

from __future__ import annotations

from pathlib import Path

import networkx as nx
import pytest

import prsm_scale as ps
from prsm_scale import at_rest, plans, topology
from prsm_scale.engine import simulate_scenario
from prsm_scale.latest import Latest
from prsm_scale.plans import make_plan


def test_the_last_ones_wanted_are_kept() -> None:
    made: list[str] = []
    kept: Latest[str, str] = Latest(2)

    def get(key: str) -> str:
        return kept.get(key, lambda: made.append(key) or key.upper())  # type: ignore[func-returns-value]

    assert [get(key) for key in "abab"] == list("ABAB") and made == ["a", "b"]
    assert get("c") == "C" and get("b") == "B" and made == ["a", "b", "c"]
    assert get("a") == "A" and made == ["a", "b", "c", "a"]


def test_what_fails_to_be_made_is_tried_again() -> None:
    kept: Latest[str, float] = Latest(2)
    with pytest.raises(ZeroDivisionError):
        kept.get("a", lambda: 1 / 0)
    assert kept.get("a", lambda: 1.0) == 1.0


def test_scenarios_that_differ_in_faults_or_load_share_their_ways() -> None:
    one = ps.Scenario(nodes=30, topology="mesh")
    plan = make_plan(one)
    for changes in ({"byzantine_ratio": 0.2}, {"rate": 3.0}, {"placement": (3,)}, {"primary_policy": "rotating"}):
        other = make_plan(one.but(**changes))
        assert other.network is plan.network and other.scenario == one.but(**changes)
        assert (other.timing is None) == (other.scenario.byzantine_count == 0)
    for changes in ({"seed": 1}, {"nodes": 31}, {"network": "lan"}, {"payload_bytes": 9}, {"profile": "minimal"}, {"loss": 0.2}):
        assert make_plan(one.but(**changes)).network is not plan.network


def test_a_file_that_has_changed_is_read_again(tmp_path: Path) -> None:
    file = tmp_path / "graph.graphml"
    edges = []
    for graph in (nx.cycle_graph(8), nx.complete_graph(8)):
        nx.write_graphml(graph, file)
        edges.append(make_plan(ps.Scenario(topology=str(file), nodes="file", dissemination="gossip")).graph.indices.size)
    assert edges == [16, 56]


def test_a_scenario_keeps_its_graph_whatever_becomes_of_the_file(tmp_path: Path) -> None:
    file = tmp_path / "graph.graphml"
    nx.write_graphml(nx.cycle_graph(8), file)
    scenario = ps.Scenario(topology=str(file), nodes="file", dissemination="gossip")
    nx.write_graphml(nx.complete_graph(8), file)
    assert make_plan(scenario).graph.indices.size == 16
    file.unlink()
    plans._plans = Latest(2)
    assert make_plan(scenario).graph.indices.size == 16


def test_results_do_not_depend_on_what_is_kept() -> None:
    scenario = ps.Scenario(nodes=25, topology="mesh", byzantine_ratio=0.2, operations=64)
    after_others = [simulate_scenario(scenario.but(**changes)) for changes in ({"rate": 0.0}, {"byzantine_ratio": 0.1}, {})][-1]
    plans._plans, at_rest._known = Latest(2), Latest(2)
    topology._generated.cache_clear()
    alone = simulate_scenario(scenario)
    assert alone.latency_ms.tobytes() == after_others.latency_ms.tobytes()
    assert alone.capacity == after_others.capacity and alone.failover == after_others.failover
