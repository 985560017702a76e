"""Plans where the answer is known, and plans against trying every n."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest

import prsm_scale as ps
from prsm_scale.atomic import dumps
from prsm_scale.config import Scenario
from prsm_scale.engine import simulate_scenario
from prsm_scale.faults import behaviours
from prsm_scale.places import Place
from prsm_scale.planning.plan import BANDWIDTHS_MBPS
from prsm_scale.planning.targets import Check, Targets
from prsm_scale.planning.trials import Prober, least_shares
from prsm_scale.plans import make_plan

BYTES, TARGET, MOST = 1000, 50.0, 0.8
LINE: dict[str, Any] = {
    "target_ops": TARGET,
    "network": "ideal",
    "delay": "constant(1)",
    "free_cpu": True,
    "costs": f"message_bytes={BYTES}",
    "operations": 96,
}
"""Only uplinks count: in 2 n (n - 1) messages among replicas and the replies, each replica sends 2n - 1 of the same size."""
CPU: dict[str, Any] = {
    "target_ops": TARGET,
    "network": "ideal",
    "delay": "constant(1)",
    "costs": "verify_ms=1,sign_ms=0,receive_ms=0,send_ms=0,receive_byte_ms=0,create_byte_ms=0",
    "operations": 96,
}
"""Only checks of signatures count: 2n - 1 of 1 ms for each operation, the client's request included."""
CORES = {"minimal": 1, "light": 2, "standard": 4, "heavy": 8, "extreme": 16}


def line_mbps(n: int) -> float:
    """Bandwidth that leaves the headroom."""
    return (2 * n - 1) * BYTES * 8 * TARGET / MOST / 1e6


def test_an_uplink_bounds_n_as_the_closed_form_says() -> None:
    plan = ps.plan(**LINE, bandwidth_mbps=10.0, stages=3)
    fits = [n for n in range(4, 100) if line_mbps(n) <= 10.0]
    assert plan.max_nodes == max(fits) == 10
    assert plan.beyond_doubt
    assert [stage.nodes for stage in plan.stages] == [4, 10]
    for stage in plan.stages:
        wanted = min(one for one in BANDWIDTHS_MBPS if one >= line_mbps(stage.nodes))
        assert stage.bandwidth_mbps == wanted
        assert stage.scenario.profile == "minimal"
        assert stage.row is not None
        saturation = wanted * 1e6 / (8 * BYTES * (2 * stage.nodes - 1))
        assert stage.row["saturation_ops_per_second"] == pytest.approx(saturation, rel=1e-5)
        assert stage.utilisation == pytest.approx(TARGET / saturation, rel=1e-5)
    beyond = next(trial for trial in plan.tested if trial.nodes == 11)
    assert (beyond.row, beyond.binding) == (None, "primary_egress")
    assert beyond.needs(plan.targets)["primary_egress"] == pytest.approx(line_mbps(11) / 10.0, rel=1e-5)
    assert "n = 11 fails: saturation of 59.5 operations/s, bound by primary_egress, is below the 62.5" in plan.sentences()[1]
    assert "10.50 Mbit/s" in plan.sentences()[2]


@pytest.mark.parametrize(("profile", "largest"), [("light", 16), ("heavy", 64)])
def test_cores_bound_n_as_the_closed_form_says(profile: str, largest: int) -> None:
    plan = ps.plan(**CPU, profile=profile, stages=4)
    assert plan.max_nodes == largest == math.floor((CORES[profile] * MOST * 1000 / TARGET + 1) / 2)
    for stage in plan.stages:
        need = (2 * stage.nodes - 1) * TARGET / MOST / 1000
        assert stage.scenario.profile == next(name for name, cores in CORES.items() if cores >= need)
    assert "cores" in plan.sentences()[2]


def test_headroom_is_what_it_says() -> None:
    for headroom in (0.0, 0.5):
        plan = ps.plan(**LINE, bandwidth_mbps=10.0, stages=1, headroom=headroom)
        most = (1 - headroom) * 10.0 * 1e6 / (8 * BYTES * TARGET)
        assert plan.max_nodes == math.floor((most + 1) / 2)


def test_a_target_that_cannot_be_met_names_the_resource() -> None:
    plan = ps.plan(**LINE, bandwidth_mbps=1.0)
    assert (plan.met, plan.max_nodes, plan.beyond_doubt, plan.stages) == (False, None, None, ())
    told = plan.sentences()
    assert told[0].startswith("cannot be met, because at n = 4, ")
    assert "saturation of 17.9 operations/s, bound by primary_egress, is below the 62.5 that 50 with 20% headroom take" in told[0]
    assert "3.500 Mbit/s (primary_egress 3.500 times" in told[1]
    assert len(plan.table) == 0


def test_no_quorum_and_no_memory_are_told() -> None:
    few = ps.plan(target_ops=5, byzantine_ratio=0.4, min_nodes=8, max_nodes=8, operations=64)
    assert "5 voting replicas are fewer than the quorum of 6" in few.sentences()[0]
    small = ps.plan(target_ops=5, memory_mb=100.0, max_nodes=8)
    assert "a replica needs 128 MB, its profile has 100 MB" in small.sentences()[0]
    limited = ps.plan(target_ops=5, max_memory_mb=100, max_nodes=8)
    assert "a replica needs 128 MB, above 100 MB" in limited.sentences()[0]
    slow = ps.plan(target_ops=5, max_mean_ms=100, max_nodes=8, operations=64)
    assert "mean latency of " in slow.sentences()[0]
    assert "mostly propagation" in slow.sentences()[0]


RING: dict[str, Any] = {"topology": "ring", "network": "lan", "operations": 64, "profile": "standard"}


def test_the_search_finds_what_trying_every_n_finds() -> None:
    limit, rate = 150.0, 20.0
    passing = []
    for n in range(4, 31):
        row = simulate_scenario(Scenario(nodes=n, rate=rate, **RING)).row
        if row["p99_latency_ms"] <= limit and row["utilisation"] <= MOST and row["success_rate"] > 0.95:
            passing.append(n)
    assert 4 < max(passing) < 30
    plan = ps.plan(target_ops=rate, max_p99_ms=limit, max_nodes=30, **RING)
    assert plan.max_nodes == max(passing)
    assert {trial.nodes for trial in plan.tested if trial.passes} <= set(passing)
    assert [trial.nodes for trial in plan.tested if trial.nodes > max(passing)][:1] == [max(passing) + 1]
    assert len(plan.tested) < 20


def test_latency_may_ask_for_more_than_work_does() -> None:
    """On the smallest profile and then the smallest bandwidth that are fast enough, as trying all rungs finds."""
    common = {name: value for name, value in CPU.items() if name != "target_ops"} | {"network": "lan"}

    def mean_ms(profile: str, mbps: float) -> float:
        row = simulate_scenario(Scenario(nodes=7, rate=TARGET, profile=profile, bandwidth_mbps=mbps, **common)).row
        return float(row["mean_latency_ms"]) if row["utilisation"] <= MOST else math.inf

    limit = 1.02 * mean_ms("standard", 1000.0)
    profile = next(name for name in CORES if mean_ms(name, 1000.0) <= limit)
    line = next(one for one in BANDWIDTHS_MBPS if mean_ms(profile, one) <= limit)
    assert profile == "standard" != next(name for name in CORES if mean_ms(name, 1000.0) < math.inf)
    assert line > next(one for one in BANDWIDTHS_MBPS if mean_ms(profile, one) < math.inf)
    plan = ps.plan(target_ops=TARGET, max_mean_ms=limit, min_nodes=7, max_nodes=7, **common)
    (stage,) = plan.stages
    assert (stage.scenario.profile, stage.bandwidth_mbps) == (profile, line)


def test_work_alone_gives_the_shares_that_a_simulation_gives() -> None:
    for settings in (RING, {"topology": "mesh", "dissemination": "routed", "operations": 64}):
        scenario = Scenario(nodes=13, rate=20.0, **settings)
        row, shares = simulate_scenario(scenario).row, least_shares(scenario, 1.0)
        assert row["util_primary_egress"] == pytest.approx(shares["primary_egress"])
        assert row["util_relay_nic"] == pytest.approx(shares["relay_nic"])
        assert row["util_replica_cpu"] == pytest.approx(shares["replica_cpu"])


def test_where_placements_differ_the_lightest_counts() -> None:
    scenario = Scenario(nodes=10, rate=50.0, byzantine_ratio=0.3, topology="mesh", mesh_degree=3, replicates=4)
    plan = make_plan(scenario)
    each = [Place(plan, behaviours(scenario, k, None), 0.0).work.busiest_ms * scenario.proposals_per_ms for k in range(4)]
    assert len(set(each)) > 1
    assert max(least_shares(scenario, 0.0).values()) == min(each)
    assert max(least_shares(scenario, 1.0).values()) == each[0]


def test_no_placement_may_be_overloaded() -> None:
    """Headroom on average over placements is not enough where floods meet one relay."""
    settings = {"byzantine_ratio": 0.2, "behaviour": "flood", "topology": "mesh", "network": "lan", "operations": 200}
    prober = Prober(Targets(target_ops=100), Scenario(nodes=13, rate=100.0, **settings), 2)
    tight = prober.trial(13, "minimal", 50.0)
    outcome = simulate_scenario(tight.scenario)
    worst = max(work.busiest_ms for work in outcome.works) * tight.scenario.proposals_per_ms
    assert outcome.row["utilisation"] < MOST < 1.0 < worst
    assert [check.name for check in tight.failing] == ["placements"]
    assert tight.pressure == pytest.approx(worst)
    over = sum(work.busiest_ms * tight.scenario.proposals_per_ms > 1.0 for work in outcome.works)
    told = f"{over} of {len(outcome.works)} placements of faulty replicas are overloaded, the worst with "
    assert tight.why == f"{told}{100 * worst:.2f}% of saturation"
    (stage,) = ps.plan(target_ops=100, min_nodes=13, max_nodes=13, **settings).stages
    assert stage.bandwidth_mbps > 50.0


def test_an_interval_that_holds_the_limit_is_not_beyond_doubt() -> None:
    row = simulate_scenario(Scenario(nodes=4, rate=10.0, profile="extreme")).row
    between = (row["p99_latency_ms"] + row["p99_latency_high_ms"]) / 2
    plan = ps.plan(target_ops=10, max_p99_ms=between, max_nodes=4, stages=1)
    assert (plan.met, plan.beyond_doubt) == (True, False)
    assert "(not beyond doubt in p99_latency)" in plan.sentences()[0]
    assert "n = 4: not beyond doubt in p99_latency, whose interval holds the limit" in plan.notes()
    above = ps.plan(target_ops=10, max_p99_ms=2 * row["p99_latency_high_ms"], max_nodes=4, stages=1)
    assert above.beyond_doubt
    assert above.sentences()[1] == "larger n were not tried: the most to look at is 4"


@pytest.mark.parametrize(
    ("value", "low", "high", "at_least", "passes", "sure"),
    [
        (5, 4, 6, False, True, True),
        (5, 4, 11, False, True, False),
        (5, 4, None, False, True, False),
        (12, 11, 13, False, False, True),
        (12, 9, 13, False, False, False),
        (12, 11, 13, True, True, True),
        (12, 9, 13, True, True, False),
        (5, 4, 6, True, False, True),
        (5, 4, 11, True, False, False),
        (10, 10, 10, True, False, True),
        (10, 10, 10, False, True, True),
    ],
)
def test_doubt_is_an_interval_on_both_sides(
    value: float, low: float, high: float | None, at_least: bool, passes: bool, sure: bool
) -> None:
    check = Check("any", value, 10.0, "", low, high, True, at_least)
    assert (check.passes, check.beyond_doubt) == (passes, sure)


def test_threads_change_nothing() -> None:
    settings = {"target_ops": 20, "max_p99_ms": 150, "max_nodes": 16, "byzantine_ratio": 0.2, **RING}
    one, two = (json.loads(dumps(ps.plan(threads=threads, **settings).to_dict())) for threads in (1, 2))
    assert one == two
    assert one["met"]
    other = ps.plan(seed=1, **settings).to_dict()
    assert other["stages"][-1]["p99_latency_ms"] != one["stages"][-1]["p99_latency_ms"]


def test_the_document_is_strict_and_whole() -> None:
    for settings in ({"bandwidth_mbps": 10.0}, {"bandwidth_mbps": 1.0}, {"max_nodes": 5}):
        plan = ps.plan(**LINE, **settings)
        document = json.loads(dumps(plan.to_dict()), parse_constant=pytest.fail)
        assert document["met"] == plan.met
        assert document["max_nodes"] == plan.max_nodes
        assert [one["node_count"] for one in document["stages"]] == [stage.nodes for stage in plan.stages]
        assert Targets(**document["targets"]) == plan.targets
        assert Scenario(**document["scenario"]) == plan.scenario
        assert repr(plan).startswith("<CapacityPlan: 50 operations/s, ")
    assert {one["bandwidth_mbps"] for one in document["tested"]} == {"inf"}
    assert len(plan.table) == len(plan.stages) == 2


def test_trials_are_made_once_and_progress_is_told() -> None:
    told: list[tuple[int, int, str]] = []
    targets, scenario = Targets(target_ops=5), Scenario(nodes=4, rate=5.0, operations=16)
    prober = Prober(targets, scenario, 1, lambda one: told.append((one.done, one.total, one.current)), 3)
    assert prober.trial(5) is prober.trial(5)
    assert prober.trial(5, "standard", 100.0) is prober.trial(5)
    assert told == [(0, 3, "n = 5, standard, 100 Mbit/s"), (1, 3, "n = 5, standard, 100 Mbit/s")]
    assert prober.step(1000) == 10


@pytest.mark.parametrize(
    ("settings", "lines"),
    [
        ({}, ["target_ops: None is not allowed: a value is needed"]),
        (
            {"target_ops": 5, "nodes": 4},
            ["nodes: 4 is not allowed: left out: the plan finds it, between min_nodes and max_nodes"],
        ),
        (
            {"target_ops": 0, "rate": 4.0},
            [
                "rate: 4.0 is not allowed: left out: target_ops stands in its place",
                "target_ops: 0 is not allowed: a number, more than 0",
            ],
        ),
        ({"target_ops": 5, "min_nodes": 9, "max_nodes": 8}, ["min_nodes: 9 is not allowed: at most max_nodes, which is 8"]),
        ({"target_ops": 5, "headroom": 1}, ["headroom: 1 is not allowed: a number, 0 or more and less than 1"]),
        ({"target_ops": 5, "stages": 0}, ["stages: 0 is not allowed: a whole number, 1 or more and at most 50"]),
        (
            {"target_ops": 5, "placement": (1,)},
            ["placement: (1,) is not allowed: random or worst, with byzantine_ratio, as n varies"],
        ),
        ({"target_ops": 5, "target": 5}, ["target: 5 is not allowed: there is no such setting"]),
    ],
)
def test_what_is_not_allowed_is_told_before_anything_runs(
    settings: dict[str, Any], lines: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("prsm_scale.planning.trials.simulate_scenario", lambda *_: pytest.fail("something was simulated"))
    with pytest.raises(ps.UsageError) as caught:
        ps.plan(**settings)
    assert caught.value.lines == lines
