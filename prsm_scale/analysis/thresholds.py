"""What counts as too slow, too full or too unreliable."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field, fields
from numbers import Real
from typing import Any, Final

from prsm_scale.errors import UsageError, one_of

LOW_GAIN: Final = 0.10
DEGRADED_FACTOR: Final = 1.5
EXPLOSION_FACTOR: Final = 3.0
LATENCIES: Final = ("mean", "median", "p95", "p99")
"""Latencies that a limit may be on."""


def _limit(default: float | None, meaning: str, above: float = -math.inf, below: float = math.inf, least: float = 0.0) -> Any:
    """Declare a threshold of at least `least`, above `above` and below `below`."""
    return field(default=default, metadata={"meaning": meaning, "above": above, "below": below, "least": least})


@dataclass(frozen=True)
class Thresholds:
    """Thresholds of findings and of the recommended number of nodes; each field's meaning is in its metadata.

    Raises
    ------
    UsageError
        For values that are not allowed, one line for each.
    """

    min_success: float = _limit(0.95, "share of operations that has to be exceeded", below=1.0)
    min_ops_per_node_per_second: float = _limit(0.01, "saturation throughput per node that has to be exceeded, 1/s")
    min_throughput_share: float = _limit(0.5, "saturation throughput, over that at the smallest n", above=0.0)
    low_gain: float = _limit(LOW_GAIN, "gain in throughput from one simulated n to the next")
    degraded_factor: float = _limit(DEGRADED_FACTOR, "mean latency that is degraded, over that at the smallest n", above=1.0)
    explosion_factor: float = _limit(EXPLOSION_FACTOR, "mean latency that has exploded, over that at the smallest n", above=1.0)
    max_cpu_percent: float = _limit(80.0, "CPU use of the busiest replica, %", above=0.0)
    max_memory_mb: float = _limit(8192.0, "memory of a replica, where its profile has no less, MB", above=0.0)
    min_network_efficiency: float = _limit(0.3, "bytes that mattered over bytes put on links", below=1.0)
    max_latency_ms: float | None = _limit(None, "longest latency that will do, ms", above=0.0)
    latency: str = field(default="p99", metadata={"meaning": f"latency that max_latency_ms is on: {', '.join(LATENCIES)}"})

    def __post_init__(self) -> None:
        faults = list(self._faults())
        if faults:
            raise UsageError.gather(faults)

    @property
    def latency_column(self) -> str:
        """Column that `max_latency_ms` is a limit on."""
        return f"{self.latency}_latency_ms"

    def _faults(self) -> Iterator[UsageError]:
        for one in fields(self):
            value, bounds = getattr(self, one.name), one.metadata
            if "above" not in bounds:
                if value not in LATENCIES:
                    yield UsageError(one.name, value, one_of(LATENCIES, value))
            elif not ((value is None and one.default is None) or _within(value, bounds)):
                yield UsageError(one.name, value, _allowed(bounds))


def _within(value: Any, bounds: Any) -> bool:
    if not isinstance(value, Real) or isinstance(value, bool):
        return False
    number = float(value)
    return math.isfinite(number) and bounds["above"] < number < bounds["below"] and number >= bounds["least"]


def _allowed(bounds: Any) -> str:
    above, below = bounds["above"], bounds["below"]
    low = f"above {above:g}" if math.isfinite(above) else f"of at least {bounds['least']:g}"
    return f"a number {low}" + (f" and below {below:g}" if math.isfinite(below) else "")
