"""What a user may ask for where the load varies: the grammar of loads, ``0.1,0.5,0.9`` or ``0.05..0.98``, and the grid."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from math import copysign, prod, sqrt
from numbers import Real
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, ValidationInfo, model_validator

from prsm_scale.axes import Axis, Positive, Rate, as_tuple, is_user_graph
from prsm_scale.config import AXES, MOST_SCENARIOS, Scenario, Sweep
from prsm_scale.errors import UsageError

DEFAULT_LOADS = "0.05..0.98"
DEFAULT_NODES = "16"
MOST_LOADS = 1000

_POINTS = 10
_GRAMMAR = "a number (0.5), list (0.1,0.5,0.9), range (0.05..0.98) or points (0.05..0.98/20)"
_NUMBER = r"(?:[0-9]{1,9}(?:\.[0-9]{1,15})?|\.[0-9]{1,15})"
_RANGE = re.compile(rf"({_NUMBER})\s*\.\.\s*({_NUMBER})(?:\s*/\s*([0-9]{{1,9}}))?")

LoadsSpec = str | float | Iterable[str | float]


def parse_loads(spec: LoadsSpec, field: str = "loads") -> tuple[float, ...]:
    """Turn a specification of loads into the loads to simulate.

    Parameters
    ----------
    spec
        Fractions of the capacity: a number, text in the grammar below, or an iterable of either. Commas separate parts of text:

        ``0.5``
            one load;
        ``0.05..0.98``
            ten loads, both ends included, the denser the nearer to 1, where latency bends: the square root of the distance from 1
            changes by equal steps;
        ``0.05..0.98/20``
            twenty such loads; those that round to the same three decimals merge.
    field
        Name used in errors.

    Returns
    -------
    tuple of float
        The loads, sorted, each once.

    Raises
    ------
    UsageError
        For text outside the grammar, a range that falls, or a load that is not between 0 and 2.

    Examples
    --------
    >>> parse_loads("0.05..0.98")
    (0.05, 0.222, 0.377, 0.514, 0.635, 0.738, 0.824, 0.893, 0.945, 0.98)
    >>> parse_loads("0.5..0.9/3,1.2")
    (0.5, 0.738, 0.9, 1.2)
    """
    loads = sorted(set(_loads(spec, field)))
    if not loads:
        raise UsageError(field, spec, _GRAMMAR)
    if len(loads) > MOST_LOADS:
        raise UsageError(field, spec, f"at most {MOST_LOADS} loads")
    return tuple(loads)


def _loads(spec: object, field: str) -> list[float]:
    if isinstance(spec, str):
        return [load for part in spec.split(",") for load in _part(part.strip(), field)]
    if isinstance(spec, Real) and not isinstance(spec, bool):
        return [_checked(float(spec), spec, field)]
    if isinstance(spec, Iterable) and not isinstance(spec, (bytes, dict)):
        return [load for item in spec for load in _loads(item, field)]
    raise UsageError(field, spec, _GRAMMAR)


def _part(text: str, field: str) -> list[float]:
    if re.fullmatch(_NUMBER, text):
        return [_checked(float(text), text, field)]
    match = _RANGE.fullmatch(text)
    if match is None:
        raise UsageError(field, text, _GRAMMAR)
    first, last = (_checked(float(end), text, field) for end in match.group(1, 2))
    points = int(match.group(3) or _POINTS)
    if first >= last:
        raise UsageError(field, text, "a range that rises")
    if not 2 <= points <= MOST_LOADS:
        raise UsageError(field, text, f"2 to {MOST_LOADS} points")
    start, end = (copysign(sqrt(abs(1 - load)), 1 - load) for load in (first, last))
    roots = (start + (end - start) * k / (points - 1) for k in range(1, points - 1))
    inner = (round(1 - root * abs(root), 3) for root in roots)
    return [first, *(load for load in inner if first < load < last), last]


def _checked(load: float, given: object, field: str) -> float:
    if not 0 < load < 2:
        raise UsageError(field, given, "fractions of the capacity, more than 0 and less than 2")
    return load


def _left_out(value: Any, info: ValidationInfo) -> Any:
    if value not in (None, (0.0,)):
        raise UsageError(info.field_name or "", value, "left out: the rate follows from loads")
    return value


class LoadSweep(Sweep):
    """A grid of systems, each of which is offered the same fractions of its own capacity.

    Every setting of `Sweep` is a keyword but `rate` and `clients`, in whose place stands `loads`, see `parse_loads`.

    Raises
    ------
    UsageError
        One line for each fault.
    """

    loads: Annotated[tuple[float, ...], BeforeValidator(parse_loads)] = parse_loads(DEFAULT_LOADS)
    rate: Annotated[Axis[Rate], AfterValidator(_left_out)] = (0.0,)
    clients: Annotated[Positive | None, AfterValidator(_left_out)] = None

    @model_validator(mode="before")
    @classmethod
    def _few_nodes(cls, given: dict[str, Any]) -> dict[str, Any]:
        """Take fewer n than a sweep where nobody gives them, as each has a curve of its own."""
        own_count = any(map(is_user_graph, as_tuple(given.get("topology"))))
        return given if own_count else {"nodes": DEFAULT_NODES, **given}

    @model_validator(mode="after")
    def _not_too_many(self) -> LoadSweep:
        if self.size > MOST_SCENARIOS:
            raise UsageError("load", f"{self.size} scenarios", f"at most {MOST_SCENARIOS}")
        return self

    @property
    def size(self) -> int:
        """Number of scenarios: for each system, the idle one and one for each load."""
        return prod(len(self._axis(name)) for name in AXES) * (1 + len(self.loads))

    def at_loads(self, idle: Scenario, capacity: float | None) -> list[Scenario]:
        """Scenarios in which a system is offered its loads; none where it can do nothing.

        Parameters
        ----------
        idle
            The system at rate 0, one of `scenarios`.
        capacity
            Operations per second that it can do, if that is known.
        """
        if not capacity or not capacity > 0:
            return []
        return [idle.but(rate=load * capacity) for load in self.loads]


def holds_loads(settings: Mapping[str, Any]) -> bool:
    """Whether the settings stored with a run are those of a `LoadSweep`."""
    return "loads" in settings
