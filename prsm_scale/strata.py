"""Placements of faulty replicas by who leads under them.

A leader that holds proposals back, or tells two values, makes an operation take several times as long, and is rare: of a few
placements at random none has one, or too many have. Strata have operations in proportion to their share of all placements
(Cochran, Sampling Techniques, sections 5.3 and 5.5).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from prsm_kernels import uniforms
from prsm_kernels.rng import DOMAIN_PLACEMENT
from prsm_scale.behaviours import PrimaryPolicy
from prsm_scale.faults import DELAY, EQUIVOCATE, HONEST, can_lead, faulty, varies

if TYPE_CHECKING:
    from prsm_scale.plans import Plan

FEWEST = 2
"""Placements, and operations, from which a stratum's spread is seen."""
_APART = (DELAY, EQUIVOCATE)
"""Behaviours that matter in whoever leads."""


@dataclass(frozen=True)
class Stratum:
    """Placements under which the first replica that can lead is one of certain behaviours.

    Attributes
    ----------
    share : float
        Of all placements.
    leaders : tuple of int
        Codes of these behaviours; none where any may lead.
    """

    share: float
    leaders: tuple[int, ...]

    def placement(self, plan: Plan, replicate: int, behaviour: NDArray[np.int8]) -> NDArray[np.int8]:
        """A placement of this stratum from one of all: where another leads, it and one that may do so change places.

        In whatever order replicas come, those that can lead are as likely to be in any place of their own order; so placements
        remain as likely as among all that have such a leader.
        """
        ready = np.flatnonzero(can_lead(behaviour, plan.quorum))
        fit = ready[np.isin(behaviour[ready], self.leaders)]
        if not fit.size or fit[0] == ready[0]:
            return behaviour
        draw = float(uniforms(plan.scenario.seed, DOMAIN_PLACEMENT, behaviour.size, replicate)[0])
        places = [ready[0], fit[int(draw * fit.size)]]
        changed = behaviour.copy()
        changed[places] = behaviour[places[::-1]]
        return changed


ALL = (Stratum(1.0, ()),)
"""A single stratum of all placements."""


def strata_of(plan: Plan, operations: int) -> tuple[Stratum, ...]:
    """Strata of a scenario's placements, that of most first; a single one of all where leaders do not differ, or take turns.

    Parameters
    ----------
    plan : Plan
    operations : int
        That are simulated at first. A stratum of which `FEWEST` are not sure to be among them goes with the first one.
    """
    scenario = plan.scenario
    codes = np.full(scenario.nodes, HONEST, np.int8)
    codes[: scenario.byzantine_count] = faulty(scenario)
    ready = codes[can_lead(codes, plan.quorum)]
    if not varies(scenario) or scenario.primary_policy != PrimaryPolicy.STABLE or not ready.size:
        return ALL
    # any of those that can lead is as likely to be the first one
    apart = [Stratum(float(np.mean(ready == code)), (code,)) for code in _APART]
    apart = [one for one in apart if one.share * operations >= FEWEST + 1]
    if not apart:
        return ALL
    rest = set(ready.tolist()) - {code for one in apart for code in one.leaders}
    return (Stratum(1.0 - sum(one.share for one in apart), tuple(sorted(rest))), *apart)


def operations_of(strata: Sequence[Stratum], count: int) -> list[int]:
    """So many operations dealt to strata by their shares."""
    ends = np.rint(np.cumsum([one.share for one in strata]) * count).astype(int)
    return [int(part) for part in np.diff(ends, prepend=0)]


def places_of(strata: Sequence[Stratum], count: int) -> list[int]:
    """Strata of about so many placements, by number, each with at least `FEWEST`."""
    if len(strata) == 1:
        return [0] * count
    number = [max(FEWEST, part) for part in operations_of(strata, count)]
    number[0] = max(FEWEST, count - sum(number[1:]))
    return [place for place, many in enumerate(number) for _ in range(many)]


def failing_first(ready: int, n: int) -> dict[int, float]:
    """Share of the random orders of n replicas in which so many come before the first of those that are `ready` to lead."""
    shares, left = dict[int, float](), 1.0
    for views in range(n - ready + 1):
        shares[views] = left * ready / (n - views)
        left -= shares[views]
    return shares
