"""The disk cache: never stale, never in the way, never in the way of others' files."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import prsm_kernels

RUN = """
import json
import numpy as np
from prsm_kernels import Law, _jit, sample_hops
from prsm_kernels.codes import LAW_EXPONENTIAL

zero, one = np.float32(0), np.float32(1)
law = Law(LAW_EXPONENTIAL, one, zero, zero, np.zeros(1, np.float32), zero, zero, True)
out = np.empty(16, np.float32)
sample_hops(np.array([1, 2], np.uint32), np.zeros(1, np.float32), np.zeros(1, np.float32), law, out)
stats = getattr(sample_hops, "stats", None)
print(json.dumps({
    "delays": out.tolist(), "directory": _jit.CACHE_DIRECTORY,
    "hits": sum(stats.cache_hits.values()) if stats else 0, "misses": sum(stats.cache_misses.values()) if stats else 0,
}))
"""
IMPORT = "import json; from prsm_kernels import _jit; print(json.dumps({'directory': _jit.CACHE_DIRECTORY}))"


@pytest.fixture
def package(tmp_path):
    """A copy of the kernels that a test may edit."""
    folder = tmp_path / "code" / "prsm_kernels"
    shutil.copytree(Path(prsm_kernels.__file__).parent, folder, ignore=shutil.ignore_patterns("__pycache__"))
    return folder


def run(package, script=RUN, **environment):
    """Run a script in a process of its own, on the copied package."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("NUMBA_")}
    done = subprocess.run(
        [sys.executable, "-B", "-c", script],
        env=kept | {"PYTHONPATH": str(package.parent)} | {name: str(value) for name, value in environment.items()},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def edit(file, pattern, replacement):
    text, count = re.subn(pattern, replacement, file.read_text())
    assert count == 1
    file.write_text(text)


def test_an_edited_callee_gives_the_new_answer(package, tmp_path):
    """`sample_hops` in delay.py calls the generator in rng.py; Numba by itself would look at delay.py alone.

    Seen to fail with a cache directory that has no digest in its name: the old answer came back.
    """
    cache = {"NUMBA_CACHE_DIR": tmp_path / "cache"}
    first = run(package, **cache)
    again = run(package, **cache)
    assert (first["misses"], again["hits"], again["misses"]) == (1, 1, 0)
    assert again["delays"] == first["delays"] and again["directory"] == first["directory"]

    edit(package / "rng.py", "0x1BD11BDA", "0x1BD11BDB")
    edited = run(package, **cache)
    assert edited["delays"] != first["delays"]
    plain = run(package, NUMBA_DISABLE_JIT=1)
    assert np.allclose(edited["delays"], plain["delays"], rtol=1e-6)

    edit(package / "rng.py", "0x1BD11BDB", "0x1BD11BDA")
    back = run(package, **cache)
    assert back["delays"] == first["delays"] and back["hits"] == 1


@pytest.mark.parametrize("variable", ["NUMBA_CACHE_DIR", "XDG_CACHE_HOME"])
def test_an_unwritable_cache_falls_back_to_a_private_folder(package, tmp_path, variable):
    """A path below a file can be made by nobody, root included."""
    (tmp_path / "file").write_text("")
    (tmp_path / "tmp").mkdir()
    found = run(package, IMPORT, TMPDIR=tmp_path / "tmp", **{variable: tmp_path / "file" / "cache"})
    directory = Path(found["directory"])
    assert directory.is_dir() and directory.is_relative_to(tmp_path / "tmp")
    if os.name == "posix":
        assert directory.stat().st_mode & 0o077 == 0


def test_nothing_is_cached_or_made_without_compiling(package, tmp_path):
    found = run(package, IMPORT, NUMBA_CACHE_DIR=tmp_path / "cache", NUMBA_DISABLE_JIT=1)
    assert found["directory"] == "" and not (tmp_path / "cache").exists()


def digest_folder(base, digit, age_s):
    folder = base / (digit * 20)
    folder.mkdir(parents=True)
    (folder / "old.nbi").write_text("")
    stamp = folder.stat().st_mtime - age_s
    os.utime(folder, (stamp, stamp))
    return folder


def test_old_digests_are_pruned(package, tmp_path):
    """The four newest stay, this package's own among them."""
    first = Path(run(package, IMPORT, NUMBA_CACHE_DIR=tmp_path / "cache")["directory"])
    folders = [digest_folder(first.parent, digit, age_s) for age_s, digit in enumerate("abcdef", start=100)]
    assert Path(run(package, IMPORT, NUMBA_CACHE_DIR=tmp_path / "cache")["directory"]) == first
    assert [folder.exists() for folder in folders] == [True, True, True, False, False, False]
    assert first.exists()


def test_folders_of_others_are_never_pruned(package, tmp_path):
    """NUMBA_CACHE_DIR may be full of other things: only names that are digests are this package's to remove."""
    first = Path(run(package, IMPORT, NUMBA_CACHE_DIR=tmp_path / "cache")["directory"])
    others = [first.parent / name for name in ("x" * len(first.name), "measurements-of-2024", "numba-of-someone", "file")]
    for other in others[:-1]:
        other.mkdir()
        os.utime(other, (1, 1))
    others[-1].write_text("")
    for age_s, digit in enumerate("abcdef", start=100):
        digest_folder(first.parent, digit, age_s)
    run(package, IMPORT, NUMBA_CACHE_DIR=tmp_path / "cache")
    assert all(other.exists() for other in others)
