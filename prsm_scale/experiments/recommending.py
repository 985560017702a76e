"""Recommendations: changes of a system are simulated where it fails, and what helps is reported with its gain."""

from __future__ import annotations

import math
import os
import threading
import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from prsm_scale.analysis.thresholds import Thresholds
from prsm_scale.columns import GROUP_COLUMNS
from prsm_scale.config import Scenario
from prsm_scale.crew import Crew
from prsm_scale.errors import UsageError, one_of
from prsm_scale.experiments.candidates import Candidate, Change, load_candidates
from prsm_scale.experiments.measuring import Measured, effect, measure
from prsm_scale.experiments.planning import MAX_MESSAGES, Plan, Trial, plan_of, smallest_ratio
from prsm_scale.experiments.results import Experiment, Recommendations, Recommended, UnderLoad, Verdict, losses, verdict_of
from prsm_scale.progress import Progress, Report, label

if TYPE_CHECKING:
    import pandas as pd

    from prsm_scale.analysis.comparison import HasScenarios

MIN_GAIN: Final = 0.05
_CONFIRMED: Final = 2
_ORDER: Final = list(Verdict)
_LOWEST_RATIO: Final = "systems with the smallest share of faulty replicas stand for those with more"


def recommend(
    result: HasScenarios | pd.DataFrame | str | os.PathLike[str],
    *,
    thresholds: Thresholds | None = None,
    nodes: int | None = None,
    candidates: str | Path | None = None,
    only: Collection[str] | None = None,
    min_gain: float = MIN_GAIN,
    max_messages: int = MAX_MESSAGES,
    threads: int | None = None,
    progress: Report | None = None,
) -> Recommendations:
    """Simulate changes of the systems of a result, and tell which help.

    Each change is simulated with the seed of the system as it is, so that both share their draws, on operations that meet no
    others. So are the two best of different families together; what helps most is simulated under the offered load as well.

    Parameters
    ----------
    result : Run, StoredRun, DataFrame or path
        Rows of SCENARIO_COLUMNS, or the folder or file of a run. Rows that differ in n alone are one system; of systems that
        differ in the share of faulty replicas, the one with the smallest counts.
    thresholds : Thresholds, optional
        What is asked of a system, which says at which n to look.
    nodes : int, optional
        n of the experiments. By default the smallest n at which a condition of the recommended number of nodes fails, or the
        largest simulated; where that costs too much, the largest simulated one that does not.
    candidates : path, optional
        TOML file of candidates, in place of those shipped; see docs/recommendations.md.
    only : collection of str, optional
        Families of candidates to try.
    min_gain : float
        Relative gain from which a change helps, and loss from which it costs.
    max_messages : int
        Messages that an experiment may cost, about; it has from 16 to 64 operations.
    threads : int, optional
        Experiments at once; by default one for each processor. The result does not depend on it.
    progress : callable, optional
        Called with a `Progress` as experiments get done, never from two threads at once.

    Raises
    ------
    UsageError
        For arguments that are not allowed, a run that cannot be read, or a file of candidates with faults; before anything runs.
    """
    _check(nodes, min_gain, max_messages)
    chosen = _chosen(load_candidates(candidates), only)
    table = _table(result)
    plans = [plan_of(group, thresholds or Thresholds(), nodes, chosen, max_messages) for group in smallest_ratio(table)]
    clerk = _Clerk(threads or os.cpu_count() or 1, progress)
    clerk.total = sum(1 + sum(trial.scenario is not None for trial in plan.trials) for plan in plans if plan.alone)
    systems = tuple(_recommended(plan, min_gain, clerk) for plan in plans)
    several = table["byzantine_ratio"].nunique() > 1
    note = _LOWEST_RATIO if several else "" if systems else "nothing to try: the result has no scenarios"
    return Recommendations(systems, min_gain, note)


def _check(nodes: int | None, min_gain: float, max_messages: int) -> None:
    faults = []
    if nodes is not None and (type(nodes) is not int or nodes < 4):
        faults.append(UsageError("nodes", nodes, "a whole number, 4 or more"))
    if not 0.0 <= min_gain < 1.0:
        faults.append(UsageError("min_gain", min_gain, "a number from 0 and less than 1"))
    if max_messages < 1:
        faults.append(UsageError("max_messages", max_messages, "1 or more"))
    if faults:
        raise UsageError.gather(faults)


def _chosen(known: tuple[Candidate, ...], only: Collection[str] | None) -> tuple[Candidate, ...]:
    families = list(dict.fromkeys(one.family for one in known))
    faults = [UsageError("only", name, one_of(families, name)) for name in only or () if name not in families]
    if faults or (only is not None and not only):
        raise UsageError.gather(faults or [UsageError("only", only, one_of(families))])
    return tuple(one for one in known if only is None or one.family in only)


def _table(result: Any) -> pd.DataFrame:
    if isinstance(result, str | os.PathLike):
        from prsm_scale.store import load

        result = load(result)
    table: pd.DataFrame = getattr(result, "scenarios", result)
    lacking = [name for name in (*GROUP_COLUMNS, "node_count", "scenario") if name not in getattr(table, "columns", ())]
    if lacking:
        raise UsageError("result", type(result).__name__, f"a run, or rows of scenarios; it lacks {', '.join(lacking)}")
    return table


@dataclass
class _Clerk:
    """Carries out experiments, several at once, and tells how far they are."""

    threads: int
    report: Report | None
    total: int = 0
    done: int = 0
    messages: int = 0
    begun: float = field(default_factory=time.perf_counter)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def measured(self, scenarios: Sequence[Scenario]) -> list[Measured | UsageError]:
        """What comes out of each, or why nothing does."""
        return Crew(self.threads).each(self._one, scenarios)

    def _one(self, scenario: Scenario) -> Measured | UsageError:
        found: Measured | UsageError
        try:
            found = measure(scenario)
        except UsageError as error:
            found = error
        with self.lock:
            self.done += 1
            self.total = max(self.total, self.done)
            self.messages += 0 if isinstance(found, UsageError) else found.row.get("messages_simulated") or 0
            if self.report is not None:
                seconds = max(time.perf_counter() - self.begun, 1e-9)
                left = seconds * (self.total / self.done - 1.0)
                rate = self.messages / seconds
                self.report(Progress(self.done, self.total, self.messages, rate, left, label(scenario), 0.0))
        return found


class _Tried(NamedTuple):
    """A trial and what came out."""

    trial: Trial
    experiment: Experiment
    found: Measured | None


def ranked_by(plan: Plan) -> str:
    """What a system lacks first: throughput, or latency where that alone fails."""
    return "latency" if plan.asked.failed_conditions == ("latency",) else "throughput"


def _recommended(plan: Plan, min_gain: float, clerk: _Clerk) -> Recommended:
    failing = plan.asked.first_failing_node_count, plan.asked.failed_conditions
    nothing = Recommended(plan.axes, None, *failing, ranked_by(plan), 0, {}, (), plan.note)
    if plan.alone is None:
        return nothing
    (before,) = clerk.measured([plan.alone])
    if isinstance(before, UsageError):
        return replace(nothing, note=f"nothing to try: {before.lines[0]}")
    return replace(
        nothing,
        node_count=plan.alone.nodes,
        operations=plan.alone.operations or 0,
        baseline=dict(before.row),
        experiments=_Bench(plan, plan.alone, before, min_gain, clerk).experiments(),
    )


class _Bench:
    """The experiments on one system."""

    def __init__(self, plan: Plan, alone: Scenario, before: Measured, min_gain: float, clerk: _Clerk) -> None:
        self.plan, self.alone, self.before, self.min_gain, self.clerk = plan, alone, before, min_gain, clerk
        self.by = ranked_by(plan)

    def experiments(self) -> tuple[Experiment, ...]:
        """Try everything, then the two best together, then the best under load."""
        tried = self._tried(self.plan.trials)
        tried += self._together(tried)
        return tuple(one.experiment for one in self._ranked(self._under_load(tried)))

    def _tried(self, trials: Sequence[Trial]) -> list[_Tried]:
        found = iter(self.clerk.measured([one.scenario for one in trials if one.scenario is not None]))
        return [self._told(one, one.why if one.scenario is None else next(found)) for one in trials]

    def _told(self, trial: Trial, found: Measured | UsageError | str) -> _Tried:
        change, before = trial.change, self.before
        told = Experiment(
            change.family, change.words, self.alone.nodes, change.settings, Verdict.NOT_APPLICABLE, caveat=change.caveat
        )
        if not isinstance(found, Measured):
            return _Tried(trial, replace(told, why=found if isinstance(found, str) else found.lines[0]), None)
        verdict, why = verdict_of(before, found, self.min_gain)
        told = replace(told, verdict=verdict, why=why)
        if found.feasible:
            told = replace(
                told,
                throughput=effect(before.throughput, found.throughput),
                latency=effect(before.latency, found.latency),
                success_before=before.success if before.feasible else None,
                success_after=found.success,
                bottleneck_before=before.row.get("bottleneck"),
                bottleneck_after=found.row.get("bottleneck"),
            )
        return _Tried(trial, told, found)

    def _ranked(self, tried: Sequence[_Tried]) -> list[_Tried]:
        """By verdict, then by gain on what is asked for first, then by gain on the other."""

        def rank(one: _Tried) -> tuple[int, float, float]:
            experiment = one.experiment
            more = experiment.throughput.ratio if experiment.throughput else math.inf
            faster = 1.0 / experiment.latency.ratio if experiment.latency else math.inf
            first, second = (faster, more) if self.by == "latency" else (more, faster)
            return _ORDER.index(experiment.verdict), -first, -second

        return sorted(tried, key=rank)

    def _best(self, tried: Sequence[_Tried]) -> list[_Tried]:
        """Of those that help the best of each family, best first."""
        helping = [one for one in self._ranked(tried) if one.experiment.verdict is Verdict.HELPS]
        return list({one.trial.change.family: one for one in reversed(helping)}.values())[::-1]

    def _together(self, tried: Sequence[_Tried]) -> list[_Tried]:
        """The two best changes that can be made together, tried."""
        for parts in combinations(self._best(tried), 2):
            one, other = (part.trial.change for part in parts)
            if one.settings.keys() & other.settings.keys():
                continue
            words, family = f"{one.words}, {other.words}", f"{one.family} + {other.family}"
            caveat = "; ".join(filter(None, (one.caveat, other.caveat)))
            both = Change(family, words, {**one.settings, **other.settings}, caveat)
            try:
                return [self._better(parts, *self._tried([Trial(both, both.applied(self.alone))]))]
            except UsageError:
                continue
        return []

    def _better(self, parts: Sequence[_Tried], both: _Tried) -> _Tried:
        """A combination, which helps only where it is better than each of its parts."""
        for part in parts:
            if part.found and both.found and verdict_of(part.found, both.found, self.min_gain)[0] is Verdict.NO_HELP:
                told = replace(both.experiment, verdict=Verdict.NO_HELP, why=f"no better than {part.trial.change.words} alone")
                return both._replace(experiment=told)
        return both

    def _under_load(self, tried: Sequence[_Tried]) -> list[_Tried]:
        """Simulate the best again at the offered load, if there is one."""
        rate = self.plan.rate
        best = self._best(tried)[:_CONFIRMED] if rate > 0.0 and self.before.feasible else []
        if not best:
            return list(tried)
        scenarios = [self.alone, *(one.trial.scenario for one in best if one.trial.scenario is not None)]
        before, *after = self.clerk.measured([one.but(rate=rate) for one in scenarios])
        confirmed = {id(one): self._loaded(one, before, found) for one, found in zip(best, after, strict=True)}
        return [confirmed.get(id(one), one) for one in tried]

    def _loaded(self, one: _Tried, before: Measured | UsageError, after: Measured | UsageError) -> _Tried:
        if isinstance(before, UsageError) or isinstance(after, UsageError):
            return one
        # above capacity latency grows while the test lasts; and the time in which a batch fills is not simulated
        apart = before.overloaded or after.overloaded or before.row["batch"] != after.row["batch"]
        latency = None if apart else effect(before.latency, after.latency)
        under_load = UnderLoad(self.plan.rate, latency, before.success, after.success)
        lost = losses(before, after, one.experiment.throughput, latency, self.min_gain)
        told = replace(one.experiment, under_load=under_load)
        if lost:
            told = replace(told, verdict=Verdict.TRADE_OFF, why=f"under load {lost}")
        return one._replace(experiment=told)
