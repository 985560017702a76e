"""What the first operation of a run goes through while primaries that cannot lead are replaced."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from prsm_kernels import LANES
from prsm_scale.batches import Runner
from prsm_scale.faults import PRIMARY, can_lead, varies
from prsm_scale.outcome import Operations
from prsm_scale.places import Place
from prsm_scale.plans import Plan
from prsm_scale.strata import failing_first

_EACH = 2
"""Placements that tell how long the first operation takes when so many views fail."""


def failover(
    plan: Plan, runner: Runner, places: Sequence[Place], parts: Sequence[Operations], weights: NDArray[np.float64]
) -> tuple[float, float] | None:
    """View changes and latency of the first operation of a run, averaged over placements of faulty replicas.

    Parameters
    ----------
    plan : Plan
    runner : Runner
        Simulates the operations that are missing.
    places, parts : sequences of Place and of Operations
        The placements that were simulated, and their operations, each of which came while the view that serves did.
    weights : ndarray of float64, shape (placements,)
        How much each counts.

    Returns
    -------
    (float, float) or None
        The latency, ms, is that of placements in which it is answered in time; few of those in which as many views fail tell it.
        None if there are no faulty replicas, or none of these.
    """
    if plan.timing is None:
        return None
    by_views: dict[int, list[int]] = defaultdict(list)
    for k, place in enumerate(places):
        if place.serving.size:
            by_views[int(place.serving[0])].append(k)
    number, most_ms = np.arange(LANES, dtype=np.uint32), plan.scenario.operation_timeout_ms

    def first_ms(k: int) -> float:
        if places[k].way_from(PRIMARY).waits_ms > most_ms:
            return math.inf
        if places[k].settled(PRIMARY):
            return float(parts[k].latency_ms.mean())
        system, work = places[k].starting_with(PRIMARY)
        return float(runner.run(system, np.full(LANES, k, np.uint32), number, lambda *_: None, work).latency_ms.mean())

    known = {views: some if views == 0 and not places[0].rotates else some[:_EACH] for views, some in by_views.items()}
    tellers = [k for some in known.values() for k in some]
    latency_ms = dict(zip(tellers, runner.crew.each(first_ms, tellers), strict=True))
    share = _shares_of_views(plan, places, weights, by_views)
    told = [(share[views] * weights[k] / weights[some].sum(), latency_ms[k]) for views, some in known.items() for k in some]
    weight, value = np.array(told).reshape(-1, 2).T
    in_time = value <= most_ms
    if not in_time.any():
        return None
    return sum(views * part for views, part in share.items()), float(np.average(value[in_time], weights=weight[in_time]))


def _shares_of_views(
    plan: Plan, places: Sequence[Place], weights: NDArray[np.float64], by_views: dict[int, list[int]]
) -> dict[int, float]:
    """Share of the placements in which so many views fail.

    Where in all those simulated whoever can lead first does, so that graphs do not matter, it is the share of random orders in
    which so many replicas come before one that can.
    """
    leads = [can_lead(place.behaviour, plan.quorum) for place in places]
    first = [views for views, some in by_views.items() for _ in some]
    if not varies(plan.scenario) or sorted(first) != sorted(int(np.argmax(can)) for can in leads):
        weight = {views: float(weights[some].sum()) for views, some in by_views.items()}
        return {views: part / sum(weight.values()) for views, part in weight.items()}
    return failing_first(int(leads[0].sum()), leads[0].size)
