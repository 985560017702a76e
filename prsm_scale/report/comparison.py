"""A comparison of two runs, for the terminal."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any, Final

from rich.console import RenderableType
from rich.text import Text

from prsm_scale.analysis.comparison import Change, Comparison, Row, Verdict
from prsm_scale.report.series import distinct
from prsm_scale.report.tables import plain_table
from prsm_scale.wording import MISSING, estimate, number

_HEADINGS: Final = ("scenario", "metric", "before", "after", "change [95 % interval]", "verdict")
_LISTED: Final = (Verdict.REGRESSION, Verdict.IMPROVEMENT, Verdict.CHANGED)
_MOST_NAMED: Final = 8


def comparison_parts(comparison: Comparison, everything: bool = False) -> Iterator[RenderableType]:
    """Tabulate what changed, or everything, with the counts and what else is to be known below."""
    named = zip(comparison.changes, distinct([change.row for change in comparison.changes]), strict=True)
    shown = [(change, name) for change, name in named if everything or change.verdict in _LISTED]
    if shown:
        ranked = sorted(shown, key=lambda pair: list(Verdict).index(pair[0].verdict))
        rows = [_cells(change, name) for change, name in ranked]
        yield plain_table(_HEADINGS, rows, left=("scenario", "metric", "verdict"), wrap=("scenario", "verdict"))
        yield ""
    yield Text(_counts(comparison))
    why = Counter(change.why for change in comparison.of(Verdict.NOT_COMPARABLE))
    for reason, count in why.items():
        yield Text(f"{count} not comparable: {reason}")
    for note in comparison.notes:
        yield Text(note, style="yellow")
    yield from (Text(f"only {when}: {_named(rows)}") for when, rows in _lonely(comparison) if rows)


def _cells(change: Change, name: str) -> tuple[str, ...]:
    verdict = str(change.verdict) + (f": {change.why}" if change.why else "")
    return name, change.metric, _value(change.before), _value(change.after), _change(change), verdict


def _value(value: Any) -> str:
    if value is None:
        return MISSING
    if isinstance(value, bool):
        return "yes" if value else "no"
    return value or "none" if isinstance(value, str) else number(value, 4)


def _change(change: Change) -> str:
    ends = change.change_low, change.change_high
    return estimate(change.change, None if None in ends or ends[0] == ends[1] else ends, signed_percent)


def signed_percent(value: float | None) -> str:
    """Write a change in percent, with its sign.

    Examples
    --------
    >>> signed_percent(0.0123), signed_percent(-0.5), signed_percent(0.0), signed_percent(3e-7)
    ('+1.2%', '-50.0%', '0%', '+3.0e-05%')
    """
    if value is None:
        return MISSING
    if value == 0.0:
        return "0%"
    return f"{100 * value:+.1f}%" if abs(value) >= 5e-4 else f"{100 * value:+.1e}%"


def _counts(comparison: Comparison) -> str:
    counts = {verdict: len(comparison.of(verdict)) for verdict in Verdict}
    plural = {Verdict.REGRESSION: "s", Verdict.IMPROVEMENT: "s"}
    return ", ".join(f"{count} {verdict}{plural.get(verdict, '') * (count != 1)}" for verdict, count in counts.items())


def _lonely(comparison: Comparison) -> tuple[tuple[str, Sequence[Row]], ...]:
    return ("before", comparison.only_before), ("after", comparison.only_after)


def _named(rows: Sequence[Row]) -> str:
    names = distinct(rows)
    more = f" and {len(names) - _MOST_NAMED} more" if len(names) > _MOST_NAMED else ""
    return f"{len(rows)} scenario{'s' * (len(rows) != 1)} ({'; '.join(names[:_MOST_NAMED])}{more})"
