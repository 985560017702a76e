"""Where throughput saturates and latency degrades, by the law that fits best and by the simulated grid."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from prsm_scale.analysis import efficiency
from prsm_scale.analysis.curves import Floats, LatencyLaw
from prsm_scale.analysis.fits import Estimate, LawFit, UslFit, telling
from prsm_scale.analysis.points import points_of
from prsm_scale.analysis.sweep_fits import FitPoints, latency_fits, throughput_fits
from prsm_scale.analysis.thresholds import Thresholds

if TYPE_CHECKING:
    import pandas as pd

_LATENCY = "mean_latency_ms"
_UNKNOWN = Estimate(None, None, None)


@dataclass(frozen=True)
class SaturationPoint:
    """Where saturation throughput is greatest.

    Attributes
    ----------
    basis : str
        Column that the law was fitted to.
    law : str or None
        usl or power; None where there are too few points for any law to tell something.
    parameters : dict of str to Estimate
        Of the law.
    node_count : Estimate
        The n of the largest throughput, with its 95 % interval: the peak of the Universal Scalability Law, the smallest n of
        a power law that falls. No value where the law rises without end.
    ops_per_second : float or None
        Throughput that the law gives there.
    low_gain, grid_node_count : float, int or None
        First simulated n with less than this gain over the one before it.
    flags : tuple of str
        What to beware of: too_few_points, poor_fit, missing_points, alpha_at_bound, beta_at_bound; falls_from_first_n,
        peak_outside_data, no_peak (the law rises without end), and direction_uncertain (it may rise or fall).
    """

    basis: str
    law: str | None
    parameters: Mapping[str, Estimate]
    node_count: Estimate
    ops_per_second: float | None
    low_gain: float
    grid_node_count: int | None
    flags: tuple[str, ...]


@dataclass(frozen=True)
class Crossing:
    """Where latency passes a limit.

    Attributes
    ----------
    quantity : str
        Column of the latency.
    law : str or None
        As in `DegradationPoint`, of that column.
    factor : float or None
        The limit over the latency at the smallest n with one, where it is given so.
    limit_ms : float or None
        The limit in ms, where it is given so.
    node_count : Estimate
        The n at which the law passes it, with its 95 % interval; no value where it does not up to n = 1 000 000.
    grid_node_count : int or None
        First simulated n above it.
    flags : tuple of str
        Those of the law, and outside_data, where node_count is larger than all n that have a latency.
    """

    quantity: str
    law: str | None
    factor: float | None
    limit_ms: float | None
    node_count: Estimate
    grid_node_count: int | None
    flags: tuple[str, ...]


@dataclass(frozen=True)
class DegradationPoint:
    """Where latency degrades.

    Attributes
    ----------
    quantity : str
        Column that the law was fitted to.
    law : str or None
        power, logarithmic or linear; None where there are too few points for any law to tell something.
    parameters : dict of str to Estimate
        Of the law.
    baseline_node_count, baseline_ms : int, float or None
        The smallest n with a latency, and this.
    degraded, explosion : Crossing
        At `degraded_factor` and `explosion_factor` times the baseline; the law's own value there, not the simulated one.
    limit : Crossing or None
        At `max_latency_ms`, where that is set.
    """

    quantity: str
    law: str | None
    parameters: Mapping[str, Estimate]
    baseline_node_count: int | None
    baseline_ms: float | None
    degraded: Crossing
    explosion: Crossing
    limit: Crossing | None


def throughput_saturation_point(group: pd.DataFrame, thresholds: Thresholds | None = None) -> SaturationPoint:
    """Find the n of the largest saturation throughput in one group of scenarios.

    Parameters
    ----------
    group
        Rows of SCENARIO_COLUMNS that differ in n alone.
    thresholds
        Of which `low_gain` is used.
    """
    limits = thresholds or Thresholds()
    points, fits = throughput_fits(points_of(group).table)
    grid = efficiency.low_gain_nodes(points.nodes, points.values, limits.low_gain)
    fit = telling(fits)
    if fit is None:
        flags = (*points.flags, "too_few_points")
        return SaturationPoint(efficiency.BASIS, None, {}, _UNKNOWN, None, limits.low_gain, grid, flags)
    where = fit.peak if isinstance(fit, UslFit) else _end_of_power_law(fit)
    most = None if where.value is None else float(fit.predict(where.value)[0])
    flags = (*points.flags, *fit.flags, *_flags_of_peak(where, float(fit.nodes[0])))
    return SaturationPoint(efficiency.BASIS, fit.law.name, _parameters(fit), where, most, limits.low_gain, grid, flags)


def latency_degradation_point(group: pd.DataFrame, thresholds: Thresholds | None = None) -> DegradationPoint:
    """Find where the latency of one group of scenarios passes 1.5 and 3 times its baseline, and a user's own limit.

    Parameters
    ----------
    group
        Rows of SCENARIO_COLUMNS that differ in n alone.
    thresholds
        Of which `degraded_factor`, `explosion_factor`, `max_latency_ms` and `latency` are used.
    """
    limits = thresholds or Thresholds()
    table = points_of(group).table
    points, fits = latency_fits(table)
    fit = telling(fits)
    nodes, values = efficiency.usable_points(points.nodes, points.values)
    known = len(nodes) > 0
    return DegradationPoint(
        _LATENCY,
        _name(fit),
        {} if fit is None else _parameters(fit),
        int(nodes[0]) if known else None,
        float(values[0]) if known else None,
        _at_factor(points, fit, limits.degraded_factor),
        _at_factor(points, fit, limits.explosion_factor),
        None if limits.max_latency_ms is None else _at_limit(table, limits.latency_column, limits.max_latency_ms),
    )


def _at_factor(points: FitPoints, fit: LawFit | None, factor: float) -> Crossing:
    grid = efficiency.slow_nodes(points.nodes, points.values, factor)
    return Crossing(_LATENCY, _name(fit), factor, None, *_crossing(points, fit, grid, factor=factor))


def _at_limit(table: pd.DataFrame, quantity: str, limit_ms: float) -> Crossing:
    points, fits = latency_fits(table, quantity)
    above = points.nodes[points.values > limit_ms]
    grid = int(above.min()) if len(above) else None
    fit = telling(fits)
    return Crossing(quantity, _name(fit), None, limit_ms, *_crossing(points, fit, grid, limit_ms=limit_ms))


def _crossing(
    points: FitPoints, fit: LawFit | None, grid: int | None, factor: float = 0.0, limit_ms: float = 0.0
) -> tuple[Estimate, int | None, tuple[str, ...]]:
    """Where the law passes a factor of its own value at the smallest n, or a limit in ms; the grid's n; the flags."""
    if fit is None:
        return _UNKNOWN, grid, (*points.flags, "too_few_points")
    law, first = fit.law, float(fit.nodes[0])
    assert isinstance(law, LatencyLaw)

    def passing(parameters: Floats) -> Floats:
        if not limit_ms:
            return law.crossing(parameters, first, factor)
        start = law.predict(parameters, np.array([first]))[..., 0]
        factors = np.divide(limit_ms, start, out=np.ones_like(start), where=start > 0)
        later = np.where(start > 0, law.crossing(parameters, first, np.maximum(factors, 1)), np.inf)
        # A law that is above the limit at the first n, be it one that falls, has passed it there.
        return np.where(factors < 1, first, later)

    where = fit.derive(passing)
    outside = where.value is not None and where.value > fit.nodes[-1]
    return where, grid, (*points.flags, *fit.flags, *(["outside_data"] if outside else []))


def _end_of_power_law(fit: LawFit) -> Estimate:
    """The end of the data at which a power law is greatest; no end where it rises."""
    return fit.derive(lambda parameters: np.where(parameters[..., 1] < 0, fit.nodes[0], np.inf))


def _flags_of_peak(where: Estimate, first: float) -> list[str]:
    flags = {
        "falls_from_first_n": where.value is not None and where.value <= first,
        "no_peak": where.value is None,
        "direction_uncertain": where.low is not None and where.low <= first and (where.high is None or where.high > first),
    }
    return [name for name, raised in flags.items() if raised]


def _name(fit: LawFit | None) -> str | None:
    return None if fit is None else fit.law.name


def _parameters(fit: LawFit) -> dict[str, Estimate]:
    return {name: Estimate(value, *fit.intervals.get(name, (None, None))) for name, value in fit.parameters.items()}
