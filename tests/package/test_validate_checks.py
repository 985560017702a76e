"""Errors, their intervals, verdicts, and the bars of groups."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from scipy import stats

from prsm_scale.columns import VALIDATION_COLUMNS, validate_row
from prsm_scale.ladders import engines
from prsm_scale.ladders.checks import Check, Estimate, Verdict, relative_error, standard_errors_bar
from prsm_scale.ladders.summary import summarise


def check(error: Estimate | None = None, bar: float | None = None, **changes: Any) -> Check:
    facts: dict[str, Any] = {
        "ladder": "measurements", "case": "one", "group": "cpu", "engine": "rounds", "metric": "mean_latency_ms", "unit": "ms",
        "predicted": Estimate.exact(1.0), "reference": Estimate.exact(1.0),
    }  # fmt: skip
    return Check(**facts | changes, error=error, bar=bar)


def test_error_is_relative_and_its_interval_that_of_both_values() -> None:
    error = relative_error(Estimate(11.0, 10.7, 11.3), Estimate(10.0, 9.6, 10.4))
    assert (error.value, error.low, error.high) == pytest.approx((0.1, 0.05, 0.15))
    assert relative_error(Estimate.exact(0.0), Estimate.exact(0.0)).value == 0.0
    assert relative_error(Estimate.exact(0.5), Estimate.exact(0.0)).value == 0.5


def test_four_standard_errors_are_a_bar() -> None:
    bar = standard_errors_bar(Estimate.with_error(100.0, 3.0), Estimate.with_error(200.0, 4.0))
    assert bar == pytest.approx(4 * 5.0 / 200.0, abs=2e-6)
    assert Estimate.with_error(1.0, 0.25).standard_error == pytest.approx(0.25)


@pytest.mark.parametrize(
    ("error", "bar", "verdict"),
    [
        (Estimate(0.04, -0.5, 0.6), 0.05, Verdict.PASS),
        (Estimate(-0.04, -0.045, -0.035), 0.05, Verdict.PASS),
        (Estimate(0.08, 0.04, 0.12), 0.05, Verdict.NOISE),
        (Estimate(-0.08, -0.12, -0.04), 0.05, Verdict.NOISE),
        (Estimate(0.08, 0.06, 0.10), 0.05, Verdict.FAIL),
        (Estimate(-0.08, -0.10, -0.06), 0.05, Verdict.FAIL),
        (Estimate.exact(0.06), 0.05, Verdict.FAIL),
        (Estimate.exact(9.0), None, Verdict.NO_BAR),
        (None, 0.05, Verdict.NOT_RUN),
    ],
)
def test_a_row_fails_only_if_its_interval_is_beyond_the_bar(error: Estimate | None, bar: float | None, verdict: Verdict) -> None:
    assert check(error, bar).verdict == verdict


def test_a_check_is_a_row_of_the_registry() -> None:
    row = check(Estimate(0.1, 0.0, 0.2), 0.05, predicted=Estimate.exact(11.0), reference=Estimate.exact(10.0), nodes=4).row()
    stored = validate_row(row | {"run_id": "run"}, VALIDATION_COLUMNS)
    assert (stored["predicted"], stored["reference"], stored["error_high"], stored["verdict"]) == (
        11.0,
        10.0,
        0.2,
        "within noise",
    )
    assert validate_row(check().row() | {"run_id": "run"}, VALIDATION_COLUMNS)["error"] is None


def test_bar_of_a_group_is_that_of_its_median() -> None:
    errors = [Estimate.exact(value) for value in (-0.5, 0.1, 0.15)]
    cpu, bandwidth = summarise([*map(check, errors), check(Estimate.exact(0.06), group="bandwidth"), check(None, group="counts")])
    assert (cpu.group, cpu.rows, cpu.median_error, cpu.largest_error, cpu.bar, cpu.met) == ("cpu", 3, 0.15, 0.5, 0.20, True)
    assert not bandwidth.met and bandwidth.line == "measurements, bandwidth: median error 6.0%, bar 5%"


def test_a_row_beyond_its_own_bar_is_named() -> None:
    (bar,) = summarise([check(Estimate.exact(0.5), 0.0, ladder="engines", group="below 70 %")])
    assert not bar.met and bar.line == "engines, below 70 %: beyond its bar: one (mean_latency_ms)"


def test_distance_of_two_samples_and_what_passes_by_chance() -> None:
    generator = np.random.default_rng(7)
    one, other = generator.normal(size=400), generator.normal(0.1, size=900)
    assert engines.ks_distance(one, other) == pytest.approx(stats.ks_2samp(one, other).statistic)
    critical = engines.ks_critical(1e-3, 400, 900)
    assert stats.distributions.kstwobign.sf(critical * math.sqrt(400 * 900 / 1300)) == pytest.approx(1e-3, rel=1e-3)
    assert engines.ks_distance(np.array([1.0, math.inf]), np.array([1.0, 2.0])) == 0.5
