"""Placement of replicas on hosts and behind last miles, and limits that a configuration sets."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import prsm_scale as ps
from prsm_scale.columns import limit_names
from prsm_scale.config import Scenario, Sweep
from prsm_scale.errors import UsageError
from prsm_scale.metrics import limits_passed
from prsm_scale.plans import make_plan
from prsm_scale.settings import YOUNG
from prsm_scale.sites import place_replicas

EDGE: dict[str, Any] = {"environment": "hybrid_edge"}
HOSTS: dict[str, Any] = {"environment": "docker_cluster"}


def links(**settings: Any) -> Any:
    return make_plan(Scenario(**({"nodes": 10} | settings))).links


# Placement.


@pytest.mark.parametrize(
    ("n", "share", "count"), [(10, 0.5, 5), (11, 0.5, 6), (10, 0.04, 0), (10, 0.95, 10), (10, 1.0, 10), (7, 0.0, 0)]
)
def test_the_share_of_replicas_behind_a_last_mile_is_rounded(n, share, count):
    edge = place_replicas(Scenario(nodes=n, **EDGE, edge_share=share), 4).edge
    assert edge.sum() == count
    assert edge[0] == (count == n)


def test_who_is_behind_a_last_mile_is_drawn_by_the_seed_and_more_add_to_fewer():
    def edge(**settings: Any) -> np.ndarray:
        return place_replicas(Scenario(**({"nodes": 40} | EDGE | settings)), 4).edge

    assert (edge() == edge(network="lan", rate=3.0)).all()
    assert (edge() != edge(seed=1)).any()
    assert (edge(edge_share=0.3) <= edge(edge_share=0.6)).all()


def test_consecutive_replicas_share_a_host():
    sites = place_replicas(Scenario(nodes=11, **HOSTS, replicas_per_host=4, host_cores=8), 4)
    assert sites.host.tolist() == [0] * 4 + [1] * 4 + [2] * 3
    assert sites.slow.tolist() == [2.0] * 8 + [1.5] * 3
    assert sites.shared and not sites.edge.any()


def test_links_of_a_host_are_its_bridge_and_others_are_as_without_hosts():
    placed, apart = links(**HOSTS, replicas_per_host=4, bridge_delay_ms=0.5), links()
    same = placed.sites.host[:, None] == placed.sites.host
    np.fill_diagonal(same, False)
    assert (placed.base_ms[same] == 0.5).all()
    others = placed.sites.host[:, None] != placed.sites.host
    assert (placed.base_ms[others] == apart.base_ms[others]).all()
    assert (placed.loss[same] == 0.0).all() and (placed.loss[others] == np.float32(0.001)).all()


@pytest.mark.parametrize("topology", ["fully_connected", "mesh"])
def test_a_last_mile_comes_on_top_once_for_each_end(topology):
    settings = {"topology": topology, "network": "poor"}
    placed, apart = links(**settings, **EDGE, edge_delay_ms=7.0, edge_loss=0.1), links(**settings)
    graph = make_plan(Scenario(nodes=10, **settings)).graph
    edge = placed.sites.edge
    if topology == "mesh":
        ends = edge[np.repeat(np.arange(10), np.diff(graph.indptr))].astype(int) + edge[graph.indices]
    else:
        ends = edge[:, None].astype(int) + edge
        np.fill_diagonal(ends, 0)
    assert set(np.unique(ends)) == {0, 1, 2}
    assert placed.base_ms == pytest.approx(apart.base_ms + 7.0 * ends, rel=1e-6)
    kept = (1.0 - 0.02) * 0.9**ends
    off = ~np.eye(10, dtype=bool) if topology == "fully_connected" else np.ones(ends.shape, bool)
    assert 1.0 - placed.loss[off] == pytest.approx(kept[off], rel=1e-6)


def test_a_last_mile_is_no_wider_than_the_line_of_the_condition():
    wide, narrow = links(**EDGE, network="lan"), links(**EDGE, network="poor")
    edge = wide.sites.edge
    assert (wide.uplink_mbps[edge] == 20.0).all() and (wide.downlink_mbps[edge] == 100.0).all()
    assert (wide.uplink_mbps[~edge] == 1000.0).all() and (wide.downlink_mbps[~edge] == 1000.0).all()
    assert (narrow.uplink_mbps == 10.0).all() and (narrow.downlink_mbps == 10.0).all()


def test_a_law_of_delay_leaves_the_last_mile_on_top():
    outcome = ps.simulate(
        nodes=7, **EDGE, edge_share=1.0, edge_loss=0.0, delay="constant(10)", network="ideal", free_cpu=True, rate=0.0,
        edge_uplink_mbps=float("inf"), edge_downlink_mbps=float("inf"), operations=16,
    )  # fmt: skip
    assert outcome.commit_ms == pytest.approx(np.full(16, 3 * (10.0 + 28.0)), rel=1e-6)


# Settings.


@pytest.mark.parametrize(
    ("settings", "line"),
    [
        (EDGE | {"edge_share": 1.5}, "edge_share: 1.5 is not allowed: a number, 0 or more and at most 1"),
        (EDGE | {"edge_cpu_share": 0.0}, "edge_cpu_share: 0.0 is not allowed: a number, more than 0 and at most 1"),
        (EDGE | {"edge_loss": 1.0}, "edge_loss: 1.0 is not allowed: a number, 0 or more and at most 0.999"),
        (EDGE | {"edge_uplink_mbps": 0.0}, "edge_uplink_mbps: 0.0 is not allowed"),
        (EDGE | {"edge_delay_ms": -1.0}, "edge_delay_ms: -1.0 is not allowed: a number, 0 or more"),
        (HOSTS | {"replicas_per_host": 0}, "replicas_per_host: 0 is not allowed: a whole number, 1 or more"),
        (HOSTS | {"host_cores": 2.5}, "host_cores: 2.5 is not allowed: a whole number, 1 or more"),
        ({"edge_share": 0.3}, "edge_share: 0.3 is not allowed: only with environment hybrid_edge"),
        (EDGE | {"host_cores": 4}, "host_cores: 4 is not allowed: only with environment docker_cluster"),
        ({"max_cpu_percent": 0.0}, "max_cpu_percent: 0.0 is not allowed: a number, more than 0"),
        ({"max_memory_mb": "much"}, "max_memory_mb: 'much' is not allowed: a number, more than 0"),
    ],
    ids=lambda value: "" if isinstance(value, str) else str(value),
)
def test_bad_input_is_one_line(settings, line):
    with pytest.raises(UsageError) as failure:
        Scenario(nodes=10, **settings)
    (told,) = failure.value.lines
    assert told.startswith(line)


def test_a_sweep_over_environments_gives_each_its_own_settings():
    sweep = Sweep(nodes=[10], environment=["hybrid_edge", "docker_cluster"], edge_share=0.3, replicas_per_host=5)
    edge, hosts = sweep.scenarios()
    assert (edge.edge_share, edge.replicas_per_host) == (0.3, 8)
    assert (hosts.edge_share, hosts.replicas_per_host) == (0.5, 5)
    assert Sweep(**sweep.to_dict()).scenarios()[0].scenario_id == edge.scenario_id


# Identity and limits.


def test_young_settings_change_an_id_only_where_they_are_set():
    assert set(Scenario.model_fields) > YOUNG
    # of the version before these settings
    assert Scenario(nodes=10, operations=160, seed=5).scenario_id == "e64ede893c2dbf8c"
    plain = Scenario(nodes=10)
    assert plain.but(max_cpu_percent=80.0).scenario_id != plain.scenario_id
    assert plain.but(max_memory_mb=512.0).scenario_id != plain.scenario_id
    edge = Scenario(nodes=10, **EDGE)
    assert len({edge.scenario_id, edge.but(edge_share=0.4).scenario_id, plain.scenario_id}) == 3


def test_limits_are_told_with_what_passes_them_and_change_nothing_else():
    """The busiest replica's values at the offered load; seen failing against the mean."""
    settings: dict[str, Any] = EDGE | {"nodes": 10, "network": "lan", "profile": "minimal", "rate": 100.0, "operations": 64}
    free = ps.simulate(**settings)
    most = free.row["cpu_percent_max"]
    assert free.row["limits_passed"] == ""
    held = ps.simulate(**settings, max_cpu_percent=most - 1.0, max_memory_mb=100.0)
    assert np.array_equal(held.latency_ms, free.latency_ms)
    memory = free.row["memory_mb"]
    assert held.row["limits_passed"] == f"max_memory_mb {memory:.1f} > 100; max_cpu_percent {most:.1f} > {most - 1.0:.12g}"
    assert held.row["feasible"]
    within = ps.simulate(**settings, max_cpu_percent=most + 1.0, max_memory_mb=memory + 1.0)
    assert within.row["limits_passed"] == ""


def test_a_limit_passed_by_a_hair_is_told_so_that_it_shows():
    scenario = Scenario(nodes=10, max_cpu_percent=80.0)
    assert limits_passed(scenario, {"memory_mb": 1.0, "cpu_percent_max": 80.0}) == ""
    assert limits_passed(scenario, {"memory_mb": 1.0, "cpu_percent_max": 80.0004}) == "max_cpu_percent 80.0004 > 80"


def test_what_a_profile_cannot_hold_is_over_its_limit_too():
    run = ps.sweep(nodes="10", memory_mb=64.0, max_memory_mb=32.0, operations=16)
    (row,) = run.scenarios.to_dict(orient="records")
    assert not row["feasible"]
    names = limit_names(row["limits_passed"])
    assert names == ["memory_mb", "max_memory_mb"]
