"""Standard errors out of stored intervals, and the tests that use them."""

import math

import numpy as np
import pytest

from prsm_scale import event_engine
from prsm_scale.analysis import differences
from prsm_scale.analysis.differences import Estimate, difference, difference_over_seeds, estimate_of, holm
from prsm_scale.estimates import half_width, mean_and_error, wilson

rng = np.random.default_rng(7)


def row(**values):
    told = {"engine": "rounds", "replicates": 8, "operations": 400, "bottleneck": "primary_cpu", "success_rate": 1.0}
    return told | {"success_low": 0.99, "success_high": 1.0, "mean_flight_ms": 6.0} | values


def mean_row(value, error, clusters=8, **more):
    half = half_width(error, clusters)
    ends = {"mean_latency_low_ms": value - half, "mean_latency_high_ms": value + half}
    return row(mean_latency_ms=value, replicates=clusters, **ends, **more)


def test_standard_error_of_a_mean_comes_back():
    values, cluster = rng.normal(10.0, 1.0, 160), np.repeat(np.arange(8), 20)
    mean, error, clusters = mean_and_error(values, cluster)
    estimate = estimate_of(mean_row(mean, error, clusters), "mean_latency_ms")
    assert (estimate.below, estimate.above) == pytest.approx((error, error))
    assert estimate.freedom == 7


@pytest.mark.parametrize(("successes", "trials"), [(400, 400), (390, 400), (10, 40), (0, 25), (7.5, 9.0)])
def test_trials_of_a_share_come_back(successes, trials):
    low, high = wilson(successes, trials)
    shares = row(success_rate=successes / trials, success_low=low, success_high=high)
    assert estimate_of(shares, "success_rate").trials == pytest.approx(trials)


def test_ends_of_a_percentile_are_taken_side_by_side():
    ends = {"p99_latency_low_ms": 9.0, "p99_latency_high_ms": 14.0}
    estimate = estimate_of(row(p99_latency_ms=10.0, **ends), "p99_latency_ms")
    assert estimate.above == pytest.approx(4 * estimate.below)
    unbounded = estimate_of(row(p99_latency_ms=10.0, **ends | {"p99_latency_high_ms": None}), "p99_latency_ms")
    assert unbounded.above is None
    assert difference(unbounded, Estimate(20.0, 1.0, 1.0)).p is None
    assert difference(unbounded, Estimate(5.0, 1.0, 1.0)).p < 0.05


def test_capacity_of_the_window_errs_as_the_flight_in_the_latency():
    latency = mean_row(10.0, 0.1, saturation_ops_per_second=600.0)
    assert estimate_of(latency, "saturation_ops_per_second") == Estimate(600.0)
    bound = estimate_of(latency | {"bottleneck": "pipeline_window"}, "saturation_ops_per_second")
    assert bound.below == pytest.approx(600.0 * 0.1 / 6.0)
    lost = latency | {"bottleneck": "pipeline_window", "success_rate": 0.99}
    assert estimate_of(lost, "saturation_ops_per_second") is None
    events = estimate_of(latency | {"engine": "events"}, "saturation_ops_per_second")
    assert events.above == pytest.approx(600.0 * 0.02 / 1.96, rel=1e-3)


def test_pace_is_measured_as_exactly_as_taken():
    assert differences._PACE_HALF_WIDTH == event_engine._STEADY


@pytest.mark.parametrize("metric", ["view_changes_per_operation", "mean_commit_ms", "std_dev_ms", "retransmissions"])
def test_what_varies_and_has_no_interval_has_no_estimate(metric):
    assert estimate_of(row(**{metric: 1.0}), metric) is None
    assert estimate_of(row(cpu_percent_max=1.0), "cpu_percent_max") == Estimate(1.0)
    assert estimate_of(row(cpu_percent_max=1.0, engine="events"), "cpu_percent_max") is None


def test_equal_estimates_do_not_differ():
    for one in (Estimate(3.0), Estimate(3.0, 1.0, 1.0, 7.0), Estimate(1.0, 0.01, 0.0, trials=400.0), Estimate(1.0, None, None)):
        assert difference(one, one).p == 1.0


def test_exact_values_need_no_test():
    found = difference(Estimate(3.0), Estimate(4.0))
    assert found.exact
    assert (found.low, found.high) == (1.0, 1.0)


def test_p_values_of_means_are_uniform():
    """Of two means from eight clusters each, without a difference: Welch's test holds its level."""
    count, small = 4000, 0
    for _ in range(count):
        one, other = (rng.normal(0.0, 1.0, 8) for _ in range(2))
        pair = [estimate_of(mean_row(each.mean(), each.std(ddof=1) / math.sqrt(8)), "mean_latency_ms") for each in (one, other)]
        small += difference(*pair).p < 0.01
    assert small / count < 0.01 + 4 * math.sqrt(0.01 * 0.99 / count)
    assert small / count > 0.01 - 4 * math.sqrt(0.01 * 0.99 / count)


def test_score_test_of_shares_holds_its_level_and_finds_a_loss():
    count, trials, small = 4000, 200, 0
    for one, other in rng.binomial(trials, 0.97, (count, 2)):
        pair = []
        for successes in (one, other):
            low, high = wilson(float(successes), trials)
            shares = row(success_rate=successes / trials, success_low=low, success_high=high, operations=trials)
            pair.append(estimate_of(shares, "success_rate"))
        small += difference(*pair).p < 0.01
    assert 0 < small / count < 0.01 + 4 * math.sqrt(0.01 * 0.99 / count)
    whole, lossy = (Estimate(p, *(abs(p - end) / 1.96 for end in wilson(400 * p, 400)), trials=400.0) for p in (1.0, 0.93))
    assert difference(whole, lossy).p < 1e-6


def test_seeds_are_compared_by_how_much_they_differ():
    assert difference_over_seeds([1.0], [2.0]) is None
    assert difference_over_seeds([1.0], [1.0]).p == 1.0
    assert difference_over_seeds([5.0, 5.0], [5.0]).exact
    from scipy.stats import ttest_ind

    one, other = rng.normal(10.0, 2.0, 4), rng.normal(12.0, 2.0, 5)
    wanted = ttest_ind(other, one)
    found = difference_over_seeds(one, other)
    assert found.p == pytest.approx(wanted.pvalue)
    assert (found.low, found.high) == pytest.approx(tuple(wanted.confidence_interval()))


def test_holm_steps_down():
    assert holm([0.02, 0.001, 0.5, 0.003], 0.01) == [False, True, False, True]
    assert holm([0.0026, 0.004, 0.004, 0.004], 0.01) == [False] * 4
    assert holm([], 0.01) == []
