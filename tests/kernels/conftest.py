"""The run of kernels as plain Python."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

import prsm_kernels

ROOT = Path(__file__).parents[2]


class PlainRun:
    """`plain_run` without compilation, under way, and the coverage of its branches."""

    def __init__(self) -> None:
        self._place = tempfile.TemporaryDirectory()
        self.folder = Path(self._place.name)
        self.found, self.coverage = self.folder / "found.npz", self.folder / "coverage.json"
        self._environment = os.environ | {
            "NUMBA_DISABLE_JIT": "1",
            "PYTHONPATH": os.pathsep.join([str(ROOT), str(Path(prsm_kernels.__file__).parents[1])]),
            "COVERAGE_FILE": str(self.folder / "data"),
            "PYTHONWARNINGS": "ignore",
        }
        arguments = ["run", "--branch", "--source=prsm_kernels", "-m", "tests.kernels.plain_run", str(self.found)]
        with (self.folder / "printed").open("w") as printed:
            self._process = subprocess.Popen(
                self._command(*arguments), cwd=ROOT, env=self._environment, stdout=printed, stderr=subprocess.STDOUT
            )

    def end(self) -> None:
        """Wait until it is done."""
        assert self._process.wait() == 0, (self.folder / "printed").read_text()
        command = self._command("json", "-q", "-o", str(self.coverage))
        done = subprocess.run(command, cwd=ROOT, env=self._environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr

    def close(self) -> None:
        """Stop it, if nobody has waited."""
        self._process.kill()
        self._process.wait()
        self._place.cleanup()

    @staticmethod
    def _command(*arguments: str) -> list[str]:
        return [sys.executable, "-m", "coverage", *arguments]


@pytest.fixture(scope="session")
def plain_run() -> Iterator[PlainRun]:
    """The run, once it is done."""
    run = PlainRun()
    try:
        run.end()
        yield run
    finally:
        run.close()
