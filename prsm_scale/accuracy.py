"""How far the rounds engine may be off where operations wait for one another, as measured against the events engine.

What decides is not the load but how much of an operation's latency is waiting behind others, and whether messages pass relays.
The figures are the largest errors seen in docs/validation.md and in a grid of the same kind, rounded up: n = 4, 16 and 64, six
topologies, direct, routed and flooded, lan and poor, loads 0.5, 0.7 and 0.9.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from prsm_scale.axes import Engine
from prsm_scale.outcome import Outcome
from prsm_scale.waiting import waited_ms


@dataclass(frozen=True)
class Regime:
    """Scenarios whose stated error is the same.

    Attributes
    ----------
    relayed : bool
        Whether messages pass other replicas on their way.
    waited_share : float
        Waiting behind other operations over mean latency, at most.
    mean_error, p99_error : float
        Stated errors of the mean and of the 99th percentile, relative.
    """

    relayed: bool
    waited_share: float
    mean_error: float
    p99_error: float


REGIMES: Final = (
    Regime(False, 0.01, 0.01, 0.05),
    Regime(False, 0.15, 0.05, 0.10),
    Regime(False, np.inf, 0.15, 0.50),
    Regime(True, 0.01, 0.035, 0.08),
    Regime(True, 0.15, 0.08, 0.25),
    Regime(True, np.inf, 0.40, 1.05),
)
"""By rising share of waiting."""


def regime_of(outcome: Outcome) -> Regime | None:
    """Regime of a simulated scenario; None where the engine approximates nothing, or nothing ended."""
    ended = outcome.latency_ms[outcome.latency_ms <= outcome.scenario.operation_timeout_ms]
    if outcome.scenario.engine != Engine.ROUNDS or not ended.any():
        return None
    waited = float(np.average([waited_ms(system) for system in outcome.systems], weights=outcome.weights))
    share = waited / float(ended.mean())
    relayed = outcome.systems[0].network.relayed
    return next(regime for regime in REGIMES if regime.relayed == relayed and share <= regime.waited_share)
