"""Run one scenario: arrays in, operations out, on any number of threads."""

from __future__ import annotations

import os
import time
from collections import defaultdict
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from prsm_kernels import LANES, Batch, make_scratch, simulate, stream_key, uniforms
from prsm_kernels.batch import BLOCK
from prsm_kernels.codes import AMONG_REPLICAS, GOSSIP, QUEUEING, ROUTED
from prsm_kernels.rng import DOMAIN_ARRIVAL, DOMAIN_CLIENT, DOMAIN_OPERATION
from prsm_scale.axes import Engine
from prsm_scale.capacity import Work, demands, mean_demands, work_of
from prsm_scale.faults import PRIMARY, varies
from prsm_scale.outcome import (
    FIRST,
    MOST,
    Capacity,
    Crew,
    Operations,
    Outcome,
    Progress,
    join,
    more_operations,
)
from prsm_scale.system import Plan, System, build_system, make_plan, relay_centrality
from prsm_scale.waiting import loaded

MOST_MESSAGES = 4_000_000_000
_CALL_MESSAGES = 12_000_000
_SCRATCH_BYTES = 1_200_000_000


class _Runner(Crew):
    """Threads that carry out batches."""

    def run(self, system: System, replicate: NDArray[np.uint32], operation: NDArray[np.uint32], tick: Progress) -> Operations:
        """Simulate operations of one system."""
        blocks = -(-replicate.size // LANES)
        threads = self.threads
        if system.network.kind == GOSSIP:
            threads = max(1, min(threads, _SCRATCH_BYTES // (4 * LANES * system.alive.size**2)))
        tasks = max(1, min(blocks, threads if system.network.kind == GOSSIP else 4 * threads))
        edges = np.linspace(0, blocks, tasks + 1).astype(int) * LANES
        pieces = [slice(a, b) for a, b in zip(edges[:-1], edges[1:], strict=True) if b > a]
        crew = Crew(threads, self.stop)
        return join(crew.each(lambda piece: self._task(system, replicate[piece], operation[piece], tick), pieces))

    def _task(self, system: System, replicate: NDArray[np.uint32], operation: NDArray[np.uint32], tick: Progress) -> Operations:
        batch = _empty_batch(system, replicate, operation)
        scratch = make_scratch(system.rounds, system.paths, system.machines)
        count, told, done = replicate.size, 0, False
        while not done:
            done = simulate(system.rounds, system.paths, system.plan.law, system.machines, batch, scratch, _CALL_MESSAGES)
            self.check()
            ended = min(int(scratch.progress[BLOCK]) * LANES, count)
            tick(ended - told, 0, int(batch.sent[told:ended].sum()))
            told = ended
        latency, commit, flight, parts = (
            times[:count].astype(np.float64) for times in (batch.latency_ms, batch.commit_ms, batch.flight_ms, batch.breakdown_ms)
        )
        return Operations(
            replicate, operation, latency, commit, flight, parts, batch.sent[:count], batch.useful[:count],
            batch.repeats[:count], np.zeros((count, system.rounds.kind.size)),
        )  # fmt: skip


def _empty_batch(system: System, replicate: NDArray[np.uint32], operation: NDArray[np.uint32]) -> Batch:
    """A batch for these operations, filled up to whole blocks with further numbers."""
    seed, rounds = system.plan.scenario.seed, system.rounds.kind.size
    size = -(-operation.size // LANES) * LANES
    spare = np.arange(size - operation.size, dtype=np.uint32)
    replicate = np.concatenate([replicate, np.full(spare.size, 0xFFFFFFFF, np.uint32)])
    operation = np.concatenate([operation, spare])
    client = client_sites(system, operation, replicate)
    keys = [stream_key(seed, DOMAIN_OPERATION, r) for r in range(rounds + 2)]
    return Batch(
        operation=operation,
        replicate=replicate,
        client=client,
        primary=PRIMARY,
        keys=np.array(keys, np.uint32),
        latency_ms=np.empty(size, np.float32),
        commit_ms=np.empty(size, np.float32),
        flight_ms=np.empty(size, np.float32),
        breakdown_ms=np.empty((size, 6), np.float32),
        sent=np.empty((size, rounds), np.int64),
        useful=np.empty((size, rounds), np.int64),
        repeats=np.empty((size, rounds), np.int64),
    )


def client_sites(system: System, operation: NDArray[np.uint32], replicate: NDArray[np.uint32]) -> NDArray[np.int32]:
    """Replica with which the client of each operation sits: one that lives, drawn, or the scenario's `client_site`."""
    scenario = system.plan.scenario
    if scenario.client_site is not None:
        return np.full(operation.size, scenario.client_site, np.int32)
    live = np.flatnonzero(system.alive).astype(np.int32)
    sites: NDArray[np.int32] = live[(uniforms(scenario.seed, DOMAIN_CLIENT, operation, replicate) * live.size).astype(np.int64)]
    return sites


def message_cost(system: System) -> int:
    """Messages drawn for one operation, about."""
    rounds = system.rounds
    per_round = np.diff(rounds.sender_at) * np.maximum(np.diff(rounds.receiver_at), 1)
    weight = 4 if system.network.kind == GOSSIP else system.paths.work if system.network.kind == ROUTED else 1
    return max(1, int(per_round.sum()) * weight)


def simulate_scenario(scenario: Any, threads: int | None = None, tick: Progress | None = None) -> Outcome:
    """Simulate a scenario on the engine that it names.

    Parameters
    ----------
    scenario : Scenario
        What to simulate. Its `operations`, or as many as bring the 95 % interval of the mean latency within its `precision`.
    threads : int, optional
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
    threads, tick = threads or os.cpu_count() or 1, tick or (lambda *_: None)
    if scenario.engine == Engine.EVENTS:
        from prsm_scale.event_engine import simulate_events

        return simulate_events(scenario, Crew(threads), tick)
    begun = time.perf_counter()
    job = _Job(make_plan(scenario), _Runner(threads), tick)
    job.to_precision()
    capacity, operations = job.capacity()
    wall, messages = time.perf_counter() - begun, int(operations.sent.sum())
    return Outcome(job.plan, operations, job.clusters(operations), tuple(job.systems), tuple(job.works), capacity, wall, messages)


class _Job:
    """A scenario under way: replicates are added until the precision is reached."""

    def __init__(self, plan: Plan, runner: _Runner, tick: Progress) -> None:
        self.plan, self.runner, self.tick = plan, runner, tick
        self.varied = varies(plan.scenario)
        self.centrality = relay_centrality(plan)
        self.per_ms = plan.scenario.proposals_per_ms
        self.idle: list[System] = []
        self.systems: list[System] = []
        self.works: list[Work] = []
        self.parts: list[Operations] = []
        self.done = 0

    def clusters(self, operations: Operations) -> NDArray[np.int64]:
        """Number of the independent group of each operation: the 16 that share their strata, or the whole replicate."""
        replicate = operations.replicate.astype(np.int64)
        return replicate if self.varied else replicate << 32 | (operations.operation >> 4).astype(np.int64)

    def _system(self, replicate: int) -> System:
        """System of a replicate, made when it is first asked for; one for all where faulty replicas do not differ."""
        place = replicate if self.varied else 0
        if place < len(self.systems):
            return self.systems[place]
        idle = build_system(self.plan, replicate, self.centrality)
        work = work_of(idle)
        self.idle.append(idle)
        self.systems.append(loaded(idle, work, self.per_ms, self.plan.scenario.duration_s * 1000.0))
        self.works.append(work)
        return self.systems[-1]

    def _run(self, place: int, replicate: NDArray[np.uint32], operation: NDArray[np.uint32]) -> None:
        system = self._system(place)
        part = self.runner.run(system, replicate, operation, self.tick)
        self.parts.append(replace(part, transmissions=_transmissions(system, self.works[place], part)))
        self.done += replicate.size

    def extend(self, count: int) -> None:
        """Simulate so many further operations."""
        replicates = self.plan.scenario.replicates
        if self.varied:
            each = -(-count // replicates) if not self.parts else self.parts[0].replicate.size
            while count > 0:
                size = min(each, count)
                number = len(self.parts)
                self._run(number, np.full(size, number, np.uint32), np.arange(size, dtype=np.uint32))
                count -= size
        else:
            index = np.arange(self.done, self.done + count)
            group = index // LANES
            operation = group // replicates * LANES + index % LANES
            self._run(0, (group % replicates).astype(np.uint32), operation.astype(np.uint32))

    def to_precision(self) -> None:
        """Simulate as many operations as the scenario asks for or needs."""
        scenario = self.plan.scenario
        if scenario.operations is not None:
            self.tick(0, scenario.operations)
            self.extend(scenario.operations)
            return
        cost = message_cost(self._system(0))
        most = max(FIRST, min(MOST, MOST_MESSAGES // cost))
        count = FIRST
        while count > 0:
            self.tick(0, self.done + count)
            self.extend(count)
            if self.per_ms * max(mean_demands(self.works).values()) >= 1.0:
                return  # a backlog grows for as long as the test lasts: there is no mean to be precise about
            operations = join(self.parts)
            needed = more_operations(scenario, operations, self.clusters(operations), not self.varied)
            count = min(needed, most) - self.done

    def _flight_ms(self, place: int, part: Operations, busiest_ms: float) -> float:
        """Mean time for which a proposal fills a place in the window, inf where none is ever decided.

        It bounds the capacity by what it is in an idle system; where even with waiting it is no bound, that is not looked into.
        """
        loaded = _mean_of_finite(part.flight_ms)
        if loaded <= busiest_ms * self.plan.scenario.window or np.isinf(loaded):
            return loaded
        number = np.arange(min(part.operation.size, FIRST), dtype=np.uint32)
        replicate = np.full(number.size, part.replicate[0], np.uint32)
        return _mean_of_finite(self.runner.run(self.idle[place], replicate, number, lambda *_: None).flight_ms)

    def capacity(self) -> tuple[Capacity, Operations]:
        """What the systems can do, on average, and the operations with the backlog of a system that is offered more."""
        scenario = self.plan.scenario
        binding: dict[str, float] = defaultdict(float)
        most, done, each = [], [], []
        parts = list(self.parts) if self.varied else [join(self.parts)]
        for place, (work, part) in enumerate(zip(self.works, parts, strict=True)):
            demand = demands(work)
            demand["pipeline_window"] = self._flight_ms(place, part, max(demand.values())) / scenario.window
            each.append(demand)
            finite = {name: value for name, value in demand.items() if np.isfinite(value)}
            name = max(finite, key=lambda key: finite[key])
            bound = finite[name]
            parts[place] = _with_backlog(self.plan, part, self.per_ms * bound)
            ended = float(np.isfinite(parts[place].latency_ms).mean())
            in_time = float((parts[place].latency_ms <= scenario.operation_timeout_ms).mean())
            most.append(0.0 if ended == 0.0 else ended / bound if bound > 0.0 else np.inf)
            # of a growing backlog, what the test's duration leaves unserved is not done
            done.append(self.per_ms * min(in_time, ended / max(1.0, self.per_ms * bound)))
            if ended > 0.0 and bound > 0.0:
                binding[name] += ended * part.operation.size
        weight = np.array([part.operation.size for part in parts], np.float64)
        bottleneck = max(sorted(binding), key=lambda name: binding[name], default=None)
        demand_ms = {name: float(np.mean([one[name] for one in each])) for name in each[0]}
        average = float(np.average(most, weights=weight)), float(np.average(done, weights=weight))
        return Capacity(average[0], bottleneck, demand_ms, average[1]), join(parts)


def _mean_of_finite(values: NDArray[np.float64]) -> float:
    finite = values[np.isfinite(values)]
    return float(finite.mean()) if finite.size else np.inf


def _transmissions(system: System, work: Work, operations: Operations) -> NDArray[np.float64]:
    """Transmissions over links of each operation and round."""
    first = operations.sent * work.hops
    again = operations.repeats.astype(np.float64) if system.plan.law.stream else np.zeros(first.shape)
    if system.network.kind == GOSSIP and system.plan.law.stream:
        # copies that cannot be the first to arrive are not drawn, so their losses are expected values
        among = system.rounds.kind == AMONG_REPLICAS
        loss = system.network.loss
        again = np.where(among, first * loss / (1.0 - loss), again)
    return first + again


def _with_backlog(plan: Plan, operations: Operations, rho: float) -> Operations:
    """Above capacity the backlog grows for the test's duration, and each operation waits for what it finds."""
    if rho <= 1.0:
        return operations
    scenario = plan.scenario
    start = uniforms(scenario.seed, DOMAIN_ARRIVAL, operations.operation, operations.replicate)
    behind = start * scenario.duration_s * 1000.0 * (rho - 1.0)
    breakdown = operations.breakdown_ms.copy()
    breakdown[:, QUEUEING] += behind
    return replace(operations, latency_ms=operations.latency_ms + behind, breakdown_ms=breakdown)
