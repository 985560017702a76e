"""Delay of one message over one hop: base, jitter, and retransmission after loss."""

import numpy as np

from ._jit import inlined, kernel
from .codes import LAW_EXPONENTIAL, LAW_NONE
from .lanes import (
    LANES,
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
from .rng import threefry2x32

MAX_RTO_MS = np.float32(120_000.0)
MIN_RTO_MS = np.float32(200.0)

SUB_BITS = 6
TABLE_SIDE = 32 << SUB_BITS
"""Entries of one tail of a quantile table: 32 octaves of 64 bins."""

_SIDE = np.uint32(TABLE_SIDE)
_SLOPES = np.uint32(2 * TABLE_SIDE)
_FIRST_BIN = np.uint32((127 - 1) << SUB_BITS)
_BIN_SHIFT = np.uint32(23 - SUB_BITS)
_BIN_MASK = np.uint32((1 << (23 - SUB_BITS)) - 1)
_BIN_STEP = np.float32(2.0 ** -(23 - SUB_BITS))
_SCALE = np.float32(2.0**31)
_MIDDLE = np.float32(2.0**30)
_ONE_SHIFT = np.uint32(1)
_MANTISSA = np.uint32(0x7FFFFF)
_EXPONENT_ONE = np.uint32(0x3F800000)
_HALF = np.float32(0.5)
_EXPONENT_SHIFT = np.uint32(23)
_TOP = np.uint32(0x80000000)
_BIAS_31 = np.uint32(127 + 31)
_NEVER = np.float32(1e-12)
"""Probability below which nothing comes of what happens."""
_LN2 = np.float32(0.693147182)
# Minimax polynomial of ln(1+t) on [0, 1) with error 1.5e-6, exact at both ends.
_L1, _L2, _L3 = np.float32(-0.999896407), np.float32(0.497783422), np.float32(-0.317153871)
_L4, _L5, _L6 = np.float32(0.192626715), np.float32(-0.0844132453), np.float32(0.0179062299)


@inlined
def unit(bits):
    """32 random bits a lane as the middle of one of 2**31 steps of (0, 2**31]."""
    return to_float(bits >> _ONE_SHIFT) + _HALF


@inlined
def exponential_variate(u):
    """Unit-mean exponential draw, ``-ln(u / 2**31)``, of a uniform u in (0, 2**31]."""
    f = bits_of(u)
    octaves = to_float(spread_int(_BIAS_31) - (f >> _EXPONENT_SHIFT))
    t = float_of_bits((f & _MANTISSA) | _EXPONENT_ONE) - np.float32(1.0)
    p = multiply_add(t, spread(_L6), spread(_L5))
    p = multiply_add(t, p, spread(_L4))
    p = multiply_add(t, p, spread(_L3))
    p = multiply_add(t, p, spread(_L2))
    p = multiply_add(t, p, spread(_L1))
    return multiply_add(octaves, spread(_LN2), t * p)


@inlined
def table_variate(u, table):
    """Draw of a tabulated law: linear interpolation in a table made by `quantile_table`, of a uniform u in (0, 2**31]."""
    upper = u >= _MIDDLE
    # the nearest value above an upper tail of nothing is half a step
    tail = greater(select(upper, spread(_SCALE) - u, u), spread(_HALF))
    f = bits_of(tail)
    entry = (f >> _BIN_SHIFT) - _FIRST_BIN
    entry = select(upper, entry + _SIDE, entry)
    fraction = to_float(f & _BIN_MASK) * _BIN_STEP
    return multiply_add(fraction, gather(table, entry + _SLOPES), gather(table, entry))


def quantile_table(lower, upper):
    """Table of a delay law for `table_variate`.

    Parameters
    ----------
    lower, upper : callable
        Quantile function and its mirror image, ``lower(w) = Q(w)`` and ``upper(w) = Q(1 - w)``, on float64 arrays of tail
        probabilities 2**-32 <= w <= 1/2.

    Returns
    -------
    ndarray of float32, shape (4 * TABLE_SIDE,)
        Quantiles of the lower and the upper tail in 64 bins an octave of w, then the steps between them.

    Raises
    ------
    ValueError
        If a quantile is not finite or not ascending.
    """
    octave, step = np.divmod(np.arange(TABLE_SIDE + 1), 1 << SUB_BITS)
    tail = np.minimum(2.0 ** (octave - 32.0) * (1 + step / (1 << SUB_BITS)), 0.5)
    low, high = np.asarray(lower(tail), np.float64), np.asarray(upper(tail), np.float64)
    if not (np.isfinite(low).all() and np.isfinite(high).all() and (np.diff(low) >= 0).all() and (np.diff(high) <= 0).all()):
        raise ValueError("quantiles must be finite and ascending")
    sides = (low, high)
    return np.concatenate([s[:-1] for s in sides] + [np.diff(s) for s in sides]).astype(np.float32)


@inlined
def variate(u, law):
    """Unit variate of `law` of a uniform u in (0, 2**31]."""
    if law.kind == LAW_EXPONENTIAL:
        return exponential_variate(u)
    if law.kind == LAW_NONE:
        return spread(np.float32(1.0))
    return table_variate(u, law.table)


@inlined
def _first_timeout_ms(base, law):
    """Retransmission time-out of a hop (RFC 6298, section 2)."""
    return greater(base * law.rto_slope + law.rto_offset, spread(MIN_RTO_MS))


@inlined
def _next_timeout_ms(timeout):
    """The time-out after one that has passed: it doubles (RFC 6298, section 5.5)."""
    return lesser(timeout * np.float32(2.0), spread(MAX_RTO_MS))


@inlined
def _repeats(f, lost, threshold, base, law):
    """Time lost to retransmissions and their number, of lanes that lose a copy."""
    extra = spread(np.float32(0.0))
    count = spread_int(np.uint32(0))
    if not law.stream:
        return select(lost, spread(np.float32(np.inf)), extra), add_mask(count, lost)
    timeout = _first_timeout_ms(base, law)
    probability = threshold * np.float32(2.0**-31)
    while any_lane(lost):
        extra = select(lost, extra + timeout, extra)
        count = add_mask(count, lost)
        timeout = _next_timeout_ms(timeout)
        lost = lost & (f < threshold)
        threshold = threshold * probability
    return extra, count


@inlined
def mean_repeats_ms(base, threshold, law):
    """Mean time lost to retransmissions over a hop, see `_repeats`; of a stream: a lost datagram never comes."""
    probability = threshold * np.float32(2.0**-31)
    timeout = _first_timeout_ms(base, law)
    mean, so_often = spread(np.float32(0.0)), probability
    while any_lane(spread(_NEVER) < so_often):
        mean = multiply_add(so_often, timeout, mean)
        timeout = _next_timeout_ms(timeout)
        so_often = so_often * probability
    return mean


@inlined
def draw_pair(k0, k1, c0, c1):
    """The bits of two messages: words of counter (c0, c1 // 2), the first for even c1 and the second for odd c1."""
    return threefry2x32(k0, k1, c0, c1 >> _ONE_SHIFT)


@inlined
def hop_delay(bits, k0, k1, c0, c1, base, threshold, law):
    """Delay of one message over one hop.

    One uniform decides whether the first copy is lost and, by where it falls in the rest of its range, the jitter. Only lost
    messages draw further: counter (c0, c1 + 2**31) gives their jitter and how often they are lost again.

    Parameters
    ----------
    bits : int lanes
        The message's word of `draw_pair`.
    k0, k1, c0, c1 : int lanes
        Key of (seed, replicate, operation, round) and counter (receiver or edge, sender).
    base : float lanes
        Base delay of the hop, ms.
    threshold : float lanes
        Loss probability of the hop times 2**31.
    law : Law

    Returns
    -------
    (float lanes, float lanes, int lanes)
        Base plus jitter in ms; time lost to retransmission in ms, ``inf`` for a lost datagram; number of losses.
    """
    u = unit(bits)
    whole = spread(_SCALE)
    kept = greater((u - threshold) * (whole / (whole - threshold)), spread(_HALF))
    scale = multiply_add(base, spread(law.slope), spread(law.offset))
    lost = u < threshold
    if any_lane(lost):
        first, second = threefry2x32(k0, k1, c0, c1 | _TOP)
        u = select(lost, unit(first), kept)
        extra, count = _repeats(unit(second), lost, threshold, base, law)
        return multiply_add(scale, variate(u, law), base), extra, count
    return multiply_add(scale, variate(kept, law), base), spread(np.float32(0.0)), spread_int(np.uint32(0))


@kernel
def sample_hops(keys, base_ms, loss, law, out):
    """Delays of messages over one hop each, for use of the delay model alone.

    Parameters
    ----------
    keys : ndarray of uint32, shape (2,)
        A stream key, see `rng.stream_key`.
    base_ms : ndarray of float32, shape (links,)
    loss : ndarray of float32, shape (links,)
        Probability that a copy is lost.
    law : Law
    out : ndarray of float32, shape (links * messages,)
        Filled with delays in ms, link by link; `messages` is a multiple of 16.
    """
    k0, k1 = spread_int(keys[0]), spread_int(keys[1])
    messages = out.size // base_ms.size
    number = np.arange(LANES).astype(np.uint32)
    for link in range(base_ms.size):
        base, threshold = spread(base_ms[link]), spread(loss[link] * np.float32(2.0**31))
        for m in range(0, messages, LANES):
            c0, c1 = spread_int(np.uint32(link)), load(number, 0) + np.uint32(m)
            even, odd = draw_pair(k0, k1, c0, c1)
            bits = select((c1 & np.uint32(1)) == np.uint32(0), even, odd)
            travel, extra, _ = hop_delay(bits, k0, k1, c0, c1, base, threshold, law)
            store(out, link * messages + m, travel + extra)
