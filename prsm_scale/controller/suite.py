"""Runs several configurations, some at a time, each in a process of its own and stored as soon as it is done.

Threads of one process would wait for the lock of Python's interpreter: placements of faulty replicas are made in Python.
"""

from __future__ import annotations

import gc
import importlib
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.sharedctypes import RawValue
from multiprocessing.synchronize import Lock
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prsm_scale.controller.config import ScalingTestConfig
from prsm_scale.errors import PrsmScaleError
from prsm_scale.progress import Progress, weight

if TYPE_CHECKING:
    from prsm_scale.controller.result import ScalingTestResult
    from prsm_scale.controller.running import Switch

_MOST_PROCESSES = 4
"""Processes at most; where there are more processors, each has several threads."""
_BETWEEN_REPORTS_S = 0.1

_CONTEXT = multiprocessing.get_context("spawn")
"""A process that is forked would hold copies of locks that threads of this one may have taken."""

Told = Callable[[str, Progress], None]


@dataclass(frozen=True)
class Task:
    """A configuration to run.

    Attributes
    ----------
    config : ScalingTestConfig
    out : path
        Folder for its result; until that is whole, what is done is kept there.
    full : bool
        See `prsm_scale.controller.running.run_test`.
    command : str
        Likewise.
    """

    config: ScalingTestConfig
    out: Path
    full: bool
    command: str


@dataclass(frozen=True, eq=False)
class Ended:
    """A configuration that was run: its result and the JSON file of it, or why there is none."""

    config: ScalingTestConfig
    result: ScalingTestResult | None = None
    file: Path | None = None
    error: PrsmScaleError | None = None


def run_tasks(tasks: Sequence[Task], threads: int | None, told: Told) -> Generator[Ended]:
    """Run configurations, those that take longest first.

    Parameters
    ----------
    tasks : sequence of Task
        Their configurations differ in their names.
    threads : int, optional
        Default: one for each processor; shared out among processes, of which there is one for each configuration under way. With
        one thread, or one configuration, this process does the work.
    told : callable
        Called with the name of a configuration and its `Progress`, from one thread or another but never from two at once.

    Yields
    ------
    Ended
        As they end. When the caller stops iterating, what is under way stops and is kept.
    """
    threads = threads or os.cpu_count() or 1
    largest_first = sorted(tasks, key=_weight, reverse=True)
    processes = min(threads, len(tasks), _MOST_PROCESSES)
    ties = _Ties.made() if processes > 1 else None
    if ties is not None:
        yield from _in_processes(largest_first, processes, threads // processes, told, ties)
        return
    for task in largest_first:
        yield _attempt(task, threads, told)


def _weight(task: Task) -> float:
    """How long a configuration takes, beside others."""
    config = task.config
    return sum(map(weight, config.node_counts)) * len(config.network_conditions) * len(config.byzantine_ratios)


def _attempt(task: Task, threads: int, told: Told, cancel: Switch | None = None) -> Ended:
    from prsm_scale.controller import running
    from prsm_scale.controller.files import save_result

    config = task.config
    partial = task.out / f"{config.name}.partial"
    try:
        result = running.run_test(
            config,
            full=task.full,
            threads=threads,
            progress=lambda progress: told(config.name, progress),
            partial=partial,
            cancel=cancel,
            command=task.command,
        )
        file = save_result(result, task.out)
    except PrsmScaleError as error:
        return Ended(config, error=error)
    running.drop_partial(partial)
    return Ended(config, result, file)


class _Flag:
    """A switch that processes share, without a lock that one of them might hold as it is ended from outside."""

    def __init__(self, shared: Any) -> None:
        self._shared = shared

    def set(self) -> None:
        self._shared.value = True

    def is_set(self) -> bool:
        return bool(self._shared.value)


@dataclass(frozen=True, eq=False)
class _Ties:
    """What processes share with the one that began them."""

    reader: Connection
    writer: Connection
    writing: Lock
    cancel: _Flag

    @classmethod
    def made(cls) -> _Ties | None:
        """Make them; None where the system has no semaphores or shared memory, as some containers have none."""
        try:
            return cls(*_CONTEXT.Pipe(duplex=False), _CONTEXT.Lock(), _Flag(RawValue("b", False)))
        except (ImportError, OSError):
            return None


def _in_processes(tasks: Sequence[Task], processes: int, threads: int, told: Told, ties: _Ties) -> Iterator[Ended]:
    listener = threading.Thread(target=_listen, args=(ties.reader, told), daemon=True)
    listener.start()
    pool = ProcessPoolExecutor(processes, _CONTEXT, _begin_process, (ties.writer, ties.writing, ties.cancel))
    try:
        with _interrupts_held():
            under_way = {pool.submit(_attempt_here, task, threads): task for task in tasks}
        # the processes hold that end of the pipe: however they end, with the last of them nothing more is to come
        ties.writer.close()
        for future in as_completed(under_way):
            yield _ended(future, under_way[future].config)
    finally:
        ties.cancel.set()
        ties.writer.close()
        pool.shutdown(cancel_futures=True)
        listener.join()


def _ended(future: Future[Ended], config: ScalingTestConfig) -> Ended:
    try:
        return future.result()
    except BrokenProcessPool:
        why = "its process was ended from outside, perhaps for want of memory; scenarios that it had finished are kept"
        return Ended(config, error=PrsmScaleError(why))


@contextmanager
def _interrupts_held() -> Iterator[None]:
    """Hold Ctrl-C back, here until the end of the block, and for good in processes that begin in it: it is for this one."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _listen(reader: Connection, told: Told) -> None:
    with suppress(EOFError):
        while True:
            told(*reader.recv())


# In the processes.

_writer: Connection
_writing: Lock
_cancel: _Flag


def _begin_process(writer: Connection, writing: Lock, cancel: _Flag) -> None:
    global _writer, _writing, _cancel
    _writer, _writing, _cancel = writer, writing, cancel
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    # what modules hold stays: to look through it again and again for garbage takes a hundredth of the time
    importlib.import_module("prsm_scale.controller.running")
    gc.freeze()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _attempt_here(task: Task, threads: int) -> Ended:
    last = 0.0

    def tell(name: str, progress: Progress) -> None:
        nonlocal last
        if progress.done == progress.total or time.monotonic() - last >= _BETWEEN_REPORTS_S:
            with _writing:
                _writer.send((name, progress))
            last = time.monotonic()

    return _attempt(task, threads, tell, _cancel)
