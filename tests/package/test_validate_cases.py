"""Cases of measured systems: the shipped ones, a user's file, and what is refused."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from prsm_scale.config import Scenario
from prsm_scale.errors import UsageError
from prsm_scale.ladders import engines, peers
from prsm_scale.ladders.cases import Case, Group, load_cases
from prsm_scale.ladders.measurements import GROUP_BARS, tasks
from prsm_scale.protocols import PROTOCOLS

GOOD = """
[setups.lan]
source = "our cluster"
group = "cpu"
[setups.lan.scenario]
nodes = 4
network = "lan"

[[cases]]
id = "a"
setup = "lan"
metric = "mean_latency_ms"
value = 12.5
unit = "us"

[[cases]]
id = "b"
metric = "saturation_ops_per_second"
value = 100
unit = "ops/s"
source = "elsewhere"
scenario = { nodes = 7, latency_matrix = "rtt.csv", environment = "multi_region_cloud" }
"""


def written(folder: Path, text: str) -> str:
    (folder / "rtt.csv").write_text(",x,y\nx,0,10\ny,10,0\n")
    file = folder / "mine.toml"
    file.write_text(text)
    return str(file)


def refused(folder: Path, text: str) -> list[str]:
    with pytest.raises(UsageError) as caught:
        load_cases(written(folder, text))
    return caught.value.lines


def test_every_shipped_case_is_complete() -> None:
    cases = load_cases()
    assert len(cases) == len({case.id for case in cases}) == 53
    for case in cases:
        assert case.source and case.locator and case.value > 0
        assert case.group in GROUP_BARS or case.group in (Group.COUNTS, Group.BYTES)
        assert case.note or case.why
        if not case.why:
            assert isinstance(case.scenario_with(), Scenario)
        assert case.missing_protocol in ("", "libhotstuff")
        assert not case.missing_protocol or case.missing_protocol not in PROTOCOLS


def test_what_is_shared_is_taken_from_the_setup_and_paths_from_the_folder(tmp_path: Path) -> None:
    first, second = load_cases(written(tmp_path, GOOD))
    assert (first.source, first.group, first.scenario) == ("our cluster", "cpu", {"nodes": 4, "network": "lan"})
    assert (second.source, second.group) == ("elsewhere", "other")
    assert second.scenario_with("events").engine == "events"
    assert second.scenario_with().latency_matrix == str(tmp_path / "rtt.csv")


def test_own_entries_and_a_named_engine_go_first(tmp_path: Path) -> None:
    text = GOOD.replace('unit = "us"', 'unit = "us"\ngroup = "bandwidth"\nscenario = { nodes = 10, engine = "events" }')
    case = load_cases(written(tmp_path, text))[0]
    assert (case.group, case.scenario_with("rounds").nodes, case.scenario_with("rounds").engine) == ("bandwidth", 10, "events")


def test_a_case_waits_for_its_protocol_with_its_settings_checked(tmp_path: Path) -> None:
    text = GOOD.replace("nodes = 7,", 'nodes = 7, protocol = "raft3",')
    case = load_cases(written(tmp_path, text))[1]
    assert case.reason == "needs protocol raft3"
    (line,) = refused(tmp_path, text.replace("nodes = 7", "nodes = 3"))
    assert line == "case 'b': nodes: 3 is not allowed: a whole number, 4 or more and at most 1000000"


@pytest.mark.parametrize(
    ("old", "new", "line"),
    [
        ('unit = "us"\n', "", "case 'a': unit: None is not allowed: a value is needed"),
        ('unit = "us"', 'unit = "ops/s"', "case 'a': unit: 'ops/s' is not allowed: one of ns, us, ms, s, as mean_latency_ms has"),
        (
            "mean_latency_ms",
            "mean_latency",
            "case 'a': metric: 'mean_latency' is not allowed: a column of docs/columns.md or one of",
        ),
        ("value = 12.5", 'value = "12.5"', "case 'a': value: '12.5' is not allowed: a number"),
        ('unit = "us"', 'unit = "us"\nvalues = 3', "case 'a': values: 3 is not allowed: there is no such setting (did you mean"),
        ('setup = "lan"', 'setup = "wan"', "case 'a': setup: 'wan' is not allowed: one of lan"),
        ('group = "cpu"', 'group = "gpu"', "setup 'lan': group: 'gpu' is not allowed: one of propagation, bandwidth, cpu"),
        ('network = "lan"', 'network = "wlan"', "case 'a': network: 'wlan' is not allowed: one of ideal, lan"),
        ('id = "b"', 'id = "a"', "cases: 'a' is not allowed: each id once"),
        ("[setups.lan]", "[setup.lan]", "cases: 'setup' is not allowed: setups or cases (did you mean 'setups'?)"),
        (
            "nodes = 7",
            "nodes = 7, memory_mb = 9.5",
            "case 'b': scenario: 'b' is not allowed: one that its profile can hold; it needs",
        ),
        ('"rtt.csv"', '"none.csv"', "case 'b': latency_matrix: '"),
        ("[[cases]]", "[[cases", "cases: '"),
    ],
)
def test_each_fault_is_one_line(tmp_path: Path, old: str, new: str, line: str) -> None:
    lines = refused(tmp_path, GOOD.replace(old, new))
    assert len(lines) == 1 and lines[0].startswith(line), lines


def test_all_faults_are_told_at_once(tmp_path: Path) -> None:
    lines = refused(tmp_path, GOOD.replace('unit = "us"', "").replace("nodes = 7", "nodes = 2"))
    assert [line.split(":")[0] for line in lines] == ["case 'a'", "case 'b'"]


def test_a_file_that_is_not_there_or_holds_no_case(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the file's name, which is shortened only where it is long."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match="can be read"):
        load_cases("none.toml")
    assert refused(Path(), "") == ["cases: 'mine.toml' is not allowed: a file with one table [[cases]] or more"]


def test_cases_of_one_scenario_are_simulated_once() -> None:
    shared = {"metric": "mean_latency_ms", "value": 1.0, "unit": "ms"}
    cases = [Case(id=name, scenario={"nodes": nodes}, **shared) for name, nodes in (("a", 4), ("b", 4), ("c", 7))]
    assert [task.name for task in tasks(cases)] == ["a", "c"]
    assert [task.name for task in tasks([*cases, Case(id="d", why="because", **shared)])] == ["a", "c", "what cannot be run"]


def test_the_grid_of_engines_covers_its_axes() -> None:
    points = list(engines.grid())
    assert 40 <= len(points) <= 60 and 10 <= len(list(engines.grid(quick=True))) <= 14
    scenarios = [Scenario(**point.settings) for point in points]
    seen = {name: {getattr(one, name) for one in scenarios} for name in ("topology", "network", "profile", "dissemination")}
    assert len(seen["topology"]) == 6 and len(seen["dissemination"]) == 3
    assert seen["network"] >= {"lan", "wan", "poor", "intercontinental"} and len(seen["profile"]) >= 3
    assert {one.nodes for one in scenarios} >= {4, 16, 64, 128}
    assert {point.load for point in points} >= {0.0, 0.1, 0.3, 0.5, 0.9, 1.2}
    assert any(one.byzantine_count for one in scenarios)
    assert len({point.case for point in points}) == len(points)


def test_every_scenario_of_the_peers_is_allowed() -> None:
    assert len(peers.tasks(("rounds", "events"))) == 2 * 10
    assert peers.scenario_of(128, 0, "events", quick=True).operations >= 64


def test_excerpt_of_the_matrix_is_square() -> None:
    file = Path(peers.__file__).parent.parent / "data" / "latency_matrix_aws_berger.csv"
    lines = [line for line in file.read_text().splitlines() if not line.startswith("#")]
    rows = list(csv.reader(lines))
    assert rows[0][1:] == [row[0] for row in rows[1:]] and json.dumps(rows)
    assert sum(bool(cell) for row in rows[1:] for cell in row[1:]) == 12


def test_the_page_of_the_docs_shows_every_case_and_point() -> None:
    """If not: python docs/make.py --validation."""
    text = (Path(__file__).parents[2] / "docs" / "validation.md").read_text(encoding="utf-8")
    assert [case.id for case in load_cases() if case.id not in text] == []
    assert [point.case for point in engines.grid() if point.case not in text] == []
