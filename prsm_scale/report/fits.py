"""Fitted curves for the terminal."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby

from rich.console import RenderableType
from rich.table import Table

from prsm_scale.report.series import Row, Series, interval
from prsm_scale.report.tables import plain_table, titled
from prsm_scale.wording import number, percent

Finding = tuple[str, str]
"""What is told of a quantity, and the telling."""

_QUANTITIES = {"saturation_ops_per_second": "saturation", "mean_latency_ms": "mean latency"}
_LAWS = {
    "power": "{coefficient} n^({exponent})",
    "logarithmic": "{intercept} + {slope} ln n",
    "linear": "{intercept} + {slope} n",
    "usl": "gamma {gamma}, alpha {alpha}, beta {beta}",
}
_PARAMETERS = ("coefficient", "exponent", "intercept", "slope", "gamma", "alpha", "beta")
_FEW = {"too_few_points": "too few points"}
_OF_PEAK = {"peak_outside_data": "outside the data", "beta_at_bound": "beta is at its bound"} | _FEW
_OF_DEGRADED = {"degraded_outside_data": "outside the data"} | _FEW
_OF_EXPLOSION = {"explosion_outside_data": "outside the data"} | _FEW
_OF_FIT = {
    "too_few_points": "too few points to choose a law by",
    "poor_fit": "a poor fit",
    "alpha_at_bound": "alpha is at its bound",
    "overloaded_points": "some points are above capacity",
    "missing_points": "some points have no value",
}


def fit_summary(series: Series) -> RenderableType:
    """Show the chosen law of each quantity, and the n at which it saturates or degrades.

    Numbers in brackets are 95 % intervals. Where points are too few to choose by, the closest of the simplest laws is shown. A
    law that has as many parameters as there are points fits any, and is left out.
    """
    table = Table.grid(padding=(0, 2, 0, 0))
    for wraps in (False, False, True):
        table.add_column(no_wrap=not wraps)
    for quantity, fits in groupby(series.fits, _quantity):
        for place, finding in enumerate(_findings(list(fits))):
            table.add_row("" if place else quantity, *finding)
    return titled(series.label, table)


def fit_table(series: Series) -> RenderableType:
    """Show every law that was tried on each quantity; a star marks the chosen one."""
    headings = ("", "quantity", "law", "parameters", "dAICc", "misfit", "beware")
    left = ("", "quantity", "law", "parameters", "beware")
    rows = [_cells(fit) for fit in series.fits]
    return titled(series.label, plain_table(headings, rows, left, wrap=("beware",)))


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


def _findings(fits: Sequence[Row]) -> Iterator[Finding]:
    """Tell what the points of one quantity say, by their laws and without."""
    telling = [fit for fit in fits if fit["points"] > _size(fit) > 0]
    law = min(telling, key=lambda fit: (not fit["chosen"], _size(fit), fit["rmse_log"]), default=None)
    known = fits[0]
    if law is None:
        yield "no law", f"{known['points']} points, which any law fits"
    else:
        parameters = {name: interval(law, name) for name in _PARAMETERS}
        yield f"{law['law']} law", _LAWS[law["law"]].format(**parameters) + flagged(law, _OF_FIT)
    if known["quantity"] == "mean_latency_ms":
        base, found = f"of n = {known['nodes_min']}", f"first simulated n: {known['grid_n'] or 'none'}"
        if law is None:
            yield f"1.5x {base}", found
        else:
            yield f"1.5x {base}", _place(law, "degraded_n", _OF_DEGRADED) + (f"; {found}" if known["grid_n"] else "")
            yield f"3x {base}", _place(law, "explosion_n", _OF_EXPLOSION)
    if known["mean_efficiency"] is not None:
        found = f"; first n with less than 10 % gain: {known['grid_n']}" if known["grid_n"] is not None else ""
        yield "efficiency", f"{percent(known['mean_efficiency'])} on average, {known['efficiency_tier']}{found}"
    for fit in telling:
        if fit["law"] == "usl":
            yield "peak (USL)", _place(fit, "peak_n", _OF_PEAK)


def _size(fit: Row) -> int:
    """Count the parameters of a law that was fitted; 0 where there were fewer points."""
    return sum(fit[name] is not None for name in _PARAMETERS)


def _place(fit: Row, name: str, flags: dict[str, str]) -> str:
    """Tell the n at which a law gets somewhere, or that it does not."""
    where = "at no n" if fit[name] is None else f"n = {interval(fit, name)}"
    return f"{where}{flagged(fit, flags)}"


def _quantity(fit: Row) -> str:
    return _QUANTITIES.get(fit["quantity"], str(fit["quantity"]))


def flagged(fit: Row, meanings: Mapping[str, str]) -> str:
    """Tell, in parentheses, those of a fit's flags that have a meaning here."""
    flags = (fit["flags"] or "").split(",")
    told = [meaning for flag, meaning in meanings.items() if flag in flags]
    return f" ({', '.join(told)})" if told else ""
