"""Success, latency and view changes over the share of faulty replicas: tables, heat maps, and what the commands say of them."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from matplotlib.axes import Axes
from matplotlib.image import AxesImage
from matplotlib.patches import Rectangle, StepPatch
from rich.console import Console, RenderableType

import prsm_scale as ps
from prsm_scale.analysis.resilience import byzantine_resilience, resilience
from prsm_scale.cli import main
from prsm_scale.columns import SCENARIO_COLUMNS
from prsm_scale.report.heat_map import MOST_GRIDS, draw, save_heat_maps
from prsm_scale.report.resilience import Grid, grids, resilience_table
from prsm_scale.report.tables import WIDTH
from prsm_scale.store import frame

RATIOS, NODES = (0.0, 0.1, 0.33, 0.4), (4, 10, 100)
BOUNDS = {4: 1, 10: 3, 100: 33}
LATENCY = ("mean_latency_ms", "mean_latency_low_ms", "mean_latency_high_ms")
NOTHING = dict.fromkeys((*LATENCY, "success_rate", "safety_violations", "view_changes_per_operation"))
Maker = Callable[..., Any]
Row = dict[str, Any]


def faulty(ratio: float, nodes: int) -> int:
    return math.floor(round(ratio * nodes, 9))


@pytest.fixture
def cell(sample_row: Maker) -> Maker:
    """Maker of a scenario that succeeds up to f faulty replicas, by its ratio and n."""

    def make(ratio: float, nodes: int, topology: str = "mesh", **changes: Any) -> Row:
        count = faulty(ratio, nodes)
        fault: Row = {
            "scenario_id": f"{topology}-{nodes}-{ratio}",
            "byzantine_ratio": ratio,
            "byzantine_count": count,
            "fault_threshold": BOUNDS.get(nodes, (nodes - 1) // 3),
            "behaviour": "silent" if count else "",
            "primary_policy": "stable",
            "view_changes_per_operation": 0.0,
            "failover_views": 0.5 * ratio if count else None,
            "safety_violations": 0,
        }
        if count > fault["fault_threshold"]:
            fault |= dict.fromkeys(LATENCY) | {"success_rate": 0.0, "reason": "too few voting replicas"}
        return sample_row(nodes, topology, **(fault | changes))

    return make


def table_of(rows: Sequence[Row]) -> pd.DataFrame:
    return frame(rows, SCENARIO_COLUMNS)


def grid_rows(cell: Maker, topology: str = "mesh", **changes: Any) -> list[Row]:
    return [cell(ratio, nodes, topology, **changes) for ratio in RATIOS for nodes in NODES]


def rendered(*parts: RenderableType) -> list[str]:
    console = Console(width=WIDTH, markup=False, highlight=False)
    with console.capture() as capture:
        for part in parts:
            console.print(part)
    return capture.get().splitlines()


def tolerated(rows: Sequence[Row]) -> dict[int, float]:
    table = resilience(table_of(rows))
    return {int(nodes): float(group["tolerated_ratio"].iloc[0]) for nodes, group in table.groupby("node_count")}


# Table


def test_one_row_a_scenario_by_n_and_ratio(cell: Maker) -> None:
    rows = grid_rows(cell)
    table = resilience(table_of(rows[::-1]))
    assert list(table[["node_count", "byzantine_ratio"]].itertuples(index=False, name=None)) == [
        (nodes, ratio) for nodes in NODES for ratio in RATIOS
    ]
    pivot = table.pivot(index="byzantine_ratio", columns="node_count", values="mean_latency_ms")
    assert pivot.loc[0.1, 100] == pytest.approx(200.0 + 30.0 * math.log(100))
    assert np.isnan(pivot.loc[0.4, 10])


def test_the_bound_is_f_of_n_and_what_is_withstood_the_largest_ratio_that_succeeds(cell: Maker) -> None:
    table = resilience(table_of(grid_rows(cell)))
    bounds = table.groupby("node_count")["bound_ratio"].first()
    assert bounds.to_dict() == {4: 0.25, 10: 0.3, 100: 0.33}
    assert tolerated(grid_rows(cell)) == {4: 0.4, 10: 0.33, 100: 0.33}


def test_what_is_withstood_ends_at_the_first_ratio_that_fails(cell: Maker) -> None:
    """A larger one that succeeds by chance does not count."""
    worse = [row | {"success_rate": 0.98} if row["byzantine_ratio"] == 0.1 else row for row in grid_rows(cell)]
    assert tolerated(worse) == {4: 0.0, 10: 0.0, 100: 0.0}
    assert (
        tolerated([row | {"success_rate": 0.99} if row["byzantine_ratio"] == 0.1 else row for row in grid_rows(cell)])[4] == 0.4
    )
    none = [row | {"success_rate": 0.5} for row in grid_rows(cell)]
    assert all(np.isnan(ratio) for ratio in tolerated(none).values())


def test_a_violation_is_no_success(cell: Maker) -> None:
    rows = [cell(ratio, 10, safety_violations=int(ratio == 0.33)) for ratio in RATIOS]
    table = resilience(table_of(rows))
    assert list(table["succeeds"]) == [True, True, False, False]
    assert tolerated(rows) == {10: 0.1}


def test_view_changes_are_those_of_the_failover_or_of_an_operation(cell: Maker) -> None:
    changes = {"view_changes_per_operation": 0.125, "failover_views": 0.75}
    stable, rotating = (
        resilience(table_of([cell(ratio, 10, primary_policy=policy, **changes) for ratio in RATIOS]))["view_changes"].tolist()
        for policy in ("stable", "rotating")
    )
    assert stable[:3] == [0.125, 0.75, 0.75]  # without faulty replicas there is no failover
    assert rotating[:3] == [0.125] * 3
    assert np.isnan(stable[3]) and np.isnan(rotating[3])  # and without success no end of them


def test_series_do_not_mix(cell: Maker) -> None:
    weak = [row | {"success_rate": 0.5, "topology": "star"} if row["byzantine_ratio"] else row for row in grid_rows(cell, "star")]
    table = resilience(table_of([*grid_rows(cell), *weak]))
    most = table[table["node_count"] == 10].groupby("topology")["tolerated_ratio"].first()
    assert most.to_dict() == {"mesh": 0.33, "star": 0.0}


def test_of_a_cell_that_is_held_twice_the_last_counts(cell: Maker) -> None:
    table = resilience(table_of([cell(0.1, 10, success_rate=0.5), cell(0.1, 10)]))
    assert table["success_rate"].tolist() == [1.0]


def test_rows_of_an_older_version_have_no_violations_and_no_policy(cell: Maker) -> None:
    rows = [*grid_rows(cell), *grid_rows(cell, "star", success_rate=0.5)]
    old = table_of(rows).drop(columns=["primary_policy", "safety_violations", "failover_views", "behaviour"])
    table = resilience(old)
    assert table["succeeds"].sum() == 10
    assert table.groupby("topology")["tolerated_ratio"].max().to_dict() == pytest.approx(
        {"mesh": 0.4, "star": math.nan}, nan_ok=True
    )
    assert all(rendered(resilience_table(grid)) for grid in grids(old))


# For the controller


def test_byzantine_resilience_is_success_by_ratio_and_n(cell: Maker) -> None:
    found = byzantine_resilience(table_of(grid_rows(cell)))
    good = {4: 1.0, 10: 1.0, 100: 1.0}
    assert found == {0.0: good, 0.1: good, 0.33: good, 0.4: {4: 1.0, 10: 0.0, 100: 0.0}}
    assert all(type(n) is int for of_n in found.values() for n in of_n)
    assert json.loads(json.dumps(found))["0.4"] == {"4": 1.0, "10": 0.0, "100": 0.0}


def test_conditions_are_averaged_and_what_was_not_simulated_is_none(cell: Maker) -> None:
    rows = [
        cell(0.1, 10, network_condition="wan"),
        cell(0.1, 10, network_condition="poor", success_rate=0.5),
        cell(0.1, 100, network_condition="wan", **NOTHING, feasible=False),
        cell(0.1, 100, network_condition="poor", success_rate=0.25),
        cell(0.1, 4, **NOTHING, feasible=False),
    ]
    assert byzantine_resilience(table_of(rows)) == {0.1: {4: None, 10: 0.75, 100: 0.25}}


def test_a_run_has_both(cell: Maker) -> None:
    table = table_of(grid_rows(cell))
    run = ps.Run({}, table, table[:0])
    pd.testing.assert_frame_equal(run.resilience, resilience(table))
    assert run.byzantine_resilience == byzantine_resilience(table)


# Terminal


def test_without_several_ratios_there_is_no_grid(cell: Maker) -> None:
    assert grids(table_of([cell(0.1, nodes) for nodes in NODES])) == []
    assert grids(table_of([])) == []


def test_table_has_n_as_columns(cell: Maker) -> None:
    (grid,) = grids(table_of(grid_rows(cell)))
    lines = [" ".join(line.split()) for line in rendered(resilience_table(grid))]
    assert lines == [
        "byzantine 4 10 100",
        "success 0 100% 100% 100%",
        "0.1 100% 100% 100%",
        "0.33 100% 100% 100%",
        "0.4 100% 0% 0%",
        "latency, ms 0 242 269 338",
        "0.1 242 269 338",
        "0.33 242 269 338",
        "0.4 242 - -",
        "failover views 0 0 0 0",
        "0.1 0 0.050 0.050",
        "0.33 0.17 0.17 0.17",
        "0.4 0.20 - -",
        "withstands 0.4 0.33 0.33",
        "replicas 1 3 33",
        "bound f/n 0.25 0.3 0.33",
        "replicas f 1 3 33",
    ]


def test_violations_are_marked_and_counted(cell: Maker) -> None:
    rows = [
        row | {"safety_violations": 700, "success_rate": 0.5} if row["byzantine_ratio"] == 0.4 else row for row in grid_rows(cell)
    ]
    lines = rendered(resilience_table(grids(table_of(rows))[0]))
    assert lines[4].split() == ["0.4", "50%!", "50%!", "50%!"]
    assert lines[-1] == "! honest replicas committed different values, for 2,100 operations in all"
    assert sum("!" in line for line in lines) == 2


def test_a_cell_that_is_not_there_or_has_no_result_is_a_dash(cell: Maker) -> None:
    rows = [cell(0.0, 4), cell(0.0, 10), cell(0.1, 10, **NOTHING, feasible=False, reason="needs memory")]
    lines = rendered(resilience_table(grids(table_of(rows))[0]))
    assert lines[2].split() == ["0.1", "-", "-"]
    assert lines[7].split() == ["withstands", "0", "0"]


@pytest.mark.parametrize("count", [1, 12, 60])
def test_any_number_of_n_is_told_whole(cell: Maker, count: int) -> None:
    nodes = range(1000, 1000 + count)
    rows = [cell(ratio, n, mean_latency_ms=12_345.6) for ratio in RATIOS for n in nodes]
    lines = rendered(resilience_table(grids(table_of(rows))[0]))
    assert max(map(len, lines)) <= WIDTH
    assert "…" not in "".join(lines)
    headings = [word for line in lines if "byzantine" in line for word in line.split()]
    assert [int(word) for word in headings if word != "byzantine"] == list(nodes)


def test_each_series_has_a_table_with_its_label(cell: Maker) -> None:
    rows = [*grid_rows(cell), *grid_rows(cell, "star", primary_policy="rotating")]
    mesh, star = grids(table_of(rows))
    assert (mesh.series.label, mesh.changes_of) == ("mesh", "failover views")
    assert rendered(resilience_table(star))[0] == "star"
    assert star.changes_of == "view changes"


# Figure


def bound_of(panel: Axes) -> list[float]:
    (line,) = (patch for patch in panel.patches if isinstance(patch, StepPatch))
    return [float(value) for value in line.get_data().values]


def frames_of(panel: Axes) -> set[tuple[int, int]]:
    """Cells that are framed, (x, y)."""
    boxes: Iterator[Rectangle] = (patch for patch in panel.patches if isinstance(patch, Rectangle) and not patch.get_hatch())
    return {(round(box.get_x() + 0.42), round(box.get_y() + 0.42)) for box in boxes}


def only_grid(rows: Sequence[Row]) -> Grid:
    (grid,) = grids(table_of(rows))
    return grid


def test_figure_shows_the_values_and_the_bound(cell: Maker) -> None:
    figure = draw([only_grid(grid_rows(cell))])
    success, latency, changes = figure.axes[:3]
    assert [panel.get_title() for panel in (success, latency, changes)] == [
        "success, %",
        "mean latency, ms",
        "view changes, first operation",
    ]
    image = next(child for child in success.get_children() if isinstance(child, AxesImage))
    assert np.array_equal(np.asarray(image.get_array()), [[1, 1, 1], [1, 1, 1], [1, 1, 1], [1, 0, 0]])
    assert bound_of(success) == [3.5, 2.5, 2.5]  # 0.4 of 4 replicas is one, as many as are tolerated
    assert [label.get_text() for label in success.get_yticklabels()] == ["0", "0.1", "0.33", "0.4"]
    assert [label.get_text() for label in success.get_xticklabels()] == ["4", "10", "100"]
    assert [text.get_text() for text in success.texts] == ["100"] * 10 + ["0", "0"]
    assert [text.get_text() for text in latency.texts][:3] == ["242", "269", "338"]


def test_cells_without_success_are_crossed_and_violations_framed(cell: Maker) -> None:
    rows = [
        row | {"safety_violations": 7} if (row["byzantine_ratio"], row["node_count"]) == (0.33, 10) else row
        for row in grid_rows(cell)
    ]
    figure = draw([only_grid(rows)])
    success, latency, changes = figure.axes[:3]
    for panel in (latency, changes):
        assert {(line.get_xdata()[0], line.get_ydata()[0]) for line in panel.lines} == {(1, 3), (2, 3)}
    assert not success.lines
    assert all(frames_of(panel) == {(1, 2)} for panel in (success, latency, changes))
    told = [text.get_text() for text in figure.legends[0].get_texts()]
    assert told == ["design bound f / n", "no operation succeeded", "safety violated"]


def test_what_was_not_simulated_is_hatched(cell: Maker) -> None:
    rows = [cell(0.0, 4), cell(0.4, 4), cell(0.0, 10), cell(0.1, 10, **NOTHING, feasible=False)]
    figure = draw([only_grid(rows)])
    success = figure.axes[0]
    hatched = {(patch.get_x() + 0.5, patch.get_y() + 0.5) for patch in success.patches if patch.get_hatch()}
    assert hatched == {(0, 1), (1, 1), (1, 2)}
    assert bound_of(success) == [2.5, 1.5]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["design bound f / n", "not simulated"]


def test_text_is_left_out_where_there_is_no_room(cell: Maker) -> None:
    figure = draw([only_grid([cell(ratio, n) for ratio in RATIOS for n in range(10, 410, 5)])])
    assert all(not panel.texts for panel in figure.axes[:3])
    assert len(figure.axes[0].get_xticklabels()) <= 12


def test_rotating_primaries_have_view_changes_per_operation(cell: Maker) -> None:
    figure = draw([only_grid(grid_rows(cell, primary_policy="rotating"))])
    assert figure.axes[2].get_title() == "view changes per operation"


def test_series_share_their_colours_and_many_are_cut(cell: Maker) -> None:
    rows = [row for seed in range(MOST_GRIDS + 2) for row in grid_rows(cell, seed=seed, mean_latency_ms=100.0 * (seed + 1))]
    figure = draw(grids(table_of(rows)))
    images = [child for panel in figure.axes for child in panel.get_children() if isinstance(child, AxesImage)]
    assert len(images) == 3 * MOST_GRIDS
    assert len({id(image.norm) for image in images}) == 3
    assert figure.get_suptitle() == f"the first {MOST_GRIDS} of {MOST_GRIDS + 2} series"


@pytest.mark.parametrize("nodes", [(7,), (4, 10), tuple(range(10, 130, 10))])
def test_any_shape_can_be_written_and_gives_the_same_bytes(cell: Maker, tmp_path: Path, nodes: tuple[int, ...]) -> None:
    grid = only_grid([cell(ratio, n) for ratio in RATIOS for n in nodes])
    for file in ("one.png", "one.svg", "two.svg"):
        save_heat_maps([grid], tmp_path / file)
    assert (tmp_path / "one.svg").read_bytes() == (tmp_path / "two.svg").read_bytes()


def test_a_run_without_any_result_can_be_drawn(cell: Maker, tmp_path: Path) -> None:
    save_heat_maps([only_grid(grid_rows(cell, **NOTHING, feasible=False))], tmp_path / "figure.png")
    assert (tmp_path / "figure.png").read_bytes().startswith(b"\x89PNG")


# Commands


@pytest.fixture
def stored(cell: Maker, sample_run: Maker, tmp_path: Path) -> str:
    return str(sample_run(tmp_path, grid_rows(cell)).path)


def test_show_tells_of_resilience_before_the_fits(stored: str) -> None:
    told = CliRunner().invoke(main, ["show", stored])
    assert told.exit_code == 0, told.output
    before, after = told.output.split("over the share of faulty replicas:\n")
    assert "median latency, ms" in before
    assert "withstands" in after.split("fits over n")[0]


def test_show_writes_a_second_figure_beside_the_first(stored: str, tmp_path: Path) -> None:
    told = CliRunner().invoke(main, ["show", stored, "--plot", str(tmp_path / "figure.svg")])
    beside = tmp_path / "figure-resilience.svg"
    assert told.stderr.splitlines()[-2:] == [f"figure in {tmp_path / 'figure.svg'}", f"resilience in {beside}"]
    assert beside.read_text().startswith("<?xml")


def test_json_has_what_a_controller_needs(stored: str) -> None:
    document = json.loads(CliRunner().invoke(main, ["show", stored, "--json"]).stdout, parse_constant=pytest.fail)
    assert document["byzantine_resilience"]["0.4"] == {"4": 1.0, "10": 0.0, "100": 0.0}


def test_one_ratio_has_neither_table_nor_figure(cell: Maker, sample_run: Maker, tmp_path: Path) -> None:
    path = str(sample_run(tmp_path, [cell(0.1, nodes) for nodes in NODES]).path)
    told = CliRunner().invoke(main, ["show", path, "--plot", str(tmp_path / "figure.svg")])
    assert "over the share" not in told.stdout
    assert not (tmp_path / "figure-resilience.svg").exists()
    assert "byzantine_resilience" not in json.loads(CliRunner().invoke(main, ["show", path, "--json"]).stdout)
