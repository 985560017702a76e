"""Ladder (d): measured systems, each predicted from what its source states and the defaults."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial
from typing import Any, Final

from prsm_scale.config import Scenario
from prsm_scale.ladders.cases import Case, Group
from prsm_scale.ladders.checks import EXACT, Check, Estimate, relative_error
from prsm_scale.ladders.quantities import predicted
from prsm_scale.ladders.tasks import Simulate, Task, about

LADDER: Final = "measurements"

GROUP_BARS: Final[dict[str, float]] = {Group.PROPAGATION: 0.05, Group.BANDWIDTH: 0.05, Group.CPU: 0.20}
"""Bars of the median absolute error of a group."""

_CASE_BARS: Final[dict[str, float]] = {
    Group.COUNTS: EXACT,
    # sizes are published to three digits: 109 B is anything from 108.5 to 109.5
    Group.BYTES: 0.005,
}
"""Bars of each case of a group."""


def tasks(cases: Sequence[Case], engine: str | None = None) -> list[Task]:
    """One task for each scenario, with all the cases that it predicts, and one for all that cannot be run.

    Parameters
    ----------
    cases
        From `load_cases`.
    engine
        Engine of the cases that name none.
    """
    idle = [case for case in cases if case.reason]
    together: dict[Scenario, list[Case]] = {}
    for case in cases:
        if not case.reason:
            together.setdefault(case.scenario_with(engine), []).append(case)
    run = [Task(members[0].id, partial(_run, scenario, members)) for scenario, members in together.items()]
    return [*run, Task("what cannot be run", lambda simulate: map(_not_run, idle))] if idle else run


def _run(scenario: Scenario, cases: Sequence[Case], simulate: Simulate) -> Iterable[Check]:
    outcome = simulate(scenario)
    for case in cases:
        found, measured = predicted(outcome, case.metric, case.unit), Estimate.exact(case.value)
        # what has no value is as wrong as a prediction of nothing
        error = Estimate.exact(-1.0) if found is None else relative_error(found, measured)
        bar = _CASE_BARS.get(case.group)
        yield Check(**_facts(case), **about(scenario), predicted=found, reference=measured, error=error, bar=bar)


def _not_run(case: Case) -> Check:
    nodes = case.scenario.get("nodes")
    scenario = {} if case.why else about(case.scenario_with()) | {"engine": ""}
    return Check(
        **(_facts(case) | {"engine": "", "nodes": nodes} | scenario), reference=Estimate.exact(case.value), why=case.reason
    )


def _facts(case: Case) -> dict[str, Any]:
    told = {name: getattr(case, name) for name in ("group", "metric", "unit", "note", "source", "locator")}
    return {"ladder": LADDER, "case": case.id, **told}
