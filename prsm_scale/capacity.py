"""Work per operation, and the capacity that follows from it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from prsm_kernels.codes import AMONG_REPLICAS, GOSSIP, TO_ALL, TO_CLIENT, TO_PRIMARY
from prsm_scale.faults import EQUIVOCATE, FLOOD
from prsm_scale.hosts import by_host
from prsm_scale.network import flooding, transit
from prsm_scale.relays import addressed_replicas
from prsm_scale.system import System, members

Vector = NDArray[np.float64]


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

    @cached_property
    def demands(self) -> dict[str, float]:
        """Busiest member of each resource class: ms of its time for one proposal.

        A replica more than half of whose work on a resource is forwarding counts as a relay there.
        """
        primary = np.arange(self.cpu_ms.size) == self.primary
        classes: dict[str, float] = {}

        def busiest(values: Vector, members: NDArray[np.bool_]) -> float:
            return float(values[members].max()) if members.any() else 0.0

        relay_nic = 0.0
        for resource, total, forwarded in (
            ("cpu", self.cpu_ms, self.relay_cpu_ms),
            ("egress", self.egress_ms, self.relay_egress_ms),
            ("ingress", self.ingress_ms, self.relay_ingress_ms),
        ):
            relays = self.bounding & (2 * forwarded > total) & (total > 0)
            classes[f"primary_{resource}"] = busiest(total, primary & ~relays)
            classes[f"replica_{resource}"] = busiest(total, self.bounding & ~primary & ~relays)
            if resource == "cpu":
                classes["relay_cpu"] = busiest(total, relays)
            else:
                relay_nic = max(relay_nic, busiest(total, relays))
        return classes | {"relay_nic": relay_nic, "link": self.link_ms}

    @property
    def busiest_ms(self) -> float:
        """What one proposal costs the busiest of all resources but the window, ms."""
        return max(self.demands.values())


class _Ledger:
    """The work of a system's rounds: arrays of shape (R, n) by round and replica, or (R, 1)."""

    def __init__(self, system: System) -> None:
        rounds, machines, n = system.rounds, system.machines, system.alive.size
        self.system, self.lines, self.n, self.kinds = system, system.network.lines, n, rounds.kind
        self.alive, self.slow = system.alive > 0, machines.slow.astype(np.float64)
        costs = system.course.costs
        self.send_ms, self.transit_ms, self.size = costs["send_ms"], costs["transit_ms"], costs["size_bytes"]
        self.sends = _among(rounds.senders, rounds.sender_at, n)
        self.receives = _among(rounds.receivers, rounds.receiver_at, n)
        among = rounds.kind[:, None] == AMONG_REPLICAS
        self.weight: Vector = np.where(self.sends, np.where(among, 1.0 + machines.invalid, 1.0), 0.0)
        self.messages: Vector = self.weight.sum(axis=1, keepdims=True)
        requests = (rounds.kind[:, None] == TO_PRIMARY) | (rounds.kind[:, None] == TO_ALL)
        arrivals = self.receives * np.where(requests, 1.0, self.messages)
        self.arrivals: Vector = arrivals - self.weight * (arrivals > 0)
        self.hops, self.crossing_bytes = np.ones(rounds.kind.size), np.zeros(max(system.paths.target.size, 1))
        # what relays do besides: work, of it forwarding for others, and messages that come and go
        self.further_ms, self.relay_ms, self.coming, self.going = np.zeros((4, rounds.kind.size, n))
        self.taken_in = self.arrivals.copy() if self.lines is None else self._line_arrivals()

    def relay(self) -> None:
        """Book what all but senders and receivers do."""
        network, among = self.system.network, np.flatnonzero(self.kinds == AMONG_REPLICAS)
        flooded = dict(zip(among.tolist(), self._flood(among), strict=True)) if network.kind == GOSSIP else {}
        for r in range(self.kinds.size):
            if r in flooded:
                self.crossing_bytes += flooded[r]
            elif network.relayed:
                self._forward(r)
            else:
                self._cross(r)

    def _cross(self, r: int) -> None:
        """Book direct links: of their messages, those between a client and its own replica cross none."""
        system, sends = self.system, self.sends[r]
        if self.kinds[r] != AMONG_REPLICAS:
            site, live = system.plan.scenario.client_site, max(1.0, float(system.alive.sum()))
            met = 1.0 / live if site is None or sends.any() else float(site == system.first_primary)
            self.hops[r] = 1.0 - (1.0 / self.n if self.kinds[r] == TO_ALL else met)
            return
        if sends.any():
            self.hops[r] = self.messages[r, 0] / np.count_nonzero(sends)
        if system.paths.target.size > 1:
            self.crossing_bytes += self.size[r] * self.weight[r, system.paths.source]

    def _flood(self, r: NDArray[np.int64]) -> Vector:
        """Book what flooding costs besides handling: further copies, and messages that are not for this replica.

        Returns the bytes that cross each link, by round.
        """
        network, relays, weight, messages = self.system.network, self.system.machines.relays, self.weight[r], self.messages[r]
        arrivals, send_ms, transit_ms, size = self.arrivals[r], self.send_ms[r], self.transit_ms[r], self.size[r]
        far_edge, each = self.lines.far_edge if self.lines else None, np.arange(self.n, dtype=np.int32)
        floods = [flooding(self.system.paths, relays, np.repeat(each, row.astype(int)), far_edge) for row in weight]
        passed = self.alive * messages - weight
        onward = passed * (network.degree - 1.0) * relays
        forwarding = onward * send_ms + (np.array([one.copies for one in floods]) * self.alive - passed) * transit_ms
        passing = forwarding + (passed - arrivals) * transit_ms
        again = np.maximum(network.copies - 1.0, 0.0) * transit_ms
        # handling holds forwarding and further copies of what is for this replica
        booked = arrivals * ((network.degree - 1.0) * relays * send_ms + again)
        self.further_ms[r], self.relay_ms[r] = (passing - booked) * self.slow, passing * self.slow
        hops = np.array([[one.hops] for one in floods]) / np.maximum(self.sends[r].sum(axis=1, keepdims=True), 1)
        self.hops[r] = (hops / np.maximum(self._by_round(self.system.rounds.addressed)[r].max(axis=1, keepdims=True), 1))[:, 0]
        self.taken_in[r] = np.array([one.far_in for one in floods]) * self.alive
        self.going[r] = onward
        if self.lines is not None:
            self.going[r] = np.array([one.far_out for one in floods]) - self.lines.copies * weight
        return np.asarray(messages * size * hops / self.system.paths.target.size, np.float64)[:, 0]

    def _forward(self, r: int) -> None:
        """Book messages that each replica forwards, and those of them that come and go over its line.

        Clients sit with every live replica equally often, or at one site.
        """
        system, n = self.system, self.n
        among, senders = self.kinds[r] == AMONG_REPLICAS, np.flatnonzero(self.sends[r]).astype(np.int32)
        wanted = addressed_replicas(system.rounds, r, n) if among else members(self._sites(), n).astype(np.uint8)
        start = senders if senders.size else np.array([system.first_primary], np.int32)
        each = self.weight[r, senders] if senders.size else np.ones(1)
        carried, goals = transit(system.network, start, wanted), int(wanted.sum())
        share, mean = 1.0 if among else 1.0 / max(1, goals), each.mean()
        self.crossing_bytes += carried.crossing * share * mean * self.size[r]
        messages = start.size * goals - (int(wanted[start].sum()) if among else 0)
        self.hops[r] = carried.hops * mean / max(1.0, float(messages))
        onward = carried.forwarded(start, each) * share
        self.further_ms[r] = self.relay_ms[r] = onward * (self.transit_ms[r] + self.send_ms[r]) * self.slow
        self.coming[r] = self.going[r] = onward
        if self.lines is None:
            return
        ends = np.ix_(np.flatnonzero(wanted), start)
        far = carried.crossing * self.lines.far_edge
        coming, going = (np.bincount(end, weights=far, minlength=n) for end in (system.paths.target, system.paths.source))
        coming[ends[0].ravel()] -= self.lines.far_last[ends].sum(axis=1)
        going[start] -= self.lines.far_first[ends].sum(axis=0)
        self.coming[r], self.going[r] = coming * share * mean, going * share * mean

    def _sites(self) -> NDArray[np.int64]:
        """Replicas with which clients sit, equally often."""
        site = self.system.plan.scenario.client_site
        return np.flatnonzero(self.alive) if site is None else np.array([site])

    def _by_round(self, values: NDArray[Any]) -> NDArray[Any]:
        return values.reshape(-1, self.n)

    def _line_copies(self) -> Vector:
        """Copies of each sender's message that take its host's line."""
        assert self.lines is not None
        copies = self._by_round(self.system.rounds.line_copies).astype(np.float64)
        copies[self.kinds == TO_CLIENT] = self.lines.far_first[self._sites()].mean(axis=0)
        return copies

    def _line_arrivals(self) -> Vector:
        """Messages for each replica that come over its host's line."""
        assert self.lines is not None
        far = self.lines.far_last
        coming = self.weight @ far.T
        coming[~self.sends.any(axis=1)] = far[:, self._sites()].mean(axis=1)
        return np.asarray((self.arrivals > 0) * coming, np.float64)

    def close(self) -> Work:
        system, machines, costs = self.system, self.system.machines, self.system.course.costs
        copies = self._by_round(system.rounds.fanout).astype(np.float64)
        making_ms = self.sends * (costs["create_ms"] + copies * self.send_ms) * self.slow
        handling_ms = self._by_round(system.rounds.handle_ms) * self.arrivals + self.receives * (costs["quorum_ms"] * self.slow)
        cpu = np.array([making_ms, handling_ms, self.further_ms]) / machines.cores
        out, into = machines.out_ms_per_byte.astype(np.float64), machines.in_ms_per_byte.astype(np.float64)
        again = 1.0 / (1.0 - system.network.loss) if system.plan.law.stream else 1.0
        leaving = np.where(self.sends, copies if self.lines is None else self._line_copies(), 0.0)
        sent, got = np.array([leaving, self.going]) * self.size, np.array([self.taken_in, self.coming]) * self.size
        egress, ingress = sent * out * again, got * into
        lines = (_summed(parts) for parts in (egress, egress[1:], ingress, ingress[1:]))
        if self.lines is not None:
            lines = (by_host(line, machines.host) for line in lines)
        out_ms, relay_out_ms, in_ms, relay_in_ms = lines
        edge = system.network.edge_ms_per_byte
        limited = edge > 0
        link = float((self.crossing_bytes[limited] * edge[limited]).max()) * again if limited.any() else 0.0
        return Work(
            _summed(cpu), _summed(self.relay_ms[None] / machines.cores), out_ms, relay_out_ms, in_ms, relay_in_ms, link,
            _summed(sent * again), self.hops, _bounding_replicas(system), system.primary,
        )  # fmt: skip


def _among(ids: NDArray[np.int32], at: NDArray[np.int32], n: int) -> NDArray[np.bool_]:
    """Whether each replica is in the list of each round, shape (R, n)."""
    among = np.zeros((at.size - 1, n), np.bool_)
    among[np.repeat(np.arange(at.size - 1), np.diff(at)), ids] = True
    return among


def _summed(parts: Vector) -> Vector:
    """Sum of parts of each round, shape (parts, R, n), over the rounds one after another, shape (n,)."""
    return np.asarray(parts.swapaxes(0, 1).reshape(-1, parts.shape[2]).sum(axis=0), np.float64)


def _bounding_replicas(system: System) -> NDArray[np.bool_]:
    """Replicas for which the others wait: all but those that flood or equivocate, whose votes they can do without."""
    needed: NDArray[np.bool_] = (system.behaviour != FLOOD) & (system.behaviour != EQUIVOCATE)
    needed[system.primary] = True
    return needed


def work_of(system: System) -> Work:
    """Add up what one proposal costs every resource of a system."""
    ledger = _Ledger(system)
    ledger.relay()
    return ledger.close()


def mean_demands(works: Sequence[Work], weights: Vector | None = None) -> dict[str, float]:
    """Demands of each resource class, averaged over replicates, all alike by default."""
    each = [work.demands for work in works]
    return {name: float(np.average([one[name] for one in each], weights=weights)) for name in each[0]}
