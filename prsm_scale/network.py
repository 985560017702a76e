"""Ways of messages through the graph: paths, relays' work and relays' queues, as arrays for the kernels."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from prsm_kernels import Law, Paths, count_transits, queue_waits, relay_waits, shortest_paths
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
    lines: HostLines | None = None

    @property
    def relayed(self) -> bool:
        """Whether messages cross other replicas on their way."""
        return self.kind != DIRECT


def build_network(
    scenario: Any,
    graph: TopologyGraph,
    links: Links,
    law: Law,
    mean_variate: float,
    relays: NDArray[np.uint8],
    forward_ms: float,
    vote_bytes: int,
) -> Network:
    """Find the ways of a scenario's messages.

    Parameters
    ----------
    scenario, graph, links
        As built from one another.
    law : Law
        Delay of a hop.
    mean_variate : float
        Mean of the law's variate.
    relays : ndarray of uint8, shape (n,)
        0 for replicas that pass nothing on.
    forward_ms : float
        CPU time by which a relay delays a message.
    vote_bytes : int
        Size of the messages for which shortest paths are shortest.
    """
    n, sites, line = graph.nodes, links.sites, ms_per_byte(links.uplink_mbps)
    kind = KINDS[dissemination_of(scenario, graph.complete)]
    limited = bool(np.isfinite(links.edge_bandwidth_mbps).any())
    forward, no_queue = np.float32(forward_ms), np.zeros((1, 1), np.float32)
    loss = float(np.mean(links.loss))
    if kind == DIRECT and not limited:
        paths = Paths(
            kind=DIRECT, base_ms=np.ravel(links.base_ms), loss=np.ravel(links.loss), ms_per_byte=line, indptr=_NO_INTS,
            target=_NO_INTS, source=_NO_INTS, last_edge=_NO_INTS, order=_NO_INTS, relay_ms=no_queue,
            work=1, forward_ms=forward, near=_NO_FLAGS, line_place=_NO_INTS,
        )  # fmt: skip
        none, degree = np.zeros(1, np.float32), np.full(n, n - 1, np.int32)
        return _on_hosts(Network(DIRECT, paths, none, degree, np.ones(n), none, loss, np.ones(n)), sites, relays)
    indptr, target, base, loss_by_edge, bandwidth = _edges(graph, links)
    source = np.repeat(np.arange(n, dtype=np.int32), np.diff(indptr))
    edge = ms_per_byte(bandwidth)
    hop = _hop_ms_per_byte(links, source, target, edge)
    cost = base + (law.offset + law.slope * base) * mean_variate + forward_ms * sites.slow[source] + vote_bytes * hop
    last_edge, order, distance = _routes(kind, indptr, source, target, cost, relays)
    paths = Paths(
        kind=GOSSIP if kind == GOSSIP else ROUTED, base_ms=base, loss=loss_by_edge, ms_per_byte=hop, indptr=indptr,
        target=target, source=source, last_edge=last_edge, order=order, relay_ms=no_queue,
        work=_hops(kind, n, order, last_edge), forward_ms=forward, near=_NO_FLAGS, line_place=_NO_INTS,
    )  # fmt: skip
    degree = np.diff(indptr).astype(np.int32)
    copies = np.ones(n)
    if kind == GOSSIP and not sites.shared:
        live = np.flatnonzero(relays).astype(np.int32)
        copies = flooding(paths, relays, live).copies / max(live.size, 1)
    network = Network(kind, paths, distance, degree, copies, edge, float(loss_by_edge.mean()), copies)
    return _on_hosts(network, sites, relays)


def _routes(
    kind: int, indptr: Ids, source: Ids, target: Ids, cost: Floats, relays: NDArray[np.uint8]
) -> tuple[Ids, Ids, Floats]:  # fmt: skip
    """Ways between all pairs as `prsm_kernels.shortest_paths` lays them out: (last_edge, order, distance_ms)."""
    n = relays.size
    last_edge, order = np.full(n * n, -1, np.int32), np.full(n * n, -1, np.int32)
    distance = np.full(n * n, np.inf, np.float32)
    if kind == DIRECT:
        ways = source * np.int64(n) + target
        last_edge[ways], distance[ways], distance[:: n + 1] = np.arange(target.size, dtype=np.int32), cost, 0.0
        # each replica before all others
        order[:] = np.ravel((np.arange(n)[:, None] + np.arange(n)) % n)
        return last_edge, order, distance
    costs = cost.astype(np.float64)
    for start in range(0, n, _SOURCES_PER_CALL):
        sources = np.arange(start, min(start + _SOURCES_PER_CALL, n), dtype=np.int32)
        shortest_paths(indptr, target, costs, relays, sources, last_edge, order, distance)
    return last_edge, order, distance


def _hop_ms_per_byte(links: Links, source: Ids, target: Ids, edge: Floats) -> Floats:
    """Transmission time over links: the slowest of the link itself and, but for those within a host, the lines at its ends."""
    line, into = ms_per_byte(links.uplink_mbps), ms_per_byte(links.downlink_mbps)
    hop: Floats = np.maximum(np.maximum(line[source], into[target]), edge)
    host = links.sites.host
    return np.where(host[source] == host[target], edge, hop) if links.sites.shared else hop


def _on_hosts(network: Network, sites: Sites, relays: NDArray[np.uint8]) -> Network:
    """The network with what it means for the lines of hosts that replicas share."""
    if not sites.shared:
        return network
    lines = host_lines(network.paths, sites.host)
    near = (~lines.far_first).astype(np.uint8)
    paths = network.paths._replace(near=np.ravel(near), line_place=np.ravel(lines.place))
    copies = far_copies = network.copies
    if network.kind == GOSSIP:
        live = np.flatnonzero(relays).astype(np.int32)
        flood = flooding(paths, relays, live, lines.far_edge)
        copies, far_copies = flood.copies / max(live.size, 1), flood.far_in / max(live.size, 1)
    return replace(network, paths=paths, lines=lines, copies=copies, far_copies=far_copies)


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
    n = relays.size
    entered = paths.last_edge.reshape(n, n)[sources]
    sending = (entered >= 0) & (relays > 0)
    degree = np.diff(paths.indptr).astype(np.float64)
    passing = sending.astype(np.float64)
    passing[np.arange(sources.size), sources] = 1.0
    # each live neighbour sends a copy, unless it has the message from this very node
    crossing = passing.sum(axis=0)[paths.source]
    back = np.bincount(entered[sending], minlength=paths.target.size)
    neighbours = np.bincount(paths.target, weights=crossing, minlength=n)
    informed = np.bincount(paths.source, weights=back, minlength=n)
    hops = float(degree[sources].sum() + (sending * (degree - 1.0)).sum())
    copies = (neighbours - informed).astype(np.float64)
    if far_edge is None:
        return Flood(copies, hops, copies, copies)
    crossing, back = crossing * far_edge, back * far_edge

    def less(more: Ids, fewer: Ids) -> NDArray[np.float64]:
        counted: NDArray[np.float64] = np.bincount(more, weights=crossing, minlength=n).astype(np.float64)
        return counted - np.bincount(fewer, weights=back, minlength=n)

    # over the edge by which a message came to a node, that sends no copy back
    return Flood(copies, hops, less(paths.target, paths.source), less(paths.source, paths.target))


def _hops(kind: int, n: int, order: Ids, last_edge: Ids) -> int:
    """Hops of a typical message, so that calls of the kernel take equally long."""
    if kind != ROUTED:
        return 1
    reached = max(1, int((order[:n] >= 0).sum()))
    return max(1, round(np.log2(n)) if reached * 4 < last_edge.size else reached // 4)


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
    waits, out = np.zeros(n * n, np.float32), np.zeros(n * n, np.float32)
    step = max(1, _ARRIVALS_PER_CALL // n)
    for begin in range(0, n, step):
        queue_waits(start_ms, senders, network.distance_ms, service_ms, begin, min(begin + step, n), waits)
    relay_waits(waits, senders, paths.last_edge, paths.source, paths.order, network.kind == GOSSIP, out)
    return out
