"""Which replicas are faulty."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from prsm_kernels import uniforms
from prsm_kernels.rng import DOMAIN_PLACEMENT

PRIMARY = 0
"""Primary of view 0; without view changes it is never among the faulty."""


def varies(scenario: Any) -> bool:
    """Whether each replicate has its own faulty replicas."""
    return bool(scenario.placement == "random" and 0 < scenario.byzantine_count < scenario.nodes - 1)


def silent_replicas(scenario: Any, replicate: int, centrality: NDArray[np.float64] | None) -> NDArray[np.int64]:
    """Faulty replicas of one replicate.

    Parameters
    ----------
    scenario : Scenario
        Uses `placement`, `byzantine_ratio`, `nodes` and `seed`.
    replicate : int
        Random placement is drawn for each replicate, such that more faults add to those of fewer.
    centrality : ndarray of float64, shape (n,), optional
        Messages that each replica relays, for placement `worst`: the busiest backups are faulty, by number where equal.

    Returns
    -------
    ndarray of int64
        Ascending ids.
    """
    if not isinstance(scenario.placement, str):
        return np.array(sorted(scenario.placement), np.int64)
    backups = np.delete(np.arange(scenario.nodes), PRIMARY)
    if scenario.placement == "worst":
        rank = np.zeros(scenario.nodes) if centrality is None else -centrality
    else:
        rank = uniforms(scenario.seed, DOMAIN_PLACEMENT, np.arange(scenario.nodes), replicate)
    chosen = backups[np.argsort(rank[backups], kind="stable")][: scenario.byzantine_count]
    return np.sort(chosen)
