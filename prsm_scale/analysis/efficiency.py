"""Scaling efficiency on saturation throughput, and the rules read off the simulated grid without a fit."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from prsm_scale.analysis.thresholds import DEGRADED_FACTOR, LOW_GAIN

BASIS = "saturation_ops_per_second"
"""Column that efficiency is computed on: the operations a system can do, not those it was offered."""


@dataclass(frozen=True, eq=False)
class ScalingEfficiency:
    """How much of linear scaling is reached: (X / X0) / (n / n0).

    Parameters
    ----------
    nodes
        int64[m], replicas, ascending; the first is the baseline n0.
    efficiency
        float64[m], 1 at the baseline.
    basis
        Column that X was taken from.
    """

    nodes: NDArray[np.int64]
    efficiency: NDArray[np.float64]
    basis: str = BASIS

    @property
    def mean(self) -> float | None:
        """Mean over the n above the baseline, which is 1 by definition; None where there is none."""
        return float(self.efficiency[1:].mean()) if len(self.nodes) > 1 else None

    @property
    def tier(self) -> str | None:
        """Name of the mean, by `efficiency_tier`."""
        return None if self.mean is None else efficiency_tier(self.mean)


def scaling_efficiency(nodes: ArrayLike, throughput: ArrayLike, basis: str = BASIS) -> ScalingEfficiency:
    """Compute the scaling efficiency over n.

    Parameters
    ----------
    nodes
        [m], replicas, each n once, in any order.
    throughput
        [m], operations per second; points without a positive finite value are left out.
    basis
        Column that `throughput` comes from, repeated in the result.
    """
    n, x = usable_points(nodes, throughput)
    return ScalingEfficiency(n, x / x[:1] / (n / n[:1]), basis)


def efficiency_tier(mean_efficiency: float) -> str:
    """Name a mean efficiency: excellent above 80 %, good from 60, moderate from 40, else poor."""
    if mean_efficiency > 0.8:
        return "excellent"
    return next((name for least, name in ((0.6, "good"), (0.4, "moderate")) if mean_efficiency >= least), "poor")


def low_gain_nodes(nodes: ArrayLike, throughput: ArrayLike, gain: float = LOW_GAIN) -> int | None:
    """Find the first n whose throughput is less than `gain` above that of the n before; None if none is."""
    n, x = usable_points(nodes, throughput)
    return _first(n[1:], x[1:] < (1 + gain) * x[:-1])


def slow_nodes(nodes: ArrayLike, latency_ms: ArrayLike, factor: float = DEGRADED_FACTOR) -> int | None:
    """Find the first n whose latency is above `factor` times that of the smallest n; None if none is."""
    n, y = usable_points(nodes, latency_ms)
    return _first(n, y > factor * y[:1])


def usable_points(nodes: ArrayLike, values: ArrayLike) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Keep the points with a positive finite value, n ascending."""
    n, y = np.asarray(nodes, dtype=np.int64), np.asarray(values, dtype=np.float64)
    keep = np.isfinite(y) & (y > 0)
    order = np.argsort(n[keep], kind="stable")
    return n[keep][order], y[keep][order]


def _first(nodes: NDArray[np.int64], holds: NDArray[np.bool_]) -> int | None:
    return int(nodes[holds.argmax()]) if holds.any() else None
