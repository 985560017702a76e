"""Latencies without faults and load."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from prsm_scale.batches import Runner
from prsm_scale.crew import Crew
from prsm_scale.latest import Latest
from prsm_scale.plans import at_rest, make_plan
from prsm_scale.system import build_system

_known: Latest[tuple[str, int], NDArray[np.float64]] = Latest(256)
"""By scenario and number: all shares of faulty replicas of a system have the same."""


def latencies_at_rest(scenario: Any, count: int) -> NDArray[np.float64]:
    """Latencies of the first operations of a scenario without faults and load, ms."""
    still = at_rest(scenario)

    def simulated() -> NDArray[np.float64]:
        system = build_system(make_plan(still), 0)
        number = np.arange(count, dtype=np.uint32)
        return Runner(Crew(1)).run(system, np.zeros(count, np.uint32), number, lambda *_: None).latency_ms

    return _known.get((still.scenario_id, count), simulated)
