"""A scenario as arrays: the boundary between names and kernels."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from prsm_kernels import Machines, Paths, Rounds
from prsm_kernels.codes import AMONG_REPLICAS, GOSSIP, TO_ALL
from prsm_scale.faults import DELAY, DROP_RELAY, FLOOD, HONEST, SILENT, behaviours
from prsm_scale.lines import line_loads
from prsm_scale.network import Floats, Network, around, ms_per_byte
from prsm_scale.plans import KINDS_WITH_CLIENT, Plan
from prsm_scale.protocols import Pattern, QuorumLaw, Round, Senders, quorum_size
from prsm_scale.relays import relay_queues
from prsm_scale.resources import JobCosts
from prsm_scale.views import ASK_ALL, Course, course, serving_views

Ids = NDArray[np.int32]


@dataclass(frozen=True, eq=False)
class System:
    """One replicate of a scenario as the kernels take it.

    Attributes
    ----------
    plan : Plan
    network : Network
    behaviour : ndarray of int8, shape (n,)
        What each replica does, see `faults.behaviours`.
    serving : ndarray of int64
        Replicas under whose lead operations commit, see `views.serving_views`.
    course : Course
        The rounds of an operation, in the order of `rounds`.
    alive : ndarray of uint8, shape (n,)
        0 for a silent replica.
    rounds : Rounds
    paths : Paths
        With the relays' queues.
    machines : Machines
        Without waiting behind other operations; see `waiting.behind`.
    """

    plan: Plan
    network: Network
    behaviour: NDArray[np.int8]
    serving: NDArray[np.int64]
    course: Course
    alive: NDArray[np.uint8]
    rounds: Rounds
    paths: Paths
    machines: Machines

    @property
    def silent(self) -> NDArray[np.int64]:
        """Replicas that send nothing, ascending."""
        return np.flatnonzero(self.alive == 0)

    @property
    def whole(self) -> bool:
        """Whether what a live replica sends gets to all others, whichever it is."""
        live = self.alive > 0
        distance_ms = self.network.distance_ms.reshape(live.size, -1)
        return not self.network.relayed or bool(np.isfinite(distance_ms[np.ix_(live, live)]).all())

    @property
    def jobs(self) -> tuple[JobCosts, ...]:
        """CPU time and size of each round's messages."""
        return tuple(leg.job for leg in self.course.legs)

    @property
    def primary(self) -> int:
        """Primary of the view that serves."""
        return self.course.legs[-1].primary

    @property
    def first_primary(self) -> int:
        """Replica to which clients send their requests at first."""
        return self.course.legs[0].primary


def build_system(plan: Plan, replicate: int, centrality: NDArray[np.float64] | None = None, first: int | None = None) -> System:
    """Make one replicate: place its faulty replicas, find ways round them, and lay out the kernels' arrays.

    Parameters
    ----------
    plan : Plan
    replicate : int
    centrality : ndarray of float64, shape (n,), optional
        See `faults.behaviours`.
    first : int, optional
        See `system_where`.
    """
    return system_where(plan, behaviours(plan.scenario, replicate, centrality), first)


def system_where(plan: Plan, behaviour: NDArray[np.int8], first: int | None = None, held: bool = True) -> System:
    """The system in which each replica does as told.

    Parameters
    ----------
    plan : Plan
    behaviour : ndarray of int8, shape (n,)
        See `faults.behaviours`.
    first : int, optional
        First primary of the operations. By default the primary of the first view that serves, as once earlier ones have failed.
    held : bool
        Whether to work out how long relays hold messages back, see `held_back`; what a proposal costs does not depend on it.
    """
    relays = (behaviour != SILENT) & (behaviour != DROP_RELAY)
    network = around(plan.network, plan.links.sites, relays.astype(np.uint8))
    serving = serving_views(behaviour, plan.quorum, network)
    settled = int(serving[0]) if serving.size else 0
    return with_first_primary(plan, network, behaviour, serving, settled if first is None else first, held)


def with_first_primary(
    plan: Plan, network: Network, behaviour: NDArray[np.int8], serving: NDArray[np.int64], first: int, held: bool = True
) -> System:  # fmt: skip
    """The system for operations whose first primary is `first`, with the views that fail on their way; see `system_where`."""
    alive = (behaviour != SILENT).astype(np.uint8)
    way = course(plan, behaviour, serving, first)
    rounds = _rounds(plan, network, alive, behaviour, way)
    machines = _machines(plan, network, rounds, behaviour)
    system = System(plan, network, behaviour, serving, way, alive, rounds, network.paths, machines)
    return held_back(system) if held else system


def held_back(system: System) -> System:
    """The system with how long relays hold messages back, where that was left out."""
    slots, paths = relay_queues(system.plan, system.network, system.course, system.rounds, system.machines)
    return replace(system, rounds=system.rounds._replace(relay_slot=slots), paths=paths)


def members(ids: NDArray[Any], n: int) -> NDArray[np.bool_]:
    """Whether each of n replicas is among `ids`."""
    among = np.zeros(n, np.bool_)
    among[ids] = True
    return among


def sending_replicas(step: Round, alive: NDArray[np.uint8], primary: int) -> Ids:
    """Live replicas that send in a round; none where the client does."""
    ids: Ids = np.flatnonzero(alive).astype(np.int32)
    if step.senders is Senders.CLIENT:
        return ids[:0]
    if step.senders is Senders.ALL and step.pattern is not Pattern.ALL_TO_PRIMARY:
        return ids
    chosen: Ids = ids[(ids == primary) == (step.senders is Senders.PRIMARY)]
    return chosen


def receiving_replicas(step: Round, alive: NDArray[np.uint8], primary: int) -> Ids:
    """Live replicas for which a round's messages are."""
    ids: Ids = np.flatnonzero(alive).astype(np.int32)
    if step.pattern is Pattern.ALL_TO_ALL or step is ASK_ALL:
        return ids
    if step.pattern is Pattern.ALL_TO_CLIENT:
        return ids[:0]
    chosen: Ids = ids[(ids == primary) != (step.pattern is Pattern.PRIMARY_TO_ALL)]
    return chosen


def arrivals_needed(plan: Plan, step: Round, primary: int) -> Ids:
    """Arrivals from others that complete the round at each replica."""
    n = plan.scenario.nodes
    need = np.full(n, quorum_size(step.quorum, n, plan.faults), np.int32)
    if step.own_counts:
        own = np.ones(n, np.int32)
        if step.senders is Senders.BACKUPS:
            own[primary] = 0
        elif step.senders is Senders.PRIMARY:
            own[:] = 0
            own[primary] = 1
        need -= own
    if step.primary_counts:
        need -= 1
    return np.maximum(need, 0)


def addressed_by(plan: Plan, step: Round, primary: int) -> Ids:
    """Replicas to which each sender's message of a round goes."""
    n = plan.scenario.nodes
    if step.pattern in (Pattern.ALL_TO_ALL, Pattern.PRIMARY_TO_ALL):
        return np.full(n, n - 1, np.int32)
    count = np.ones(n, np.int32)
    if step.pattern is Pattern.ALL_TO_PRIMARY:
        count[primary] = 0
    return count


def _rounds(plan: Plan, network: Network, alive: NDArray[np.uint8], behaviour: NDArray[np.int8], way: Course) -> Rounds:
    legs, n, slow = way.legs, plan.scenario.nodes, plan.links.sites.slow
    senders = [sending_replicas(leg.step, alive, leg.primary) for leg in legs]
    receivers = [receiving_replicas(leg.step, alive, leg.primary) for leg in legs]
    needs = [arrivals_needed(plan, leg.step, leg.primary) for leg in legs]
    addressed = [addressed_by(plan, leg.step, leg.primary) for leg in legs]
    checks = [
        members(to, n) * (need > 0) * (leg.job.quorum_ms * slow) for leg, to, need in zip(legs, receivers, needs, strict=True)
    ]
    last = legs[-1].step
    return Rounds(
        kind=np.array([_kind(leg.step) for leg in legs], np.int32),
        senders=_whole(senders),
        sender_at=_offsets(senders),
        receivers=_whole(receivers),
        receiver_at=_offsets(receivers),
        need=_whole(needs),
        addressed=_whole(addressed),
        quorum_ms=_floats(checks),
        bytes=_floats([leg.job.size_bytes for leg in legs]),
        sign_ms=_floats([leg.job.create_ms * slow for leg in legs]),
        send_ms=_floats([leg.job.send_ms * slow for leg in legs]),
        relay_slot=np.full(len(legs), -1, np.int32),
        side=np.concatenate([leg.side for leg in legs]),
        base=np.array([leg.base for leg in legs], np.int32),
        timer_ms=_floats([leg.timer_ms for leg in legs]),
        proposal=way.proposal,
        commit_round=max(r for r, leg in enumerate(legs) if leg.step.name == plan.protocol.commit_round),
        commit_need=n - plan.faults,
        client_need=quorum_size(QuorumLaw(plan.scenario.reply_quorum or last.quorum), n, plan.faults),
        **_loads(plan, network, behaviour, way, senders, addressed),
        **line_loads(plan, network, _invalid(plan, behaviour), way, senders, receivers, addressed),
    )


def _loads(
    plan: Plan, network: Network, behaviour: NDArray[np.int8], way: Course, senders: list[Ids], addressed: list[Ids]
) -> dict[str, Any]:
    """What a message costs its receiver, how many copies leave, and how many arrivals count for nothing."""
    invalid = _invalid(plan, behaviour)
    gossip = network.kind == GOSSIP
    onward = (network.degree - 1) * (behaviour != DROP_RELAY) if gossip else np.zeros(behaviour.size)
    duplicates = np.maximum(network.copies - 1.0, 0.0)
    handle, copies, noise = [], [], []
    for leg, who, to in zip(way.legs, senders, addressed, strict=True):
        inner = leg.step.pattern not in KINDS_WITH_CLIENT
        job = leg.job
        work_ms = job.receive_ms + inner * (onward * job.send_ms + duplicates * job.transit_ms)
        handle.append(work_ms * plan.links.sites.slow)
        copies.append((network.degree if gossip and inner else to) * (1 + invalid * inner))
        noise.append(inner * int(invalid[who].sum() + _voiceless(leg.side, who)))
    return {"handle_ms": _floats(handle), "fanout": _whole(copies), "noise": np.array(noise, np.int32)}


def _offsets(parts: list[Ids]) -> Ids:
    return np.concatenate([[0], np.cumsum([p.size for p in parts])]).astype(np.int32)


def _floats(values: Any) -> Floats:
    return np.ascontiguousarray(np.concatenate([np.ravel(v) for v in values]), np.float32)


def _whole(values: Any) -> Ids:
    return np.ascontiguousarray(np.concatenate([np.ravel(v) for v in values]), np.int32)


def _kind(step: Round) -> int:
    return TO_ALL if step is ASK_ALL else KINDS_WITH_CLIENT.get(step.pattern, AMONG_REPLICAS)


def _invalid(plan: Plan, behaviour: NDArray[np.int8]) -> Ids:
    """Invalid messages that each replica sends after each of its own."""
    invalid: Ids = ((behaviour == FLOOD) * plan.scenario.flood_factor).astype(np.int32)
    return invalid


def _voiceless(side: NDArray[np.uint8], senders: Ids) -> int:
    """Senders whose messages some receiver does not count."""
    return int(np.count_nonzero(side[senders] != 3)) if side.max() > 1 else int(np.count_nonzero(side[senders] == 0))


def _machines(plan: Plan, network: Network, rounds: Rounds, behaviour: NDArray[np.int8]) -> Machines:
    n = plan.scenario.nodes
    out, into = ms_per_byte(plan.links.uplink_mbps), ms_per_byte(plan.links.downlink_mbps)
    costs = (rounds.handle_ms, rounds.sign_ms, rounds.send_ms, rounds.quorum_ms, out, into)
    idle = np.zeros(n, np.float32)
    hold_ms = plan.timing.hold_ms if plan.timing else 0.0
    return Machines(
        cores=plan.profile.cores,
        contended=any(bool((cost > 0).any()) for cost in costs),
        last_round=int(np.flatnonzero(rounds.kind == AMONG_REPLICAS)[-1]),
        alive=(behaviour != SILENT).astype(np.uint8),
        honest=(behaviour == HONEST).astype(np.uint8),
        relays=((behaviour != SILENT) & (behaviour != DROP_RELAY)).astype(np.uint8),
        hold_ms=((behaviour == DELAY) * hold_ms).astype(np.float32),
        invalid=_invalid(plan, behaviour),
        in_ms_per_byte=into,
        out_ms_per_byte=out,
        slow=plan.links.sites.slow,
        shared=network.lines is not None,
        host=plan.links.sites.host,
        busy=np.float32(0.0),
        cpu_wait_ms=idle,
        nic_wait_ms=idle,
        relay_wait_ms=np.zeros(1, np.float32),
        slowed_ms=np.zeros(rounds.need.size, np.float32),
    )
