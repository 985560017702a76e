"""Changes worth trying, as data: what each sets, when it applies, and what to say of it; see docs/recommendations.md."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any, Final

from pydantic import Field, ValidationInfo, field_validator, model_validator

from prsm_scale.axes import NOT_AVAILABLE_YET, Authentication, Dissemination, Environment, Profile, Topology
from prsm_scale.behaviours import PrimaryPolicy
from prsm_scale.config import Scenario
from prsm_scale.environments import read_latency_matrix, select_regions
from prsm_scale.errors import UsageError, one_of
from prsm_scale.protocols import PROTOCOLS, get_protocol
from prsm_scale.resources import resolve_profile
from prsm_scale.settings import ONLY_WITH
from prsm_scale.validation import Checked, gathering, read_toml
from prsm_scale.wording import number

READY: Final = Path(str(files("prsm_scale") / "data" / "candidates.toml"))
"""The candidates shipped with the package."""

_PRIMARIES: Final = 3
_AXES: Final[dict[str, Callable[[], Sequence[str]]]] = {
    "topology": lambda: list(Topology),
    "dissemination": lambda: list(Dissemination),
    "authentication": lambda: list(Authentication),
    "profile": lambda: list(Profile),
    "protocol": lambda: list(PROTOCOLS),
    "primary_policy": lambda: list(PrimaryPolicy),
    "environment": lambda: list(Environment),
}
"""Settings whose values have names; smaller ones first where they have a size."""


@dataclass(frozen=True)
class Change:
    """One change of one scenario.

    Attributes
    ----------
    family : str
        Changes of one family exclude each other.
    words : str
        What it is.
    settings : dict
        What it sets.
    caveat : str
        What it costs or what the simulation leaves out; empty where there is nothing to say.
    """

    family: str
    words: str
    settings: Mapping[str, Any]
    caveat: str = ""

    def applied(self, scenario: Scenario) -> Scenario:
        """The scenario with the change; settings that mean nothing there any more take their defaults.

        Raises
        ------
        UsageError
            If the scenario cannot be changed so.
        """
        fields = Scenario.model_fields
        idle = {
            name: fields[name].default
            for name, (axis, value) in ONLY_WITH.items()
            if axis in self.settings and self.settings[axis] != value
        }
        return scenario.but(**(idle | dict(self.settings)))


class Candidate(Checked):
    """What may be changed, to which values.

    Attributes
    ----------
    family : str
        Name by which candidates are chosen; of one family the best counts.
    setting : str
        Setting of `Scenario` that is changed.
    values : list or str
        Its new values, or the name of a rule that gives them: one of `RULES`.
    times : list of int
        In place of `values`, what the present value is multiplied by.
    except_ : tuple
        Values left out; ``except`` in a file.
    also : dict
        Further settings that go with each value.
    only : dict
        Settings that a scenario has to have.
    words, caveat, caveats : str, str, dict of str to str
        What to say of a change, and what it costs: of all values, and of single ones. In braces stand value, count and first of a
        list, faults, fault_model, fill, cores and memory_mb of the changed scenario.

    Raises
    ------
    UsageError
        One line for each fault.
    """

    family: str
    setting: str
    values: list[Any] | str | None = None
    times: list[int] | None = None
    except_: tuple[Any, ...] = ()
    also: dict[str, Any] = Field(default_factory=dict)
    only: dict[str, Any] = Field(default_factory=dict)
    words: str
    caveat: str = ""
    caveats: dict[str, str] = Field(default_factory=dict)

    @field_validator("setting")
    @classmethod
    def _is_setting(cls, name: str) -> str:
        if name not in Scenario.model_fields:
            raise UsageError("setting", name, one_of(Scenario.model_fields, name))
        return name

    @field_validator("words", "caveat", "caveats")
    @classmethod
    def _can_be_filled(cls, given: Any, info: ValidationInfo) -> Any:
        for text in given.values() if isinstance(given, dict) else (given,):
            try:
                text.format(**dict.fromkeys(_WORDS, ""))
            except (KeyError, IndexError, ValueError):
                allowed = f"text with {', '.join(_WORDS)} alone in braces"
                raise UsageError(info.field_name or "", text, allowed) from None
        return given

    @model_validator(mode="after")
    def _agree(self) -> Candidate:
        faults = [
            UsageError(field, name, one_of(Scenario.model_fields, name))
            for field in ("also", "only")
            for name in getattr(self, field)
            if name not in Scenario.model_fields
        ]
        if self.times is not None and type(Scenario.model_fields[self.setting].default) not in (int, float):
            faults.append(UsageError("setting", self.setting, "one that is a number unless it is given, with times"))
        if (self.values is None) == (self.times is None):
            faults.append(UsageError("values", self.values, "given, or times in its place"))
        if isinstance(self.values, str) and self.values not in RULES:
            faults.append(UsageError("values", self.values, f"a list, or {one_of(RULES, self.values)}"))
        elif self.values in _OF_AXIS and self.setting not in _AXES:
            faults.append(UsageError("setting", self.setting, f"with values {self.values!r} {one_of(_AXES, self.setting)}"))
        if self.times is not None and (not self.times or min(self.times) < 2):
            faults.append(UsageError("times", self.times, "whole numbers from 2"))
        if faults:
            raise UsageError.gather(faults)
        return self

    def changes(self, scenario: Scenario) -> Iterator[Change]:
        """Changes of a scenario, those that set what it has already left out."""
        if any(getattr(scenario, name) != value for name, value in self.only.items()):
            return
        present = getattr(scenario, self.setting)
        for value in self._values(scenario, present):
            if value != present and value not in self.except_:
                yield self._change(scenario, value)

    def _values(self, scenario: Scenario, present: Any) -> Sequence[Any]:
        if self.times is not None:
            return [present * factor for factor in self.times]
        return RULES[self.values](scenario, self.setting) if isinstance(self.values, str) else self.values or []

    def _change(self, scenario: Scenario, value: Any) -> Change:
        change = Change(self.family, "", {**self.also, self.setting: value})
        try:
            told = _told(change.applied(scenario), value)
        except UsageError:
            told = dict.fromkeys(_WORDS, "") | {"value": value}  # it says why when it is applied
        caveats = (self.caveat, self.caveats.get(str(value), ""))
        caveat = "; ".join(text.format(**told) for text in caveats if text)
        return Change(self.family, self.words.format(**told), change.settings, caveat)


_WORDS: Final = ("value", "count", "first", "faults", "fault_model", "fill", "cores", "memory_mb")


def _told(scenario: Scenario, value: Any) -> dict[str, Any]:
    """What words may hold, of a changed scenario."""
    many = value if isinstance(value, tuple | list) else (value,)
    protocol, profile = get_protocol(scenario.protocol), resolve_profile(scenario)
    return {
        "value": ", ".join(map(str, many)),
        "count": len(many),
        "first": many[0],
        "faults": protocol.fault_threshold(scenario.nodes),
        "fault_model": protocol.fault_model,
        "fill": _time_to_fill(scenario),
        "cores": profile.cores,
        "memory_mb": f"{profile.memory_mb:g}",
    }


def _time_to_fill(scenario: Scenario) -> str:
    if scenario.clients or not scenario.rate:
        return "as long as its clients take"
    return f"{number(1000.0 * scenario.batch / scenario.rate)} ms at the offered load"


def _others(_: Scenario, setting: str) -> list[str]:
    return [str(value) for value in _AXES[setting]() if value not in NOT_AVAILABLE_YET]


def _larger(scenario: Scenario, setting: str) -> list[str]:
    values = _others(scenario, setting)
    return values[values.index(getattr(scenario, setting)) + 1 :]


def _regions(scenario: Scenario) -> tuple[list[str], Any]:
    """Regions of a scenario, and the mean of both ways' delays between them in ms."""
    regions, one_way_ms = select_regions(read_latency_matrix(scenario.latency_matrix), scenario.regions)
    return list(regions), (one_way_ms + one_way_ms.T) / 2.0


def _nearest_regions(scenario: Scenario, _: str) -> list[tuple[str, ...]]:
    """All regions but one, and half of them: the one farthest from those that remain goes first."""
    regions, between_ms = _regions(scenario)
    kept, found = list(range(len(regions))), {}
    while len(kept) > 2:
        kept.remove(max(kept, key=lambda one: between_ms[one, kept].sum()))
        found[len(kept)] = tuple(regions[one] for one in kept)
    return [found[count] for count in (len(regions) - 1, (len(regions) + 1) // 2) if count in found]


def _primary_region(scenario: Scenario, _: str) -> list[tuple[str, ...]]:
    """The regions with the first, where replica 0 is, in another's place: those from which delays to the others are least."""
    regions, between_ms = _regions(scenario)
    central = sorted(range(1, len(regions)), key=lambda one: between_ms[one].sum())
    swapped = []
    for place in central[:_PRIMARIES]:
        order = list(regions)
        order[0], order[place] = order[place], order[0]
        swapped.append(tuple(order))
    return swapped


_OF_AXIS: Final = ("others", "larger")
RULES: Final[dict[str, Callable[[Scenario, str], Sequence[Any]]]] = {
    "others": _others,
    "larger": _larger,
    "nearest_regions": _nearest_regions,
    "primary_region": _primary_region,
}
"""Rules that give values by their names: all others of an axis, the larger ones, and two on the regions of a latency matrix."""


def load_candidates(path: str | Path | None = None) -> tuple[Candidate, ...]:
    """Read candidates from a TOML file; by default those shipped.

    Raises
    ------
    UsageError
        If the file cannot be read, or as `Candidate` does, one line for each fault.
    """
    source = READY if path is None else path
    tables = read_toml(source, "candidates")
    given = tables.pop("candidates", None)
    if tables or not isinstance(given, list) or not given or not all(isinstance(one, dict) for one in given):
        raise UsageError("candidates", str(source), "a file of [[candidates]] tables alone, one or more")
    faults: list[UsageError] = []
    found = []
    for place, table in enumerate(given, 1):
        with gathering(faults, f"candidate {place} ({table.get('family', 'no family')})"):
            found.append(Candidate(**{"except_" if name == "except" else name: value for name, value in table.items()}))
    if faults:
        raise UsageError.gather(faults)
    return tuple(found)
