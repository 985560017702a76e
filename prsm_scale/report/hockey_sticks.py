"""Figure of latency over throughput: flat at first, then steep, like a hockey stick."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogFormatter

from prsm_scale.report.plots import COLOURS, write_figure
from prsm_scale.report.series import Row, Series

_WIDE = 4.0
"""Ratio of the largest to the smallest capacity from which throughput gets a logarithmic axis."""


def save_hockey_sticks(series: Sequence[Series], file: str | Path) -> None:
    """Draw latency over throughput and write it; see `prsm_scale.report.plots.save_figure`."""
    write_figure(draw(series), file)


def draw(series: Sequence[Series]) -> Figure:
    """Draw latency over throughput.

    Parameters
    ----------
    series
        Systems under rising load, each of which has a colour.

    Returns
    -------
    Figure
        Simulated mean latency with its 95 % interval and the fitted curve, the 99th percentile (dashed) with its interval as a
        band, the knee of the fit, and a vertical line at the capacity.
    """
    figure = Figure(figsize=(8, 5), layout="constrained")
    panel = figure.subplots()
    for place, one in enumerate(series):
        _draw_system(panel, one, COLOURS[place % len(COLOURS)])
    capacities = [row["capacity_ops_per_second"] for one in series for row in one.rows if row["capacity_ops_per_second"]]
    empty = not np.isfinite(panel.dataLim.intervaly).all()
    panel.set(
        xscale="log" if capacities and max(capacities) > _WIDE * min(capacities) else "linear",
        yscale="linear" if empty else "log",
        xlabel="throughput, operations/s",
        ylabel="latency, ms",
    )
    if not empty:
        panel.yaxis.set_major_formatter(LogFormatter())
        panel.yaxis.set_minor_formatter(LogFormatter(minor_thresholds=(1.5, 0.5)))
    panel.grid(True, which="major", alpha=0.3)
    _add_legend(figure, panel, several=len(series) > 1)
    return figure


def _draw_system(panel: Axes, series: Series, colour: str) -> None:
    rows = [row for row in series.rows if row["load"] != 0]
    throughput = _column(rows, "operations_per_second")
    low, mean, high = (_column(rows, f"mean_latency{end}_ms") for end in ("_low", "", "_high"))
    panel.errorbar(
        throughput,
        mean,
        (mean - low, high - mean),
        fmt="o",
        color=colour,
        markersize=4,
        linewidth=1,
        label=series.label or "mean",
    )
    low, p99, high = (_column(rows, f"p99_latency{end}_ms") for end in ("_low", "", "_high"))
    panel.plot(throughput, p99, "--", color=colour, linewidth=1)
    panel.fill_between(throughput, low, high, color=colour, alpha=0.15, linewidth=0)
    for fit in series.fits:
        _draw_fit(panel, fit, colour)


def _draw_fit(panel: Axes, fit: Row, colour: str) -> None:
    panel.axvline(fit["capacity_ops_per_second"], color=colour, linewidth=0.8, linestyle=":")
    if fit["base_latency_ms"] is None:
        return
    has_knee = fit["knee_load"] < 1
    last = max(fit["load_max"], fit["knee_load"]) if has_knee else fit["load_max"]
    load = 1 - np.geomspace(1 - fit["load_min"], 1 - last, 200)
    latency = fit["base_latency_ms"] + fit["wait_scale_ms"] * load / (2 * (1 - load))
    panel.plot(load * fit["capacity_ops_per_second"], latency, "-", color=colour, linewidth=1.2)
    if has_knee:
        panel.plot(fit["knee_ops_per_second"], fit["knee_latency_ms"], "*", color=colour, markersize=13, markeredgecolor="white")


def _add_legend(figure: Figure, panel: Axes, several: bool) -> None:
    if several:
        figure.legend(*panel.get_legend_handles_labels(), loc="outside lower center", ncols=3, fontsize=8)
    styles: dict[str, dict[str, Any]] = {
        "mean": {"marker": "o", "linestyle": "", "markersize": 4},
        "fit": {"linestyle": "-"},
        "knee of the fit": {"marker": "*", "linestyle": "", "markersize": 10},
        "99th percentile": {"linestyle": "--"},
        "capacity": {"linestyle": ":"},
    }
    handles = [panel.plot([], [], color="0.3", **style)[0] for style in styles.values()]
    panel.legend(handles, list(styles), fontsize=8, loc="upper left")


def _column(rows: Sequence[Row], name: str) -> Any:
    return np.array([row[name] for row in rows], dtype=np.float64)
