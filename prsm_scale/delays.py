"""Laws of message delay as the tables that kernels draw from."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from prsm_kernels import Law as KernelLaw
from prsm_kernels import quantile_table
from prsm_kernels.codes import LAW_EXPONENTIAL, LAW_NONE, LAW_TABLE
from prsm_scale.laws import Law, parse_law

Quantiles = Callable[[NDArray[np.float64]], NDArray[Any]]

_NO_TABLE = np.zeros(1, np.float32)


def kernel_law(scenario: Any) -> tuple[KernelLaw, float]:
    """Law of the delay of one hop for the kernels, and the mean of its variate.

    Parameters
    ----------
    scenario : Scenario
        Uses `delay`, `jitter`, `jitter_fraction` and `transport`.

    Returns
    -------
    (prsm_kernels.Law, float)
        A hop's mean delay is ``base + (law.offset + law.slope * base) * mean``. Its retransmission time-out is that of RFC 6298
        at rest: SRTT is the mean round trip, RTTVAR its mean deviation, taken as that of two independent hops.
    """
    if scenario.delay is not None:
        law, offset, slope, least = parse_law(scenario.delay, "delay"), 1.0, 0.0, 0.0
        if law.name == "constant" or law.name == "exponential":
            offset = law.params[0]
    else:
        law, offset, slope, least = parse_law(scenario.jitter, "jitter"), 0.0, float(scenario.jitter_fraction), 1.0
        if law.name == "none":
            slope = 0.0
    kind, table, mean, deviation = _variate(law, scenario.delay is not None)
    spread = 2.0 * mean + 4.0 * math.sqrt(2.0) * deviation
    kernel = KernelLaw(
        kind=kind,
        offset=np.float32(offset),
        slope=np.float32(slope),
        least=np.float32(least),
        table=table,
        rto_offset=np.float32(offset * spread),
        rto_slope=np.float32(2.0 + slope * spread),
        stream=scenario.transport == "stream",
    )
    return kernel, mean


def _variate(law: Law, milliseconds: bool) -> tuple[int, NDArray[np.float32], float, float]:
    """(kind, table, mean, mean deviation) of the variate of `law`."""
    if law.name in ("none", "constant"):
        return LAW_NONE, _NO_TABLE, 1.0, 0.0
    if law.name == "exponential":
        return LAW_EXPONENTIAL, _NO_TABLE, 1.0, 2.0 / math.e
    params = law.params if milliseconds else (1.0, *law.params)
    lower, upper = _quantiles(law.name, params)
    mean = _mean(law.name, params)
    scale = 1.0 if milliseconds else 1.0 / mean
    table = quantile_table(lambda w: scale * lower(w), lambda w: scale * upper(w))
    middle = (np.arange(200_000) + 0.5) / 400_000
    deviation = float(np.abs(np.concatenate([lower(middle), upper(middle)]) - mean).mean())
    return LAW_TABLE, table, scale * mean, scale * deviation


def _mean(name: str, params: tuple[float, ...]) -> float:
    first, second = params
    if name == "uniform":
        return (first + second) / 2
    if name == "normal":
        from scipy import special

        cut = first / second
        return float(first + second * math.exp(-(cut**2) / 2) / math.sqrt(2 * math.pi) / special.ndtr(cut))
    return first


def _quantiles(name: str, params: tuple[float, ...]) -> tuple[Quantiles, Quantiles]:
    """Quantile functions of the lower and the upper tail."""
    from scipy import special

    first, second = params
    if name == "uniform":
        return lambda w: first + (second - first) * w, lambda w: second - (second - first) * w
    if name == "normal":
        kept = float(special.ndtr(first / second))  # probability above 0, to which the law is truncated
        return (
            lambda w: first + second * special.ndtri((1.0 - kept) + w * kept),
            lambda w: first - second * special.ndtri(w * kept),
        )
    if name == "lognormal":
        median = math.log(first) - second**2 / 2
        return (
            lambda w: np.exp(median + second * special.ndtri(w)),
            lambda w: np.exp(median - second * special.ndtri(w)),
        )
    if name == "gamma":
        return (
            lambda w: first / second * special.gammaincinv(second, w),
            lambda w: first / second * special.gammainccinv(second, w),
        )
    least = first * (second - 1.0) / second
    return lambda w: least * (1.0 - w) ** (-1.0 / second), lambda w: least * w ** (-1.0 / second)
