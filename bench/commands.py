"""Seconds and peak memory of whole commands, each in a process of its own, with the processes that it starts.

The cold sweep starts with an empty kernel cache and so includes compilation, the cold suite lacks what the sweep has not
compiled; the warm ones find what these left. Times are those of
one run, but for ``--help``, where the best of five is taken.
"""

import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import psutil

_BETWEEN_SAMPLES_S = 0.02
PROGRAM = [sys.executable, "-c", "from prsm_scale.cli import main; main()"]


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
    ended, held_mb = threading.Event(), [0.0]
    watch = threading.Thread(target=_watch, args=(psutil.Process(child.pid), ended, held_mb))
    watch.start()
    _, status, usage = os.wait4(child.pid, 0)
    seconds = time.perf_counter() - begun
    ended.set()
    watch.join()
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode:
        raise SystemExit(f"{' '.join(words)} ended with {child.returncode}")
    unit = 1 if sys.platform == "darwin" else 1024
    return Measured(seconds, max(*held_mb, usage.ru_maxrss * unit / 2**20))


def _watch(process: psutil.Process, ended: threading.Event, held_mb: list[float]) -> None:
    """Note what a process and those that it starts hold, until it has ended."""
    while not ended.wait(_BETWEEN_SAMPLES_S):
        held_mb.append(_held_mb(process))


def _held_mb(process: psutil.Process) -> float:
    """Memory of a process and those that it has started."""
    held = 0.0
    with suppress(psutil.Error):
        for one in (process, *process.children(recursive=True)):
            with suppress(psutil.Error):
                held += one.memory_info().rss / 2**20
    return held


def report(quick: bool) -> Iterator[str]:
    """Lines of the table; `quick` sweeps to n = 100, tests one configuration, and leaves the largest run out."""
    sweep = ("sweep", "--nodes", "10..100" if quick else "10..1000")
    large = ("sweep", "--nodes", "5000", "--operations", "16")
    suite = ("suite", "--quiet", *(("--only", "network_impact_lan") if quick else ()))
    runs = [(" ".join(words), state, words) for words in (sweep, suite) for state in (", cold", ", warm")]
    runs += [] if quick else [(" ".join(large), "", large)]
    width = max(len(told + state) for told, state, _ in runs)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        yield f"{'command':{width}}  {'s':>7}  {'peak MB':>7}"
        yield _line("--help", min(measure(("--help",), folder) for _ in range(5)), width)
        for told, state, words in runs:
            yield _line(told + state, measure(words, folder), width)


def _line(told: str, run: Measured, width: int) -> str:
    return f"{told:{width}}  {run.seconds:7.2f}  {run.peak_mb:7.0f}"
