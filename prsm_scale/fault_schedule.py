"""A fault script for one replicate of a scenario: who it is that crashes, when things begin and end, and the engine's arrays."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from prsm_kernels import uniforms
from prsm_scale.errors import UsageError
from prsm_scale.fault_scripts import ENDS, PARTS, Action, FaultEvent, FaultScript
from prsm_scale.faults import PRIMARY
from prsm_scale.protocols import get_protocol
from prsm_scale.view_change import Timing

if TYPE_CHECKING:
    from prsm_kernels.event_types import EventScript

_DOMAIN: Final = 0x5C217
"""Of the draws behind "random:K", apart from those of the kernels."""
_REPLICATE_BITS: Final = 20

Groups = tuple[tuple[int, ...], ...]


@dataclass(frozen=True)
class Period:
    """Something that lasts.

    Attributes
    ----------
    action : str
        See `fault_scripts.Action`; never `recover` or `heal`, which end periods.
    label : str
        What it is, in a few words.
    begin_ms, end_ms : float
        `end_ms` is inf where nothing ends it.
    replicas : tuple of int
        Those concerned; none where the network is.
    groups : tuple of tuple of int
        Of a partition; replicas in none of them are a further one.
    value : float
        Factor, loss or ms.
    """

    action: str
    label: str
    begin_ms: float
    end_ms: float
    replicas: tuple[int, ...] = ()
    groups: Groups = ()
    value: float = 0.0


@dataclass(frozen=True)
class Schedule:
    """What happens to one replicate.

    Attributes
    ----------
    duration_ms : float
        How long operations start, and are watched.
    periods : tuple of Period
        By their beginnings.
    """

    duration_ms: float
    periods: tuple[Period, ...]

    @property
    def first_ms(self) -> float:
        """When the first fault begins."""
        return min(period.begin_ms for period in self.periods)

    @property
    def last_ms(self) -> float:
        """When the last fault ends, or the test does."""
        return min(self.duration_ms, max(period.end_ms for period in self.periods))

    @property
    def spans(self) -> dict[str, list[tuple[float, float]]]:
        """Beginnings and ends of the periods of each label, once each, within the test."""
        found: dict[str, list[tuple[float, float]]] = {}
        for one in self.periods:
            found.setdefault(one.label, []).append((one.begin_ms, min(one.end_ms, self.duration_ms)))
        return {label: list(dict.fromkeys(times)) for label, times in found.items()}


def duration_ms(script: FaultScript, scenario: Any, timing: Timing) -> float:
    """How long a script lasts: as it says, or as long as the scenario."""
    own = _time_ms(script, "duration", timing)
    return float(scenario.duration_s * 1000.0) if own is None else own


def make_schedule(script: FaultScript, scenario: Any, timing: Timing, replicate: int = 0) -> Schedule:
    """Work out what a script does to one replicate of a scenario.

    Parameters
    ----------
    script : FaultScript
    scenario : Scenario
    timing : Timing
        Of the scenario, see `view_change.timing_of`.
    replicate : int
        Decides who is drawn.

    Raises
    ------
    UsageError
        One line for each event that does not suit the scenario: replicas that are not there, times after the end.
    """
    end_ms = duration_ms(script, scenario, timing)
    turns: list[tuple[FaultEvent, Period]] = []
    faults: list[UsageError] = []
    for number, event in enumerate(script.events, start=1):
        found = list(_misfits(event, scenario, timing, end_ms))
        faults += [UsageError(f"event {number}: {one.field}", one.value, one.allowed) for one in found]
        if not found:
            turns += [(event, period) for period in _turns(event, scenario, timing, replicate)]
    if faults:
        raise UsageError.gather(faults)
    periods: list[Period] = []
    for event, period in sorted(turns, key=lambda turn: turn[1].begin_ms):
        ends = ENDS.get(event.action)
        periods = [part for one in periods for part in _ended(one, period, ends)] if ends else [*periods, period]
    lasting = tuple(one for one in periods if one.begin_ms < one.end_ms)
    if not lasting:
        raise UsageError("events", script.name, "something that begins and lasts")
    return Schedule(end_ms, lasting)


def event_script(schedule: Schedule, nodes: int) -> EventScript:
    """Lay a schedule out as the events engine takes it."""
    from prsm_kernels.event_types import EventScript

    periods = schedule.periods
    ends = [one.end_ms for one in periods if math.isfinite(one.end_ms)]
    at_ms = np.unique([0.0, *(one.begin_ms for one in periods), *ends])
    rows = at_ms.size
    alive, group = np.ones((rows, nodes), np.uint8), np.zeros((rows, nodes), np.int32)
    slow, hold_ms = np.ones((rows, nodes)), np.zeros((rows, nodes))
    arrive, delay_ms = np.ones(rows), np.zeros(rows)
    for one in periods:
        during = slice(*np.searchsorted(at_ms, (one.begin_ms, one.end_ms)))
        chosen = list(one.replicas)
        match one.action:
            case Action.CRASH:
                alive[during, chosen] = 0
            case Action.SLOW:
                slow[during, chosen] *= one.value
            case Action.HOLD:
                hold_ms[during, chosen] += one.value
            case Action.PARTITION:
                group[during] = _split(group[during], one.groups)
            case Action.LOSS:
                arrive[during] *= 1.0 - one.value
            case Action.DELAY:
                delay_ms[during] += one.value
    return EventScript(at_ms, alive, slow, group, hold_ms, (1.0 - arrive).astype(np.float32), delay_ms)


def chosen_replicas(event: FaultEvent, scenario: Any, replicate: int = 0) -> tuple[int, ...]:
    """Replicas that an event is about, in the order of their turns; none where it is about the network."""
    target, n = event.replicas, scenario.nodes
    if not isinstance(target, str):
        return target or ()
    named = {"primary": (PRIMARY,), "backups": tuple(range(1, n)), "all": tuple(range(n))}
    if target in named:
        return named[target]
    rule, _, words = target.partition(":")
    count = _count(words, scenario)
    order: NDArray[np.int64] = np.arange(n)
    if rule == "last":
        order = order[max(0, n - count) :]
    elif rule == "random":
        counter = replicate + (event.draw << _REPLICATE_BITS)
        order = np.argsort(uniforms(scenario.seed, _DOMAIN, order, counter), kind="stable")
    return tuple(order[:count].tolist())


def _count(words: str, scenario: Any) -> int:
    if words.startswith("f"):
        return get_protocol(scenario.protocol).fault_threshold(scenario.nodes) + int(words[2:] or 0)
    # 0.29 * 100 falls a rounding error short of the 29 that is meant.
    return math.floor(round(float(words) * scenario.nodes, 9)) if "." in words else int(words)


def _time_ms(of: Any, stem: str, timing: Timing) -> float | None:
    seconds, timeouts = getattr(of, f"{stem}_s"), getattr(of, f"{stem}_timeouts")
    if seconds is not None:
        return float(1000.0 * seconds)
    return None if timeouts is None else float(timeouts * timing.view_timeout_ms)


def _step_ms(event: FaultEvent, count: int, timing: Timing) -> float:
    """Time between the turns of so many replicas."""
    every, over = _time_ms(event, "every", timing), _time_ms(event, "over", timing)
    return every or (over or 0.0) / max(count, 1)


def _misfits(event: FaultEvent, scenario: Any, timing: Timing, end_ms: float) -> Iterator[UsageError]:
    """What of an event does not suit the scenario."""
    yield from _absent(event, scenario)
    name, at = _given(event, "at")
    at_ms, until_ms = _time_ms(event, "at", timing) or 0.0, _time_ms(event, "until", timing)
    if at_ms >= end_ms:
        yield UsageError(name, at, f"a time before the end, {_told(end_ms, name, timing)}")
        return
    if until_ms is not None and not at_ms < until_ms <= end_ms:
        name, until = _given(event, "until")
        limits = f"after {_told(at_ms, name, timing)} and not after the end, {_told(end_ms, name, timing)}"
        yield UsageError(name, until, f"a time {limits}")
    count = len(chosen_replicas(event, scenario))
    if at_ms + _step_ms(event, count, timing) * (count - 1) >= end_ms:
        name, step = _given(event, "every") if _given(event, "every")[1] else _given(event, "over")
        yield UsageError(name, step, f"so short that the last of {count} turns is before the end, {_told(end_ms, name, timing)}")


def _absent(event: FaultEvent, scenario: Any) -> Iterator[UsageError]:
    """Replicas that an event names and that are not there."""
    n = scenario.nodes
    if isinstance(event.replicas, str) and ":" in event.replicas:
        count = _count(event.replicas.partition(":")[2], scenario)
        if not 1 <= count <= n:
            yield UsageError("replicas", event.replicas, f"1 to {n} replicas, not {count}")
    groups = event.groups if isinstance(event.groups, tuple) else ()
    ids = event.replicas if isinstance(event.replicas, tuple) else ()
    for name, given, listed in (("replicas", event.replicas, ids), ("groups", event.groups, sum(groups, ()))):
        if max(listed, default=0) >= n:
            yield UsageError(name, given, f"replica ids from 0 to {n - 1}")
    one_group = groups[0] if groups else () if event.groups else chosen_replicas(event, scenario)
    if event.action == Action.PARTITION and set(one_group) == set(range(n)):
        name = "groups" if groups else "replicas"
        yield UsageError(name, getattr(event, name), "some of the replicas, not all of them")


def _given(event: FaultEvent, stem: str) -> tuple[str, Any]:
    """Name and value of the field that gives a time."""
    seconds = f"{stem}_s"
    name = seconds if getattr(event, seconds) is not None else f"{stem}_timeouts"
    return name, getattr(event, name)


def _told(time_ms: float, name: str, timing: Timing) -> str:
    """Write a time in the unit of a field."""
    return f"{time_ms / 1000.0:g}" if name.endswith("_s") else f"{time_ms / timing.view_timeout_ms:g}"


def _turns(event: FaultEvent, scenario: Any, timing: Timing, replicate: int) -> Iterator[Period]:
    """What an event begins, or ends: one period, or one for each replica that has its turn."""
    chosen = chosen_replicas(event, scenario, replicate)
    step_ms = _step_ms(event, len(chosen), timing)
    at_ms, until_ms = _time_ms(event, "at", timing) or 0.0, _time_ms(event, "until", timing)
    whole = Period(
        event.action, event.label, at_ms, math.inf if until_ms is None else until_ms, chosen,
        _groups(event, chosen, scenario.nodes), _value(event, timing),
    )  # fmt: skip
    if step_ms == 0.0:
        yield whole
        return
    for turn, replica in enumerate(chosen):
        later = turn * step_ms
        yield replace(whole, begin_ms=at_ms + later, end_ms=whole.end_ms + later, replicas=(replica,))


def _groups(event: FaultEvent, chosen: tuple[int, ...], nodes: int) -> Groups:
    if event.action != Action.PARTITION:
        return ()
    if isinstance(event.groups, str):
        return tuple(tuple(part.tolist()) for part in np.array_split(np.arange(nodes), PARTS[event.groups]))
    return event.groups or (chosen,)


def _value(event: FaultEvent, timing: Timing) -> float:
    match event.action:
        case Action.SLOW:
            return float(event.factor or 1.0)
        case Action.HOLD:
            return timing.hold_ms if event.hold_ms is None else event.hold_ms
        case Action.LOSS:
            return float(event.loss or 0.0)
        case Action.DELAY:
            return event.delay_ms or (event.delay_latencies or 0.0) * timing.latency_ms
        case _:
            return 0.0


def _ended(period: Period, end: Period, actions: Sequence[str]) -> Iterator[Period]:
    """A period after something has recovered or healed: as it was, cut short, or so for some of its replicas."""
    at_ms = end.begin_ms
    if period.action not in actions or not period.begin_ms <= at_ms < period.end_ms:
        yield period
        return
    if not period.replicas or period.action == Action.PARTITION:
        yield replace(period, end_ms=at_ms)
        return
    ended, left = ([one for one in period.replicas if (one in end.replicas) is gone] for gone in (True, False))
    if ended:
        yield replace(period, end_ms=at_ms, replicas=tuple(ended))
    if left:
        yield replace(period, replicas=tuple(left))


def _split(group: NDArray[np.int32], parts: Groups) -> NDArray[np.int32]:
    """Groups of replicas once each has been split into those in each part, and those in none."""
    part = np.full(group.shape[1], len(parts), np.int32)
    for number, members in enumerate(parts):
        part[list(members)] = number
    return np.stack([np.unique(row * (len(parts) + 1) + part, return_inverse=True)[1] for row in group]).astype(np.int32)
