"""Results of scaling tests on the terminal: a line for each, and what helped."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from prsm_scale.report.tables import plain_table
from prsm_scale.wording import MISSING, number, percent

if TYPE_CHECKING:
    from rich.table import Table

    from prsm_scale.controller.result import ScalingTestResult

_COLUMNS = (
    "configuration", "n", "at most 1/s", "efficiency", "mean latency ms", "success", "bottleneck", "recommended n", "seconds",
)  # fmt: skip


def summary_table(results: Sequence[ScalingTestResult]) -> Table:
    """One line a result, of its basis, at the smallest and the largest n."""
    return plain_table(_COLUMNS, [_line(one) for one in results], left=("configuration", "bottleneck"))


def _line(result: ScalingTestResult) -> list[str]:
    rows = list(result.node_performance.items())
    (least, first), (most, last) = rows[0], rows[-1]
    analysis = result.analyses[0]
    shares = [one for by_nodes in result.byzantine_resilience.values() for one in by_nodes.values() if one is not None]
    tier = f"{percent(analysis.mean_efficiency)} {analysis.efficiency_tier}" if analysis.efficiency_tier else MISSING
    return [
        result.config.name,
        f"{least:,}..{most:,}",
        _ends(first["saturation_ops_per_second"], last["saturation_ops_per_second"]),
        tier,
        _ends(first["mean_latency_ms"], last["mean_latency_ms"]),
        percent(min(shares)) if shares else MISSING,
        str(last["bottleneck"] or MISSING),
        f"{result.recommended_max_nodes:,}" if result.recommended_max_nodes else "none",
        f"{(result.end_time - result.start_time).total_seconds():.1f}",
    ]


def _ends(first: float | None, last: float | None) -> str:
    return f"{number(first)} to {number(last)}"


def recommendations(result: ScalingTestResult) -> list[str]:
    """What helped when it was simulated."""
    found = result.scaling_recommendations
    return found or ["no change that was tried helped" if result.recommendations else "no change was tried"]
