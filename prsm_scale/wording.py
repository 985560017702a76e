"""Numbers as people read them."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

MISSING = "-"


def number(value: float | None, digits: int = 3) -> str:
    """Write a number with at least `digits` significant digits, and all of its integer part.

    Examples
    --------
    >>> number(0.01234), number(12.345), number(1234567.8), number(None)
    ('0.0123', '12.3', '1,234,568', '-')
    """
    if value is None or not math.isfinite(value):
        return MISSING
    if value == 0:
        return "0"
    size = math.floor(math.log10(abs(value)))
    if not -5 <= size <= 9:
        return f"{value:.{digits - 1}e}"
    return f"{value:,.{max(0, digits - 1 - size)}f}"


def percent(value: float | None) -> str:
    """Write a share in percent, without rounding what is less than 1 up to 100 %, or what is more than 0 down to 0 %."""
    if value is None:
        return MISSING
    shown = f"{100 * value:.2f}".rstrip("0").rstrip(".")
    if shown == "0" and value > 0:
        return "<0.01%"
    return "<100%" if shown == "100" and value < 1 else f"{shown}%"


def estimate(value: float | None, ends: Sequence[float | None] | None, form: Callable[[float | None], str] = number) -> str:
    """Write a value and its 95 % interval, ``4.1 [3.8, 4.4]``; an end that is open is a dash.

    Examples
    --------
    >>> estimate(4.1, (3.8, None)), estimate(4.1, None), estimate(None, None)
    ('4.10 [3.80, -]', '4.10', '-')
    """
    if value is None or ends is None or all(end is None for end in ends):
        return form(value)
    return f"{form(value)} [{', '.join(map(form, ends))}]"


def some_nodes(nodes: Sequence[int], among: Sequence[int]) -> str:
    """Name some of the simulated n, ascending: ``n = 10 to 80`` where none between was left out.

    Examples
    --------
    >>> some_nodes([10, 20, 40], [4, 10, 20, 40]), some_nodes([4, 1000], [4, 10, 1000])
    ('n = 10 to 40', 'n = 4, 1,000')
    """
    between = [n for n in among if nodes[0] <= n <= nodes[-1]]
    if len(nodes) > 2 and list(nodes) == between:
        return f"n = {nodes[0]:,} to {nodes[-1]:,}"
    return f"n = {', '.join(f'{n:,}' for n in nodes)}"
