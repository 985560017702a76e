"""`prsm-scale faults`: table, lines, figure, files, errors, exit codes."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner, Result

from prsm_scale.cli import main
from prsm_scale.report.tables import WIDTH

READY = ["primary_crash", "rolling_crash", "half_partition", "cascade", "flash_loss", "slow_primary"]
SMALL = ("faults", "--nodes", "4", "--network", "lan", "--rate", "1000", "--loss", "0", "--replicates", "2")
TWO = ("--only", "primary_crash,cascade")


def invoke(*args: str) -> Result:
    result = CliRunner().invoke(main, list(args))
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Result]:
    """A stored run of two scripts, and what the command that made it said."""
    folder = tmp_path_factory.mktemp("faults")
    before = os.getcwd()
    os.chdir(folder)
    try:
        result = invoke(*SMALL, *TWO, "--plot", "faults.svg")
    finally:
        os.chdir(before)
    assert result.exit_code == 0, result.stderr
    (run,) = (folder / "results").iterdir()
    return run, result


@pytest.fixture
def nothing_runs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def run(*args: Any, **settings: Any) -> None:
        pytest.fail("something was simulated")

    monkeypatch.setattr("prsm_scale.fault_runs.run_scripts", run)
    monkeypatch.chdir(tmp_path)


def test_faults_prints_a_table_lines_and_the_folder(made: tuple[Path, Result]) -> None:
    run, result = made
    lines = result.stdout.splitlines()
    assert result.stderr == "n = 4; primary_crash, cascade; 2 replicates each\nfigure in faults.svg\n"
    assert max(map(len, lines)) <= WIDTH
    assert re.fullmatch(r"n = 4, fully_connected, lan, 1000 ops/s offered; T = [\d.]+ s; 2 replicates, seed 0", lines[0])
    heading = "script ops/s faulty p99 ms p99 faulty down s recover s new view s late lost views"
    assert lines[2].split() == heading.split()
    crash, cascade = (line.replace(" ±", "±").split() for line in lines[3:5])
    assert (crash[0], cascade[0]) == ("primary_crash", "cascade")
    assert float(crash[1]) == pytest.approx(1000, rel=0.1)
    assert cascade[1] == crash[1]
    assert 0.1 < float(crash[5].partition("±")[0]) < 0.3
    assert (crash[-2], crash[-1]) == ("0", "1.00")
    assert "throughput over" in result.stdout
    assert result.stdout.count("─") > 50
    assert lines[-1] == f"2 scripts in results/{run.name}"


def test_lines_show_when_nothing_is_answered(made: tuple[Path, Result]) -> None:
    lines = made[1].stdout.splitlines()
    at = next(number for number, line in enumerate(lines) if line.startswith("throughput over"))
    answers, faults = lines[at + 1], lines[at + 2]
    begin = faults.index("─")
    dark = answers[begin:].index(" ") + begin
    assert begin <= dark <= begin + 3
    assert re.fullmatch(r"primary_crash  .?\S{20,30} {5,15}\S{20,}", answers)


def test_numbers_of_the_table_are_those_of_the_file(made: tuple[Path, Result]) -> None:
    rows = pq.read_table(made[0] / "faults.parquet").to_pylist()
    assert [(row["script"], row["replicate"]) for row in rows] == [
        ("primary_crash", 0),
        ("primary_crash", 1),
        ("cascade", 0),
        ("cascade", 1),
    ]
    shown = made[1].stdout.splitlines()[3].split()
    assert float(shown[1]) == pytest.approx(sum(row["baseline_ops_per_second"] for row in rows[:2]) / 2, rel=0.01)
    assert float(shown[5]) == pytest.approx(sum(row["unavailable_ms"] for row in rows[:2]) / 2000, rel=0.01)
    bins = pq.read_table(made[0] / "fault_timeline.parquet").to_pandas()
    assert bins.groupby(["script", "replicate"])["started"].sum().tolist() == [
        next(row["operations"] for row in rows if (row["script"], row["replicate"]) == pair)
        for pair in (("cascade", 0), ("cascade", 1), ("primary_crash", 0), ("primary_crash", 1))
    ]


def test_json_is_one_strict_document(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, made: tuple[Path, Result]) -> None:
    monkeypatch.chdir(tmp_path)
    document = json.loads(invoke(*SMALL, *TWO, "--json").stdout, parse_constant=pytest.fail)
    assert (Path(document["path"]) / "faults.parquet").is_file()
    stored = pq.read_table(made[0] / "faults.parquet").to_pylist()
    assert [row | {"run_id": made[0].name} for row in document["faults"]] == stored


def test_a_script_of_ones_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("mine.toml").write_text('duration_s = 2\n[[events]]\naction = "crash"\nreplicas = "last:f+1"\nat_s = 1\n')
    result = invoke(*SMALL, "--script", "mine.toml", "--operation-timeout-ms", "500", "--quiet")
    assert result.stderr == ""
    rows = pq.read_table(Path(result.stdout.strip()) / "faults.parquet").to_pylist()
    assert [(row["script"], row["recovered"], row["duration_ms"]) for row in rows] == [("mine", False, 2000.0)] * 2
    told = invoke(*SMALL, "--script", "mine.toml", "--operation-timeout-ms", "500", "--duration-s", "1.5", "--byzantine", "0.25")
    assert "mine: throughput was not back by the end in " in told.stdout
    assert ", byzantine 0.25 silent, " in told.stdout


@pytest.mark.usefixtures("nothing_runs")
def test_list_and_dry_run_tell_what_would_happen(tmp_path: Path) -> None:
    listed = invoke("faults", "--list").stdout
    assert re.findall(r"^(\w+_?\w*)  ", listed, re.MULTILINE)[1:] == READY
    assert [one["name"] for one in json.loads(invoke("faults", "--list", "--json").stdout)["scripts"]] == READY
    plan = invoke("faults", "--nodes", "7", "--only", "cascade", "--view-timeout-ms", "1000", "--dry-run").stdout.splitlines()
    assert plan[0].split() == ["script", "at", "s", "until", "s", "what", "replicas"]
    assert [line.split() for line in plan[1:3]] == [
        ["cascade", "6.00", "end", "crash", "last:f", "5"],
        ["cascade", "9.00", "end", "crash", "last:f", "6"],
    ]
    assert plan[3] == "T = 1 s; 8 replicates of each"
    document = json.loads(invoke("faults", "--only", "cascade", "--dry-run", "--json").stdout)
    (scenario,) = document["scenarios"]
    assert (scenario["nodes"], scenario["rate"], scenario["engine"]) == (16, 48.0, "events")  # 80 in T of 1.66 s
    assert [one["name"] for one in document["scripts"]] == ["cascade"]


@pytest.mark.parametrize(
    ("args", "line"),
    [
        ("--only crash", "only: 'crash' is not allowed: one of primary_crash, "),
        ("--only ,", "only: '' is not allowed: one of primary_crash, "),
        ("--script none.toml", "script: 'none.toml' is not allowed: a TOML file that can be read ("),
        ("--script bad.toml", "script 'bad': event 1: action: 'crsh' is not allowed: one of crash, recover, "),
        ("--script far.toml --nodes 4", "script 'far': event 1: replicas: (4,) is not allowed: replica ids from 0 to 3"),
        (
            "--duration-s 5 --only flash_loss",
            "script 'flash_loss': event 1: at_timeouts: 6.0 is not allowed: a time before the end, ",
        ),
        ("--nodes 4,7", "nodes: '4,7' is not allowed: one value"),
        ("--network lan,wan", "network: ['lan', 'wan'] is not allowed: one value"),
        ("--rate 0", "rate: 0.0 is not allowed: more than 0, or clients in its place"),
        ("--plot a.gif", "plot: 'a.gif' is not allowed: a file that ends in .png, .svg, .pdf"),
        ("--engine rounds", "No such option '--engine'"),
        ("--config none.toml", "config: 'none.toml' is not allowed: a TOML file that can be read ("),
    ],
)
def test_bad_usage_is_one_line(args: str, line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def run(*args: Any, **settings: Any) -> None:
        pytest.fail("something was simulated")

    monkeypatch.setattr("prsm_scale.fault_runs._Job.run", run)
    monkeypatch.chdir(tmp_path)
    Path("bad.toml").write_text('[[events]]\naction = "crsh"\nreplicas = [0]\nat_s = 1\n')
    Path("far.toml").write_text('[[events]]\naction = "crash"\nreplicas = [4]\nat_s = 1\n')
    result = invoke("faults", *args.split())
    assert (result.exit_code, result.stdout) == (2, "")
    (told,) = result.stderr.splitlines()
    assert told.startswith(f"prsm-scale: error: {line}")


@pytest.mark.usefixtures("nothing_runs")
def test_settings_may_stand_in_a_file() -> None:
    Path("lan.toml").write_text('nodes = 7\nnetwork = "lan"\nrate = 20.0\n')
    document = json.loads(invoke("faults", "--config", "lan.toml", "--rate", "30", "--dry-run", "--json").stdout)
    (scenario,) = document["scenarios"]
    assert (scenario["nodes"], scenario["network"], scenario["rate"], scenario["replicates"]) == (7, "lan", 30.0, 8)


def test_ctrl_c_is_told_in_a_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)

    def stop(*args: Any, **settings: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("prsm_scale.fault_runs._Job._observe", stop)
    result = invoke(*SMALL, *TWO, "--quiet")
    assert (result.exit_code, result.stdout, result.stderr.strip()) == (130, "", "prsm-scale: interrupted")
