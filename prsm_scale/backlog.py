"""What has piled up before an operation where more is offered than a system can do."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from prsm_kernels import LANES
from prsm_kernels.codes import QUEUEING
from prsm_scale.outcome import Operations, join
from prsm_scale.places import stride
from prsm_scale.plans import Plan

COPY = 1 << 20
"""Added to an operation's number for each further start."""


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
