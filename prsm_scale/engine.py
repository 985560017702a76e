"""Run one scenario: arrays in, operations out, on any number of threads."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from prsm_kernels import LANES, Batch, make_scratch, simulate, stream_key, uniforms
from prsm_kernels.codes import GOSSIP, QUEUEING, ROUTED
from prsm_kernels.rng import DOMAIN_ARRIVAL, DOMAIN_CLIENT, DOMAIN_OPERATION
from prsm_scale.capacity import Work, mean_demands, with_waits, work_of
from prsm_scale.faults import PRIMARY, varies
from prsm_scale.system import Plan, System, build_system, make_plan, relay_centrality

FIRST, MOST = 400, 50_000
"""Operations simulated at first and at most, where the user leaves the number to the precision.

The first are as many as bound the 99th percentile from above: 0.99**400 < 0.025.
"""
MOST_MESSAGES = 4_000_000_000
_CALL_MESSAGES = 12_000_000
_SCRATCH_BYTES = 1_200_000_000
_Z = 1.959963984540054
_GROWTH = 1.15
"""Margin on the number of operations that the variance seen so far asks for."""

Progress = Callable[[int, int], None]
"""Called with (operations done, operations known to be needed)."""


class Stopped(Exception):
    """The caller asked to stop."""


@dataclass(frozen=True, eq=False)
class Operations:
    """Operations of one or more replicates of a system, one element or row for each.

    Attributes
    ----------
    replicate, operation : ndarray of uint32, shape (N,)
    latency_ms : ndarray of float64, shape (N,)
        Request to last needed reply; inf if that never comes.
    commit_ms : ndarray of float64, shape (N,)
        Proposal to commit by n - f replicas; inf if never.
    flight_ms : ndarray of float64, shape (N,)
        Proposal to the primary's own commit, for which it has a place in the pipeline window; inf if never.
    breakdown_ms : ndarray of float64, shape (N, 6)
        Propagation, transmission, CPU, queueing, retransmission, view change.
    sent, useful, repeats : ndarray of int64, shape (N, rounds)
        Messages sent; those that arrived before their receiver's round was complete; losses.
    transmissions : ndarray of float64, shape (N, rounds)
        Transmissions over links, hops and repeats included.
    """

    replicate: NDArray[np.uint32]
    operation: NDArray[np.uint32]
    latency_ms: NDArray[np.float64]
    commit_ms: NDArray[np.float64]
    flight_ms: NDArray[np.float64]
    breakdown_ms: NDArray[np.float64]
    sent: NDArray[np.int64]
    useful: NDArray[np.int64]
    repeats: NDArray[np.int64]
    transmissions: NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Outcome:
    """A simulated scenario.

    Attributes
    ----------
    plan : Plan
    operations : Operations
        In the order simulated, waiting behind others and backlog included.
    systems : tuple of System
        One, or one for each replicate where faulty replicas differ.
    works : tuple of Work
    demand_ms : dict of str to float
        Time for which each proposal occupies the busiest member of each resource class, and its share of the window, which is
        inf where no operation ends.
    wall_seconds : float
    messages : int
        Messages simulated.
    """

    plan: Plan
    operations: Operations
    systems: tuple[System, ...]
    works: tuple[Work, ...]
    demand_ms: dict[str, float]
    wall_seconds: float
    messages: int

    @property
    def scenario(self) -> Any:
        """The scenario simulated."""
        return self.plan.scenario

    @property
    def latency_ms(self) -> NDArray[np.float64]:
        """Latency of each operation, ms; inf if it never ends."""
        return self.operations.latency_ms

    @property
    def commit_ms(self) -> NDArray[np.float64]:
        """Commit time of each operation, ms; inf if it never commits."""
        return self.operations.commit_ms

    @cached_property
    def row(self) -> dict[str, Any]:
        """The scenario's row of results, see `prsm_scale.columns.SCENARIO_COLUMNS`."""
        from prsm_scale.metrics import scenario_row

        return scenario_row(self)


@dataclass
class _Runner:
    """Threads that carry out batches, and the switch that stops them."""

    threads: int
    stop: threading.Event = field(default_factory=threading.Event)

    def run(self, system: System, replicate: NDArray[np.uint32], operation: NDArray[np.uint32], tick: Progress) -> Operations:
        """Simulate operations of one system."""
        blocks = -(-replicate.size // LANES)
        threads = self.threads
        if system.network.kind == GOSSIP:
            threads = max(1, min(threads, _SCRATCH_BYTES // (4 * LANES * system.alive.size**2)))
        tasks = max(1, min(blocks, threads if system.network.kind == GOSSIP else 4 * threads))
        edges = np.linspace(0, blocks, tasks + 1).astype(int) * LANES
        parts: dict[int, Operations] = {}
        with ThreadPoolExecutor(threads) as pool:
            futures = {
                pool.submit(self._task, system, replicate[a:b], operation[a:b]): a
                for a, b in zip(edges[:-1], edges[1:], strict=True)
                if b > a
            }
            try:
                for future in as_completed(futures):
                    parts[futures[future]] = future.result()
                    tick(parts[futures[future]].replicate.size, 0)
            except BaseException:
                self.stop.set()
                pool.shutdown(wait=True, cancel_futures=True)
                raise
        return _join([parts[a] for a in sorted(parts)])

    def _task(self, system: System, replicate: NDArray[np.uint32], operation: NDArray[np.uint32]) -> Operations:
        batch = _empty_batch(system, replicate, operation)
        scratch = make_scratch(system.rounds, system.paths, system.machines)
        while not simulate(system.rounds, system.paths, system.plan.law, system.machines, batch, scratch, _CALL_MESSAGES):
            if self.stop.is_set():
                raise Stopped
        count = replicate.size
        times = (batch.latency_ms, batch.commit_ms, batch.flight_ms, batch.breakdown_ms)
        counts = (batch.sent[:count], batch.useful[:count], batch.repeats[:count])
        return Operations(
            replicate, operation, *(time[:count].astype(np.float64) for time in times), *counts,
            transmissions=np.zeros((count, system.rounds.kind.size)),
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


def _join(parts: list[Operations]) -> Operations:
    names = Operations.__dataclass_fields__
    return Operations(**{name: np.concatenate([getattr(part, name) for part in parts]) for name in names})


def message_cost(system: System) -> int:
    """Messages drawn for one operation, about."""
    rounds = system.rounds
    per_round = np.diff(rounds.sender_at) * np.maximum(np.diff(rounds.receiver_at), 1)
    weight = 4 if system.network.kind == GOSSIP else system.paths.work if system.network.kind == ROUTED else 1
    return max(1, int(per_round.sum()) * weight)


def simulate_scenario(scenario: Any, threads: int | None = None, tick: Progress | None = None) -> Outcome:
    """Simulate a scenario.

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
    begun = time.perf_counter()
    runner = _Runner(threads or os.cpu_count() or 1)
    plan = make_plan(scenario)
    job = _Job(plan, runner, tick or (lambda done, needed: None))
    job.to_precision()
    operations = job.joined()
    demand = mean_demands(job.works)
    demand["pipeline_window"] = job.flight_ms(max(demand.values())) / scenario.window
    finite = [value for value in demand.values() if np.isfinite(value)]
    operations = _with_backlog(plan, operations, max(finite))
    wall = time.perf_counter() - begun
    return Outcome(plan, operations, tuple(job.systems), tuple(job.works), demand, wall, int(operations.sent.sum()))


class _Job:
    """A scenario under way: replicates are added until the precision is reached."""

    def __init__(self, plan: Plan, runner: _Runner, tick: Progress) -> None:
        self.plan, self.runner, self.tick = plan, runner, tick
        self.varied = varies(plan.scenario)
        self.centrality = relay_centrality(plan)
        self.systems: list[System] = []
        self.works: list[Work] = []
        self.parts: list[Operations] = []
        self.done = 0

    def joined(self) -> Operations:
        return _join(self.parts)

    def _system(self, replicate: int) -> System:
        if not self.varied and self.systems:
            return self.systems[0]
        system = build_system(self.plan, replicate, self.centrality)
        work = work_of(system)
        scenario = self.plan.scenario
        if not self.systems:
            self.idle = system
        rate = scenario.rate / scenario.batch / 1000.0
        waiting = with_waits(system.machines, work, rate, scenario.duration_s * 1000.0)
        system = replace(system, machines=waiting)
        self.systems.append(system)
        self.works.append(work)
        return system

    def _run(self, system: System, replicate: NDArray[np.uint32], operation: NDArray[np.uint32]) -> None:
        self.parts.append(self.runner.run(system, replicate, operation, self.tick))
        self.done += replicate.size

    def flight_ms(self, busiest_ms: float) -> float:
        """Mean time for which an operation fills a place in the window, inf where no operation ends.

        It bounds the capacity by what it is in an idle system; where even with waiting it is no bound, that is not looked into.
        """
        loaded = _mean_of_ended(self.joined())
        if loaded <= busiest_ms * self.plan.scenario.window or np.isinf(loaded):
            return loaded
        count = min(self.done, FIRST)
        number = np.arange(count, dtype=np.uint32)
        return _mean_of_ended(self.runner.run(self.idle, np.zeros(count, np.uint32), number, lambda done, needed: None))

    def extend(self, count: int) -> None:
        """Simulate so many further operations."""
        if self.varied:
            replicates = self.plan.scenario.replicates
            each = -(-count // replicates) if not self.parts else self.parts[0].replicate.size
            while count > 0:
                size = min(each, count)
                number = len(self.systems)
                self._run(self._system(number), np.full(size, number, np.uint32), np.arange(size, dtype=np.uint32))
                count -= size
        else:
            index = np.arange(self.done, self.done + count)
            group, replicates = index // LANES, self.plan.scenario.replicates
            operation = group // replicates * LANES + index % LANES
            self._run(self._system(0), (group % replicates).astype(np.uint32), operation.astype(np.uint32))

    def to_precision(self) -> None:
        wanted = self.plan.scenario.operations
        if wanted is not None:
            self.tick(0, wanted)
            self.extend(wanted)
            return
        cost = message_cost(self._system(0))
        if self.varied:
            self.systems.clear()
            self.works.clear()
        most = max(FIRST, min(MOST, MOST_MESSAGES // cost))
        count = FIRST
        while count > 0:
            self.tick(0, self.done + count)
            self.extend(count)
            count = min(self._needed(), most) - self.done

    def _needed(self) -> int:
        """Operations that bring the mean's interval within the precision and bound the 99th percentile, by what is seen."""
        from prsm_scale.metrics import clusters, effective_size, mean_and_error

        scenario = self.plan.scenario
        if scenario.rate / scenario.batch / 1000.0 * max(mean_demands(self.works).values()) >= 1.0:
            return 0  # a backlog grows for as long as the test lasts: there is no mean to be precise about
        operations = self.joined()
        ended = operations.latency_ms <= scenario.operation_timeout_ms
        if ended.sum() < 2:
            return 0
        latency = operations.latency_ms[ended]
        mean, error = mean_and_error(latency, clusters(operations, self.varied)[ended])
        share = (_Z * error / mean / scenario.precision) ** 2 if mean > 0 else 0.0
        share = max(share, FIRST / effective_size(latency, error, self.varied))
        return 0 if share <= 1.0 else int(self.done * min(share * _GROWTH, 8.0)) + 1


def _mean_of_ended(operations: Operations) -> float:
    ended = operations.latency_ms[np.isfinite(operations.latency_ms)]
    return float(ended.mean()) if ended.size else np.inf


def _with_backlog(plan: Plan, operations: Operations, demand_ms: float) -> Operations:
    """Above capacity the backlog grows for the test's duration, and each operation waits for what it finds."""
    scenario = plan.scenario
    rho = scenario.rate / scenario.batch / 1000.0 * demand_ms
    if rho <= 1.0:
        return operations
    start = uniforms(scenario.seed, DOMAIN_ARRIVAL, operations.operation, operations.replicate)
    behind = start * scenario.duration_s * 1000.0 * (rho - 1.0)
    breakdown = operations.breakdown_ms.copy()
    breakdown[:, QUEUEING] += behind
    return replace(operations, latency_ms=operations.latency_ms + behind, breakdown_ms=breakdown)
