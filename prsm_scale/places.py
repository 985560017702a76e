"""One replicate of a scenario: its system, what other operations do to it, and the primaries from which operations start."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import fields, replace

import numpy as np
from numpy.typing import NDArray

from prsm_kernels import LANES, uniforms
from prsm_kernels.codes import AMONG_REPLICAS
from prsm_kernels.rng import DOMAIN_PRIMARY
from prsm_scale.behaviours import PrimaryPolicy
from prsm_scale.capacity import Work, work_of
from prsm_scale.crew import Crew
from prsm_scale.faults import varies
from prsm_scale.plans import Plan
from prsm_scale.system import System, held_back, members, system_where, with_first_primary
from prsm_scale.views import Course, course
from prsm_scale.waiting import Queues, behind, queues_of

_MOST_PRIMARIES, _OF_A_PLACEMENT = 32, 4
"""Starts of each kind, with and without views that fail, whose work is added up; of more, so many stand for all, and fewer where
there are many placements."""
_GOLDEN = 0.6180339887498949
"""Share of a whole whose multiples fill it evenly from the first few on."""
Turn = tuple[System, Work, NDArray[np.intp]]


def further_work(plan: Plan, behaviour: NDArray[np.int8]) -> Work | None:
    """What a proposal costs in a placement that is not simulated, None where it commits under nobody; primaries do not rotate."""
    system = system_where(plan, behaviour, held=False)
    return work_of(system) if system.serving.size else None


class Place:
    """A replicate's faulty replicas, with the systems of its operations, made when they are asked for.

    Attributes
    ----------
    bare : System
        Under the primary of the first view that serves, without other operations, and without what relays hold back.
    idle : System
        The same, with what they hold back.
    idle_work : Work
        Of one proposal there.
    system : System
        With waiting behind other operations, too.
    work : Work
        Of one proposal, on average over primaries where they rotate.
    queues : Queues or None
        What waits there; taken from those that it is `like`.
    """

    def __init__(
        self,
        plan: Plan,
        behaviour: NDArray[np.int8],
        per_ms: float,
        crew: Crew | None = None,
        like: Queues | None = None,
    ) -> None:
        self.plan, self.behaviour = plan, behaviour
        self._per_ms, self._crew, self._like = per_ms, crew or Crew(1), like
        self._idle: System | None = None
        self._waits: tuple[Queues | None, System] | None = None
        self.bare = system_where(plan, behaviour, held=False)
        self.rotates = plan.scenario.primary_policy == PrimaryPolicy.ROTATING
        self.serving = self.bare.serving
        self.idle_work = work_of(self.bare)
        self._known: dict[int, tuple[System, Work]] = {}
        self.work = self._mean_work() if self.rotates and self.serving.size else self.idle_work

    # without functools.cached_property, whose lock all places would share

    @property
    def idle(self) -> System:
        """See the class."""
        if self._idle is None:
            self._idle = held_back(self.bare)
        return self._idle

    @property
    def queues(self) -> Queues | None:
        """See the class."""
        return self._loaded[0]

    @property
    def system(self) -> System:
        """See the class."""
        return self._loaded[1]

    @property
    def _loaded(self) -> tuple[Queues | None, System]:
        if self._waits is None:
            scenario = self.plan.scenario
            duration_ms = (scenario.warmup_s + scenario.duration_s) * 1000.0
            queues = queues_of(self.idle, self.work, self._per_ms, duration_ms, self._crew, self._like)
            self._waits = queues, behind(self.idle, self.work, self._per_ms, queues)
        return self._waits

    def turns(self, replicate: NDArray[np.uint32], operation: NDArray[np.uint32]) -> Iterator[Turn]:
        """Operations by where they start: (system, work, their places in the arrays).

        Where primaries rotate, sixteen operations together start with the replica after one that serves, as in the long run
        views go on from there. As many blocks of sixteen as there are starts hold each once; fewer are spread evenly over them.
        """
        if not self.rotates or not self.serving.size:
            yield self.system, self.work, np.arange(operation.size)
            return
        many = self.serving.size
        block = operation.astype(np.int64) // LANES * self.plan.scenario.replicates + replicate
        offset = int(uniforms(self.plan.scenario.seed, DOMAIN_PRIMARY, 0)[0] * many)
        first = (self.serving[(offset + block * stride(many)) % many] + 1) % self.bare.alive.size
        for one in np.unique(first):
            yield *self.starting_with(int(one)), np.flatnonzero(first == one)

    def starting_with(self, first: int) -> tuple[System, Work]:
        """The system of operations whose first primary is `first`, with waiting, and the work of one of its proposals."""
        if self.settled(first):
            return self.system, self.work
        system, work = self._from(first)
        waits = self.system.machines
        if waits.busy <= 0.0:
            return system, work
        n, primary = system.alive.size, self.system.primary
        cpu_ms, nic_ms = waits.cpu_wait_ms.copy(), waits.nic_wait_ms.copy()
        # of all operations but few it is a backup, like the others
        others = np.flatnonzero(self.bare.alive & (np.arange(n) != primary))
        if self.rotates and others.size:
            cpu_ms[primary], nic_ms[primary] = cpu_ms[others].mean(), nic_ms[others].mean()
        slowed = np.zeros((system.rounds.kind.size, n), np.float32)
        for place, leg in enumerate(system.course.legs):
            if leg.wanted >= 0 and system.rounds.kind[place] == AMONG_REPLICAS:
                slowed[place] = waits.slowed_ms.reshape(-1, n)[leg.wanted]
        machines = system.machines._replace(
            busy=waits.busy, cpu_wait_ms=cpu_ms, nic_wait_ms=nic_ms, relay_wait_ms=waits.relay_wait_ms, slowed_ms=slowed.ravel()
        )
        return replace(system, machines=machines), work

    def settled(self, first: int) -> bool:
        """Whether operations whose first primary is `first` are those of `system`."""
        return first == self.bare.first_primary and not self.rotates

    def way_from(self, first: int) -> Course:
        """The way of operations whose first primary is `first`."""
        return course(self.plan, self.behaviour, self.serving, first)

    def _from(self, first: int) -> tuple[System, Work]:
        if first == self.bare.first_primary:
            return self.idle, self.idle_work
        if first not in self._known:
            system = with_first_primary(self.plan, self.bare.network, self.behaviour, self.serving, first)
            self._known[first] = system, work_of(system)
        return self._known[first]

    def _mean_work(self) -> Work:
        """Work of a proposal on average over all first primaries."""
        n = self.bare.alive.size
        starts = (self.serving + 1) % n
        failing = ~members(self.serving, n)[starts]
        most = _OF_A_PLACEMENT if varies(self.plan.scenario) else _MOST_PRIMARIES
        known, weights = [], []
        for kind in (starts[failing], starts[~failing]):
            count = min(kind.size, most)
            places = (np.arange(count) + 0.5) * kind.size / max(count, 1)
            known += [self._from(int(kind[place])) for place in places.astype(int)]
            weights += [kind.size / starts.size / max(count, 1)] * count
        weight, primaries = np.array(weights), np.array([system.primary for system, _ in known])
        mean = {
            field.name: _averaged(np.array([getattr(work, field.name) for _, work in known]), weight, primaries, self.serving)
            for field in fields(Work)
            if field.name not in ("link_ms", "hops", "primary", "bounding")
        }
        link_ms = float(weight @ np.array([work.link_ms for _, work in known]))
        bounding = np.all([work.bounding for _, work in known], axis=0)
        return Work(**mean, link_ms=link_ms, hops=known[0][1].hops, primary=-1, bounding=bounding)


def stride(many: int) -> int:
    """A step that visits all of so many places, spread evenly from the first few on: next to the golden ratio, and coprime."""
    step = max(1, round(many * _GOLDEN))
    while math.gcd(step, many) > 1:
        step += 1
    return step


def _averaged(
    work: NDArray[np.float64], weight: NDArray[np.float64], primaries: NDArray[np.int64], serving: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Mean work of each replica, shape (n,), over all `serving` as primaries, from its work under some of them, shape (s, n).

    What a replica does more as a primary than as a backup counts once in as many operations as there are primaries; of those that
    are not among the samples it is taken to be the samples' mean.
    """
    others = primaries[:, None] != np.arange(work.shape[1])
    share = (weight[:, None] * others).sum(axis=0)
    backup = (weight[:, None] * others * work).sum(axis=0) / np.where(share > 0.0, share, 1.0)
    more = work[np.arange(primaries.size), primaries] - backup[primaries]
    mean = backup.copy()
    mean[serving] += more.mean() / serving.size
    mean[primaries] += (more - more.mean()) / serving.size
    return np.asarray(mean, np.float64)
