"""The largest number of nodes that does what is asked of it, and what fails beyond."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from prsm_scale.analysis.curves import Floats
from prsm_scale.analysis.points import Points, points_of
from prsm_scale.analysis.thresholds import Thresholds
from prsm_scale.columns import interval_names
from prsm_scale.wording import number, percent, some_nodes

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Recommendation:
    """How many nodes are recommended at most.

    Attributes
    ----------
    node_count : int or None
        The largest simulated n that passes all conditions; None where none does.
    beyond_doubt : bool or None
        Whether it passes with the whole intervals of its success and latency; None where no n passes.
    is_largest_simulated : bool
        Whether it is the largest n simulated, so that larger ones may pass too.
    failing_below : tuple of int
        Smaller n that fail although it passes.
    first_failing_node_count : int or None
        The smallest n that fails.
    failed_conditions : tuple of str
        The conditions that fail there: feasible, success, operations_per_node, offered_load, limits, latency, safety.
    message : str
        All of this in a line.
    """

    node_count: int | None
    beyond_doubt: bool | None
    is_largest_simulated: bool
    failing_below: tuple[int, ...]
    first_failing_node_count: int | None
    failed_conditions: tuple[str, ...]
    message: str


class _Condition(NamedTuple):
    """What each n has to pass; `told` says of the one at a place why it does not."""

    name: str
    passes: NDArray[np.bool_]
    told: Callable[[int], str]
    surely: NDArray[np.bool_] | None = None  # whether the whole interval passes


def recommended_max_nodes(group: pd.DataFrame, thresholds: Thresholds | None = None) -> Recommendation:
    """Find the largest simulated n of one group of scenarios that passes all conditions.

    These are: the profile has the memory, success is above its least share, saturation throughput is above its least rate per
    node and above the offered rate, no limit of the configuration is passed, latency is within its limit where there is one,
    and no operation had two values committed. What is not known passes nothing, but for
    violations that were not counted.

    Parameters
    ----------
    group
        Rows of SCENARIO_COLUMNS that differ in n alone.
    thresholds
        What is asked.
    """
    points = points_of(group)
    conditions = list(_conditions(points, thresholds or Thresholds()))
    passes = np.all([one.passes for one in conditions], axis=0)
    if not len(points.nodes):
        return Recommendation(None, None, False, (), None, (), "none; nothing was simulated")
    failed, passed = np.flatnonzero(~passes).tolist(), np.flatnonzero(passes).tolist()
    first = int(points.nodes[failed[0]]) if failed else None
    names = tuple(one.name for one in _failing(conditions, failed[0])) if failed else ()
    if not passed:
        message = f"none; at n = {first:,}, the smallest simulated, {_why(conditions, 0)}"
        return Recommendation(None, None, False, (), first, names, message)
    best = passed[-1]
    doubtful = [one.name for one in conditions if one.surely is not None and not one.surely[best]]
    below = tuple(points.nodes[place] for place in failed if place < best)
    parts = [f"n = {points.nodes[best]:,}" + (f", not beyond doubt ({', '.join(doubtful)})" if doubtful else "")]
    if best + 1 < len(passes):
        parts.append(f"n = {points.nodes[best + 1]:,} fails: {_why(conditions, best + 1)}")
    else:
        parts[0] += ", the largest simulated"
    if below:
        parts.append(f"smaller {some_nodes(below, points.nodes.tolist())} fails: {_why(conditions, failed[0])}")
    is_last = best + 1 == len(passes)
    return Recommendation(int(points.nodes[best]), not doubtful, is_last, tuple(map(int, below)), first, names, "; ".join(parts))


def _failing(conditions: Sequence[_Condition], place: int) -> list[_Condition]:
    failing = [one for one in conditions if not one.passes[place]]
    # Nothing else is known of what was not simulated.
    return failing[:1] if failing[0].name == "feasible" else failing


def _why(conditions: Sequence[_Condition], place: int) -> str:
    return ", ".join(one.told(place) for one in _failing(conditions, place))


def _conditions(points: Points, limits: Thresholds) -> Iterator[_Condition]:
    reasons, passed = points.texts("reason"), points.texts("limits_passed")
    each, offered = points.throughput / points.nodes, points.offered()
    success, success_low = points.column("success_rate"), points.interval("success_rate")[0]
    violations = np.nan_to_num(points.column("safety_violations"))
    yield _Condition("feasible", points.table["feasible"].to_numpy(dtype=bool), lambda place: reasons[place] or "infeasible")
    yield _Condition(
        "success",
        success > limits.min_success,
        _not_above("success", success, percent, limits.min_success),
        success_low > limits.min_success,
    )
    yield _Condition(
        "operations_per_node",
        each > limits.min_ops_per_node_per_second,
        _not_above("saturation throughput per node", each, _rate, limits.min_ops_per_node_per_second),
    )
    yield _Condition(
        "offered_load",
        points.throughput > offered,
        _not_above("saturation throughput", points.throughput, _rate, offered),
    )
    yield _Condition(
        "limits", np.array([not text for text in passed], np.bool_), lambda place: f"over its limit: {passed[place]}"
    )
    if limits.max_latency_ms is not None:
        yield _latency(points, limits.latency_column, limits.max_latency_ms)
    yield _Condition("safety", violations == 0, lambda place: f"{violations[place]:,.0f} operations with two values committed")


def _latency(points: Points, column: str, limit_ms: float) -> _Condition:
    value, high = points.column(column), points.column(interval_names(column)[1])
    name = column.removesuffix("_ms").replace("_", " ")

    def told(place: int) -> str:
        known = np.isfinite(value[place])
        return f"{name} of {number(value[place])} ms is above {number(limit_ms)} ms" if known else f"{name} is not known"

    return _Condition("latency", value <= limit_ms, told, high <= limit_ms)


def _rate(value: float | None) -> str:
    return f"{number(value)} operations/s"


def _not_above(name: str, values: Floats, form: Callable[[float | None], str], least: Any) -> Callable[[int], str]:
    bounds = np.broadcast_to(np.asarray(least, dtype=np.float64), values.shape)

    def told(place: int) -> str:
        if np.isnan(values[place]):
            return f"{name} is not known"
        return f"{name} of {form(values[place])} is not above {form(bounds[place])}"

    return told
