"""Plain lines on how throughput and latency go with n."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from prsm_scale.analysis.fits import Estimate
from prsm_scale.analysis.turning_points import Crossing, DegradationPoint, SaturationPoint
from prsm_scale.wording import estimate, number, percent

_FLAGS = {
    "too_few_points": "few points",
    "poor_fit": "a poor fit",
    "missing_points": "some points have no value",
    "overloaded_points": "some points are above capacity",
    "alpha_at_bound": "alpha is at its bound",
    "beta_at_bound": "beta is at its bound",
    "direction_uncertain": "it may rise or fall",
    "outside_data": "outside the data",
    "peak_outside_data": "outside the data",
}
_LATENCY_LAWS = {"power": "{0} n^{1} ms", "logarithmic": "{0} + {1} ln n ms", "linear": "{0} + {1} n ms"}


def of_saturation(point: SaturationPoint) -> str:
    """Tell where saturation throughput is greatest."""
    grid = (
        f"; first simulated n with less than {percent(point.low_gain)} gain: {point.grid_node_count:,}"
        if point.grid_node_count
        else ""
    )
    if point.law is None:
        return f"saturation throughput: too few points for a law{grid}"
    if point.law == "power":
        exponent = point.parameters["exponent"]
        verb = "falls" if (exponent.value or 0) < 0 else "rises"
        told = f"saturation throughput {verb} as n^{_shown(exponent)}"
    else:
        parameters = ", ".join(f"{name} {_shown(value)}" for name, value in point.parameters.items())
        told = f"saturation throughput follows the Universal Scalability Law, {parameters}"
    if "no_peak" in point.flags:
        return f"{told}, without an end{_beware(point.flags)}{grid}"
    if "falls_from_first_n" in point.flags:
        return f"{told}, from the first n on{_beware(set(point.flags) - {'peak_outside_data'}, point.flags)}{grid}"
    most = f" with {number(point.ops_per_second)} operations/s"
    return f"{told}, and is greatest at n = {_shown(point.node_count)}{most}{_beware(point.flags)}{grid}"


def of_efficiency(scaling: Mapping[int, float], mean: float | None, tier: str | None, basis: str) -> Iterator[str]:
    """Tell how much of linear scaling is reached."""
    if mean is not None:
        last, value = max(scaling.items())
        yield f"scaling efficiency on {basis} is {percent(mean)} on average, {tier}; {percent(value)} at n = {last:,}"


def of_degradation(point: DegradationPoint) -> Iterator[str]:
    """Tell how latency grows, and where it passes its limits."""
    if point.law is not None:
        law = _LATENCY_LAWS[point.law].format(*map(_shown, point.parameters.values()))
        own = set(point.degraded.flags) - {"outside_data"}
        yield f"mean latency follows {law}{_beware(own, point.degraded.flags)}"
    if point.baseline_node_count is not None:
        for one in (point.degraded, point.explosion):
            yield f"mean latency passes {one.factor:g} times that of n = {point.baseline_node_count:,}: {_place(one)}"
    if point.limit is not None:
        name = point.limit.quantity.removesuffix("_ms").replace("_", " ")
        yield f"{name} passes {number(point.limit.limit_ms)} ms: {_place(point.limit)}"


def _place(crossing: Crossing) -> str:
    grid = crossing.grid_node_count
    simulated = f"first at n = {grid:,} of those simulated" if grid else "at no simulated n"
    if crossing.law is None:
        return simulated
    where = "by the law at no n" if crossing.node_count.value is None else f"by the law at n = {_shown(crossing.node_count)}"
    return f"{where}{_beware(set(crossing.flags) & {'outside_data'})}; {simulated}"


def _beware(flags: Sequence[str] | set[str], order: Sequence[str] = ()) -> str:
    told = [_FLAGS[flag] for flag in dict.fromkeys([*order, *flags]) if flag in flags and flag in _FLAGS]
    return f" ({', '.join(told)})" if told else ""


def _shown(value: Estimate) -> str:
    return estimate(value.value, (value.low, value.high))
