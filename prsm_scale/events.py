"""Scenarios on the events engine: systems to event tables, runs that go on until enough operations have ended."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from prsm_kernels import uniforms
from prsm_kernels.event_state import grow, make_state, record_margin
from prsm_kernels.event_types import (
    CLIENT_VIEW,
    CLOSED,
    COUNTED,
    COUNTED_END,
    FINISHED,
    GOING,
    GONE,
    LEFT,
    LOG_BEGIN,
    LOG_END,
    LOG_HOP,
    LOG_JOB,
    LOG_MARK,
    LOGGED,
    MORE_LOG,
    MORE_OPERATIONS,
    NEXT_OPERATION,
    OPEN,
    POPPED,
    SOLO,
    EventLoad,
    EventScript,
)
from prsm_kernels.events import begin_events, run_events
from prsm_kernels.rng import DOMAIN_ARRIVAL
from prsm_scale.batches import client_sites
from prsm_scale.behaviours import PrimaryPolicy
from prsm_scale.event_tables import event_faults, event_table
from prsm_scale.outcome import Operations
from prsm_scale.plans import make_plan
from prsm_scale.system import System, build_system
from prsm_scale.tracing import (
    CHECK,
    COMMITTED,
    COMPLETED,
    DUPLICATE,
    ENDED,
    FAILED,
    FORWARD,
    RECEIVE,
    SEND,
    STARTED,
    Hops,
    Jobs,
    Marks,
    Trace,
)
from prsm_scale.view_change import timing_of
from prsm_scale.views import NEW_VIEW, VIEW_CHANGE

_CALL_EVENTS = 2_000_000
_ENDLESS = 1 << 30
_MARKS = np.array([STARTED, COMPLETED, COMMITTED, ENDED, FAILED])
_JOBS = np.array([RECEIVE, FORWARD, DUPLICATE, FORWARD, SEND, CHECK])
"""Names of a log's numbers, `prsm_kernels.event_types.MARK_STARTED` ... and `HANDLE` ..."""


def gaps_ms(scenario: Any, operation: NDArray[np.uint32], replicate: int) -> NDArray[np.float64]:
    """Times by which operations of an open loop start after the ones before them."""
    gaps: NDArray[np.float64] = -np.log(uniforms(scenario.seed, DOMAIN_ARRIVAL, operation, replicate)) / scenario.proposals_per_ms
    return gaps


class EventRun:
    """One replicate on the events engine, from an empty system on; it can be asked for more operations again and again.

    Parameters
    ----------
    system : System
        Its scenario's `rate`, `batch`, `clients`, `window` and `operation_timeout_ms` set the load; with rate 0 each operation
        has a system at rest for itself.
    replicate : int
        Number of the replicate, which decides its draws.
    warmup : int
        Operations left out at first.
    last : int, optional
        Operations after which no more arrive; by default they never cease.
    clients : int, optional
        A closed loop of so many clients in place of the scenario's load.
    script : EventScript, optional
        What happens to replicas and links, and when.

    Attributes
    ----------
    start_ms : ndarray of float64
        Start of each operation, warm-up included.
    """

    def __init__(
        self,
        system: System,
        replicate: int = 0,
        warmup: int = 0,
        last: int | None = None,
        clients: int | None = None,
        script: EventScript | None = None,
    ) -> None:
        scenario, timing = system.plan.scenario, system.plan.timing
        if timing is None and script is not None:
            timing = timing_of(scenario)
        self.system, self.replicate, self.warmup = system, replicate, warmup
        self.table, self.faults = event_table(system, replicate), event_faults(system, timing, script)
        self.rate_per_ms = scenario.proposals_per_ms
        clients = scenario.clients if clients is None else clients
        mode = CLOSED if clients else OPEN if self.rate_per_ms > 0 else SOLO
        machines = system.machines
        lines, limited = machines.out_ms_per_byte.max() > 0, system.network.edge_ms_per_byte.max(initial=0.0) > 0
        self.limits = EventLoad(
            mode=mode,
            clients=int(clients or 0),
            window=int(scenario.window),
            timeout_ms=float(scenario.operation_timeout_ms),
            contended=bool(machines.contended),
            # a crash stops copies that are not ready yet
            stepwise=bool(
                machines.contended
                and (lines or limited or script is not None)
                and self.table.send_ms.max() + self.table.sign_ms.max() > 0
            ),
            faulty=timing is not None,
            margin=record_margin(self.table, self.faults, scenario.nodes, machines.cores),
        )
        links = system.network.edge_ms_per_byte.astype(np.float64)
        if system.network.paths.target.size != links.size:
            links = np.zeros(1)
        self.state = make_state(self.table, system.paths, machines, self.limits, self.faults, links, last or _ENDLESS)
        self._more_operations(256)
        self._begun = False

    def settle(self) -> EventRun:
        """Let the run begin in the first view that serves, those before it left behind; where primaries rotate, in view 0."""
        scenario, state = self.system.plan.scenario, self.state
        if self.limits.faulty and scenario.primary_policy == PrimaryPolicy.STABLE:
            view = self.system.primary
            state.in_view[:], state.wanted[:], state.scalars[CLIENT_VIEW] = view, view, view
        return self

    @property
    def start_ms(self) -> NDArray[np.float64]:
        """Start of each operation, warm-up included."""
        return self.state.start_ms

    @property
    def started(self) -> int:
        """Operations that have started so far."""
        return int(self.state.scalars[NEXT_OPERATION])

    @property
    def counted(self) -> int:
        """Operations after the warm-up of which it was last asked that they end."""
        return int(self.state.scalars[COUNTED_END] - self.state.scalars[COUNTED])

    @property
    def events(self) -> int:
        """Events handled so far."""
        return int(self.state.scalars[POPPED])

    def _more_operations(self, least: int = 0) -> None:
        """Make room for further operations, with their clients and, in open loop, their starts."""
        old = self.state.ended.size
        self.state = grow(self.state, MORE_OPERATIONS, least)
        number = np.arange(old, self.state.ended.size, dtype=np.uint32)
        self.state.client[old:] = client_sites(self.system, number, np.full(number.size, self.replicate, np.uint32))
        if self.limits.mode == OPEN:
            gaps = gaps_ms(self.system.plan.scenario, number, self.replicate)
            before = self.state.start_ms[old - 1] if old else 0.0
            self.state.start_ms[old:] = before + np.cumsum(gaps)

    def log(self, begin: int, end: int) -> None:
        """Keep a log of operations begin .. end - 1; to be asked for before they start."""
        self.state.scalars[LOG_BEGIN], self.state.scalars[LOG_END] = begin, end

    def advance(self, count: int, budget: int = _CALL_EVENTS) -> bool:
        """Go on for about `budget` events; returns whether of `count` operations after the warm-up nothing is left to happen."""
        scalars = self.state.scalars
        end = self.warmup + count
        while self.state.ended.size <= end:
            self._more_operations()
        if scalars[COUNTED_END] != end:
            scalars[COUNTED], scalars[COUNTED_END] = self.warmup, end
        scalars[LEFT] = int((self.state.slot_of[self.warmup : end] != GONE).sum())
        if not self._begun:
            begin_events(self.limits, self.faults, self.state)
            self._begun = True
        system = self.system
        while True:
            status = run_events(
                self.table, system.paths, system.plan.law, system.machines, self.limits, self.faults, self.state, budget
            )  # fmt: skip
            if status in (GOING, FINISHED):
                return bool(status == FINISHED)
            if status == MORE_OPERATIONS:
                self._more_operations()
            else:
                self.state = grow(self.state, status)

    def measure(self, count: int) -> Operations:
        """Simulate until `count` operations after the warm-up have ended, and give them."""
        while not self.advance(count):
            pass
        return self.operations(count)

    def operations(self, count: int) -> Operations:
        """The first `count` operations after the warm-up."""
        chosen = slice(self.warmup, self.warmup + count)
        state, number = self.state, np.arange(self.warmup, self.warmup + count, dtype=np.uint32)
        counts = state.counts[chosen, : None if self.limits.faulty else self.table.rounds]
        return Operations(
            replicate=np.full(count, self.replicate, np.uint32),
            operation=number,
            latency_ms=state.latency_ms[chosen].copy(),
            commit_ms=state.commit_ms[chosen].copy(),
            flight_ms=state.flight_ms[chosen].copy(),
            breakdown_ms=state.breakdown_ms[chosen].copy(),
            sent=counts[:, :, 0].copy(),
            useful=counts[:, :, 1].copy(),
            repeats=counts[:, :, 2].copy(),
            transmissions=counts[:, :, 3].astype(np.float64),
            view_changes=state.views[chosen].astype(np.int64),
            violated=state.violated[chosen] > 0,
            waits=np.zeros((count, 2)),
            lost_ms=np.zeros(count),
        )


def trace_operations(scenario: Any, first: int = 0, count: int = 1) -> Trace:
    """Follow operations of a scenario through the events engine, message by message.

    Parameters
    ----------
    scenario : Scenario
        Any engine's; its first replicate is simulated.
    first, count : int
        Numbers of the operations, from the start of an empty system.

    Returns
    -------
    Trace
        With all that became of the operations' messages, also after they ended.
    """
    run = EventRun(build_system(make_plan(scenario), 0), warmup=first)
    run.log(first, first + count)
    run.state = grow(run.state, MORE_LOG, 8 * run.limits.margin)
    run.measure(count)
    return _read_log(run)


def _read_log(run: EventRun) -> Trace:
    used = int(run.state.scalars[LOGGED])
    log, times, n = run.state.log[:used].astype(np.int64), run.state.log_ms[:used], run.system.alive.size
    hops, marks, jobs = (np.flatnonzero(log[:, 0] == what) for what in (LOG_HOP, LOG_MARK, LOG_JOB))
    number, at = log[hops], times[hops]
    arrive, received, begin, end = at[:, 2:].T.copy()
    received[number[:, 6] == n] = arrive[number[:, 6] == n]
    steps = [*run.system.plan.protocol.rounds, *([VIEW_CHANGE, NEW_VIEW] if run.limits.faulty else [])]
    free = np.isfinite(received) & ((number[:, 6] == n) | (not run.limits.contended))
    begin[free], end[free] = received[free], received[free]
    return Trace(
        scenario=run.system.plan.scenario,
        rounds=tuple(step.name for step in steps),
        hops=Hops(
            operation=number[:, 1], round=number[:, 2], source=number[:, 3], destination=number[:, 4], sender=number[:, 5],
            receiver=number[:, 6], repeat=number[:, 7], lost=number[:, 8] > 0, ready_ms=at[:, 0], leave_ms=at[:, 1],
            arrive_ms=arrive, received_ms=received, begin_ms=begin, end_ms=end, useful=number[:, 9] > 0,
        ),
        marks=Marks(log[marks, 1], log[marks, 2], log[marks, 3], _MARKS[log[marks, 4]], times[marks, 0]),
        jobs=Jobs(log[jobs, 1], log[jobs, 2], log[jobs, 3], _JOBS[log[jobs, 4]], times[jobs, 0], times[jobs, 1]),
    )  # fmt: skip
