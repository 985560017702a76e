"""Trials of a plan: one number of replicas on one machine and line, held against the targets."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from prsm_scale.config import Scenario
from prsm_scale.engine import simulate_scenario
from prsm_scale.environments import resolve_condition
from prsm_scale.faults import behaviours, varies
from prsm_scale.metrics import memory_mb
from prsm_scale.places import Place
from prsm_scale.planning.targets import Check, Targets, of_headroom, of_memory, of_placements, of_row
from prsm_scale.plans import make_plan, relay_centrality
from prsm_scale.progress import Progress, Report
from prsm_scale.resources import resolve_profile
from prsm_scale.wording import number

_RESOLUTION: Final = 100

Key = tuple[int, str, float]


@dataclass(frozen=True, eq=False)
class Trial:
    """A scenario, held against the targets.

    Attributes
    ----------
    scenario : Scenario
    checks : tuple of Check
        What is known of it. Where the machine or the saturation throughput already fails, nothing was simulated.
    shares : dict of str to float
        Utilisation of each resource at the target; empty where memory fails.
    row : dict or None
        Results, see `prsm_scale.columns.SCENARIO_COLUMNS`; None where nothing was simulated.
    """

    scenario: Scenario
    checks: tuple[Check, ...]
    shares: Mapping[str, float]
    row: Mapping[str, Any] | None

    @property
    def nodes(self) -> int:
        """Replicas n."""
        return self.scenario.nodes

    @property
    def bandwidth_mbps(self) -> float:
        """Of an uplink, and of a downlink; inf where unlimited."""
        return resolve_condition(self.scenario).bandwidth_mbps

    @property
    def passes(self) -> bool:
        """Whether all targets are met."""
        return all(check.passes for check in self.checks)

    @property
    def failing(self) -> tuple[Check, ...]:
        """Targets that are missed."""
        return tuple(check for check in self.checks if not check.passes)

    @property
    def doubtful(self) -> tuple[str, ...]:
        """Names of the targets whose value's interval reaches the other side of the limit."""
        return tuple(check.name for check in self.checks if not check.beyond_doubt)

    @property
    def pressure(self) -> float:
        """Largest value over its limit; at most 1 where all targets are met."""
        return max(check.pressure for check in self.checks)

    @property
    def binding(self) -> str | None:
        """Resource that sets the saturation throughput."""
        if self.row is not None:
            return str(self.row["bottleneck"]) if self.row["bottleneck"] else None
        return max(self.shares, key=lambda name: self.shares[name], default=None)

    @property
    def utilisation(self) -> float | None:
        """Share of the saturation throughput that the target takes; None where that is not known."""
        return max(self.shares.values(), default=None) if self.row is None else self.row["utilisation"]

    def needs(self, targets: Targets) -> dict[str, float]:
        """How many times its capacity each resource would have to have to leave the headroom, of those that do not."""
        return {name: share / targets.most_used for name, share in self.shares.items() if share > targets.most_used}

    @property
    def why(self) -> str:
        """Why it fails, in a line; empty where it passes."""
        return "; ".join(check.told for check in self.failing)


class Prober:
    """Makes trials, each once.

    Parameters
    ----------
    targets : Targets
    scenario : Scenario
        Its settings are those of every trial but n, profile and bandwidth.
    threads : int, optional
        Default: one for each processor; the results do not depend on it.
    report : callable, optional
        Told how far it has come, from one thread or another.
    expected : int
        Trials that are expected, for the sake of progress.
    """

    def __init__(
        self, targets: Targets, scenario: Scenario, threads: int | None = None, report: Report | None = None, expected: int = 1
    ) -> None:
        self.targets, self.scenario, self.threads = targets, scenario, threads or os.cpu_count() or 1
        self.report, self.expected, self.begun, self.messages = report, expected, time.perf_counter(), 0
        self.known: dict[Key, Trial] = {}
        self._ruled_out: dict[Key, Trial | None] = {}

    def trial(self, nodes: int, profile: str | None = None, bandwidth_mbps: float | None = None) -> Trial:
        """Hold n replicas against the targets, on a profile and a bandwidth, the scenario's own where none is given."""
        scenario, key = self._scenario(nodes, profile, bandwidth_mbps)
        if key not in self.known:
            self._tell(scenario)
            failed = self.ruled_out(nodes, profile, bandwidth_mbps)
            self.known[key] = failed or self._simulated(scenario)
            self._tell(scenario)
        return self.known[key]

    def ruled_out(self, nodes: int, profile: str | None = None, bandwidth_mbps: float | None = None) -> Trial | None:
        """Trial of a scenario that fails by its memory or by work alone, without a simulation; None of one that may pass."""
        scenario, key = self._scenario(nodes, profile, bandwidth_mbps)
        if key not in self._ruled_out:
            self._ruled_out[key] = self._by_work(scenario)
        return self._ruled_out[key]

    def pressure(self, nodes: int) -> float:
        """Pressure of n replicas on the scenario's own profile and bandwidth."""
        return self.trial(nodes).pressure

    def step(self, nodes: int) -> int:
        """Resolution of a search at n: 1 where work alone decides, else a hundredth, as values are sampled."""
        return 1 if self.ruled_out(nodes) else max(1, nodes // _RESOLUTION)

    def _scenario(self, nodes: int, profile: str | None, bandwidth_mbps: float | None) -> tuple[Scenario, Key]:
        scenario = self.scenario.but(nodes=nodes, profile=profile or self.scenario.profile)
        if bandwidth_mbps is not None and bandwidth_mbps != resolve_condition(scenario).bandwidth_mbps:
            scenario = scenario.but(bandwidth_mbps=bandwidth_mbps)
        return scenario, (nodes, str(scenario.profile), resolve_condition(scenario).bandwidth_mbps)

    def _memory(self, scenario: Scenario) -> tuple[Check, ...]:
        return tuple(of_memory(memory_mb(scenario), resolve_profile(scenario).memory_mb, self.targets))

    def _by_work(self, scenario: Scenario) -> Trial | None:
        memory = self._memory(scenario)
        if not all(check.passes for check in memory):
            return Trial(scenario, memory, {}, None)
        shares = least_shares(scenario, self.targets.most_used)
        name = max(shares, key=lambda one: shares[one])
        if shares[name] <= self.targets.most_used:
            return None
        return Trial(scenario, (*memory, of_headroom(shares[name], name, self.targets)), shares, None)

    def _simulated(self, scenario: Scenario) -> Trial:
        outcome = simulate_scenario(scenario, self.threads)
        self.messages += outcome.messages
        demand_ms = outcome.capacity.demand_ms.items()
        shares = {name: scenario.proposals_per_ms * ms for name, ms in demand_ms if math.isfinite(ms)}
        loads = [scenario.proposals_per_ms * work.busiest_ms for work in outcome.works]
        checks = (*self._memory(scenario), *of_row(outcome.row, self.targets), *of_placements(loads))
        return Trial(scenario, checks, shares, outcome.row)

    def _tell(self, scenario: Scenario) -> None:
        if self.report is None:
            return
        done, seconds = len(self.known), time.perf_counter() - self.begun
        current = f"n = {scenario.nodes}, {scenario.profile}, {number(resolve_condition(scenario).bandwidth_mbps)} Mbit/s"
        total = max(self.expected, done + 1)
        self.report(Progress(done, total, self.messages, self.messages / max(seconds, 1e-9), None, current, 0.0))


def least_shares(scenario: Scenario, most: float) -> dict[str, float]:
    """Utilisation of each resource by work alone, without a simulation.

    Parameters
    ----------
    scenario : Scenario
    most : float
        Utilisation that is of interest. Where placements of faulty replicas differ, as many are looked at as there are
        replicates, until the busiest resource of one stays within it; that of the placement where it is least is given.
    """
    plan = make_plan(scenario)
    centrality = relay_centrality(plan)
    best: dict[str, float] = {}
    for replicate in range(scenario.replicates if varies(scenario) else 1):
        work = Place(plan, behaviours(scenario, replicate, centrality), 0.0).work.demands
        shares = {name: scenario.proposals_per_ms * ms for name, ms in work.items()}
        if not best or max(shares.values()) < max(best.values()):
            best = shares
        if max(best.values()) <= most:
            break
    return best
