"""What is wrong with a group of scenarios, at which n, and by how much; and which resource sets its throughput."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from prsm_scale.analysis.curves import Floats
from prsm_scale.analysis.points import Points, ends, plain, points_of
from prsm_scale.analysis.sweep_fits import NORMAL_95, relative_error
from prsm_scale.analysis.thresholds import Thresholds
from prsm_scale.columns import limit_names
from prsm_scale.wording import estimate, number, percent, some_nodes

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Finding:
    """One thing that a group of scenarios shows.

    Attributes
    ----------
    kind : str
        throughput, latency, latency_limit, cpu, memory, network_efficiency, success, overload, safety, limit (one that the
        configuration sets is passed) or binding_resource.
    node_count : int
        The first n at which it holds.
    value : float or None
        What was found there; of a binding resource the capacity, in operations a second.
    threshold : float or None
        What the value was held against.
    interval : tuple of two floats, or None
        95 % interval of the value, where it has one.
    beyond_doubt : bool or None
        Whether the whole interval is beyond the threshold; None where there is none.
    node_counts : tuple of int
        Every n at which it holds.
    worst_node_count, worst_value : int, float or None
        Where it is worst, and the value there.
    message : str
        All of this in a line.
    resource : str or None
        Name of the resource that binds, or of the limit.
    utilisation : float or None
        Offered load over the capacity of the resource that binds, at worst_node_count.
    """

    kind: str
    node_count: int
    value: float | None
    threshold: float | None
    interval: tuple[float, float] | None
    beyond_doubt: bool | None
    node_counts: tuple[int, ...]
    worst_node_count: int
    worst_value: float | None
    message: str
    resource: str | None = None
    utilisation: float | None = None


class _Measured(NamedTuple):
    """A quantity over n, [m] each, and what it is held against, [] or [m]."""

    values: Floats
    threshold: ArrayLike
    low: Floats | None = None
    high: Floats | None = None
    beside: str = ""  # what the message tells besides of the quantity, before its name and after its value
    before: str = ""


_RELATIONS = {"above": np.greater, "not below": np.greater_equal, "below": np.less, "not above": np.less_equal}


class _Rule(NamedTuple):
    kind: str
    subject: str
    unit: str
    relation: str  # of a value that is found to the threshold: a key of _RELATIONS
    form: Callable[[float | None], str]
    measure: Callable[[Points, Thresholds], _Measured]


def bottlenecks(group: pd.DataFrame, thresholds: Thresholds | None = None) -> list[Finding]:
    """Find what limits one group of scenarios.

    Throughput is the saturation throughput over that at the smallest n that has one, latency the mean latency likewise. CPU is
    that of the busiest replica at the offered load. What is not known at an n is not found there.

    Parameters
    ----------
    group
        Rows of SCENARIO_COLUMNS that differ in n alone.
    thresholds
        What counts as too much or too little.

    Returns
    -------
    list of Finding
        In the order of `Finding.kind`.
    """
    points, limits = points_of(group), thresholds or Thresholds()
    found = [_find(rule, points, rule.measure(points, limits)) for rule in _RULES]
    return [*filter(None, found), *_limits(points), *_binding(points)]


def _find(rule: _Rule, points: Points, measured: _Measured) -> Finding | None:
    values = measured.values
    threshold = np.broadcast_to(np.asarray(measured.threshold, dtype=np.float64), values.shape)
    holds = _beyond(rule, values, threshold)
    if not holds.any():
        return None
    place = int(holds.argmax())
    too_large = rule.relation in ("above", "not below")
    worst = int(np.where(holds, values - threshold if too_large else threshold - values, -np.inf).argmax())
    interval = None if measured.low is None or measured.high is None else ends(measured.low, measured.high, place)
    sure = None if interval is None else bool(_beyond(rule, np.array(interval), threshold[place]).all())
    nodes = points.at(holds)
    told = f"{measured.before}{rule.subject} is {estimate(values[place], interval, rule.form)}{rule.unit}{measured.beside}"
    doubt = "" if sure or sure is None else ", not beyond doubt"
    message = f"{_where(nodes, points)} {told} ({rule.relation} {rule.form(threshold[place])}{rule.unit}{doubt})"
    if worst != place:
        message += f"; {rule.form(values[worst])}{rule.unit} at n = {points.nodes[worst]:,}"
    return Finding(
        rule.kind,
        nodes[0],
        plain(values[place]),
        plain(threshold[place]),
        interval,
        sure,
        tuple(nodes),
        int(points.nodes[worst]),
        plain(values[worst]),
        message,
    )


def _beyond(rule: _Rule, values: Floats, threshold: ArrayLike) -> Any:
    return _RELATIONS[rule.relation](values, threshold)


def _where(nodes: list[int], points: Points) -> str:
    """Say at which n: from one on, or at some."""
    rest = points.at(points.nodes >= nodes[0])
    return f"from n = {nodes[0]:,} on" if len(nodes) > 1 and nodes == rest else f"at {some_nodes(nodes, points.nodes.tolist())}"


def _throughput(points: Points, limits: Thresholds) -> _Measured:
    first = np.isfinite(points.throughput) & (points.throughput > 0)
    if not first.any():
        return _Measured(np.full(len(points.nodes), np.nan), limits.min_throughput_share)
    base = int(first.argmax())
    beside = f" of that at n = {points.nodes[base]:,}"
    return _Measured(points.throughput / points.throughput[base], limits.min_throughput_share, beside=beside)


def _latency(points: Points, limits: Thresholds) -> _Measured:
    values, first = points.column("mean_latency_ms"), points.column("mean_latency_ms") > 0
    if not first.any():
        return _Measured(np.full(len(values), np.nan), limits.explosion_factor)
    base = int(first.argmax())
    error = relative_error(points.table)
    # Of a ratio, by the delta method on logarithms.
    half, ratio = NORMAL_95 * np.hypot(error, error[base]), values / values[base]
    beside = f" times that at n = {points.nodes[base]:,}"
    return _Measured(ratio, limits.explosion_factor, ratio * np.exp(-half), ratio * np.exp(half), beside)


def _success(points: Points, limits: Thresholds) -> _Measured:
    # A scenario of which no operation was simulated has no success to speak of.
    return _Measured(points.column("success_rate"), limits.min_success, *points.interval("success_rate"))


def _latency_limit(points: Points, limits: Thresholds) -> _Measured:
    limit_ms = np.nan if limits.max_latency_ms is None else limits.max_latency_ms
    column = limits.latency_column
    return _Measured(points.column(column), limit_ms, *points.interval(column), before=f"{limits.latency} ")


_RULES = (
    _Rule("throughput", "saturation throughput", "", "below", percent, _throughput),
    _Rule("latency", "mean latency", "", "above", number, _latency),
    _Rule("latency_limit", "latency", " ms", "above", number, _latency_limit),
    _Rule(
        "cpu",
        "CPU use of the busiest replica",
        "%",
        "above",
        number,
        lambda points, limits: _Measured(points.column("cpu_percent_max"), limits.max_cpu_percent),
    ),
    _Rule(
        "memory",
        "memory of a replica",
        " MB",
        "above",
        number,
        lambda points, limits: _Measured(
            points.column("memory_mb"), np.minimum(points.profile_memory_mb(), limits.max_memory_mb)
        ),
    ),
    _Rule(
        "network_efficiency",
        "network efficiency",
        "",
        "below",
        percent,
        lambda points, limits: _Measured(points.column("network_efficiency"), limits.min_network_efficiency),
    ),
    _Rule("success", "success", "", "not above", percent, _success),
    _Rule(
        "overload",
        "offered load",
        "",
        "not below",
        number,
        lambda points, limits: _Measured(
            np.where(points.offered() > 0, points.column("utilisation"), np.nan), 1.0, beside=" times the capacity"
        ),
    ),
    _Rule(
        "safety",
        "number of operations with two values committed",
        "",
        "above",
        "{:,.0f}".format,
        lambda points, limits: _Measured(points.column("safety_violations"), 0.0),
    ),
)


def _limits(points: Points) -> Iterator[Finding]:
    """Limits of the configuration that scenarios pass; those that were not simulated are found by their memory."""
    passed = [set(limit_names(text)) for text in points.texts("limits_passed")]
    simulated = points.table["feasible"].to_numpy(dtype=bool)
    for name in sorted(set().union(*passed)):
        holds = np.array([name in names for names in passed]) & simulated
        if holds.any():
            nodes = points.at(holds)
            message = f"{_where(nodes, points)} the limit on {name} is passed"
            yield Finding("limit", nodes[0], None, None, None, None, tuple(nodes), nodes[-1], None, message, name)


def _binding(points: Points) -> Iterator[Finding]:
    names = np.array(points.texts("bottleneck"), dtype=object)
    usable = (names != "") & np.isfinite(points.throughput)
    for name in dict.fromkeys(names[usable]):
        places = np.flatnonzero(usable & (names == name))
        first, worst = int(places[0]), int(places[points.throughput[places].argmin()])
        used = plain(points.column("utilisation")[worst])
        nodes = points.nodes[places].tolist()
        message = f"{name} binds at {some_nodes(nodes, points.nodes.tolist())}: {number(points.throughput[first])} operations/s"
        if worst != first:
            message += f" at n = {points.nodes[first]:,}, {number(points.throughput[worst])} at n = {points.nodes[worst]:,}"
        if used:
            message += f", of which the offered load takes {number(100 * used)}%"
        yield Finding(
            "binding_resource",
            nodes[0],
            plain(points.throughput[first]),
            None,
            None,
            None,
            tuple(nodes),
            int(points.nodes[worst]),
            plain(points.throughput[worst]),
            message,
            name,
            used,
        )
