"""Faults that only the graph, the links or the law of a scenario can show, found before any is simulated."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from prsm_scale.metrics import why_infeasible
from prsm_scale.plans import lay_foundation

_OF_PLAN = ("topology", "graph_digest", "network", "environment", "protocol", "seed", "nodes")
"""What the scenarios of a sweep may differ in that can be at fault; their other axes take any allowed value."""


def check_scenarios(scenarios: Iterable[Any]) -> None:
    """Build graph and links of every scenario that would be simulated, and throw them away.

    They take some hundredths of a second at n = 1000, a hundredth of what a simulation takes.

    Raises
    ------
    UsageError
        As in `prsm_scale.plans.lay_foundation`.
    """
    feasible = (scenario for scenario in scenarios if not why_infeasible(scenario))
    for scenario in {tuple(getattr(one, name) for name in _OF_PLAN): one for one in feasible}.values():
        lay_foundation(scenario)
