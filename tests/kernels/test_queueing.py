"""FIFO queues on lanes against a plain server with c cores, one message and one operation at a time."""

from __future__ import annotations

import heapq

import numpy as np
import pytest

from prsm_kernels import LANES, handled_ms, sort_lanes
from prsm_kernels._jit import kernel
from prsm_kernels.lanes import load, spread, store
from prsm_kernels.queueing import mark, serve, start_job

RNG = np.random.default_rng(20_240_520)
STEP = 1 / 64
"""Times are multiples of this, so that float32 sums are exact and only the mark's last bit is lost."""


def times(high, shape):
    return (RNG.integers(0, int(high / STEP), shape) * STEP).astype(np.float32)


@kernel
def serve_lanes(row, earlier, count, need, downlink, costs, core_ms, cores, out):
    """Mark, sort and serve; `costs` are receive time, CPU time now and of an earlier round."""
    for i in range(count):
        store(row, i * LANES, mark(load(row, i * LANES), earlier[i]))
    sort_lanes(row, count)
    finished, critical, free = serve(
        row, count, load(need, 0), load(downlink, 0), costs[0], core_ms, 0, cores, costs[1], costs[2]
    )
    store(out, 0, finished)
    store(out, LANES, critical)
    store(out, 2 * LANES, free)


@kernel
def run_jobs(core_ms, cores, ready, durations, ends):
    for job in range(durations.size):
        end = start_job(core_ms, 0, cores, load(ready, job * LANES), spread(durations[job]))
        store(ends, job * LANES, end)


def plain_fifo(arrivals, need, downlink, costs, cores):
    """One lane: (finished, critical arrival, downlink free, cores free, arrivals left)."""
    queue = sorted(arrivals)
    free = list(cores)
    heapq.heapify(free)
    handled, finished, critical = 0, np.inf, np.inf
    while queue and handled < need:
        arrival, earlier = queue.pop(0)
        downlink = max(arrival, downlink + costs[0])
        end = max(downlink, heapq.heappop(free)) + costs[2 if earlier else 1]
        heapq.heappush(free, end)
        if not earlier:
            handled += 1
            finished, critical = end, arrival
    if handled < need:
        finished = np.inf
    return finished, critical, downlink, sorted(free), queue


def case(count, cores, spread_ms, lost=0.0):
    arrivals = times(spread_ms, (count, LANES))
    arrivals[RNG.random(arrivals.shape) < lost] = np.inf
    return {
        "arrivals": arrivals,
        "earlier": RNG.random(count) < 0.3,
        "need": RNG.integers(1, count + 2, LANES).astype(np.uint32),
        "downlink": times(20, LANES),
        "costs": np.array([0.25, 1.5, 0.5], np.float32),
        "core_ms": np.sort(times(30, (cores, LANES)), axis=0),
    }


def run_case(arrivals, earlier, need, downlink, costs, core_ms):
    row, cores = arrivals.ravel().copy(), core_ms.ravel().copy()
    out = np.empty(3 * LANES, np.float32)
    serve_lanes(row, earlier, len(arrivals), need, downlink, costs, cores, len(core_ms), out)
    return out.reshape(3, LANES), cores.reshape(core_ms.shape), row.reshape(arrivals.shape)


@pytest.mark.parametrize("lost", [0.0, 0.2])
@pytest.mark.parametrize("cores", [1, 2, 3, 4, 16])
@pytest.mark.parametrize(("count", "spread_ms"), [(1, 10), (2, 5), (7, 3), (40, 10), (40, 200), (130, 60)])
def test_serve_is_a_fifo_with_c_cores(cores, count, spread_ms, lost):
    """Finish, deciding arrival, state of line and cores, and what is left over: all as in the plain queue.

    Seen to fail where the line is free one receive time late, and where cores are left unsorted.
    """
    given = case(count, cores, spread_ms, lost)
    (finished, critical, downlink), core_ms, left = run_case(**given)
    for lane in range(LANES):
        marked = zip(given["arrivals"][:, lane].tolist(), given["earlier"].tolist(), strict=True)
        plain = plain_fifo(
            [(a, e) for a, e in marked if a < np.inf],
            given["need"][lane], float(given["downlink"][lane]), given["costs"].tolist(), given["core_ms"][:, lane],
        )  # fmt: skip
        if plain[0] < np.inf:
            assert finished[lane] == pytest.approx(plain[0], rel=1e-6)
            assert critical[lane] == pytest.approx(plain[1], rel=1e-6)
            assert downlink[lane] == pytest.approx(plain[2], rel=1e-6)
            assert core_ms[:, lane] == pytest.approx(plain[3], rel=1e-6)
            remaining = np.sort(left[:, lane][np.isfinite(left[:, lane])])
            assert remaining == pytest.approx([a for a, _ in plain[4]], rel=1e-6)
        else:
            assert np.isinf(finished[lane])


def test_a_lone_message_waits_for_nothing():
    """Its bytes came in while they travelled: receive time counts only behind another message."""
    given = case(1, 1, 10) | {
        "arrivals": np.full((1, LANES), 50.0, np.float32),
        "earlier": np.array([False]),
        "need": np.ones(LANES, np.uint32),
        "core_ms": np.zeros((1, LANES), np.float32),
    }
    (finished, critical, downlink), _, left = run_case(**given)
    assert (finished == 51.5).all() and (critical == 50.0).all() and (downlink == 50.0).all()
    assert np.isinf(left).all()


def test_marks_keep_the_order_and_tell_the_round():
    """Of two arrivals at one time the one of this round goes first; the mark costs at most a unit in the last place."""
    given = case(2, 1, 10) | {
        "arrivals": np.full((2, LANES), 8.0, np.float32),
        "earlier": np.array([True, False]),
        "need": np.ones(LANES, np.uint32),
        "downlink": np.zeros(LANES, np.float32),
        "core_ms": np.zeros((1, LANES), np.float32),
    }
    (finished, _, _), _, left = run_case(**given)
    assert (finished == 9.5).all()
    assert (np.nanmin(np.where(np.isfinite(left), left, np.nan), axis=0) == np.nextafter(np.float32(8), np.float32(9))).all()


@pytest.mark.parametrize("cores", [1, 2, 5, 8])
def test_start_job_takes_the_earliest_free_core(cores):
    jobs = 60
    ready, durations = np.sort(times(40, (jobs, LANES)), axis=0), times(8, jobs)
    core_ms, ends = np.zeros(cores * LANES, np.float32), np.empty((jobs, LANES), np.float32)
    run_jobs(core_ms, cores, ready.ravel(), durations, ends.reshape(-1))
    for lane in range(LANES):
        free = [0.0] * cores
        for job in range(jobs):
            end = max(heapq.heappop(free), float(ready[job, lane])) + float(durations[job])
            heapq.heappush(free, end)
            assert ends[job, lane] == end
        assert np.array_equal(core_ms.reshape(cores, LANES)[:, lane], sorted(free))


def test_single_server_queue_has_its_known_mean():
    """M/D/1: the mean wait is rho d / (2 (1 - rho)) (Pollaczek-Khinchine); 16 independent runs."""
    rho, service, jobs = 0.5, 1.0, 20_000
    ready = np.cumsum(RNG.exponential(service / rho, (jobs, LANES)), axis=0).astype(np.float32)
    ends = np.empty((jobs, LANES), np.float32)
    run_jobs(np.zeros(LANES, np.float32), 1, ready.ravel(), np.full(jobs, service, np.float32), ends.reshape(-1))
    waits = (ends.astype(np.float64) - ready - service).mean(axis=0)
    assert abs(waits.mean() - rho * service / (2 * (1 - rho))) < 4.5 * waits.std(ddof=1) / np.sqrt(LANES)


@pytest.mark.parametrize("weight", [1.0, 3.5])
def test_handled_like_a_queue_served_one_by_one(weight):
    """Messages that stand for several bring as much work; what comes too late or never ends is inf."""
    came = np.sort(times(60, (12, 5)).astype(np.float64), axis=0)
    came[7:, 3], came[:, 4] = np.inf, np.inf
    need, handle = np.array([1, 20, 8, int(9 * weight), 0], np.int32), np.array([0.5, 2.0, 0.0, 1.0, 1.0])
    idle, busy = np.empty(5), np.empty(5)
    handled_ms(came, weight, need, handle, np.zeros(5), idle)
    handled_ms(came, weight, need, handle, np.full(5, 0.25), busy)
    for node in range(3):
        free, left = 0.0, float(need[node])
        for at in came[:, node]:
            if left > 0.0:
                free, left = max(free, at) + min(weight, left) * handle[node], left - weight
        if left > 0.0:
            free += left * handle[node]
        assert idle[node] == pytest.approx(free)
    assert idle[3] == np.inf and idle[4] == -np.inf
    assert (busy >= idle).all() and busy[3] == np.inf and busy[4] == -np.inf
