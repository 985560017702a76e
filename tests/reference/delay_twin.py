"""Random numbers and delays of one hop, written again in plain Python for the twin of the rounds engine.

Nothing is shared with the kernels but the published recipe: Threefry-2x32 with 13 rounds, a key for each (seed, domain, index),
and inverse transforms, here with exact quantile functions and float64.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable
from statistics import NormalDist

INF = math.inf
WORD = 0xFFFFFFFF
OPERATION, LINK, PLACEMENT, CLIENT, TURN = 1, 2, 3, 5, 9
"""Domains of random streams."""
NORMAL = NormalDist()


def threefry(key: tuple[int, int], counter: tuple[int, int]) -> tuple[int, int]:
    """Threefry-2x32 with 13 rounds (Salmon et al., SC 2011)."""
    words = (key[0], key[1], key[0] ^ key[1] ^ 0x1BD11BDA)
    x, y = (counter[0] + words[0]) & WORD, (counter[1] + words[1]) & WORD
    for step in range(13):
        shift = (13, 15, 26, 6, 17, 29, 16, 24)[step % 8]
        x = (x + y) & WORD
        y = ((y << shift | y >> (32 - shift)) & WORD) ^ x
        if step % 4 == 3:
            group = step // 4 + 1
            x = (x + words[group % 3]) & WORD
            y = (y + words[(group + 1) % 3] + group) & WORD
    return x, y


def stream_key(seed: int, domain: int, index: int = 0) -> tuple[int, int]:
    return threefry((seed & WORD, seed >> 32), (index, domain))


def uniform(seed: int, domain: int, i: int, j: int) -> float:
    low, high = threefry(stream_key(seed, domain), (i, j))
    return ((high << 32 | low) >> 12) * 2.0**-52 + 2.0**-53


def single(x: float) -> float:
    """x to 24 bits, as all uniforms of messages are kept."""
    return float(struct.unpack("f", struct.pack("f", x))[0])


def unit(bits: int) -> float:
    """32 bits as a uniform in (0, 2**31]."""
    return single((bits >> 1) + 0.5)


def exponential(u: float) -> float:
    return -math.log(u / 2.0**31)


def _gamma2(w: float, upper: bool) -> float:
    """x with P(X < x) = w, or P(X > x) = w, for X the sum of two unit exponentials."""
    low, high = 0.0, 60.0
    for _ in range(80):
        x = (low + high) / 2
        above = (1.0 + x) * math.exp(-x)
        low, high = (x, high) if (above > w if upper else 1.0 - above < w) else (low, x)
    return low


Quantile = Callable[[float, bool], float]


def tailed_law(name: str, params: tuple[float, ...]) -> tuple[float, Quantile]:
    """Mean of a law, and a function of (w, upper): the value below which, or if upper above which, lies the probability w."""
    if name == "uniform":
        a, b = params
        return (a + b) / 2.0, lambda w, upper: b - (b - a) * w if upper else a + (b - a) * w
    mean, shape = params
    if name == "normal":  # truncated at 0
        kept = NORMAL.cdf(mean / shape)

        def normal(w: float, upper: bool) -> float:
            z = -NORMAL.inv_cdf(w * kept) if upper else NORMAL.inv_cdf(1.0 - kept + w * kept)
            return mean + shape * z

        return mean + shape * NORMAL.pdf(mean / shape) / kept, normal
    if name == "lognormal":
        return mean, lambda w, upper: mean * math.exp((-shape if upper else shape) * NORMAL.inv_cdf(w) - shape**2 / 2.0)
    if name == "pareto":
        least = mean * (shape - 1.0) / shape
        return mean, lambda w, upper: least * (w if upper else 1.0 - w) ** (-1.0 / shape)
    assert (name, shape) == ("gamma", 2.0)
    return mean, lambda w, upper: mean / 2.0 * _gamma2(w, upper)


class DelayLaw:
    """Delay of one hop: the link's base and a jitter of mean `fraction` of it; or, without `fraction`, a law in ms alone."""

    def __init__(self, name: str, params: tuple[float, ...] = (), fraction: float | None = None, stream: bool = True):
        self.name, self.stream = name, stream
        self.share, self.unit_ms = (fraction, 0.0) if fraction is not None else (0.0, 1.0)
        self.mean, self.deviation = 1.0, 0.0
        if name == "none":
            self.share = 0.0
        elif name == "constant":
            self.unit_ms = params[0]
        elif name == "exponential":
            self.unit_ms *= params[0] if params else 1.0
            self.deviation = 2.0 / math.e
        else:
            self.mean, self.quantile = tailed_law(name, params if fraction is None else (1.0, *params))
            tails = [(k + 0.5) / 4_000 for k in range(2_000)]
            spread = [abs(self.quantile(w, upper) - self.mean) for w in tails for upper in (False, True)]
            self.deviation = sum(spread) / len(spread)
            if fraction is not None:  # jitter has mean 1 after truncation too
                self.share = fraction / self.mean

    def scale(self, base_ms: float) -> float:
        return self.unit_ms + self.share * base_ms

    def variate(self, u: float) -> float:
        if self.name in ("none", "constant"):
            return 1.0
        if self.name == "exponential":
            return exponential(u)
        upper = u >= 2.0**30
        return self.quantile(max(2.0**31 - u if upper else u, 0.5) / 2.0**31, upper)

    def timeout(self, base_ms: float) -> float:
        """RFC 6298 at rest: SRTT + 4 RTTVAR of two independent hops, and Linux's floor."""
        scale = self.scale(base_ms)
        round_trip = 2.0 * (base_ms + scale * self.mean)
        return max(200.0, round_trip + 4.0 * math.sqrt(2.0) * scale * self.deviation)

    def hop(self, key: tuple[int, int], counter: int, sender: int, base_ms: float, loss: float) -> tuple[float, float, int]:
        """(propagation and jitter, time lost to retransmission, losses) of one message over one hop.

        Two senders share the words of a counter. One uniform tells whether the first copy is lost, and the rest of its range the
        jitter; a lost message draws its jitter again, and over a stream how often it is lost again.
        """
        u = unit(threefry(key, (counter, sender >> 1))[sender & 1])
        threshold = loss * 2.0**31
        extra, losses, timeout = 0.0, 0, self.timeout(base_ms)
        if u < threshold:
            again, further = map(unit, threefry(key, (counter, sender | 1 << 31)))
            losses, extra = 1, timeout
            while self.stream and further < 2.0**31 * loss**losses:
                timeout = min(2.0 * timeout, 120_000.0)
                losses, extra = losses + 1, extra + timeout
            u = again
        else:
            u = max(0.5, single(single(u - threshold) * single(2.0**31 / single(2.0**31 - threshold))))
        travel = base_ms + self.scale(base_ms) * self.variate(u)
        return travel, extra if self.stream or losses == 0 else INF, losses
