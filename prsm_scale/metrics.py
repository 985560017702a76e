"""Operations -> the row of results, with intervals."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from prsm_kernels.codes import AMONG_REPLICAS, GOSSIP, QUEUEING, RETRANSMISSION
from prsm_scale import __version__
from prsm_scale.accuracy import regime_of
from prsm_scale.axes import GRAPH_OBJECT, Engine
from prsm_scale.estimates import (
    effective_size,
    effective_trials,
    error_of_sum,
    half_width,
    mean_latency,
    quantile_with_interval,
    wilson,
)
from prsm_scale.faults import sides
from prsm_scale.outcome import Outcome
from prsm_scale.resources import memory_need_mb, resolve_profile, size_inputs

Vector = NDArray[np.float64]
PARTS = ("propagation_ms", "transmission_ms", "cpu_ms", "queueing_ms", "retransmission_ms", "view_change_ms")
"""Columns of an operation's breakdown, in its order."""


def infeasible_row(scenario: Any, reason: str, memory_mb: float) -> dict[str, Any]:
    """Row of a scenario that its profile cannot hold; it is not simulated."""
    return _identity(scenario) | {
        "operations": 0,
        "replicates": 0,
        "memory_mb": memory_mb,
        "feasible": False,
        "limits_passed": limits_passed(scenario, {"memory_mb": memory_mb}),
        "reason": reason,
    }


def limits_passed(scenario: Any, row: Mapping[str, Any]) -> str:
    """Limits that a row's values pass, each with its value and the limit.

    Parameters
    ----------
    scenario : Scenario
        Uses `max_memory_mb`, `max_cpu_percent` and its profile.
    row : mapping
        `memory_mb`, and `cpu_percent_max` where the scenario was simulated.

    Returns
    -------
    str
        As in ``"memory_mb 2150.3 > 2048; max_cpu_percent 93.4 > 80"``: the profile's memory goes by the name of its
        setting. Empty where none is passed.
    """
    limits = (
        ("memory_mb", "memory_mb", resolve_profile(scenario).memory_mb),
        ("max_memory_mb", "memory_mb", scenario.max_memory_mb),
        ("max_cpu_percent", "cpu_percent_max", scenario.max_cpu_percent),
    )
    known = [(name, row.get(column), limit) for name, column, limit in limits]
    return "; ".join(
        f"{name} {_above(value, limit)} > {limit:.12g}"
        for name, value, limit in known
        if value is not None and limit is not None and value > limit
    )


def _above(value: float, limit: float) -> str:
    """Write a value with one decimal, or as many as tell it from the limit that it passes."""
    rounded = f"{value:.1f}"
    return rounded if float(rounded) > limit else f"{value:.12g}"


def memory_mb(scenario: Any) -> float:
    """Memory that the busiest replica of a scenario needs, MiB."""
    from prsm_scale.protocols import get_protocol

    inputs = size_inputs(scenario, flooded=scenario.dissemination == "gossip")
    return memory_need_mb(get_protocol(scenario.protocol), inputs, scenario.window)


def why_infeasible(scenario: Any) -> str:
    """Why a scenario's profile cannot hold it; empty if it can."""
    need, profile = memory_mb(scenario), resolve_profile(scenario)
    if need <= profile.memory_mb:
        return ""
    return f"needs {need:.0f} MB of memory, profile {profile.name} has {profile.memory_mb:.0f} MB"


def _identity(scenario: Any) -> dict[str, Any]:
    from prsm_scale.protocols import get_protocol, quorum

    protocol = get_protocol(scenario.protocol)
    faults = protocol.fault_threshold(scenario.nodes)
    return {
        "scenario_id": scenario.scenario_id,
        "node_count": scenario.nodes,
        "fault_threshold": faults,
        "quorum": quorum(scenario.nodes, faults),
        "byzantine_ratio": scenario.byzantine_ratio,
        "byzantine_count": scenario.byzantine_count,
        "behaviour": scenario.behaviour if scenario.byzantine_count else "",
        "primary_policy": scenario.primary_policy,
        "topology": f"graph-{scenario.graph_digest[:8]}" if scenario.topology == GRAPH_OBJECT else str(scenario.topology),
        "network_condition": scenario.network,
        "environment": scenario.environment,
        "resource_profile": scenario.profile,
        "protocol": protocol.name,
        "dissemination": scenario.dissemination,
        "authentication": scenario.authentication,
        "offered_ops_per_second": scenario.rate,
        "payload_bytes": scenario.payload_bytes,
        "batch": scenario.batch,
        "engine": scenario.engine,
        "seed": scenario.seed,
        "version": __version__,
        "scenario": json.dumps(scenario.model_dump(mode="json"), sort_keys=True),
    }


def scenario_row(outcome: Outcome) -> dict[str, Any]:
    """All columns of one simulated scenario, see `prsm_scale.columns.SCENARIO_COLUMNS`."""
    operations, scenario = outcome.operations, outcome.scenario
    ended = operations.latency_ms <= scenario.operation_timeout_ms
    successes, trials = int(ended.sum()), ended.size
    worth = effective_trials(ended, outcome.clusters, outcome.strata, outcome.operations.starts)
    low, high = wilson(worth * successes / trials, worth)
    row = _identity(scenario) | {
        "operations": trials,
        "replicates": int(np.unique(operations.replicate).size),
        "success_rate": successes / trials,
        "success_low": low,
        "success_high": high,
        "view_changes_per_operation": float(operations.view_changes.mean()),
        "safety_violations": int(operations.violated.sum()),
        **_failover(outcome),
        "memory_mb": memory_mb(scenario),
        "feasible": True,
        "reason": "" if successes else _why_none(outcome),
        "wall_seconds": outcome.wall_seconds,
        "messages_simulated": outcome.messages,
        "messages_per_second": outcome.messages / max(outcome.wall_seconds, 1e-9),
    }
    if successes:
        row |= _latencies(outcome, ended) | _stated_errors(outcome)
    row |= _throughput(outcome) | _traffic(outcome)
    return row | {"limits_passed": limits_passed(scenario, row)}


def _stated_errors(outcome: Outcome) -> dict[str, Any]:
    regime = regime_of(outcome)
    return {} if regime is None else {"stated_mean_error": regime.mean_error, "stated_p99_error": regime.p99_error}


def _failover(outcome: Outcome) -> dict[str, Any]:
    if outcome.failover is None:
        return {}
    views, latency_ms = outcome.failover
    in_time = latency_ms <= outcome.scenario.operation_timeout_ms
    return {"failover_views": views, "failover_ms": latency_ms if in_time else None}


def most_votes(outcome: Outcome) -> int:
    """Replicas whose votes count for one value, of the placement of faulty replicas where they are most."""
    return max(int(np.count_nonzero((sides(one.behaviour, one.primary) & 1) * one.alive)) for one in outcome.systems)


def _why_none(outcome: Outcome) -> str:
    q = outcome.plan.quorum
    voting = most_votes(outcome)
    if voting < q:
        return f"{voting} voting replicas are fewer than the quorum of {q}"
    if not np.isfinite(outcome.operations.latency_ms).any():
        return "no quorum can be reached over the live replicas' links"
    return f"no operation ended within {outcome.scenario.operation_timeout_ms:g} ms"


def _latencies(outcome: Outcome, ended: NDArray[np.bool_]) -> dict[str, Any]:
    operations = outcome.operations
    mean, error, groups = mean_latency(operations, ended, outcome.clusters, outcome.strata)
    latency, clusters, strata = operations.latency_ms[ended], outcome.clusters[ended], outcome.strata[ended]
    known = latency.size > 1  # one value tells nothing of its spread
    half = half_width(*error_of_sum((error, groups), outcome.shared))
    ordered = np.sort(latency)
    row: dict[str, Any] = {
        "mean_latency_ms": mean,
        "mean_latency_low_ms": mean - half if known else None,
        "mean_latency_high_ms": mean + half if known else None,
        "min_latency_ms": float(ordered[0]),
        "max_latency_ms": float(ordered[-1]),
        "std_dev_ms": float(latency.std(ddof=1)) if latency.size > 1 else 0.0,
    }
    for name, q in (("median", 0.5), ("p95", 0.95), ("p99", 0.99)):
        effective = effective_size(latency, clusters, strata, q, outcome.homogeneous)
        value, low, high = quantile_with_interval(ordered, q, effective)
        row |= {f"{name}_latency_ms": value, f"{name}_latency_low_ms": low, f"{name}_latency_high_ms": high}
    commit = operations.commit_ms[np.isfinite(operations.commit_ms)]
    if commit.size:
        row |= {"mean_commit_ms": float(commit.mean()), "median_commit_ms": float(np.median(commit))}
        row["p99_commit_ms"] = float(np.quantile(commit, 0.99))
    flight_ms = operations.mean_flight_ms
    row["mean_flight_ms"] = flight_ms if math.isfinite(flight_ms) else None
    parts = operations.breakdown_ms[ended].mean(axis=0)
    parts[RETRANSMISSION] -= operations.lost_ms.mean() if ended.all() else 0.0
    parts[QUEUEING] = 0.0
    parts[QUEUEING] = mean - parts.sum()
    return row | dict(zip(PARTS, map(float, parts), strict=True))


def _mean_work(outcome: Outcome, name: str) -> Vector:
    return np.average([getattr(work, name) for work in outcome.works], axis=0, weights=outcome.weights)


def _throughput(outcome: Outcome) -> dict[str, Any]:
    scenario, capacity = outcome.scenario, outcome.capacity
    per_ms, most = _offered_per_ms(outcome), capacity.saturation_per_ms
    done = 1000.0 * scenario.batch * capacity.done_per_ms
    served = min(per_ms, most) if most > 0.0 else per_ms
    cpu, sent = _mean_work(outcome, "cpu_ms") * served * 100.0, _mean_work(outcome, "sent_bytes") * served * 8.0 / 1000.0
    row: dict[str, Any] = {
        "operations_per_second": done,
        "operations_per_node_per_second": done / scenario.nodes,
        "saturation_ops_per_second": 1000.0 * scenario.batch * most if math.isfinite(most) else None,
        "utilisation": per_ms / most if most > 0.0 else None,
        "bottleneck": capacity.bottleneck,
        "cpu_percent_mean": float(cpu.mean()),
        "cpu_percent_max": float(cpu.max()),
        "cpu_max_replica": int(cpu.argmax()),
        "bandwidth_mbps_mean": float(sent.mean()),
        "bandwidth_mbps_max": float(sent.max()),
        "bandwidth_max_replica": int(sent.argmax()),
    }
    names = {"pipeline_window": "util_window"}
    usable = {name: value for name, value in capacity.demand_ms.items() if math.isfinite(value)}
    return row | {names.get(name, f"util_{name}"): per_ms * value for name, value in usable.items()}


def _offered_per_ms(outcome: Outcome) -> float:
    """Proposals offered in a ms; clients that wait for answers offer what gets done."""
    scenario = outcome.scenario
    return outcome.capacity.done_per_ms if scenario.clients else float(scenario.proposals_per_ms)


def _traffic(outcome: Outcome) -> dict[str, Any]:
    operations, system = outcome.operations, outcome.systems[0]
    among = outcome.plan.counted_kinds == AMONG_REPLICAS
    size = outcome.plan.counted_bytes
    sent, useful = operations.sent.mean(axis=0), operations.useful.mean(axis=0)
    on_links, repeats = operations.transmissions.mean(axis=0), operations.repeats.mean(axis=0)
    if system.network.kind == GOSSIP and outcome.scenario.engine == Engine.ROUNDS:
        repeats = np.where(among, on_links * system.network.loss, repeats)
    again = repeats if outcome.plan.law.stream else np.zeros_like(repeats)
    transmitted = float((on_links * size).sum())
    return {
        "message_count": float(sent[among].sum()),
        "link_transmissions": float(on_links.sum()),
        "retransmissions": float(again.sum()),
        "bytes_per_operation": transmitted / outcome.scenario.batch,
        "network_efficiency": float((useful * size).sum()) / transmitted if transmitted > 0 else None,
        "message_delivery_rate": 1.0 - float(repeats.sum() / on_links.sum()) if on_links.sum() > 0 else 1.0,
    }
