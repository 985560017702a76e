"""Runs several configurations, some at a time, each in a process of its own and stored as soon as it is done.

Threads of one process would wait for the lock of Python's interpreter: placements of faulty replicas are made in Python.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.queues import SimpleQueue
from multiprocessing.synchronize import Event
from pathlib import Path
from typing import TYPE_CHECKING

from prsm_scale.controller.config import ScalingTestConfig
from prsm_scale.errors import PrsmScaleError
from prsm_scale.progress import Progress

if TYPE_CHECKING:
    from prsm_scale.controller.result import ScalingTestResult

_MOST_PROCESSES = 4
"""Processes at most; where there are more processors, each has several threads."""
_BETWEEN_REPORTS_S = 0.1

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
    if processes > 1:
        yield from _in_processes(largest_first, processes, threads // processes, told)
        return
    for task in largest_first:
        yield _attempt(task, threads, told)


def _weight(task: Task) -> int:
    """How long a configuration takes, beside others."""
    config = task.config
    return sum(nodes**2 for nodes in config.node_counts) * len(config.network_conditions) * len(config.byzantine_ratios)


def _attempt(task: Task, threads: int, told: Told, cancel: Event | None = None) -> Ended:
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


def _in_processes(tasks: Sequence[Task], processes: int, threads: int, told: Told) -> Generator[Ended]:
    # a process that is forked would hold copies of locks that threads of this one may have taken
    context = multiprocessing.get_context("spawn")
    reports: SimpleQueue[tuple[str, Progress] | None] = context.SimpleQueue()
    cancel = context.Event()
    listener = threading.Thread(target=_listen, args=(reports, told), daemon=True)
    listener.start()
    pool = ProcessPoolExecutor(processes, context, _begin_process, (reports, cancel))
    try:
        with _interrupts_held():
            under_way = {pool.submit(_attempt_here, task, threads): task for task in tasks}
        for future in as_completed(under_way):
            yield _ended(future, under_way[future].config)
    finally:
        cancel.set()
        pool.shutdown(cancel_futures=True)
        reports.put(None)
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


def _listen(reports: SimpleQueue[tuple[str, Progress] | None], told: Told) -> None:
    while (report := reports.get()) is not None:
        told(*report)


# In the processes.

_reports: SimpleQueue[tuple[str, Progress] | None]
_cancel: Event


def _begin_process(reports: SimpleQueue[tuple[str, Progress] | None], cancel: Event) -> None:
    global _reports, _cancel
    _reports, _cancel = reports, cancel
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()


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
            _reports.put((name, progress))
            last = time.monotonic()

    return _attempt(task, threads, tell, _cancel)
