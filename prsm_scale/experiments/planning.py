"""At which n of a system to try which changes."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from prsm_kernels import LANES
from prsm_scale.analysis.recommendation import Recommendation, recommended_max_nodes
from prsm_scale.analysis.scaling import groups
from prsm_scale.analysis.thresholds import Thresholds
from prsm_scale.atomic import strict
from prsm_scale.axes import Engine
from prsm_scale.columns import GROUP_COLUMNS
from prsm_scale.config import Scenario
from prsm_scale.errors import UsageError
from prsm_scale.experiments.candidates import Candidate, Change

if TYPE_CHECKING:
    import pandas as pd

MAX_MESSAGES: Final = 8_000_000
"""Messages that an experiment may cost, flooding counted four times: a tenth of a second, about."""
_MOST_BLOCKS: Final = 4


@dataclass(frozen=True)
class Trial:
    """A change, and the scenario that it makes of one without other operations; None where it makes none, and why."""

    change: Change
    scenario: Scenario | None
    why: str = ""


@dataclass(frozen=True)
class Plan:
    """What to try on one system.

    Attributes
    ----------
    axes : dict
        The system, by names of GROUP_COLUMNS.
    asked : Recommendation
        How many nodes are recommended at most, and what fails beyond.
    alone : Scenario or None
        The system as it is at the n that matters, without other operations; None where there is nothing to try.
    rate : float
        Operations offered per second; 0 by clients that wait for answers.
    trials : tuple of Trial
    note : str
        Why there is nothing to try, or why n is another one.
    """

    axes: dict[str, Any]
    asked: Recommendation
    alone: Scenario | None
    rate: float = 0.0
    trials: tuple[Trial, ...] = ()
    note: str = ""


def smallest_ratio(table: pd.DataFrame) -> list[pd.DataFrame]:
    """Systems of a table; of those that differ in the share of faulty replicas, the one with the smallest."""
    least: dict[tuple[Any, ...], pd.DataFrame] = {}
    for group in groups(table) if len(table) else []:
        key = tuple(group[name].iloc[0] for name in GROUP_COLUMNS if name != "byzantine_ratio")
        if key not in least or group["byzantine_ratio"].iloc[0] < least[key]["byzantine_ratio"].iloc[0]:
            least[key] = group
    return list(least.values())


def plan_of(
    group: pd.DataFrame, thresholds: Thresholds, nodes: int | None, candidates: Sequence[Candidate], max_messages: int
) -> Plan:
    """Plan the experiments on one group of scenarios that differ in n alone; arguments as of `recommend`."""
    first = group.iloc[0]
    axes = {name: strict(first[name]) for name in GROUP_COLUMNS}
    asked = recommended_max_nodes(group, thresholds)
    simulated = sorted(set(group["node_count"].tolist()))
    wanted = nodes or asked.first_failing_node_count or simulated[-1]
    affordable = [n for n in simulated if n <= wanted and _messages(n, LANES) <= max_messages]
    count = nodes or (affordable[-1] if affordable else simulated[0])
    nearest = min(simulated, key=lambda n: abs(n - count))
    try:
        scenario = _again(group[group["node_count"] == nearest].iloc[-1]["scenario"], count)
    except UsageError as error:
        return Plan(axes, asked, None, note=f"nothing to try, as the scenario cannot be made again: {error.lines[0]}")
    blocks = max_messages // _messages(count, LANES)
    operations = LANES * max(1, min(blocks, _MOST_BLOCKS))
    alone = scenario.but(rate=0.0, clients=None, engine=Engine.ROUNDS, operations=operations)
    notes = {
        f"tried at n = {count:,}, as n = {wanted:,} takes more than {max_messages:,} messages": count != wanted,
        "tried on engine rounds": scenario.engine != Engine.ROUNDS,
    }
    rate = 0.0 if scenario.clients else scenario.rate
    note = "; ".join(told for told, holds in notes.items() if holds)
    return Plan(axes, asked, alone, rate, tuple(_trials(alone, scenario, candidates)), note)


def _again(text: str, nodes: int) -> Scenario:
    """Make a stored scenario with so many replicas."""
    scenario = Scenario(**json.loads(text))
    return scenario if scenario.nodes == nodes else scenario.but(nodes=nodes)


def _messages(nodes: int, operations: int) -> int:
    """Messages of two rounds of all to all, flooded."""
    return 8 * nodes**2 * operations


def _trials(alone: Scenario, scenario: Scenario, candidates: Sequence[Candidate]) -> Iterator[Trial]:
    """Changes of a scenario, each once."""
    seen = {alone.scenario_id}
    for candidate in candidates:
        for change in candidate.changes(scenario):
            try:
                changed = change.applied(alone)
            except UsageError as error:
                yield Trial(change, None, error.lines[0])
                continue
            if changed.scenario_id not in seen:
                seen.add(changed.scenario_id)
                yield Trial(change, changed)
