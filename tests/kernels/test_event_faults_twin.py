"""Faults in the events engine against the plain-Python twin of docs/faults.md, operation by operation; and the twin by itself.

As in `test_events_twin`, counts must be equal, times but for what single precision leaves.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from prsm_kernels.event_types import EventScript
from prsm_scale.capacity import work_of
from prsm_scale.events import EventRun
from prsm_scale.view_change import timing_of
from tests.kernels.test_events_twin import FREE, INF, assert_alike, end_ms, faults_of, load_of, prepare, tolerance_ms
from tests.kernels.test_twin import COSTS, ROUTES
from tests.reference import fault_twin as twin

MIXES = [
    "silent", "equivocate", "delay", "flood", "drop_relay", "silent:0.5,equivocate:0.5", "equivocate:0.5,delay:0.5",
    "flood:0.5,equivocate:0.5", "silent:0.34,delay:0.33,drop_relay:0.33",
]  # fmt: skip
LOADS = ["rest", "idle", "busy", "closed"]
"""One operation at a time on a system at rest; one after the other; several at once; three clients."""
Changes = list[tuple[float, dict[str, Any]]]
"""What a fault script says from which time on, ms, as far as it is not as usual: lists have an entry for each replica."""


def script_of(changes: Changes, n: int) -> EventScript | None:
    """A fault script as the engine takes it."""
    if not changes:
        return None
    usual = {"alive": [1] * n, "slow": [1.0] * n, "group": [0] * n, "hold_ms": [0.0] * n, "loss": 0.0, "delay_ms": 0.0}
    kinds = {"alive": np.uint8, "slow": np.float64, "group": np.int32, "hold_ms": np.float64}
    kinds |= {"loss": np.float32, "delay_ms": np.float64}
    tables = {name: np.array([(usual | row)[name] for _, row in changes], kind) for name, kind in kinds.items()}
    return EventScript(at_ms=np.array([at for at, _ in changes], np.float64), **tables)


def expect(case: dict[str, Any], count: int, changes: Changes = (), replicate: int = 0) -> twin.Outcome:
    """What the twin says."""
    system = prepare(case, replicate)
    faults = faults_of(system, script_of(changes, system.plan.scenario.nodes))
    return twin.simulate(load_of(system), faults, system.plan.scenario.seed, count, replicate)


def compare(case: dict[str, Any], count: int = 16, replicate: int = 0, changes: Changes = ()) -> None:
    """Hold the engine against the twin."""
    system = prepare(case, replicate)
    script = script_of(changes, system.plan.scenario.nodes)
    events = EventRun(system, replicate=replicate, last=count, script=script)
    got, state = events.measure(count), events.state
    faults = faults_of(system, script)
    expected, entered_ms = twin.simulate(load_of(system), faults, system.plan.scenario.seed, count, replicate)
    slack = len(entered_ms) * tolerance_ms(system, expected)
    # the twin does not follow the time of slow CPUs along chains of messages
    assert_alike(system, got, events.start_ms[:count], expected, slack, breakdown=script is None)
    for field in ("views", "violated"):
        np.testing.assert_array_equal(getattr(state, field)[:count], [getattr(one, field) for one in expected], field)
    last_ms = end_ms(system, expected)
    if system.plan.scenario.rate or system.plan.scenario.clients:  # at rest starts are not compared
        entered = {view: time for view, time in enumerate(state.entered_ms.tolist()) if time < last_ms}
        entered_ms = {view: time for view, time in entered_ms.items() if time < last_ms}
        assert entered == pytest.approx(entered_ms, rel=0, abs=slack)


def mixed_cases(count: int, key: int, loads: list[str]) -> list[dict[str, Any]]:
    """Routes, behaviours and costs in turn; other axes drawn."""
    pick = random.Random(key)
    cases = []
    for k in range(count):
        topology, dissemination = (ROUTES[0], *ROUTES[:3], *ROUTES[5:9], *ROUTES[11:])[k % 10]
        n = pick.randint(4, 8 if dissemination == "gossip" else 13)
        f = (n - 1) // 3
        case: dict[str, Any] = {"nodes": n, "topology": topology, "dissemination": dissemination}
        case |= {"network": pick.choice(["ideal", "lan", "wan"]), "behaviour": MIXES[k % 9]}
        case |= [*COSTS, {"cores": 1}][k % 5] | {"transport": pick.choice(["stream", "stream", "datagram"])}
        faulty = min(pick.choice([1, f, f, f, f + 1]), 1 if topology in ("ring", "star") and dissemination == "routed" else n)
        others = sorted(pick.sample(range(1, n), faulty))
        case["placement"] = tuple(others if topology == "star" or pick.random() < 0.3 else [0, *others[1:]])
        case |= {"seed": pick.getrandbits(62), "window": pick.choice([1, 2, 3, 64]), "flood_factor": pick.choice([1, 2, 3])}
        case |= {"authentication": pick.choice(["ed25519", "bls", "mac"]), "batch": pick.choice([1, 1, 4])}
        case |= {"primary_policy": pick.choice(["stable", "stable", "rotating"]), "load": pick.choice(loads)}
        case |= {"patience": pick.choice([0.8, 1.2, 2.0, 4.0]), "client_patience": pick.choice([0.4, 1.0, 1.0])}
        case["tries"] = pick.choice([4.0, 12.0, 40.0])
        if case["network"] == "ideal":  # without draws arrivals coincide, and rounding decides which of them is the first
            case["delay"] = "exponential(2)"
        if pick.random() < 0.3:
            case["loss"] = pick.choice([0.03, 0.2])
        if case["load"] == "closed" or pick.random() < 0.3:  # clients apart would run out of patience at the same time
            case["client_site"] = pick.choice([i for i in range(n) if i not in case["placement"]])
        cases.append(case)
    return cases


@dataclass
class Settled:
    case: dict[str, Any]
    rest_ms: float
    """Longest latency of an operation at rest without faults."""


def settled(case: dict[str, Any]) -> Settled:
    """The case with times in ms: patience in latencies at rest, tries in time-outs of views."""
    case = dict(case)
    load, patience, client, tries = (case.pop(name) for name in ("load", "patience", "client_patience", "tries"))
    system = prepare(case | {"rate": 0.0})
    rest_ms = timing_of(system.plan.scenario).latency_ms
    timeout_ms = float(f"{patience * rest_ms:.4g}")
    case |= {"view_timeout_ms": timeout_ms, "client_timeout_ms": timeout_ms * client, "operation_timeout_ms": timeout_ms * tries}
    busiest_ms = work_of(system).busiest_ms
    gap_ms = {"idle": 3.0 * rest_ms, "busy": max(2.0 * busiest_ms, rest_ms / 4.0)}
    if load == "closed":
        return Settled(case | {"clients": 3}, rest_ms)
    rate = float(f"{case['batch'] * 1000.0 / gap_ms[load]:.3g}") if load != "rest" else 0.0
    return Settled(case | {"rate": rate}, rest_ms)


def name(case: dict[str, Any]) -> str:
    axes = ("topology", "dissemination", "network", "nodes", "behaviour", "primary_policy", "load")
    return "-".join(str(case[axis]) for axis in axes)


@pytest.mark.parametrize("case", mixed_cases(80, 20250210, LOADS), ids=name)
def test_behaviours(case):
    compare(settled(case).case)


def scripts(case: dict[str, Any], rest_ms: float, kind: str, pick: random.Random) -> Changes:
    """A fault script of one kind, some latencies long."""
    n = case["nodes"]
    one, some = pick.randrange(n), pick.sample(range(n), max(1, n // 3))
    begin, end = pick.uniform(0.5, 3.0) * rest_ms, pick.uniform(6.0, 20.0) * rest_ms
    mark = lambda ids, value, usual: [value if i in ids else usual for i in range(n)]  # noqa: E731
    row: dict[str, Any] = {
        "crash": {"alive": mark(some, 0, 1)},
        "primary": {"alive": mark([0], 0, 1)},
        "slow": {"slow": mark(some, 50.0, 1.0)},
        "partition": {"group": mark(pick.sample(range(n), n // 2), 1, 0)},
        "hold": {"hold_ms": mark([0, one], 2.0 * rest_ms, 0.0)},
        "loss": {"loss": 0.25},
        "delay": {"delay_ms": rest_ms / 3.0},
    }[kind]
    again = {"alive": mark([one], 0, 1), "loss": 0.125, "slow": mark(some, 3.0, 0.5)}
    return [(0.0, {}), (begin, row), (end, {}), *([(1.5 * end, row | again), (2.0 * end, {})] if pick.random() < 0.5 else [])]


KINDS = ["crash", "primary", "slow", "partition", "hold", "loss", "delay"]


@pytest.mark.parametrize(
    ("case", "kind", "faulty"),
    [
        pytest.param(case, KINDS[k % 7], k % 3 == 2, id=f"{KINDS[k % 7]}-{name(case)}")
        for k, case in enumerate(mixed_cases(56, 20250213, LOADS[1:]))
    ],
)
def test_fault_scripts(case, kind, faulty):
    if not faulty:
        case = {axis: value for axis, value in case.items() if axis not in ("placement", "behaviour")}
    ready = settled(case)
    compare(ready.case, changes=scripts(ready.case, ready.rest_ms, kind, random.Random(case["seed"])))


@pytest.mark.parametrize("load", [{"rate": 0.0}, {"rate": 400.0, "window": 2}, {"clients": 4}], ids=["rest", "open", "closed"])
@pytest.mark.parametrize("route", [ROUTES[0], ("random", "routed"), ("mesh", "gossip")], ids="-".join)
def test_primaries_rotate_without_faults(route, load):
    compare({"nodes": 7, "topology": route[0], "dissemination": route[1], "network": "lan", "primary_policy": "rotating"} | load)


# The twin alone.

CONSTANT: dict[str, Any] = {"delay": "constant(250)", "loss": 0.0, "rate": 0.0, "view_timeout_ms": 4000.0, **FREE}
"""Every hop takes d = 250 ms; T = 4 s."""
D, T = 250.0, 4000.0


def latencies(outcome: twin.Outcome) -> list[float]:
    return [one.latency_ms for one in outcome.operations]


@pytest.mark.parametrize(("placement", "failed_ms"), [((0,), 0.0), ((0, 1), 2 * T + D), ((0, 1, 2), 2 * T + 4 * T + 2 * D)])
def test_silent_primaries_one_after_the_other(placement, failed_ms):
    """The client asks all, T runs out, VIEW-CHANGEs cross; further views cost 2 T, 4 T, ...; proposals come with NEW-VIEW."""
    case = {"nodes": 10, "placement": placement, "client_timeout_ms": 3000.0, "client_site": 9} | CONSTANT
    first, second = expect(case, 2).operations
    assert first.latency_ms == 3000.0 + D + T + D + failed_ms + 4 * D
    assert (first.views, second.views) == (len(placement), 0)
    assert second.latency_ms == 5 * D


def test_primaries_in_turn_meet_the_silent_one_again():
    """Replica 1 would serve operation 1 in view 0 and operation 4 in view 1; replica 3, where the clients sit, 2 and 5."""
    case = {"nodes": 4, "placement": (1,), "client_timeout_ms": 3000.0, "client_site": 3, "primary_policy": "rotating"} | CONSTANT
    outcome = expect(case, 6)
    failed_ms = 3000.0 + D + T + D + 4 * D
    assert latencies(outcome) == [5 * D, failed_ms, 4 * D, 5 * D, failed_ms, 4 * D]
    assert [one.views for one in outcome.operations] == [0, 1, 0, 0, 1, 0]


def test_an_equivocating_primary_without_a_quorum_costs_a_view():
    """Backups know the operation from its proposals, 2 d after the start."""
    case = {"nodes": 7, "placement": (0,), "behaviour": "equivocate", "client_site": 6} | CONSTANT
    first, second = expect(case, 2).operations
    assert (first.latency_ms, first.views, first.violated) == (2 * D + T + D + 4 * D, 1, False)
    assert second.latency_ms == 5 * D


@pytest.mark.parametrize(
    ("n", "b", "violated"), [(7, 2, False), (7, 3, True), (10, 3, False), (10, 4, True), (8, 2, False), (8, 4, True)]
)
def test_both_sides_commit_where_two_quorums_fit(n, b, violated):
    """Side A commits with ceil((n - b) / 2) + b voices, both sides where 2 q <= n + b."""
    case = {"nodes": n, "placement": tuple(range(b)), "behaviour": "equivocate", "client_site": n - 1} | CONSTANT
    q = -(-(n + (n - 1) // 3 + 1) // 2)
    assert violated == (2 * q <= n + b)
    one = expect(case, 1).operations[0]
    assert one.violated == violated
    if -(-(n - b) // 2) + b >= q:
        assert (one.latency_ms, one.views) == (5 * D, 0)


def test_a_primary_that_delays_keeps_its_place():
    case = {"nodes": 7, "placement": (0,), "behaviour": "delay", "client_site": 6} | CONSTANT
    hold_ms = T - 5 * D
    for one in expect(case, 3).operations:
        assert (one.latency_ms, one.views) == (hold_ms + 5 * D, 0)


def test_beyond_f_silent_replicas_nothing_ends():
    case = {"nodes": 7, "placement": (0, 2, 4), "client_site": 6} | CONSTANT
    outcome = expect(case, 2)
    assert latencies(outcome) == [INF, INF]
    assert outcome.entered_ms == {0: 0.0}


def test_flooding_costs_lines_and_nothing_else():
    case = {"nodes": 7, "behaviour": "flood", "flood_factor": 3, "client_site": 6} | CONSTANT
    quiet = expect({name: value for name, value in case.items() if name != "behaviour"}, 1).operations[0]
    flooded = expect(case | {"placement": (2,)}, 1).operations[0]
    assert (flooded.latency_ms, flooded.useful[:5]) == (quiet.latency_ms, quiet.useful[:5])
    assert flooded.sent == quiet.sent
    assert np.subtract(flooded.transmissions, quiet.transmissions).tolist() == [0, 0, 18, 18, 0, 0, 0]


@pytest.mark.parametrize("policy", ["stable", "rotating"])
def test_a_partition_heals(policy):
    """No half has a quorum; after the healing all that has been asked for is answered."""
    case = {"nodes": 4, "network": "lan", "rate": 20.0, "view_timeout_ms": 100.0, "primary_policy": policy, "seed": 4}
    outcome = expect(case, 20, [(0.0, {}), (200.0, {"group": [0, 0, 1, 1]}), (600.0, {})])
    for one in outcome.operations:
        if 200.0 <= one.start_ms < 600.0:
            assert one.start_ms + one.latency_ms > 600.0
    assert max(latencies(outcome)) < 2_000.0
    assert max(one.views for one in outcome.operations) >= 1


def test_a_crashed_primary_comes_back_as_a_backup():
    case = {"nodes": 4, "network": "lan", "rate": 20.0, "view_timeout_ms": 100.0, "seed": 4}
    outcome = expect(case, 30, [(0.0, {}), (200.0, {"alive": [0, 1, 1, 1]}), (700.0, {})])
    assert max(latencies(outcome)) < 500.0
    assert list(outcome.entered_ms) == [0, 1]
    last = outcome.operations[-1]
    assert (last.sent[1:5], last.views) == ([3, 9, 12, 4], 0)
