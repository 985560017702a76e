"""A ladder is a list of tasks, each with what it simulates and what it makes of it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from prsm_scale.config import Scenario
from prsm_scale.ladders.checks import Check
from prsm_scale.outcome import Outcome

Simulate = Callable[[Scenario], Outcome]


@dataclass(frozen=True)
class Task:
    """Some scenarios of a ladder and the checks that come of them.

    Attributes
    ----------
    name : str
        Shown while it runs.
    run : callable
        Takes a function that simulates a scenario, and returns the checks.
    """

    name: str
    run: Callable[[Simulate], Iterable[Check]]


def about(scenario: Scenario) -> dict[str, Any]:
    """Fields of a check that a scenario decides."""
    return {"engine": scenario.engine, "nodes": scenario.nodes, "scenario": scenario.model_dump_json()}
