"""What has piled up before an operation where more is offered than a system can do."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from prsm_kernels import LANES
from prsm_kernels.codes import QUEUEING
from prsm_scale.outcome import COPY, Capacity, Operations, join
from prsm_scale.places import stride
from prsm_scale.plans import Plan


def backlog_ms(scenario: Any, rho: Any, start: Any) -> NDArray[np.float64]:
    """Wait for what has piled up where the busiest resource is so utilised, by the share of the test that has passed, 0 to 1."""
    return np.asarray((scenario.warmup_s + start * scenario.duration_s) * 1000.0 * np.maximum(rho - 1.0, 0.0), np.float64)


def all_late(scenario: Any, demand_ms: float) -> bool:
    """Whether what piles up before the test begins keeps every operation of it waiting for longer than it may take."""
    return bool(backlog_ms(scenario, scenario.proposals_per_ms * demand_ms, 0.0) > scenario.operation_timeout_ms)


def with_backlog(plan: Plan, operations: Operations, rho: NDArray[np.float64], starts: int, together: int) -> Operations:
    """Above capacity the backlog grows for the test's duration, and each operation waits for what it finds.

    Each operation starts as often as told, in each of the systems whose utilisation is given in turn, and the starts of some
    operations together are spread evenly over the test.
    """
    if starts == 1 and rho[0] <= 1.0:
        return operations
    scenario, count = plan.scenario, operations.operation.size
    apart = LANES // together
    together, place = (count, np.arange(count)) if starts == 1 else (together, np.arange(count) // apart % together)
    times = starts * together
    turn = np.add.outer(np.arange(starts) * together, place).ravel()
    start = (turn * stride(times) % times + 0.5) / times
    operations = join([replace(operations, operation=operations.operation + np.uint32(again * COPY)) for again in range(starts)])
    behind = backlog_ms(scenario, np.repeat(rho[np.arange(starts) % rho.size], count), start)
    breakdown = operations.breakdown_ms.copy()
    breakdown[:, QUEUEING] += behind
    return replace(operations, latency_ms=operations.latency_ms + behind, breakdown_ms=breakdown)


def binding_ms(demands: Sequence[Sequence[dict[str, float]]]) -> list[list[float]]:
    """What a proposal takes of the busiest resource of each system; a window that no operation leaves is none."""
    return [[max(value for value in demand.values() if np.isfinite(value)) for demand in each] for each in demands]


def mean_capacity(scenario: Any, parts: Sequence[Operations], demands: Sequence[Sequence[dict[str, float]]]) -> Capacity:
    """What systems can do and have done, on average.

    Parameters
    ----------
    scenario : Scenario
    parts : sequence of Operations
        Those of each placement, whose starts find the backlogs of some systems in turn.
    demands : sequence of sequence of dict of str to float
        What a proposal takes of each resource in each of these systems, ms.
    """
    per_ms, resource = scenario.proposals_per_ms, defaultdict[str, float](float)
    most, done, weights = [], [], []
    for part, each, bounds in zip(parts, demands, binding_ms(demands), strict=True):
        latency_ms = part.latency_ms.reshape(part.starts, -1)
        for turn, (demand, bound) in enumerate(zip(each, bounds, strict=True)):
            found = latency_ms[turn :: len(bounds)]
            ended, in_time = float(np.isfinite(found).mean()), float((found <= scenario.operation_timeout_ms).mean())
            weights.append(found.size / part.starts)
            most.append(0.0 if ended == 0.0 else ended / bound if bound > 0.0 else np.inf)
            # of a growing backlog, what the test's duration leaves unserved is not done
            done.append(per_ms * min(in_time, ended / max(1.0, per_ms * bound)))
            if ended > 0.0 and bound > 0.0:
                resource[next(name for name, value in demand.items() if value == bound)] += ended * weights[-1]
    known = [demand for each in demands for demand in each]
    demand_ms = {name: float(np.average([one[name] for one in known], weights=weights)) for name in known[0]}
    saturation, served = float(np.average(most, weights=weights)), float(np.average(done, weights=weights))
    return Capacity(saturation, max(sorted(resource), key=lambda name: resource[name], default=None), demand_ms, served)
