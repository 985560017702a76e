"""Searches of a plan, against trying everything."""

from __future__ import annotations

import math
import random
from collections.abc import Callable

import pytest

from prsm_scale.planning.search import largest, smallest, stage_sizes


class Counted:
    """A pressure that counts what it is asked for, each n once."""

    def __init__(self, law: Callable[[int], float]) -> None:
        self.law, self.asked = law, set[int]()

    def __call__(self, n: int) -> float:
        self.asked.add(n)
        return self.law(n)


@pytest.mark.parametrize("low", [4, 7, 50])
@pytest.mark.parametrize("high", [60, 1000])
def test_a_rising_pressure_gives_what_trying_all_gives(low: int, high: int) -> None:
    draw = random.Random(7)
    for _ in range(200):
        edge, power = draw.uniform(low * 0.6, high * 1.3), draw.uniform(0.2, 3.0)
        pressure = Counted(lambda n, edge=edge, power=power: (n / edge) ** power)  # type: ignore[misc]
        passing = [n for n in range(low, high + 1) if pressure.law(n) <= 1.0]
        assert largest(pressure, low, high) == max(passing, default=None)
        assert len(pressure.asked) <= 25


@pytest.mark.parametrize("edge", [4, 5, 37, 128, 999])
def test_a_pressure_that_jumps_is_found_by_halves(edge: int) -> None:
    pressure = Counted(lambda n: 0.0 if n <= edge else math.inf)
    assert largest(pressure, 4, 1000) == edge
    assert len(pressure.asked) <= 25


def test_pressure_that_falls_first_is_still_found() -> None:
    """One that only the second or third size, or a neighbour of the first, passes."""
    assert largest(lambda n: 1.5 if n < 8 else n / 50, 4, 1000) == 50
    assert largest(lambda n: 0.5 if n == 6 else 2.0, 4, 1000) == 6
    assert largest(lambda n: 2.0, 4, 1000) is None
    assert largest(lambda n: 2.0, 4, 4) is None
    assert largest(lambda n: 0.5, 4, 4) == 4


def test_steps_of_the_quorum_are_looked_past() -> None:
    """From some n on two of three fail, then all: the last that passes is found, not the first before one that fails."""

    def pressure(n: int) -> float:
        return 0.5 if n <= 20 or (n % 3 == 0 and n <= 147) else math.inf

    assert largest(pressure, 4, 1000) == 147


def test_resolution_is_kept_where_it_is_coarse() -> None:
    pressure = Counted(lambda n: n / 803)
    found = largest(pressure, 4, 1000, lambda n: max(1, n // 100))
    assert found is not None
    assert 803 - 8 <= found <= 803
    assert len(pressure.asked) < len(_asked_by_ones(803))


def _asked_by_ones(edge: int) -> set[int]:
    pressure = Counted(lambda n: 0.0 if n <= edge else math.inf)
    largest(pressure, 4, 1000)
    return pressure.asked


def test_the_smallest_rung() -> None:
    for count in range(1, 9):
        for edge in range(count):
            assert smallest(range(count), lambda rung, edge=edge: rung >= edge) == edge  # type: ignore[misc]
    assert smallest("abc", lambda rung: False) == "c"


def test_stages_rise_to_the_largest_by_sizes_that_tolerate_more() -> None:
    def faults(n: int) -> int:
        return (n - 1) // 3

    for last in (4, 5, 12, 101, 1000):
        for count in range(1, 8):
            sizes = stage_sizes(4, last, count, faults)
            assert sizes[-1] == last
            assert len(sizes) <= max(count, 1)
            assert sizes == sorted(set(sizes))
            assert sizes[0] == (4 if count > 1 else last)
            assert all(faults(n - 1) < faults(n) for n in sizes[1:-1])
    assert stage_sizes(4, 1000, 5, faults) == [4, 16, 61, 250, 1000]
