"""Differences of two results: standard errors out of stored intervals, and tests that take them into account.

A row of results stores the ends of 95 % intervals: Student's for means, of order statistics for percentiles, Wilson's for shares.
Half an interval over the quantile that made it is the standard error again, on each side by itself where the sides differ.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from prsm_scale.axes import Engine
from prsm_scale.columns import SCENARIO_COLUMNS, interval_names

Row = Mapping[str, Any]

_Z: Final = 1.959963984540054
_MANY: Final = 1e6
"""Degrees of freedom of a normal law."""

_PACE_HALF_WIDTH: Final = 0.02
"""Relative 95 % half-width to which the events engine measures its saturation throughput."""

_COUNTED: Final = (
    "memory_mb",
    "message_count",
    "bytes_per_operation",
    "link_transmissions",
    "network_efficiency",
    "message_delivery_rate",
)
"""Metrics without an interval that vary by far less than a per cent: what is counted over all messages of a scenario."""

_BOOKED: Final = ("cpu_percent_mean", "cpu_percent_max", "bandwidth_mbps_mean", "bandwidth_mbps_max")
"""Metrics that the rounds engine adds up from the system, without a draw, and the events engine measures."""

_DONE: Final = ("operations_per_second", "operations_per_node_per_second")
_INTERVALS: Final = {
    column.name: interval_names(column.name)
    for column in SCENARIO_COLUMNS
    if interval_names(column.name)[0] in {other.name for other in SCENARIO_COLUMNS}
}


@dataclass(frozen=True)
class Estimate:
    """A value and its standard errors.

    Attributes
    ----------
    value : float
    below, above : float or None
        Standard error towards smaller and larger values; 0 where the value is exact, None where the interval has no such end.
    freedom : float
        Degrees of freedom behind them.
    trials : float or None
        Of a share: the independent trials that it is worth.
    """

    value: float
    below: float | None = 0.0
    above: float | None = 0.0
    freedom: float = _MANY
    trials: float | None = None


@dataclass(frozen=True)
class Difference:
    """After less before: ends of its 95 % interval, and how likely one at least as large is without a change.

    Each is None where the estimates do not tell; `p` is 1 or 0 where both are exact.
    """

    low: float | None
    high: float | None
    p: float | None
    exact: bool = False


def estimate_of(row: Row, metric: str) -> Estimate | None:
    """Value of a metric with the standard errors that its row tells; None where it varies and the row does not tell how much.

    Parameters
    ----------
    row
        Values of SCENARIO_COLUMNS, with one for the metric.
    metric
        Name of a column.

    Notes
    -----
    Capacity set by the pipeline window is window x batch over the mean flight, which is part of the latency: where every
    operation is answered, its relative error is at most the error of the mean latency over the mean flight. Throughput at the
    offered load errs as the success rate does.
    """
    value, events = float(row[metric]), row["engine"] == Engine.EVENTS
    if metric == "success_rate":
        return _share(row)
    if metric in _INTERVALS:
        return _bounded(row, metric)
    if metric == "saturation_ops_per_second":
        return _capacity(row, value, events)
    if metric in _COUNTED or (metric in _BOOKED and not events):
        return Estimate(value)
    if metric in _DONE and not events and row["success_rate"]:
        share = _share(row)
        scale = value / share.value
        return Estimate(value, *(error * scale for error in (share.below or 0.0, share.above or 0.0)))
    return None


def difference(before: Estimate, after: Estimate) -> Difference:
    """Compare two independent estimates.

    Notes
    -----
    The interval adds squares (Donner and Zou, Stat. Methods Med. Res. 2012; of shares: Newcombe, Stat. Med. 1998). The
    test is Welch's, with the errors on the sides that face each other; of shares, the score test with Yates' correction.
    Estimates from the same seed share draws, which makes their difference vary less than this takes it to: the test then errs
    on the side of no change.
    """
    from scipy.special import stdtr, stdtrit

    gap = after.value - before.value
    low, high = _together(after.below, before.above), _together(after.above, before.below)
    facing = low if gap > 0 else high
    freedom = _freedom(before, after)
    quantile = float(stdtrit(freedom, 0.975))
    from_here, up_to = (None if one is None else gap + sign * quantile * one for sign, one in ((-1.0, low), (1.0, high)))
    if before.trials and after.trials:
        p: float | None = _score(before, after)
    elif facing is None:
        p = 1.0 if gap == 0.0 else None
    else:
        p = 2.0 * float(stdtr(freedom, -abs(gap) / facing)) if facing > 0.0 else float(gap == 0.0)
    return Difference(from_here, up_to, p, exact=low == high == 0.0 and not before.trials)


def difference_over_seeds(before: Sequence[float], after: Sequence[float]) -> Difference | None:
    """Compare values of different seeds by how much seeds differ, which has to be alike before and after: Student's test.

    Returns
    -------
    Difference or None
        None with fewer than three values in all, which do not tell how much seeds differ.
    """
    from scipy.special import stdtr, stdtrit

    freedom = len(before) + len(after) - 2
    gap = float(np.mean(after) - np.mean(before))
    if freedom < 1:
        return Difference(0.0, 0.0, 1.0, exact=True) if gap == 0.0 else None
    squares = sum(float(np.square(np.subtract(values, np.mean(values))).sum()) for values in (before, after))
    error = math.sqrt(squares / freedom * (1.0 / len(before) + 1.0 / len(after)))
    if error == 0.0:
        return Difference(gap, gap, float(gap == 0.0), exact=True)
    half = float(stdtrit(freedom, 0.975)) * error
    return Difference(gap - half, gap + half, 2.0 * float(stdtr(freedom, -abs(gap) / error)))


def holm(p_values: Sequence[float], level: float) -> list[bool]:
    """Which of several tests are significant, with chance `level` that any is by chance (Holm, Scand. J. Stat. 1979)."""
    significant = [False] * len(p_values)
    for rank, at in enumerate(sorted(range(len(p_values)), key=lambda index: p_values[index])):
        if p_values[at] > level / (len(p_values) - rank):
            break
        significant[at] = True
    return significant


def _bounded(row: Row, metric: str) -> Estimate:
    from scipy.special import stdtrit

    freedom = max(row["replicates"] - 1, 1)
    quantile = float(stdtrit(freedom, 0.975))
    value, (low, high) = float(row[metric]), (row[end] for end in _INTERVALS[metric])
    below, above = (None if end is None else abs(end - value) / quantile for end in (low, high))
    return Estimate(value, below, above, freedom)


def _share(row: Row) -> Estimate:
    """Success; an end x of Wilson's interval of p solves (p - x)^2 = z^2 x (1 - x) / trials."""
    p, low, high = (float(row[name]) for name in ("success_rate", "success_low", "success_high"))
    end = high if high < 1.0 else low
    trials = _Z**2 * end * (1.0 - end) / (p - end) ** 2 if end != p else float(row["operations"])
    return Estimate(p, (p - low) / _Z, (high - p) / _Z, trials=trials)


def _capacity(row: Row, value: float, events: bool) -> Estimate | None:
    if events:
        error = value * _PACE_HALF_WIDTH / _Z
        return Estimate(value, error, error)
    if row["bottleneck"] != "pipeline_window":
        return Estimate(value)
    if row["success_rate"] < 1.0 or row["mean_latency_ms"] is None or not row["mean_flight_ms"]:
        return None
    latency, scale = _bounded(row, "mean_latency_ms"), value / row["mean_flight_ms"]
    if latency.below is None or latency.above is None:
        return None
    return Estimate(value, latency.above * scale, latency.below * scale, latency.freedom)


def _together(one: float | None, other: float | None) -> float | None:
    return None if one is None or other is None else math.hypot(one, other)


def _freedom(before: Estimate, after: Estimate) -> float:
    """Welch's and Satterthwaite's degrees of freedom, from the wider side of each estimate."""
    parts = [(max(one.below or 0.0, one.above or 0.0) ** 2, one.freedom) for one in (before, after)]
    spread = sum(square**2 / freedom for square, freedom in parts)
    return sum(square for square, _ in parts) ** 2 / spread if spread > 0.0 else _MANY


def _score(before: Estimate, after: Estimate) -> float:
    from scipy.special import ndtr

    one, other = before.trials or 0.0, after.trials or 0.0
    pooled = (before.value * one + after.value * other) / (one + other)
    scale = 1.0 / one + 1.0 / other
    error = math.sqrt(pooled * (1.0 - pooled) * scale)
    gap = max(0.0, abs(after.value - before.value) - scale / 2.0)
    return 2.0 * float(ndtr(-gap / error)) if error > 0.0 else 1.0
