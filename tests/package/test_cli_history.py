"""The commands history and compare."""

import json
from functools import cache

import pytest
from click.testing import CliRunner

import prsm_scale as ps
from prsm_scale.cli import main
from prsm_scale.store import RunStore


@cache
def simulated(nodes):
    return ps.simulate(nodes=nodes, network="lan", operations=400).row


@pytest.fixture(autouse=True)
def results(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path / "results"


def put(results, run_id, version="0.1.0", factor=1.0, nodes=(4, 7), **sweep):
    store = RunStore.create(results, sweep, run_id=run_id, command="prsm-scale sweep")
    for n in nodes:
        row = simulated(n)
        moved = {key: value * factor for key, value in row.items() if key.startswith("mean_latency")}
        store.append(row | moved | {"version": version})
    return store.finish([])


def invoke(*args, code=0):
    result = CliRunner().invoke(main, list(args))
    assert result.exit_code == code, result.output
    assert "Traceback" not in result.output
    return result


class TestCompare:
    def test_nothing_changed(self, results):
        put(results, "a")
        put(results, "b")
        told = invoke("compare", "a", "b").stdout
        assert "0 regressions, 0 improvements, 0 changed, 20 unchanged, 0 not comparable" in told
        assert "mean_latency_ms" not in told
        assert "mean_latency_ms" in invoke("compare", "a", "b", "--all").stdout

    def test_a_regression_exits_with_3(self, results):
        put(results, "a", version="0.0.9")
        put(results, "b", factor=1.3)
        told = invoke("compare", "a", "b", code=3).stdout
        assert "2 regressions, 0 improvements" in told
        assert told.count("mean_latency_ms") == 2
        assert "+30.0% [" in told
        assert "2 improvements" in invoke("compare", "b", "a").stdout
        assert "20 unchanged" in invoke("compare", "a", "b", "--tolerance", "0.5").stdout
        assert "2 unchanged" in invoke("compare", "a", "b", "--metrics", "success_rate").stdout

    def test_json_is_one_strict_document(self, results):
        put(results, "a", version="0.0.9")
        put(results, "b", factor=1.3)
        document = json.loads(invoke("compare", "a", "b", "--json", code=3).stdout, parse_constant=pytest.fail)
        assert list(document)[:4] == ["before", "after", "tolerance", "level"]
        assert (document["before"]["run"], document["after"]["run"]) == ("a", "b")
        assert document["counts"]["regression"] == 2
        assert invoke("compare", "a", "b", "--json", code=3).stdout == json.dumps(document, indent=1, ensure_ascii=False) + "\n"

    def test_against_the_last(self, results):
        put(results, "a", factor=1.3)
        put(results, "b")
        put(results, "c", nodes=(4,))
        put(results, "d")
        told = invoke("compare", "d", "--against", "last").stdout
        assert told.startswith("before results/b,")
        first = invoke("compare", "a", "--against", "last", code=2)
        assert first.stderr == (
            "prsm-scale: error: against: 'last' is not allowed: only where results has an earlier run of the same configuration\n"
        )

    def test_same_version_and_seed_with_other_numbers(self, results):
        put(results, "a")
        put(results, "b", factor=1.001)
        told = invoke("compare", "a", "b").stdout
        assert "2 changed" in told
        assert "changed: same version" in told
        assert "same version and seed, yet 3 columns differ" in " ".join(told.split())
        invoke("compare", "a", "b", "--tolerance", "0", code=3)

    def test_scenarios_of_one_run_only(self, results):
        put(results, "a", nodes=(4, 7))
        put(results, "b", nodes=(7, 10))
        told = invoke("compare", "a", "b").stdout
        assert "only before: 1 scenario (n = 4)" in told
        assert "only after: 1 scenario (n = 10)" in told

    def test_single_files(self, results):
        stored = put(results, "a")
        (results / "scaling_test_demo.parquet").write_bytes((stored.path / "scenarios.parquet").read_bytes())
        assert "20 unchanged" in invoke("compare", "scaling_test_demo", "results/scaling_test_demo.parquet").stdout

    @pytest.mark.parametrize(
        ("args", "line"),
        [
            (("a",), "runs: 'a' is not allowed: two runs, or one with --against last"),
            (("a", "b", "--against", "last"), "runs: 'a b' is not allowed: one run with --against last"),
            (("a", "none"), "run: 'none' is not allowed: a folder that holds a run"),
            (("a", "b", "--tolerance", "2"), "tolerance: 2.0 is not allowed: a number from 0"),
            (("a", "b", "--tolerance", "nan"), "tolerance: nan is not allowed"),
            (("a", "b", "--metrics", "latency"), "metrics: 'latency' is not allowed: one of"),
            (("a", "c"), "runs: 'results/a, results/c' is not allowed: two runs that share a scenario"),
            (("a", "results/cut.parquet"), "run: 'results/cut.parquet' is not allowed: a whole Parquet file"),
        ],
    )
    def test_bad_input_is_one_line(self, results, args, line):
        stored = put(results, "a")
        put(results, "b")
        put(results, "c", nodes=(10,))
        (results / "cut.parquet").write_bytes((stored.path / "scenarios.parquet").read_bytes()[:-9])
        failed = invoke("compare", *args, code=2)
        assert failed.stderr.startswith(f"prsm-scale: error: {line}")
        assert failed.stderr.count("\n") == 1
        assert failed.stdout == ""


class TestHistory:
    def test_runs_and_trends(self, results):
        for at in range(6):
            put(results, f"r{at}", factor=1.0 + at / 50)
        told = invoke("history", "--metric", "mean_latency_ms").stdout
        assert all(f"r{at} " in told for at in range(6))
        assert "rising, worse" in told
        assert "6 runs; count: its scenarios; values: mean_latency_ms, least..greatest over them" in told
        document = json.loads(invoke("history", "--json", "--limit", "2").stdout, parse_constant=pytest.fail)
        assert [run["run"] for run in document["runs"]] == ["r4", "r5"]

    def test_damaged_runs_go_to_stderr(self, results):
        put(results, "a")
        (put(results, "b").path / "scenarios.parquet").write_bytes(b"")
        shown = invoke("history", "results")
        assert shown.stderr.startswith(
            "prsm-scale: left out: run: 'results/b/scenarios.parquet' is not allowed: a whole Parquet file"
        )
        assert shown.stderr.count("\n") == 1
        assert "1 run; count" in shown.stdout

    def test_what_is_left_out_is_told(self, results):
        put(results, "a")
        RunStore.create(results, {}, run_id="begun")
        told = invoke("history").stdout
        assert "1 without another finished run of the same scenarios" in told
        assert "1 left out, which hold no scenarios" in told

    def test_long_names_are_shown_whole(self, results):
        name = "scaling_test_comprehensive_scaling_20250623_160404"
        stored = put(results, name, name="comprehensive_scaling")
        (results / f"{name}.parquet").write_bytes((stored.path / "scenarios.parquet").read_bytes())
        lines = invoke("history", "--name", "comprehensive_scaling").stdout.splitlines()
        assert sum(line.startswith(f"{name} ") for line in lines) == 2
        assert max(map(len, lines)) <= 100
        assert invoke("history", "--name", "other").stdout == "no runs\n"

    def test_bad_input_is_one_line(self, results):
        assert "directory: 'none' is not allowed: a folder that holds runs" in invoke("history", "none", code=2).stderr
        put(results, "a")
        assert "did you mean 'p99_latency_ms'" in invoke("history", "--metric", "p99_latency", code=2).stderr
