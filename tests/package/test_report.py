"""What people read: numbers, tables in 100 columns, plots of characters, figures."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console, RenderableType

from prsm_scale.columns import records
from prsm_scale.errors import PrsmScaleError
from prsm_scale.report.fits import fit_summary, fit_table
from prsm_scale.report.plots import draw, save_figure
from prsm_scale.report.series import Series, common, interval, split, spread_ms
from prsm_scale.report.tables import WIDTH, plots, result_table
from prsm_scale.report.textplot import MARKS, Curve, text_plot
from prsm_scale.wording import number, percent

NODES = (10, 20, 40, 80, 160, 320, 640, 1000)
Maker = Callable[..., Any]


def rendered(*parts: RenderableType, width: int = WIDTH) -> str:
    console = Console(width=width, markup=False, highlight=False)
    with console.capture() as capture:
        for part in parts:
            console.print(part)
    return capture.get()


def series_of(run: Any) -> list[Series]:
    return split(records(run.scenarios), records(run.fits))


# Numbers


@pytest.mark.parametrize(
    ("value", "digits", "text"),
    [
        (None, 3, "-"),
        (math.nan, 3, "-"),
        (math.inf, 3, "-"),
        (0.0, 3, "0"),
        (0.01234, 3, "0.0123"),
        (1.0, 3, "1.00"),
        (12.345, 3, "12.3"),
        (733.79, 4, "733.8"),
        (-1.234, 3, "-1.23"),
        (1998000, 3, "1,998,000"),
        (1.999998e12, 3, "2.00e+12"),
        (1.5e-9, 2, "1.5e-09"),
    ],
)
def test_number(value: float | None, digits: int, text: str) -> None:
    assert number(value, digits) == text


@given(value=st.floats(1e-5, 1e9), digits=st.integers(1, 6))
def test_number_keeps_its_digits(value: float, digits: int) -> None:
    assert float(number(value, digits).replace(",", "")) == pytest.approx(value, rel=0.51 * 10 ** (1 - digits))


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, "-"), (0.0, "0%"), (0.5, "50%"), (0.98765, "98.77%"), (1.0, "100%"), (0.99999, "<100%")],
)
def test_percent(value: float | None, text: str) -> None:
    assert percent(value) == text


def test_spread_is_half_the_interval() -> None:
    row = {"p99_latency_ms": 733.79, "p99_latency_low_ms": 733.4, "p99_latency_high_ms": 734.02}
    assert spread_ms(row, "p99_latency") == "733.8 ±0.31"
    assert spread_ms(row | {"p99_latency_low_ms": None}, "p99_latency") == "733.8"
    assert spread_ms(row | {"p99_latency_ms": None}, "p99_latency") == "-"


def test_interval() -> None:
    assert interval({"alpha": 0.05, "alpha_low": 0.04, "alpha_high": 0.06}, "alpha") == "0.0500 [0.0400, 0.0600]"
    assert interval({"alpha": 0.05, "alpha_low": 0.04, "alpha_high": None}, "alpha") == "0.0500 [0.0400, -]"
    assert interval({"alpha": 0.05, "alpha_low": None, "alpha_high": None}, "alpha") == "0.0500"
    assert interval({"alpha": None}, "alpha") == "-"


# Series


def test_rows_are_split_by_what_differs_besides_n(sample_row: Maker) -> None:
    rows = [sample_row(n, topology, seed=seed) for n in (20, 10) for topology in ("mesh", "star") for seed in (1, 2)]
    series = split(rows)
    assert [one.label for one in series] == ["mesh, seed 1", "mesh, seed 2", "star, seed 1", "star, seed 2"]
    assert all([row["node_count"] for row in one.rows] == [10, 20] for one in series)
    assert common(rows).startswith("wan, local_simulation, standard, pbft, gossip, ed25519, byzantine 0, 10 ops/s")
    assert "mesh" not in common(rows)


def test_one_series_needs_no_label(sample_row: Maker) -> None:
    rows = [sample_row(10), sample_row(20)]
    assert [one.label for one in split(rows)] == [""]
    assert common(rows).startswith("mesh, wan")
    assert (split([]), common([])) == ([], "")


def test_fits_go_to_their_series(sample_row: Maker, sample_run: Maker, tmp_path: Path) -> None:
    run = sample_run(tmp_path, [sample_row(n, topology) for topology in ("mesh", "star") for n in NODES])
    for one in series_of(run):
        assert {fit["topology"] for fit in one.fits} == {one.label}
        assert {fit["law"] for fit in one.fits} == {"usl", "power", "logarithmic", "linear"}


# Tables


def test_table_tells_each_scenario(sample_row: Maker) -> None:
    (series,) = split([sample_row(10), sample_row(1000)])
    lines = rendered(result_table(series)).splitlines()
    told = "10 10.0 2,100 263.7 ±0.50 322.9 376.7 ±0.50 100% 180 primary_egress"
    assert lines[1].split() == told.split()
    assert lines[2].split()[-2:] == ["1,998,000", "replica_cpu"]


def test_the_widest_numbers_fit_the_columns_whole(sample_row: Maker) -> None:
    ends = {"_low": 50_000.0, "": 59_999.5, "_high": 69_999.0}
    wide = {f"{name}_latency{end}_ms": ends[end] for name in ("median", "p95", "p99") for end in ends} | {
        "operations_per_second": 12_345.6,
        "saturation_ops_per_second": 1_234_567.8,
        "success_rate": 0.12345,
        "message_count": 2e12,
        "bottleneck": "primary_ingress",
    }
    row = sample_row(1_000_000, **wide)
    text = rendered(result_table(split([row])[0]))
    assert max(map(len, text.splitlines())) <= WIDTH
    for whole in (
        "1000000",
        "12,346",
        "1,234,568",
        "60,000 ±10,000",
        "12.35%",
        "2.00e+12",
        "primary_ingress",
    ):
        assert whole in text


def test_a_scenario_without_result_says_why(sample_row: Maker) -> None:
    blank = (
        "success_rate",
        "bottleneck",
        "message_count",
        "operations_per_second",
        "saturation_ops_per_second",
    )
    nothing = dict.fromkeys((*blank, "median_latency_ms", "p95_latency_ms", "p99_latency_ms"))
    reason = "needs 900 MB of memory, the profile has 512"
    row = sample_row(20, **nothing, reason=reason, limits_passed="memory_mb 900.0 > 512")
    lines = rendered(result_table(split([sample_row(10), row])[0])).splitlines()
    assert lines[2].split() == ["20", *"--------"]
    assert lines[3] == f"n = 20: {reason}"
    assert lines[4] == "n = 20: over its limit: memory_mb 900.0 > 512"


def test_fit_summary(sample_row: Maker, sample_run: Maker, tmp_path: Path) -> None:
    (series,) = series_of(sample_run(tmp_path, [sample_row(n) for n in NODES]))
    text = rendered(fit_summary(series))
    lines = [line.split() for line in text.splitlines()]
    assert lines[0][:3] == ["saturation", "power", "law"]
    assert "n^(-1.00" in text
    assert "first n with less than 10 % gain: 20" in text
    assert "peak (USL)" in text
    assert "1.5x of n = 10" in text
    assert "; first simulated n: 1000" in text
    assert "3x of n = 10     at no n" in text
    assert max(map(len, text.splitlines())) <= WIDTH


def test_a_flag_stands_by_the_number_it_is_about(sample_row: Maker, sample_run: Maker, tmp_path: Path) -> None:
    rows = [sample_row(n, saturation_ops_per_second=1_000.0 * n / (1 + 0.02 * (n - 1) + 1e-6 * n * (n - 1))) for n in NODES]
    (series,) = series_of(sample_run(tmp_path, rows))
    peak = next(line for line in rendered(fit_summary(series)).splitlines() if "peak (USL)" in line)
    assert "n = 990" in peak
    assert "outside the data" not in peak
    (short,) = series_of(sample_run(tmp_path / "short", rows[:6]))
    peak = next(line for line in rendered(fit_summary(short)).splitlines() if "peak (USL)" in line)
    assert "(outside the data)" in peak


def told_of(count: int, sample_row: Maker, sample_run: Maker, folder: Path, **changes: Any) -> dict[str, str]:
    """What the summary of a run with so many n tells, by what it is told of."""
    usl = [1_000.0 * n / (1 + 0.02 * (n - 1) + 2e-4 * n * (n - 1)) for n in NODES]
    rows = [sample_row(n, saturation_ops_per_second=x, **changes) for n, x in zip(NODES[:count], usl, strict=False)]
    (series,) = series_of(sample_run(folder / str(count), rows))
    lines = rendered(fit_summary(series), width=200).replace("saturation  ", "").replace("mean latency  ", "").splitlines()
    return {what: telling.strip() for what, _, telling in (line.strip().partition("  ") for line in lines)}


def test_two_points_have_no_law(sample_row: Maker, sample_run: Maker, tmp_path: Path) -> None:
    told = told_of(2, sample_row, sample_run, tmp_path)
    assert list(told) == ["no law", "efficiency", "1.5x of n = 10"]
    assert told["no law"] == "2 points, which any law fits"
    assert told["1.5x of n = 10"] == "first simulated n: none"
    assert "on average" in told["efficiency"]


def test_three_points_are_told_of_by_laws_with_two_parameters(sample_row: Maker, sample_run: Maker, tmp_path: Path) -> None:
    """A peak by three parameters would be exact and say nothing."""
    told = told_of(3, sample_row, sample_run, tmp_path)
    assert list(told) == ["power law", "efficiency", "logarithmic law", "1.5x of n = 10", "3x of n = 10"]
    for what in ("power law", "logarithmic law"):
        assert "(too few points to choose" in told[what]
    assert "n = 886" in told["1.5x of n = 10"]
    assert "(outside the data, too few points)" in told["1.5x of n = 10"]


def test_four_points_have_a_peak_with_its_caveat(sample_row: Maker, sample_run: Maker, tmp_path: Path) -> None:
    told = told_of(4, sample_row, sample_run, tmp_path)
    assert list(told)[-1] == "3x of n = 10"
    assert "n = 70" in told["peak (USL)"]
    assert told["peak (USL)"].endswith("(too few points)")


def test_enough_points_need_no_caveat(sample_row: Maker, sample_run: Maker, tmp_path: Path) -> None:
    assert "too few" not in str(told_of(8, sample_row, sample_run, tmp_path))


def test_fit_table_keeps_parameters_whole(sample_row: Maker, sample_run: Maker, tmp_path: Path) -> None:
    rows = [sample_row(n, saturation_ops_per_second=21_000 / n**0.8 * (1 + 0.1 * math.sin(n))) for n in NODES]
    (series,) = series_of(sample_run(tmp_path, rows))
    text = rendered(fit_table(series))
    assert max(map(len, text.splitlines())) <= WIDTH
    assert "…" not in text
    assert sum(line.startswith("*") for line in text.splitlines()) == 2


# Plots of characters


@pytest.mark.parametrize("width", [30, 48, 80])
def test_text_plot_has_the_size_asked_for(width: int) -> None:
    lines = text_plot("title", [Curve(NODES, [1e6 / n for n in NODES])], width, 12)
    assert len(lines) == 12
    assert {len(line) for line in lines} == {width}
    assert "".join(lines).count(MARKS[0]) == len(NODES)


def test_a_power_law_is_a_straight_line() -> None:
    _, *lines, _, _ = text_plot("", [Curve(NODES, [100.0 / n for n in NODES])], 48, 13)
    marks = [(line.index("│"), line.find(MARKS[0])) for line in lines]
    columns = [mark - axis for axis, mark in marks if mark >= 0]
    assert columns == sorted(columns)
    assert lines[0].endswith("10 │" + MARKS[0] + lines[0].split(MARKS[0])[1])
    assert lines[-1].rstrip().endswith(MARKS[0])
    assert lines[-1].strip().startswith("0.1 │")


def test_missing_and_impossible_points_are_left_out() -> None:
    lines = text_plot("", [Curve(NODES, [1.0, None, math.nan, math.inf, 0.0, -1.0, 5.0, 9.0])])
    assert "".join(lines).count(MARKS[0]) == 3


@pytest.mark.parametrize("curves", [[], [Curve([10], [1.0])], [Curve([10, 20], [None, 1.0])], [Curve([10, 10], [1.0, 2.0])]])
def test_nothing_is_drawn_without_two_n(curves: Sequence[Curve]) -> None:
    assert text_plot("", curves) == []


@given(
    values=st.lists(st.floats(1e-3, 1e12), min_size=2, max_size=8),
    width=st.integers(24, 100),
    height=st.integers(6, 30),
)
def test_any_values_can_be_drawn(values: list[float], width: int, height: int) -> None:
    lines = text_plot("", [Curve(range(4, 4 + len(values)), values)], width, height)
    assert {len(line) for line in lines} == {width}
    assert len(lines) == height


def test_plots_stand_side_by_side_with_a_legend(sample_row: Maker) -> None:
    series = split([sample_row(n, topology) for topology in ("mesh", "star") for n in NODES])
    text = rendered(*plots(series))
    assert max(map(len, text.splitlines())) <= WIDTH
    assert "saturation throughput, operations/s" in text.splitlines()[0]
    assert "median latency, ms" in text.splitlines()[0]
    assert text.splitlines()[-2:] == [f"{MARKS[0]} mesh", f"{MARKS[1]} star"]


def test_plots_of_many_series_say_what_they_leave_out(sample_row: Maker) -> None:
    series = split([sample_row(n, seed=seed) for seed in range(len(MARKS) + 3) for n in (10, 20)])
    assert rendered(*plots(series)).endswith("and 3 more in the table\n")
    assert plots(split([sample_row(10)])) == []


# Figures


def test_figure_has_both_panels_and_every_series(sample_row: Maker, sample_run: Maker, tmp_path: Path) -> None:
    run = sample_run(tmp_path, [sample_row(n, topology) for topology in ("mesh", "star") for n in NODES])
    figure = draw(series_of(run))
    throughput, latency = figure.axes
    assert [text.get_text() for text in throughput.texts] == ["primary egress", "replica cpu"] * 2
    assert len(throughput.lines) == 4
    assert len(latency.collections) == 6
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["mesh", "star"]
    assert (throughput.get_xscale(), latency.get_yscale()) == ("log", "log")


def test_the_curve_drawn_is_the_fitted_law(sample_row: Maker, sample_run: Maker, tmp_path: Path) -> None:
    usl = [1_000.0 * n / (1 + 0.02 * (n - 1) + 1e-4 * n * (n - 1)) for n in NODES]
    rows = [sample_row(n, saturation_ops_per_second=x) for n, x in zip(NODES, usl, strict=True)]
    (points, curve), _ = (panel.lines[:2] for panel in draw(series_of(sample_run(tmp_path, rows))).axes)
    assert np.array_equal(np.asarray(points.get_ydata()), usl)
    assert np.asarray(curve.get_ydata())[[0, -1]] == pytest.approx([usl[0], usl[-1]], rel=1e-3)


def test_figure_of_scenarios_without_results(sample_row: Maker, tmp_path: Path) -> None:
    nothing = {name: None for name in sample_row(10) if name.endswith("_ms")} | {"saturation_ops_per_second": None}
    file = tmp_path / "figure.png"
    save_figure(split([sample_row(10, **nothing), sample_row(20, **nothing)]), file)
    assert file.read_bytes().startswith(b"\x89PNG")


def test_a_figure_that_cannot_be_written_is_one_line(sample_row: Maker, tmp_path: Path) -> None:
    (tmp_path / "figure.png").mkdir()
    with pytest.raises(PrsmScaleError) as caught:
        save_figure(split([sample_row(10), sample_row(20)]), tmp_path / "figure.png")
    assert len(caught.value.lines) == 1
    assert "Is a directory" in str(caught.value)
