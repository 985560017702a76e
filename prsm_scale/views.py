"""The way of an operation through views: which rounds it takes, under which primary, and after which time-outs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from prsm_scale.faults import EQUIVOCATE, SILENT, serving, sides
from prsm_scale.protocols import Pattern, Protocol, QuorumLaw, Round, Senders
from prsm_scale.resources import JobCosts
from prsm_scale.view_change import Timing, ViewCosts

VIEWS_APART = 64
"""Streams of draws from one view of an operation to the next."""
_ASK, _CHANGE, _NEW = 60, 62, 63
"""Streams of a request sent again, of VIEW-CHANGE and of NEW-VIEW."""
NO_WAIT, FROM_START = -2, -1
"""In place of the round from whose end on replicas wait."""

ASK_ALL = Round("ask_all", Pattern.CLIENT_TO_PRIMARY, Senders.CLIENT, lambda inputs: 0, QuorumLaw.ONE, per_request=True)
VIEW_CHANGE = Round("view_change", Pattern.ALL_TO_ALL, Senders.ALL, lambda inputs: 0, own_counts=True)
NEW_VIEW = Round("new_view", Pattern.PRIMARY_TO_ALL, Senders.PRIMARY, lambda inputs: 0, QuorumLaw.ONE, own_counts=True)
"""Rounds that protocols share; `ViewCosts` has their sizes."""

if TYPE_CHECKING:
    from prsm_scale.network import Network
    from prsm_scale.plans import Plan


@dataclass(frozen=True, eq=False)
class Leg:
    """One round on an operation's way.

    Attributes
    ----------
    step : Round
    job : JobCosts
    primary : int
        In the view of the round.
    side : ndarray of uint8, shape (n,)
        Values for which replicas vote, see `faults.sides`.
    stream : int
        Number of the stream of its draws.
    wanted : int
        Round of the protocol that it is, -1 for one of a view change.
    timer_ms : float
        Time for which replicas wait before they enter the round.
    base : int
        Place of the round from whose end on they wait, `FROM_START`, or `NO_WAIT`.
    """

    step: Round
    job: JobCosts
    primary: int
    side: NDArray[np.uint8]
    stream: int
    wanted: int
    timer_ms: float = 0.0
    base: int = NO_WAIT


@dataclass(frozen=True, eq=False)
class Course:
    """All rounds of an operation, from its request to its replies.

    Attributes
    ----------
    legs : tuple of Leg
    view_changes : int
        Views that fail on the way.
    """

    legs: tuple[Leg, ...]
    view_changes: int

    def fold(self, counts: NDArray[Any], columns: int) -> NDArray[Any]:
        """Add up counts by round on the way, shape (..., legs), to those by round of the protocol, VIEW-CHANGE and NEW-VIEW."""
        if columns == len(self.legs) and all(leg.wanted >= 0 for leg in self.legs):
            return counts
        extra = {ASK_ALL.name: 0, VIEW_CHANGE.name: columns - 2, NEW_VIEW.name: columns - 1}
        folded = np.zeros((*counts.shape[:-1], columns), counts.dtype)
        for place, leg in enumerate(self.legs):
            folded[..., leg.wanted if leg.wanted >= 0 else extra[leg.step.name]] += counts[..., place]
        return folded

    @cached_property
    def costs(self) -> dict[str, NDArray[np.float64]]:
        """Each of the `JobCosts` of the rounds, by its name, shape (legs, 1)."""
        names = [field.name for field in fields(JobCosts)]
        table = np.array([[[getattr(leg.job, name)] for leg in self.legs] for name in names], np.float64)
        return dict(zip(names, table, strict=True))

    @property
    def waits_ms(self) -> float:
        """Time-outs on the way, each of which begins after the one before has ended."""
        return sum(leg.timer_ms for leg in self.legs)

    @property
    def proposal(self) -> int:
        """Place of the last proposal."""
        return max(place for place, leg in enumerate(self.legs) if leg.wanted == 1)


def serving_views(behaviour: NDArray[np.int8], quorum: int, network: Network | None = None) -> NDArray[np.int64]:
    """Replicas under whose lead operations commit where they do under any, ascending; on a complete graph without `network`."""
    return serving(behaviour, quorum, reach_of(behaviour != SILENT, network))


def reach_of(live: NDArray[np.bool_], network: Network | None) -> NDArray[np.int64]:
    """Live replicas that the messages of each get to, itself included, shape (n,)."""
    if network is None or not network.relayed:
        return np.full(live.size, np.count_nonzero(live))
    return np.asarray((np.isfinite(network.distance_ms.reshape(live.size, -1)) & live).sum(axis=1), np.int64)


def course(plan: Plan, behaviour: NDArray[np.int8], served: NDArray[np.int64], first: int) -> Course:
    """The way of an operation whose first primary is `first`, through all views that fail, to the one that serves.

    Parameters
    ----------
    plan : Plan
    behaviour : ndarray of int8, shape (n,)
    served : ndarray of int64
        From `serving_views`.
    first : int
        A replica; where no replica serves, it is taken to.
    """
    protocol, n = plan.protocol, behaviour.size
    way = _Way(plan.protocol, plan.jobs, behaviour)
    way.rounds(slice(0, 1), first, 0)
    primary, failed = first, 0
    while served.size and primary not in served and plan.timing is not None:
        heard = (primary + 1) % n in served or behaviour[(primary + 1) % n] == EQUIVOCATE
        way.fail(plan.timing, plan.views, primary, failed, heard)
        failed += 1
        primary = (primary + 1) % n
    way.rounds(slice(1, len(protocol.rounds)), primary, failed)
    return Course(tuple(way.legs), failed)


class _Way:
    def __init__(self, protocol: Protocol, jobs: Sequence[JobCosts], behaviour: NDArray[np.int8]) -> None:
        self.protocol, self.jobs, self.behaviour = protocol, jobs, behaviour
        self.legs: list[Leg] = []
        self.voters = (behaviour != EQUIVOCATE).astype(np.uint8)

    def rounds(self, which: slice, primary: int, view: int) -> None:
        """Add rounds of the protocol, in a view."""
        side = sides(self.behaviour, primary)
        for r in range(*which.indices(len(self.protocol.rounds))):
            stream = r + VIEWS_APART * view
            self.legs.append(Leg(self.protocol.rounds[r], self.jobs[r], primary, side, stream, r))

    def add(
        self, step: Round, job: JobCosts, primary: int, stream: int, side: NDArray[np.uint8],
        timer_ms: float = 0.0, base: int = NO_WAIT,
    ) -> int:  # fmt: skip
        """Add a round of a view change; returns its place."""
        self.legs.append(Leg(step, job, primary, side, stream, -1, timer_ms, base))
        return len(self.legs) - 1

    def fail(self, timing: Timing, costs: ViewCosts, primary: int, view: int, heard: bool) -> None:
        """Add what is sent in a view that fails, its time-out, and the change to the next, whose primary may be `heard`."""
        wait_ms, following = timing.view_timeout_ms * 2.0**view, (primary + 1) % self.behaviour.size
        before = len(self.legs) - 1
        if self.behaviour[primary] == EQUIVOCATE:
            # in a later view the timer starts with NEW-VIEW, in the first one with the proposal
            before = before if view else len(self.legs)
            self.rounds(slice(1, self.protocol_votes()), primary, view)
        elif view == 0:
            before = self.add(ASK_ALL, self.jobs[0], primary, _ASK, self.voters, timing.client_timeout_ms, FROM_START)
        stream = VIEWS_APART * view
        self.add(VIEW_CHANGE, costs.change, following, stream + _CHANGE, self.voters, wait_ms, before)
        if heard:
            # whoever leads, NEW-VIEW proves itself by the VIEW-CHANGEs that it carries
            self.add(NEW_VIEW, costs.new_view, following, stream + _NEW, np.ones_like(self.voters))

    def protocol_votes(self) -> int:
        """End of the rounds that an equivocating primary sets off: up to the first in which replicas vote."""
        names = [step.name for step in self.protocol.rounds]
        return min(3, names.index(self.protocol.commit_round) + 1)
