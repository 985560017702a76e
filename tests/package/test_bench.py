"""Benchmarks: one command, one report; the parts can be had alone."""

from __future__ import annotations

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
    for name in ("run", "commands", "engine"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    return import_module("run")


def test_one_report_of_all_parts(bench: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    for part in bench.PARTS:
        monkeypatch.setattr(import_module(part), "report", lambda quick, part=part: [f"{part} {quick}"])
    bench.main(["--quick"])
    head, *lines = capsys.readouterr().out.splitlines()
    assert head.startswith("prsm-scale 0.")
    assert list(filter(None, lines)) == ["# commands", "commands True", "# engine", "engine True"]
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
