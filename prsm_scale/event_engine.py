"""One scenario on the events engine: replicates on threads, until the precision is reached; what they measure."""

from __future__ import annotations

import math
import time
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from prsm_kernels.event_types import (
    CPU_BUSY,
    EGRESS_BUSY,
    INGRESS_BUSY,
    RELAY_CPU,
    RELAY_EGRESS,
    RELAY_INGRESS,
    SENT_BYTES,
)
from prsm_scale.batches import message_cost
from prsm_scale.capacity import Work, mean_demands
from prsm_scale.crew import Crew
from prsm_scale.estimates import half_width
from prsm_scale.events import EventRun
from prsm_scale.faults import varies
from prsm_scale.hosts import by_host
from prsm_scale.outcome import FIRST, MOST, Capacity, Operations, Outcome, Progress, join, more_operations
from prsm_scale.plans import make_plan, relay_centrality
from prsm_scale.system import System, build_system

_LEAST_WARMUP, _MOST_WARMUP = 50, 1000
_SATURATING = 2.0
"""Clients of a closed loop that saturates a system, by what its capacity and its latency at rest let it hold at once."""
_STEADY, _MOST_SATURATING = 0.02, 10_000_000
"""A closed loop goes on until its rate is known to this share, or so many messages have been simulated."""
_STRETCHES = 10
_OVERLOADED_REPLICATES = 2
_MOST_MESSAGES = 200_000_000
"""Messages after which a scenario that asks for a precision is content with what it has; a minute or so on one thread."""


def simulate_events(scenario: Any, crew: Crew, tick: Progress) -> Outcome:
    """Simulate a scenario on the events engine; see `engine.simulate_scenario`."""
    begun = time.perf_counter()
    job = _Job(scenario, crew, tick)
    saturation_per_ms = job.saturation_per_ms()
    job.run(saturation_per_ms)
    operations = job.joined()
    works = tuple(_measured_work(run, job.count) for run in job.runs)
    demand = mean_demands(works)
    demand["pipeline_window"] = operations.mean_flight_ms / scenario.window
    busiest = {name: value for name, value in demand.items() if math.isfinite(value) and value > 0.0}
    capacity = Capacity(
        saturation_per_ms=saturation_per_ms,
        bottleneck=max(busiest, key=lambda name: busiest[name]) if busiest and saturation_per_ms > 0.0 else None,
        demand_ms=demand,
        done_per_ms=job.throughput_per_ms(),
    )
    failover = job.failover()
    wall, messages = time.perf_counter() - begun, int(operations.sent.sum())
    return Outcome(
        job.plan, operations, *job.groups(operations), tuple(job.systems), works, capacity, wall, messages, failover
    )  # fmt: skip


class _Job:
    """A scenario under way: one run for each replicate."""

    def __init__(self, scenario: Any, crew: Crew, tick: Progress) -> None:
        self.scenario, self.crew, self.tick = scenario, crew, tick
        self.plan = make_plan(scenario)
        self.varied = varies(scenario)
        centrality = relay_centrality(self.plan)
        count = scenario.replicates if self.varied else 1
        self.systems = [build_system(self.plan, replicate, centrality) for replicate in range(count)]
        self.runs: list[EventRun] = []
        self.count = 0
        self.overloaded = False

    def _system(self, replicate: int) -> System:
        return self.systems[replicate % len(self.systems)]

    @property
    def _settling(self) -> int:
        """Operations at rest after which views that fail have been left behind, where they can be."""
        return 0 if self.plan.timing is None else 1

    def _carry_on(self, run: EventRun, count: int) -> None:
        while not run.advance(count):
            self.crew.check()

    def saturation_per_ms(self) -> float:
        """Proposals per ms of a closed loop that saturates the system, averaged over the systems that get anything done."""
        return float(np.mean(self.crew.each(self._saturate, range(len(self.systems)))))

    def _alone(self, system: System) -> int:
        """Operations, one at a time, from which what a proposal costs each resource is measured."""
        return int(np.clip(_MOST_SATURATING // (4 * message_cost(system)), 4, 64))

    def _saturate(self, replicate: int) -> float:
        """Proposals per ms at which the closed loop settles, at most as many as the busiest resource has time for.

        A replica that falls behind for ever does not slow a loop down while quorums form without it, so its queue alone
        would not show; what a proposal costs each resource is measured on a system at rest.
        """
        system, window = self._system(replicate), self.scenario.window
        idle, alone = self._at_rest(replicate, self._settling).settle(), self._alone(system)
        self._carry_on(idle, alone)
        latency_ms = float(np.min(idle.operations(alone).latency_ms))
        if not math.isfinite(latency_ms):
            return 0.0
        busiest_ms = _measured_work(idle, alone).busiest_ms
        held = latency_ms / busiest_ms if busiest_ms > 0.0 else math.inf
        clients = int(min(2.0 * window, _SATURATING * held + 8.0))
        run = EventRun(system, replicate, warmup=2 * clients, clients=clients).settle()
        count = max(16 * clients, 400)
        while True:
            self._carry_on(run, count)
            state = run.state
            ends = np.sort((state.start_ms + state.latency_ms)[state.ended == 1])[2 * clients :]
            # answers come in bunches, which the slope of the whole course levels out
            rate_per_ms, error = _pace(ends)
            if error <= _STEADY or int(state.counts.sum()) > _MOST_SATURATING:
                return min(rate_per_ms, 1.0 / busiest_ms if busiest_ms > 0.0 else math.inf)
            count *= 2

    def _at_rest(self, replicate: int, warmup: int) -> EventRun:
        """A run with one operation at a time."""
        at_rest = replace(self.plan, scenario=self.scenario.model_copy(update={"rate": 0.0, "clients": None}))
        return EventRun(replace(self._system(replicate), plan=at_rest), replicate, warmup)

    def failover(self) -> tuple[float, float] | None:
        """View changes and latency of the first operation of a run at rest that begins in view 0, averaged over replicates.

        Of those in which it is answered.
        """
        if self.plan.timing is None:
            return None

        def first(replicate: int) -> tuple[int, float]:
            run = self._at_rest(replicate, 0)
            self._carry_on(run, 1)
            return int(run.state.views[0]), float(run.operations(1).latency_ms[0])

        told = [one for one in self.crew.each(first, range(self.scenario.replicates)) if math.isfinite(one[1])]
        return (float(np.mean([views for views, _ in told])), float(np.mean([ms for _, ms in told]))) if told else None

    def run(self, saturation_per_ms: float) -> None:
        """Simulate at the scenario's load: as many operations as it asks for, or as its precision needs."""
        scenario = self.scenario
        rate = scenario.proposals_per_ms
        rho = rate / saturation_per_ms if saturation_per_ms > 0.0 and not scenario.clients else 0.0
        self.overloaded = rho >= 1.0
        before = int(rate * scenario.warmup_s * 1000.0)
        if self.overloaded:
            self.count = max(1, int(rate * scenario.duration_s * 1000.0))
            replicates, warmup, last = min(_OVERLOADED_REPLICATES, scenario.replicates), before, before + self.count
        else:
            replicates, last = scenario.replicates, None
            warmup = int(min(max(4.0 / (1.0 - rho) ** 2, _LEAST_WARMUP), _MOST_WARMUP))
            warmup = max(warmup + (scenario.clients or 0), before)
            self.count = -(-(scenario.operations or FIRST) // replicates)
        if scenario.warmup is not None:
            warmup = scenario.warmup
        if rate == 0.0 and not scenario.clients:
            warmup = self._settling
        self.runs = [EventRun(self._system(k), k, warmup, last).settle() for k in range(replicates)]
        self._go()
        while scenario.operations is None and not self.overloaded:
            operations = self.joined()
            most = min(MOST, _MOST_MESSAGES // max(int(operations.sent.sum()) // operations.sent.shape[0], 1))
            needed = more_operations(scenario, operations, *self.groups(operations), False, most, most)
            if needed <= self.count * replicates:
                return
            started = max(run.started for run in self.runs) - warmup + 1
            self.count = max(-(-needed // replicates), started)
            self._go()

    def _go(self) -> None:
        self.tick(0, self.count * len(self.runs))
        before = [run.counted for run in self.runs]

        def work(k: int) -> None:
            self._carry_on(self.runs[k], self.count)
            self.tick(self.count - before[k], 0)

        self.crew.each(work, range(len(self.runs)))

    def joined(self) -> Operations:
        """All counted operations of all replicates."""
        return join([run.operations(self.count) for run in self.runs])

    def groups(self, operations: Operations) -> tuple[Any, Any]:
        """Number of the group of each operation, four batches of consecutive ones in each replicate or the whole; one stratum."""
        replicate = operations.replicate.astype(np.int64)
        place = np.arange(replicate.size) % self.count
        return replicate if self.varied else replicate * 4 + place * 4 // self.count, np.zeros_like(replicate)

    def throughput_per_ms(self) -> float:
        """Operations that ended successfully, per ms."""
        return float(np.mean([self._throughput(run) for run in self.runs]))

    def _throughput(self, run: EventRun) -> float:
        rate = float(self.scenario.proposals_per_ms)
        state, chosen = run.state, slice(run.warmup, run.warmup + self.count)
        ends = (state.start_ms + state.latency_ms)[state.ended == 1]
        if self.overloaded:
            begin, span = (float(1000.0 * seconds) for seconds in (self.scenario.warmup_s, self.scenario.duration_s))
            return float(np.count_nonzero((ends > begin) & (ends <= begin + span))) / span
        first, last = float(state.start_ms[chosen][0]), float(state.start_ms[chosen][-1])
        if rate == 0.0 and not self.scenario.clients:
            return 0.0
        if last <= first:
            return rate
        inside = float(((ends > first) & (ends <= last)).sum())
        return float(inside / (last - first) if self.scenario.clients else rate * inside / max(self.count - 1, 1))


def _pace(ends_ms: NDArray[np.float64]) -> tuple[float, float]:
    """Operations per ms over a closed loop's course, and the relative half-width of the 95 % interval from its stretches."""
    if ends_ms.size < 2 * _STRETCHES:
        return 0.0, 0.0
    slope = float(np.polyfit(np.arange(ends_ms.size), ends_ms, 1)[0])
    if slope <= 0.0:
        return math.inf, 0.0
    gaps = np.diff(ends_ms[np.linspace(0, ends_ms.size - 1, _STRETCHES + 1).astype(int)])
    error = float(gaps.std(ddof=1)) / math.sqrt(_STRETCHES)
    return 1.0 / slope, half_width(error, _STRETCHES) / float(gaps.mean())


def _measured_work(run: EventRun, count: int) -> Work:
    """Busy times for each proposal, between the starts of the first and of the last counted operation."""
    marks, links = run.state.busy_marks, run.state.link_marks
    busy = (marks[1] - marks[0]) / max(count - 1, 1)
    cores, host = run.system.machines.cores, run.system.machines.host
    if run.system.machines.shared:
        for line in (EGRESS_BUSY, RELAY_EGRESS, INGRESS_BUSY, RELAY_INGRESS):
            busy[line] = by_host(busy[line], host)
    limited = run.state.edge_ms_per_byte > 0
    link = ((links[1] - links[0]) / max(count - 1, 1))[limited]
    return Work(
        cpu_ms=busy[CPU_BUSY] / cores, relay_cpu_ms=busy[RELAY_CPU] / cores, egress_ms=busy[EGRESS_BUSY],
        relay_egress_ms=busy[RELAY_EGRESS], ingress_ms=busy[INGRESS_BUSY], relay_ingress_ms=busy[RELAY_INGRESS],
        link_ms=float(link.max()) if link.size else 0.0, sent_bytes=busy[SENT_BYTES],
        hops=np.ones(run.system.plan.counted_kinds.size), bounding=np.ones(host.size, np.bool_),
    )  # fmt: skip
