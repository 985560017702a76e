"""Runs that have gathered in a folder: which there are, and where their metrics go."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from prsm_scale.analysis.comparison import BETTER
from prsm_scale.analysis.differences import holm
from prsm_scale.analysis.identity import by_identity
from prsm_scale.analysis.trends import mann_kendall, theil_sen
from prsm_scale.columns import records
from prsm_scale.errors import UsageError, one_of
from prsm_scale.host_columns import HOST_FILE
from prsm_scale.reading import JOURNAL, TABLE
from prsm_scale.store import StoredRun, load

if TYPE_CHECKING:
    import pandas as pd

Row = Mapping[str, Any]

HEADLINES: Final = ("saturation_ops_per_second", "mean_latency_ms", "p99_latency_ms", "success_rate")
FEWEST_RUNS: Final = 5
"""Runs of which a trend can be told: the order of fewer may well be chance."""

LEVEL: Final = 0.05
"""Chance that a history without a trend shows any."""

TOLERANCE: Final = 0.02


class Direction(StrEnum):
    """Where a metric goes from run to run; there is no trend where the slope is more than steady, but may be chance."""

    STEADY = "steady"
    RISING = "rising"
    FALLING = "falling"
    NO_TREND = "no trend"
    TOO_FEW = "too few runs"
    NO_VALUES = "no values"


@dataclass(frozen=True, eq=False)
class PastRun:
    """A stored run in a history.

    Attributes
    ----------
    stored : StoredRun
    """

    stored: StoredRun

    @cached_property
    def rows(self) -> list[dict[str, Any]]:
        """Rows of its scenarios."""
        return records(self.stored.scenarios)

    @cached_property
    def scenarios(self) -> dict[str, dict[int, Row]]:
        """Rows by what was simulated and by seed."""
        return by_identity(self.rows)

    @property
    def run_id(self) -> str:
        """Name of the run."""
        return str(self.stored.provenance["run_id"])

    @property
    def created_utc(self) -> str:
        """When the run began, ISO 8601."""
        return str(self.stored.provenance.get("created_utc", ""))

    @property
    def age(self) -> tuple[str, str, str]:
        """What runs are sorted by, oldest first."""
        return self.created_utc, str(self.stored.provenance.get("finished_utc", "")), self.run_id

    @property
    def name(self) -> str:
        """Name of its configuration; empty where it has none."""
        return str((self.stored.provenance.get("sweep") or {}).get("name") or "")

    @property
    def configuration(self) -> str:
        """Name of its configuration, or the command that started it."""
        command = str(self.stored.provenance.get("command") or "").removeprefix("prsm-scale ")
        return self.name or command

    def like(self, other: PastRun) -> bool:
        """Whether both are of the same configuration: the same name, or the same scenarios whatever their seeds."""
        return bool(self.name and self.name == other.name) or self.scenarios.keys() == other.scenarios.keys()

    def document(self, metrics: Sequence[str]) -> dict[str, Any]:
        """The run as plain data, with the range of each metric over its scenarios."""
        provenance = self.stored.provenance
        return {
            "run": self.run_id,
            "path": str(self.stored.path),
            "created_utc": self.created_utc,
            "version": provenance.get("prsm_scale"),
            "configuration": self.configuration,
            "finished": self.stored.finished,
            "scenarios": len(self.rows),
            "seeds": sorted({row["seed"] for row in self.rows}),
            "wall_seconds": sum(row["wall_seconds"] or 0.0 for row in self.rows),
            "metrics": {metric: self.ends(metric) for metric in metrics},
        }

    def ends(self, metric: str) -> list[float] | None:
        """Smallest and largest value of a metric over the scenarios; None where there is none."""
        values = [row[metric] for row in self.rows if row[metric] is not None]
        return [min(values), max(values)] if values else None


@dataclass(frozen=True)
class Trend:
    """A metric over the runs of the same scenarios, oldest first.

    Attributes
    ----------
    configuration : str
        Name of the configuration, or what its scenarios are.
    metric : str
    runs : tuple of str
    levels : tuple of float
        For each run the mean over scenarios of its value over the median of all runs; 1 where nothing changes.
    slope : float or None
        Change of the level from one run to the next, Theil and Sen's.
    p : float or None
        Mann and Kendall's chance of such an order without a trend.
    direction : Direction
    """

    configuration: str
    metric: str
    runs: tuple[str, ...]
    levels: tuple[float, ...]
    slope: float | None = None
    p: float | None = None
    direction: Direction = Direction.STEADY

    @property
    def change(self) -> float | None:
        """Change of the level over all runs that the slope makes."""
        return None if self.slope is None else self.slope * (len(self.levels) - 1)

    @property
    def way(self) -> str:
        """Better or worse; empty where there is no trend."""
        if self.direction not in (Direction.RISING, Direction.FALLING):
            return ""
        return "better" if (self.direction == Direction.RISING) == (BETTER[self.metric] == "higher") else "worse"

    def document(self) -> dict[str, Any]:
        """The trend as plain data."""
        return {
            "configuration": self.configuration,
            "metric": self.metric,
            "runs": list(self.runs),
            "levels": list(self.levels),
            "slope": self.slope,
            "change": self.change,
            "p": self.p,
            "direction": str(self.direction),
            "way": self.way,
        }


@dataclass(frozen=True, eq=False)
class History:
    """Runs of a folder.

    Attributes
    ----------
    runs : tuple of PastRun
        Oldest first.
    trends : tuple of Trend
        Of each metric over each set of two or more finished runs of the same scenarios.
    metrics : tuple of str
    damaged : tuple of str
        A line for each run that cannot be read.
    others : int
        Folders of another kind, such as fault runs and validations, and runs that hold nothing yet.
    """

    runs: tuple[PastRun, ...]
    trends: tuple[Trend, ...]
    metrics: tuple[str, ...]
    damaged: tuple[str, ...]
    others: int

    @property
    def frame(self) -> pd.DataFrame:
        """One row a run."""
        import pandas as pd

        return pd.DataFrame([run.document(self.metrics) for run in self.runs])

    def document(self) -> dict[str, Any]:
        """The history as plain data."""
        return {
            "runs": [run.document(self.metrics) for run in self.runs],
            "trends": [trend.document() for trend in self.trends],
            "damaged": list(self.damaged),
            "others": self.others,
        }

    def __repr__(self) -> str:
        """Count the runs and the trends in one line."""
        moving = sum(bool(trend.way) for trend in self.trends)
        return f"<History: {len(self.runs)} runs, {moving} trends, {len(self.damaged)} damaged>"


def history(
    directory: str | os.PathLike[str] = "results",
    metrics: Sequence[str] = HEADLINES,
    name: str | None = None,
    limit: int | None = None,
) -> History:
    """List the runs of a folder, and the trends of their metrics.

    Parameters
    ----------
    directory
        Folder that holds the runs.
    metrics
        Columns to follow; each has a better way.
    name
        Only runs of the configuration of this name.
    limit
        Only so many of the newest.

    Returns
    -------
    History

    Raises
    ------
    UsageError
        If there is no such folder, or a metric has no better way.

    Notes
    -----
    Runs follow one another in a trend where they hold the same scenarios, whatever their seeds and versions. It rises or falls
    where its order is significant by Mann and Kendall's test, after Holm's procedure over all trends, and the slope makes more
    than 2 % over all runs. A step shows only once enough runs lie behind it: `compare` finds it at once.
    """
    faults = [UsageError("metric", metric, one_of(BETTER, metric)) for metric in metrics if metric not in BETTER]
    if faults:
        raise UsageError.gather(faults)
    runs, damaged, others = _scan(Path(directory))
    chosen = [run for run in runs if name is None or run.name == name]
    chosen = chosen[max(0, len(chosen) - limit) :] if limit is not None else chosen
    return History(tuple(chosen), _trends(chosen, metrics), tuple(metrics), tuple(damaged), others)


def earlier(run: StoredRun) -> StoredRun:
    """Find the latest finished run before this one in the same folder, of the same configuration.

    Raises
    ------
    UsageError
        If there is none.
    """
    folder, this = run.path.parent, PastRun(run)
    before = [one for one in _scan(folder)[0] if one.age < this.age and one.stored.finished and one.like(this)]
    if not before:
        raise UsageError("against", "last", f"only where {folder} has an earlier run of the same configuration")
    return before[-1].stored


def _scan(folder: Path) -> tuple[list[PastRun], list[str], int]:
    """Runs of a folder, oldest first; a line for each that cannot be read; how much there is of other kinds."""
    if not folder.is_dir() or _kind(folder) == "run":
        raise UsageError("directory", str(folder), "a folder that holds runs")
    runs, damaged, others = [], [], 0
    for place in sorted(folder.iterdir()):
        kind = _kind(place)
        others += kind == "other"
        if kind == "run":
            try:
                run = PastRun(load(place))
            except UsageError as error:
                damaged += error.lines
                continue
            if run.rows:
                runs.append(run)
            else:
                others += 1
    return sorted(runs, key=lambda run: run.age), damaged, others


def _kind(place: Path) -> str:
    if place.name.startswith("."):
        return ""
    if place.is_dir():
        if (place / JOURNAL).is_file() or (place / TABLE).is_file():
            return "run"
        return "other" if any(place.glob("*.parquet")) else ""
    return "run" if place.suffix == ".parquet" and not place.name.endswith(HOST_FILE) else ""


def _trends(runs: Sequence[PastRun], metrics: Sequence[str]) -> tuple[Trend, ...]:
    groups: dict[tuple[str, frozenset[str]], list[PastRun]] = {}
    for run in runs:
        if run.stored.finished:
            groups.setdefault((run.name, frozenset(run.scenarios)), []).append(run)
    trends = [_trend(group, metric) for group in groups.values() if len(group) > 1 for metric in metrics]
    tested = [trend.p for trend in trends if trend.p is not None]
    significant = iter(holm(tested, LEVEL))
    return tuple(_directed(trend, next(significant)) if trend.p is not None else trend for trend in trends)


def _trend(runs: Sequence[PastRun], metric: str) -> Trend:
    levels = tuple(_levels(runs, metric))
    trend = Trend(_told(runs[-1]), metric, tuple(run.run_id for run in runs), levels)
    if not levels:
        return replace(trend, direction=Direction.NO_VALUES)
    if len(levels) < FEWEST_RUNS:
        return replace(trend, direction=Direction.TOO_FEW)
    return replace(trend, slope=theil_sen(levels), p=mann_kendall(levels))


def _directed(trend: Trend, significant: bool) -> Trend:
    change = trend.change or 0.0
    if abs(change) <= TOLERANCE:
        return trend
    way = Direction.RISING if change > 0.0 else Direction.FALLING
    return replace(trend, direction=way if significant else Direction.NO_TREND)


def _levels(runs: Sequence[PastRun], metric: str) -> Iterator[float]:
    """Level of each run, from the scenarios that have a value in every one."""
    courses = []
    for scenario in runs[-1].scenarios:
        values = [[row[metric] for row in run.scenarios[scenario].values() if row[metric] is not None] for run in runs]
        course = np.array([np.mean(each) if each else np.nan for each in values])
        middle = float(np.median(course))
        if middle > 0.0:
            courses.append(course / middle)
    return map(float, np.mean(courses, axis=0)) if courses else iter(())


def _told(run: PastRun) -> str:
    """Name of a configuration, or what its scenarios are."""
    if run.name:
        return run.name
    nodes = sorted({row["node_count"] for row in run.rows})
    size = f"n = {nodes[0]}" if len(nodes) == 1 else f"n = {nodes[0]}..{nodes[-1]}"
    axes = [", ".join(dict.fromkeys(row[axis] for row in run.rows)) for axis in ("topology", "network_condition")]
    return f"{size}, {', '.join(axes)}, {len(run.scenarios)} scenario{'s' * (len(run.scenarios) != 1)}"
