"""Waiting behind other operations: how long one waits at a replica when one comes by, and how others slow its own work down.

Operations come at random, and each brings a burst of work to a replica in each round, spread as its votes trickle in. The rounds
of an operation are as far apart as messages travel, so that the bursts of different rounds are met as if they came independently
of one another, as in a network of queues with delays between them. Such a queue is simulated on its own, once for a few
replicas of a system, and gives the mean of the wait and the probability of one.

All replicas work on the same operations, so what one finds waiting the others do too: an operation draws one wait for all its
replicas, and one for all relays.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from prsm_kernels import path_sums, uniforms, virtual_waits
from prsm_kernels.codes import AMONG_REPLICAS, DIRECT, GOSSIP, TO_CLIENT, TO_PRIMARY
from prsm_kernels.rng import DOMAIN_WAITING
from prsm_scale.capacity import Work
from prsm_scale.lines import behind_ms, passed_on, travel_ms
from prsm_scale.network import transit
from prsm_scale.relays import addressed_replicas
from prsm_scale.system import System

Vector = NDArray[np.float64]
_SENDERS = 64
"""Senders of a round that stand for all of them."""
_REPLICAS = 3
"""Replicas whose queue is looked at; the others are taken to be like the one of these with the nearest work."""
_JOBS, _LEAST_BURSTS = 300_000, 400
"""Jobs of a simulated queue, about, and bursts of each round at least."""
_IDLE = 0.02
"""Utilisation below which waiting is left out."""
_CRITICAL = 0.95
"""Utilisation from which so short a simulation cannot tell the mean, and that of heavy traffic stands in."""
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


def watched_replicas(work: Work, primary: int) -> NDArray[np.int64]:
    """The primary, and others from the busiest to the idlest."""
    others = np.arange(work.cpu_ms.size) if work.bounding is None else np.flatnonzero(work.bounding)
    others = others[others != primary]
    ranked = others[np.argsort(-work.cpu_ms[others], kind="stable")]
    places = np.unique(np.linspace(0, ranked.size - 1, min(_REPLICAS - 1, ranked.size)).round().astype(int))
    return np.concatenate([[primary], ranked[places]])


def _complete_ms(arrivals: Vector, weight: float, need: NDArray[np.int32], handle_ms: Vector, rho: Vector) -> Vector:
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
        done = _complete_ms(time, weight, need, jobs[r].receive_ms / cores * slow, np.zeros(n)) + jobs[r].quorum_ms * slow
        waits = np.isin(targets, receivers) & (need > 0)
        now = np.where(waits, np.maximum(now, done), now)
    return Timeline(starts, arrivals)


def _cpu_course(system: System, line: Timeline, place: int, node: int) -> Course:
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


def _egress_course(system: System, line: Timeline, place: int, node: int) -> Course:
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


def queue_waits(course: Course, servers: int, per_ms: float) -> tuple[float, float]:
    """Mean wait in a queue to which the bursts of operations come at random, and the probability of a wait.

    Parameters
    ----------
    course : list of (ndarray of float64, ndarray of float64)
        Times and works, ms, of each burst that an operation brings.
    servers : int
        Cores.
    per_ms : float
        Rate at which operations come.

    Notes
    -----
    Who sends has waited too, by more or less than others, which spreads the bursts: in a second pass each job comes later by an
    exponential time with the mean wait found in the first.
    """
    jobs = sum(times.size for times, _ in course)
    if not jobs:
        return 0.0, 0.0
    count = max(_LEAST_BURSTS, _JOBS // jobs)
    gaps = -np.log(uniforms(0, DOMAIN_WAITING, np.arange(len(course))[:, None], np.arange(count))) / per_ms
    starts = np.cumsum(gaps, axis=1)
    end = starts[:, -1].min()
    times = np.concatenate([np.ravel(start[:, None] + (t - t.min())) for start, (t, _) in zip(starts, course, strict=True)])
    works = np.concatenate([np.tile(work, count) for _, work in course])
    found = _simulated(times, works, servers, end)
    scattered = np.repeat([times.size > 1 for times, _ in course], [times.size * count for times, _ in course])
    later = -np.log(uniforms(0, DOMAIN_WAITING, np.arange(times.size), 1 << 20)) * found[0]
    return _simulated(times + later * scattered, works, servers, end)


def _simulated(times: Vector, works: Vector, servers: int, end: float) -> tuple[float, float]:
    kept = np.flatnonzero(times < end)
    kept = kept[np.argsort(times[kept], kind="stable")]
    mean, share = virtual_waits(times[kept], works[kept], np.zeros(servers))
    return float(mean), float(share)


def loaded(system: System, work: Work, proposals_per_ms: float, duration_ms: float) -> System:
    """A system in which messages also wait behind those of other operations.

    Parameters
    ----------
    system : System
    work : Work
        Of the same system.
    proposals_per_ms : float
        Poisson rate at which proposals come.
    duration_ms : float
        Length of the test, which bounds a queue that is about as busy as it can be.

    Returns
    -------
    System
        An operation waits with the probability that a resource is busy, and then for an exponential time, whose mean is that of
        the work waiting, see `queue_waits`. Its own bursts of messages take longer as well, as others' come in between.
    """
    needed = slice(None) if work.bounding is None else work.bounding
    busiest = proposals_per_ms * max(work.cpu_ms[needed].max(), work.egress_ms[needed].max())
    if busiest < _IDLE:
        return system
    watched = watched_replicas(work, system.primary)
    line = timeline(system, watched)
    cores = system.machines.cores
    cpu_ms, cpu_share = _waits(system, line, watched, work.cpu_ms, _cpu_course, cores, proposals_per_ms, duration_ms)
    nic_ms, nic_share = _waits(system, line, watched, work.egress_ms, _egress_course, 1, proposals_per_ms, duration_ms)
    machines = system.machines._replace(
        busy=np.float32(max(cpu_share, nic_share)),
        cpu_wait_ms=cpu_ms.astype(np.float32),
        nic_wait_ms=nic_ms.astype(np.float32),
        relay_wait_ms=_relay_waits(system, cpu_ms, nic_ms),
        slowed_ms=_slowed(system, line, watched, work, proposals_per_ms),
    )
    return replace(system, machines=machines)


def _like(work_ms: Vector, watched: NDArray[np.int64]) -> NDArray[np.int64]:
    """Place of the watched replica that each is like."""
    like: NDArray[np.int64] = np.abs(work_ms[:, None] - work_ms[watched][None, :]).argmin(axis=1)
    like[watched] = np.arange(watched.size)
    return like


def _waits(
    system: System, line: Timeline, watched: NDArray[np.int64], work_ms: Vector,
    course_of: Callable[[System, Timeline, int, int], Course], servers: int, per_ms: float, duration_ms: float,
) -> tuple[Vector, float]:  # fmt: skip
    """Mean wait at every replica, from those of the watched ones in proportion to its bursts; greatest probability of a wait."""
    rho = per_ms * work_ms
    mean, share = np.zeros(watched.size), np.zeros(watched.size)
    for place, node in enumerate(watched):
        if rho[node] >= _IDLE:
            course = course_of(system, line, place, int(node))
            mean[place], share[place] = _bounded_waits(course, servers, per_ms, float(rho[node]), duration_ms)
    like = _like(work_ms, watched)
    with np.errstate(divide="ignore", invalid="ignore"):
        scale = np.where(work_ms[watched][like] > 0, work_ms / work_ms[watched][like], 0.0)
    return mean[like] * scale**2, float(share.max())


def _bounded_waits(course: Course, servers: int, per_ms: float, rho: float, duration_ms: float) -> tuple[float, float]:
    """Waits of a queue, bounded near and above capacity by what it can reach within the length of the test."""
    variance = per_ms * sum(float(work.sum()) ** 2 for _, work in course) / servers**2
    # a critical queue grows like reflected Brownian motion, whose mean over a time T is (2/3) sqrt(2 T variance / pi)
    longest = (2.0 / 3.0) * math.sqrt(2.0 * variance * duration_ms / math.pi)
    far = variance / (2.0 * max(abs(1.0 - rho), 1e-12))
    if rho >= _CRITICAL:
        return min(far, longest), 1.0
    mean, share = queue_waits(course, servers, per_ms)
    return min(mean, longest), share


def _slowed(system: System, line: Timeline, watched: NDArray[np.int64], work: Work, per_ms: float) -> NDArray[np.float32]:
    """How much later each round's messages have been handled since others' come in between, shape (R * n,)."""
    rounds, n, jobs = system.rounds, system.alive.size, system.jobs
    like = _like(work.cpu_ms, watched)
    rho = np.minimum(per_ms * work.cpu_ms[watched], _CRITICAL)
    slowed = np.zeros((rounds.kind.size, n))
    for r in np.flatnonzero(rounds.kind == AMONG_REPLICAS):
        came = line.arrivals[r]
        need = rounds.need[r * n + watched]
        if came.time_ms.shape[0] < 2 or not (need > 0).any():
            continue
        handle = jobs[r].receive_ms / system.machines.cores * system.machines.slow[watched].astype(np.float64)
        idle = _complete_ms(came.time_ms, came.weight, need, handle, np.zeros(watched.size))
        busy = _complete_ms(came.time_ms, came.weight, need, handle, rho)
        with np.errstate(invalid="ignore"):
            longer = np.where(np.isfinite(busy) & (need > 0), busy - idle, 0.0)
        slowed[r] = longer[like]
    return slowed.astype(np.float32).ravel()


def _relay_waits(system: System, cpu_ms: Vector, nic_ms: Vector) -> NDArray[np.float32]:
    """Mean time for which relays hold messages back behind other operations, see `prsm_kernels.Machines`."""
    if not system.network.relayed or not system.machines.contended:
        return np.zeros(1, np.float32)
    paths, lines = system.paths, system.network.lines
    more = np.zeros(cpu_ms.size**2, np.float32)
    wait_ms = cpu_ms[paths.source] + nic_ms[paths.source] * (True if lines is None else lines.far_edge)
    path_sums(wait_ms.astype(np.float32), paths.last_edge, paths.source, paths.order, more)
    return more


def waited_ms(system: System) -> float:
    """What waiting behind others adds to an operation on its way from request to reply, about: mean waits of median replicas."""
    machines, rounds, n = system.machines, system.rounds, system.alive.size
    if machines.busy <= 0.0:
        return 0.0
    among = np.flatnonzero(rounds.kind == AMONG_REPLICAS)
    slowed = np.median(machines.slowed_ms.reshape(-1, n)[among], axis=1).sum()
    relays = machines.relay_wait_ms.mean() if machines.relay_wait_ms.size > 1 else 0.0
    each = np.median(machines.cpu_wait_ms) + np.median(machines.nic_wait_ms) + relays
    return float(machines.cpu_wait_ms[system.primary] + among.size * each + slowed)
