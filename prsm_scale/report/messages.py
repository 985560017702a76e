"""The messages of one operation for the terminal, in 100 columns, and as rows."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import fields
from typing import Any

import numpy as np
from rich.table import Table

from prsm_scale.atomic import strict
from prsm_scale.report.tables import plain_table
from prsm_scale.tracing import COMMITTED, ENDED, FAILED, STARTED, Hops, Jobs, Marks, Trace
from prsm_scale.wording import MISSING, number

Cells = tuple[str, ...]
_TIMES = ("ready", "leaves", "arrives", "received", "begins", "ends")
_SUMMARY = ("round", "messages", "sent", "repeats", "lost", "late", "first sent", "completed by", "first", "median", "last")


def scene(trace: Trace) -> str:
    """Name the scenario of a trace by its main settings."""
    scenario = trace.scenario
    protocol = str(getattr(scenario.protocol, "name", scenario.protocol))
    load = f"{scenario.clients} clients" if scenario.clients else f"{scenario.rate:g} ops/s offered"
    axes = (scenario.topology, scenario.network, scenario.dissemination, load)
    return ", ".join([protocol, f"n = {trace.nodes}", *axes])


def outcome(trace: Trace) -> str:
    """Tell in one line what came of a trace of one operation."""
    (operation,) = trace.operations
    start, committed, ended = (trace.moment_ms(what) for what in (STARTED, COMMITTED, ENDED))
    told = [f"operation {operation}"]
    if start is not None and committed is not None:
        told.append(f"committed after {number(committed - start, 4)} ms")
    if start is not None and ended is not None:
        told.append(f"answered after {number(ended - start, 4)} ms")
    else:
        told.append("given up" if trace.moment_ms(FAILED) is not None else "never answered")
    return ", ".join(told)


def message_table(trace: Trace, most: int | None = None) -> Table:
    """Tabulate the transmissions of a trace of one operation, in the order in which they left.

    Parameters
    ----------
    trace : Trace
    most : int, optional
        Rows after which to stop.
    """
    hops = trace.hops.take(np.arange(len(trace.hops))[:most])
    relayed = bool((hops.source != hops.sender).any())
    headings = ("round", *(("of",) if relayed else ()), "from", "to", *_TIMES, "")
    rows = [cells if relayed else (cells[0], *cells[2:]) for cells in _hop_cells(trace, hops)]
    return plain_table(headings, rows, left=("round", ""))


def round_table(trace: Trace) -> Table:
    """Tabulate the rounds of a trace of one operation; times are those after its start."""
    return plain_table(_SUMMARY, [_round_cells(trace, r) for r in range(len(trace.rounds))], left=("round",))


def rows_of(table: Hops | Marks | Jobs, rounds: tuple[str, ...]) -> list[dict[str, Any]]:
    """Turn a table into rows for strict JSON: rounds by name, None for a time that never came."""
    columns = {column.name: getattr(table, column.name).tolist() for column in fields(table)}
    columns["round"] = [rounds[r] for r in columns["round"]]
    return [dict(zip(columns, map(strict, values), strict=True)) for values in zip(*columns.values(), strict=True)]


def _clock(trace: Trace) -> Callable[[float], str]:
    """Make what writes times after the operation's start, all with as many decimals as the longest leaves room for."""
    start = trace.moment_ms(STARTED) or 0.0
    times = np.concatenate([trace.hops.leave_ms, trace.hops.arrive_ms, trace.hops.end_ms])
    longest = float((times[np.isfinite(times)] - start).max(initial=1.0))
    digits = max(0, 5 - len(str(int(longest))))
    return lambda time: f"{time - start:.{digits}f}" if math.isfinite(time) else MISSING


def _hop_cells(trace: Trace, hops: Hops) -> Iterator[Cells]:
    clock = _clock(trace)
    times = np.column_stack([hops.ready_ms, hops.leave_ms, hops.arrive_ms, hops.received_ms, hops.begin_ms, hops.end_ms])
    for k in range(len(hops)):
        nodes = (hops.source[k], hops.sender[k], hops.receiver[k])
        yield (trace.rounds[hops.round[k]], *map(trace.name, nodes), *map(clock, times[k]), _remark(hops, k))


def _remark(hops: Hops, k: int) -> str:
    told = (
        f"repeat {hops.repeat[k]}" if hops.repeat[k] else "",
        "lost" if hops.lost[k] else "late" if hops.late[k] else "silent" if hops.to_silent[k] else "",
    )
    return ", ".join(filter(None, told))


def _round_cells(trace: Trace, r: int) -> Cells:
    hops = trace.hops.take(trace.hops.round == r)
    marks = trace.marks.take((trace.marks.round == r) & trace.marks.completed)
    clock = _clock(trace)
    messages = {(i, j) for i, j in zip(hops.source.tolist(), hops.destination.tolist(), strict=True) if i != j}
    counts = (len(messages), len(hops), (hops.repeat > 0).sum(), hops.lost.sum(), hops.late.sum())
    done = np.sort(marks.time_ms)
    moments = done[[0, (done.size - 1) // 2, -1]] if done.size else np.full(3, np.nan)
    return (
        trace.rounds[r],
        *(f"{count:,}" for count in counts),
        clock(hops.leave_ms.min(initial=np.inf)),
        str(done.size),
        *map(clock, moments),
    )
