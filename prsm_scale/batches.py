"""Batches of operations of a system, carried out by threads."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from prsm_kernels import LANES, Batch, Scratch, make_scratch, simulate, stream_key, uniforms
from prsm_kernels.batch import BLOCK
from prsm_kernels.codes import AMONG_REPLICAS, DIRECT, GOSSIP, ROUTED
from prsm_kernels.rng import DOMAIN_CLIENT, DOMAIN_OPERATION, DOMAIN_TURN
from prsm_scale.capacity import Work, work_of
from prsm_scale.crew import Crew
from prsm_scale.outcome import Operations, Progress, join
from prsm_scale.system import System

_CALL_MESSAGES = 12_000_000
_PIECES = 4
"""Pieces of a batch for each thread."""
_CLIENT_STEP = 5
"""Strata by which the sites of clients of operations that follow one another are apart."""
_SCRATCH_BYTES = 1_200_000_000


class Runner:
    """Carries out batches by the threads of a crew, in working memory that they hand on to one another."""

    def __init__(self, crew: Crew) -> None:
        self.crew = crew
        self._spare: list[Scratch] = []

    def run(
        self,
        system: System,
        replicate: NDArray[np.uint32],
        operation: NDArray[np.uint32],
        tick: Progress,
        work: Work | None = None,
    ) -> Operations:
        """Simulate operations of one system, whose `work` need not be added up again where it is known."""
        blocks = -(-replicate.size // LANES)
        most = self.crew.threads
        if system.network.kind == GOSSIP:
            most = max(1, min(most, _SCRATCH_BYTES // (4 * LANES * system.alive.size**2)))
        tasks = max(1, min(blocks, _PIECES * most if most > 1 else 1))
        edges = [blocks * task // tasks * LANES for task in range(tasks + 1)]
        pieces = [slice(a, b) for a, b in zip(edges[:-1], edges[1:], strict=True) if b > a]
        columns = system.plan.counted_kinds.size
        done = join(self.crew.each(lambda piece: self._task(system, replicate[piece], operation[piece], tick), pieces, most))
        sent, useful, repeats = system.course.fold(np.array([done.sent, done.useful, done.repeats]), columns)
        hops = work_of(system).hops if work is None else work.hops
        carried = _transmissions(system, hops, done)
        transmissions = system.course.fold(carried, columns)
        lost_ms = done.lost_ms if system.follows_request else np.zeros_like(done.lost_ms)
        return replace(done, sent=sent, useful=useful, repeats=repeats, transmissions=transmissions, lost_ms=lost_ms)

    def _task(self, system: System, replicate: NDArray[np.uint32], operation: NDArray[np.uint32], tick: Progress) -> Operations:
        batch = empty_batch(system, replicate, operation)
        try:
            spare = self._spare.pop()
        except IndexError:
            spare = None
        scratch = make_scratch(system.rounds, system.paths, system.machines, spare)
        count, told, done = replicate.size, 0, False
        while not done:
            done = simulate(system.rounds, system.paths, system.plan.law, system.machines, batch, scratch, _CALL_MESSAGES)
            self.crew.check()
            ended = min(int(scratch.progress[BLOCK]) * LANES, count)
            tick(ended - told, 0, int(batch.sent[told:ended].sum()))
            told = ended
        self._spare.append(scratch)
        latency, commit, flight, parts = (
            times[:count].astype(np.float64) for times in (batch.latency_ms, batch.commit_ms, batch.flight_ms, batch.breakdown_ms)
        )
        return Operations(
            replicate, operation, latency, commit, flight, parts, batch.sent[:count], batch.useful[:count],
            batch.repeats[:count], np.zeros((count, system.rounds.kind.size)),
            np.full(count, system.course.view_changes, np.int64), batch.violated[:count].astype(bool),
            batch.waits[:count].astype(np.float64) - 1.0, batch.lost_ms[:count].astype(np.float64),
        )  # fmt: skip


def empty_batch(system: System, replicate: NDArray[np.uint32], operation: NDArray[np.uint32]) -> Batch:
    """A batch for these operations, filled up to whole blocks with further numbers."""
    seed, rounds, ended = system.plan.scenario.seed, system.rounds.kind.size, len(system.plan.protocol.rounds)
    size = -(-operation.size // LANES) * LANES
    spare = np.arange(size - operation.size, dtype=np.uint32)
    replicate = np.concatenate([replicate, np.full(spare.size, 0xFFFFFFFF, np.uint32)])
    operation = np.concatenate([operation, spare])
    client = client_sites(system, operation, replicate)
    streams = [leg.stream for leg in system.course.legs] + [ended, ended + 1]
    keys = [stream_key(seed, DOMAIN_OPERATION, stream) for stream in streams]
    return Batch(
        operation=operation,
        replicate=replicate,
        client=client,
        primary=system.primary,
        split=bool(system.course.legs[-1].side.max() > 1),
        keys=np.array(keys, np.uint32),
        latency_ms=np.empty(size, np.float32),
        commit_ms=np.empty(size, np.float32),
        flight_ms=np.empty(size, np.float32),
        breakdown_ms=np.empty((size, 6), np.float32),
        sent=np.empty((size, rounds), np.int64),
        useful=np.empty((size, rounds), np.int64),
        repeats=np.empty((size, rounds), np.int64),
        violated=np.empty(size, np.uint8),
        waits=np.empty((size, 2), np.float32),
        lost_ms=np.empty(size, np.float32),
    )


def client_sites(system: System, operation: NDArray[np.uint32], replicate: NDArray[np.uint32]) -> NDArray[np.int32]:
    """Replica with which the client of each operation sits: one that lives, if any, drawn, or the scenario's `client_site`.

    Of sixteen operations that follow one another each has its site in another sixteenth of all, in the order of their distance
    from the primary: on nothing else that is drawn does latency depend as much.
    """
    scenario = system.plan.scenario
    if scenario.client_site is not None:
        return np.full(operation.size, scenario.client_site, np.int32)
    live = _nearest_first(system)
    turn = (uniforms(scenario.seed, DOMAIN_TURN, operation // LANES, replicate) * LANES).astype(np.int64)
    # in other steps than the strata of waits, see `wait_factor`, so that long waits do not all meet clients at one distance
    stratum = (_CLIENT_STEP * operation.astype(np.int64) + turn) % LANES
    share = (stratum + uniforms(scenario.seed, DOMAIN_CLIENT, operation, replicate)) / LANES
    sites: NDArray[np.int32] = live[(share * live.size).astype(np.int64)]
    return sites


def _nearest_first(system: System) -> NDArray[np.int32]:
    """Replicas that live, or all if none does, by their distance from the primary; last those that nothing gets to from there."""
    n, primary, paths = system.alive.size, system.primary, system.paths
    direct = paths.kind == DIRECT
    distance_ms = paths.base_ms[primary::n] if direct else system.network.distance_ms[primary * n : (primary + 1) * n]
    order = np.argsort(distance_ms, kind="stable")
    live = order[system.alive[order] > 0]
    return np.asarray(live if live.size else order, np.int32)


def message_cost(system: System) -> int:
    """Messages drawn for one operation, about."""
    rounds = system.rounds
    per_round = (np.diff(rounds.sender_at) + rounds.noise) * np.maximum(np.diff(rounds.receiver_at), 1)
    weight = 4 if system.network.kind == GOSSIP else system.paths.work if system.network.kind == ROUTED else 1
    return max(1, int(per_round.sum()) * weight)


def _transmissions(system: System, hops: NDArray[np.float64], operations: Operations) -> NDArray[np.float64]:
    """Transmissions over links of each operation and round."""
    first = operations.sent * hops
    again = operations.repeats.astype(np.float64) if system.plan.law.stream else np.zeros(first.shape)
    if system.network.kind == GOSSIP and system.plan.law.stream:
        # copies that cannot be the first to arrive are not drawn, so their losses are expected values
        among = system.rounds.kind == AMONG_REPLICAS
        loss = system.network.loss
        again = np.where(among, first * loss / (1.0 - loss), again)
    return first + again
