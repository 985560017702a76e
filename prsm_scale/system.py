"""A scenario as arrays: the boundary between names and kernels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from prsm_kernels import Law, Machines, Paths, Rounds
from prsm_kernels.codes import AMONG_REPLICAS, GOSSIP, TO_CLIENT, TO_PRIMARY
from prsm_scale.delays import kernel_law
from prsm_scale.environments import Links, build_links
from prsm_scale.errors import UsageError
from prsm_scale.faults import PRIMARY, silent_replicas
from prsm_scale.network import Floats, Network, build_network, ms_per_byte, queue_at_relays, transit
from prsm_scale.protocols import Pattern, Protocol, QuorumLaw, Round, Senders, get_protocol, quorum, quorum_size
from prsm_scale.resources import JobCosts, ResourceProfile, job_costs, replica_costs, resolve_profile, size_inputs
from prsm_scale.topology import TopologyGraph, build_topology

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

    @property
    def quorum(self) -> int:
        """ceil((n + f + 1) / 2)."""
        return quorum(self.scenario.nodes, self.faults)


@dataclass(frozen=True, eq=False)
class System:
    """One replicate of a scenario as the kernels take it.

    Attributes
    ----------
    plan : Plan
    network : Network
    silent : ndarray of int64
        Faulty replicas.
    alive : ndarray of uint8, shape (n,)
    rounds : Rounds
    paths : Paths
        With the relays' queues.
    machines : Machines
        Without waiting behind other operations; see `waiting.loaded`.
    """

    plan: Plan
    network: Network
    silent: NDArray[np.int64]
    alive: NDArray[np.uint8]
    rounds: Rounds
    paths: Paths
    machines: Machines


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
    links = build_links(scenario, graph)
    law, mean_variate = kernel_law(scenario)
    faults = protocol.fault_threshold(scenario.nodes)
    inputs = size_inputs(scenario, flooded=scenario.dissemination == "gossip")
    costs = replica_costs(scenario)
    jobs = tuple(job_costs(step, costs, inputs, faults) for step in protocol.rounds)
    return Plan(scenario, protocol, profile, graph, links, law, mean_variate, jobs, faults)


def _check_table(protocol: Protocol) -> None:
    patterns = [step.pattern for step in protocol.rounds]
    ends = (Pattern.CLIENT_TO_PRIMARY, Pattern.ALL_TO_CLIENT)
    inner = patterns[1:-1]
    if len(patterns) < 3 or (patterns[0], patterns[-1]) != ends or set(inner) & set(ends):
        shape = "a client_to_primary round, rounds among replicas, and an all_to_client round"
        raise UsageError(f"protocol {protocol.name!r}: rounds", ", ".join(patterns), shape)


def build_system(plan: Plan, replicate: int, centrality: NDArray[np.float64] | None = None) -> System:
    """Make one replicate: place its faulty replicas, find ways round them, and lay out the kernels' arrays.

    Parameters
    ----------
    plan : Plan
    replicate : int
    centrality : ndarray of float64, shape (n,), optional
        See `faults.silent_replicas`.
    """
    n = plan.scenario.nodes
    silent = silent_replicas(plan.scenario, replicate, centrality)
    alive = np.ones(n, np.uint8)
    alive[silent] = 0
    job = plan.jobs[1]
    network = build_network(
        plan.scenario, plan.graph, plan.links, plan.law, plan.mean_variate, alive,
        job.transit_ms + job.send_ms, plan.jobs[-2].size_bytes,
    )  # fmt: skip
    rounds = _rounds(plan, network, alive)
    machines = _machines(plan, network, rounds, alive)
    slots, paths = _relay_queues(plan, network, rounds, machines)
    return System(plan, network, silent, alive, rounds._replace(relay_slot=slots), paths, machines)


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


def sending_replicas(step: Round, alive: NDArray[np.uint8]) -> Ids:
    """Live replicas that send in a round; none where the client does."""
    ids: Ids = np.flatnonzero(alive).astype(np.int32)
    if step.senders is Senders.CLIENT:
        return ids[:0]
    if step.senders is Senders.ALL and step.pattern is not Pattern.ALL_TO_PRIMARY:
        return ids
    chosen: Ids = ids[(ids == PRIMARY) == (step.senders is Senders.PRIMARY)]
    return chosen


def _receiving_replicas(step: Round, alive: NDArray[np.uint8]) -> Ids:
    ids: Ids = np.flatnonzero(alive).astype(np.int32)
    if step.pattern is Pattern.ALL_TO_ALL:
        return ids
    if step.pattern is Pattern.ALL_TO_CLIENT:
        return ids[:0]
    chosen: Ids = ids[(ids == PRIMARY) != (step.pattern is Pattern.PRIMARY_TO_ALL)]
    return chosen


def _needs(plan: Plan, step: Round) -> Ids:
    """Arrivals from others that complete the round at each replica."""
    n = plan.scenario.nodes
    need = np.full(n, quorum_size(step.quorum, n, plan.faults), np.int32)
    if step.own_counts:
        own = np.ones(n, np.int32)
        if step.senders is Senders.BACKUPS:
            own[PRIMARY] = 0
        elif step.senders is Senders.PRIMARY:
            own[:] = 0
            own[PRIMARY] = 1
        need -= own
    if step.primary_counts:
        need -= 1
    return np.maximum(need, 0)


def _addressed(plan: Plan, step: Round) -> Ids:
    n = plan.scenario.nodes
    if step.pattern in (Pattern.ALL_TO_ALL, Pattern.PRIMARY_TO_ALL):
        return np.full(n, n - 1, np.int32)
    count = np.ones(n, np.int32)
    if step.pattern is Pattern.ALL_TO_PRIMARY:
        count[PRIMARY] = 0
    return count


def _rounds(plan: Plan, network: Network, alive: NDArray[np.uint8]) -> Rounds:
    steps, jobs, n = plan.protocol.rounds, plan.jobs, plan.scenario.nodes
    names = [step.name for step in steps]
    among = [step.pattern not in _KIND for step in steps]
    senders = [sending_replicas(step, alive) for step in steps]
    receivers = [_receiving_replicas(step, alive) for step in steps]
    addressed = [_addressed(plan, step) for step in steps]
    gossip = network.kind == GOSSIP
    onward = network.degree - 1 if gossip else np.zeros(n)
    duplicates = np.maximum(network.copies - 1.0, 0.0)
    copies = [network.degree if gossip and inner else to for inner, to in zip(among, addressed, strict=True)]
    handle = [
        job.receive_ms + (onward * job.send_ms + duplicates * job.transit_ms if inner else np.zeros(n))
        for job, inner in zip(jobs, among, strict=True)
    ]

    checks = [
        np.isin(np.arange(n), to) * (_needs(plan, step) > 0) * job.quorum_ms
        for step, job, to in zip(steps, jobs, receivers, strict=True)
    ]

    def offsets(parts: list[Ids]) -> Ids:
        return np.concatenate([[0], np.cumsum([p.size for p in parts])]).astype(np.int32)

    def floats(values: Any) -> Floats:
        return np.ascontiguousarray(np.concatenate([np.ravel(v) for v in values]), np.float32)

    return Rounds(
        kind=np.array([_KIND.get(step.pattern, AMONG_REPLICAS) for step in steps], np.int32),
        senders=np.concatenate(senders).astype(np.int32),
        sender_at=offsets(senders),
        receivers=np.concatenate(receivers).astype(np.int32),
        receiver_at=offsets(receivers),
        need=np.concatenate([_needs(plan, step) for step in steps]).astype(np.int32),
        bytes=floats([job.size_bytes for job in jobs]),
        handle_ms=floats(handle),
        fanout=np.concatenate(copies).astype(np.int32),
        addressed=np.concatenate(addressed).astype(np.int32),
        sign_ms=floats([job.create_ms for job in jobs]),
        send_ms=floats([job.send_ms for job in jobs]),
        quorum_ms=floats(checks),
        relay_slot=np.full(len(steps), -1, np.int32),
        commit_round=names.index(plan.protocol.commit_round),
        commit_need=n - plan.faults,
        client_need=quorum_size(QuorumLaw(plan.scenario.reply_quorum or steps[-1].quorum), n, plan.faults),
    )


def _machines(plan: Plan, network: Network, rounds: Rounds, alive: NDArray[np.uint8]) -> Machines:
    n = plan.scenario.nodes
    out, into = ms_per_byte(plan.links.uplink_mbps), ms_per_byte(plan.links.downlink_mbps)
    costs = (rounds.handle_ms, rounds.sign_ms, rounds.send_ms, rounds.quorum_ms, out, into)
    idle = np.zeros(n, np.float32)
    return Machines(
        cores=plan.profile.cores,
        contended=any(bool((cost > 0).any()) for cost in costs),
        last_round=int(np.flatnonzero(rounds.kind == AMONG_REPLICAS)[-1]),
        alive=alive,
        in_ms_per_byte=into,
        out_ms_per_byte=out,
        copies=network.copies.astype(np.float32),
        busy=np.float32(0.0),
        cpu_wait_ms=idle,
        nic_wait_ms=idle,
        relay_wait_ms=np.zeros(1, np.float32),
        slowed_ms=np.zeros(rounds.need.size, np.float32),
    )


def addressed_replicas(rounds: Rounds, r: int, n: int) -> NDArray[np.uint8]:
    """Replicas to which messages of a round among replicas are sent, the silent ones too; shape (n,)."""
    receivers = rounds.receivers[rounds.receiver_at[r] : rounds.receiver_at[r + 1]]
    wanted = np.full(n, rounds.addressed[r * n : (r + 1) * n].max() > 1, np.uint8)
    wanted[receivers] = 1
    return wanted


def relay_service_ms(plan: Plan, network: Network, senders: Ids, receivers: NDArray[np.uint8], r: int) -> Floats:
    """How long a relay is busy with each message of round r: its CPU or its uplink, whichever takes longer.

    Returns
    -------
    ndarray of float32, shape (n * n,)
        [sender * n + relay].
    """
    n, job = plan.scenario.nodes, plan.jobs[r]
    line = job.size_bytes * ms_per_byte(plan.links.uplink_mbps)
    passing = (job.transit_ms + job.send_ms) / plan.profile.cores
    if network.kind == GOSSIP:
        onward = network.degree - 1
        busy = onward * np.maximum(line, passing)
        return np.broadcast_to(busy, (n, n)).astype(np.float32).ravel()
    through = transit(network, senders, receivers).through
    return (through * np.maximum(line, passing)).astype(np.float32).ravel()


def _relay_queues(plan: Plan, network: Network, rounds: Rounds, machines: Machines) -> tuple[Ids, Paths]:
    """Walk through the rounds with mean delays, and work out how long relays hold each message back."""
    count, n = rounds.kind.size, plan.scenario.nodes
    slots = np.full(count, -1, np.int32)
    if not network.relayed or not machines.contended:
        return slots, network.paths
    distance = network.distance_ms.reshape(n, n)
    time = np.zeros(n, np.float32)
    queues: list[Floats] = []
    for r in np.flatnonzero(rounds.kind == AMONG_REPLICAS):
        senders = rounds.senders[rounds.sender_at[r] : rounds.sender_at[r + 1]]
        receivers = rounds.receivers[rounds.receiver_at[r] : rounds.receiver_at[r + 1]]
        arrival = time[senders, None] + distance[senders]
        if senders.size > 1:
            wanted = addressed_replicas(rounds, int(r), n)
            service = relay_service_ms(plan, network, senders, wanted, int(r))
            queue = queue_at_relays(network, time, senders, service)
            slots[r] = len(queues)
            queues.append(queue)
            if network.kind != GOSSIP:
                arrival = arrival + queue.reshape(n, n).T[senders]
        arrival[np.arange(senders.size), senders] = np.inf
        for j in receivers:
            need = rounds.need[r * n + j]
            if need > 0:
                row = arrival[:, j]
                time[j] = max(time[j], np.partition(row, need - 1)[need - 1] if need <= row.size else np.inf)
    relay_ms = np.stack(queues) if queues else network.paths.relay_ms
    return slots, network.paths._replace(relay_ms=np.ascontiguousarray(relay_ms))
