"""What a user does, by the installed command: sweeps in small sizes, stored runs, bad input, Ctrl-C."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

import prsm_scale as ps
from tests.e2e.program import ENVIRONMENT, PROGRAM, PROVENANCE_FIELDS, results, run, strict_json

pytestmark = pytest.mark.e2e

AXES = (
    "--nodes", "4,16", "--topology", "mesh,star,ring", "--network", "lan,wan", "--byzantine", "0,0.1,0.33",
    "--profile", "standard,heavy", "--rate", "10", "--seed", "7",
)  # fmt: skip
SETTINGS = {
    "nodes": "4,16", "topology": ["mesh", "star", "ring"], "network": ["lan", "wan"], "byzantine_ratio": [0, 0.1, 0.33],
    "profile": ["standard", "heavy"], "rate": 10, "seed": 7, "operations": 32,
}  # fmt: skip
AWKWARD = ("sweep", "--nodes", "4,7", "--byzantine", "0,0.5", "--bandwidth-mbps", "inf", "--operations", "32", "--json")
"""Scenarios in which nothing ends, and lines without a limit."""


@pytest.fixture(scope="module")
def swept(tmp_path_factory):
    """A folder with a stored run over five axes, and what the terminal showed."""
    folder = tmp_path_factory.mktemp("swept")
    done = run(folder, "sweep", *AXES, "--operations", "32", "--out", "results/")
    (path,) = (folder / "results").iterdir()
    return folder, path, done


def only_run(folder, out="results"):
    (path,) = (folder / out).iterdir()
    return path


# Sweeps.


def test_a_sweep_over_axes_shows_and_stores_every_scenario(swept):
    _, path, done = swept
    assert done.stderr.splitlines()[0] == "nodes 4, 16; scenarios: 72"
    assert done.stdout.count("max ops/s") == 36
    assert done.stdout.splitlines()[-1] == f"72 scenarios in results/{path.name}"
    assert sorted(file.name for file in path.iterdir()) == [
        "fits.parquet", "host_resources.parquet", "run.json", "scenarios.csv", "scenarios.json", "scenarios.parquet",
    ]  # fmt: skip
    rows = ps.load(path).scenarios
    varied = rows[["topology", "network_condition", "byzantine_ratio", "resource_profile", "node_count"]]
    assert len(varied.drop_duplicates()) == 72
    assert (rows["seed"] == 7).all() and (rows["operations"] == 32).all() and rows["feasible"].all()


def test_plots_need_no_more_than_three_points(tmp_path):
    done = run(tmp_path, "sweep", "--nodes", "4,6,8", "--operations", "32", "--plot", "figure.png")
    assert "saturation throughput, operations/s" in done.stdout and "median latency, ms" in done.stdout
    assert (tmp_path / "figure.png").read_bytes().startswith(b"\x89PNG")
    assert done.stderr.splitlines() == ["nodes 4, 6, 8; scenarios: 3", "figure in figure.png"]


def test_quiet_tells_the_folder_alone(tmp_path):
    done = run(tmp_path, "sweep", "--nodes", "4", "--operations", "16", "--quiet")
    assert (done.stdout, done.stderr) == (f"results/{only_run(tmp_path).name}\n", "")


def test_regions(tmp_path):
    words = "--environment multi_region_cloud --regions us-east-1,eu-west-1,ap-northeast-1 --json --operations 64"
    rows = strict_json(run(tmp_path, "sweep", "--nodes", "10..40", *words.split()).stdout)["scenarios"]
    assert [row["node_count"] for row in rows] == [10, 20, 40]
    assert all(30 < row["mean_latency_ms"] < 1000 for row in rows)


@pytest.mark.parametrize("words", [("--nodes", "file"), ()], ids=["file", "left out"])
@pytest.mark.parametrize("suffix", [".graphml", ".edgelist"])
def test_a_graph_of_ones_own(tmp_path, suffix, words):
    import networkx as nx

    graph = nx.cycle_graph(["a", "b", "c", "d", "e"])
    nx.set_edge_attributes(graph, 5.0, "delay_ms")
    (nx.write_graphml if suffix == ".graphml" else nx.write_edgelist)(graph, tmp_path / f"my-overlay{suffix}")
    settings = ("--rate", "0", "--free-cpu", "--jitter", "none", "--loss", "0", "--bandwidth-mbps", "inf", "--json")
    done = run(tmp_path, "sweep", "--topology", f"my-overlay{suffix}", *words, "--operations", "16", *settings)
    (row,) = strict_json(done.stdout)["scenarios"]
    assert (row["node_count"], row["topology"]) == (5, f"my-overlay{suffix}")
    # two links to the farthest; a quorum of four of five has to hear of four
    assert row["mean_commit_ms"] in (20.0, 25.0, 30.0)


def test_a_law_of_delay_alone_is_the_message_delay_model(tmp_path):
    words = ("--delay", "constant(250)", "--network", "ideal", "--free-cpu", "--rate", "0", "--operations", "64", "--json")
    (row,) = strict_json(run(tmp_path, "sweep", "--nodes", "20", *words).stdout)["scenarios"]
    assert row["mean_commit_ms"] == row["p99_commit_ms"] == 750.0
    assert row["min_latency_ms"] in (1000.0, 1250.0) and row["max_latency_ms"] == 1250.0
    assert row["cpu_ms"] == row["transmission_ms"] == row["queueing_ms"] == 0.0


def test_a_configuration_file_and_a_dry_run(tmp_path):
    (tmp_path / "experiment.toml").write_text(
        'nodes = "10..40"\ntopology = ["mesh", "ring"]\nnetwork = "lan"\noperations = 16\nrate = 5\n'
    )
    done = run(tmp_path, "sweep", "--config", "experiment.toml", "--dry-run")
    header, *rows, summary = done.stdout.splitlines()
    assert header.split() == ["nodes", "topology", "scenario_id"]
    assert [row.split()[:2] for row in rows] == [[str(n), name] for name in ("mesh", "ring") for n in (10, 20, 40)]
    assert (summary, done.stderr) == ("nodes 10, 20, 40; scenarios: 6", "")
    assert [file.name for file in tmp_path.iterdir()] == ["experiment.toml"]

    planned = [row.split()[-1] for row in rows]
    document = strict_json(run(tmp_path, "sweep", "--config", "experiment.toml", "--json").stdout)
    assert [row["scenario_id"] for row in document["scenarios"]] == planned


# Stored runs.


def test_show_repeats_what_the_sweep_showed(swept):
    folder, path, done = swept
    for name in (path.name, f"results/{path.name}", f"results/{path.name}/"):
        assert run(folder, "show", name).stdout == done.stdout


def test_fit_shows_every_law(swept):
    folder, path, _ = swept
    told = run(folder, "fit", f"results/{path.name}").stdout
    assert all(f" {law} " in told for law in ("usl", "power", "logarithmic", "linear"))
    document = strict_json(run(folder, "fit", path.name, "--json").stdout)
    fields = ("topology", "law", "quantity", "coefficient", "exponent", "rmse_log")
    stored = ps.load(path).fits[list(fields)].astype(object)
    again = pd.DataFrame(document["fits"])[list(fields)].astype(object)
    pd.testing.assert_frame_equal(stored.where(stored.notna(), None), again.where(again.notna(), None))


def test_python_and_the_command_line_give_the_same_results(swept):
    _, path, _ = swept
    stored, own = ps.load(path), ps.sweep(**SETTINGS)
    for one, other in ((stored.scenarios, own.scenarios), (stored.fits, own.fits)):
        drop = [name for name in PROVENANCE_FIELDS if name in one]
        pd.testing.assert_frame_equal(one.drop(columns=drop), other.drop(columns=drop))


def test_every_file_of_a_run_holds_what_the_sweep_returned(tmp_path):
    """Parquet to the bit, JSON to the bit, CSV to the last digit written; provenance in each but CSV."""
    own = ps.sweep(nodes="4,7", topology=["fully_connected", "star"], byzantine_ratio=[0, 0.5], operations=32)
    path = own.save(tmp_path)
    own.scenarios["run_id"] = path.name
    table = pq.read_table(path / "scenarios.parquet")
    frames = {
        "parquet": table.to_pandas(),
        "json": pd.DataFrame(strict_json((path / "scenarios.json").read_text())["scenarios"]),
        "csv": pd.read_csv(path / "scenarios.csv", keep_default_na=False, na_values=[""]),
    }
    numbers = [name for name, kind in own.scenarios.dtypes.items() if pd.api.types.is_numeric_dtype(kind)]
    for name, frame in frames.items():
        assert list(frame.columns) == list(own.scenarios.columns), name
        for column in numbers:
            values, expected = (side[column].to_numpy(np.float64, na_value=np.nan) for side in (frame, own.scenarios))
            assert np.array_equal(values, expected, equal_nan=True), (name, column)
        assert frame["scenario"].tolist() == own.scenarios["scenario"].tolist()
    provenance = strict_json(table.schema.metadata[b"prsm_scale"])
    assert provenance == strict_json((path / "scenarios.json").read_text())["provenance"]
    assert provenance == strict_json((path / "run.json").read_text())["provenance"]
    assert provenance["prsm_scale"] == ps.__version__ and provenance["packages"]["numpy"] == np.__version__
    assert ps.Sweep(**provenance["sweep"]).scenarios() == ps.Sweep(**own.sweep).scenarios()
    pd.testing.assert_frame_equal(ps.load(path).scenarios, own.scenarios)


def test_a_row_is_enough_to_run_its_scenario_again(swept):
    _, path, _ = swept
    row = ps.load(path).scenarios.iloc[40]
    settings = strict_json(row["scenario"])
    again = ps.simulate(**settings).row
    assert again["scenario_id"] == row["scenario_id"] and again["mean_latency_ms"] == row["mean_latency_ms"]


# JSON, and threads.


def test_json_is_strict_and_the_same_on_any_number_of_threads(tmp_path):
    documents = [strict_json(run(tmp_path, *AWKWARD, "--threads", threads).stdout) for threads in ("1", "2")]
    assert results(documents[0]) == results(documents[1])
    rows = documents[0]["scenarios"]
    assert [row["success_rate"] for row in rows] == [1.0, 1.0, 0.0, 0.0]
    assert [row["mean_latency_ms"] is None for row in rows] == [False, False, True, True]
    assert all(row["reason"] for row in rows[2:])
    for file in (tmp_path / "results").rglob("*.json"):
        strict_json(file.read_text())


# Bad input.

BAD = [
    ("--nodes 3", "nodes", "'3'", "from 4 to"),
    ("--nodes 0..5", "nodes", "'0..5'", "from 4 to"),
    ("--nodes 1000..10", "nodes", "'1000..10'", "10..1000"),
    ("--nodes 10...20", "nodes", "'10...20'", "range (10..1000)"),
    ("--topology msh", "topology", "'msh'", "did you mean 'mesh'?"),
    ("--byzantine 1.5", "byzantine_ratio", "1.5", "0 or more and at most 1"),
    ("--topology apart.csv", "topology", "'apart.csv'", "disconnected: 2 components of 3, 2 nodes"),
    ("--topology negative.edgelist", "topology", "'negative.edgelist'", "delay_ms -5"),
    ("--config misspelt.toml", "nodez", "'10..40'", "did you mean 'nodes'?"),
    ("--nodes 4 --out file", "out", "'file'", "a writable folder"),
    ("--nodes 4 --out file/below", "out", "'file/below'", "a writable folder"),
    ("--environment multi_region_cloud --latency-matrix matrix.csv", "latency_matrix", "'matrix.csv'", "'y' has no row"),
    ("--environment multi_region_cloud --regions us-east-1,nowhere", "regions", "'nowhere'", "one of the 21 regions"),
    ("--environment docker", "environment", "'docker'", "docker_cluster"),
    ("--nodes 10 --host-cores 8", "host_cores", "8", "only with environment docker_cluster"),
    ("--network lan --delay gauss(1,2)", "delay", "'gauss(1,2)'", "normal(mean, sd)"),
    ("--resume nothing", "run", "'nothing'", "a folder that holds a run"),
    ("--nodes 10 --topology ring,random --edge-probability 0.01", "edge_probability", "0.01", "about 0.23 or more"),
    ("--network wan,lan --delay-min-ms 60", "delay_min_ms", "60.0", "is no range of delays"),
    ("--nodes 4 --delay empirical(matrix.csv)", "delay", "'matrix.csv'", "a CSV file of numbers"),
    ("--config table.toml", "network", "{'lan': {'base_delay': 500}}", "one of ideal, lan"),
    ("--nodes 4 --plot file/x.png", "plot", "'file/x.png'", "a file in a folder that is there"),
]


@pytest.fixture(scope="module")
def bad_files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bad")
    (folder / "apart.csv").write_text("a,b\nb,c\nc,a\nd,e\n")
    (folder / "negative.edgelist").write_text("a b -5\nb c 3\nc d 1\nd a 1\n")
    (folder / "misspelt.toml").write_text('nodez = "10..40"\n')
    (folder / "matrix.csv").write_text(",x,y\nx,0,1\n")
    (folder / "table.toml").write_text("nodes = 10\n[network]\nlan = {base_delay = 500}\n")
    (folder / "file").write_text("")
    return folder


@pytest.mark.parametrize(("words", "field", "value", "allowed"), BAD, ids=[case[0] for case in BAD])
def test_bad_input_is_one_clear_line_and_nothing_runs(bad_files, words, field, value, allowed):
    before = sorted(bad_files.rglob("*"))
    done = run(bad_files, "sweep", *words.split(), code=2)
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"prsm-scale: error: {field}: {value} is not allowed: ")
    assert allowed in line.split("is not allowed: ")[1]
    assert done.stdout == ""
    assert sorted(bad_files.rglob("*")) == before


@pytest.mark.skipif(not shutil.which("setpriv"), reason="root can write anywhere without it")
def test_a_figure_in_a_folder_that_cannot_be_written(tmp_path):
    (tmp_path / "locked").mkdir(mode=0o555)
    caps = "=-dac_override,-dac_read_search"
    words = ("setpriv", f"--bounding-set{caps}", f"--inh-caps{caps}") if os.geteuid() == 0 else ()
    done = subprocess.run(
        [*words, *PROGRAM, "sweep", "--nodes", "10", "--out", "ok", "--plot", "locked/x.png"],
        cwd=tmp_path, env=ENVIRONMENT, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=100,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "prsm-scale: error: plot: 'locked/x.png' is not allowed: a file that can be written\n"
    assert [file.name for file in tmp_path.iterdir()] == ["locked"]


@pytest.mark.parametrize("words", [("swep",), ("sweep", "--nodez", "4"), ("show",), ("show", "nothing"), ("fit", "nothing")])
def test_bad_usage_is_one_line(tmp_path, words):
    done = run(tmp_path, *words, code=2)
    (line,) = done.stderr.splitlines()
    assert line.startswith("prsm-scale: error: ") and done.stdout == ""


# Ctrl-C.

LONG = ("--nodes", "4,6,8,300", "--operations", "4000", "--rate", "1")
_HEARING_SIGNALS = (
    "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); from prsm_scale.cli import main; main()"
)


def interrupted(folder: Path, words: tuple[str, ...], finished: int) -> tuple[int, str, str]:
    """Run a sweep and press Ctrl-C when so many of its scenarios are on disk."""
    child = subprocess.Popen(
        [sys.executable, "-c", _HEARING_SIGNALS, "sweep", *words],
        cwd=folder, env=ENVIRONMENT, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    begun = time.monotonic()
    while child.poll() is None and time.monotonic() - begun < 300:
        journals = list(folder.glob("results/*/journal.jsonl"))
        if journals and journals[0].read_text().count("\n") > finished:
            break
        time.sleep(0.01)
    time.sleep(0.2)  # into the next one
    child.send_signal(signal.SIGINT)
    out, err = child.communicate(timeout=60)
    return child.returncode, out, err


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
def test_ctrl_c_keeps_what_is_done_and_resuming_completes_it(tmp_path):
    """Stopped in the middle of the last and longest scenario, completed later, and equal to a run that was not stopped."""
    code, out, err = interrupted(tmp_path, (*LONG, "--threads", "1"), finished=3)
    path = only_run(tmp_path)
    assert (code, out) == (130, "")
    assert err.splitlines()[-2:] == [
        f"prsm-scale: interrupted; 3 of 4 scenarios are in results/{path.name}",
        f"go on with: prsm-scale sweep --resume results/{path.name}",
    ]
    assert sorted(file.name for file in path.iterdir()) == ["host_resources.parquet", "journal.jsonl"]
    assert ps.load(path).scenarios["node_count"].tolist() == [4, 6, 8]
    assert f"--resume results/{path.name}" in run(tmp_path, "show", path.name).stderr

    resumed = strict_json(run(tmp_path, "sweep", "--resume", f"results/{path.name}", "--json").stdout)
    whole = strict_json(run(tmp_path, "sweep", *LONG, "--json", "--out", "whole").stdout)
    assert resumed["run"] == path.name
    assert results(resumed)[0] == results(whole)[0]
    assert [{**fit, "run_id": ""} for fit in resumed["fits"]] == [{**fit, "run_id": ""} for fit in whole["fits"]]
    assert "journal.jsonl" not in {file.name for file in path.iterdir()}


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
def test_operations_survive_ctrl_c(tmp_path):
    """Stopped in the middle of the last scenario, and completed without asking for them again."""
    code, _, _ = interrupted(tmp_path, (*LONG, "--threads", "1", "--save-operations"), finished=3)
    path = only_run(tmp_path)
    assert code == 130
    assert sorted(file.name for file in path.iterdir()) == ["host_resources.parquet", "journal.jsonl", "operations"]
    run(tmp_path, "sweep", "--resume", f"results/{path.name}", "--quiet")
    stored = pd.read_parquet(path / "operations.parquet")
    assert stored.groupby("scenario_id", sort=False).size().tolist() == [4000] * 4
    whole = ps.load(path).scenarios
    assert stored["scenario_id"].unique().tolist() == whole["scenario_id"].tolist()
    medians = stored.groupby("scenario_id", sort=False)["latency_ms"].median().to_numpy()
    assert medians == pytest.approx(whole["median_latency_ms"].to_numpy())
    assert "operations" not in {file.name for file in path.iterdir()}
