"""A trace in the Trace Event Format, which ui.perfetto.dev and chrome://tracing open.

Format: https://docs.google.com/document/d/1CvAClvFfyA5R-PhYUmn5OOQtYMH4h6I0nSsKchNAySU
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from prsm_scale import __version__
from prsm_scale.atomic import dumps, reason, write_text
from prsm_scale.errors import PrsmScaleError
from prsm_scale.faults import PRIMARY
from prsm_scale.report.messages import rows_of
from prsm_scale.tracing import COMMITTED, COMPLETED, ENDED, FAILED, STARTED, Ids, Times, Trace, lanes

Event = dict[str, Any]
Span = tuple[int, float, float, str, Event]
"""Node, begin and end in ms, name, details."""
_KINDS = ("rounds", "cpu", "sent", "received")
_TICKS_PER_US = 8
"""Times are multiples of 125 ns. Viewers cut what they read to whole ns; of these multiples, which floating-point numbers hold
exactly, nothing is cut off, so that slices that touch do not come to overlap."""


def save_perfetto(trace: Trace, file: str | Path) -> None:
    """Write a trace as JSON in the Trace Event Format.

    Raises
    ------
    PrsmScaleError
        If the file cannot be written.
    """
    try:
        write_text(Path(file), dumps(trace_events(trace)))
    except OSError as error:
        raise PrsmScaleError(f"cannot write {file}: {reason(error)}") from error


def trace_events(trace: Trace) -> dict[str, Any]:
    """Turn a trace into a document of the Trace Event Format.

    Returns
    -------
    dict
        Every node is a process. Its threads: "rounds" that it is in; "cpu" jobs; copies "sent", from their start onto the uplink
        to their arrival; copies "received", from their arrival until they have been handled. There are as many threads of a kind
        as it takes for their slices not to overlap. A flow joins the two ends of each transmission.
    """
    pages = _Pages(trace)
    _add_rounds(pages)
    _add_jobs(pages)
    _add_hops(pages)
    return {
        "traceEvents": [*pages.names(), *pages.events],
        "displayTimeUnit": "ms",
        "otherData": {"version": f"prsm-scale {__version__}", "scenario": trace.scenario.model_dump(mode="json")},
    }


@dataclass
class _Pages:
    """Events so far, and the numbers of the threads they are on."""

    trace: Trace
    events: list[Event] = field(default_factory=list)
    threads: dict[tuple[int, str, int], int] = field(default_factory=dict)

    def place(self, node: int, kind: str, lane: int) -> Event:
        """Process and thread; viewers want the numbers of threads unique among all processes."""
        thread = self.threads.setdefault((node, kind, lane), self.trace.nodes + 2 + len(self.threads))
        return {"pid": node + 1, "tid": thread}

    def add_slices(
        self, kind: str, nodes: Ids, begin_ms: Times, end_ms: Times, names: Sequence[str], args: Sequence[Event]
    ) -> list[Event]:
        """Add a slice for each element, and return where and when each of them begins."""
        begin = _ticks(begin_ms)
        end = np.maximum(_ticks(end_ms), begin + 1)
        lane = np.empty(nodes.size, np.int64)
        for node in np.unique(nodes):
            lane[nodes == node] = lanes(begin[nodes == node], end[nodes == node])
        ends = [
            self.place(node, kind, row) | {"ts": ticks / _TICKS_PER_US}
            for node, row, ticks in zip(nodes.tolist(), lane.tolist(), begin.tolist(), strict=True)
        ]
        for place, length, name, detail in zip(ends, (end - begin).tolist(), names, args, strict=True):
            self.events.append({"ph": "X", "name": name, "cat": kind, **place, "dur": length / _TICKS_PER_US, "args": detail})
        return ends

    def names(self) -> list[Event]:
        """Names of processes and threads, and their order: the client first."""
        named: list[Event] = []
        for node in sorted({node for node, _, _ in self.threads}):
            client = node == self.trace.nodes
            name = "client" if client else f"replica {node}" + " (primary)" * (node == PRIMARY)
            named += _named("process", {"pid": node + 1}, name, 0 if client else node + 1)
        for node, kind, lane in sorted(self.threads):
            order = _KINDS.index(kind) * len(self.threads) + lane
            named += _named("thread", self.place(node, kind, lane), f"{kind} {lane + 1}", order)
        return named


def _named(what: str, place: Event, name: str, order: int) -> list[Event]:
    return [
        {"ph": "M", "name": f"{what}_name", **place, "args": {"name": name}},
        {"ph": "M", "name": f"{what}_sort_index", **place, "args": {"sort_index": order}},
    ]


def _ticks(time_ms: Times) -> NDArray[np.int64]:
    return np.rint(time_ms * (1000.0 * _TICKS_PER_US)).astype(np.int64)


def _add_rounds(pages: _Pages) -> None:
    """Add what the client waits for, and the rounds that replicas were in, those left out in which they did nothing."""
    spans: list[Span] = []
    for operation in pages.trace.operations:
        one = pages.trace.of(operation)
        spans += _spans(one, operation)
        committed = one.moment_ms(COMMITTED)
        if committed is not None:
            place = pages.place(one.nodes, "rounds", 0) | {"ts": int(_ticks(np.array(committed))) / _TICKS_PER_US}
            pages.events.append({"ph": "i", "s": "g", "name": f"operation {operation} committed", "cat": "rounds", **place})
    if spans:
        nodes, begin, end, names, details = zip(*spans, strict=True)
        pages.add_slices("rounds", np.array(nodes), np.array(begin), np.array(end), names, details)


def _spans(one: Trace, operation: int) -> Iterator[Span]:
    detail = {"operation": operation}
    start, marks = one.moment_ms(STARTED), one.marks
    if start is None:
        return
    over = [time for time in map(one.moment_ms, (ENDED, FAILED)) if time is not None]
    if over:
        yield one.nodes, start, min(over), f"operation {operation}", detail
    at_replicas = marks.take((marks.what == COMPLETED) & (marks.replica != one.nodes))
    for replica in np.unique(at_replicas.replica).tolist():
        done = at_replicas.take(at_replicas.replica == replica)
        entered = start
        for k in np.argsort(done.round):
            left = float(done.time_ms[k])
            if left > entered:
                yield replica, entered, left, one.rounds[done.round[k]], detail
                entered = left


def _add_jobs(pages: _Pages) -> None:
    jobs = pages.trace.jobs.take(pages.trace.jobs.end_ms > pages.trace.jobs.begin_ms)
    rows = rows_of(jobs, pages.trace.rounds)
    pages.add_slices("cpu", jobs.replica, jobs.begin_ms, jobs.end_ms, [f"{row['what']} {row['round']}" for row in rows], rows)


def _add_hops(pages: _Pages) -> None:
    hops, name = pages.trace.hops, pages.trace.name
    rows = rows_of(hops, pages.trace.rounds)
    until = np.where(hops.arrived, hops.arrive_ms, hops.leave_ms)
    names = [f"{row['round']} to {name(row['receiver'])}" + ", lost" * row["lost"] for row in rows]
    leaves = pages.add_slices("sent", hops.sender, hops.leave_ms, until, names, rows)

    number = np.flatnonzero(hops.arrived)
    came = hops.take(number)
    handled = np.where(np.isfinite(came.end_ms), came.end_ms, came.received_ms)
    names = [f"{rows[k]['round']} from {name(rows[k]['sender'])}" for k in number]
    arrives = pages.add_slices("received", came.receiver, came.arrive_ms, handled, names, [rows[k] for k in number])
    for k, arrival in zip(number.tolist(), arrives, strict=True):
        flow = {"name": rows[k]["round"], "cat": "message", "id": k + 1}
        pages.events += [{"ph": "s", **flow, **leaves[k]}, {"ph": "f", "bp": "e", **flow, **arrival}]
