"""One scenario: its settings, their faults, its digest."""

from __future__ import annotations

import json
import math
import os
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import networkx as nx
import numpy as np
import pytest

from prsm_scale.config import Scenario
from prsm_scale.errors import UsageError
from prsm_scale.protocols import PROTOCOLS, Pattern, Protocol, Round, Senders

ENVIRONMENT = os.environ | {"PYTHONPATH": os.pathsep.join(map(os.path.abspath, sys.path))}


def faults(**settings: Any) -> list[str]:
    with pytest.raises(UsageError) as caught:
        Scenario(**settings)
    return caught.value.lines


def overlay(path: Path, nodes: int = 6) -> str:
    nx.write_graphml(nx.cycle_graph(nodes), path)
    return str(path)


def test_defaults_are_those_of_the_model() -> None:
    one = Scenario(nodes=10)
    assert (one.topology, one.network, one.profile, one.protocol) == (
        "fully_connected",
        "wan",
        "standard",
        "pbft",
    )
    assert (one.rate, one.payload_bytes, one.batch, one.window) == (10.0, 512, 1, 64)
    assert (one.operation_timeout_ms, one.jitter, one.jitter_fraction) == (60_000.0, "exponential", 0.05)
    assert one.dissemination == "direct"


def test_a_scenario_is_frozen() -> None:
    with pytest.raises(ValueError, match="frozen"):
        Scenario(nodes=10).nodes = 20  # type: ignore[misc]


@pytest.mark.parametrize(
    ("settings", "line"),
    [
        ({"nodes": 3}, "nodes: 3 is not allowed: a whole number, 4 or more and at most 1000000"),
        ({"nodes": 10.0}, "nodes: 10.0 is not allowed: a whole number, 4 or more"),
        ({"nodes": None}, "nodes: None is not allowed: a whole number"),
        ({"nodes": "file"}, "nodes: 'file' is not allowed: a number; only a graph"),
        ({"topology": "msh"}, "topology: 'msh' is not allowed: one of fully_connected, ring, star, mesh"),
        ({"topology": "msh"}, "(did you mean 'mesh'?), or a graph file (.graphml"),
        ({"topology": ["mesh"]}, "topology: ['mesh'] is not allowed: one of"),
        ({"topology": "graph"}, "topology: 'graph' is not allowed: the NetworkX graph itself"),
        ({"topology": "none.graphml"}, "topology: 'none.graphml' is not allowed: "),
        ({"network": "WAN"}, "network: 'WAN' is not allowed: one of ideal, lan"),
        (
            {"environment": "docker_clutser"},
            "environment: 'docker_clutser' is not allowed: one of local_simulation, docker_cluster",
        ),
        (
            {"engine": "meanfield"},
            "engine: 'meanfield' is not allowed: one of rounds, events (meanfield is not available yet)",
        ),
        ({"protocol": "pbtf"}, "protocol: 'pbtf' is not allowed: one of pbft (did you mean 'pbft'?)"),
        ({"protocol": 3}, "protocol: 3 is not allowed"),
        ({"byzantine_ratio": 1.5}, "byzantine_ratio: 1.5 is not allowed: a number, 0 or more and at most 1"),
        ({"byzantine_ratio": -0.1}, "byzantine_ratio: -0.1 is not allowed"),
        ({"byzantine_ratio": math.nan}, "byzantine_ratio: nan is not allowed"),
        ({"loss": 1.0}, "loss: 1.0 is not allowed: a number, 0 or more and at most 0.999"),
        ({"rate": "fast"}, "rate: 'fast' is not allowed: a number, 0 or more"),
        ({"rate": math.inf}, "rate: inf is not allowed"),
        ({"batch": 0}, "batch: 0 is not allowed: a whole number, 1 or more"),
        ({"batch": True}, "batch: True is not allowed: a whole number, 1 or more"),
        ({"window": 0}, "window: 0 is not allowed"),
        ({"payload_bytes": 0}, "payload_bytes: 0 is not allowed"),
        ({"operations": 0}, "operations: 0 is not allowed"),
        ({"replicates": 1}, "replicates: 1 is not allowed: a whole number, 2 or more"),
        ({"precision": 0}, "precision: 0 is not allowed: a number, more than 0 and less than 1"),
        ({"seed": -1}, "seed: -1 is not allowed"),
        ({"seed": 2**63}, f"seed: {2**63} is not allowed: a whole number, 0 or more and at most {2**63 - 1}"),
        ({"bandwidth_mbps": 0}, "bandwidth_mbps: 0 is not allowed: a number, more than 0"),
        ({"bandwidth_mbps": math.nan}, "bandwidth_mbps: nan is not allowed"),
        ({"free_cpu": 1}, "free_cpu: 1 is not allowed: true or false"),
        ({"jitter": "gama"}, "jitter: 'gama' is not allowed"),
        ({"delay": "normal(250)"}, "delay: 'normal(250)' is not allowed: normal(mean, sd)"),
        (
            {"delay_min_ms": 5.0, "delay_max_ms": 3.0},
            "delay_min_ms: 5.0 is not allowed: at most delay_max_ms",
        ),
        ({"delay": "constant(1)", "jitter": "none"}, "jitter: 'none' is not allowed: left out where delay"),
        (
            {"delay": "constant(1)", "delay_max_ms": 9},
            "delay_max_ms: 9.0 is not allowed: left out where delay",
        ),
        ({"regions": ["us-east-1"]}, "only with environment multi_region_cloud"),
        ({"latency_matrix": "m.csv"}, "only with environment multi_region_cloud"),
        ({"mesh_degree": 6}, "mesh_degree: 6 is not allowed: only with topology mesh"),
        ({"branching": 2}, "branching: 2 is not allowed: only with topology hierarchical"),
        ({"edge_probability": 0.5}, "edge_probability: 0.5 is not allowed: only with topology random"),
        (
            {"topology": "mesh", "mesh_degree": 10},
            "mesh_degree: 10 is not allowed: less than nodes, which is 10",
        ),
        (
            {"topology": "star", "dissemination": "direct"},
            "dissemination: 'direct' is not allowed: gossip or",
        ),
        ({"topology": "msh", "dissemination": "direct"}, "topology: 'msh' is not allowed: one of"),
        (
            {"placement": "wrst"},
            "placement: 'wrst' is not allowed: one of random, worst (did you mean 'worst'?)",
        ),
        (
            {"placement": [-1, 1]},
            "placement: [-1, 1] is not allowed: one of random, worst, or different replica ids",
        ),
        ({"placement": [1, 1]}, "placement: [1, 1] is not allowed"),
        ({"placement": []}, "placement: [] is not allowed"),
        ({"placement": [3, 10]}, "placement: (3, 10) is not allowed: replica ids from 0 to 9"),
        ({"placement": [3], "byzantine_ratio": 0.3}, "byzantine_ratio: 0.3 is not allowed: left out where"),
        (
            {"topolgy": "mesh"},
            "topolgy: 'mesh' is not allowed: there is no such setting (did you mean 'topology'?)",
        ),
    ],
)
def test_bad_setting_is_one_line(settings: dict[str, Any], line: str) -> None:
    (told,) = faults(**({"nodes": 10} | settings))
    assert line in told
    assert "\n" not in told


def test_missing_nodes() -> None:
    assert faults() == ["nodes: None is not allowed: a value is needed"]


def test_a_matrix_that_is_not_there() -> None:
    settings = {"environment": "multi_region_cloud", "latency_matrix": "none.csv"}
    assert faults(nodes=10, **settings) == ["latency_matrix: 'none.csv' is not allowed: a CSV file that is there"]


def test_all_faults_are_told_at_once() -> None:
    lines = faults(nodes=3, loss=2.0, network="wann", jitter="?")
    assert [line.split(":")[0] for line in lines] == ["loss", "jitter", "nodes", "network"]


def test_a_long_value_does_not_make_a_long_line() -> None:
    (line,) = faults(nodes=10, network="x\n" * 500)
    assert len(line) < 250


def test_numpy_scalars_are_numbers() -> None:
    one = Scenario(nodes=np.int64(10), rate=np.float32(0.5), batch=np.int32(2))
    assert (type(one.nodes), type(one.rate), type(one.batch)) == (int, float, int)


def test_laws_are_kept_in_one_spelling() -> None:
    assert Scenario(nodes=4, delay="normal(250.0, 50)").delay == "normal(250,50)"
    assert Scenario(nodes=4, jitter="gamma").jitter == "gamma(2)"


@pytest.mark.parametrize(
    ("topology", "expected"), [("fully_connected", "direct"), ("mesh", "gossip"), ("hierarchical", "gossip")]
)
def test_dissemination_follows_the_topology(topology: str, expected: str) -> None:
    assert Scenario(nodes=10, topology=topology).dissemination == expected
    assert Scenario(nodes=10, topology=topology, dissemination="auto").dissemination == expected
    assert Scenario(nodes=10, topology=topology, dissemination="routed").dissemination == "routed"


@pytest.mark.parametrize(("nodes", "ratio", "count"), [(100, 0.29, 29), (30, 0.1, 3), (10, 0.33, 3), (7, 1.0, 7)])
def test_number_of_faulty_replicas(nodes: int, ratio: float, count: int) -> None:
    assert Scenario(nodes=nodes, byzantine_ratio=ratio).byzantine_count == count


def test_a_list_of_faulty_replicas_sets_the_ratio() -> None:
    one = Scenario(nodes=10, placement=[np.int64(5), 3])
    assert (one.placement, one.byzantine_count, one.byzantine_ratio) == ((3, 5), 2, 0.2)


def test_json_is_strict_and_reads_back() -> None:
    one = Scenario(nodes=10, bandwidth_mbps=math.inf, placement=[2, 4], delay="uniform(1,2)")
    text = one.model_dump_json()
    assert "Infinity" not in text
    again = Scenario(**json.loads(text))
    assert again == one
    assert again.scenario_id == one.scenario_id


# A user's graph


def test_a_graph_gives_the_nodes() -> None:
    one = Scenario(topology=nx.cycle_graph(6))
    assert (one.topology, one.nodes, one.dissemination) == ("graph", 6, "gossip")
    assert "graph" not in one.model_dump()


def test_a_complete_graph_allows_direct_dissemination() -> None:
    assert Scenario(topology=nx.complete_graph(6)).dissemination == "direct"
    (line,) = faults(topology=nx.cycle_graph(6), dissemination="direct")
    assert line.startswith("dissemination: 'direct'")


def test_a_graph_file_gives_the_nodes(tmp_path: Path) -> None:
    file = overlay(tmp_path / "overlay.graphml")
    for settings in ({}, {"nodes": "file"}, {"nodes": 6}):
        one = Scenario(topology=file, **settings)
        assert (one.topology, one.nodes) == (file, 6)
    assert faults(topology=Path(file), nodes=10) == ["nodes: 10 is not allowed: 'file', or 6 as the graph has"]


def test_the_digest_is_of_the_graph_and_not_of_its_path(tmp_path: Path) -> None:
    ids = {
        Scenario(topology=overlay(tmp_path / name, nodes)).scenario_id
        for name, nodes in (("a.graphml", 6), ("b.graphml", 6), ("c.graphml", 7))
    }
    assert len(ids) == 2


def test_a_changed_graph_file_is_read_again(tmp_path: Path) -> None:
    file = overlay(tmp_path / "a.graphml", 6)
    assert Scenario(topology=file).nodes == 6
    overlay(tmp_path / "a.graphml", 9)
    assert Scenario(topology=file).nodes == 9


@pytest.mark.parametrize(
    ("graph", "told"),
    [
        (nx.path_graph(3), "4 or more"),
        (nx.disjoint_union(nx.path_graph(3), nx.path_graph(3)), "connected"),
        (nx.Graph([(0, 1, {"delay_ms": -1.0}), (1, 2), (2, 3)]), "delay_ms"),
    ],
)
def test_a_bad_graph_is_one_line_before_any_simulation(graph: Any, told: str) -> None:
    (line,) = faults(topology=graph)
    assert line.startswith("topology: ")
    assert told in line


# The digest


def test_the_digest_changes_with_every_setting() -> None:
    base: dict[str, Any] = {"nodes": 10, "topology": "mesh"}
    changes: list[dict[str, Any]] = [
        {},
        {"nodes": 11},
        {"topology": "star"},
        {"mesh_degree": 6},
        {"network": "lan"},
        {"rate": 11.0},
        {"seed": 1},
        {"delay": "normal(250,50)"},
        {"placement": [1]},
        {"byzantine_ratio": 0.1},
        {"byzantine_ratio": 0.1, "placement": "worst"},
        {"free_cpu": True},
        {"operations": 400},
    ]
    ids = [Scenario(**(base | change)).scenario_id for change in changes]
    assert len(set(ids)) == len(changes)
    assert all(len(digest) == 16 and int(digest, 16) >= 0 for digest in ids)


def test_the_digest_does_not_change_with_spelling() -> None:
    one = Scenario(nodes=10, delay="normal(250,50)", rate=10, dissemination="direct")
    assert one.scenario_id == Scenario(nodes=10, delay="normal( 250.0,50)", rate=10.0).scenario_id


def test_the_digest_is_the_same_in_another_process() -> None:
    code = "from prsm_scale.config import Scenario; print(Scenario(nodes=10, topology='mesh').scenario_id)"
    other = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=ENVIRONMENT)
    assert other.stdout.strip() == Scenario(nodes=10, topology="mesh").scenario_id


@pytest.mark.parametrize(("setting", "form"), [("latency_matrix", "{}"), ("delay", "empirical({})"), ("jitter", "empirical({})")])
def test_the_digest_follows_the_content_of_a_file(tmp_path: Path, setting: str, form: str) -> None:
    environment = "multi_region_cloud" if setting == "latency_matrix" else "local_simulation"
    ids = set()
    for name, text in (("a.csv", "1"), ("b.csv", "1"), ("c.csv", "2")):
        file = tmp_path / name
        file.write_text(text)
        ids.add(Scenario(nodes=10, environment=environment, **{setting: form.format(file)}).scenario_id)
    assert len(ids) == 2
    file.unlink()
    (line,) = faults(nodes=10, environment=environment, **{setting: form.format(file)})
    assert line.endswith("is not allowed: a CSV file that is there")


def one_round(size: int) -> Protocol:
    ask = Round("ask", Pattern.CLIENT_TO_PRIMARY, Senders.CLIENT, lambda inputs: size + inputs.payload_bytes)
    return Protocol("own", (ask,), commit_round="ask")


def test_a_protocol_of_ones_own_counts_by_its_content() -> None:
    one = Scenario(nodes=10, protocol=one_round(100))
    assert json.loads(one.model_dump_json())["protocol"] == "own"
    assert one.scenario_id == Scenario(nodes=10, protocol=one_round(100)).scenario_id
    assert one.scenario_id != Scenario(nodes=10, protocol=one_round(101)).scenario_id


def test_a_shipped_protocol_counts_by_its_name() -> None:
    for name, table in PROTOCOLS.items():
        assert Scenario(nodes=10, protocol=table).scenario_id == Scenario(nodes=10, protocol=name).scenario_id


# Errors themselves


def test_an_error_survives_pickling_with_all_its_faults() -> None:
    error = UsageError("a", 1, "2", [UsageError("b", "x", "y")])
    again = pickle.loads(pickle.dumps(error))
    assert again.lines == error.lines == ["a: 1 is not allowed: 2", "b: 'x' is not allowed: y"]


def test_configuration_imports_nothing_heavy() -> None:
    heavy = ("numba", "numpy", "scipy", "pandas", "pyarrow", "networkx", "matplotlib")
    code = (
        "import sys; from prsm_scale.config import Sweep; Sweep(topology='mesh');"
        f"print([name for name in {heavy} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=ENVIRONMENT)
    assert done.stdout.strip() == "[]"
