"""Which bars are met: those of single rows, counted by group, and those of a group's median."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from prsm_scale.ladders import measurements
from prsm_scale.ladders.checks import Check, Verdict


@dataclass(frozen=True)
class Bar:
    """How a group of a ladder does.

    Attributes
    ----------
    ladder, group : str
    rows : int
        Rows of the group that were run.
    median_error, largest_error : float
        Absolute, over all its rows but those of distances between distributions.
    bar : float or None
        Of the median where the group has one, else none: then each row has its own.
    missed : tuple of str
        Rows that miss their own bar.
    """

    ladder: str
    group: str
    rows: int
    median_error: float
    largest_error: float
    bar: float | None
    missed: tuple[str, ...]

    @property
    def met(self) -> bool:
        """Whether the median is within its bar and no row misses its own."""
        return not self.missed and (self.bar is None or self.median_error <= self.bar)

    @property
    def line(self) -> str:
        """One line on a bar that is missed."""
        if self.missed:
            return f"{self.ladder}, {self.group}: beyond its bar: {', '.join(self.missed)}"
        return f"{self.ladder}, {self.group}: median error {self.median_error:.1%}, bar {self.bar:.0%}"


def summarise(checks: Sequence[Check]) -> list[Bar]:
    """One entry for each ladder and group with a row that was run, in their order."""
    groups: dict[tuple[str, str], list[Check]] = {}
    for check in checks:
        if check.error is not None:
            groups.setdefault((check.ladder, check.group), []).append(check)
    return [_bar(ladder, group, members) for (ladder, group), members in groups.items()]


def _bar(ladder: str, group: str, checks: Sequence[Check]) -> Bar:
    errors = [abs(check.error.value) for check in checks if check.error is not None and check.reference is not None]
    of_median = measurements.GROUP_BARS.get(group) if ladder == measurements.LADDER else None
    missed = tuple(f"{check.case} ({check.metric})" for check in checks if check.verdict == Verdict.FAIL)
    return Bar(ladder, group, len(checks), median(errors), max(errors), of_median, missed)
