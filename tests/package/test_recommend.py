"""Recommendations where theory says what helps, and what a recommendation may rest on."""

from dataclasses import replace

import numpy as np
import pytest

import prsm_scale as ps
from prsm_scale.analysis.thresholds import Thresholds
from prsm_scale.atomic import dumps
from prsm_scale.experiments import measuring, recommending
from prsm_scale.experiments.measuring import effect, measure
from prsm_scale.experiments.results import Verdict
from prsm_scale.protocols import PBFT, PROTOCOLS
from prsm_scale.resources import size_inputs

INF = float("inf")


def one(only, nodes=10, **settings):
    """What comes of the families `only` on one system."""
    run = ps.sweep(threads=1, nodes=nodes, operations=64, **settings)
    (system,) = ps.recommend(run, only=only, threads=1).systems
    return system, run.scenarios.iloc[-1]


def by_words(system):
    return {experiment.words: experiment for experiment in system.experiments}


@pytest.fixture
def nothing_known(monkeypatch):
    monkeypatch.setattr(measuring, "_known", type(measuring._known)(512))


class TestWhereTheoryKnows:
    def test_a_window_that_binds_helps_until_the_next_bound(self):
        system, row = one(["window"], nodes=4, delay="constant(50)", free_cpu=True, bandwidth_mbps=5.0, window=4, rate=1.0)
        assert row["bottleneck"] == "pipeline_window"
        others = [row[name] for name in row.index if name.startswith("util_") and name != "util_window"]
        next_bound = row["util_window"] / np.nanmax(others)
        assert 4 < next_bound < 16
        gains = {words: found.throughput.ratio for words, found in by_words(system).items()}
        # the row's flight is of operations that wait for others, a little
        assert gains == pytest.approx({"window 16": 4.0, "window 64": next_bound}, rel=2e-3)
        assert [found.verdict for found in system.experiments] == [Verdict.HELPS] * 2
        assert system.experiments[0].bottleneck_after == "primary_egress"

    def test_where_computing_binds_cores_help_by_their_ratio(self):
        costs = "verify_ms=1,sign_ms=1"
        system, row = one(["profile"], network="lan", bandwidth_mbps=INF, window=1024, costs=costs, profile="light")
        assert row["bottleneck"].endswith("_cpu")
        gains = {words: found.throughput.ratio for words, found in by_words(system).items()}
        assert gains == pytest.approx({"profile standard": 2.0, "profile heavy": 4.0, "profile extreme": 8.0})
        assert system.experiments[0].words == "profile extreme"
        assert "16 CPU cores and 8192 MB" in system.experiments[0].caveat

    def test_where_uplinks_bind_cores_do_not_help(self):
        system, row = one(["profile"], bandwidth_mbps=1.0, rate=1.0)
        assert row["bottleneck"] == "primary_egress"
        assert {found.verdict for found in system.experiments} == {Verdict.NO_HELP}
        assert {found.throughput.ratio for found in system.experiments} == {1.0}
        (told,) = system.sentences()
        assert told == "of 2 changes simulated at n = 10 none helps"

    @pytest.mark.parametrize("payload_bytes", [1, 20_000])
    def test_batches_share_votes_but_not_payloads(self, payload_bytes):
        narrow = {"nodes": 10, "bandwidth_mbps": 1.0, "rate": 0.1, "free_cpu": True, "payload_bytes": payload_bytes}
        system, row = one(["batch"], **narrow)
        assert row["bottleneck"] == "primary_egress"

        def primary_sends(batch):
            """Bytes of a proposal: to each backup its pre-prepare and commit, to clients a reply each."""
            inputs = size_inputs(ps.Scenario(**narrow, batch=batch), flooded=False)
            size = {step.name: step.message_bytes(inputs) for step in PBFT.rounds}
            return 9 * (size["pre_prepare"] + size["commit"]) + batch * size["reply"]

        expected = 8 * primary_sends(1) / primary_sends(8)
        found = by_words(system)["batch 8"]
        assert found.throughput.ratio == pytest.approx(expected, rel=1e-3)
        assert (expected > 2.5) == (payload_bytes == 1)
        # on so slow a line eight payloads take their time
        assert found.why == "latency rises"

    def test_a_line_between_all_replicas_beats_a_ring(self):
        system, _ = one(["topology"], nodes=20, topology="ring", delay="constant(10)", free_cpu=True, bandwidth_mbps=INF, rate=0)
        full = by_words(system)["topology fully_connected"]
        assert full.verdict is Verdict.HELPS
        # without loss, computing or bandwidth an operation on a complete graph is five hops, less those to a client's own replica
        assert full.latency.after == pytest.approx(50.0, rel=0.06)
        assert full.change == {"dissemination": "auto", "topology": "fully_connected"}

    def test_a_later_protocol_joins_by_itself(self, monkeypatch):
        votes = PBFT.rounds[2]
        assert votes.name == "prepare"
        quick = replace(PBFT, name="quick", rounds=(*PBFT.rounds[:2], *PBFT.rounds[3:]))
        monkeypatch.setitem(PROTOCOLS, "quick", quick)
        system, _ = one(["protocol"], nodes=7, delay="constant(50)", free_cpu=True, bandwidth_mbps=INF, rate=0)
        (found,) = system.experiments
        assert (found.words, found.verdict) == ("protocol quick", Verdict.HELPS)
        assert found.latency.before - found.latency.after == pytest.approx(50.0, abs=0.5)
        assert "tolerates f = 2 byzantine faults" in found.caveat


class TestCommonRandomNumbers:
    CHANGE = (("batch", 64), ("bandwidth_mbps", 10.0))

    def pair(self, operations, seed):
        scenario = ps.Scenario(nodes=10, rate=0.0, operations=operations, seed=seed)
        return measure(scenario).latency, measure(scenario.but(**dict(self.CHANGE))).latency

    def test_pairs_are_known_far_better_than_strangers(self):
        before, after = self.pair(64, 1)
        paired = effect(before, after)
        strangers = effect(before, replace(after, keys=after.keys + 2**40))
        assert (paired.basis, strangers.basis) == ("paired", "independent")
        assert (strangers.high - strangers.low) > 3 * (paired.high - paired.low)
        assert strangers.ratio == pytest.approx(paired.ratio)

    def test_shared_draws_are_what_makes_pairs_tight(self):
        before, after = self.pair(64, 1)
        _, other = self.pair(64, 2)
        tight, loose = effect(before, after), effect(before, other)
        assert loose.basis == "paired"
        assert (loose.high - loose.low) > 3 * (tight.high - tight.low)

    @pytest.mark.parametrize("operations", [16, 64])
    def test_intervals_hold_what_many_operations_say(self, operations):
        inside = 0
        for seed in range(40):
            found, truth = effect(*self.pair(operations, seed)), effect(*self.pair(2048, seed)).ratio
            inside += found.low <= truth <= found.high
        # of 40 intervals at 95 %, 31 or fewer hold the truth once in a hundred thousand times
        assert inside > 31

    def test_intervals_of_throughput_where_the_window_binds(self):
        inside = 0
        for seed in range(40):
            wide, narrow = (
                ps.Scenario(nodes=10, rate=0.0, operations=count, seed=seed, free_cpu=True, window=4) for count in (2048, 32)
            )
            truth, found = (
                effect(*(measure(x).throughput for x in (one, one.but(jitter_fraction=0.5)))) for one in (wide, narrow)
            )
            assert found.basis == "paired"
            inside += found.low <= truth.ratio <= found.high
        assert inside > 31

    def test_what_is_not_drawn_is_exact(self):
        scenario = ps.Scenario(nodes=10, rate=0.0, operations=16, bandwidth_mbps=1.0)
        found = effect(measure(scenario).throughput, measure(scenario.but(bandwidth_mbps=2.0)).throughput)
        assert found.basis == "exact"
        assert found.low == found.ratio == found.high == pytest.approx(2.0)

    def test_placements_of_faulty_replicas_give_an_interval(self):
        scenario = ps.Scenario(nodes=16, rate=0.0, operations=64, topology="mesh", byzantine_ratio=0.2)
        found = effect(measure(scenario).throughput, measure(scenario.but(authentication="mac")).throughput)
        assert found.basis == "paired"
        assert found.low < found.ratio < found.high


@pytest.fixture(scope="module")
def run():
    """A mesh that does 2000 operations a second at n = 10, and not at 20."""
    return ps.sweep(threads=1, nodes=[10, 20, 40, 80], topology="mesh", network="lan", rate=2000, byzantine_ratio=[0, 0.1])


class TestWhatIsReported:
    def test_nothing_that_was_not_simulated(self, run, monkeypatch, nothing_known):
        seen = {}
        monkeypatch.setattr(recommending, "measure", lambda scenario: seen.setdefault(scenario.scenario_id, measure(scenario)))
        (system,) = ps.recommend(run).systems
        assert len(system.experiments) > 15
        alone = ps.Scenario(nodes=20, topology="mesh", network="lan", rate=0.0, operations=64)
        for found in system.experiments:
            if found.throughput is None:
                assert found.verdict in (Verdict.NO_HELP, Verdict.NOT_APPLICABLE)
                continue
            changed = seen[alone.but(**found.change).scenario_id].row
            assert found.throughput.after == changed["saturation_ops_per_second"]
            assert found.success_after == changed["success_rate"]
            if found.under_load:
                loaded = seen[alone.but(**found.change, rate=2000.0).scenario_id].row
                assert found.under_load.success_after == loaded["success_rate"]

    def test_at_the_smallest_n_that_fails(self, run):
        (system,) = ps.recommend(run, only=["profile"]).systems
        assert (system.node_count, system.first_failing_node_count, system.failed_conditions) == (20, 20, ("offered_load",))
        assert system.ranked_by == "throughput"
        assert ps.recommend(run, only=["profile"], nodes=33).systems[0].node_count == 33

    def test_at_a_smaller_n_where_that_costs_too_much(self, run):
        (system,) = ps.recommend(run, only=["profile"], max_messages=20_000).systems
        assert (system.node_count, system.operations) == (10, 16)
        assert system.note == "tried at n = 10, as n = 20 takes more than 20,000 messages"

    def test_by_latency_where_latency_alone_fails(self, run):
        limits = Thresholds(max_latency_ms=1.0, latency="mean")
        table = run.scenarios.assign(offered_ops_per_second=1.0)
        (system,) = ps.recommend(table, only=["topology", "batch"], thresholds=limits).systems
        assert (system.ranked_by, system.node_count, system.failed_conditions) == ("latency", 10, ("latency",))
        gains = [found.latency.ratio for found in system.of(Verdict.HELPS)]
        assert gains == sorted(gains) and len(gains) > 1

    def test_the_same_on_any_number_of_threads(self, run, monkeypatch):
        told = []
        for threads in (1, 3):
            monkeypatch.setattr(measuring, "_known", type(measuring._known)(512))
            found = ps.recommend(run, threads=threads).to_dict()
            for system in found["systems"]:
                system["baseline"] = {key: value for key, value in system["baseline"].items() if "second" not in key}
            told.append(dumps(found))
        assert told[0] == told[1]

    def test_what_was_simulated_once_is_not_again(self, run, monkeypatch):
        ps.recommend(run)
        monkeypatch.setattr(measuring, "_simulated", lambda scenario: pytest.fail(f"simulated again: {scenario}"))
        ps.recommend(run)

    def test_systems_with_few_faulty_replicas_stand_for_those_with_more(self, run):
        found = ps.recommend(run, only=["profile"])
        assert [system.axes["byzantine_ratio"] for system in found.systems] == [0.0]
        assert found.note.startswith("systems with the smallest share of faulty replicas stand for")

    def test_plain_data_and_a_frame(self, run):
        found = ps.recommend(run)
        assert '"verdict": "helps"' in dumps(found.to_dict(), indent=1)
        frame = found.frame
        assert len(frame) == sum(one.simulated for one in found.systems[0].experiments)
        assert set(frame["verdict"]) <= {"helps", "trade-off", "no help"}
        assert (frame["throughput_low"] <= frame["throughput_ratio"]).all()

    def test_progress_comes_to_its_end(self, run, nothing_known):
        seen = []
        ps.recommend(run, progress=seen.append)
        assert [one.done for one in seen] == list(range(1, len(seen) + 1))
        assert all(one.done <= one.total for one in seen)
        assert seen[-1].done == seen[-1].total

    def test_several_systems_are_named(self):
        run = ps.sweep(nodes=10, network=["lan", "wan"], operations=16)
        assert [line.split(":")[0] for line in ps.recommend(run, only=["window"]).sentences()] == [
            "network_condition lan",
            "network_condition wan",
            "network_condition wan",
        ]


class TestTogether:
    def test_a_combination_has_to_beat_its_parts(self):
        system, _ = one(["batch", "window"], nodes=16, topology="hierarchical", rate=1.0)
        both = by_words(system)["batch 64, window 1024"]
        assert (both.verdict, both.why) == (Verdict.NO_HELP, "no better than batch 64 alone")

    def test_the_best_of_two_families(self):
        system, _ = one(["topology", "batch"], nodes=20, topology="star", rate=1.0)
        best = system.experiments[0]
        assert (best.words, best.family) == ("batch 8, topology fully_connected", "batch + topology")
        assert best.change == {"dissemination": "auto", "topology": "fully_connected", "batch": 8}
        parts = [by_words(system)[words] for words in best.words.split(", ")]
        assert best.throughput.ratio > max(part.throughput.ratio for part in parts)
        # a batch that has to fill up is not simulated, so its latency under load is not told
        assert (best.under_load.ops_per_second, best.under_load.latency) == (1.0, None)
        assert best.caveat.startswith(
            "to fill a batch takes 8,000 ms at the offered load, which is not in the latency; every pair"
        )
