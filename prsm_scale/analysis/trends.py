"""Trends of a series over runs, by ranks: a single outlier does not make one, and a constant series has none."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from typing import Final

import numpy as np

_LONGEST_EXACT: Final = 50


def theil_sen(values: Sequence[float]) -> float:
    """Slope from one value to the next: the median over all pairs (Theil 1950; Sen, JASA 1968).

    Examples
    --------
    >>> theil_sen([1.0, 2.0, 3.0, 400.0, 5.0])
    1.0
    """
    series = np.asarray(values, np.float64)
    first, last = np.triu_indices(series.size, k=1)
    return float(np.median((series[last] - series[first]) / (last - first)))


def mann_kendall(values: Sequence[float]) -> float:
    """Chance of so many rises over falls, or falls over rises, among all pairs if the order meant nothing.

    Parameters
    ----------
    values
        At least two, in their order; equal ones are ties.

    Returns
    -------
    float
        Two-sided p-value: exact for up to 50 values, by the normal law with the correction for continuity beyond.

    Notes
    -----
    Mann, Econometrica 1945; Kendall, Rank Correlation Methods. Under the hypothesis, falls are inversions of an arrangement of
    values with ties: their number has the coefficients of the q-multinomial as its law.

    Examples
    --------
    >>> mann_kendall([1.0, 2.0, 3.0, 4.0, 5.0])
    0.016666666666666666
    >>> mann_kendall([7.0, 7.0, 7.0, 7.0, 7.0])
    1.0
    """
    series = np.asarray(values, np.float64)
    first, last = np.triu_indices(series.size, k=1)
    score = int(np.sign(series[last] - series[first]).sum())
    ties = list(Counter(series.tolist()).values())
    if series.size <= _LONGEST_EXACT:
        return _exact(series.size, ties, abs(score))
    from scipy.special import ndtr

    variance = (_moment(series.size) - sum(map(_moment, ties))) / 18.0
    return min(1.0, 2.0 * float(ndtr((1.0 - abs(score)) / math.sqrt(variance)))) if variance > 0.0 else 1.0


def _moment(size: int) -> int:
    return size * (size - 1) * (2 * size + 5)


def _exact(size: int, ties: Sequence[int], score: int) -> float:
    """P(|rises - falls| >= score) over all arrangements of values with so many ties each."""
    untied = math.comb(size, 2) - sum(math.comb(count, 2) for count in ties)
    ways = [1] + [0] * untied  # coefficients of the product of 1 - q^k up to size, over those of each tie
    for k in range(1, size + 1):
        for place in range(untied, k - 1, -1):
            ways[place] -= ways[place - k]
    for count in ties:
        for k in range(1, count + 1):
            for place in range(k, untied + 1):
                ways[place] += ways[place - k]
    extreme = sum(number for falls, number in enumerate(ways) if abs(untied - 2 * falls) >= score)
    return extreme / sum(ways)
