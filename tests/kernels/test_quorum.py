"""Selection and sorting of lanes against NumPy, for every count a small system has and some large ones."""

from __future__ import annotations

import numpy as np
import pytest

from prsm_kernels import LANES, kth_arrivals, kth_smallest, sort_lanes, uniforms
from prsm_kernels._jit import kernel
from prsm_kernels.lanes import load, store

RNG = np.random.default_rng(20_240_519)
COUNTS = [*range(1, 71), 127, 128, 129, 255, 256, 257, 300, 511, 513, 768, 1000]

KINDS = {
    "random": lambda shape: RNG.uniform(0, 1000, shape),
    "tied": lambda shape: RNG.integers(0, 4, shape),
    "some never": lambda shape: np.where(RNG.random(shape) < 0.4, np.inf, RNG.uniform(0, 1000, shape)),
    "all never": lambda shape: np.full(shape, np.inf),
    "constant": lambda shape: np.full(shape, 250.0),
    "ascending": lambda shape: np.broadcast_to(np.arange(shape[0])[:, None], shape),
    "descending": lambda shape: np.broadcast_to(-np.arange(shape[0])[:, None], shape),
    "outlier": lambda shape: np.where(RNG.random(shape) < 0.1, 3e38, RNG.uniform(0, 1e-3, shape)),
}


def sample(kind, count, operations=LANES):
    """Arrivals [message, operation] as float32."""
    return np.ascontiguousarray(KINDS[kind]((count, operations)), np.float32)


@pytest.mark.parametrize("kind", KINDS)
def test_sort_lanes(kind):
    """Each lane is sorted by itself, and what lies behind `count` stays."""
    for count in COUNTS:
        values = sample(kind, count)
        row = np.concatenate([values.ravel(), np.full(3 * LANES, -7.0, np.float32)])
        sort_lanes(row, count)
        assert np.array_equal(row[: count * LANES].reshape(count, LANES), np.sort(values, axis=0)), count
        assert (row[count * LANES :] == -7.0).all()


@pytest.mark.parametrize("count", range(1, 14))
def test_sort_lanes_sorts_all_zeros_and_ones(count):
    """A network that sorts every sequence of zeros and ones sorts everything (Knuth, TAOCP 3, 5.3.4)."""
    codes = np.arange(max(1 << count, LANES)) % (1 << count)
    for block in codes.reshape(-1, LANES):
        values = ((block >> np.arange(count)[:, None]) & 1).astype(np.float32)
        row = values.ravel().copy()
        sort_lanes(row, count)
        assert np.array_equal(row.reshape(count, LANES), np.sort(values, axis=0))


def test_sort_of_nothing():
    row = np.arange(LANES, dtype=np.float32)[::-1].copy()
    sort_lanes(row, 0)
    assert np.array_equal(row, np.arange(LANES)[::-1])


@kernel
def select_each(row, count, ranks, guess, out):
    """The k-th smallest with a k and a first guess of each lane's own."""
    store(out, 0, kth_smallest(row, count, load(ranks, 0), load(guess, 0)))


def expected_kth(values, ranks):
    """What np.sort says, inf beyond the last."""
    padded = np.vstack([np.sort(values, axis=0), np.full((1, values.shape[1]), np.inf)])
    return padded[np.minimum(np.asarray(ranks, np.int64) - 1, len(values)), np.arange(values.shape[1])]


@pytest.mark.parametrize("kind", KINDS)
def test_kth_smallest_for_every_count_and_rank(kind):
    """Ranks differ between lanes, run past the count, and the first guess is anything at all."""
    out = np.empty(LANES, np.float32)
    guesses = np.array([0, -1, 500, 1e30, np.inf, -np.inf, np.nan, 3.4e38] * 2, np.float32)
    for count in COUNTS:
        values = sample(kind, count)
        blocks = range(0, count + 2, LANES) if count <= 70 else (0, count // 3, count // 2, count - 1)
        for first in blocks:
            ranks = (first + 1 + np.arange(LANES)).astype(np.uint32)
            select_each(values.ravel(), count, ranks, guesses, out)
            assert np.array_equal(out, expected_kth(values, ranks)), (count, first)


def test_kth_smallest_does_not_depend_on_the_guess():
    values = sample("random", 40)
    ranks = np.full(LANES, 27, np.uint32)
    found = set()
    for guess in (-5.0, 0.0, 499.0, 500.0, 501.0, 1e9):
        out = np.empty(LANES, np.float32)
        select_each(values.ravel(), 40, ranks, np.full(LANES, guess, np.float32), out)
        found.add(out.tobytes())
    assert len(found) == 1


@pytest.mark.parametrize("count", [1, 2, 7, 64, 333])
def test_kth_arrivals(count):
    values = sample("some never", count, 5 * LANES)
    out = np.empty(5 * LANES, np.float32)
    for k in {1, 2, (count + 1) // 2, count, count + 1}:
        kth_arrivals(values.ravel(), k, out)
        assert np.array_equal(out, expected_kth(values, np.full(5 * LANES, k)))


def test_values_near_the_ends_of_float32():
    """Halving an interval must not overflow, and neighbouring floats must be told apart."""
    tiny = np.nextafter(np.float32(1), np.float32(2))
    for column in (
        [3.3e38, -3.3e38, 3.4e38, -3.4e38, 0.0],
        [1.0, tiny, 1.0, tiny, 1.0],
        [0.0, 1e-45, 1e-38, -1e-45, 0.0],
    ):
        values = np.repeat(np.array(column, np.float32)[:, None], LANES, axis=1)
        out = np.empty(LANES, np.float32)
        for k in range(1, 6):
            kth_arrivals(values.ravel(), k, out)
            assert (out == np.sort(values[:, 0])[k - 1]).all()


@pytest.mark.parametrize(("n", "k"), [(4, 3), (10, 7), (31, 1), (31, 31), (100, 67)])
def test_mean_of_the_kth_uniform(n, k):
    """The k-th of n uniform(a, b) has mean a + (b - a) k / (n + 1) (MODEL: closed forms).

    Seen to fail for the (k - 1)-th and for the k-th of n - 1.
    """
    a, b, operations = 50.0, 150.0, 1 << 14
    draws = a + (b - a) * uniforms(9, 1, np.arange(n)[:, None], np.arange(operations))
    out = np.empty(operations, np.float32)
    kth_arrivals(draws.astype(np.float32).ravel(), k, out)
    variance = (b - a) ** 2 * k * (n + 1 - k) / ((n + 1) ** 2 * (n + 2))
    error = np.sqrt(variance / operations)
    assert abs(out.mean(dtype=np.float64) - (a + (b - a) * k / (n + 1))) < 4.5 * error
    assert 4.5 * error < (b - a) / (n + 1) / 2
