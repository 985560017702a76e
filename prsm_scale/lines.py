"""What messages take of the lines of replicas and of hosts that replicas share, round by round."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from prsm_kernels.codes import DIRECT, GOSSIP
from prsm_scale.hosts import HostLines, by_host
from prsm_scale.network import Floats, Network, ms_per_byte, transit
from prsm_scale.protocols import Pattern
from prsm_scale.views import Course, Leg

if TYPE_CHECKING:
    from prsm_scale.plans import Plan
    from prsm_scale.system import System

Ids = NDArray[np.int32]
Vector = NDArray[np.float64]
_WITH_CLIENT = (Pattern.CLIENT_TO_PRIMARY, Pattern.ALL_TO_CLIENT)


def line_loads(
    plan: Plan, network: Network, invalid: Ids, way: Course,
    sends: NDArray[np.bool_], receives: NDArray[np.bool_], addressed: Ids,
) -> dict[str, Any]:  # fmt: skip
    """`in_ms`, `line_first` and `line_copies` of `prsm_kernels.Rounds`.

    Notes
    -----
    A replica that shares a host's downlink receives its messages of a round as if each took as long as all those that the round
    brings to the host meanwhile: replicas of a host wait for the same votes at the same time.
    """
    size, into = way.costs["size_bytes"].astype(np.float32), ms_per_byte(plan.links.downlink_mbps)
    if network.lines is None:
        none = np.zeros(addressed.size, np.int32)
        return {"in_ms": (size * into * network.copies.astype(np.float32)).ravel(), "line_first": none, "line_copies": none}
    receptions, first, copies = [], [], []
    for leg, who, to, goals in zip(way.legs, sends, receives, addressed, strict=True):
        receptions.append(_receptions(plan, network, leg, 1 + invalid, np.flatnonzero(who), np.flatnonzero(to)))
        before, taking = _taken(network, leg, goals)
        first.append(before)
        copies.append(taking * (1 + invalid * (leg.step.pattern not in _WITH_CLIENT)))
    whole = (np.concatenate(parts).astype(np.int32) for parts in (first, copies))
    in_ms = (size * into * np.array(receptions)).ravel()
    return {"in_ms": in_ms, **dict(zip(("line_first", "line_copies"), whole, strict=True))}


def _receptions(
    plan: Plan, network: Network, leg: Leg, weight: Ids, senders: NDArray[np.int64], receivers: NDArray[np.int64]
) -> Floats:
    """Messages that the downlink of a host takes in for each that comes to a replica, shape (n,)."""
    lines, host = network.lines, plan.links.sites.host
    if lines is None or leg.step.pattern in _WITH_CLIENT:
        return network.copies.astype(np.float32)
    if network.kind == GOSSIP:
        return by_host(network.far_copies, host).astype(np.float32)
    far, all_of_them = np.zeros(host.size), np.full(host.size, float(weight[senders].sum()))
    far[receivers] = lines.far_last[np.ix_(receivers, senders)] @ weight[senders]
    all_of_them[senders] -= weight[senders]
    receptions: Floats = (by_host(far, host) / np.maximum(all_of_them, 1.0)).astype(np.float32)
    return receptions


def _taken(network: Network, leg: Leg, addressed: Ids) -> tuple[Ids, Ids]:
    """(Copies before the first that takes its host's line, copies that take it) of each sender's message."""
    lines: HostLines | None = network.lines
    assert lines is not None
    if leg.step.pattern in _WITH_CLIENT:
        return 0 * addressed, 0 * addressed + (leg.step.pattern is Pattern.ALL_TO_CLIENT)
    if network.kind == GOSSIP or addressed.max() > 1:
        return lines.first, lines.copies
    return 0 * addressed, lines.far_first[leg.primary].astype(np.int32)


def travel_ms(system: System, senders: NDArray[np.int32], receivers: NDArray[np.int64], size: float) -> Vector:
    """Mean time of a message from each sender to each receiver, shape (senders, receivers)."""
    n, paths = system.alive.size, system.paths
    if paths.kind == DIRECT:
        base = paths.base_ms.reshape(n, n)[receivers, senders[:, None]].astype(np.float64)
        hop = np.maximum(paths.ms_per_byte[senders][:, None], system.machines.in_ms_per_byte[receivers])
        if system.machines.shared:
            hop = np.where(system.machines.host[senders][:, None] == system.machines.host[receivers], 0.0, hop)
        law = system.plan.law
        mean_ms = base + (float(law.offset) + float(law.slope) * base) * system.plan.mean_variate
        return np.asarray(mean_ms + size * hop, np.float64)
    distance: Vector = system.network.distance_ms.reshape(n, n)[senders[:, None], receivers].astype(np.float64)
    return distance


def behind_ms(system: System, senders: NDArray[np.int32], send_ms: Vector, size: float) -> Vector:
    """How much later than a sender's first copy of a multicast each leaves, shape (senders, n); direct only."""
    n, line = system.alive.size, size * system.machines.out_ms_per_byte[senders].astype(np.float64)[:, None]
    place = (np.arange(n)[None, :] - senders[:, None] - 1) % n
    send = send_ms[senders][:, None]
    if system.machines.shared:
        on_line: Vector = np.maximum(system.paths.line_place.reshape(n, n)[:, senders].T, 0) * line
        return np.maximum(place * send, on_line)
    return np.asarray(place * np.maximum(send, line), np.float64)


def passed_on(system: System, node: int) -> float:
    """Copies that leave a replica's host for each that it passes on, where others there pass on in proportion."""
    network, n, host = system.network, system.alive.size, system.machines.host
    if network.lines is None or not network.relayed:
        return 1.0
    onward = network.degree.astype(np.float64) - 1.0
    if network.kind != GOSSIP:
        onward = transit(network, np.arange(n, dtype=np.int32), np.ones(n, np.uint8)).through.sum(axis=0).astype(np.float64)
    leaving = by_host(onward * network.lines.far_share, host)[node]
    return float(leaving / onward[node]) if onward[node] > 0 else 0.0
