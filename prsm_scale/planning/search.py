"""Searches over numbers of replicas and over rungs of a ladder, with as few trials as they take."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import Final, TypeVar

QUORUM_PERIOD: Final = 3
"""n after which quorum and f take the same steps again."""
_HOPELESS: Final = 3
"""Sizes, some multiples of the fewest, of which none passes, after which the search gives up."""

T = TypeVar("T")
Pressure = Callable[[int], float]
"""How hard n presses its hardest target: it passes with at most 1. Asked for the same n again it has to answer at once."""
Step = Callable[[int], int]
"""Resolution of the search at n."""


def largest(pressure: Pressure, low: int, high: int, step: Step = lambda n: 1) -> int | None:
    """Find the largest n from `low` to `high` that passes, where passing is close to monotone.

    Sizes rise by steps that double until one fails; between the last that passes and the first that fails the search closes
    in. The n found passes, and the next three a step apart fail; where one of them passes, the search goes on from it.

    Parameters
    ----------
    pressure
        See `Pressure`.
    low, high : int
        Both included.
    step
        See `Step`.

    Returns
    -------
    int or None
        None where neither the first three sizes nor the first four n pass.
    """
    first = [*islice(_rising(low, low, high), _HOPELESS), *_above(low, high, 1)]
    start = next((n for n in first if pressure(n) <= 1.0), None)
    best, stride = None, low
    while start is not None:
        best = _climb(pressure, start, high, stride, step)
        stride = step(min(best + 1, high))
        start = max((n for n in _above(best, high, stride) if pressure(n) <= 1.0), default=None)
    return best


def _climb(pressure: Pressure, passing: int, high: int, stride: int, step: Step) -> int:
    """Find an n that passes a step before one that fails, or that is `high`, from one that passes on."""
    for n in _rising(passing, stride, high):
        if pressure(n) > 1.0:
            return _close_in(pressure, passing, n, step)
        passing = n
    return passing


def _close_in(pressure: Pressure, passing: int, failing: int, step: Step) -> int:
    """Close in on the place between two n where it begins to fail, by interpolation, by halves where that goes one-sided."""
    same_side, passed = 0, False
    while failing - passing > (least := step(failing)):
        halve = same_side == 2 or failing - passing <= 2 * least
        guess = (passing + failing) // 2 if halve else _guess(pressure, passing, failing)
        n = guess if halve else min(max(guess, passing + least), failing - least)
        passes = pressure(n) <= 1.0
        same_side = 0 if halve else same_side + 1 if passes == passed else 1
        passed = passes
        passing, failing = (n, failing) if passes else (passing, n)
    return passing


def _guess(pressure: Pressure, passing: int, failing: int) -> int:
    """Guess where pressure reaches 1, as a power of n."""
    below, above = pressure(passing), pressure(failing)
    if not (0.0 < below < above < math.inf):
        return (passing + failing) // 2
    share = math.log(1.0 / below) / math.log(above / below)
    return math.floor(passing * math.exp(share * math.log(failing / passing)))


def _rising(start: int, stride: int, high: int) -> Iterator[int]:
    """Sizes from `start` on, by strides that double, up to `high`."""
    n = start
    while n < high:
        yield n
        n, stride = n + stride, 2 * stride
    yield high


def _above(n: int, high: int, step: int) -> range:
    return range(min(n + step, high + 1), min(n + QUORUM_PERIOD * step, high) + 1, step)


def smallest(rungs: Sequence[T], passes: Callable[[T], bool]) -> T:
    """Find the smallest rung that passes, where more is never worse; the last one is taken to pass.

    The rung below the one found has failed.
    """
    low, high = 0, len(rungs) - 1
    while low < high:
        middle = (low + high) // 2
        if passes(rungs[middle]):
            high = middle
        else:
            low = middle + 1
    return rungs[high]


def stage_sizes(first: int, last: int, count: int, faults: Callable[[int], int]) -> list[int]:
    """Sizes of a roll-out: even factors from `first` to `last`, those between lowered to the fewest that tolerate as many faults.

    Examples
    --------
    >>> stage_sizes(4, 100, 4, lambda n: (n - 1) // 3)
    [4, 10, 34, 100]
    """
    if count == 1:
        return [last]
    between = (round(first * (last / first) ** (step / (count - 1))) for step in range(1, count - 1))
    return sorted({first, last, *(_fewest(n, first, faults) for n in between)})


def _fewest(n: int, first: int, faults: Callable[[int], int]) -> int:
    while n > first and faults(n - 1) == faults(n):
        n -= 1
    return n
