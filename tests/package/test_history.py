"""Runs that gather in a folder."""

import json
from functools import cache

import numpy as np
import pytest

import prsm_scale as ps
from prsm_scale.analysis.history import HEADLINES, Direction, earlier, history
from prsm_scale.report.history import sparkline
from prsm_scale.store import RunStore, load
from prsm_scale.table_runs import write_tables

NOISE = (1.0, 1.004, 0.997, 1.001, 0.998, 1.003, 0.999, 1.002)


@cache
def simulated(nodes=4, seed=0):
    return ps.simulate(nodes=nodes, seed=seed, network="lan", operations=400).row


def put(folder, run_id, *rows, factor=1.0, finished=True, **sweep):
    """A stored run of rows whose latencies are so many times what they are."""
    store = RunStore.create(folder, sweep, run_id=run_id, command="prsm-scale sweep --network lan")
    for row in rows or (simulated(4), simulated(7)):
        store.append(row | {key: value * factor for key, value in row.items() if "latency" in key and value is not None})
    return store.finish([]) if finished else load(store.path)


def put_all(folder, factors, **sweep):
    for at, factor in enumerate(factors):
        put(folder, f"r{at:02}", factor=factor, **sweep)


def directions(found):
    return {trend.metric: str(trend.direction) for trend in found.trends}


class TestRuns:
    def test_are_listed_by_time(self, tmp_path):
        put_all(tmp_path, NOISE[:3])
        found = history(tmp_path)
        assert [run.run_id for run in found.runs] == ["r00", "r01", "r02"]
        told = found.runs[0].document(HEADLINES)
        assert (told["version"], told["scenarios"], told["seeds"]) == (ps.__version__, 2, [0])
        assert told["configuration"] == "sweep --network lan"
        assert told["metrics"]["success_rate"] == [1.0, 1.0]
        assert told["wall_seconds"] == sum(simulated(n)["wall_seconds"] for n in (4, 7))
        assert found.frame["run"].tolist() == ["r00", "r01", "r02"]

    def test_by_name_and_the_newest(self, tmp_path):
        put(tmp_path, "a", name="one")
        put(tmp_path, "b", name="other")
        put(tmp_path, "c", name="one")
        assert [run.run_id for run in history(tmp_path, name="one").runs] == ["a", "c"]
        assert [run.run_id for run in history(tmp_path, limit=2).runs] == ["b", "c"]
        assert history(tmp_path, name="none").runs == ()

    def test_single_files_are_runs(self, tmp_path):
        stored = put(tmp_path / "made", "inner", name="demo")
        (tmp_path / "scaling_test_demo.parquet").write_bytes((stored.path / "scenarios.parquet").read_bytes())
        (run,) = history(tmp_path).runs
        assert (run.name, run.stored.path.name) == ("demo", "scaling_test_demo.parquet")

    def test_damaged_ones_are_told_in_a_line_each(self, tmp_path):
        put_all(tmp_path, NOISE[:3])
        (tmp_path / "r01" / "scenarios.parquet").write_bytes(b"PAR1")
        (tmp_path / "foreign.parquet").write_bytes(b"")
        found = history(tmp_path)
        assert [run.run_id for run in found.runs] == ["r00", "r02"]
        assert len(found.damaged) == 2
        assert "r01" in found.damaged[1]

    def test_other_kinds_are_counted(self, tmp_path):
        put(tmp_path, "run")
        write_tables(tmp_path, {}, {"faults.parquet": ((), [])})
        RunStore.create(tmp_path, {}, run_id="begun")
        (tmp_path / "plots").mkdir()
        (tmp_path / ".hidden.parquet").write_bytes(b"")
        found = history(tmp_path)
        assert (len(found.runs), found.others, found.damaged) == (1, 2, ())

    def test_a_folder_of_runs_is_needed(self, tmp_path):
        stored = put(tmp_path, "run")
        for place in (stored.path, tmp_path / "none", stored.path / "run.json"):
            with pytest.raises(ps.UsageError, match="a folder that holds runs"):
                history(place)
        with pytest.raises(ps.UsageError, match="did you mean 'p99_latency_ms'"):
            history(tmp_path, ["p99_latency"])


class TestTrends:
    def test_rising_and_falling(self, tmp_path):
        put_all(tmp_path, np.array(NOISE) * np.linspace(1.0, 1.1, 8))
        found = history(tmp_path)
        assert directions(found) == {
            "saturation_ops_per_second": "steady",
            "mean_latency_ms": "rising",
            "p99_latency_ms": "rising",
            "success_rate": "steady",
        }
        trend = found.trends[1]
        assert trend.way == "worse"
        assert trend.change == pytest.approx(0.1, abs=0.02)
        assert trend.configuration == "n = 4..7, fully_connected, lan, 2 scenarios"

    def test_better(self, tmp_path):
        put_all(tmp_path, np.linspace(1.1, 1.0, 8), name="demo")
        trend = history(tmp_path, ["mean_latency_ms"]).trends[0]
        assert (trend.direction, trend.way, trend.configuration) == (Direction.FALLING, "better", "demo")

    @pytest.mark.parametrize(
        "factors", [(1.0,) * 8, NOISE, (*NOISE[:7], 3.0), (5.0, *NOISE[:7]), (1.0,) * 4 + (9.0,) + (1.0,) * 3]
    )
    def test_constants_noise_and_single_outliers_are_steady(self, tmp_path, factors):
        put_all(tmp_path, factors)
        assert set(directions(history(tmp_path)).values()) == {"steady"}

    def test_a_slope_that_may_be_chance_is_no_trend(self, tmp_path):
        put_all(tmp_path, (1.0, 1.2, 0.9, 1.3, 1.1, 1.25))
        assert directions(history(tmp_path, ["mean_latency_ms"])) == {"mean_latency_ms": "no trend"}

    def test_few_runs_are_told(self, tmp_path):
        put_all(tmp_path, (1.0, 1.1, 1.2, 1.3))
        assert set(directions(history(tmp_path)).values()) == {"too few runs"}

    def test_only_runs_of_the_same_scenarios_make_a_series(self, tmp_path):
        put_all(tmp_path, NOISE[:2])
        put(tmp_path, "r2", simulated(4))
        put(tmp_path, "r3", simulated(4, seed=5), simulated(7, seed=5))
        put(tmp_path, "r4", finished=False)
        assert {trend.runs for trend in history(tmp_path).trends} == {("r00", "r01", "r3")}

    def test_missing_values_and_zeros(self, tmp_path):
        blank = {"p99_latency_ms": None, "success_rate": 0.0}
        for at in range(5):
            put(tmp_path, f"r{at}", simulated(4) | (blank if at else {}), simulated(7) | blank)
        found = directions(history(tmp_path, ["p99_latency_ms", "success_rate", "mean_latency_ms"]))
        assert found == {"p99_latency_ms": "no values", "success_rate": "no values", "mean_latency_ms": "steady"}


class TestEarlier:
    def test_the_latest_of_the_same_scenarios(self, tmp_path):
        put_all(tmp_path, NOISE[:3])
        put(tmp_path, "r02b", simulated(4))
        put(tmp_path, "r02c", finished=False)
        newest = put(tmp_path, "r03", simulated(4, seed=5), simulated(7, seed=5))
        put(tmp_path, "r04")
        assert earlier(newest).path.name == "r02"

    def test_the_latest_of_the_same_name(self, tmp_path):
        put(tmp_path, "r0", simulated(4), name="demo")
        put(tmp_path, "r1", name="other")
        assert earlier(put(tmp_path, "r2", simulated(4), simulated(10), name="demo")).path.name == "r0"

    def test_there_may_be_none(self, tmp_path):
        first = put(tmp_path, "r0")
        put(tmp_path, "r1")
        with pytest.raises(ps.UsageError, match="an earlier run of the same configuration"):
            earlier(first)


def test_document_is_strict(tmp_path):
    put_all(tmp_path, NOISE[:5])
    document = json.loads(json.dumps(history(tmp_path).document(), allow_nan=False))
    assert list(document) == ["runs", "trends", "damaged", "others"]
    assert document["trends"][1]["runs"] == ["r00", "r01", "r02", "r03", "r04"]
    assert np.median(document["trends"][1]["levels"]) == pytest.approx(1.0)


def test_noise_within_the_tolerance_draws_no_mountains():
    assert set(sparkline(NOISE)) <= set("▃▄▅")
    assert sparkline([1.0, 1.0, 3.0]) == "▁▁█"
    assert sparkline([]) == ""
