"""Results of scaling tests on disk: JSON, CSV and Parquet of one stem, and what the host did."""

from __future__ import annotations

import os
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from prsm_scale.atomic import dumps, failing_in_one_line, reason, strict, write_text
from prsm_scale.columns import SCENARIO_COLUMNS, validate_rows
from prsm_scale.controller.config import ScalingTestConfig
from prsm_scale.controller.result import ScalingTestResult
from prsm_scale.errors import UsageError
from prsm_scale.host_columns import HOST_COLUMNS, HOST_FILE
from prsm_scale.reading import SCHEMA_VERSION, read_parquet
from prsm_scale.store import arrow_table, frame, made_by, write_parquet
from prsm_scale.validation import read_json

CSV_FIRST: Final = (
    "node_count",
    "operations_per_second",
    "mean_latency_ms",
    "p95_latency_ms",
    "success_rate",
    "scaling_efficiency",
)
_RENAMED: Final = {"cpu_percent_max": "cpu_usage_estimate", "memory_mb": "memory_usage_mb"}
_KEYS: Final = ("config", "timing", "performance", "resources", "network", "analysis", "provenance")
_STEM = "scaling_test_"


def save_result(result: ScalingTestResult, out_dir: str | os.PathLike[str]) -> Path:
    """Write a result, and return the path of its JSON file; CSV and Parquet are beside it.

    Each file is there as a whole or not at all, and the JSON file comes last.

    Raises
    ------
    UsageError
        If the folder cannot be made.
    PrsmScaleError
        If a file cannot be written.
    """
    folder = Path(out_dir)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError("output_directory", str(folder), f"a folder that can be written ({reason(error)})") from error
    file = _free(folder, f"{_STEM}{result.config.name}_{result.start_time:%Y%m%d_%H%M%S}")
    rows = validate_rows([{**row, "run_id": file.stem} for row in result.rows], SCENARIO_COLUMNS)
    provenance = result.provenance | {"run_id": file.stem}
    with failing_in_one_line(folder):
        if result.resource_logs:
            samples = validate_rows(result.resource_logs, HOST_COLUMNS)
            write_parquet(file.with_name(f"{file.stem}_{HOST_FILE}"), arrow_table(samples, HOST_COLUMNS, provenance))
        write_text(file.with_suffix(".csv"), _csv(result))
        write_parquet(file.with_suffix(".parquet"), arrow_table(rows, SCENARIO_COLUMNS, provenance))
        write_text(file, f"{dumps(document(result, provenance), indent=1)}\n")
    return file


def load_result(path: str | os.PathLike[str]) -> ScalingTestResult:
    """Read a result back.

    Parameters
    ----------
    path
        Its JSON file, or the CSV or Parquet file beside that.

    Raises
    ------
    UsageError
        If there is none, or it is damaged, of a newer version, or not prsm-scale's.
    """
    file = Path(path).with_suffix(".json")
    told = read_json(file, "result")
    if not all(isinstance(told.get(key), dict) for key in _KEYS):
        raise UsageError("result", str(file), f"a result of a scaling test, with the keys {', '.join(_KEYS)}")
    version = told["provenance"].get("schema_version")
    if not isinstance(version, int) or version > SCHEMA_VERSION:
        allowed = f"schema version {SCHEMA_VERSION} or older, not {version}: update prsm-scale"
        raise UsageError("result", str(file), allowed)
    _, rows = read_parquet(file.with_suffix(".parquet"), SCENARIO_COLUMNS)
    host = file.with_name(f"{file.stem}_{HOST_FILE}")
    try:
        return ScalingTestResult(
            config=ScalingTestConfig(**told["config"]),
            start_time=datetime.fromisoformat(told["timing"]["start_time"]),
            end_time=datetime.fromisoformat(told["timing"]["end_time"]),
            scenarios=frame(rows, SCENARIO_COLUMNS),
            resource_logs=read_parquet(host, HOST_COLUMNS)[1] if host.is_file() else [],
            recommendations=told["analysis"].get("recommendations", {}),
            provenance=told["provenance"],
        )
    except (KeyError, TypeError, ValueError) as error:
        if isinstance(error, UsageError):
            raise
        raise UsageError("result", str(file), f"a result of a scaling test ({reason(error)})") from None


def provenance_of(config: ScalingTestConfig, created: datetime, command: str | None) -> dict[str, Any]:
    """What made a result: versions, seed, engine and digest of the configuration, enough to run it again."""
    settings = config.to_dict()
    made = made_by("", created, settings, command)
    one = config.scenarios()[0]
    return made | {"seed": one.seed, "engine": str(one.engine), "config_digest": made["sweep_digest"]}


def document(result: ScalingTestResult, provenance: Mapping[str, Any]) -> dict[str, Any]:
    """The result as one JSON document."""
    performance = {
        "basis": result.basis,
        "node_performance": result.node_performance,
        "conditions": result.conditions,
        "scaling_efficiency": result.scaling_efficiency,
        "throughput_saturation_point": result.throughput_saturation_point,
        "latency_degradation_point": result.latency_degradation_point,
        "recommended_max_nodes": result.recommended_max_nodes,
    }
    told = {
        "config": result.config.to_dict(),
        "timing": {
            "start_time": result.start_time.isoformat(),
            "end_time": result.end_time.isoformat(),
            "total_duration_seconds": (result.end_time - result.start_time).total_seconds(),
        },
        "performance": performance,
        "resources": {
            "resource_usage": result.resource_usage,
            "memory_usage_trend": result.memory_usage_trend,
            "cpu_usage_trend": result.cpu_usage_trend,
        },
        "network": {
            "network_metrics": result.network_metrics,
            "bandwidth_requirements": result.bandwidth_requirements,
            "message_overhead": result.message_overhead,
        },
        "byzantine_analysis": {"byzantine_resilience": result.byzantine_resilience},
        "analysis": {
            "performance_bottlenecks": result.performance_bottlenecks,
            "scaling_recommendations": result.scaling_recommendations,
            "groups": [one.to_dict() for one in result.analyses],
            "recommendations": result.recommendations,
        },
        "raw_data": {
            "resource_logs_count": len(result.resource_logs),
            "detailed_results_count": len(result.detailed_results),
        },
        "provenance": dict(provenance),
    }
    plain: dict[str, Any] = strict(told)
    return plain


def _free(folder: Path, stem: str) -> Path:
    """A JSON file of this stem that is not there yet: of two results of one second the later has a number."""
    names = (stem, *(f"{stem}_{k}" for k in range(2, 10_000)))
    return next(folder / f"{name}.json" for name in names if not (folder / f"{name}.json").exists())


def _csv(result: ScalingTestResult) -> str:
    """One line a scenario: the columns that come first, then all others."""
    import pandas as pd

    from prsm_scale.analysis.scaling import groups, scaling_efficiency

    told = []
    for group in groups(result.scenarios):
        efficiency = scaling_efficiency(group)
        told.append(group.assign(scaling_efficiency=group["node_count"].map(efficiency)))
    table = pd.concat(told).sort_index().rename(columns=_RENAMED)
    shown = ("cpu_usage_estimate", "memory_usage_mb", "byzantine_ratio", "network_condition")
    others = [name for name in table.columns if name not in (*CSV_FIRST, *shown, "run_id", "scenario")]
    text: str = table[[*CSV_FIRST, *shown, *others]].to_csv(index=False, lineterminator="\n")
    return text
