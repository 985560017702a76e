"""The largest number of nodes that does what is asked of it."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from prsm_scale.analysis.recommendation import Recommendation, recommended_max_nodes
from prsm_scale.analysis.thresholds import Thresholds
from tests.package.scaling_tables import scenario, table

N = (10, 20, 40)


def recommended(nodes: Any = N, thresholds: Thresholds | None = None, **columns: Any) -> Recommendation:
    return recommended_max_nodes(table(nodes, **columns), thresholds)


def test_all_that_was_simulated() -> None:
    assert recommended() == Recommendation(40, True, True, (), None, (), "n = 40, the largest simulated")


@pytest.mark.parametrize(
    ("condition", "column", "good", "bad"),
    [
        ("success", "success_rate", math.nextafter(0.95, 1), 0.95),
        ("operations_per_node", "saturation_ops_per_second", 0.41, 0.4),
        ("offered_load", "saturation_ops_per_second", math.nextafter(10, 11), 10.0),
        ("limits", "limits_passed", "", "max_cpu_percent"),
        ("latency", "p99_latency_ms", 160.0, math.nextafter(160.0, 161)),
        ("safety", "safety_violations", 0, 1),
        ("feasible", "feasible", True, False),
    ],
)
def test_just_on_either_side(condition: str, column: str, good: Any, bad: Any) -> None:
    fitting = {"saturation_ops_per_second": 20.0, "offered_ops_per_second": 0.3 if condition == "operations_per_node" else 10.0}
    first = table(N, **fitting)[column].iloc[0]
    limits = Thresholds(max_latency_ms=160)
    assert recommended(thresholds=limits, **(fitting | {column: [first, good, good]})).node_count == 40
    one = recommended(thresholds=limits, **(fitting | {column: [first, good, bad]}))
    assert (one.node_count, one.first_failing_node_count, one.failed_conditions) == (20, 40, (condition,))
    assert one.is_largest_simulated is False
    assert "n = 40 fails: " in one.message


def test_none_where_none_passes_with_the_reason_at_the_smallest() -> None:
    one = recommended(success_rate=[0.9, 0.8, 0.7], limits_passed=["", "max_cpu_percent", ""])
    assert one.node_count is None and one.beyond_doubt is None
    assert (one.first_failing_node_count, one.failed_conditions) == (10, ("success",))
    assert one.message == "none; at n = 10, the smallest simulated, success of 90% is not above 95%"


def test_a_larger_n_that_passes_after_a_smaller_fails_is_flagged() -> None:
    one = recommended((10, 20, 40, 80), success_rate=[1, 0.9, 1, 0.5])
    assert (one.node_count, one.failing_below, one.first_failing_node_count) == (40, (20,), 20)
    assert one.message == (
        "n = 40; n = 80 fails: success of 50% is not above 95%; smaller n = 20 fails: success of 90% is not above 95%"
    )


def test_what_does_not_fit_is_not_told_twice() -> None:
    gone = {name: [1.0, 1.0, None] for name in ("success_rate", "mean_latency_ms", "p99_latency_ms")}
    one = recommended(
        feasible=[True, True, False], limits_passed=["", "", "memory_mb"], reason=["", "", "needs 9 MB"],
        saturation_ops_per_second=[100.0, 100.0, None], **gone,
    )  # fmt: skip
    assert (one.node_count, one.failed_conditions) == (20, ("feasible",))
    assert one.message == "n = 20; n = 40 fails: needs 9 MB"


@pytest.mark.parametrize("column", ["success_rate", "saturation_ops_per_second", "p99_latency_ms"])
def test_what_is_not_known_passes_nothing(column: str) -> None:
    first = table(N)[column].iloc[0]
    one = recommended(thresholds=Thresholds(max_latency_ms=1000), **{column: [first, first, None]})
    assert one.node_count == 20
    assert "is not known" in one.message


def test_throughput_without_a_limit_is_enough() -> None:
    one = recommended(saturation_ops_per_second=None, utilisation=0.0, bottleneck=None)
    assert one.node_count == 40


def test_no_operation_succeeds() -> None:
    dead = {
        "success_rate": 0.0,
        "success_low": 0.0,
        "saturation_ops_per_second": 0.0,
        "utilisation": None,
        "mean_latency_ms": None,
    }
    one = recommended(**dead, p99_latency_ms=None, thresholds=Thresholds(max_latency_ms=1))
    assert one.node_count is None
    assert one.failed_conditions == ("success", "operations_per_node", "offered_load", "latency")


def test_limit_on_the_mean() -> None:
    mean = Thresholds(max_latency_ms=120, latency="mean")
    assert recommended(thresholds=mean, mean_latency_ms=[100, 120, 121]).node_count == 20
    assert recommended(thresholds=Thresholds(max_latency_ms=120), mean_latency_ms=[100, 120, 121]).node_count is None


@pytest.mark.parametrize(("low", "high", "doubtful"), [(0.951, 155, ""), (0.95, 155, "success"), (0.951, 161, "latency")])
def test_beyond_doubt(low: float, high: float, doubtful: str) -> None:
    limits = Thresholds(max_latency_ms=160)
    one = recommended((10,), limits, success_low=low, p99_latency_low_ms=145, p99_latency_high_ms=high)
    assert one.node_count == 10
    assert one.beyond_doubt is (not doubtful)
    assert (f"not beyond doubt ({doubtful})" in one.message) is bool(doubtful)


def test_clients_that_wait_offer_what_gets_done() -> None:
    slow = {"saturation_ops_per_second": 5.0, "offered_ops_per_second": 10.0}
    assert recommended(**slow).node_count is None
    assert recommended(**slow, scenario=scenario(clients=4)).node_count == 40


def test_no_scenarios() -> None:
    one = recommended(())
    assert one.node_count is None and one.first_failing_node_count is None
    assert one.message == "none; nothing was simulated"


def test_better_systems_are_never_recommended_fewer_nodes() -> None:
    """On systems drawn at random, each with a copy that does more, faster and more surely."""
    rng = np.random.default_rng(0)
    limits = Thresholds(max_latency_ms=150)
    seen = set()
    for _ in range(50):
        success, throughput, latency = rng.uniform(0.9, 1, 3), rng.uniform(5, 20, 3), rng.uniform(100, 200, 3)
        one, better = (
            recommended(
                thresholds=limits,
                success_rate=1 - (1 - success) / k,
                saturation_ops_per_second=throughput * k,
                p99_latency_ms=latency / k,
            ).node_count
            for k in (1, 1.2)
        )
        seen.add((one, better))
        assert (one or 0) <= (better or 0)
    assert any(one != better for one, better in seen)
