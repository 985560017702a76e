"""Columns of what fault scripts give: one row a replicate, and one row a stretch of time; see `prsm_scale.columns`."""

from __future__ import annotations

from typing import Final

from prsm_scale.columns import Column


def _text(name: str, meaning: str) -> Column:
    return Column(name, "string", "", meaning, False)


def _count(name: str, meaning: str, nullable: bool = False) -> Column:
    return Column(name, "int64", "", meaning, nullable)


def _real(name: str, unit: str, meaning: str, nullable: bool = True) -> Column:
    return Column(name, "float64", unit, meaning, nullable)


_WHICH: Final = (
    _text("run_id", "run that the row belongs to"),
    _text("script", "name of the fault script"),
    _count("replicate", "number of the replicate"),
)

FAULT_COLUMNS: Final[tuple[Column, ...]] = (
    *_WHICH,
    _text("scenario_id", "digest of all inputs of the scenario"),
    _count("node_count", "replicas n"),
    _real("offered_ops_per_second", "1/s", "operations offered, open loop", False),
    _real("view_timeout_ms", "ms", "T, time-out of a view", False),
    _real("latency_at_rest_ms", "ms", "L, longest latency at rest", False),
    _real("duration_ms", "ms", "how long operations started and were watched", False),
    _real("first_fault_ms", "ms", "when the first fault began", False),
    _real("last_fault_ms", "ms", "when the last fault ended, or the watch did", False),
    _count("operations", "operations that started"),
    _count("answered", "of these, answered, be it after the watch"),
    _count("failed", "operations lost: given up by their client without an answer"),
    _count("late", "answered after a view change that they went through"),
    _count("view_changes", "views entered after the first"),
    _count("safety_violations", "operations for which honest replicas committed different values"),
    _real("baseline_ops_per_second", "1/s", "answers a second before the first fault; missing where too few"),
    _real("baseline_median_latency_ms", "ms", "median latency of operations answered before the first fault"),
    _real("baseline_p99_latency_ms", "ms", "99th percentile of the same"),
    _real("faulty_ops_per_second", "1/s", "answers a second from first_fault_ms to last_fault_ms"),
    _real("faulty_median_latency_ms", "ms", "median latency of operations that started in that time and were answered"),
    _real("faulty_p99_latency_ms", "ms", "99th percentile of the same"),
    _count("outages", "times without an answer, longer than the baseline makes likely", True),
    _real("unavailable_ms", "ms", "sum of the outages"),
    _real("longest_outage_ms", "ms", "longest of the outages; missing where there were none"),
    _real(
        "time_to_recover_ms",
        "ms",
        "longest time from the last answer before an outage until throughput was back; missing where it never was",
    ),
    Column("recovered", "bool", "", "whether throughput came back after every outage; missing where there were none"),
    _real("time_to_new_view_ms", "ms", "from first_fault_ms until a replica first entered a later view; missing where none did"),
    _text("fault_script", "the whole script as JSON"),
    _text("scenario", "the whole scenario as JSON"),
)

TIMELINE_COLUMNS: Final[tuple[Column, ...]] = (
    *_WHICH,
    _real("begin_ms", "ms", "when the bin begins", False),
    _real("end_ms", "ms", "when it ends", False),
    _count("started", "operations that started in it"),
    _count("answered", "operations answered in it, whenever they started"),
    _count("failed", "operations that started in it and were lost"),
    _real("ops_per_second", "1/s", "answers a second", False),
    _real("median_latency_ms", "ms", "median latency of operations that started in it; missing where none was answered"),
    _real("p99_latency_ms", "ms", "99th percentile of the same"),
    _count("views_entered", "views that a replica first entered in it"),
)
