"""Registry of every output column: one entry makes the Arrow field, the check of a row and the docs table."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

_PYTHON_TYPES: dict[str, type] = {
    "string": str,
    "bool": bool,
    "int32": int,
    "int64": int,
    "float32": float,
    "float64": float,
}


@dataclass(frozen=True)
class Column:
    """One output column.

    Parameters
    ----------
    name
        Column name; a quantity with a unit carries the unit in it.
    dtype
        Arrow type: string, bool, int32, int64, float32 or float64.
    unit
        Unit of the values, "" where there is none.
    meaning
        One line for the reader of the file.
    nullable
        Whether a value may be missing. NaN and infinity are stored as missing.
    better
        Which way is an improvement, "lower" or "higher"; "" where neither is.
    """

    name: str
    dtype: str
    unit: str
    meaning: str
    nullable: bool = True
    better: str = ""


_LOWER, _HIGHER = "lower", "higher"


def _text(name: str, meaning: str, nullable: bool = False) -> Column:
    return Column(name, "string", "", meaning, nullable)


def _integer(name: str, meaning: str, dtype: str = "int32", nullable: bool = False, unit: str = "", better: str = "") -> Column:
    return Column(name, dtype, unit, meaning, nullable, better)


def _real(name: str, unit: str, meaning: str, nullable: bool = True, better: str = "") -> Column:
    return Column(name, "float64", unit, meaning, nullable, better)


def interval_names(name: str) -> tuple[str, str]:
    """Names of the columns that hold the ends of a value's 95 % interval, the unit staying last.

    Examples
    --------
    >>> interval_names("mean_latency_ms")
    ('mean_latency_low_ms', 'mean_latency_high_ms')
    """
    suffix = "_ms" if name.endswith("_ms") else ""
    stem = name.removesuffix(suffix)
    return f"{stem}_low{suffix}", f"{stem}_high{suffix}"


def _estimate(name: str, unit: str, meaning: str, better: str = "") -> tuple[Column, Column, Column]:
    """Make the columns of a value and of the ends of its 95 % interval."""
    low, high = interval_names(name)
    return (
        _real(name, unit, meaning, better=better),
        _real(low, unit, f"lower end of the 95 % interval of {name}"),
        _real(high, unit, f"upper end of the 95 % interval of {name}"),
    )


_AXES = (
    _real("byzantine_ratio", "", "share of replicas that are faulty", nullable=False),
    _text("topology", "name of the topology, or digest-bearing name of a user's graph"),
    _text("network_condition", "network condition the links were drawn from"),
    _text("environment", "where the replicas are placed"),
    _text("resource_profile", "CPU and memory of a replica"),
    _text("protocol", "name of the table of rounds"),
    _text("dissemination", "direct, gossip or routed"),
    _text("authentication", "scheme that signs the messages"),
    _real("offered_ops_per_second", "1/s", "operations offered, open loop", nullable=False),
    _integer("payload_bytes", "size of one operation's payload", "int64", unit="B"),
    _integer("batch", "operations carried by one proposal"),
    _text("engine", "engine that simulated the row"),
    _integer("seed", "seed of all draws", "int64"),
)

GROUP_COLUMNS: tuple[str, ...] = ("run_id", *(column.name for column in _AXES))
"""Names that two scenarios share when only the number of replicas differs between them."""

SCENARIO_COLUMNS: tuple[Column, ...] = (
    _text("run_id", "run that the row belongs to"),
    _text("scenario_id", "digest of all inputs that change the results"),
    _integer("node_count", "replicas n"),
    _integer("fault_threshold", "faults tolerated by design, f = floor((n - 1) / 3)"),
    _integer("quorum", "arrivals that close a round, ceil((n + f + 1) / 2)"),
    _integer("byzantine_count", "faulty replicas, floor(byzantine_ratio n)"),
    _text("behaviour", "what they do, with shares where they differ; empty where there are none"),
    _text("primary_policy", "stable or rotating"),
    *_AXES,
    _integer("operations", "operations counted, warm-up left out; above capacity each start of one", "int64"),
    _integer("replicates", "independent replicates the operations came from"),
    _text("version", "version of prsm-scale that wrote the row"),
    _real("operations_per_second", "1/s", "operations that succeeded, at the offered load", better=_HIGHER),
    _real("saturation_ops_per_second", "1/s", "capacity: the smallest bound over all resources", better=_HIGHER),
    _real("operations_per_node_per_second", "1/s", "operations_per_second / node_count", better=_HIGHER),
    _real("utilisation", "", "offered load / capacity of the binding resource"),
    *_estimate(
        "mean_latency_ms",
        "ms",
        "mean time from request to the client's last needed reply; see docs/model.md, Intervals, for what counts as on average",
        better=_LOWER,
    ),
    *_estimate("median_latency_ms", "ms", "median of the client latency", better=_LOWER),
    *_estimate("p95_latency_ms", "ms", "95th percentile of the client latency", better=_LOWER),
    *_estimate("p99_latency_ms", "ms", "99th percentile of the client latency", better=_LOWER),
    _real("min_latency_ms", "ms", "smallest client latency", better=_LOWER),
    _real("max_latency_ms", "ms", "largest client latency", better=_LOWER),
    _real("std_dev_ms", "ms", "standard deviation of the client latency", better=_LOWER),
    _real("mean_commit_ms", "ms", "mean time from the primary's proposal until n - f replicas have committed", better=_LOWER),
    _real("median_commit_ms", "ms", "median commit time", better=_LOWER),
    _real("p99_commit_ms", "ms", "99th percentile of the commit time", better=_LOWER),
    _real("mean_flight_ms", "ms", "mean time from the primary's proposal to its own commit", better=_LOWER),
    _real("success_rate", "", "share of operations answered within the time-out", better=_HIGHER),
    _real("success_low", "", "lower end of the 95 % Wilson interval of success_rate"),
    _real("success_high", "", "upper end of the 95 % Wilson interval of success_rate"),
    _real("message_delivery_rate", "", "share of first transmissions that arrived", better=_HIGHER),
    _real("view_changes_per_operation", "", "mean view changes an operation went through", better=_LOWER),
    _real(
        "failover_views",
        "",
        "view changes of the first operation of a run that begins in view 0, mean over placements",
        better=_LOWER,
    ),
    _real("failover_ms", "ms", "its latency; missing where it was not answered in time", better=_LOWER),
    _integer(
        "safety_violations", "operations for which honest replicas committed different values", nullable=True, better=_LOWER
    ),
    _real("cpu_percent_mean", "%", "CPU use at the offered load, of what each replica has, mean over replicas", better=_LOWER),
    _real("cpu_percent_max", "%", "CPU use of the busiest replica", better=_LOWER),
    _integer("cpu_max_replica", "index of the replica with the busiest CPU", nullable=True),
    _real("memory_mb", "MB", "memory a replica needs", better=_LOWER),
    _real("bandwidth_mbps_mean", "Mbit/s", "traffic sent over lines at the offered load, mean over replicas", better=_LOWER),
    _real("bandwidth_mbps_max", "Mbit/s", "traffic sent over its line by the replica that sends most", better=_LOWER),
    _integer("bandwidth_max_replica", "index of the replica that sends most", nullable=True),
    _real("message_count", "", "protocol messages of one operation, request and replies left out", better=_LOWER),
    _real("bytes_per_operation", "B", "bytes put on links by one operation, hops and repeats included", better=_LOWER),
    _real("link_transmissions", "", "transmissions over links of one operation, hops and repeats included", better=_LOWER),
    _real("retransmissions", "", "transmissions of one operation that repeat a lost copy", better=_LOWER),
    _real("network_efficiency", "", "bytes that arrived before their quorum closed / bytes put on links", better=_HIGHER),
    _real("propagation_ms", "ms", "part of mean_latency_ms spent on link delay and jitter"),
    _real("transmission_ms", "ms", "part of mean_latency_ms spent putting bytes on links"),
    _real("cpu_ms", "ms", "part of mean_latency_ms spent computing"),
    _real("queueing_ms", "ms", "part of mean_latency_ms spent waiting for a CPU or NIC"),
    _real("retransmission_ms", "ms", "part of mean_latency_ms spent waiting for time-outs of lost copies"),
    _real("view_change_ms", "ms", "part of mean_latency_ms spent in view changes"),
    _text("bottleneck", "resource that sets saturation_ops_per_second", nullable=True),
    _real("util_primary_cpu", "", "utilisation of the primary's CPU at the offered load"),
    _real("util_replica_cpu", "", "utilisation of the busiest backup's CPU"),
    _real("util_primary_egress", "", "utilisation of the primary's uplink, or of its host's, as below"),
    _real("util_replica_egress", "", "utilisation of the busiest backup's uplink"),
    _real("util_primary_ingress", "", "utilisation of the primary's downlink"),
    _real("util_replica_ingress", "", "utilisation of the busiest backup's downlink"),
    _real("util_relay_cpu", "", "utilisation of the busiest relay's CPU by forwarding"),
    _real("util_relay_nic", "", "utilisation of the busiest relay's NIC by forwarding"),
    _real("util_link", "", "utilisation of the busiest link"),
    _real("util_window", "", "utilisation of the pipeline window"),
    _real("stated_mean_error", "", "largest error of the mean against the events engine in this regime; missing for that engine"),
    _real("stated_p99_error", "", "likewise of the 99th percentile"),
    _text(
        "limits_passed",
        "limits that the busiest replica passes, each with its value and the limit, as in `max_cpu_percent 93.4 > 80; "
        "max_memory_mb 600.0 > 512`; empty where none",
    ),
    Column(
        "feasible",
        "bool",
        "",
        "whether the profile can hold the scenario; if not, it was not simulated",
        False,
    ),
    _text("reason", "why the scenario is infeasible or has no result; empty where it has one"),
    _text("scenario", "the whole scenario as JSON, enough to run it again"),
    _real("wall_seconds", "s", "time the simulation took on the host"),
    _integer("messages_simulated", "messages simulated for the row", "int64", nullable=True),
    _real("messages_per_second", "1/s", "messages simulated per second of wall time"),
)

FIT_COLUMNS: tuple[Column, ...] = (
    _text("run_id", "run that the fitted rows belong to"),
    *_AXES,
    _text("quantity", "column that was fitted, and the basis of the efficiency"),
    _text("law", "usl, power, logarithmic or linear, each over the number of replicas n; queueing, over the load at one n"),
    Column(
        "chosen",
        "bool",
        "",
        "whether the law has the smallest AICc of the laws tried on this quantity",
        False,
    ),
    _integer("points", "points fitted"),
    _integer("nodes_min", "smallest n among the points, the baseline", nullable=True),
    _integer("nodes_max", "largest n among the points", nullable=True),
    *_estimate("alpha", "", "usl: contention"),
    *_estimate("beta", "", "usl: coherency delay"),
    *_estimate("gamma", "1/s", "usl: throughput the law gives at n = 1"),
    *_estimate("coefficient", "unit of the quantity", "power: value the law gives at n = 1"),
    *_estimate("exponent", "", "power: exponent of n, negative where the quantity falls with n"),
    *_estimate("intercept", "unit of the quantity", "logarithmic, linear: constant term"),
    *_estimate("slope", "unit of the quantity", "logarithmic: per unit of ln n; linear: per replica"),
    *_estimate("base_latency_ms", "ms", "queueing: latency L0 of an idle system, in L0 + a rho / (2 (1 - rho))"),
    *_estimate("wait_scale_ms", "ms", "queueing: factor a of the wait, in an M/D/1 queue the service time"),
    _real("aicc", "", "corrected Akaike criterion on log residuals; missing with too few points"),
    _real("delta_aicc", "", "aicc less the smallest aicc of the laws tried on this quantity"),
    _real("rmse_log", "", "root mean square of the log residuals: the relative misfit"),
    *_estimate("peak_n", "", "usl: n >= 1 of the largest throughput; missing where the law has none"),
    _real("peak_ops_per_second", "1/s", "usl: throughput the law gives at peak_n"),
    *_estimate("degraded_n", "", "latency: n at which the law passes 1.5 times its value at nodes_min"),
    *_estimate("explosion_n", "", "latency: n at which the law passes 3 times its value at nodes_min"),
    _integer(
        "grid_n",
        "throughput: first simulated n with less than 10 % gain over the one before it; "
        "latency: first simulated n above 1.5 times the value at nodes_min",
        nullable=True,
    ),
    _real("mean_efficiency", "", "throughput: mean of (X / X0) / (n / n0) over the n above nodes_min"),
    _text("efficiency_tier", "throughput: excellent, good, moderate or poor by mean_efficiency", nullable=True),
    _real("capacity_ops_per_second", "1/s", "queueing: saturation_ops_per_second at rate 0, of which loads rho are fractions"),
    _real("load_min", "", "queueing: smallest load among the points"),
    _real("load_max", "", "queueing: largest load among the points"),
    *_estimate("knee_load", "", "queueing: load of the greatest throughput over latency, 1 / (1 + sqrt(a / (2 L0)))"),
    _real("knee_ops_per_second", "1/s", "queueing: throughput at knee_load"),
    _real("knee_latency_ms", "ms", "queueing: latency that the law gives at knee_load"),
    _real("grid_knee_load", "", "queueing: simulated load of the greatest throughput over latency"),
    _text("flags", "what to beware of, comma separated; empty where nothing"),
)

OPERATION_COLUMNS: tuple[Column, ...] = (
    _text("scenario_id", "scenario that the operation belongs to"),
    _integer("replicate", "replicate that the operation belongs to"),
    _integer("operation", "number of the operation inside its replicate; 2^24 more for each further start of it", "int64"),
    _real("latency_ms", "ms", "client latency; missing where the operation did not succeed"),
    _real("commit_ms", "ms", "commit time; missing where nothing committed"),
    Column("success", "bool", "", "whether the client had its answer within the time-out", False),
    _integer("view_changes", "views that failed before its answer"),
    _text("fate", "answered or failed"),
    _text("reason", "view_change where that delayed it; for failed ones timed_out, no_quorum, or no_answer; else empty"),
)


VALIDATION_COLUMNS: tuple[Column, ...] = (
    _text("run_id", "run that the row belongs to"),
    _text("ladder", "closed_forms, engines, peers or measurements"),
    _text("case", "name of what was predicted"),
    _text("group", "what is alike about rows: kind of form, regime, peer, or what dominates a measured value"),
    _text("engine", "engine that predicts; empty where nothing was run"),
    _text("metric", "quantity; a column of scenarios.parquet, or messages_per_replica, bytes_per_replica or ks_distance"),
    _text("unit", "unit of both values"),
    _integer("node_count", "replicas n", nullable=True),
    *_estimate("predicted", "", "value that the engine gives"),
    *_estimate("reference", "", "value that it is held against: known, of the other engine, of a peer, or measured"),
    *_estimate("error", "", "predicted / reference - 1, with the interval of both; a Kolmogorov-Smirnov distance as it is"),
    _real("bar", "", "largest error allowed; missing where the row has none of its own"),
    _text("verdict", "pass, within noise, fail, no bar, or not run"),
    _text("why", "why the row was not run; empty where it was"),
    _text("note", "what was used and why"),
    _text("source", "where the reference comes from"),
    _text("locator", "where in the source"),
    _text("scenario", "the whole scenario as JSON; empty where there is none"),
)


def arrow_schema(columns: Sequence[Column], metadata: Mapping[str, str] | None = None) -> pa.Schema:
    """Build the Arrow schema of a table of these columns.

    Parameters
    ----------
    columns
        Columns, in the order of the file.
    metadata
        Text stored in the schema under its key.

    Returns
    -------
    pyarrow.Schema
        One field a column, nullable as declared, with unit and meaning in the field's metadata.
    """
    import pyarrow as pa

    return pa.schema(
        [
            pa.field(
                column.name,
                pa.type_for_alias(column.dtype),
                nullable=column.nullable,
                metadata={"unit": column.unit, "meaning": column.meaning},
            )
            for column in columns
        ],
        metadata=dict(metadata or {}),
    )


def validate_row(row: Mapping[str, Any], columns: Sequence[Column]) -> dict[str, Any]:
    """Check one row against the registry and bring it into the registry's order and types.

    Parameters
    ----------
    row
        Values by column name; NumPy scalars are welcome. A nullable column may be left out.
    columns
        Columns the row has to fit.

    Returns
    -------
    dict
        Plain Python values of every column; NaN, infinity and what was left out become None.

    Raises
    ------
    ValueError
        If a name is unknown, a value is missing where it may not be, or has another type.
    """
    unknown = sorted(set(row) - {column.name for column in columns})
    if unknown:
        raise ValueError(f"row has columns that the registry lacks: {', '.join(unknown)}")
    return {column.name: _plain(row.get(column.name), column) for column in columns}


def validate_rows(rows: Sequence[Mapping[str, Any]], columns: Sequence[Column]) -> list[dict[str, Any]]:
    """Apply `validate_row` to each row."""
    return [validate_row(row, columns) for row in rows]


def docs_table(columns: Sequence[Column]) -> str:
    """Render the columns as a Markdown table, ending in a newline."""
    lines = ["| column | type | unit | meaning |", "|---|---|---|---|"]
    for column in columns:
        dtype = f"{column.dtype}, may be missing" if column.nullable else column.dtype
        lines.append(f"| `{column.name}` | {dtype} | {column.unit} | {column.meaning} |")
    return "\n".join(lines) + "\n"


def _plain(value: Any, column: Column) -> Any:
    # NumPy scalars carry .item(), Python's own do not; str enums are texts already.
    plain = value.item() if hasattr(value, "item") else value
    if isinstance(plain, float) and not math.isfinite(plain):
        plain = None
    if plain is None:
        if column.nullable:
            return None
        raise ValueError(f"{column.name}: a value is missing where the registry allows none")
    wanted = _PYTHON_TYPES[column.dtype]
    if wanted is float and type(plain) is int:
        return float(plain)
    if not isinstance(plain, wanted) or (wanted is int and isinstance(plain, bool)):
        raise ValueError(f"{column.name}: {plain!r} is not of type {column.dtype}")
    if wanted is int:
        bits = int(column.dtype.removeprefix("int"))
        if not -(2 ** (bits - 1)) <= plain < 2 ** (bits - 1):
            raise ValueError(f"{column.name}: {plain!r} does not fit {column.dtype}")
    return wanted.__str__(plain) if wanted is str else plain


def records(table: pd.DataFrame) -> list[dict[str, Any]]:
    """Turn a table into plain rows, with None for what is missing."""
    rows = table.astype(object).where(table.notna(), None).to_dict("records")
    return [{str(name): value for name, value in row.items()} for row in rows]


def limit_names(text: str | None) -> list[str]:
    """Names of the limits that the column `limits_passed` tells, without the values that pass them.

    Examples
    --------
    >>> limit_names("max_cpu_percent 93.4 > 80; max_memory_mb 600.0 > 512")
    ['max_cpu_percent', 'max_memory_mb']
    """
    return [part.split()[0] for part in re.split("[;,]", text or "") if part.strip()]
