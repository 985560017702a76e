"""What a table of scenarios says of how a system scales: one analysis for each group that differs in n alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from itertools import groupby
from typing import TYPE_CHECKING, Any

import numpy as np

from prsm_scale.analysis import efficiency, sentences
from prsm_scale.analysis.bottlenecks import Finding, bottlenecks
from prsm_scale.analysis.points import Points, points_of, trend
from prsm_scale.analysis.recommendation import Recommendation, recommended_max_nodes
from prsm_scale.analysis.thresholds import Thresholds
from prsm_scale.analysis.turning_points import (
    DegradationPoint,
    SaturationPoint,
    latency_degradation_point,
    throughput_saturation_point,
)
from prsm_scale.atomic import strict
from prsm_scale.columns import GROUP_COLUMNS
from prsm_scale.wording import some_nodes

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Analysis:
    """What one group of scenarios that differ in n alone says.

    Attributes
    ----------
    axes : dict
        What the scenarios share, by names of GROUP_COLUMNS.
    thresholds : Thresholds
        What they were held against.
    node_counts : tuple of int
        Their n, ascending.
    efficiency_basis : str
        Column that the efficiency is computed on.
    scaling_efficiency : dict of int to float
        (X / X0) / (n / n0) by n.
    mean_efficiency, efficiency_tier : float or None, str or None
        Mean over the n above n0, and its name; None with one n.
    throughput_saturation_point : SaturationPoint
    latency_degradation_point : DegradationPoint
    findings : tuple of Finding
        See `prsm_scale.analysis.bottlenecks`.
    recommendation : Recommendation
        See `prsm_scale.analysis.recommendation`.
    memory_usage_trend : tuple of (int, float or None)
        Memory of a replica in MB by n.
    cpu_usage_trend : tuple of (int, float or None)
        CPU use of the busiest replica in percent by n, at the offered load.
    unknown : tuple of str
        What could not be told, and why, a line each.
    """

    axes: Mapping[str, Any]
    thresholds: Thresholds
    node_counts: tuple[int, ...]
    efficiency_basis: str
    scaling_efficiency: Mapping[int, float]
    mean_efficiency: float | None
    efficiency_tier: str | None
    throughput_saturation_point: SaturationPoint
    latency_degradation_point: DegradationPoint
    findings: tuple[Finding, ...]
    recommendation: Recommendation
    memory_usage_trend: tuple[tuple[int, float | None], ...]
    cpu_usage_trend: tuple[tuple[int, float | None], ...]
    unknown: tuple[str, ...]

    @property
    def recommended_max_nodes(self) -> int | None:
        """The largest simulated n that passes all conditions; None where none does."""
        return self.recommendation.node_count

    def to_dict(self) -> dict[str, Any]:
        """Everything in plain data for strict JSON, with the sentences."""
        told: dict[str, Any] = strict(asdict(self))
        return told | {"recommended_max_nodes": self.recommended_max_nodes, "sentences": self.sentences()}

    def sentences(self) -> list[str]:
        """Tell it in lines that an engineer reads."""
        return [
            sentences.of_saturation(self.throughput_saturation_point),
            *sentences.of_efficiency(self.scaling_efficiency, self.mean_efficiency, self.efficiency_tier, self.efficiency_basis),
            *sentences.of_degradation(self.latency_degradation_point),
            *(finding.message for finding in self.findings),
            f"recommended at most: {self.recommendation.message}",
            *self.unknown,
        ]


def analyse(scenarios: pd.DataFrame, thresholds: Thresholds | None = None) -> list[Analysis]:
    """Analyse every group of scenarios that differ in n alone.

    Parameters
    ----------
    scenarios
        Rows of SCENARIO_COLUMNS.
    thresholds
        What to hold them against.

    Returns
    -------
    list of Analysis
        In the order in which the groups appear.
    """
    return [_analysis(group, thresholds or Thresholds()) for group in groups(scenarios)]


def groups(scenarios: pd.DataFrame) -> list[pd.DataFrame]:
    """Split a table into groups that differ in n alone, in the order in which they appear."""
    return [group for _, group in scenarios.groupby(list(GROUP_COLUMNS), sort=False, dropna=False)]


def scaling_efficiency(group: pd.DataFrame) -> dict[int, float]:
    """Scaling efficiency (X / X0) / (n / n0) by n, on saturation throughput; n without a finite one are left out."""
    points = points_of(group)
    result = efficiency.scaling_efficiency(points.nodes, points.throughput)
    return dict(zip(result.nodes.tolist(), result.efficiency.tolist(), strict=True))


def memory_usage_trend(group: pd.DataFrame) -> list[tuple[int, float | None]]:
    """Memory of a replica in MB by n."""
    return list(trend(points_of(group), "memory_mb"))


def cpu_usage_trend(group: pd.DataFrame) -> list[tuple[int, float | None]]:
    """CPU use of the busiest replica in percent by n, at the offered load."""
    return list(trend(points_of(group), "cpu_percent_max"))


def _analysis(group: pd.DataFrame, limits: Thresholds) -> Analysis:
    points = points_of(group)
    scaling = efficiency.scaling_efficiency(points.nodes, points.throughput)
    return Analysis(
        axes={name: strict(group[name].iloc[0]) for name in GROUP_COLUMNS},
        thresholds=limits,
        node_counts=tuple(points.nodes.tolist()),
        efficiency_basis=scaling.basis,
        scaling_efficiency=dict(zip(scaling.nodes.tolist(), scaling.efficiency.tolist(), strict=True)),
        mean_efficiency=scaling.mean,
        efficiency_tier=scaling.tier,
        throughput_saturation_point=throughput_saturation_point(group, limits),
        latency_degradation_point=latency_degradation_point(group, limits),
        findings=tuple(bottlenecks(group, limits)),
        recommendation=recommended_max_nodes(group, limits),
        memory_usage_trend=trend(points, "memory_mb"),
        cpu_usage_trend=trend(points, "cpu_percent_max"),
        unknown=tuple(_unknown(points)),
    )


def _unknown(points: Points) -> list[str]:
    """Tell what cannot be told, the n of one reason together."""
    latency, all_n = points.column("mean_latency_ms"), points.nodes.tolist()
    told = []
    if len(all_n) == 1:
        told.append("one n alone tells nothing of how the system scales")
    reasons = sorted(zip(points.texts("reason"), all_n, strict=True))
    for reason, found in groupby(reasons, lambda pair: pair[0]):
        if reason:
            told.append(f"at {some_nodes([n for _, n in found], all_n)} no result: {reason}")
    unexplained = np.array([not reason for reason in points.texts("reason")], np.bool_)
    for holds, what in (
        (np.isinf(points.throughput), "nothing limits throughput, which no law or efficiency can take in"),
        (np.isnan(points.throughput) & unexplained, "saturation throughput is not known"),
        (np.isnan(latency) & unexplained, "mean latency is not known"),
    ):
        if holds.any():
            told.append(f"at {some_nodes(points.at(holds), all_n)} {what}")
    return told
