"""A capacity plan, for the terminal."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any, Final

from rich.console import RenderableType
from rich.text import Text

from prsm_scale.planning.result import CapacityPlan, trial_document
from prsm_scale.report.series import spread_ms
from prsm_scale.report.tables import plain_table
from prsm_scale.wording import MISSING, number, percent

_MACHINES: Final = ("n", "f", "faulty", "profile", "cores", "Mbit/s", "max ops/s", "headroom", "bottleneck")
_EXPECTED: Final = ("n", "ops/s", "success", "mean ms", "p95 ms", "p99 ms", "sent Mbit/s", "at most", "CPU %", "MB")


def plan_parts(plan: CapacityPlan) -> Iterator[RenderableType]:
    """Tell the targets and what was found, then tabulate the roll-out: what each stage takes, and what to expect of it."""
    one = plan.scenario
    faulty = f", byzantine {one.byzantine_ratio:g} {one.behaviour}" if one.byzantine_ratio else ""
    yield Text(f"{plan.targets}; {one.topology}, {one.network}, {one.protocol}{faulty}, seed {one.seed}")
    yield ""
    yield from map(Text, plan.sentences())
    if plan.stages:
        rows = [trial_document(stage, plan.targets) for stage in plan.stages]
        yield ""
        yield "roll-out, on the smallest profile and then the smallest bandwidth that meet the targets:"
        yield plain_table(_MACHINES, [tuple(_machine(row)) for row in rows], left=("profile", "bottleneck"))
        yield ""
        yield "expected, with 95 % intervals; sent by a replica on average and at most, CPU of the busiest:"
        yield plain_table(_EXPECTED, [tuple(_expected(row)) for row in rows], left=())
    yield from (Text(note, style="yellow") for note in plan.notes())


def _machine(row: Mapping[str, Any]) -> Iterator[str]:
    yield f"{row['node_count']:,}"
    yield from (_whole(row[name]) for name in ("fault_threshold", "byzantine_count"))
    yield row["profile"]
    yield str(row["cores"])
    yield f"{row['bandwidth_mbps']:g}" if math.isfinite(row["bandwidth_mbps"]) else "unlimited"
    yield number(row["saturation_ops_per_second"])
    yield MISSING if row["headroom"] is None else f"{100 * row['headroom']:.0f}%"
    yield row["bottleneck"] or MISSING


def _expected(row: Mapping[str, Any]) -> Iterator[str]:
    yield f"{row['node_count']:,}"
    yield number(row["operations_per_second"])
    yield percent(row["success_rate"])
    yield from (spread_ms(row, f"{name}_latency") for name in ("mean", "p95", "p99"))
    yield from (number(row[name]) for name in ("bandwidth_mbps_mean", "bandwidth_mbps_max", "cpu_percent_max"))
    yield number(row["memory_mb"])


def _whole(value: int | None) -> str:
    return MISSING if value is None else f"{value:,}"
