"""Faults on the events engine, where constant delays and free computing leave latencies that follow from docs/faults.md."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prsm_kernels.event_types import NEXT_OPERATION, EventScript
from prsm_scale.config import Scenario
from prsm_scale.events import EventRun
from prsm_scale.faults import HONEST
from prsm_scale.plans import make_plan
from prsm_scale.protocols import PBFT, Protocol, QuorumLaw
from prsm_scale.runs import simulate
from prsm_scale.system import build_system
from tests.support import FREE

D, T = 10.0, 200.0
"""Delay of a message, and time-out of a view and of clients."""
CALM: dict[str, Any] = {**FREE, "network": "ideal", "delay": f"constant({D:g})", "view_timeout_ms": T, "seed": 1}
DRAWN: dict[str, Any] = {**CALM, "delay": "exponential(10)", "rate": 200.0, "operation_timeout_ms": 20_000.0}
REQUEST, PRE_PREPARE, PREPARE, COMMIT, REPLY, VIEW_CHANGE, NEW_VIEW = range(7)


def run_of(count: int, rows: list[tuple[float, dict[str, Any]]] | None = None, **case: Any) -> EventRun:
    """A run of so many operations to their end; `rows` are a script's, each a time and what differs from quiet."""
    scenario = Scenario(engine="events", **case)
    script = None if rows is None else script_of(scenario.nodes, rows)
    run = EventRun(build_system(make_plan(scenario), 0), last=count, script=script)
    run.measure(count)
    return run


def script_of(nodes: int, rows: list[tuple[float, dict[str, Any]]]) -> EventScript:
    count = len(rows)
    script = EventScript(
        at_ms=np.array([at for at, _ in rows]), alive=np.ones((count, nodes), np.uint8), slow=np.ones((count, nodes)),
        group=np.zeros((count, nodes), np.int32), hold_ms=np.zeros((count, nodes)), loss=np.zeros(count, np.float32),
        delay_ms=np.zeros(count),
    )  # fmt: skip
    for e, (_, row) in enumerate(rows):
        for name, value in row.items():
            getattr(script, name)[e] = value
    return script


def down(nodes: int, *crashed: int) -> dict[str, Any]:
    return {"alive": [i not in crashed for i in range(nodes)]}


def found(run: EventRun) -> Any:
    return run.operations(int(run.state.scalars[NEXT_OPERATION]))


# The first operation, by hand. It asks replica 0 first; its client sits with the last replica.


@pytest.mark.parametrize(("case", "latency_ms", "changes"), [
    pytest.param({"nodes": 4, "placement": (0,)}, T + D + T + D + 4 * D, 1, id="silent"),
    pytest.param({"nodes": 7, "placement": (0, 1)}, T + D + T + D + 2 * T + D + 4 * D, 2, id="two silent ones"),
    pytest.param({"nodes": 5, "placement": (0,), "behaviour": "equivocate"}, D + D + T + D + 4 * D, 1, id="no side has a quorum"),
    pytest.param({"nodes": 4, "placement": (0,), "behaviour": "equivocate"}, 5 * D, 0, id="one side has a quorum"),
    pytest.param({"nodes": 4, "placement": (1,), "behaviour": "equivocate"}, 5 * D, 0, id="an equivocating backup"),
    pytest.param({"nodes": 4, "placement": (0,), "behaviour": "flood"}, 5 * D, 0, id="flood"),
    pytest.param({"nodes": 4, "placement": (0,), "client_timeout_ms": 50.0}, 50.0 + D + T + D + 4 * D, 1, id="hurried client"),
    pytest.param(
        {"nodes": 4, "placement": (0,), "client_timeout_ms": 1e3, "operation_timeout_ms": 900.0}, np.inf, 0, id="patient client"
    ),
    pytest.param({"nodes": 4, "placement": (0, 1)}, np.inf, 0, id="too many silent ones"),
    pytest.param({"nodes": 4, "placement": (1, 2), "behaviour": "equivocate"}, np.inf, 0, id="wrong replies that agree"),
    pytest.param({"nodes": 7, "placement": (1, 2, 3, 4, 5), "behaviour": "silent:0.6,flood:0.4"}, np.inf, 0, id="invalid votes"),
])  # fmt: skip
def test_the_first_operation(case, latency_ms, changes):
    operations = found(run_of(1, client_site=case["nodes"] - 1, **(CALM | case)))
    assert operations.latency_ms[0] == pytest.approx(latency_ms)
    assert operations.view_changes[0] == changes
    if changes:
        parts = operations.breakdown_ms[0]
        assert parts[5] == pytest.approx(latency_ms - 4 * D) and parts[0] == pytest.approx(4 * D)
        assert operations.commit_ms[0] == operations.flight_ms[0] == pytest.approx(3 * D)
        assert parts.sum() == pytest.approx(latency_ms)


def test_a_primary_that_delays():
    """It holds back what the derived time-out leaves it: five messages at rest take a quarter of that."""
    run = run_of(3, **(CALM | {"nodes": 4, "placement": (0,), "behaviour": "delay", "client_site": 3, "view_timeout_ms": None}))
    assert run.system.plan.timing.hold_ms == pytest.approx(3 * 5 * D)
    assert found(run).latency_ms == pytest.approx(4 * 5 * D)
    assert not found(run).view_changes.any()


def test_messages_of_a_view_change():
    sent = found(run_of(2, nodes=4, placement=(0,), client_site=3, **CALM)).sent
    live, others = 3, 3
    #                        the first request and those to all; proposal; backups' votes; all votes; replies; view change
    assert sent[0].tolist() == [1 + 4, others, 2 * others, live * others, live, live * others, others]
    assert sent[1].tolist() == [1, others, 2 * others, live * others, live, 0, 0]


def test_requests_again_after_twice_as_long():
    """A client asks at T, 3 T, 7 T, ... until it gives up; a view without a quorum is asked for again likewise."""
    run = run_of(1, nodes=4, placement=(0, 1), client_site=3, **(CALM | {"operation_timeout_ms": 16 * T}))
    sent = found(run).sent[0]
    assert sent[REQUEST] == 1 + 4 * 4  # at 15 T, too
    live, others = 2, 3
    # from 2 T on, when those who know it since T lose patience: at 2 T, 4 T, 8 T, but for the way of the request
    assert sent[VIEW_CHANGE] == live * others * 3
    assert not np.isfinite(run.state.entered_ms[1:]).any()


def test_rotating_leaves_each_turn_of_a_silent_replica():
    run = run_of(60, nodes=4, placement=(2,), primary_policy="rotating", **CALM)
    changes = found(run).view_changes
    assert changes.sum() == 20 and changes.max() == 1 and np.isfinite(found(run).latency_ms).all()
    # fault-free primaries rotate without a view change
    assert found(run_of(8, nodes=4, primary_policy="rotating", client_site=0, **CALM)).latency_ms == pytest.approx(
        [4 * D] + [5 * D] * 3 + [4 * D] + [5 * D] * 3, abs=D
    )


@pytest.mark.parametrize("topology", ["fully_connected", "mesh"])
def test_draws_name_views(topology):
    """Messages of the new view have draws of their own: latencies after the failover differ from those without faults."""
    case = DRAWN | {"nodes": 7, "rate": 0.0, "topology": topology, "client_site": 6}
    plain, failed = (found(run_of(3, **(case | more))) for more in ({}, {"placement": (0,)}))
    waited = failed.breakdown_ms[0, 5]
    assert failed.latency_ms[0] - waited != pytest.approx(plain.latency_ms[0])
    again = found(run_of(3, **(case | {"placement": (0,)})))
    assert np.array_equal(failed.latency_ms, again.latency_ms)


# Behaviours.


@pytest.mark.parametrize(("dissemination", "proposal"), [
    ("routed", 1 + 1 + 2 + 3 + 4),  # hops from 0 to 1, 5, 4, 3 and, past them, 2
    ("gossip", 2 + 4),  # copies by 0, and by all but 1
])  # fmt: skip
def test_relays_that_drop_are_gone_around(dissemination, proposal):
    case = CALM | {"nodes": 6, "topology": "ring", "dissemination": dissemination, "client_site": 3}
    operations = found(run_of(3, placement=(1,), behaviour="drop_relay", **case))
    assert np.isfinite(operations.latency_ms).all() and not operations.view_changes.any()
    assert operations.transmissions[:, PRE_PREPARE].tolist() == [proposal] * 3


def test_a_flood_takes_the_cpu_that_it_costs():
    """Beside its own work each replica verifies ten invalid messages for each vote and proposal of the one that floods."""
    case = {"nodes": 4, "network": "lan", "cores": 1, "rate": 0.0, "loss": 0.0, "placement": (3,), "view_timeout_ms": 1e4}
    calm, flooded = (run_of(20, behaviour=b, **case) for b in ("equivocate", "flood"))
    jobs, k = calm.system.plan.jobs, 10
    votes_ms = jobs[PREPARE].receive_ms + jobs[COMMIT].receive_ms
    more_ms = (flooded.state.busy[0] - calm.state.busy[0]) / 20
    assert more_ms[:3] == pytest.approx([k * votes_ms] * 3, rel=1e-6)
    made_ms = sum(jobs[r].create_ms + 3 * jobs[r].send_ms for r in (PREPARE, COMMIT))
    assert more_ms[3] == pytest.approx(k * made_ms, rel=1e-6)
    extra = found(flooded).transmissions - found(calm).transmissions
    assert extra[:, PREPARE].tolist() == [3 * k] * 20 == extra[:, COMMIT].tolist()
    assert np.array_equal(found(flooded).sent, found(calm).sent)


@pytest.mark.parametrize("faulty", range(4))
def test_votes_for_the_wrong_value_count_for_nobody(faulty):
    """One equivocator is outvoted, silent ones beside it leave no quorum."""
    case = CALM | {"nodes": 7, "client_site": 6, "operation_timeout_ms": 5_000.0}
    mixed = f"equivocate:{1 / (1 + faulty)},silent:{faulty / (1 + faulty)}" if faulty else "equivocate"
    run = run_of(2, placement=tuple(range(1, 2 + faulty)), behaviour=mixed, **case)
    assert np.isfinite(found(run).latency_ms).all() == (faulty < 2)
    assert not found(run).violated.any()


# Safety.


def two_f_plus_one() -> Protocol:
    rounds = (replace(r, quorum=QuorumLaw.TWO_F_PLUS_ONE) if r.quorum is QuorumLaw.QUORUM else r for r in PBFT.rounds)
    return replace(PBFT, name="pbft, 2f + 1", rounds=tuple(rounds))


@pytest.mark.parametrize(("nodes", "faulty", "protocol"), [
    pytest.param(4, 2, PBFT, id="more than f"),
    pytest.param(12, 3, two_f_plus_one(), id="2f + 1 of 12"),
])  # fmt: skip
def test_where_both_sides_have_a_quorum_both_commit(nodes, faulty, protocol):
    case = CALM | {"nodes": nodes, "placement": tuple(range(faulty)), "behaviour": "equivocate", "protocol": protocol}
    assert found(run_of(3, client_site=nodes - 1, **case)).violated.all()
    sound = CALM | {"nodes": 12, "placement": tuple(range(faulty)), "behaviour": "equivocate"}
    assert not found(run_of(3, client_site=11, **sound)).violated.any()


BEHAVIOURS = ("silent", "delay", "equivocate", "flood", "drop_relay", "silent:0.5,equivocate:0.5", "equivocate:0.5,delay:0.5")


@settings(max_examples=60, deadline=None)
@given(
    nodes=st.sampled_from([4, 5, 6, 7, 10, 12]),
    share=st.floats(0.2, 1.0),
    parted=st.booleans(),
    case=st.fixed_dictionaries({
        "behaviour": st.sampled_from(BEHAVIOURS),
        "placement": st.sampled_from(["worst", "random"]),
        "primary_policy": st.sampled_from(["stable", "rotating"]),
        "loss": st.sampled_from([0.0, 0.1]),
        "transport": st.sampled_from(["stream", "datagram"]),
        "rate": st.sampled_from([0.0, 60.0]),
        "seed": st.integers(0, 1000),
        "topology": st.sampled_from(["fully_connected", "mesh"]),
    }),
)  # fmt: skip
def test_up_to_f_faults_never_violate_safety(nodes, share, parted, case):
    faults = (nodes - 1) // 3
    ratio = (int(share * faults) + 1e-6) / nodes
    whole = case["loss"] == 0.0 and case["topology"] == "fully_connected"
    parted = parted and case["rate"] > 0.0
    case = DRAWN | case | {"nodes": nodes, "byzantine_ratio": ratio, "operation_timeout_ms": 4000.0}
    half = [i % 2 for i in range(nodes)]
    rows = [(0.0, {}), (100.0, {"group": half}), (600.0, {"group": half[::-1], **down(nodes, 0)}), (900.0, {})]
    run = run_of(12, rows if parted else None, **case)
    assert not found(run).violated.any()
    if whole and not parted:
        assert np.isfinite(found(run).latency_ms).all()


# Scripts.


def test_a_quiet_script_changes_nothing():
    case = DRAWN | {"nodes": 4, "network": "lan", "free_cpu": False, "bandwidth_mbps": 100.0}
    plain, quiet = run_of(60, **case), run_of(60, [(0.0, {}), (70.0, {})], **case)
    assert np.allclose(found(plain).latency_ms, found(quiet).latency_ms, rtol=1e-9)
    assert np.array_equal(found(plain).sent, found(quiet).sent[:, :5])


def test_operations_in_flight_when_the_primary_crashes():
    """All are answered after one view change, in the window of four too."""
    for window in (64, 4):
        run = run_of(400, [(0.0, {}), (300.0, down(4, 0))], **(DRAWN | {"nodes": 4, "window": window, "seed": 3}))
        operations = found(run)
        assert np.isfinite(operations.latency_ms).all()
        assert np.allclose(operations.breakdown_ms.sum(axis=1), operations.latency_ms, rtol=1e-9)
        assert operations.view_changes.max() == 1 and 20 < operations.view_changes.sum() < 200
        assert run.state.in_view.tolist() == [0, 1, 1, 1]
        assert run.state.entered_ms[1] > 300.0 + T
        assert not np.isfinite(run.state.entered_ms[2:]).any()
        assert run.state.scalars[[7]].tolist() == [0]  # IN_FLIGHT


@pytest.mark.parametrize("crashed", [0, 2])
def test_a_replica_that_recovers_catches_up(crashed):
    """A primary into the view that it missed; while a further replica is down it is needed again."""
    rows = [(0.0, {}), (300.0, down(4, crashed)), (1200.0, {}), (1500.0, down(4, 3))]
    run = run_of(600, rows, **(DRAWN | {"nodes": 4}))
    operations = found(run)
    assert np.isfinite(operations.latency_ms).all()
    assert run.state.in_view.tolist() == [int(crashed == 0)] * 4
    assert operations.view_changes.max() == (crashed == 0)


def test_the_crashed_lose_their_patience_too():
    """Of three that have the proposal one is left; the primary waits for nothing."""
    rows = [(0.0, {}), (2 * D + 1.0, down(4, 2, 3))]
    run = run_of(1, rows, **(CALM | {"nodes": 4, "client_site": 1, "operation_timeout_ms": 5.5 * T}))
    others, repeats = 3, 2
    assert found(run).sent[0, VIEW_CHANGE] == others * repeats  # after T, and after 2 T more
    assert run.state.wanted.tolist() == [0, 1, 0, 0]


def test_halves_of_a_partition_heal():
    run = run_of(600, [(0.0, {}), (300.0, {"group": [0, 0, 1, 1]}), (1500.0, {})], **(DRAWN | {"nodes": 4}))
    operations, start = found(run), run.start_ms[:600]
    assert np.isfinite(operations.latency_ms).all() and not operations.violated.any()
    ends = start + operations.latency_ms
    assert not ((ends > 300.0 + 100.0) & (ends < 1500.0)).any()
    assert len(set(run.state.in_view.tolist())) == 1


def test_what_holds_for_a_time():
    calm = {"nodes": 4, "client_site": 3, **CALM}
    for row, more_ms in (({"delay_ms": 7.0}, 5 * 7.0), ({"hold_ms": [9.0, 0.0, 0.0, 0.0]}, 9.0)):
        latency = found(run_of(2, [(0.0, row), (100.0, {})], **calm)).latency_ms
        assert latency == pytest.approx([5 * D + more_ms, 5 * D])
    lossy = found(run_of(40, [(0.0, {"loss": 0.5}), (1000.0, {})], **(calm | {"rate": 20.0, "transport": "datagram"})))
    assert lossy.repeats[:15].sum() > 50 and not lossy.repeats[25:].any()


def test_a_slow_replica_computes_longer():
    case = {"nodes": 4, "network": "lan", "cores": 1, "rate": 0.0, "loss": 0.0, "view_timeout_ms": 1e4}
    plain = run_of(5, **case)
    slow = run_of(5, [(0.0, {"slow": [1.0, 3.0, 1.0, 1.0]})], **case)
    assert slow.state.busy[0] == pytest.approx(plain.state.busy[0] * [1, 3, 1, 1], rel=1e-9)


def test_time_outs_alone_change_nothing():
    """Where nothing fails within them."""
    case = CALM | {"nodes": 5, "rate": 100.0, "view_timeout_ms": 8 * D, "client_site": 3}
    plain, timed = run_of(50, **case), run_of(50, [(0.0, {})], **case)
    for field in ("latency_ms", "commit_ms", "flight_ms", "breakdown_ms"):
        assert np.allclose(getattr(found(plain), field), getattr(found(timed), field), rtol=1e-12)
    assert (timed.system.behaviour == HONEST).all()


@pytest.mark.parametrize("policy", ["stable", "rotating"])
def test_what_was_under_way_when_all_crashed_is_answered_after_a_view_change(policy):
    """Nobody votes again for what had begun; those who know it lose patience. Seen to fail where they took it for done."""
    case = CALM | {"nodes": 4, "rate": 200.0, "operation_timeout_ms": 60 * T, "primary_policy": policy, "client_site": 3}
    run = run_of(60, [(0.0, {}), (150.0, down(4, 0, 1, 2, 3)), (155.0, {})], **case)
    operations, start_ms = found(run), run.start_ms[:60]
    struck = (start_ms < 150.0) & (start_ms > 150.0 - 5 * D)
    assert struck.any() and np.isfinite(operations.latency_ms).all()
    assert (start_ms + operations.latency_ms)[struck].max() >= 155.0 + T
    assert operations.view_changes[struck].max() >= 1


@pytest.mark.parametrize("behaviour", ["silent", "equivocate"])
def test_the_first_operation_of_a_scenario_is_that_of_the_other_engine(behaviour):
    """Failover from view 0, on constant delays and with the client at one site."""
    case = CALM | {"nodes": 8, "placement": (0, 1), "behaviour": behaviour, "client_site": 7, "operations": 16, "rate": 1.0}
    rows = [simulate(engine=engine, **case).row for engine in ("events", "rounds")]
    assert [row["failover_views"] for row in rows] == [2.0, 2.0]
    assert rows[0]["failover_ms"] == pytest.approx(rows[1]["failover_ms"], rel=1e-6)
