"""Faults that only the graph, the links or the law of a scenario can show, found before any is simulated."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from prsm_scale.metrics import why_infeasible
from prsm_scale.system import make_plan

_OF_PLAN = ("topology", "graph_digest", "network", "environment", "protocol", "seed", "nodes")
"""What the scenarios of a sweep may differ in that can be at fault; their other axes take any allowed value."""


def check_scenarios(scenarios: Iterable[Any]) -> None:
    """Make the plan of every scenario that would be simulated, and throw it away.

    A plan takes some hundredths of a second at n = 1000, a hundredth of what its simulation takes.

    Raises
    ------
    UsageError
        As in `prsm_scale.system.make_plan`.
    """
    feasible = (scenario for scenario in scenarios if not why_infeasible(scenario))
    for scenario in {tuple(getattr(one, name) for name in _OF_PLAN): one for one in feasible}.values():
        make_plan(scenario)
