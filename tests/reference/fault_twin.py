"""docs/faults.md, and what docs/events.md adds to it, written again for the twin of the events engine.

Sides, what counts, safety, and who does what when are derived here; lengths of time-outs, sizes and costs are given.

Values are 1 (A) and 2 (B), and sides are sets of them, as on that page. Where both pages leave it open: replicas that delay,
flood or drop are dealt to the sides of an equivocating primary's proposal like honest ones; the client's time-out is set after
its request is sent; a row of a script holds before anything else happens at its time, `hold_ms` for what a replica then begins to
make; a crash sets k to 0.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any, NamedTuple

from tests.reference.events_model import Copy, Load, Message, Operation, Parts
from tests.reference.events_twin import Simulation

NEVER = -1
CHANGE, NEW_VIEW = 0, 1
"""Rounds of a view change, after those of the protocol."""


class Row(NamedTuple):
    """What a fault script does from a time on; lists have an entry for each replica."""

    at_ms: float
    alive: list[bool]
    slow: list[float]
    group: list[int]
    hold_ms: list[float]
    loss: float
    delay_ms: float


@dataclass(frozen=True)
class Faults:
    """What docs/faults.md adds to a load."""

    steps: tuple[dict[str, Any], ...]
    """Rounds: pattern, senders, votes (how many it takes), own and primary (whether those count), and size and costs."""
    behaviour: tuple[str, ...]
    """Of each replica; empty for one that is honest."""
    rotating: bool
    timing: Any
    """view_timeout_ms, client_timeout_ms and hold_ms; None where nothing is ever late."""
    costs: Any
    """Of the messages of a view change, see `prsm_scale.view_change.ViewCosts`."""
    quorum: int
    tolerated: int
    flood_factor: int
    script: tuple[Row, ...] = ()


class FaultyOperation(Operation):
    """An operation for which views may change."""

    def __init__(self, number: int, start: float, client: int, rounds: int, live: list[int], view: int):
        super().__init__(number, start, client, rounds, live)
        self.first_view = view
        self.value: dict[int, int] = {}
        """What the honest primary of a view proposes."""
        self.prepared: dict[int, set[int]] = defaultdict(set)
        """Value -> replicas that have sent their commits."""
        self.committed_by: dict[int, set[int]] = defaultdict(set)
        """Value -> replicas."""
        self.replied: dict[int, set[int]] = defaultdict(set)
        """Value -> replicas whose replies have come."""
        self.early: dict[int, int] = {}
        """Replica -> latest view, later than its own, of which it has votes."""
        self.views, self.violated, self.alarm = 0, False, 0


@dataclass
class Standing:
    """Where a replica is in the changing of views."""

    asked: int = 0
    changing: bool = False
    enough: bool = False
    """Whether it has a quorum for the view that it has asked for."""
    failed: int = 0
    """Views in a row."""
    again: int = 0
    """VIEW-CHANGEs that it has sent again for the view that it has asked for."""
    alarm: int | None = None
    waits_for: FaultyOperation | None = None
    known: set[FaultyOperation] = field(default_factory=set)
    done: set[FaultyOperation] = field(default_factory=set)
    """Committed."""
    votes: dict[int, dict[int, int]] = field(default_factory=lambda: defaultdict(dict))
    """View -> replicas that have asked for it, and the certificates in each VIEW-CHANGE."""
    epoch: int = 0
    """Crashes so far."""


def tables(faults: Faults, live: list[int], primary: int) -> tuple[dict[str, Any], ...]:
    """Who sends, receives and needs how many messages in each round under a primary."""
    n, backups = len(faults.behaviour), [i for i in live if i != primary]
    made = []
    for step in faults.steps:
        pattern, who = step["pattern"], step["senders"]
        senders = {"client": [], "primary": [i for i in live if i == primary], "backups": backups, "all": live}[who]
        goals = {"client_to_primary": [primary], "all_to_primary": [primary], "all_to_client": []}.get(pattern, range(n))
        if pattern == "all_to_primary":
            senders = backups
        receivers = [j for j in live if j in goals and not (pattern == "primary_to_all" and j == primary)]
        own = {"client": range(n), "all": range(n), "primary": [primary], "backups": [j for j in range(n) if j != primary]}[who]
        need = {j: max(0, step["votes"] - (step["own"] and j in own) - step["primary"]) for j in receivers}
        kind = {"client_to_primary": "to_primary", "all_to_client": "to_client"}.get(pattern, "among")
        addressed = {i: [j for j in goals if j != i] for i in senders}
        made.append(step | {"kind": kind, "senders": senders, "receivers": receivers, "need": need, "addressed": addressed})
    return tuple(made)


class FaultSimulation(Simulation):
    """One replicate with faults."""

    operations: list[FaultyOperation]

    def __init__(self, load: Load, faults: Faults, seed: int, replicate: int, count: int):
        silent = frozenset(i for i, what in enumerate(faults.behaviour) if what == "silent")
        super().__init__(replace(load, cluster=replace(load.cluster, silent=silent)), seed, replicate, count)
        self.faults, self.last = faults, len(faults.steps)
        self.tables = cache(lambda primary: tables(faults, self.live, primary))
        self.replicas = {i: Standing() for i in self.live}
        self.entered_ms = {0: 0.0}
        """View -> when the first replica entered it."""
        self.cause: dict[int, FaultyOperation] = {}
        """View -> the operation for which it was asked for first."""
        self.row, self.rows = None, list(faults.script)
        voices = [i for i in self.live if faults.behaviour[i] != "equivocate"]
        self.deceived = set(voices[(len(voices) + 1) // 2 :])
        """To whom an equivocating primary proposes B."""

    # Who is who.

    def primary(self, operation: Operation, view: int) -> int:
        return (view + operation.number * self.faults.rotating) % self.cluster.nodes

    def rounds(self, operation: Operation, view: int) -> tuple[dict[str, Any], ...]:
        return self.tables(self.primary(operation, view))

    def is_a(self, i: int, behaviour: str) -> bool:
        return self.faults.behaviour[i] == behaviour

    def side(self, operation: FaultyOperation, view: int, i: int) -> int:
        """Values for which a replica votes."""
        if self.is_a(self.primary(operation, view), "equivocate"):
            return 3 if self.is_a(i, "equivocate") else 1 + (i in self.deceived)
        return 0 if self.is_a(i, "equivocate") else operation.value.get(view, 1)

    def counts(self, message: Message, i: int) -> bool:
        if message.invalid:
            return False
        operation, view = message.operation, message.view
        return self.is_a(i, "equivocate") or bool(self.side(operation, view, message.sender) & self.side(operation, view, i))

    def wanted(self, message: Message, i: int) -> bool:
        operation, me = message.operation, self.replicas[i]
        ahead = message.view - self.view[i]
        if message.round == 0:
            return operation not in me.known
        if message.round == self.last + NEW_VIEW:
            return not message.invalid and ahead > 0 and message.view >= me.asked
        if message.round == self.last + CHANGE:
            return ahead > 0 and self.is_vote(message, i)
        late = message.view < max(me.asked, operation.early.get(i, 0)) or (ahead == 0 and operation.completed[i] >= message.round)
        return not late and self.counts(message, i)

    def is_vote(self, message: Message, i: int) -> bool:
        """Whether a VIEW-CHANGE counts at replica i, to whom its sender has not named this view or a later one yet."""
        named = (view for view, votes in self.replicas[i].votes.items() if message.sender in votes)
        return not message.invalid and not self.is_a(message.sender, "equivocate") and message.view > max(named, default=0)

    # Clients.

    def new_operation(self, number: int, site: int) -> FaultyOperation:
        return FaultyOperation(number, self.now, site, self.last + 2, self.live, self.answered)

    def stream(self, r: int, operation: FaultyOperation, view: int, number: int) -> int:
        if r == 0:
            return 60 + 64 * (number - 1) if number else 0
        return r + 64 * max(0, view - operation.first_view)

    def ask(self, operation: FaultyOperation, to: list[int], number: int = 0) -> None:
        super().ask(operation, to, number)
        if self.faults.timing:
            again_ms = self.now + self.faults.timing.client_timeout_ms * 2.0**number
            if again_ms < operation.start_ms + self.load.timeout_ms:  # else it gives up
                everyone = list(range(self.cluster.nodes))
                operation.alarm = self.schedule(again_ms, lambda: self.ask(operation, everyone, number + 1))

    def agreed(self, message: Message) -> int:
        operation, side = message.operation, self.side(message.operation, message.view, message.sender)
        heard = [operation.replied[value] for value in (1, 2) if value & side and message.sender not in operation.replied[value]]
        for replicas in heard:
            replicas.add(message.sender)
        agreed = max(map(len, heard), default=0)
        if agreed == self.cluster.client_need:
            self.answered = max(self.answered, message.view)
            operation.views = max(0, message.view - operation.first_view)
            operation.failing_ms = operation.proposed - operation.start_ms if operation.views else 0.0
        return agreed

    def end(self, operation: FaultyOperation) -> None:
        super().end(operation)
        self.cancelled.add(operation.alarm)
        for i in self.live:
            self.review(i)

    # Rounds.

    def begin(self, operation: FaultyOperation, i: int) -> None:
        if self.up(i) and not self.replicas[i].changing:
            self.enter(operation, i, 0)

    def enter(self, operation: FaultyOperation, i: int, r: int) -> None:
        if r == self.cluster.commit_round:
            operation.prepared[self.side(operation, self.view[i], i)].add(i)
        super().enter(operation, i, r)

    def handled(self, copy: Copy) -> None:
        message, i = copy.message, copy.at
        operation, me = message.operation, self.replicas[i]
        if message.invalid:
            return
        if message.round >= self.last:
            self.handled_change(message, i)
        elif message.round == 0:
            self.learn(operation, i)
            if operation.entered[i] == 0 and operation.completed[i] < 0:
                self.complete(operation, i, 0, copy.parts)
        else:
            if message.table["pattern"] == "primary_to_all":
                self.learn(operation, i)
                if message.view > max(self.view[i], me.asked):  # it has missed NEW-VIEW
                    self.enter_view(i, message.view)
            if self.view[i] < message.view < operation.early.get(i, 0):
                return
            self.forget(operation, i, message.view)
            super().handled(copy)

    def forget(self, operation: FaultyOperation, i: int, view: int) -> None:
        """Of two later views a replica keeps only what is of the later."""
        early = operation.early.get(i, 0)
        if view > max(early, self.view[i]):
            operation.early[i] = view
            for r in range(self.last):
                operation.handled[early, r, i] *= early <= self.view[i]

    def learn(self, operation: FaultyOperation, i: int) -> None:
        self.replicas[i].known.add(operation)
        self.review(i)

    def admit(self, operation: FaultyOperation, i: int) -> None:
        queue = [other for other, _ in self.waiting]
        if operation in self.in_flight:
            self.propose(operation, i)
        elif operation in queue:
            self.waiting[queue.index(operation)] = operation, i
            self.move_window()
        else:
            super().admit(operation, i)

    def may_propose(self, operation: FaultyOperation, i: int) -> bool:
        ready = operation.entered[i] == operation.completed[i] == 0 and i == self.primary(operation, self.view[i])
        return ready and self.up(i) and not operation.over and operation not in self.in_flight

    def propose(self, operation: FaultyOperation, i: int) -> None:
        prepared = [value for value in (1, 2) if any(self.is_a(j, "") for j in operation.prepared[value])]
        operation.value[self.view[i]] = min(prepared, default=1)
        if self.view[i] > operation.first_view:
            operation.chain_of[i] = Parts()
        super().propose(operation, i)

    def committed(self, operation: FaultyOperation, i: int) -> None:
        if not self.is_a(i, "equivocate") and operation not in self.replicas[i].done:
            super().committed(operation, i)
        operation.committed_by[self.side(operation, self.view[i], i)].add(i)
        a, b = ({j for j in operation.committed_by[value] if self.is_a(j, "")} for value in (1, 2))
        operation.violated = bool(a and b and len(a | b) > 1)
        self.replicas[i].done.add(operation)
        self.replicas[i].failed = 0
        self.review(i)

    def multicast(self, message: Message, addressed: list[int], parts: Parts) -> None:
        super().multicast(message, addressed, parts)
        if self.is_a(message.sender, "flood") and addressed != [self.cluster.nodes]:
            for k in range(self.faults.flood_factor):
                super().multicast(replace(message, invalid=k + 1), addressed, parts)

    # Time-outs and views.

    def waited(self, i: int) -> list[FaultyOperation]:
        """Operations for which a replica waits."""
        me = self.replicas[i]
        missed = [one for one in self.operations if not one.over and one in me.known - me.done and self.up(i)]
        return [one for one in missed if me.changing or self.primary(one, self.view[i]) != i]

    def review(self, i: int) -> None:
        """Start the timer of a replica, stop it, or start it again."""
        me, waited = self.replicas[i], self.waited(i)
        if not waited:
            me.again = 0
            self.stop(i)
        elif me.alarm is None or (not me.changing and me.waits_for not in waited):
            if not me.changing:
                me.waits_for = waited[0]
            self.restart(i)

    def stop(self, i: int) -> None:
        self.cancelled.add(self.replicas[i].alarm)
        self.replicas[i].alarm = None

    def restart(self, i: int) -> None:
        self.stop(i)
        if self.faults.timing and self.waited(i):
            me = self.replicas[i]
            doubled = min(30, me.failed + (0 if me.enough else me.again))
            me.alarm = self.schedule(self.now + self.faults.timing.view_timeout_ms * 2.0**doubled, lambda: self.expired(i))

    def expired(self, i: int) -> None:
        me = self.replicas[i]
        if me.changing and not me.enough:
            me.again += 1
            self.send_change(i, CHANGE, me.asked)
            self.restart(i)
        else:
            self.ask_for(i, me.asked + 1, me.waits_for)

    def ask_for(self, i: int, view: int, operation: FaultyOperation) -> None:
        me = self.replicas[i]
        for one in self.operations:
            one.entered[i] = NEVER  # it takes part no more
        me.waits_for = self.cause.setdefault(view, operation)
        me.failed += view - me.asked
        me.asked, me.again, me.changing, me.enough = view, 0, True, False
        self.send_change(i, CHANGE, view)
        self.restart(i)
        self.check(i)

    def check(self, i: int) -> None:
        """See whether a replica has a quorum for the view that it has asked for."""
        me = self.replicas[i]
        if not me.changing or me.enough or len(me.votes[me.asked]) < self.faults.quorum:
            return
        me.enough = True
        if i == self.primary(self.cause[me.asked], me.asked):
            self.send_change(i, NEW_VIEW, me.asked)
            self.enter_view(i, me.asked)
        else:
            self.restart(i)

    def handled_change(self, message: Message, i: int) -> None:
        me, view = self.replicas[i], message.view
        if message.round == self.last + NEW_VIEW:
            if view > self.view[i] and view >= me.asked:
                self.enter_view(i, view)
        elif self.is_vote(message, i):
            me.votes[view][message.sender] = message.table["certificates"]
            if view > me.asked and len(me.votes[view].keys() - {i}) > self.faults.tolerated:
                self.ask_for(i, view, message.operation)
            else:
                self.check(i)

    def cross(self, copy: Copy, start: float) -> None:
        self.note(copy)
        super().cross(copy, start)

    def received(self, copy: Copy) -> None:
        self.note(copy)
        super().received(copy)

    def note(self, copy: Copy) -> None:
        if copy.message.round >= self.last:
            copy.message.operation.changing_ms = self.now

    def send_change(self, i: int, r: int, view: int) -> None:
        """Send VIEW-CHANGE or NEW-VIEW."""
        costs, operation = self.faults.costs, self.cause[view]
        if r == CHANGE:
            count = sum(not one.over and any(i in replicas for replicas in one.prepared.values()) for one in self.operations)
            job = costs.change
        else:  # it holds the VIEW-CHANGEs
            job, count = costs.new_view, sum(self.replicas[i].votes[view].values())
        more = count * costs.certificate_bytes
        table = {
            "bytes": job.size_bytes + more,
            "receive": job.receive_ms + more * costs.byte_ms + (r == CHANGE) * count * costs.certificate_ms,
            "transit": job.transit_ms,
            "sign": job.create_ms + more * costs.create_byte_ms,
            "send": job.send_ms,
            "receivers": self.live,
        }
        key = self.key(operation, 62 + r + 64 * (max(1, view - operation.first_view) - 1))
        others = [j for j in range(self.cluster.nodes) if j != i]
        operation.sent[self.last + r] += len(others)
        if r == CHANGE:
            self.replicas[i].votes[view][i] = count
        again = self.replicas[i].again if r == CHANGE else 0
        message = Message(operation, self.last + r, i, table | {"certificates": count}, key, view, again)
        self.multicast(message, others, Parts())

    def enter_view(self, i: int, view: int) -> None:
        me = self.replicas[i]
        self.view[i] = me.asked = view
        self.entered_ms.setdefault(view, self.now)
        me.again, me.changing, me.enough = 0, False, False
        for one in self.operations:
            one.entered[i], one.completed[i], one.chain_of[i] = NEVER, NEVER, Parts()
            leads = i == self.primary(one, view)
            if one.over:
                one.completed[i] = self.last
                if leads:
                    self.in_flight.discard(one)
            elif leads and one in me.known:
                one.entered[i] = one.completed[i] = 0
                self.admit(one, i)
            else:
                self.enter(one, i, 0)
        self.move_window()
        self.stop(i)
        self.review(i)

    def while_in_view(self, node: int, event: Callable[[], None]) -> Callable[[], None]:
        me, since = self.replicas[node], (self.view[node], self.replicas[node].asked)
        return self.while_up(node, lambda: event() if since == (self.view[node], me.asked) else None)

    # Behaviours and fault scripts.

    def advance(self) -> None:
        while self.rows and self.rows[0].at_ms <= self.events[0][0]:
            before, self.row = self.row, self.rows.pop(0)
            self.now = self.row.at_ms
            for i in self.live:
                was = before is None or before.alive[i]
                if was and not self.row.alive[i]:
                    self.crash(i)
                elif not was and self.row.alive[i]:
                    self.recover(i)

    def crash(self, i: int) -> None:
        machine, me = self.machines[i], self.replicas[i]
        machine.own.clear()
        machine.received.clear()
        machine.idle = self.cluster.cores
        self.stop(i)
        me.asked, me.failed, me.again, me.epoch = self.view[i], 0, 0, me.epoch + 1
        me.changing = me.enough = False

    def recover(self, i: int) -> None:
        for one in self.operations:
            one.entered[i], one.completed[i] = NEVER, self.last
        self.review(i)

    def up(self, node: int) -> bool:
        return super().up(node) and (self.row is None or bool(self.row.alive[node]))

    def while_up(self, node: int, event: Callable[[], None]) -> Callable[[], None]:
        epoch = self.replicas[node].epoch
        return lambda: event() if self.replicas[node].epoch == epoch else None

    def pace(self, node: int) -> float:
        return super().pace(node) * (self.row.slow[node] if self.row else 1.0)

    def passes_on(self, node: int) -> bool:
        return not self.is_a(node, "drop_relay")

    def held_ms(self, copy: Copy) -> float:
        if copy.message.sender != copy.at:
            return 0.0
        behaving = self.faults.timing.hold_ms if self.is_a(copy.at, "delay") else 0.0
        return behaving + (self.row.hold_ms[copy.at] if self.row else 0.0)

    def apart(self, hop: tuple[int, int]) -> bool:
        return self.row is not None and self.row.group[hop[0]] != self.row.group[hop[1]]

    def trouble(self, hop: tuple[int, int]) -> tuple[float, float]:
        return (self.row.loss, self.row.delay_ms) if self.row else (0.0, 0.0)


class Outcome(NamedTuple):
    operations: list[FaultyOperation]
    entered_ms: dict[int, float]


def simulate(load: Load, faults: Faults, seed: int, count: int, replicate: int = 0) -> Outcome:
    """Simulate the first `count` operations of a replicate, and tell when each view was entered first."""
    simulation = FaultSimulation(load, faults, seed, replicate, count)
    return Outcome(simulation.run(), simulation.entered_ms)
