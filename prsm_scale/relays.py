"""Queues at relays: how long they hold messages of one operation back."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from prsm_kernels import Machines, Paths, Rounds
from prsm_kernels.codes import AMONG_REPLICAS, GOSSIP
from prsm_scale.hosts import by_host
from prsm_scale.network import Floats, Network, ms_per_byte, queue_at_relays, transit
from prsm_scale.resources import JobCosts
from prsm_scale.views import NO_WAIT, Course

if TYPE_CHECKING:
    from prsm_scale.plans import Plan

Ids = NDArray[np.int32]


def addressed_replicas(rounds: Rounds, r: int, n: int) -> NDArray[np.uint8]:
    """Replicas to which messages of a round among replicas are sent, the silent ones too; shape (n,)."""
    receivers = rounds.receivers[rounds.receiver_at[r] : rounds.receiver_at[r + 1]]
    wanted = np.full(n, rounds.addressed[r * n : (r + 1) * n].max() > 1, np.uint8)
    wanted[receivers] = 1
    return wanted


def _service_ms(plan: Plan, network: Network, rounds: Rounds, r: int, senders: Ids, job: JobCosts) -> Floats:
    """How long a relay is busy with each message of round r: its CPU or its uplink, whichever takes longer.

    Returns
    -------
    ndarray of float32, shape (n * n,) or (n,)
        [sender * n + relay], or [relay] where that is busy for as long with the messages of all senders.
    """
    sites = plan.links.sites
    line = job.size_bytes * ms_per_byte(plan.links.uplink_mbps)
    passing = (job.transit_ms + job.send_ms) / plan.profile.cores * sites.slow
    through = network.degree - 1
    if network.kind != GOSSIP:
        through = transit(network, senders, addressed_replicas(rounds, r, plan.scenario.nodes)).through
    busy = through * np.maximum(line, passing)
    if network.lines is not None:
        # a host's line is busy with what all its replicas pass on
        leaving = np.apply_along_axis(by_host, -1, through * network.lines.far_share, sites.host)
        busy = np.maximum(leaving * line, through * passing)
    return np.ascontiguousarray(busy, np.float32).ravel()


def relay_queues(plan: Plan, network: Network, way: Course, rounds: Rounds, machines: Machines) -> tuple[Ids, Paths]:
    """Walk through the rounds with mean delays, and work out how long relays hold each message back."""
    count, n = rounds.kind.size, plan.scenario.nodes
    slots = np.full(count, -1, np.int32)
    if not network.relayed or not machines.contended:
        return slots, network.paths
    distance = network.distance_ms.reshape(n, n)
    times = [np.zeros(n, np.float32)]
    queues: list[Floats] = []
    among = np.flatnonzero(rounds.kind == AMONG_REPLICAS)
    for r, leg in enumerate(way.legs[: among[-1] + 1]):
        time = times[-1].copy() if leg.base == NO_WAIT else times[leg.base + 1] + np.float32(leg.timer_ms)
        times.append(time)
        if rounds.kind[r] != AMONG_REPLICAS:
            continue
        senders = rounds.senders[rounds.sender_at[r] : rounds.sender_at[r + 1]]
        if senders.size > 1:
            service = _service_ms(plan, network, rounds, r, senders, leg.job)
            slots[r] = len(queues)
            queues.append(queue_at_relays(network, time, senders, service))
        if r < among[-1]:
            arrival = time[senders, None] + distance[senders]
            if network.kind != GOSSIP and slots[r] >= 0:
                arrival = arrival + queues[-1].reshape(n, n).T[senders]
            arrival[np.arange(senders.size), senders] = np.inf
            _complete(rounds, r, arrival, time)
    relay_ms = np.stack(queues) if queues else network.paths.relay_ms
    return slots, network.paths._replace(relay_ms=np.ascontiguousarray(relay_ms))


def _complete(rounds: Rounds, r: int, arrival: Floats, time: Floats) -> None:
    """Set when the receivers of round r have what they need, from the arrivals (senders, n) of others' messages."""
    n = time.size
    receivers = rounds.receivers[rounds.receiver_at[r] : rounds.receiver_at[r + 1]]
    needs = rounds.need[r * n + receivers]
    for need in set(needs.tolist()) - {0}:
        who = receivers[needs == need]
        if need > arrival.shape[0]:
            time[who] = np.inf
        else:
            came = np.ascontiguousarray(arrival[:, who].T)
            time[who] = np.maximum(time[who], np.partition(came, need - 1, axis=1)[:, need - 1])
