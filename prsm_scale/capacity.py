"""Work per operation, and the capacity that follows from it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from prsm_kernels.codes import AMONG_REPLICAS, GOSSIP, TO_ALL, TO_CLIENT, TO_PRIMARY
from prsm_scale.faults import EQUIVOCATE, FLOOD
from prsm_scale.hosts import by_host
from prsm_scale.network import flooding, transit
from prsm_scale.relays import addressed_replicas
from prsm_scale.system import System, members

Vector = NDArray[np.float64]
_ALL = slice(None)


@dataclass(frozen=True, eq=False)
class Work:
    """What one proposal, with its batch, costs each resource, in ms of that resource's time.

    Attributes
    ----------
    cpu_ms, relay_cpu_ms : ndarray of float64, shape (n,)
        All CPU work of each replica divided by its cores, and the part that is forwarding for others.
    egress_ms, relay_egress_ms : ndarray of float64, shape (n,)
        Likewise for its uplink, which is that of all replicas on its host.
    ingress_ms, relay_ingress_ms : ndarray of float64, shape (n,)
        Likewise for its downlink.
    link_ms : float
        The busiest link whose own bandwidth is limited; 0 if there is none.
    sent_bytes : ndarray of float64, shape (n,)
        Bytes that each replica puts on its uplink.
    hops : ndarray of float64, shape (rounds,)
        Transmissions for each message sent, repeats left out.
    primary : int
        Replica whose work is a primary's, -1 where all take turns.
    bounding : ndarray of bool, shape (n,)
        Replicas for which the others wait.
    """

    cpu_ms: Vector
    relay_cpu_ms: Vector
    egress_ms: Vector
    relay_egress_ms: Vector
    ingress_ms: Vector
    relay_ingress_ms: Vector
    link_ms: float
    sent_bytes: Vector
    hops: Vector
    bounding: NDArray[np.bool_]
    primary: int = 0


class _Ledger:
    """Adds up the work of a system's rounds."""

    def __init__(self, system: System) -> None:
        self.system, self.lines = system, system.network.lines
        self.n = n = system.alive.size
        self.cpu, self.relay_cpu = np.zeros(n), np.zeros(n)
        self.egress, self.relay_egress = np.zeros(n), np.zeros(n)
        self.ingress, self.relay_ingress, self.sent = np.zeros(n), np.zeros(n), np.zeros(n)
        self.crossing_bytes = np.zeros(max(system.paths.target.size, 1))
        self.hops = np.ones(system.rounds.kind.size)
        self.cores, self.jobs = system.machines.cores, system.jobs
        self.copies_each: Vector = 1.0 + system.machines.invalid.astype(np.float64)
        self.alive = system.alive > 0
        self.out = system.machines.out_ms_per_byte.astype(np.float64)
        self.into = system.machines.in_ms_per_byte.astype(np.float64)
        self.slow = system.machines.slow.astype(np.float64)
        self.again = 1.0 / (1.0 - system.network.loss) if system.plan.law.stream else 1.0

    def round(self, r: int) -> None:
        rounds, job, n = self.system.rounds, self.jobs[r], self.n
        senders = rounds.senders[rounds.sender_at[r] : rounds.sender_at[r + 1]]
        receivers = rounds.receivers[rounds.receiver_at[r] : rounds.receiver_at[r + 1]]
        kind = rounds.kind[r]
        arrivals = np.zeros(n)
        weight: Vector = self.copies_each[senders] if kind == AMONG_REPLICAS else np.ones(senders.size)
        arrivals[receivers] = weight.sum()
        arrivals[senders] -= weight * (arrivals[senders] > 0)
        if kind in (TO_PRIMARY, TO_ALL):
            asked = self.alive if kind == TO_ALL else self.alive & (np.arange(n) == self.system.first_primary)
            arrivals[asked] = 1
        else:
            fanout = rounds.fanout[r * n : (r + 1) * n][senders].astype(np.float64)
            self._compute(senders, (job.create_ms + fanout * job.send_ms) * self.slow[senders])
            self._send(senders, (fanout if self.lines is None else self._line_copies(r)[senders]) * job.size_bytes)
        handling = rounds.handle_ms[r * n : (r + 1) * n] * arrivals
        handling[receivers] += job.quorum_ms * self.slow[receivers]
        self._compute(_ALL, handling)
        flooded = self.system.network.kind == GOSSIP and kind == AMONG_REPLICAS
        if flooded:
            self._flood(r, senders, arrivals, weight)
            return
        taken_in = arrivals if self.lines is None else self._line_arrivals(r, senders, weight, arrivals > 0)
        self.ingress += taken_in * job.size_bytes * self.into
        if self.system.network.relayed:
            self._forward(r, senders, weight)
        else:
            self._cross(r, senders, weight)

    def _compute(self, who: NDArray[np.int32] | slice, work: Vector) -> None:
        self.cpu[who] += work / self.cores

    def _send(self, who: NDArray[np.int32] | slice, size: Vector) -> None:
        self.egress[who] += size * self.out[who] * self.again
        self.sent[who] += size * self.again

    def _cross(self, r: int, senders: NDArray[np.int32], weight: Vector) -> None:
        """Book direct links: of their messages, those between a client and its own replica cross none."""
        system, job = self.system, self.jobs[r]
        if system.rounds.kind[r] != AMONG_REPLICAS:
            site, live = system.plan.scenario.client_site, max(1.0, float(system.alive.sum()))
            met = 1.0 / live if site is None or senders.size else float(site == system.first_primary)
            self.hops[r] = 1.0 - (1.0 / self.n if system.rounds.kind[r] == TO_ALL else met)
            return
        if senders.size:
            self.hops[r] = weight.mean()
        if system.paths.target.size > 1:
            used = members(senders, self.n)[system.paths.source]
            self.crossing_bytes[used] += job.size_bytes * self.copies_each[system.paths.source[used]]

    def _flood(self, r: int, senders: NDArray[np.int32], arrivals: Vector, weight: Vector) -> None:
        """Book what flooding costs besides handling: further copies, and messages that are not for this replica."""
        system, job, network, n = self.system, self.jobs[r], self.system.network, self.n
        passed = np.where(self.alive, weight.sum(), 0.0)
        passed[senders] -= weight
        onward = passed * (network.degree - 1.0) * system.machines.relays
        far_edge = self.lines.far_edge if self.lines else None
        flood = flooding(system.paths, system.machines.relays, np.repeat(senders, weight.astype(int)), far_edge)
        copies, hops = flood.copies * self.alive, flood.hops
        self.ingress += flood.far_in * self.alive * job.size_bytes * self.into
        further = copies - passed
        forwarding = onward * job.send_ms + further * job.transit_ms
        others = passed - arrivals
        again = np.maximum(network.copies - 1.0, 0.0) * job.transit_ms
        # handling holds forwarding and further copies of what is for this replica
        booked = arrivals * ((network.degree - 1.0) * system.machines.relays * job.send_ms + again)
        self._compute(_ALL, (forwarding + others * job.transit_ms - booked) * self.slow)
        self.relay_cpu += (forwarding + others * job.transit_ms) * self.slow / self.cores
        hops /= max(senders.size, 1)
        self.hops[r] = hops / max(int(system.rounds.addressed[r * n : (r + 1) * n].max()), 1)
        edges = system.paths.target.size
        self.crossing_bytes += weight.sum() * job.size_bytes * hops / edges
        if self.lines is not None:
            onward = flood.far_out
            onward[senders] -= self.lines.copies[senders] * weight
        self.relay_egress += onward * job.size_bytes * self.out * self.again
        self._send(_ALL, onward * job.size_bytes)

    def _forward(self, r: int, senders: NDArray[np.int32], weight: Vector) -> None:
        """Book what relays do for unicast messages."""
        job = self.jobs[r]
        onward, coming, going = self._unicast(r, senders, weight)
        forwarding = onward * (job.transit_ms + job.send_ms) * self.slow
        self.relay_cpu += forwarding / self.cores
        self._compute(_ALL, forwarding)
        self.ingress += coming * job.size_bytes * self.into
        self.relay_ingress += coming * job.size_bytes * self.into
        self.relay_egress += going * job.size_bytes * self.out * self.again
        self._send(_ALL, going * job.size_bytes)

    def _unicast(self, r: int, senders: NDArray[np.int32], weight: Vector) -> tuple[Vector, Vector, Vector]:
        """Messages each replica forwards, and those of them that come and go over its line.

        Clients sit with every live replica equally often, or at one site.
        """
        system, n = self.system, self.n
        among = system.rounds.kind[r] == AMONG_REPLICAS
        wanted = addressed_replicas(system.rounds, r, n) if among else members(self._sites(), n).astype(np.uint8)
        start = senders if senders.size else np.array([system.first_primary], np.int32)
        each = weight if senders.size else np.ones(1)
        carried = transit(system.network, start, wanted)
        share = 1.0 if among else 1.0 / max(1, int(wanted.sum()))
        self.crossing_bytes += carried.crossing * share * each.mean() * self.jobs[r].size_bytes
        messages = start.size * wanted.sum() - (wanted[start].sum() if among else 0)
        self.hops[r] = carried.hops * each.mean() / max(1.0, float(messages))
        onward = carried.forwarded(start, each) * share
        if self.lines is None:
            return onward, onward, onward
        ends = np.ix_(np.flatnonzero(wanted), start)
        far = carried.crossing * self.lines.far_edge
        coming, going = (np.bincount(end, weights=far, minlength=n) for end in (system.paths.target, system.paths.source))
        coming[ends[0].ravel()] -= self.lines.far_last[ends].sum(axis=1)
        going[start] -= self.lines.far_first[ends].sum(axis=0)
        return onward, coming * share * each.mean(), going * share * each.mean()

    def _sites(self) -> NDArray[np.int64]:
        """Replicas with which clients sit, equally often."""
        site = self.system.plan.scenario.client_site
        return np.flatnonzero(self.alive) if site is None else np.array([site])

    def _line_copies(self, r: int) -> Vector:
        """Copies of each sender's message that take its host's line."""
        assert self.lines is not None
        if self.system.rounds.kind[r] == TO_CLIENT:
            return np.asarray(self.lines.far_first[self._sites()].mean(axis=0), np.float64)
        return self.system.rounds.line_copies[r * self.n : (r + 1) * self.n].astype(np.float64)

    def _line_arrivals(self, r: int, senders: NDArray[np.int32], weight: Vector, receives: NDArray[np.bool_]) -> Vector:
        """Messages for each replica that come over its host's line."""
        assert self.lines is not None
        far = self.lines.far_last
        coming = far[:, senders] @ weight if senders.size else far[:, self._sites()].mean(axis=1)
        return np.asarray(receives * coming, np.float64)

    def close(self) -> Work:
        if self.lines is not None:
            host = self.system.machines.host
            shared = (self.egress, self.relay_egress, self.ingress, self.relay_ingress)
            self.egress, self.relay_egress, self.ingress, self.relay_ingress = (by_host(line, host) for line in shared)
        edge = self.system.network.edge_ms_per_byte
        limited = edge > 0
        link = float((self.crossing_bytes[limited] * edge[limited]).max()) * self.again if limited.any() else 0.0
        return Work(
            self.cpu, self.relay_cpu, self.egress, self.relay_egress, self.ingress, self.relay_ingress, link,
            self.sent, self.hops, _bounding_replicas(self.system), self.system.primary,
        )  # fmt: skip


def _bounding_replicas(system: System) -> NDArray[np.bool_]:
    """Replicas for which the others wait: all but those that flood or equivocate, whose votes they can do without."""
    needed: NDArray[np.bool_] = (system.behaviour != FLOOD) & (system.behaviour != EQUIVOCATE)
    needed[system.primary] = True
    return needed


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
    primary = np.arange(n) == work.primary
    bounding = work.bounding
    classes: dict[str, float] = {}

    def busiest(values: Vector, members: NDArray[np.bool_]) -> float:
        return float(values[members].max()) if members.any() else 0.0

    relay_nic = 0.0
    for resource, total, forwarded in (
        ("cpu", work.cpu_ms, work.relay_cpu_ms),
        ("egress", work.egress_ms, work.relay_egress_ms),
        ("ingress", work.ingress_ms, work.relay_ingress_ms),
    ):
        relays = bounding & (2 * forwarded > total) & (total > 0)
        classes[f"primary_{resource}"] = busiest(total, primary & ~relays)
        classes[f"replica_{resource}"] = busiest(total, bounding & ~primary & ~relays)
        if resource == "cpu":
            classes["relay_cpu"] = busiest(total, relays)
        else:
            relay_nic = max(relay_nic, busiest(total, relays))
    classes["relay_nic"] = relay_nic
    classes["link"] = work.link_ms
    return classes


def busiest_ms(work: Work) -> float:
    """What one proposal costs the busiest of all resources but the window, ms."""
    return max(demands(work).values())


def mean_demands(works: Sequence[Work], weights: Vector | None = None) -> dict[str, float]:
    """Demands of each resource class, averaged over replicates, all alike by default."""
    each = [demands(work) for work in works]
    return {name: float(np.average([one[name] for one in each], weights=weights)) for name in each[0]}
