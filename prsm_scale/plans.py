"""What all replicates of a scenario share: protocol, costs, graph, links, and the ways of messages through them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from prsm_kernels import Law
from prsm_kernels.codes import AMONG_REPLICAS, TO_CLIENT, TO_PRIMARY
from prsm_scale.behaviours import PrimaryPolicy
from prsm_scale.delays import kernel_law
from prsm_scale.environments import Links, build_links
from prsm_scale.errors import UsageError
from prsm_scale.latest import Latest
from prsm_scale.network import Network, build_network, transit
from prsm_scale.protocols import Pattern, Protocol, get_protocol, quorum
from prsm_scale.resources import JobCosts, ResourceProfile, job_costs, replica_costs, resolve_profile, size_inputs
from prsm_scale.topology import TopologyGraph, build_topology
from prsm_scale.view_change import Timing, ViewCosts, timing_of, view_costs

_plans: Latest[str, Plan] = Latest(2)
"""Of systems at rest: scenarios that differ in faults or load follow one another, and each is timed at rest."""
KINDS_WITH_CLIENT = {Pattern.CLIENT_TO_PRIMARY: TO_PRIMARY, Pattern.ALL_TO_CLIENT: TO_CLIENT}


@dataclass(frozen=True, eq=False)
class Foundation:
    """What can be at fault in a scenario whose settings are allowed.

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
    """

    scenario: Any
    protocol: Protocol
    profile: ResourceProfile
    graph: TopologyGraph
    links: Links
    law: Law
    mean_variate: float


@dataclass(frozen=True, eq=False)
class Plan(Foundation):
    """What all replicates of a scenario share.

    Attributes
    ----------
    jobs : tuple of JobCosts
        CPU time and size of each round's messages.
    faults : int
        f.
    views : ViewCosts
        Messages of a view change.
    network : Network
        The graph as messages see it where every replica passes them on.
    timing : Timing or None
        Time-outs; None where no replica is faulty.
    """

    jobs: tuple[JobCosts, ...]
    faults: int
    views: ViewCosts
    network: Network
    timing: Timing | None

    @property
    def quorum(self) -> int:
        """ceil((n + f + 1) / 2)."""
        return quorum(self.scenario.nodes, self.faults)

    @cached_property
    def counted_kinds(self) -> NDArray[np.int32]:
        """Kinds of the rounds by which messages are counted: the protocol's; VIEW-CHANGE and NEW-VIEW where views may fail."""
        kinds = [KINDS_WITH_CLIENT.get(step.pattern, AMONG_REPLICAS) for step in self.protocol.rounds]
        return np.array(kinds + [AMONG_REPLICAS] * (2 if self.timing else 0), np.int32)

    @property
    def counted_bytes(self) -> NDArray[np.float64]:
        """Bytes of a message of each of these rounds."""
        jobs = [*self.jobs, self.views.change, self.views.new_view] if self.timing else self.jobs
        return np.array([job.size_bytes for job in jobs], np.float64)


def lay_foundation(scenario: Any) -> Foundation:
    """Build the graph and the links of a scenario.

    Raises
    ------
    UsageError
        If the graph, the matrix or the table of rounds does not serve.
    """
    protocol = get_protocol(scenario.protocol)
    _check_table(protocol)
    profile = resolve_profile(scenario)
    graph = build_topology(scenario)
    return Foundation(scenario, protocol, profile, graph, build_links(scenario, graph, profile.cores), *kernel_law(scenario))


def at_rest(scenario: Any) -> Any:
    """The scenario without faults and load: the same for all shares of faulty replicas, and all rates."""
    still = scenario.model_copy(
        update={
            "byzantine_ratio": 0.0,
            "placement": "random",
            "rate": 0.0,
            "clients": None,
            "primary_policy": PrimaryPolicy.STABLE,
            "behaviour": "silent",
            "view_timeout_ms": None,
            "client_timeout_ms": None,
        }
    )
    still.__dict__.pop("scenario_id", None)  # worked out once, for the other
    return still


def make_plan(scenario: Any) -> Plan:
    """Build the graph, the links, the costs and the ways of a scenario; what it shares with the last ones is not built again.

    Raises
    ------
    UsageError
        As in `lay_foundation`.
    """
    still = at_rest(scenario)
    plan = _plans.get(still.scenario_id, lambda: _plan_at_rest(still))
    return replace(plan, scenario=scenario, timing=timing_of(scenario) if scenario.byzantine_count else None)


def _plan_at_rest(scenario: Any) -> Plan:
    laid = lay_foundation(scenario)
    faults = laid.protocol.fault_threshold(scenario.nodes)
    inputs = size_inputs(scenario, flooded=scenario.dissemination == "gossip")
    costs = replica_costs(scenario)
    jobs = tuple(job_costs(step, costs, inputs, faults) for step in laid.protocol.rounds)
    views = view_costs(scenario, costs, inputs, quorum(scenario.nodes, faults))
    relay_ms, vote_bytes = jobs[1].transit_ms + jobs[1].send_ms, jobs[-2].size_bytes
    network = build_network(scenario, laid.graph, laid.links, laid.law, laid.mean_variate, relay_ms, vote_bytes)
    return Plan(**vars(laid), jobs=jobs, faults=faults, views=views, network=network, timing=None)


def _check_table(protocol: Protocol) -> None:
    patterns = [step.pattern for step in protocol.rounds]
    ends = (Pattern.CLIENT_TO_PRIMARY, Pattern.ALL_TO_CLIENT)
    inner = patterns[1:-1]
    if len(patterns) < 3 or (patterns[0], patterns[-1]) != ends or set(inner) & set(ends):
        shape = "a client_to_primary round, rounds among replicas, and an all_to_client round"
        raise UsageError(f"protocol {protocol.name!r}: rounds", ", ".join(patterns), shape)


def relay_centrality(plan: Plan) -> NDArray[np.float64] | None:
    """Messages each replica forwards when all send to all along shortest paths; None on a complete graph."""
    if plan.scenario.byzantine_count == 0 or plan.scenario.placement != "worst":
        return None
    n = plan.scenario.nodes
    network = build_network(plan.scenario, plan.graph, plan.links, plan.law, plan.mean_variate, 0.0, 0)
    if not network.relayed:
        return None
    through = transit(network, np.arange(n, dtype=np.int32), np.ones(n, np.uint8)).through
    return np.asarray(through.sum(axis=0), np.float64)
