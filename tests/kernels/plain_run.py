"""Small systems of every kind, run through the kernels; with NUMBA_DISABLE_JIT=1 these are plain Python.

``python -m tests.kernels.plain_run FILE`` stores the results as an .npz file.
"""

from __future__ import annotations

import sys
from typing import Any

import networkx as nx
import numpy as np

from prsm_kernels import kth_arrivals, sample_hops, sort_lanes, stream_key, uniforms
from prsm_kernels.event_types import LOGGED, EventScript
from prsm_scale.events import EventRun
from tests.support import FREE, run_system, system_of


def _limited() -> nx.Graph:
    graph = nx.complete_graph(4)
    nx.set_edge_attributes(graph, 20.0, "delay_ms")
    nx.set_edge_attributes(graph, {(0, 1): 2.0, (2, 3): 1.0}, "bandwidth_mbps")
    return graph


SYSTEMS: dict[str, dict[str, Any]] = {
    "direct, free": {**FREE},
    "routed, free": {**FREE, "topology": "ring", "dissemination": "routed"},
    "gossip, free": {**FREE, "topology": "ring"},
    "direct, contended": {},
    "routed, contended": {"topology": "star", "dissemination": "routed"},
    "gossip, contended": {"topology": "ring"},
    "one core, poor line, busy": {"network": "poor", "cores": 1, "payload_bytes": 4000, "rate": 100, "jitter": "gamma"},
    "datagrams": {"transport": "datagram", "loss": 0.2, "jitter": "none"},
    "relayed datagrams": {"topology": "ring", "transport": "datagram", "loss": 0.1, "rate": 200, "seed": 5},
    "aggregated signatures": {"authentication": "bls", "delay": "normal(250,50)", "network": "ideal"},
    "a silent one": {"placement": (2,), "topology": "ring", "nodes": 7, **FREE},
    "cut in two": {"placement": (2, 5), "topology": "ring", "dissemination": "routed", "nodes": 8},
    "cut in two, gossip": {"placement": (2, 5), "topology": "ring", "nodes": 8},
    "narrow links": {"topology": _limited()},
    "narrow lines": {"topology": "star", "nodes": 6, "network": "poor", "payload_bytes": 20_000, "cores": 1},
    "shared hosts": {"environment": "docker_cluster", "replicas_per_host": 2, "nodes": 5, "rate": 300},
    "shared hosts, gossip": {
        "environment": "docker_cluster",
        "replicas_per_host": 2,
        "nodes": 6,
        "topology": "ring",
        "rate": 200,
    },
    "last miles": {"environment": "hybrid_edge", "topology": "star", "dissemination": "routed", "nodes": 5},
}


SCRIPTED: dict[str, Any] = {"script": True, "view_timeout_ms": 60.0}
EVENTS: dict[str, dict[str, Any]] = {
    "direct, at rest": {"rate": 0},
    "direct, free": {**FREE},
    "routed, lost copies": {"topology": "star", "dissemination": "routed", "loss": 0.2, "rate": 50},
    "gossip, one core": {"topology": "mesh", "nodes": 5, "mesh_degree": 2, "cores": 1, "rate": 200},
    "gossip, free": {**FREE, "topology": "ring"},
    "closed loop, narrow window": {"clients": 3, "window": 1, "engine": "events", "authentication": "bls"},
    "datagrams, in a hurry": {"transport": "datagram", "loss": 0.3, "operation_timeout_ms": 300.0, "window": 1, "rate": 30},
    "a silent one": {"placement": (2,), "rate": 20},
    "cut in two": {"placement": (2, 5), "topology": "ring", "dissemination": "routed", "nodes": 8, "rate": 20},
    "narrow links": {"topology": _limited(), "rate": 50},
    "shared hosts": {"environment": "docker_cluster", "replicas_per_host": 2, "nodes": 5, "rate": 100},
    "last miles": {"environment": "hybrid_edge", "topology": "ring", "nodes": 5, "rate": 50},
    "a silent primary": {"placement": (0,), "rate": 20, "client_site": 3},
    "an equivocating primary, busy": {"nodes": 5, "placement": (0,), "behaviour": "equivocate", "rate": 300, "window": 2},
    "flood and delay by gossip": {
        "nodes": 7, "topology": "ring", "placement": (0, 2), "behaviour": "flood:0.5,delay:0.5", "flood_factor": 2, "rate": 30,
    },
    "turns, and a relay that drops": {
        "nodes": 5, "placement": (1,), "behaviour": "drop_relay", "topology": "ring", "dissemination": "routed", "rate": 20,
        "primary_policy": "rotating",
    },
    "too many": {"placement": (0, 1), "operation_timeout_ms": 900.0, "view_timeout_ms": 50.0, "rate": 0},
    "crash, partition and loss": {"nodes": 5, "rate": 60, "transport": "datagram", "operation_timeout_ms": 3000.0, **SCRIPTED},
}  # fmt: skip


def _script(nodes: int) -> EventScript:
    """The first primary crashes, and recovers; then a partition, and all goes slower."""
    quiet = np.ones((4, nodes))
    script = EventScript(
        at_ms=np.array([0.0, 20.0, 250.0, 600.0]), alive=quiet.astype(np.uint8), slow=quiet * [[1.0], [1.0], [2.0], [1.0]],
        group=np.zeros((4, nodes), np.int32), hold_ms=quiet * [[0.0], [0.0], [1.0], [0.0]],
        loss=np.array([0.0, 0.1, 0.2, 0.0], np.float32), delay_ms=np.array([0.0, 1.0, 0.0, 0.0]),
    )  # fmt: skip
    script.alive[1, 0] = 0
    script.group[2, 1:3] = 1
    return script


def followed(script: bool = False, **settings: Any) -> dict[str, np.ndarray]:
    """What the events engine gives of a few operations, its log included."""
    system = system_of(**({"nodes": 4, "seed": 3} | settings))
    run = EventRun(system, warmup=1, script=_script(system.alive.size) if script else None)
    run.log(1, 3)
    found = run.measure(3)
    names = ("latency_ms", "commit_ms", "flight_ms", "breakdown_ms", "sent", "useful", "repeats", "transmissions")
    used = int(run.state.scalars[LOGGED])
    return {name: getattr(found, name) for name in names} | {"log": run.state.log[:used], "log_ms": run.state.log_ms[:used]}


def results() -> dict[str, np.ndarray]:
    """All that each system's kernel fills, and the kernels that systems this small do not reach."""
    found: dict[str, np.ndarray] = {}
    for name, settings in SYSTEMS.items():
        system = system_of(**({"nodes": 4, "seed": 3} | settings))
        for budget in (1 << 30, 1):
            batch, _ = run_system(system, 16, budget=budget)
            if budget == 1:
                assert np.array_equal(batch.latency_ms, found[f"{name}: latency_ms"])
            for field in ("latency_ms", "commit_ms", "breakdown_ms", "sent", "useful", "repeats"):
                found[f"{name}: {field}"] = getattr(batch, field)
    for name, settings in EVENTS.items():
        found |= {f"events, {name}: {field}": values for field, values in followed(**settings).items()}
    row = uniforms(1, 1, np.arange(300 * 16)).astype(np.float32)
    found["kth_arrivals"] = np.empty(32, np.float32)
    kth_arrivals(row, 37, found["kth_arrivals"])
    sort_lanes(row, 300)
    found["sort_lanes"] = row
    found["sample_hops"] = np.empty(2 * 64, np.float32)
    law = system_of(nodes=4, network="poor").plan.law
    key = np.array(stream_key(1, 1), np.uint32)
    sample_hops(key, np.array([10, 20], np.float32), np.array([0, 0.3], np.float32), law, found["sample_hops"])
    return found


if __name__ == "__main__":
    np.savez(sys.argv[1], **results())
