"""Threads that share work."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

T = TypeVar("T")
R = TypeVar("R")


class Stopped(Exception):
    """The caller asked to stop."""


class _Share:
    """Items of work, claimed one after another."""

    def __init__(self, work: Callable[[Any], Any], items: Sequence[Any], most: int) -> None:
        self.work, self.items, self.most = work, items, most
        self.results: list[Any] = [None] * len(items)
        self.claimed, self.helping = 0, 0
        self.error: BaseException | None = None

    @property
    def open(self) -> bool:
        """Whether there is an item for a helper to claim."""
        return self.left and self.helping < self.most - 1

    @property
    def left(self) -> bool:
        """Whether there is an item to claim."""
        return self.error is None and self.claimed < len(self.items)


class Crew:
    """Threads that share work, the caller among them, and the switch that stops them.

    Work that is itself shared out goes to those who have nothing left to do, so that no more threads than these ever compute.

    Parameters
    ----------
    threads : int, optional
        Default: one for each processor.
    """

    def __init__(self, threads: int | None = None) -> None:
        self.threads = threads or os.cpu_count() or 1
        self.stop = threading.Event()
        self._turn = threading.Condition()
        self._shares: list[_Share] = []
        self._helpers = 0

    @classmethod
    def of(cls, threads: int | Crew | None) -> Crew:
        """So many threads, or those of a crew that is at work already."""
        return threads if isinstance(threads, Crew) else cls(threads)

    def each(self, work: Callable[[T], R], items: Sequence[T], most: int | None = None) -> list[R]:
        """Results of `work` on every item, in their order, at most so many at a time.

        If one fails, the others are told to stop and waited for.
        """
        most = min(self.threads, len(items), most or self.threads)
        if most < 2:
            return [work(item) for item in items]
        share = _Share(work, items, most)
        with self._turn:
            self._shares.append(share)
            for _ in range(most - 1 - self._helpers):
                self._helpers += 1
                threading.Thread(target=self._help, daemon=True).start()
            self._turn.notify_all()
        try:
            while self._claim(share):
                pass
        except BaseException as error:
            self._fail(share, error)
        self._see_out(share)
        if share.error is not None:
            raise share.error
        return share.results

    def check(self) -> None:
        """Raise `Stopped` once the others are to stop."""
        if self.stop.is_set():
            raise Stopped

    def _claim(self, share: _Share) -> bool:
        """Do one item, if one is left."""
        with self._turn:
            if not share.left:
                return False
            place, share.claimed = share.claimed, share.claimed + 1
        share.results[place] = share.work(share.items[place])
        return True

    def _fail(self, share: _Share, error: BaseException) -> None:
        with self._turn:
            # who was only told to stop may be the first to say so
            if share.error is None or isinstance(share.error, Stopped):
                share.error = error
            self.stop.set()

    def _see_out(self, share: _Share) -> None:
        """Wait for the helpers of one's own share, and meanwhile help with what these may have shared out since."""
        while True:
            with self._turn:
                later = None
                while share.helping and not (later := self._found(self._shares.index(share) + 1)):
                    self._turn.wait()
                if later is None:
                    self._shares.remove(share)
                    self._turn.notify_all()
                    return
                later.helping += 1
            self._lend_a_hand(later)

    def _help(self) -> None:
        """Do what others have shared out, the oldest first, until there is nothing."""
        while True:
            with self._turn:
                while not (share := self._found(0)):
                    if not self._shares:
                        self._helpers -= 1
                        return
                    self._turn.wait()
                share.helping += 1
            self._lend_a_hand(share)

    def _found(self, begin: int) -> _Share | None:
        """The oldest share with an item for a helper, the first `begin` left out; called with the lock held."""
        return next((one for one in self._shares[begin:] if one.open), None)

    def _lend_a_hand(self, share: _Share) -> None:
        """Do an item of a share whose helpers one has been counted among."""
        try:
            self._claim(share)
        except BaseException as error:
            self._fail(share, error)
        with self._turn:
            share.helping -= 1
            self._turn.notify_all()
