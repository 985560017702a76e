"""The history of a folder of runs, for the terminal."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from rich.console import RenderableType
from rich.table import Table

from prsm_scale.analysis.history import FEWEST_RUNS, TOLERANCE, Direction, History, PastRun, Trend
from prsm_scale.report.comparison import signed_percent
from prsm_scale.report.tables import plain_table
from prsm_scale.wording import MISSING, number

_BARS: Final = "▁▂▃▄▅▆▇█"
_LONGEST, _LONGEST_PLAIN = 18, 30
_NEWEST: Final = 16


def history_parts(history: History) -> Iterator[RenderableType]:
    """Tabulate the runs and the trends, with what was left out below."""
    if history.runs:
        yield _run_table(history)
        yield ""
    if history.trends:
        names = ("configuration", "metric", "runs", "course", "change", "verdict")
        cells = list(map(_trend, history.trends))
        above = [None, *(row[0] for row in cells)]
        told = [("" if row[0] == last else row[0], *row[1:]) for row, last in zip(cells, above, strict=False)]
        yield plain_table(names, told, left=("configuration", "metric", "course", "verdict"), wrap=("configuration",))
        yield ""
    yield from _below(history)


def _run_table(history: History) -> Table:
    headings = ("run", "when", "version", "configuration", "count", "seed", "wall s", "values")
    # names of single files tell time and configuration, and leave no room for them
    named = max(len(run.run_id) for run in history.runs) > _LONGEST_PLAIN
    left_out = ("when", "configuration") if named else ()
    rows = [dict(zip(headings, _run(run, history.metrics[0]), strict=True)) for run in history.runs]
    shown = [name for name in headings if name not in left_out]
    return plain_table(shown, [[row[name] for name in shown] for row in rows], left=("run", "when", "version", "configuration"))


def sparkline(levels: Sequence[float]) -> str:
    """Draw levels with eight heights, the newest last; what moves by no more than the tolerance stays in the middle.

    Examples
    --------
    >>> sparkline([1.0, 1.0, 1.0]), sparkline([1.0, 1.5, 2.0])
    ('▄▄▄', '▁▄█')
    """
    shown = levels[-_NEWEST:]
    if not shown:
        return ""
    middle = (min(shown) + max(shown)) / 2.0
    span = max(max(shown) - min(shown), len(_BARS) * TOLERANCE)
    top = len(_BARS) - 1
    return "".join(_BARS[min(top, max(0, int((level - middle) / span * top + top / 2.0)))] for level in shown)


def _run(run: PastRun, metric: str) -> tuple[str, ...]:
    told = run.document([metric])
    ends = told["metrics"][metric]
    seeds = told["seeds"]
    return (
        run.run_id,
        run.created_utc[:16].replace("T", " "),
        str(told["version"] or MISSING),
        _short(run.configuration or MISSING),
        str(told["scenarios"]) + "*" * (not run.stored.finished),
        str(seeds[0]) if len(seeds) == 1 else f"{len(seeds)} seeds",
        number(told["wall_seconds"], 2),
        MISSING if ends is None else number(ends[0]) if ends[0] == ends[1] else f"{number(ends[0])}..{number(ends[1])}",
    )


def _trend(trend: Trend) -> tuple[str, ...]:
    way = f", {trend.way}" if trend.way else ""
    return (
        trend.configuration,
        trend.metric,
        str(len(trend.runs)),
        sparkline(trend.levels),
        signed_percent(trend.change),
        f"{trend.direction}{way}",
    )


def _below(history: History) -> Iterator[str]:
    count = len(history.runs)
    unfinished = ", * unfinished" * any(not run.stored.finished for run in history.runs)
    values = f"; count: its scenarios{unfinished}; values: {history.metrics[0]}, least..greatest over them"
    yield f"{count} run{'s' * (count != 1)}{values}" if count else "no runs"
    alone = count - len({run for trend in history.trends for run in trend.runs})
    if alone:
        yield f"{alone} without another finished run of the same scenarios, and so without a trend"
    if any(trend.direction == Direction.TOO_FEW for trend in history.trends):
        yield f"a trend takes {FEWEST_RUNS} runs; compare finds what changed between two"
    if history.others:
        yield f"{history.others} left out, which hold no scenarios (fault runs, validations, or nothing yet)"


def _short(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 3]}..."
