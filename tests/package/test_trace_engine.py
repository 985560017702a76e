"""Traces of the events engine: every message is there, its moments are in order, and marks follow from them."""

from __future__ import annotations

import json
import re
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from prsm_scale.cli import main
from prsm_scale.config import Scenario
from prsm_scale.events import trace_operations
from prsm_scale.report.messages import message_table, rows_of
from prsm_scale.tracing import COMMITTED, COMPLETED, ENDED, FAILED, STARTED, Trace, lanes
from tests.e2e.program import ROOT, strict_json
from tests.trace_checks import INF, ROUNDS, check_diagram, check_perfetto, rendered

REAL = {
    "plain": {},
    "free": {"free_cpu": True, "bandwidth_mbps": INF, "rate": 0},
    "busy": {"nodes": 7, "rate": 1500.0, "profile": "minimal", "bandwidth_mbps": 20.0},
    "lossy": {"loss": 0.2},
    "datagrams": {"loss": 0.2, "transport": "datagram"},
    "silent": {"nodes": 7, "placement": (2, 5)},
    "stuck": {"nodes": 7, "placement": (1, 2, 3)},
    "added up": {"authentication": "bls"},
    "gossip": {"nodes": 7, "topology": "ring"},
    "routed": {"nodes": 7, "topology": "star", "dissemination": "routed"},
}


@pytest.fixture(scope="module", params=REAL.values(), ids=REAL)
def real(request: pytest.FixtureRequest) -> Trace:
    """Operation 3 of a scenario."""
    return trace_operations(Scenario(**({"nodes": 4, "network": "lan", "engine": "events"} | request.param)), first=3)


def test_every_message_is_traced(real: Trace) -> None:
    n, hops = real.nodes, real.hops
    live = n - np.unique(hops.receiver[hops.to_silent]).size
    made = {
        (r, i, j) for r, i, j in zip(hops.round.tolist(), hops.source.tolist(), hops.destination.tolist(), strict=True) if i != j
    }
    messages = Counter(ROUNDS[r] for r, _, _ in made)
    if real.scenario.transport == "stream" and real.moment_ms(ENDED) is not None:
        votes = {"prepare": (live - 1) * (n - 1), "commit": live * (n - 1)}
        assert messages == {"request": 1, "pre_prepare": n - 1, **votes, "reply": live}
    assert real.operations == (3,)
    assert (live < n) == (real.scenario.byzantine_ratio > 0)
    if real.scenario.dissemination == "direct" and real.moment_ms(ENDED) is not None:  # else the client asks again
        assert (hops.repeat == 0).sum() == len(made)


def test_a_copy_goes_through_its_moments_in_order(real: Trace) -> None:
    hops = real.hops
    assert (hops.ready_ms <= hops.leave_ms).all()
    assert np.isinf(hops.arrive_ms[hops.lost]).all()
    came = hops.take(hops.arrived)
    moments = np.column_stack([came.leave_ms, came.arrive_ms, came.received_ms, came.begin_ms, came.end_ms])
    assert (np.diff(moments) >= 0).all()


def test_lost_copies_are_repeated_over_streams(real: Trace) -> None:
    hops = real.hops
    copies = list(zip(hops.round, hops.source, hops.destination, hops.sender, hops.receiver, hops.repeat, strict=True))
    repeats = {copy for copy in copies if copy[-1] > 0}
    assert (hops.lost.sum() > 0) == (real.scenario.loss == 0.2)
    after = {(*copy[:-1], copy[-1] + 1) for copy, lost in zip(copies, hops.lost, strict=True) if lost}
    assert repeats == (after if real.scenario.transport == "stream" else set())


def test_marks_follow_from_the_messages(real: Trace) -> None:
    hops, marks = real.hops, real.marks
    done = marks.take(marks.what == COMPLETED)
    assert len({*zip(done.round.tolist(), done.replica.tolist(), strict=True)}) == len(done)
    commits = np.sort(done.time_ms[done.round == ROUNDS.index("commit")])
    faults = (real.nodes - 1) // 3
    committed, ended = real.moment_ms(COMMITTED), real.moment_ms(ENDED)
    if ended is None:
        assert (committed, real.moment_ms(FAILED)) == (None, real.moment_ms(STARTED) + real.scenario.operation_timeout_ms)
        return
    assert committed == commits[real.nodes - faults - 1]
    replies = np.sort(hops.arrive_ms[(hops.receiver == real.nodes) & (hops.destination == real.nodes)])
    assert ended == replies[faults]
    times = {(r, i): time for r, i, time in zip(done.round.tolist(), done.replica.tolist(), done.time_ms.tolist(), strict=True)}
    for r, receiver, arrive in zip(
        *(column[hops.useful].tolist() for column in (hops.round, hops.receiver, hops.arrive_ms)), strict=True
    ):
        assert arrive <= times.get((r, receiver), INF)


def test_no_more_jobs_at_once_than_cores(real: Trace) -> None:
    cores = {"standard": 4, "minimal": 1}[real.scenario.profile]
    for replica in np.unique(real.jobs.replica):
        jobs = real.jobs.take((real.jobs.replica == replica) & (real.jobs.end_ms > real.jobs.begin_ms))
        assert lanes(jobs.begin_ms, jobs.end_ms).max(initial=0) < cores


def test_what_is_shown_of_it(real: Trace) -> None:
    check_diagram(real, 3)
    check_perfetto(real)
    assert len(rendered(message_table(real)).splitlines()) == len(real.hops) + 1
    strict_json(json.dumps([rows_of(table, ROUNDS) for table in (real.hops, real.marks, real.jobs)], allow_nan=False))


README_COMMANDS = re.findall(r"^prsm-scale (trace .*)$", (ROOT / "README.md").read_text(encoding="utf-8"), re.MULTILINE)


@pytest.mark.parametrize("command", README_COMMANDS)
def test_commands_of_the_readme_write_what_they_name(command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("docs/img").mkdir(parents=True)
    result = CliRunner().invoke(main, command.split())
    assert result.exit_code == 0, result.stderr
    (file,) = re.findall(r" --(?:plot|perfetto) (\S+)", command)
    assert 0 < Path(file).stat().st_size < (150_000 if file.endswith(".png") else 1_000_000)


def test_an_operation_is_the_same_alone_and_among_others() -> None:
    scenario = Scenario(nodes=4, network="wan", rate=50, engine="events")
    several = trace_operations(scenario, first=2, count=3)
    assert several.operations == (2, 3, 4)
    for operation in several.operations:
        alone = trace_operations(scenario, first=operation)
        for moment in (STARTED, COMMITTED, ENDED):
            assert several.of(operation).moment_ms(moment) == alone.moment_ms(moment)
    check_perfetto(several)
