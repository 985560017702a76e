"""Configurations in processes of their own: the same results, interruptions, and processes that are ended from outside."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
from pathlib import Path
from typing import Any

import pytest

import prsm_scale.controller.suite as suite
from prsm_scale.controller.config import ScalingTestConfig
from prsm_scale.controller.suite import Ended, Task, run_tasks
from prsm_scale.progress import Progress

QUICK: dict[str, Any] = {"network_topology": "mesh", "operations": 32, "enable_resource_monitoring": False}
LONG: dict[str, Any] = QUICK | {"node_counts": [100, 150], "byzantine_ratios": [0.0], "operations": 8_000}


def tasks(folder: Path, *configs: dict[str, Any]) -> list[Task]:
    return [Task(ScalingTestConfig(name=f"c{k}", **one), folder, False, "test") for k, one in enumerate(configs)]


def told_nothing(name: str, progress: Progress) -> None:
    pass


def results(ended: list[Ended]) -> dict[str, str]:
    """As text, in which what is missing equals itself."""
    timed = ["wall_seconds", "messages_per_second", "run_id"]
    return {one.config.name: str(one.result.scenarios.drop(columns=timed).to_dict()) for one in ended if one.result is not None}


def test_processes_find_the_same(tmp_path: Path) -> None:
    """Bit for bit, stored by each, those that take longest begun first."""
    given = [QUICK | {"node_counts": [4, nodes], "network_conditions": ["lan"]} for nodes in (7, 20, 10)]
    begun: list[str] = []
    apart = list(run_tasks(tasks(tmp_path / "apart", *given), 2, lambda name, _: begun.append(name)))
    here = list(run_tasks(tasks(tmp_path / "here", *given), 1, told_nothing))
    assert [one.config.name for one in here] == ["c1", "c2", "c0"]
    assert set(begun) == {"c0", "c1", "c2"} and "c0" not in begun[:2]
    assert len(results(apart)) == 3 and results(apart) == results(here)
    assert sorted(one.file for one in apart if one.file) == sorted((tmp_path / "apart").glob("*.json"))
    assert not list(tmp_path.glob("*/*.partial"))


def test_where_processes_can_share_nothing_this_one_does_the_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> None:
        raise OSError("no shared memory")

    monkeypatch.setattr(suite, "RawValue", refuse)
    monkeypatch.setattr(suite, "_in_processes", refuse)
    ended = list(run_tasks(tasks(tmp_path, QUICK | {"node_counts": [4]}, QUICK | {"node_counts": [7]}), 2, told_nothing))
    assert [one.config.name for one in ended if one.result is not None] == ["c1", "c0"]


def test_an_error_is_that_of_its_configuration(tmp_path: Path) -> None:
    """That so few links never make a connected graph is found where it is made."""
    given = [QUICK | {"node_counts": [10], "network_topology": "random", "edge_probability": chance} for chance in (0.5, 0.01)]
    fine, wrong = sorted(run_tasks(tasks(tmp_path, *given), 2, told_nothing), key=lambda one: one.config.name)
    assert fine.error is None and fine.file is not None
    assert wrong.result is None and wrong.error is not None and wrong.error.exit_code == 2
    assert "edge_probability" in wrong.error.lines[0]


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
def test_an_interrupt_stops_all_and_keeps_what_is_done(tmp_path: Path) -> None:
    pressed: list[str] = []

    def press(name: str, progress: Progress) -> None:
        if progress.done and not pressed:
            pressed.append(name)
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        list(run_tasks(tasks(tmp_path, LONG, LONG), 2, press))
    assert multiprocessing.active_children() == []
    (kept,) = {tmp_path / f"{name}.partial" for name in pressed}
    assert (kept / "journal.jsonl").read_text().count("\n") == 2  # its head, and a scenario
    assert not list(tmp_path.glob("*.json"))


def test_processes_that_are_ended_from_outside(tmp_path: Path) -> None:
    """As a system that runs out of memory does: no result is made up, and nothing waits for one."""

    def kill(name: str, progress: Progress) -> None:
        for process in multiprocessing.active_children():
            process.kill()

    ended = list(run_tasks(tasks(tmp_path, LONG, LONG, LONG), 2, kill))
    assert sorted(one.config.name for one in ended) == ["c0", "c1", "c2"]
    assert all(one.error is not None and "ended from outside" in one.error.lines[0] for one in ended)
