"""Fitted curves for the terminal."""

from __future__ import annotations

from collections.abc import Iterator

from rich.console import RenderableType
from rich.table import Table

from prsm_scale.report.series import Row, Series, interval, number, percent
from prsm_scale.report.tables import plain_table, titled

Finding = tuple[str, str, str]
"""Quantity, what is told of it, and the telling."""

_QUANTITIES = {"saturation_ops_per_second": "saturation", "mean_latency_ms": "mean latency"}
_LAWS = {
    "power": "{coefficient} n^({exponent})",
    "logarithmic": "{intercept} + {slope} ln n",
    "linear": "{intercept} + {slope} n",
    "usl": "gamma {gamma}, alpha {alpha}, beta {beta}",
}
_PARAMETERS = ("coefficient", "exponent", "intercept", "slope", "gamma", "alpha", "beta")
_OF_PEAK = {"peak_outside_data": "outside the data", "beta_at_bound": "beta is at its bound"}
_OF_DEGRADED = {"degraded_outside_data": "outside the data"}
_OF_EXPLOSION = {"explosion_outside_data": "outside the data"}
_OF_FIT = {
    "too_few_points": "too few points",
    "poor_fit": "a poor fit",
    "alpha_at_bound": "alpha is at its bound",
    "overloaded_points": "some points are above capacity",
    "missing_points": "some points have no value",
}


def fit_summary(series: Series) -> RenderableType:
    """Show the chosen law of each quantity, and the n at which it saturates or degrades.

    Numbers in brackets are 95 % intervals.
    """
    table = Table.grid(padding=(0, 2, 0, 0))
    for wraps in (False, False, True):
        table.add_column(no_wrap=not wraps)
    last = ""
    for fit in series.fits:
        for quantity, what, telling in _findings(fit):
            table.add_row("" if quantity == last else quantity, what, telling)
            last = quantity
    return titled(series, table)


def fit_table(series: Series) -> RenderableType:
    """Show every law that was tried on each quantity; a star marks the chosen one."""
    headings = ("", "quantity", "law", "parameters", "dAICc", "misfit", "beware")
    left = ("", "quantity", "law", "parameters", "beware")
    rows = [_cells(fit) for fit in series.fits]
    return titled(series, plain_table(headings, rows, left, wrap=("beware",)))


def _cells(fit: Row) -> tuple[str, ...]:
    return (
        "*" if fit["chosen"] else "",
        _quantity(fit),
        fit["law"],
        "\n".join(f"{name} {interval(fit, name)}" for name in _PARAMETERS if fit[name] is not None),
        number(fit["delta_aicc"], 2),
        percent(fit["rmse_log"]),
        (fit["flags"] or "").replace(",", ", ").replace("_", " "),
    )


def _findings(fit: Row) -> Iterator[Finding]:
    quantity = _quantity(fit)
    if fit["chosen"]:
        parameters = {name: interval(fit, name) for name in _PARAMETERS}
        yield quantity, f"{fit['law']} law", _LAWS[fit["law"]].format(**parameters) + _flags(fit, _OF_FIT)
        if fit["quantity"] == "mean_latency_ms":
            found = f"; first simulated n: {fit['grid_n']}" if fit["grid_n"] is not None else ""
            base = f"of n = {fit['nodes_min']}"
            yield quantity, f"1.5x {base}", _place(fit, "degraded_n", _OF_DEGRADED) + found
            yield quantity, f"3x {base}", _place(fit, "explosion_n", _OF_EXPLOSION)
        if fit["mean_efficiency"] is not None:
            found = f"; first n with less than 10 % gain: {fit['grid_n']}" if fit["grid_n"] is not None else ""
            share = percent(fit["mean_efficiency"])
            yield quantity, "efficiency", f"{share} on average, {fit['efficiency_tier']}{found}"
    if fit["law"] == "usl":
        yield quantity, "peak (USL)", _place(fit, "peak_n", _OF_PEAK)


def _place(fit: Row, name: str, flags: dict[str, str]) -> str:
    """Tell the n at which a law gets somewhere, or that it does not."""
    where = "at no n" if fit[name] is None else f"n = {interval(fit, name)}"
    return f"{where}{_flags(fit, flags)}"


def _quantity(fit: Row) -> str:
    return _QUANTITIES.get(fit["quantity"], str(fit["quantity"]))


def _flags(fit: Row, meanings: dict[str, str]) -> str:
    flags = (fit["flags"] or "").split(",")
    told = [meaning for flag, meaning in meanings.items() if flag in flags]
    return f" ({', '.join(told)})" if told else ""
