"""The commands that read a stored run."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from prsm_scale.cli import main

PATH = tuple(map(os.path.abspath, sys.path))
PROGRAM = "from prsm_scale.cli import main; main()"
NODES = (10, 20, 40, 80, 160, 320, 640, 1000)


def invoke(*args: str) -> Result:
    result = CliRunner().invoke(main, list(args))
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


@pytest.fixture
def stored(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    sample_row: Callable[..., Any],
    sample_run: Callable[..., Any],
) -> Path:
    monkeypatch.chdir(tmp_path)
    rows = [sample_row(n, topology) for topology in ("mesh", "star") for n in NODES]
    path: Path = sample_run(tmp_path / "results", rows).path
    return path


def test_show_finds_a_run_by_folder_name_or_file(stored: Path) -> None:
    outputs = [invoke("show", name) for name in (str(stored), "sample", str(stored / "scenarios.parquet"))]
    assert [result.exit_code for result in outputs] == [0, 0, 0]
    assert len({re.sub(r"in \S+$", "", result.stdout) for result in outputs}) == 1
    assert "\nmesh\n" in outputs[0].stdout
    assert "\nstar\n" in outputs[0].stdout


def test_show_as_json(stored: Path) -> None:
    document = json.loads(invoke("show", "sample", "--json").stdout, parse_constant=pytest.fail)
    assert [row["node_count"] for row in document["scenarios"]] == [*NODES, *NODES]
    assert document["run"] == "sample"


@pytest.mark.parametrize("suffix", [".png", ".svg", ".pdf"])
def test_show_writes_the_same_figure_again(stored: Path, tmp_path: Path, suffix: str) -> None:
    files = [tmp_path / f"{name}{suffix}" for name in "ab"]
    for file in files:
        assert invoke("show", "sample", "--plot", str(file)).exit_code == 0
    assert files[0].read_bytes() == files[1].read_bytes() != b""


def test_show_of_an_unfinished_run_tells_how_to_go_on(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    sample_row: Callable[..., Any],
    sample_run: Callable[..., Any],
) -> None:
    monkeypatch.chdir(tmp_path)
    path = sample_run(Path("results"), [sample_row(10), sample_row(20)], finished=False).path
    result = invoke("show", "sample")
    assert result.exit_code == 0
    assert result.stderr == f"unfinished; go on with: prsm-scale sweep --resume {path}\n"
    assert result.stdout.endswith(f"2 scenarios in {path}\n")
    assert "law" in invoke("fit", "sample").stdout


def test_an_unfinished_run_may_hold_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sample_run: Callable[..., Any]
) -> None:
    monkeypatch.chdir(tmp_path)
    sample_run(Path("results"), [], finished=False)
    assert invoke("show", "sample").stdout == "0 scenarios in results/sample\n"
    assert "nothing to fit" in invoke("fit", "sample").stdout


def test_fit_shows_every_law(stored: Path) -> None:
    result = invoke("fit", "sample")
    assert result.exit_code == 0
    for law in ("usl", "power", "logarithmic", "linear"):
        assert len(re.findall(rf"\b{law}  ", result.stdout)) >= 2
    assert re.search(r"^\*  mean latency  logarithmic", result.stdout, re.MULTILINE)


def test_fit_as_json(stored: Path) -> None:
    document = json.loads(invoke("fit", "sample", "--json").stdout, parse_constant=pytest.fail)
    chosen = {(fit["topology"], fit["quantity"]): fit for fit in document["fits"] if fit["chosen"]}
    assert len(chosen) == 4
    law = chosen["mesh", "saturation_ops_per_second"]
    assert (law["law"], law["coefficient"], law["exponent"]) == (
        "power",
        pytest.approx(21_000),
        pytest.approx(-1),
    )


@pytest.mark.parametrize("command", ["show", "fit"])
def test_no_run(command: str, tmp_path: Path) -> None:
    result = invoke(command, str(tmp_path))
    assert result.exit_code == 2
    assert result.stderr.startswith("prsm-scale: error: run: ")
    assert len(result.stderr.splitlines()) == 1


def test_a_reader_that_leaves_early_sees_no_traceback(stored: Path) -> None:
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(PATH)}
    child = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, "show", str(stored), "--json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment,
    )
    assert child.stdout is not None
    assert child.stderr is not None
    child.stdout.read(10)
    child.stdout.close()
    child.wait(timeout=60)
    assert b"Traceback" not in child.stderr.read()
    child.stderr.close()
