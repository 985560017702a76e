"""Fitted curves of a sweep: every group of scenarios that differ in n alone, as rows for fits.parquet."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from prsm_scale.analysis import efficiency
from prsm_scale.analysis.curves import Floats
from prsm_scale.analysis.fits import (
    Estimate,
    LawFit,
    UslFit,
    choose,
    crossing,
    fit_line,
    fit_power,
    fit_usl,
)
from prsm_scale.analysis.thresholds import DEGRADED_FACTOR, EXPLOSION_FACTOR
from prsm_scale.columns import GROUP_COLUMNS, interval_names

if TYPE_CHECKING:
    import pandas as pd

_LATENCY = "mean_latency_ms"
NORMAL_95 = 1.959964  # half width of a 95 % interval, in standard errors
_Row = dict[str, Any]


class FitPoints(NamedTuple):
    """What one quantity of a group gives to fit.

    Attributes
    ----------
    nodes, values
        float64[m], points with a positive value.
    error
        float64[m], relative standard error of each value, NaN where unknown.
    flags
        missing_points and overloaded_points, see `fit_scenarios`.
    """

    nodes: Floats
    values: Floats
    error: Floats
    flags: tuple[str, ...]


def fit_scenarios(scenarios: pd.DataFrame) -> list[dict[str, Any]]:
    """Fit the laws of throughput and of latency to every group of scenarios that differ in n alone.

    Saturation throughput takes a power law and the Universal Scalability Law, mean latency a power law, a
    logarithmic one and a straight line; the smallest AICc on log residuals chooses. Besides the flags of
    `LawFit`, a row may carry missing_points and overloaded_points (below), no_degraded_n and no_explosion_n
    where the law never passes that multiple, degraded_outside_data and explosion_outside_data where it does
    so beyond the largest n.

    Parameters
    ----------
    scenarios
        Rows of SCENARIO_COLUMNS. Those without a positive value of a quantity are left out of its fits, which
        are then flagged missing_points; latency of a system offered more than it can do is flagged
        overloaded_points, since it grows with the length of the test.

    Returns
    -------
    list of dict
        Rows of FIT_COLUMNS, one for each group, quantity and law; none for a quantity known at fewer than two
        n.
    """
    by = [name for name in GROUP_COLUMNS if name in scenarios]
    rows: list[_Row] = []
    for key, group in scenarios.groupby(by, sort=False):
        axes = dict(zip(by, key, strict=True))
        rows += [axes | row for row in (*_throughput_rows(group), *_latency_rows(group))]
    return rows


def throughput_fits(group: pd.DataFrame) -> tuple[FitPoints, tuple[LawFit, ...]]:
    """Fit the laws of saturation throughput to one group; none where it is known at fewer than two n."""
    points = _points(group, efficiency.BASIS)
    if len(np.unique(points.nodes)) < 2:
        return points, ()
    return points, (fit_power(points.nodes, points.values), fit_usl(points.nodes, points.values, log=True))


def latency_fits(group: pd.DataFrame, quantity: str = _LATENCY) -> tuple[FitPoints, tuple[LawFit, ...]]:
    """Fit the laws of a column of latencies to one group; none where it is known at fewer than two n."""
    points = _points(group, quantity)
    if len(np.unique(points.nodes)) < 2:
        return points, ()
    nodes, values, error, _ = points
    return points, (
        fit_power(nodes, values, error),
        fit_line(nodes, values, error, logarithmic=True),
        fit_line(nodes, values, error),
    )


def _throughput_rows(group: pd.DataFrame) -> list[_Row]:
    points, fits = throughput_fits(group)
    if not fits:
        return []
    scaling = efficiency.scaling_efficiency(points.nodes, points.values)
    common = {
        "quantity": efficiency.BASIS,
        "grid_n": efficiency.low_gain_nodes(points.nodes, points.values),
        "mean_efficiency": scaling.mean,
        "efficiency_tier": scaling.tier,
    }
    return _rows(points, common, fits, _peak)


def _latency_rows(group: pd.DataFrame) -> list[_Row]:
    points, fits = latency_fits(group)
    if not fits:
        return []
    common = {"quantity": _LATENCY, "grid_n": efficiency.slow_nodes(points.nodes, points.values)}
    return _rows(points, common, fits, _degradation)


def _points(group: pd.DataFrame, quantity: str) -> FitPoints:
    values = group[quantity].to_numpy(dtype=np.float64)
    kept = np.isfinite(values) & (values > 0)
    error = np.full(len(values), np.nan)
    flags = [] if kept.all() else ["missing_points"]
    if quantity != efficiency.BASIS:
        error[kept] = relative_error(group[kept], quantity)
        if (group["utilisation"].to_numpy(float)[kept] >= 1).any():
            flags.append("overloaded_points")
    nodes = group["node_count"].to_numpy(dtype=np.float64)
    return FitPoints(nodes[kept], values[kept], error[kept], tuple(flags))


def _rows(
    points: FitPoints,
    common: _Row,
    fits: Sequence[LawFit],
    findings: Callable[[LawFit], tuple[_Row, tuple[str, ...]]],
) -> list[_Row]:
    """Turn the fits of one quantity into rows; `findings` gives further columns and flags of a fit."""
    chosen = choose(fits)
    best = None if chosen is None else fits[chosen].aicc
    rows = []
    for place, fit in enumerate(fits):
        columns, flags = findings(fit) if fit.parameters else ({}, ())
        rows.append(
            common
            | {
                "law": fit.law.name,
                "chosen": place == chosen,
                "points": len(points.nodes),
                "nodes_min": int(points.nodes.min()),
                "nodes_max": int(points.nodes.max()),
                "aicc": fit.aicc,
                "delta_aicc": None if fit.aicc is None or best is None else fit.aicc - best,
                "rmse_log": fit.rmse_log,
                "flags": ",".join((*points.flags, *fit.flags, *flags)),
            }
            | parameter_columns(fit)
            | columns
        )
    return rows


def parameter_columns(fit: LawFit) -> dict[str, Any]:
    """Columns of a fit's parameters and the ends of their intervals."""
    row: _Row = dict(fit.parameters)
    for name, ends in fit.intervals.items():
        row |= dict(zip(interval_names(name), ends, strict=True))
    return row


def _peak(fit: LawFit) -> tuple[_Row, tuple[str, ...]]:
    if not isinstance(fit, UslFit):
        return {}, ()
    return estimate_columns("peak_n", fit.peak) | {"peak_ops_per_second": fit.peak_throughput}, ()


def _degradation(fit: LawFit) -> tuple[_Row, tuple[str, ...]]:
    row: _Row = {}
    flags = []
    for name, factor in (
        ("degraded", DEGRADED_FACTOR),
        ("explosion", EXPLOSION_FACTOR),
    ):
        estimate = crossing(fit, factor)
        row |= estimate_columns(f"{name}_n", estimate)
        if estimate.value is None:
            flags.append(f"no_{name}_n")
        elif estimate.value > fit.nodes[-1]:
            flags.append(f"{name}_outside_data")
    return row, tuple(flags)


def estimate_columns(name: str, estimate: Estimate) -> dict[str, Any]:
    """Columns of an estimate and the ends of its interval."""
    low, high = interval_names(name)
    return {name: estimate.value, low: estimate.low, high: estimate.high}


def relative_error(group: pd.DataFrame, quantity: str = _LATENCY) -> Floats:
    """Relative standard error of a column with an interval, by default the mean latency, of each scenario; NaN where unknown."""
    below, above = interval_names(quantity)
    low, middle, high = (group[name].to_numpy(dtype=np.float64) for name in (below, quantity, above))
    error: Floats = (high - low) / (2 * NORMAL_95 * middle)
    return error
