"""Where replicas are: on shared hosts or behind a last mile, and what CPU, lines and links they have there.

Defaults. A last mile: a delay of half the 28 ms round trip of the "Cable" profile of WebPageTest (connectivity.ini.sample in
github.com/catchpoint/WebPageTest); lines of 100 and 20 Mbit/s, which are fixed broadband to the FCC (2024 Section 706 Report,
FCC 24-27); a loss of 0.4 %, the first bound by which the FCC's Measuring Broadband America sorts lines (Ninth report, chart 8).
A bridge: 9.04 us from one container to another on the same machine, qperf's tcp_lat over Docker's bridge (Weiwei's blog, "Docker
Network Tests under Host/Bridge Mode"). Containers and cores of a host are assumptions: eight of two cores fill one of sixteen.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from prsm_kernels import uniforms
from prsm_kernels.rng import DOMAIN_EDGE
from prsm_scale.axes import Environment

Floats = NDArray[np.float32]
Ids = NDArray[np.int32]
Flags = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Sites:
    """Where the replicas are.

    Attributes
    ----------
    host : ndarray of int32, shape (n,)
        Host of each replica, ascending; its own number where each has a host for itself.
    edge : ndarray of bool, shape (n,)
        Whether it is behind a last mile.
    slow : ndarray of float32, shape (n,)
        Factor on its CPU times, 1 or more: what a share of a CPU makes of them.
    """

    host: Ids
    edge: Flags
    slow: Floats

    @cached_property
    def shared(self) -> bool:
        """Whether replicas share hosts."""
        return bool((np.diff(self.host) == 0).any())


def place_replicas(scenario: Any, cores: int) -> Sites:
    """Place the replicas of a scenario.

    Parameters
    ----------
    scenario : Scenario
        Uses `nodes`, `environment` and its settings, and `seed`.
    cores : int
        Of a replica.

    Returns
    -------
    Sites
        `docker_cluster`: `replicas_per_host` consecutive replicas share a host, the last one what is left; where they want
        more cores than it has, each gets its share of them. `hybrid_edge`: `edge_share` of the replicas, rounded, are behind a
        last mile, those first in an order that the seed draws; replica 0 comes last in it.
    """
    n = scenario.nodes
    host, edge, slow = np.arange(n, dtype=np.int32), np.zeros(n, np.bool_), np.ones(n)
    if scenario.environment == Environment.DOCKER_CLUSTER:
        host //= scenario.replicas_per_host
        slow = np.maximum(1.0, np.bincount(host)[host] * cores / scenario.host_cores)
    elif scenario.environment == Environment.HYBRID_EDGE:
        rank = uniforms(scenario.seed, DOMAIN_EDGE, np.arange(n))
        rank[0] = 1.0
        edge[np.argsort(rank, kind="stable")[: math.floor(scenario.edge_share * n + 0.5)]] = True
        slow = np.where(edge, 1.0 / scenario.edge_cpu_share, 1.0)
    return Sites(host, edge, slow.astype(np.float32))


def lines_mbps(scenario: Any, sites: Sites, bandwidth_mbps: float) -> tuple[Floats, Floats]:
    """Uplinks and downlinks of the replicas, shape (n,), where the condition gives `bandwidth_mbps`; hosts share theirs."""
    line = np.full(sites.edge.size, bandwidth_mbps, np.float32)
    if not sites.edge.any():
        return line, line.copy()
    up, down = np.minimum(line, scenario.edge_uplink_mbps), np.minimum(line, scenario.edge_downlink_mbps)
    return np.where(sites.edge, up, line).astype(np.float32), np.where(sites.edge, down, line).astype(np.float32)


def with_last_mile(
    scenario: Any, sites: Sites, ends: tuple[NDArray[Any], NDArray[Any]], base_ms: Floats, loss: Floats
) -> tuple[Floats, Floats]:  # fmt: skip
    """Put the last mile of each end on top of what a link has.

    Parameters
    ----------
    scenario : Scenario
    sites : Sites
    ends : (ndarray of int, ndarray of int)
        Senders and receivers, which broadcast to the shape of `base_ms`.
    base_ms : ndarray of float32
    loss : ndarray of float32
        Of that shape, or (1,).

    Returns
    -------
    (ndarray of float32, ndarray of float32)
        Base delays and losses; these of shape (1,) where they were and last miles lose nothing.
    """
    if not sites.edge.any():
        return base_ms, loss
    miles = sites.edge[ends[0]].astype(np.float32) + sites.edge[ends[1]]
    if scenario.edge_loss > 0.0:
        loss = (1.0 - (1.0 - loss) * (1.0 - np.float32(scenario.edge_loss)) ** miles).astype(np.float32)
    return (base_ms + np.float32(scenario.edge_delay_ms) * miles).astype(np.float32), loss
