"""A made-up trace of an operation, and what holds for whatever is shown of a trace."""

from __future__ import annotations

import json
import math
from collections import Counter, defaultdict
from typing import Any

import numpy as np
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.quiver import Quiver

from prsm_scale.config import Scenario
from prsm_scale.protocols import quorum
from prsm_scale.report.perfetto import trace_events
from prsm_scale.report.spacetime import draw
from prsm_scale.report.tables import WIDTH
from prsm_scale.tracing import COMMITTED, COMPLETED, ENDED, STARTED, Hops, Jobs, Marks, Trace
from tests.e2e.program import strict_json

INF = math.inf
ROUNDS = ("request", "pre_prepare", "prepare", "commit", "reply")
CPU_MS, REPEAT_MS = 0.05, 20.0


class MadeUp:
    """A trace of PBFT with delays drawn between 1 and 5 ms, a job of CPU_MS for each message and each copy, and no queues.

    Transmissions of the numbers `lost` are lost, and `silent` replicas say nothing.
    """

    def __init__(self, nodes: int = 4, lost: tuple[int, ...] = (), silent: tuple[int, ...] = (), operation: int = 0) -> None:
        self.nodes, self.lost, self.silent, self.operation = nodes, lost, silent, operation
        self.random = np.random.default_rng(7)
        self.live = [i for i in range(nodes) if i not in silent]
        self.hops: list[list[Any]] = []
        self.marks: list[tuple[Any, ...]] = []
        self.jobs: list[tuple[Any, ...]] = []

    def trace(self) -> Trace:
        start, client = 100.0 + self.operation, self.nodes
        need = quorum(self.nodes, (self.nodes - 1) // 3)
        self._mark(0, client, STARTED, start)
        entered = dict.fromkeys(self.live, start)
        for r, senders, receivers, needs in (
            (0, [client], [0], {0: 1}),
            (1, [0], list(range(1, self.nodes)), {i: 1 for i in self.live[1:]}),
            (2, self.live[1:], list(range(self.nodes)), {i: need - 1 - (i > 0) for i in self.live}),
            (3, self.live, list(range(self.nodes)), dict.fromkeys(self.live, need - 1)),
            (4, self.live, [client], {client: (self.nodes - 1) // 3 + 1}),
        ):
            handled = defaultdict(list)
            for sender in senders:
                for receiver, time in self._multicast(r, sender, entered.get(sender, start), receivers):
                    handled[receiver].append(time)
            for receiver, count in needs.items():
                entered[receiver] = max(entered.get(receiver, start), sorted(handled[receiver])[count - 1])
                self._mark(r, receiver, ENDED if receiver == client else COMPLETED, entered[receiver])
            if r == 3:
                self._mark(r, 0, COMMITTED, max(entered.values()))
        done = {(mark[1], mark[2]): mark[4] for mark in self.marks if mark[3] in (COMPLETED, ENDED)}
        for hop in self.hops:
            hop[-1] = math.isfinite(hop[10]) and hop[10] <= done.get((hop[1], hop[5]), INF)
        settings = Scenario(nodes=self.nodes, network="lan", engine="events")
        tables = (Hops(*columns(self.hops)), Marks(*columns(self.marks)), Jobs(*columns(self.jobs)))
        return Trace(settings, ROUNDS, *tables)

    def _multicast(self, r: int, sender: int, at: float, receivers: list[int]) -> list[tuple[int, float]]:
        others = [(sender + k) % self.nodes for k in range(1, self.nodes)] if len(receivers) > 1 else receivers
        others = [receiver for receiver in others if receiver in receivers and receiver != sender]
        if sender != self.nodes:
            self._job(r, sender, "send", at, at + CPU_MS * len(others))
        heard = []
        for k, receiver in enumerate(others):
            repeat, leave = 0, at + CPU_MS * (k + 1)
            while len(self.hops) in self.lost:
                self._hop(r, sender, receiver, repeat, True, leave, INF)
                repeat, leave = repeat + 1, leave + REPEAT_MS
            arrive = INF if receiver in self.silent else leave + self.random.uniform(1, 5)
            self._hop(r, sender, receiver, repeat, False, leave, arrive)
            if math.isfinite(arrive):
                heard.append((receiver, self.hops[-1][-2]))
        return heard

    def _hop(self, r: int, sender: int, receiver: int, repeat: int, lost: bool, leave: float, arrive: float) -> None:
        end = arrive + (0 if receiver == self.nodes else CPU_MS)
        times = (leave, leave, arrive, arrive, arrive, end)
        self.hops.append([self.operation, r, sender, receiver, sender, receiver, repeat, lost, *times, False])
        if receiver != self.nodes and math.isfinite(arrive):
            self._job(r, receiver, "receive", arrive, end)

    def _mark(self, r: int, node: int, what: str, time: float) -> None:
        self.marks.append((self.operation, r, node, what, time))

    def _job(self, r: int, node: int, what: str, begin: float, end: float) -> None:
        self.jobs.append((self.operation, r, node, what, begin, end))


def columns(rows: list[Any]) -> list[Any]:
    return [np.array(column) for column in zip(*rows, strict=True)]


def rendered(*parts: Any) -> str:
    from rich.console import Console

    console = Console(width=WIDTH, markup=False, highlight=False)
    with console.capture() as capture:
        for part in parts:
            console.print(part)
    return capture.get()


def arrows(figure: Figure) -> Counter[str]:
    """Transmissions drawn, by what became of them."""
    drawn: Counter[str] = Counter()
    for artist in figure.axes[0].collections:
        if isinstance(artist, Quiver):
            drawn["arrived"] += artist.N
        elif isinstance(artist, LineCollection):
            drawn[str(artist.get_gid())] += len(artist.get_segments()) * (artist.get_gid() != "waits")
    return drawn


def bars(figure: Figure) -> int:
    """Jobs drawn."""
    return sum(len(artist.get_paths()) for artist in figure.axes[0].collections if artist.get_gid() == "jobs")


def check_diagram(trace: Trace, operation: int = 0) -> Figure:
    """Hold a diagram to an arrow for each transmission, a cross for each loss, a dot for each completed round."""
    figure, one = draw(trace, operation), trace.of(operation)
    hops = one.hops
    kinds = {"arrived": hops.arrived.sum(), "lost": hops.lost.sum(), "silent": hops.to_silent.sum()}
    assert arrows(figure) == Counter({kind: int(count) for kind, count in kinds.items()})
    assert sum(arrows(figure).values()) == len(hops)
    crosses = [line for line in figure.axes[0].lines if line.get_gid() == "cross"]
    assert sum(len(line.get_xdata()) for line in crosses) == hops.lost.sum()
    dots = [artist for artist in figure.axes[0].collections if artist.get_gid() == "completed"]
    assert sum(len(artist.get_offsets()) for artist in dots) == one.marks.completed.sum()
    return figure


def check_perfetto(trace: Trace) -> list[dict[str, Any]]:
    """Hold a trace to the Trace Event Format, and to what viewers make of it; return its events."""
    events: list[dict[str, Any]] = strict_json(json.dumps(trace_events(trace), allow_nan=False))["traceEvents"]
    assert {event["ph"] for event in events} <= set("MXsfi")
    processes = {event["pid"]: event["args"]["name"] for event in events if event["name"] == "process_name"}
    threads = {event["tid"]: event["pid"] for event in events if event["name"] == "thread_name"}
    assert len(threads) == sum(event["name"] == "thread_name" for event in events)
    assert not set(processes) & set(threads)
    slices: defaultdict[int, list[tuple[float, float]]] = defaultdict(list)
    flows: defaultdict[int, dict[str, dict[str, Any]]] = defaultdict(dict)
    for event in (event for event in events if event["ph"] != "M"):
        assert threads[event["tid"]] == event["pid"] in processes
        assert event["ts"] >= 0
        if event["ph"] == "X":
            assert event["dur"] > 0
            slices[event["tid"]].append((event["ts"], event["ts"] + event["dur"]))
        elif event["ph"] in "sf":
            assert flows[event["id"]].setdefault(event["ph"], event) is event
    for spans in slices.values():
        spans.sort()
        assert all(int(1000 * end) <= int(1000 * begin) for (_, end), (begin, _) in zip(spans, spans[1:], strict=False))
    for flow in flows.values():
        start, finish = flow["s"], flow["f"]
        assert (start["name"], start["cat"], finish["bp"]) == (finish["name"], finish["cat"], "e")
        assert start["ts"] <= finish["ts"]
        assert all(any(begin <= end["ts"] < until for begin, until in slices[end["tid"]]) for end in (start, finish))
    assert len(flows) == trace.hops.arrived.sum()
    assert Counter(event["cat"] for event in events if event["ph"] == "X")["sent"] == len(trace.hops)
    return events
