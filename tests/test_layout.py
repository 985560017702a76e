"""Fences of the code: who imports what, when, and how long files and functions may be."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGE, KERNELS = ROOT / "prsm_scale", ROOT / "kernels"
SOURCES = sorted([*PACKAGE.rglob("*.py"), *KERNELS.rglob("*.py")])
OTHERS = sorted(path for folder in ("tests", "bench", "docs") for path in (ROOT / folder).rglob("*.py"))
HEAVY = {"numba", "scipy", "pandas", "pyarrow", "networkx", "matplotlib"}
FENCES = {
    "networkx": ("topology.py",),
    "pyarrow": ("store.py", "reading.py", "operations.py", "columns.py"),
    "rich": ("cli/", "report/"),
    "scipy.optimize": ("analysis/fits.py",),
    "matplotlib": (
        "report/plots.py",
        "report/spacetime.py",
        "report/hockey_sticks.py",
        "report/fault_timeline.py",
        "report/heat_map.py",
    ),
    "numba": (),
    "llvmlite": (),
}
KERNEL_LIBRARIES = {"numpy", "numba", "llvmlite", "prsm_kernels"}


def imports(path: Path) -> Iterator[str]:
    """Full names of all that a file imports, wherever in it, relative imports of a package left out."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def within(name: str, package: str) -> bool:
    return name == package or name.startswith(f"{package}.")


def loaded_by(code: str) -> set[str]:
    """Top-level modules that a fresh process has loaded after `code`."""
    script = f"{code}\nimport json, sys\nprint(json.dumps(sorted({{name.split('.')[0] for name in sys.modules}})))"
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(map(os.path.abspath, sys.path))}
    done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True)
    return set(json.loads(done.stdout.splitlines()[-1]))


@pytest.mark.parametrize("library", FENCES)
def test_only_its_own_modules_import_a_library(library):
    for path in PACKAGE.rglob("*.py"):
        place = path.relative_to(PACKAGE).as_posix()
        if any(within(name, library) for name in imports(path)):
            assert place.startswith(FENCES[library]), f"{place} imports {library}"


def test_kernels_import_numpy_and_numba_alone():
    allowed = KERNEL_LIBRARIES | set(sys.stdlib_module_names)
    for path in KERNELS.rglob("*.py"):
        assert {name.split(".")[0] for name in imports(path)} <= allowed, path.name


def test_kernels_load_without_the_package():
    """Even from a folder that holds nothing else, and without the libraries that prsm_scale brings."""
    banned = sorted({"prsm_scale", "scipy", "pandas", "pyarrow", "networkx", "matplotlib", "pydantic", "click", "rich"})
    block = f"import sys; sys.modules.update(dict.fromkeys({banned}))"
    loaded = loaded_by(f"{block}; import prsm_kernels; [sys.modules.pop(name) for name in {banned}]")
    assert loaded & set(banned) == set()
    assert loaded >= KERNEL_LIBRARIES


def test_kernels_is_a_plain_folder():
    assert not (KERNELS / "__init__.py").exists()


@pytest.mark.parametrize("part", ["analysis", "report", "cli"])
def test_what_reads_results_never_calls_a_kernel(part):
    for path in (PACKAGE / part).rglob("*.py"):
        assert not any(within(name, "prsm_kernels") for name in imports(path)), path.name


@pytest.mark.parametrize(
    ("code", "banned"),
    [
        ("import prsm_scale; prsm_scale.parse_nodes('10..1000')", {*HEAVY, "numpy", "pydantic", "click", "rich"}),
        ("import prsm_scale; prsm_scale.UsageError; prsm_scale.PrsmScaleError", {*HEAVY, "numpy", "pydantic"}),
        ("import prsm_scale.laws, prsm_scale.cli", {*HEAVY, "numpy", "pydantic", "rich"}),
        ("import prsm_scale; prsm_scale.Scenario(nodes=4); prsm_scale.Sweep(topology=['mesh', 'star'])", HEAVY),
    ],
    ids=["nodes", "errors", "command line", "settings"],
)
def test_heavy_libraries_load_on_use(code, banned):
    assert loaded_by(code) & banned == set()


@pytest.mark.parametrize(("paths", "longest"), [(SOURCES, 400), (OTHERS, 500)], ids=["sources", "others"])
def test_files_are_short(paths, longest):
    lengths = {str(path.relative_to(ROOT)): len(path.read_text(encoding="utf-8").splitlines()) for path in paths}
    assert {name: length for name, length in lengths.items() if length >= longest} == {}


@pytest.mark.parametrize(("folder", "longest"), [(PACKAGE, 50), (KERNELS, 60)], ids=["package", "kernels"])
def test_functions_are_short(folder, longest):
    """Docstrings left out."""
    long = []
    for path in folder.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef):
                told = ast.get_docstring(node, clean=False)
                lines = node.end_lineno - node.lineno + 1 - (len(told.splitlines()) if told else 0)
                long += [f"{path.name}: {node.name}, {lines}"] if lines >= longest else []
    assert long == []


def test_only_one_file_of_the_kernels_says_njit():
    assert [path.name for path in KERNELS.rglob("*.py") if "njit(" in path.read_text(encoding="utf-8")] == ["_jit.py"]


@pytest.mark.parametrize("command", ["plan", "recommend", "show", "suite", "compare", "history"])
def test_help_of_a_command_loads_nothing_heavy(command):
    loaded = loaded_by(f"from prsm_scale.cli import main\ntry: main(['{command}', '--help'])\nexcept SystemExit: pass")
    assert loaded & HEAVY == set()
