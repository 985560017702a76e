"""Runs from Python: what they tell of themselves, and how far they have come."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import prsm_scale as ps
from prsm_scale.progress import Progress


@pytest.fixture(scope="module")
def run() -> ps.Run:
    return ps.sweep(nodes="4..16", topology=["mesh", "star"], operations=32)


def test_a_run_tells_of_itself_in_one_line(run: ps.Run, tmp_path: Path) -> None:
    latency, most = (run.scenarios[name] for name in ("mean_latency_ms", "saturation_ops_per_second"))
    told = (
        "<Run: 6 scenarios; n = 4 to 16; mesh, star, wan; "
        f"mean latency {latency.min():.4g} to {latency.max():.4g} ms; at most {most.min():.4g} to {most.max():.4g} operations/s; "
        "bottleneck "
    )
    assert repr(run).startswith(told)
    folder = run.save(tmp_path)
    assert repr(ps.load(folder)).endswith(f"; in {folder}>")


def test_what_is_not_known_is_left_out(run: ps.Run) -> None:
    assert repr(ps.sweep(nodes=1_000_000)) == "<Run: 1 scenario; n = 1,000,000; fully_connected, wan>"
    assert repr(ps.Run({}, run.scenarios[:0], run.fits[:0])) == "<Run: 0 scenarios>"


def test_a_notebook_shows_what_varies_and_the_main_results(run: ps.Run) -> None:
    shown = run._repr_html_()
    headings = re.findall("<th>([a-z].*?)</th>", shown)
    assert headings[:3] == ["node_count", "topology", "operations_per_second"]
    assert headings[-1] == "bottleneck"
    assert shown.count("<tr") == 7
    assert "&lt;Run: 6 scenarios" in shown


def test_an_outcome_tells_of_itself_in_one_line() -> None:
    outcome = ps.simulate(nodes=100, operations=32)
    told = repr(outcome)
    assert len(told) < 200 and "\n" not in told
    for part in ("n = 100", "fully_connected", "wan", f"{outcome.row['mean_latency_ms']:.4g} ms", outcome.row["bottleneck"]):
        assert part in told


@pytest.mark.parametrize("topology", ["fully_connected", "ring"])
def test_messages_are_counted_while_a_scenario_runs(topology: str) -> None:
    seen: list[Progress] = []
    run = ps.sweep(nodes=[13, 16], topology=topology, operations=640, threads=2, progress=seen.append)
    for place, total in enumerate(run.scenarios["messages_simulated"].cumsum()):
        during = [one.messages for one in seen if one.done == place]
        assert len(set(during)) > 2
        assert during == sorted(during)
        assert during[-1] == total
    assert all(one.messages_per_second > 0 for one in seen if one.messages)
    assert seen[-1].messages == run.scenarios["messages_simulated"].sum()


def test_who_is_told_can_stop_a_run() -> None:
    def stop(progress: Progress) -> None:
        if progress.messages:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        ps.sweep(nodes=16, operations=640, threads=2, progress=stop)
