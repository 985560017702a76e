"""`prsm-scale load`, and `show` and `fit` on what it stores: tables, plots, figures, errors, exit codes."""

from __future__ import annotations

import json
import os
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result
from rich.console import Console, RenderableType

from prsm_scale.cli import main
from prsm_scale.cli.output import series_over_load
from prsm_scale.errors import SweepInterrupted
from prsm_scale.report.hockey_sticks import draw
from prsm_scale.report.load_curve import load_plot, load_summary, load_table
from prsm_scale.report.tables import WIDTH
from prsm_scale.report.textplot import MARKS
from prsm_scale.store import load

SMALL = ("load", "--nodes", "4,7", "--network", "lan", "--profile", "minimal", "--operations", "64")
LOADS = ("--loads", "0.2,0.5,0.8,0.9,0.95,1.2")


def invoke(*args: str) -> Result:
    result = CliRunner().invoke(main, list(args))
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


def rendered(*parts: RenderableType) -> str:
    console = Console(width=WIDTH, markup=False, highlight=False)
    with console.capture() as capture:
        for part in parts:
            console.print(part)
    return capture.get()


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Result]:
    """A stored run, and what the command that made it said."""
    folder = tmp_path_factory.mktemp("load")
    before = os.getcwd()
    os.chdir(folder)
    try:
        result = invoke(*SMALL, *LOADS, "--plot", "curve.svg")
    finally:
        os.chdir(before)
    assert result.exit_code == 0, result.stderr
    (run,) = (folder / "results").iterdir()
    return run, result


@pytest.fixture
def stored(made: tuple[Path, Result], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return Path(shutil.copytree(made[0], tmp_path / "results" / made[0].name))


@pytest.fixture
def nothing_runs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def run(*args: Any, **settings: Any) -> None:
        pytest.fail("something was simulated")

    monkeypatch.setattr("prsm_scale.load_runs.run_loads", run)
    monkeypatch.chdir(tmp_path)


def test_load_prints_tables_plot_fits_and_folder(made: tuple[Path, Result]) -> None:
    run, result = made
    text = result.stdout
    assert result.stderr == "nodes 4, 7; loads 0.2, 0.5, 0.8, 0.9, 0.95, 1.2; scenarios: 14\nfigure in curve.svg\n"
    assert max(map(len, text.splitlines())) <= WIDTH
    heading = ["load", "offered", "ops/s", "ops/s", "p50", "ms", "mean", "ms", "p99", "ms", "success"]
    assert sum(line.split() == heading for line in text.splitlines()) == 2
    assert re.findall(r"^n = \d+$", text, re.MULTILINE) == ["n = 4", "n = 7"] * 2
    assert len(re.findall(r"^capacity [\d,.]+ ops/s, set by \w+; mean latency when idle [\d.]+ ±", text, re.MULTILINE)) == 2
    assert len(re.findall(r"^ *0\.95  ", text, re.MULTILINE)) == 2
    assert len(re.findall(r"^fit .* rho / \(2 \(1 - rho\)\) ms", text, re.MULTILINE)) == 2
    assert len(re.findall(r"^knee of the fit +load 0\.\d+ \[", text, re.MULTILINE)) == 2
    assert text.count("such loads are left out of the fit") == 2
    assert text.endswith(f"14 scenarios in results/{run.name}\n")


def test_the_first_column_adds_up_with_the_others(stored: Path) -> None:
    """Offered rate over load is the capacity, line by line, and the mean lies between idle and p99."""
    for series in series_over_load(load(stored)):
        capacity = series.rows[0]["saturation_ops_per_second"]
        lines = rendered(load_table(series)).splitlines()[3:9]
        for line in lines:
            share, offered, achieved, *_ = (float(word.replace(",", "")) for word in line.split()[:3])
            assert offered == pytest.approx(share * capacity, rel=0.01)
            assert achieved == pytest.approx(min(offered, capacity), rel=0.05)
        assert [line.split()[0] for line in lines] == ["0.20", "0.50", "0.80", "0.90", "0.95", "1.20"]


def test_show_and_fit_tell_the_same_again(made: tuple[Path, Result], stored: Path) -> None:
    assert invoke("show", stored.name).stdout == made[1].stdout
    told = invoke("fit", stored.name).stdout
    findings = [line for line in made[1].stdout.splitlines() if re.match("fit|knee", line)]
    assert len(findings) == 6
    assert set(findings) <= set(told.splitlines())


def test_json_is_one_strict_document(stored: Path) -> None:
    document = json.loads(invoke("show", stored.name, "--json").stdout, parse_constant=pytest.fail)
    assert [row["load"] for row in document["scenarios"]] == [0.0, 0.2, 0.5, 0.8, 0.9, 0.95, 1.2] * 2
    assert [(fit["law"], fit["nodes_min"]) for fit in document["fits"]] == [("queueing", 4), ("queueing", 7)]
    again = json.loads(invoke("fit", stored.name, "--json").stdout, parse_constant=pytest.fail)
    assert again["fits"] == [fit | {"run_id": stored.name} for fit in document["fits"]]
    made = json.loads(invoke(*SMALL, "--loads", "0.5", "--json").stdout, parse_constant=pytest.fail)
    assert [row["load"] for row in made["scenarios"]] == [0.0, 0.5] * 2


@pytest.mark.parametrize("suffix", [".png", ".svg", ".pdf"])
def test_show_writes_the_same_figure_again(stored: Path, tmp_path: Path, suffix: str) -> None:
    files = [tmp_path / f"{name}{suffix}" for name in "ab"]
    for file in files:
        assert invoke("show", stored.name, "--plot", str(file)).exit_code == 0
    assert files[0].read_bytes() == files[1].read_bytes() != b""


def test_the_figure_shows_each_system_its_fit_and_its_knee(stored: Path) -> None:
    series = series_over_load(load(stored))
    (panel,) = draw(series).axes
    drawn = {(line.get_linestyle(), line.get_marker()): line for line in panel.lines if line.get_color() == "#d55e00"}
    (fit,) = series[1].fits
    curve, knee, capacity = drawn["-", "None"], drawn["None", "*"], drawn[":", "None"]
    throughput, latency = np.asarray(curve.get_xdata()), np.asarray(curve.get_ydata())
    rho = throughput / fit["capacity_ops_per_second"]
    assert latency == pytest.approx(fit["base_latency_ms"] + fit["wait_scale_ms"] * rho / (2 * (1 - rho)))
    assert (rho[0], rho[-1]) == pytest.approx((0.2, max(0.95, fit["knee_load"])))
    assert knee.get_xydata().tolist() == [[fit["knee_ops_per_second"], fit["knee_latency_ms"]]]
    assert np.interp(fit["knee_ops_per_second"], throughput, latency) == pytest.approx(fit["knee_latency_ms"], rel=1e-3)
    assert set(capacity.get_xdata()) == {series[1].rows[0]["saturation_ops_per_second"]}
    assert [row["p99_latency_ms"] for row in series[1].rows[1:]] == list(drawn["--", "None"].get_ydata())


def test_the_plot_of_characters_leaves_overload_out(stored: Path) -> None:
    series = series_over_load(load(stored))
    (plot,) = load_plot(series)
    lines = str(plot).splitlines()
    assert lines[-2:] == [f"{MARKS[0]} n = 4", f"{MARKS[1]} n = 7"]
    assert lines[-3].split() == ["0.2", "load", "0.95"]
    assert load_plot([]) == []


def test_one_system_is_shown_without_its_name(stored: Path) -> None:
    run = load(stored)
    alone = series_over_load(run)[0].__class__("", *(getattr(series_over_load(run)[0], name) for name in ("rows", "fits")))
    assert "n = 4" not in rendered(load_table(alone), load_summary(alone), *load_plot([alone]))


def test_a_system_that_cannot_be_loaded_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    bounds_nothing = invoke(
        "load", "--nodes", "4", "--network", "ideal", "--free-cpu", "--bandwidth-mbps", "inf", "--operations", "16"
    )
    assert "nothing bounds its capacity" in bounds_nothing.stdout
    too_small = invoke("load", "--nodes", "4", "--memory-mb", "1", "--plot", "empty.png")
    assert re.search(r"^needs \d+ MB of memory, profile", too_small.stdout, re.MULTILINE)
    assert (bounds_nothing.exit_code, too_small.exit_code) == (0, 0)
    assert invoke("fit", sorted(os.listdir("results"))[0]).stdout == "nothing to fit: a curve needs scenarios at some load\n"


@pytest.mark.parametrize(
    ("args", "line"),
    [
        ("--loads 0..0.5", "loads: '0..0.5' is not allowed: fractions of the capacity, more than 0 and less than 2"),
        ("--loads 2", "loads: '2' is not allowed: fractions of the capacity, more than 0 and less than 2"),
        ("--loads 0.9..0.1", "loads: '0.9..0.1' is not allowed: a range that rises"),
        ("--loads a", "loads: 'a' is not allowed: a number (0.5), list (0.1,0.5,0.9), "),
        ("--loads 0.1..0.9/1", "loads: '0.1..0.9/1' is not allowed: 2 to 1000 points"),
        ("--nodes 3", "nodes: '3' is not allowed: whole numbers from 4 to 1000000"),
        ("--rate 5", "No such option '--rate'"),
        ("--clients 5", "No such option '--clients'"),
        ("--topology msh", "topology: 'msh' is not allowed: one of "),
        ("--plot a.gif", "plot: 'a.gif' is not allowed: a file that ends in .png, .svg, .pdf"),
        ("--config none.toml", "config: 'none.toml' is not allowed: a TOML file that can be read ("),
        ("--resume none", "run: 'none' is not allowed: a folder that holds a run"),
        ("--threads 0", "Invalid value for '--threads': 0 is not in the range x>=1."),
    ],
)
@pytest.mark.usefixtures("nothing_runs")
def test_bad_usage_is_one_line(args: str, line: str) -> None:
    result = invoke("load", *args.split())
    assert (result.exit_code, result.stdout) == (2, "")
    (told,) = result.stderr.splitlines()
    assert told.startswith(f"prsm-scale: error: {line}")


@pytest.mark.usefixtures("nothing_runs")
def test_a_file_may_hold_loads_and_no_rate(tmp_path: Path) -> None:
    (tmp_path / "loads.toml").write_text('nodes = [4, 7]\nloads = "0.5,0.9"\n')
    plan = json.loads(invoke("load", "--config", "loads.toml", "--loads", "0.7", "--dry-run", "--json").stdout)
    assert ([one["nodes"] for one in plan["scenarios"]], plan["loads"]) == ([4, 7], [0.7])
    assert "loads 0.5, 0.9; scenarios: 6" in invoke("load", "--config", "loads.toml", "--dry-run").stdout
    (tmp_path / "rate.toml").write_text("rate = 5\n")
    assert "rate: (5.0,) is not allowed: left out" in invoke("load", "--config", "rate.toml").stderr


def test_quiet_load_prints_the_folder_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    result = invoke(*SMALL, "--loads", "0.5", "--quiet")
    assert result.stderr == ""
    assert Path(result.stdout.strip()).is_dir()


def test_interrupted_load_exits_130_and_goes_on(stored: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = (stored / "scenarios.json").read_text()
    rows, provenance = json.loads(lines)["scenarios"], json.loads(lines)["provenance"]
    (stored / "journal.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in (provenance, *rows[:3])))
    told = f"go on with: prsm-scale load --resume results/{stored.name}"
    shown = invoke("show", stored.name)
    assert shown.stderr == f"unfinished; {told}\n"
    assert shown.stdout.endswith(f"3 scenarios in results/{stored.name}\n")

    def stop(*args: Any, **settings: Any) -> None:
        raise SweepInterrupted(Path("results") / stored.name, 3, 14)

    with monkeypatch.context() as patch:
        patch.setattr("prsm_scale.load_runs._run_all", stop)
        stopped = invoke("load", "--resume", stored.name, "--quiet")
    assert (stopped.exit_code, stopped.stdout) == (130, "")
    assert stopped.stderr.splitlines() == [f"prsm-scale: interrupted; 3 of 14 scenarios are in results/{stored.name}", told]
    gone_on = invoke("load", "--resume", stored.name, "--json")
    assert [row["load"] for row in json.loads(gone_on.stdout)["scenarios"]] == [0.0, 0.2, 0.5, 0.8, 0.9, 0.95, 1.2] * 2


def test_runs_of_sweep_and_of_load_are_told_apart(stored: Path, sample_row: Any, sample_run: Any) -> None:
    other = sample_run(Path("results"), [sample_row(10), sample_row(20)])
    assert "loads" in invoke("sweep", "--resume", stored.name).stderr
    result = invoke("load", "--resume", other.path.name)
    assert result.exit_code == 2
    assert result.stderr == "prsm-scale: error: resume: 'sample' is not allowed: a run of load\n"
