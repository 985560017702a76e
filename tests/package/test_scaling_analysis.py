"""Analyses of whole tables: groups, efficiency, what is unknown, JSON, sentences, a real sweep."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner, Result

import prsm_scale as ps
from prsm_scale.analysis.scaling import Analysis, analyse, cpu_usage_trend, memory_usage_trend, scaling_efficiency
from prsm_scale.analysis.sweep_fits import fit_scenarios
from prsm_scale.analysis.thresholds import Thresholds
from prsm_scale.atomic import dumps
from prsm_scale.cli import main
from prsm_scale.errors import UsageError
from prsm_scale.store import RunStore
from tests.package.scaling_tables import NODES, UNKNOWN, noisy, table

N = np.array(NODES, dtype=float)


def only(scenarios: pd.DataFrame, **thresholds: Any) -> Analysis:
    (analysis,) = analyse(scenarios, Thresholds(**thresholds))
    return analysis


def pbft_like(**columns: Any) -> pd.DataFrame:
    """Throughput 50 000 / n and mean latency 200 + 0.3 n."""
    latency = noisy(200 + 0.3 * N, 0.002)
    laws = {
        "saturation_ops_per_second": noisy(5e4 / N, 0.01),
        "mean_latency_ms": latency,
        "mean_latency_low_ms": 0.99 * latency,
        "mean_latency_high_ms": 1.01 * latency,
        "memory_mb": 100 + N,
        "cpu_percent_max": N / 20,
    }
    return table(**(laws | columns))


class TestAnalyse:
    def test_each_group_alone(self) -> None:
        ring, star = pbft_like(topology="ring"), pbft_like(topology="star", success_rate=0.5)
        both = analyse(pd.concat([star, ring]).sample(frac=1, random_state=1))
        assert {one.axes["topology"] for one in both} == {"ring", "star"}
        by_name = {one.axes["topology"]: one for one in both}
        assert by_name["ring"].to_dict() == only(ring).to_dict()
        assert by_name["star"].recommended_max_nodes is None
        assert by_name["ring"].recommended_max_nodes == 1000

    def test_of_two_rows_of_an_n_the_later_counts(self) -> None:
        old = pbft_like(success_rate=0.0)
        assert only(pd.concat([old, pbft_like()])).to_dict() == only(pbft_like()).to_dict()

    def test_an_empty_table(self) -> None:
        assert analyse(table(())) == []

    def test_efficiency_names_its_basis(self) -> None:
        group = table((10, 20, 40), saturation_ops_per_second=[500.0, 800.0, 1000.0])
        one = only(group)
        assert scaling_efficiency(group) == one.scaling_efficiency == {10: 1, 20: 0.8, 40: 0.5}
        assert one.efficiency_basis == "saturation_ops_per_second"
        assert (one.mean_efficiency, one.efficiency_tier) == (pytest.approx(0.65), "good")

    def test_trends(self) -> None:
        group = table((20, 10), memory_mb=[200.0, 100.0], cpu_percent_max=[None, 5.0])
        assert memory_usage_trend(group) == [(10, 100), (20, 200)]
        assert cpu_usage_trend(group) == [(10, 5), (20, None)]
        assert only(group).cpu_usage_trend == ((10, 5), (20, None))

    def test_the_same_laws_as_the_stored_fits(self) -> None:
        """The table of fits and the analysis speak of one law, with one peak and one n of degradation."""
        group = pbft_like()
        one, fits = only(group), [fit for fit in fit_scenarios(group) if fit["chosen"]]
        throughput, latency = one.throughput_saturation_point, one.latency_degradation_point
        assert [fit["law"] for fit in fits] == [throughput.law, latency.law] == ["power", "linear"]
        assert fits[0]["exponent_low"] == throughput.parameters["exponent"].low
        for name in ("degraded", "explosion"):
            where = getattr(latency, name).node_count
            assert [fits[1][f"{name}_n{end}"] for end in ("", "_low", "_high")] == [where.value, where.low, where.high]
        assert (fits[0]["grid_n"], fits[1]["grid_n"]) == (throughput.grid_node_count, latency.degraded.grid_node_count)
        assert fits[0]["mean_efficiency"] == one.mean_efficiency

    def test_sentences(self) -> None:
        sentences = only(pbft_like(), max_latency_ms=260, latency="mean").sentences()
        for start in (
            "saturation throughput falls as n^-0.998 [-1.00, -0.995], from the first n on",
            "scaling efficiency on saturation_ops_per_second is ",
            "mean latency follows 200 [",
            "mean latency passes 1.5 times that of n = 10: by the law at n = 34",
            "mean latency passes 3 times that of n = 10: by the law at n = 1,3",
            "mean latency passes 260 ms: by the law at n = 199 [196, 202]; first at n = 320",
            "from n = 20 on saturation throughput is ",
            "primary_cpu binds at n = 10 to 1,000: 5,0",
            "recommended at most: n = 160; n = 320 fails: mean latency of ",
        ):
            assert any(line.startswith(start) for line in sentences), (start, sentences)
        assert not any("\n" in line or "nan" in line or "None" in line for line in sentences)


HARD: dict[str, pd.DataFrame] = {
    "one n": table((10,)),
    "two n": table((10, 20)),
    "nothing known": table(**UNKNOWN),
    "nothing fits": table(**UNKNOWN, feasible=False, reason="needs 9 MB", limits_passed="memory_mb"),
    "nothing succeeds": table(
        **(UNKNOWN | {"success_rate": 0.0, "success_low": 0.0, "success_high": 0.1, "saturation_ops_per_second": 0.0}),
        reason="2 voting replicas are fewer than the quorum of 3",
    ),
    "nothing limits": table(saturation_ops_per_second=None, utilisation=0.0, bottleneck=None),
    "nothing limits at first": table((10, 20), saturation_ops_per_second=[None, 5.0], utilisation=[0.0, 2.0]),
    "nothing takes time": table(mean_latency_ms=0.0, p99_latency_ms=0.0),
    "nothing is offered": table(offered_ops_per_second=0.0, utilisation=0.0),
    "half is known": pbft_like(mean_latency_ms=[*(200 + 0.3 * N[:4]), *[None] * 4], success_rate=[1.0] * 4 + [None] * 4),
    "wild": pbft_like(saturation_ops_per_second=noisy(np.full(8, 1e3), 3.0), mean_latency_ms=noisy(np.full(8, 1e3), 3.0, 1)),
}  # fmt: skip


@pytest.mark.parametrize("group", HARD.values(), ids=HARD)
@pytest.mark.parametrize("limit", [None, 120.0])
def test_what_is_hard_breaks_nothing(group: pd.DataFrame, limit: float | None) -> None:
    one = only(group, max_latency_ms=limit)
    document = one.to_dict()
    assert json.loads(dumps(document), parse_constant=pytest.fail) == document
    assert all(line and "nan" not in line and "None" not in line and "inf" not in line.split() for line in one.sentences())


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("one n", "one n alone tells nothing"),
        ("nothing known", "saturation throughput is not known"),
        ("nothing fits", "at n = 10 to 1,000 no result: needs 9 MB"),
        ("nothing succeeds", "at n = 10 to 1,000 no result: 2 voting replicas"),
        ("nothing limits at first", "at n = 10 nothing limits throughput"),
        ("half is known", "at n = 160 to 1,000 mean latency is not known"),
    ],
)
def test_what_is_unknown_is_told(name: str, told: str) -> None:
    assert any(told in line for line in only(HARD[name]).unknown)


class TestThresholds:
    def test_defaults(self) -> None:
        assert Thresholds() == Thresholds(0.95, 0.01, 0.5, 0.1, 1.5, 3.0, 80.0, 8192.0, 0.3, None, "p99")

    @pytest.mark.parametrize(
        ("field", "value", "allowed"),
        [
            ("min_success", 1.0, "a number of at least 0 and below 1"),
            ("min_success", -0.1, "a number of at least 0 and below 1"),
            ("min_success", True, "a number of at least 0 and below 1"),
            ("min_ops_per_node_per_second", float("inf"), "a number of at least 0"),
            ("explosion_factor", 1, "a number above 1"),
            ("max_latency_ms", 0, "a number above 0"),
            ("max_latency_ms", "fast", "a number above 0"),
            ("max_cpu_percent", None, "a number above 0"),
            ("max_memory_mb", float("nan"), "a number above 0"),
            ("latency", "p98", "one of mean, median, p95, p99 (did you mean 'p99'?)"),
            ("latency", ["mean"], "one of mean, median, p95, p99"),
        ],
    )
    def test_what_is_not_allowed(self, field: str, value: Any, allowed: str) -> None:
        with pytest.raises(UsageError) as caught:
            Thresholds(**{field: value})
        assert caught.value.lines[0].startswith(f"{field}: ")
        assert allowed in caught.value.lines[0]

    def test_all_faults_at_once(self) -> None:
        with pytest.raises(UsageError) as caught:
            Thresholds(min_success=2, low_gain=-1)
        assert [fault.field for fault in caught.value.faults] == ["min_success", "low_gain"]


def test_a_real_sweep() -> None:
    run = ps.sweep(nodes=[4, 8, 16, 32, 64], network="lan", profile="minimal", rate=150, operations=64, precision=0.1)
    (one,) = run.analysis
    throughput = run.scenarios["saturation_ops_per_second"].tolist()
    n = run.scenarios["node_count"].tolist()
    assert one.scaling_efficiency == {k: pytest.approx(x / throughput[0] / (k / 4)) for k, x in zip(n, throughput, strict=True)}
    enough = [k for k, x, success in zip(n, throughput, run.scenarios["success_rate"], strict=True) if x > 150 and success > 0.95]
    assert 4 <= max(enough) < 64
    assert one.recommended_max_nodes == max(enough)
    assert "offered_load" in one.recommendation.failed_conditions
    binding = [finding for finding in one.findings if finding.kind == "binding_resource"]
    assert sum((finding.node_counts for finding in binding), ()) == tuple(n)
    assert [finding.resource for finding in binding] == list(dict.fromkeys(run.scenarios["bottleneck"]))
    assert {"throughput", "overload", "cpu"} <= {finding.kind for finding in one.findings}
    json.loads(dumps(one.to_dict()), parse_constant=pytest.fail)


class TestCommand:
    @pytest.fixture
    def folder(self, tmp_path: Path) -> Path:
        scenarios = pbft_like(topology="ring")
        store = RunStore.create(tmp_path, {})
        for row in scenarios.astype(object).where(scenarios.notna(), None).to_dict("records"):
            store.append({str(name): value for name, value in row.items()})
        store.finish(fit_scenarios(store.scenarios))
        return store.path

    def show(self, folder: Path, *options: str) -> Result:
        result = CliRunner().invoke(main, ["show", str(folder), *options])
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
        return result

    def test_findings_stand_below_the_table(self, folder: Path) -> None:
        shown = self.show(folder).stdout.split("\nfindings:\n")[1]
        assert "throughput           from n = 20 on saturation throughput is " in shown
        assert "recommended at most  n = 1,000, the largest simulated" in shown

    def test_thresholds_are_options(self, folder: Path) -> None:
        shown = self.show(folder, "--max-latency-ms", "260", "--latency", "mean", "--min-throughput-share", "0.001").stdout
        assert "latency limit        from n = 320 on mean latency is " in shown
        assert "recommended at most  n = 160; n = 320 fails: mean latency of " in shown
        assert "throughput     " not in shown.split("findings:")[1]

    def test_json_carries_the_analysis(self, folder: Path) -> None:
        document = json.loads(self.show(folder, "--json", "--min-success", "0.999").stdout, parse_constant=pytest.fail)
        (one,) = document["analysis"]
        assert one["thresholds"]["min_success"] == 0.999
        assert one["axes"]["topology"] == "ring"
        assert one["scaling_efficiency"]["10"] == 1
        assert one["sentences"]

    def test_a_threshold_that_is_not_allowed(self, folder: Path) -> None:
        result = self.show(folder, "--min-success", "1.5", "--max-latency-ms", "x")
        assert result.exit_code == 2
        assert result.stderr == (
            "prsm-scale: error: min_success: 1.5 is not allowed: a number of at least 0 and below 1\n"
            "prsm-scale: error: max_latency_ms: 'x' is not allowed: a number above 0\n"
        )

    def test_a_run_over_the_load_has_no_use_for_them(self, tmp_path: Path) -> None:
        path = RunStore.create(tmp_path, {"loads": [0.5]}).path
        result = self.show(path, "--min-success", "0.9")
        assert result.exit_code == 2
        assert "only for a run over the number of nodes" in result.stderr
