"""What can be predicted and in which units: columns of a scenario's row, and the traffic of one replica."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any, Final

import numpy as np

from prsm_kernels.codes import TO_CLIENT, TO_PRIMARY
from prsm_scale.columns import SCENARIO_COLUMNS
from prsm_scale.errors import UsageError, one_of
from prsm_scale.ladders.checks import Estimate
from prsm_scale.outcome import Outcome

_SCALES: Final[dict[str, dict[str, float]]] = {
    "ms": {"ns": 1e-6, "us": 1e-3, "ms": 1.0, "s": 1e3},
    "1/s": {"1/s": 1.0, "ops/s": 1.0, "tx/s": 1.0},
    "B": {"B": 1.0, "KB": 1e3, "MB": 1e6},
    "Mbit/s": {"kbit/s": 1e-3, "Mbit/s": 1.0, "Gbit/s": 1e3},
    "MB": {"MB": 1.0},
    "%": {"%": 1.0},
    "": {"": 1.0, "messages": 1.0},
}
"""Units by that of the column, with their size in it."""

_BATCHES: Final = 16
"""Into which the operations of a replicate are cut, in their order."""


def primary_messages(outcome: Outcome) -> Estimate:
    """Messages that the primary sends and receives for one request, request and reply included."""
    return Estimate.exact(float(_handled(outcome)[0].sum()) / outcome.scenario.batch)


def primary_bytes(outcome: Outcome) -> Estimate:
    """Bytes that the primary sends and receives for one request, request and reply included."""
    messages, sizes = _handled(outcome)
    return Estimate.exact(float(messages @ sizes) / outcome.scenario.batch)


def _mean_time(name: str, outcome: Outcome) -> Estimate | None:
    """Mean of a time of each operation; operations of a replicate depend on one another, batches of many hardly do."""
    operations = outcome.operations
    time = getattr(operations, name)
    ended = np.isfinite(time)
    if not ended.any():
        return None
    means = [
        part.mean()
        for replicate in np.unique(operations.replicate)
        for part in np.array_split(time[ended & (operations.replicate == replicate)], _BATCHES)
        if part.size
    ]
    error = float(np.std(means, ddof=1)) / math.sqrt(len(means)) if len(means) > 1 else 0.0
    return Estimate.with_error(float(time[ended].mean()), error)


_OF_OUTCOME: Final[dict[str, tuple[str, Callable[[Outcome], Estimate | None]]]] = {
    "messages_per_replica": ("", primary_messages),
    "bytes_per_replica": ("B", primary_bytes),
    "mean_commit_ms": ("ms", partial(_mean_time, "commit_ms")),
    "mean_flight_ms": ("ms", partial(_mean_time, "flight_ms")),
}
"""Quantities that are no column, or one without an interval: their unit, and how they come from an outcome. The replica is the
primary."""

METRICS: Final = {
    **{column.name: column.unit for column in SCENARIO_COLUMNS if column.dtype == "float64" and column.unit in _SCALES},
    **{name: unit for name, (unit, _) in _OF_OUTCOME.items()},
}
"""Unit of every quantity that a case may be about."""


def units_of(metric: str) -> tuple[str, ...]:
    """Units in which a quantity may be given."""
    return tuple(_SCALES[METRICS[metric]])


def check_quantity(metric: str, unit: str) -> None:
    """Check a quantity and its unit.

    Raises
    ------
    UsageError
        If there is no such quantity, or it does not come in this unit.
    """
    if metric not in METRICS:
        raise UsageError("metric", metric, f"a column of docs/columns.md or {one_of(_OF_OUTCOME, metric)}")
    if unit not in units_of(metric):
        raise UsageError("unit", unit, f"{one_of(units_of(metric))}, as {metric} has")


def predicted(outcome: Outcome, metric: str, unit: str) -> Estimate | None:
    """Value of a quantity in a unit; None where the outcome has none."""
    found = _OF_OUTCOME[metric][1](outcome) if metric in _OF_OUTCOME else Estimate.of_row(outcome.row, metric)
    return found and found.scaled(1.0 / _SCALES[METRICS[metric]][unit])


def _handled(outcome: Outcome) -> tuple[Any, Any]:
    """Messages of each round that the primary sends or receives, and the bytes of each, for a whole batch."""
    system = outcome.systems[0]
    rounds, n, primary = system.rounds, system.alive.size, system.primary
    messages = np.zeros(rounds.kind.size)
    for r, kind in enumerate(rounds.kind):
        senders = rounds.senders[rounds.sender_at[r] : rounds.sender_at[r + 1]]
        receivers = rounds.receivers[rounds.receiver_at[r] : rounds.receiver_at[r + 1]]
        sends, receives = primary in senders, primary in receivers
        if kind in (TO_PRIMARY, TO_CLIENT):
            messages[r] = 1
        else:
            messages[r] = sends * rounds.addressed[r * n + primary] + receives * (senders.size - sends)
    copies = np.array([job.messages for job in system.plan.jobs])
    return messages * copies, rounds.bytes.astype(np.float64) / copies
