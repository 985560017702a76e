"""One group of scenarios that differ in the number of replicas alone, as arrays over n."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from prsm_scale.analysis.curves import Floats
from prsm_scale.analysis.efficiency import BASIS
from prsm_scale.columns import GROUP_COLUMNS, interval_names
from prsm_scale.errors import UsageError
from prsm_scale.resources import PROFILES

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, eq=False)
class Points:
    """Scenarios of one group.

    Attributes
    ----------
    table : pandas.DataFrame
        Rows of SCENARIO_COLUMNS, each n once, ascending.
    nodes : ndarray of int64, shape (m,)
        Their n.
    throughput : ndarray of float64, shape (m,)
        Saturation throughput in operations a second; infinite where nothing limits it, NaN where it is not known.
    """

    table: pd.DataFrame
    nodes: NDArray[np.int64]
    throughput: Floats

    def column(self, name: str) -> Floats:
        """Values of a column, NaN where there is none: float64 of shape (m,)."""
        return np.asarray(self.table[name].astype("float64"), np.float64)

    def interval(self, name: str) -> tuple[Floats, Floats]:
        """Ends of the 95 % interval of a column; of `success_rate` too, whose ends are named after success alone."""
        low, high = ("success_low", "success_high") if name == "success_rate" else interval_names(name)
        return self.column(low), self.column(high)

    def texts(self, name: str) -> list[str]:
        """Values of a column of texts, "" where there is none."""
        return [value if isinstance(value, str) else "" for value in self.table[name]]

    def offered(self) -> Floats:
        """Operations offered a second, 0 by clients that wait for answers: these offer what gets done."""
        waiting = [settings.get("clients") is not None for settings in self._settings()]
        return np.where(waiting, 0.0, self.column("offered_ops_per_second"))

    def profile_memory_mb(self) -> Floats:
        """Memory that a replica has; infinite where the profile is not known."""
        held = [settings.get("memory_mb") for settings in self._settings()]
        profiles = [PROFILES.get(name) for name in self.texts("resource_profile")]
        usual = [np.inf if profile is None else profile.memory_mb for profile in profiles]
        return np.array([own or other for own, other in zip(held, usual, strict=True)], dtype=np.float64)

    def _settings(self) -> list[dict[str, Any]]:
        return [json.loads(text) if text else {} for text in self.texts("scenario")]

    def at(self, holds: NDArray[np.bool_]) -> list[int]:
        """The n at which something holds."""
        chosen: list[int] = self.nodes[holds].tolist()
        return chosen


def points_of(group: pd.DataFrame) -> Points:
    """Take one group apart.

    Parameters
    ----------
    group
        Rows of SCENARIO_COLUMNS that differ in n alone; of several with the same n the last counts.

    Raises
    ------
    UsageError
        If the rows differ in another axis.
    """
    varied = [name for name in GROUP_COLUMNS if group[name].nunique(dropna=False) > 1]
    if varied:
        raise UsageError("scenarios", ", ".join(varied), "rows that differ in node_count alone")
    # A run that went on with other settings may hold an n twice.
    table = group.drop_duplicates("node_count", keep="last").sort_values("node_count", ignore_index=True)
    points = Points(table, table["node_count"].to_numpy(dtype=np.int64), np.empty(0))
    known, load = points.column(BASIS), points.column("utilisation")
    unlimited = np.isnan(known) & (load == 0)
    return Points(table, points.nodes, np.where(unlimited, np.inf, known))


def plain(value: float) -> float | None:
    """Give a number that JSON can hold, None for one that is not known or not finite."""
    return float(value) if np.isfinite(value) else None


def trend(points: Points, name: str) -> tuple[tuple[int, float | None], ...]:
    """Pair each n with the value of a column, None where there is none."""
    return tuple(zip(points.nodes.tolist(), map(plain, points.column(name)), strict=True))


def ends(low: Sequence[float] | Floats, high: Sequence[float] | Floats, place: int) -> tuple[float, float] | None:
    """Give the interval of one of many values, None where it is not known."""
    pair = (plain(low[place]), plain(high[place]))
    return None if pair[0] is None or pair[1] is None else (pair[0], pair[1])
