"""Resilience: what becomes of operations as the share of faulty replicas grows, for every number of replicas."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from prsm_scale.columns import GROUP_COLUMNS

if TYPE_CHECKING:
    import pandas as pd

RATIO, NODES = "byzantine_ratio", "node_count"
SUCCEEDS = 0.99
"""Share of operations that have to be answered for a scenario to count as one that succeeds."""

_SERIES = [*(name for name in GROUP_COLUMNS if name != RATIO), "primary_policy"]
_CELL = [*_SERIES, NODES, RATIO]
_MEASURED = [
    "behaviour",
    "byzantine_count",
    "fault_threshold",
    "feasible",
    "reason",
    "success_rate",
    "success_low",
    "success_high",
    "mean_latency_ms",
    "mean_latency_low_ms",
    "mean_latency_high_ms",
    "view_changes_per_operation",
    "failover_views",
    "failover_ms",
    "safety_violations",
]


def resilience(scenarios: pd.DataFrame) -> pd.DataFrame:
    """Tabulate success, latency, view changes and violations over the share of faulty replicas and n.

    Parameters
    ----------
    scenarios
        Rows of SCENARIO_COLUMNS.

    Returns
    -------
    pandas.DataFrame
        One row a scenario, sorted by n and then by ratio inside each series of scenarios that differ in these alone. Besides
        columns of the scenario it has

        * `bound_ratio`: f / n, the share of faulty replicas that the protocol is made for;
        * `view_changes`: of an operation under primary policy rotating, of the first operation under stable, where later ones
          have none; missing where no operation succeeded;
        * `succeeds`: whether 99 % of operations were answered, and no two honest replicas committed different values;
        * `tolerated_ratio`: the largest ratio of the same series and n up to which all scenarios succeed; missing where the
          smallest does not.
    """
    # A run that went on with other settings may hold a cell twice.
    table = scenarios.reindex(columns=[*_CELL, *_MEASURED]).drop_duplicates(_CELL, keep="last")
    place = table.groupby(_SERIES, sort=False, dropna=False).ngroup()
    table = table.assign(place=place).sort_values(["place", NODES, RATIO], ignore_index=True)
    answered = table["success_rate"] > 0
    changes = table["view_changes_per_operation"].where(table["primary_policy"] == "rotating", table["failover_views"])
    changes = changes.mask(table["byzantine_count"] == 0, table["view_changes_per_operation"])
    succeeds = (table["success_rate"] >= SUCCEEDS) & ~(table["safety_violations"].fillna(0) > 0)
    by = [table["place"], table[NODES]]
    unbroken = succeeds.astype(np.int8).groupby(by).cummin() == 1
    return table.assign(
        bound_ratio=table["fault_threshold"] / table[NODES],
        view_changes=changes.where(answered),
        succeeds=succeeds,
        tolerated_ratio=table[RATIO].where(unbroken).groupby(by).transform("max"),
    ).drop(columns="place")


def byzantine_resilience(scenarios: pd.DataFrame) -> dict[float, dict[int, float | None]]:
    """Success by share of faulty replicas and number of replicas, as a scaling test reports it.

    Parameters
    ----------
    scenarios
        Rows of SCENARIO_COLUMNS.

    Returns
    -------
    dict
        ``{ratio: {n: success}}``, both ascending: the share of operations answered, mean over the scenarios of that ratio and
        n, say of several network conditions; None where none of them was simulated.
    """
    mean = resilience(scenarios).groupby([RATIO, NODES])["success_rate"].mean()
    found: dict[float, dict[int, float | None]] = {}
    for (ratio, nodes), success in zip(mean.index.tolist(), mean.tolist(), strict=True):
        found.setdefault(ratio, {})[nodes] = None if np.isnan(success) else success
    return found
