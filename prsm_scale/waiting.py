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
from functools import partial

import numpy as np
from numpy.typing import NDArray

from prsm_kernels import path_sums, sort_jobs, uniforms, virtual_waits
from prsm_kernels.codes import AMONG_REPLICAS
from prsm_kernels.rng import DOMAIN_WAITING
from prsm_scale.capacity import Work
from prsm_scale.courses import Course, Timeline, complete_ms, cpu_course, egress_course, timeline
from prsm_scale.crew import Crew
from prsm_scale.system import System

Vector = NDArray[np.float64]
_REPLICAS = 3
"""Replicas whose queue is looked at; the others are taken to be like the one of these with the nearest work."""
_JOBS, _LEAST_BURSTS = 300_000, 400
"""Jobs of a simulated queue, about, and bursts of each round at least."""
_FIRST_PASS = 4
"""Share of these, as one in so many, that tell by how much waiting spreads the bursts."""
_LATER = 1 << 20
_drawn: dict[int, Vector] = {}
"""Exponential draws by stream: of the gaps between the bursts of each round, and of what spreads jobs."""
_IDLE = 0.02
"""Utilisation below which waiting is left out."""
_CRITICAL = 0.95
"""Utilisation from which so short a simulation cannot tell the mean, and that of heavy traffic stands in."""
_SURELY = 0.5
"""Share of the least that a wait in a critical queue can be, below which one is surely not bounded by it."""


def watched_replicas(work: Work, primary: int) -> NDArray[np.int64]:
    """The primary, and others from the busiest to the idlest."""
    others = np.flatnonzero(work.bounding)
    others = others[others != primary]
    ranked = others[np.argsort(-work.cpu_ms[others], kind="stable")]
    places = np.linspace(0, ranked.size - 1, min(_REPLICAS - 1, ranked.size)).round().astype(int)
    return np.concatenate([[primary], ranked[places]])


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

    def arrivals(bursts: int) -> tuple[Vector, Vector, float]:
        starts = [np.cumsum(_exponentials(place, bursts)) / per_ms for place in range(len(course))]
        times = [np.ravel(start[:, None] + (t - t.min())) for start, (t, _) in zip(starts, course, strict=True)]
        works = [np.tile(work, bursts) for _, work in course]
        return np.concatenate(times), np.concatenate(works), float(min(start[-1] for start in starts))

    found = _simulated(*arrivals(max(_LEAST_BURSTS, count // _FIRST_PASS)), servers)
    times, works, end = arrivals(count)
    scattered = np.repeat([times.size > 1 for times, _ in course], [times.size * count for times, _ in course])
    times += _exponentials(_LATER, times.size) * found[0] * scattered
    return _simulated(times, works, end, servers)


def _exponentials(stream: int, count: int) -> Vector:
    """The first so many exponential draws of unit mean of a stream; the same for all queues, so they are kept."""
    known = _drawn.get(stream)
    if known is None or known.size < count:
        known = _drawn[stream] = -np.log(uniforms(0, DOMAIN_WAITING, stream, np.arange(count)))
    return known[:count]


def _simulated(times: Vector, works: Vector, end: float, servers: int) -> tuple[float, float]:
    size = times.size
    keys, places, counts = np.empty(size, np.uint32), np.empty((2, size), np.int32), np.empty(2048, np.int64)
    ordered, lasting = np.empty(size), np.empty(size)
    jobs = sort_jobs(times, works, end, keys, places, counts, ordered, lasting)
    mean, share = virtual_waits(ordered[:jobs], lasting[:jobs], np.zeros(servers))
    return float(mean), float(share)


@dataclass(frozen=True, eq=False)
class Queues:
    """What waits at the watched replicas of a loaded system.

    Attributes
    ----------
    watched : ndarray of int64, shape (watched,)
    line : Timeline
    cpu, nic : ndarray of float64, shape (3, watched)
        Utilisation, mean wait, and probability of one, of CPUs and of uplinks.
    """

    watched: NDArray[np.int64]
    line: Timeline
    cpu: Vector
    nic: Vector


def queues_of(
    system: System, work: Work, proposals_per_ms: float, duration_ms: float, crew: Crew, like: Queues | None = None
) -> Queues | None:
    """Queues of a system, None where hardly any resource is busy.

    Parameters
    ----------
    system : System
    work : Work
        Of the same system.
    proposals_per_ms : float
        Poisson rate at which proposals come.
    duration_ms : float
        Length of the test, which bounds a queue that is about as busy as it can be.
    crew : Crew
        Who looks at several queues at once.
    like : Queues, optional
        Those of a system at the same rate in which the same is done by other replicas; they then stand for those of this one,
        a wait growing like the square of the work over what is left of the time (Pollaczek and Khinchine), and a probability
        like the work. By default they are simulated, see `queue_waits`.
    """
    busiest = proposals_per_ms * max(work.cpu_ms[work.bounding].max(), work.egress_ms[work.bounding].max())
    if busiest < _IDLE:
        return None
    watched = watched_replicas(work, system.primary)
    line = timeline(system, watched)

    resources: tuple[tuple[Vector, Callable[..., Course], int, Vector | None], ...] = (
        (work.cpu_ms, cpu_course, system.machines.cores, like.cpu if like else None),
        (work.egress_ms, egress_course, 1, like.nic if like else None),
    )

    def at(task: tuple[int, int]) -> tuple[float, float, float]:
        resource, place = task
        work_ms, course_of, servers, known = resources[resource]
        node = int(watched[place])
        rho = float(proposals_per_ms * work_ms[node])
        if rho < _IDLE:
            return rho, 0.0, 0.0
        of_other = known[:, place] if known is not None and place < known.shape[1] else None
        look, bursts = partial(course_of, system, line, place, node), system.rounds.kind.size
        return rho, *_bounded_waits(look, bursts, servers, proposals_per_ms, rho, duration_ms, of_other)

    found = crew.each(at, [(resource, place) for resource in range(2) for place in range(watched.size)])
    cpu, nic = np.array(found).reshape(2, watched.size, 3).transpose(0, 2, 1)
    return Queues(watched, line, cpu, nic)


def behind(system: System, work: Work, proposals_per_ms: float, queues: Queues | None) -> System:
    """A system in which messages also wait behind those of other operations, in these queues.

    An operation waits with the probability that a resource is busy, and then for an exponential time, whose mean is that of
    the work waiting. Its own bursts of messages take longer as well, as others' come in between.
    """
    if queues is None:
        return system
    cpu_ms, nic_ms = (
        _at_all(ms, queues.watched, found[1]) for ms, found in ((work.cpu_ms, queues.cpu), (work.egress_ms, queues.nic))
    )
    machines = system.machines._replace(
        busy=np.float32(max(queues.cpu[2].max(), queues.nic[2].max())),
        cpu_wait_ms=cpu_ms.astype(np.float32),
        nic_wait_ms=nic_ms.astype(np.float32),
        relay_wait_ms=_relay_waits(system, cpu_ms, nic_ms),
        slowed_ms=_slowed(system, queues.line, queues.watched, work, proposals_per_ms),
    )
    return replace(system, machines=machines)


def loaded(system: System, work: Work, proposals_per_ms: float, duration_ms: float) -> System:
    """A system in which messages also wait behind those of other operations; see `queues_of` and `behind`."""
    return behind(system, work, proposals_per_ms, queues_of(system, work, proposals_per_ms, duration_ms, Crew(1)))


def _like(work_ms: Vector, watched: NDArray[np.int64]) -> NDArray[np.int64]:
    """Place of the watched replica that each is like."""
    like: NDArray[np.int64] = np.abs(work_ms[:, None] - work_ms[watched][None, :]).argmin(axis=1)
    like[watched] = np.arange(watched.size)
    return like


def _at_all(work_ms: Vector, watched: NDArray[np.int64], mean_ms: Vector) -> Vector:
    """Mean waits at every replica, from those of the watched ones in proportion to its bursts."""
    like = _like(work_ms, watched)
    with np.errstate(divide="ignore", invalid="ignore"):
        scale = np.where(work_ms[watched][like] > 0, work_ms / work_ms[watched][like], 0.0)
    return np.asarray(mean_ms[like] * scale**2, np.float64)


def _bounded_waits(
    look: Callable[[], Course], bursts: int, servers: int, per_ms: float, rho: float, duration_ms: float, known: Vector | None
) -> tuple[float, float]:
    """Waits of a queue, bounded near and above capacity by what it can reach within the length of the test.

    Parameters
    ----------
    look : callable
        Lists the jobs that an operation brings. Where the waits of another queue tell these, and are surely not bounded, nobody
        looks: however its work is divided among so many bursts, the variance is no less than if all were alike.
    bursts : int
        At most.
    servers, per_ms
        See `queue_waits`.
    rho : float
        Utilisation.
    duration_ms : float
        Length of the test.
    known : ndarray of float64, shape (3,), optional
        Utilisation, mean wait and probability of one of a queue that is like this one.
    """
    told = _in_proportion(known, rho) if known is not None and _IDLE <= known[0] < _CRITICAL and rho < _CRITICAL else None
    if told and told[0] < _SURELY * _critical_wait(rho**2 / (per_ms * bursts), duration_ms):
        return told
    course = look()
    variance = per_ms * sum(float(work.sum()) ** 2 for _, work in course) / servers**2
    longest = _critical_wait(variance, duration_ms)
    if rho >= _CRITICAL:
        return min(variance / (2.0 * max(abs(1.0 - rho), 1e-12)), longest), 1.0
    mean, share = told or queue_waits(course, servers, per_ms)
    return min(mean, longest), share


def _critical_wait(variance: float, duration_ms: float) -> float:
    """Mean wait in a critical queue: it grows like reflected Brownian motion, whose mean over a time T this is."""
    return (2.0 / 3.0) * math.sqrt(2.0 * variance * duration_ms / math.pi)


def _in_proportion(known: Vector, rho: float) -> tuple[float, float]:
    """Mean wait and probability of one of a queue that is like a known one; see `queues_of`."""
    mean = float(known[1] * (rho / known[0]) ** 2 * (1.0 - known[0]) / (1.0 - rho))
    return mean, min(1.0, float(known[2] * rho / known[0]))


@np.errstate(invalid="ignore")
def _slowed(system: System, line: Timeline, watched: NDArray[np.int64], work: Work, per_ms: float) -> NDArray[np.float32]:
    """How much later each round's messages have been handled since others' come in between, shape (R * n,)."""
    rounds, n, jobs = system.rounds, system.alive.size, system.jobs
    like, slow = _like(work.cpu_ms, watched), system.machines.slow[watched].astype(np.float64)
    rho = np.minimum(per_ms * work.cpu_ms[watched], _CRITICAL)
    slowed = np.zeros((rounds.kind.size, n))
    for r in np.flatnonzero(rounds.kind == AMONG_REPLICAS):
        came = line.arrivals[r]
        need = rounds.need[r * n + watched]
        if came.time_ms.shape[0] < 2 or not (need > 0).any():
            continue
        handle = jobs[r].receive_ms / system.machines.cores * slow
        idle, busy = complete_ms(came.time_ms, came.weight, need, handle, np.zeros(watched.size), rho)
        slowed[r] = np.where(np.isfinite(busy) & (need > 0), busy - idle, 0.0)[like]
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
