"""A slow, plain twin of the events engine: docs/events.md written again with objects, dicts, a heap and float64.

It shares nothing with the engine but the published recipe of its random numbers, see `delay_twin`. Events are calls that are due
at a time: an operation starts or times out; a copy is ready for an uplink, arrives, has passed the downlink; a job ends.

Events of equal time happen in the order in which they were scheduled, and what an event brings about is scheduled in the order
in which docs/events.md tells it: a start makes the next start, then the request, then the replicas' entering, then the time-out;
a job that begins makes its copies ready, then its end; a job that ends lets its message count, so that its replica completes
the round, enters the next and sends; after that the operation commits, the window moves on, and the free core takes what waits.

Where that page leaves it open: a reply to a client at the replica's own site takes the uplink, a request from there passes the
downlink; a time-out runs from when a lost copy starts onto the link; a copy for which there is no way takes the uplink.
"""

from __future__ import annotations

import heapq
import math
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from tests.reference.delay_twin import CLIENT, INF, OPERATION, stream_key, threefry, uniform
from tests.reference.rounds_twin import PARTS, Cluster

ARRIVAL = 4
"""Domain of the gaps between operations."""


@dataclass(frozen=True)
class Load:
    """A cluster and what is asked of it.

    Its rounds hold receive and transit too: CPU ms of a message for the replica itself, and of one for others or known already.
    What the rounds twin approximates with (handle, waits) is not read.
    """

    cluster: Cluster
    per_ms: float
    """Rate of a Poisson process; 0: each operation has a system at rest for itself."""
    clients: int
    """Of a closed loop; 0: open loop."""
    client_site: int | None
    window: int
    timeout_ms: float
    link_ms_per_byte: dict[tuple[int, int], float]
    """Of links with a bandwidth of their own."""


class Parts(NamedTuple):
    """Where the time went along a chain of messages, ms; the rest is queueing."""

    propagation: float = 0.0
    transmission: float = 0.0
    cpu: float = 0.0
    retransmission: float = 0.0

    def plus(self, **more: float) -> Parts:
        return self._replace(**{name: getattr(self, name) + ms for name, ms in more.items()})


@dataclass
class Copy:
    """A copy of a message on its way over one hop after the other."""

    operation: Operation
    round: int
    sender: int
    receiver: int | None
    """n for a client, None where flooded."""
    at: int
    ahead: tuple[int, ...] | None
    """Nodes still before it; None where there is no way."""
    parts: Parts
    repeats: int = 0
    came_from: int = -1


class Operation:
    """How far an operation is, whose client sits with replica `client`, and in the end its result."""

    def __init__(self, start: float, client: int, keys: list[tuple[int, int]], live: list[int]):
        self.start_ms, self.client, self.keys = start, client, keys
        self.entered, self.completed = dict.fromkeys(live, -1), dict.fromkeys(live, -1)
        self.handled: Counter[tuple[int, int]] = Counter()
        """(round, replica): messages that count."""
        self.chain_of = dict.fromkeys(live, Parts())
        """Parts of each replica's time until it completed its last round."""
        self.seen: set[tuple[int, int, int]] = set()
        """(round, sender, node): flooded messages that have come to a node."""
        self.commits, self.replies, self.over, self.failed = 0, 0, False, False
        self.parts, self.proposed, self.committed, self.latency_ms, self.flight_ms = Parts(), INF, INF, INF, INF
        self.sent, self.useful, self.repeats, self.transmissions = ([0 for _ in keys] for _ in range(4))

    @property
    def commit_ms(self) -> float:
        return self.committed - self.proposed if self.proposed < INF else INF

    @property
    def breakdown_ms(self) -> list[float]:
        """In the order of `rounds_twin.PARTS`; what nothing else explains is queueing."""
        waited = {"queueing": self.latency_ms - sum(self.parts)} if self.latency_ms < INF else {}
        return list((dict.fromkeys(PARTS, 0.0) | self.parts._asdict() | waited).values())


@dataclass
class Job:
    """CPU work of a replica: copies that get ready as it runs, and what happens at its end."""

    ms: float
    copies: list[tuple[float, Copy]] = field(default_factory=list)
    end: Callable[[], None] = lambda: None


@dataclass
class Machine:
    """What a replica computes and sends with."""

    idle: int
    uplink_free: float = 0.0
    last_received: float = -INF
    own: deque[Job] = field(default_factory=deque)
    received: deque[Job] = field(default_factory=deque)


class Simulation:
    """One replicate: `count` operations in all, from an empty system until all their messages are gone."""

    def __init__(self, load: Load, seed: int, replicate: int, count: int):
        self.load, self.cluster = load, (cluster := load.cluster)
        self.seed, self.replicate, self.count = seed, replicate, count
        self.streams = [stream_key(seed, OPERATION, r) for r in range(len(cluster.rounds))]
        self.live = [i for i in range(cluster.nodes) if i not in cluster.silent]
        self.machines = {i: Machine(cluster.cores) for i in self.live}
        costs = [table[cost] for table in cluster.rounds for cost in ("receive", "transit", "sign", "send", "quorum")]
        self.at_once = not any([*costs, *cluster.uplink, *cluster.downlink])
        """No CPU costs and no limited lines: messages count as they arrive, copies leave as they are made."""
        self.link_free: dict[tuple[int, int], float] = {}
        self.now, self.events, self.serial, self.watching = 0.0, [], 0, False
        self.operations: list[Operation] = []
        self.in_flight: set[Operation] = set()
        self.waiting: deque[Operation] = deque()

    def run(self) -> list[Operation]:
        for _ in range(self.load.clients or 1):
            self.schedule(self.gap(), self.start)
        while self.events:
            self.now, _, event = heapq.heappop(self.events)
            event()
            if not self.events and len(self.operations) < self.count:  # each has a system at rest
                self.schedule(self.now, self.start)
        return self.operations

    def schedule(self, time: float, event: Callable[[], None]) -> None:
        self.serial += 1
        heapq.heappush(self.events, (time, self.serial, event))

    def gap(self) -> float:
        """From one start of a Poisson process to the next; 0 where operations do not come by themselves."""
        if self.load.clients or not self.load.per_ms:
            return 0.0
        return -math.log(uniform(self.seed, ARRIVAL, len(self.operations), self.replicate)) / self.load.per_ms

    def start(self) -> None:
        if (number := len(self.operations)) == self.count:
            return
        site, keys = self.load.client_site, [threefry(stream, (number, self.replicate)) for stream in self.streams]
        if site is None:
            site = self.live[int(uniform(self.seed, CLIENT, number, self.replicate) * len(self.live))]
        operation = Operation(self.now, site, keys, self.live)
        self.operations.append(operation)
        if not self.load.clients and self.load.per_ms:
            self.schedule(self.now + self.gap(), self.start)
        operation.sent[0] += 1
        self.ready(self.unicast(operation, 0, self.cluster.nodes, self.cluster.primary, Parts()))
        for i in self.live:
            self.enter(operation, i, 0)
        if not self.watching:
            self.watch()

    def watch(self) -> None:
        """Set the timer of the first operation under way."""
        operation = next((one for one in self.operations if not one.over or one in self.in_flight), None)
        self.watching = operation is not None
        if self.watching:
            self.schedule(operation.start_ms + self.load.timeout_ms, lambda: self.give_up(operation))

    def answer(self, copy: Copy) -> None:
        """A reply has come to the client."""
        operation = copy.operation
        if not operation.over:
            operation.useful[copy.round] += 1
            operation.replies += 1
            if operation.replies == self.cluster.client_need:
                operation.latency_ms, operation.parts = self.now - operation.start_ms, copy.parts
                self.end(operation)

    def give_up(self, operation: Operation) -> None:
        self.waiting = deque(other for other in self.waiting if other is not operation)
        self.in_flight.discard(operation)
        self.move_window()
        if not operation.over:
            operation.failed = True
            self.end(operation)
        self.watch()

    def end(self, operation: Operation) -> None:
        operation.over = True
        if self.load.clients:
            self.schedule(self.now, self.start)

    def move_window(self) -> None:
        while self.waiting and len(self.in_flight) < self.load.window:
            operation = self.waiting.popleft()
            self.in_flight.add(operation)
            operation.proposed = self.now
            self.enter(operation, self.cluster.primary, 1)

    def enter(self, operation: Operation, i: int, r: int) -> None:
        if r == len(self.cluster.rounds):
            return
        table, parts = self.cluster.rounds[r], operation.chain_of[i]
        operation.entered[i] = r
        if i in table["senders"]:
            self.send(operation, i, r)
        if (need := table["need"].get(i, 0)) == 0:
            self.complete(operation, i, r, parts)
        elif operation.handled[r, i] >= need:
            self.gathered(operation, i, r, parts)

    def handled(self, copy: Copy) -> None:
        """A message counts at the replica that it is for."""
        operation, r, i = copy.operation, copy.round, copy.at
        operation.handled[r, i] += 1
        if operation.entered[i] == r and operation.handled[r, i] == self.cluster.rounds[r]["need"].get(i):
            self.gathered(operation, i, r, copy.parts)

    def gathered(self, operation: Operation, i: int, r: int, parts: Parts) -> None:
        if check := self.cluster.rounds[r]["quorum"]:
            self.compute(i, Job(check, [], lambda: self.complete(operation, i, r, parts.plus(cpu=check))), own=True)
        else:
            self.complete(operation, i, r, parts)

    def complete(self, operation: Operation, i: int, r: int, parts: Parts) -> None:
        cluster, operation.completed[i], operation.chain_of[i] = self.cluster, r, parts
        if i != cluster.primary or r > 0:
            self.enter(operation, i, r + 1)
        elif not operation.failed:
            self.waiting.append(operation)
            self.move_window()
        if r == cluster.commit_round:
            operation.commits += 1
            if operation.commits == cluster.commit_need:
                operation.committed = self.now
            if i == cluster.primary:
                operation.flight_ms = self.now - operation.proposed
                self.in_flight.discard(operation)
                self.move_window()

    def send(self, operation: Operation, i: int, r: int) -> None:
        """Let replica i make its message of round r, and a copy for each addressee or neighbour."""
        cluster, table = self.cluster, self.cluster.rounds[r]
        n, to_client = cluster.nodes, table["kind"] == "to_client"
        addressed = [n] if to_client else sorted(table["addressed"][i], key=lambda to: (to - i) % n)
        parts = operation.chain_of[i].plus(cpu=table["sign"] + table["send"])
        if cluster.dissemination == "gossip" and not to_client:
            operation.seen.add((r, i, i))
            copies = [Copy(operation, r, i, None, i, (to,), parts) for to in cluster.around[i]]
        else:
            copies = [self.unicast(operation, r, i, to, parts) for to in addressed]
        operation.sent[r] += len(addressed)
        self.compute(i, self.job(table["sign"], table, copies), own=True)

    def job(self, first_ms: float, table: dict[str, Any], copies: list[Copy]) -> Job:
        """Work on a message, and then on one copy of it after the other."""
        made = [(first_ms + (k + 1) * table["send"], copy) for k, copy in enumerate(copies)]
        return Job(first_ms + len(copies) * table["send"], made)

    def unicast(self, operation: Operation, r: int, sender: int, receiver: int, parts: Parts) -> Copy:
        """A copy that goes from sender to receiver along the path between them."""
        cluster, path = self.cluster, []
        root, node = (operation.client if end == cluster.nodes else end for end in (sender, receiver))
        while node != root:
            path.append(node)
            node = root if cluster.dissemination == "direct" else cluster.before.get((root, node))
            if node is None:  # there is no way
                return Copy(operation, r, sender, receiver, root, None, parts)
        return Copy(operation, r, sender, receiver, root, tuple(reversed(path)), parts)

    def ready(self, copy: Copy) -> None:
        """The node that has the copy puts it on its uplink as soon as that is free; clients have lines of their own."""
        cluster, start = self.cluster, self.now
        if copy.sender < cluster.nodes or copy.at != copy.operation.client:
            machine = self.machines[copy.at]
            start = max(start, machine.uplink_free)
            machine.uplink_free = start + cluster.rounds[copy.round]["bytes"] * cluster.uplink[copy.at]
        if copy.ahead:
            self.cross(copy, start)
        elif copy.ahead is not None:  # client and replica are at one site
            self.schedule(start, lambda: self.arrive(copy))

    def cross(self, copy: Copy, start: float) -> None:
        """Cross the next hop, from `start` on the uplink."""
        operation, r, hop = copy.operation, copy.round, (copy.at, copy.ahead[0])
        link, size, law = self.cluster.links[hop], self.cluster.rounds[r]["bytes"], self.cluster.law
        counter = link.number if copy.receiver is None else copy.receiver + (len(copy.ahead) - 1 << 20)
        travel, _, losses = law.hop(operation.keys[r], counter, copy.sender, link.base_ms, link.loss)
        operation.transmissions[r] += 1
        begin = start
        if hop in self.load.link_ms_per_byte:
            begin = max(start, self.link_free.get(hop, 0.0))
            self.link_free[hop] = begin + size * self.load.link_ms_per_byte[hop]
        if copy.repeats == losses:
            transmission = size * link.ms_per_byte
            copy.parts = copy.parts.plus(propagation=travel, transmission=transmission)
            self.schedule(begin + transmission + travel, lambda: self.arrive(copy))
            return
        operation.repeats[r] += 1
        if law.stream:
            wait = min(law.timeout(link.base_ms) * 2.0**copy.repeats, 120_000.0)
            copy.repeats += 1
            copy.parts = copy.parts.plus(retransmission=wait)
            self.schedule(begin + wait, lambda: self.ready(copy))

    def arrive(self, copy: Copy) -> None:
        if copy.ahead:
            copy.came_from, copy.at, copy.ahead, copy.repeats = copy.at, copy.ahead[0], copy.ahead[1:], 0
        if not copy.ahead and copy.receiver == self.cluster.nodes:
            self.answer(copy)
        elif copy.at in self.machines:
            machine, size = self.machines[copy.at], self.cluster.rounds[copy.round]["bytes"]
            machine.last_received = max(self.now, machine.last_received + size * self.cluster.downlink[copy.at])
            if machine.last_received == self.now:
                self.received(copy)
            else:
                self.schedule(machine.last_received, lambda: self.received(copy))

    def received(self, copy: Copy) -> None:
        """A live node has the copy; what is to be done with it waits for a core."""
        table, message = self.cluster.rounds[copy.round], (copy.round, copy.sender, copy.at)
        if copy.receiver is not None and not copy.ahead:
            self.at_replica(copy)
        elif copy.receiver is not None:
            copy.parts = copy.parts.plus(cpu=table["transit"] + table["send"])
            self.compute(copy.at, self.job(table["transit"], table, [copy]))
        elif message in copy.operation.seen:
            self.compute(copy.at, Job(table["transit"]))
        else:
            copy.operation.seen.add(message)
            self.flood(copy)

    def flood(self, copy: Copy) -> None:
        """Pass the first copy of a flooded message on to all other neighbours, and take it in where it is for this node."""
        operation, r, node, table = copy.operation, copy.round, copy.at, self.cluster.rounds[copy.round]
        onward = [to for to in self.cluster.around[node] if to != copy.came_from]
        passed = copy.parts.plus(cpu=table["transit"] + table["send"])
        job = self.job(table["transit"], table, [Copy(operation, r, copy.sender, None, node, (to,), passed) for to in onward])
        if node in table["receivers"]:
            operation.useful[r] += operation.completed[node] < r
            job.ms += table["receive"] - table["transit"]
            copy.parts = copy.parts.plus(cpu=job.ms)
            job.end = lambda: self.handled(copy)
        self.compute(node, job)

    def at_replica(self, copy: Copy) -> None:
        receive = self.cluster.rounds[copy.round]["receive"]
        copy.operation.useful[copy.round] += copy.operation.completed[copy.at] < copy.round
        copy.parts = copy.parts.plus(cpu=receive)
        self.compute(copy.at, Job(receive, [], lambda: self.handled(copy)))

    def compute(self, node: int, job: Job, own: bool = False) -> None:
        if self.at_once:
            job.end()
            for _, copy in job.copies:
                self.ready(copy)
        else:
            (self.machines[node].own if own else self.machines[node].received).append(job)
            self.dispatch(node)

    def dispatch(self, node: int) -> None:
        """Let idle cores begin what waits, a replica's own next steps first."""
        machine = self.machines[node]
        while machine.idle and (machine.own or machine.received):
            job = (machine.own or machine.received).popleft()
            machine.idle -= 1
            for after, copy in job.copies:
                self.schedule(self.now + after, lambda copy=copy: self.ready(copy))
            self.schedule(self.now + job.ms, lambda job=job: self.finish(node, job))

    def finish(self, node: int, job: Job) -> None:
        self.machines[node].idle += 1
        job.end()
        self.dispatch(node)


def simulate(load: Load, seed: int, count: int, replicate: int = 0) -> list[Operation]:
    """Simulate the first `count` operations of a replicate."""
    return Simulation(load, seed, replicate, count).run()
