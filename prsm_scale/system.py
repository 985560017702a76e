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
from prsm_scale.network import Network, around, ms_per_byte
from prsm_scale.plans import KINDS_WITH_CLIENT, Plan
from prsm_scale.protocols import QuorumLaw, Round, quorum_size
from prsm_scale.relays import relay_queues
from prsm_scale.resources import JobCosts
from prsm_scale.roles import roles
from prsm_scale.views import ASK_ALL, Course, course, reach_of, serving_views

Ids = NDArray[np.int32]
Flags = NDArray[np.bool_]


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
        return bool((reach_of(live, self.network)[live] == np.count_nonzero(live)).all())

    @property
    def follows_request(self) -> bool:
        """Whether all that live replicas do follows the client's request: no view fails before, and all wait for one proposal."""
        rounds, n, primary = self.rounds, self.alive.size, self.primary
        proposers = rounds.senders[rounds.sender_at[1] : rounds.sender_at[2]]
        backups = self.alive.astype(np.bool_) & (np.arange(n) != primary)
        return rounds.proposal == 1 and proposers.tolist() == [primary] and bool((rounds.need[n : 2 * n][backups] > 0).all())

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
    # invalid messages that each replica sends after each of its own
    invalid = ((behaviour == FLOOD) * plan.scenario.flood_factor).astype(np.int32)
    rounds = _rounds(plan, network, alive, behaviour, invalid, way)
    machines = _machines(plan, network, rounds, alive, behaviour, invalid)
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


def _rounds(
    plan: Plan, network: Network, alive: NDArray[np.uint8], behaviour: NDArray[np.int8], invalid: Ids, way: Course
) -> Rounds:  # fmt: skip
    legs, costs, n, slow = way.legs, way.costs, plan.scenario.nodes, plan.links.sites.slow
    leads = np.arange(n) == np.array([[leg.primary] for leg in legs])
    pairs = np.array([roles(leg.step, n, plan.faults) for leg in legs], np.int32).transpose(1, 0, 2)
    sending, receiving, need, addressed = np.where(leads, pairs[:, :, :1], pairs[:, :, 1:])
    sends, receives = (alive & sending) > 0, (alive & receiving) > 0
    (senders, sender_at), (receivers, receiver_at) = _listed(sends), _listed(receives)
    return Rounds(
        kind=np.array([_kind(leg.step) for leg in legs], np.int32),
        senders=senders,
        sender_at=sender_at,
        receivers=receivers,
        receiver_at=receiver_at,
        need=need.ravel(),
        addressed=addressed.ravel(),
        quorum_ms=(receives * (need > 0) * (costs["quorum_ms"].astype(np.float32) * slow)).ravel(),
        bytes=costs["size_bytes"].astype(np.float32).ravel(),
        sign_ms=(costs["create_ms"].astype(np.float32) * slow).ravel(),
        send_ms=(costs["send_ms"].astype(np.float32) * slow).ravel(),
        relay_slot=np.full(len(legs), -1, np.int32),
        side=np.concatenate([leg.side for leg in legs]),
        base=np.array([leg.base for leg in legs], np.int32),
        timer_ms=np.array([leg.timer_ms for leg in legs], np.float32),
        proposal=way.proposal,
        commit_round=max(r for r, leg in enumerate(legs) if leg.step.name == plan.protocol.commit_round),
        commit_need=n - plan.faults,
        client_need=quorum_size(QuorumLaw(plan.scenario.reply_quorum or legs[-1].step.quorum), n, plan.faults),
        **_loads(plan, network, behaviour, invalid, way, sends, addressed),
        **line_loads(plan, network, invalid, way, sends, receives, addressed),
    )


def _loads(
    plan: Plan, network: Network, behaviour: NDArray[np.int8], invalid: Ids, way: Course, sends: Flags, addressed: Ids
) -> dict[str, Any]:
    """What a message costs its receiver, how many copies leave, and how many arrivals count for nothing."""
    costs, gossip = way.costs, network.kind == GOSSIP
    inner = np.array([[leg.step.pattern not in KINDS_WITH_CLIENT] for leg in way.legs])
    onward = (network.degree - 1) * (behaviour != DROP_RELAY) if gossip else np.zeros(behaviour.size)
    duplicates = np.maximum(network.copies - 1.0, 0.0)
    passing_ms = onward * costs["send_ms"] + duplicates * costs["transit_ms"]
    handle_ms = (costs["receive_ms"] + inner * passing_ms) * plan.links.sites.slow
    copies = (np.where(inner, network.degree, addressed) if gossip else addressed) * (1 + invalid * inner)
    side = np.array([leg.side for leg in way.legs])
    # votes for one of two values are not counted by those for the other
    voiceless = np.where(side.max(axis=1, keepdims=True) > 1, side != 3, side == 0)
    noise = (inner * sends * (invalid + voiceless)).sum(axis=1)
    return {"handle_ms": handle_ms.astype(np.float32).ravel(), "fanout": copies.ravel(), "noise": noise.astype(np.int32)}


def _listed(among: Flags) -> tuple[Ids, Ids]:
    """Replicas of all rounds in one list, and where each round's begin in it, from flags of shape (R, n)."""
    rounds, replicas = np.nonzero(among)
    return replicas.astype(np.int32), np.searchsorted(rounds, np.arange(len(among) + 1)).astype(np.int32)


def _kind(step: Round) -> int:
    return TO_ALL if step is ASK_ALL else KINDS_WITH_CLIENT.get(step.pattern, AMONG_REPLICAS)


def _machines(
    plan: Plan, network: Network, rounds: Rounds, alive: NDArray[np.uint8], behaviour: NDArray[np.int8], invalid: Ids
) -> Machines:
    n = plan.scenario.nodes
    out, into = ms_per_byte(plan.links.uplink_mbps), ms_per_byte(plan.links.downlink_mbps)
    costs = (rounds.handle_ms, rounds.sign_ms, rounds.send_ms, rounds.quorum_ms, out, into)
    idle = np.zeros(n, np.float32)
    hold_ms = plan.timing.hold_ms if plan.timing else 0.0
    return Machines(
        cores=plan.profile.cores,
        contended=any(bool((cost > 0).any()) for cost in costs),
        last_round=int(np.flatnonzero(rounds.kind == AMONG_REPLICAS)[-1]),
        alive=alive,
        honest=(behaviour == HONEST).astype(np.uint8),
        relays=alive & (behaviour != DROP_RELAY),
        hold_ms=((behaviour == DELAY) * hold_ms).astype(np.float32),
        invalid=invalid,
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
