"""The k-th arrival, sixteen operations at once, by counting."""

import numpy as np

from ._jit import inlined, kernel
from .lanes import (
    LANES,
    add_mask,
    any_lane,
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

_INF = np.float32(np.inf)
_ZERO, _ONE = np.uint32(0), np.uint32(1)


@inlined
def _extent(row, count):
    """Smallest value, largest finite value and number of finite values of each lane."""
    low, high, finite = spread(_INF), spread(-_INF), spread_int(_ZERO)
    for i in range(count):
        x = load(row, i * LANES)
        is_finite = x < _INF
        low = lesser(low, x)
        high = select(is_finite, greater(high, x), high)
        finite = add_mask(finite, is_finite)
    return low, high, finite


@inlined
def _split(row, count, threshold):
    """Number of values <= threshold, the largest of them and the smallest of the others, of each lane."""
    below, above, number = spread(-_INF), spread(_INF), spread_int(_ZERO)
    for i in range(count):
        x = load(row, i * LANES)
        inside = x <= threshold
        number = add_mask(number, inside)
        below = select(inside, greater(below, x), below)
        above = select(inside, above, lesser(above, x))
    return number, below, above


@inlined
def kth_smallest(row, count, k, guess):
    """k-th smallest of `count` values in each lane, exact.

    Parameters
    ----------
    row : ndarray of float32, shape (>= count * 16,)
        Value i of lane l at ``i * 16 + l``; inf means never.
    count : int
    k : int lanes
        1 <= k; inf comes out where fewer than k values are finite.
    guess : float lanes
        Where to look first; any number, the result does not depend on it.

    Returns
    -------
    float lanes

    Notes
    -----
    Each pass counts the values up to a threshold and so halves or better the candidates [low, high], of which `before` values
    lie below `low` and `upto` lie at or below `high`. Both ends are values of the row, so the search ends.
    """
    low, high, upto = _extent(row, count)
    before = spread_int(_ZERO)
    reachable = k <= upto
    open_ = reachable & (low < high)
    middle = guess
    passes = 0
    while any_lane(open_):
        threshold = greater(low, select(middle < high, middle, low))
        number, below, above = _split(row, count, threshold)
        enough = k <= number
        high = select(enough & open_, below, high)
        upto = select(enough & open_, number, upto)
        low = select(enough, low, select(open_, above, low))
        before = select(enough, before, select(open_, number, before))
        high = select(before + _ONE == k, low, high)
        low = select(upto == k, high, low)
        open_ = reachable & (low < high)
        passes += 1
        if passes % 3 == 0:
            middle = (low + high) * np.float32(0.5)
        else:
            rank = to_float(k - before) - np.float32(0.5)
            share = rank / greater(to_float(upto - before), spread(np.float32(1.0)))
            middle = multiply_add(high - low, share, low)
    return select(reachable, high, spread(_INF))


@kernel
def kth_arrivals(arrivals_ms, k, out):
    """k-th smallest arrival of each operation.

    Parameters
    ----------
    arrivals_ms : ndarray of float32, shape (messages * operations,)
        Arrival i of operation o at ``i * operations + o``, operations a multiple of 16; inf means never.
    k : int
        1 <= k.
    out : ndarray of float32, shape (operations,)
        Filled; inf where fewer than k arrive.
    """
    operations = out.size
    messages = arrivals_ms.size // operations
    row = np.empty(messages * LANES, np.float32)
    guess = spread(np.float32(0.0))
    for o in range(0, operations, LANES):
        for i in range(messages):
            store(row, i * LANES, load(arrivals_ms, i * operations + o))
        guess = kth_smallest(row, messages, spread_int(np.uint32(k)), guess)
        store(out, o, guess)
