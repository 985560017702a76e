"""Resilience for the terminal: success, latency and view changes over the share of faulty replicas, n across."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from rich.console import RenderableType
from rich.text import Text

from prsm_scale.analysis.resilience import resilience
from prsm_scale.columns import records
from prsm_scale.report.series import NODES, RATIO, Row, Series, split
from prsm_scale.report.tables import WIDTH, plain_table, titled
from prsm_scale.wording import MISSING, number, percent

if TYPE_CHECKING:
    import pandas as pd

VIOLATED = "!"
_GAP = 1

Line = tuple[str, ...]


@dataclass(frozen=True)
class Grid:
    """Scenarios that differ in n and in the share of faulty replicas alone.

    Attributes
    ----------
    series : Series
        Rows of `prsm_scale.analysis.resilience.resilience`.
    nodes, ratios : tuple
        Ascending.
    """

    series: Series
    nodes: tuple[int, ...]
    ratios: tuple[float, ...]

    @cached_property
    def cells(self) -> dict[tuple[float, int], Row]:
        """Rows by ratio and n, those that there are."""
        return {(row[RATIO], row[NODES]): row for row in self.series.rows}

    @property
    def changes_of(self) -> str:
        """What `view_changes` counts."""
        rotating = self.series.rows[0]["primary_policy"] == "rotating"
        return "view changes" if rotating else "failover views"

    def column(self, nodes: int) -> list[Row | None]:
        """Rows of one n, by ratio."""
        return [self.cells.get((ratio, nodes)) for ratio in self.ratios]


def grids(scenarios: pd.DataFrame) -> list[Grid]:
    """Grids of a run in which the share of faulty replicas varies; of another, none."""
    if scenarios[RATIO].nunique() < 2:
        return []
    found = split(records(resilience(scenarios)), (), NODES, RATIO)
    return [
        Grid(one, *(tuple(sorted({row[name] for row in one.rows})) for name in (NODES, RATIO)))
        for one in found
    ]  # fmt: skip


def violated(row: Row) -> bool:
    """Whether honest replicas committed different values."""
    return bool(row["safety_violations"])


def resilience_table(grid: Grid) -> RenderableType:
    """Tabulate a grid, below one another where not all n have room, with the largest ratio that still succeeds."""
    labels = [
        *_labels("success", grid),
        *_labels("latency, ms", grid),
        *_labels(grid.changes_of, grid),
        ("withstands", ""), ("  replicas", ""), ("bound f/n", ""), ("  replicas f", ""),
    ]  # fmt: skip
    headings = ("", "byzantine")
    columns = [(str(nodes), *_lines(grid.column(nodes))) for nodes in grid.nodes]
    taken = sum(max(map(len, column)) + _GAP for column in zip(headings, *labels, strict=True))
    tables = [
        plain_table((*headings, *(one[0] for one in part)), _rows(labels, part), left=headings)
        for part in _parts(columns, WIDTH - taken)
    ]
    notes = [Text(note, style="yellow") for note in _notes(grid.series.rows)]
    return titled(grid.series.label, *tables, *notes)


def _labels(name: str, grid: Grid) -> Iterator[Line]:
    for place, ratio in enumerate(grid.ratios):
        yield "" if place else name, f"{ratio:g}"


def _rows(labels: Sequence[Line], columns: Sequence[Line]) -> list[Line]:
    cells = zip(*(one[1:] for one in columns), strict=True)
    return [(*label, *line) for label, line in zip(labels, cells, strict=True)]


def _parts(columns: Sequence[Line], room: int) -> Iterator[list[Line]]:
    """Cut columns into as many as have room, one at least."""
    part: list[Line] = []
    used = 0
    for column in columns:
        width = max(map(len, column)) + _GAP
        if part and used + width > room:
            yield part
            part, used = [], 0
        part.append(column)
        used += width
    yield part


def _lines(column: Sequence[Row | None]) -> Iterator[str]:
    """What is told of one n."""
    for tell in (_success, _latency, _view_changes):
        yield from (MISSING if row is None else tell(row) for row in column)
    known = [row for row in column if row is not None]
    most = next((row for row in known if row[RATIO] == row["tolerated_ratio"]), None)
    yield from (MISSING, MISSING) if most is None else (f"{most[RATIO]:g}", str(most["byzantine_count"]))
    yield from (f"{known[0]['bound_ratio']:.3g}", str(known[0]["fault_threshold"]))


def _success(row: Row) -> str:
    return percent(row["success_rate"]) + (VIOLATED if violated(row) else "")


def _latency(row: Row) -> str:
    return number(row["mean_latency_ms"])


def _view_changes(row: Row) -> str:
    return number(row["view_changes"], 2)


def _notes(rows: Sequence[Row]) -> Iterator[str]:
    count = sum(row["safety_violations"] for row in rows if violated(row))
    if count:
        yield f"{VIOLATED} honest replicas committed different values, for {count:,} operations in all"
