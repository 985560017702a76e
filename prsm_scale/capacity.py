"""Work per operation, capacity, and waiting behind other operations."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from prsm_kernels import Machines
from prsm_kernels.codes import AMONG_REPLICAS, GOSSIP, TO_PRIMARY
from prsm_scale.faults import PRIMARY
from prsm_scale.network import transit
from prsm_scale.system import System

Vector = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Work:
    """What one proposal, with its batch, costs each resource, in ms of that resource's time.

    Attributes
    ----------
    cpu_ms, relay_cpu_ms : ndarray of float64, shape (n,)
        All CPU work of each replica divided by its cores, and the part that is forwarding for others.
    egress_ms, relay_egress_ms : ndarray of float64, shape (n,)
        Likewise for its uplink.
    ingress_ms, relay_ingress_ms : ndarray of float64, shape (n,)
        Likewise for its downlink.
    link_ms : float
        The busiest link whose own bandwidth is limited; 0 if there is none.
    sent_bytes : ndarray of float64, shape (n,)
        Bytes that each replica puts on its uplink.
    cpu_burst_ms2, egress_burst_ms2 : ndarray of float64, shape (n,)
        Second moments of the work's bursts: sum of burst times the part of it that comes at once.
    hops : ndarray of float64, shape (rounds,)
        Transmissions for each message sent, repeats left out.
    """

    cpu_ms: Vector
    relay_cpu_ms: Vector
    egress_ms: Vector
    relay_egress_ms: Vector
    ingress_ms: Vector
    relay_ingress_ms: Vector
    link_ms: float
    sent_bytes: Vector
    cpu_burst_ms2: Vector
    egress_burst_ms2: Vector
    hops: Vector


class _Ledger:
    """Adds up the work of a system's rounds."""

    def __init__(self, system: System) -> None:
        self.system = system
        self.n = n = system.alive.size
        self.cpu, self.relay_cpu, self.cpu_burst = np.zeros(n), np.zeros(n), np.zeros(n)
        self.egress, self.relay_egress, self.egress_burst = np.zeros(n), np.zeros(n), np.zeros(n)
        self.ingress, self.relay_ingress, self.sent = np.zeros(n), np.zeros(n), np.zeros(n)
        self.crossing_bytes = np.zeros(max(system.paths.target.size, 1))
        self.hops = np.ones(system.rounds.kind.size)
        self.cores = system.machines.cores
        self.out = system.machines.out_ms_per_byte.astype(np.float64)
        self.into = system.machines.in_ms_per_byte.astype(np.float64)
        self.again = 1.0 / (1.0 - system.network.loss) if system.plan.law.stream else 1.0
        links = system.plan.links
        self.spread_ms = max(links.condition.max_ms - links.condition.min_ms, 0.0)

    def round(self, r: int) -> None:
        rounds, job, n = self.system.rounds, self.system.plan.jobs[r], self.n
        senders = rounds.senders[rounds.sender_at[r] : rounds.sender_at[r + 1]]
        receivers = rounds.receivers[rounds.receiver_at[r] : rounds.receiver_at[r + 1]]
        kind = rounds.kind[r]
        arrivals = np.zeros(n)
        arrivals[receivers] = senders.size
        arrivals[np.intersect1d(senders, receivers)] -= 1
        if kind == TO_PRIMARY:
            arrivals[PRIMARY] = 1
        else:
            fanout = rounds.fanout[r * n : (r + 1) * n][senders].astype(np.float64)
            self._compute(senders, job.create_ms + fanout * job.send_ms)
            self._send(senders, fanout * job.size_bytes)
        handling = rounds.handle_ms[r * n : (r + 1) * n] * arrivals
        handling[receivers] += job.quorum_ms
        self._compute(np.arange(n), handling, single_ms=job.receive_ms)
        copies = self.system.machines.copies if kind == AMONG_REPLICAS else np.ones(n)
        self.ingress += arrivals * copies * job.size_bytes * self.into
        self._relay(r, senders, receivers, arrivals)

    def _compute(self, who: NDArray[np.int32] | NDArray[np.int64], work: Vector, single_ms: float | None = None) -> None:
        """Book a burst of CPU work; messages that trickle in over the spread of delays queue less than a block."""
        burst = work / self.cores
        self.cpu[who] += burst
        at_once = burst if single_ms is None else np.maximum(burst - self.spread_ms, np.minimum(single_ms, burst))
        self.cpu_burst[who] += burst * at_once

    def _send(self, who: NDArray[np.int32], size: Vector) -> None:
        burst = size * self.out[who] * self.again
        self.egress[who] += burst
        self.egress_burst[who] += burst**2
        self.sent[who] += size * self.again

    def _relay(self, r: int, senders: NDArray[np.int32], receivers: NDArray[np.int32], arrivals: Vector) -> None:
        system, job, n = self.system, self.system.plan.jobs[r], self.n
        if not system.network.relayed:
            if system.paths.target.size > 1 and system.rounds.kind[r] == AMONG_REPLICAS:
                self.crossing_bytes[np.isin(system.paths.source, senders)] += job.size_bytes
            return
        if system.network.kind == GOSSIP and system.rounds.kind[r] == AMONG_REPLICAS:
            onward = np.where(system.alive > 0, system.network.degree - 1.0, 0.0) * arrivals
            edges = system.paths.target.size
            addressed = system.rounds.addressed[r * n : (r + 1) * n].max()
            self.hops[r] = (edges - (n - 1)) / max(int(addressed), 1)
            self.crossing_bytes += senders.size * job.size_bytes * (edges - n + 1) / edges
            self.relay_cpu += onward * (job.transit_ms + job.send_ms) / self.cores
        else:
            onward = self._unicast(r, senders, receivers)
            forwarding = onward * (job.transit_ms + job.send_ms)
            self.relay_cpu += forwarding / self.cores
            self._compute(np.arange(n), forwarding, single_ms=job.transit_ms)
            self.ingress += onward * job.size_bytes * self.into
            self.relay_ingress += onward * job.size_bytes * self.into
        self.relay_egress += onward * job.size_bytes * self.out * self.again
        self._send(np.arange(n, dtype=np.int32), onward * job.size_bytes)

    def _unicast(self, r: int, senders: NDArray[np.int32], receivers: NDArray[np.int32]) -> Vector:
        """Messages each replica forwards; clients sit with every live replica equally often."""
        system, n = self.system, self.n
        among = system.rounds.kind[r] == AMONG_REPLICAS
        wanted = np.zeros(n, np.uint8)
        wanted[receivers if among else np.flatnonzero(system.alive)] = 1
        start = senders if senders.size else np.array([PRIMARY], np.int32)
        carried = transit(system.network, start, wanted)
        share = 1.0 if among else 1.0 / wanted.sum()
        self.crossing_bytes += carried.crossing * share * system.plan.jobs[r].size_bytes
        messages = start.size * (wanted.sum() if not among else max(1, wanted.sum() - (1 if start.size > 1 else 0)))
        self.hops[r] = carried.hops / max(1.0, float(messages))
        return np.asarray(carried.through[start].sum(axis=0) * share, np.float64)

    def close(self) -> Work:
        edge = self.system.network.edge_ms_per_byte
        limited = edge > 0
        link = float((self.crossing_bytes[limited] * edge[limited]).max()) * self.again if limited.any() else 0.0
        return Work(
            self.cpu, self.relay_cpu, self.egress, self.relay_egress, self.ingress, self.relay_ingress, link,
            self.sent, self.cpu_burst, self.egress_burst, self.hops,
        )  # fmt: skip


def work_of(system: System) -> Work:
    """Add up what one proposal costs every resource of a system."""
    ledger = _Ledger(system)
    for r in range(system.rounds.kind.size):
        ledger.round(r)
    return ledger.close()


def demands(work: Work) -> dict[str, float]:
    """Busiest member of each resource class: ms of its time for one proposal.

    A replica more than half of whose work on a resource is forwarding counts as a relay there.
    """
    n = work.cpu_ms.size
    primary = np.arange(n) == PRIMARY
    classes: dict[str, float] = {}

    def busiest(values: Vector, members: NDArray[np.bool_]) -> float:
        return float(values[members].max()) if members.any() else 0.0

    relay_nic = 0.0
    for resource, total, forwarded in (
        ("cpu", work.cpu_ms, work.relay_cpu_ms),
        ("egress", work.egress_ms, work.relay_egress_ms),
        ("ingress", work.ingress_ms, work.relay_ingress_ms),
    ):
        relays = (2 * forwarded > total) & (total > 0)
        classes[f"primary_{resource}"] = busiest(total, primary & ~relays)
        classes[f"replica_{resource}"] = busiest(total, ~primary & ~relays)
        if resource == "cpu":
            classes["relay_cpu"] = busiest(total, relays)
        else:
            relay_nic = max(relay_nic, busiest(total, relays))
    classes["relay_nic"] = relay_nic
    classes["link"] = work.link_ms
    return classes


def mean_demands(works: Sequence[Work]) -> dict[str, float]:
    """Demands of each resource class, averaged over replicates."""
    each = [demands(work) for work in works]
    return {name: float(np.mean([one[name] for one in each])) for name in each[0]}


def with_waits(machines: Machines, work: Work, proposals_per_ms: float, duration_ms: float) -> Machines:
    """Machines on which messages also wait behind those of other operations.

    Parameters
    ----------
    machines : Machines
    work : Work
    proposals_per_ms : float
        Poisson rate at which proposals come.
    duration_ms : float
        Length of the test, which bounds a queue that is about as busy as it can be.

    Returns
    -------
    Machines
        A message waits with probability rho, the resource's utilisation, and then for an exponential time; its mean follows the
        Pollaczek-Khinchine formula with the second moment of the work's bursts.
    """

    def waits(busy: Vector, burst: Vector) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        rho = np.minimum(proposals_per_ms * busy, 1.0)
        variance = proposals_per_ms * burst
        # a critical queue grows like reflected Brownian motion, whose mean over a time T is (2/3) sqrt(2 T variance / pi)
        longest = (2.0 / 3.0) * np.sqrt(2.0 * variance * duration_ms / math.pi)
        with np.errstate(divide="ignore", invalid="ignore"):
            mean = np.where(rho < 1.0, np.minimum(variance / (2.0 * (1.0 - rho)), longest), longest)
            conditional = np.where(rho > 0, mean / rho, 0.0)
            log = np.where(rho > 0, np.log(rho), -1e30)
        return conditional.astype(np.float32), log.astype(np.float32)

    cpu, cpu_log = waits(work.cpu_ms, work.cpu_burst_ms2)
    nic, nic_log = waits(work.egress_ms, work.egress_burst_ms2)
    return machines._replace(cpu_wait_ms=cpu, cpu_wait_log=cpu_log, nic_wait_ms=nic, nic_wait_log=nic_log)
