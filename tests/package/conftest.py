"""A made-up run for the tests of what is printed: rows that follow simple laws, through the real schema."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from prsm_scale.columns import SCENARIO_COLUMNS
from prsm_scale.store import RunStore, StoredRun

Row = dict[str, Any]

_BLANKS: dict[str, Any] = {"string": "", "bool": True, "int32": 0, "int64": 0, "float64": 1.0}
_LATENCIES = {"mean": 1.0, "median": 0.98, "p95": 1.2, "p99": 1.4}


def _sample_row(nodes: int, topology: str = "mesh", **changes: Any) -> Row:
    latency = 200.0 + 30.0 * math.log(nodes)
    row = {column.name: None if column.nullable else _BLANKS[column.dtype] for column in SCENARIO_COLUMNS}
    row |= {
        "scenario_id": f"{topology}-{nodes}",
        "node_count": nodes,
        "byzantine_ratio": 0.0,
        "topology": topology,
        "network_condition": "wan",
        "environment": "local_simulation",
        "resource_profile": "standard",
        "protocol": "pbft",
        "dissemination": "gossip",
        "authentication": "ed25519",
        "offered_ops_per_second": 10.0,
        "payload_bytes": 512,
        "batch": 1,
        "engine": "rounds",
        "operations_per_second": 10.0,
        "saturation_ops_per_second": 21_000.0 / nodes,
        "utilisation": nodes / 2_100.0,
        "success_rate": 1.0,
        "message_count": 2.0 * nodes * (nodes - 1),
        "bottleneck": "primary_egress" if nodes < 100 else "replica_cpu",
    }
    for name, factor in _LATENCIES.items():
        row[f"{name}_latency_ms"] = factor * latency
        row[f"{name}_latency_low_ms"] = factor * latency - 0.5
        row[f"{name}_latency_high_ms"] = factor * latency + 0.5
    return row | changes


def _sample_run(folder: Path, rows: Sequence[Row], sweep: Row | None = None, finished: bool = True) -> StoredRun:
    from prsm_scale.analysis.sweep_fits import fit_scenarios
    from prsm_scale.store import load

    store = RunStore.create(folder, sweep or {}, run_id="sample")
    for row in rows:
        store.append(row)
    return store.finish(fit_scenarios(store.scenarios)) if finished else load(store.path)


@pytest.fixture
def sample_row() -> Callable[..., Row]:
    """Maker of a scenario whose throughput is 21000 / n and whose mean latency is 200 + 30 ln n."""
    return _sample_row


@pytest.fixture
def sample_run() -> Callable[..., StoredRun]:
    """Maker of a stored run of such rows, with the fits that they really have."""
    return _sample_run
