"""Rows of results, split into series that differ in n alone, and numbers as people read them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from prsm_scale.wording import estimate, number

Row = Mapping[str, Any]

NODES, RATE, RATIO = "node_count", "offered_ops_per_second", "byzantine_ratio"
"""Columns along which a series may go."""

_AXES = {
    NODES: "n = {}",
    "topology": "{}",
    "network_condition": "{}",
    "environment": "{}",
    "resource_profile": "{}",
    "protocol": "{}",
    "dissemination": "{}",
    "authentication": "{}",
    RATIO: "byzantine {:g}",
    RATE: "{:g} ops/s offered",
    "payload_bytes": "{} B",
    "batch": "batch {}",
    "seed": "seed {}",
}


@dataclass(frozen=True)
class Series:
    """Rows that differ in the number of nodes alone, in the load alone, or in nodes and the share of faulty replicas.

    Attributes
    ----------
    label
        The axes in which this series differs from others of the run; empty where it is the only one.
    rows
        Its scenarios, by rising number of nodes, load, or nodes and share.
    fits
        Its fitted curves.
    """

    label: str
    rows: tuple[Row, ...]
    fits: tuple[Row, ...] = ()


def split(rows: Sequence[Row], fits: Sequence[Row] = (), *along: str) -> list[Series]:
    """Split rows into series that differ in the columns `along` alone (default: n), in the order in which they appear."""
    along = along or (NODES,)
    varying = _varying(rows, along)
    groups: dict[str, list[Row]] = {}
    for row in rows:
        groups.setdefault(_label(row, varying), []).append(row)
    fitted: dict[str, list[Row]] = {}
    for fit in fits:
        fitted.setdefault(_label(fit, varying), []).append(fit)
    return [
        Series(label, tuple(sorted(group, key=lambda row: [float(row[name]) for name in along])), tuple(fitted.get(label, ())))
        for label, group in groups.items()
    ]


def common(rows: Sequence[Row], along: str = NODES) -> str:
    """Name the axes that all rows share, the column `along` left out."""
    return _label(rows[0], [axis for axis in _axes((along,)) if len({row[axis] for row in rows}) == 1]) if rows else ""


def distinct(rows: Sequence[Row]) -> list[str]:
    """Name each row by the axes in which rows differ, or by its number of nodes where they differ in none."""
    varying = _varying(rows) or [NODES]
    return [_label(row, varying) for row in rows]


def labels(rows: Sequence[Row]) -> list[str]:
    """Name the axes in which each row differs from others, the number of nodes left out; empty where there are none."""
    varying = _varying(rows, (NODES,))
    return [_label(row, varying) for row in rows]


def spread_ms(row: Row, name: str) -> str:
    """Write a latency and half the width of its 95 % interval, ``733.8 ±0.31``."""
    value, low, high = (row.get(f"{name}{end}_ms") for end in ("", "_low", "_high"))
    if value is None or low is None or high is None:
        return number(value, 4)
    return f"{number(value, 4)} ±{number((high - low) / 2, 2)}"


def interval(row: Row, name: str) -> str:
    """Write a parameter and its 95 % interval, ``4.1 [3.8, 4.4]``."""
    return estimate(row.get(name), (row.get(f"{name}_low"), row.get(f"{name}_high")))


def _varying(rows: Sequence[Row], along: Sequence[str] = ()) -> list[str]:
    """Axes in which rows differ, the columns `along` left out."""
    return [axis for axis in _axes(along) if len({row[axis] for row in rows}) > 1]


def _axes(along: Sequence[str]) -> list[str]:
    return [axis for axis in _AXES if axis not in along]


def _label(row: Row, axes: Sequence[str]) -> str:
    return ", ".join(_AXES[axis].format(row[axis]) for axis in axes)
