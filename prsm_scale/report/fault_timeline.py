"""Figure of fault scripts: throughput and latency over time, fault periods shaded."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import LogFormatter

from prsm_scale.estimates import half_width
from prsm_scale.fault_metrics import Times, bin_edges
from prsm_scale.report.fault_table import scene
from prsm_scale.report.plots import COLOURS, write_figure
from prsm_scale.wording import number

if TYPE_CHECKING:
    from prsm_scale.fault_runs import FaultRun

_THROUGHPUT, _LATENCY, _FAULT, _VIEW = COLOURS[0], COLOURS[2], COLOURS[1], COLOURS[6]
_SHADE, _MOST_SHADE = 0.14, 0.5
"""Opacity of a fault period, and of all that overlap."""
_MOST_SHOWN = 3.0
"""Throughput that is drawn at most, over that before the first fault; what waited is answered at once, ten times as fast."""
_WIDE = 3.0
"""Ratio of latencies from which their axis is logarithmic."""
_TICKS = 0.04
"""Height of the ticks of views, as a share of the panel's."""
_CHARACTERS = (118, 56)
"""Characters of a fault's name that a panel is wide, alone and among others."""
_TIER_POINTS = 11
_MOST_COLUMNS = 3
_WIDTH_INCHES, _HEIGHT_INCHES = 4.6, 3.9
_ALONE_INCHES = (9.0, 5.5)


def save_timelines(runs: Sequence[FaultRun], file: str | Path) -> None:
    """Draw runs under fault scripts and write the figure; the ending of `file` tells the format.

    Raises
    ------
    PrsmScaleError
        If the file cannot be written.
    """
    write_figure(draw(runs), file)


def draw(runs: Sequence[FaultRun]) -> Figure:
    """Draw runs of one scenario, each under its script.

    Parameters
    ----------
    runs : sequence of FaultRun

    Returns
    -------
    Figure
        For each run two panels over time. Above: answers a second, averaged over the replicates, with the 95 % interval of this
        mean as a band; the throughput before the first fault (dotted); a tick for each view that was entered. Below: median and
        99th percentile of the latency of operations, over the time of their start. Fault periods are shaded and named, the darker
        the more overlap.
    """
    columns = min(_MOST_COLUMNS, len(runs))
    rows = -(-len(runs) // columns)
    size = _ALONE_INCHES if len(runs) == 1 else (_WIDTH_INCHES * columns, _HEIGHT_INCHES * rows)
    figure = Figure(figsize=size, layout="constrained")
    parts = figure.subfigures(rows, columns, squeeze=False)
    for place, run in enumerate(runs):
        above, below = parts.flat[place].subplots(2, 1, sharex=True, height_ratios=(3, 2))
        _draw_throughput(above, run, characters=_CHARACTERS[0 if len(runs) == 1 else 1])
        _draw_latency(below, run)
        if place % columns == 0:
            above.set_ylabel("operations/s")
            below.set_ylabel("latency, ms")
    figure.suptitle(scene(runs[0]), fontsize=10)
    figure.legend(handles=list(_legend()), loc="outside lower center", ncols=6, fontsize=8, frameon=False)
    return figure


def _draw_throughput(panel: Axes, run: FaultRun, characters: int) -> None:
    middle_s = _middles_s(run)
    rates = np.array([row["ops_per_second"] for row in run.bins], np.float64).reshape(len(run.seen), -1)
    mean = rates.mean(axis=0)
    half = half_width(1.0, len(rates)) * rates.std(axis=0, ddof=1) / len(rates) ** 0.5 if len(rates) > 1 else 0.0 * mean
    panel.plot(middle_s, mean, "-", color=_THROUGHPUT, linewidth=1.3, gid="throughput")
    panel.fill_between(middle_s, np.maximum(mean - half, 0.0), mean + half, color=_THROUGHPUT, alpha=0.2, linewidth=0)
    views_s = np.concatenate([one.views_ms for one in run.seen]) / 1000.0
    at = panel.get_xaxis_transform()
    panel.plot(views_s, np.full(views_s.size, _TICKS), "|", color=_VIEW, markersize=9, transform=at, gid="views", zorder=4)
    panel.set_ylim(bottom=0.0)
    baseline = run.mean("baseline_ops_per_second")
    if baseline:
        panel.axhline(baseline[0], color="0.4", linewidth=0.9, linestyle=":", gid="baseline")
        _cut_peaks(panel, middle_s, mean, _MOST_SHOWN * baseline[0])
    _shade(panel, run)
    tiers = _name_faults(panel, run, characters)
    panel.set_title(run.script.name, fontsize=10, loc="left", pad=5 + _TIER_POINTS * tiers)


def _cut_peaks(panel: Axes, middle_s: Times, mean: Times, top: float) -> None:
    """Leave out what is above the top, and write how high it is."""
    above = np.concatenate([[False], mean > top, [False]])
    if not above.any():
        return
    panel.set_ylim(top=top)
    for begin, end in zip(np.flatnonzero(above[1:] & ~above[:-1]), np.flatnonzero(above[:-1] & ~above[1:]), strict=True):
        peak = begin + int(mean[begin:end].argmax())
        panel.annotate(
            number(mean[peak]), (middle_s[peak], top), (3, -3), textcoords="offset points",
            fontsize=7, color=_THROUGHPUT, va="top", gid="peak",
        )  # fmt: skip


def _draw_latency(panel: Axes, run: FaultRun) -> None:
    """Draw quantiles over the operations of all replicates that start in each bin."""
    edges_ms = bin_edges(run.seen[0].schedule.duration_ms, run.bin_ms)
    start, latency = (
        np.concatenate([getattr(one, name)[one.answered] for one in run.seen]) for name in ("start_ms", "latency_ms")
    )
    place = np.searchsorted(edges_ms, start, side="right") - 1
    parts = [latency[place == number] for number in range(edges_ms.size - 1)]
    for name, q, style in (("median", 0.5, "-"), ("p99", 0.99, "--")):
        values = np.array([np.quantile(part, q) if part.size else np.nan for part in parts])
        panel.plot(_middles_s(run), values, style, color=_LATENCY, linewidth=1.2, gid=name)
    low, high = panel.dataLim.intervaly
    if np.isfinite(high) and high > _WIDE * low > 0.0:
        panel.set_yscale("log")
        panel.yaxis.set_major_formatter(LogFormatter())
        panel.yaxis.set_minor_formatter(LogFormatter(minor_thresholds=(1.5, 0.5)))
    panel.set(xlim=(0.0, edges_ms[-1] / 1000.0), xlabel="s")
    _shade(panel, run)


def _middles_s(run: FaultRun) -> Times:
    edges_ms = bin_edges(run.seen[0].schedule.duration_ms, run.bin_ms)
    return np.asarray((edges_ms[:-1] + edges_ms[1:]) / 2000.0)


def _shade(panel: Axes, run: FaultRun) -> None:
    """Shade the periods, which are at the same times in all replicates, whoever is drawn."""
    for spans in run.seen[0].schedule.spans.values():
        alpha = min(_SHADE, _MOST_SHADE / len(spans))
        for begin_ms, end_ms in spans:
            panel.axvspan(begin_ms / 1000.0, end_ms / 1000.0, color=_FAULT, alpha=alpha, linewidth=0, zorder=0, gid="fault")
    panel.grid(True, which="major", alpha=0.3)


def _name_faults(panel: Axes, run: FaultRun, characters: int) -> int:
    """Write above the panel, over its beginning, what each fault is, without overlap; returns the number of lines."""
    schedule = run.seen[0].schedule
    free: list[float] = []
    for label, spans in sorted(schedule.spans.items(), key=lambda item: item[1][0]):
        width = (len(label) + 1) / characters
        at = max(0.0, min(spans[0][0] / schedule.duration_ms, 1.0 - width))
        tier = next((place for place, until in enumerate(free) if until <= at), len(free))
        free[tier : tier + 1] = [at + width]
        panel.annotate(
            label, (at, 1.0), (0, 3 + _TIER_POINTS * tier), xycoords="axes fraction", textcoords="offset points",
            fontsize=8, color=_FAULT, va="bottom", gid="name",
        )  # fmt: skip
    return len(free)


def _legend() -> Iterator[Artist]:
    yield Line2D([], [], color=_THROUGHPUT, label="throughput, 95 % interval")
    yield Line2D([], [], color="0.4", linestyle=":", label="before the first fault")
    yield Line2D([], [], color=_VIEW, marker="|", markersize=9, linestyle="", label="view entered")
    yield Line2D([], [], color=_LATENCY, label="median latency by start")
    yield Line2D([], [], color=_LATENCY, linestyle="--", label="99th percentile")
    yield Patch(color=_FAULT, alpha=2 * _SHADE, label="fault")
