"""What the ladders say, as tables for the terminal and as a Markdown page."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeVar

from rich.console import Group, RenderableType
from rich.text import Text

from prsm_scale.ladders.checks import EXACT, Check, Verdict
from prsm_scale.report.tables import plain_table
from prsm_scale.wording import MISSING, number

if TYPE_CHECKING:
    from prsm_scale.ladders.run import Validation
    from prsm_scale.ladders.summary import Bar

K = TypeVar("K", bound=Hashable)

_MARKS: Final = {Verdict.FAIL: "!", Verdict.NOISE: "~"}
_POINT_COLUMNS: Final = {
    "mean_latency_ms": "mean",
    "median_latency_ms": "p50",
    "p99_latency_ms": "p99",
    "saturation_ops_per_second": "max ops/s",
    "operations_per_second": "ops/s",
    "message_count": "messages",
    "bytes_per_operation": "bytes",
    "ks_distance": "KS",
}
_WITH_INTERVAL: Final = ("mean", "p99")
_SHOWN: Final = 1e-4
"""Width of an interval from which on it is shown: 0.005 % on either side."""
_TITLES: Final = {
    "closed_forms": "Closed forms: both engines where the result is known",
    "engines": "Engines: rounds against events, errors in % of what the events engine says",
    "peers": "Peers: mean time in ms from proposal to commit by n - f replicas, each delay Normal(250, 50)",
    "measurements": "Measurements: deployed systems, from what their sources state and the defaults",
}
_LEGEND: Final = (
    "Errors in %, ± half the 95 % interval of both values together; ! beyond its bar; ~ beyond its bar, but not by more than the "
    "interval. KS: distance of the two distributions of latency. Means of draws are held to four standard errors."
)


@dataclass(frozen=True)
class Section:
    """A table with its title, lines below it, and the headings of columns of text."""

    title: str
    headings: tuple[str, ...] = ()
    rows: tuple[tuple[str, ...], ...] = ()
    left: tuple[str, ...] = ()
    wrap: tuple[str, ...] = ()
    lines: tuple[str, ...] = ()


def sections(validation: Validation) -> list[Section]:
    """Everything to show: a table for each ladder, what was not run and why, and the bars."""
    makers = {"closed_forms": _by_engine, "engines": _by_point, "peers": _by_engine, "measurements": _measured}
    parts: list[Section] = []
    for ladder, make in makers.items():
        checks = [check for check in validation.checks if check.ladder == ladder]
        if checks:
            parts += make(_TITLES[ladder], checks)
    return [*parts, _bars(validation.bars)]


def render(validation: Validation) -> Iterator[RenderableType]:
    """Tables for the terminal."""
    for section in sections(validation):
        parts: list[RenderableType] = [Text(section.title, style="bold")]
        if section.rows:
            parts.append(plain_table(section.headings, section.rows, section.left, section.wrap))
        yield Group(*parts, *map(Text, section.lines))
    yield Text(_LEGEND)


def page(validation: Validation) -> str:
    """A Markdown page: the same tables, and for each measured value its source and what was used."""
    text = [_HEAD]
    for section in sections(validation):
        text.append(f"## {section.title}\n")
        if section.rows:
            text.append(_markdown(section))
        text += [f"{line}\n" for line in section.lines]
    text += _sources(validation.checks)
    return "\n".join(text).rstrip() + "\n"


_HEAD: Final = f"""# What proves it right

Made by `prsm-scale validate`, which runs it all again. {_LEGEND}
"""


def error_text(check: Check | None, interval: bool = True) -> str:
    """Write an error in percent with its interval and its mark, ``+0.12 ±0.30``."""
    if check is None or check.error is None:
        return MISSING
    error = check.error
    mark = _MARKS.get(check.verdict, "")
    if abs(error.value) <= EXACT and error.high - error.low <= EXACT:
        return f"exact{mark}"
    half = f" ±{50 * (error.high - error.low):.2f}" if interval and error.high - error.low > _SHOWN else ""
    return f"{100 * error.value:+.2f}{half}{mark}"


def _by_engine(title: str, checks: Sequence[Check]) -> Iterator[Section]:
    """One row a case, and for each engine its value and error."""
    engines = list(dict.fromkeys(check.engine for check in checks))
    cases = _grouped(checks, lambda check: (check.case, check.metric))
    headings = ("what", "expected", *(heading for engine in engines for heading in (engine, f"{engine} error")))
    rows = []
    for (case, _), members in cases.items():
        found = {check.engine: check for check in members}
        cells = [case, f"{_value(members[0], 'reference')} {members[0].unit}".rstrip()]
        for engine in engines:
            cells += [_value(found.get(engine), "predicted"), error_text(found.get(engine))]
        rows.append(tuple(cells))
    yield Section(title, headings, tuple(rows), ("what",))


def _by_point(title: str, checks: Sequence[Check]) -> Iterator[Section]:
    """One table a regime, one row a point, one column a quantity."""
    for regime, members in _grouped(checks, lambda check: check.group).items():
        columns = {name: told for name, told in _POINT_COLUMNS.items() if any(check.metric == name for check in members)}
        rows = []
        for case, of_case in _grouped(members, lambda check: check.case).items():
            found = {check.metric: check for check in of_case}
            rows.append((case, *(error_text(found.get(name), told in _WITH_INTERVAL) for name, told in columns.items())))
        yield Section(f"{title}; {regime}", ("point", *columns.values()), tuple(rows), ("point",), ("point",))


def _measured(title: str, checks: Sequence[Check]) -> Iterator[Section]:
    """One table for what was run, and the rest by the reason why not."""
    headings = ("case", "group", "metric", "measured", "predicted", "error")
    rows = tuple(
        (
            check.case,
            check.group,
            check.metric,
            f"{_value(check, 'reference')} {check.unit}",
            _value(check, "predicted"),
            error_text(check),
        )
        for check in checks
        if check.error is not None
    )
    if rows:
        yield Section(title, headings, rows, ("case", "group", "metric"), lines=("group: what dominates the value",))
    reasons = _grouped([check for check in checks if check.error is None], lambda check: check.why)
    lines = tuple(f"{', '.join(check.case for check in members)}: {why}" for why, members in reasons.items())
    if lines:
        yield Section("Measurements that are not run", lines=lines)


def _bars(bars: Sequence[Bar]) -> Section:
    headings = ("ladder", "group", "rows", "median error", "largest", "bar", "met")
    rows = tuple(
        (
            bar.ladder,
            bar.group,
            str(bar.rows),
            f"{100 * bar.median_error:.2f}%",
            f"{100 * bar.largest_error:.2f}%",
            "of each row" if bar.bar is None else f"median {bar.bar:.0%}",
            "yes" if bar.met else "no",
        )
        for bar in bars
    )
    return Section("Bars", headings, rows, ("ladder", "group", "bar", "met"))


def _value(check: Check | None, name: str) -> str:
    estimate = None if check is None else getattr(check, name)
    return MISSING if estimate is None else number(estimate.value, 5)


def _grouped(checks: Iterable[Check], key: Callable[[Check], K]) -> dict[K, list[Check]]:
    groups: dict[K, list[Check]] = {}
    for check in checks:
        groups.setdefault(key(check), []).append(check)
    return groups


def _markdown(section: Section) -> str:
    aligned = ["---" if heading in section.left else "---:" for heading in section.headings]
    lines = [section.headings, aligned, *section.rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


def _sources(checks: Sequence[Check]) -> Iterator[str]:
    noted = [check for check in checks if check.ladder == "measurements" and (check.note or check.source)]
    if noted:
        yield "## Sources of the measurements, and what was used\n"
    for (source, locator, note), members in _grouped(noted, lambda check: (check.source, check.locator, check.note)).items():
        where = f"{source}: {locator}" if locator else source
        yield f"* **{', '.join(dict.fromkeys(check.case for check in members))}**: {where}.{f' {note}.' if note else ''}"
