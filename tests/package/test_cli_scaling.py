"""`demo`, `suite` and `run`: what is stored and shown, failures, interruptions and bad input."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

import prsm_scale.controller.configurations as configurations
import prsm_scale.controller.running as running
from prsm_scale.cli import main
from prsm_scale.controller.config import ScalingTestConfig
from prsm_scale.errors import PrsmScaleError

QUICK: dict[str, Any] = {
    "node_counts": [4, 7, 10], "network_topology": "fully_connected", "byzantine_ratios": [0.0, 0.25], "operations": 16,
}  # fmt: skip
FILES = {".json", ".csv", ".parquet"}


def invoke(*args: str) -> Result:
    result = CliRunner().invoke(main, list(args))
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


@pytest.fixture
def three(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[ScalingTestConfig]:
    """A suite of three quick configurations, run in a folder of its own."""
    monkeypatch.chdir(tmp_path)
    kinds = {"first": "one", "second_lan": "two", "second_wan": "two"}
    configs = [ScalingTestConfig(name=name, metadata={"test_type": kind}, **QUICK) for name, kind in kinds.items()]
    monkeypatch.setattr(configurations, "comprehensive_scaling_configs", lambda: configs)
    return configs


def stored(folder: str = "scaling_test_results") -> set[str]:
    """Names of the configurations of which a folder holds whole results, and nothing else but samples of the host."""
    files = [file for file in Path(folder).iterdir() if not file.name.endswith("host_resources.parquet")]
    stems = {file.stem for file in files}
    assert {file.name for file in files} == {f"{stem}{suffix}" for stem in stems for suffix in FILES}
    return {stem.removeprefix("scaling_test_").rsplit("_", 2)[0] for stem in stems}


@pytest.mark.parametrize("threads", ["1", "2"])
def test_a_suite(three: list[ScalingTestConfig], threads: str) -> None:
    """In this process, and in two of its own."""
    done = invoke("suite", "--threads", threads)
    assert done.exit_code == 0, done.stderr
    assert stored() == {"first", "second_lan", "second_wan"}
    assert all(name in done.stdout for name in ("first", "second_lan", "second_wan", "best n", "what helped most"))
    begun = [line.split()[1].rstrip(":") for line in done.stderr.splitlines() if "6 scenarios" in line]
    assert sorted(begun) == ["first", "second_lan", "second_wan"]
    assert all(f"{place}/3 " in done.stderr for place in (1, 2, 3))


def test_some_of_a_suite(three: list[ScalingTestConfig]) -> None:
    assert invoke("suite", "--only", "two", "-q").exit_code == 0
    assert stored() == {"second_lan", "second_wan"}
    assert invoke("suite", "--only", "second_w,first", "-q", "--out", "b").exit_code == 0
    assert stored("b") == {"first", "second_wan"}
    wrong = invoke("suite", "--only", "frist")
    assert wrong.exit_code == 2
    assert wrong.stderr.count("\n") == 1 and "did you mean 'first'" in wrong.stderr


def test_the_list(three: list[ScalingTestConfig]) -> None:
    listed = invoke("suite", "--list", "--only", "two").stdout
    assert "second_lan" in listed and "4, 7, 10" in listed and "first" not in listed
    assert not Path("scaling_test_results").exists()


def test_every_ready_configuration_is_listed_whole() -> None:
    listed = invoke("suite", "--list").stdout
    assert all(f"{one.name} " in listed for one in configurations.comprehensive_scaling_configs())


def test_a_configuration_that_fails_loses_nothing(three: list[ScalingTestConfig], monkeypatch: pytest.MonkeyPatch) -> None:
    works = running.run_test

    def run_test(config: ScalingTestConfig, **how: Any) -> Any:
        if config.name == "second_lan":
            raise PrsmScaleError("the disk is full")
        return works(config, **how)

    monkeypatch.setattr(running, "run_test", run_test)
    done = invoke("suite", "--threads", "1")
    assert done.exit_code == 4
    assert stored() == {"first", "second_wan"}
    assert "error: second_lan: the disk is full" in done.stderr
    assert "1 of 3 configurations failed: second_lan" in done.stderr
    assert "second_wan" in done.stdout
    assert invoke("suite", "--only", "second_lan", "--out", "b").exit_code == 1


def test_an_interrupted_suite_says_how_to_go_on(three: list[ScalingTestConfig], monkeypatch: pytest.MonkeyPatch) -> None:
    works = running.run_test
    scenarios: list[int] = []

    def run_test(config: ScalingTestConfig, **how: Any) -> Any:
        def stop(told: Any) -> None:
            if config.name == "second_lan" and told.done >= 2:
                raise KeyboardInterrupt

        return works(config, **(how | {"progress": stop}))

    monkeypatch.setattr(running, "run_test", run_test)
    done = invoke("suite", "--threads", "1")
    assert done.exit_code == 130
    assert "interrupted; 1 of 3 configurations are in scaling_test_results" in done.stderr
    assert "prsm-scale suite --only second_lan,second_wan --out scaling_test_results" in done.stderr
    assert Path("scaling_test_results/second_lan.partial").is_dir()

    def resumed(config: ScalingTestConfig, **how: Any) -> Any:
        return works(config, **(how | {"progress": lambda told: scenarios.append(told.total)}))

    monkeypatch.setattr(running, "run_test", resumed)
    assert invoke("suite", "--only", "second_lan,second_wan", "--threads", "1").exit_code == 0
    assert set(scenarios) <= {6 - 2, 6 - 3, 6} and 6 in scenarios and min(scenarios) < 6  # two are under way together
    assert stored() == {"first", "second_lan", "second_wan"}


def test_own_configurations_and_results_run_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    lines = [f"{name} = {json.dumps(value)}" for name, value in (QUICK | {"name": "mine", "seed": 3}).items()]
    Path("mine.toml").write_text("\n".join(lines))
    first = json.loads(invoke("run", "mine.toml", "--json").stdout, parse_constant=pytest.fail)
    (file,) = Path("scaling_test_results").glob("*.json")
    second = json.loads(invoke("run", str(file), "--json", "--threads", "1").stdout, parse_constant=pytest.fail)
    assert first["config"] == second["config"]
    assert first["performance"] == second["performance"]
    assert first["provenance"]["command"].startswith("prsm-scale")


@pytest.mark.parametrize(
    ("name", "text", "told"),
    [
        ("a.toml", 'name = "a"\nnode_counts = [3]\nnetwork_topology = "msh"', ["node_counts: 3", "did you mean 'mesh'"]),
        ("a.toml", "name = ", ["a file in TOML"]),
        ("a.json", "{", ["a whole file in JSON"]),
        ("a.json", "[]", ["a JSON object with the fields"]),
        ("a.yaml", "", ["a .toml or .json file"]),
        ("a.toml", None, ["that can be read"]),
    ],
)
def test_bad_configurations(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, text: str | None, told: list[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    if text is not None:
        Path(name).write_text(text)
    done = invoke("run", name)
    assert done.exit_code == 2 and done.stdout == ""
    assert done.stderr.count("\n") == len(told) and all(words in done.stderr for words in told)
    assert not Path("scaling_test_results").exists()


def test_the_demo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    done = invoke("demo")
    assert done.exit_code == 0
    assert stored() == {"scaling_demo"}
    assert "what helped, simulated:" in done.stdout and "byzantine 0.1" in done.stdout
