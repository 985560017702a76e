"""Trends by ranks."""

from itertools import permutations

import numpy as np
import pytest

from prsm_scale.analysis import trends
from prsm_scale.analysis.differences import holm
from prsm_scale.analysis.trends import mann_kendall, theil_sen

rng = np.random.default_rng(11)


def score(values):
    return sum(np.sign(late - early) for at, early in enumerate(values) for late in values[at + 1 :])


@pytest.mark.parametrize(
    "values", [[1, 2], [1, 2, 3, 4, 5], [1, 1, 1, 2, 2], [3, 1, 2, 2, 5, 5], [4, 4, 4, 4], [2, 1, 1, 3, 3, 3]]
)
def test_chance_is_that_of_all_arrangements(values):
    seen = abs(score(values))
    chances = [abs(score(order)) >= seen for order in permutations(values)]
    assert mann_kendall(values) == pytest.approx(np.mean(chances))


@pytest.mark.parametrize("values", [np.arange(40.0) % 7, np.repeat([1.0, 1.1], 20), rng.normal(size=45) + np.arange(45) / 40])
def test_law_of_many_is_that_of_few(values, monkeypatch):
    exact = mann_kendall(values)
    monkeypatch.setattr(trends, "_LONGEST_EXACT", 0)
    assert mann_kendall(values) == pytest.approx(exact, abs=0.01)


def test_constant_series_and_single_outliers_have_no_trend():
    for size in (5, 12, 60):
        level = np.ones(size)
        assert mann_kendall(level) == 1.0
        assert theil_sen(level) == 0.0
        for place in (0, size // 2, size - 1):
            level = np.ones(size)
            level[place] = 10.0
            assert theil_sen(level) == 0.0
            assert mann_kendall(level) > 0.05


def test_slope_is_the_median_of_all():
    series = 3.0 + 0.5 * np.arange(9)
    assert theil_sen(series) == 0.5
    series[4] = 1e6
    assert theil_sen(series) == pytest.approx(0.5, abs=0.1)


def test_histories_without_a_trend_show_none():
    """Twelve configurations, four metrics, eight runs of noise: any trend in at most 5 % of histories."""
    histories, shown = 300, 0
    for _ in range(histories):
        shown += any(holm([mann_kendall(rng.normal(size=8)) for _ in range(48)], 0.05))
    assert shown / histories < 0.05 + 4 * np.sqrt(0.05 * 0.95 / histories)


def test_a_planted_trend_is_found():
    """Four per cent over twelve runs, in noise of half a per cent."""
    found = [mann_kendall(rng.normal(1.0, 0.005, 12) + 0.04 * np.arange(12) / 11) for _ in range(100)]
    assert np.mean(np.array(found) < 0.001) > 0.95
