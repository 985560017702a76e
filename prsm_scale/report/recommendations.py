"""Recommendations for the terminal."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.console import RenderableType
from rich.text import Text

from prsm_scale.experiments.results import Experiment, Recommendations, Recommended, Verdict, change, gain
from prsm_scale.report.series import common, labels
from prsm_scale.report.tables import plain_table
from prsm_scale.wording import MISSING, number

_HEADINGS = ("change", "verdict", "max ops/s", "gain", "mean latency", "bottleneck")
_LEFT = ("change", "verdict", "bottleneck")


def recommendation_parts(found: Recommendations, everything: bool = False) -> Iterator[RenderableType]:
    """Tabulate what helps and what trades one thing for another, system by system; on demand the other experiments as well."""
    rows = [dict(one.axes) for one in found.systems]
    if rows and (shared := common(rows)):
        yield shared
        yield ""
    for name, system in zip(labels(rows), found.systems, strict=True):
        if name:
            yield Text(name, style="bold")
        yield from _system(system, everything)
        yield ""
    if found.note:
        yield found.note


def _system(system: Recommended, everything: bool) -> Iterator[RenderableType]:
    if system.node_count is None:
        yield system.note
        return
    yield _baseline(system)
    if system.note:
        yield system.note
    helping, trading = system.of(Verdict.HELPS), system.of(Verdict.TRADE_OFF)
    rest = [one for one in system.of(Verdict.NO_HELP) if one.simulated]
    shown = [*helping, *trading, *(rest if everything else [])]
    if shown:
        yield ""
        yield plain_table(_HEADINGS, [_cells(one) for one in shown], left=_LEFT, wrap=("change",))
        yield ""
    yield from map(Text, _notes(shown))
    if everything:
        yield from map(Text, _without_numbers(system))
    yield _count(helping, trading, rest, everything)


def _baseline(system: Recommended) -> str:
    row = system.baseline
    failing = system.first_failing_node_count
    fails = f"n = {failing:,} is the first to fail: {', '.join(system.failed_conditions)}" if failing else "no condition fails"
    told = f"{fails}. As it is, at n = {system.node_count:,}: "
    if not row.get("feasible", True):
        return f"{told}{row['reason']}"
    most, latency = row.get("saturation_ops_per_second"), row.get("mean_latency_ms")
    binding = f" ({row['bottleneck']})" if row.get("bottleneck") else ""
    return f"{told}at most {number(most)} operations/s{binding}, mean latency of one alone {number(latency)} ms"


def _cells(one: Experiment) -> tuple[str, ...]:
    throughput, latency = one.throughput, one.latency
    return (
        one.words,
        str(one.verdict),
        number(throughput.after) if throughput else MISSING,
        gain(throughput) if throughput else MISSING,
        change(latency) if latency else MISSING,
        one.bottleneck_after or MISSING,
    )


def _notes(experiments: Sequence[Experiment]) -> Iterator[str]:
    """Tell what the table has no room for, of each change in a line."""
    for one in experiments:
        told = [one.why, one.loaded_words(), one.caveat]
        if any(told):
            yield f"{one.words}: {'; '.join(filter(None, told))}"


def _without_numbers(system: Recommended) -> Iterator[str]:
    for one in system.experiments:
        if not one.simulated:
            yield f"{one.words}, {one.verdict}: {one.why}"


def _count(helping: Sequence[Experiment], trading: Sequence[Experiment], rest: Sequence[Experiment], everything: bool) -> str:
    tried = len(helping) + len(trading) + len(rest)
    hidden = "; --all shows them" if rest and not everything else ""
    what = f"{len(helping)} help, {len(trading)} trade one thing for another, {len(rest)} do not help"
    return f"{tried} changes simulated: {what}{hidden}"
