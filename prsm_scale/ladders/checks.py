"""One prediction, what it is held against, and the verdict."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any, Final

from prsm_scale.columns import interval_names

EXACT: Final = 1e-6
"""Bar of what has to agree exactly: kernels compute in single precision."""

STANDARD_ERRORS: Final = 4.0
"""Bar of a Monte Carlo mean whose exact value is known: hardly a row in 10 000 misses it by chance."""

_Z: Final = 1.959963984540054


class Verdict(StrEnum):
    """What became of a check."""

    PASS = "pass"
    NOISE = "within noise"
    FAIL = "fail"
    NO_BAR = "no bar"
    NOT_RUN = "not run"


@dataclass(frozen=True)
class Estimate:
    """A value and the ends of its 95 % interval, which are the value itself where it has no error or none is known."""

    value: float
    low: float
    high: float

    @classmethod
    def exact(cls, value: float) -> Estimate:
        """A value without an interval."""
        return cls(value, value, value)

    @classmethod
    def with_error(cls, value: float, standard_error: float) -> Estimate:
        """A value with the normal interval of its standard error."""
        return cls(value, value - _Z * standard_error, value + _Z * standard_error)

    @classmethod
    def of_row(cls, row: Mapping[str, Any], column: str) -> Estimate | None:
        """Value of a column of results, with its interval where the row has one; None where the value is missing."""
        value = row.get(column)
        if value is None or not math.isfinite(value):
            return None
        low, high = (row.get(end) for end in interval_names(column))
        return cls(float(value), value if low is None else low, value if high is None else high)

    @property
    def standard_error(self) -> float:
        """Half of the interval over 1.96."""
        return (self.high - self.low) / (2.0 * _Z)

    def scaled(self, factor: float) -> Estimate:
        """Likewise in another unit."""
        return Estimate(self.value * factor, self.low * factor, self.high * factor)


def relative_error(predicted: Estimate, reference: Estimate) -> Estimate:
    """Predicted over reference, less 1, with the interval of both together, taken as independent.

    Where the reference is 0, the difference itself.
    """
    scale = abs(reference.value) or 1.0
    below = math.hypot(predicted.value - predicted.low, reference.high - reference.value)
    above = math.hypot(predicted.high - predicted.value, reference.value - reference.low)
    error = predicted.value - reference.value
    return Estimate(error / scale, (error - below) / scale, (error + above) / scale)


def standard_errors_bar(predicted: Estimate, reference: Estimate) -> float:
    """Relative bar of `STANDARD_ERRORS` combined standard errors."""
    combined = math.hypot(predicted.standard_error, reference.standard_error)
    return STANDARD_ERRORS * combined / abs(reference.value) + EXACT


@dataclass(frozen=True)
class Check:
    """One prediction held against a reference.

    Attributes
    ----------
    ladder, case, group : str
        Which ladder and row of it; what is alike about the rows of a group.
    engine : str
        Engine that predicts.
    metric, unit : str
        Quantity, and the unit of both values.
    nodes : int
        Replicas.
    predicted, reference, error : Estimate or None
        `error` is relative; where it is itself a distance there is no reference.
    bar : float or None
        Largest error allowed; None where the row has none of its own.
    why : str
        Why the row is not run, empty where it is.
    note, source, locator : str
        What was used and why; where the reference comes from.
    scenario : str
        The scenario as JSON.
    """

    ladder: str
    case: str
    group: str
    engine: str
    metric: str
    unit: str
    nodes: int | None = None
    predicted: Estimate | None = None
    reference: Estimate | None = None
    error: Estimate | None = None
    bar: float | None = None
    why: str = ""
    note: str = ""
    source: str = ""
    locator: str = ""
    scenario: str = ""

    @property
    def verdict(self) -> Verdict:
        """Whether the error is within its bar; beyond it, a row fails only if the error's interval is beyond it too."""
        if self.error is None:
            return Verdict.NOT_RUN
        if self.bar is None:
            return Verdict.NO_BAR
        if abs(self.error.value) <= self.bar:
            return Verdict.PASS
        reached = self.error.low <= self.bar and self.error.high >= -self.bar
        return Verdict.NOISE if reached else Verdict.FAIL

    def row(self) -> dict[str, Any]:
        """Values of `prsm_scale.columns.VALIDATION_COLUMNS`."""
        row = asdict(self)
        for name in ("predicted", "reference", "error"):
            estimate = row.pop(name) or {}
            row |= {name: estimate.get("value"), f"{name}_low": estimate.get("low"), f"{name}_high": estimate.get("high")}
        row["node_count"] = row.pop("nodes")
        return row | {"verdict": str(self.verdict)}
