"""Means, shares and quantiles of operations that come in clusters, with their intervals."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from prsm_scale.outcome import Operations

Vector = NDArray[np.float64]
Groups = NDArray[np.int64]
_Z = 1.959963984540054
_WAITING = 20
"""Operations that have waited behind others, from which on these tell what a wait adds to latency."""


def mean_and_error(
    values: Vector, cluster: Groups, stratum: Groups | None = None, alike: Groups | None = None
) -> tuple[float, float, float]:
    """Mean, its standard error from independent clusters of values, and the number of clusters that tells it.

    The ratio estimator for clusters of unequal size (Cochran, Sampling Techniques, section 9A.1); of fewer than eight clusters,
    the error of independent values, or groups of them that are `alike`, if that is larger. Where clusters are drawn from strata,
    whose numbers of values are in proportion to them, only the spread within strata counts, and as many clusters as
    Satterthwaite's degrees of freedom (section 5.4), and one; a cluster that is alone in its stratum counts as one of all.
    """
    mean = float(values.mean())
    _, first, group = np.unique(cluster, return_index=True, return_inverse=True)
    _, of = np.unique(np.zeros_like(first) if stratum is None else stratum[first], return_inverse=True)
    count = np.bincount(of)
    centre = np.where(count > 1, np.bincount(of[group], values) / np.bincount(of[group]), mean)
    totals = np.bincount(group, values - centre[of[group]])
    parts = np.bincount(of, totals**2) * count / np.maximum(count - 1, 1)
    error = math.sqrt(parts.sum()) / values.size
    freedom = _freedom(parts, (count - 1).astype(np.float64)) if error > 0.0 else first.size - 1.0
    if first.size < 8:
        apart = values - mean if alike is None else np.bincount(np.unique(alike, return_inverse=True)[1], values - mean)
        error = max(error, float(np.linalg.norm(apart)) * math.sqrt(apart.size / max(apart.size - 1, 1)) / values.size)
    return mean, error, 1.0 + freedom


def mean_latency(
    operations: Operations, ended: NDArray[np.bool_], cluster: Groups, stratum: Groups | None = None
) -> tuple[float, float, float]:
    """Mean latency of the operations that `ended`, its standard error and the clusters that tell it; see `mean_and_error`.

    What is rare and long, and known on average, counts as that, since a few operations hold too much of it, or none: waits behind
    other operations, by linear regression on those drawn (Cochran, Sampling Techniques, section 7.1), if enough have waited to
    tell what they add; and, where all have ended, the time that requests lose to retransmission, which all that follows adds to.
    Where some have not ended, which may be those that waited for long, regression counts if it tells the mean more surely.
    """
    waits, alike = operations.waits, operations.alike
    known = np.count_nonzero(waits > -1.0, axis=0).min() >= _WAITING * operations.starts and waits.any()
    if ended.all():
        values = operations.latency_ms - operations.lost_ms
        return mean_and_error(_at_mean_waits(values, waits, cluster) if known else values, cluster, stratum, alike)
    # a ratio of sums over all operations, but for clusters without any that ended, which tell nothing
    latency, mean = operations.latency_ms, operations.latency_ms[ended].mean()
    _, group = np.unique(cluster, return_inverse=True)
    told = (np.bincount(group, ended) > 0)[group]
    values = mean + np.where(ended, latency - mean, 0.0)[told] * (np.count_nonzero(told) / np.count_nonzero(ended))
    cluster, stratum, alike = cluster[told], *(None if groups is None else groups[told] for groups in (stratum, alike))
    found = [mean_and_error(values, cluster, stratum, alike)]
    if known:
        found.append(mean_and_error(_at_mean_waits(values, waits[told], cluster), cluster, stratum, alike))
    return min(found, key=lambda one: half_width(*one[1:]))


def _at_mean_waits(values: Vector, waits: Vector, cluster: Groups) -> Vector:
    """What values would be if their operations had waited for the mean time, by how they grow with waits within clusters."""
    _, group = np.unique(cluster, return_inverse=True)
    apart = np.column_stack([values, waits])
    # clusters differ in more than that
    apart -= np.column_stack([np.bincount(group, column) for column in apart.T])[group] / np.bincount(group)[group, None]
    return np.asarray(values - waits @ np.linalg.lstsq(apart[:, 1:], apart[:, 0], rcond=None)[0])


def error_of_sum(*parts: tuple[float, float]) -> tuple[float, float]:
    """Standard error of a sum from those of its independent parts, each with the number of clusters that tells it; that of all.

    The degrees of freedom are Satterthwaite's, as in `mean_and_error`.
    """
    known = np.array([part for part in parts if part[0] > 0.0])
    if len(known) < 2:
        return max(parts)
    errors, clusters = known.T
    return math.sqrt((errors**2).sum()), 1.0 + _freedom(errors**2, clusters - 1.0)


def _freedom(variances: Vector, each: Vector) -> float:
    """Degrees of freedom of a sum of independent variances from those of each (Satterthwaite)."""
    return float(variances.sum() ** 2 / (variances**2 / np.maximum(each, 1.0)).sum())


def half_width(error: float, clusters: float) -> float:
    """Half the 95 % interval of a mean whose standard error comes from so many clusters: Student's law."""
    from scipy.special import stdtrit

    return float(stdtrit(max(clusters - 1, 1), 0.975)) * error


def effective_size(values: Vector, cluster: Groups, stratum: Groups, q: float, homogeneous: bool) -> float:
    """Independent values that as many are worth for the quantile of probability q.

    All of them where clusters are `homogeneous`: strata that operations share make them worth more, which percentiles' intervals
    leave aside. Else by how much the share of values below that quantile varies between clusters (Woodruff, JASA 1952).
    """
    if homogeneous:
        return float(values.size)
    share, error, _ = mean_and_error((values <= np.quantile(values, q)).astype(np.float64), cluster, stratum)
    return float(values.size) if error <= 0.0 else min(float(values.size), share * (1.0 - share) / error**2)


def effective_trials(ended: NDArray[np.bool_], cluster: Groups, stratum: Groups | None = None, copies: int = 1) -> float:
    """Independent trials that so many successes and failures are worth, by how much their share varies between clusters.

    Where all clusters are alike inside and differ, success is decided for each as a whole: as many trials as clusters. Where
    nothing varies, `copies` are one trial.
    """
    share, error, _ = mean_and_error(ended.astype(np.float64), cluster, stratum)
    if share in (0.0, 1.0) or error <= 0.0:
        return ended.size / copies
    return float(min(ended.size, max(np.unique(cluster).size, share * (1.0 - share) / error**2)))


def wilson(successes: float, trials: float) -> tuple[float, float]:
    """95 % interval of a proportion (Wilson, JASA 1927)."""
    if trials == 0:
        return 0.0, 1.0
    p, z2 = successes / trials, _Z**2
    middle = (p + z2 / (2 * trials)) / (1 + z2 / trials)
    half = _Z * math.sqrt(p * (1 - p) / trials + z2 / (4 * trials**2)) / (1 + z2 / trials)
    low = 0.0 if successes == 0 else max(0.0, middle - half)
    high = 1.0 if successes == trials else min(1.0, middle + half)
    return low, high


def quantile_with_interval(ordered: Vector, q: float, effective: float) -> tuple[float, float | None, float | None]:
    """Quantile of sorted values with its 95 % interval by order statistics.

    Parameters
    ----------
    ordered : ndarray of float64, shape (N,)
        Ascending.
    q : float
        Probability.
    effective : float
        Number of independent values that the N are worth, at most N.

    Returns
    -------
    (float, float or None, float or None)
        The quantile, and the ends of its interval; None where too few values lie beyond it to bound it.
    """
    from scipy.special import bdtr

    size = ordered.size
    value = float(np.quantile(ordered, q))
    n = max(1, min(size, round(effective)))
    k = np.arange(n)
    below = bdtr(k, n, q)  # P(at most k of n values lie below the quantile)
    lower = np.flatnonzero(below <= 0.025)
    upper = np.flatnonzero(below >= 0.975)
    scale = (size - 1) / max(n - 1, 1)

    def at(index: int) -> float:
        return float(ordered[min(size - 1, round(index * scale))])

    low = at(int(lower[-1])) if lower.size else None
    high = at(int(upper[0])) if upper.size else None
    return value, low, high
