"""Every operation on lanes, compiled, against the same on NumPy arrays."""

from __future__ import annotations

import numpy as np
import pytest

from prsm_kernels import LANES
from prsm_kernels._jit import kernel
from prsm_kernels.lanes import (
    add_mask,
    any_lane,
    bits_of,
    float_of_bits,
    gather,
    greater,
    lesser,
    load,
    multiply_add,
    select,
    spread,
    spread_int,
    store,
    to_float,
)

BLOCKS = 64
SIZE = BLOCKS * LANES
RNG = np.random.default_rng(20_240_518)


def floats(low=-100.0, high=100.0):
    return RNG.uniform(low, high, SIZE).astype(np.float32)


X, Y, Z = floats(), floats(), floats()
X[::7] = Y[::7]
X[5], Y[6], X[7], Y[7] = np.inf, np.inf, -np.inf, np.inf
U, V = (RNG.integers(0, 1 << 32, SIZE, dtype=np.uint32) for _ in range(2))
U[::7] = V[::7]
U[1], V[2] = 0, 0xFFFFFFFF
SCALAR, WORD, SHIFT = np.float32(3.7), np.uint32(0x89ABCDEF), np.uint32(11)


@kernel
def float_operations(x_row, y_row, z_row, scalar, out):
    for at in range(0, x_row.size, LANES):
        x, y, z = load(x_row, at), load(y_row, at), load(z_row, at)
        store(out[0], at, x + y)
        store(out[1], at, x - y)
        store(out[2], at, x * y)
        store(out[3], at, x / y)
        store(out[4], at, x + scalar)
        store(out[5], at, x - scalar)
        store(out[6], at, x * scalar)
        store(out[7], at, x / scalar)
        store(out[8], at, lesser(x, y))
        store(out[9], at, greater(x, y))
        store(out[10], at, multiply_add(x, y, z))
        store(out[11], at, spread(scalar))
        store(out[12], at, select(x < y, x, z))
        store(out[13], at, select((x <= y) & (y <= z), x, z))
        store(out[14], at, select((x == y) | (y >= z), x, z))
        store(out[15], at, select(x < scalar, x, z))
        store(out[16], at, select(x >= scalar, x, z))


@kernel
def word_operations(u_row, v_row, scalar, shift, out):
    for at in range(0, u_row.size, LANES):
        u, v = load(u_row, at), load(v_row, at)
        store(out[0], at, u + v)
        store(out[1], at, u - v)
        store(out[2], at, u & v)
        store(out[3], at, u | v)
        store(out[4], at, u ^ v)
        store(out[5], at, u + scalar)
        store(out[6], at, u ^ scalar)
        store(out[7], at, u & scalar)
        store(out[8], at, u << shift)
        store(out[9], at, u >> shift)
        store(out[10], at, spread_int(scalar))
        store(out[11], at, select(u < v, u, scalar_lanes(scalar)))
        store(out[12], at, select(u <= scalar, u, v))
        store(out[13], at, select(u == v, u, scalar_lanes(scalar)))
        store(out[14], at, select(u >= v, u, scalar_lanes(scalar)))
        store(out[15], at, add_mask(u, u < v))
        store(out[16], at, bits_of(float_of_bits(u >> np.uint32(2))))


@kernel
def scalar_lanes(scalar):
    return spread_int(scalar)


@kernel
def conversions(u_row, x_row, table, out, any_out):
    for at in range(0, u_row.size, LANES):
        u, x = load(u_row, at), load(x_row, at)
        store(out[0], at, to_float(u))
        store(out[1], at, float_of_bits(bits_of(x)))
        store(out[2], at, gather(table, u & np.uint32(63)))
        any_out[at // LANES] = any_lane(x < np.float32(-95.0))


def fused(x, y, z):
    """One rounding: the product of two float32 is exact in float64, and the sum nearly so."""
    return (x.astype(np.float64) * y + z).astype(np.float32)


FLOATS = {
    "x + y": lambda: X + Y,
    "x - y": lambda: X - Y,
    "x * y": lambda: X * Y,
    "x / y": lambda: X / Y,
    "x + s": lambda: X + SCALAR,
    "x - s": lambda: X - SCALAR,
    "x * s": lambda: X * SCALAR,
    "x / s": lambda: X / SCALAR,
    "lesser": lambda: np.minimum(X, Y),
    "greater": lambda: np.maximum(X, Y),
    "multiply_add": lambda: fused(X, Y, Z),
    "spread": lambda: np.full(SIZE, SCALAR),
    "<": lambda: np.where(X < Y, X, Z),
    "<= and &": lambda: np.where((X <= Y) & (Y <= Z), X, Z),
    "== or >=": lambda: np.where((X == Y) | (Y >= Z), X, Z),
    "< s": lambda: np.where(X < SCALAR, X, Z),
    ">= s": lambda: np.where(X >= SCALAR, X, Z),
}
WORDS = {
    "u + v": lambda: U + V,
    "u - v": lambda: U - V,
    "u & v": lambda: U & V,
    "u | v": lambda: U | V,
    "u ^ v": lambda: U ^ V,
    "u + s": lambda: U + WORD,
    "u ^ s": lambda: U ^ WORD,
    "u & s": lambda: U & WORD,
    "<<": lambda: U << SHIFT,
    ">> is logical": lambda: U >> SHIFT,
    "spread_int": lambda: np.full(SIZE, WORD),
    "< is unsigned": lambda: np.where(U < V, U, WORD),
    "<= s": lambda: np.where(U <= WORD, U, V),
    "==": lambda: np.where(U == V, U, WORD),
    ">= is unsigned": lambda: np.where(U >= V, U, WORD),
    "add_mask": lambda: U + (U < V).astype(np.uint32),
    "there and back": lambda: U >> np.uint32(2),
}


@pytest.fixture(scope="module")
def compiled():
    """Rows of results of the three kernels."""
    found = np.zeros((len(FLOATS), SIZE), np.float32)
    float_operations(X, Y, Z, SCALAR, found)
    words = np.zeros((len(WORDS), SIZE), np.uint32)
    word_operations(U, V, WORD, SHIFT, words)
    return dict(zip(FLOATS, found, strict=True)) | dict(zip(WORDS, words, strict=True))


@pytest.mark.filterwarnings("ignore:invalid value")
@pytest.mark.parametrize("name", [*FLOATS, *WORDS])
def test_operation(compiled, name):
    expected = (FLOATS | WORDS)[name]()
    assert expected.dtype == compiled[name].dtype
    assert np.array_equal(compiled[name], expected, equal_nan=name in FLOATS)


def test_conversions_gather_and_any():
    table = np.arange(64, dtype=np.float32) ** 2
    out, any_out = np.zeros((3, SIZE), np.float32), np.zeros(BLOCKS, np.bool_)
    conversions(U, X, table, out, any_out)
    assert np.array_equal(out[0], U.view(np.int32).astype(np.float32))
    assert np.array_equal(out[1], X)
    assert np.array_equal(out[2], table[U & 63])
    assert np.array_equal(any_out, (X.reshape(BLOCKS, LANES) < -95).any(axis=1))
    assert 0 < any_out.sum() < BLOCKS


def test_loads_need_no_alignment():
    """A row may start at any element: blocks of lanes are not aligned to 64 bytes."""
    for offset in range(4):
        x = np.ascontiguousarray(np.arange(SIZE + offset, dtype=np.float32))[offset:]
        out = np.zeros((len(FLOATS), SIZE), np.float32)
        float_operations(x, Y, Z, SCALAR, out)
        assert np.array_equal(out[0], x + Y)
