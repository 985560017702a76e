"""Lines that replicas of a host share: which copies take them, and how much of them messages take."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from prsm_kernels import Paths
from prsm_kernels.codes import DIRECT, GOSSIP

Ids = NDArray[np.int32]
Flags = NDArray[np.bool_]
Vector = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class HostLines:
    """How messages get out of hosts and into them.

    Attributes
    ----------
    far_first, far_last : ndarray of bool, shape (n, n)
        [receiver, sender]: whether the first and the last hop of a unicast message lead from host to host.
    place : ndarray of int32, shape (n, n) or (m,)
        See `prsm_kernels.Paths.line_place`.
    first, copies : ndarray of int32, shape (n,)
        Of a sender's multicast: copies before the first that takes the line, and copies that take it.
    far_edge : ndarray of bool, shape (m,)
        Whether a directed edge leads from host to host; shape (1,) when direct.
    far_share : ndarray of float64, shape (n,)
        Share of each replica's links that do.
    """

    far_first: Flags
    far_last: Flags
    place: Ids
    first: Ids
    copies: Ids
    far_edge: Flags
    far_share: Vector


def host_lines(paths: Paths, host: Ids) -> HostLines:
    """Look up which copies leave and enter hosts."""
    n = host.size
    if paths.kind == DIRECT:
        far_first = far_last = host[:, None] != host
        far_edge, far_share = np.ones(1, np.bool_), far_first.mean(axis=0)
    else:
        far_edge = host[paths.source] != host[paths.target]
        far_share = np.bincount(paths.source, weights=far_edge, minlength=n) / np.maximum(np.diff(paths.indptr), 1)
        last = paths.last_edge.reshape(n, n)
        far_last = ((last >= 0) & far_edge[last]).T
        far_first = _first_hops(paths, host)
    if paths.kind == GOSSIP:
        before = np.concatenate([[0], np.cumsum(far_edge)])
        place = np.where(far_edge, before[:-1] - before[paths.indptr[paths.source]], -1)
        first = np.array([_first(row) for row in np.split(far_edge, paths.indptr[1:-1])])
        copies = np.bincount(paths.source, weights=far_edge, minlength=n)
    else:
        ring = (np.arange(n)[:, None] + np.arange(1, n)) % n
        senders = np.broadcast_to(np.arange(n)[:, None], ring.shape)
        far = far_first[ring, senders]
        place = np.full((n, n), -1)
        place[ring, senders] = np.where(far, np.cumsum(far, axis=1) - 1, -1)
        first, copies = np.array([_first(row) for row in far]), far.sum(axis=1)
    return HostLines(
        far_first, far_last, place.astype(np.int32), first.astype(np.int32), copies.astype(np.int32), far_edge, far_share
    )  # fmt: skip


def _first(far: Flags) -> int:
    return int(far.argmax()) if far.any() else 0


def _first_hops(paths: Paths, host: Ids) -> Flags:
    """Whether the first hop from each sender to each receiver leads to another host, [receiver, sender]."""
    n = host.size
    senders, order, last = np.arange(n), paths.order.reshape(n, n), paths.last_edge.reshape(n, n)
    first = np.full((n, n), -1)
    for k in range(1, n):
        node = order[:, k]
        reached = np.flatnonzero(node >= 0)
        to = node[reached]
        before = paths.source[last[reached, to]]
        first[to, reached] = np.where(before == reached, to, first[before, reached])
    found: Flags = (first >= 0) & (host[first] != host[senders])
    return found


def by_host(values: Vector, host: Ids) -> Vector:
    """Sum of a value over the replicas of each replica's host, shape (n,)."""
    summed: Vector = np.bincount(host, weights=values)[host].astype(np.float64)
    return summed
