"""Latency over the load: each scenario's load as a fraction of its system's capacity, the fitted curve, and its knee."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from prsm_scale.analysis.fits import QueueingFit, choose, fit_queueing
from prsm_scale.analysis.sweep_fits import estimate_columns, parameter_columns, relative_error
from prsm_scale.columns import GROUP_COLUMNS

if TYPE_CHECKING:
    import pandas as pd

_LATENCY = "mean_latency_ms"
_RATE = "offered_ops_per_second"
_SYSTEM = [*(name for name in GROUP_COLUMNS if name != _RATE), "node_count"]
"""Columns that scenarios of one curve share: all that tells a system, and not the rate offered to it."""


def with_loads(scenarios: pd.DataFrame) -> pd.DataFrame:
    """Add what each scenario's system can do, and its load.

    Parameters
    ----------
    scenarios
        Rows of SCENARIO_COLUMNS; of each system, one at rate 0.

    Returns
    -------
    pandas.DataFrame
        The same rows in the same order with two further columns: `capacity_ops_per_second`, the saturation throughput found at
        rate 0, and `load`, the offered rate as a fraction of it. Both are NaN where no capacity is known; a rate of 0 is a load
        of 0 always.
    """
    # A run that went on with other settings may hold a system twice.
    idle = scenarios[scenarios[_RATE] == 0].drop_duplicates(_SYSTEM, keep="last")
    capacity = idle[[*_SYSTEM, "saturation_ops_per_second"]].rename(
        columns={"saturation_ops_per_second": "capacity_ops_per_second"}
    )
    table = scenarios.merge(capacity, how="left", on=_SYSTEM)
    # Rounding undoes that of the multiplication by which the rate came about.
    load = (table[_RATE] / table["capacity_ops_per_second"]).round(9)
    return table.assign(load=load.mask(table[_RATE] == 0, 0.0))


def fit_load_curves(scenarios: pd.DataFrame) -> list[dict[str, Any]]:
    """Fit mean latency over the load, L0 + a rho / (2 (1 - rho)), for every system, and find the knee of the curve.

    Besides the flags of `LawFit`, a row may carry missing_points, where a scenario below capacity has no latency,
    unanswered_operations, where in one not all operations succeeded, and knee_outside_data.

    Parameters
    ----------
    scenarios
        Rows of SCENARIO_COLUMNS; of each system, one at rate 0. Loads from 1 on, whose latency grows with the length of the
        test, and the idle system are left out of the fit.

    Returns
    -------
    list of dict
        Rows of FIT_COLUMNS, one for each system that has a latency at some load below 1; the axes are those of its idle scenario.
    """
    groups = with_loads(scenarios).groupby(_SYSTEM, sort=False)
    curves = (_curve(dict(zip(_SYSTEM, key, strict=True)), group) for key, group in groups)
    return [curve for curve in curves if curve is not None]


def _curve(system: dict[str, Any], group: pd.DataFrame) -> dict[str, Any] | None:
    below = group[(group["load"] > 0) & (group["load"] < 1)]
    kept = below[below[_LATENCY] > 0]
    if kept.empty:
        return None
    load = kept["load"].to_numpy(dtype=np.float64)
    fit = fit_queueing(load, kept[_LATENCY], relative_error(kept))
    flags = {
        "missing_points": len(kept) < len(below),
        "unanswered_operations": bool((kept["success_rate"] < 1).any()),
        **dict.fromkeys(fit.flags, True),
        "knee_outside_data": fit.knee.value is not None and not load.min() <= fit.knee.value <= load.max(),
    }
    nodes = int(system.pop("node_count"))
    return {
        **system,
        _RATE: 0.0,
        "quantity": _LATENCY,
        "law": fit.law.name,
        "chosen": choose([fit]) == 0,
        "points": len(kept),
        "nodes_min": nodes,
        "nodes_max": nodes,
        "load_min": load.min(),
        "load_max": load.max(),
        "aicc": fit.aicc,
        "delta_aicc": None if fit.aicc is None else 0.0,
        "rmse_log": fit.rmse_log,
        "flags": ",".join(name for name, raised in flags.items() if raised),
        **parameter_columns(fit),
        **_knee(fit, group),
    }


def _knee(fit: QueueingFit, group: pd.DataFrame) -> dict[str, Any]:
    """Columns of the knee, from the fit and from the simulated loads alone."""
    capacity = float(group["capacity_ops_per_second"].iloc[0])
    power = (group["operations_per_second"] / group[_LATENCY]).to_numpy(dtype=np.float64)
    return {
        "capacity_ops_per_second": capacity,
        **estimate_columns("knee_load", fit.knee),
        "knee_ops_per_second": None if fit.knee.value is None else fit.knee.value * capacity,
        "knee_latency_ms": fit.knee_latency_ms,
        "grid_knee_load": float(group["load"].iloc[int(np.nanargmax(power))]),
    }
