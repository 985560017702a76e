"""Strata of placements by who leads: placements as likely as among all, means as of all, intervals that hold."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from prsm_scale import engine
from prsm_scale.config import Scenario
from prsm_scale.estimates import error_of_sum, half_width, mean_and_error, mean_latency
from prsm_scale.faults import DELAY, DROP_RELAY, EQUIVOCATE, FLOOD, HONEST, SILENT, behaviours, can_lead
from prsm_scale.outcome import FIRST
from prsm_scale.places import Place, further_work
from prsm_scale.plans import make_plan
from prsm_scale.strata import ALL, Stratum, operations_of, places_of, strata_of

SIGMAS = 4.5
MIX = "silent:0.2,delay:0.2,equivocate:0.2,flood:0.2,drop_relay:0.2"
MANY = 6000


def plan_of(**settings):
    return make_plan(Scenario(network="lan", **settings))


def leader_of(plan, codes):
    return int(codes[np.flatnonzero(can_lead(codes, plan.quorum))[0]])


@pytest.mark.parametrize("settings", [
    {"nodes": 20, "byzantine_ratio": 0.25, "behaviour": MIX},
    {"nodes": 10, "byzantine_ratio": 0.3, "behaviour": "delay"},
    {"nodes": 10, "byzantine_ratio": 0.3, "behaviour": "equivocate"},
], ids=["mix", "delay", "equivocate"])  # fmt: skip
def test_shares_are_those_of_placements_at_random(settings):
    """Seen to fail where silent replicas count among those that lead."""
    plan = plan_of(**settings)
    strata = strata_of(plan, 10_000)
    found = Counter(leader_of(plan, behaviours(plan.scenario, k, None)) for k in range(MANY))
    assert len(strata) > 1 and sum(one.share for one in strata) == pytest.approx(1.0)
    assert sorted(found) == sorted(code for one in strata for code in one.leaders)
    for one in strata:
        share = sum(found[code] for code in one.leaders) / MANY
        assert abs(share - one.share) < SIGMAS * math.sqrt(one.share * (1.0 - one.share) / MANY)


def test_placements_of_a_stratum_are_those_at_random_that_have_its_leaders():
    """How often each replica does what, and how many fail first. Seen to fail where a leader swaps with the first that fits."""
    plan = plan_of(nodes=12, byzantine_ratio=0.34, behaviour="silent:0.5,delay:0.25,flood:0.25")
    drawn = [behaviours(plan.scenario, k, None) for k in range(MANY)]
    strata = strata_of(plan, 10_000)
    assert [one.leaders for one in strata] == [(HONEST, FLOOD), (DELAY,)]
    for one in strata:
        made = np.array([one.placement(plan, k, codes) for k, codes in enumerate(drawn)])
        at_random = np.array([codes for codes in drawn if leader_of(plan, codes) in one.leaders])
        assert {leader_of(plan, codes) for codes in made} == set(one.leaders)
        assert (np.sort(made, axis=1) == np.sort(drawn, axis=1)).all()
        for code in (HONEST, SILENT, DELAY, FLOOD):
            p = (made == code).mean(axis=0)
            error = np.sqrt(np.maximum(p * (1.0 - p), 1e-4) * (1.0 / MANY + 1.0 / len(at_random)))
            assert (np.abs(p - (at_random == code).mean(axis=0)) < SIGMAS * error).all(), code
        failing = [np.array([np.flatnonzero(can_lead(codes, plan.quorum))[0] for codes in some]) for some in (made, at_random)]
        spread = failing[1].std() * math.sqrt(1.0 / MANY + 1.0 / len(at_random))
        assert abs(failing[0].mean() - failing[1].mean()) < SIGMAS * spread


def test_few_operations_and_leaders_alike_make_no_strata():
    assert strata_of(plan_of(nodes=20, byzantine_ratio=0.25, behaviour="silent"), FIRST) == ALL
    assert strata_of(plan_of(nodes=20, byzantine_ratio=0.25, behaviour="flood", placement="worst"), FIRST) == ALL
    assert strata_of(plan_of(nodes=20, byzantine_ratio=0.25, behaviour="delay", primary_policy="rotating"), FIRST) == ALL
    rare = plan_of(nodes=200, byzantine_ratio=0.005, behaviour="delay")
    assert len(strata_of(rare, FIRST)) == 1 and len(strata_of(rare, 1000)) == 2


def test_operations_and_places_are_dealt_by_share():
    strata = (Stratum(0.7, (HONEST,)), Stratum(0.25, (DELAY,)), Stratum(0.05, (EQUIVOCATE,)))
    assert operations_of(strata, 1000) == [700, 250, 50]
    assert sum(operations_of(strata, 367)) == 367
    assert np.bincount(places_of(strata, 8)).tolist() == [4, 2, 2]
    assert np.bincount(places_of(strata, 100)).tolist() == [70, 25, 5]
    assert places_of(ALL, 3) == [0, 0, 0]


DELAYING = {"nodes": 16, "network": "lan", "byzantine_ratio": 0.2, "behaviour": "silent:0.5,delay:0.5", "rate": 1}


@pytest.fixture(scope="module")
def at_random():
    """Mean and standard error of latency over many placements, of no strata."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(engine, "strata_of", lambda *_: ALL)
        outcome = engine.simulate_scenario(Scenario(operations=16 * 1500, replicates=1500, seed=99, **DELAYING))
    assert len(outcome.works) == 1500
    return mean_and_error(outcome.latency_ms, outcome.clusters)[:2], outcome


def test_strata_give_the_mean_of_all_placements(at_random):
    """Of latency, capacity and view changes. Seen to fail with as many operations in each stratum."""
    (mean, error), many = at_random
    few = engine.simulate_scenario(Scenario(**DELAYING))
    row, other = few.row, many.row
    own = (row["mean_latency_high_ms"] - row["mean_latency_low_ms"]) / 4.0
    assert len(np.unique(few.strata)) == 2
    assert abs(row["mean_latency_ms"] - mean) < SIGMAS * math.hypot(error, own)
    assert row["saturation_ops_per_second"] == pytest.approx(other["saturation_ops_per_second"], rel=0.03)
    held = few.latency_ms > 2.0 * np.median(few.latency_ms)
    assert held.mean() == pytest.approx((many.latency_ms > 2.0 * np.median(many.latency_ms)).mean(), abs=SIGMAS * 0.006)
    assert row["p99_latency_low_ms"] < other["p99_latency_ms"] < row["p99_latency_high_ms"]


def test_intervals_hold_the_mean_of_all_placements(at_random):
    """Of 40 seeds at least 95 % less 4.5 standard errors; placements at random, as narrow, do not. Seen to fail so."""
    (mean, error), _ = at_random
    rows = [engine.simulate_scenario(Scenario(seed=seed, **DELAYING)).row for seed in range(40)]
    inside = [row["mean_latency_low_ms"] - 2 * error < mean < row["mean_latency_high_ms"] + 2 * error for row in rows]
    assert np.mean(inside) > 0.95 - SIGMAS * math.sqrt(0.95 * 0.05 / 40)
    assert max((row["mean_latency_high_ms"] / row["mean_latency_low_ms"] - 1.0) / 2.0 for row in rows) < 0.0105


def test_only_the_spread_within_strata_counts():
    """Two strata far apart, of clusters with an error of their own; coverage of many samples. Seen to fail with one centre."""
    rng, covered, widths = np.random.default_rng(5), 0, []
    stratum = np.repeat([0] * 12 + [1] * 4, 10)
    cluster = np.repeat(np.arange(16), 10)
    for _ in range(2000):
        apart = rng.normal(size=16) * np.where(np.arange(16) < 12, 1.0, 3.0)
        values = 100.0 * stratum + apart[cluster] + rng.normal(size=160)
        mean, error, clusters = mean_and_error(values, cluster, stratum)
        half = half_width(error, clusters)
        widths.append(half)
        covered += abs(mean - 25.0) < half
    true = math.sqrt((12 * 1.1 + 4 * 9.1) / 16**2)
    assert abs(covered / 2000 - 0.95) < 0.02
    assert np.mean(widths) == pytest.approx(true * half_width(1.0, 7), rel=0.15)
    assert mean_and_error(values, cluster)[1] > 10.0 * true


def test_a_cluster_alone_in_its_stratum_counts_as_one_of_all():
    values, cluster = np.tile([1.0, 2.0, 3.0, 9.0], 3), np.arange(12)
    of_all = mean_and_error(values, cluster)
    mean, error, _ = mean_and_error(values, cluster, cluster)
    assert (mean, error) == pytest.approx((of_all[0], of_all[1] * math.sqrt(11 / 12)))


@pytest.mark.parametrize("replicates", [20, 100])
def test_as_many_placements_as_asked_for(replicates):
    """Seen to fail with a traceback where these were more than the precision needs."""
    rough = Scenario(nodes=16, network="lan", byzantine_ratio=0.2, replicates=replicates, precision=0.2)
    assert engine.simulate_scenario(rough).row["replicates"] >= replicates
    fixed = Scenario(**DELAYING, operations=400, replicates=replicates)
    assert engine.simulate_scenario(fixed).row["replicates"] == replicates
    assert engine.simulate_scenario(fixed).row["operations"] == 400


def test_dropping_relays_lead_like_others():
    strata = strata_of(plan_of(nodes=20, byzantine_ratio=0.25, behaviour=MIX), 10_000)
    assert {HONEST, FLOOD, DROP_RELAY} <= set(strata[0].leaders)


def test_views_that_fail_first_are_counted_in_closed_form():
    """Of m replicas that cannot lead among n, m / (n - m + 1) come before the first that can. Seen to fail by placements."""
    outcome = engine.simulate_scenario(Scenario(nodes=16, network="lan", byzantine_ratio=0.2, rate=1))
    assert outcome.failover[0] == pytest.approx(3 / 14)
    cut_off = engine.simulate_scenario(Scenario(nodes=16, network="lan", byzantine_ratio=0.2, rate=1, topology="ring"))
    assert cut_off.failover[0] > 0.3


def test_few_placements_of_a_kind_tell_the_failover(at_random, monkeypatch):
    """As all placements do, whose first operations are simulated one by one."""
    _, many = at_random
    with monkeypatch.context() as patch:
        patch.setattr("prsm_scale.failover._EACH", 1500)
        patch.setattr(engine, "strata_of", lambda *_: ALL)
        every = engine.simulate_scenario(Scenario(operations=16 * 500, replicates=500, seed=7, **DELAYING)).failover[1]
    assert many.failover[1] == pytest.approx(every, rel=0.12)
    few = [engine.simulate_scenario(Scenario(seed=seed, **DELAYING)).failover[1] for seed in range(5)]
    assert few == pytest.approx([every] * 5, rel=0.12)


OVERLOADED = {"nodes": 40, "network": "wan", "topology": "random", "profile": "minimal", "byzantine_ratio": 0.2, "seed": 1,
              "warmup_s": 30, "duration_s": 30, "operation_timeout_ms": 1e9}  # fmt: skip


@pytest.fixture(scope="module")
def overloaded():
    """A scenario offered twice what it can do, and its row and outcome from many placements, all simulated."""
    calm = Scenario(**OVERLOADED, rate=0)
    scenario = calm.but(rate=2.0 * engine.simulate_scenario(calm).row["saturation_ops_per_second"])
    return scenario, engine.simulate_scenario(scenario.but(operations=64 * 800, replicates=800))


def over_placements(scenario, times):
    """Rows of the scenario with other placements each time, on the same graph."""
    rows = []
    for time in range(times):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(engine, "behaviours", lambda one, k, *more, t=time: behaviours(one, 10_000 + 100 * t + k, *more))
            rows.append(engine.simulate_scenario(scenario).row)
    return rows


def test_backlogs_of_further_placements_make_latency_more_certain(overloaded, monkeypatch):
    """Than those of the simulated ones alone, by more than half; intervals hold. Seen to fail where all turns are the same."""
    scenario, many = overloaded
    ended = np.isfinite(many.latency_ms)
    mean, error, _ = mean_and_error(many.latency_ms[ended], many.clusters[ended])
    with monkeypatch.context() as patch:
        patch.setattr(engine, "_PLACES_EACH", (1,))
        alone = np.array([row["mean_latency_ms"] for row in over_placements(scenario, 40)])
    rows = over_placements(scenario, 40)
    found = np.array([row["mean_latency_ms"] for row in rows])
    assert found.std() < 0.5 * alone.std()
    for means in (found, alone):
        assert abs(means.mean() - mean) < SIGMAS * math.hypot(means.std() / math.sqrt(40), error)
    held = [row["mean_latency_low_ms"] - 2 * error < mean < row["mean_latency_high_ms"] + 2 * error for row in rows]
    assert np.mean(held) > 0.95 - SIGMAS * math.sqrt(0.95 * 0.05 / 40)


def test_operations_of_few_placements_stand_for_those_of_others(overloaded, monkeypatch):
    """What they leave uncertain is in the interval. Seen to fail where all are simulated."""
    few = engine.simulate_scenario(overloaded[0])
    with monkeypatch.context() as patch:
        patch.setattr(engine, "_TELLING", 8)
        every = engine.simulate_scenario(overloaded[0])
    assert few.messages == pytest.approx(every.messages / 2, rel=0.02) and few.row["replicates"] == 8
    assert few.row["utilisation"] == every.row["utilisation"] > 1.9
    ended, row = np.isfinite(few.latency_ms), few.row
    _, *alone = mean_latency(few.operations, ended, few.clusters)
    assert few.shared[0] > 0.0 and few.shared[1] == 4
    half = half_width(*error_of_sum(tuple(alone), few.shared))
    assert row["mean_latency_high_ms"] - row["mean_latency_ms"] == pytest.approx(half)


@pytest.mark.parametrize(
    ("load", "changes", "few"),
    [(1.0, {}, 4), (0.55, {}, 0), (1.0, {"operation_timeout_ms": 1e4}, 2), (1.0, {"primary_policy": "rotating"}, 0),
     (9.0, {"topology": "hierarchical"}, 0), (9.0, {"topology": "fully_connected", "behaviour": MIX}, 0),
     (9.0, {"topology": "star", "operation_timeout_ms": 1e4}, 2)],
)  # fmt: skip
def test_placements_stand_for_others_where_operations_travel_alike(overloaded, load, changes, few):
    """Whoever is faulty, and where the backlog is most of latency. Seen to fail without each of the conditions."""
    scenario = overloaded[0].but(rate=load * overloaded[0].rate, **changes)
    job = engine._Job(make_plan(scenario), engine.Runner(engine.Crew(1)), lambda *_: None)
    job._make_first_places(8)
    told = job._stand_ins()
    assert len(set(told.values())) == few and all(job.places[k].serving.size for k in told.values())


def test_few_placements_under_which_nothing_commits_are_simulated(monkeypatch):
    """Of the others it is known that no operation ends; messages are about as many. Seen to fail where all are simulated."""
    scenario = Scenario(nodes=40, network="wan", topology="hierarchical", byzantine_ratio=0.2, rate=1, seed=7)
    few = engine.simulate_scenario(scenario)
    with monkeypatch.context() as patch:
        patch.setattr(engine, "_TELLING", 10_000)
        every = engine.simulate_scenario(scenario)
    assert few.row["success_rate"] == every.row["success_rate"] < 0.5
    for name in ("mean_latency_ms", "mean_latency_low_ms", "p99_latency_ms", "saturation_ops_per_second", "util_relay_nic"):
        assert few.row[name] == every.row[name]
    assert few.messages < 0.8 * every.messages
    assert few.row["message_count"] == pytest.approx(every.row["message_count"], rel=0.05)


def test_capacity_is_that_of_all_placements_whose_backlog_is_found(overloaded):
    """Work and the window of an idle system bound it. Seen to fail where a loaded window bounds the lightest placements."""
    job = engine._Job(make_plan(overloaded[0]), engine.Runner(engine.Crew(2)), lambda *_: None)
    job.to_precision()
    assert all(len(job.further[k]) == 4 for k in range(8))
    capacity, _ = job.capacity()
    expected = []
    for k, (part, idle_ms) in enumerate(zip(job.parts, job.idle_ms[0].values(), strict=True)):
        bounds = np.array([work.busiest_ms for work in (job.works[k], *job.further[k])])
        bounds = np.maximum(bounds, idle_ms / job.plan.scenario.window)
        expected.append(np.isfinite(part.latency_ms).mean() * (1.0 / bounds).mean())
    assert capacity.saturation_per_ms == pytest.approx(np.mean(expected), rel=1e-9)


def test_operations_find_the_backlogs_of_all_placements_where_most_have_none(overloaded, monkeypatch):
    """Those that are simulated are offered too much, the others half of what they can do. Seen to fail with one start each."""

    def light(*arguments):
        work = further_work(*arguments)
        return work and replace(work, **{name: getattr(work, name) / 4.0 for name in ("cpu_ms", "egress_ms", "ingress_ms")})

    monkeypatch.setattr(engine, "further_work", light)
    calm = overloaded[0].but(rate=0.6 * overloaded[0].rate)
    row, heavy = (engine.simulate_scenario(scenario).row for scenario in (calm, overloaded[0]))
    assert 1.0 > row["utilisation"] > 0.0 and row["success_rate"] == 1.0
    assert row["operations"] % 100 == 0 and row["mean_latency_ms"] < heavy["mean_latency_ms"]


def test_rare_leaders_have_operations_above_capacity():
    """One of a hundred leads slowly: both placements of it have some. Seen to fail with operations as for the others alone."""
    rare = Scenario(nodes=100, network="lan", byzantine_ratio=0.01, behaviour="delay", rate=5000, operation_timeout_ms=1e9)
    outcome = engine.simulate_scenario(rare)
    assert len(strata_of(outcome.plan, FIRST)) == 2
    slow = np.unique(outcome.operations.replicate[outcome.strata == 1])
    assert slow.size >= 2 and np.mean(outcome.strata == 1) == pytest.approx(0.01, abs=0.005)


@pytest.mark.parametrize("transport", ["stream", "datagram"])
def test_what_stand_ins_leave_uncertain_is_told_where_some_operations_never_end(transport):
    """Datagrams are lost for good. Seen to fail where all have to end."""
    lossy = Scenario(
        nodes=16, network="lan", topology="fully_connected", dissemination="direct", byzantine_ratio=0.2, loss=0.02,
        transport=transport, rate=1e5,
    )  # fmt: skip
    outcome = engine.simulate_scenario(lossy)
    assert outcome.shared[0] > 0.0 and outcome.shared[1] == 4


def test_window_of_a_placement_is_that_of_an_idle_system(overloaded):
    """Latency is no more than the backlog of the busiest resource and a few seconds. Seen to fail by a factor of three."""
    scenario, many = overloaded
    replicate, latency_ms = many.operations.replicate, many.latency_ms
    for k, work in enumerate(many.works[:64]):
        rho = scenario.proposals_per_ms * work.busiest_ms
        ended = latency_ms[(replicate == k) & np.isfinite(latency_ms)]
        assert ended.mean() < max(0.0, rho - 1.0) * 45_000.0 + 5_000.0


def test_what_a_proposal_costs_does_not_need_how_long_relays_hold_it(overloaded):
    plan = make_plan(overloaded[0])
    for k in range(4):
        codes = behaviours(plan.scenario, k, None)
        assert further_work(plan, codes).demands == Place(plan, codes, 0.0).work.demands


def test_turns_have_each_replica_among_the_faulty_equally_often():
    scenario = Scenario(nodes=40, byzantine_ratio=0.25)
    counts = sum((behaviours(scenario, 3, None, turn / 4) == SILENT).astype(int) for turn in range(4))
    assert (counts == 1).all()
