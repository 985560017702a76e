"""Intervals of the row of results."""

from __future__ import annotations

import math

import numpy as np
import pytest

import prsm_scale as ps
from prsm_scale.estimates import effective_size, effective_trials, error_of_sum, half_width, quantile_with_interval, wilson
from prsm_scale.outcome import FIRST


@pytest.mark.parametrize("q", [0.5, 0.95, 0.99])
def test_interval_of_a_quantile_covers_it(q: float) -> None:
    """At least 95 % of 2000 samples, less 4.5 standard errors. Seen to fail with the ends of a 50 % interval."""
    rng, true = np.random.default_rng(3), -math.log(1 - q)
    inside = 0
    for _ in range(2000):
        _, low, high = quantile_with_interval(np.sort(rng.exponential(size=FIRST)), q, FIRST)
        assert low is not None and high is not None
        inside += low <= true <= high
    assert inside / 2000 > 0.95 - 4.5 * math.sqrt(0.95 * 0.05 / 2000)


def test_too_few_values_do_not_bound_a_tail() -> None:
    assert quantile_with_interval(np.arange(100.0), 0.99, 100)[2] is None


@pytest.mark.parametrize("nodes", [4, 40, 320])
@pytest.mark.parametrize("ratio", [0.0, 0.25])
def test_99th_percentile_always_has_an_interval(nodes: int, ratio: float) -> None:
    row = ps.simulate(nodes=nodes, byzantine_ratio=ratio).row
    assert row["p99_latency_low_ms"] <= row["p99_latency_ms"] <= row["p99_latency_high_ms"]


def test_one_operation_has_no_interval() -> None:
    row = ps.simulate(nodes=4, operations=1, rate=0).row
    assert row["mean_latency_ms"] > 0
    assert row["mean_latency_low_ms"] is None and row["mean_latency_high_ms"] is None


def test_replicates_that_differ_are_worth_less() -> None:
    """Sixteen placements, each with latencies of its own: one value in 400 tells no more than one in 16 placements."""
    cluster, one = np.repeat(np.arange(16), 25), np.zeros(400, np.int64)
    apart, mixed = cluster + 0.0, np.arange(400) % 25 + 0.0
    assert effective_size(apart, cluster, one, 0.5, False) == pytest.approx(15.0)
    assert effective_size(mixed, cluster, one, 0.5, False) == 400.0
    assert effective_size(apart, cluster, one, 0.5, True) == 400.0


def test_success_decided_for_a_placement_as_a_whole_is_one_trial_each() -> None:
    """Seen to fail where each operation counted as a trial: intervals of different seeds did not meet."""
    cluster = np.repeat(np.arange(40), 50)
    decided, mixed = cluster % 2 == 0, np.arange(2000) % 2 == 0
    assert effective_trials(decided, cluster) == pytest.approx(40, rel=0.05)
    assert effective_trials(mixed, cluster) == 2000
    assert effective_trials(np.ones(2000, bool), cluster) == 2000


def test_success_intervals_of_different_seeds_meet() -> None:
    rows = [ps.simulate(nodes=20, topology="ring", network="lan", byzantine_ratio=0.1, rate=1, operations=800, replicates=40,
                        seed=seed).row for seed in range(4)]  # fmt: skip
    assert max(row["success_low"] for row in rows) < min(row["success_high"] for row in rows)


def test_interval_of_few_clusters_is_that_of_student() -> None:
    assert half_width(1.0, 8) == pytest.approx(2.3646, abs=1e-3)
    assert half_width(1.0, 100_000) == pytest.approx(1.95997, abs=1e-4)


def test_wilson_interval_at_its_ends() -> None:
    assert wilson(0, 10)[0] == 0.0 and wilson(10, 10)[1] == 1.0
    assert wilson(10, 10)[0] == pytest.approx(10 / (10 + 1.959963984540054**2))


def test_error_of_a_sum_has_satterthwaites_degrees_of_freedom():
    """(9 + 16)^2 over 81 / 4 + 256 / 8; a part that is known exactly changes nothing."""
    error, clusters = error_of_sum((3.0, 5.0), (4.0, 9.0))
    assert error == 5.0 and clusters == pytest.approx(1.0 + 625.0 / 52.25)
    assert error_of_sum((3.0, 5.0), (0.0, 1.0)) == (3.0, 5.0)
    assert error_of_sum((0.0, 8.0), (0.0, 1.0))[0] == 0.0
