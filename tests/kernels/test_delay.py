"""Delay of a message over a hop: every law against SciPy's, and retransmission against RFC 6298 and a geometric law."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from prsm_kernels import LANES, TABLE_SIDE, Law, quantile_table, sample_hops, stream_key
from prsm_kernels._jit import kernel
from prsm_kernels.codes import LAW_EXPONENTIAL, LAW_NONE, LAW_TABLE
from prsm_kernels.delay import hop_delay, variate
from prsm_kernels.lanes import load, spread, spread_int, store
from prsm_scale.config import Scenario
from prsm_scale.delays import kernel_law

SIGMAS = 5.0
MESSAGES = 1 << 18


def unit(law, *shape):
    """SciPy's law scaled to mean 1."""
    return law(*shape, scale=1.0 / law(*shape).mean())


def cut_normal(mean, sd):
    """Normal law truncated at 0; its parameters are those before truncation."""
    return stats.truncnorm(-mean / sd, np.inf, mean, sd)


def unit_normal(cv):
    whole = cut_normal(1.0, cv).mean()
    return cut_normal(1.0 / whole, cv / whole)


JITTERS = {
    "exponential": stats.expon(),
    "normal": unit_normal(0.5),
    "normal(0.2)": unit_normal(0.2),
    "normal(2)": unit_normal(2.0),
    "lognormal": unit(stats.lognorm, 0.5),
    "lognormal(1)": unit(stats.lognorm, 1.0),
    "gamma": unit(stats.gamma, 2.0),
    "gamma(0.5)": unit(stats.gamma, 0.5),
    "pareto": unit(stats.pareto, 3.0),
    "pareto(6)": unit(stats.pareto, 6.0),
    "pareto(1.5)": unit(stats.pareto, 1.5),
}
DELAYS = {
    "uniform(50,150)": stats.uniform(50, 100),
    "exponential(80)": stats.expon(scale=80),
    "normal(250,50)": cut_normal(250, 50),
    "normal(10,40)": cut_normal(10, 40),
    "lognormal(100,0.7)": stats.lognorm(0.7, scale=100 * np.exp(-(0.7**2) / 2)),
    "gamma(100,3)": stats.gamma(3, scale=100 / 3),
    "pareto(100,6)": stats.pareto(6, scale=100 * 5 / 6),
}


def hops(law, base_ms=0.0, loss=0.0, messages=MESSAGES, seed=11):
    """Delays of messages over one hop, float64."""
    out = np.empty(messages, np.float32)
    key = np.array(stream_key(seed, 1), np.uint32)
    sample_hops(key, np.array([base_ms], np.float32), np.array([loss], np.float32), law, out)
    return out.astype(np.float64)


def law_of(**settings):
    return kernel_law(Scenario(nodes=4, **settings))


def assert_follows(sample, law):
    """Mean, variance where it can be estimated, tails, and the whole distribution."""
    mean, variance, _, kurtosis = law.stats("mvsk")
    size = sample.size
    if np.isfinite(variance):
        assert abs(sample.mean() - mean) < SIGMAS * np.sqrt(variance / size)
    if np.isfinite(kurtosis):
        assert abs(sample.var() - variance) < SIGMAS * variance * np.sqrt((kurtosis + 2) / size)
    for tail in (1e-4, 1e-3, 1e-2, 0.5):
        error = SIGMAS * np.sqrt(tail * (1 - tail) / size)
        assert abs((sample < law.ppf(tail)).mean() - tail) < error
        assert abs((sample > law.isf(tail)).mean() - tail) < error
    assert stats.kstest(sample, law.cdf).pvalue > 1e-4


@pytest.mark.parametrize("name", JITTERS)
def test_jitter_law(name):
    """Seen to fail for a normal law clipped at 0 in place of truncated, and for a law not scaled back to mean 1."""
    law, mean = law_of(jitter=name, jitter_fraction=1.0)
    assert mean == pytest.approx(1.0, rel=1e-6)
    assert (law.offset, law.slope) == (0.0, 1.0)
    assert_follows(hops(law._replace(offset=np.float32(1), slope=np.float32(0))), JITTERS[name])


@pytest.mark.parametrize("name", DELAYS)
def test_delay_law(name):
    law, mean = law_of(delay=name)
    assert_follows(hops(law), DELAYS[name])
    assert float(law.offset) * mean == pytest.approx(DELAYS[name].mean(), rel=1e-3)


def test_laws_without_chance():
    assert (hops(law_of(delay="constant(250)")[0], messages=LANES) == 250.0).all()
    assert (hops(law_of(jitter="none")[0], base_ms=75.0, messages=LANES) == 75.0).all()
    assert (hops(law_of(jitter_fraction=0)[0], base_ms=75.0, messages=LANES) == 75.0).all()


def test_jitter_scales_with_the_base_and_links_have_their_own_draws():
    law = law_of(jitter_fraction=0.05)[0]
    out = np.empty(3 * MESSAGES, np.float32)
    key = np.array(stream_key(5, 1), np.uint32)
    sample_hops(key, np.array([10, 100, 100], np.float32), np.zeros(3, np.float32), law, out)
    short, long, other = out.reshape(3, -1).astype(np.float64)
    assert (out.reshape(3, -1).min(axis=1) >= [10, 100, 100]).all()
    for sample, base in ((short, 10), (long, 100)):
        assert abs(sample.mean() - 1.05 * base) < SIGMAS * 0.05 * base / np.sqrt(MESSAGES)
    assert abs(np.corrcoef(long, other)[0, 1]) < SIGMAS / np.sqrt(MESSAGES)


@kernel
def variates(u, law, out):
    for at in range(0, out.size, LANES):
        store(out, at, variate(load(u, at), law))


def probe(u, law):
    out = np.empty(u.size, np.float32)
    variates(u, law, out)
    return out.astype(np.float64)


def steps():
    """Values that a draw can take of (0, 2**31]: at both ends, at all magnitudes, and between."""
    near = np.arange(256) + 0.5
    powers = (2.0 ** np.arange(31))[:, None] + near
    middle = np.random.default_rng(3).integers(0, 1 << 31, 1 << 12) + 0.5
    low = np.concatenate([near, powers.ravel(), middle])
    low = low[low < 2.0**31]
    both = np.concatenate([low, 2.0**31 - low]).astype(np.float32)
    return both[: both.size // LANES * LANES]


def bare_law(kind, table=None):
    zero = np.float32(0)
    return Law(kind, zero, zero, zero, np.zeros(1, np.float32) if table is None else table, zero, zero, True)


def test_exponential_variate_to_the_last_step():
    """The polynomial logarithm errs by less than 4e-6 everywhere, far into the tail."""
    u = steps()
    exact = -np.log(u.astype(np.float64) / 2.0**31)
    assert np.abs(probe(u, bare_law(LAW_EXPONENTIAL)) - exact).max() < 4e-6
    assert exact.max() > 22
    assert (probe(u, bare_law(LAW_NONE)) == 1.0).all()


@pytest.mark.parametrize("law", [stats.norm(250, 50), stats.gamma(2.0), stats.lognorm(1.0), stats.pareto(3.0)])
def test_table_variate_is_the_quantile_in_both_tails(law):
    """Interpolation in 64 bins an octave errs little down to a probability of 2**-32."""
    u = steps()
    probability = u.astype(np.float64) / 2.0**31
    tail = np.maximum(np.where(probability < 0.5, probability, 1.0 - probability), 2.0**-32)
    exact = np.where(probability < 0.5, law.ppf(tail), law.isf(tail))
    found = probe(u, bare_law(LAW_TABLE, quantile_table(law.ppf, law.isf)))
    assert np.allclose(found, exact, rtol=2e-4, atol=1e-5 * min(law.std(), 100.0))


def test_quantile_table_shape():
    table = quantile_table(lambda w: w, lambda w: 1 - w)
    assert table.shape == (4 * TABLE_SIDE,) and table.dtype == np.float32
    assert table[0] == pytest.approx(2.0**-32) and table[TABLE_SIDE] == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("lower", "upper"),
    [
        (lambda w: 1 - w, lambda w: 1 - w),
        (lambda w: w, lambda w: w),
        (lambda w: w, lambda w: 1 / (w - w.min())),
        (lambda w: np.full_like(w, np.nan), lambda w: 1 - w),
    ],
    ids=["lower falls", "upper rises", "infinite", "not a number"],
)
@pytest.mark.filterwarnings("ignore:divide by zero")
def test_quantile_table_refuses(lower, upper):
    with pytest.raises(ValueError, match="finite and ascending"):
        quantile_table(lower, upper)


def schedule(first_ms, losses):
    """Time lost after 0, 1, 2, ... losses: the time-out doubles up to 120 s (RFC 6298, sections 5.5 and 2.5)."""
    timeouts = np.minimum(first_ms * 2.0 ** np.arange(losses), 120_000.0)
    return np.concatenate([[0.0], np.cumsum(timeouts)])


def losses_of(sample, base_ms, first_ms):
    """Number of losses of each message, from its delay; fails for a delay that is not on the schedule."""
    lost = schedule(first_ms, 60)
    number = np.searchsorted(lost, sample - base_ms - 0.25 * first_ms)
    assert np.allclose(sample, base_ms + lost[number], rtol=1e-6)
    return number


@pytest.mark.parametrize(
    ("loss", "messages"), [(1e-3, 1 << 22), (1e-2, 1 << 23), (0.05, 1 << 22), (0.2, 1 << 20), (0.5, 1 << 20)]
)
def test_losses_are_geometric(loss, messages):
    """Every number of losses comes at its true rate p**k, three in a row included.

    Seen to fail where the second loss, and where the third, comes with p**2 in place of p.
    """
    number = losses_of(hops(law_of(jitter="none")[0], 10.0, loss, messages), 10.0, 200.0)
    for k in range(1, 12):
        expected = messages * loss**k
        if expected < 5:
            break
        assert abs((number >= k).sum() - expected) < SIGMAS * np.sqrt(expected * (1 - loss**k))
    assert k > 2 or loss < 0.01


def test_tail_of_losses_at_one_in_a_hundred():
    """Three losses in a row at 1 % come 16.8 times in 2**24 messages; independent events, so Poisson."""
    number = losses_of(hops(law_of(jitter="none")[0], 10.0, 0.01, 1 << 24, seed=12), 10.0, 200.0)
    low, high = stats.poisson(2**24 * 1e-6).interval(1 - 1e-4)
    assert low <= (number >= 3).sum() <= high
    assert number.max() <= 5


@pytest.mark.parametrize(
    ("settings", "base", "first"),
    [
        ({"jitter": "none"}, 10.0, 200.0),
        ({"jitter": "none"}, 150.0, 300.0),
        # mean deviation of an exponential of mean 1: 2 / e; of two independent hops: sqrt(2) of one
        ({"jitter_fraction": 0.1}, 400.0, 400.0 * (2 * 1.1 + 0.1 * 4 * np.sqrt(2) * 2 / np.e)),
        ({"delay": "constant(250)"}, 0.0, 500.0),
        ({"delay": "uniform(100,300)"}, 0.0, 2 * 200 + 4 * np.sqrt(2) * 50),
    ],
)
def test_first_timeout_is_srtt_and_four_deviations(settings, base, first):
    """RTO = max(200 ms, SRTT + 4 RTTVAR)."""
    law = law_of(**settings)[0]._replace(kind=LAW_NONE, offset=np.float32(0), slope=np.float32(0))
    sample = hops(law, base, 0.3, 1 << 12)
    assert np.unique(sample)[:4] == pytest.approx(base + schedule(first, 3), rel=2e-3)


def test_timeouts_stop_doubling_at_two_minutes():
    number = losses_of(hops(law_of(jitter="none")[0], 10.0, 0.8, 1 << 14), 10.0, 200.0)
    assert 30 < number.max() < 59


@pytest.mark.parametrize("jitter", ["exponential", "gamma"])
@pytest.mark.parametrize("loss", [0.02, 0.4])
def test_jitter_does_not_depend_on_losses(jitter, loss):
    """Both come from the same draws, and yet messages lost never, once or more often have the same jitter."""
    sample = hops(law_of(jitter=jitter, jitter_fraction=1.0)[0], 1.0, loss) - 1.0
    lost = schedule(200.0, 60)
    number = np.searchsorted(lost, sample, side="right") - 1
    for times in (number == 0, number == 1, number >= 2):
        if times.sum() > 1000:
            assert stats.kstest(sample[times] - lost[number[times]], JITTERS[jitter].cdf).pvalue > 1e-4


def test_datagrams_are_gone():
    sample = hops(law_of(transport="datagram", jitter_fraction=1.0)[0], 1.0, 0.02)
    gone = np.isinf(sample)
    assert abs(gone.mean() - 0.02) < SIGMAS * np.sqrt(0.02 * 0.98 / MESSAGES)
    assert stats.kstest(sample[~gone] - 1.0, stats.expon.cdf).pvalue > 1e-4


@kernel
def travels(bits, loss, law, out):
    zero, threshold = spread_int(np.uint32(0)), spread(loss * np.float32(2.0**31))
    base = spread(np.float32(0.0))
    for at in range(0, out.size, LANES):
        travel, _, _ = hop_delay(load(bits, at), zero, zero, zero, zero, base, threshold, law)
        store(out, at, travel)


@pytest.mark.parametrize("loss", [2.0**-30, 1e-3, 0.02, 0.5])
def test_draws_next_to_the_loss_threshold_are_not_outliers(loss):
    """One draw decides on both: at the threshold itself the jitter must stay within 31 bits, 22.2 means."""
    law = bare_law(LAW_EXPONENTIAL)._replace(offset=np.float32(1))
    near = int(np.float32(loss) * np.float32(2.0**31)) * 2 + np.arange(-4096, 4096)
    bits = np.clip(near, 0, (1 << 32) - 1).astype(np.uint32)
    out = np.empty(bits.size, np.float32)
    travels(bits, np.float32(loss), law, out)
    assert out.min() >= 0.0 and out.max() < 22.2


@pytest.mark.parametrize("transport", ["stream", "datagram"])
def test_loss_of_nought_and_of_nearly_one(transport):
    law = law_of(jitter="none", transport=transport)[0]
    assert (hops(law, 10.0, 0.0) == 10.0).all()
    almost = hops(law, 10.0, 0.999, 1 << 12)
    untouched = (almost == 10.0).mean()
    assert abs(untouched - 0.001) < SIGMAS * np.sqrt(0.001 / almost.size)
    assert np.isinf(almost[almost > 10.0]).all() == (transport == "datagram")
