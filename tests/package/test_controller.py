"""The scaling-test interface: configurations, coroutines and their plain methods, results and their files."""

from __future__ import annotations

import asyncio
import csv
import json
import threading
import time
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import prsm_scale as ps
from prsm_scale.config import Scenario
from prsm_scale.controller.files import load_result, save_result
from prsm_scale.controller.running import Cancelled, run_test
from prsm_scale.errors import PrsmScaleError, UsageError
from prsm_scale.store import load as load_stored

SMALL: dict[str, Any] = {
    "name": "small", "node_counts": [4, 7, 10], "network_topology": "fully_connected", "byzantine_ratios": [0.0, 0.25],
    "network_conditions": ["lan", "wan"], "operations": 32, "seed": 5,
}  # fmt: skip
MESH, WAN, STANDARD, THIRDS = "mesh", ["wan"], "standard", [0, 0.1, 0.2]
TWELVE = [
    ("comprehensive_scaling", [10, 20, 40, 80, 160, 320, 640, 1000], MESH, STANDARD, WAN, (45, 15, 10), THIRDS, 10),
    *(
        (f"network_impact_{one}", [25, 100, 400], MESH, STANDARD, [one], (30, 30, 10), THIRDS, 15)
        for one in ("lan", "wan", "intercontinental")
    ),
    *(
        (f"resource_constraint_{one}", [50, 200, 500], "random", one, WAN, (40, 30, 10), THIRDS, 10)
        for one in ("minimal", "light", "heavy")
    ),
    *(
        (f"topology_comparison_{one}", [30, 120, 480], one, STANDARD, WAN, (35, 30, 10), THIRDS, 10)
        for one in ("star", "ring", "hierarchical")
    ),
    ("byzantine_fault_tolerance", [50, 150, 300, 600], MESH, STANDARD, WAN, (60, 30, 10), [0, 0.1, 0.2, 0.33], 8),
    ("extreme_scale_stress", [100, 500, 1000], "hierarchical", "heavy", WAN, (90, 30, 20), THIRDS, 20),
]


@pytest.fixture(scope="module")
def result() -> ps.ScalingTestResult:
    return ps.ScalingTestController().run_test(ps.ScalingTestConfig(**SMALL))


def table_of(result: ps.ScalingTestResult) -> pd.DataFrame:
    return result.scenarios.drop(columns=["wall_seconds", "messages_per_second"])


def test_the_twelve_configurations() -> None:
    configs = ps.ScalingTestController().create_comprehensive_scaling_configs()
    told = [
        (
            one.name, one.node_counts, one.network_topology, one.resource_profile, one.network_conditions,
            (one.test_duration_per_scale, one.warmup_duration, one.cooldown_duration), one.byzantine_ratios,
            one.target_operations_per_second,
        )
        for one in configs
    ]  # fmt: skip
    assert told == TWELVE
    assert {one.environment for one in configs} == {ps.ScalingEnvironment.LOCAL_SIMULATION}
    assert {one.name for one in configs if one.enable_fault_injection} == {"byzantine_fault_tolerance"}
    by_name = {one.name: one for one in configs}
    assert {name: (one.max_cpu_percent, one.max_memory_mb) for name, one in by_name.items() if one.max_memory_mb} == {
        "resource_constraint_minimal": (80, 512),
        "extreme_scale_stress": (None, 4096),
    }
    assert [one.metadata["test_type"] for one in configs] == [
        "comprehensive_scaling", *["network_impact"] * 3, *["resource_constraint"] * 3, *["topology_impact"] * 3,
        "byzantine_scaling", "extreme_scale",
    ]  # fmt: skip
    assert by_name["network_impact_lan"].metadata["primary_condition"] == "lan"
    assert by_name["resource_constraint_heavy"].metadata["primary_profile"] == "heavy"
    assert by_name["topology_comparison_ring"].metadata["primary_topology"] == "ring"


@pytest.mark.parametrize("kinds", [ps.ScalingEnvironment, ps.ResourceProfile, ps.NetworkTopology, ps.NetworkCondition])
def test_enumerations_are_text_in_lower_case(kinds: Any) -> None:
    assert all(isinstance(one, str) and one == one.name.lower() == one.value for one in kinds)


def test_defaults_and_any_further_setting() -> None:
    config = ps.ScalingTestConfig(name="mine", node_counts="10..40", protocol="pbft", behaviour="delay")
    assert config.node_counts == [10, 20, 40]
    assert (config.test_duration_per_scale, config.warmup_duration, config.cooldown_duration) == (60, 30, 10)
    assert (config.byzantine_ratios, config.target_operations_per_second) == ([0, 0.1, 0.2], 10.0)
    assert {one.behaviour for one in config.scenarios()} == {"delay"}
    assert {(one.duration_s, one.warmup_s, one.rate) for one in config.scenarios()} == {(60.0, 30.0, 10.0)}
    assert ps.ScalingTestConfig(**config.to_dict()) == config
    assert {one.operations for one in config.scenarios(full=True)} == {600}


def test_fault_injection_mixes_all_behaviours() -> None:
    config = ps.ScalingTestConfig(name="mine", node_counts=[10], enable_fault_injection=True)
    assert config.scenario(10, 0.2).behaviour == "silent:0.2,delay:0.2,equivocate:0.2,flood:0.2,drop_relay:0.2"
    own = ps.ScalingTestConfig(name="mine", node_counts=[10], enable_fault_injection=True, behaviour="flood")
    assert own.scenario(10, 0.2).behaviour == "flood"


@pytest.mark.parametrize(
    ("wrong", "field", "allowed"),
    [
        ({"node_counts": [3]}, "node_counts", "4"),
        ({"node_counts": "ten"}, "node_counts", ""),
        ({"network_topology": "msh"}, "network_topology", "did you mean 'mesh'?"),
        ({"network_conditions": []}, "network_conditions", "one value or more"),
        ({"network_conditions": ["wan", "wan"]}, "network_conditions", "none of them twice"),
        ({"byzantine_ratios": [0.1, 1.5]}, "byzantine_ratios", "at most 1"),
        ({"test_duration_per_scale": 0}, "test_duration_per_scale", "more than 0"),
        ({"name": "../up"}, "name", "letters"),
        ({"max_memory_mb": -1}, "max_memory_mb", "more than 0"),
        ({"target_ops": 3}, "target_ops", "there is no such setting"),
        ({"nodes": 4}, "nodes", "there is no such setting"),
        ({"protocol": "paxos"}, "protocol", "one of"),
    ],
)
def test_bad_configurations_name_field_value_and_what_is_allowed(wrong: dict[str, Any], field: str, allowed: str) -> None:
    with pytest.raises(UsageError) as caught:
        ps.ScalingTestConfig(**({"name": "bad", "node_counts": [4]} | wrong))
    assert any(line.startswith(field) and allowed in line for line in caught.value.lines), caught.value.lines


def test_every_condition_ratio_and_size_is_run(result: ps.ScalingTestResult) -> None:
    table = result.scenarios
    cells = set(zip(table["network_condition"], table["byzantine_ratio"], table["node_count"], strict=True))
    assert cells == {(network, ratio, n) for network in ("lan", "wan") for ratio in (0.0, 0.25) for n in (4, 7, 10)}
    assert len(result.detailed_results) == len(table) == 12
    assert set(result.conditions) == {"lan", "wan"}
    assert result.conditions["lan"] == result.node_performance
    assert result.conditions["wan"][4]["mean_latency_ms"] > result.node_performance[4]["mean_latency_ms"]


def test_fields_by_number_of_nodes(result: ps.ScalingTestResult) -> None:
    row = result.scenarios.query("network_condition == 'lan' and byzantine_ratio == 0 and node_count == 7").iloc[0]
    assert result.node_performance[7]["p95_latency_ms"] == row["p95_latency_ms"]
    assert result.resource_usage[7] == {
        "cpu_usage_estimate": row["cpu_percent_max"], "memory_usage_mb": row["memory_mb"],
        "cpu_percent_mean": row["cpu_percent_mean"],
    }  # fmt: skip
    assert result.network_metrics[7]["message_count"] == 2 * 7 * 6
    assert result.network_metrics[7]["estimated_bandwidth_kb"] == row["bytes_per_operation"] / 1000.0
    assert [n for n, _ in result.memory_usage_trend] == [n for n, _ in result.cpu_usage_trend] == [4, 7, 10]
    throughput = result.scenarios.query("network_condition == 'lan' and byzantine_ratio == 0")["saturation_ops_per_second"]
    first, _, last = throughput
    assert result.scaling_efficiency[10] == pytest.approx((last / first) / (10 / 4))
    assert set(result.byzantine_resilience) == {0.0, 0.25}
    assert result.byzantine_resilience[0.0] == {4: 1.0, 7: 1.0, 10: 1.0}
    assert result.recommended_max_nodes == 10
    assert result.performance_bottlenecks and all(isinstance(line, str) for line in result.performance_bottlenecks)
    assert len(result.resource_logs) >= 2 and {"timestamp", "process_memory_mb"} <= set(result.resource_logs[0])
    assert "small" in repr(result) and "<table" in result._repr_html_()


def test_ratios_without_zero_and_logs_left_out() -> None:
    config = ps.ScalingTestConfig(
        name="faulty", node_counts=[7], byzantine_ratios=[0.3, 0.15], network_topology="fully_connected", operations=32,
        save_detailed_logs=False, enable_resource_monitoring=False,
    )  # fmt: skip
    found = ps.ScalingTestController().run_test(config)
    assert found.basis["byzantine_ratio"] == 0.15
    assert set(found.byzantine_resilience) == {0.15, 0.3}
    assert found.detailed_results == [] and found.resource_logs == []


def test_limits_are_enforced() -> None:
    config = ps.ScalingTestConfig(**(SMALL | {"network_conditions": ["lan"], "max_memory_mb": 1.0, "max_cpu_percent": 0.001}))
    found = ps.ScalingTestController().run_test(config)
    assert found.recommended_max_nodes is None
    assert all("max_memory_mb" in text and "max_cpu_percent" in text for text in found.scenarios["limits_passed"])
    assert any("max_cpu_percent" in line for line in found.performance_bottlenecks)


def test_coroutines_do_what_plain_methods_do_and_leave_the_loop_free(result: ps.ScalingTestResult) -> None:
    async def main() -> tuple[ps.ScalingTestResult, int]:
        ticks = 0

        async def tick() -> None:
            nonlocal ticks
            while True:
                await asyncio.sleep(0)
                ticks += 1

        clock = asyncio.create_task(tick())
        found = await ps.ScalingTestController().run_comprehensive_scaling_test(ps.ScalingTestConfig(**SMALL))
        clock.cancel()
        return found, ticks

    found, ticks = asyncio.run(main())
    pd.testing.assert_frame_equal(table_of(found), table_of(result))
    assert ticks > 100


def test_the_demo() -> None:
    found = asyncio.run(ps.ScalingTestController().run_scaling_demo())
    assert list(found.node_performance) == [10, 25, 50]
    assert set(found.byzantine_resilience) == {0.0, 0.1}
    assert (found.config.network_topology, found.config.network_conditions) == ("mesh", ["wan"])


def test_a_cancelled_task_stops() -> None:
    begun = threading.Event()
    ended: list[BaseException] = []

    class Watched(ps.ScalingTestController):
        def run_test(self, *given: Any, **settings: Any) -> Any:
            begun.set()
            try:
                return super().run_test(*given, **settings)
            except BaseException as error:
                ended.append(error)
                raise

    config = ps.ScalingTestConfig(name="long", node_counts=[40], network_topology="fully_connected", operations=1_000_000)

    async def main() -> None:
        task = asyncio.create_task(Watched().run_comprehensive_scaling_test(config))
        await asyncio.to_thread(begun.wait)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())  # waits for the thread
    assert len(ended) == 1 and isinstance(ended[0], Cancelled)


def test_single_operations() -> None:
    config = ps.ScalingTestConfig(**SMALL)
    one, other = ps.ScalingTestController(), ps.ScalingTestController()
    first = [one.simulate_operation(config, 7, 0.0) for _ in range(70)]
    again = [asyncio.run(other.simulate_scaled_consensus_operation(config, 7, 0.0)) for _ in range(3)]
    assert first[:3] == again
    assert len({latency for _, latency, _ in first}) == 70  # 32 of each seed
    success, latency_ms, metrics = first[0]
    assert success is True and metrics["quorum"] == 5 and metrics["messages"] >= 2 * 7 * 6
    parts = ("propagation_ms", "transmission_ms", "cpu_ms", "queueing_ms", "retransmission_ms", "view_change_ms")
    assert sum(metrics[part] for part in parts) == pytest.approx(latency_ms, rel=1e-3)
    lost, gave_up_ms, _ = one.simulate_operation(config, 7, 0.5)
    assert (lost, gave_up_ms) == (False, Scenario(nodes=7).operation_timeout_ms)


def test_files(result: ps.ScalingTestResult, tmp_path: Path) -> None:
    controller = ps.ScalingTestController(tmp_path / "new" / "folder")
    first, second = controller.save_scaling_results(result), controller.save_scaling_results(result)
    assert first.name == f"scaling_test_small_{result.start_time:%Y%m%d_%H%M%S}.json"
    assert second.stem == f"{first.stem}_2"
    document = json.loads(first.read_text(), parse_constant=pytest.fail)
    assert list(document) == [
        "config", "timing", "performance", "resources", "network", "byzantine_analysis", "analysis", "raw_data", "provenance",
    ]  # fmt: skip
    assert set(document["performance"]["node_performance"]["7"]) >= {
        "operations_per_second", "mean_latency_ms", "median_latency_ms", "p95_latency_ms", "p99_latency_ms", "success_rate",
        "operations_per_node_per_second",
    }  # fmt: skip
    assert document["raw_data"] == {"resource_logs_count": len(result.resource_logs), "detailed_results_count": 12}
    assert {"prsm_scale", "packages", "seed", "engine", "config_digest"} <= set(document["provenance"])
    assert document["provenance"]["seed"] == 5
    rows = list(csv.DictReader(first.with_suffix(".csv").read_text().splitlines()))
    assert list(rows[0])[:10] == [
        "node_count", "operations_per_second", "mean_latency_ms", "p95_latency_ms", "success_rate", "scaling_efficiency",
        "cpu_usage_estimate", "memory_usage_mb", "byzantine_ratio", "network_condition",
    ]  # fmt: skip
    assert len(rows) == 12 and [row["scaling_efficiency"] for row in rows if row["node_count"] == "4"] == ["1.0"] * 4
    stored = load_stored(first)
    assert stored.provenance["run_id"] == first.stem and stored.provenance["sweep"]["name"] == "small"


def test_results_come_back(result: ps.ScalingTestResult, tmp_path: Path) -> None:
    file = save_result(result, tmp_path)
    for path in (file, file.with_suffix(".csv"), file.with_suffix(".parquet")):
        again = load_result(path)
        pd.testing.assert_frame_equal(again.scenarios.drop(columns="run_id"), result.scenarios.drop(columns="run_id"))
        assert (again.config, again.start_time, again.end_time) == (result.config, result.start_time, result.end_time)
        assert again.resource_logs == result.resource_logs
        assert again.node_performance == result.node_performance


def test_files_that_are_not_results(result: ps.ScalingTestResult, tmp_path: Path) -> None:
    file = save_result(result, tmp_path)
    text = file.read_text()
    wrong = {
        "a whole file in JSON": text[: len(text) // 2],
        "a result of a scaling test, with the keys": "{}",
        "update prsm-scale": text.replace('"schema_version": 1', '"schema_version": 99'),
    }
    for allowed, content in wrong.items():
        file.write_text(content)
        with pytest.raises(UsageError, match=allowed):
            load_result(file)
    file.write_text(text)
    file.with_suffix(".parquet").write_bytes(file.with_suffix(".parquet").read_bytes()[:3000])
    with pytest.raises(UsageError, match="a whole Parquet file"):
        load_result(file)


def test_a_folder_that_cannot_be_made(result: ps.ScalingTestResult, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="output_directory"):
        save_result(result, tmp_path / "file" / "below")


def test_what_was_done_is_gone_on_with(tmp_path: Path) -> None:
    config = ps.ScalingTestConfig(**SMALL)
    simulated: list[int] = []
    partial = tmp_path / "small.partial"

    def fail_after_three(progress: Any) -> None:
        simulated.append(progress.done)
        if progress.done >= 3:
            raise PrsmScaleError("no more")

    with pytest.raises(PrsmScaleError):
        run_test(config, partial=partial, progress=fail_after_three)
    totals: list[int] = []
    found = run_test(config, partial=partial, progress=lambda told: totals.append(told.total))
    assert set(totals) <= {12 - 3, 12 - 4} and len(set(totals)) == 1  # two are under way together
    pd.testing.assert_frame_equal(table_of(found), table_of(run_test(config)))


def test_what_another_version_left_is_not_gone_on_with(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = ps.ScalingTestConfig(**(SMALL | {"network_conditions": ["lan"], "node_counts": [4]}))
    partial = tmp_path / "small.partial"
    run_test(config, partial=partial)
    monkeypatch.setattr("prsm_scale.controller.running.__version__", "9.9")
    totals: list[int] = []
    run_test(config, partial=partial, progress=lambda told: totals.append(told.total))
    assert set(totals) == {2}


def test_results_do_not_depend_on_threads(result: ps.ScalingTestResult) -> None:
    single = ps.ScalingTestController(threads=1).run_test(ps.ScalingTestConfig(**SMALL))
    pd.testing.assert_frame_equal(table_of(single), table_of(result))


def test_warm_up_lets_a_backlog_grow_before_the_test() -> None:
    """Above capacity each second before the test adds rho - 1 seconds to what its first operation waits for."""
    system: dict[str, Any] = {"nodes": 4, "cores": 1, "rate": 20_000, "duration_s": 1.0, "operation_timeout_ms": 600_000}
    cold, warm = (ps.simulate(**system, warmup_s=seconds).row for seconds in (0.0, 2.0))
    rho = cold["utilisation"]
    assert rho > 1.5
    assert warm["mean_latency_ms"] - cold["mean_latency_ms"] == pytest.approx(2000.0 * (rho - 1.0), rel=1e-6)


def test_time_goes_on() -> None:
    before = time.time()
    found = ps.ScalingTestController().run_test(ps.ScalingTestConfig(**(SMALL | {"node_counts": [4]})))
    assert before - 1 <= found.start_time.timestamp() <= found.end_time.timestamp() <= time.time() + 1
