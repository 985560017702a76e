"""Threads that share work: order, help for those that have work left, limits, failures."""

from __future__ import annotations

import threading
import time

import pytest

from prsm_scale.crew import Crew, Stopped


class Counted:
    """Work that takes a while, and how many threads were at it together at most."""

    def __init__(self, seconds):
        self.seconds, self.lock, self.now, self.most = seconds, threading.Lock(), 0, 0

    def __call__(self, _):
        with self.lock:
            self.now += 1
            self.most = max(self.most, self.now)
        time.sleep(self.seconds)
        with self.lock:
            self.now -= 1
        return threading.get_ident()


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_results_are_in_the_order_of_the_items(threads):
    def work(item):
        time.sleep(0.002 * (7 - item % 7))
        return item * item

    assert Crew(threads).each(work, range(20)) == [item * item for item in range(20)]
    assert Crew(threads).each(work, []) == []


def test_as_many_threads_as_asked_for_and_no_more():
    """Of work within work too."""
    crew, inner = Crew(3), Counted(0.01)
    seen = crew.each(lambda _: crew.each(inner, range(6)), range(4))
    assert inner.most == 3
    assert len({one for part in seen for one in part}) == 3
    assert threading.active_count() < 20


@pytest.mark.parametrize("mine", [0, 1])
def test_who_is_done_helps_the_others(mine):
    """One of two items shares out its work: the thread that had the other one takes part of it, the caller or its helper."""
    crew, begun, caller = Crew(2), threading.Event(), threading.get_ident()

    def part(_):
        time.sleep(0.01)
        return threading.get_ident()

    def work(item):
        if (threading.get_ident() == caller) != (mine == 0):
            begun.wait(5)
            return set()
        begun.set()
        return set(crew.each(part, range(30)))

    assert sorted(map(len, crew.each(work, [0, 1]))) == [0, 2]


def test_at_most_so_many_at_a_time():
    work = Counted(0.005)
    Crew(6).each(work, range(24), 2)
    assert work.most == 2


def test_the_first_failure_is_raised_and_the_others_are_told():
    """By the caller or a helper, at once or within shared work; those under way are waited for."""
    crew, ended = Crew(3), []

    def work(item):
        if item == 1:
            time.sleep(0.02)
            raise KeyError(item)
        for _ in range(200):
            time.sleep(0.002)
            crew.check()
        ended.append(item)

    with pytest.raises(KeyError):
        crew.each(lambda _: crew.each(work, range(9)), range(2))
    assert ended == [] and crew.stop.is_set()
    with pytest.raises(Stopped):
        crew.check()


def test_a_crew_at_work_is_taken_over():
    crew = Crew(2)
    assert Crew.of(crew) is crew and Crew.of(7).threads == 7 and Crew.of(None).threads >= 1
