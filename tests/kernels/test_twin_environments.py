"""Both engines against their plain-Python twins where replicas share hosts or are behind last miles, draw for draw."""

from __future__ import annotations

import random
from itertools import product
from typing import Any

import pytest

from tests.kernels import test_event_faults_twin as faults
from tests.kernels import test_events_twin as events
from tests.kernels import test_twin as rounds
from tests.kernels import test_twin_faults as faulty_rounds

HOSTS: dict[str, Any] = {"environment": "docker_cluster"}
EDGE: dict[str, Any] = {"environment": "hybrid_edge"}
ENVIRONMENTS: list[dict[str, Any]] = [
    HOSTS | {"replicas_per_host": 3, "host_cores": 4},
    HOSTS | {"replicas_per_host": 2, "host_cores": 64, "bandwidth_mbps": 5.0, "bridge_delay_ms": 1.0},
    EDGE | {"edge_share": 0.4, "bandwidth_mbps": 1000.0},
    EDGE | {"edge_share": 1.0, "edge_loss": 0.05, "edge_cpu_share": 0.1, "edge_uplink_mbps": 2.0},
]


def mixed_cases() -> list[dict[str, Any]]:
    """Every route in every environment, other axes drawn."""
    pick = random.Random(20241128)
    cases = []
    for environment, (topology, dissemination) in product(ENVIRONMENTS, rounds.ROUTES):
        case: dict[str, Any] = environment | {"topology": topology, "dissemination": dissemination}
        case |= {"nodes": pick.randint(4, 8 if dissemination == "gossip" else 11), "network": pick.choice(["lan", "wan", "poor"])}
        case |= {
            "batch": 1,
            "cores": pick.choice([1, 2, 4]),
            "seed": pick.getrandbits(62),
            "transport": pick.choice(["stream", "datagram"]),
        }
        case |= {"authentication": pick.choice(["ed25519", "bls", "mac"]), "payload_bytes": pick.choice([64, 512, 20_000])}
        cases.append(case)
    return cases


def name(case: dict[str, Any]) -> str:
    return "-".join(str(case[key]) for key in ("environment", "cores", "topology", "dissemination", "network", "nodes"))


@pytest.mark.parametrize("case", mixed_cases(), ids=name)
def test_rounds(case):
    pick = random.Random(case["seed"])
    rounds.compare(case | {"rate": pick.choice([0.0, 20.0, 150.0])})


@pytest.mark.parametrize("case", mixed_cases(), ids=name)
def test_events(case):
    pick = random.Random(case["seed"] + 1)
    more = {"load": pick.choice(events.LOADS), "many": pick.randint(1, 5), "patience": pick.choice([None, None, 1.5])}
    events.compare(events.resolved(case | more))


BEHAVIOURS = ["silent", "delay:0.5,silent:0.5", "equivocate", "flood", "drop_relay:0.5,flood:0.5"]
FAULTY = [
    environment | {"behaviour": behaviour, "dissemination": dissemination, "topology": topology}
    for environment in ENVIRONMENTS
    for behaviour, (topology, dissemination) in zip(
        BEHAVIOURS,
        [rounds.ROUTES[0], ("mesh", "gossip"), rounds.ROUTES[0], ("random", "routed"), ("mesh", "gossip")],
        strict=True,
    )
]


@pytest.mark.parametrize("case", FAULTY, ids=lambda case: "-".join(map(str, case.values())))
def test_faults(case):
    settings = {"nodes": 7, "placement": (0, 3), "flood_factor": 2, "seed": 4, "network": "lan"} | case
    faulty_rounds.compare_faults(settings | {"rate": 0.0})
    faults.compare(settings | {"rate": 20.0, "operation_timeout_ms": 5000.0})
