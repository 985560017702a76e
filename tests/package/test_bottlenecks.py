"""Findings on tables whose values lie just on either side of the thresholds."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from prsm_scale.analysis.bottlenecks import Finding, bottlenecks
from prsm_scale.analysis.thresholds import Thresholds
from prsm_scale.errors import UsageError
from tests.package.scaling_tables import UNKNOWN, scenario, table

N = (10, 20, 40)


def found(kind: str, nodes: Any = N, thresholds: Thresholds | None = None, **columns: Any) -> Finding | None:
    everything = [one for one in bottlenecks(table(nodes, **columns), thresholds) if one.kind != "binding_resource"]
    assert {one.kind for one in everything} <= {kind}
    return everything[0] if everything else None


def nearby(value: float, up: bool) -> float:
    return float(np.nextafter(value, math.inf if up else -math.inf))


def test_a_system_without_a_fault() -> None:
    assert [one.kind for one in bottlenecks(table(N))] == ["binding_resource"]


@pytest.mark.parametrize(
    ("kind", "column", "good", "bad", "of_first", "threshold"),
    [
        ("throughput", "saturation_ops_per_second", 500.0, nearby(500.0, False), 1000.0, 0.5),
        ("latency", "mean_latency_ms", 300.0, nearby(300.0, True), 100.0, 3.0),
        ("cpu", "cpu_percent_max", 80.0, nearby(80.0, True), 5.0, 80.0),
        ("memory", "memory_mb", 2048.0, nearby(2048.0, True), 100.0, 2048.0),
        ("network_efficiency", "network_efficiency", 0.3, nearby(0.3, False), 0.9, 0.3),
        ("success", "success_rate", nearby(0.95, True), 0.95, 1.0, 0.95),
        ("overload", "utilisation", nearby(1.0, False), 1.0, 0.01, 1.0),
        ("safety", "safety_violations", 0, 1, 0, 0.0),
    ],
)
def test_just_on_either_side(kind: str, column: str, good: float, bad: float, of_first: float, threshold: float) -> None:
    assert found(kind, **{column: [of_first, good, good]}) is None
    one = found(kind, **{column: [of_first, good, bad]})
    assert one is not None
    relative = 1 / of_first if kind in ("throughput", "latency") else 1
    assert (one.node_count, one.node_counts, one.worst_node_count) == (40, (40,), 40)
    assert one.value == pytest.approx(bad * relative)
    assert one.threshold == threshold
    assert "at n = 40 " in one.message


@pytest.mark.parametrize(
    ("kind", "column", "values", "thresholds"),
    [
        ("throughput", "saturation_ops_per_second", [1000, 600, 601], {"min_throughput_share": 0.601}),
        ("latency", "mean_latency_ms", [100, 161, 160], {"explosion_factor": 1.6}),
        ("cpu", "cpu_percent_max", [5, 51, 50], {"max_cpu_percent": 50}),
        ("memory", "memory_mb", [100, 1001, 1000], {"max_memory_mb": 1000}),
        ("network_efficiency", "network_efficiency", [0.9, 0.49, 0.5], {"min_network_efficiency": 0.5}),
        ("success", "success_rate", [1, 0.98, 0.99], {"min_success": 0.985}),
        ("latency_limit", "p99_latency_ms", [150, 161, 160], {"max_latency_ms": 160}),
        ("latency_limit", "mean_latency_ms", [100, 161, 160], {"max_latency_ms": 160, "latency": "mean"}),
    ],
)
def test_thresholds_of_ones_own(kind: str, column: str, values: Any, thresholds: dict[str, Any]) -> None:
    one = found(kind, thresholds=Thresholds(**thresholds), **{column: values})
    assert one is not None and one.node_counts == (20,)


def test_first_and_worst() -> None:
    one = found("cpu", (4, 10, 20, 40, 80), cpu_percent_max=[50, 90, 70, 95, 92])
    assert one is not None
    assert (one.node_count, one.value, one.node_counts) == (10, 90, (10, 40, 80))
    assert (one.worst_node_count, one.worst_value) == (40, 95)
    assert one.message == "at n = 10, 40, 80 CPU use of the busiest replica is 90.0% (above 80.0%); 95.0% at n = 40"


def test_from_one_n_on() -> None:
    one = found("throughput", (4, 10, 20), saturation_ops_per_second=[1000.0, 400.0, 200.0])
    assert one is not None
    assert one.message == "from n = 10 on saturation throughput is 40% of that at n = 4 (below 50%); 20% at n = 20"


class TestBeyondDoubt:
    @pytest.mark.parametrize(("high", "sure"), [(0.94, True), (0.95, True), (0.951, False)])
    def test_success(self, high: float, sure: bool) -> None:
        one = found("success", success_rate=[1, 1, 0.9], success_low=[0.99, 0.99, 0.85], success_high=[1, 1, high])
        assert one is not None
        assert one.interval == (0.85, high)
        assert one.beyond_doubt is sure
        assert ("not beyond doubt" in one.message) is not sure

    @pytest.mark.parametrize("sure", [True, False])
    def test_a_ratio_of_latencies_has_the_errors_of_both(self, sure: bool) -> None:
        """Relative standard errors of 3 and 4 % make one of 5 %."""
        mean = np.array([100.0, 100.0, 340.0 if sure else 320.0])
        half = 1.959964 * np.array([0.03, 0.03, 0.04]) * mean
        one = found("latency", mean_latency_ms=mean, mean_latency_low_ms=mean - half, mean_latency_high_ms=mean + half)
        assert one is not None and one.interval is not None and one.value is not None
        assert one.interval == pytest.approx([one.value * math.exp(sign * 1.959964 * 0.05) for sign in (-1, 1)])
        assert one.beyond_doubt is sure

    def test_what_has_no_interval_has_no_doubt(self) -> None:
        for one in (found("cpu", cpu_percent_max=90), found("latency", mean_latency_ms=[100, 100, 500])):
            assert one is not None
            assert one.interval is None and one.beyond_doubt is None
            assert "doubt" not in one.message


class TestMemory:
    def test_of_ones_own_goes_before_that_of_the_profile(self) -> None:
        for own, over in ((3000.0, False), (2900.0, True)):
            assert (found("memory", memory_mb=3000, scenario=scenario(memory_mb=own)) is not None) is over

    def test_never_more_than_eight_gigabytes(self) -> None:
        big = {"resource_profile": "extreme", "scenario": scenario(memory_mb=16_384)}
        assert found("memory", memory_mb=8192, **big) is None
        one = found("memory", memory_mb=8193, **big)
        assert one is not None and one.threshold == 8192

    def test_worst_is_what_is_most_over(self) -> None:
        """Profiles are part of a group; memory of one's own is not."""
        own = [scenario(memory_mb=size) for size in (100, 1000, 1000)]
        one = found("memory", memory_mb=[900, 1100, 1000], scenario=own)
        assert one is not None
        assert (one.node_counts, one.worst_node_count) == ((10, 20), 10)

    def test_a_profile_that_is_not_known(self) -> None:
        assert found("memory", memory_mb=8000, resource_profile="") is None


class TestBindingResource:
    def test_each_with_its_n_and_capacity(self) -> None:
        group = table(
            (4, 10, 20, 40),
            bottleneck=["pipeline_window", "primary_cpu", "primary_cpu", "primary_egress"],
            saturation_ops_per_second=[900.0, 800.0, 700.0, 600.0],
            utilisation=[0.01, 0.02, 0.03, 0.04],
        )
        window, cpu, egress = bottlenecks(group)
        assert [one.resource for one in (window, cpu, egress)] == ["pipeline_window", "primary_cpu", "primary_egress"]
        assert (cpu.node_counts, cpu.value, cpu.worst_node_count, cpu.worst_value) == ((10, 20), 800, 20, 700)
        assert cpu.utilisation == 0.03
        assert cpu.message == (
            "primary_cpu binds at n = 10, 20: 800 operations/s at n = 10, 700 at n = 20, of which the offered load takes 3.00%"
        )
        assert egress.message == "primary_egress binds at n = 40: 600 operations/s, of which the offered load takes 4.00%"

    def test_none_where_nothing_is_offered(self) -> None:
        (one,) = bottlenecks(table(N, offered_ops_per_second=0.0, utilisation=0.0))
        assert one.message == "primary_cpu binds at n = 10 to 40: 1,000 operations/s"


class TestUnknown:
    def test_everything(self) -> None:
        assert bottlenecks(table(N, **UNKNOWN)) == []

    def test_no_scenarios(self) -> None:
        assert bottlenecks(table(())) == []

    def test_throughput_without_a_limit_is_no_fault(self) -> None:
        """At first, at last, and everywhere."""
        for place in (0, 2, slice(None)):
            throughput, load, resource = np.full(3, 1000.0), np.full(3, 0.01), np.array(["replica_cpu"] * 3, object)
            throughput[place], load[place], resource[place] = np.nan, 0, None
            assert found("none", saturation_ops_per_second=throughput, utilisation=load, bottleneck=resource) is None

    def test_capacity_that_is_nothing_is_below_half(self) -> None:
        one = found("throughput", saturation_ops_per_second=[1000.0, 1000.0, 0.0], utilisation=[0.01, 0.01, None])
        assert one is not None and (one.node_count, one.value) == (40, 0)

    def test_nothing_is_half_of_nothing(self) -> None:
        assert found("throughput", saturation_ops_per_second=0.0, utilisation=None) is None


def test_a_limit_of_the_configuration() -> None:
    group = table(N, limits_passed=["", "max_cpu_percent", "max_cpu_percent, max_memory_mb"])
    cpu, memory, _ = bottlenecks(group)
    assert (cpu.kind, cpu.resource, cpu.node_counts) == ("limit", "max_cpu_percent", (20, 40))
    assert cpu.message == "from n = 20 on the limit on max_cpu_percent is passed"
    assert (memory.resource, memory.node_counts) == ("max_memory_mb", (40,))


def test_a_limit_is_one_finding_whatever_passes_it() -> None:
    """As scenarios tell limits, each with its value. Seen to fail where the value was part of the name."""
    told = ["max_cpu_percent 81.2 > 80", "max_cpu_percent 93.4 > 80; max_memory_mb 600.0 > 512", "max_cpu_percent 99.0 > 80"]
    cpu, memory, _ = bottlenecks(table(N, limits_passed=told))
    assert (cpu.resource, cpu.node_counts) == ("max_cpu_percent", (10, 20, 40))
    assert (memory.resource, memory.node_counts) == ("max_memory_mb", (20,))


def test_clients_that_wait_overload_nothing() -> None:
    assert found("overload", utilisation=1.0, scenario=scenario(clients=64)) is None
    assert found("overload", utilisation=1.0, scenario=scenario(clients=None)) is not None


def test_groups_are_not_mixed() -> None:
    with pytest.raises(UsageError, match="topology"):
        bottlenecks(table(N, topology=["ring", "star", "star"]))
