"""`ps.validate` and ``prsm-scale validate``: what runs, what is stored, printed and returned."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner, Result

import prsm_scale as ps
from prsm_scale.cli import main
from prsm_scale.engine import simulate_scenario
from prsm_scale.ladders import engines
from prsm_scale.ladders.checks import Check, Estimate
from prsm_scale.ladders.run import Ladder, Validation
from prsm_scale.report.validation import error_text, page, sections
from tests.e2e.program import strict_json

CASES = """
[setups.constant]
source = "by hand"
[setups.constant.scenario]
nodes = 4
network = "ideal"
delay = "constant(250)"
free_cpu = true
rate = 0
client_site = 0
operations = 32

[[cases]]
id = "four delays"
setup = "constant"
group = "propagation"
metric = "mean_latency_ms"
value = 1.02
unit = "s"

[[cases]]
id = "all messages"
setup = "constant"
group = "counts"
metric = "message_count"
value = 24
unit = "messages"

[[cases]]
id = "waits"
setup = "constant"
metric = "mean_latency_ms"
value = 9.0
unit = "ms"
scenario = { protocol = "raft3" }
"""


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    file = tmp_path / "mine.toml"
    file.write_text(CASES)
    return file


def command(*words: str) -> Result:
    return CliRunner().invoke(main, ["validate", *words])


def test_closed_forms_hold_on_the_rounds_engine() -> None:
    validation = ps.validate("closed_forms", engine="rounds")
    assert validation.met and len(validation.checks) > 25
    assert {check.engine for check in validation.checks} == {"rounds"}
    assert set(validation.table["verdict"]) == {"pass"}


def test_a_point_of_the_grid_is_held_against_the_other_engine() -> None:
    first = engines.tasks(quick=True)[0]
    checks = {check.metric: check for check in first.run(lambda scenario: simulate_scenario(scenario, 2))}
    assert {check.group for check in checks.values()} == {"no contention, direct"}
    assert checks["message_count"].error == Estimate.exact(0.0)
    assert checks["mean_latency_ms"].bar == 0.01 and abs(checks["mean_latency_ms"].error.value) < 0.02
    assert 0.0 < checks["ks_distance"].error.value < checks["ks_distance"].bar < 0.1
    assert checks["median_latency_ms"].bar is None


def test_a_users_cases_are_predicted_and_the_rest_waits(mine: Path) -> None:
    validation = ps.validate(cases=mine)
    latency, messages, waits = validation.checks
    assert latency.predicted == Estimate.exact(1.0) and latency.error.value == pytest.approx(1.0 / 1.02 - 1.0)
    assert (messages.verdict, waits.verdict, waits.why) == ("pass", "not run", "needs protocol raft3")
    assert [(bar.group, bar.met) for bar in validation.bars] == [("propagation", True), ("counts", True)]


def test_what_has_no_value_misses_its_bar(mine: Path) -> None:
    mine.write_text(CASES.replace("client_site = 0", "placement = [1, 2]"))
    latency = ps.validate(cases=mine).checks[0]
    assert latency.predicted is None and latency.error.value == -1.0


def test_progress_names_what_runs(mine: Path) -> None:
    seen: list[Any] = []
    ps.validate(cases=mine, threads=1, progress=seen.append)
    assert [(one.done, one.total, one.current) for one in seen] == [(0, 2, "four delays"), (1, 2, "what cannot be run")]


def test_a_run_is_stored_with_its_provenance_and_page(mine: Path, tmp_path: Path) -> None:
    result = command("--cases", str(mine), "--out", str(tmp_path / "out"), "--markdown", str(tmp_path / "page.md"))
    assert result.exit_code == 0, result.output
    assert "all bars are met" in result.stdout and "needs protocol raft3" in result.stdout
    (folder,) = (tmp_path / "out").iterdir()
    assert sorted(file.name for file in folder.iterdir()) == ["validation.md", "validation.parquet"]
    assert (folder / "validation.md").read_text() == (tmp_path / "page.md").read_text()
    provenance = json.loads(pq.read_schema(folder / "validation.parquet").metadata[b"prsm_scale"])
    assert provenance["sweep"]["cases"] == str(mine) and provenance["run_id"] == folder.name
    stored = pd.read_parquet(folder / "validation.parquet")
    assert stored["run_id"].unique().tolist() == [folder.name] and len(stored) == 3


def test_a_bar_that_is_missed_is_named_and_makes_the_exit_code(mine: Path, tmp_path: Path) -> None:
    mine.write_text(CASES.replace("value = 1.02", "value = 2.0").replace("value = 24", "value = 25"))
    words = ("--cases", str(mine), "--out", str(tmp_path / "out"))
    result = command(*words, "--quiet")
    assert result.exit_code == 1
    lines = result.stdout.splitlines()
    assert lines[0] == "measurements, propagation: median error 50.0%, bar 5%"
    assert lines[1] == "measurements, counts: beyond its bar: all messages (message_count)"
    told = command(*words, "--json")
    document = strict_json(told.stdout)
    assert (told.exit_code, document["met"], document["missed"]) == (1, False, lines[:2])
    assert [row["case"] for row in document["checks"]] == ["four delays", "all messages", "waits"]


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (
            ("--ladder", "peer"),
            "ladder: 'peer' is not allowed: one of closed_forms, engines, peers, measurements (did you mean 'peers'?)",
        ),
        (("--ladder", ""), "ladder: '' is not allowed: one of closed_forms, engines, peers, measurements"),
        (("--engine", "meanfield"), "engine: 'meanfield' is not allowed: one of rounds, events"),
        (("--cases", "none.toml"), "cases: 'none.toml' is not allowed: a TOML file that can be read (No such file or directory)"),
        (("--markdown", "none/page.md"), "markdown: 'none/page.md' is not allowed: a file in a folder that is there"),
    ],
)
def test_bad_input_is_one_line_and_nothing_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...], line: str
) -> None:
    monkeypatch.chdir(tmp_path)
    result = command(*words)
    assert (result.exit_code, result.stdout, result.stderr) == (2, "", f"prsm-scale: error: {line}\n")
    assert not list(tmp_path.iterdir())


def test_a_dry_run_lists_what_would_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    listed = json.loads(command("--dry-run", "--json").stdout)["scenarios"]
    quick = command("--dry-run", "--quick").stdout.splitlines()
    assert "BFTSMaRt_AWS_Oregon" in quick and len(quick) < len(listed)
    assert not list(tmp_path.iterdir())


def test_ladders_run_in_their_order() -> None:
    from prsm_scale.ladders.run import check_ladders

    assert check_ladders(["peers", "closed_forms", "peers"]) == (Ladder.CLOSED_FORMS, Ladder.PEERS)


def made_up() -> Validation:
    def check(ladder: str, case: str, engine: str, metric: str, error: Estimate | None, bar: float | None, **more: Any) -> Check:
        one = Estimate.exact(1.0)
        return Check(ladder, case, "cpu", engine, metric, "ms", 4, one, one, error, bar, **more)

    return Validation(
        {},
        (
            check("closed_forms", "form", "rounds", "mean_commit_ms", Estimate.exact(0.0), 1e-6),
            check("closed_forms", "form", "events", "mean_commit_ms", Estimate(0.5, 0.4, 0.6), 0.1),
            check("engines", "n = 4", "rounds", "mean_latency_ms", Estimate(0.02, 0.0, 0.04), 0.01),
            check("engines", "n = 4", "rounds", "ks_distance", Estimate.exact(0.03), None),
            check(
                "measurements", "row", "rounds", "mean_latency_ms", Estimate.exact(0.3), None, source="paper", note="as stated"
            ),
            check("measurements", "other", "", "mean_latency_ms", None, None, why="needs protocol raft3"),
        ),
    )


def test_tables_mark_what_is_beyond_its_bar() -> None:
    forms, points, measured, idle, bars = sections(made_up())
    assert forms.rows == (("form", "1.0000 ms", "1.0000", "exact", "1.0000", "+50.00 ±10.00!"),)
    assert points.rows[0][0] == "n = 4" and points.rows[0][1] == "+2.00 ±2.00~" and points.rows[0][-1] == "+3.00"
    assert measured.rows[0][-1] == "+30.00"
    assert idle.lines == ("other: needs protocol raft3",)
    assert [row[-1] for row in bars.rows] == ["no", "yes", "no"]
    assert error_text(None) == "-"


def test_the_page_has_every_table_and_source() -> None:
    text = page(made_up())
    assert text.startswith("# What proves it right\n") and text.endswith("\n")
    assert "| form | 1.0000 ms | 1.0000 | exact | 1.0000 | +50.00 ±10.00! |" in text
    assert "* **row**: paper. as stated." in text
    assert all(
        len(set(map(len, (line.split("|") for line in table.splitlines())))) == 1 for table in text.split("\n\n") if "|" in table
    )
