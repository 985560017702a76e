"""Which replicas are faulty, and what they do; see docs/faults.md."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from prsm_kernels import uniforms
from prsm_kernels.rng import DOMAIN_PLACEMENT
from prsm_scale.behaviours import Behaviour, parse_behaviour

PRIMARY = 0
"""Primary of view 0."""
HONEST = 0
SILENT, DELAY, EQUIVOCATE, FLOOD, DROP_RELAY = range(1, 6)
"""Codes of what each replica does, in the order of `Behaviour`."""
_CODES = dict(zip(Behaviour, (SILENT, DELAY, EQUIVOCATE, FLOOD, DROP_RELAY), strict=True))


def varies(scenario: Any) -> bool:
    """Whether each replicate has its own faulty replicas."""
    return bool(scenario.placement == "random" and 0 < scenario.byzantine_count < scenario.nodes)


def _deal(shares: dict[Behaviour, float], count: int) -> NDArray[np.int8]:
    """Codes of so many faulty replicas, dealt by largest remainder."""
    exact = {name: share * count for name, share in shares.items()}
    dealt = {name: math.floor(value + 1e-9) for name, value in exact.items()}
    for name in sorted(exact, key=lambda name: dealt[name] - exact[name])[: count - sum(dealt.values())]:
        dealt[name] += 1
    return np.repeat([_CODES[name] for name in dealt], list(dealt.values())).astype(np.int8)


def faulty(scenario: Any) -> NDArray[np.int8]:
    """What the faulty replicas of a scenario do, in the order in which they are placed."""
    return _deal(parse_behaviour(scenario.behaviour), scenario.byzantine_count)


def behaviours(scenario: Any, replicate: int, centrality: NDArray[np.float64] | None, turn: float = 0.0) -> NDArray[np.int8]:
    """What each replica of one replicate does.

    Parameters
    ----------
    scenario : Scenario
        Uses `placement`, `byzantine_ratio`, `behaviour`, `nodes` and `seed`.
    replicate : int
        Random placement is drawn for each replicate, such that more faults add to those of fewer.
    centrality : ndarray of float64, shape (n,), optional
        Messages that each replica relays, for placement `worst`: replica 0 is faulty, then the busiest, by number where equal.
    turn : float
        Share of the replicas that are passed over in random order, from the first on: placements of turns spread evenly have
        each replica among the faulty ones about equally often.

    Returns
    -------
    ndarray of int8, shape (n,)
        `HONEST`, `SILENT`, `DELAY`, `EQUIVOCATE`, `FLOOD` or `DROP_RELAY`.
    """
    n = scenario.nodes
    codes = np.zeros(n, np.int8)
    if not isinstance(scenario.placement, str):
        order = np.array(scenario.placement, np.int64)
    elif scenario.placement == "worst":
        rank = np.zeros(n) if centrality is None else -centrality
        order = np.concatenate([[0], 1 + np.argsort(rank[1:], kind="stable")])
    else:
        order = np.argsort(uniforms(scenario.seed, DOMAIN_PLACEMENT, np.arange(n), replicate), kind="stable")
        order = np.roll(order, -round(turn * n))
    codes[order[: scenario.byzantine_count]] = faulty(scenario)
    return codes


def sides(behaviour: NDArray[np.int8], primary: int) -> NDArray[np.uint8]:
    """Values for which each replica votes under this primary: 1, 2, both (3) or the wrong one (0).

    A vote counts where sender and receiver have a value in common.
    """
    honest = behaviour != EQUIVOCATE
    side: NDArray[np.uint8] = honest.astype(np.uint8)
    if not honest[primary]:
        voices = np.flatnonzero(honest & (behaviour != SILENT))
        side[voices[(voices.size + 1) // 2 :]] = 2
        side[~honest] = 3
    return side


def serving(behaviour: NDArray[np.int8], quorum: int, reach: NDArray[np.int64]) -> NDArray[np.int64]:
    """Replicas under whose lead operations commit where they do under any.

    Parameters
    ----------
    behaviour : ndarray of int8, shape (n,)
    quorum : int
    reach : ndarray of int64, shape (n,)
        Replicas that live and that the messages of each reach, itself included.

    Returns
    -------
    ndarray of int64
        Ascending.
    """
    return np.flatnonzero(can_lead(behaviour, quorum) & ((behaviour == EQUIVOCATE) | (reach >= quorum)))


def can_lead(behaviour: NDArray[np.int8], quorum: int) -> NDArray[np.bool_]:
    """Whether operations commit under the lead of each replica, as far as that is for what replicas do, shape (n,)."""
    two_faced = behaviour == EQUIVOCATE
    voices = int(np.count_nonzero(~two_faced & (behaviour != SILENT)))
    larger_side = (voices + 1) // 2 + int(two_faced.sum())
    return np.where(two_faced, larger_side >= quorum, behaviour != SILENT)
