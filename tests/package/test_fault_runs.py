"""Fault scripts on the events engine: what is known of their effects, and the results from Python."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

import prsm_scale as ps
from prsm_scale.columns import arrow_schema
from prsm_scale.errors import UsageError
from prsm_scale.fault_columns import FAULT_COLUMNS, TIMELINE_COLUMNS
from prsm_scale.fault_runs import FaultRun, plan_scripts, read_script, run_scripts
from prsm_scale.fault_scripts import load_fault_scripts

D = 10.0
"""Delay of every message in ms, where nothing else takes time."""
CONSTANT: dict[str, Any] = {
    "network": "ideal", "delay": f"constant({D:g})", "free_cpu": True, "bandwidth_mbps": math.inf, "loss": 0.0,
    "rate": 400.0, "replicates": 2, "client_site": 2,
}  # fmt: skip
LATENCY = 5 * D
T = 4 * LATENCY


def run(*events: dict[str, Any], nodes: int = 4, duration_s: float = 4.0, **settings: Any) -> FaultRun:
    script = ps.FaultScript(name="test", duration_s=duration_s, events=list(events))
    return ps.fault_run(CONSTANT | {"nodes": nodes} | settings, script)


def answers_between(one: FaultRun, begin_ms: float, end_ms: float) -> int:
    return sum(int(((seen.answers_ms > begin_ms) & (seen.answers_ms <= end_ms)).sum()) for seen in one.seen)


def test_time_outs_are_those_of_the_closed_form():
    one = run({"action": "crash", "replicas": 3, "at_s": 1})
    assert one.timing.view_timeout_ms == pytest.approx(T, rel=1e-6)
    for seen in one.seen:
        assert seen.latency_ms == pytest.approx(LATENCY, rel=1e-6)


@pytest.mark.parametrize("more", [{}, {"view_timeout_ms": 300.0, "client_timeout_ms": 77.0}], ids=["derived", "given"])
@pytest.mark.parametrize("nodes", [4, 7])
def test_a_primary_crash_takes_as_long_as_it_must(nodes, more):
    """From the first request that meets no primary: the client's time-out, its request to all, T, VIEW-CHANGE, NEW-VIEW together
    with the proposals, and what follows a proposal."""
    crash_ms = 1000.0
    one = run({"action": "crash", "replicas": "primary", "at_s": crash_ms / 1000}, nodes=nodes, **more)
    view_ms, client_ms = more.get("view_timeout_ms", T), more.get("client_timeout_ms", T)
    for seen, row in zip(one.seen, one.rows, strict=True):
        reached = seen.start_ms + D < crash_ms
        last = seen.start_ms[reached][-1] + LATENCY
        back = seen.start_ms[~reached][0] + client_ms + D + view_ms + D + 4 * D
        assert row["unavailable_ms"] == pytest.approx(back - last, abs=1e-3)
        assert row["time_to_recover_ms"] == pytest.approx(back - last, abs=1e-3)
        assert row["time_to_new_view_ms"] == pytest.approx(back - 4 * D - crash_ms, abs=1e-3)
        waited = ~reached & (seen.start_ms + D < back - 4 * D)
        assert row["late"] == np.count_nonzero(seen.views[seen.answered] > 0) >= np.count_nonzero(waited) - 1
        assert (row["outages"], row["view_changes"], row["failed"], row["safety_violations"]) == (1, 1, 0, 0)
        assert seen.latency_ms[reached] == pytest.approx(LATENCY, abs=1e-3)
        assert seen.latency_ms[-20:] == pytest.approx(LATENCY, abs=1e-3)


@pytest.mark.parametrize("nodes", [4, 7, 16])
def test_a_cascade_is_borne_up_to_f(nodes):
    borne = run({"action": "crash", "replicas": "last:f", "at_s": 1, "over_s": 1}, nodes=nodes)
    for seen, row in zip(borne.seen, borne.rows, strict=True):
        assert (row["answered"], row["outages"], row["view_changes"]) == (seen.start_ms.size, 0, 0)
    f = (nodes - 1) // 3
    too_many = run({"action": "crash", "replicas": "last:f+1", "at_s": 1, "over_s": 1}, nodes=nodes, operation_timeout_ms=3000.0)
    stops_ms = 1000.0 + 1000.0 * f / (f + 1)
    assert answers_between(too_many, 1000.0, stops_ms) > 0.8 * len(too_many.seen) * 0.4 * (stops_ms - 1000.0)
    assert answers_between(too_many, stops_ms + 2 * D, 1e9) == 0
    for seen, row in zip(too_many.seen, too_many.rows, strict=True):
        assert row["failed"] == np.count_nonzero(seen.start_ms + 3 * D > stops_ms)  # commits that were not sent in time
        assert (row["recovered"], row["time_to_recover_ms"]) == (False, None)
        assert row["unavailable_ms"] == pytest.approx(4000.0 - stops_ms, abs=50)


@pytest.mark.parametrize("nodes", [4, 7, 16])
def test_two_halves_answer_nothing(nodes):
    one = run({"action": "partition", "groups": "half", "at_s": 1, "until_s": 1.5}, nodes=nodes, duration_s=6, client_site=None)
    assert answers_between(one, 1000.0 + LATENCY, 1500.0) == 0
    for row in one.rows:
        assert row["unavailable_ms"] > 450.0 and row["recovered"] and row["failed"] == 0


def test_who_is_cut_off_alone_is_not_missed():
    one = run({"action": "partition", "replicas": [3], "at_s": 1, "until_s": 2})
    assert all((row["outages"], row["late"]) == (0, 0) for row in one.rows)
    alone = run({"action": "partition", "replicas": [3], "at_s": 1, "until_s": 2}, client_site=3)
    assert answers_between(alone, 1000.0 + LATENCY, 2000.0) == 0


def test_flash_loss_slows_but_loses_nothing():
    settings = {"nodes": 16, "network": "wan", "rate": 50.0, "replicates": 2}
    one = ps.fault_run(settings, "flash_loss")
    for row in one.rows:
        assert (row["failed"], row["safety_violations"]) == (0, 0)
        assert row["faulty_p99_latency_ms"] > 1.3 * row["baseline_p99_latency_ms"]
        assert row["faulty_ops_per_second"] > 0.7 * row["baseline_ops_per_second"]


@pytest.mark.parametrize(
    ("event", "slower_ms"),
    [
        ({"action": "hold", "replicas": "primary", "hold_ms": 30}, 30.0),
        ({"action": "hold", "replicas": "primary"}, T - LATENCY),
        ({"action": "delay", "delay_ms": 7}, 5 * 7.0),
        ({"action": "delay", "delay_latencies": 0.2}, 5 * 0.2 * LATENCY),
    ],
)
def test_what_comes_late_makes_operations_slower_by_as_much(event, slower_ms):
    one = run(event | {"at_s": 1, "until_s": 3}, rate=100.0, client_timeout_ms=10_000.0)
    for seen in one.seen:
        inside = (seen.start_ms > 1000.0) & (seen.start_ms + LATENCY + slower_ms < 3000.0)
        assert seen.latency_ms[inside] == pytest.approx(LATENCY + slower_ms, rel=1e-3)
        outside = (seen.start_ms + LATENCY < 1000.0) | (seen.start_ms > 3000.0)
        assert seen.latency_ms[outside] == pytest.approx(LATENCY, rel=1e-3)


def test_a_slow_cpu_computes_as_much_more_slowly():
    """Of a primary alone, its own jobs; without lines and travel times latency is computing."""
    settings = {"free_cpu": False, "delay": "constant(0.001)", "rate": 20.0, "duration_s": 20, "view_timeout_ms": 5000.0}
    base = run({"action": "slow", "replicas": "primary", "factor": 1.0001, "at_s": 10}, **settings)
    slow = run({"action": "slow", "replicas": "all", "factor": 5, "at_s": 10}, **settings)
    for before, after in zip(base.seen, slow.seen, strict=True):
        late, early = before.start_ms > 10_000.0, before.start_ms < 9900.0
        assert after.latency_ms[early] == pytest.approx(before.latency_ms[early])
        assert np.median(after.latency_ms[late]) == pytest.approx(5 * np.median(before.latency_ms[late]), rel=0.02)


def test_who_recovers_counts_again():
    """f replicas are down all the time, and one more for a while."""
    one = run(
        {"action": "crash", "replicas": [3], "at_s": 1, "until_s": 2.5},
        {"action": "crash", "replicas": [2], "at_s": 2},
        {"action": "recover", "replicas": [2], "at_s": 2.2},
        duration_s=8,
        client_site=1,
    )
    assert answers_between(one, 2000.0 + LATENCY, 2200.0) == 0
    assert answers_between(one, 6000.0, 8000.0) > 0.8 * 2 * 2000 * 0.4
    assert all(row["failed"] == 0 for row in one.rows)


def test_scripts_share_their_draws_until_the_first_fault():
    events = {"action": "crash", "replicas": "random:1", "at_s": 2}
    one, other = (
        run(events, network="wan", delay=None),
        run({"action": "loss", "loss": 0.5, "at_s": 2}, network="wan", delay=None),
    )
    for a, b in zip(one.seen, other.seen, strict=True):
        assert np.array_equal(a.start_ms, b.start_ms)
        early = a.start_ms + np.maximum(a.latency_ms, b.latency_ms) < 2000.0
        assert early.sum() > 100 and np.array_equal(a.latency_ms[early], b.latency_ms[early])


def test_random_replicas_differ_between_replicates():
    one = run({"action": "crash", "replicas": "random:2", "at_s": 1}, nodes=40, replicates=6, rate=40.0, duration_s=1.2)
    assert len({seen.schedule.periods[0].replicas for seen in one.seen}) > 3


def test_results_depend_on_neither_threads_nor_company():
    scenario = ps.Scenario(**CONSTANT, nodes=4)
    scripts = load_fault_scripts()[:3]
    together = run_scripts(scenario, scripts, threads=2)
    alone = run_scripts(scenario, scripts[2:], threads=1)
    assert [one.script.name for one in together] == [one.name for one in scripts]
    assert together[2].rows == alone[0].rows
    assert together[2].timeline.equals(alone[0].timeline)


def test_replicas_that_are_faulty_all_the_time_count_with_those_that_crash():
    """Of seven replicas two may fail: a silent one and one that crashes, but not two that crash."""
    for crashed, answered in (("6", True), ("5,6", False)):
        ids = [int(one) for one in crashed.split(",")]
        one = run(
            {"action": "crash", "replicas": ids, "at_s": 1}, nodes=7, placement=[3], duration_s=2, operation_timeout_ms=2000.0
        )
        assert (answers_between(one, 1000.0 + LATENCY, 2000.0) > 0) is answered


def test_a_closed_loop_asks_again_when_it_is_answered():
    one = run({"action": "crash", "replicas": "primary", "at_s": 1}, clients=8)
    for seen, row in zip(one.seen, one.rows, strict=True):
        assert seen.start_ms.max() < 4000.0
        assert row["baseline_ops_per_second"] == pytest.approx(8 * 1000 / LATENCY, rel=0.1)
        assert (row["outages"], row["recovered"]) == (1, True)
        # clients that wait ask nothing
        assert np.count_nonzero((seen.start_ms > 1000.0 + LATENCY) & (seen.start_ms < 1000.0 + T)) == 0


def test_a_run_tells_its_results():
    one = run({"action": "crash", "replicas": "primary", "at_s": 1}, duration_s=2.5)
    assert repr(one).startswith("<FaultRun: n = 4, fully_connected, ideal; test; down ")
    assert repr(one).endswith(f"; 0 of {sum(row['operations'] for row in one.rows)} operations lost>")
    metrics, timeline = one.metrics, one.timeline
    assert list(metrics.columns) == [column.name for column in FAULT_COLUMNS]
    assert metrics["replicate"].tolist() == [0, 1]
    assert list(timeline.columns) == [column.name for column in TIMELINE_COLUMNS]
    assert timeline["started"].sum() == metrics["operations"].sum()
    assert one.bin_ms == pytest.approx(T / 4, rel=1e-6)
    mean = one.mean("unavailable_ms")
    values = metrics["unavailable_ms"]
    assert mean == (pytest.approx(values.mean()), pytest.approx(12.706 * values.std(ddof=1) / 2**0.5, rel=1e-3))
    assert one.mean("longest_outage_ms") is not None and run({"action": "loss", "loss": 0.001, "at_s": 1}).mean(
        "longest_outage_ms"
    ) is None  # fmt: skip


def test_a_run_is_stored_with_what_made_it(tmp_path):
    one = run({"action": "crash", "replicas": "primary", "at_s": 1}, duration_s=2.0)
    folder = one.save(tmp_path)
    assert sorted(file.name for file in folder.iterdir()) == ["fault_timeline.parquet", "faults.parquet"]
    for name, columns, rows in (
        ("faults.parquet", FAULT_COLUMNS, one.rows),
        ("fault_timeline.parquet", TIMELINE_COLUMNS, one.bins),
    ):
        table = pq.read_table(folder / name)
        assert table.schema.equals(arrow_schema(columns))
        assert table.num_rows == len(rows)
        assert set(table.column("run_id").to_pylist()) == {folder.name}
    stored = pq.read_table(folder / "faults.parquet").to_pylist()[0]
    assert ps.FaultScript.model_validate_json(stored["fault_script"]) == one.script
    assert ps.Scenario.model_validate_json(stored["scenario"]).scenario_id == stored["scenario_id"]


def test_the_figure_shows_faults_throughput_and_views(tmp_path):
    one = run({"action": "crash", "replicas": "primary", "at_s": 1, "until_s": 1.5}, duration_s=3.0)
    figure = one.plot(tmp_path / "a.svg")
    one.plot(tmp_path / "b.svg")
    assert (tmp_path / "a.svg").read_bytes() == (tmp_path / "b.svg").read_bytes() != b""
    above, below = figure.get_axes()
    drawn = {line.get_gid(): line for line in above.lines}
    middles, rates = np.asarray(drawn["throughput"].get_xdata()), np.asarray(drawn["throughput"].get_ydata())
    expected = one.timeline.groupby("begin_ms")["ops_per_second"].mean()
    assert rates == pytest.approx(expected.to_numpy())
    assert middles[:-1] * 1000 == pytest.approx(expected.index.to_numpy()[:-1] + one.bin_ms / 2)
    assert sorted(drawn["views"].get_xdata()) == pytest.approx(sorted(float(seen.views_ms[0]) / 1000 for seen in one.seen))
    for panel in (above, below):
        (shade,) = [patch for patch in panel.patches if patch.get_gid() == "fault"]
        assert (shade.get_x(), shade.get_x() + shade.get_width()) == pytest.approx((1.0, 1.5))
    assert "crash primary" in [text.get_text() for text in above.texts]
    assert {line.get_gid() for line in below.lines} == {"median", "p99"}


def test_a_script_is_a_name_a_file_a_table_or_itself(tmp_path):
    file = tmp_path / "mine.toml"
    file.write_text('[[events]]\naction = "loss"\nloss = 0.1\nat_s = 5\n')
    script = read_script(file)
    assert (script.name, read_script(str(file)), read_script(script)) == ("mine", script, script)
    assert read_script({"name": "mine", "events": [{"action": "loss", "loss": 0.1, "at_s": 5}]}) == script
    assert read_script("cascade").name == "cascade"
    with pytest.raises(UsageError, match="script: 'cascad' is not allowed: one of primary_crash"):
        read_script("cascad")
    file.write_text('[[scripts]]\nname = "{}"\n[[scripts.events]]\naction = "loss"\nloss = 0.1\nat_s = 5\n'.format("a"))
    assert read_script(file).name == "a"


@pytest.mark.parametrize(
    ("settings", "line"),
    [
        ({"rate": 0.0}, "rate: 0.0 is not allowed: more than 0, or clients in its place"),
        ({"memory_mb": 1.0}, "profile: 'standard' is not allowed: one with enough memory; the scenario needs"),
        ({"nodes": 5000}, "nodes: 5000 is not allowed: at most 4096 with engine events"),
        ({"duration_s": 0.5}, "script 'test': event 1: at_s: 1.0 is not allowed: a time before the end, 0.5"),
    ],
)
def test_what_cannot_be_run_is_one_line(settings, line):
    script = ps.FaultScript(name="test", events=[{"action": "crash", "replicas": [3], "at_s": 1}])
    with pytest.raises(UsageError) as caught:
        plan_scripts(ps.Scenario(**({"nodes": 4} | settings)), [script])
    (told,) = caught.value.lines
    assert told.startswith(line)
