"""One operation's messages as a table, a diagram and a Perfetto trace; a made-up trace where the engine is not needed."""

from __future__ import annotations

import json
import sys
from collections import Counter
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result
from matplotlib.quiver import Quiver

from prsm_scale.cli import main
from prsm_scale.cli.trace import MOST_ROWS
from prsm_scale.config import Scenario
from prsm_scale.errors import PrsmScaleError
from prsm_scale.report.messages import message_table, outcome, round_table, rows_of, scene
from prsm_scale.report.perfetto import save_perfetto, trace_events
from prsm_scale.report.spacetime import draw, save_diagram
from prsm_scale.report.tables import WIDTH
from prsm_scale.tracing import COMMITTED, COMPLETED, ENDED, FAILED, STARTED, Hops, Trace, lanes
from tests.e2e.program import strict_json
from tests.trace_checks import ROUNDS, MadeUp, bars, check_diagram, check_perfetto, rendered

PLAIN = MadeUp().trace()
LOSSY = MadeUp(lost=(3, 10), silent=(2,)).trace()
TRACES = {"plain": PLAIN, "lossy": LOSSY, "larger": MadeUp(16).trace()}
every_trace = pytest.mark.parametrize("trace", TRACES.values(), ids=TRACES)


# Tables


def test_lanes_hold_intervals_without_overlap() -> None:
    random = np.random.default_rng(1)
    begin = random.uniform(0, 100, 300)
    end = begin + random.exponential(5, 300)
    lane = lanes(begin, end)
    for row in range(lane.max() + 1):
        order = np.argsort(begin[lane == row])
        assert (begin[lane == row][order][1:] >= end[lane == row][order][:-1]).all()
    open_at_once = max(((begin <= moment) & (moment < end)).sum() for moment in begin)
    assert lane.max() + 1 == open_at_once
    assert lanes(np.empty(0), np.empty(0)).size == 0


def test_one_operation_is_taken_from_several() -> None:
    parts = [MadeUp(operation=k).trace() for k in (3, 4)]
    tables = [
        type(one)(**{name: np.concatenate([getattr(one, name), getattr(other, name)]) for name in one.__dataclass_fields__})
        for one, other in ((getattr(parts[0], name), getattr(parts[1], name)) for name in ("hops", "marks", "jobs"))
    ]
    both = Trace(PLAIN.scenario, ROUNDS, *tables)
    assert both.operations == (3, 4)
    one = both.of(4)
    assert (len(one.hops), len(one.marks), len(one.jobs)) == tuple(map(len, (PLAIN.hops, PLAIN.marks, PLAIN.jobs)))
    assert (np.diff(one.hops.leave_ms) >= 0).all()
    assert one.moment_ms(STARTED) == 104.0
    assert one.moment_ms(FAILED) is None
    assert (bars(draw(one, 4)), bars(draw(both, 4))) == (len(one.jobs), len(both.jobs))
    check_perfetto(both)


@every_trace
def test_message_table_has_a_row_for_each_transmission(trace: Trace) -> None:
    heading, *lines = rendered(message_table(trace.of(0))).splitlines()
    assert heading.split() == ["round", "from", "to", "ready", "leaves", "arrives", "received", "begins", "ends"]
    assert len(lines) == len(trace.hops)
    assert max(map(len, lines)) <= WIDTH
    assert Counter(line.split()[0] for line in lines) == Counter(ROUNDS[r] for r in trace.hops.round)
    assert lines[0].split()[:3] == ["request", "client", "0"]
    assert len(rendered(message_table(trace.of(0), 5)).splitlines()) == 6


def test_message_table_tells_what_became_of_copies() -> None:
    lines = [line.rstrip() for line in rendered(message_table(LOSSY.of(0))).splitlines()]
    assert sum(line.endswith("lost") for line in lines) == 2
    assert sum("repeat 1" in line for line in lines) == 2
    assert sum(line.endswith("silent") for line in lines) == LOSSY.hops.to_silent.sum() > 0
    assert sum(line.endswith("late") for line in lines) == LOSSY.hops.late.sum() > 0


def test_a_relayed_message_names_its_maker() -> None:
    hops = PLAIN.hops
    relayed = Trace(PLAIN.scenario, ROUNDS, Hops(**(vars(hops) | {"source": (hops.source + 1) % 4})), PLAIN.marks, PLAIN.jobs)
    heading, first, *_ = rendered(message_table(relayed)).splitlines()
    assert heading.split()[:4] == ["round", "of", "from", "to"]
    assert first.split()[:4] == ["request", "1", "client", "0"]


def test_round_table_counts_messages() -> None:
    lines = [line.split() for line in rendered(round_table(PLAIN)).splitlines()[1:]]
    assert [(line[0], *map(int, line[1:3])) for line in lines] == [
        ("request", 1, 1), ("pre_prepare", 3, 3), ("prepare", 9, 9), ("commit", 12, 12), ("reply", 4, 4),
    ]  # fmt: skip
    lossy = [line.split() for line in rendered(round_table(LOSSY)).splitlines()[1:]]
    assert [sum(int(line[k]) for line in lossy) for k in (3, 4)] == [2, 2]
    assert int(lossy[1][1]) == 3


def test_what_was_traced_and_what_came_of_it() -> None:
    assert scene(PLAIN) == "pbft, n = 4, fully_connected, lan, direct, 10 ops/s offered"
    assert outcome(PLAIN).startswith("operation 0, committed after ")
    never = Trace(PLAIN.scenario, ROUNDS, PLAIN.hops, PLAIN.marks.take(PLAIN.marks.what == STARTED), PLAIN.jobs)
    assert outcome(never) == "operation 0, never answered"
    draw(never, 0)


def test_rows_are_strict_json() -> None:
    rows = strict_json(json.dumps(rows_of(LOSSY.hops, ROUNDS), allow_nan=False))
    assert len(rows) == len(LOSSY.hops)
    assert {row["round"] for row in rows} == set(ROUNDS)
    assert all((row["arrive_ms"] is None) == (row["lost"] or row["receiver"] == 2) for row in rows)


# Diagram


@every_trace
def test_diagram_has_an_arrow_for_each_transmission(trace: Trace) -> None:
    figure = check_diagram(trace)
    labels = [text.get_text() for text in figure.axes[0].get_yticklabels()]
    silent = [" silent" * (i in trace.hops.receiver[trace.hops.to_silent]) for i in range(1, trace.nodes)]
    assert labels == ["0 primary", *(f"{i}{word}" for i, word in enumerate(silent, 1)), "client"]


def test_arrows_go_from_line_to_line_forward_in_time() -> None:
    for quiver in draw(PLAIN, 0).axes[0].collections:
        if isinstance(quiver, Quiver):
            assert (quiver.U > 0).all()
            lines = np.concatenate([quiver.XY[:, 1], quiver.XY[:, 1] + quiver.V])
            assert set(lines) <= set(range(5))


def test_stragglers_do_not_squeeze_the_rest() -> None:
    hops = PLAIN.hops
    for shift, shown in ((5.0, True), (500.0, False)):
        times = {name: getattr(hops, name).copy() for name in ("leave_ms", "arrive_ms")}
        for column in times.values():
            column[-1] += shift
        moved = Trace(PLAIN.scenario, ROUNDS, Hops(**(vars(hops) | times)), PLAIN.marks, PLAIN.jobs)
        panel = check_diagram(moved).axes[0]
        assert (panel.get_xlim()[1] > times["arrive_ms"][-1] - 100) == shown
        assert ("and 1 later" in [text.get_text() for text in panel.texts]) != shown


@pytest.mark.parametrize("suffix", [".png", ".svg"])
def test_the_same_diagram_is_the_same_file(tmp_path: Path, suffix: str) -> None:
    files = [tmp_path / f"{name}{suffix}" for name in "ab"]
    for file in files:
        save_diagram(LOSSY, 0, file)
    first, second = (file.read_bytes() for file in files)
    assert first == second
    assert len(first) < 150_000


def test_a_file_that_cannot_be_written(tmp_path: Path) -> None:
    for save in (lambda file: save_diagram(PLAIN, 0, file), lambda file: save_perfetto(PLAIN, file)):
        with pytest.raises(PrsmScaleError, match=r"cannot write .*: No such file"):
            save(tmp_path / "none" / "a.png")


# Perfetto


@every_trace
def test_perfetto_trace_is_consistent(trace: Trace) -> None:
    events = check_perfetto(trace)
    kinds = Counter(event["cat"] for event in events if event["ph"] == "X")
    assert (kinds["cpu"], kinds["received"]) == (len(trace.jobs), trace.hops.arrived.sum())
    names = [event["args"]["name"] for event in events if event["name"] == "process_name"]
    assert names[:2] == ["replica 0 (primary)", "replica 1"] and names[-1] == "client"
    (whole,) = [event for event in events if event["name"] == "operation 0"]
    assert whole["dur"] == pytest.approx(1000 * (trace.moment_ms(ENDED) - trace.moment_ms(STARTED)), abs=0.2)


def test_perfetto_rounds_follow_one_another() -> None:
    rounds = [event for event in check_perfetto(PLAIN) if event.get("cat") == "rounds" and event["ph"] == "X"]
    for pid in range(2, 5):
        own = [event for event in rounds if event["pid"] == pid]
        names = [event["name"] for event in own]
        assert names == [name for name in ROUNDS if name in names] and {"pre_prepare", "commit"} <= set(names)
        assert all(one["ts"] + one["dur"] == other["ts"] for one, other in zip(own, own[1:], strict=False))


# The command


def invoke(*args: str) -> Result:
    result = CliRunner().invoke(main, ["trace", *args])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[tuple[Scenario, int, int]]:
    """Stand in for the engine: note the calls, and return the made-up trace."""
    calls = []

    def trace_operations(scenario: Scenario, first: int = 0, count: int = 1) -> Trace:
        calls.append((scenario, first, count))
        return MadeUp(scenario.nodes, operation=first).trace()

    module = ModuleType("prsm_scale.events")
    module.trace_operations = trace_operations  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "prsm_scale.events", module)
    monkeypatch.chdir(tmp_path)
    return calls


def test_trace_prints_tables_and_writes_nothing(engine: list[Any], tmp_path: Path) -> None:
    result = invoke()
    assert (result.exit_code, result.stderr, list(tmp_path.iterdir())) == (0, "", [])
    assert engine == [(Scenario(nodes=4, engine="events"), 0, 1)]
    told, came, *lines = result.stdout.splitlines()
    assert told.startswith("pbft, n = 4, ") and came.startswith("operation 0, committed after ")
    assert sum(line.startswith("prepare ") for line in lines) == 9 + 1
    assert max(map(len, lines)) <= WIDTH


def test_options_become_settings_of_the_scenario(engine: list[Any]) -> None:
    words = "--nodes 7 --topology ring --network lan --rate 100 --operation 3 --placement 2 --dissemination routed --json"
    document = strict_json(invoke(*words.split()).stdout)
    settings = {"topology": "ring", "network": "lan", "rate": 100, "placement": (2,), "dissemination": "routed"}
    assert engine == [(Scenario(nodes=7, engine="events", **settings), 3, 1)]
    assert (document["operation"], document["client"], document["scenario"]["network"]) == (3, 7, "lan")
    assert len(document["hops"]) == 2 * 7 * 6 + 1 + 7
    assert {mark["what"] for mark in document["marks"]} == {STARTED, COMPLETED, COMMITTED, ENDED}
    assert {job["what"] for job in document["jobs"]} == {"send", "receive"}


def test_a_graph_file_sets_the_nodes(engine: list[Any], tmp_path: Path) -> None:
    (tmp_path / "overlay.edgelist").write_text("a b\nb c\nc d\nd e\ne a\n")
    assert invoke("--topology", "overlay.edgelist").exit_code == 0
    assert engine[0][0].nodes == 5


def test_a_long_table_is_cut(engine: list[Any]) -> None:
    transmissions = 2 * 13 * 12 + 1 + 13
    for words, rows in (((), MOST_ROWS), (("--all",), transmissions)):
        told = invoke("--nodes", "13", *words).stdout
        listed = told.split("\n\n")[1].splitlines()
        cut = f"and {transmissions - rows} more transmissions; --all lists them"
        assert (len(listed), cut in listed) == ((rows + 2, True) if rows < transmissions else (rows + 1, False))


def test_trace_writes_diagram_and_perfetto_json(engine: list[Any], tmp_path: Path) -> None:
    result = invoke("--plot", "trace.svg", "--perfetto", "trace.json")
    assert result.stderr.splitlines() == [
        "diagram in trace.svg",
        "trace in trace.json; open it at https://ui.perfetto.dev",
    ]
    assert (tmp_path / "trace.svg").read_text().startswith("<?xml")
    assert strict_json((tmp_path / "trace.json").read_text()) == trace_events(PLAIN)


def test_dry_run_simulates_nothing(engine: list[Any]) -> None:
    (one,) = strict_json(invoke("--nodes", "7", "--dry-run", "--json").stdout)["scenarios"]
    assert (one["nodes"], one["engine"], engine) == (7, "events", [])


@pytest.mark.parametrize(
    ("words", "line"),
    [
        ("--nodes 4,7", "nodes: '4,7' is not allowed: one value"),
        ("--network lan,wan", "network: ['lan', 'wan'] is not allowed: one value"),
        ("--nodes 3", "nodes: '3' is not allowed: whole numbers from 4 to 1000000"),
        ("--nodes 5000", "nodes: 5000 is not allowed: at most 4096 with engine events"),
        ("--nodes 41 --plot a.png", "plot: 'a.png' is not allowed: a diagram of at most 40 replicas; there are 41"),
        ("--plot a.gif", "plot: 'a.gif' is not allowed: a file that ends in .png, .svg, .pdf"),
        ("--plot none/a.png", "plot: 'none/a.png' is not allowed: a file in a folder that is there"),
        ("--perfetto none/a.json", "perfetto: 'none/a.json' is not allowed: a file in a folder that is there"),
        ("--operation -1", "Invalid value for '--operation': -1 is not in the range x>=0."),
        ("--operation one", "Invalid value for '--operation': 'one' is not a valid integer range."),
        ("--engine rounds", "No such option '--engine'"),
    ],
)
def test_bad_usage_is_one_line(engine: list[Any], words: str, line: str) -> None:
    result = invoke(*words.split())
    (told,) = result.stderr.splitlines()
    assert told.startswith(f"prsm-scale: error: {line}")
    assert (result.exit_code, result.stdout, engine) == (2, "", [])
