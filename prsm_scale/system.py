"""A scenario as arrays: the boundary between names and kernels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from prsm_kernels import Law, Machines, Paths, Rounds
from prsm_kernels.codes import AMONG_REPLICAS, GOSSIP, TO_ALL, TO_CLIENT, TO_PRIMARY
from prsm_scale.delays import kernel_law
from prsm_scale.environments import Links, build_links
from prsm_scale.errors import UsageError
from prsm_scale.faults import DELAY, DROP_RELAY, FLOOD, HONEST, SILENT, behaviours
from prsm_scale.lines import line_loads
from prsm_scale.network import Floats, Network, build_network, ms_per_byte, transit
from prsm_scale.protocols import Pattern, Protocol, QuorumLaw, Round, Senders, get_protocol, quorum, quorum_size
from prsm_scale.relays import relay_queues
from prsm_scale.resources import JobCosts, ResourceProfile, job_costs, replica_costs, resolve_profile, size_inputs
from prsm_scale.topology import TopologyGraph, build_topology
from prsm_scale.view_change import Timing, ViewCosts, timing_of, view_costs
from prsm_scale.views import ASK_ALL, Course, course, serving_views

Ids = NDArray[np.int32]
_KIND = {Pattern.CLIENT_TO_PRIMARY: TO_PRIMARY, Pattern.ALL_TO_CLIENT: TO_CLIENT}


@dataclass(frozen=True, eq=False)
class Plan:
    """What all replicates of a scenario share.

    Attributes
    ----------
    scenario : Scenario
    protocol : Protocol
    profile : ResourceProfile
    graph : TopologyGraph
    links : Links
    law : Law
        Delay of a hop.
    mean_variate : float
        Mean of the law's variate.
    jobs : tuple of JobCosts
        CPU time and size of each round's messages.
    faults : int
        f.
    views : ViewCosts
        Messages of a view change.
    timing : Timing or None
        Time-outs; None where no replica is faulty.
    """

    scenario: Any
    protocol: Protocol
    profile: ResourceProfile
    graph: TopologyGraph
    links: Links
    law: Law
    mean_variate: float
    jobs: tuple[JobCosts, ...]
    faults: int
    views: ViewCosts
    timing: Timing | None

    @property
    def quorum(self) -> int:
        """ceil((n + f + 1) / 2)."""
        return quorum(self.scenario.nodes, self.faults)

    @property
    def counted_kinds(self) -> NDArray[np.int32]:
        """Kinds of the rounds by which messages are counted: the protocol's; VIEW-CHANGE and NEW-VIEW where views may fail."""
        kinds = [_KIND.get(step.pattern, AMONG_REPLICAS) for step in self.protocol.rounds]
        return np.array(kinds + [AMONG_REPLICAS] * (2 if self.timing else 0), np.int32)

    @property
    def counted_bytes(self) -> NDArray[np.float64]:
        """Bytes of a message of each of these rounds."""
        jobs = [*self.jobs, self.views.change, self.views.new_view] if self.timing else self.jobs
        return np.array([job.size_bytes for job in jobs], np.float64)


@dataclass(frozen=True, eq=False)
class System:
    """One replicate of a scenario as the kernels take it.

    Attributes
    ----------
    plan : Plan
    network : Network
    behaviour : ndarray of int8, shape (n,)
        What each replica does, see `faults.behaviours`.
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


def make_plan(scenario: Any) -> Plan:
    """Build the graph, the links and the costs of a scenario.

    Raises
    ------
    UsageError
        If the graph, the matrix or the table of rounds does not serve.
    """
    protocol = get_protocol(scenario.protocol)
    _check_table(protocol)
    profile = resolve_profile(scenario)
    graph = build_topology(scenario)
    links = build_links(scenario, graph, profile.cores)
    law, mean_variate = kernel_law(scenario)
    faults = protocol.fault_threshold(scenario.nodes)
    inputs = size_inputs(scenario, flooded=scenario.dissemination == "gossip")
    costs = replica_costs(scenario)
    jobs = tuple(job_costs(step, costs, inputs, faults) for step in protocol.rounds)
    views = view_costs(scenario, costs, inputs, quorum(scenario.nodes, faults))
    timing = timing_of(scenario) if scenario.byzantine_count else None
    return Plan(scenario, protocol, profile, graph, links, law, mean_variate, jobs, faults, views, timing)


def _check_table(protocol: Protocol) -> None:
    patterns = [step.pattern for step in protocol.rounds]
    ends = (Pattern.CLIENT_TO_PRIMARY, Pattern.ALL_TO_CLIENT)
    inner = patterns[1:-1]
    if len(patterns) < 3 or (patterns[0], patterns[-1]) != ends or set(inner) & set(ends):
        shape = "a client_to_primary round, rounds among replicas, and an all_to_client round"
        raise UsageError(f"protocol {protocol.name!r}: rounds", ", ".join(patterns), shape)


def build_system(plan: Plan, replicate: int, centrality: NDArray[np.float64] | None = None, first: int | None = None) -> System:
    """Make one replicate: place its faulty replicas, find ways round them, and lay out the kernels' arrays.

    Parameters
    ----------
    plan : Plan
    replicate : int
    centrality : ndarray of float64, shape (n,), optional
        See `faults.behaviours`.
    first : int, optional
        First primary of the operations. By default the primary of the first view that serves, as once earlier ones have failed.
    """
    behaviour = behaviours(plan.scenario, replicate, centrality)
    alive = (behaviour != SILENT).astype(np.uint8)
    relays = alive * (behaviour != DROP_RELAY)
    job = plan.jobs[1]
    network = build_network(
        plan.scenario, plan.graph, plan.links, plan.law, plan.mean_variate, relays.astype(np.uint8),
        job.transit_ms + job.send_ms, plan.jobs[-2].size_bytes,
    )  # fmt: skip
    serving = serving_views(behaviour, plan.quorum, network)
    settled = int(serving[0]) if serving.size else 0
    return with_first_primary(plan, network, behaviour, serving, settled if first is None else first)


def with_first_primary(
    plan: Plan, network: Network, behaviour: NDArray[np.int8], serving: NDArray[np.int64], first: int
) -> System:  # fmt: skip
    """The system for operations whose first primary is `first`, with the views that fail on their way."""
    alive = (behaviour != SILENT).astype(np.uint8)
    way = course(plan, behaviour, serving, first)
    rounds = _rounds(plan, network, alive, behaviour, way)
    machines = _machines(plan, network, rounds, behaviour)
    slots, paths = relay_queues(plan, network, way, rounds, machines)
    rounds = rounds._replace(relay_slot=slots)
    return System(plan, network, behaviour, way, alive, rounds, paths, machines)


def relay_centrality(plan: Plan) -> NDArray[np.float64] | None:
    """Messages each replica forwards when all send to all along shortest paths; None on a complete graph."""
    if plan.scenario.byzantine_count == 0 or plan.scenario.placement != "worst":
        return None
    n = plan.scenario.nodes
    network = build_network(plan.scenario, plan.graph, plan.links, plan.law, plan.mean_variate, np.ones(n, np.uint8), 0.0, 0)
    if not network.relayed:
        return None
    through = transit(network, np.arange(n, dtype=np.int32), np.ones(n, np.uint8)).through
    return np.asarray(through.sum(axis=0), np.float64)


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
        np.isin(np.arange(n), to) * (need > 0) * (leg.job.quorum_ms * slow)
        for leg, to, need in zip(legs, receivers, needs, strict=True)
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
        inner = leg.step.pattern not in _KIND
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
    return TO_ALL if step is ASK_ALL else _KIND.get(step.pattern, AMONG_REPLICAS)


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
