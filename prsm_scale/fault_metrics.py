"""What a replicate under a fault script shows: outages, recovery, losses, throughput and latency over time.

All of it is measured from answers and views; of the script only the beginning of its first fault and the end of its last are
used. docs/fault_scripts.md defines every number.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from prsm_scale.fault_schedule import Schedule
from prsm_scale.view_change import Timing

Times = NDArray[np.float64]

BACK: Final = 0.9
"""Share of the baseline at which throughput is back."""
STAYS_TIMEOUTS: Final = 4.0
"""Time for which it has to stay there, in time-outs of a view."""
_STAYS_ANSWERS: Final = 100
"""Answers of the baseline that this time holds at least."""
_FEWEST: Final = 20
"""Answers before the first fault without which there is no baseline."""
_CHANCE: Final = 0.01
"""Chance of an outage in a run that has no faults, at most."""

ANSWERED, FAILED = 1, 2
"""What became of an operation, in `Observed.ended`."""


@dataclass(frozen=True, eq=False)
class Observed:
    """One replicate, as it was seen.

    Attributes
    ----------
    replicate : int
    schedule : Schedule
        What was done to it.
    start_ms : ndarray of float64, shape (K,)
        Start of each operation.
    latency_ms : ndarray of float64, shape (K,)
        inf where there was no answer.
    ended : ndarray of uint8, shape (K,)
        1 answered, 2 lost.
    views : ndarray of int32, shape (K,)
        View changes that each operation went through.
    violated : ndarray of uint8, shape (K,)
        Whether honest replicas committed different values.
    entered_ms : ndarray of float64, shape (V,)
        When a replica first entered each view; inf where none did.
    """

    replicate: int
    schedule: Schedule
    start_ms: Times
    latency_ms: Times
    ended: NDArray[np.uint8]
    views: NDArray[np.int32]
    violated: NDArray[np.uint8]
    entered_ms: Times

    @property
    def answered(self) -> NDArray[np.bool_]:
        """Whether each operation was answered."""
        return np.asarray(self.ended == ANSWERED)

    @property
    def answers_ms(self) -> Times:
        """Moments of answers, ascending."""
        return np.sort((self.start_ms + self.latency_ms)[self.answered])

    @property
    def views_ms(self) -> Times:
        """When later views were entered, ascending."""
        later = self.entered_ms[1:]
        return np.sort(later[later <= self.schedule.duration_ms])


@dataclass(frozen=True)
class Baseline:
    """How answers come while nothing is wrong.

    Attributes
    ----------
    per_ms : float
        Answers per ms.
    gap_ms : float
        Longest time between answers that is to be expected.
    stays_ms : float
        For how long throughput has to be back.
    """

    per_ms: float
    gap_ms: float
    stays_ms: float


def baseline_of(answers_ms: Times, schedule: Schedule, timing: Timing) -> Baseline | None:
    """Measure answers before the first fault, after one latency at rest; None where they are too few."""
    begin_ms, end_ms = timing.latency_ms, schedule.first_ms
    before = answers_ms[(answers_ms > begin_ms) & (answers_ms <= end_ms)]
    if before.size < _FEWEST:
        return None
    per_ms = before.size / (end_ms - begin_ms)
    # Of N exponential gaps of mean m, the longest passes m ln(N / p) with a chance of about p.
    likely_ms = math.log(max(per_ms * schedule.duration_ms, 1.0) / _CHANCE) / per_ms
    longest_ms = float(np.diff(before).max())
    return Baseline(per_ms, max(likely_ms, longest_ms), max(STAYS_TIMEOUTS * timing.view_timeout_ms, _STAYS_ANSWERS / per_ms))


def outages(answers_ms: Times, baseline: Baseline, schedule: Schedule) -> Times:
    """Times without an answer that are longer than the baseline makes likely, from answer to answer or to the end.

    Returns
    -------
    ndarray of float64, shape (N, 2)
        Beginning and end of each.
    """
    watched = answers_ms[answers_ms <= schedule.duration_ms]
    moments = np.append(watched, schedule.duration_ms)
    gaps = np.column_stack([moments[:-1], moments[1:]])
    return np.asarray(gaps[(gaps[:, 1] - gaps[:, 0] > baseline.gap_ms) & (gaps[:, 1] > schedule.first_ms)])


def recoveries(answers_ms: Times, out: Times, baseline: Baseline, duration_ms: float) -> Times:
    """When each outage began, and when throughput was back after it; inf where it never was.

    An outage that begins before throughput is back is a part of the one before.

    Returns
    -------
    ndarray of float64, shape (N, 2)
    """
    half_ms = baseline.stays_ms / 2.0
    enough = BACK * baseline.per_ms * half_ms
    candidates = answers_ms[answers_ms + baseline.stays_ms <= duration_ms]
    seen = [np.searchsorted(answers_ms, candidates + k * half_ms, side="right") for k in range(3)]
    back = (seen[1] - seen[0] >= enough) & (seen[2] - seen[1] >= enough)
    for begin_ms, _ in out:
        back &= (candidates > begin_ms) | (candidates + baseline.stays_ms <= begin_ms)
    candidates = candidates[back]
    found: list[tuple[float, float]] = []
    for begin_ms, end_ms in out:
        if not found or begin_ms >= found[-1][1]:
            later = candidates[candidates >= end_ms]
            found.append((begin_ms, float(later[0]) if later.size else math.inf))
    return np.array(found, np.float64).reshape(-1, 2)


def measure(seen: Observed, timing: Timing, batch: int = 1) -> dict[str, Any]:
    """Work out the numbers of one replicate, see `fault_columns.FAULT_COLUMNS`.

    Parameters
    ----------
    seen : Observed
    timing : Timing
        Of the scenario.
    batch : int
        Operations in a proposal, of which throughput counts each.
    """
    schedule, answers_ms = seen.schedule, seen.answers_ms
    first, last = schedule.first_ms, schedule.last_ms
    later = seen.views_ms[seen.views_ms > first]
    per_second = 1000.0 * batch
    inside = np.count_nonzero((answers_ms > first) & (answers_ms <= last))
    return {
        "replicate": seen.replicate,
        "view_timeout_ms": timing.view_timeout_ms,
        "latency_at_rest_ms": timing.latency_ms,
        "duration_ms": schedule.duration_ms,
        "first_fault_ms": first,
        "last_fault_ms": last,
        "operations": seen.start_ms.size,
        "answered": int(seen.answered.sum()),
        "failed": int((seen.ended == FAILED).sum()),
        "late": int((seen.answered & (seen.views > 0)).sum()),
        "view_changes": seen.views_ms.size,
        "safety_violations": int(np.count_nonzero(seen.violated)),
        **_latencies("baseline_", seen, seen.start_ms + seen.latency_ms <= first),
        "faulty_ops_per_second": per_second * inside / (last - first) if last > first else None,
        **_latencies("faulty_", seen, (seen.start_ms > first) & (seen.start_ms <= last)),
        "time_to_new_view_ms": float(later[0] - first) if later.size else None,
        **_availability(answers_ms, schedule, timing, per_second),
    }


def _latencies(name: str, seen: Observed, chosen: NDArray[np.bool_]) -> dict[str, float | None]:
    latency = seen.latency_ms[chosen & seen.answered]
    median, p99 = np.quantile(latency, (0.5, 0.99)).tolist() if latency.size else (None, None)
    return {f"{name}median_latency_ms": median, f"{name}p99_latency_ms": p99}


def _availability(answers_ms: Times, schedule: Schedule, timing: Timing, per_second: float) -> dict[str, Any]:
    baseline = baseline_of(answers_ms, schedule, timing)
    if baseline is None:
        return {}
    out = outages(answers_ms, baseline, schedule)
    known: dict[str, Any] = {
        "baseline_ops_per_second": per_second * baseline.per_ms,
        "outages": len(out),
        "unavailable_ms": float((out[:, 1] - out[:, 0]).sum()),
    }
    if not len(out):
        return known
    back = recoveries(answers_ms, out, baseline, schedule.duration_ms)
    longest = float((back[:, 1] - back[:, 0]).max())
    return known | {
        "longest_outage_ms": float((out[:, 1] - out[:, 0]).max()),
        "recovered": math.isfinite(longest),
        "time_to_recover_ms": longest if math.isfinite(longest) else None,
    }


def timeline(seen: Observed, bin_ms: float, batch: int = 1) -> list[dict[str, Any]]:
    """Throughput and latency of one replicate over time, see `fault_columns.TIMELINE_COLUMNS`.

    Parameters
    ----------
    seen : Observed
    bin_ms : float
        Length of a bin; the last may be shorter.
    batch : int
        See `measure`.
    """
    edges = bin_edges(seen.schedule.duration_ms, bin_ms)
    answers = np.histogram(seen.answers_ms, edges)[0]
    views = np.histogram(seen.views_ms, edges)[0]
    place = np.searchsorted(edges, seen.start_ms, side="right") - 1
    rows = []
    for number, (begin, end) in enumerate(zip(edges[:-1], edges[1:], strict=True)):
        here = place == number
        rows.append({
            "replicate": seen.replicate,
            "begin_ms": float(begin),
            "end_ms": float(end),
            "started": int(here.sum()),
            "answered": int(answers[number]),
            "failed": int((here & (seen.ended == FAILED)).sum()),
            "ops_per_second": 1000.0 * batch * float(answers[number]) / float(end - begin),
            **_latencies("", seen, here),
            "views_entered": int(views[number]),
        })  # fmt: skip
    return rows


def bin_edges(duration_ms: float, bin_ms: float) -> Times:
    """Edges of bins of this length; the last is as long as is left."""
    count = max(1, math.ceil(duration_ms / bin_ms - 1e-9))
    return np.append(bin_ms * np.arange(count), duration_ms)
