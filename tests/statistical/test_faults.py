"""Faulty replicas where theory knows the answer: time-outs in closed form, bounds on faults, safety, mixtures, capacity."""

from __future__ import annotations

import math
import random
from dataclasses import replace

import numpy as np
import pytest

from prsm_scale.capacity import work_of
from prsm_scale.config import Scenario
from prsm_scale.engine import simulate_scenario
from prsm_scale.faults import behaviours
from prsm_scale.places import Place
from prsm_scale.plans import make_plan
from prsm_scale.protocols import PBFT, QuorumLaw, fault_threshold
from tests.statistical.test_closed_forms import PEERS, TABLE, mean_commit
from tests.support import IDEAL, run_system, system_of

DELAY_MS = 250.0
CONSTANT = {**IDEAL, "delay": f"constant({DELAY_MS:g})"}
SIGMAS = 4.5


def simulated(**settings):
    return simulate_scenario(Scenario(**settings))


def quorum(n):
    """The least of which any two share f + 1 replicas."""
    return math.ceil((n + fault_threshold(n) + 1) / 2)


def from_view_0(**settings):
    """The first operations of a run, before its primaries have been found to fail."""
    scenario = Scenario(**settings)
    system, _ = Place(make_plan(scenario), behaviours(scenario, 0, None), 0.0).starting_with(0)
    batch, _ = run_system(system)
    return batch, system


def failed_views_ms(view_timeout_ms, failed):
    """Time-outs of so many views that fail in a row: T, 2 T, 4 T ..."""
    return view_timeout_ms * (2**failed - 1)


def after_silent_ms(failed, view_timeout_ms, client_timeout_ms):
    """Latency after `failed` silent primaries.

    The client asks all; each view's time-out is followed by VIEW-CHANGE; then come proposal, two votes and a reply.
    """
    return client_timeout_ms + DELAY_MS + failed_views_ms(view_timeout_ms, failed) + failed * DELAY_MS + 4 * DELAY_MS


# Time-outs.


@pytest.mark.parametrize(("n", "failed"), [(4, 1), (7, 1), (7, 2), (13, 3), (31, 5), (31, 10)])
@pytest.mark.parametrize("given", [{}, {"view_timeout_ms": 2000.0, "client_timeout_ms": 700.0}], ids=["derived", "own"])
def test_silent_primaries_cost_their_time_outs(n, failed, given):
    """Seen to fail where time-outs do not double, and where they count from the start and not from the request to all."""
    batch, _ = from_view_0(nodes=n, placement=tuple(range(failed)), **CONSTANT, **given)
    timeout, patience = given.get("view_timeout_ms", 4 * 5 * DELAY_MS), given.get("client_timeout_ms", 4 * 5 * DELAY_MS)
    assert batch.latency_ms == pytest.approx(np.full(16, after_silent_ms(failed, timeout, patience)), rel=1e-6)
    assert (batch.commit_ms == 3 * DELAY_MS).all()
    assert batch.breakdown_ms[:, 5] == pytest.approx(batch.latency_ms - 4 * DELAY_MS, rel=1e-6)


@pytest.mark.parametrize(("n", "failed"), [(8, 1), (8, 2), (14, 4), (11, 2)])
def test_equivocating_primaries_without_a_quorum_cost_their_time_outs(n, failed):
    """The timer starts with the proposal, and in later views with NEW-VIEW.

    Seen to fail where NEW-VIEW of an equivocating primary counts for nobody, and where its timer starts with VIEW-CHANGE.
    """
    batch, system = from_view_0(nodes=n, placement=tuple(range(failed)), behaviour="equivocate", **CONSTANT)
    asked = np.where(batch.client == 0, 0.0, DELAY_MS)
    timeouts = failed_views_ms(system.plan.timing.view_timeout_ms, failed)
    hops = 1 + failed + (failed - 1) + 4
    assert system.course.view_changes == failed
    assert batch.latency_ms == pytest.approx(asked + timeouts + hops * DELAY_MS, rel=1e-6)
    assert not batch.violated.any()


@pytest.mark.parametrize("n", [4, 7, 10, 13, 31])
def test_an_equivocating_primary_with_a_quorum_serves_half(n):
    """n + f odd and b = f: side A has ceil((n - b) / 2) + b voices, the quorum. Seen to fail where it is held to one more."""
    f = fault_threshold(n)
    batch, system = from_view_0(nodes=n, placement=tuple(range(f)), behaviour="equivocate", **CONSTANT)
    assert (n + f) % 2 == 1 and math.ceil((n - f) / 2) + f == quorum(n)
    assert system.course.view_changes == 0
    assert np.array_equal(batch.latency_ms, np.where(batch.client == 0, 4.0, 5.0) * np.float32(DELAY_MS))
    assert np.isinf(batch.commit_ms).all()  # n - f never commit
    assert not batch.violated.any()


@pytest.mark.parametrize("n", [4, 7, 16, 40])
@pytest.mark.parametrize("given", [{}, {"view_timeout_ms": 9000.0}], ids=["derived", "own"])
def test_a_delaying_primary_is_kept_and_takes_its_time_out(n, given):
    """Its hold, T - L, and the fault-free latency, operation by operation. Seen to fail where proposals were not held."""
    slow, fast = (
        simulated(nodes=n, operations=64, **CONSTANT, **more) for more in ({"placement": (0,), "behaviour": "delay"} | given, {})
    )
    timeout = given.get("view_timeout_ms", 4 * fast.latency_ms.max())
    held = slow.latency_ms - (timeout - fast.latency_ms.max())
    assert held == pytest.approx(fast.latency_ms, rel=1e-6)
    assert (slow.operations.view_changes == 0).all()
    assert slow.latency_ms.max() == pytest.approx(timeout)


# Bounds.


@pytest.mark.parametrize("beyond", [0, 1])
def test_success_ends_where_the_quorum_does(beyond):
    """n - q silent replicas, the first primary among them, leave all operations; one more leaves none, for every n.

    n - q is f, or f + 1 where n = 3 f + 3. Seen to fail with the quorum 2 f + 1 and with floor((n + f + 1) / 2).
    """
    for n in range(4, 41):
        f = fault_threshold(n)
        silent = n - quorum(n) + beyond
        assert silent - beyond == f + (n % 3 == 0)
        chosen = sorted([0, *random.Random(n).sample(range(1, n), silent - 1)])
        batch, _ = run_system(system_of(nodes=n, placement=tuple(chosen), **CONSTANT))
        assert np.isinf(batch.latency_ms).all() if beyond else (batch.latency_ms < 6 * DELAY_MS).all(), n


@pytest.mark.parametrize("n", [4, 6, 7, 12, 13, 31])
@pytest.mark.parametrize("beyond", [0, 1])
def test_wrong_votes_are_sent_and_count_for_nobody(n, beyond):
    """Of equivocating backups as many are borne as of silent ones, but they send what others send.

    Seen to fail where their votes counted, and where they heard nobody and so never voted.
    """
    wrong = n - quorum(n) + beyond
    settings = {"nodes": n, "operations": 16, **CONSTANT}
    outcome = simulated(placement=tuple(range(1, wrong + 1)), behaviour="equivocate", **settings)
    assert outcome.row["success_rate"] == 1.0 - beyond
    sent, honest = outcome.operations.sent, simulated(**settings).operations.sent
    assert np.array_equal(sent[:, :3], honest[:, :3])
    assert beyond or np.array_equal(sent[:, :5], honest)


@pytest.mark.parametrize("behaviour", ["silent", "drop_relay"])
@pytest.mark.parametrize("dissemination", ["gossip", "routed"])
def test_a_ring_is_cut_by_two_that_pass_nothing_on(behaviour, dissemination):
    """Next to each other they cut nothing off; apart they leave four and four, with their own votes six, and seven are needed.

    Seen to fail where droppers passed messages on, over paths and in floods.
    """
    ring = {
        "nodes": 10,
        "topology": "ring",
        "dissemination": dissemination,
        "behaviour": behaviour,
        "operations": 64,
        "network": "lan",
    }
    beside, apart = (simulated(placement=placement, **ring) for placement in ((1, 2), (1, 6)))
    assert beside.row["success_rate"] == 1.0
    assert apart.row["success_rate"] == 0.0
    assert simulated(placement=(1, 6), **ring | {"topology": "fully_connected"}).row["success_rate"] == 1.0


@pytest.mark.parametrize("row", [row for row in TABLE if row[1] and row[0] <= 16], ids=str)
def test_peers_means_whoever_is_silent(row):
    """Means of MODEL 13.5 with silent replicas hold for those that come after silent primaries too: only numbers differ.

    Seen to fail where an honest replica's own vote did not count.
    """
    n, silent, mean, error = row
    outcome = simulated(nodes=n, operations=60_000, placement=tuple(range(silent)), **PEERS)
    found, own_error = mean_commit(outcome)
    assert outcome.systems[0].primary == silent
    assert abs(found - mean) < 4 * math.hypot(error, own_error)


# Safety.


@pytest.mark.parametrize("n", range(4, 14))
def test_two_values_commit_where_both_sides_have_a_quorum(n):
    """Seen to fail where violations are not looked for, and where all replicas hear both values."""
    q = quorum(n)
    for b in range(1, n - 1):
        batch, _ = run_system(system_of(nodes=n, placement=tuple(range(b)), behaviour="equivocate", **CONSTANT))
        assert batch.violated.all() == batch.violated.any() == (2 * q <= n + b), b


def test_too_small_a_quorum_is_unsafe():
    """At n = 12, f = 3 the rule 2 f + 1 lets both sides, 5 + 3 and 4 + 3 voices, commit: the checker can fail."""
    law = QuorumLaw.TWO_F_PLUS_ONE
    rounds = tuple(replace(step, quorum=law) if step.quorum is QuorumLaw.QUORUM else step for step in PBFT.rounds)
    case = {"nodes": 12, "placement": (0, 1, 2), "behaviour": "equivocate", "operations": 32}
    broken, sound = (simulated(protocol=table, **case) for table in (replace(PBFT, name="broken", rounds=rounds), PBFT))
    assert broken.row["safety_violations"] == 32
    assert sound.row["safety_violations"] == 0


def random_faults(seed):
    """A scenario with at most f faulty replicas, whatever they do."""
    pick = random.Random(seed)
    n = pick.randint(4, 16)
    names = pick.sample(["silent", "delay", "equivocate", "flood", "drop_relay"], pick.choice([1, 2]))
    share = pick.choice([0.25, 0.5])
    mix = names[0] if len(names) == 1 else f"{names[0]}:{share},{names[1]}:{1 - share}"
    count = pick.randint(1, fault_threshold(n))
    return {
        "nodes": n,
        "behaviour": pick.choice([mix, "equivocate"]),
        "placement": tuple(sorted({0} | set(pick.sample(range(n), count - 1)))),
        "network": pick.choice(["lan", "wan", "poor"]),
        "transport": pick.choice(["stream", "datagram"]),
        "topology": pick.choice(["fully_connected", "mesh"]),
        "primary_policy": pick.choice(["stable", "rotating"]),
        "operations": 48,
        "seed": seed,
        "free_cpu": True,
    }


def test_no_more_than_f_faults_are_ever_unsafe():
    """Over a stream and a complete graph they are not even in the way. Seen to fail where all replicas hear both values."""
    told_two_values = 0
    for seed in range(60):
        case = random_faults(seed)
        outcome = simulated(**case)
        assert outcome.row["safety_violations"] == 0, case
        told_two_values += any(leg.side.max() > 1 for leg in outcome.systems[0].course.legs)
        if case["transport"] == "stream" and case["topology"] == "fully_connected":
            assert np.isfinite(outcome.latency_ms).all(), case
    assert told_two_values > 10


# Policies.


@pytest.mark.parametrize("placement", [(2, 3, 6), (0,), (0, 1, 2), (0, 4, 9)], ids=str)
def test_rotating_primaries_mix_what_views_cost(placement):
    """Views that fail are b / (n - b) an operation in the mean, and the latency is that of so many silent primaries.

    Sixteen operations share a draw. Seen to fail where an operation starts with a replica that serves.
    """
    n, b, groups = 10, len(placement), 1000
    given = {"view_timeout_ms": 2000.0, "client_timeout_ms": 700.0, "primary_policy": "rotating"}
    outcome = simulated(nodes=n, placement=placement, operations=16 * groups, **CONSTANT, **given)
    failed = outcome.operations.view_changes
    serving = [i for i in range(n) if i not in placement]
    runs = [next(k for k in range(n) if (i + 1 + k) % n in serving) for i in serving]
    assert sum(runs) == b
    error = np.std(runs) / math.sqrt(groups)
    assert abs(failed.mean() - b / (n - b)) < SIGMAS * error
    for k in range(1, 4):
        share = runs.count(k) / len(runs)
        assert abs((failed == k).mean() - share) <= SIGMAS * math.sqrt(share * (1 - share) / groups)
        assert outcome.latency_ms[failed == k] == pytest.approx(after_silent_ms(k, 2000.0, 700.0), rel=1e-6)
    at_once = outcome.latency_ms[failed == 0]
    assert set(at_once.tolist()) == {4 * DELAY_MS, 5 * DELAY_MS}
    at_primary = 1 / len(serving)  # the client sits there
    assert abs((at_once == 4 * DELAY_MS).mean() - at_primary) < SIGMAS * math.sqrt(at_primary / at_once.size)


def test_a_stable_primary_is_found_once():
    outcome = simulated(nodes=10, placement=(0, 1, 5), operations=64, **CONSTANT)
    assert (outcome.operations.view_changes == 0).all() and outcome.systems[0].primary == 2
    assert outcome.row["failover_views"] == 2
    assert outcome.row["failover_ms"] == pytest.approx(after_silent_ms(2, 5000.0, 5000.0))


# Floods.


@pytest.mark.parametrize("flooding", [(3,), (0,), (0, 3)], ids=str)
@pytest.mark.parametrize("factor", [1, 10, 40])
def test_floods_take_the_cpu_of_all(flooding, factor):
    """Each replica verifies `factor` invalid messages for each valid one of a flooder's: capacity falls by their time.

    Seen to fail where invalid messages were left out of the work.
    """
    common = {"nodes": 7, "network": "lan", "cores": 1, "rate": 0, "bandwidth_mbps": math.inf}
    calm = system_of(**common)
    system = system_of(**common, placement=flooding, behaviour="flood", flood_factor=factor)
    proposal, prepare, commit = (job.receive_ms for job in calm.plan.jobs[1:4])
    honest = [i for i in range(7) if i not in flooding]
    more = (work_of(system).cpu_ms - work_of(calm).cpu_ms)[honest]
    expected = sum(commit + (proposal if i == 0 else prepare) for i in flooding) * factor
    assert more == pytest.approx(np.full(len(honest), expected), rel=1e-5)
    before, after = work_of(calm).demands, work_of(system).demands
    assert after["replica_cpu"] >= (before["replica_cpu"] + expected) * (1 - 1e-6)
    row = simulated(**common, placement=flooding, behaviour="flood", flood_factor=factor, operations=64).row
    assert row["saturation_ops_per_second"] <= 1000.0 / max(after.values()) * (1 + 1e-6)


def test_floods_hold_operations_up():
    """More noise, longer latencies, and the same messages that count."""
    common = {"nodes": 7, "network": "lan", "cores": 1, "rate": 0, "operations": 320, "placement": (0, 3), "behaviour": "flood"}
    calm, *worse = (simulated(**common, flood_factor=factor) for factor in (1, 10, 100))
    for outcome in worse:
        assert outcome.row["mean_latency_ms"] > calm.row["mean_latency_ms"] * 1.01
        assert np.array_equal(outcome.operations.sent, calm.operations.sent)
        calm = outcome


# Nothing without faults.


def test_without_faulty_replicas_their_settings_change_nothing():
    """To the bit. Seen to fail where honest replicas flooded too."""
    common = {"nodes": 10, "network": "wan", "operations": 160, "cores": 1}
    plain = simulated(**common).operations
    for more in (
        {"behaviour": "equivocate"},
        {"behaviour": "flood", "flood_factor": 50},
        {"view_timeout_ms": 1.0},
        {"client_timeout_ms": 1.0},
    ):
        other = simulated(**common, **more).operations
        for field in ("latency_ms", "commit_ms", "flight_ms", "breakdown_ms", "sent", "useful", "repeats", "view_changes"):
            assert np.array_equal(getattr(plain, field), getattr(other, field)), (more, field)
