"""Recommendations: verdicts, what cannot be tried, candidates with faults, and the command."""

import json

import networkx as nx
import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

import prsm_scale as ps
from prsm_scale.cli import main
from prsm_scale.errors import UsageError
from prsm_scale.experiments.candidates import load_candidates
from prsm_scale.experiments.measuring import Measured, Share
from prsm_scale.experiments.planning import MAX_MESSAGES
from prsm_scale.experiments.recommending import MIN_GAIN
from prsm_scale.experiments.results import Verdict, verdict_of
from prsm_scale.store import RunStore


def share(value, spread=0.0):
    relative = spread * np.resize([1.0, -1.0], 64)
    return Share(value, np.arange(64), np.arange(64), relative)


def measured(throughput=100.0, latency=50.0, low=0.95, high=1.0, spread=0.0, **row):
    settled = {"success_rate": (low + high) / 2, "success_low": low, "success_high": high} | row
    return Measured(settled, share(latency, spread), share(throughput))


class TestVerdicts:
    @pytest.mark.parametrize(
        ("after", "verdict", "why"),
        [
            (measured(throughput=106.0), "helps", ""),
            (measured(throughput=104.0), "no help", ""),
            (measured(latency=47.0), "helps", ""),
            (measured(latency=48.0), "no help", ""),
            (measured(latency=47.0, spread=0.2), "no help", ""),
            (measured(throughput=200.0, latency=53.0), "trade-off", "latency rises"),
            (measured(throughput=200.0, latency=52.0), "helps", ""),
            (measured(throughput=94.0, latency=20.0), "trade-off", "throughput falls"),
            (measured(throughput=90.0, latency=60.0), "no help", "throughput falls, latency rises"),
            (measured(throughput=200.0, low=0.5, high=0.9), "trade-off", "success falls"),
            (measured(throughput=200.0, low=0.9, high=0.96), "helps", ""),
            (measured(throughput=200.0, safety_violations=1), "trade-off", "two values were committed"),
            (measured(throughput=200.0, limits_passed="cpu_percent"), "trade-off", "over its limit in cpu_percent"),
            (measured(feasible=False, reason="needs 9 MB"), "no help", "needs 9 MB"),
        ],
    )
    def test_of_a_change(self, after, verdict, why):
        assert verdict_of(measured(), after, 0.05) == (verdict, why)

    def test_of_a_limit_that_is_passed_already(self):
        before, after = (measured(t, limits_passed=f"max_memory_mb {mb} > 2048") for t, mb in ((100.0, 2150.3), (200.0, 2160.1)))
        assert verdict_of(before, after, 0.05) == ("helps", "")

    def test_of_a_change_that_makes_it_work(self):
        silent = Measured({"success_rate": 0.0, "success_low": 0.0, "success_high": 0.06}, None, None)
        assert verdict_of(silent, measured(), 0.05)[0] is Verdict.HELPS
        assert verdict_of(silent, silent, 0.05)[0] is Verdict.NO_HELP
        full = Measured({"feasible": False, "reason": "needs 9 MB"}, None, None)
        assert verdict_of(full, measured(), 0.05) == (Verdict.HELPS, "as it is, the system needs 9 MB")


class TestNothingToTry:
    def test_a_profile_without_the_memory(self):
        run = ps.sweep(nodes=400, window=4096, profile="minimal", payload_bytes=4096, operations=16)
        assert not run.scenarios["feasible"].any()
        found = ps.recommend(run, only=["profile", "window"], max_messages=100).systems[0]
        assert "needs" in found.baseline["reason"]
        helping = found.of(Verdict.HELPS)
        assert helping and all(one.change["profile"] in ("standard", "heavy", "extreme") for one in helping)
        assert helping[0].sentence().endswith("MB for each replica)")
        own = ps.sweep(nodes=100, memory_mb=50.0, operations=16)
        (told,) = ps.recommend(own, only=["profile", "window"]).sentences()
        assert told.startswith("as it is, the system needs") and told.endswith("of 0 changes simulated at n = 100 none helps")

    def test_a_graph_that_is_not_in_the_result(self):
        run = ps.sweep(topology=nx.cycle_graph(8), operations=16)
        (told,) = ps.recommend(run).sentences()
        assert told.startswith("nothing to try, as the scenario cannot be made again: topology: 'graph'")

    def test_no_scenarios(self):
        empty = ps.sweep(nodes=4, operations=16).scenarios.iloc[:0]
        assert ps.recommend(empty).sentences() == ["nothing to try: the result has no scenarios"]

    @pytest.mark.parametrize("result", [3, pd.DataFrame({"node_count": [4]})])
    def test_something_else(self, result):
        with pytest.raises(UsageError, match="a run, or rows of scenarios; it lacks run_id"):
            ps.recommend(result)

    def test_more_faults_than_there_may_be(self):
        run = ps.sweep(nodes=10, byzantine_ratio=0.5, operations=16)
        (system,) = ps.recommend(run, only=["batch", "profile"]).systems
        assert {one.verdict for one in system.experiments} == {Verdict.NO_HELP}

    def test_clients_that_wait_are_left_to_the_rounds_engine(self):
        run = ps.sweep(nodes=4, engine="events", clients=2, network="lan", operations=32)
        (system,) = ps.recommend(run, only=["batch"]).systems
        assert system.note == "tried on engine rounds"
        assert all(one.under_load is None and one.simulated for one in system.experiments)
        assert system.baseline["engine"] == "rounds"


class TestRegions:
    NAMES = ("far", "one", "two", "hub")

    @pytest.fixture
    def matrix(self, tmp_path):
        """Round trips of 10 ms to the hub, 40 between one and two, 300 to far."""
        trips = {("one", "two"): 40, ("hub", "one"): 10, ("hub", "two"): 10}
        rows = [[trips.get((a, b), trips.get((b, a), 0 if a == b else 300)) for b in self.NAMES] for a in self.NAMES]
        text = "\n".join(",".join(map(str, [name, *row])) for name, row in zip(self.NAMES, rows, strict=True))
        file = tmp_path / "matrix.csv"
        file.write_text(f",{','.join(self.NAMES)}\n{text}\n")
        return str(file)

    def test_the_farthest_goes_and_the_hub_leads(self, matrix):
        how = {"environment": "multi_region_cloud", "latency_matrix": matrix, "jitter": "none", "rate": 0.0}
        run = ps.sweep(nodes=12, operations=64, **how)
        found = {one.words: one for one in ps.recommend(run, only=["regions", "primary"]).systems[0].experiments}
        near = found["only the 3 regions nearest to one another"]
        assert near.change["regions"] == ("one", "two", "hub") and near.verdict is Verdict.HELPS
        assert near.caveat == "replicas in 3 regions only: one, two, hub"
        assert len(found["only the 2 regions nearest to one another"].change["regions"]) == 2
        lead = found["first primary in hub"]
        assert lead.change["regions"] == ("hub", "one", "two", "far") and lead.verdict is Verdict.HELPS
        assert lead.latency.ratio < found["first primary in one"].latency.ratio


class TestCandidates:
    GOOD = '[[candidates]]\nfamily = "bandwidth"\nsetting = "bandwidth_mbps"\nvalues = [2.0, 4.0]\nwords = "{value} Mbit/s"\n'

    def test_those_shipped(self):
        families = {one.family for one in load_candidates()}
        asked = {"topology", "dissemination", "batch", "window", "profile", "authentication", "regions", "primary", "protocol"}
        assert families == asked

    def test_one_of_ones_own(self, tmp_path):
        file = tmp_path / "own.toml"
        file.write_text(self.GOOD)
        run = ps.sweep(nodes=10, bandwidth_mbps=1.0, rate=1.0, operations=16)
        (system,) = ps.recommend(run, candidates=file).systems
        assert {one.words: round(one.throughput.ratio, 6) for one in system.experiments} == {"4.0 Mbit/s": 4, "2.0 Mbit/s": 2}

    @pytest.mark.parametrize(
        ("old", "new", "told"),
        [
            ("bandwidth_mbps", "bandwith_mbps", "setting: 'bandwith_mbps' is not allowed: one of "),
            ("[2.0, 4.0]", '"biggest"', "values: 'biggest' is not allowed: a list, or one of others, larger"),
            ("[2.0, 4.0]", '"others"', "setting: 'bandwidth_mbps' is not allowed: with values 'others' one of topology"),
            ("values = [2.0, 4.0]", "times = [1]", "times: [1] is not allowed: whole numbers from 2"),
            ("values = [2.0, 4.0]", "", "values: None is not allowed: given, or times in its place"),
            ("words", "times = [2]\nwords", "is not allowed: given, or times in its place"),
            ("{value}", "{speed}", "words: '{speed} Mbit/s' is not allowed: text with value, "),
            ("words", 'caveats = { "2.0" = "{speed}" }\nwords', "caveats: '{speed}' is not allowed: text with value, "),
            ("values = [2.0, 4.0]", "times = [2]", "setting: 'bandwidth_mbps' is not allowed: one that is a number"),
            ("[2.0, 4.0]", "8", "values: 8 is not allowed: "),
            ("words", "word", "there is no such setting (did you mean 'words'?)"),
            ("words", "only = { place = 1 }\nwords", "only: 'place' is not allowed: one of "),
            ("[[candidates]]", "[[candidate]]", "a file of [[candidates]] tables alone, one or more"),
            ("[[candidates]]", "[[candidates]", "a file in TOML"),
        ],
    )
    def test_with_a_fault(self, tmp_path, old, new, told):
        file = tmp_path / "own.toml"
        file.write_text(self.GOOD.replace(old, new, 1))
        with pytest.raises(UsageError) as error:
            load_candidates(file)
        assert told in str(error.value)

    def test_a_value_that_a_scenario_may_not_have_is_not_applicable(self, tmp_path):
        file = tmp_path / "own.toml"
        file.write_text(self.GOOD.replace("2.0", "-2.0"))
        (system,) = ps.recommend(ps.sweep(nodes=4, rate=1.0, operations=16), candidates=file).systems
        (bad,) = system.of(Verdict.NOT_APPLICABLE)
        assert (bad.simulated, bad.throughput) == (False, None)
        assert bad.why == "bandwidth_mbps: -2.0 is not allowed: a number, more than 0"


class TestCommand:
    @pytest.fixture
    def runs(self, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        store = RunStore.create("results", {"nodes": [10, 20]}, run_id="done")
        for row in (ps.simulate(nodes=n, topology="star", rate=200, operations=32).row for n in (10, 20)):
            store.append(row)
        store.finish([])
        half = RunStore.create("results", {"nodes": [10, 20]}, run_id="half")
        half.append(ps.simulate(nodes=10, topology="star", operations=32).row)

    def invoke(self, *args, code=0):
        result = CliRunner().invoke(main, ["recommend", *args])
        assert result.exit_code == code, result.output
        assert "Traceback" not in result.output
        return result

    def test_what_helps(self, runs):
        told = self.invoke("done", "--only", "topology,profile").stdout
        assert "n = 20 is the first to fail" in told
        assert "topology fully_connected" in told and "profile heavy" not in told
        assert "--all shows them" in told
        assert max(map(len, told.splitlines())) <= 100
        told = self.invoke("results/done", "--only", "topology,profile,dissemination", "--all", "--nodes", "10").stdout
        assert "profile heavy" in told and "dissemination direct, not applicable: " in told

    def test_defaults_of_the_help_are_those_of_the_call(self):
        told = self.invoke("--help").stdout
        assert f"[{MIN_GAIN:g}]" in told and f"[{MAX_MESSAGES}]" in told

    def test_one_document(self, runs):
        found = json.loads(self.invoke("done", "--json", "--only", "topology").stdout)
        assert (found["run"], found["finished"], found["min_gain"]) == ("done", True, 0.05)
        best = found["systems"][0]["experiments"][0]
        assert best["words"] == "topology fully_connected"
        assert best["throughput"]["ratio"] > 2
        assert found["sentences"][0].startswith("helps: topology fully_connected: saturation ")

    def test_an_unfinished_run(self, runs):
        result = self.invoke("half", "--only", "profile")
        assert "unfinished; what it holds so far is looked at" in result.stderr
        assert "changes simulated" in result.stdout

    @pytest.mark.parametrize(
        ("args", "told"),
        [
            (["nosuch"], "a folder that holds a run"),
            (["done", "--only", "topolgy"], "did you mean 'topology'?"),
            (["done", "--nodes", "3"], "nodes: 3 is not allowed: a whole number, 4 or more"),
            (["done", "--min-gain", "1"], "min_gain: 1.0 is not allowed"),
            (["done", "--candidates", "none.toml"], "a TOML file that can be read"),
            (["done", "--latency", "p42"], "latency: 'p42' is not allowed"),
        ],
    )
    def test_bad_usage(self, runs, args, told):
        assert told in self.invoke(*args, code=2).stderr
