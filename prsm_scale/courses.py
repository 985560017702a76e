"""What one operation brings to a replica, round by round, in an idle system at mean delays."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from prsm_kernels import handled_ms
from prsm_kernels.codes import DIRECT, GOSSIP, TO_CLIENT, TO_PRIMARY
from prsm_scale.lines import behind_ms, passed_on, travel_ms
from prsm_scale.network import transit
from prsm_scale.relays import addressed_replicas
from prsm_scale.system import System, members

Vector = NDArray[np.float64]
_SENDERS = 64
"""Senders of a round that stand for all of them."""
_NOTHING = (np.zeros(0), np.zeros(0))
_NOBODY = np.zeros(0, np.int32)
Course = list[tuple[Vector, Vector]]
"""Times and works of each burst that an operation brings to a resource, ms."""


@dataclass(frozen=True, eq=False)
class Arrivals:
    """Messages of one round at the watched replicas, at mean delays.

    Attributes
    ----------
    time_ms : ndarray of float64, shape (senders, watched)
        When each comes; inf if never, or if it is the replica's own.
    weight : float
        Senders for which each of these stands.
    senders : ndarray of int32
        Of messages that pass others on their way.
    left_ms : ndarray of float64, shape (n,)
        When each replica lets its message go.
    """

    time_ms: Vector
    weight: float
    senders: NDArray[np.int32]
    left_ms: Vector


@dataclass(frozen=True, eq=False)
class Timeline:
    """One operation in an idle system, at mean delays.

    Attributes
    ----------
    system : System
    watched : ndarray of int64, shape (watched,)
        Replicas whose arrivals it has.
    start_ms : list of ndarray of float64, shape (n,)
        When each replica enters each round, by round.
    arrivals : list of Arrivals
        By round.
    """

    system: System
    watched: NDArray[np.int64]
    start_ms: list[Vector]
    arrivals: list[Arrivals]

    @cached_property
    def passing(self) -> list[tuple[Vector, Vector]]:
        """When messages pass the watched replicas on their way to others, and copies that these send on of each, by round.

        Both of shape (senders, watched).
        """
        return [_passing(self.system, r, came, self.watched) for r, came in enumerate(self.arrivals)]


def complete_ms(arrivals: Vector, weight: float, need: NDArray[np.int32], handle_ms: Vector, *rho: Vector) -> list[Vector]:
    """When the needed messages have been handled, in queues that other operations keep busy for each share `rho` of the time.

    Parameters
    ----------
    arrivals : ndarray of float64, shape (messages, nodes)
    weight, need, handle_ms
        See `prsm_kernels.handled_ms`.
    *rho : ndarray of float64, shape (nodes,)
    """
    ordered, done = np.sort(arrivals, axis=0), np.empty((len(rho), need.size))
    for busy, out in zip(rho, done, strict=True):
        handled_ms(ordered, weight, need, handle_ms, busy, out)
    return list(done)


def _sample(senders: NDArray[np.int32]) -> tuple[NDArray[np.int32], float]:
    if senders.size <= _SENDERS:
        return senders, 1.0
    return senders[np.linspace(0, senders.size - 1, _SENDERS).astype(int)], senders.size / _SENDERS


def timeline(system: System, watched: NDArray[np.int64]) -> Timeline:
    """Walk through the rounds of one operation at mean delays."""
    rounds, jobs, n = system.rounds, system.jobs, system.alive.size
    cores, alive, primary = system.machines.cores, np.flatnonzero(system.alive), system.primary
    now, slow = np.zeros(n), system.machines.slow.astype(np.float64)
    starts, arrivals = [], []
    none = Arrivals(np.full((1, watched.size), np.inf), 1.0, _NOBODY, now)
    targets, idle = np.arange(n), np.zeros(n)
    for r in range(rounds.kind.size):
        starts.append(now.copy())
        senders, weight = _sample(rounds.senders[rounds.sender_at[r] : rounds.sender_at[r + 1]])
        receivers = rounds.receivers[rounds.receiver_at[r] : rounds.receiver_at[r + 1]]
        size = float(rounds.bytes[r])
        if rounds.kind[r] == TO_PRIMARY:
            sites, _ = _sample(alive.astype(np.int32))
            travel = travel_ms(system, sites, np.array([primary]), size)
            travel[sites == primary] = 0.0
            finite = travel[np.isfinite(travel)]
            now[primary] += (float(finite.mean()) if finite.size else np.inf) + jobs[r].receive_ms * slow[primary]
            time = np.full((1, watched.size), np.inf)
            time[0, watched == primary] = now[primary]
            arrivals.append(Arrivals(time, 1.0, _NOBODY, now))
            continue
        if rounds.kind[r] == TO_CLIENT or not senders.size or not receivers.size:
            arrivals.append(none)
            continue
        left = now + jobs[r].create_ms * slow
        time = left[senders, None] + travel_ms(system, senders, targets, size)
        if system.paths.kind == DIRECT and rounds.addressed[r * n + senders[0]] > 1:
            time += behind_ms(system, senders, jobs[r].send_ms * slow, size)
        time[np.arange(senders.size), senders] = np.inf
        arrivals.append(Arrivals(time[:, watched], weight, senders, left))
        need = rounds.need[r * n : (r + 1) * n]
        (handled,) = complete_ms(time, weight, need, jobs[r].receive_ms / cores * slow, idle)
        done = handled + jobs[r].quorum_ms * slow
        waits = members(receivers, n) & (need > 0)
        now = np.where(waits, np.maximum(now, done), now)
    return Timeline(system, watched, starts, arrivals)


def cpu_course(system: System, line: Timeline, place: int, node: int) -> Course:
    """CPU jobs that one operation brings to a replica, round by round."""
    rounds, jobs, n = system.rounds, system.jobs, system.alive.size
    slow = float(system.machines.slow[node])
    bursts = []
    for r, (start, came, passing) in enumerate(zip(line.start_ms, line.arrivals, line.passing, strict=True)):
        handled = np.full(came.time_ms.shape[0], float(rounds.handle_ms[r * n + node]) * came.weight)
        forward = (jobs[r].transit_ms + jobs[r].send_ms) * slow
        # under gossip forwarding is part of handling
        times, works = (passing[0][:, place], passing[1][:, place] * forward) if not _gossips(system) else _NOTHING
        own = np.array([start[node]] if _sends(system, r, node) else [])
        making = np.full(own.size, (jobs[r].create_ms + rounds.fanout[r * n + node] * jobs[r].send_ms) * slow)
        bursts.append(_burst([came.time_ms[:, place], times, own], [handled, works, making]))
    return [burst for burst in bursts if burst[0].size]


def egress_course(system: System, line: Timeline, place: int, node: int) -> Course:
    """What one operation puts on a replica's uplink, or on its host's, round by round.

    Others on its host are taken to pass messages on when it does.
    """
    rounds, n, host = system.rounds, system.alive.size, system.machines.host
    out, mates = float(system.machines.out_ms_per_byte[node]), np.flatnonzero(host == host[node])
    copies, share = rounds.line_copies if system.machines.shared else rounds.fanout, passed_on(system, node)
    bursts = []
    for r, (start, (times, onward)) in enumerate(zip(line.start_ms, line.passing, strict=True)):
        line_ms = float(rounds.bytes[r]) * out
        senders = mates[[_sends(system, r, int(mate)) for mate in mates]]
        sending = copies[r * n + senders].astype(np.float64) * line_ms
        bursts.append(_burst([times[:, place], start[senders]], [onward[:, place] * (line_ms * share), sending]))
    return [burst for burst in bursts if burst[0].size]


def _burst(times: list[Vector], works: list[Vector]) -> tuple[Vector, Vector]:
    time, work = np.concatenate(times), np.concatenate(works)
    kept = np.isfinite(time) & (work > 0.0)
    return time[kept], work[kept]


def _gossips(system: System) -> bool:
    return bool(system.network.kind == GOSSIP)


def _sends(system: System, r: int, node: int) -> bool:
    senders = system.rounds.senders[system.rounds.sender_at[r] : system.rounds.sender_at[r + 1]]
    return bool((senders == node).any())


def _passing(system: System, r: int, came: Arrivals, watched: NDArray[np.int64]) -> tuple[Vector, Vector]:
    """When messages of a round pass each watched replica on their way to others, and how many copies it sends on of each."""
    network, n, senders = system.network, system.alive.size, came.senders
    if not network.relayed or not senders.size:
        return np.zeros((0, watched.size)), np.zeros((0, watched.size))
    if network.kind == GOSSIP:
        onward: Vector = network.degree[watched].astype(np.float64) - 1.0
    else:
        through = transit(network, senders, addressed_replicas(system.rounds, r, n)).through
        onward = through[np.ix_(senders, watched)].astype(np.float64)
    at = came.left_ms[senders][:, None] + network.distance_ms.reshape(n, n)[np.ix_(senders, watched)]
    return at, came.weight * np.where(senders[:, None] == watched, 0.0, onward)
