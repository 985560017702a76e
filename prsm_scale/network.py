"""Ways of messages through the graph: paths, relays' work and relays' queues, as arrays for the kernels."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from prsm_kernels import (
    Law,
    Paths,
    count_copies,
    count_floods,
    count_transits,
    path_tree,
    paths_around,
    queue_waits,
    relay_waits,
    shortest_paths,
)
from prsm_kernels.codes import DIRECT, GOSSIP, ROUTED
from prsm_scale.environments import Links
from prsm_scale.hosts import HostLines, host_lines
from prsm_scale.sites import Sites
from prsm_scale.topology import TopologyGraph

Ids = NDArray[np.int32]
Floats = NDArray[np.float32]
_NO_INTS, _NO_FLAGS = np.zeros(1, np.int32), np.zeros(1, np.uint8)
_SOURCES_PER_CALL = 32
_ARRIVALS_PER_CALL = 1_000_000
KINDS = {"direct": DIRECT, "routed": ROUTED, "gossip": GOSSIP}


def ms_per_byte(mbps: Floats) -> Floats:
    """Transmission time of a byte in ms at a bandwidth in Mbit/s; 0 where that is unlimited."""
    return (8.0 / (1000.0 * mbps)).astype(np.float32)


def dissemination_of(scenario: Any, complete: bool) -> str:
    """How messages spread: what the scenario says, else direct on a complete graph and gossip elsewhere."""
    return str(scenario.dissemination or ("direct" if complete else "gossip"))


@dataclass(frozen=True, eq=False)
class Network:
    """The graph of a scenario as seen by its messages, with some replicas passing nothing on.

    Attributes
    ----------
    kind : int
        `prsm_kernels.codes.DIRECT`, `ROUTED` or `GOSSIP`.
    paths : Paths
        For the kernels, without relay queues.
    distance_ms : ndarray of float32, shape (n * n,) or (1,)
        [source * n + node] mean delay of an undisturbed message; unused when direct.
    degree : ndarray of int32, shape (n,)
        Neighbours of each replica; n - 1 when direct.
    copies : ndarray of float64, shape (n,)
        Copies of a message that reach each live replica, on average over sources; 1 unless flooded.
    edge_ms_per_byte : ndarray of float32, shape (m,)
        Transmission time on the link itself, 0 where only the replicas' lines bound it.
    loss : float
        Mean loss probability of a hop.
    far_copies : ndarray of float64, shape (n,)
        Those of the copies that come from other hosts.
    cost_ms : ndarray of float32, shape (m,) or (1,)
        Mean delay over each edge, by which paths are shortest; unused when direct.
    lines : HostLines or None
        None where no replicas share a host.
    """

    kind: int
    paths: Paths
    distance_ms: Floats
    degree: Ids
    copies: NDArray[np.float64]
    edge_ms_per_byte: Floats
    loss: float
    far_copies: NDArray[np.float64]
    cost_ms: Floats
    lines: HostLines | None = None

    @property
    def relayed(self) -> bool:
        """Whether messages cross other replicas on their way."""
        return self.kind != DIRECT

    @cached_property
    def tree(self) -> _Tree:
        """What ways round replicas that pass nothing on follow from; of a network in which every one does."""
        paths, cost = self.paths, self.cost_ms.astype(np.float64)
        tree = _Tree(cost, cost[paths.reverse], np.empty(paths.order.size, np.int32), np.empty(paths.order.size))
        path_tree(paths.source, cost, paths.last_edge, paths.order, tree.before, tree.length_ms)
        return tree


class _Tree(NamedTuple):
    """Cost of each edge and of the one back, and what `prsm_kernels.path_tree` says."""

    cost_ms: NDArray[np.float64]
    cost_back_ms: NDArray[np.float64]
    before: Ids
    length_ms: NDArray[np.float64]


def build_network(
    scenario: Any, graph: TopologyGraph, links: Links, law: Law, mean_variate: float, forward_ms: float, vote_bytes: int
) -> Network:
    """Find the ways of a scenario's messages where every replica passes them on.

    Parameters
    ----------
    scenario, graph, links
        As built from one another.
    law : Law
        Delay of a hop.
    mean_variate : float
        Mean of the law's variate.
    forward_ms : float
        CPU time by which a relay delays a message.
    vote_bytes : int
        Size of the messages for which shortest paths are shortest.
    """
    n, sites, line = graph.nodes, links.sites, ms_per_byte(links.uplink_mbps)
    kind, relays = KINDS[dissemination_of(scenario, graph.complete)], np.ones(n, np.uint8)
    limited = bool(np.isfinite(links.edge_bandwidth_mbps).any())
    forward, no_queue = np.float32(forward_ms), np.zeros((1, 1), np.float32)
    loss = float(np.mean(links.loss))
    if kind == DIRECT and not limited:
        paths = Paths(
            kind=DIRECT, base_ms=np.ravel(links.base_ms), loss=np.ravel(links.loss), ms_per_byte=line, indptr=_NO_INTS,
            target=_NO_INTS, source=_NO_INTS, reverse=_NO_INTS, last_edge=_NO_INTS, order=_NO_INTS, relay_ms=no_queue,
            work=1, forward_ms=forward, near=_NO_FLAGS, line_place=_NO_INTS,
        )  # fmt: skip
        none, degree = np.zeros(1, np.float32), np.full(n, n - 1, np.int32)
        network = Network(DIRECT, paths, none, degree, np.ones(n), none, loss, np.ones(n), none)
        return _with_copies(network, sites, relays)
    indptr, target, base, loss_by_edge, bandwidth = _edges(graph, links)
    source = np.repeat(np.arange(n, dtype=np.int32), np.diff(indptr))
    # those in the order of (target, source) are those of (source, target) the other way round
    reverse = np.lexsort((source, target)).astype(np.int32)
    edge = ms_per_byte(bandwidth)
    hop = _hop_ms_per_byte(links, source, target, edge)
    cost = base + (law.offset + law.slope * base) * mean_variate + forward_ms * sites.slow[source] + vote_bytes * hop
    routes = _direct(n, source, target, cost) if kind == DIRECT else _shortest(indptr, target, cost)
    paths = Paths(
        kind=GOSSIP if kind == GOSSIP else ROUTED, base_ms=base, loss=loss_by_edge, ms_per_byte=hop, indptr=indptr,
        target=target, source=source, reverse=reverse, last_edge=routes.last_edge, order=routes.order, relay_ms=no_queue,
        work=_hops(kind, routes), forward_ms=forward, near=_NO_FLAGS, line_place=_NO_INTS,
    )  # fmt: skip
    degree, ones = np.diff(indptr).astype(np.int32), np.ones(n)
    network = Network(kind, paths, routes.distance_ms, degree, ones, edge, float(loss_by_edge.mean()), ones, cost)
    return _with_copies(network, sites, relays)


def around(network: Network, sites: Sites, relays: NDArray[np.uint8]) -> Network:
    """The network of which some replicas pass nothing on, from that in which every one does.

    Parameters
    ----------
    network : Network
    sites : Sites
        Hosts that replicas share.
    relays : ndarray of uint8, shape (n,)
        0 for replicas that pass nothing on.
    """
    if not network.relayed or relays.all():
        return network
    n, paths, tree = relays.size, network.paths, network.tree
    routes = _room(n)
    for sources in _in_parts(n):
        paths_around(
            paths.indptr, paths.target, paths.reverse, tree.cost_ms, tree.cost_back_ms, relays, sources, paths.last_edge,
            paths.order, network.distance_ms, tree.before, tree.length_ms, routes.last_edge, routes.order, routes.distance_ms,
        )  # fmt: skip
    paths = paths._replace(last_edge=routes.last_edge, order=routes.order, work=_hops(network.kind, routes))
    return _with_copies(replace(network, paths=paths, distance_ms=routes.distance_ms), sites, relays)


class _Routes(NamedTuple):
    """Ways between all pairs, as `prsm_kernels.shortest_paths` lays them out."""

    last_edge: Ids
    order: Ids
    distance_ms: Floats


def _room(n: int) -> _Routes:
    """For kernels to fill."""
    return _Routes(np.empty(n * n, np.int32), np.empty(n * n, np.int32), np.empty(n * n, np.float32))


def _direct(n: int, source: Ids, target: Ids, cost: Floats) -> _Routes:
    """Over the link itself, and each replica before all others."""
    last_edge, distance_ms = np.full(n * n, -1, np.int32), np.zeros(n * n, np.float32)
    ways = source * np.int64(n) + target
    last_edge[ways], distance_ms[ways] = np.arange(target.size), cost
    return _Routes(last_edge, np.ravel((np.arange(n)[:, None] + np.arange(n)) % n).astype(np.int32), distance_ms)


def _shortest(indptr: Ids, target: Ids, cost: Floats) -> _Routes:
    n, costs = indptr.size - 1, cost.astype(np.float64)
    routes, relays = _room(n), np.ones(n, np.uint8)
    for sources in _in_parts(n):
        shortest_paths(indptr, target, costs, relays, sources, *routes)
    return routes


def _in_parts(n: int) -> Iterator[Ids]:
    """All replicas, a few at a time, so that calls of kernels end soon."""
    for start in range(0, n, _SOURCES_PER_CALL):
        yield np.arange(start, min(start + _SOURCES_PER_CALL, n), dtype=np.int32)


def _hop_ms_per_byte(links: Links, source: Ids, target: Ids, edge: Floats) -> Floats:
    """Transmission time over links: the slowest of the link itself and, but for those within a host, the lines at its ends."""
    line, into = ms_per_byte(links.uplink_mbps), ms_per_byte(links.downlink_mbps)
    hop: Floats = np.maximum(np.maximum(line[source], into[target]), edge)
    host = links.sites.host
    return np.where(host[source] == host[target], edge, hop) if links.sites.shared else hop


def _with_copies(network: Network, sites: Sites, relays: NDArray[np.uint8]) -> Network:
    """The network with the copies that floods make of a message, and what it means for the lines of hosts that replicas share."""
    if sites.shared:
        lines = host_lines(network.paths, sites.host)
        near = (~lines.far_first).astype(np.uint8)
        paths = network.paths._replace(near=np.ravel(near), line_place=np.ravel(lines.place))
        network = replace(network, paths=paths, lines=lines)
    if network.kind != GOSSIP:
        return network
    live = np.flatnonzero(relays).astype(np.int32)
    flood = flooding(network.paths, relays, live, network.lines.far_edge if network.lines else None)
    return replace(network, copies=flood.copies / max(live.size, 1), far_copies=flood.far_in / max(live.size, 1))


def _edges(graph: TopologyGraph, links: Links) -> tuple[Ids, Ids, Floats, Floats, Floats]:
    """Directed edges (rows, targets, base, loss, bandwidth); a complete graph is spelled out."""
    n = graph.nodes
    if not graph.complete:
        loss = np.broadcast_to(links.loss, links.base_ms.shape)
        return graph.indptr, graph.indices, links.base_ms, np.ascontiguousarray(loss), links.edge_bandwidth_mbps
    indptr = (np.arange(n + 1) * (n - 1)).astype(np.int32)
    grid = np.arange(n, dtype=np.int32)
    target = np.broadcast_to(grid, (n, n))[~np.eye(n, dtype=bool)].copy()
    source = np.repeat(grid, n - 1)

    def pick(values: Floats) -> Floats:
        return np.ascontiguousarray(np.broadcast_to(values, (n, n))[target, source])

    return indptr, target, pick(links.base_ms), pick(links.loss), pick(links.edge_bandwidth_mbps)


@dataclass(frozen=True, eq=False)
class Flood:
    """What flooding some messages takes.

    Attributes
    ----------
    copies : ndarray of float64, shape (n,)
        Copies that reach each replica.
    hops : float
        Transmissions in all.
    far_in, far_out : ndarray of float64, shape (n,)
        Copies that each replica receives from other hosts, and sends to them.
    """

    copies: NDArray[np.float64]
    hops: float
    far_in: NDArray[np.float64]
    far_out: NDArray[np.float64]


def flooding(
    paths: Paths, relays: NDArray[np.uint8], sources: Ids, far_edge: NDArray[np.bool_] | None = None
) -> Flood:  # fmt: skip
    """Count the copies when each of `sources` floods one message.

    A node sends on to all neighbours but the one from which the first copy came, taken to be that on the shortest path.

    Parameters
    ----------
    paths : Paths
    relays : ndarray of uint8, shape (n,)
        Replicas that pass messages on.
    sources : ndarray of int32, shape (s,)
        Live replicas.
    far_edge : ndarray of bool, shape (m,), optional
        Edges from host to host; all by default.
    """
    n, degree = relays.size, np.diff(paths.indptr).astype(np.int64)
    passed, back = np.zeros(n, np.int64), np.zeros(paths.target.size, np.int64)
    count_floods(sources, relays, paths.last_edge, passed, back)
    sent = np.bincount(sources, minlength=n)
    hops = float(degree @ sent + passed @ (degree - 1))

    def over(edges: NDArray[np.bool_]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        arriving, leaving = np.zeros(n), np.zeros(n)
        count_copies(paths.indptr, paths.target, passed + sent, back, edges, arriving, leaving)
        return arriving, leaving

    copies, _ = over(np.ones(paths.target.size, np.bool_))
    far_in, far_out = (copies, copies) if far_edge is None else over(far_edge)
    return Flood(copies, hops, far_in, far_out)


def _hops(kind: int, routes: _Routes) -> int:
    """Hops of a typical message, so that calls of the kernel take equally long."""
    if kind != ROUTED:
        return 1
    n = math.isqrt(routes.order.size)
    reached = max(1, int((routes.order[:n] >= 0).sum()))
    return max(1, round(np.log2(n)) if reached * 4 < routes.last_edge.size else reached // 4)


@dataclass(frozen=True, eq=False)
class Transit:
    """What relays carry when some replicas each send one message to others.

    Attributes
    ----------
    through : ndarray of int32, shape (n, n)
        [sender, node]: messages that node forwards for sender.
    crossing : ndarray of float64, shape (m,)
        Messages over each directed edge.
    hops : float
        Transmissions in all.
    """

    through: Ids
    crossing: NDArray[np.float64]
    hops: float

    def forwarded(self, senders: Ids, weight: NDArray[np.float64]) -> NDArray[np.float64]:
        """Messages that each node forwards, shape (n,), where each of the senders stands for so many."""
        rows, alike = self.through[senders], bool((weight == weight[0]).all())
        total = rows.sum(axis=0) * weight[0] if alike else (rows * weight[:, None]).sum(axis=0)
        return np.asarray(total, np.float64)


def transit(network: Network, senders: Ids, receivers: NDArray[np.uint8]) -> Transit:
    """Count what relays and links carry of unicast messages from each sender to each receiver."""
    n = receivers.size
    through = np.zeros(n * n, np.int32)
    crossing = np.zeros(network.paths.target.size)
    paths = network.paths
    hops = count_transits(senders, receivers, paths.last_edge, paths.source, paths.order, through, crossing)
    return Transit(through.reshape(n, n), crossing, float(hops))


def queue_at_relays(network: Network, start_ms: Floats, senders: Ids, service_ms: Floats) -> Floats:
    """Waiting at relays, see `prsm_kernels.relay_waits`; (n * n,) in the layout of `Paths.relay_ms`."""
    paths, n = network.paths, start_ms.size
    waits, out = np.empty(n * n, np.float32), np.zeros(n * n, np.float32)
    step = max(1, _ARRIVALS_PER_CALL // n)
    for begin in range(0, n, step):
        queue_waits(start_ms, senders, network.distance_ms, service_ms, begin, min(begin + step, n), waits)
    relay_waits(waits, senders, paths.last_edge, paths.source, paths.order, network.kind == GOSSIP, out)
    return out
