"""The result of a scaling test: the table of its scenarios, and what that says by number of replicas."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

from prsm_scale.controller.config import ScalingTestConfig

if TYPE_CHECKING:
    import pandas as pd

    from prsm_scale.analysis.scaling import Analysis

Row = Mapping[str, Any]

_PERFORMANCE: Final = (
    "operations_per_second", "mean_latency_ms", "median_latency_ms", "p95_latency_ms", "p99_latency_ms", "success_rate",
    "operations_per_node_per_second", "saturation_ops_per_second", "utilisation", "bottleneck",
    "mean_latency_low_ms", "mean_latency_high_ms", "p95_latency_low_ms", "p95_latency_high_ms", "p99_latency_low_ms",
    "p99_latency_high_ms", "success_low", "success_high", "min_latency_ms", "max_latency_ms", "std_dev_ms",
    "message_delivery_rate", "view_changes_per_operation", "safety_violations", "limits_passed", "feasible", "reason",
)  # fmt: skip
_BYTES_OF_KB: Final = 1000.0


@dataclass(frozen=True, eq=False, repr=False)
class ScalingTestResult:
    """What a scaling test found.

    Attributes
    ----------
    config : ScalingTestConfig
    start_time, end_time : datetime.datetime
        Of the simulation, on the host, in UTC.
    scenarios : pandas.DataFrame
        The whole table: one row a scenario, see `prsm_scale.columns.SCENARIO_COLUMNS`.
    resource_logs : list of dict
        Samples of the host, see `prsm_scale.host_columns.HOST_COLUMNS`.
    recommendations : dict
        What was tried to make it better, and what that gained; see docs/recommendations.md. Empty where nothing was tried.
    provenance : dict
        Versions, seed, engine and digest of the configuration.

    Notes
    -----
    What is told by number of replicas is of the *basis*: the first network condition, and the smallest share of faulty
    replicas. The others are in `scenarios`, and in `conditions`.
    """

    config: ScalingTestConfig
    start_time: datetime
    end_time: datetime
    scenarios: pd.DataFrame
    resource_logs: list[dict[str, Any]] = field(default_factory=list)
    recommendations: dict[str, Any] = field(default_factory=dict)
    provenance: dict[str, Any] = field(default_factory=dict)

    @property
    def basis(self) -> dict[str, Any]:
        """Network condition and share of faulty replicas of what is told by number of replicas."""
        return {"network_condition": self.config.network_conditions[0].value, "byzantine_ratio": self.config.ratios[0]}

    @cached_property
    def analyses(self) -> list[Analysis]:
        """What each group of scenarios that differ in n alone says, that of the basis first."""
        from prsm_scale.analysis.scaling import analyse

        return sorted(analyse(self.scenarios), key=lambda one: not self._is_basis(one.axes))

    @property
    def node_performance(self) -> dict[int, dict[str, Any]]:
        """Throughput, latency and success by n."""
        return self._by_nodes(_performance)

    @property
    def conditions(self) -> dict[str, dict[int, dict[str, Any]]]:
        """`node_performance` of each network condition, at the smallest share of faulty replicas."""
        ratio = self.basis["byzantine_ratio"]
        return {one.value: self._by_nodes(_performance, one.value, ratio) for one in self.config.network_conditions}

    @property
    def resource_usage(self) -> dict[int, dict[str, Any]]:
        """CPU use of the busiest replica in percent and memory of a replica in MB, by n."""
        return self._by_nodes(
            lambda row: {
                "cpu_usage_estimate": row["cpu_percent_max"],
                "memory_usage_mb": row["memory_mb"],
                "cpu_percent_mean": row["cpu_percent_mean"],
            }
        )

    @property
    def network_metrics(self) -> dict[int, dict[str, Any]]:
        """Traffic of one operation, in kB (1000 B) and in messages, and the share of it that mattered, by n."""
        return self._by_nodes(
            lambda row: {
                "estimated_bandwidth_kb": _kilo(row["bytes_per_operation"]),
                "message_count": row["message_count"],
                "network_efficiency": row["network_efficiency"],
            }
        )

    @property
    def scaling_efficiency(self) -> dict[int, float]:
        """(X / X0) / (n / n0) by n, X being saturation throughput."""
        return dict(self.analyses[0].scaling_efficiency)

    @property
    def throughput_saturation_point(self) -> float | None:
        """The n of the greatest saturation throughput, by the fitted law; None where that rises without end or none fits."""
        return self.analyses[0].throughput_saturation_point.node_count.value

    @property
    def latency_degradation_point(self) -> float | None:
        """The n at which mean latency passes 1.5 times that at the smallest n, by the fitted law; None where it does not."""
        return self.analyses[0].latency_degradation_point.degraded.node_count.value

    @property
    def memory_usage_trend(self) -> list[tuple[int, float | None]]:
        """Memory of a replica in MB, by n."""
        return list(self.analyses[0].memory_usage_trend)

    @property
    def cpu_usage_trend(self) -> list[tuple[int, float | None]]:
        """CPU use of the busiest replica in percent, by n."""
        return list(self.analyses[0].cpu_usage_trend)

    @property
    def bandwidth_requirements(self) -> dict[int, dict[str, Any]]:
        """Traffic that replicas send at the offered load, Mbit/s, by n."""
        return self._by_nodes(
            lambda row: {
                "mean_mbps": row["bandwidth_mbps_mean"],
                "max_mbps": row["bandwidth_mbps_max"],
                "max_replica": row["bandwidth_max_replica"],
            }
        )

    @property
    def message_overhead(self) -> dict[int, dict[str, Any]]:
        """Messages of one operation, and what they cost on links, by n."""
        return self._by_nodes(
            lambda row: {
                "messages_per_operation": row["message_count"],
                "transmissions_per_operation": row["link_transmissions"],
                "retransmissions_per_operation": row["retransmissions"],
                "bytes_per_operation": row["bytes_per_operation"],
            }
        )

    @property
    def byzantine_resilience(self) -> dict[float, dict[int, float | None]]:
        """Success by share of faulty replicas and n."""
        from prsm_scale.analysis.resilience import byzantine_resilience

        return byzantine_resilience(self.scenarios[self.scenarios["network_condition"] == self.basis["network_condition"]])

    @property
    def recommended_max_nodes(self) -> int | None:
        """The largest n simulated that passes all conditions; None where none does."""
        return self.analyses[0].recommended_max_nodes

    @property
    def performance_bottlenecks(self) -> list[str]:
        """Findings: those of the basis, then those of other kinds under other conditions and shares of faulty replicas."""
        basis, *others = self.analyses
        kinds = {one.kind for one in basis.findings}
        told = [one.message for one in basis.findings]
        for other in others:
            label = f"{other.axes['network_condition']}, {other.axes['byzantine_ratio']:g} faulty"
            told += [f"{label}: {one.message}" for one in other.findings if one.kind not in kinds]
        return told

    @property
    def scaling_recommendations(self) -> list[str]:
        """Changes that helped when they were simulated, the best first."""
        from prsm_scale.experiments.results import Verdict

        helps = f"{Verdict.HELPS}: "
        return [line.removeprefix(helps) for line in self.recommendations.get("sentences", ()) if line.startswith(helps)]

    @property
    def detailed_results(self) -> list[dict[str, Any]]:
        """Every column of every scenario; empty where the configuration keeps none."""
        return list(self.rows) if self.config.save_detailed_logs else []

    def _is_basis(self, axes: Mapping[str, Any]) -> bool:
        return all(axes[name] == value for name, value in self.basis.items())

    @cached_property
    def rows(self) -> list[dict[str, Any]]:
        """The table as plain data, None for what is missing."""
        from prsm_scale.columns import records

        return records(self.scenarios)

    def _by_nodes(
        self, told: Callable[[Row], dict[str, Any]], network: str | None = None, ratio: float | None = None
    ) -> dict[int, dict[str, Any]]:
        wanted = self.basis if network is None else {"network_condition": network, "byzantine_ratio": ratio}
        rows = [row for row in self.rows if all(row[name] == value for name, value in wanted.items())]
        return {row["node_count"]: told(row) for row in sorted(rows, key=lambda row: int(row["node_count"]))}

    def __repr__(self) -> str:
        """Tell the configuration and the main results in one line."""
        most = self.recommended_max_nodes
        counts = self.config.node_counts
        told = f"at most {most:,} nodes recommended" if most else "no number of nodes recommended"
        sizes = f"n = {counts[0]:,} to {counts[-1]:,}; {len(self.scenarios)} scenarios"
        return f"<ScalingTestResult: {self.config.name}; {sizes}; {told}>"

    def _repr_html_(self) -> str:
        """Show the table in a notebook."""
        from html import escape

        import pandas as pd

        table = pd.DataFrame.from_dict(self.node_performance, orient="index").rename_axis("node_count")
        return f"<p>{escape(repr(self))}</p>{table.iloc[:, :10].to_html(max_rows=60)}"


def _performance(row: Row) -> dict[str, Any]:
    return {name: row[name] for name in _PERFORMANCE}


def _kilo(size: float | None) -> float | None:
    return None if size is None else size / _BYTES_OF_KB
