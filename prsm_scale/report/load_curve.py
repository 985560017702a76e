"""Latency over the load for the terminal."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from prsm_scale.report.fits import flagged
from prsm_scale.report.series import Row, Series, interval, spread_ms
from prsm_scale.report.tables import WIDTH, plain_table, titled
from prsm_scale.report.textplot import MARKS, Curve, text_plot
from prsm_scale.wording import number, percent

_HEADINGS = ("load", "offered ops/s", "ops/s", "p50 ms", "mean ms", "p99 ms", "success")
_PARAMETERS = 2
_OF_FIT = {
    "too_few_points": "too few points",
    "poor_fit": "a poor fit",
    "base_latency_ms_at_bound": "L0 is at its bound",
    "wait_scale_ms_at_bound": "no waiting seen",
    "missing_points": "some loads have no latency",
    "unanswered_operations": "some operations had no answer",
}
_OF_KNEE = {"knee_outside_data": "outside the data"}


def load_table(series: Series) -> RenderableType:
    """Tabulate what a system does under each load, below a line on what it can do, and above what there is to tell."""
    idle = [Text(_capacity(row)) for row in series.rows if row["load"] == 0 and row["capacity_ops_per_second"]]
    loaded = [row for row in series.rows if row["load"] != 0]
    table = [plain_table(_HEADINGS, _cells(loaded), left=())] if loaded else []
    return titled(series.label, *idle, *table, *(Text(line, style="yellow") for line in _notes(series.rows)))


def load_plot(series: Sequence[Series]) -> list[RenderableType]:
    """Plot mean latency over loads below 1, where there are two or more."""
    shown = series[: len(MARKS)]
    curves = [_curve([row for row in one.rows if 0 < (row["load"] or 0) < 1]) for one in shown]
    lines = [line.rstrip() for line in text_plot("mean latency, ms", curves, WIDTH * 3 // 4, 12, "load", x_log=False)]
    if lines and len(shown) > 1:
        lines += [f"{mark} {one.label}" for mark, one in zip(MARKS, shown, strict=False)]
    if lines and len(series) > len(shown):
        lines.append(f"and {len(series) - len(shown)} more in the tables")
    return [Text("\n".join(lines), no_wrap=True)] if lines else []


def load_summary(series: Series) -> RenderableType:
    """Show the fitted curve of a system and its knee; numbers in brackets are 95 % intervals."""
    table = Table.grid(padding=(0, 2, 0, 0))
    for wraps in (False, True):
        table.add_column(no_wrap=not wraps)
    for finding in (found for fit in series.fits for found in _findings(fit)):
        table.add_row(*finding)
    return titled(series.label, table)


def _curve(rows: Sequence[Row]) -> Curve:
    return Curve([row["load"] for row in rows], [row["mean_latency_ms"] for row in rows])


def _capacity(idle: Row) -> str:
    bound = f", set by {idle['bottleneck']}" if idle["bottleneck"] else ""
    capacity = f"capacity {number(idle['capacity_ops_per_second'])} ops/s{bound}"
    return f"{capacity}; mean latency when idle {spread_ms(idle, 'mean_latency')} ms"


def _cells(rows: Sequence[Row]) -> list[tuple[str, ...]]:
    decimals = min(4, max(len(f"{row['load']:g}".partition(".")[2]) for row in rows))
    return [
        (
            f"{row['load']:.{decimals}f}",
            number(row["offered_ops_per_second"]),
            number(row["operations_per_second"]),
            spread_ms(row, "median_latency"),
            spread_ms(row, "mean_latency"),
            spread_ms(row, "p99_latency"),
            percent(row["success_rate"]),
        )
        for row in rows
    ]


def _notes(rows: Sequence[Row]) -> Iterator[str]:
    for row in rows:
        where = "" if row["load"] == 0 else f"load {row['load']:g}: "
        if row["reason"]:
            yield f"{where}{row['reason']}"
        if row["load"] == 0 and not row["reason"] and not row["capacity_ops_per_second"]:
            yield "nothing bounds its capacity, so that there is no fraction of it to offer"
    if any((row["load"] or 0) >= 1 for row in rows):
        yield "from load 1 on latency grows for as long as the test lasts; such loads are left out of the fit"


def _findings(fit: Row) -> Iterator[tuple[str, str]]:
    if fit["base_latency_ms"] is None:
        yield "fit", "none" + flagged(fit, _OF_FIT)
    else:
        law = f"{_estimate(fit, 'base_latency')} + {_estimate(fit, 'wait_scale')} rho / (2 (1 - rho)) ms"
        misfit = f", misfit {number(100 * fit['rmse_log'], 2)}%" if fit["points"] > _PARAMETERS else ""
        yield "fit", f"{law}{misfit}{flagged(fit, _OF_FIT)}"
        at = f"{number(fit['knee_ops_per_second'])} ops/s at {number(fit['knee_latency_ms'])} ms"
        yield "knee of the fit", f"load {interval(fit, 'knee_load')}, {at}{flagged(fit, _OF_KNEE)}"
    yield "knee of the grid", f"load {fit['grid_knee_load']:g}"


def _estimate(fit: Row, name: str) -> str:
    """Write a time in ms with its interval; its columns have the unit last."""
    return interval({name + end: fit[f"{name}{end}_ms"] for end in ("", "_low", "_high")}, name)
