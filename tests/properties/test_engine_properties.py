"""What must hold of the rounds engine whatever the numbers: determinism, symmetry, scale, order, shared draws."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from prsm_scale import batches
from prsm_scale.config import Scenario
from prsm_scale.engine import simulate_scenario
from tests.support import FREE, IDEAL, INF, run_system, system_of, with_base

few = settings(max_examples=12, derandomize=True, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])

SEEDS = st.integers(0, 2**63 - 1)
NODES = st.integers(4, 13)
ROUTES = st.sampled_from([("fully_connected", "direct"), ("ring", "gossip"), ("star", "routed"), ("random", "gossip")])
LAWS = st.sampled_from(["exponential", "gamma", "none"])
ANY_SCENARIO = st.fixed_dictionaries(
    {
        "nodes": NODES,
        "seed": SEEDS,
        "route": ROUTES,
        "network": st.sampled_from(["lan", "wan", "poor"]),
        "jitter": LAWS,
        "transport": st.sampled_from(["stream", "datagram"]),
        "rate": st.sampled_from([0.0, 10.0, 300.0]),
        "byzantine_ratio": st.sampled_from([0.0, 0.2]),
        "free_cpu": st.booleans(),
    }
)


def scenario_of(case, **more):
    topology, dissemination = case["route"]
    rest = {name: value for name, value in case.items() if name != "route"}
    return Scenario(topology=topology, dissemination=dissemination, **(rest | more))


def arrays(outcome):
    """All that an outcome's operations hold, as bytes."""
    operations = outcome.operations
    return {f.name: getattr(operations, f.name).tobytes() for f in dataclasses.fields(operations)}


@few
@given(case=ANY_SCENARIO, budget=st.sampled_from([1, 700, 20_000]))
def test_threads_and_call_budgets_change_no_bit(monkeypatch, case, budget):
    """Neither how many threads there are nor where kernel calls end shows in any result."""
    scenario = scenario_of(case, operations=70)
    one = arrays(simulate_scenario(scenario, threads=1))
    assert arrays(simulate_scenario(scenario, threads=2)) == one
    assert arrays(simulate_scenario(scenario, threads=5)) == one
    monkeypatch.setattr(batches, "_CALL_MESSAGES", budget)
    try:
        assert arrays(simulate_scenario(scenario, threads=2)) == one
    finally:
        monkeypatch.undo()


@few
@given(case=ANY_SCENARIO, parts=st.sampled_from([(16, 48), (32, 32), (48, 16)]))
def test_an_operation_does_not_depend_on_those_beside_it(case, parts):
    """64 operations at once equal the same ones in two pieces."""
    system = system_of(**scenario_of(case).model_dump(exclude={"graph_digest"}))
    client = int(np.flatnonzero(system.alive)[-1])
    whole, _ = run_system(system, 64, client=client)
    pieces = [run_system(system, size, first, client=client)[0] for size, first in zip(parts, (0, parts[0]), strict=True)]
    for field in ("latency_ms", "commit_ms", "sent", "repeats", "breakdown_ms"):
        joined = np.concatenate([getattr(piece, field) for piece in pieces])
        assert np.array_equal(getattr(whole, field), joined, equal_nan=True), field


def base_matrix(seed, n, low=1.0, high=100.0):
    """Base delays [receiver, sender] that are multiples of 1/16, so that float32 sums of them are exact."""
    base = np.random.default_rng(seed).integers(int(low * 16), int(high * 16), (n, n)) / 16
    np.fill_diagonal(base, 0.0)
    return base


@few
@given(seed=SEEDS, n=NODES, data=st.data())
def test_names_of_replicas_mean_nothing(seed, n, data):
    """Permuting the backups in a system without chance permutes nothing but names: every latency stays."""
    system = system_of(nodes=n, jitter="none", **IDEAL)
    base = base_matrix(seed, n)
    names = np.array([0, *data.draw(st.permutations(range(1, n)))])
    renamed = np.empty_like(base)
    renamed[np.ix_(names, names)] = base
    client = np.arange(16) % n
    before, _ = run_system(with_base(system, base.ravel()), client=client)
    after, _ = run_system(with_base(system, renamed.ravel()), client=names[client])
    assert np.array_equal(before.latency_ms, after.latency_ms)
    assert np.array_equal(before.commit_ms, after.commit_ms)
    assert np.unique(before.latency_ms).size > 1


@few
@given(seed=SEEDS, n=NODES, jitter=st.sampled_from(["none", "exponential", "gamma"]))
def test_twice_the_delays_are_twice_the_latency(seed, n, jitter):
    """To the bit, as a factor of two is exact; jitter is a share of the delay."""
    system = system_of(nodes=n, jitter=jitter, seed=seed, **IDEAL)
    base = base_matrix(seed, n)
    once, _ = run_system(with_base(system, base.ravel()))
    twice, _ = run_system(with_base(system, 2 * base.ravel()))
    assert np.array_equal(2 * once.latency_ms, twice.latency_ms)
    assert np.array_equal(2 * once.commit_ms, twice.commit_ms)


@pytest.mark.parametrize(("half", "whole"), [("constant(125)", "constant(250)"), ("exponential(40)", "exponential(80)")])
@pytest.mark.parametrize("n", [4, 10, 31])
def test_twice_a_law_of_delay_is_twice_the_latency(half, whole, n):
    once, twice = (run_system(system_of(nodes=n, delay=law, **IDEAL))[0] for law in (half, whole))
    assert np.array_equal(2 * once.latency_ms, twice.latency_ms)


@few
@given(case=ANY_SCENARIO, later=st.floats(0.5, 500), data=st.data())
def test_a_slower_link_makes_nothing_earlier(case, later, data):
    """With the same draws, clients and no queues, operation by operation; on relayed ways along the same paths."""
    uncontended = {**FREE, "loss": 0.02, "byzantine_ratio": 0.0, "transport": "stream"}
    system = system_of(**scenario_of(case, **uncontended).model_dump(exclude={"graph_digest"}))
    slower = system.paths.base_ms.copy()
    slower[data.draw(st.integers(0, slower.size - 1))] += later
    fast, _ = run_system(system, 64)
    slow, _ = run_system(with_base(system, slower), 64, client=fast.client)
    assert (slow.latency_ms >= fast.latency_ms).all()
    assert (slow.commit_ms >= fast.commit_ms * (1 - 1e-6)).all()  # a difference of two times, so but for rounding


@few
@given(seed=SEEDS, n=st.integers(7, 16), data=st.data())
def test_a_silent_replica_makes_nothing_earlier(seed, n, data):
    """The client sits with the primary, so only the votes that are missing make a difference."""
    silent = data.draw(st.lists(st.integers(1, n - 1), min_size=1, max_size=(n - 1) // 3, unique=True))
    common = {"nodes": n, "seed": seed, "network": "wan", **FREE}
    both = [run_system(system_of(**common, **more), 64, client=0)[0] for more in ({}, {"placement": tuple(silent)})]
    assert (both[1].latency_ms >= both[0].latency_ms).all()
    assert (both[1].commit_ms >= both[0].commit_ms).all()
    assert np.isfinite(both[1].latency_ms).all()
    assert (both[1].sent[:, 1:].sum(axis=1) < both[0].sent[:, 1:].sum(axis=1)).all()


@few
@given(case=ANY_SCENARIO)
def test_parts_of_a_latency_sum_to_it(case):
    """For each operation, with none of the parts negative; and in the row of results."""
    outcome = simulate_scenario(scenario_of(case, operations=64), threads=1)
    ended = outcome.latency_ms <= outcome.scenario.operation_timeout_ms
    parts = outcome.operations.breakdown_ms[ended]
    assert (parts >= 0).all()
    assert np.allclose(parts.sum(axis=1), outcome.latency_ms[ended], rtol=1e-5, atol=1e-3)
    if ended.any():
        names = ("propagation_ms", "transmission_ms", "cpu_ms", "queueing_ms", "retransmission_ms", "view_change_ms")
        mean = outcome.row["mean_latency_ms"]
        assert sum(outcome.row[name] for name in names) == pytest.approx(mean, rel=1e-9)
        assert all(outcome.row[name] >= -1e-5 * mean for name in names)


SAME_DRAWS = {
    "payload, free of cost": ({**FREE, "payload_bytes": 64}, {**FREE, "payload_bytes": 64_000}),
    "profile, free of cost": ({**FREE, "profile": "minimal"}, {**FREE, "profile": "extreme"}),
    "number of operations": ({"operations": 64}, {"operations": 200}),
    "time-out": ({"operation_timeout_ms": 1000.0}, {"operation_timeout_ms": 9000.0}),
    "line that does not bind": ({**FREE, "bandwidth_mbps": INF}, {**FREE, "bandwidth_mbps": 1e12}),
}


@pytest.mark.parametrize("name", SAME_DRAWS)
def test_what_does_not_matter_changes_no_operation(name):
    one, other = (simulate_scenario(Scenario(nodes=10, seed=9, **({"operations": 64} | more))) for more in SAME_DRAWS[name])
    assert np.array_equal(one.operations.operation, other.operations.operation[:64])
    assert np.array_equal(one.operations.replicate, other.operations.replicate[:64])
    assert other.latency_ms[:64] == pytest.approx(one.latency_ms, rel=1e-6)


@pytest.mark.parametrize(
    ("name", "values", "least"),
    [
        ("loss", (0.0, 0.001), 0.99),
        ("payload_bytes", (512, 8192), 0.99),
        ("authentication", ("ed25519", "mac"), 0.99),
        ("rate", (0.0, 20.0), 0.9),
        ("jitter_fraction", (0.05, 0.10), 0.9),
        ("profile", ("minimal", "heavy"), 0.99),
    ],
)
def test_scenarios_that_differ_in_one_axis_share_their_draws(name, values, least):
    """So differences are estimated tightly: latencies without a loss correlate, those of another seed do not."""
    pair = [simulate_scenario(Scenario(nodes=10, seed=4, operations=1600, **{name: value})) for value in values]
    whole = np.logical_and.reduce([(one.operations.repeats.sum(axis=1) == 0) for one in pair])
    assert whole.sum() > 500
    here, there = (one.latency_ms[whole] for one in pair)
    stranger = simulate_scenario(Scenario(nodes=10, seed=5, operations=1600, **{name: values[1]})).latency_ms[whole]
    assert np.corrcoef(here, there)[0, 1] > least
    assert abs(np.corrcoef(here, stranger)[0, 1]) < 0.2


def test_more_nodes_keep_the_links_that_were_there():
    """The link between replicas i and j has the same delay whatever the number of others."""
    few_nodes, many_nodes = (system_of(nodes=n, seed=8).paths.base_ms.reshape(n, n) for n in (7, 20))
    assert np.array_equal(few_nodes, many_nodes[:7, :7])
    assert np.array_equal(many_nodes, many_nodes.T)


def test_more_faults_add_to_those_of_fewer():
    silent = [set(system_of(nodes=30, byzantine_ratio=ratio, replicate=3).silent.tolist()) for ratio in (0.1, 0.2, 0.3)]
    assert silent[0] < silent[1] < silent[2]
