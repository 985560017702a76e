"""Where throughput saturates and latency degrades, on planted laws."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from prsm_scale.analysis.thresholds import Thresholds
from prsm_scale.analysis.turning_points import (
    DegradationPoint,
    SaturationPoint,
    latency_degradation_point,
    throughput_saturation_point,
)
from tests.package.scaling_tables import NODES, noisy, table

N = np.array(NODES, dtype=float)


def usl(n: Any, alpha: float, beta: float) -> Any:
    return 1000 * n / (1 + alpha * (n - 1) + beta * n * (n - 1))


def saturation(throughput: Any, nodes: Any = NODES, **thresholds: Any) -> SaturationPoint:
    return throughput_saturation_point(table(nodes, saturation_ops_per_second=throughput), Thresholds(**thresholds))


def with_latency(values: Any, nodes: Any = NODES, relative_error: float = 0.005, name: str = "mean") -> pd.DataFrame:
    latency = np.asarray(values, dtype=float)
    ends = {
        f"{name}_latency_low_ms": latency * (1 - 2 * relative_error),
        f"{name}_latency_high_ms": latency * (1 + 2 * relative_error),
    }
    return table(nodes, **({f"{name}_latency_ms": latency} | ends))


def degradation(values: Any, nodes: Any = NODES, **thresholds: Any) -> DegradationPoint:
    return latency_degradation_point(with_latency(values, nodes), Thresholds(**thresholds))


class TestSaturation:
    def test_planted_usl(self) -> None:
        point = saturation(noisy(usl(N, 0.02, 1e-4), 0.01))
        assert point.law == "usl"
        assert point.basis == "saturation_ops_per_second"
        assert point.node_count.low is not None and point.node_count.high is not None
        assert point.node_count.low < np.sqrt(0.98 / 1e-4) < point.node_count.high
        assert point.node_count.high / point.node_count.low < 1.25
        assert point.ops_per_second == pytest.approx(usl(99.0, 0.02, 1e-4), rel=0.03)
        assert set(point.parameters) == {"alpha", "beta", "gamma"}
        assert point.flags == ()

    def test_peak_beyond_the_data_says_so(self) -> None:
        nodes = (5, 10, 15, 20, 30, 40, 50)
        point = saturation(usl(np.array(nodes, float), 0.02, 1e-4), nodes)
        assert point.node_count.value == pytest.approx(98.99, rel=1e-3)
        assert "peak_outside_data" in point.flags
        assert "falls_from_first_n" not in point.flags

    def test_throughput_that_falls_from_the_first_n_on(self) -> None:
        point = saturation(noisy(5e4 / N, 0.01))
        assert point.law == "power"
        assert (point.node_count.value, point.node_count.low, point.node_count.high) == (10, 10, 10)
        assert point.ops_per_second == pytest.approx(5000, rel=0.03)
        assert point.flags == ("falls_from_first_n",)

    def test_a_usl_whose_peak_lies_below_the_data_falls_from_the_first_n_on(self) -> None:
        nodes = np.array([40, 60, 80, 120, 160, 240, 320, 640.0])
        point = saturation(usl(nodes, 0.0, 0.01), nodes)
        assert point.law == "usl"
        assert point.node_count.value == pytest.approx(10)
        assert {"falls_from_first_n", "peak_outside_data"} <= set(point.flags)

    def test_throughput_that_rises_without_end(self) -> None:
        point = saturation(noisy(np.sqrt(N), 0.01))
        assert point.law == "power"
        assert point.node_count.value is None and point.ops_per_second is None
        assert point.flags == ("no_peak",)

    def test_contention_alone_has_no_peak_and_beta_at_its_bound(self) -> None:
        point = saturation(usl(N, 0.05, 0.0))
        assert point.law == "usl"
        assert point.node_count.value is None
        assert {"beta_at_bound", "no_peak"} <= set(point.flags)

    def test_throughput_that_may_rise_or_fall(self) -> None:
        assert "direction_uncertain" in saturation(noisy(np.full(8, 100.0), 0.05)).flags

    def test_grid_rule_with_a_gain_of_ones_own(self) -> None:
        values = [100, 150, 164, 200]
        assert saturation(values, NODES[:4]).grid_node_count == 40
        assert saturation(values, NODES[:4], low_gain=0.09).grid_node_count is None
        assert saturation(values, NODES[:4], low_gain=0.5).grid_node_count == 40
        assert saturation(values, NODES[:4], low_gain=0.51).grid_node_count == 20

    @pytest.mark.parametrize(("count", "law"), [(3, "power"), (2, None), (1, None), (0, None)])
    def test_few_points(self, count: int, law: str | None) -> None:
        point = saturation((5e4 / N)[:count], NODES[:count])
        assert point.law == law
        assert "too_few_points" in point.flags
        assert (point.node_count.value is None) == (law is None)

    def test_unknown_and_unlimited_throughput_is_left_out(self) -> None:
        point = saturation([None, 0.0, *(5e4 / N[2:])])
        assert point.node_count.value == 40
        assert "missing_points" in point.flags
        assert saturation([None] * 8).law is None


class TestDegradation:
    def test_linear(self) -> None:
        point = degradation(200 + 0.3 * N)
        assert point.law == "linear"
        assert point.baseline_node_count == 10
        assert point.baseline_ms == pytest.approx(203)
        assert point.degraded.node_count.value == pytest.approx((1.5 * 203 - 200) / 0.3)
        assert point.degraded.node_count.low is not None and point.degraded.node_count.high is not None
        assert point.degraded.node_count.low < 348.3 < point.degraded.node_count.high
        assert point.degraded.flags == ()
        assert point.degraded.grid_node_count == 640
        assert point.explosion.node_count.value == pytest.approx((3 * 203 - 200) / 0.3)
        assert point.explosion.flags == ("outside_data",)
        assert point.explosion.grid_node_count is None
        assert point.limit is None

    def test_power(self) -> None:
        point = degradation(20 * np.sqrt(N))
        assert point.law == "power"
        assert point.degraded.node_count.value == pytest.approx(22.5)
        assert point.explosion.node_count.value == pytest.approx(90)
        assert (point.degraded.grid_node_count, point.explosion.grid_node_count) == (40, 160)

    def test_factors_of_ones_own(self) -> None:
        point = degradation(20 * np.sqrt(N), degraded_factor=2, explosion_factor=4)
        assert (point.degraded.factor, point.explosion.factor) == (2, 4)
        assert point.degraded.node_count.value == pytest.approx(40)
        assert point.explosion.node_count.value == pytest.approx(160)
        assert point.explosion.grid_node_count == 320

    @pytest.mark.parametrize(
        ("values", "limit_ms", "where", "grid"),
        [
            (20 * np.sqrt(N), 200, 100, 160),
            (200 + 0.3 * N, 290, 300, 320),
            (100 + 50 * np.log(N), 100 + 50 * np.log(50), 50, 80),
            (200 + 0.3 * N, 150, 10, 10),
            (900 / np.sqrt(N), 100, 10, 10),
            (900 - 0.5 * N, 300, 10, 10),
            (900 / np.sqrt(N), 1000, None, None),
            (200 + 0.3 * N, 800, 2000, None),
        ],
        ids=[
            "power",
            "linear",
            "logarithmic",
            "passed at once",
            "falling and passed",
            "falling line and passed",
            "falling",
            "outside the data",
        ],
    )
    @pytest.mark.parametrize("name", ["mean", "p99"])
    def test_limit_in_ms(self, name: str, values: Any, limit_ms: float, where: float | None, grid: int | None) -> None:
        limits = Thresholds(max_latency_ms=limit_ms, latency=name)
        limit = latency_degradation_point(with_latency(values, name=name), limits).limit
        assert limit is not None
        assert (limit.quantity, limit.limit_ms, limit.factor) == (f"{name}_latency_ms", limit_ms, None)
        assert limit.grid_node_count == grid
        assert limit.node_count.value == (None if where is None else pytest.approx(where))
        assert ("outside_data" in limit.flags) == (where == 2000)
        if where in (50, 100, 300):
            assert limit.node_count.low is not None and limit.node_count.high is not None
            assert limit.node_count.low < where < limit.node_count.high

    def test_the_interval_of_a_limit_holds_the_truth_as_often_as_it_says(self) -> None:
        """Of 95 % intervals from 200 tables, 95 % with a standard error of 1.5 %."""
        truth, held = 100.0, 0
        for seed in range(200):
            group = with_latency(noisy(20 * np.sqrt(N), 0.02, seed), relative_error=0.0)
            limit = latency_degradation_point(group, Thresholds(max_latency_ms=200, latency="mean")).limit
            assert limit is not None and limit.node_count.low is not None and limit.node_count.high is not None
            held += limit.node_count.low <= truth <= limit.node_count.high
        assert 0.95 - 5 * 0.0154 < held / 200 <= 1

    def test_latency_that_does_not_grow(self) -> None:
        point = degradation(np.full(8, 200.0))
        assert point.degraded.node_count.value is None
        assert point.degraded.grid_node_count is None

    @pytest.mark.parametrize("count", [2, 1, 0])
    def test_few_points(self, count: int) -> None:
        point = degradation([100.0, 400.0][:count], NODES[:count])
        assert point.law is None
        assert point.degraded.node_count.value is None
        assert "too_few_points" in point.degraded.flags
        assert point.explosion.grid_node_count == (20 if count == 2 else None)
        assert point.baseline_ms == (100 if count else None)

    def test_the_baseline_is_the_smallest_n_with_a_latency(self) -> None:
        point = degradation([None, *(20 * np.sqrt(N[1:]))])
        assert point.baseline_node_count == 20
        assert point.degraded.node_count.value == pytest.approx(45)
        assert "missing_points" in point.degraded.flags
