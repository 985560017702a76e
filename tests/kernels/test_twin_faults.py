"""The rounds engine with faulty replicas against its plain-Python twin, draw for draw.

Which rounds an operation goes through, after which time-outs, and whose messages count in them, the twin derives from
docs/faults.md on its own (`tests.reference.views_twin`). Late in an operation single precision tells close arrivals no more
apart, and engine and twin may handle them in another order: such a case gets another seed, its tolerance stays.
"""

from __future__ import annotations

import random
from itertools import product
from typing import Any

import numpy as np
import pytest

from prsm_scale.at_rest import latencies_at_rest
from prsm_scale.config import Scenario
from prsm_scale.faults import behaviours
from prsm_scale.places import Place
from prsm_scale.plans import make_plan, relay_centrality
from prsm_scale.system import build_system
from tests.kernels.test_twin import COSTS, GRAPHS, INF, PROTOCOLS, WORDS, compare_system, run, setting_of
from tests.reference import views_twin as views
from tests.reference.delay_twin import PLACEMENT, uniform

PRIMARY = 7
"""Domain of the draw that says where an operation starts."""
MIXES = [
    "silent", "delay", "equivocate", "flood", "drop_relay",
    "silent:0.5,equivocate:0.5", "delay:0.5,flood:0.5", "equivocate:0.4,flood:0.3,silent:0.3", "flood:0.5,equivocate:0.5",
]  # fmt: skip
WAYS = ["direct", "routed", "gossip"]


def mixed_cases() -> list[dict[str, Any]]:
    """Every behaviour and mix over every way of dissemination, three times; other axes drawn."""
    pick = random.Random(20250316)
    cases = []
    for (a, mix), (b, way), again in product(enumerate(MIXES), enumerate(WAYS), range(3)):
        n = pick.randint(4, 8 if way == "gossip" else 13)
        f, graph = (n - 1) // 3, pick.choice(GRAPHS if way == "direct" else GRAPHS[1:])
        count = pick.choice([1, f, f, f + 1]) if ":" not in mix else pick.choice([2, 3, f + 1])
        first = pick.choice([0, 0, n - count + 1])  # in a row, as views come, or anywhere
        chosen = sorted({(first + k) % n for k in range(count)}) if pick.random() < 0.7 else sorted(pick.sample(range(n), count))
        case: dict[str, Any] = {"nodes": n, "topology": "fully_connected" if way == "direct" else graph, "dissemination": way}
        case |= {"behaviour": mix, "placement": tuple(chosen), "network": pick.choice(["lan", "wan", "poor"])}
        case |= COSTS[(a + b + again) % 4] | {"cores": pick.choice([1, 1, 4]), "rate": pick.choice([0, 0, 20])}
        case |= {"transport": pick.choice(["stream", "stream", "datagram"]), "seed": pick.getrandbits(62)}
        case |= {"authentication": pick.choice(["ed25519", "bls", "mac"]), "flood_factor": pick.choice([1, 4])}
        case |= {"primary_policy": "rotating" if again == 2 else "stable", "from_view_0": again == 1}
        if pick.random() < 0.4:
            case["loss"] = pick.choice([0.0, 0.1])
        if pick.random() < 0.4:
            case["view_timeout_ms"] = float(pick.randint(900, 3000))
            case["client_timeout_ms"] = pick.choice([None, 400.0, 5000.0])
        cases.append(case)
    return cases


def name(case: dict[str, Any]) -> str:
    keys = ("behaviour", "dissemination", "topology", "nodes", "network", "transport", "primary_policy")
    return "-".join(str(case[key]) for key in keys) + "-from-view-0" * case["from_view_0"]


def place_of(case: dict[str, Any], replicate: int = 0) -> Place:
    plan = make_plan(Scenario(**case))
    return Place(plan, behaviours(plan.scenario, replicate, relay_centrality(plan)), plan.scenario.proposals_per_ms)


def compare_faults(case: dict[str, Any], replicate: int = 0) -> None:
    """Hold the engine against the twin: settled, from the first view on, or from where the primaries' rotation has come to."""
    case = dict(case)
    from_view_0 = case.pop("from_view_0", False)
    place = place_of(case, replicate)
    setting, seed = setting_of(place.idle), place.plan.scenario.seed
    if from_view_0:
        system, _ = place.starting_with(0)
        assert system.first_primary == 0
        compare_system(system, range(16), replicate)
    elif case.get("primary_policy") == "rotating":
        numbers = np.arange(48, dtype=np.uint32)
        for system, _, at in place.turns(np.full(48, replicate, np.uint32), numbers):
            if views.first_serving(setting) is not None:
                blocks = {o // 16 * place.plan.scenario.replicates + replicate for o in at.tolist()}
                drawn = {views.rotating_first(setting, block, uniform(seed, PRIMARY, 0, 0)) for block in blocks}
                assert drawn == {system.first_primary}
            compare_system(system, at.tolist()[:16], replicate)
    else:
        assert place.system.first_primary == (views.first_serving(setting) or 0)
        compare_system(place.system, range(16), replicate)


@pytest.mark.parametrize("case", mixed_cases(), ids=name)
def test_mixed_faults(case):
    compare_faults(case)


@pytest.mark.parametrize("behaviour", ["silent", "equivocate", "silent:0.5,equivocate:0.5"])
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("faulty", [(0, 1, 2), (0, 1, 2, 3)], ids=len)
def test_several_primaries_in_a_row_fail(behaviour, way, faulty):
    """n = 14 and f = 4: an equivocating primary has 9 voices for A, with three or four of its kind, and the quorum is 10."""
    topology = "fully_connected" if way == "direct" else "mesh"
    case = {"nodes": 14, "topology": topology, "dissemination": way, "placement": faulty, "behaviour": behaviour}
    case |= {"network": "lan", "seed": 9, "cores": 1, "from_view_0": True, "authentication": "bls"}
    case |= {"view_timeout_ms": 100.0}  # later times are coarser in single precision
    compare_faults(case)
    system, _ = place_of({key: value for key, value in case.items() if key != "from_view_0"}).starting_with(0)
    assert system.course.view_changes > 0


def test_what_never_came_keeps_nobody_busy():
    """Replicas whose round never ends, as votes are lost or their values differ, go on in the next view.

    Seen to fail where the check of an aggregate that never was complete, or a lost vote, took a core for ever, so that those with
    one core had none left; where NEW-VIEW of an equivocating primary counted for nobody; and where it heard no VIEW-CHANGE.
    """
    common = {"placement": (0, 1), "behaviour": "equivocate", "cores": 1, "network": "lan", "rate": 0}
    for more in ({"nodes": 8, "authentication": "bls"}, {"nodes": 14, "transport": "datagram", "loss": 0.005, "seed": 4}):
        case = common | more
        compare_faults(case | {"from_view_0": True})
        system, _ = place_of(case).starting_with(0)
        assert system.course.view_changes == 2
        assert (run(system, range(48)).latency_ms < INF).sum() > 24


@pytest.mark.parametrize("protocol", PROTOCOLS, ids=lambda protocol: protocol.name)
@pytest.mark.parametrize("behaviour", ["silent", "equivocate", "flood", "delay"])
@pytest.mark.parametrize("policy", ["stable", "rotating"])
def test_made_up_protocols(protocol, behaviour, policy):
    case = {"nodes": 8, "protocol": protocol, "network": "lan", "seed": 6, "rate": 5, "cores": 1, "primary_policy": policy}
    compare_faults(case | {"placement": (0, 3), "behaviour": behaviour, "from_view_0": policy == "stable"})


@pytest.mark.parametrize("policy", ["stable", "rotating"])
def test_random_placements(policy):
    case = {"nodes": 10, "byzantine_ratio": 0.4, "behaviour": "silent:0.5,equivocate:0.25,flood:0.25", "primary_policy": policy}
    for replicate in range(6):
        compare_faults(case | {"network": "lan", "seed": 4, "rate": 0, "from_view_0": replicate % 2 == 0}, replicate)


@pytest.mark.parametrize(
    ("mix", "count", "dealt"),
    [
        ("silent", 3, "silent silent silent"),
        ("silent:0.5,equivocate:0.5", 4, "silent silent equivocate equivocate"),
        ("silent:0.5,equivocate:0.5", 3, "silent silent equivocate"),
        ("delay:0.3,flood:0.7", 3, "delay flood flood"),
        ("delay:0.2,flood:0.4,drop_relay:0.4", 4, "delay flood flood drop_relay"),
        ("equivocate:0.1,silent:0.9", 4, "silent silent silent silent"),
    ],
)
def test_behaviours_are_dealt_by_largest_remainder_in_the_order_of_choice(mix, count, dealt):
    """By hand; chosen are those of the first draws, so that more faults add to those of fewer."""
    scenario = Scenario(nodes=11, byzantine_ratio=count / 11, behaviour=mix, seed=99)
    order = sorted(range(11), key=lambda node: uniform(99, PLACEMENT, node, 5))
    expected = dict(zip(order, dealt.split(), strict=False))
    assert [WORDS[code] for code in behaviours(scenario, 5, None)] == [expected.get(i, "") for i in range(11)]


@pytest.mark.parametrize("more", [{}, {"topology": "ring", "network": "lan"}, {"delay": "constant(30)", "cores": 1}])
def test_time_outs_come_from_the_longest_of_sixteen_latencies(more):
    longest = latencies_at_rest(Scenario(nodes=7, seed=3, **more), 16).max()
    timing = make_plan(Scenario(nodes=7, seed=3, placement=(2,), rate=50, **more)).timing
    assert timing.view_timeout_ms == timing.client_timeout_ms == pytest.approx(max(4 * longest, 400.0))
    assert timing.hold_ms == pytest.approx(max(3 * longest, 400.0 - longest))
    lossless = make_plan(Scenario(nodes=7, seed=3, placement=(2,), loss=0.0, **more)).timing
    assert lossless.view_timeout_ms == pytest.approx(4 * lossless.latency_ms)
    own = make_plan(Scenario(nodes=7, seed=3, placement=(2,), view_timeout_ms=5 * longest, client_timeout_ms=7.0, **more)).timing
    assert (own.client_timeout_ms, own.hold_ms) == (7.0, pytest.approx(4 * longest))


@pytest.mark.parametrize("authentication", ["ed25519", "secp256k1", "bls", "mac"])
@pytest.mark.parametrize("n", [4, 12, 13])
def test_sizes_of_a_view_change(authentication, n):
    """docs/faults.md's table by hand: 44 B of headers, signatures of 64 B or 96 B, quorums of 3, 8 and 9."""
    q = {4: 3, 12: 8, 13: 9}[n]
    signature = 96 if authentication == "bls" else 64
    certificate = 40 + (96 + (n + 7) // 8 if authentication == "bls" else q * 64)
    change = 44 + 20 + signature + certificate
    plan = make_plan(Scenario(nodes=n, authentication=authentication, placement=(0,)))
    assert plan.views.change.size_bytes == change
    assert plan.views.new_view.size_bytes == 44 + 20 + signature + q * change


def test_votes_for_two_values():
    """Sides by hand: n = 9 with 0, 4 equivocating and 5 silent leaves 1, 2, 3 for A and 6, 7, 8 for B."""
    case = {"nodes": 9, "placement": (0, 4, 5), "behaviour": "equivocate:0.67,silent:0.33"}
    system = build_system(make_plan(Scenario(**case)), 0, first=0)
    assert system.course.legs[1].side[[0, 1, 2, 3, 4, 6, 7, 8]].tolist() == [3, 1, 1, 1, 3, 2, 2, 2]
    assert views.sides(setting_of(system), 0) == {
        i: {"A", "B"} if i in (0, 4) else {"A"} if i < 4 else {"B"} for i in (0, 1, 2, 3, 4, 6, 7, 8)
    }
    assert system.course.view_changes == 1 and system.primary == 1
