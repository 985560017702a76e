"""Threads that share work."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")


class Stopped(Exception):
    """The caller asked to stop."""


@dataclass
class Crew:
    """Threads that share work, and the switch that stops them."""

    threads: int
    stop: threading.Event = field(default_factory=threading.Event)

    def each(self, work: Callable[[T], R], items: Sequence[T]) -> list[R]:
        """Results of `work` on every item, in their order; if one fails, the others are told to stop and waited for."""
        if self.threads == 1 or len(items) < 2:
            return [work(item) for item in items]
        with ThreadPoolExecutor(max(1, min(self.threads, len(items)))) as pool:
            futures = [pool.submit(work, item) for item in items]
            try:
                for future in as_completed(futures):
                    future.result()
            except BaseException:
                self.stop.set()
                pool.shutdown(wait=True, cancel_futures=True)
                raise
        return [future.result() for future in futures]

    def check(self) -> None:
        """Raise `Stopped` once the others are to stop."""
        if self.stop.is_set():
            raise Stopped
