"""The run of kernels as plain Python."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

import prsm_kernels

ROOT = Path(__file__).parents[2]


class PlainRun(NamedTuple):
    """What `plain_run` has found without compilation, and the coverage of its branches."""

    found: Path
    coverage: Path


@pytest.fixture(scope="session")
def plain_run(tmp_path_factory: pytest.TempPathFactory) -> PlainRun:
    """The run, which takes minutes."""
    folder = tmp_path_factory.mktemp("plain")
    run = PlainRun(folder / "found.npz", folder / "coverage.json")
    environment = os.environ | {
        "NUMBA_DISABLE_JIT": "1",
        "PYTHONPATH": os.pathsep.join([str(ROOT), str(Path(prsm_kernels.__file__).parents[1])]),
        "COVERAGE_FILE": str(folder / "data"),
        "PYTHONWARNINGS": "ignore",
    }
    for arguments in (
        ["run", "--branch", "--source=prsm_kernels", "-m", "tests.kernels.plain_run", str(run.found)],
        ["json", "-q", "-o", str(run.coverage)],
    ):
        command = [sys.executable, "-m", "coverage", *arguments]
        done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
    return run
