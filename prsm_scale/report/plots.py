"""Figures of a run, for a paper or a page."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogFormatter

from prsm_scale.errors import PrsmScaleError
from prsm_scale.report.series import Row, Series

COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000")
"""Okabe and Ito's palette, which colour-blind readers can tell apart."""
_MOST_LABELLED = 3
_DPI = 150


def save_figure(series: Sequence[Series], file: str | Path) -> None:
    """Draw a run and write it.

    Parameters
    ----------
    series
        The run's series.
    file
        Where to; its ending tells the format. The same run gives the same bytes.

    Raises
    ------
    PrsmScaleError
        If the file cannot be written.
    """
    write_figure(draw(series), file)


def write_figure(figure: Figure, file: str | Path, dpi: int = _DPI) -> None:
    """Write a figure, with `dpi` dots an inch where its format has dots; the same figure gives the same bytes.

    Raises
    ------
    PrsmScaleError
        If the file cannot be written.
    """
    # A date and random ids would make every file differ.
    dated = {".svg": {"Date": None}, ".pdf": {"CreationDate": None}}
    metadata = dated.get(Path(file).suffix.lower())
    try:
        with rc_context({"svg.hashsalt": "prsm-scale"}):
            figure.savefig(file, dpi=dpi, metadata=metadata)
    except OSError as error:
        raise PrsmScaleError(f"cannot write {file}: {error.strerror or error}") from error


def draw(series: Sequence[Series]) -> Figure:
    """Draw throughput and latency over the number of nodes.

    Parameters
    ----------
    series
        Series of a run; each has a colour in both panels.

    Returns
    -------
    Figure
        Left: saturation throughput with its chosen law, and the binding resource where it changes. Right:
        median, 95th and 99th percentile of latency, with 95 % intervals as bands.
    """
    figure = Figure(figsize=(11, 4.5), layout="constrained")
    throughput, latency = figure.subplots(1, 2)
    for place, one in enumerate(series):
        colour = COLOURS[place % len(COLOURS)]
        _draw_throughput(throughput, one, colour, named=len(series) <= _MOST_LABELLED)
        _draw_latency(latency, one, colour)
    for panel, title in ((throughput, "saturation throughput, operations/s"), (latency, "latency, ms")):
        # A logarithmic axis without anything to show is an error in matplotlib.
        empty = not np.isfinite(panel.dataLim.intervaly).all()
        panel.set(xscale="log", yscale="linear" if empty else "log", xlabel="replicas n", title=title)
        panel.grid(True, which="major", alpha=0.3)
        panel.margins(y=0.12)
        if not empty:
            panel.yaxis.set_major_formatter(LogFormatter())
            panel.yaxis.set_minor_formatter(LogFormatter(minor_thresholds=(1.5, 0.5)))
    _mark_nodes((throughput, latency), series)
    if len(series) > 1:
        figure.legend(*throughput.get_legend_handles_labels(), loc="outside lower center", ncols=3, fontsize=8)
    for style, name in (("-", "median"), ("--", "95th percentile"), (":", "99th percentile")):
        latency.plot([], [], style, color="0.3", label=name)
    latency.legend(fontsize=8, loc="upper left")
    return figure


def _draw_throughput(panel: Axes, series: Series, colour: str, named: bool) -> None:
    nodes, values = _column(series.rows, "node_count"), _column(series.rows, "saturation_ops_per_second")
    panel.plot(nodes, values, "o", color=colour, markersize=4, label=series.label or "simulated")
    law = next((fit for fit in series.fits if _is_chosen_throughput(fit)), None)
    if law is not None:
        finer = np.geomspace(nodes.min(), nodes.max(), 200)
        panel.plot(finer, _predict(law, finer), "-", color=colour, linewidth=1)
    before = None
    for row, n, value in zip(series.rows, nodes, values, strict=True):
        if named and row["bottleneck"] and row["bottleneck"] != before and np.isfinite(value):
            before = row["bottleneck"]
            name = str(before).replace("_", " ")
            panel.annotate(name, (n, value), (4, 6), textcoords="offset points", fontsize=7, color=colour)


def _draw_latency(panel: Axes, series: Series, colour: str) -> None:
    nodes = _column(series.rows, "node_count")
    for name, style in (("median", "-"), ("p95", "--"), ("p99", ":")):
        low, middle, high = (_column(series.rows, f"{name}_latency{end}_ms") for end in ("_low", "", "_high"))
        panel.plot(nodes, middle, style, color=colour, linewidth=1.2, marker="o", markersize=2.5)
        panel.fill_between(nodes, low, high, color=colour, alpha=0.15, linewidth=0)


def _mark_nodes(panels: Sequence[Axes], series: Sequence[Series]) -> None:
    """Label the simulated n, in place of the powers of ten, as long as they do not crowd."""
    nodes = sorted({int(row["node_count"]) for one in series for row in one.rows})
    if len(nodes) <= 10:
        for panel in panels:
            panel.set_xticks(nodes, [str(n) for n in nodes])
            panel.set_xticks([], minor=True)


def _is_chosen_throughput(fit: Row) -> bool:
    return bool(fit["chosen"]) and fit["quantity"] == "saturation_ops_per_second"


def _predict(fit: Row, nodes: Any) -> Any:
    """Values of a fitted throughput law; see prsm_scale.analysis.curves for the laws."""
    if fit["law"] == "usl":
        divisor = 1 + fit["alpha"] * (nodes - 1) + fit["beta"] * nodes * (nodes - 1)
        return fit["gamma"] * nodes / divisor
    return fit["coefficient"] * nodes ** fit["exponent"]


def _column(rows: Sequence[Row], name: str) -> Any:
    return np.array([row[name] for row in rows], dtype=np.float64)
