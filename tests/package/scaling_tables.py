"""Tables of scenarios with known answers, for the tests of the analysis."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pandas as pd

from prsm_scale.columns import SCENARIO_COLUMNS
from prsm_scale.store import frame

NODES = (10, 20, 40, 80, 160, 320, 640, 1000)
_BLANKS: dict[str, Any] = {"string": "", "bool": True, "int32": 0, "int64": 0, "float64": 1.0}
_GOOD: dict[str, Any] = {
    "resource_profile": "standard",
    "offered_ops_per_second": 10.0,
    "saturation_ops_per_second": 1000.0,
    "utilisation": 0.01,
    "mean_latency_ms": 100.0,
    "p99_latency_ms": 150.0,
    "success_rate": 1.0,
    "success_low": 0.99,
    "success_high": 1.0,
    "cpu_percent_max": 5.0,
    "memory_mb": 100.0,
    "network_efficiency": 0.9,
    "safety_violations": 0,
    "bottleneck": "primary_cpu",
}
"""A scenario in which nothing is wrong."""

UNKNOWN: dict[str, Any] = {
    column.name: None for column in SCENARIO_COLUMNS if column.nullable and column.name in {*_GOOD, "success_low", "success_high"}
}
"""Columns of a scenario of which nothing is known."""


def table(nodes: Any = NODES, **columns: Any) -> pd.DataFrame:
    """A group of scenarios that are `_GOOD` but for the columns given, each with one value or with one for each n."""
    base = {column.name: None if column.nullable else _BLANKS[column.dtype] for column in SCENARIO_COLUMNS} | _GOOD
    values = {name: np.broadcast_to(np.asarray(given, dtype=object), len(nodes)) for name, given in columns.items()}
    rows = [
        base | {"node_count": int(n), "scenario_id": str(n)} | {name: given[place] for name, given in values.items()}
        for place, n in enumerate(nodes)
    ]
    return frame(rows, SCENARIO_COLUMNS)


def noisy(values: Any, relative_error: float, seed: int = 0) -> Any:
    """Values with errors of their logarithms drawn from a normal law."""
    return np.asarray(values) * np.exp(relative_error * np.random.default_rng(seed).standard_normal(len(values)))


def scenario(**settings: Any) -> str:
    """The column of that name, as far as the analysis reads it."""
    return json.dumps(settings)
