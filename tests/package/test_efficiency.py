"""Scaling efficiency and the rules read off the grid."""

import numpy as np
import pytest

from prsm_scale.analysis import efficiency


def test_share_of_linear_scaling():
    result = efficiency.scaling_efficiency([40, 10, 20], [1000.0, 500.0, 800.0])
    assert result.nodes.tolist() == [10, 20, 40]
    assert result.efficiency.tolist() == [1.0, 0.8, 0.5]
    assert result.mean == pytest.approx(0.65)
    assert result.tier == "good"
    assert result.basis == "saturation_ops_per_second"


def test_missing_points_are_left_out():
    result = efficiency.scaling_efficiency([10, 20, 40], [np.nan, 500.0, np.inf])
    assert result.nodes.tolist() == [20]
    assert result.mean is None
    assert result.tier is None


@pytest.mark.parametrize(
    ("mean", "tier"),
    [(1.2, "excellent"), (0.81, "excellent"), (0.8, "good"), (0.6, "good"), (0.59, "moderate"),
     (0.4, "moderate"), (0.39, "poor"), (0.0, "poor")],
)  # fmt: skip
def test_tiers(mean, tier):
    assert efficiency.efficiency_tier(mean) == tier


def test_first_low_gain():
    assert efficiency.low_gain_nodes([10, 20, 40, 80], [100, 150, 164, 200]) == 40
    assert efficiency.low_gain_nodes([10, 20, 40], [100, 150, 300]) is None
    assert efficiency.low_gain_nodes([10], [100]) is None


def test_first_slow():
    assert efficiency.slow_nodes([10, 20, 40, 80], [100, 150, 151, 90]) == 40
    assert efficiency.slow_nodes([10, 20], [100, 301], factor=3) == 20
    assert efficiency.slow_nodes([10, 20], [100, 150]) is None
    assert efficiency.slow_nodes([], []) is None
