"""Results of scaling tests on the terminal: a line for each, and what helped."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from prsm_scale.report.tables import plain_table
from prsm_scale.wording import MISSING, number, percent

if TYPE_CHECKING:
    from rich.table import Table

    from prsm_scale.controller.result import ScalingTestResult

_COLUMNS = ("configuration", "best n", "max 1/s", "eff.", "mean ms", "success", "bottleneck")
LEGEND = (
    "best n: recommended at most, of the largest; max 1/s and mean ms: from the smallest to the largest n; eff.: mean scaling "
    "efficiency; success: the lowest over all n and faulty shares"
)
"""What the columns of `summary_table` mean."""


def summary_table(results: Sequence[ScalingTestResult]) -> Table:
    """One line a result, of its basis: the recommended n, then values at the smallest and the largest n."""
    return plain_table(_COLUMNS, [_line(one) for one in results], left=("configuration", "bottleneck"))


def _line(result: ScalingTestResult) -> list[str]:
    rows = list(result.node_performance.items())
    (_, first), (largest, last) = rows[0], rows[-1]
    analysis = result.analyses[0]
    shares = [one for by_nodes in result.byzantine_resilience.values() for one in by_nodes.values() if one is not None]
    most = result.recommended_max_nodes
    return [
        result.config.name,
        f"{f'{most:,}' if most else 'none'} of {largest:,}",
        _ends(first["saturation_ops_per_second"], last["saturation_ops_per_second"]),
        percent(analysis.mean_efficiency),
        _ends(first["mean_latency_ms"], last["mean_latency_ms"]),
        percent(min(shares, default=None)),
        str(last["bottleneck"] or MISSING),
    ]


def _ends(first: float | None, last: float | None) -> str:
    return f"{number(first)}..{number(last)}"


def recommendations(result: ScalingTestResult) -> list[str]:
    """What helped when it was simulated."""
    found = result.scaling_recommendations
    return found or ["no change that was tried helped" if result.recommendations else "no change was tried"]
