"""What one operation brings to a replica, round by round, in an idle system at mean delays."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from prsm_kernels.codes import DIRECT, GOSSIP, TO_CLIENT, TO_PRIMARY
from prsm_scale.lines import behind_ms, passed_on, travel_ms
from prsm_scale.network import transit
from prsm_scale.relays import addressed_replicas
from prsm_scale.system import System, members

Vector = NDArray[np.float64]
_SENDERS = 64
"""Senders of a round that stand for all of them."""
_NOTHING = (np.zeros(0), np.zeros(0))
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
    passing_ms, passing : list of ndarray of float64
        For each watched replica: when messages pass it on their way to others, and copies that it sends on of each.
    """

    time_ms: Vector
    weight: float
    passing_ms: list[Vector]
    passing: list[Vector]


@dataclass(frozen=True, eq=False)
class Timeline:
    """One operation in an idle system, at mean delays.

    Attributes
    ----------
    start_ms : list of ndarray of float64, shape (n,)
        When each replica enters each round, by round.
    arrivals : list of Arrivals
        By round.
    """

    start_ms: list[Vector]
    arrivals: list[Arrivals]


def complete_ms(arrivals: Vector, weight: float, need: NDArray[np.int32], handle_ms: Vector, rho: Vector) -> Vector:
    """When the needed messages have been handled, in a queue that other operations keep busy for a share `rho` of the time.

    ``max_i a_i + (k - i + 1) handle + rho (a_k - a_i)`` over the sorted arrivals up to the k-th: Lindley's recursion, with what
    others bring between the i-th and the last message ahead of that.
    """
    ordered = np.sort(arrivals, axis=0)
    place = np.arange(1, ordered.shape[0] + 1)[:, None] * weight
    last = np.clip(np.ceil(need / weight).astype(int) - 1, 0, ordered.shape[0] - 1)
    final = ordered[last, np.arange(ordered.shape[1])]
    ahead = need[None, :] - place + weight
    with np.errstate(invalid="ignore"):
        ends = ordered + ahead * handle_ms + rho * (final - ordered)
    done: Vector = np.where(ahead > 0, ends, -np.inf).max(axis=0)
    return done


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
    empty = [_NOTHING[0]] * watched.size
    none = Arrivals(np.full((1, watched.size), np.inf), 1.0, empty, empty)
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
            arrivals.append(Arrivals(time, 1.0, empty, empty))
            continue
        if rounds.kind[r] == TO_CLIENT or not senders.size or not receivers.size:
            arrivals.append(none)
            continue
        targets = np.arange(n)
        made = jobs[r].create_ms * slow
        time = (now + made)[senders][:, None] + travel_ms(system, senders, targets, size)
        if system.paths.kind == DIRECT and rounds.addressed[r * n + senders[0]] > 1:
            time += behind_ms(system, senders, jobs[r].send_ms * slow, size)
        time[np.arange(senders.size), senders] = np.inf
        passing = _passing(system, r, senders, weight, now + made, watched)
        arrivals.append(Arrivals(time[:, watched], weight, *passing))
        need = rounds.need[r * n : (r + 1) * n]
        done = complete_ms(time, weight, need, jobs[r].receive_ms / cores * slow, np.zeros(n)) + jobs[r].quorum_ms * slow
        waits = members(receivers, n) & (need > 0)
        now = np.where(waits, np.maximum(now, done), now)
    return Timeline(starts, arrivals)


def cpu_course(system: System, line: Timeline, place: int, node: int) -> Course:
    """CPU jobs that one operation brings to a replica, round by round."""
    rounds, jobs, n = system.rounds, system.jobs, system.alive.size
    slow = float(system.machines.slow[node])
    bursts = []
    for r, (start, came) in enumerate(zip(line.start_ms, line.arrivals, strict=True)):
        handled = np.full(came.time_ms.shape[0], float(rounds.handle_ms[r * n + node]) * came.weight)
        forward = (jobs[r].transit_ms + jobs[r].send_ms) * slow
        # under gossip forwarding is part of handling
        times, works = (came.passing_ms[place], came.passing[place] * forward) if not _gossips(system) else _NOTHING
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
    for r, (start, came) in enumerate(zip(line.start_ms, line.arrivals, strict=True)):
        line_ms = float(rounds.bytes[r]) * out
        senders = mates[[_sends(system, r, int(mate)) for mate in mates]]
        sending = copies[r * n + senders].astype(np.float64) * line_ms
        bursts.append(_burst([came.passing_ms[place], start[senders]], [came.passing[place] * (line_ms * share), sending]))
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


def _passing(
    system: System, r: int, senders: NDArray[np.int32], weight: float, start: Vector, watched: NDArray[np.int64]
) -> tuple[list[Vector], list[Vector]]:
    """When messages of a round pass each watched replica on their way to others, and how many copies it sends on of each."""
    network, n = system.network, system.alive.size
    if not network.relayed:
        return [_NOTHING[0]] * watched.size, [_NOTHING[0]] * watched.size
    if network.kind == GOSSIP:
        onward = np.broadcast_to(network.degree.astype(np.float64) - 1.0, (senders.size, n))
    else:
        onward = transit(network, senders, addressed_replicas(system.rounds, r, n)).through[senders].astype(np.float64)
    at = start[senders][:, None] + network.distance_ms.reshape(n, n)[np.ix_(senders, watched)]
    copies = weight * np.where(senders[:, None] == watched, 0.0, onward[:, watched])
    return list(at.T), list(copies.T)
