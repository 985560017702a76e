"""The grammar of loads, and what a grid of loads accepts."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from prsm_scale.config import AXES, Scenario, Sweep
from prsm_scale.errors import UsageError
from prsm_scale.loads import MOST_LOADS, LoadSweep, parse_loads

GRAMMAR = "a number (0.5), list (0.1,0.5,0.9), range (0.05..0.98) or points (0.05..0.98/20)"
FRACTIONS = "fractions of the capacity, more than 0 and less than 2"


@pytest.mark.parametrize(
    ("spec", "loads"),
    [
        ("0.5", (0.5,)),
        (0.5, (0.5,)),
        (1, (1.0,)),
        (".5,1.5", (0.5, 1.5)),
        (" 0.9 , 0.1,0.5 ", (0.1, 0.5, 0.9)),
        ([0.9, "0.1,0.5", 0.9], (0.1, 0.5, 0.9)),
        (np.array([0.2, 0.1]), (0.1, 0.2)),
        ("0.05..0.98", (0.05, 0.222, 0.377, 0.514, 0.635, 0.738, 0.824, 0.893, 0.945, 0.98)),
        ("0.1 .. 0.9 / 2", (0.1, 0.9)),
        ("0.36..1/3", (0.36, 0.84, 1.0)),
        ("0.75..1.25/3", (0.75, 1.0, 1.25)),
        ("0.5..0.9/3,1.2", (0.5, 0.738, 0.9, 1.2)),
        ("0.9..0.902/9", (0.9, 0.901, 0.902)),
    ],
)
def test_loads(spec, loads):
    assert parse_loads(spec) == loads


@given(first=st.floats(0.001, 1.8), width=st.floats(0.01, 0.19), points=st.integers(2, 50))
def test_a_range_keeps_its_ends_and_is_densest_near_one(first, width, points):
    ends = round(first, 6), round(first + width, 6)
    loads = np.array(parse_loads(f"{ends[0]:.6f}..{ends[1]:.6f}/{points}"))
    assert (loads[0], loads[-1], np.all(np.diff(loads) > 0)) == (*ends, True)
    steps = np.diff(loads)
    rounding = 0.0021  # of three loads to three decimals
    assert np.all(np.diff(steps[loads[1:] <= 1]) < rounding)
    assert np.all(np.diff(steps[loads[:-1] >= 1]) > -rounding)


@pytest.mark.parametrize(
    ("spec", "allowed"),
    [
        ("", GRAMMAR),
        ("half", GRAMMAR),
        ("0.1..", GRAMMAR),
        ("0.1...0.5.", GRAMMAR),
        ("0.1:0.5", GRAMMAR),
        ("1e-3", GRAMMAR),
        ("-0.5", GRAMMAR),
        ([], GRAMMAR),
        (None, GRAMMAR),
        (True, GRAMMAR),
        ({0.5: 1}, GRAMMAR),
        ("0", FRACTIONS),
        ("2", FRACTIONS),
        (2.0, FRACTIONS),
        (-0.1, FRACTIONS),
        (math.nan, FRACTIONS),
        (math.inf, FRACTIONS),
        ("0.5..2", FRACTIONS),
        ("0.9..0.1", "a range that rises"),
        ("0.5..0.5", "a range that rises"),
        ("0.1..0.9/1", f"2 to {MOST_LOADS} points"),
        ("0.1..0.9/1001", f"2 to {MOST_LOADS} points"),
        (np.linspace(0.1, 0.9, 1001), f"at most {MOST_LOADS} loads"),
    ],
)
def test_bad_loads_are_one_line(spec, allowed):
    with pytest.raises(UsageError) as caught:
        parse_loads(spec)
    (line,) = caught.value.lines
    assert line.startswith("loads: ") and line.endswith(f" is not allowed: {allowed}")


def test_a_grid_is_a_sweep_of_idle_systems():
    grid = LoadSweep(nodes=[4, 7], topology=["fully_connected", "star"], loads=[0.5, 1.2], seed=3)
    sweep = Sweep(nodes=[4, 7], topology=["fully_connected", "star"], rate=0, seed=3)
    assert grid.scenarios() == sweep.scenarios()
    assert grid.size == 12
    assert LoadSweep(**grid.to_dict()) == grid
    assert LoadSweep().scenarios() == [Scenario(nodes=16, rate=0)]


def test_loads_are_fractions_of_what_the_idle_system_can_do():
    grid = LoadSweep(nodes=4, loads=[0.5, 1.2], topology="mesh", mesh_degree=3, placement=[2], network="lan")
    (idle,) = grid.scenarios()
    loaded = grid.at_loads(idle, 300.0)
    assert [one.rate for one in loaded] == [150.0, 360.0]
    for one in loaded:
        same = {name for name in Scenario.model_fields if getattr(one, name) == getattr(idle, name)}
        assert set(Scenario.model_fields) - same == {"rate"}
    assert len({one.scenario_id for one in (idle, *loaded)}) == 3
    for nothing in (None, 0.0, math.nan):
        assert grid.at_loads(idle, nothing) == []


def test_a_graph_of_ones_own_has_its_nodes():
    import networkx as nx

    grid = LoadSweep(topology=nx.cycle_graph(6), loads=0.5)
    (idle,) = grid.scenarios()
    (loaded,) = grid.at_loads(idle, 10.0)
    assert (idle.nodes, loaded.nodes, loaded.rate) == (6, 6, 5.0)
    assert loaded.graph_digest == idle.graph_digest


@pytest.mark.parametrize(
    ("settings", "lines"),
    [
        ({"rate": 5}, ["rate: (5.0,) is not allowed: left out: the rate follows from loads"]),
        ({"clients": 5, "engine": "events"}, ["clients: 5 is not allowed: left out: the rate follows from loads"]),
        ({"load": 0.5}, ["load: 0.5 is not allowed: there is no such setting (did you mean 'loads'?)"]),
        (
            {"nodes": 3, "loads": 3},
            ["nodes: 3 is not allowed: whole numbers from 4 to 1000000", f"loads: 3 is not allowed: {FRACTIONS}"],
        ),
        ({"seed": list(range(5000)), "loads": "0.1..0.9/30"}, ["load: '155000 scenarios' is not allowed: at most 100000"]),
    ],
)
def test_bad_settings_are_a_line_each(settings, lines):
    with pytest.raises(UsageError) as caught:
        LoadSweep(**settings)
    assert caught.value.lines == lines


def test_every_axis_but_the_rate_may_have_several_values():
    several = {
        "topology": ["ring", "star"],
        "network": ["lan", "wan"],
        "profile": ["light", "heavy"],
        "batch": [1, 2],
        "seed": [0, 1],
    }
    assert LoadSweep(nodes="4,8", loads="0.2,0.4", **several).size == 2**6 * 3
    assert set(several) | {"nodes"} < set(AXES)
