"""A space-time diagram of one operation: nodes as lines over time, messages as arrows between them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection, PolyCollection
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from prsm_scale.faults import PRIMARY
from prsm_scale.report.messages import outcome, scene
from prsm_scale.report.plots import COLOURS, write_figure
from prsm_scale.tracing import COMMITTED, ENDED, FAILED, STARTED, Hops, Ids, Times, Trace, lanes

MOST_NODES = 40
"""Replicas beyond which the lines of a diagram cannot be told apart."""
_DPI = 120
_WIDTH_INCHES = 9.5
_HEAD_INCHES = 1.7
_LINE_INCHES = ((8, 0.55), (16, 0.42), (MOST_NODES, 0.28))
"""Distance between lines, up to so many replicas."""
_PALE = 0.3
_BAR, _BARS = 0.08, 0.5
"""Height of a bar, and of all bars below one line, in distances between lines."""
_WAIT = 0.06
"""Height above a line at which waiting is drawn."""
_OTHERS = "0.8"
_MOST_STRETCH = 1.5
"""How far stragglers may stretch the axis of time beyond the last mark."""


@dataclass(frozen=True)
class _View:
    """Where things of one operation stand: `start_ms` is 0 on the axis of time, which ends at `last_ms`."""

    trace: Trace
    start_ms: float
    last_ms: float

    def x(self, time_ms: Times) -> Times:
        return time_ms - self.start_ms

    def y(self, node: Ids) -> Times:
        """Lines from top to bottom: the client's, then the replicas'."""
        return np.where(node == self.trace.nodes, 0, node + 1).astype(np.float64)

    def hops(self, r: int) -> Hops:
        return self.trace.hops.take(self.trace.hops.round == r)

    @property
    def silent(self) -> Ids:
        return np.unique(self.trace.hops.receiver[self.trace.hops.to_silent])

    @property
    def travel_ms(self) -> float:
        """What a copy takes that arrives, for those that never do."""
        hops = self.trace.hops.take(self.trace.hops.arrived)
        travels = hops.arrive_ms - hops.leave_ms
        return float(np.median(travels)) if travels.size else 0.1 * (self.last_ms - self.start_ms)


def save_diagram(trace: Trace, operation: int, file: str | Path) -> None:
    """Draw an operation and write the figure; the ending of `file` tells the format.

    Raises
    ------
    PrsmScaleError
        If the file cannot be written.
    """
    write_figure(draw(trace, operation), file, _DPI)


def draw(trace: Trace, operation: int) -> Figure:
    """Draw one operation.

    Parameters
    ----------
    trace : Trace
        With this operation; what others do at the CPUs is drawn in grey.
    operation : int

    Returns
    -------
    Figure
        The client's line on top, below it one for each replica. An arrow is a transmission, from its start onto the uplink to
        the arrival of its last byte: pale where it was of no use any more, broken and with a cross where it was lost, dotted
        where its receiver is silent. Bars are jobs of the CPU, on as many rows as cores were busy; pale ones above a line are
        copies that wait, the darker the more of them; dots are completed rounds.
    """
    one = trace.of(operation)
    view = _view(one)
    spacing = next((inches for nodes, inches in _LINE_INCHES if trace.nodes <= nodes), _LINE_INCHES[-1][1])
    figure = Figure(figsize=(_WIDTH_INCHES, _HEAD_INCHES + (trace.nodes + 1) * spacing), layout="constrained")
    panel = figure.subplots()
    _draw_lines(panel, view)
    for r in range(len(trace.rounds)):
        _draw_arrows(panel, view, r)
        _draw_unheard(panel, view, r)
    _draw_waits(panel, view)
    _draw_jobs(panel, view, trace, operation)
    _draw_marks(panel, view)
    panel.set_title(f"{scene(one)}\n{outcome(one)}", fontsize=9, loc="left", pad=18)
    figure.legend(handles=list(_legend(view)), loc="outside lower center", ncols=6, fontsize=8, frameon=False)
    return figure


def _view(one: Trace) -> _View:
    """Show up to the last mark, and what comes after it unless that is far off."""
    hops, marks = one.hops, one.marks
    start = one.moment_ms(STARTED) or 0.0
    reached = float(marks.time_ms[marks.what != FAILED].max(initial=start))
    heard = float(np.concatenate([hops.leave_ms, hops.arrive_ms[hops.arrived]]).max(initial=start))
    far = reached > start and heard - start > _MOST_STRETCH * (reached - start)
    return _View(one, start, max(reached, reached if far else heard, start + 1e-3))


def _draw_lines(panel: Axes, view: _View) -> None:
    nodes = np.arange(view.trace.nodes + 1)
    y, length = view.y(nodes), view.last_ms - view.start_ms
    for node in nodes:
        panel.axhline(y[node], color="0.45", linewidth=0.8, linestyle=":" if node in view.silent else "-", zorder=1)
    names = [view.trace.name(node) + " silent" * (node in view.silent) for node in nodes.tolist()]
    names[PRIMARY] += " primary"
    panel.set_yticks(y, names, fontsize=9 if len(names) <= 17 else 7)
    panel.set(xlim=(-0.02 * length, 1.03 * length), ylim=(y.max() + 0.7, -0.5), xlabel="ms since the operation started")
    panel.set_ylabel("replica")
    panel.tick_params(axis="y", length=0)
    panel.spines[["left", "right", "top"]].set_visible(False)
    beyond = int((view.trace.hops.leave_ms > view.last_ms).sum())
    if beyond:
        panel.text(1, 0.01, f"and {beyond} later", transform=panel.transAxes, ha="right", fontsize=8, color="0.3")


def _draw_arrows(panel: Axes, view: _View, r: int) -> None:
    """Draw what arrived."""
    hops = view.hops(r)
    hops = hops.take(hops.arrived)
    if not len(hops):
        return
    x, y = view.x(hops.leave_ms), view.y(hops.sender)
    few = view.trace.nodes <= _LINE_INCHES[0][0]
    panel.quiver(
        x, y, view.x(hops.arrive_ms) - x, view.y(hops.receiver) - y,
        color=[to_rgba(_colour(r), _PALE if late else 0.9) for late in hops.late],
        angles="xy", scale_units="xy", scale=1, units="inches", width=0.014 if few else 0.009,
        headwidth=6, headlength=9, headaxislength=8, minlength=0, zorder=2, label=view.trace.rounds[r],
    )  # fmt: skip


def _draw_unheard(panel: Axes, view: _View, r: int) -> None:
    """Draw what was lost, and what went to silent replicas; both as if they took the usual time."""
    hops = view.hops(r)
    for gid, chosen, share, style in (("lost", hops.lost, 0.5, (0, (5, 3))), ("silent", hops.to_silent, 1.0, (0, (1, 2)))):
        some = hops.take(chosen)
        if not len(some):
            continue
        x, y = view.x(some.leave_ms), view.y(some.sender)
        ends = np.column_stack([x + share * view.travel_ms, y + share * (view.y(some.receiver) - y)])
        lines = np.stack([np.column_stack([x, y]), ends], axis=1)
        panel.add_collection(LineCollection(list(lines), colors=_colour(r), linewidths=1, linestyles=[style], zorder=2, gid=gid))
        if gid == "lost":
            panel.plot(*ends.T, "x", color=_colour(r), markersize=6, markeredgewidth=1.5, zorder=3, gid="cross")


def _draw_waits(panel: Axes, view: _View) -> None:
    """Draw on whose line, and for how long, copies wait: for the uplink, for the downlink and for the CPU."""
    hops = view.trace.hops
    handled = hops.take(np.isfinite(hops.begin_ms))
    for some, node, begin, end in (
        (hops, hops.sender, hops.ready_ms, hops.leave_ms),
        (handled, handled.receiver, handled.arrive_ms, handled.begin_ms),
    ):
        y = view.y(node) - _WAIT
        lines = np.stack([np.column_stack([view.x(begin), y]), np.column_stack([view.x(end), y])], axis=1)
        colours = [to_rgba(_colour(r), _PALE) for r in some.round]
        panel.add_collection(LineCollection(list(lines), colors=colours, linewidths=3, capstyle="butt", zorder=1.2, gid="waits"))


def _draw_jobs(panel: Axes, view: _View, trace: Trace, operation: int) -> None:
    jobs = trace.jobs
    jobs = jobs.take((jobs.end_ms > jobs.begin_ms) & (jobs.end_ms >= view.start_ms) & (jobs.begin_ms <= view.last_ms))
    for replica in np.unique(jobs.replica):
        here = jobs.take(jobs.replica == replica)
        lane = lanes(here.begin_ms, here.end_ms)
        height = min(_BAR, _BARS / (lane.max() + 1))
        left, right, top = view.x(here.begin_ms), view.x(here.end_ms), replica + 1 + (lane + 0.3) * height
        corners = [(left, top), (right, top), (right, top + 0.8 * height), (left, top + 0.8 * height)]
        shapes = np.stack([np.column_stack(corner) for corner in corners], axis=1)
        own = here.operation == operation
        colours = [_colour(r) if mine else _OTHERS for r, mine in zip(here.round, own, strict=True)]
        panel.add_collection(
            PolyCollection(list(shapes), facecolors=colours, edgecolors=colours, linewidths=0.5, zorder=3, gid="jobs")
        )


def _draw_marks(panel: Axes, view: _View) -> None:
    marks = view.trace.marks
    size = 30 if view.trace.nodes <= _LINE_INCHES[1][0] else 14
    for r in range(len(view.trace.rounds)):
        done = marks.take((marks.round == r) & marks.completed)
        panel.scatter(
            view.x(done.time_ms), view.y(done.replica), size, _colour(r),
            edgecolors="black", linewidths=0.7, zorder=4, gid="completed",
        )  # fmt: skip
    for what, side in ((COMMITTED, "right"), (ENDED, "left"), (FAILED, "left")):
        moment = view.trace.moment_ms(what)
        if moment is not None and moment <= view.last_ms:
            x = moment - view.start_ms
            panel.axvline(x, color="black", linewidth=0.9, linestyle=(0, (4, 2)), zorder=1.5)
            panel.text(x, 1.01, f" {what} ", transform=panel.get_xaxis_transform(), ha=side, va="bottom", fontsize=8)


def _legend(view: _View) -> Iterator[Artist]:
    for r, name in enumerate(view.trace.rounds):
        yield Line2D([], [], color=_colour(r), marker=">", markersize=5, label=name)
    yield Line2D([], [], color="0.3", alpha=_PALE, marker=">", markersize=5, label="of no use any more")
    if view.trace.hops.lost.any():
        yield Line2D([], [], color="0.3", linestyle="--", marker="x", markersize=6, label="lost")
    if view.silent.size:
        yield Line2D([], [], color="0.3", linestyle=":", label="to a silent replica")
    yield Line2D([], [], color="0.3", alpha=_PALE, linewidth=3, label="waiting for a line or CPU")
    if (view.trace.jobs.end_ms > view.trace.jobs.begin_ms).any():
        yield Patch(color="0.3", label="job of a CPU")
    yield Line2D([], [], color="white", marker="o", markeredgecolor="black", markerfacecolor="0.6", label="round completed")


def _colour(r: int) -> str:
    return COLOURS[r % len(COLOURS)]
