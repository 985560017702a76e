"""`prsm-scale plan`: lines and tables, document, file, errors, exit codes."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from prsm_scale.cli import main
from prsm_scale.report.tables import WIDTH

LINE = (
    *("plan", "--target-ops", "50", "--network", "ideal", "--delay", "constant(1)", "--free-cpu"),
    *("--costs", "message_bytes=1000", "--operations", "96"),
)
"""Only uplinks count, and n = 10 is the most on 10 Mbit/s; see test_plan.py."""


def invoke(*args: str) -> Result:
    result = CliRunner().invoke(main, list(args))
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


@pytest.fixture
def nothing_runs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("prsm_scale.planning.plan.find_plan", lambda *_: pytest.fail("something was planned"))
    monkeypatch.chdir(tmp_path)


def test_plan_prints_what_it_found_and_two_tables() -> None:
    result = invoke(*LINE, "--bandwidth-mbps", "10", "--max-mean-ms", "1000", "--stages", "3")
    assert result.exit_code == 0
    assert result.stderr == (
        "n = 4 to 1,000, fully_connected, ideal; 50 operations/s, at most 80% of saturation, success above 95%, "
        "mean latency of at most 1000 ms\n"
    )
    lines = result.stdout.splitlines()
    assert max(map(len, lines)) <= WIDTH
    assert "largest n = 10, on at most profile extreme and 10.0 Mbit/s" in lines
    heads = [place for place, line in enumerate(lines) if re.match(r" ?n ", line) and "=" not in line]
    machines, expected = ([line.split() for line in lines[place + 1 : place + 3]] for place in heads)
    assert [(row[0], row[3], row[5], row[8]) for row in machines] == [
        ("4", "minimal", "5", "primary_egress"),
        ("10", "minimal", "10", "primary_egress"),
    ]
    assert [row[:3] for row in expected] == [["4", "50.0", "100%"], ["10", "50.0", "100%"]]


def test_a_plan_that_cannot_be_met_is_an_answer() -> None:
    result = invoke(*LINE, "--bandwidth-mbps", "1", "--quiet")
    assert (result.exit_code, result.stderr) == (0, "")
    assert "cannot be met, because at n = 4" in result.stdout
    assert "roll-out" not in result.stdout


def test_json_is_one_strict_document_and_the_file_holds_it_too(tmp_path: Path) -> None:
    file = tmp_path / "plan.json"
    result = invoke(*LINE, "--bandwidth-mbps", "10", "--json", "--save", str(file))
    document = json.loads(result.stdout, parse_constant=pytest.fail)
    assert (document["met"], document["max_nodes"]) == (True, 10)
    assert file.read_text() == result.stdout
    assert result.stderr.endswith(f"plan in {file}\n")
    assert list(tmp_path.iterdir()) == [file]


def test_a_file_holds_targets_and_settings(tmp_path: Path) -> None:
    config = tmp_path / "plan.toml"
    config.write_text('target_ops = 50\nmax_nodes = 9\nnetwork = "lan"\nbyzantine_ratio = [0.2]\n')
    plan = json.loads(invoke("plan", "--config", str(config), "--max-nodes", "12", "--dry-run", "--json").stdout)
    assert [(one["nodes"], one["network"], one["byzantine_ratio"], one["profile"]) for one in plan["scenarios"]] == [
        (4, "lan", 0.2, "extreme"),
        (12, "lan", 0.2, "extreme"),
    ]
    assert (plan["targets"]["target_ops"], plan["targets"]["max_nodes"]) == (50.0, 12)
    assert "50 operations/s, at most 80% of saturation" in invoke("plan", "--config", str(config), "--dry-run").stdout


@pytest.mark.parametrize(
    ("args", "line"),
    [
        ("", "target_ops: None is not allowed: a value is needed"),
        ("--target-ops 0", "target_ops: 0 is not allowed: a number, more than 0"),
        ("--target-ops much", "target_ops: 'much' is not allowed: a number, more than 0"),
        ("--target-ops nan", "target_ops: nan is not allowed: a number, more than 0"),
        ("--target-ops 5 --min-success 1", "min_success: 1 is not allowed: a number, 0 or more and less than 1"),
        ("--target-ops 5 --min-nodes 3", "min_nodes: 3 is not allowed: a whole number, 4 or more and at most 1000000"),
        ("--target-ops 5 --network lan,wan", "network: ['lan', 'wan'] is not allowed: one value"),
        ("--target-ops 5 --profile huge", "profile: 'huge' is not allowed: one of "),
        ("--target-ops 5 --nodes 5", "No such option '--nodes'"),
        ("--target-ops 5 --rate 5", "No such option '--rate'"),
        ("--target-ops 5 --topology mesh --mesh-degree 4", "mesh_degree: 4 is not allowed: less than nodes, which is 4"),
        ("--target-ops 5 --placement 1,2", "placement: [1, 2] is not allowed: random or worst"),
        ("--target-ops 5 --topology own.graphml", "topology: ['own.graphml'] is not allowed: one that can be made for any n"),
        ("--target-ops 5 --save none/plan.json", "save: 'none/plan.json' is not allowed: a file in a folder that is there"),
        ("--target-ops 5 --config none.toml", "config: 'none.toml' is not allowed: a TOML file that can be read ("),
        ("--target-ops 5 --threads 0", "Invalid value for '--threads': 0 is not in the range x>=1."),
    ],
)
@pytest.mark.usefixtures("nothing_runs")
def test_bad_usage_is_one_line(args: str, line: str) -> None:
    result = invoke("plan", *args.split())
    assert (result.exit_code, result.stdout) == (2, "")
    (told,) = result.stderr.splitlines()
    assert told.startswith(f"prsm-scale: error: {line}")


def test_ctrl_c_ends_it_cleanly(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def stop(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("prsm_scale.planning.trials.simulate_scenario", stop)
    result = invoke(*LINE, "--bandwidth-mbps", "10", "--quiet", "--save", str(tmp_path / "plan.json"))
    assert (result.exit_code, result.stdout, result.stderr.strip()) == (130, "", "prsm-scale: interrupted")
    assert list(tmp_path.iterdir()) == []
