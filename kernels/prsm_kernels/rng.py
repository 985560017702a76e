"""Counter-based random numbers: Threefry-2x32 with 13 rounds.

Source: Salmon, Moraes, Dror and Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC 2011 (13 rounds is the
smallest Crush-resistant variant of 2x32). A draw is a pure function of (seed, replicate, operation, round, sender, receiver): a
64-bit key is derived for (seed, replicate, operation, round), and the 64-bit counter holds receiver and sender. No state, so
threads, order and chunks cannot change a result, and scenarios that differ in one axis share their draws.
"""

import math
from functools import lru_cache

import numpy as np

from ._jit import inlined, kernel
from .lanes import LANES, load, store

PARITY = np.uint32(0x1BD11BDA)

DOMAIN_OPERATION = 1
DOMAIN_LINK = 2
DOMAIN_PLACEMENT = 3
DOMAIN_ARRIVAL = 4
DOMAIN_CLIENT = 5
DOMAIN_WAITING = 6
DOMAIN_PRIMARY = 7
DOMAIN_EDGE = 8
DOMAIN_TURN = 9

_R13, _R15, _R26, _R6 = np.uint32(13), np.uint32(15), np.uint32(26), np.uint32(6)
_R17, _R29, _R16, _R24 = np.uint32(17), np.uint32(29), np.uint32(16), np.uint32(24)
_C13, _C15, _C26, _C6 = np.uint32(19), np.uint32(17), np.uint32(6), np.uint32(26)
_C17, _C29, _C16, _C24 = np.uint32(15), np.uint32(3), np.uint32(16), np.uint32(8)
_ONE, _TWO, _THREE = np.uint32(1), np.uint32(2), np.uint32(3)


def _threefry2x32(k0, k1, x0, x1):
    k2 = k0 ^ k1 ^ PARITY
    x0 = x0 + k0
    x1 = x1 + k1
    x0 = x0 + x1
    x1 = ((x1 << _R13) | (x1 >> _C13)) ^ x0
    x0 = x0 + x1
    x1 = ((x1 << _R15) | (x1 >> _C15)) ^ x0
    x0 = x0 + x1
    x1 = ((x1 << _R26) | (x1 >> _C26)) ^ x0
    x0 = x0 + x1
    x1 = ((x1 << _R6) | (x1 >> _C6)) ^ x0
    x0 = x0 + k1
    x1 = x1 + (k2 + _ONE)
    x0 = x0 + x1
    x1 = ((x1 << _R17) | (x1 >> _C17)) ^ x0
    x0 = x0 + x1
    x1 = ((x1 << _R29) | (x1 >> _C29)) ^ x0
    x0 = x0 + x1
    x1 = ((x1 << _R16) | (x1 >> _C16)) ^ x0
    x0 = x0 + x1
    x1 = ((x1 << _R24) | (x1 >> _C24)) ^ x0
    x0 = x0 + k2
    x1 = x1 + (k0 + _TWO)
    x0 = x0 + x1
    x1 = ((x1 << _R13) | (x1 >> _C13)) ^ x0
    x0 = x0 + x1
    x1 = ((x1 << _R15) | (x1 >> _C15)) ^ x0
    x0 = x0 + x1
    x1 = ((x1 << _R26) | (x1 >> _C26)) ^ x0
    x0 = x0 + x1
    x1 = ((x1 << _R6) | (x1 >> _C6)) ^ x0
    x0 = x0 + k0
    x1 = x1 + (k1 + _THREE)
    x0 = x0 + x1
    x1 = ((x1 << _R17) | (x1 >> _C17)) ^ x0
    return x0, x1


threefry2x32 = inlined(_threefry2x32)
"""``threefry2x32(k0, k1, c0, c1) -> (x0, x1)`` on integer lanes: 64 random bits a lane."""


def draw_bits(k0, k1, c0, c1):
    """Threefry-2x32-13 on NumPy arrays.

    Parameters
    ----------
    k0, k1, c0, c1 : array_like of uint32
        Key and counter words; they broadcast against one another.

    Returns
    -------
    tuple of ndarray of uint32
        The two output words, in the broadcast shape.
    """
    words = [np.asarray(word, dtype=np.uint32) for word in (k0, k1, c0, c1)]
    shape = np.broadcast_shapes((1,), *(word.shape for word in words))
    size = math.prod(shape)
    whole = -(-size // LANES) * LANES
    bits = np.zeros((6, whole), np.uint32)
    for row, word in enumerate(words):
        bits[row, :size].reshape(shape)[...] = word
    _draw(bits.ravel(), whole)
    return bits[4, :size].reshape(shape), bits[5, :size].reshape(shape)


@kernel
def _draw(bits, size):
    """Work out the last two of six rows from the others, key and counter words."""
    for at in range(0, size, LANES):
        x0, x1 = threefry2x32(load(bits, at), load(bits, size + at), load(bits, 2 * size + at), load(bits, 3 * size + at))
        store(bits, 4 * size + at, x0)
        store(bits, 5 * size + at, x1)


def seed_words(seed: int) -> tuple[np.uint32, np.uint32]:
    """The low and high 32 bits of a 64-bit seed."""
    return np.uint32(seed & 0xFFFFFFFF), np.uint32(seed >> 32 & 0xFFFFFFFF)


@lru_cache(maxsize=4096)
def stream_key(seed: int, domain: int, index: int = 0) -> tuple[np.uint32, np.uint32]:
    """64-bit key of an independent stream, as two words, for (seed, domain, index)."""
    low, high = draw_bits(*seed_words(seed), index, domain)
    return low[0], high[0]


def uniforms(seed: int, domain: int, i, j=0):
    """Uniform draws in (0, 1) keyed by (seed, domain, i, j).

    Parameters
    ----------
    seed : int
        64-bit seed.
    domain : int
        One of the ``DOMAIN_`` constants; different domains are independent.
    i, j : array_like of uint32
        Counter words.

    Returns
    -------
    ndarray of float64
        Multiples of 2**-53 plus half a step, never 0 or 1.
    """
    low, high = draw_bits(*stream_key(seed, domain), i, j)
    bits = (high.astype(np.uint64) << np.uint64(32) | low.astype(np.uint64)) >> np.uint64(12)
    return (bits.astype(np.float64) + 0.5) * 2.0**-52


def uniform_pairs(seed: int, i, j):
    """Uniform draws in (0, 1), one for each pair of nodes, the same for (i, j) and (j, i) and for any number of nodes."""
    i, j = np.asarray(i), np.asarray(j)
    return uniforms(seed, DOMAIN_LINK, np.minimum(i, j), np.maximum(i, j))
