"""What is not simulated, or not looked at closely, as it surely changes nothing."""

from __future__ import annotations

from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest

from prsm_scale import engine, waiting
from prsm_scale.config import Scenario
from prsm_scale.engine import _STARTS, simulate_scenario
from prsm_scale.faults import behaviours
from prsm_scale.outcome import FIRST, more_operations
from prsm_scale.places import Place
from prsm_scale.plans import make_plan
from prsm_scale.views import Course
from tests.support import operations

FAILING = {"nodes": 16, "network": "lan", "byzantine_ratio": 0.3, "behaviour": "silent:0.7,equivocate:0.3", "rate": 1}
OVERLOADED = {"nodes": 40, "network": "wan", "profile": "minimal", "warmup_s": 30, "duration_s": 30}


@pytest.fixture(scope="module")
def waits_ms():
    """Time-outs of one view that fails, and of two."""
    plan = make_plan(Scenario(**FAILING))
    place = Place(plan, np.where(np.arange(16) < 2, 1, 0).astype(np.int8), plan.scenario.proposals_per_ms)
    return [place.way_from(first).waits_ms for first in (2, 1, 0)]


def test_timeouts_add_up_over_views(waits_ms):
    """The second view waits twice as long, after the client has asked for all to hear."""
    none, one, two = waits_ms
    timing = make_plan(Scenario(**FAILING)).timing
    assert none == 0.0
    assert one == timing.client_timeout_ms + timing.view_timeout_ms
    assert two == one + 2.0 * timing.view_timeout_ms


@pytest.mark.parametrize("factor", [0.5, 0.999, 1.001, 1.2, 2.5, 5.0])
def test_operations_whose_timeouts_take_too_long_do_not_tell_the_failover(waits_ms, monkeypatch, factor):
    """As if they were simulated. Seen to fail where the time-outs counted twice."""
    scenario = Scenario(**FAILING, operation_timeout_ms=factor * waits_ms[1])
    spared = simulate_scenario(scenario).failover
    monkeypatch.setattr(Course, "waits_ms", property(lambda _: 0.0))
    assert simulate_scenario(scenario).failover == spared
    assert spared is not None and spared[1] <= scenario.operation_timeout_ms


def test_few_operations_where_all_are_too_late():
    """They still tell the capacity, and that nothing is answered in time; with time enough there are more, if need be."""
    at_rest = simulate_scenario(Scenario(**OVERLOADED, rate=0)).row["saturation_ops_per_second"]
    late = Scenario(**OVERLOADED, rate=4.0 * at_rest, precision=5e-5)
    row, patient = simulate_scenario(late).row, simulate_scenario(late.but(operation_timeout_ms=1e9)).row
    assert row["operations"] == 32 * _STARTS[-1] and patient["operations"] >= 128 * _STARTS[-1]
    assert row["success_rate"] == 0.0 and patient["success_rate"] == 1.0
    assert row["saturation_ops_per_second"] == pytest.approx(patient["saturation_ops_per_second"], rel=1e-9)
    assert patient["min_latency_ms"] > late.operation_timeout_ms


def test_few_operations_where_the_window_keeps_all_too_long():
    """As with a busy resource; one that keeps only some of them too long is looked into."""
    narrow = {"nodes": 16, "network": "wan", "window": 1, "batch": 1, "warmup_s": 15, "duration_s": 30}
    most = simulate_scenario(Scenario(**narrow, rate=0)).row["saturation_ops_per_second"]
    row, slower = (simulate_scenario(Scenario(**narrow, rate=factor * most)).row for factor in (6.0, 2.0))
    assert row["bottleneck"] == slower["bottleneck"] == "pipeline_window"
    assert (row["operations"], row["success_rate"]) == (32 * _STARTS[-1], 0.0)
    assert slower["operations"] >= FIRST * _STARTS[-1] and slower["success_rate"] > 0.5
    assert row["saturation_ops_per_second"] == pytest.approx(slower["saturation_ops_per_second"], rel=0.05)


@pytest.mark.parametrize("rate", [20, 180, 265, 300])
def test_queues_like_another_need_no_look_at_their_jobs(monkeypatch, rate):
    """From hardly busy to above capacity, where jobs do count."""
    plan = make_plan(Scenario(nodes=40, network="wan", profile="minimal", byzantine_ratio=0.2, rate=rate))
    first, second = (behaviours(plan.scenario, k, None) for k in range(2))
    known = Place(plan, first, plan.scenario.proposals_per_ms)
    quick = Place(plan, second, plan.scenario.proposals_per_ms, like=known.queues).queues
    monkeypatch.setattr(waiting, "_SURELY", 0.0)
    slow = Place(plan, second, plan.scenario.proposals_per_ms, like=known.queues).queues
    assert quick is not None and slow is not None
    assert np.array_equal(quick.cpu, slow.cpu) and np.array_equal(quick.nic, slow.nic)


def test_waits_without_a_look_are_those_with_one(monkeypatch):
    """Whatever the bursts, the test's length and the queue that is known. Seen to fail where nothing bounds the wait."""
    rng, spared = np.random.default_rng(4), 0
    for _ in range(400):
        bursts, servers, rho = int(rng.integers(1, 6)), int(rng.integers(1, 5)), float(rng.uniform(0.02, 1.1))
        course = [(np.zeros(jobs), rng.exponential(size=jobs)) for jobs in rng.integers(1, 30, bursts)]
        per_ms = rho * servers / sum(work.sum() for _, work in course)
        duration_ms, known = 10.0 ** rng.uniform(-1, 5), np.array([rng.uniform(0.02, 0.95), 10.0 ** rng.uniform(-3, 4), 0.5])
        looks, queue = [], (bursts, servers, per_ms, rho, duration_ms, known)
        found = waiting._bounded_waits(lambda looks=looks, course=course: looks.append(0) or course, *queue)
        spared += not looks
        with monkeypatch.context() as patch:
            patch.setattr(waiting, "_SURELY", 0.0)
            assert found == waiting._bounded_waits(lambda course=course: course, *queue)
    assert 100 < spared < 350


def needed(latency_ms, most=10 * FIRST, reach=10 * FIRST, homogeneous=False):
    """Operations that a mean within 1 % asks for, of which sixteen are a cluster."""
    cluster, scenario = np.arange(FIRST) // 16, SimpleNamespace(operation_timeout_ms=1e6, precision=0.01)
    return more_operations(scenario, operations(latency_ms), cluster, np.zeros_like(cluster), homogeneous, most, reach)


def test_a_percentile_that_few_operations_tell_asks_for_few_more_at_once():
    """Two placements hold all of the slowest; the mean is precise."""
    latency_ms = 100.0 + np.arange(FIRST) % 7 / 100.0
    latency_ms[:4] += 0.5
    assert FIRST < needed(latency_ms) <= 1.6 * FIRST
    latency_ms += 40.0 * (np.arange(FIRST) // 16 % 2)
    assert needed(latency_ms) > 1.6 * FIRST


def test_more_is_done_where_that_is_seen_to_suffice():
    """Up to `reach` where the mean is within it, no more than `most` where it is not."""
    spread = np.random.default_rng(1).standard_normal(FIRST // 16)[np.arange(FIRST) // 16]
    within = partial(needed, 100.0 + 6.0 * spread, homogeneous=True)
    enough = within()
    assert 1.5 * FIRST < enough < 4 * FIRST
    assert within(FIRST, enough) == enough == within(enough, enough)
    assert within(FIRST, enough - 2) == FIRST and within(FIRST + 16, FIRST + 16) == FIRST + 16


def test_started_operations_are_bounded(monkeypatch):
    """Where the window binds there may be many operations, of which each starts less often then."""
    narrow = {"nodes": 16, "network": "wan", "window": 1, "batch": 1, "duration_s": 30}
    most = simulate_scenario(Scenario(**narrow, rate=0)).row["saturation_ops_per_second"]
    scenario = Scenario(**narrow, rate=2.0 * most)
    every = simulate_scenario(scenario).row
    monkeypatch.setattr(engine, "_MOST_STARTED", 25 * FIRST)
    few = simulate_scenario(scenario).row
    assert every["operations"] == _STARTS[-1] * FIRST and few["operations"] == 20 * FIRST
    assert few["mean_latency_ms"] == pytest.approx(every["mean_latency_ms"], rel=0.01)
    assert few["success_rate"] == every["success_rate"]
