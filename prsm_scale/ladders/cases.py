"""Measured systems as data: a TOML file of scenario, metric, measured value, unit and source each."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any, Final

from pydantic import Field

from prsm_scale.axes import Real, choice, is_graph_file
from prsm_scale.checks import check_scenarios
from prsm_scale.config import Scenario
from prsm_scale.errors import UsageError, did_you_mean, one_of
from prsm_scale.ladders.quantities import check_quantity
from prsm_scale.metrics import why_infeasible
from prsm_scale.validation import Checked, gathering, read_toml

MEASURED: Final = Path(str(files("prsm_scale") / "data" / "measured.toml"))
"""The cases shipped with the package."""


class Group(StrEnum):
    """What dominates a measured value."""

    PROPAGATION = "propagation"
    BANDWIDTH = "bandwidth"
    CPU = "cpu"
    COUNTS = "counts"
    BYTES = "bytes"
    OTHER = "other"


GroupChoice = Annotated[str, choice(Group)]


class Setup(Checked):
    """What several cases share; a case's own entries go before these."""

    source: str = ""
    locator: str = ""
    note: str = ""
    why: str = ""
    group: GroupChoice = Group.OTHER.value
    scenario: dict[str, Any] = Field(default_factory=dict)


class Case(Checked):
    """One measured value and the scenario that predicts it.

    Attributes
    ----------
    id : str
        Name, different from that of every other case.
    metric, value, unit : str, float, str
        What was measured: a column of a scenario's row, ``messages_per_replica`` or ``bytes_per_replica``.
    group : str
        What dominates it, see `Group`.
    source, locator : str
        Where the value was published.
    note : str
        Which constants are the source's, and why.
    why : str
        Why the case cannot be expressed as a scenario; empty where it can.
    scenario : dict
        Settings of `prsm_scale.Scenario`.
    """

    id: str
    metric: str
    value: Real
    unit: str
    group: GroupChoice = Group.OTHER.value
    source: str = ""
    locator: str = ""
    note: str = ""
    why: str = ""
    scenario: dict[str, Any] = Field(default_factory=dict)

    @property
    def missing_protocol(self) -> str:
        """Name of the protocol that the case needs and that there is not; empty where there is."""
        from prsm_scale.protocols import PROTOCOLS

        name = self.scenario.get("protocol", "pbft")
        return "" if name in PROTOCOLS else str(name)

    @property
    def reason(self) -> str:
        """Why the case is not run; empty where it is."""
        return self.why or (f"needs protocol {self.missing_protocol}" if self.missing_protocol else "")

    def scenario_with(self, engine: str | None = None) -> Scenario:
        """The scenario; of a protocol that there is not yet, with another in its place.

        Parameters
        ----------
        engine
            For a case that names none.

        Raises
        ------
        UsageError
            As `Scenario` does.
        """
        other = {"protocol": "pbft"} if self.missing_protocol else {}
        engines = {"engine": engine} if engine else {}
        return Scenario(**(engines | self.scenario | other))


def load_cases(path: str | Path | None = None) -> list[Case]:
    """Read cases from a TOML file.

    Parameters
    ----------
    path
        File with a list ``cases`` and, if need be, a table ``setups`` of what cases share, which they name in ``setup``. Paths in
        it are relative to its own folder. Default: the cases shipped with the package.

    Raises
    ------
    UsageError
        One line for each fault: a file that is not TOML, unknown entries, metrics or units, settings that `Scenario` refuses.
    """
    file = Path(path) if path is not None else MEASURED
    entries = _read(file)
    faults: list[UsageError] = []
    setups: dict[str, Setup] = {}
    for name, given in entries.get("setups", {}).items():
        with gathering(faults, f"setup {name!r}"):
            setups[name] = Setup(**given)
    if faults:
        raise UsageError.gather(faults)
    cases = []
    for number, given in enumerate(entries["cases"], start=1):
        with gathering(faults, f"case {given.get('id', number)!r}"):
            cases.append(_case(given, setups, file.parent))
    names = [case.id for case in cases]
    faults += [UsageError("cases", name, "each id once") for name in dict.fromkeys(names) if names.count(name) > 1]
    if faults:
        raise UsageError.gather(faults)
    return cases


def _read(file: Path) -> dict[str, Any]:
    entries = read_toml(file, "cases")
    for name in entries:
        if name not in ("setups", "cases"):
            raise UsageError("cases", name, f"setups or cases{did_you_mean(name, ('setups', 'cases'))}")
    listed, shared = entries.get("cases"), entries.get("setups", {})
    if not isinstance(listed, list) or not listed or not all(isinstance(one, dict) for one in listed):
        raise UsageError("cases", str(file), "a file with one table [[cases]] or more")
    if not isinstance(shared, dict) or not all(isinstance(one, dict) for one in shared.values()):
        raise UsageError("cases", str(file), "a file whose setups are tables, [setups.NAME]")
    return entries


def _case(given: Mapping[str, Any], setups: Mapping[str, Setup], folder: Path) -> Case:
    own = {name: value for name, value in given.items() if name != "setup"}
    name = given.get("setup")
    if name is not None and name not in setups:
        raise UsageError("setup", name, one_of(setups, name) if setups else "left out, as the file has no setups")
    shared = setups[name].model_dump() if name is not None else {}
    settings = own.get("scenario", {})
    if not isinstance(settings, dict):
        raise UsageError("scenario", settings, "a table of settings")
    case = Case(**(shared | own | {"scenario": _located(shared.get("scenario", {}) | settings, folder)}))
    if not case.why:
        check_quantity(case.metric, case.unit)
        scenario = case.scenario_with()
        reason = why_infeasible(scenario)
        if reason:
            raise UsageError("scenario", case.id, f"one that its profile can hold; it {reason}")
        check_scenarios([scenario])
    return case


def _located(settings: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Make the paths of a scenario relative to the file that it stands in."""
    files_named = {
        name: str(folder / settings[name])
        for name, is_path in (("topology", is_graph_file), ("latency_matrix", lambda value: isinstance(value, str)))
        if name in settings and is_path(settings[name])
    }
    return settings | files_named
