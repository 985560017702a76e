"""The grammar of fault scripts, and what a script does to a scenario when."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from prsm_scale.config import Scenario
from prsm_scale.errors import UsageError
from prsm_scale.fault_schedule import Period, event_script, make_schedule
from prsm_scale.fault_scripts import Action, FaultEvent, FaultScript, choose, load_fault_scripts
from prsm_scale.view_change import Timing

T, L = 400.0, 100.0
TIMING = Timing(view_timeout_ms=T, client_timeout_ms=T, latency_ms=L)
TARGETS = "replica ids from 0, primary, backups, all, or first:K, last:K, random:K with K a number, a share (0.3), f or f+1"
GROUPS = "lists of different replica ids, or one of half, third, quarter"
READY = ["primary_crash", "rolling_crash", "half_partition", "cascade", "flash_loss", "slow_primary"]
TURNS = "so short that the last of 4 turns is before the end, 10"
CRASH = {"action": "crash", "replicas": "primary", "at_s": 1}


def script(*events: dict[str, Any], duration_s: float = 10.0) -> FaultScript:
    return FaultScript(name="test", duration_s=duration_s, events=list(events))


def periods(*events: dict[str, Any], nodes: int = 7, replicate: int = 0, **settings: Any) -> tuple[Period, ...]:
    return make_schedule(script(*events), Scenario(nodes=nodes, **settings), TIMING, replicate).periods


def refused(make: Any) -> list[str]:
    with pytest.raises(UsageError) as caught:
        make()
    return caught.value.lines


@pytest.mark.parametrize(
    ("target", "chosen"),
    [
        ([3, 1], (3, 1)),
        (np.array([2, 5]), (2, 5)),
        (4, (4,)),
        ("primary", (0,)),
        ("backups", (1, 2, 3, 4, 5, 6)),
        ("all", (0, 1, 2, 3, 4, 5, 6)),
        ("first:2", (0, 1)),
        ("last: 2", (5, 6)),
        ("first:f", (0, 1)),
        ("last:f+1", (4, 5, 6)),
        ("first:0.3", (0, 1)),
        ("first:.99", (0, 1, 2, 3, 4, 5)),
        ("last:7", (0, 1, 2, 3, 4, 5, 6)),
    ],
)
def test_targets(target, chosen):
    (period,) = periods({"action": "crash", "replicas": target, "at_s": 1})
    assert period.replicas == chosen


def test_a_share_is_not_lost_to_rounding():
    (period,) = periods({"action": "crash", "replicas": "first:0.29", "at_s": 1}, nodes=100)
    assert len(period.replicas) == 29


def test_random_replicas_are_drawn_by_seed_replicate_and_number_alone():
    def drawn(words: str = "random:5", replicate: int = 0, seed: int = 0, **more: Any) -> tuple[int, ...]:
        (period,) = periods({"action": "crash", "replicas": words, "at_s": 1, **more}, nodes=40, replicate=replicate, seed=seed)
        return period.replicas

    assert drawn() == drawn()
    assert drawn("random:3") == drawn()[:3]
    assert len({drawn(), drawn(replicate=1), drawn(seed=1), drawn(draw=1)}) == 4
    counts = np.bincount([one for replicate in range(400) for one in drawn(replicate=replicate)], minlength=40)
    assert counts.min() > 20 and counts.max() < 85  # 50 each, four standard deviations of 6.6


def test_times_are_seconds_or_time_outs():
    (period,) = periods({"action": "crash", "replicas": 0, "at_timeouts": 2, "until_s": 3})
    assert (period.begin_ms, period.end_ms) == (2 * T, 3000.0)
    (period,) = periods(CRASH)
    assert (period.begin_ms, period.end_ms) == (1000.0, math.inf)


@pytest.mark.parametrize("more", [{"every_s": 0.5}, {"every_timeouts": 1.25}, {"over_s": 1.5}, {"over_timeouts": 3.75}])
def test_turns(more):
    found = periods({"action": "crash", "replicas": [2, 0, 1], "at_s": 1, "until_s": 1.2, **more})
    assert [(one.replicas, one.begin_ms) for one in found] == [((2,), 1000.0), ((0,), 1500.0), ((1,), 2000.0)]
    assert [one.end_ms - one.begin_ms for one in found] == pytest.approx([200.0] * 3)


def test_what_recovers_and_heals_ends_what_it_can():
    found = periods(
        {"action": "recover", "replicas": [0, 5], "at_s": 4},
        {"action": "crash", "replicas": [0, 1], "at_s": 1},
        {"action": "slow", "replicas": [0], "factor": 3, "at_s": 2, "until_s": 3},
        {"action": "hold", "replicas": [5], "at_s": 2},
        {"action": "crash", "replicas": [0], "at_s": 5},
        {"action": "loss", "loss": 0.1, "at_s": 2},
        {"action": "delay", "delay_ms": 7, "at_s": 2, "until_s": 6},
        {"action": "partition", "replicas": [0], "at_s": 2},
        {"action": "heal", "at_s": 5},
    )
    told = {(one.action, one.replicas, one.begin_ms): one.end_ms for one in found}
    assert told == {
        ("crash", (0,), 1000.0): 4000.0,
        ("crash", (1,), 1000.0): math.inf,
        ("slow", (0,), 2000.0): 3000.0,
        ("hold", (5,), 2000.0): 4000.0,
        ("crash", (0,), 5000.0): math.inf,
        ("loss", (), 2000.0): 5000.0,
        ("delay", (), 2000.0): 5000.0,
        ("partition", (0,), 2000.0): 5000.0,
    }


def test_replicas_recover_in_turns():
    found = periods(
        {"action": "crash", "replicas": "first:2", "at_s": 1},
        {"action": "recover", "replicas": "first:2", "at_s": 2, "every_s": 3},
    )
    assert {one.replicas: one.end_ms for one in found} == {(0,): 2000.0, (1,): 5000.0}


def test_at_the_same_time_the_earlier_event_goes_first():
    crash, recover = {"action": "crash", "replicas": 0, "at_s": 1}, {"action": "recover", "replicas": 0, "at_s": 1}
    with pytest.raises(UsageError, match="something that begins"):
        periods(crash, recover)
    assert periods(recover, crash)[0].end_ms == math.inf


def test_arrays_hold_what_overlaps():
    events = [
        {"action": "crash", "replicas": [0], "at_s": 2, "until_s": 4},
        {"action": "crash", "replicas": [0, 3], "at_s": 3},
        {"action": "slow", "replicas": [1], "factor": 3, "at_s": 2, "until_s": 4},
        {"action": "slow", "replicas": [1, 2], "factor": 0.5, "at_s": 3},
        {"action": "hold", "replicas": [1], "at_s": 2},
        {"action": "hold", "replicas": [1], "hold_ms": 5, "at_s": 3},
        {"action": "partition", "groups": [[0, 1], [2]], "at_s": 2, "until_s": 4},
        {"action": "partition", "replicas": [1, 2], "at_s": 3},
        {"action": "loss", "loss": 0.5, "at_s": 2, "until_s": 4},
        {"action": "loss", "loss": 0.2, "at_s": 3},
        {"action": "delay", "delay_ms": 10, "at_s": 2, "until_s": 4},
        {"action": "delay", "delay_latencies": 0.5, "at_s": 3},
    ]
    arrays = event_script(make_schedule(script(*events), Scenario(nodes=4), TIMING), 4)
    assert arrays.at_ms.tolist() == [0.0, 2000.0, 3000.0, 4000.0]
    assert arrays.alive.tolist() == [[1, 1, 1, 1], [0, 1, 1, 1], [0, 1, 1, 0], [0, 1, 1, 0]]
    assert arrays.slow.tolist() == [[1, 1, 1, 1], [1, 3, 1, 1], [1, 1.5, 0.5, 1], [1, 0.5, 0.5, 1]]
    assert arrays.hold_ms[:, 1].tolist() == [0.0, 300.0, 305.0, 305.0] and arrays.hold_ms[:, [0, 2, 3]].max() == 0.0
    assert arrays.loss.tolist() == pytest.approx([0.0, 0.5, 0.6, 0.2])
    assert arrays.delay_ms.tolist() == [0.0, 10.0, 60.0, 50.0]
    together = [[[bool(a == b) for a in row] for b in row] for row in arrays.group]
    apart = [{(i, j) for i in range(4) for j in range(i) if not row[i][j]} for row in together]
    assert apart[0] == set()
    assert apart[1] == {(2, 0), (2, 1), (3, 0), (3, 1), (3, 2)}
    assert apart[2] == {(1, 0), (2, 0), (2, 1), (3, 0), (3, 1), (3, 2)}
    assert apart[3] == {(1, 0), (2, 0), (3, 1), (3, 2)}
    assert [array.dtype for array in arrays] == [np.float64, np.uint8, np.float64, np.int32, np.float64, np.float32, np.float64]


@pytest.mark.parametrize(
    ("word", "groups"), [("half", "0000111"), ("third", "0001122"), ("quarter", "0011223")], ids=["half", "third", "quarter"]
)
def test_words_for_groups(word, groups):
    event = {"action": "partition", "groups": word, "at_s": 1}
    arrays = event_script(make_schedule(script(event), Scenario(nodes=7), TIMING), 7)
    assert "".join(map(str, arrays.group[1])) == groups


def test_the_ready_scripts_suit_any_number_of_replicas():
    scripts = load_fault_scripts()
    assert [one.name for one in scripts] == READY
    for nodes in (4, 16, 1000):
        for one in scripts:
            schedule = make_schedule(one, Scenario(nodes=nodes), TIMING)
            assert one.about and schedule.first_ms == 6 * T
            assert schedule.duration_ms - max(begin for spans in schedule.spans.values() for begin, _ in spans) >= 4 * T
    (cascade,) = choose(scripts, "cascade")
    assert {one.replicas for one in make_schedule(cascade, Scenario(nodes=16), TIMING).periods} == {(k,) for k in range(11, 16)}


def test_choose():
    scripts = load_fault_scripts()
    assert [one.name for one in choose(scripts, "flash_loss, primary_crash")] == ["primary_crash", "flash_loss"]
    assert choose(scripts, None) == scripts
    lines = refused(lambda: choose(scripts, "primary_crsh"))
    assert lines == [f"only: 'primary_crsh' is not allowed: one of {', '.join(READY)} (did you mean 'primary_crash'?)"]


def test_a_script_takes_events_and_tables_and_keeps_what_was_given():
    event = FaultEvent(action="crash", replicas="primary", at_s=1)
    one = FaultScript(name="a", events=[event, CRASH])
    assert one.events == (event, event)
    stored = one.model_dump(mode="json", exclude_defaults=True)
    assert stored == {"name": "a", "events": [{"action": "crash", "at_s": 1.0, "replicas": "primary"}] * 2}
    assert FaultScript(**stored) == one
    schedule = make_schedule(one, Scenario(nodes=4, duration_s=20), TIMING)
    assert schedule.duration_ms == 20_000.0
    assert make_schedule(one.lasting(7), Scenario(nodes=4), TIMING).duration_ms == 7000.0


@pytest.mark.parametrize(
    ("event", "lines"),
    [
        ({"action": "crahs"}, ["action: 'crahs' is not allowed: one of " + ", ".join(Action) + " (did you mean 'crash'?)"]),
        ({"replicas": "leader"}, [f"replicas: 'leader' is not allowed: {TARGETS}"]),
        ({"replicas": "primray"}, [f"replicas: 'primray' is not allowed: {TARGETS} (did you mean 'primary'?)"]),
        ({"replicas": [1, 1]}, [f"replicas: [1, 1] is not allowed: {TARGETS}"]),
        ({"replicas": [-1]}, [f"replicas: [-1] is not allowed: {TARGETS}"]),
        ({"replicas": []}, [f"replicas: [] is not allowed: {TARGETS}"]),
        ({"replicas": "random:0"}, [f"replicas: 'random:0' is not allowed: {TARGETS}"]),
        ({"replicas": "random:1.5"}, [f"replicas: 'random:1.5' is not allowed: {TARGETS}"]),
        ({"replicas": "random:-f"}, [f"replicas: 'random:-f' is not allowed: {TARGETS}"]),
        ({"replicas": True}, [f"replicas: True is not allowed: {TARGETS}"]),
        ({"at_s": -1}, ["at_s: -1 is not allowed: a number, 0 or more"]),
        ({"at_s": "5"}, ["at_s: '5' is not allowed: a number, 0 or more"]),
        ({"at_s": math.nan}, ["at_s: nan is not allowed: a number, 0 or more"]),
        ({"at_s": None}, ["at_s or at_timeouts: None is not allowed: a value is needed"]),
        ({"at_timeouts": 1}, ["at_s: 1.0 is not allowed: left out where at_timeouts is given"]),
        ({"until_s": 2, "until_timeouts": 2}, ["until_s: 2.0 is not allowed: left out where until_timeouts is given"]),
        ({"every_s": 2, "over_s": 2}, ["every_s: 2.0 is not allowed: left out where over_s is given"]),
        ({"every_s": 0}, ["every_s: 0 is not allowed: a number, more than 0"]),
        ({"replicas": None}, ["replicas: None is not allowed: a value is needed"]),
        ({"draw": -1}, ["draw: -1 is not allowed: a whole number, 0 or more and less than 1000"]),
        ({"loss": 0.1}, ["loss: 0.1 is not allowed: left out with crash; it is for loss"]),
        ({"groups": "half"}, [
            "groups: 'half' is not allowed: left out with crash; it is for partition",
            "groups: 'half' is not allowed: left out where replicas is given",
        ]),
        ({"at": 5}, ["at: 5 is not allowed: there is no such setting (did you mean 'at_s'?)"]),
        ({"action": "slow"}, ["factor: None is not allowed: a value is needed"]),
        ({"action": "slow", "factor": 0}, ["factor: 0 is not allowed: a number, more than 0"]),
        ({"action": "partition", "replicas": None}, ["groups or replicas: None is not allowed: a value is needed"]),
        ({"action": "partition", "replicas": None, "groups": "halves"}, [
            f"groups: 'halves' is not allowed: {GROUPS} (did you mean 'half'?)"
        ]),
        ({"action": "partition", "replicas": None, "groups": [[0, 1], [1]]}, [
            f"groups: [[0, 1], [1]] is not allowed: {GROUPS}"
        ]),
        ({"action": "loss", "replicas": None, "loss": 1}, ["loss: 1 is not allowed: a number, more than 0 and at most 0.999"]),
        ({"action": "loss", "loss": 0.5}, [
            "replicas: 'primary' is not allowed: left out with loss; it is for crash, recover, slow, hold, partition"
        ]),
        ({"action": "delay", "replicas": None}, ["delay_ms or delay_latencies: None is not allowed: a value is needed"]),
        ({"action": "recover", "until_s": 5}, [
            "until_s: 5.0 is not allowed: left out with recover; it is for crash, slow, hold, partition, loss, delay"
        ]),
    ],
)  # fmt: skip
def test_a_bad_event_is_a_line_for_each_fault(event, lines):
    found = refused(lambda: script(CRASH | event))
    assert found == [f"event 1: {line}" for line in lines]


@pytest.mark.parametrize(
    ("fields", "line"),
    [
        ({"name": ""}, "name: '' is not allowed: text of 1 to 40 characters, without commas and line breaks"),
        ({"name": "a,b"}, "name: 'a,b' is not allowed: text of 1 to 40 characters, without commas and line breaks"),
        ({"events": []}, "events: [] is not allowed: one table [[events]] or more"),
        ({"events": CRASH}, f"events: {CRASH} is not allowed: one table [[events]] or more"),
        ({"duration_s": 0}, "duration_s: 0 is not allowed: a number, more than 0"),
        ({"duration_s": 5, "duration_timeouts": 5}, "duration_s: 5.0 is not allowed: left out where duration_timeouts is given"),
        ({"durations": 5}, "durations: 5 is not allowed: there is no such setting (did you mean 'duration_s'?)"),
        (
            {"events": [{"action": "heal", "at_s": 1}]},
            "event 1: action: 'heal' is not allowed: only where there is a partition or loss or delay",
        ),
    ],
)
def test_a_bad_script_is_one_line(fields, line):
    assert refused(lambda: FaultScript(**({"name": "a", "events": [CRASH]} | fields))) == [line]


def test_all_faults_of_a_script_are_told_at_once():
    lines = refused(lambda: script(CRASH | {"at_s": -1}, CRASH, CRASH | {"replicas": "none", "loss": 2}))
    assert [line.split(":")[:2] for line in lines] == [["event 1", " at_s"], ["event 3", " replicas"], ["event 3", " loss"]]


@pytest.mark.parametrize(
    ("event", "line"),
    [
        ({"replicas": [3, 7]}, "replicas: (3, 7) is not allowed: replica ids from 0 to 6"),
        ({"replicas": "random:8"}, "replicas: 'random:8' is not allowed: 1 to 7 replicas, not 8"),
        ({"replicas": "random:0.1"}, "replicas: 'random:0.1' is not allowed: 1 to 7 replicas, not 0"),
        ({"at_s": 10}, "at_s: 10.0 is not allowed: a time before the end, 10"),
        ({"at_s": None, "at_timeouts": 25}, "at_timeouts: 25.0 is not allowed: a time before the end, 25"),
        ({"until_s": 1}, "until_s: 1.0 is not allowed: a time after 1 and not after the end, 10"),
        ({"until_timeouts": 2}, "until_timeouts: 2.0 is not allowed: a time after 2.5 and not after the end, 25"),
        ({"until_s": 11}, "until_s: 11.0 is not allowed: a time after 1 and not after the end, 10"),
        ({"replicas": "first:4", "every_s": 3}, f"every_s: 3.0 is not allowed: {TURNS}"),
        ({"replicas": "first:4", "over_s": 12}, f"over_s: 12.0 is not allowed: {TURNS}"),
        ({"action": "partition", "replicas": None, "groups": [[9]]}, "groups: ((9,),) is not allowed: replica ids from 0 to 6"),
        ({"action": "partition", "replicas": "all"}, "replicas: 'all' is not allowed: some of the replicas, not all of them"),
    ],
)
def test_what_does_not_suit_the_scenario_is_one_line(event, line):
    assert refused(lambda: periods(CRASH | event)) == [f"event 1: {line}"]


def write(folder: Path, text: str) -> Path:
    file = folder / "mine.toml"
    file.write_text(text)
    return file


ONE = 'duration_s = 30\n[[events]]\naction = "crash"\nreplicas = [0]\nat_s = 5\n'
SEVERAL = '[[scripts]]\nname = "{}"\n[[scripts.events]]\naction = "loss"\nloss = 0.1\nat_s = 5\n'


def test_a_file_holds_one_script_or_several(tmp_path):
    (one,) = load_fault_scripts(write(tmp_path, ONE))
    assert (one.name, one.duration_s, one.events[0].replicas) == ("mine", 30.0, (0,))
    (named,) = load_fault_scripts(write(tmp_path, f'name = "outage"\n{ONE}'))
    assert named == one.model_copy(update={"name": "outage"})
    assert [one.name for one in load_fault_scripts(write(tmp_path, SEVERAL.format("a") + SEVERAL.format("b")))] == ["a", "b"]


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("a = ", "script: FILE is not allowed: a file in TOML ("),
        ("scripts = 3", "script: FILE is not allowed: a file with one table [[scripts]] or more"),
        ("scripts = []", "script: FILE is not allowed: a file with one table [[scripts]] or more"),
        ("seed = 3\n" + SEVERAL.format("a"), "script: 'seed' is not allowed: left out beside [[scripts]]"),
        ("", "script 'mine': events: None is not allowed: a value is needed"),
        (ONE + "unil_s = 6", "script 'mine': event 1: unil_s: 6 is not allowed: there is no such setting (did you mean"),
        (SEVERAL.format("a") * 2, "scripts: 'a' is not allowed: each name once"),
    ],
)
def test_a_bad_file_is_one_line(tmp_path, monkeypatch, text, line):
    """With the file's name, which is shortened only where it is long."""
    monkeypatch.chdir(tmp_path)
    file = write(tmp_path, text).name
    (found,) = refused(lambda: load_fault_scripts(file))
    assert found.replace(repr(file), "FILE").startswith(line)


def test_a_file_that_is_not_there_is_one_line(tmp_path):
    (line,) = refused(lambda: load_fault_scripts(tmp_path / "none.toml"))
    assert line.endswith("is not allowed: a TOML file that can be read (No such file or directory)")
