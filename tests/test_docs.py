"""The pages agree with the code: columns, commands, axes, links, kernels."""

from __future__ import annotations

import json
import re
import runpy
import shlex
import subprocess
import tomllib
from pathlib import Path

import pytest
from click.testing import CliRunner

import prsm_kernels
import prsm_scale
from prsm_scale import axes
from prsm_scale.cli import main
from prsm_scale.config import AXES, DEFAULT_NODES, Scenario
from prsm_scale.environments import CONDITIONS
from prsm_scale.resources import PROFILES
from tests.e2e.program import ROOT, code_blocks

README = (ROOT / "README.md").read_text(encoding="utf-8")
PAGES = sorted(path for path in ROOT.rglob("*.md") if not any(part.startswith(".") for part in path.relative_to(ROOT).parts))
SHELL = code_blocks(ROOT / "README.md", "sh")
COMMANDS = [line for block in SHELL for line in block.splitlines() if line.startswith("prsm-scale ")]


def test_columns_page_is_up_to_date():
    """If not: python docs/make.py --columns."""
    page = runpy.run_path(str(ROOT / "docs" / "make.py"))["columns_page"]()
    assert (ROOT / "docs" / "columns.md").read_text(encoding="utf-8") == page


@pytest.mark.parametrize("command", COMMANDS)
def test_commands_of_the_readme_are_accepted(command, monkeypatch):
    monkeypatch.chdir(ROOT)
    words = [word for word in shlex.split(command)[1:] if word != "--json"]
    result = CliRunner().invoke(main, [*words, "--dry-run", "--json"])
    assert result.exit_code == 0, result.stderr
    assert json.loads(result.stdout)["scenarios"]


def test_commands_of_a_fresh_machine():
    first, tests = SHELL[:2]
    assert first == "python3 -m venv .venv && .venv/bin/pip install -q . && .venv/bin/prsm-scale sweep --nodes 10..1000\n"
    assert tests == "bash .ci/test\n"
    for script in ("test", "run"):
        subprocess.run(["bash", "-n", ROOT / ".ci" / script], check=True)
        assert "set -euo pipefail" in (ROOT / ".ci" / script).read_text()


def test_axes_of_the_readme_are_those_of_a_sweep():
    table = README.split("\n## Axes\n")[1].split("\n## ")[0]
    flags = set(re.findall(r"^\| .*?\|", table, re.MULTILINE))
    named = set(re.findall(r"`--([a-z-]+)`", "".join(flags)))
    assert named == {axis.replace("_", "-").replace("byzantine-ratio", "byzantine") for axis in AXES}
    kinds = (axes.Topology, axes.Network, axes.Environment, axes.Profile, axes.Dissemination, axes.Authentication)
    for kind in kinds:
        for value in set(kind) - axes.NOT_AVAILABLE_YET:
            assert f"`{value}`" in table
    for name in AXES:
        default = DEFAULT_NODES if name == "nodes" else Scenario.model_fields[name].default
        shown = "auto" if default is None else f"{default:g}" if isinstance(default, float) else str(default)
        assert re.search(rf"\*\*`?{re.escape(shown)}`?\*\*", table), name


def test_conditions_and_profiles_of_the_readme_are_those_of_the_code():
    for name, condition in CONDITIONS.items():
        if name != "ideal":
            told = f"{condition.min_ms:g}-{condition.max_ms:g} ms, {100 * condition.loss:g} %"
            row = re.search(rf"`{name}`\S* ([^;|]*)", README).group(1)
            assert row.startswith(told) and row.strip().endswith(f"{condition.bandwidth_mbps:g} Mbit/s")
    for name, profile in PROFILES.items():
        assert re.search(rf"`{name}`\S* {profile.cores}\b", README)


@pytest.mark.parametrize("page", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_and_files_named_are_there(page):
    text = page.read_text(encoding="utf-8")
    links = re.findall(r"\]\(([^)#]+)\)", text)
    assert all((page.parent / link).exists() for link in links if "://" not in link)
    named = re.findall(r"`((?:tests|docs|bench|prsm_scale|notebooks|prsm_kernels|\.ci)/[\w./]+)`", text)
    for name in named:
        assert any((base / name).exists() for base in (ROOT, ROOT / "kernels")), name


def test_every_public_kernel_is_in_the_catalogue():
    page = (ROOT / "kernels" / "README.md").read_text(encoding="utf-8")
    catalogue = page.split("\n## Catalogue\n")[1]
    for name in prsm_kernels.__all__:
        assert re.search(rf"`{name}[`(]", catalogue), name
    for name in set(re.findall(r"^\| `(\w+)\(", catalogue, re.MULTILINE)):
        assert name in prsm_kernels.__all__


def test_every_kernel_file_is_in_the_catalogue():
    page = (ROOT / "kernels" / "README.md").read_text(encoding="utf-8")
    files = {path.name for path in Path(prsm_kernels.__file__).parent.glob("*.py")} - {"__init__.py"}
    assert files == set(re.findall(r"`(\w+\.py)`", page.split("\n## Files\n")[1]))


def test_public_names_and_version():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert project["version"] == prsm_scale.__version__
    assert f"## [{prsm_scale.__version__}]" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert all(getattr(prsm_scale, name) is not None for name in prsm_scale.__all__)
    assert set(prsm_scale.__all__) <= set(dir(prsm_scale))
    with pytest.raises(AttributeError, match="nothing"):
        _ = prsm_scale.nothing
