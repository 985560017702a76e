"""Sweeps, and the TOML file that holds one."""

from __future__ import annotations

import json
import math
import pickle
import tomllib
from pathlib import Path
from typing import Any

import networkx as nx
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from prsm_scale.config import AXES, DEFAULT_NODES, Scenario, Sweep, load_sweep
from prsm_scale.errors import UsageError
from prsm_scale.nodes import parse_nodes

NOT_A_GRAPH = "nodes: 'file' is not allowed: a number; only a graph file or a NetworkX graph has its own"
NOT_COMPLETE = "dissemination: 'direct' is not allowed: gossip or routed, as not every pair of replicas is linked"


def faults(make: Any, **settings: Any) -> list[str]:
    with pytest.raises(UsageError) as caught:
        make(**settings)
    return caught.value.lines


def overlay(path: Path, nodes: int = 6) -> str:
    nx.write_graphml(nx.cycle_graph(nodes), path)
    return str(path)


def test_scenarios_come_in_the_order_of_the_axes() -> None:
    sweep = Sweep(nodes="10..20", topology=["mesh", "star"], byzantine_ratio=(0, 0.1))
    points = [(one.topology, one.byzantine_ratio, one.nodes) for one in sweep.scenarios()]
    assert points == [(t, b, n) for t in ("mesh", "star") for b in (0.0, 0.1) for n in (10, 20)]


def test_default_nodes() -> None:
    assert Sweep().nodes == parse_nodes(DEFAULT_NODES)


def test_an_axis_takes_one_value_several_or_an_array_each_once() -> None:
    assert Sweep(network="lan").network == ("lan",)
    assert Sweep(network=["lan", "wan", "lan"]).network == ("lan", "wan")
    assert Sweep(byzantine_ratio=np.linspace(0, 0.2, 3)).byzantine_ratio == (0.0, 0.1, 0.2)
    assert Sweep(seed=range(3)).seed == (0, 1, 2)


def test_axes_name_all_fields_that_take_several_values() -> None:
    several = {name for name in Sweep.model_fields if isinstance(getattr(Sweep(), name), tuple)}
    assert several == set(AXES)


def test_a_sweep_has_every_setting_of_a_scenario_with_its_default() -> None:
    assert set(Scenario.model_fields) - set(Sweep.model_fields) == {"graph", "graph_digest"}
    sweep, one = Sweep(), Scenario(nodes=10)
    for name in set(AXES) - {"nodes", "dissemination"}:
        assert getattr(sweep, name) == (getattr(one, name),)


@pytest.mark.parametrize(
    ("settings", "lines"),
    [
        ({"nodes": "0..5"}, ["nodes: '0..5' is not allowed: whole numbers from 4 to 1000000"]),
        ({"nodes": "file"}, [NOT_A_GRAPH]),
        ({"rate": []}, ["rate: [] is not allowed: one value or more"]),
        ({"rate": [1, -1]}, ["rate: -1 is not allowed: a number, 0 or more"]),
        ({"mesh_degree": 6}, ["mesh_degree: 6 is not allowed: only with topology mesh"]),
        (
            {"topology": ["mesh"], "mesh_degree": 15, "nodes": [8, 10, 20]},
            [f"mesh_degree: 15 is not allowed: less than nodes, which is {n}" for n in (8, 10)],
        ),
        ({"topology": ["fully_connected", "ring"], "dissemination": "direct"}, [NOT_COMPLETE]),
        (
            {"seed": range(10_000), "rate": range(100)},
            ["sweep: '8000000 scenarios' is not allowed: at most 100000"],
        ),
        ({"nods": 10}, ["nods: 10 is not allowed: there is no such setting (did you mean 'nodes'?)"]),
    ],
)
def test_a_bad_sweep(settings: dict[str, Any], lines: list[str]) -> None:
    assert faults(Sweep, **settings) == lines


def test_faults_of_a_large_sweep_are_not_told_a_thousand_times() -> None:
    assert len(faults(Sweep, nodes="10..1000:1", topology="mesh", mesh_degree=2000)) == 10


def test_a_setting_reaches_only_the_scenarios_that_read_it() -> None:
    sweep = Sweep(nodes=10, topology=["mesh", "star"], mesh_degree=6)
    assert [one.mesh_degree for one in sweep.scenarios()] == [6, None]
    assert sweep.scenarios()[1].scenario_id == Scenario(nodes=10, topology="star").scenario_id


def test_a_sweep_over_graphs_takes_each_ones_nodes(tmp_path: Path) -> None:
    sweep = Sweep(topology=[overlay(tmp_path / "a.graphml", 6), nx.cycle_graph(9)], network=["lan", "wan"])
    assert [one.nodes for one in sweep.scenarios()] == [6, 6, 9, 9]


def test_a_sweep_survives_dict_toml_and_pickle() -> None:
    sweep = Sweep(
        nodes="4,10..40",
        topology=["mesh", "fully_connected"],
        dissemination=[None, "routed"],
        byzantine_ratio=[0, 0.1],
        bandwidth_mbps=math.inf,
        mesh_degree=3,
        placement="worst",
        delay="normal(250,50)",
    )
    assert Sweep(**json.loads(json.dumps(sweep.to_dict(), allow_nan=False))) == sweep
    assert Sweep(**tomllib.loads(sweep.to_toml())) == sweep
    assert pickle.loads(pickle.dumps(sweep)) == sweep


@given(text=st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1), rate=st.floats(0, 1e300))
def test_any_text_and_number_survives_toml(text: str, rate: float) -> None:
    sweep = Sweep(nodes=4, environment="multi_region_cloud", regions=[text], rate=rate)
    assert Sweep(**tomllib.loads(sweep.to_toml())) == sweep


# The TOML file


def test_load_sweep(tmp_path: Path) -> None:
    overlay(tmp_path / "overlay.graphml")
    file = tmp_path / "experiment.toml"
    file.write_text('nodes = "10..40"\nnetwork = ["lan", "wan"]\nrate = 5\n')
    assert load_sweep(file) == Sweep(nodes="10..40", network=["lan", "wan"], rate=5)
    assert load_sweep(file, rate=7).rate == (7.0,)
    file.write_text('topology = "overlay.graphml"\n')
    assert [one.nodes for one in load_sweep(file).scenarios()] == [6]


def test_files_of_laws_are_relative_to_the_configuration_file(tmp_path: Path) -> None:
    for name in ("delay", "jitter"):
        (tmp_path / f"{name}.csv").write_text("1\n2\n")
        (tmp_path / "experiment.toml").write_text(f'nodes = 4\n{name} = "empirical({name}.csv)"\n')
        sweep = load_sweep(tmp_path / "experiment.toml")
        assert getattr(sweep, name) == f"empirical({tmp_path / f'{name}.csv'})"
        assert Sweep(**tomllib.loads(sweep.to_toml())) == Sweep(**sweep.to_dict()) == sweep


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('topolgy = "mesh"\n', "there is no such setting (did you mean 'topology'?)"),
        ("nodes = \n", "is not allowed: a file in TOML (Invalid value"),
        ('nodes = "3"\n', "nodes: '3' is not allowed"),
        ("[axes]\nnodes = 10\n", "axes: {'nodes': 10} is not allowed: there is no such setting"),
        ("rate = nan\n", "rate: nan is not allowed"),
        ("free_cpu = 1\n", "free_cpu: 1 is not allowed: true or false"),
        ("[network]\nlan = {base_delay = 500}\n", "network: {'lan': {'base_delay': 500}} is not allowed: one of ideal, lan"),
        ("[rate]\n5 = 1\n", "rate: {'5': 1} is not allowed: a number, 0 or more"),
        ('environment = "multi_region_cloud"\n[regions]\nus-east-1 = 1\n', "regions: {'us-east-1': 1} is not allowed"),
        ("[delay]\nmean = 250\n", "delay: {'mean': 250} is not allowed: one of constant(c)"),
        ("[topology]\nring = 1\n", "topology: {'ring': 1} is not allowed: one of fully_connected"),
        ('environment = "multi_region_cloud"\nlatency_matrix = []\n', "latency_matrix: [] is not allowed: text"),
    ],
)
def test_bad_toml(tmp_path: Path, text: str, told: str) -> None:
    file = tmp_path / "experiment.toml"
    file.write_text(text)
    (line,) = faults(lambda: load_sweep(file))
    assert told in line


def test_toml_that_cannot_be_read(tmp_path: Path) -> None:
    (line,) = faults(lambda: load_sweep(tmp_path / "none.toml"))
    assert "a TOML file that can be read (No such file or directory)" in line
    (tmp_path / "binary.toml").write_bytes(b"\xff\xfe\x00")
    (line,) = faults(lambda: load_sweep(tmp_path / "binary.toml"))
    assert "a file in TOML" in line
