"""The command line: options, output, errors, exit codes; a made-up run takes the place of the simulation."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from io import StringIO
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from click.testing import CliRunner, Result
from rich.console import Console

from prsm_scale.cli import main
from prsm_scale.cli.progress import ProgressLine
from prsm_scale.columns import FIT_COLUMNS, SCENARIO_COLUMNS
from prsm_scale.config import Sweep
from prsm_scale.errors import PrsmScaleError, SweepInterrupted

PROGRAM = [sys.executable, "-c", "from prsm_scale.cli import main; main()"]
ENVIRONMENT = os.environ | {"PYTHONPATH": os.pathsep.join(map(os.path.abspath, sys.path))}
HEAVY = ("numba", "numpy", "scipy", "pandas", "pyarrow", "networkx", "matplotlib", "pydantic", "rich")


def invoke(*args: str) -> Result:
    result = CliRunner().invoke(main, list(args))
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


def report(done: int, total: int) -> Any:
    return SimpleNamespace(
        done=done,
        total=total,
        share=0.5,
        messages=1,
        messages_per_second=1.25e8,
        seconds_left=3661.0,
        current="n = 20, mesh",
    )


@pytest.fixture
def simulation(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    sample_row: Callable[..., Any],
    sample_run: Callable[..., Any],
) -> SimpleNamespace:
    """Stand in for `run_sweep`: note the call, report progress, raise what a test asks for."""
    seen = SimpleNamespace(calls=[], error=None)

    def run_sweep(sweep: Sweep, out_dir: Path, progress: Any, command: str, **how: Any) -> Any:
        scenarios = sweep.scenarios()
        seen.calls.append(SimpleNamespace(sweep=sweep, out=out_dir, **how))
        progress(report(1, len(scenarios)))
        if seen.error is not None:
            raise seen.error
        return sample_run(tmp_path, [sample_row(one.nodes, one.topology) for one in scenarios], sweep.to_dict())

    module = ModuleType("prsm_scale.runs")
    module.run_sweep = run_sweep  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "prsm_scale.runs", module)
    monkeypatch.chdir(tmp_path)
    return seen


# Help


def test_help_imports_nothing_that_is_slow_to_import() -> None:
    code = (
        "import sys\nfrom prsm_scale.cli import main\n"
        "try:\n    main(['--help'])\nexcept SystemExit as stop:\n    assert stop.code == 0\n"
        f"print([name for name in {HEAVY} if name in sys.modules], file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=ENVIRONMENT)
    assert done.stderr.strip() == "[]"
    for name in ("sweep", "show", "fit"):
        assert re.search(rf"^  {name}  ", done.stdout, re.MULTILINE)


def test_help_is_fast() -> None:
    def seconds() -> float:
        begun = time.perf_counter()
        subprocess.run([*PROGRAM, "--help"], capture_output=True, check=True, env=ENVIRONMENT)
        return time.perf_counter() - begun

    assert min(seconds() for _ in range(3)) < 0.5


def test_version() -> None:
    from prsm_scale import __version__

    assert invoke("--version").stdout == f"prsm-scale {__version__}\n"


def test_every_setting_is_an_option_and_helped() -> None:
    told = invoke("sweep", "--help").stdout
    names = [name.replace("_", "-") for name in Sweep.model_fields if name not in ("byzantine_ratio", "engine")]
    for name in (
        *names,
        "byzantine",
        "config",
        "out",
        "resume",
        "threads",
        "dry-run",
        "json",
        "plot",
        "quiet",
        "save-operations",
    ):
        assert f"--{name}" in told
    assert "[10..1000]" in told


@pytest.mark.parametrize("command", ["sweep", "show", "fit"])
def test_help_line_in_the_table_belongs_to_a_command(command: str) -> None:
    assert invoke(command, "--help").exit_code == 0


# Options become settings


def planned(*args: str) -> list[dict[str, Any]]:
    result = invoke("sweep", *args, "--dry-run", "--json")
    assert result.exit_code == 0, result.stderr
    scenarios: list[dict[str, Any]] = json.loads(result.stdout)["scenarios"]
    return scenarios


@pytest.mark.parametrize(
    ("args", "settings"),
    [
        ("", {}),
        ("--nodes 4,16,64..1024", {"nodes": "4,16,64..1024"}),
        ("--topology mesh,star --nodes 10", {"topology": ["mesh", "star"], "nodes": 10}),
        ("--byzantine 0,0.1,0.33", {"byzantine_ratio": [0, 0.1, 0.33]}),
        ("--rate 10,1e3 --batch 1,8 --seed 7", {"rate": [10, 1000.0], "batch": [1, 8], "seed": 7}),
        (
            "--environment multi_region_cloud --regions us-east-1,eu-west-1",
            {"environment": "multi_region_cloud", "regions": ("us-east-1", "eu-west-1")},
        ),
        ("--delay normal(250,50) --free-cpu", {"delay": "normal(250,50)", "free_cpu": True}),
        ("--jitter gamma(2) --jitter-fraction .1", {"jitter": "gamma(2)", "jitter_fraction": 0.1}),
        ("--bandwidth-mbps inf --loss 0", {"bandwidth_mbps": float("inf"), "loss": 0}),
        ("--placement worst --byzantine .2", {"placement": "worst", "byzantine_ratio": 0.2}),
        ("--placement 2,5 --nodes 10", {"placement": (2, 5), "nodes": 10}),
        ("--placement 2 --nodes 10", {"placement": (2,), "nodes": 10}),
        ("--operations 400 --cores 2 --window 1", {"operations": 400, "cores": 2, "window": 1}),
        (
            "--topology ring --dissemination auto,routed",
            {"topology": "ring", "dissemination": [None, "routed"]},
        ),
    ],
)
def test_options_become_settings(args: str, settings: dict[str, Any]) -> None:
    expected = [one.scenario_id for one in Sweep(**settings).scenarios()]
    assert [one["scenario_id"] for one in planned(*args.split())] == expected


def test_spaces_in_a_list_do_not_matter() -> None:
    assert [one["topology"] for one in planned("--nodes", "10", "--topology", " mesh, star")] == [
        "mesh",
        "star",
    ]


def test_a_graph_file_sets_the_nodes(tmp_path: Path) -> None:
    file = tmp_path / "overlay.edgelist"
    file.write_text("a b\nb c\nc d\nd e\ne a\n")
    for args in ((), ("--nodes", "file")):
        assert [one["nodes"] for one in planned("--topology", str(file), *args)] == [5]


def test_options_go_before_the_file(tmp_path: Path) -> None:
    file = tmp_path / "experiment.toml"
    file.write_text('nodes = "10..40"\nnetwork = "lan"\n')
    assert {(one["nodes"], one["network"]) for one in planned("--config", str(file), "--nodes", "20")} == {(20, "lan")}


def test_dry_run_lists_what_varies(simulation: SimpleNamespace) -> None:
    result = invoke("sweep", "--nodes", "10..40", "--topology", "mesh,star", "--dry-run")
    header, *rows, summary = result.stdout.splitlines()
    assert header.split() == ["nodes", "topology", "scenario_id"]
    assert [row.split()[:2] for row in rows] == [[str(n), t] for t in ("mesh", "star") for n in (10, 20, 40)]
    assert summary == "nodes 10, 20, 40; scenarios: 6"
    assert simulation.calls == []


def test_dry_run_checks_regions_too() -> None:
    result = invoke("sweep", "--environment", "multi_region_cloud", "--regions", "us-east-1,us-east-9", "--dry-run")
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.startswith("prsm-scale: error: regions: 'us-east-9' is not allowed: one of the 21 regions")


def test_dry_run_checks_graphs_too() -> None:
    result = invoke("sweep", "--nodes", "10,20", "--topology", "ring,random", "--edge-probability", "0.01", "--dry-run")
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.startswith("prsm-scale: error: edge_probability: 0.01 is not allowed: about 0.23 or more")


def test_a_long_list_of_nodes_is_cut_in_the_middle() -> None:
    summary = invoke("sweep", "--nodes", "10..1000:10", "--dry-run").stdout.splitlines()[-1]
    assert summary == "nodes 10, 20, 30, 40, 50, 60, 70, 80, 90, 100, ..., 1000; scenarios: 100"


# Bad usage: exit 2, one line a fault, nothing simulated


@pytest.mark.parametrize(
    ("args", "line"),
    [
        ("--nodes 3", "nodes: '3' is not allowed: whole numbers from 4 to 1000000"),
        ("--nodes 0..5", "nodes: '0..5' is not allowed: whole numbers from 4 to 1000000"),
        ("--nodes 1000..10", "nodes: '1000..10' is not allowed: a range that rises (10..1000)"),
        ("--nodes 10...20", "nodes: '10...20' is not allowed: a number (10), list (10,20,40), "),
        ("--nodes file", "nodes: 'file' is not allowed: a number; only a graph file or "),
        ("--topology none.graphml", "topology: 'none.graphml' is not allowed: "),
        ("--byzantine 1.5", "byzantine_ratio: 1.5 is not allowed: a number, 0 or more and at most 1"),
        ("--rate fast", "rate: 'fast' is not allowed: a number, 0 or more"),
        ("--rate=", "rate: '' is not allowed: a number, 0 or more"),
        ("--window 1.5", "window: 1.5 is not allowed: a whole number, 1 or more"),
        ("--regions a", "regions: ('a',) is not allowed: only with environment multi_region_cloud"),
        ("--config none.toml", "config: 'none.toml' is not allowed: a TOML file that can be read ("),
        ("--plot a.gif", "plot: 'a.gif' is not allowed: a file that ends in .png, .svg, .pdf"),
        ("--plot none/a.png", "plot: 'none/a.png' is not allowed: a file in a folder that is there"),
        ("--resume none", "run: 'none' is not allowed: a folder that holds a run"),
        ("--threads 0", "Invalid value for '--threads': 0 is not in the range x>=1."),
    ],
)
def test_bad_usage_is_one_line(simulation: SimpleNamespace, args: str, line: str) -> None:
    result = invoke("sweep", *args.split())
    assert (result.exit_code, result.stdout) == (2, "")
    (told,) = result.stderr.splitlines()
    assert told.startswith(f"prsm-scale: error: {line}")
    assert simulation.calls == []


@pytest.mark.parametrize("command", [("sweep", "--nodes", "10"), ("show", "sample")])
def test_a_figure_that_cannot_be_written_is_refused_first(
    simulation: SimpleNamespace, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, command: tuple[str, ...]
) -> None:
    (tmp_path / "folder.png").mkdir()
    told = [invoke(*command, "--plot", "folder.png")]
    monkeypatch.setattr(os, "access", lambda path, mode: (Path(path), mode) != (tmp_path, os.W_OK))
    told.append(invoke(*command, "--plot", "new.png"))
    for result, file in zip(told, ("folder.png", "new.png"), strict=True):
        line = f"prsm-scale: error: plot: '{file}' is not allowed: a file that can be written\n"
        assert (result.exit_code, result.stdout, result.stderr) == (2, "", line)
    assert simulation.calls == []


def test_an_unknown_topology_is_told_its_neighbour(simulation: SimpleNamespace) -> None:
    assert "(did you mean 'mesh'?)" in invoke("sweep", "--topology", "msh").stderr


def test_several_faults_are_a_line_each(simulation: SimpleNamespace) -> None:
    result = invoke("sweep", "--nodes", "10...20", "--rate", "-1", "--topology", "rign")
    assert result.exit_code == 2
    assert [line.split(":")[2].strip() for line in result.stderr.splitlines()] == [
        "nodes",
        "topology",
        "rate",
    ]


@pytest.mark.parametrize("args", [("swep",), ("sweep", "--nodez", "4"), ("sweep", "mesh"), ("show",), ("show", "a", "b")])
def test_what_click_rejects_is_one_line_too(args: tuple[str, ...]) -> None:
    result = invoke(*args)
    assert (result.exit_code, result.stdout) == (2, "")
    (line,) = result.stderr.splitlines()
    assert line.startswith("prsm-scale: error: ")


def test_exit_codes_reach_the_shell() -> None:
    done = subprocess.run([*PROGRAM, "sweep", "--nodes", "3"], capture_output=True, text=True, check=False, env=ENVIRONMENT)
    assert done.returncode == 2
    assert done.stderr == "prsm-scale: error: nodes: '3' is not allowed: whole numbers from 4 to 1000000\n"


def test_the_bare_command_shows_its_help() -> None:
    done = subprocess.run(PROGRAM, capture_output=True, text=True, check=False, env=ENVIRONMENT)
    assert (done.returncode, done.stdout) == (2, "")
    assert {"Usage: prsm-scale [OPTIONS] COMMAND [ARGS]...", "Commands:"} <= set(done.stderr.splitlines())


# A sweep


def test_sweep_prints_table_plot_fits_and_folder(simulation: SimpleNamespace, tmp_path: Path) -> None:
    result = invoke("sweep", "--threads", "2", "--out", "runs", "--save-operations")
    assert result.exit_code == 0, result.stderr
    (call,) = simulation.calls
    assert (call.out, call.threads, call.resume, call.save_operations) == (Path("runs"), 2, None, True)
    assert result.stderr == "nodes 10, 20, 40, 80, 160, 320, 640, 1000; scenarios: 8\n"
    heading = "n  ops/s  max ops/s  p50 ms  p95 ms  p99 ms  success  messages  bottleneck"
    assert heading.split() in [line.split() for line in result.stdout.splitlines()]
    for told in (
        "saturation throughput, operations/s",
        "median latency, ms",
        "power law",
        "logarithmic law",
        "peak (USL)",
    ):
        assert told in result.stdout
    assert result.stdout.endswith(f"8 scenarios in {tmp_path / 'sample'}\n")
    assert "\x1b" not in result.stdout


def test_sweep_as_json_is_one_strict_document(simulation: SimpleNamespace) -> None:
    result = invoke("sweep", "--nodes", "10,20", "--json")
    document = json.loads(result.stdout, parse_constant=pytest.fail)
    assert set(document) == {"run", "path", "scenarios", "fits", "analysis"}
    assert [row["node_count"] for row in document["scenarios"]] == [10, 20]
    assert set(document["scenarios"][0]) == {column.name for column in SCENARIO_COLUMNS}
    assert set(document["fits"][0]) == {column.name for column in FIT_COLUMNS}
    assert document["scenarios"][0]["wall_seconds"] is None


def test_quiet_sweep_prints_the_folder_alone(simulation: SimpleNamespace, tmp_path: Path) -> None:
    result = invoke("sweep", "--nodes", "10", "--quiet")
    assert (result.stdout, result.stderr) == (f"{tmp_path / 'sample'}\n", "")


def test_sweep_writes_a_figure(simulation: SimpleNamespace, tmp_path: Path) -> None:
    result = invoke("sweep", "--nodes", "10,20", "--plot", "figure.svg")
    assert result.exit_code == 0
    assert result.stderr.endswith("figure in figure.svg\n")
    assert (tmp_path / "figure.svg").read_text().startswith("<?xml")


def test_progress_is_live_on_a_terminal_and_leaves_nothing_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = StringIO()
    console = Console(file=screen, force_terminal=True, width=100, markup=False)
    monkeypatch.setattr("prsm_scale.cli.progress.terminal", lambda stderr: console)
    with ProgressLine(8, quiet=False, announcement="eight scenarios") as line:
        line(report(2, 8))
        line(report(3, 8))
    assert screen.getvalue().count("eight scenarios") == 1
    told = "3/8 scenarios  125,000,000 messages/s  1:01:01 left  n = 20, mesh"
    assert told in re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", screen.getvalue())
    assert screen.getvalue().endswith("\x1b[2K")


def test_quiet_progress_says_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = StringIO()
    console = Console(file=screen, force_terminal=True)
    monkeypatch.setattr("prsm_scale.cli.progress.terminal", lambda stderr: console)
    with ProgressLine(8, quiet=True, announcement="eight scenarios") as line:
        line(report(3, 8))
    assert screen.getvalue() == ""


def test_interrupted_sweep_exits_130_and_tells_how_to_go_on(simulation: SimpleNamespace) -> None:
    simulation.error = SweepInterrupted(Path("results/a run"), 3, 8)
    result = invoke("sweep", "--quiet")
    assert result.exit_code == 130
    assert result.stdout == ""
    assert result.stderr.splitlines() == [
        "prsm-scale: interrupted; 3 of 8 scenarios are in results/a run",
        "go on with: prsm-scale sweep --resume 'results/a run'",
    ]


def test_interrupt_before_anything_is_stored(simulation: SimpleNamespace) -> None:
    simulation.error = KeyboardInterrupt()
    result = invoke("sweep")
    assert result.exit_code == 130
    assert result.stderr.endswith("prsm-scale: interrupted\n")


def test_failure_exits_1_with_one_line(simulation: SimpleNamespace) -> None:
    simulation.error = PrsmScaleError("cannot write to results:\ndisk full")
    result = invoke("sweep", "--quiet")
    assert (result.exit_code, result.stderr) == (1, "prsm-scale: error: cannot write to results: disk full\n")


def test_a_bug_shows_its_traceback(simulation: SimpleNamespace) -> None:
    simulation.error = ZeroDivisionError("a bug")
    with pytest.raises(ZeroDivisionError):
        CliRunner().invoke(main, ["sweep"], catch_exceptions=False)


def test_resume_takes_the_settings_of_the_run(
    simulation: SimpleNamespace,
    tmp_path: Path,
    sample_row: Callable[..., Any],
    sample_run: Callable[..., Any],
) -> None:
    stored = Sweep(nodes="10..40", network="lan", bandwidth_mbps=float("inf"))
    sample_run(tmp_path / "results", [sample_row(10)], stored.to_dict(), finished=False)
    assert invoke("sweep", "--resume", "sample", "--quiet").exit_code == 0
    (call,) = simulation.calls
    assert (call.sweep, call.resume) == (stored, Path("results/sample"))


@pytest.mark.parametrize(("words", "rate"), [((), 5), (("--config", "more.toml"), 7)])
def test_resume_keeps_the_settings_that_neither_options_nor_file_give(
    words: tuple[str, ...],
    rate: int,
    simulation: SimpleNamespace,
    tmp_path: Path,
    sample_row: Callable[..., Any],
    sample_run: Callable[..., Any],
) -> None:
    stored = Sweep(nodes="10..40", network="lan", seed=1, rate=5)
    sample_run(tmp_path / "results", [sample_row(10)], stored.to_dict(), finished=False)
    (tmp_path / "more.toml").write_text("nodes = 80\nrate = 7\n")
    assert invoke("sweep", "--resume", "sample", "--quiet", "--nodes", "10,20", *words).exit_code == 0
    (call,) = simulation.calls
    assert call.sweep == Sweep(nodes="10,20", network="lan", seed=1, rate=rate)


@pytest.mark.skipif(os.name == "nt", reason="Windows sends no SIGINT to a child")
def test_ctrl_c_reaches_the_shell_as_130() -> None:
    code = (
        "import sys, time, types\n"
        "module = types.ModuleType('prsm_scale.runs')\n"
        "def run_sweep(*args, **kwargs):\n"
        "    print('ready', flush=True)\n"
        "    time.sleep(60)\n"
        "module.run_sweep = run_sweep\n"
        "sys.modules['prsm_scale.runs'] = module\n"
        "from prsm_scale.cli import main\n"
        "main(['sweep', '--nodes', '10', '--quiet'])\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=ENVIRONMENT,
    ) as child:
        assert child.stdout is not None
        assert child.stderr is not None
        assert child.stdout.readline() == "ready\n"
        child.send_signal(signal.SIGINT)
        assert child.wait(timeout=30) == 130
        assert "prsm-scale: interrupted" in child.stderr.read()
