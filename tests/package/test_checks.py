"""Faults that only a graph, links or a law can show: told before anything is simulated, announced or stored."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import prsm_scale as ps
from prsm_scale import checks
from prsm_scale.config import Sweep
from prsm_scale.errors import UsageError
from prsm_scale.protocols import PBFT
from prsm_scale.runs import run_sweep

UPSIDE_DOWN = replace(PBFT, name="upside_down", rounds=PBFT.rounds[::-1])
SECOND_IS_AT_FAULT: list[tuple[dict[str, Any], str]] = [
    ({"topology": ["ring", "random"], "edge_probability": 0.01}, "edge_probability: 0.01 is not allowed: about 0.23 or more"),
    ({"network": ["wan", "lan"], "delay_min_ms": 60}, "delay_min_ms: 60.0 is not allowed: 60 to 5 ms on network 'lan'"),
    (
        {"environment": ["local_simulation", "multi_region_cloud"], "regions": ["us-east-1", "nowhere"]},
        "regions: 'nowhere' is not allowed: one of the 21 regions",
    ),
    ({"protocol": ["pbft", UPSIDE_DOWN]}, "protocol 'upside_down': rounds: 'all_to_client, "),
]


@pytest.mark.parametrize(("settings", "line"), SECOND_IS_AT_FAULT, ids=[next(iter(case[0])) for case in SECOND_IS_AT_FAULT])
def test_no_scenario_is_simulated_before_all_are_known_to_serve(
    settings: dict[str, Any], line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("prsm_scale.runs.simulate_scenario", pytest.fail)
    settings = {"nodes": "10,20", **settings}
    for run in (lambda: ps.sweep(progress=pytest.fail, **settings), lambda: run_sweep(Sweep(**settings), tmp_path / "out")):
        with pytest.raises(UsageError) as caught:
            run()
        assert caught.value.lines[0].startswith(line)
    assert list(tmp_path.iterdir()) == []


def test_a_file_of_delays_is_read_before_anything_is_simulated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("prsm_scale.runs.simulate_scenario", pytest.fail)
    (tmp_path / "delays.csv").write_text("1\n-2\n")
    with pytest.raises(UsageError, match=r"it has -2"):
        ps.sweep(nodes=4, delay=f"empirical({tmp_path / 'delays.csv'})")


def test_a_plan_is_made_once_for_axes_that_do_not_change_it(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[Any] = []
    monkeypatch.setattr(checks, "lay_foundation", made.append)
    grid = Sweep(nodes="10,20", topology=["ring", "mesh"], rate=[1, 2], batch=[1, 2], byzantine_ratio=[0, 0.1], seed=[1, 2])
    checks.check_scenarios(grid.scenarios())
    assert len({(one.nodes, one.topology, one.seed) for one in made}) == len(made) == 8


def test_what_is_not_simulated_is_not_planned(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checks, "lay_foundation", pytest.fail)
    checks.check_scenarios(Sweep(nodes=1_000_000).scenarios())
