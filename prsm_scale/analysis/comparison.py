"""What a comparison of two runs holds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final, Protocol

from prsm_scale.columns import SCENARIO_COLUMNS

if TYPE_CHECKING:
    import pandas as pd

Row = Mapping[str, Any]

BETTER: Final = {column.name: column.better for column in SCENARIO_COLUMNS if column.better and column.dtype == "float64"}
"""Metrics that can be compared, each with the way that is an improvement."""


class Verdict(StrEnum):
    """What became of a metric of a scenario."""

    REGRESSION = "regression"
    IMPROVEMENT = "improvement"
    CHANGED = "changed"
    UNCHANGED = "unchanged"
    NOT_COMPARABLE = "not comparable"


class HasScenarios(Protocol):
    """A run, just finished or read back."""

    @property
    def scenarios(self) -> pd.DataFrame:
        """One row a scenario."""


@dataclass(frozen=True)
class Change:
    """One metric of one scenario, before and after.

    Attributes
    ----------
    row : mapping
        The scenario's row after, or before where there is none after.
    seeds : tuple of int
        Seeds compared: one, or those before and after where they differ.
    metric : str
        A column, or `feasible`, `limits_passed` or `safety_violations`.
    before, after : float, bool, str or None
        Values; means over seeds where several are compared.
    change, change_low, change_high : float or None
        Relative change, after / before - 1, and its 95 % interval; None where before is 0 or there is no number.
    p : float or None
        Chance of a difference at least as large without a change; None where nothing was tested.
    verdict : Verdict
    why : str
        What else is to be said; empty where nothing is.
    """

    row: Row
    seeds: tuple[int, ...]
    metric: str
    before: Any
    after: Any
    change: float | None = None
    change_low: float | None = None
    change_high: float | None = None
    p: float | None = None
    verdict: Verdict = Verdict.UNCHANGED
    why: str = ""

    def document(self) -> dict[str, Any]:
        """The change as plain data, with what tells the scenario."""
        told = {field.name: getattr(self, field.name) for field in fields(self) if field.name != "row"}
        names = ("scenario_id", "node_count", "topology", "network_condition", "byzantine_ratio")
        return {name: self.row[name] for name in names} | told | {"seeds": list(self.seeds), "verdict": str(self.verdict)}


@dataclass(frozen=True)
class Comparison:
    """Two runs, scenario by scenario.

    Attributes
    ----------
    changes : tuple of Change
        Every metric of every scenario that is in both runs.
    only_before, only_after : tuple of mapping
        Rows of scenarios that the other run has not.
    notes : tuple of str
        What is to be known of scenarios as a whole.
    tolerance, level : float
        Smallest relative change that counts; chance of finding any change without one.
    """

    changes: tuple[Change, ...]
    only_before: tuple[Row, ...]
    only_after: tuple[Row, ...]
    notes: tuple[str, ...]
    tolerance: float
    level: float

    def of(self, verdict: Verdict) -> tuple[Change, ...]:
        """Changes of one verdict."""
        return tuple(change for change in self.changes if change.verdict == verdict)

    @property
    def regressions(self) -> tuple[Change, ...]:
        """What got worse."""
        return self.of(Verdict.REGRESSION)

    @property
    def improvements(self) -> tuple[Change, ...]:
        """What got better."""
        return self.of(Verdict.IMPROVEMENT)

    @property
    def frame(self) -> pd.DataFrame:
        """One row a metric of a scenario."""
        import pandas as pd

        return pd.DataFrame([change.document() for change in self.changes])

    def document(self) -> dict[str, Any]:
        """The comparison as plain data."""
        return {
            "tolerance": self.tolerance,
            "level": self.level,
            "counts": {str(verdict): len(self.of(verdict)) for verdict in Verdict},
            "changes": [change.document() for change in self.changes],
            "only_before": [row["scenario_id"] for row in self.only_before],
            "only_after": [row["scenario_id"] for row in self.only_after],
            "notes": list(self.notes),
        }

    def __repr__(self) -> str:
        """Count the verdicts in one line."""
        counts = (f"{len(self.of(verdict))} {verdict}" for verdict in Verdict)
        return f"<Comparison: {', '.join(counts)}>"


def label(row: Row) -> str:
    """Name a scenario in a few words."""
    faulty = f", byzantine {row['byzantine_ratio']:g}" if row["byzantine_ratio"] else ""
    return f"n = {row['node_count']}, {row['topology']}, {row['network_condition']}{faulty}, seed {row['seed']}"
