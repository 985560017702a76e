"""Two runs held against each other, scenario by scenario: what got worse, what got better."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Final

from prsm_scale.analysis.comparison import BETTER, Change, Comparison, HasScenarios, Row, Verdict, label
from prsm_scale.analysis.differences import Difference, difference, difference_over_seeds, estimate_of, holm
from prsm_scale.analysis.identity import by_identity
from prsm_scale.columns import limit_names, records
from prsm_scale.errors import UsageError, one_of

TOLERANCE: Final = 0.02
LEVEL: Final = 0.01
"""Chance that a comparison without a change finds any."""

DEFAULT_METRICS: Final = (
    "saturation_ops_per_second",
    "mean_latency_ms",
    "median_latency_ms",
    "p99_latency_ms",
    "success_rate",
    "message_count",
    "bytes_per_operation",
    "cpu_percent_max",
    "memory_mb",
    "bandwidth_mbps_max",
)

_HOST: Final = ("run_id", "wall_seconds", "messages_per_second")
"""Columns that tell of the run and the host, not of what was simulated."""

_DRAWN_ANEW: Final = "seeds differ, and with them links, graphs and places; compare the same seed, or several of each"


def compare(
    before: HasScenarios | str | os.PathLike[str],
    after: HasScenarios | str | os.PathLike[str],
    tolerance: float = TOLERANCE,
    metrics: Sequence[str] = DEFAULT_METRICS,
    level: float = LEVEL,
) -> Comparison:
    """Find what got worse and what got better from one run to another.

    Parameters
    ----------
    before, after
        Runs, or paths of stored ones.
    tolerance
        Smallest relative change that counts.
    metrics
        Columns to compare, names of `BETTER`.
    level
        Chance that a comparison of runs without a change finds any.

    Returns
    -------
    Comparison

    Raises
    ------
    UsageError
        If a run cannot be read, a metric has no better way, or a number is out of its range.

    Notes
    -----
    Scenarios with the same `scenario_id` and version hold the same numbers to the bit; one that does not is told, and is a
    regression or an improvement where it passes the tolerance. Scenarios with the same settings and seed are compared by their
    stored intervals, and those whose seeds differ by how much seeds differ among themselves, for which there have to be three or
    more. There a change counts if it passes the tolerance and is significant by Holm's procedure over all tests of the
    comparison. Metrics that hardly vary, such as message counts, need no test; one that varies and has no interval is not
    comparable.
    """
    check_request(tolerance, metrics, level)
    groups = [by_identity(records(_run(run).scenarios)) for run in (before, after)]
    changes: list[Change] = []
    notes: list[str] = []
    only: tuple[list[Row], list[Row]] = ([], [])
    for name in dict.fromkeys([*groups[1], *groups[0]]):
        old, new = groups[0].get(name, {}), groups[1].get(name, {})
        shared = [seed for seed in new if seed in old]
        if old and new and not shared:
            changes += _over_seeds(list(old.values()), list(new.values()), metrics, tolerance)
            continue
        for seed in shared:
            changes += _pair(old[seed], new[seed], metrics, tolerance)
            notes += _notes(old[seed], new[seed])
        only[0].extend(row for seed, row in old.items() if seed not in shared)
        only[1].extend(row for seed, row in new.items() if seed not in shared)
    return Comparison(_judged(changes, tolerance, level), tuple(only[0]), tuple(only[1]), tuple(notes), tolerance, level)


def check_request(tolerance: float, metrics: Sequence[str], level: float = LEVEL) -> None:
    """Reject what cannot be compared.

    Raises
    ------
    UsageError
        One line for each fault.
    """
    faults = [
        UsageError(name, value, "a number from 0 up to, but less than, 1")
        for name, value in (("tolerance", tolerance), ("level", level))
        if not 0.0 <= value < 1.0
    ]
    faults += [UsageError("metrics", name, one_of(BETTER, name)) for name in metrics if name not in BETTER]
    if faults:
        raise UsageError.gather(faults)


def _run(run: HasScenarios | str | os.PathLike[str]) -> HasScenarios:
    if isinstance(run, str | os.PathLike):
        from prsm_scale.store import load

        return load(run)
    return run


def _same(before: Row, after: Row) -> bool:
    return bool(before["scenario_id"] == after["scenario_id"] and before["version"] == after["version"])


def _notes(before: Row, after: Row) -> Iterator[str]:
    if _same(before, after):
        moved = [name for name in after if name not in _HOST and before[name] != after[name]]
        if moved:
            named = ", ".join(moved[:3]) + (", ..." if len(moved) > 3 else "")
            columns = f"{len(moved)} column{'s' * (len(moved) > 1)} differ{'s' * (len(moved) == 1)} ({named})"
            yield f"{label(after)}: same version and seed, yet {columns}: the program changed, or the host computes otherwise"
    elif before["version"] == after["version"] and before["scenario"] == after["scenario"]:
        yield f"{label(after)}: same settings, but a file or table that they name has changed"


def _pair(before: Row, after: Row, metrics: Sequence[str], tolerance: float) -> Iterator[Change]:
    seeds = (after["seed"],)
    if not (before["feasible"] and after["feasible"]):
        yield _transition(before, after, "feasible", after["feasible"] - before["feasible"], after["reason"])
        return
    passed, old = (set(limit_names(row["limits_passed"])) for row in (after, before))
    if passed != old:
        yield _transition(before, after, "limits_passed", -1 if passed - old else 1, "")
    violated = [bool(row["safety_violations"]) for row in (before, after)]
    if any(violated):
        yield _transition(before, after, "safety_violations", violated[0] - violated[1], "")
    for metric in metrics:
        change = Change(after, seeds, metric, before[metric], after[metric])
        if before[metric] is None or after[metric] is None:
            yield _without_value(change)
        elif _same(before, after):
            yield _exact(change, tolerance)
        else:
            yield _estimated(change, before, after, tolerance)


def _transition(before: Row, after: Row, name: str, way: int, why: str) -> Change:
    verdict = (Verdict.REGRESSION, Verdict.UNCHANGED, Verdict.IMPROVEMENT)[way + 1]
    return Change(after, (after["seed"],), name, before[name], after[name], verdict=verdict, why=why)


def _without_value(change: Change) -> Change:
    if change.before is None and change.after is None:
        return change
    missing = "before" if change.before is None else "after"
    return replace(change, verdict=Verdict.NOT_COMPARABLE, why=f"no value {missing}")


def _exact(change: Change, tolerance: float) -> Change:
    gap = change.after - change.before
    compared = _measured(change, Difference(gap, gap, None, exact=True), tolerance)
    if gap == 0.0:
        return compared
    verdict = Verdict.CHANGED if compared.verdict == Verdict.UNCHANGED else compared.verdict
    return replace(compared, verdict=verdict, why="same version and seed differ")


def _estimated(change: Change, before: Row, after: Row, tolerance: float) -> Change:
    one, other = estimate_of(before, change.metric), estimate_of(after, change.metric)
    if one is None or other is None:
        return _undecided(change, "it varies, and no interval is stored")
    result = difference(one, other)
    placed = before["byzantine_count"] and before["replicates"] != after["replicates"]
    if result.exact and placed and change.metric != "memory_mb":
        return _undecided(change, "not the same placements of faulty replicas")
    if result.p is None:
        return _undecided(change, "too few operations to bound it")
    return _measured(change, result, tolerance)


def _over_seeds(before: Sequence[Row], after: Sequence[Row], metrics: Sequence[str], tolerance: float) -> Iterator[Change]:
    seeds = tuple(row["seed"] for row in (*before, *after))
    feasible = [all(row["feasible"] for row in rows) for rows in (before, after)]
    if not all(feasible):
        told = _transition(before[0], after[0], "feasible", feasible[1] - feasible[0], after[0]["reason"])
        yield replace(told, seeds=seeds)
        return
    for metric in metrics:
        old, new = ([row[metric] for row in rows if row[metric] is not None] for rows in (before, after))
        one, other = (math.fsum(values) / len(values) if values else None for values in (old, new))
        change = Change(after[0], seeds, metric, one, other)
        if one is None or other is None:
            yield _without_value(change)
            continue
        result = difference_over_seeds(old, new)
        yield _measured(change, result, tolerance) if result else _undecided(change, _DRAWN_ANEW)


def _undecided(change: Change, why: str) -> Change:
    """What cannot be told, unless nothing differs."""
    told = replace(change, change=_relative(change, change.after - change.before))
    return told if change.before == change.after else replace(told, verdict=Verdict.NOT_COMPARABLE, why=why)


def _measured(change: Change, result: Difference, tolerance: float) -> Change:
    """What was compared; an exact difference needs no test and has its verdict at once."""
    ends = (_relative(change, end) for end in (change.after - change.before, result.low, result.high))
    relative, low, high = ends
    told = replace(change, change=relative, change_low=low, change_high=high, p=None if result.exact else result.p)
    return replace(told, verdict=_way(told)) if result.exact and _passes(told, tolerance) else told


def _relative(change: Change, gap: float | None) -> float | None:
    return None if gap is None or not change.before else gap / abs(change.before)


def _passes(change: Change, tolerance: float) -> bool:
    """Whether a change is larger than the tolerance; from 0, any is."""
    return change.after != change.before and (change.change is None or abs(change.change) > tolerance)


def _way(change: Change) -> Verdict:
    higher = change.after > change.before
    return Verdict.IMPROVEMENT if higher == (BETTER[change.metric] == "higher") else Verdict.REGRESSION


def _judged(changes: Sequence[Change], tolerance: float, level: float) -> tuple[Change, ...]:
    tested = [change.p for change in changes if change.p is not None]
    significant = iter(holm(tested, level))
    found = (change.p is not None and next(significant) and _passes(change, tolerance) for change in changes)
    return tuple(replace(change, verdict=_way(change)) if yes else change for change, yes in zip(changes, found, strict=True))
