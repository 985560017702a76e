"""Seconds and peak memory of whole commands, each in a process of its own.

    python bench/commands.py [--quick]

The cold sweep starts with an empty kernel cache and so includes compilation; the warm ones find what it left. Times are those of
one run, but for ``--help``, where the best of five is taken. With ``--quick`` the two largest runs are left out.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

PROGRAM = [sys.executable, "-c", "from prsm_scale.cli import main; main()"]
DEFAULT = ("sweep", "--nodes", "10..1000")


class Measured(NamedTuple):
    """A run of a command."""

    seconds: float
    peak_mb: float


def measure(words: tuple[str, ...], folder: Path) -> Measured:
    """Run a command in `folder`, its kernel cache included, and wait for it alone."""
    environment = os.environ | {"NUMBA_CACHE_DIR": str(folder / "cache")}
    begun = time.perf_counter()
    child = subprocess.Popen(
        [*PROGRAM, *words], cwd=folder, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    _, status, usage = os.wait4(child.pid, 0)
    seconds = time.perf_counter() - begun
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode:
        raise SystemExit(f"{' '.join(words)} ended with {child.returncode}")
    unit = 1 if sys.platform == "darwin" else 1024
    return Measured(seconds, usage.ru_maxrss * unit / 2**20)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true")
    quick = parser.parse_args().quick
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        runs = [("--help", min(measure(("--help",), folder) for _ in range(5)))]
        small = ("sweep", "--nodes", "10..100")
        for told, words in (("cold", small if quick else DEFAULT), ("warm", small if quick else DEFAULT)):
            runs.append((f"{' '.join(words)}, {told}", measure(words, folder)))
        if not quick:
            large = ("sweep", "--nodes", "5000", "--operations", "16")
            runs.append((" ".join(large), measure(large, folder)))
    width = max(len(told) for told, _ in runs)
    print(f"{'command':{width}}  {'s':>7}  {'peak MB':>7}")
    for told, run in runs:
        print(f"{told:{width}}  {run.seconds:7.2f}  {run.peak_mb:7.0f}")


if __name__ == "__main__":
    main()
