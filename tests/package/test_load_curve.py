"""Latency over the load: the fitted law, its knee, rows of fits, and the systems that are simulated for them."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import nnls

import prsm_scale as ps
from prsm_scale.analysis.curves import _nonnegative_least_squares
from prsm_scale.analysis.fits import fit_queueing
from prsm_scale.analysis.load_curve import fit_load_curves, with_loads
from prsm_scale.columns import FIT_COLUMNS, SCENARIO_COLUMNS, validate_rows
from prsm_scale.errors import SweepInterrupted, UsageError
from prsm_scale.load_runs import LoadCurve, run_loads
from prsm_scale.loads import LoadSweep, parse_loads
from prsm_scale.store import frame

LOADS = np.array(parse_loads("0.05..0.98"))
SAMPLES = {"string": "x", "bool": True, "int32": 4, "int64": 7, "float64": 0.5}


def latency(base, scale, load):
    return base + scale * load / (2 * (1 - load))


# The law


@pytest.mark.parametrize(("base", "scale"), [(400.0, 6.0), (15.0, 0.5), (1.0, 1.0), (1.0, 20.0)])
def test_exact_points_give_the_law_they_come_from(base, scale):
    fit = fit_queueing(LOADS, latency(base, scale, LOADS))
    assert fit.parameters == pytest.approx({"base_latency_ms": base, "wait_scale_ms": scale}, rel=1e-6)
    assert fit.flags == ()
    assert fit.knee.value == pytest.approx(1 / (1 + np.sqrt(scale / (2 * base))), rel=1e-6)
    assert fit.knee_latency_ms == pytest.approx(latency(base, scale, fit.knee.value), rel=1e-6)
    assert fit.predict(LOADS) == pytest.approx(latency(base, scale, LOADS), rel=1e-6)


@pytest.mark.parametrize(("base", "scale"), [(15.0, 0.5), (1.0, 2.0)])
def test_intervals_cover_what_was_planted(base, scale):
    """In 400 repetitions; 95 % would miss 20 of them, four standard deviations more are 37."""
    rng = np.random.default_rng(0)
    truth = np.array([base, scale, 1 / (1 + np.sqrt(scale / (2 * base)))])
    covered, found = np.zeros(3), []
    for _ in range(400):
        fit = fit_queueing(LOADS, latency(base, scale, LOADS) * np.exp(0.03 * rng.standard_normal(len(LOADS))))
        ends = np.array([*fit.intervals.values(), (fit.knee.low, fit.knee.high)])
        covered += (ends[:, 0] <= truth) & (truth <= ends[:, 1])
        found.append(fit.values)
    assert np.all(covered >= 363), covered
    assert np.all(covered <= 397), covered
    assert np.mean(found, axis=0) == pytest.approx(truth[:2], rel=0.01)


def test_known_sampling_errors_widen_the_intervals():
    values = latency(15.0, 0.5, LOADS)
    narrow, wide = (fit_queueing(LOADS, values, np.full(len(LOADS), error)) for error in (0.001, 0.02))
    widths = [np.diff(list(fit.intervals.values()))[:, 0] for fit in (narrow, wide)]
    assert widths[1] == pytest.approx(20 * widths[0], rel=0.1)


@given(base=st.floats(0.1, 1000), scale=st.floats(1e-3, 1000))
def test_the_knee_is_where_power_is_greatest(base, scale):
    (knee,) = fit_queueing([0.5], [1.0]).law.knee(np.array([[base, scale]]))
    load = np.linspace(1e-5, 1 - 1e-5, 100_001)
    power = load / latency(base, scale, load)
    assert knee == pytest.approx(load[power.argmax()], abs=2e-5)


def test_knees_of_textbook_queues():
    """M/M/1: 1/2 (Kleinrock 1979); M/D/1: 2 - sqrt 2."""
    knee = fit_queueing([0.5], [1.0]).law.knee
    assert knee(np.array([[3.0, 6.0], [3.0, 3.0], [3.0, 0.0], [0.0, 3.0]])) == pytest.approx([0.5, 2 - np.sqrt(2), 1.0, 0.0])


def test_latency_that_does_not_grow_has_no_knee_below_capacity():
    fit = fit_queueing(LOADS, 100 - LOADS)
    assert fit.parameters["wait_scale_ms"] == 0
    assert fit.flags == ("wait_scale_ms_at_bound",)
    assert (fit.knee.value, fit.knee.high) == (1, 1)


def test_latency_that_is_all_waiting_has_its_knee_at_nothing():
    fit = fit_queueing(LOADS, LOADS**1.2 / (1 - LOADS))
    assert fit.parameters["base_latency_ms"] == pytest.approx(0, abs=1e-9)
    assert "base_latency_ms_at_bound" in fit.flags
    assert fit.knee.value == pytest.approx(0, abs=1e-4)


def test_a_curve_of_another_shape_is_a_poor_fit():
    assert "poor_fit" in fit_queueing(LOADS, 10 * np.exp(3 * LOADS)).flags


def test_few_points_and_loads_out_of_range():
    assert fit_queueing([0.5, 0.5], [1.0, 1.0]).parameters == {}
    assert fit_queueing([0.5], [1.0]).knee.value is None
    assert fit_queueing([0.5], [1.0]).knee_latency_ms is None
    assert "too_few_points" in fit_queueing(LOADS[:4], latency(1, 1, LOADS[:4])).flags
    for bad in (1.0, 0.0):
        with pytest.raises(UsageError):
            fit_queueing([0.5, bad], [1.0, 2.0])


@given(seed=st.integers(0, 2**32 - 1))
def test_least_squares_without_negative_factors(seed):
    rng = np.random.default_rng(seed)
    terms, targets = rng.random((6, 2)), rng.normal(0.3, 1.0, (4, 6))
    found = _nonnegative_least_squares(terms, targets)
    assert found == pytest.approx(np.array([nnls(terms, target)[0] for target in targets]), abs=1e-9)


# Rows


def records(nodes=4, capacity=1000.0, loads=LOADS, base=15.0, scale=0.5, **columns):
    """Scenarios of one system: the idle one, and one for each load; from load 1 on the backlog grows."""
    rates = np.concatenate([[0.0], np.asarray(loads) * capacity])
    blank = {column.name: SAMPLES[column.dtype] for column in SCENARIO_COLUMNS}
    rows = []
    for rate in rates:
        load = rate / capacity
        mean = latency(base, scale, load) if load < 1 else 5000.0
        row = {
            "node_count": nodes,
            "offered_ops_per_second": rate,
            "saturation_ops_per_second": capacity if rate == 0 else 2 * capacity,
        }
        row |= {"operations_per_second": min(rate, capacity), "success_rate": 1.0, "mean_latency_ms": mean}
        rows.append(blank | row | {"mean_latency_low_ms": 0.999 * mean, "mean_latency_high_ms": 1.001 * mean} | columns)
    return rows


def fitted(*rows):
    return validate_rows(fit_load_curves(frame([row for group in rows for row in group], SCENARIO_COLUMNS)), FIT_COLUMNS)


def test_the_capacity_is_that_of_the_idle_system():
    table = with_loads(frame([*records(loads=[0.3, 1.2]), *records(7, 100.0, [0.3])], SCENARIO_COLUMNS))
    assert table["load"].tolist() == [0.0, 0.3, 1.2, 0.0, 0.3]
    assert table["capacity_ops_per_second"].tolist() == [1000.0] * 3 + [100.0] * 2


def test_one_row_for_each_system():
    first, second, third = records(4), records(7, base=30.0, scale=2.0), records(4, seed=8, scale=4.0)
    shuffled = [row for rows in zip(first, second, third, strict=True) for row in rows]
    one, two, three = fitted(shuffled)
    assert [(row["nodes_min"], row["nodes_max"], row["seed"]) for row in (one, two, three)] == [(4, 4, 7), (7, 7, 7), (4, 4, 8)]
    assert [row["wait_scale_ms"] for row in (one, two, three)] == pytest.approx([0.5, 2.0, 4.0], rel=1e-6)
    assert (two["quantity"], two["law"], two["chosen"], two["points"]) == ("mean_latency_ms", "queueing", True, 10)
    assert (two["offered_ops_per_second"], two["capacity_ops_per_second"]) == (0.0, 1000.0)
    assert (two["load_min"], two["load_max"]) == (0.05, 0.98)
    knee = 1 / (1 + np.sqrt(2.0 / 60.0))
    assert two["knee_load"] == pytest.approx(knee, rel=1e-6)
    assert two["knee_load_low"] < knee < two["knee_load_high"]
    assert two["knee_ops_per_second"] == pytest.approx(1000 * knee, rel=1e-6)
    assert two["knee_latency_ms"] == pytest.approx(latency(30.0, 2.0, knee), rel=1e-6)
    assert two["grid_knee_load"] == LOADS[np.argmax(LOADS / latency(30.0, 2.0, LOADS))]
    assert two["flags"] == ""


def test_overload_and_the_idle_system_are_left_out_of_the_fit():
    idle, *loaded = records(loads=[*LOADS, 1.0, 1.5])
    (row,) = fitted([idle | {"mean_latency_ms": 1.0}, *loaded])
    assert (row["points"], row["load_max"]) == (10, 0.98)
    assert row["base_latency_ms"] == pytest.approx(15.0)


def test_flags_say_what_to_beware_of():
    idle, *loaded = records(loads=LOADS[:6])
    loaded[0] |= {"mean_latency_ms": None, "mean_latency_low_ms": None, "mean_latency_high_ms": None}
    loaded[1]["success_rate"] = 0.9
    (row,) = fitted([idle, *loaded])
    assert row["flags"] == "missing_points,unanswered_operations,knee_outside_data"
    assert row["points"] == 5


def test_a_system_without_capacity_or_latency_has_no_curve():
    assert fitted(records(loads=[1.5])) == []
    assert fitted(records(loads=[], saturation_ops_per_second=None)) == []
    assert fitted([]) == []
    (row,) = fitted(records(loads=[0.5]))
    assert (row["base_latency_ms"], row["knee_load"], row["grid_knee_load"], row["chosen"]) == (None, None, 0.5, False)


# Systems


@pytest.fixture(scope="module")
def md1() -> LoadCurve:
    """One queue that matters, the primary's uplink, on which each operation puts its proposals at once: M/D/1."""
    return ps.load_curve(
        nodes=[4, 7], loads="0.1..0.9/6,1.5", network="lan", delay="constant(5)", loss=0.0, free_cpu=True,
        bandwidth_mbps=100.0, payload_bytes=100_000, operations=3200,
    )  # fmt: skip


def test_waiting_for_one_line_grows_as_in_an_md1_queue(md1):
    for fit in md1.fits.itertuples():
        service_ms = 1000 / fit.capacity_ops_per_second
        idle = md1.scenarios[(md1.scenarios["node_count"] == fit.nodes_min) & (md1.scenarios["offered_ops_per_second"] == 0)]
        assert fit.wait_scale_ms == pytest.approx(service_ms, rel=0.1)
        assert fit.base_latency_ms == pytest.approx(idle["mean_latency_ms"].item(), rel=0.05)
        assert fit.flags == ""


def test_points_are_the_loads_asked_for(md1):
    points = md1.points
    assert points["load"].tolist() == [*parse_loads("0.1..0.9/6,1.5")] * 2
    assert points["offered_ops_per_second"].to_numpy() == pytest.approx(points["load"] * points["capacity_ops_per_second"])
    assert (len(md1.scenarios), len(points), len(md1.fits)) == (16, 14, 2)
    below = points[points["load"] < 1]
    assert below["operations_per_second"].to_numpy() == pytest.approx(below["offered_ops_per_second"], rel=0.05)
    above = points[points["load"] > 1]
    assert np.all(above["operations_per_second"] < 1.1 * above["capacity_ops_per_second"])


def results(curve):
    return curve.scenarios.drop(columns=["run_id", "wall_seconds", "messages_per_second"])


def test_the_settings_and_the_stored_run_give_the_same_curve(tmp_path):
    curve = ps.load_curve(nodes=4, loads="0.2,0.6", network="lan", operations=64)
    again = ps.load_curve(**curve.sweep, threads=1)
    pd.testing.assert_frame_equal(results(again), results(curve))
    stored = ps.load(curve.save(tmp_path))
    assert isinstance(stored, LoadCurve)
    pd.testing.assert_frame_equal(results(stored), results(curve))
    assert stored.points["load"].tolist() == [0.2, 0.6]
    assert dict(stored.sweep) == curve.sweep


def test_an_interrupted_run_goes_on_where_it_stopped(tmp_path):
    grid = LoadSweep(nodes=[4, 5], loads="0.2,0.6,0.9", network="lan", operations=64)

    def stop_after(scenarios):
        def progress(state):
            totals.append((state.done, state.total))
            if state.done == scenarios:
                raise KeyboardInterrupt

        return progress

    for done, scenarios in ((2, 2), (5, 3)):
        totals: list[tuple[int, int]] = []
        folders = list(tmp_path.iterdir())
        with pytest.raises(SweepInterrupted) as caught:
            run_loads(grid, tmp_path, progress=stop_after(scenarios), resume=folders[0] if folders else None)
        assert (caught.value.done, caught.value.total) == (done, 8)
        assert totals[-1] == (scenarios, 8 - done + scenarios)
    whole = run_loads(grid, resume=caught.value.path)
    pd.testing.assert_frame_equal(results(whole), results(ps.load_curve(**grid.to_dict())))
    assert len(whole.fits) == 2


def test_a_run_goes_on_with_other_loads(tmp_path):
    settings = {"nodes": 4, "network": "lan", "operations": 64}
    first = run_loads(LoadSweep(**settings, loads="0.2"), tmp_path)
    seen = []
    both = run_loads(LoadSweep(**settings, loads="0.1,0.2,0.6"), resume=first.path, progress=seen.append)
    assert (seen[-1].done, seen[-1].total) == (2, 2)
    assert sorted(both.points["load"]) == [0.1, 0.2, 0.6]
    assert both.fits["points"].item() == 3
    finer = run_loads(LoadSweep(**settings | {"operations": 80}, loads="0.2"), resume=first.path)
    assert len(finer.scenarios) == 6
    assert finer.points["load"].to_numpy() == pytest.approx([0.2, 0.1, 0.6, 0.2], rel=0.1)


def test_what_cannot_be_simulated_counts_as_done():
    seen = []
    settings = {"network": "ideal", "free_cpu": True, "bandwidth_mbps": float("inf"), "operations": 16}
    curve = ps.load_curve(nodes=4, loads="0.2,0.6", progress=seen.append, **settings)
    assert (len(curve.scenarios), len(curve.points), len(curve.fits)) == (1, 0, 0)
    assert (seen[-1].done, seen[-1].total) == (3, 3)
    curve = ps.load_curve(nodes=4, loads="0.2,0.6", memory_mb=1.0)
    assert "memory" in curve.scenarios["reason"].item()
    assert curve.points.empty and curve.fits.empty
