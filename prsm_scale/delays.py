"""Laws of message delay as the tables that kernels draw from."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from prsm_kernels import Law as KernelLaw
from prsm_kernels import quantile_table
from prsm_kernels.codes import LAW_EXPONENTIAL, LAW_NONE, LAW_TABLE
from prsm_scale.atomic import reason
from prsm_scale.errors import UsageError
from prsm_scale.laws import Law, LawField, parse_law

Floats = NDArray[np.float64]
Quantiles = Callable[[Floats], NDArray[Any]]

MOST_MS = 1e9
"""Longest delay in a file, as for graph files."""

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

    Raises
    ------
    UsageError
        As in `read_delays`.
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
    if law.file:
        values = read_delays(law.file, "delay" if milliseconds else "jitter")
        return _tabulated(*_steps(values), values, float(values.mean()), milliseconds)
    return _family(law, milliseconds)


@lru_cache(maxsize=16)
def _family(law: Law, milliseconds: bool) -> tuple[int, NDArray[np.float32], float, float]:
    params = law.params if milliseconds else (1.0, *law.params)
    lower, upper = _quantiles(law.name, params)
    middle = (np.arange(200_000) + 0.5) / 400_000
    values = np.concatenate([lower(middle), upper(middle)])
    return _tabulated(lower, upper, values, _mean(law.name, params), milliseconds)


def _tabulated(
    lower: Quantiles, upper: Quantiles, values: Floats, mean: float, milliseconds: bool
) -> tuple[int, NDArray[np.float32], float, float]:
    """See `_variate`; `values` are as likely as one another, and stand for the law where its mean deviation is taken."""
    scale = 1.0 if milliseconds else 1.0 / mean
    table = quantile_table(lambda w: scale * lower(w), lambda w: scale * upper(w))
    return LAW_TABLE, table, scale * mean, scale * float(np.abs(values - mean).mean())


def read_delays(path: str, field: LawField = "delay") -> Floats:
    """Read the values of an empirical law.

    Parameters
    ----------
    path : str
        CSV file of numbers in any rows and columns, in milliseconds if they are delays. Lines that begin with ``#`` are skipped,
        and so is a first line of text.
    field : {"delay", "jitter"}
        What they are of; jitter, whose mean the scenario gives, takes their shape alone.

    Returns
    -------
    ndarray of float64, shape (N,)
        Ascending.

    Raises
    ------
    UsageError
        If the file is missing, or has anything but numbers from 0 to `MOST_MS`, or none, or for jitter nothing above 0.
    """
    try:
        lines = [line for line in Path(path).read_text(encoding="utf-8-sig").splitlines() if not line.lstrip().startswith("#")]
        start = 1 if lines and not any(map(_is_number, lines[0].split(","))) else 0
        cells = [cell for line in lines[start:] for cell in line.split(",") if cell.strip()]
        values = np.sort(np.array(cells, np.float64))
    except OSError as error:
        raise UsageError(field, path, f"a file that can be read ({reason(error)})") from None
    except ValueError as error:
        raise UsageError(field, path, f"a CSV file of numbers ({reason(error)})") from None
    wrong = values[~((values >= 0) & (values <= MOST_MS))]
    if wrong.size:
        raise UsageError(field, path, f"a file of numbers from 0 to {MOST_MS:g}, it has {wrong[0]:g}")
    if not values.size or (field == "jitter" and not values[-1] > 0):
        raise UsageError(field, path, f"a file with a number{' above 0' * (field == 'jitter')}")
    return values


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _steps(values: Floats) -> tuple[Quantiles, Quantiles]:
    """Quantile functions of both tails of a law that has each of these ascending values with the same probability."""

    def from_end(ordered: Floats) -> Quantiles:
        return lambda w: ordered[np.ceil(w * ordered.size).astype(np.int64) - 1]

    return from_end(values), from_end(values[::-1])


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
