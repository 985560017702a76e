"""What a plan has to meet, and how a scenario is held against it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from pydantic import model_validator

from prsm_scale.atomic import strict
from prsm_scale.axes import Positive, Real, Whole
from prsm_scale.errors import UsageError
from prsm_scale.nodes import FEWEST_NODES, MOST_NODES
from prsm_scale.settings import setting
from prsm_scale.validation import Checked
from prsm_scale.wording import number, percent

_PARTS: Final = ("propagation", "transmission", "cpu", "queueing", "retransmission", "view_change")
"""Parts of the mean latency, see `prsm_scale.columns.SCENARIO_COLUMNS`."""

DEFAULT_PROFILE: Final = "extreme"
LEFT_OUT: Final = {
    "nodes": "left out: the plan finds it, between min_nodes and max_nodes",
    "rate": "left out: target_ops stands in its place",
    "clients": "left out: target_ops stands in its place",
    "engine": "left out: plans are made with the engine rounds",
    "warmup": "left out: only the engine events has one",
}
"""Settings of a scenario that are no settings of a plan, and why."""


class Targets(Checked):
    """What a plan has to meet; each field's meaning is its description.

    Raises
    ------
    UsageError
        One line for each fault.
    """

    target_ops: Real = setting(..., "operations per second to sustain", gt=0)
    headroom: Real = setting(0.2, "share of the saturation throughput to leave unused", ge=0, lt=1)
    max_p99_ms: Real | None = setting(None, "longest 99th percentile of latency, ms", gt=0)
    max_mean_ms: Real | None = setting(None, "longest mean latency, ms", gt=0)
    min_success: Real = setting(0.95, "share of operations answered in time that has to be exceeded", ge=0, lt=1)
    max_cpu_percent: Real | None = setting(None, "most CPU use of the busiest replica, %", gt=0)
    max_memory_mb: Real | None = setting(None, "most memory of a replica, MB [the profile's]", gt=0)
    min_nodes: Whole = setting(FEWEST_NODES, "fewest replicas", ge=FEWEST_NODES, le=MOST_NODES)
    max_nodes: Whole = setting(1000, "most replicas to look at", ge=FEWEST_NODES, le=MOST_NODES)
    stages: Positive = setting(5, "steps of the roll-out", le=50)

    @model_validator(mode="after")
    def _agree(self) -> Targets:
        if self.min_nodes > self.max_nodes:
            raise UsageError("min_nodes", self.min_nodes, f"at most max_nodes, which is {self.max_nodes}")
        return self

    @property
    def most_used(self) -> float:
        """Utilisation allowed: 1 - headroom."""
        return 1.0 - self.headroom

    @property
    def needed_ops(self) -> float:
        """Saturation throughput that leaves the headroom, operations per second."""
        return self.target_ops / self.most_used

    def __str__(self) -> str:
        """Tell the targets in one line."""
        told = [f"{self.target_ops:g} operations/s", f"at most {percent(self.most_used)} of saturation"]
        told += [f"success above {percent(self.min_success)}"]
        limits = {"mean latency": self.max_mean_ms, "p99 latency": self.max_p99_ms}
        told += [f"{name} of at most {limit:g} ms" for name, limit in limits.items() if limit is not None]
        told += [] if self.max_cpu_percent is None else [f"CPU use of at most {self.max_cpu_percent:g} %"]
        told += [] if self.max_memory_mb is None else [f"at most {self.max_memory_mb:g} MB"]
        return ", ".join(told)


@dataclass(frozen=True)
class Check:
    """One target, held against what a scenario shows.

    Attributes
    ----------
    name : str
        memory, memory_limit, headroom, placements, success, safety, mean_latency, p99_latency or cpu.
    value, limit : float
        In the unit of the target; utilisation for headroom, where inf stands for nothing done at all.
    told : str
        Why it fails, if it does.
    low, high : float or None
        95 % interval of the value, where it has one; None for an end that is open.
    sampled : bool
        Whether the value comes from a sample, so that it has an interval.
    at_least : bool
        Whether the value has to be above the limit, in place of at most the limit.
    """

    name: str
    value: float
    limit: float
    told: str
    low: float | None = None
    high: float | None = None
    sampled: bool = False
    at_least: bool = False

    @property
    def passes(self) -> bool:
        """Whether the target is met."""
        return self.value > self.limit if self.at_least else self.value <= self.limit

    @property
    def beyond_doubt(self) -> bool:
        """Whether the whole interval of the value is on the same side of the limit."""
        if not self.sampled:
            return True
        if self.at_least:
            return self.low is not None and self.low > self.limit if self.passes else _at_most(self.high, self.limit)
        return _at_most(self.high, self.limit) if self.passes else self.low is not None and self.low > self.limit

    @property
    def pressure(self) -> float:
        """Value over limit, at most 1 where it passes; of what is no matter of degree 0 or inf."""
        if self.at_least or self.limit == 0.0:
            return 0.0 if self.passes else math.inf
        return self.value / self.limit

    def to_dict(self) -> dict[str, Any]:
        """All of it as values that strict JSON can hold."""
        return {
            "name": self.name,
            "value": strict(self.value),
            "limit": self.limit,
            "low": self.low,
            "high": self.high,
            "passes": self.passes,
            "beyond_doubt": self.beyond_doubt,
        }


def _at_most(end: float | None, limit: float) -> bool:
    return end is not None and end <= limit


def _mostly(row: Mapping[str, Any]) -> str:
    """Tell what the largest part of the mean latency is."""
    part = max(_PARTS, key=lambda name: float(row[f"{name}_ms"]))
    return f" (mostly {part.replace('_', ' ')}: {percent(row[f'{part}_ms'] / row['mean_latency_ms'])} of the mean)"


def of_memory(need_mb: float, has_mb: float, targets: Targets) -> Iterator[Check]:
    """Hold the memory that a replica needs against its profile's, and against the limit."""
    need = f"a replica needs {number(need_mb)} MB"
    yield Check("memory", need_mb, has_mb, f"{need}, its profile has {number(has_mb)} MB")
    if targets.max_memory_mb is not None:
        yield Check("memory_limit", need_mb, targets.max_memory_mb, f"{need}, above {targets.max_memory_mb:g} MB")


def of_headroom(utilisation: float, resource: str | None, targets: Targets) -> Check:
    """Hold the share of the saturation throughput that the target takes against what the headroom leaves."""
    most = targets.target_ops / utilisation if utilisation > 0.0 else math.inf
    told = (
        f"saturation of {number(most)} operations/s, bound by {resource}, is below the {number(targets.needed_ops)} "
        f"that {targets.target_ops:g} with {percent(targets.headroom)} headroom take"
    )
    return Check("headroom", utilisation, targets.most_used, told)


def of_placements(loads: Sequence[float]) -> Iterator[Check]:
    """Hold the utilisation under each placement of faulty replicas against 1, where there are several; headroom is their mean."""
    if len(loads) > 1:
        over = sum(load > 1.0 for load in loads)
        told = f"{over} of {len(loads)} placements of faulty replicas are overloaded, the worst with"
        yield Check("placements", max(loads), 1.0, f"{told} {percent(max(loads))} of saturation")


def of_row(row: Mapping[str, Any], targets: Targets) -> Iterator[Check]:
    """Hold the results of a simulation against the targets, all but memory.

    Above saturation the backlog grows for as long as the test lasts, so that success and latency say nothing more.
    """
    utilisation = row["utilisation"]
    if utilisation is not None:
        yield of_headroom(utilisation, row["bottleneck"], targets)
    if utilisation is not None and utilisation > 1.0:
        return
    success = row["success_rate"]
    told = f"success of {percent(success)} is not above {percent(targets.min_success)}"
    told += f" ({row['reason']})" if row["reason"] else ""
    yield Check("success", success, targets.min_success, told, row["success_low"], row["success_high"], True, True)
    violated = row["safety_violations"] or 0
    yield Check("safety", violated, 0.0, f"{number(violated)} operations with two values committed")
    for name, limit in (("mean", targets.max_mean_ms), ("p99", targets.max_p99_ms)):
        value = row.get(f"{name}_latency_ms")
        if limit is not None and value is not None:
            told = f"{name} latency of {number(value)} ms is above {limit:g} ms{_mostly(row)}"
            ends = row[f"{name}_latency_low_ms"], row[f"{name}_latency_high_ms"]
            yield Check(f"{name}_latency", value, limit, told, *ends, True)
    if targets.max_cpu_percent is not None:
        used, most = row["cpu_percent_max"], targets.max_cpu_percent
        yield Check("cpu", used, most, f"CPU use of {number(used)} % is above {most:g} %")
