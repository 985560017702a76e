"""Benchmarks: one command, one report; the parts can be had alone."""

from __future__ import annotations

import statistics
import sys
from importlib import import_module
from pathlib import Path
from types import ModuleType

import pytest

BENCH = Path(__file__).resolve().parent.parent.parent / "bench"


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The folder's `run`, as it is when it is run as a script."""
    monkeypatch.syspath_prepend(str(BENCH))
    for name in ("run", "commands", "engine", "events"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    return import_module("run")


def test_one_report_of_all_parts(bench: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    for part in bench.PARTS:
        monkeypatch.setattr(import_module(part), "report", lambda quick, part=part: [f"{part} {quick}"])
    bench.main(["--quick"])
    head, *lines = capsys.readouterr().out.splitlines()
    assert head.startswith("prsm-scale 0.")
    assert list(filter(None, lines)) == [
        "# commands", "commands True", "# engine", "engine True", "# events", "events True",
    ]  # fmt: skip
    bench.main(["--only", "engine"])
    assert capsys.readouterr().out.splitlines()[-3:] == ["# engine", "", "engine False"]


def test_parts_measure(bench: ModuleType, tmp_path: Path) -> None:
    engine, commands = import_module("engine"), import_module("commands")
    assert 0 < engine.engine_ns(10, engine.SETTINGS["CPU and NIC"], 64, 1) < 1e5
    run = commands.measure(("--help",), tmp_path)
    assert 0 < run.seconds < 60
    assert run.peak_mb > 1
    with pytest.raises(SystemExit, match="nothing ended with 2"):
        commands.measure(("nothing",), tmp_path)


def test_the_simpy_model_is_the_same_scenario(bench: ModuleType) -> None:
    """Seen to fail with a quorum of one vote more: 28 standard errors apart."""
    events = import_module("events")
    system = events.build_system(events.make_plan(events.Scenario(nodes=7, **events.SETTINGS)), 0)
    model = events.SimpyModel(7, system)
    slow = model.run(1000)
    fast = events.EventRun(system).measure(8000).latency_ms
    assert model.messages == 1000 * (2 * 7 * 6 + 1 + 7)
    error = (fast.var() / fast.size + statistics.variance(slow) / len(slow)) ** 0.5
    assert abs(fast.mean() - statistics.fmean(slow)) < 4.5 * error
