"""Waiting behind other operations: the simulated queue against formulas, and what the bursts of rounds do to it."""

from __future__ import annotations

import math

import numpy as np
import pytest

from prsm_scale.capacity import work_of
from prsm_scale.courses import complete_ms
from prsm_scale.waiting import loaded, queue_waits
from tests.support import system_of

SIGMAS = 5.0


def burst(work: float, jobs: int = 1, spread_ms: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    return np.linspace(0.0, spread_ms, jobs), np.full(jobs, work / jobs)


@pytest.mark.parametrize("rho", [0.2, 0.5, 0.8])
def test_bursts_at_once_wait_as_pollaczek_and_khinchine_say(rho):
    """M/D/1, whose workload's mean has a standard error of about sqrt(4 rho / (1 - rho)**3 / bursts) of a service time here."""
    mean, share = queue_waits([burst(2.0)], 1, rho / 2.0)
    error = 2.0 * math.sqrt(4.0 * rho / (1.0 - rho) ** 3 / 200_000)
    assert abs(mean - rho * 2.0 / (2.0 * (1.0 - rho))) < SIGMAS * error
    assert share == pytest.approx(rho, abs=0.01)


def test_bursts_of_many_jobs_wait_like_one_job_but_for_what_waiting_spreads_them():
    single, many = queue_waits([burst(2.0)], 1, 0.3)[0], queue_waits([burst(2.0, jobs=20)], 1, 0.3)[0]
    assert 0.5 * single < many < single


def test_work_that_trickles_in_waits_less():
    """Seen to fail where the spread of a burst was ignored: all were then alike."""
    waits = [queue_waits([burst(2.0, jobs=20, spread_ms=spread)], 1, 0.3)[0] for spread in (1.0, 8.0, 32.0, 128.0)]
    assert waits[0] > 1.5 * waits[1] > 2.0 * waits[2] > 2.0 * waits[3] > 0.0


def test_several_rounds_wait_like_independent_streams():
    """Two bursts of half the work: the second moment halves, and with it the mean."""
    one, two = queue_waits([burst(2.0)], 1, 0.3)[0], queue_waits([burst(1.0), burst(1.0)], 1, 0.3)[0]
    assert two == pytest.approx(one / 2.0, rel=0.05)


def test_erlangs_delay_with_several_cores():
    """M/D/2 at rho 0.5: 0.0886 of a service time (tables of Kuehn, Tables on delay systems, 1976), against 0.5 with one core."""
    mean, share = queue_waits([burst(1.0)], 2, 1.0)
    assert mean == pytest.approx(0.1767 / 2.0 * 2.0, abs=0.01)
    assert share == pytest.approx(1.0 / 3.0, abs=0.02)


def test_others_that_come_in_between_slow_a_burst_down():
    """A burst that fills the CPU for as long as it lasts takes rho times its length more; one that leaves room takes no more."""
    dense, sparse = np.linspace(0.0, 10.0, 101)[:, None], np.linspace(0.0, 1000.0, 101)[:, None]
    need = np.array([101])
    for rho in (0.0, 0.5):
        assert complete_ms(dense, 1.0, need, np.array([0.1]), np.array([rho]))[0] == pytest.approx(10.1 + 10.0 * rho)
        assert complete_ms(sparse, 1.0, need, np.array([0.1]), np.array([rho]))[0] == pytest.approx(1000.1)


def test_an_idle_system_is_left_as_it_is_and_a_busy_one_waits_more():
    system = system_of(nodes=7, cores=1, network="lan", rate=0)
    work = work_of(system)
    assert loaded(system, work, 0.0, 6e4) is system
    waits = [loaded(system, work, rho / work.cpu_ms.max(), 6e4).machines.cpu_wait_ms.max() for rho in (0.2, 0.5, 0.8)]
    assert 0.0 < waits[0] < waits[1] < waits[2]


@pytest.mark.parametrize("rho", [0.94, 0.97, 1.0, 1.05, 3.0])
def test_waits_stay_bounded_at_and_above_capacity(rho):
    system = system_of(nodes=7, cores=1, network="lan", rate=0)
    work = work_of(system)
    per_ms = rho / work.cpu_ms.max()
    wait = loaded(system, work, per_ms, 6e4).machines.cpu_wait_ms.max()
    critical = (2 / 3) * math.sqrt(2 * per_ms * work.cpu_ms.max() ** 2 * 6e4 / math.pi)
    assert 0.0 < wait <= critical
    if rho > 2.0:  # far above capacity the backlog is all there is to wait for
        assert wait < 0.01 * critical
