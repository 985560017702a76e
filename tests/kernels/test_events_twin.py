"""The events engine against its plain-Python twin, draw for draw and queue for queue.

Counts must be equal; times may differ by what the draws' single precision leaves, see `tolerance_ms`. Both run a given number of
operations until all their messages are gone. Where two events are closer than that, the engine and the twin may take them in
another order and then differ by a whole job: such a case gets another seed, its tolerance stays.
"""

from __future__ import annotations

import random
from dataclasses import replace
from itertools import pairwise, product
from statistics import mean, median
from typing import Any

import networkx as nx
import numpy as np
import pytest

from prsm_kernels.codes import DIRECT
from prsm_scale.capacity import work_of
from prsm_scale.config import Scenario
from prsm_scale.events import EventRun
from prsm_scale.plans import make_plan
from prsm_scale.protocols import quorum_size
from prsm_scale.system import System, build_system
from prsm_scale.view_change import timing_of
from tests.kernels.test_twin import COSTS, LAWS, LOGARITHM, NETWORKS, PROTOCOLS, ROUNDING, ROUTES, TABLE, describe, law_of
from tests.reference import events_twin as twin
from tests.reference import fault_twin, rounds_twin

INF = float("inf")
FREE: dict[str, Any] = {"free_cpu": True, "bandwidth_mbps": INF}
LOADS = ["rest", "idle", "busy", "overload", "closed"]
WORDS = ("", "silent", "delay", "equivocate", "flood", "drop_relay")
"""Behaviours in the order of their codes."""


def mixed_cases() -> list[dict[str, Any]]:
    """Every route under every network, twice, under loads and costs in turn; other axes drawn."""
    pick = random.Random(20240915)
    cases = []
    for (a, (topology, dissemination)), (b, network), again in product(enumerate(ROUTES), enumerate(NETWORKS), (0, 1)):
        n = pick.randint(4, 8 if dissemination == "gossip" else 10)
        case: dict[str, Any] = {"nodes": n, "topology": topology, "dissemination": dissemination, "network": network}
        case |= [*COSTS, {"bandwidth_mbps": 5.0}][(a + b + 2 * again) % 5] | {"transport": pick.choice(["stream", "datagram"])}
        case |= {"cores": pick.choice([1, 2, 4]), "seed": pick.getrandbits(62), "window": pick.choice([1, 2, 3, 64])}
        case |= {"authentication": pick.choice(["ed25519", "bls", "mac"]), "payload_bytes": pick.choice([64, 512, 20_000])}
        case |= {"batch": pick.choice([1, 1, 4]), "patience": pick.choice([None, None, 1.1, 1.5, 4.0])}
        case |= {"load": LOADS[(2 * a + b + 3 * again) % 5], "many": pick.randint(1, 5)}
        if network == "ideal":  # without draws arrivals coincide, and rounding decides which of them is the first
            case["delay"] = "exponential(2)"
        f = (n - 1) // 3
        cut = topology != "fully_connected"  # the silent cut others off
        if silent := pick.choice([0, 0, 0, 0, 0, 0, 1, 1] if cut else [0, 0, 0, 1, f, f, f + 1]):
            case["placement"] = tuple(sorted(pick.sample(range(1, n), silent)))
        if pick.random() < 0.3:
            case["loss"] = pick.choice([0.03, 0.2])
        if pick.random() < 0.3:
            case["client_site"] = pick.choice([i for i in range(n) if i not in case.get("placement", ())])
        if pick.random() < 0.3:
            case["reply_quorum"] = pick.choice(["one", "quorum", "majority", "all"][: 3 if silent else 4])
        cases.append(case)
    return cases


def name(case: dict[str, Any]) -> str:
    return "-".join(str(case[key]) for key in ("topology", "dissemination", "network", "nodes", "load", "cores", "window"))


def prepare(case: dict[str, Any], replicate: int = 0) -> System:
    return build_system(make_plan(Scenario(engine="events", **case)), replicate)


def load_of(system: System) -> twin.Load:
    """The twin's plain description of a system and its load."""
    scenario, cluster, paths = system.plan.scenario, describe(system), system.paths
    costs = [
        {"receive": job.receive_ms, "transit": job.transit_ms, "sign": job.create_ms, "send": job.send_ms}
        for job in system.plan.jobs
    ]
    own = {}
    if paths.kind != DIRECT:
        limits = zip(paths.source.tolist(), paths.target.tolist(), system.network.edge_ms_per_byte.tolist(), strict=True)
        own = {(i, j): limit for i, j, limit in limits if limit > 0.0}
    return twin.Load(
        cluster=replace(cluster, rounds=tuple(table | cost for table, cost in zip(cluster.rounds, costs, strict=True))),
        per_ms=scenario.rate / scenario.batch / 1000.0,
        clients=scenario.clients or 0,
        client_site=scenario.client_site,
        window=scenario.window,
        timeout_ms=scenario.operation_timeout_ms,
        link_ms_per_byte=own,
    )


def faults_of(system: System, script: Any = None) -> fault_twin.Faults:
    """The twin's plain description of what goes wrong."""
    plan, scenario = system.plan, system.plan.scenario
    steps = [
        {
            "pattern": str(step.pattern),
            "senders": str(step.senders),
            "votes": quorum_size(step.quorum, scenario.nodes, plan.faults),
            "own": step.own_counts,
            "primary": step.primary_counts,
            "bytes": float(job.size_bytes),
            "receive": job.receive_ms,
            "transit": job.transit_ms,
            "sign": job.create_ms,
            "send": job.send_ms,
            "quorum": job.quorum_ms,
        }
        for step, job in zip(plan.protocol.rounds, plan.jobs, strict=True)
    ]
    rows = []
    if script is not None:
        fields = [getattr(script, name).tolist() for name in fault_twin.Row._fields]
        rows = [fault_twin.Row(*row) for row in zip(*fields, strict=True)]
    return fault_twin.Faults(
        steps=tuple(steps),
        behaviour=tuple(WORDS[code] for code in system.behaviour),
        rotating=scenario.primary_policy == "rotating",
        timing=plan.timing or (timing_of(scenario) if rows else None),
        costs=plan.views,
        quorum=plan.quorum,
        tolerated=plan.faults,
        flood_factor=scenario.flood_factor,
        script=tuple(rows),
    )


def expect(system: System, count: int, replicate: int) -> list[twin.Operation]:
    """What the twin says, and where replicas are faulty the one that knows what that means."""
    if system.plan.scenario.byzantine_count:
        return fault_twin.simulate(load_of(system), faults_of(system), system.plan.scenario.seed, count, replicate).operations
    return twin.simulate(load_of(system), system.plan.scenario.seed, count, replicate)


def resolved(case: dict[str, Any]) -> dict[str, Any]:
    """The case with its load in numbers: gaps between operations by what one takes at rest, and by the busiest resource."""
    case = dict(case)
    load, many, patience = case.pop("load"), case.pop("many"), case.pop("patience")
    system = prepare(case | {"rate": 0.0})
    ended = [o.latency_ms for o in twin.simulate(load_of(system), 1, 5) if o.latency_ms < INF]
    rest_ms = median(ended) if ended else 500.0
    busiest_ms = work_of(system).busiest_ms
    gap_ms = {
        "idle": 3.0 * rest_ms,
        "busy": max(1.3 * busiest_ms, rest_ms / 8.0),
        "overload": 0.3 * busiest_ms or rest_ms / 50.0,
    }
    if patience is not None:
        case["operation_timeout_ms"] = float(f"{patience * rest_ms:.3g}")
    if load == "closed":
        return case | {"clients": many}
    return case | {"rate": float(f"{case['batch'] * 1000.0 / gap_ms[load]:.3g}") if load != "rest" else 0.0}


def run(system: System, count: int, replicate: int = 0) -> tuple[Any, np.ndarray]:
    """(operations, starts) of the engine, no more of them arriving."""
    events = EventRun(system, replicate=replicate, last=count)
    return events.measure(count), events.start_ms[:count]


def tolerance_ms(system: System, expected: list[twin.Operation]) -> float:
    """What the engine's times may be off, ms.

    Clocks are in double precision and draws in single. Queues hand their errors on but do not make them larger, so a time is
    off by at most what the draws are off along the chain of hops that led to it. All of them together last no longer than the
    chain, and each is a product and a sum of rounded numbers. The error of their logarithm or table comes once for each hop. No
    chain has more hops than all operations in a row, nor is it longer than the run; where each operation has a system at rest
    for itself, it begins anew with an operation that starts at the time-out of the one before.
    """
    scenario, law = system.plan.scenario, law_of(system.plan.scenario)
    begin_ms = chain_ms = 0.0
    for one in expected:
        if one.start_ms == begin_ms + scenario.operation_timeout_ms and not scenario.rate and not scenario.clients:
            begin_ms = one.start_ms
        ends = (one.start_ms + one.latency_ms, one.proposed + one.flight_ms, one.committed)
        chain_ms = max([chain_ms, *(end - begin_ms for end in ends if end < INF)])
    error = {"none": 0.0, "constant": 0.0, "uniform": 0.0, "exponential": LOGARITHM}.get(law.name, TABLE * law.deviation)
    hops = (1 if system.paths.kind == DIRECT else scenario.nodes) * system.rounds.kind.size * len(expected)
    return 4 * ROUNDING * chain_ms + error * law.scale(float(system.paths.base_ms.max())) * hops + 1e-9


def compare(case: dict[str, Any], count: int = 24, replicate: int = 0) -> None:
    """Hold the engine against the twin."""
    system = prepare(case, replicate)
    got, start_ms = run(system, count, replicate)
    expected = expect(system, count, replicate)
    assert_alike(system, got, start_ms, expected, tolerance_ms(system, expected))


def end_ms(system: System, expected: list[twin.Operation]) -> float:
    """When the last operation was answered or given up."""
    return max(one.start_ms + min(one.latency_ms, system.plan.scenario.operation_timeout_ms) for one in expected)


def assert_alike(
    system: System, got: Any, start_ms: np.ndarray, expected: list[twin.Operation], slack: float, breakdown: bool = True
) -> None:
    """Hold operations of the engine against those of the twin.

    The engine stops when the last of them is done, with messages of view changes on their way. For what is at rest it may wait
    until a timer that nobody needs has run out.
    """
    scenario, inner = system.plan.scenario, len(system.plan.jobs)
    over = np.array([one.changing_ms < end_ms(system, expected) for one in expected])
    for field in ("sent", "useful", "repeats", "transmissions"):
        found, counts = getattr(got, field), np.array([getattr(one, field) for one in expected])
        counts = counts[:, : found.shape[1]]  # view changes are counted where there are faults
        np.testing.assert_array_equal(found[:, :inner], counts[:, :inner], field)
        np.testing.assert_array_equal(found[over, inner:], counts[over, inner:], f"{field} of view changes")
    for field in ("latency_ms", "commit_ms", "flight_ms"):
        times = [getattr(one, field) for one in expected]
        np.testing.assert_allclose(getattr(got, field), times, rtol=0, atol=slack, err_msg=field)
    if scenario.rate or scenario.clients or got.sent.shape[1] == inner:
        np.testing.assert_allclose(start_ms, [one.start_ms for one in expected], rtol=0, atol=slack, err_msg="start")
    if breakdown:
        ended = np.isfinite(got.latency_ms)
        parts = np.array([one.breakdown_ms for one in expected])
        np.testing.assert_allclose(got.breakdown_ms[ended], parts[ended], rtol=0, atol=2 * slack, err_msg="breakdown")


@pytest.mark.parametrize(
    "case",
    mixed_cases(),
    ids=name,
)
def test_mixed_scenarios(case):
    compare(resolved(case))


@pytest.mark.parametrize("setting", [
    {"cores": 1, "loss": 0.02, "rate": 300},
    {"loss": 0.5, "bandwidth_mbps": 1.0, "rate": 20, "payload_bytes": 2_000},
    {"loss": 0.3, "transport": "datagram", "bandwidth_mbps": 3.0, "rate": 200, "operation_timeout_ms": 40.0},
    {"authentication": "bls", "rate": 300, "cores": 2, "window": 3},
    {"authentication": "bls", "clients": 5, "cores": 1, "window": 1},
], ids=["one core", "stream", "datagram", "bls", "closed"])  # fmt: skip
@pytest.mark.parametrize("route", [("fully_connected", "direct"), ("random", "routed"), ("mesh", "gossip")], ids="-".join)
def test_heavy_traffic(route, setting):
    patient = {"placement": (5,), "view_timeout_ms": 1e6, "client_timeout_ms": 1e6}
    case = {"nodes": 9, "topology": route[0], "dissemination": route[1], "network": "lan"} | patient
    compare(case | setting, count=40, replicate=3)


def test_operations_go_on_arriving():
    """What is measured is what a longer run has there, warm-up left out."""
    case = {"nodes": 6, "network": "lan", "seed": 11, "rate": 900.0, "cores": 1, "window": 4}
    system = prepare(case)
    events = EventRun(system, warmup=10)
    events.measure(20)
    got = events.measure(60)
    expected = twin.simulate(load_of(system), 11, 200)
    assert expected[199].start_ms > max(one.start_ms + one.latency_ms for one in expected[:70]) + 20.0
    np.testing.assert_allclose(got.latency_ms, [one.latency_ms for one in expected[10:70]], rtol=0, atol=1e-4)
    for field in ("sent", "useful", "repeats", "transmissions"):
        np.testing.assert_array_equal(getattr(got, field), [getattr(one, field) for one in expected[10:70]], field)


def test_many_operations():
    compare({"nodes": 4, "network": "lan", "clients": 7, "seed": 2**63 - 1, "loss": 0.01, "profile": "light"}, count=300)


@pytest.mark.parametrize("route", ROUTES[:3] + ROUTES[7:9], ids="-".join)
def test_thirty_one_replicas(route):
    case = {"nodes": 31, "topology": route[0], "dissemination": route[1], "network": "lan", "byzantine_ratio": 0.2, "clients": 3}
    # clients apart would run out of patience at the same time
    compare(case | {"client_site": 30}, count=4, replicate=1)


@pytest.mark.parametrize(
    "law",
    LAWS,
    ids=lambda law: next(iter(law.values())),
)
@pytest.mark.parametrize("route", [("fully_connected", "direct"), ("random", "routed"), ("mesh", "gossip")], ids="-".join)
def test_laws_of_delay(law, route):
    free = FREE if law == {"delay": "constant(250)"} else {}
    case = {"nodes": 7, "topology": route[0], "dissemination": route[1], "network": "wan", "loss": 0.0, "seed": 3, "cores": 1}
    compare(case | {"clients": 3, "window": 2} | law | free)


@pytest.mark.parametrize("protocol", [
    pytest.param(one, id=one.name)
    for one in PROTOCOLS
])  # fmt: skip
@pytest.mark.parametrize("setting", [
    {},
    {"topology": "ring", "dissemination": "routed"},
    {"topology": "star"},
    COSTS[2],
    COSTS[3],
    {"transport": "datagram", "loss": 0.01, "operation_timeout_ms": 30.0},
    {"network": "ideal", "delay": "exponential(0.1)", "cores": 1, "window": 3, "rate": 1500.0},
    {"clients": 4, "window": 2, "authentication": "bls"},
], ids=["direct", "routed", "gossip", "nic", "free", "datagram", "busy", "closed"])  # fmt: skip
def test_made_up_protocols(protocol, setting):
    """The engine knows no protocol: tables of other patterns, sizes, costs and quorums run as the twin reads them."""
    compare({"nodes": 7, "protocol": protocol, "network": "lan", "seed": 5, "rate": 150.0} | setting)


def test_regions():
    regions = ("us-east-1", "eu-west-1", "ap-northeast-1")
    compare({"nodes": 10, "environment": "multi_region_cloud", "regions": regions, "loss": 0.01, "rate": 40.0})


def limited(graph: nx.Graph) -> nx.Graph:
    nx.set_edge_attributes(graph, 1.0, "bandwidth_mbps")
    return graph


@pytest.mark.parametrize("dissemination", ["routed", "gossip"])
@pytest.mark.parametrize("cost", [{}, {"free_cpu": True}, {"cores": 1}], ids=["cpu", "line", "one core"])
def test_links_with_attributes(dissemination, cost):
    graph = limited(nx.cycle_graph(8))
    graph.add_edge(0, 4, delay_ms=3.0, bandwidth_mbps=0.4, loss=0.3)
    graph.add_edge(2, 7, delay_ms=900.0)
    compare({"topology": graph, "dissemination": dissemination, "network": "lan", "rate": 60.0} | cost)


@pytest.mark.parametrize("cost", [{}, {"free_cpu": True}, FREE], ids=["cpu", "line", "free"])
def test_limited_links_of_a_complete_graph(cost):
    compare({"topology": limited(nx.complete_graph(6)), "network": "lan", "loss": 0.05, "rate": 100.0} | cost)


@pytest.mark.parametrize("dissemination", ["routed", "gossip"])
def test_replicas_that_the_silent_cut_off(dissemination):
    case = {"topology": "ring", "dissemination": dissemination, "placement": (1, 3), "bandwidth_mbps": 1.0, "clients": 3}
    compare({"nodes": 10, "network": "lan", "window": 2, "loss": 0.0} | case)


COMPLETE, RING = limited(nx.complete_graph(6)), limited(nx.cycle_graph(4))


@pytest.mark.parametrize("case", [
    pytest.param(
        {"nodes": 4, "cores": 1, "loss": 0.3, "bandwidth_mbps": 1.0, "authentication": "bls", "rate": 20.0},
        id="repeats",
    ),
    pytest.param({"nodes": 7, "cores": 2, "bandwidth_mbps": INF, "clients": 4, "window": 3}, id="cores"),
    pytest.param(
        {"topology": COMPLETE, "cores": 1, "bandwidth_mbps": INF, "authentication": "bls", "rate": 100.0, "seed": 1},
        id="requests over limited links",
    ),
    pytest.param({"nodes": 4, "rate": 0.0, "network": "wan", "operation_timeout_ms": 40.0}, id="late"),
    pytest.param({"topology": RING, "dissemination": "gossip", "rate": 0.0, **FREE}, id="instant"),
    pytest.param(
        {"nodes": 4, "cores": 1, "clients": 5, "window": 1, "operation_timeout_ms": 15.0, "loss": 0.0},
        id="timers that run out together",
    ),
])  # fmt: skip
def test_what_the_twin_found(case):
    """Seen to fail: each was a fault of the engine, or of the page that it and the twin follow."""
    compare({"network": "lan"} | case)


# The twin alone.


@pytest.mark.parametrize("setting", [
    {},
    {"network": "poor", "loss": 0.2},
    {"network": "poor", "loss": 0.2, "transport": "datagram", "operation_timeout_ms": 3_000.0},
    {"topology": "mesh", "dissemination": "routed", "loss": 0.1},
    {"topology": "ring", "loss": 0.0},
    {"protocol": PROTOCOLS[-1]},
], ids=["wan", "stream", "datagram", "routed", "gossip", "made up"])  # fmt: skip
def test_an_operation_alone_is_as_in_the_rounds_twin(setting):
    system = prepare({"nodes": 7, "network": "wan", "rate": 0.0, **FREE} | setting)
    alone = rounds_twin.simulate(describe(system), 0, [(o, 0) for o in range(24)])
    for one, other in zip(twin.simulate(load_of(system), 0, 24), alone, strict=True):
        assert (one.sent, one.useful, one.repeats) == (other.sent, other.useful, other.repeats)
        assert one.latency_ms == pytest.approx(other.latency_ms, rel=0, abs=1e-7)
        assert one.commit_ms == pytest.approx(other.commit_ms, rel=0, abs=1e-7)
        assert one.breakdown_ms == pytest.approx(other.breakdown_ms, rel=0, abs=1e-7)


@pytest.mark.parametrize("n", [4, 10, 13])
def test_three_rounds_of_constant_delay(n):
    load = load_of(prepare({"nodes": n, "delay": "constant(250)", "loss": 0.0, "clients": 2, **FREE}))
    for one in twin.simulate(load, 0, 8):
        assert (one.commit_ms, one.flight_ms) == (750.0, 750.0)
        assert sum(one.sent[1:4]) == sum(one.transmissions[1:4]) == 2 * n * (n - 1)
        # co-located clients have no hop
        assert one.latency_ms in (1000.0, 1250.0)
        assert one.sent[4] - one.transmissions[4] == 1


def test_one_core_is_a_single_server():
    """Every request takes the primary 1 ms and all else nothing: waits follow Lindley's recursion."""
    case = {"nodes": 4, "delay": "constant(0)", "loss": 0.0, "cores": 1, "client_site": 0, "reply_quorum": "one", **FREE}
    load = load_of(prepare(case))
    tables = tuple(table | {"receive": float(table["kind"] == "to_primary")} for table in load.cluster.rounds)
    operations = twin.simulate(replace(load, cluster=replace(load.cluster, rounds=tables), per_ms=0.6, window=10**9), 7, 600)
    wait_ms, start_ms = 0.0, operations[0].start_ms
    for one in operations:
        wait_ms, start_ms = max(0.0, wait_ms + 1.0 - (one.start_ms - start_ms)) if one.start_ms > start_ms else 0.0, one.start_ms
        assert one.latency_ms == pytest.approx(wait_ms + 1.0, rel=0, abs=1e-9)
        assert one.breakdown_ms == pytest.approx([0.0, 0.0, 1.0, wait_ms, 0.0, 0.0], rel=0, abs=1e-9)
    assert mean(b.start_ms - a.start_ms for a, b in pairwise(operations)) == pytest.approx(1.0 / 0.6, rel=0.1)


@pytest.mark.parametrize("window", [1, 3])
def test_clients_wait_for_answers_and_the_primary_for_places(window):
    load = load_of(prepare({"nodes": 4, "network": "lan", "clients": 5, "window": window, "cores": 1}))
    operations = twin.simulate(load, 3, 60)
    for one in operations[:-5]:
        at = one.start_ms + one.latency_ms / 2.0
        assert sum(other.start_ms <= at < other.start_ms + other.latency_ms for other in operations) == 5
        at = one.proposed + one.flight_ms / 2.0
        assert sum(other.proposed <= at < other.proposed + other.flight_ms for other in operations) <= window


def test_a_flood_crosses_every_link_but_those_by_which_it_came():
    system = prepare({"nodes": 9, "topology": "random", "network": "lan", "loss": 0.0, "rate": 300.0, "seed": 2})
    edges = system.paths.target.size - 8
    for one in twin.simulate(load_of(system), 2, 10):
        assert one.transmissions[1:4] == [edges, 8 * edges, 9 * edges]
