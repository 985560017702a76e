"""What is measured of answers under a fault script, on answers that are made up."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from prsm_scale.columns import validate_row
from prsm_scale.fault_columns import FAULT_COLUMNS, TIMELINE_COLUMNS
from prsm_scale.fault_metrics import Observed, baseline_of, bin_edges, measure, outages, timeline
from prsm_scale.fault_schedule import Period, Schedule
from prsm_scale.view_change import Timing

T, L = 400.0, 100.0
TIMING = Timing(view_timeout_ms=T, client_timeout_ms=T, latency_ms=L)
FIRST, LAST, END = 5000.0, 9000.0, 20_000.0
LATENCY = 50.0
STEADY = np.arange(10.0, END + 1, 10.0)


def schedule(first: float = FIRST, last: float = LAST) -> Schedule:
    return Schedule(END, (Period("crash", "crash 0", first, last, (0,)),))


def seen(answers_ms: Any, first: float = FIRST, views_ms: tuple[float, ...] = ()) -> Observed:
    """Operations that are answered at these times, `LATENCY` after they start."""
    start = np.sort(np.asarray(answers_ms, np.float64)) - LATENCY
    size = start.size
    entered = np.array([0.0, *views_ms, *[math.inf] * (63 - len(views_ms))])
    return Observed(
        0, schedule(first), start, np.full(size, LATENCY), np.ones(size, np.uint8), np.zeros(size, np.int32),
        np.zeros(size, np.uint8), entered,
    )  # fmt: skip


def without(begin: float, end: float, answers: Any = STEADY) -> Any:
    """Answers but those between two times."""
    return answers[(answers <= begin) | (answers >= end)]


def measured(answers_ms: Any) -> dict[str, Any]:
    return measure(seen(answers_ms), TIMING)


def test_an_outage_is_measured_between_answers():
    row = measured(without(6000, 8000))
    assert (row["outages"], row["unavailable_ms"], row["longest_outage_ms"]) == (1, 2000.0, 2000.0)
    assert (row["recovered"], row["time_to_recover_ms"]) == (True, 2000.0)
    assert row["baseline_ops_per_second"] == pytest.approx(100.0)
    assert row["faulty_ops_per_second"] == pytest.approx(100.0 * 2000 / 4000, rel=0.01)
    assert (row["first_fault_ms"], row["last_fault_ms"]) == (FIRST, LAST)


def test_without_an_outage_there_is_nothing_to_recover_from():
    row = measured(STEADY)
    assert (row["outages"], row["unavailable_ms"]) == (0, 0.0)
    assert {"recovered", "time_to_recover_ms", "longest_outage_ms"}.isdisjoint(row)


def test_the_shortest_outage_is_longer_than_chance():
    baseline = baseline_of(STEADY, schedule(), TIMING)
    assert baseline is not None
    assert baseline.gap_ms == pytest.approx(math.log(100 * 0.1 * END) / 0.1)
    for gap, count in ((120.0, 0), (130.0, 1)):
        assert measured(without(6000, 6000 + gap))["outages"] == count


def test_gaps_of_the_baseline_are_no_outages_later():
    """Answers every ms in bunches of 100 ms, with gaps of 301 ms, which mean nothing; one of 701 ms does."""
    every_ms = np.arange(1.0, END + 1)
    bunches = every_ms[every_ms % 400 < 100]
    assert measured(bunches)["outages"] == 0
    assert measured(without(6099, 6800, bunches))["unavailable_ms"] == 701.0


def test_random_answers_rarely_look_like_an_outage():
    rng = np.random.default_rng(5)
    alarms = 0
    for _ in range(1000):
        answers = np.cumsum(rng.exponential(10.0, 2400))
        baseline = baseline_of(answers, schedule(), TIMING)
        assert baseline is not None
        alarms += bool(len(outages(answers, baseline, schedule())))
    assert alarms <= 25  # 10 are to be expected at most


def test_throughput_has_to_be_back_at_nine_tenths():
    """At half the throughput from 8 to 12 s: the 2 T from t on hold 90 % of their answers at t = 11.84 s."""
    half = STEADY[(STEADY < 8000) | (STEADY >= 12_000) | (STEADY % 20 == 0)]
    row = measured(without(6000, 8000, half))
    assert (row["outages"], row["unavailable_ms"]) == (1, 2000.0)
    assert row["time_to_recover_ms"] == pytest.approx(11_840 - 6000, abs=20)


def test_a_burst_of_what_waited_is_no_recovery():
    burst = 8000 + np.arange(1, 300) / 100
    slow = STEADY[(STEADY <= 6000) | ((STEADY > 8000) & (STEADY % 30 == 0))]
    row = measured(np.concatenate([slow, burst]))
    assert (row["outages"], row["recovered"], row["time_to_recover_ms"]) == (1, False, None)
    row = measured(np.concatenate([without(6000, 8000), burst]))
    assert (row["recovered"], row["time_to_recover_ms"]) == (True, pytest.approx(2000.0))


def test_an_outage_before_recovery_belongs_to_the_one_before():
    row = measured(without(9000, 9500, without(6000, 8000)))
    assert (row["outages"], row["unavailable_ms"], row["longest_outage_ms"]) == (2, 2500.0, 2000.0)
    assert row["time_to_recover_ms"] == 3500.0


def test_of_several_recoveries_the_longest_counts():
    row = measured(without(13_000, 14_000, without(6000, 8000)))
    assert (row["outages"], row["unavailable_ms"], row["time_to_recover_ms"]) == (2, 3000.0, 2000.0)


def test_what_ends_with_the_test_never_recovers():
    for last in (6000.0, 18_500.0):
        row = measured(without(last, math.inf))
        assert (row["outages"], row["unavailable_ms"], row["recovered"]) == (1, END - last, False)
    row = measured(without(6000, 18_500))  # back, but not for long enough to tell
    assert (row["unavailable_ms"], row["recovered"], row["time_to_recover_ms"]) == (12_500.0, False, None)


def test_answers_after_the_test_count_as_answers_but_end_no_outage():
    late = np.append(STEADY[STEADY <= 6000], END + 500)
    row = measured(late)
    assert (row["answered"], row["operations"], row["unavailable_ms"]) == (601, 601, 14_000.0)


@pytest.mark.parametrize(("first", "known"), [(0.0, False), (250.0, False), (320.0, True)])
def test_a_baseline_needs_twenty_answers(first, known):
    row = measure(seen(without(6000, 8000), first), TIMING)
    assert ("baseline_ops_per_second" in row, "outages" in row) == (known, known)
    checked = validate_row({**row, "run_id": "", **dict.fromkeys(("script", "scenario_id", "fault_script", "scenario"), ""),
                            "node_count": 4, "offered_ops_per_second": 1.0}, FAULT_COLUMNS)  # fmt: skip
    assert (checked["unavailable_ms"] is not None) is known


def test_views():
    row = measure(seen(STEADY, views_ms=(4000.0, 7000.0, 6500.0, END + 1)), TIMING)
    assert (row["view_changes"], row["time_to_new_view_ms"]) == (3, 1500.0)
    assert measured(STEADY)["time_to_new_view_ms"] is None


def test_operations_are_told_apart_by_what_became_of_them():
    one = seen(STEADY)
    one.ended[100:110], one.latency_ms[100:110] = 2, math.inf
    one.views[105:130] = 2
    one.violated[3] = 1
    one.latency_ms[520:720] = 500.0  # these start in the faulty time, which is 400 operations long
    row = measure(one, TIMING, batch=3)
    assert (row["operations"], row["answered"], row["failed"], row["late"]) == (2000, 1990, 10, 20)
    assert row["safety_violations"] == 1
    assert (row["baseline_median_latency_ms"], row["faulty_median_latency_ms"]) == (LATENCY, pytest.approx(275.0, abs=225.1))
    assert (row["baseline_p99_latency_ms"], row["faulty_p99_latency_ms"]) == (LATENCY, 500.0)
    assert row["baseline_ops_per_second"] == pytest.approx(3 * 100.0 * 480 / 490)


def test_bins():
    assert bin_edges(1000, 400).tolist() == [0.0, 400.0, 800.0, 1000.0]
    assert bin_edges(1000, 500).tolist() == [0.0, 500.0, 1000.0]
    assert bin_edges(0.3, 0.1).size == 4
    assert bin_edges(100, 5000).tolist() == [0.0, 100.0]


def test_a_timeline_adds_up():
    one = seen(without(6000, 8000), views_ms=(7000.0,))
    one.ended[100:110], one.latency_ms[100:110] = 2, math.inf
    rows = timeline(one, 1500.0, batch=2)
    assert [validate_row({**row, "run_id": "", "script": ""}, TIMELINE_COLUMNS)["begin_ms"] for row in rows] == [
        1500.0 * k for k in range(14)
    ]
    assert sum(row["started"] for row in rows) == one.start_ms.size - int((one.start_ms < 0).sum())
    assert sum(row["answered"] for row in rows) == one.start_ms.size - 10
    assert sum(row["failed"] for row in rows) == 10
    assert [row["views_entered"] for row in rows] == [0] * 4 + [1] + [0] * 9
    assert rows[8]["ops_per_second"] == 200.0
    assert rows[13]["ops_per_second"] == pytest.approx(200.0, rel=0.02)
    assert (rows[4]["answered"], rows[8]["median_latency_ms"]) == (1, LATENCY)
    assert measured(STEADY)["operations"] == 2000
    silent = timeline(seen(STEADY[STEADY < 6000]), 1500.0)
    assert (silent[-1]["median_latency_ms"], silent[-1]["ops_per_second"]) == (None, 0.0)
