"""What became of the changes that were tried."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from prsm_scale.atomic import plain_data
from prsm_scale.columns import GROUP_COLUMNS, limit_names
from prsm_scale.experiments.measuring import Effect, Measured, effect
from prsm_scale.wording import number, percent

if TYPE_CHECKING:
    import pandas as pd


class Verdict(StrEnum):
    """What a change does."""

    HELPS = "helps"
    TRADE_OFF = "trade-off"
    NO_HELP = "no help"
    NOT_APPLICABLE = "not applicable"


@dataclass(frozen=True)
class UnderLoad:
    """What a change does to operations that meet others, at the offered load.

    Attributes
    ----------
    ops_per_second : float
        The load.
    latency : Effect or None
        On mean latency in ms; None where one of the two is offered more than it can do, as it then grows while the test lasts,
        and where the batch is another one, as the time in which it fills is not simulated.
    success_before, success_after : float
        Shares of operations answered in time.
    """

    ops_per_second: float
    latency: Effect | None
    success_before: float
    success_after: float


@dataclass(frozen=True)
class Experiment:
    """A change, simulated.

    Attributes
    ----------
    family : str
        Of the candidate; of a combination, both.
    words : str
        What was changed.
    node_count : int
        n.
    change : dict
        The settings that differ.
    verdict : Verdict
    why : str
        What decided where it does not help, or why it cannot be tried; empty where the numbers say it all.
    caveat : str
        What it costs, or what the simulation leaves out.
    throughput : Effect or None
        On saturation throughput in operations per second.
    latency : Effect or None
        On the mean latency in ms of an operation that meets no other.
    success_before, success_after : float or None
        Shares of these operations that are answered in time.
    bottleneck_before, bottleneck_after : str or None
        Resources that set the saturation throughput.
    under_load : UnderLoad or None
        The same at the offered load, of those that help most.
    """

    family: str
    words: str
    node_count: int
    change: Mapping[str, Any]
    verdict: Verdict
    why: str = ""
    caveat: str = ""
    throughput: Effect | None = None
    latency: Effect | None = None
    success_before: float | None = None
    success_after: float | None = None
    bottleneck_before: str | None = None
    bottleneck_after: str | None = None
    under_load: UnderLoad | None = None

    @property
    def simulated(self) -> bool:
        """Whether the change could be simulated."""
        return self.success_after is not None

    def sentence(self) -> str:
        """Tell it in a line."""
        parts = list(self._parts())
        told = f"{self.words}: {', '.join(parts)}" if parts else self.words
        end = f" at n = {self.node_count:,}"
        why = f"; {self.why}" if self.why else ""
        return f"{told}{end}{why}" + (f" ({self.caveat})" if self.caveat and self.simulated else "")

    def _parts(self) -> Iterator[str]:
        if self.throughput:
            one = self.throughput
            yield f"saturation {number(one.before)} -> {number(one.after)} operations/s ({gain(one)})"
        if self.latency:
            yield f"mean latency {change(self.latency)}"
        if told := self.loaded_words():
            yield told

    def loaded_words(self) -> str:
        """Tell latency and success under load, or success alone where that changes; empty where there is nothing to tell."""
        load = self.under_load
        if load is not None:
            latency = f"mean latency {change(load.latency)}, " if load.latency else ""
            success = f"success {percent(load.success_before)} -> {percent(load.success_after)}"
            return f"under {number(load.ops_per_second)} operations/s {latency}{success}"
        if self.simulated and self.success_after != self.success_before:
            return f"success {percent(self.success_before)} -> {percent(self.success_after)}"
        return ""


@dataclass(frozen=True)
class Recommended:
    """What was tried on one system.

    Attributes
    ----------
    axes : dict
        The system, by names of GROUP_COLUMNS.
    node_count : int or None
        n of the experiments; None where there were none.
    first_failing_node_count : int or None
        The smallest n at which a condition of the recommended number of nodes fails.
    failed_conditions : tuple of str
        Those conditions.
    ranked_by : str
        ``throughput`` or ``latency``.
    operations : int
        Operations simulated of each, whose latencies are compared.
    baseline : dict
        Row of results of the system as it is, simulated in the same way.
    experiments : tuple of Experiment
        Those that help, those that trade one thing for another, the others, those that cannot be tried; the best of each first.
    note : str
        Why there are none, or why they are at another n.
    """

    axes: Mapping[str, Any]
    node_count: int | None
    first_failing_node_count: int | None
    failed_conditions: tuple[str, ...]
    ranked_by: str
    operations: int
    baseline: Mapping[str, Any]
    experiments: tuple[Experiment, ...]
    note: str = ""

    def of(self, *verdicts: Verdict) -> list[Experiment]:
        """Experiments that came out so."""
        return [one for one in self.experiments if one.verdict in verdicts]

    def sentences(self) -> list[str]:
        """Tell what helps, best first, then what trades one thing for another."""
        told = [f"{one.verdict}: {one.sentence()}" for one in self.of(Verdict.HELPS, Verdict.TRADE_OFF)]
        if self.experiments and not self.of(Verdict.HELPS):
            tried = sum(one.simulated for one in self.experiments)
            feasible = self.baseline.get("feasible", True)
            missing = "" if feasible else f"as it is, the system {self.baseline['reason']}; "
            without_loss = " without a loss elsewhere" if self.of(Verdict.TRADE_OFF) else ""
            told.insert(0, f"{missing}of {tried} changes simulated at n = {self.node_count:,} none helps{without_loss}")
        return [*told, *([self.note] if self.note else [])]


@dataclass(frozen=True)
class Recommendations:
    """What was tried on each system of a result.

    Attributes
    ----------
    systems : tuple of Recommended
        In the order in which they appear.
    min_gain : float
        Gain from which a change helps, and loss from which it costs.
    note : str
        What holds of all of them, or why there are none.
    """

    systems: tuple[Recommended, ...]
    min_gain: float
    note: str = ""

    def sentences(self) -> list[str]:
        """Tell it in lines, system by system, each named by the axes in which it differs from others."""
        varied = [name for name in GROUP_COLUMNS if len({one.axes[name] for one in self.systems}) > 1]
        lines = []
        for system in self.systems:
            named = ", ".join(f"{name} {system.axes[name]}" for name in varied)
            lines += [f"{named}: {line}" if named else line for line in system.sentences()]
        return [*lines, *([self.note] if self.note else [])]

    def to_dict(self) -> dict[str, Any]:
        """Everything in plain data for strict JSON, with the sentences; what is infinite is the text "inf"."""
        told: dict[str, Any] = plain_data(asdict(self))
        return told | {"sentences": self.sentences()}

    @property
    def frame(self) -> pd.DataFrame:
        """One row an experiment, those that could not be simulated left out."""
        import pandas as pd

        return pd.DataFrame([_flat(system, one) for system in self.systems for one in system.experiments if one.simulated])


def gain(effect: Effect) -> str:
    """Write a ratio with its interval, ``x4.37 [4.31, 4.43]``; the value alone where no digit of it is in doubt.

    Examples
    --------
    >>> gain(Effect(14.0, 61.2, 4.37, 4.31, 4.43, "paired"))
    'x4.37 [4.31, 4.43]'
    """
    return f"x{_with_ends(effect, number)}"


def change(effect: Effect) -> str:
    """Write a relative change with its interval, ``-23 % [-25, -21]``; the value alone where no digit of it is in doubt.

    Examples
    --------
    >>> change(Effect(100.0, 77.0, 0.77, 0.75, 0.79, "paired"))
    '-23 % [-25, -21]'
    """
    return _with_ends(effect, _points, " %")


def _with_ends(effect: Effect, form: Callable[[float], str], unit: str = "") -> str:
    value, low, high = map(form, (effect.ratio, effect.low, effect.high))
    return f"{value}{unit}" if value == low == high else f"{value}{unit} [{low}, {high}]"


def _points(ratio: float) -> str:
    value = 100.0 * (ratio - 1.0)
    text = f"{value:+,.1f}" if abs(value) < 9.95 else f"{value:+,.0f}"
    return "0" if float(text.replace(",", "")) == 0.0 else text


def verdict_of(before: Measured, after: Measured, min_gain: float) -> tuple[Verdict, str]:
    """Decide what a change does.

    It helps where saturation throughput rises or mean latency falls by more than `min_gain`, with its whole interval, and nothing
    gets worse: success by more than its interval, safety, limits, or the other of the two by more than `min_gain`. Where there
    was no result or no answer before, it helps if there is one now.

    Returns
    -------
    (Verdict, str)
        And what decided, where the numbers of a change that helps do not say it.
    """
    if not after.feasible:
        return Verdict.NO_HELP, str(after.row["reason"])
    if not before.feasible:
        told = f"as it is, the system {before.row['reason']}"
        return (Verdict.HELPS, told) if after.success > 0.0 else (Verdict.NO_HELP, str(after.row["reason"]))
    throughput, latency = effect(before.throughput, after.throughput), effect(before.latency, after.latency)
    worse = losses(before, after, throughput, latency, min_gain)
    faster = latency is not None and latency.high < 1.0 / (1.0 + min_gain)
    more = throughput is not None and throughput.low > 1.0 + min_gain
    answered = (after.row.get("success_low") or 0.0) > (before.row.get("success_high") or 0.0)
    unlimited = throughput is None and before.throughput is not None and after.row.get("utilisation") == 0.0
    if not (faster or more or answered or unlimited):
        return Verdict.NO_HELP, worse
    return (Verdict.TRADE_OFF, worse) if worse else (Verdict.HELPS, "")


def losses(before: Measured, after: Measured, throughput: Effect | None, latency: Effect | None, min_gain: float) -> str:
    """Tell what gets worse, by more than its interval or `min_gain`; empty where nothing does."""
    held, passed = (limit_names(one.row.get("limits_passed")) for one in (before, after))
    passed = [name for name in passed if name not in held]
    told = {
        "success falls": (after.row.get("success_high") or 0.0) < (before.row.get("success_low") or 0.0),
        "two values were committed": (after.row.get("safety_violations") or 0) > (before.row.get("safety_violations") or 0),
        f"over its limit in {', '.join(passed)}": bool(passed),
        "throughput falls": throughput is not None and throughput.ratio < 1.0 - min_gain,
        "latency rises": latency is not None and latency.ratio > 1.0 + min_gain,
    }
    return ", ".join(what for what, holds in told.items() if holds)


def _flat(system: Recommended, one: Experiment) -> dict[str, Any]:
    row: dict[str, Any] = {name: system.axes[name] for name in system.axes} | {
        "node_count": one.node_count,
        "family": one.family,
        "words": one.words,
        "verdict": str(one.verdict),
        "why": one.why,
        "caveat": one.caveat,
    }
    effects = {"throughput": one.throughput, "latency": one.latency, "loaded_latency": one.under_load and one.under_load.latency}
    for name, found in effects.items():
        for part in ("before", "after", "ratio", "low", "high"):
            value = getattr(found, part) if found else math.nan
            row[f"{name}_{part}"] = value if math.isfinite(value) else math.nan
    row |= {"success_before": one.success_before, "success_after": one.success_after}
    return row | {"bottleneck_before": one.bottleneck_before, "bottleneck_after": one.bottleneck_after}
