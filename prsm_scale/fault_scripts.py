"""What happens to a system, and when: crashes, partitions, bursts of loss, in Python or TOML; see docs/fault_scripts.md."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from enum import StrEnum
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any, Final

from pydantic import BeforeValidator, Field, ValidationInfo, model_validator

from prsm_scale.axes import Real, Whole, as_tuple, choice
from prsm_scale.errors import UsageError, did_you_mean, one_of
from prsm_scale.validation import Checked, gathering, read_toml

READY: Final = Path(str(files("prsm_scale") / "data" / "faults.toml"))
"""The scripts shipped with the package."""

MOST_DRAWS: Final = 1000


class Action(StrEnum):
    """What an event does."""

    CRASH = "crash"
    RECOVER = "recover"
    SLOW = "slow"
    HOLD = "hold"
    PARTITION = "partition"
    HEAL = "heal"
    LOSS = "loss"
    DELAY = "delay"


ENDS: Final[dict[str, tuple[str, ...]]] = {
    Action.RECOVER: (Action.CRASH, Action.SLOW, Action.HOLD),
    Action.HEAL: (Action.PARTITION, Action.LOSS, Action.DELAY),
}
"""What recovers with replicas, and what heals with the network."""

PARTS: Final = {"half": 2, "third": 3, "quarter": 4}
"""Words for equal groups, and how many there are."""

_CHOSEN = ("replicas", "draw", "every_s", "every_timeouts", "over_s", "over_timeouts")
_UNTIL = ("until_s", "until_timeouts")
_TAKES: Final[dict[str, tuple[str, ...]]] = {
    Action.CRASH: (*_CHOSEN, *_UNTIL),
    Action.RECOVER: _CHOSEN,
    Action.SLOW: (*_CHOSEN, *_UNTIL, "factor"),
    Action.HOLD: (*_CHOSEN, *_UNTIL, "hold_ms"),
    Action.PARTITION: ("replicas", "draw", "groups", *_UNTIL),
    Action.HEAL: (),
    Action.LOSS: ("loss", *_UNTIL),
    Action.DELAY: ("delay_ms", "delay_latencies", *_UNTIL),
}
"""Fields that each action takes besides its time."""
_NEEDS: Final[dict[str, tuple[tuple[str, ...], ...]]] = {
    Action.CRASH: (("replicas",),),
    Action.RECOVER: (("replicas",),),
    Action.SLOW: (("replicas",), ("factor",)),
    Action.HOLD: (("replicas",),),
    Action.PARTITION: (("groups", "replicas"),),
    Action.LOSS: (("loss",),),
    Action.DELAY: (("delay_ms", "delay_latencies"),),
}
"""Of each of these an action needs one."""
_EITHER: Final = (
    ("at_s", "at_timeouts"),
    ("until_s", "until_timeouts"),
    ("every_s", "every_timeouts", "over_s", "over_timeouts"),
    ("groups", "replicas"),
    ("delay_ms", "delay_latencies"),
)
"""Fields that say the same in different ways."""

_NAME = re.compile(r"[^,\s](?:[^,\n\r]{0,38}[^,\s])?")
_WORDS = ("primary", "backups", "all")
_TARGET = re.compile(r"(?:first|last|random):(?:[1-9][0-9]{0,6}|0?\.[0-9]{1,9}|f|f\+[1-9][0-9]{0,3})")
_TARGETS = f"replica ids from 0, {', '.join(_WORDS)}, or first:K, last:K, random:K with K a number, a share (0.3), f or f+1"
_GROUPS = f"lists of different replica ids, or one of {', '.join(PARTS)}"


def check_target(value: Any, info: ValidationInfo) -> tuple[int, ...] | str | None:
    """Accept the ids of replicas, or words that choose some."""
    if value is None:
        return None
    if isinstance(value, str):
        text = "".join(value.split())
        if text in _WORDS or _TARGET.fullmatch(text):
            return text
        raise UsageError(info.field_name or "", value, f"{_TARGETS}{did_you_mean(value, _WORDS)}")
    ids = as_tuple(value)
    if not _are_ids(ids):
        raise UsageError(info.field_name or "", value, _TARGETS)
    return ids


def check_groups(value: Any, info: ValidationInfo) -> tuple[tuple[int, ...], ...] | str | None:
    """Accept the groups of a partition, each a list of ids, or a word for equal ones."""
    if value is None:
        return None
    if isinstance(value, str) and value in PARTS:
        return str(value)
    groups = tuple(as_tuple(group) for group in as_tuple(value))
    if isinstance(value, str) or not groups or not all(groups) or not _are_ids([one for group in groups for one in group]):
        raise UsageError(info.field_name or "", value, f"{_GROUPS}{did_you_mean(value, PARTS)}")
    return tuple(tuple(sorted(group)) for group in groups)


def _are_ids(ids: Any) -> bool:
    return bool(ids) and all(type(one) is int and one >= 0 for one in ids) and len(set(ids)) == len(ids)


Time = Annotated[Real, Field(ge=0)]
Stretch = Annotated[Real, Field(gt=0)]
Target = Annotated[Any, BeforeValidator(check_target)]
Groups = Annotated[Any, BeforeValidator(check_groups)]


class FaultEvent(Checked):
    """One thing that happens.

    Times are in seconds (``_s``) or in multiples of T, the time-out of a view (``_timeouts``). docs/fault_scripts.md has the
    grammar, and what each action does.

    Attributes
    ----------
    action : str
        See `Action`.
    at_s, at_timeouts : float
        When; one of both.
    until_s, until_timeouts : float, optional
        When it is undone; by default when something recovers or heals it, else never.
    every_s, every_timeouts : float, optional
        The chosen replicas take their turns, each so much later than the one before; its end is as much later.
    over_s, over_timeouts : float, optional
        Likewise, all turns taking so long together.
    replicas : tuple of int or str, optional
        Ids, "primary", "backups", "all", "first:K", "last:K" or "random:K"; turns are taken in this order.
    draw : int
        Number of the draw behind "random:K"; the same number draws the same replicas, the more the greater K.
    groups : tuple of tuple of int or str, optional
        Of a partition: ids, those left out being a further group, or "half", "third" or "quarter".
    factor : float, optional
        Of `slow`: on CPU times.
    hold_ms : float, optional
        Of `hold`: by how much own messages leave late; by default T less the longest latency at rest.
    loss : float, optional
        Of `loss`: further chance of each copy to be lost on each hop.
    delay_ms, delay_latencies : float, optional
        Of `delay`: further delay of each copy on each hop, or the same in multiples of the longest latency at rest.
    """

    action: Annotated[str, choice(Action)]
    at_s: Time | None = None
    at_timeouts: Time | None = None
    until_s: Time | None = None
    until_timeouts: Time | None = None
    every_s: Stretch | None = None
    every_timeouts: Stretch | None = None
    over_s: Stretch | None = None
    over_timeouts: Stretch | None = None
    replicas: Target = None
    draw: Annotated[Whole, Field(ge=0, lt=MOST_DRAWS)] = 0
    groups: Groups = None
    factor: Stretch | None = None
    hold_ms: Stretch | None = None
    loss: Annotated[Real, Field(gt=0, le=0.999)] | None = None
    delay_ms: Stretch | None = None
    delay_latencies: Stretch | None = None

    @model_validator(mode="after")
    def _fits_its_action(self) -> FaultEvent:
        faults = list(self._faults())
        if faults:
            raise UsageError.gather(faults)
        return self

    @property
    def label(self) -> str:
        """What it does, in a few words."""
        chosen = ", ".join(map(str, self.replicas)) if isinstance(self.replicas, tuple) else self.replicas
        match self.action:
            case Action.SLOW:
                return f"slow {chosen} x{self.factor:g}"
            case Action.PARTITION if self.groups is None:
                return f"cut off {chosen}"
            case Action.PARTITION:
                return f"partition {self.groups if isinstance(self.groups, str) else len(self.groups)}"
            case Action.LOSS:
                return f"loss {self.loss:g}"
            case Action.DELAY:
                return f"delay {self.delay_ms:g} ms" if self.delay_ms else f"delay {self.delay_latencies:g} L"
            case _:
                return " ".join(filter(None, (self.action, chosen)))

    def _faults(self) -> Iterator[UsageError]:
        given = [name for name, field in type(self).model_fields.items() if getattr(self, name) != field.default]
        for name in given:
            takers = [action for action, names in _TAKES.items() if name in names]
            if takers and self.action not in takers:
                yield UsageError(name, getattr(self, name), f"left out with {self.action}; it is for {', '.join(takers)}")
        for alike in _EITHER:
            both = [name for name in alike if name in given][:2]
            if len(both) == 2:
                yield UsageError(both[0], getattr(self, both[0]), f"left out where {both[1]} is given")
        for names in (_EITHER[0], *_NEEDS.get(self.action, ())):
            if not set(names) & set(given):
                yield UsageError(" or ".join(names), None, "a value is needed")


def check_name(value: Any) -> str:
    """Accept a name that fits a table and a list of names."""
    if isinstance(value, str) and _NAME.fullmatch(value):
        return value
    raise UsageError("name", value, "text of 1 to 40 characters, without commas and line breaks")


def check_events(value: Any) -> tuple[FaultEvent, ...]:
    """Accept events, or tables of their fields."""
    listed = value if isinstance(value, list | tuple) else ()
    if not listed or not all(isinstance(one, FaultEvent | Mapping) for one in listed):
        raise UsageError("events", value, "one table [[events]] or more")
    faults: list[UsageError] = []
    events: list[FaultEvent] = []
    ended: set[str] = set()
    for number, one in enumerate(listed, start=1):
        with gathering(faults, f"event {number}"):
            events.append(one if isinstance(one, FaultEvent) else FaultEvent(**one))
            ended.add(events[-1].action)
    for number, event in enumerate(events, start=1):
        of_use = ENDS.get(event.action, ())
        if of_use and not ended & set(of_use):
            faults.append(UsageError(f"event {number}: action", event.action, f"only where there is a {' or '.join(of_use)}"))
    if faults:
        raise UsageError.gather(faults)
    return tuple(events)


class FaultScript(Checked):
    """What happens to a system, and for how long it is watched.

    Attributes
    ----------
    name : str
    about : str
        What it is for, in a line.
    duration_s, duration_timeouts : float, optional
        How long clients ask, and replicas are watched; by default the scenario's `duration_s`.
    events : tuple of FaultEvent
        In any order; of those at the same time the earlier in the list goes first.

    Raises
    ------
    UsageError
        One line for each fault.

    Examples
    --------
    >>> script = FaultScript(name="outage", events=[{"action": "crash", "at_s": 5, "until_s": 8, "replicas": "primary"}])
    >>> script.events[0].replicas
    'primary'
    """

    name: Annotated[str, BeforeValidator(check_name)]
    about: str = ""
    duration_s: Stretch | None = None
    duration_timeouts: Stretch | None = None
    events: Annotated[tuple[FaultEvent, ...], BeforeValidator(check_events)]

    def lasting(self, seconds: float) -> FaultScript:
        """Make the same script with another duration."""
        return self.model_copy(update={"duration_s": seconds, "duration_timeouts": None})

    @model_validator(mode="after")
    def _one_duration(self) -> FaultScript:
        if self.duration_s is not None and self.duration_timeouts is not None:
            raise UsageError("duration_s", self.duration_s, "left out where duration_timeouts is given")
        return self


def load_fault_scripts(path: str | Path | None = None) -> list[FaultScript]:
    """Read fault scripts from a TOML file.

    Parameters
    ----------
    path
        File that holds one script, or several as tables ``[[scripts]]``. Default: the scripts shipped with the package.

    Raises
    ------
    UsageError
        One line for each fault.
    """
    file = Path(path) if path is not None else READY
    tables = _tables(file)
    faults: list[UsageError] = []
    scripts: list[FaultScript] = []
    for number, table in enumerate(tables, start=1):
        with gathering(faults, f"script {table.get('name', number)!r}"):
            scripts.append(FaultScript(**table))
    names = [script.name for script in scripts]
    faults += [UsageError("scripts", name, "each name once") for name in dict.fromkeys(names) if names.count(name) > 1]
    if faults:
        raise UsageError.gather(faults)
    return scripts


def _tables(file: Path) -> list[dict[str, Any]]:
    entries = read_toml(file, "script")
    if "scripts" not in entries:
        return [{"name": file.stem} | entries]
    listed = entries.pop("scripts")
    for name in entries:
        raise UsageError("script", name, "left out beside [[scripts]]")
    if not isinstance(listed, list) or not listed or not all(isinstance(one, dict) for one in listed):
        raise UsageError("script", str(file), "a file with one table [[scripts]] or more")
    return listed


def choose(scripts: Iterable[FaultScript], names: str | Iterable[str] | None, field: str = "only") -> list[FaultScript]:
    """Take the scripts of these names, in the order of the scripts; all where there are no names.

    Raises
    ------
    UsageError
        If there is no script of a name.
    """
    by_name = {script.name: script for script in scripts}
    words = names.split(",") if isinstance(names, str) else by_name if names is None else names
    wanted = [name.strip() for name in words]
    for name in wanted or ("",):
        if name not in by_name:
            raise UsageError(field, name, one_of(by_name, name))
    return [script for name, script in by_name.items() if name in wanted]
