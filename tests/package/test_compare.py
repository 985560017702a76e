"""Two runs, scenario by scenario."""

import json
from dataclasses import dataclass
from functools import cache
from typing import Any

import pandas as pd
import pytest

import prsm_scale as ps
from prsm_scale.analysis.compare import DEFAULT_METRICS, compare
from prsm_scale.analysis.comparison import BETTER, Verdict
from prsm_scale.analysis.identity import identity
from prsm_scale.columns import SCENARIO_COLUMNS
from prsm_scale.metrics import infeasible_row
from prsm_scale.store import frame

LATENCIES = ("mean_latency_ms", "median_latency_ms", "p99_latency_ms")


@dataclass
class Rows:
    scenarios: pd.DataFrame


@cache
def simulated(nodes=4, seed=0, network="lan", **settings):
    return ps.simulate(nodes=nodes, seed=seed, network=network, operations=400, **settings).row


def run(*rows):
    return Rows(frame([{**row, "run_id": "r"} for row in rows], SCENARIO_COLUMNS))


def newer(row, **changes):
    """The row as another version would give it."""
    return row | {"version": "0.0.9", "scenario_id": "other"} | changes


def scaled(row, name, factor):
    return {key: value * factor for key, value in row.items() if key.startswith(name) and value is not None}


def without(row, *settings, **others):
    told = {key: value for key, value in json.loads(row["scenario"]).items() if key not in settings}
    return row | {"scenario": json.dumps(told | others)}


def verdicts(comparison):
    return {change.metric: str(change.verdict) for change in comparison.changes}


def only(comparison, metric):
    (change,) = (one for one in comparison.changes if one.metric == metric)
    return change


class TestSameVersionAndSeed:
    def test_equal_rows_are_unchanged(self):
        found = compare(run(simulated()), run(simulated() | {"wall_seconds": 99.0, "messages_per_second": 1.0}))
        assert set(verdicts(found).values()) == {"unchanged"}
        assert len(found.changes) == len(DEFAULT_METRICS)
        assert found.notes == ()

    def test_the_smallest_difference_is_told(self):
        row = simulated()
        found = compare(run(row), run(row | {"mean_latency_ms": row["mean_latency_ms"] * (1 + 1e-15)}))
        assert verdicts(found)["mean_latency_ms"] == "changed"
        assert only(found, "mean_latency_ms").why == "same version and seed differ"
        assert found.regressions == ()
        assert "1 column differs (mean_latency_ms)" in found.notes[0]

    def test_a_difference_beyond_the_tolerance_has_its_verdict_untested(self):
        row = simulated()
        for factor, verdict in ((1.03, "regression"), (0.97, "improvement")):
            found = compare(run(row), run(row | scaled(row, "mean_latency", factor)))
            assert verdicts(found)["mean_latency_ms"] == verdict
            assert only(found, "mean_latency_ms").p is None
        strict = compare(run(row), run(row | scaled(row, "mean_latency", 1.0001)), tolerance=0.0)
        assert len(strict.regressions) == 1

    def test_columns_that_are_no_metrics_count_too(self):
        found = compare(run(simulated()), run(simulated() | {"bottleneck": "link", "cpu_ms": 0.0}))
        assert "2 columns differ (cpu_ms, bottleneck)" in found.notes[0]

    def test_a_file_of_the_same_name_may_hold_other_values(self):
        found = compare(run(simulated()), run(simulated() | {"scenario_id": "other"}))
        assert "a file or table that they name has changed" in found.notes[0]


class TestDirections:
    @pytest.mark.parametrize("metric", ["saturation_ops_per_second", "message_count", "bytes_per_operation", "cpu_percent_max"])
    def test_of_what_needs_no_test(self, metric):
        row = simulated(7)
        for factor in (0.97, 0.985, 1.015, 1.03):
            found = only(compare(run(row), run(newer(row, **{metric: row[metric] * factor}))), metric)
            beyond = abs(factor - 1) > 0.02
            better = (factor > 1) == (BETTER[metric] == "higher")
            assert str(found.verdict) == ("unchanged" if not beyond else "improvement" if better else "regression")
            assert found.change == pytest.approx(factor - 1)

    def test_every_metric_has_a_better_way(self):
        assert set(DEFAULT_METRICS) <= set(BETTER)
        assert set(BETTER.values()) == {"lower", "higher"}
        assert all(BETTER[name] == "lower" for name in BETTER if name.endswith("_ms"))
        assert all(BETTER[name] == "higher" for name in BETTER if name.endswith("per_second"))


class TestMatching:
    def test_a_setting_at_its_default_may_be_unknown_to_one_version(self):
        row = simulated()
        old = without(row, "window", "client_site", "reply_quorum")
        assert identity(old) == identity(row)
        assert identity(without(row, future_setting=1)) != identity(row)
        assert len(compare(run(newer(old)), run(row)).changes) == len(DEFAULT_METRICS)

    def test_another_input_is_another_scenario(self):
        found = compare(run(simulated(4), simulated(7)), run(simulated(4), simulated(10)))
        assert [row["node_count"] for row in (*found.only_before, *found.only_after)] == [7, 10]
        assert {change.row["node_count"] for change in found.changes} == {4}

    def test_a_seed_that_both_have_is_compared_with_itself(self):
        found = compare(run(simulated(seed=1), simulated(seed=2)), run(simulated(seed=2), simulated(seed=3)))
        assert {change.seeds for change in found.changes} == {(2,)}
        assert len(found.only_before) == len(found.only_after) == 1

    def test_one_seed_each_tells_only_what_is_equal(self):
        found = verdicts(compare(run(simulated(seed=1)), run(simulated(seed=2))))
        assert found["message_count"] == "unchanged"
        assert found["mean_latency_ms"] == "not comparable"

    def test_nothing_in_common(self):
        assert compare(run(simulated(4)), run(simulated(7))).changes == ()


class TestWhatIsMissing:
    def test_a_value_on_one_side(self):
        found = compare(run(newer(simulated())), run(simulated() | {"p99_latency_ms": float("nan")}))
        assert only(found, "p99_latency_ms").why == "no value after"
        assert found.regressions == ()

    def test_a_value_on_neither_side(self):
        nothing = {"mean_latency_ms": None}
        assert verdicts(compare(run(newer(simulated() | nothing)), run(simulated() | nothing)))["mean_latency_ms"] == "unchanged"

    def test_an_end_of_an_interval(self):
        row = simulated()
        worse = newer(row | scaled(row, "p99", 2.0) | {"p99_latency_low_ms": None})
        found = only(compare(run(row), run(worse)), "p99_latency_ms")
        assert found.verdict == Verdict.NOT_COMPARABLE
        assert "too few operations" in found.why

    def test_zero_before(self):
        row = simulated() | {"message_count": 0.0}
        found = only(compare(run(newer(row)), run(row | {"message_count": 1.0})), "message_count")
        assert (found.verdict, found.change) == (Verdict.REGRESSION, None)

    def test_an_empty_run(self):
        assert compare(run(), run(simulated())).changes == ()


class TestTransitions:
    def test_feasible(self):
        scenario = ps.Scenario(nodes=4, network="lan", operations=400)
        full, empty = simulated(), infeasible_row(scenario, "needs 3 MB of memory", 3.0)
        found = {
            str(change.verdict): change.why
            for pair in ((full, empty), (empty, full), (empty, empty))
            for change in compare(*map(run, pair)).changes
        }
        assert found == {"regression": "needs 3 MB of memory", "improvement": "", "unchanged": "needs 3 MB of memory"}

    def test_limits(self):
        limited = simulated() | {"limits_passed": "memory_mb"}
        assert verdicts(compare(run(simulated()), run(limited)))["limits_passed"] == "regression"
        assert verdicts(compare(run(limited), run(simulated())))["limits_passed"] == "improvement"
        assert "limits_passed" not in verdicts(compare(run(limited), run(limited)))

    def test_a_limit_passed_by_more_is_none_passed_anew(self):
        by_less, by_more = (simulated() | {"limits_passed": f"max_memory_mb {value} > 20"} for value in (128.3, 131.0))
        assert "limits_passed" not in verdicts(compare(run(by_less), run(by_more)))

    def test_violations(self):
        violated = simulated() | {"safety_violations": 3}
        assert verdicts(compare(run(newer(simulated())), run(violated)))["safety_violations"] == "regression"
        assert (
            verdicts(compare(run(newer(violated)), run(violated | {"safety_violations": 9})))["safety_violations"] == "unchanged"
        )

    def test_no_operation_answered_any_more(self):
        dead: dict[str, Any] = simulated() | {"success_rate": 0.0, "success_low": 0.0, "success_high": 0.01}
        dead |= {name: None for name in dead if "latency" in name}
        found = verdicts(compare(run(newer(simulated())), run(dead)))
        assert found["success_rate"] == "regression"
        assert found["mean_latency_ms"] == "not comparable"


def test_placements_have_to_be_the_same_for_what_is_not_tested():
    row = simulated(byzantine_ratio=0.25)
    found = only(compare(run(row), run(newer(row, cpu_percent_max=9.0, replicates=9))), "cpu_percent_max")
    assert found.why == "not the same placements of faulty replicas"


def test_document_is_strict_and_complete():
    row = simulated()
    found = compare(run(newer(row), simulated(7)), run(row | scaled(row, "mean_latency", 1.5)))
    document = json.loads(json.dumps(found.document(), allow_nan=False))
    assert list(document) == ["tolerance", "level", "counts", "changes", "only_before", "only_after", "notes"]
    assert document["counts"] == {"regression": 1, "improvement": 0, "changed": 0, "unchanged": 9, "not comparable": 0}
    change = next(one for one in document["changes"] if one["metric"] == "mean_latency_ms")
    assert change["change"] == pytest.approx(0.5)
    assert change["change_low"] < 0.5 < change["change_high"]
    assert change["p"] < 1e-6
    assert list(change)[:5] == ["scenario_id", "node_count", "topology", "network_condition", "byzantine_ratio"]
    assert found.frame["verdict"].tolist().count("regression") == 1
    assert repr(found) == "<Comparison: 1 regression, 0 improvement, 0 changed, 9 unchanged, 0 not comparable>"


@pytest.mark.parametrize(
    ("request_", "match"),
    [
        ({"tolerance": -0.1}, "tolerance: -0.1 is not allowed"),
        ({"level": float("nan")}, "level: nan"),
        ({"metrics": ["p99_latency"]}, "did you mean 'p99_latency_ms'"),
        ({"metrics": ["bottleneck"]}, "metrics: 'bottleneck'"),
    ],
)
def test_bad_requests_are_told(request_, match):
    with pytest.raises(ps.UsageError, match=match):
        compare(run(simulated()), run(simulated()), **request_)
