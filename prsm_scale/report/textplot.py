"""A plot made of characters, for the terminal."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

MARKS = "●▲■◆○△□◇"
_LINE = "·"


@dataclass(frozen=True)
class Curve:
    """Points to plot: positive `x` and `y`, None in `y` where a value is missing."""

    x: Sequence[float]
    y: Sequence[float | None]

    def points(self, scale: Callable[[float], float]) -> list[tuple[float, float]]:
        """The points that can be shown, `x` on this scale and `y` on a logarithmic one."""
        pairs = zip(self.x, self.y, strict=True)
        return [(scale(x), math.log10(y)) for x, y in pairs if y is not None and x > 0 and 0 < y < math.inf]


def text_plot(
    title: str, curves: Sequence[Curve], width: int = 48, height: int = 10, x_name: str = "n", x_log: bool = True
) -> list[str]:
    """Draw curves over a logarithmic axis of y.

    Parameters
    ----------
    title
        Heading, with the unit of y.
    curves
        Curves, of which the i-th is marked with the i-th of `MARKS`.
    width, height
        Size of the drawing in characters, axes and labels included.
    x_name, x_log
        What x is, and whether its axis is logarithmic too.

    Returns
    -------
    list of str
        `height` lines of exactly `width` characters; none where fewer than two points can be shown.
    """
    shown = [curve.points(math.log10 if x_log else float) for curve in curves]
    points = [point for curve in shown for point in curve]
    if len({x for x, _ in points}) < 2:
        return []
    (left, right), (low, high) = (_ends(axis) for axis in zip(*points, strict=True))
    rows = height - 3
    marks = [_short(10**high), _short(10 ** ((low + high) / 2)), _short(10**low)]
    gutter = max(map(len, marks))
    columns = width - gutter - 2
    canvas = [[" "] * columns for _ in range(rows)]

    def cell(x: float, y: float) -> tuple[int, int]:
        across = round((x - left) / (right - left) * (columns - 1))
        return round((high - y) / (high - low) * (rows - 1)), across

    for curve in shown:
        for start, end in zip(curve, curve[1:], strict=False):
            _connect(canvas, cell(*start), cell(*end))
    # Marks go on top of lines, and earlier curves on top of later ones.
    for place, curve in reversed(list(enumerate(shown))):
        for x, y in curve:
            row, column = cell(x, y)
            canvas[row][column] = MARKS[place % len(MARKS)]
    labels = {0: marks[0], rows // 2: marks[1], rows - 1: marks[2]}
    body = [f"{labels.get(row, ''):>{gutter}} │{''.join(canvas[row])}" for row in range(rows)]
    first, last = (f"{10**end:.0f}" if x_log else f"{end:g}" for end in (left, right))
    ticks = f"{'':{gutter}}  {first}{x_name:^{max(1, columns - len(first) - len(last))}}{last}"
    lines = [title[:width], *body, f"{'':{gutter}} └{'─' * columns}", ticks]
    return [f"{line:<{width}}" for line in lines]


def _connect(canvas: list[list[str]], start: tuple[int, int], end: tuple[int, int]) -> None:
    (row, column), (last_row, last_column) = start, end
    steps = max(abs(last_row - row), abs(last_column - column), 1)
    for step in range(1, steps):
        share = step / steps
        canvas[round(row + share * (last_row - row))][round(column + share * (last_column - column))] = _LINE


def _ends(values: Sequence[float]) -> tuple[float, float]:
    """Give the ends of an axis; one that would have no length gets some."""
    low, high = min(values), max(values)
    return (low, high) if high - low > 1e-3 else (low - 0.5, high + 0.5)


def _short(value: float) -> str:
    """Write a number in at most six characters."""
    for size, suffix in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= size:
            return f"{value / size:.3g}{suffix}"
    return f"{value:.3g}"
