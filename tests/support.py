"""Runs of single systems at the boundary to the kernels, for tests that change arrays or look behind the metrics."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np

from prsm_kernels import Batch, Scratch, make_scratch, simulate
from prsm_kernels.codes import DIRECT
from prsm_scale.batches import empty_batch
from prsm_scale.capacity import work_of
from prsm_scale.config import Scenario
from prsm_scale.plans import make_plan
from prsm_scale.system import System, build_system
from prsm_scale.waiting import loaded

INF = float("inf")
FREE: dict[str, Any] = {"free_cpu": True, "bandwidth_mbps": INF, "rate": 0}
"""Messages cost nothing and do not wait for one another."""
IDEAL: dict[str, Any] = {"network": "ideal", **FREE}


def system_of(replicate: int = 0, **settings: Any) -> System:
    """The system of a scenario, waiting behind other operations included."""
    scenario = Scenario(**settings)
    system = build_system(make_plan(scenario), replicate)
    rate = scenario.rate / scenario.batch / 1000.0
    return loaded(system, work_of(system), rate, scenario.duration_s * 1000.0)


def run_system(
    system: System, operations: int = 16, first: int = 0, client: Any = None, budget: int = 1 << 30
) -> tuple[Batch, Scratch]:
    """Simulate operations first, first + 1, ... of replicate 0, and return what the kernel filled."""
    number = np.arange(first, first + operations, dtype=np.uint32)
    batch = empty_batch(system, np.zeros(operations, np.uint32), number)
    if client is not None:
        batch = batch._replace(client=np.broadcast_to(np.asarray(client, np.int32), batch.client.shape).copy())
    scratch = make_scratch(system.rounds, system.paths, system.machines)
    while not simulate(system.rounds, system.paths, system.plan.law, system.machines, batch, scratch, budget):
        pass
    return batch, scratch


def with_base(system: System, base_ms: Any) -> System:
    """The system with other base delays of its links."""
    return replace(system, paths=system.paths._replace(base_ms=np.ascontiguousarray(base_ms, np.float32)))


def from_primary_ms(system: System) -> np.ndarray:
    """Distance of each replica from the primary, inf where nothing gets to it from there."""
    n, paths = system.alive.size, system.paths
    if paths.kind == DIRECT:
        return paths.base_ms.reshape(n, n)[:, system.primary]
    return system.network.distance_ms.reshape(n, n)[system.primary]


def operations(latency_ms: np.ndarray, waits: np.ndarray | None = None, lost_ms: float = 0.0, starts: int = 1) -> Any:
    """What estimates read of operations, each of its own; none has waited by default."""
    waits = np.zeros((latency_ms.size, 2)) if waits is None else waits
    lost = np.full(latency_ms.size, lost_ms)
    return SimpleNamespace(latency_ms=latency_ms, waits=waits, lost_ms=lost, starts=starts, alike=None)
