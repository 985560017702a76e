"""What fault scripts did, for the terminal."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np
from rich.console import RenderableType
from rich.text import Text

from prsm_scale.report.tables import WIDTH, plain_table
from prsm_scale.wording import MISSING, number

if TYPE_CHECKING:
    from prsm_scale.fault_runs import FaultRun, Planned

_HEADINGS = (
    "script", "ops/s", "faulty", "p99 ms", "p99 faulty", "down s", "recover s", "new view s", "late", "lost", "views",
)  # fmt: skip
_PLAN = ("script", "at s", "until s", "what", "replicas")
_MOST_NAMED = 12
_LONG = 16
"""Characters of a name from which it may be broken."""
_BLOCKS = " ▁▂▃▄▅▆▇█"
_FULL = 6
"""Block that stands for the throughput before the first fault."""


def scene(run: FaultRun) -> str:
    """What is simulated, in a line."""
    scenario, timing = run.scenario, run.timing
    load = f"{scenario.clients} clients" if scenario.clients else f"{scenario.rate:g} ops/s offered"
    seconds = number(timing.view_timeout_ms / 1000.0)
    byzantine = f", byzantine {scenario.byzantine_ratio:g} {scenario.behaviour}" if scenario.byzantine_count else ""
    return (
        f"n = {scenario.nodes}, {scenario.topology}, {scenario.network}{byzantine}, {load}; T = {seconds} s; "
        f"{len(run.seen)} replicates, seed {scenario.seed}"
    )


def plan_table(planned: Planned) -> RenderableType:
    """Tabulate who does what and when, in the first replicate."""
    rows = []
    for script, schedule in zip(planned.scripts, planned.schedules, strict=True):
        for one in schedule.periods:
            who = ", ".join(map(str, one.replicas[:_MOST_NAMED])) + ", ..." * (len(one.replicas) > _MOST_NAMED)
            until = number(one.end_ms / 1000.0) if one.end_ms < schedule.duration_ms else "end"
            rows.append((script.name, number(one.begin_ms / 1000.0), until, one.label, who or MISSING))
    return plain_table(_PLAN, rows, left=("script", "what", "replicas"), wrap=("replicas",))


def fault_table(runs: Sequence[FaultRun]) -> RenderableType:
    """Tabulate means over the replicates, with half their 95 % intervals."""
    long = max(len(run.script.name) for run in runs) > _LONG
    return plain_table(_HEADINGS, [_cells(run) for run in runs], left=("script",), wrap=("script",) if long else ())


def fault_notes(runs: Sequence[FaultRun]) -> list[Text]:
    """What a mean would hide."""
    return [Text(f"{run.script.name}: {line}", style=style) for run in runs for line, style in _notes(run)]


def spark_lines(runs: Sequence[FaultRun]) -> RenderableType:
    """Draw throughput over time in a line of blocks for each script, above a line where faults last."""
    margin = min(max(len(run.script.name) for run in runs), WIDTH // 3)
    longest = max(run.seen[0].schedule.duration_ms for run in runs)
    step_ms = longest / (WIDTH - margin - 2)
    lines = [f"throughput over {number(longest / 1000.0)} s; faults last where the line below says so"]
    for run in runs:
        duration_ms = run.seen[0].schedule.duration_ms
        edges = np.arange(0.0, duration_ms + 0.5 * step_ms, step_ms)
        answers = np.mean([np.histogram(one.answers_ms, edges)[0] for one in run.seen], axis=0)
        lines.append(f"{run.script.name[:margin]:<{margin}}  {_blocks(run, answers / step_ms)}")
        lines.append(f"{'':{margin}}  {_faults(run, edges)}")
    return Text("\n".join(line.rstrip() for line in lines), no_wrap=True)


def _blocks(run: FaultRun, per_ms: np.ndarray[tuple[int], np.dtype[np.float64]]) -> str:
    baseline = run.mean("baseline_ops_per_second")
    full = baseline[0] / 1000.0 / run.scenario.batch if baseline else float(per_ms.max(initial=0.0)) or 1.0
    height = np.where(per_ms > 0.0, np.clip(np.rint(_FULL * per_ms / full), 1, len(_BLOCKS) - 1), 0).astype(int)
    return "".join(_BLOCKS[one] for one in height)


def _faults(run: FaultRun, edges: np.ndarray[tuple[int], np.dtype[np.float64]]) -> str:
    spans = [span for times in run.seen[0].schedule.spans.values() for span in times]
    cells = zip(edges[:-1], edges[1:], strict=True)
    return "".join("─" if any(begin < until and end > since for since, until in spans) else " " for begin, end in cells)


def _cells(run: FaultRun) -> tuple[str, ...]:
    return (
        run.script.name,
        _mean(run, "baseline_ops_per_second"),
        _mean(run, "faulty_ops_per_second"),
        _mean(run, "baseline_p99_latency_ms"),
        _mean(run, "faulty_p99_latency_ms"),
        _spread_s(run, "unavailable_ms"),
        _spread_s(run, "time_to_recover_ms"),
        _mean(run, "time_to_new_view_ms", 1000.0),
        _mean(run, "late"),
        _mean(run, "failed"),
        _mean(run, "view_changes"),
    )


def _mean(run: FaultRun, name: str, divisor: float = 1.0) -> str:
    found = run.mean(name)
    return number(found[0] / divisor) if found else MISSING


def _spread_s(run: FaultRun, name: str) -> str:
    found = run.mean(name)
    if not found or not found[0]:
        return "0" if found else MISSING
    value, half = found[0] / 1000.0, found[1] / 1000.0
    decimals = 2 if value >= 1.0 else 3
    return f"{value:.{decimals}f} ±{half:.{decimals}f}" if half else f"{value:.{decimals}f}"


def _notes(run: FaultRun) -> Iterator[tuple[str, str]]:
    rows, count = run.rows, len(run.rows)
    violated = sum(row["safety_violations"] for row in rows)
    if violated:
        yield f"{violated} operations were committed with different values", "red"
    without = sum("outages" not in row for row in rows)
    if without:
        yield f"too few answers before the first fault in {without} of {count} replicates, which have no baseline", "yellow"
    out = sum(bool(row.get("outages")) for row in rows)
    lost = sum(row.get("recovered") is False for row in rows)
    if 0 < out < count - without:
        yield f"{out} of {count} replicates had an outage", "yellow"
    if lost:
        yield f"throughput was not back by the end in {lost} of {count} replicates; the mean leaves them out", "yellow"
