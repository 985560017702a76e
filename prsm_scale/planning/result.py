"""What a plan found, in numbers and in plain lines."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from prsm_scale.atomic import plain_data, strict
from prsm_scale.cautions import caution
from prsm_scale.columns import interval_names
from prsm_scale.config import Scenario
from prsm_scale.planning.targets import Targets
from prsm_scale.planning.trials import Trial
from prsm_scale.resources import resolve_profile
from prsm_scale.wording import number

if TYPE_CHECKING:
    import pandas as pd

_ESTIMATES: Final = ("mean_latency_ms", "p95_latency_ms", "p99_latency_ms")
_COLUMNS: Final = (
    *("scenario_id", "fault_threshold", "quorum", "operations_per_second", "saturation_ops_per_second"),
    *("success_rate", "success_low", "success_high"),
    *(column for name in _ESTIMATES for column in (name, *interval_names(name))),
    *("bandwidth_mbps_mean", "bandwidth_mbps_max", "cpu_percent_mean", "cpu_percent_max", "memory_mb"),
    *("operations", "stated_mean_error", "stated_p99_error"),
)
"""Columns of `prsm_scale.columns.SCENARIO_COLUMNS` that a plan tells of each simulated trial."""


@dataclass(frozen=True, eq=False, repr=False)
class CapacityPlan:
    """What a plan found.

    Attributes
    ----------
    targets : Targets
    scenario : Scenario
        Settings that all trials share; its profile and bandwidth are the largest allowed.
    largest : Trial or None
        The largest n that meets the targets, on these; None where none was found.
    stages : tuple of Trial
        The roll-out, by rising n: each on the smallest profile, then on the smallest bandwidth with it, that meet the targets
        there. One that meets them on none is on the largest.
    tested : tuple of Trial
        All trials on the largest profile and bandwidth, by rising n.
    """

    targets: Targets
    scenario: Scenario
    largest: Trial | None
    stages: tuple[Trial, ...]
    tested: tuple[Trial, ...]

    @property
    def met(self) -> bool:
        """Whether an n was found that meets the targets."""
        return self.largest is not None

    @property
    def max_nodes(self) -> int | None:
        """The largest n that meets the targets."""
        return self.largest.nodes if self.largest else None

    @property
    def beyond_doubt(self) -> bool | None:
        """Whether the largest n passes with the whole intervals of its values; None where there is none."""
        return not self.largest.doubtful if self.largest else None

    @property
    def failing_below(self) -> tuple[int, ...]:
        """Smaller n that were tried and fail."""
        return tuple(one.nodes for one in self.tested if not one.passes and one.nodes < (self.max_nodes or 0))

    @property
    def table(self) -> pd.DataFrame:
        """The roll-out, one row a stage."""
        import pandas as pd

        rows = [trial_document(one, self.targets) for one in self.stages]
        return pd.DataFrame([{name: value for name, value in row.items() if name not in ("checks", "needs")} for row in rows])

    def sentences(self) -> list[str]:
        """Tell the largest n, what fails beyond and below it, or why there is none, in plain lines."""
        return list(self._found(self.largest) if self.largest else self._why_none())

    def _found(self, best: Trial) -> Iterator[str]:
        yield f"largest n = {best.nodes:,}, on at most {_machine(best)}{_doubt(best)}"
        beyond = next((one for one in self.tested if one.nodes > best.nodes), None)
        if beyond is None:
            yield f"larger n were not tried: the most to look at is {self.targets.max_nodes:,}"
        else:
            yield f"n = {beyond.nodes:,} fails: {beyond.why}{_doubt(beyond)}"
            yield from _needs(beyond, self.targets)
        if below := self.failing_below:
            first = next(one for one in self.tested if not one.passes)
            many = f"{len(below)} smaller n fail too, up to n = {below[-1]:,}" if len(below) > 1 else "a smaller n fails too"
            yield f"{many}: at n = {first.nodes:,} {first.why}{_doubt(first)}"

    def _why_none(self) -> Iterator[str]:
        first, *others = self.tested
        yield f"cannot be met, because at n = {first.nodes:,}, on at most {_machine(first)}, {first.why}{_doubt(first)}"
        yield from _needs(first, self.targets)
        if others:
            nodes = ", ".join(f"{one.nodes:,}" for one in others)
            yield f"n = {nodes} fail{'s' * (len(others) == 1)} too; no other n was tried"

    def notes(self) -> list[str]:
        """Tell of stages what is to be known besides their numbers."""
        return list(self._notes())

    def _notes(self) -> Iterator[str]:
        told: dict[str, list[str]] = {}
        for one in self.stages:
            for note in _of_stage(one):
                told.setdefault(note, []).append(f"{one.nodes:,}")
        yield from (f"n = {', '.join(nodes)}: {note}" for note, nodes in told.items())

    def to_dict(self) -> dict[str, Any]:
        """All of it as values that strict JSON can hold: what is not known is None, an unlimited bandwidth the text "inf"."""
        document = {
            "met": self.met,
            "max_nodes": self.max_nodes,
            "beyond_doubt": self.beyond_doubt,
            "failing_below": self.failing_below,
            "sentences": self.sentences(),
            "notes": self.notes(),
            "targets": self.targets.model_dump(),
            "needed_saturation_ops_per_second": self.targets.needed_ops,
            "scenario": self.scenario.model_dump(mode="json"),
            "stages": [trial_document(one, self.targets) for one in self.stages],
            "tested": [trial_document(one, self.targets) for one in self.tested],
        }
        told: dict[str, Any] = plain_data(document)
        return told

    def __repr__(self) -> str:
        """Tell the targets and what was found in one line."""
        return f"<CapacityPlan: {self.targets}; {'; '.join(self.sentences()[:2])}>"


def _of_stage(trial: Trial) -> Iterator[str]:
    if not trial.passes:
        yield f"fails on its own: {trial.why}{_doubt(trial)}"
    elif trial.doubtful:
        yield f"not beyond doubt in {', '.join(trial.doubtful)}, whose interval holds the limit"
    if trial.row is not None and (told := caution(trial.row)):
        yield told


def trial_document(trial: Trial, targets: Targets) -> dict[str, Any]:
    """Everything about a trial, by name."""
    used, row = trial.utilisation, trial.row or {}
    return {
        "node_count": trial.nodes,
        "profile": trial.scenario.profile,
        "cores": resolve_profile(trial.scenario).cores,
        "bandwidth_mbps": trial.bandwidth_mbps,
        "met": trial.passes,
        "simulated": trial.row is not None,
        "doubtful": trial.doubtful,
        "why": trial.why,
        "offered_ops_per_second": targets.target_ops,
        "utilisation": used,
        "headroom": None if used is None else 1.0 - used,
        "bottleneck": trial.binding,
        "byzantine_count": trial.scenario.byzantine_count,
        **{name: strict(row.get(name)) for name in _COLUMNS},
        "checks": [check.to_dict() for check in trial.checks],
        "needs": trial.needs(targets),
    }


def _machine(trial: Trial) -> str:
    line = trial.bandwidth_mbps
    bandwidth = f"{number(line)} Mbit/s" if math.isfinite(line) else "unlimited bandwidth"
    return f"profile {trial.scenario.profile} and {bandwidth}"


def _doubt(trial: Trial) -> str:
    return f" (not beyond doubt in {', '.join(trial.doubtful)})" if trial.doubtful else ""


def _needs(trial: Trial, targets: Targets) -> Iterator[str]:
    """Tell in units that can be bought what the resources that lack headroom take.

    Work on uplinks, downlinks and cores is inversely as what there is of them, so that ratios hold.
    """
    taken: dict[str, list[str]] = {}
    for name, times in sorted(trial.needs(targets).items(), key=lambda one: -one[1]):
        taken.setdefault(_kind(name), []).append(f"{name} {number(times, 4)} times")
    most = {_kind(name): times for name, times in sorted(trial.needs(targets).items(), key=lambda one: one[1])}
    told = [f"{_bought(trial, kind, most[kind])} ({', '.join(names)})" for kind, names in taken.items()]
    if told:
        yield f"with its headroom the load takes at n = {trial.nodes:,} {' and '.join(told)}"


def _kind(resource: str) -> str:
    return resource if resource in ("link", "pipeline_window") else "cpu" if resource.endswith("_cpu") else "bandwidth"


def _bought(trial: Trial, kind: str, times: float) -> str:
    if kind == "cpu":
        return f"{math.ceil(times * resolve_profile(trial.scenario).cores)} cores"
    if kind == "pipeline_window":
        return f"{math.ceil(times * trial.scenario.window)} batches in flight"
    return "more of a link" if kind == "link" else f"{number(times * trial.bandwidth_mbps, 4)} Mbit/s"
