"""Tables and lines for the terminal, in 100 columns."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from prsm_scale.cautions import caution
from prsm_scale.report.series import Row, Series, spread_ms
from prsm_scale.report.textplot import MARKS, Curve, text_plot
from prsm_scale.wording import MISSING, number, percent

WIDTH = 100
_MOST_CURVES = len(MARKS)
_HEADINGS = ("n", "ops/s", "max ops/s", "p50 ms", "p95 ms", "p99 ms", "success", "messages", "bottleneck")


def result_table(series: Series) -> RenderableType:
    """Tabulate the scenarios of a series, with a line below for each that has something to tell."""
    table = plain_table(_HEADINGS, [_cells(row) for row in series.rows], left=("bottleneck",))
    notes = [Text(line, style="yellow") for line in _notes(series.rows)]
    return titled(series.label, table, *notes)


def plots(series: Sequence[Series]) -> list[RenderableType]:
    """Plot saturation throughput and median latency over n, side by side, where there are two n or more."""
    shown = series[:_MOST_CURVES]
    width = (WIDTH - 2) // 2
    halves = [
        text_plot(title, [_curve(one.rows, column) for one in shown], width)
        for title, column in (
            ("saturation throughput, operations/s", "saturation_ops_per_second"),
            ("median latency, ms", "median_latency_ms"),
        )
    ]
    blank = [" " * width] * max(map(len, halves))
    lines = ["  ".join(pair).rstrip() for pair in zip(*(half or blank for half in halves), strict=True)]
    if lines and len(shown) > 1:
        lines += [f"{mark} {one.label}" for mark, one in zip(MARKS, shown, strict=False)]
    if lines and len(series) > len(shown):
        lines.append(f"and {len(series) - len(shown)} more in the table")
    return [Text("\n".join(lines), no_wrap=True)] if lines else []


def titled(label: str, *parts: RenderableType) -> RenderableType:
    """Put the label of a series, if it has one, above what is shown of it."""
    return Group(*([Text(label, style="bold")] if label else []), *parts)


def plain_table(headings: Sequence[str], rows: Sequence[Sequence[str]], left: Sequence[str], wrap: Sequence[str] = ()) -> Table:
    """Make a table without lines.

    Parameters
    ----------
    headings, rows
        Its text; a cell may have several lines.
    left, wrap
        Headings of the columns aligned to the left, and of those that may be wrapped; the others are numbers.
    """
    columns = dict(zip(headings, zip(headings, *rows, strict=True), strict=True))
    widths = [len(_widest(cells, name in wrap)) for name, cells in columns.items()]
    gap = 2 if sum(widths) + 2 * len(widths) <= WIDTH else 1
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, gap, 0, 0))
    for name in headings:
        table.add_column(name, justify="left" if name in left else "right", no_wrap=name not in wrap)
    for row in rows:
        table.add_row(*row)
    return table


def _widest(cells: Sequence[str], wraps: bool) -> str:
    """Give the line that a column has to hold whole."""
    return cells[0] if wraps else max((line for cell in cells for line in cell.split("\n")), key=len)


def _cells(row: Row) -> tuple[str, ...]:
    return (
        str(row["node_count"]),
        number(row["operations_per_second"]),
        number(row["saturation_ops_per_second"]),
        spread_ms(row, "median_latency"),
        number(row["p95_latency_ms"], 4),
        spread_ms(row, "p99_latency"),
        percent(row["success_rate"]),
        number(row["message_count"]),
        row["bottleneck"] or MISSING,
    )


def _notes(rows: Sequence[Row]) -> Iterator[str]:
    for row in rows:
        if row["reason"]:
            yield f"n = {row['node_count']}: {row['reason']}"
        if row["limits_passed"]:
            yield f"n = {row['node_count']}: over its limit: {row['limits_passed']}"
        if told := caution(row):
            yield f"n = {row['node_count']}: {told}"


def _curve(rows: Sequence[Row], column: str) -> Curve:
    return Curve([row["node_count"] for row in rows], [row[column] for row in rows])
