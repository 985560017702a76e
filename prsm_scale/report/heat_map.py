"""Figure of resilience: success, latency and view changes as heat maps over n and the share of faulty replicas."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm, Normalize
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch, Rectangle
from matplotlib.ticker import LogFormatter

from prsm_scale.report.plots import COLOURS, write_figure
from prsm_scale.report.resilience import Grid, violated
from prsm_scale.report.series import Row
from prsm_scale.wording import number, percent

MOST_GRIDS = 6
"""Grids drawn in one figure."""
_CELL_INCHES = (0.52, 0.34)
_PANEL_INCHES = ((2.0, 4.2), (1.1, 4.0))
"""Least and greatest width and height of a panel."""
_MOST_POINTS, _LEAST_POINTS = 8.0, 4.5
_CHARACTER = 0.62
"""Width of a character, in sizes of its font."""
_BAR_INCHES = 0.12
_MOST_TICKS = 12
_BOUND, _NOTHING = COLOURS[0], "0.88"
_FRAME = (("white", 3.2), ("black", 1.6))
"""Colours and widths of the lines that frame a violation, one above the other, to be seen on any colour."""
_DARK = 0.55
"""Brightness below which text is white."""


@dataclass(frozen=True)
class _Quantity:
    title: str
    value: Callable[[Row], float | None]
    spell: Callable[[float], str]
    colours: str
    scale: Callable[[Any], Normalize]


def save_heat_maps(grids: Sequence[Grid], file: str | Path) -> None:
    """Draw grids and write the figure; see `prsm_scale.report.plots.save_figure`."""
    write_figure(draw(grids), file)


def draw(grids: Sequence[Grid]) -> Figure:
    """Draw grids of a run.

    Parameters
    ----------
    grids
        Each takes a row of three panels; those after the sixth are left out.

    Returns
    -------
    Figure
        Success, mean latency and view changes, n across and the share of faulty replicas upwards; the darker, the worse. Below
        the stepped line faulty replicas are at most f, as many as the protocol is made for. Cells where honest replicas committed
        different values are framed, those where no operation succeeded crossed, those not simulated hatched.
    """
    shown = grids[:MOST_GRIDS]
    quantities = _quantities(shown[0].changes_of)
    width, height = _panel_inches(shown)
    figure = Figure(figsize=(3 * width + 2.6, len(shown) * (height + 0.45) + 0.8), layout="constrained")
    panels = figure.subplots(len(shown), len(quantities), squeeze=False)
    for quantity, column in zip(quantities, panels.T, strict=True):
        scale = quantity.scale(_known([_values(grid, quantity) for grid in shown]))
        for grid, panel in zip(shown, column, strict=True):
            image = _draw_panel(panel, grid, quantity, scale, (width, height))
        _add_bar(figure, image, list(column), quantity, (width, len(shown) * height))
        column[0].set_title(quantity.title, fontsize=9)
        column[-1].set_xlabel("replicas n")
    for grid, row in zip(shown, panels, strict=True):
        label = "share of faulty replicas"
        row[0].set_ylabel(f"{grid.series.label}\n{label}" if grid.series.label else label, fontsize=9)
    figure.legend(handles=_legend(shown), loc="outside lower center", ncols=4, fontsize=8, frameon=False)
    if len(grids) > len(shown):
        figure.suptitle(f"the first {len(shown)} of {len(grids)} series", fontsize=9)
    return figure


def _add_bar(figure: Figure, image: Any, panels: list[Axes], quantity: _Quantity, inches: tuple[float, float]) -> None:
    fraction, aspect = 1.3 * _BAR_INCHES / inches[0], inches[1] / _BAR_INCHES
    bar = figure.colorbar(image, ax=panels, fraction=fraction, pad=0.02, aspect=aspect)
    bar.ax.tick_params(which="both", labelsize=7)
    if isinstance(image.norm, LogNorm):
        bar.ax.yaxis.set_major_formatter(LogFormatter())
        bar.ax.yaxis.set_minor_formatter(LogFormatter(minor_thresholds=(1.5, 0.5)))
    else:
        bar.ax.yaxis.set_major_formatter(lambda value, _: quantity.spell(value))


def _quantities(changes_of: str) -> tuple[_Quantity, ...]:
    told = {"view changes": "view changes per operation", "failover views": "view changes, first operation"}
    return (
        _Quantity("success, %", lambda row: row["success_rate"], _percent, "YlOrBr_r", lambda _: Normalize(0.0, 1.0)),
        _Quantity("mean latency, ms", lambda row: row["mean_latency_ms"], number, "YlGnBu", _logarithmic),
        _Quantity(told[changes_of], lambda row: row["view_changes"], lambda x: number(x, 2), "PuRd", _from_zero),
    )


def _percent(share: float) -> str:
    return percent(share if share in (0.0, 1.0) else round(share, 3)).removesuffix("%")


def _logarithmic(values: Any) -> Normalize:
    if not values.size:
        return Normalize(0.0, 1.0)
    return LogNorm(values.min() / 1.02, values.max() * 1.02)


def _from_zero(values: Any) -> Normalize:
    return Normalize(0.0, max(1.0, values.max(initial=0.0)))


def _values(grid: Grid, quantity: _Quantity) -> Any:
    """One row a ratio, one column an n; NaN where there is nothing."""
    cells = [[quantity.value(row) if row else None for row in grid.column(nodes)] for nodes in grid.nodes]
    return np.array(cells, np.float64).T


def _known(values: Sequence[Any]) -> Any:
    flat = np.concatenate([one.ravel() for one in values])
    return flat[np.isfinite(flat)]


def _panel_inches(grids: Sequence[Grid]) -> tuple[float, float]:
    counts = max(len(grid.nodes) for grid in grids), max(len(grid.ratios) for grid in grids)
    width, height = (
        min(max(count * cell, least), most)
        for count, cell, (least, most) in zip(counts, _CELL_INCHES, _PANEL_INCHES, strict=True)
    )
    return width, height


def _draw_panel(panel: Axes, grid: Grid, quantity: _Quantity, scale: Normalize, inches: tuple[float, float]) -> Any:
    values = _values(grid, quantity)
    panel.set_facecolor(_NOTHING)
    image = panel.imshow(values, cmap=quantity.colours, norm=scale, origin="lower", aspect="auto", interpolation="nearest")
    for axis, points, spell in ((panel.xaxis, grid.nodes, "{}"), (panel.yaxis, grid.ratios, "{:g}")):
        labelled = range(0, len(points), -(-len(points) // _MOST_TICKS))
        axis.set_ticks(labelled, [spell.format(points[place]) for place in labelled], fontsize=8)
    panel.tick_params(length=0)
    cell = 72.0 * inches[0] / len(grid.nodes), 72.0 * inches[1] / len(grid.ratios)
    _annotate(panel, image, values, quantity, cell)
    cells = grid.cells
    for y, x in np.ndindex(values.shape):
        row = cells.get((grid.ratios[y], grid.nodes[x]))
        if np.isnan(values[y, x]) and row and row["success_rate"] == 0:
            panel.plot(x, y, "x", color="0.4", markersize=min(5.0, 0.5 * min(cell)))
        _mark(panel, row, x, y)
    _draw_bound(panel, grid)
    return image


def _annotate(panel: Axes, image: Any, values: Any, quantity: _Quantity, cell: tuple[float, float]) -> None:
    """Write each value into its cell of so many points, where the longest has room."""
    texts = {place: quantity.spell(float(values[place])) for place in np.ndindex(values.shape) if np.isfinite(values[place])}
    longest = max(map(len, texts.values()), default=1)
    points = min(_MOST_POINTS, 0.9 * cell[0] / (_CHARACTER * longest), 0.7 * cell[1])
    if points < _LEAST_POINTS:
        return
    for (y, x), text in texts.items():
        red, green, blue, _ = image.cmap(image.norm(values[y, x]))
        colour = "white" if 0.3 * red + 0.59 * green + 0.11 * blue < _DARK else "black"
        panel.text(x, y, text, ha="center", va="center", fontsize=points, color=colour)


def _mark(panel: Axes, row: Row | None, x: int, y: int) -> None:
    """Hatch a cell that was not simulated, and frame one in which safety was violated."""
    if row is None or row["success_rate"] is None:
        panel.add_patch(Rectangle((x - 0.5, y - 0.5), 1, 1, fill=False, hatch="////", edgecolor="0.6", linewidth=0))
    if row is not None and violated(row):
        for colour, width in _FRAME:
            panel.add_patch(Rectangle((x - 0.42, y - 0.42), 0.84, 0.84, fill=False, edgecolor=colour, linewidth=width))


def _draw_bound(panel: Axes, grid: Grid) -> None:
    """Draw a line above the last cell of each n that has at most f faulty replicas."""
    tops = [_within(grid, nodes) - 0.5 for nodes in grid.nodes]
    panel.stairs(tops, np.arange(len(tops) + 1) - 0.5, baseline=None, color=_BOUND, linewidth=1.8, clip_on=False, zorder=3)


def _within(grid: Grid, nodes: int) -> int:
    """Count the ratios at which faulty replicas are at most f; those not simulated by their share."""
    column = grid.column(nodes)
    bound = next(row["bound_ratio"] for row in column if row)
    return sum(
        row["byzantine_count"] <= row["fault_threshold"] if row else ratio <= bound
        for ratio, row in zip(grid.ratios, column, strict=True)
    )


def _legend(grids: Sequence[Grid]) -> list[Artist]:
    """Explain the marks that there are."""
    rows = [row for grid in grids for nodes in grid.nodes for row in grid.column(nodes)]
    rates = [row["success_rate"] if row else None for row in rows]
    handles: list[Artist] = [Line2D([], [], color=_BOUND, linewidth=1.8, label="design bound f / n")]
    if any(rate == 0 for rate in rates):
        handles.append(Line2D([], [], linestyle="", marker="x", color="0.4", label="no operation succeeded"))
    if any(rate is None for rate in rates):
        handles.append(Patch(facecolor=_NOTHING, hatch="////", edgecolor="0.6", linewidth=0, label="not simulated"))
    if any(row and violated(row) for row in rows):
        handles.append(Patch(fill=False, edgecolor="black", linewidth=1.6, label="safety violated"))
    return handles
