"""Run one scenario: arrays in, operations out, on any number of threads."""

from __future__ import annotations

import math
import time
from collections import defaultdict
from typing import Any

import numpy as np
from numpy.typing import NDArray

from prsm_kernels import LANES
from prsm_scale.axes import Engine
from prsm_scale.backlog import all_late, backlog_ms, binding_ms, mean_capacity, with_backlog
from prsm_scale.batches import Runner, message_cost
from prsm_scale.capacity import Work, mean_demands
from prsm_scale.crew import Crew
from prsm_scale.estimates import mean_latency
from prsm_scale.failover import failover
from prsm_scale.faults import behaviours, varies
from prsm_scale.outcome import COPY, FIRST, MOST, Capacity, Operations, Outcome, Progress, as_of, join, more_operations
from prsm_scale.places import Place, further_work
from prsm_scale.plans import Plan, make_plan, relay_centrality
from prsm_scale.strata import ALL, FEWEST, Stratum, operations_of, places_of, strata_of
from prsm_scale.system import System
from prsm_scale.waiting import waited_ms

MOST_MESSAGES = 1_000_000_000
_MOST_PLACES = 64
"""Placements of faulty replicas that are simulated in any case for the sake of precision."""
_PLACES_MESSAGES = 350_000_000
"""Messages, or what takes as long, up to which further placements are."""
_REACH = 4
"""So many times as much is done where that is seen to bring the precision within reach."""
_PLACE_MESSAGES, _PLACE_COSTS = 500_000, 6
"""What making a place takes as long as: so many messages, and so many times those of an operation."""
_WORKS_MESSAGES, _WORK_COSTS = 430_000_000, 3
"""What placements whose work alone is looked at may take as long as, for `replicates` others; in operations, one of them."""
_PLACES_EACH = (1, 2, 5, 10)
"""Placements of one order of replicas whose backlogs operations may find, at most as many as have each replica faulty once."""
_TELLING, _LATE = 4, 2
"""Placements whose operations stand for those of others where these travel alike, and where all of them are too late."""
_STARTS, _MOST_STARTED = (10, 20, 50, 100), 2 * MOST
"""Times in the test at which each operation is taken to start where a system is offered more than it can do: as many as do not
make more operations of them than that, or ten."""
_GROUPS, _FEW = 8, 4
"""Groups of operations whose starts together are spread evenly over the test: of few at first, of sixteen where more are due."""
_LONG = 600_000_000
"""Messages, as `message_cost` counts them, up to which more are."""
_IDLE, _IDLE_PLACES = 8 * LANES, 8
"""Operations that tell how long one fills its place in the window of an idle system, and placements of faults that do."""
_NEAR = 0.8
"""Share of the bound that others set from which on a window may be one: above capacity few operations are at hand to tell."""
_OF_A_PLACE = 4
"""Operations of a placement, on average, from which on each has some whatever its stratum's share."""


def simulate_scenario(scenario: Any, threads: int | Crew | None = None, tick: Progress | None = None) -> Outcome:
    """Simulate a scenario on the engine that it names.

    Parameters
    ----------
    scenario : Scenario
        What to simulate. Its `operations`, or as many as bring the 95 % interval of the mean latency within its `precision`.
    threads : int or Crew, optional
        Default: one for each processor. The result does not depend on it.
    tick : callable, optional
        Called as operations get done.

    Returns
    -------
    Outcome

    Raises
    ------
    UsageError
        If graph, matrix or protocol do not serve.
    """
    crew, tick = Crew.of(threads), tick or (lambda *_: None)
    if scenario.engine == Engine.EVENTS:
        from prsm_scale.event_engine import simulate_events

        return simulate_events(scenario, crew, tick)
    begun = time.perf_counter()
    job = _Job(make_plan(scenario), Runner(crew), tick)
    job.to_precision()
    capacity, operations = job.capacity()
    first = failover(job.plan, job.runner, job.places, job.parts, job.weights)
    wall = time.perf_counter() - begun
    messages = sum(int(part.sent.sum()) for k, part in enumerate(job.parts) if k not in job.told)
    systems, works = tuple(job.systems), tuple(job.works)
    return Outcome(job.plan, operations, *job.groups(operations), systems, works, capacity, wall, messages, first, job.shared)


class _Job:
    """A scenario under way: replicates are added until the precision is reached."""

    def __init__(self, plan: Plan, runner: Runner, tick: Progress) -> None:
        self.plan, self.runner, self.tick = plan, runner, tick
        self.varied = varies(plan.scenario)
        self.centrality = relay_centrality(plan)
        self.per_ms = plan.scenario.proposals_per_ms
        self.places: list[Place] = []
        self.parts: list[Operations] = []
        self.strata = self._strata()
        self.fewest = max(plan.scenario.replicates, FEWEST * len(self.strata))
        self.stratum: list[int] = []
        # whether a resource is busy beyond its capacity; of a window that is known only afterwards
        self.overloaded, self.together, self.each = False, LANES, LANES
        self.idle_ms: dict[int, dict[int, float]] = defaultdict(dict)
        self.known_flight_ms: dict[tuple[int, int], float] = {}
        self.turns, self.further = 1, dict[int, list[Work]]()
        # placements for whose operations those of others stand, and what that leaves uncertain of mean latency
        self.told: dict[int, int] = {}
        self.shared = (0.0, 1.0)

    def _strata(self) -> tuple[Stratum, ...]:
        """Of placements; all in one where the user asks for fewer placements or operations than tell strata apart."""
        scenario = self.plan.scenario
        strata = strata_of(self.plan, scenario.operations or FIRST)
        if scenario.operations is not None:
            enough = _OF_A_PLACE * scenario.replicates <= scenario.operations and FEWEST * len(strata) <= scenario.replicates
            return strata if enough else ALL
        return strata

    @property
    def systems(self) -> list[System]:
        """Under the primary of the view that serves, by replicate where faulty replicas differ; those whose operations tell."""
        return [self.places[self.told.get(k, k)].system for k in range(len(self.places))]

    @property
    def works(self) -> list[Work]:
        """Of a proposal in each of them."""
        return [place.work for place in self.places]

    @property
    def done(self) -> int:
        """Operations simulated so far."""
        return sum(part.operation.size for part in self.parts)

    def groups(self, operations: Operations) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Number of the independent group of each operation, those that share their waits or the whole placement; its stratum."""
        replicate, number = operations.replicate.astype(np.int64), (operations.operation % COPY).astype(np.int64)
        if self.varied:
            return replicate, np.array(self.stratum, np.int64)[replicate]
        # those of a group are as far apart as can be, so that strata of waits, of which sixteen have one each, are spread over it
        apart = LANES // self.together
        return replicate << 32 | (number // LANES * apart + number % apart), np.zeros_like(replicate)

    def _make_first_places(self, count: int) -> None:
        """Make so many places of all strata; one where faulty replicas do not differ."""
        self._make_places(places_of(self.strata, count if self.varied else 1))

    def _make_places(self, of: list[int]) -> None:
        """Make further places, of these strata, those alike once; waits follow from the first one's."""
        self.stratum += of
        if not self.places:
            self.places.append(Place(self.plan, self._behaviour(0), self.per_ms, self.runner.crew))
        queues, more = self.places[0].queues, [self._behaviour(k) for k in range(len(self.places), len(self.stratum))]
        known = {place.behaviour.tobytes(): place for place in self.places}
        new = {one.tobytes(): one for one in more if one.tobytes() not in known}
        made = self.runner.crew.each(lambda one: Place(self.plan, one, self.per_ms, like=queues), list(new.values()))
        known |= dict(zip(new, made, strict=True))
        self.places += [known[one.tobytes()] for one in more]

    def _behaviour(self, k: int, turn: float = 0.0) -> NDArray[np.int8]:
        """What each replica does in a placement."""
        at_random = behaviours(self.plan.scenario, k, self.centrality, turn)
        return self.strata[self.stratum[k]].placement(self.plan, k, at_random)

    def _run(self, number: int, replicate: NDArray[np.uint32], operation: NDArray[np.uint32]) -> Operations:
        turns = self.places[number].turns(replicate, operation)
        return join([self.runner.run(one, replicate[at], operation[at], self.tick, work) for one, work, at in turns])

    def extend(self, count: int) -> None:
        """Simulate so many further operations."""
        if self.varied:
            self._extend_placements(count)
            return
        replicates, index = self.plan.scenario.replicates, np.arange(self.done, self.done + count)
        group = index // LANES
        operation = group // replicates * LANES + index % LANES
        self.parts.append(self._run(0, (group % replicates).astype(np.uint32), operation.astype(np.uint32)))

    def _extend_placements(self, count: int) -> None:
        """Deal operations to strata by their shares, and those of each to its idle placements and as many more as it takes."""
        known, sizes, more = len(self.parts), dict[int, int](), list[int]()
        done = np.bincount(self.stratum[:known], [part.operation.size for part in self.parts], len(self.strata))
        for stratum, due in enumerate(operations_of(self.strata, self.done + count) - done.astype(int)):
            idle = [k for k in range(known, len(self.places)) if self.stratum[k] == stratum]
            number = max(len(idle), -(-due // self.each))
            new = [len(self.places) + len(more) + k for k in range(number - len(idle))]
            more += [stratum] * len(new)
            sizes |= {k: due // number + (turn < due % number) for turn, k in enumerate(idle + new)}
        self._make_places(more)
        self._run_placements({place: sizes[place] for place in sorted(sizes)})

    def _run_placements(self, sizes: dict[int, int]) -> None:
        """Simulate so many operations of placements, by their numbers; for some stand those of others.

        So do they for placements under which nothing commits, of which the first few tell what messages there are.
        """
        if self.plan.scenario.operations is None:
            unserved = [k for k, place in enumerate(self.places) if not place.serving.size]
            self.told |= {k: unserved[at % _TELLING] for at, k in enumerate(unserved) if at >= _TELLING}

        def run(place: int) -> Operations:
            number = np.arange(sizes[place], dtype=np.uint32)
            return self._run(place, np.full(number.size, place, np.uint32), number)

        telling = [place for place in sizes if place not in self.told]
        parts = dict(zip(telling, self.runner.crew.each(run, telling), strict=True))
        for place, size in sizes.items():
            self.parts.append(parts[place] if place in parts else as_of(self.parts[self.told[place]], place, size))
            self.tick(size if place in self.told else 0, 0)

    def to_precision(self) -> None:
        """Simulate as many operations as the scenario asks for or needs."""
        scenario, count = self.plan.scenario, self.plan.scenario.operations
        if count is not None:
            self._make_first_places(min(scenario.replicates, count))
            self.each = count
            self.tick(0, count)
            self.extend(count)
            return
        self._make_first_places(self.fewest)
        share = np.array([one.share for one in self.strata])
        number = np.bincount(self.stratum)
        cost = message_cost(self.places[0].bare)
        if self.per_ms * max(mean_demands(self.works, (share / number)[self.stratum]).values()) >= 1.0:
            # of a rare stratum at least one for each of its placements
            self._above_capacity(cost, int(max(LANES * (number / share).min(), math.ceil(((number + 1) / share).max()))))
            return
        if not self.varied and self._window_too_narrow():
            return
        count = max(self._first(cost), _OF_A_PLACE * len(self.places)) - self.done
        while count > 0:
            self.tick(0, self.done + count)
            self.extend(count)
            count = self._due(self._most(cost), self._most(cost, _REACH))

    def _most(self, cost: int, effort: int = 1) -> int:
        """Operations that are simulated at most for the sake of precision, where so many times as much may be done for it."""
        messages, least, places = (_LONG, self.done, self.fewest) if self.overloaded else (MOST_MESSAGES, FIRST, _MOST_PLACES)
        most = min(MOST, effort * messages // cost)
        if self.varied:
            each = self.turns * _PLACE_MESSAGES + (_PLACE_COSTS + (self.turns - 1) * _WORK_COSTS + LANES) * cost
            most = min(most, LANES * max(places, effort * _PLACES_MESSAGES // each))
        return max(least, most)

    def _due(self, most: int, reach: int) -> int:
        """Further operations that precision asks for, by what those simulated show; of all as in `more_operations`."""
        operations = join(self._loaded()[0])
        starts, alike = operations.starts, not self.varied and operations.starts == 1
        limits = starts * most, starts * reach
        return -(-more_operations(self.plan.scenario, operations, *self.groups(operations), alike, *limits) // starts) - self.done

    def _window_too_narrow(self) -> bool:
        """Whether a few operations tell that the window keeps all of them waiting for too long."""
        self.extend(_GROUPS * _FEW)
        flight_ms = self._flight_ms(0, self.parts[0], self.works[0].busiest_ms)
        late = all_late(self.plan.scenario, flight_ms / self.plan.scenario.window)
        if late:
            self.together = _FEW
        return late

    def _above_capacity(self, cost: int, count: int) -> None:
        """Simulate few operations, `count` where placements differ, that tell how messages travel, and more where it takes few.

        A backlog grows for as long as the test lasts, and with it latency.
        """
        told, self.overloaded, self.together = dict[int, int](), True, _FEW
        if self.varied:
            told = self._stand_ins()
            self.told |= told
            self.turns = self._turns(cost)
            enough = bool(told)
        else:
            count = _GROUPS * _FEW
            enough = _LONG // cost < _GROUPS * LANES or all_late(self.plan.scenario, self.works[0].busiest_ms)
        while count > 0:
            self.tick(0, self.done + count)
            self.extend(count)
            self._look_further()
            count = 0 if enough else LANES * math.ceil(self._due(self._most(cost), self._most(cost, _REACH)) / LANES)
            if count > 0 and self.together == _FEW and not self.varied:
                # groups of sixteen have waits of all strata each, and tell more surely how uncertain the mean is
                self.together, count = LANES, _GROUPS * LANES - self.done
        if told:
            alike = join([self.parts[k] for k in sorted(set(told.values()))])
            ended = np.isfinite(alike.latency_ms)
            self.shared = mean_latency(alike, ended, alike.replicate.astype(np.int64))[1:] if ended.sum() > 1 else self.shared

    def _stand_ins(self) -> dict[int, int]:
        """Placements for whose operations those of others stand, and these, of placements under which operations commit.

        They do where live replicas' messages get to all others, whoever is faulty, and what operations wait for besides the
        backlog, about as long on average as it scatters, is surely known precisely enough from so few of them.
        """
        scenario, served = self.plan.scenario, [k for k, place in enumerate(self.places) if place.serving.size]
        alike = len(self.strata) == 1 and not self.places[0].rotates and all(self.places[k].bare.whole for k in served)
        if not served or not alike:
            return {}
        demand_ms = min(self.works[k].busiest_ms for k in served)
        few = _LATE if all_late(scenario, demand_ms) else _TELLING
        uncertain_ms = max(waited_ms(self.places[k].system) for k in served[:few]) / math.sqrt(LANES * few)
        if few != _LATE and uncertain_ms >= scenario.precision * backlog_ms(scenario, self.per_ms * demand_ms, 0.5):
            return {}
        return {k: served[at % few] for at, k in enumerate(served) if at >= few}

    def _turns(self, cost: int) -> int:
        """Placements of each order of replicas whose backlogs operations find, as many as costs allow, whatever they show.

        To go on where they differ would favour what differs.
        """
        scenario, served = self.plan.scenario, [k for k, place in enumerate(self.places) if place.serving.size]
        if self.places[0].rotates or not served or all_late(scenario, min(self.works[k].busiest_ms for k in served)):
            return 1
        most = 1 + _WORKS_MESSAGES // (len(served) * (_PLACE_MESSAGES + _WORK_COSTS * cost))
        return max(many for many in _PLACES_EACH if many <= min(most, scenario.nodes // scenario.byzantine_count))

    def _look_further(self) -> None:
        """Let the operations of each placement find the backlog of others, too, which latency depends on most.

        It follows from the work of a proposal alone, which is known at a fraction of the cost. Turns of the same order of
        replicas have each among the faulty ones about equally often, so that their mean varies less than that of as many others.
        """
        served = [k for k, part in enumerate(self.parts) if k not in self.further and np.isfinite(part.latency_ms).any()]
        turns = [(k, turn / self.turns) for k in served for turn in range(1, self.turns)]
        works = iter(self.runner.crew.each(lambda one: further_work(self.plan, self._behaviour(*one)), turns))
        # whether anything is answered is for the placements that are simulated to tell
        self.further |= {k: [work for _ in range(1, self.turns) if (work := next(works)) is not None] for k in served}

    def _first(self, cost: int) -> int:
        """Operations simulated at first: where primaries rotate, so many that each start is among them, if that is possible."""
        place = self.places[0]
        starts = place.serving.size if place.rotates and not self.varied else 0
        return max(FIRST, min(LANES * starts, MOST_MESSAGES // cost))

    @property
    def weights(self) -> NDArray[np.float64]:
        """Operations of each place."""
        return np.array([part.operation.size for part in self.parts] if self.varied else [self.done], np.float64)

    def _flight_ms(self, place: int, part: Operations, demand_ms: float) -> float:
        """Mean time for which a proposal fills a place in the window, inf where none is ever decided.

        It bounds the capacity by what it is in an idle system; where even with waiting it is no bound, that is not looked into.
        Of many placements the first few tell whether it may be one for the others of their stratum.
        """
        loaded, bound = part.mean_flight_ms, demand_ms * self.plan.scenario.window
        if np.isinf(loaded) or loaded <= bound or self.places[place].system.machines.busy <= 0.0:
            return loaded
        known = self.idle_ms[self.stratum[place]]
        if len(known) >= _IDLE_PLACES and (mean := float(np.mean(list(known.values())))) <= _NEAR * bound:
            return known.get(place, mean)

        def measured(count: int) -> float:
            if (place, count) not in self.known_flight_ms:
                number = np.arange(count, dtype=np.uint32)
                replicate, at = np.full(count, part.replicate[0], np.uint32), self.places[place]
                idle = self.runner.run(at.idle, replicate, number, lambda *_: None, at.idle_work)
                self.known_flight_ms[place, count] = idle.mean_flight_ms
            return self.known_flight_ms[place, count]

        idle = measured(min(part.operation.size, LANES if self.varied else _IDLE))
        if part.operation.size < _IDLE and not self.varied and idle > _NEAR * bound:
            idle = measured(_IDLE)
        if np.isfinite(idle):
            known[place] = idle
        return idle

    def _loaded(self) -> tuple[list[Operations], list[list[dict[str, float]]]]:
        """Operations of each placement, started as often as it takes, with the backlogs of the systems that they find in turn.

        Returns
        -------
        (list of Operations, list of list of dict of str to float)
            And what a proposal takes of each resource and of the window in each of these systems.
        """
        scenario, parts = self.plan.scenario, self.parts if self.varied else [join(self.parts)]
        demands = []
        for k, part in enumerate(parts):
            works = [self.places[k].work, *self.further.get(k, ())]
            flight_ms = self._flight_ms(k, part, min(work.busiest_ms for work in works))
            demands.append([{**work.demands, "pipeline_window": flight_ms / scenario.window} for work in works])
        bounds = binding_ms(demands)
        mean = np.average([np.mean(each) for each in bounds], weights=self.weights)
        overloaded = self.overloaded or (scenario.operations is None and self.per_ms * mean > 1.0)
        starts = max((one for one in _STARTS if one * self.done <= _MOST_STARTED), default=_STARTS[0]) if overloaded else 1
        rho = [self.per_ms * np.array(each) for each in bounds]
        started = [with_backlog(self.plan, part, busy, starts, self.together) for part, busy in zip(parts, rho, strict=True)]
        return started, demands

    def capacity(self) -> tuple[Capacity, Operations]:
        """What the systems can do, on average, and the operations with the backlog of a system that is offered more."""
        parts, demands = self._loaded()
        return mean_capacity(self.plan.scenario, parts, demands), join(parts)
