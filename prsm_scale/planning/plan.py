"""Make a plan: search n, then for each step of the roll-out the smallest machine and line."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from prsm_scale.axes import as_tuple, is_user_graph
from prsm_scale.checks import check_scenarios
from prsm_scale.config import Scenario
from prsm_scale.environments import resolve_condition
from prsm_scale.errors import UsageError
from prsm_scale.planning.result import CapacityPlan
from prsm_scale.planning.search import QUORUM_PERIOD, largest, smallest, stage_sizes
from prsm_scale.planning.targets import DEFAULT_PROFILE, LEFT_OUT, Targets
from prsm_scale.planning.trials import Prober, Trial
from prsm_scale.progress import Report
from prsm_scale.protocols import get_protocol
from prsm_scale.resources import PROFILES

BANDWIDTHS_MBPS: Final = (1.0, 2.0, 5.0, 10.0, 25.0, 50.0, 100.0, 250.0, 500.0, 1000.0, 2500.0, 10_000.0, 25_000.0, 100_000.0)
"""Bandwidths that a plan chooses from, besides the largest allowed."""
_TRIALS_OF_A_STAGE: Final = 2
Rung = tuple[int, str, float | None]


def plan(threads: int | None = None, progress: Report | None = None, **settings: Any) -> CapacityPlan:
    """Find the largest n that meets targets, and a roll-out up to it.

    Parameters
    ----------
    threads : int, optional
        Default: one for each processor; the result does not depend on it.
    progress : callable, optional
        Called with a `prsm_scale.progress.Progress` before and after each trial.
    **settings
        Those of `prsm_scale.planning.targets.Targets`, of which `target_ops` is needed, and those of `prsm_scale.Scenario` but
        the ones in `LEFT_OUT`: ``plan(target_ops=50, max_p99_ms=2000, byzantine_ratio=0.2, topology="mesh")``. `profile` (default
        extreme) and `bandwidth_mbps` (default that of the network) are the largest allowed.

    Returns
    -------
    CapacityPlan

    Raises
    ------
    UsageError
        For settings that are not allowed, before anything runs.
    """
    targets, others = split_settings(settings)
    defaults = {"nodes": targets.min_nodes, "rate": targets.target_ops, "profile": DEFAULT_PROFILE}
    return find_plan(targets, Scenario(**(defaults | others)), threads, progress)


def split_settings(settings: Mapping[str, Any]) -> tuple[Targets, dict[str, Any]]:
    """Make the targets, and take the settings that are left for a scenario.

    Raises
    ------
    UsageError
        One line for each fault of the targets, and for each setting that is in `LEFT_OUT` or serves for one n only.
    """
    faults = list(_faults(settings))
    others = {name: value for name, value in settings.items() if name not in Targets.model_fields}
    try:
        targets = Targets(**{name: value for name, value in settings.items() if name in Targets.model_fields})
    except UsageError as error:
        raise UsageError.gather([*faults, error]) from None
    if faults:
        raise UsageError.gather(faults)
    return targets, others


def ends(targets: Targets, scenario: Scenario) -> list[Scenario]:
    """Scenarios of the smallest and the largest n.

    Raises
    ------
    UsageError
        Where settings do not serve for these n.
    """
    return [scenario.but(nodes=nodes) for nodes in dict.fromkeys((targets.min_nodes, targets.max_nodes))]


def _faults(settings: Mapping[str, Any]) -> Iterator[UsageError]:
    for name, why in LEFT_OUT.items():
        if settings.get(name) is not None:
            yield UsageError(name, settings[name], why)
    topology, placement = settings.get("topology"), settings.get("placement", "")
    if any(map(is_user_graph, as_tuple(topology))):
        yield UsageError("topology", topology, "one that can be made for any n; a graph has an n of its own")
    if not isinstance(placement, str):
        yield UsageError("placement", placement, "random or worst, with byzantine_ratio, as n varies")


def find_plan(
    targets: Targets, scenario: Scenario, threads: int | None = None, progress: Report | None = None
) -> CapacityPlan:  # fmt: skip
    """Find the largest n and the roll-out for a scenario, whose n is of no matter; see `plan`."""
    check_scenarios(ends(targets, scenario))
    doublings = math.ceil(math.log2(targets.max_nodes / targets.min_nodes)) + 1
    prober = Prober(targets, scenario, threads, progress, doublings + QUORUM_PERIOD + _TRIALS_OF_A_STAGE * targets.stages)
    best = largest(prober.pressure, targets.min_nodes, targets.max_nodes, prober.step)
    tested = tuple(sorted(prober.known.values(), key=lambda one: one.nodes))
    if best is None:
        return CapacityPlan(targets, scenario, None, (), tested)
    protocol = get_protocol(scenario.protocol)
    sizes = stage_sizes(targets.min_nodes, best, targets.stages, protocol.fault_threshold)
    stages = tuple(_smallest_machine(prober, nodes) for nodes in sizes)
    return CapacityPlan(targets, scenario, prober.trial(best), stages, tested)


def _smallest_machine(prober: Prober, nodes: int) -> Trial:
    """Trial of n replicas on the smallest profile that passes, and then on the smallest bandwidth with it."""
    profile = _first_passing(prober, [(nodes, one, None) for one in profiles(prober.scenario)])[1]
    return prober.trial(*_first_passing(prober, [(nodes, profile, one) for one in bandwidths(prober.scenario)]))


def _first_passing(prober: Prober, rungs: Sequence[Rung]) -> Rung:
    """Find the first rung of rising machines that passes, past those that work alone rules out; the last one where none does."""
    possible = smallest(rungs, lambda one: prober.ruled_out(*one) is None)
    return next((one for one in rungs[rungs.index(possible) :] if prober.trial(*one).passes), rungs[-1])


def profiles(scenario: Scenario) -> list[str]:
    """Profiles up to the scenario's; that one alone where the scenario's own `cores` or `memory_mb` stand in their place."""
    if scenario.cores is not None or scenario.memory_mb is not None:
        return [scenario.profile]
    names = list(PROFILES)
    return names[: names.index(scenario.profile) + 1]


def bandwidths(scenario: Scenario) -> list[float]:
    """Bandwidths up to the scenario's, Mbit/s."""
    most = resolve_condition(scenario).bandwidth_mbps
    return [one for one in BANDWIDTHS_MBPS if one < most] + [most]
