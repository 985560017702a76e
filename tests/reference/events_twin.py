"""A slow, plain twin of the events engine: docs/events.md written again with objects, dicts, a heap and float64.

It shares nothing with the engine but the published recipe of its random numbers, see `delay_twin`. Events are calls that are due
at a time: an operation starts or times out; a copy is ready for an uplink, arrives, has passed the downlink; a job ends.

Events of equal time happen in the order in which they were scheduled, and what an event brings about is scheduled in the order
in which docs/events.md tells it: a start makes the next start, then the request, then the replicas' entering, then the time-out;
a job that begins makes its copies ready, then its end; a job that ends lets its message count, so that its replica completes
the round, enters the next and sends; after that the operation commits, the window moves on, and the free core takes what waits.

Where that page leaves it open: a reply to a client at the replica's own site takes the uplink, a request from there passes the
downlink; a time-out runs from when a lost copy starts onto the link; a copy for which there is no way takes the uplink.

Faults are in `fault_twin`, which overrides what faulty replicas and view changes do otherwise.
"""

from __future__ import annotations

import heapq
import math
from collections import deque
from collections.abc import Callable
from typing import Any

from tests.reference.delay_twin import OPERATION, stream_key, threefry, uniform
from tests.reference.events_model import Copy, Job, Load, Machine, Message, Operation, Parts

ARRIVAL = 4
"""Domain of the gaps between operations."""


class Simulation:
    """One replicate: `count` operations in all, from an empty system until all their messages are gone."""

    def __init__(self, load: Load, seed: int, replicate: int, count: int):
        self.load, self.cluster = load, (cluster := load.cluster)
        self.seed, self.replicate, self.count = seed, replicate, count
        self.live = [i for i in range(cluster.nodes) if i not in cluster.silent]
        self.view = dict.fromkeys(self.live, 0)
        """View of each replica."""
        self.answered = 0
        """Latest view in which an operation has been answered."""
        self.machines = {i: Machine(cluster.cores) for i in self.live}
        costs = [table[cost] for table in cluster.rounds for cost in ("receive", "transit", "sign", "send", "quorum")]
        self.at_once = not any([*costs, *cluster.uplink, *cluster.downlink])
        """No CPU costs and no limited lines: messages count as they arrive, copies leave as they are made."""
        self.link_free: dict[tuple[int, int], float] = {}
        self.uplink_free: dict[int, float] = {}
        self.last_received: dict[int, float] = {}
        """Of each line."""
        self.now, self.events, self.serial, self.watching = 0.0, [], 0, False
        self.cancelled: set[int] = set()
        self.operations: list[Operation] = []
        self.in_flight: set[Operation] = set()
        self.waiting: deque[tuple[Operation, int]] = deque()
        """Operations that wait for a place in the window, and the primary at which each does."""

    def run(self) -> list[Operation]:
        for _ in range(self.load.clients or 1):
            self.schedule(self.gap(), self.start)
        while self.events:
            self.advance()
            self.now, serial, event = heapq.heappop(self.events)
            if serial not in self.cancelled:
                event()
            if not self.events and len(self.operations) < self.count:  # each has a system at rest
                self.schedule(self.now, self.start)
        return self.operations

    def advance(self) -> None:
        """Let hold what begins to by the next event."""

    def schedule(self, time: float, event: Callable[[], None]) -> int:
        self.serial += 1
        heapq.heappush(self.events, (time, self.serial, event))
        return self.serial

    def gap(self) -> float:
        """From one start of a Poisson process to the next; 0 where operations do not come by themselves."""
        if self.load.clients or not self.load.per_ms:
            return 0.0
        return -math.log(uniform(self.seed, ARRIVAL, len(self.operations), self.replicate)) / self.load.per_ms

    def start(self) -> None:
        if (number := len(self.operations)) == self.count:
            return
        site = self.load.client_site
        if site is None:
            site = self.cluster.client_site(self.seed, number, self.replicate)
        operation = self.new_operation(number, site)
        self.operations.append(operation)
        if not self.load.clients and self.load.per_ms:
            self.schedule(self.now + self.gap(), self.start)
        self.ask(operation, [self.primary(operation, self.answered)])
        for i in self.live:
            self.begin(operation, i)
        if not self.watching:
            self.watch()

    def watch(self) -> None:
        """Set the timer of the first operation under way."""
        operation = next((one for one in self.operations if not one.over or one in self.in_flight), None)
        self.watching = operation is not None
        if self.watching:
            self.schedule(operation.start_ms + self.load.timeout_ms, lambda: self.give_up(operation))

    # What `fault_twin` does otherwise.

    def new_operation(self, number: int, site: int) -> Operation:
        return Operation(number, self.now, site, len(self.cluster.rounds), self.live)

    def ask(self, operation: Operation, to: list[int], number: int = 0) -> None:
        """Let the client send its request; once more, if number > 0."""
        operation.sent[0] += len(to)
        message = self.message(operation, 0, self.cluster.nodes, number)
        for i in to:
            self.ready(self.unicast(message, i, Parts()))

    def begin(self, operation: Operation, i: int) -> None:
        """Let a replica take part in an operation."""
        self.enter(operation, i, 0)

    def primary(self, operation: Operation, view: int) -> int:
        return self.cluster.primary

    def rounds(self, operation: Operation, view: int) -> tuple[dict[str, Any], ...]:
        return self.cluster.rounds

    def stream(self, r: int, operation: Operation, view: int, number: int) -> int:
        """Number of the stream of draws of a message."""
        return r

    def up(self, node: int) -> bool:
        """Whether a replica does anything."""
        return node in self.machines

    def pace(self, node: int) -> float:
        """Factor on the CPU times of jobs that begin."""
        return self.cluster.slow[node]

    def line(self, node: int) -> int:
        """Number of the lines that a node has, or shares with its host."""
        return node if self.cluster.host is None else self.cluster.host[node]

    def while_up(self, node: int, event: Callable[[], None]) -> Callable[[], None]:
        """The event, unless it is dropped because the replica crashes before."""
        return event

    def while_in_view(self, node: int, event: Callable[[], None]) -> Callable[[], None]:
        """The event, unless the replica has left its view before."""
        return event

    def held_ms(self, copy: Copy) -> float:
        """By how much a copy that a replica begins to make now will be ready late."""
        return 0.0

    def trouble(self, hop: tuple[int, int]) -> tuple[float, float]:
        """(loss, delay in ms) on a hop beyond what the link has."""
        return 0.0, 0.0

    def apart(self, hop: tuple[int, int]) -> bool:
        """Whether nothing gets from node to node."""
        return False

    def passes_on(self, node: int) -> bool:
        return True

    def wanted(self, message: Message, i: int) -> bool:
        """Whether replica i has not completed the round of a message that it has received."""
        return message.operation.completed[i] < message.round

    def counts(self, message: Message, i: int) -> bool:
        """Whether replica i takes the message for a vote."""
        return True

    def may_propose(self, operation: Operation, i: int) -> bool:
        return True

    def committed(self, operation: Operation, i: int) -> None:
        """Replica i has completed the commit round."""
        operation.commits += 1
        if operation.commits == self.cluster.commit_need:
            operation.committed = self.now

    def agreed(self, message: Message) -> int:
        """Take a reply in; how many now agree with it, or 0 where it is of no use."""
        message.operation.replies += 1
        return message.operation.replies

    # Operations.

    def answer(self, copy: Copy) -> None:
        """A reply has come to the client."""
        operation = copy.message.operation
        if not operation.over and (agreed := self.agreed(copy.message)):
            operation.useful[copy.message.round] += 1
            if agreed == self.cluster.client_need:
                operation.latency_ms, operation.parts = self.now - operation.start_ms, copy.parts
                self.end(operation)

    def give_up(self, operation: Operation) -> None:
        self.waiting = deque(entry for entry in self.waiting if entry[0] is not operation)
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
            operation, i = self.waiting.popleft()
            if self.may_propose(operation, i):
                self.in_flight.add(operation)
                self.propose(operation, i)

    def propose(self, operation: Operation, i: int) -> None:
        operation.proposed = self.now
        self.enter(operation, i, 1)

    def enter(self, operation: Operation, i: int, r: int) -> None:
        view = self.view[i]
        if r == len(self.rounds(operation, view)):
            return
        table, parts = self.rounds(operation, view)[r], operation.chain_of[i]
        operation.entered[i] = r
        if i in table["senders"]:
            self.send(operation, i, r)
        if (need := table["need"].get(i, 0)) == 0:
            self.complete(operation, i, r, parts)
        elif operation.handled[view, r, i] >= need:
            self.gathered(operation, i, r, parts)

    def handled(self, copy: Copy) -> None:
        """A message counts at the replica that it is for."""
        message, i = copy.message, copy.at
        operation, r, view = message.operation, message.round, message.view
        if self.counts(message, i):
            operation.handled[view, r, i] += 1
            need = self.rounds(operation, view)[r]["need"].get(i)
            if view == self.view[i] and operation.entered[i] == r and operation.handled[view, r, i] == need:
                self.gathered(operation, i, r, copy.parts)

    def gathered(self, operation: Operation, i: int, r: int, parts: Parts) -> None:
        if check := self.rounds(operation, self.view[i])[r]["quorum"]:
            done = self.while_in_view(i, lambda: self.complete(operation, i, r, parts.plus(cpu=check * self.cluster.slow[i])))
            self.compute(i, Job(check, [], done), own=True)
        else:
            self.complete(operation, i, r, parts)

    def complete(self, operation: Operation, i: int, r: int, parts: Parts) -> None:
        operation.completed[i], operation.chain_of[i] = r, parts
        leads = i == self.primary(operation, self.view[i])
        if r > 0 or not leads:
            self.enter(operation, i, r + 1)
        elif not operation.failed:
            self.admit(operation, i)
        if r == self.cluster.commit_round:
            self.committed(operation, i)
            if leads:
                operation.flight_ms = self.now - operation.proposed
                self.in_flight.discard(operation)
                self.move_window()

    def admit(self, operation: Operation, i: int) -> None:
        """An operation is ready to be proposed."""
        self.waiting.append((operation, i))
        self.move_window()

    # Messages.

    def message(self, operation: Operation, r: int, sender: int, number: int = 0) -> Message:
        view = self.view.get(sender, 0)
        table, stream = self.rounds(operation, view)[r], self.stream(r, operation, view, number)
        return Message(operation, r, sender, table, self.key(operation, stream), view)

    def key(self, operation: Operation, stream: int) -> tuple[int, int]:
        return threefry(stream_key(self.seed, OPERATION, stream), (operation.number, self.replicate))

    def send(self, operation: Operation, i: int, r: int) -> None:
        """Let replica i make its message of round r, and a copy for each addressee or neighbour."""
        message = self.message(operation, r, i)
        to_client = message.table["kind"] == "to_client"
        addressed = [self.cluster.nodes] if to_client else message.table["addressed"][i]
        operation.sent[r] += len(addressed)
        self.multicast(message, addressed, operation.chain_of[i])

    def multicast(self, message: Message, addressed: list[int], parts: Parts) -> None:
        cluster, i, table = self.cluster, message.sender, message.table
        parts = parts.plus(cpu=(table["sign"] + table["send"]) * cluster.slow[i])
        if cluster.dissemination == "gossip" and addressed != [cluster.nodes]:
            message.turn = self.serial
            self.known(message, i)
            copies = [Copy(message, None, i, (to,), parts) for to in cluster.around[i]]
        else:
            ring = sorted(addressed, key=lambda to: (to - i) % cluster.nodes)
            copies = [self.unicast(message, to, parts) for to in ring]
        self.compute(i, self.job(table["sign"], table, copies), own=True)

    def job(self, first_ms: float, table: dict[str, Any], copies: list[Copy]) -> Job:
        """Work on a message, and then on one copy of it after the other."""
        made = [(first_ms + (k + 1) * table["send"], copy) for k, copy in enumerate(copies)]
        return Job(first_ms + len(copies) * table["send"], made)

    def unicast(self, message: Message, receiver: int, parts: Parts) -> Copy:
        """A copy that goes from sender to receiver along the path between them."""
        cluster, path = self.cluster, []
        root, node = (message.operation.client if end == cluster.nodes else end for end in (message.sender, receiver))
        while node != root:
            path.append(node)
            node = root if cluster.dissemination == "direct" else cluster.before.get((root, node))
            if node is None:  # there is no way
                return Copy(message, receiver, root, None, parts)
        return Copy(message, receiver, root, tuple(reversed(path)), parts)

    def ready(self, copy: Copy) -> None:
        """The node that has the copy puts it on its uplink as soon as that is free; clients have lines of their own."""
        cluster, message, start = self.cluster, copy.message, self.now
        if copy.ahead and self.apart((copy.at, copy.ahead[0])):
            return
        to = copy.ahead[0] if copy.ahead else message.operation.client if copy.receiver == cluster.nodes else copy.receiver
        if not self.by_client(copy) and cluster.leaves_host(copy.at, to):
            line = self.line(copy.at)
            start = max(start, self.uplink_free.get(line, 0.0))
            self.uplink_free[line] = start + message.table["bytes"] * cluster.uplink[copy.at]
        if copy.ahead:
            self.cross(copy, start)
        elif copy.ahead == ():  # client and replica are at one site
            self.schedule(start, lambda: self.arrive(copy))

    def by_client(self, copy: Copy) -> bool:
        """Whether it is a client that sends the copy over its next hop, not a replica."""
        return copy.message.sender == self.cluster.nodes and copy.at == copy.message.operation.client

    def cross(self, copy: Copy, start: float) -> None:
        """Cross the next hop, from `start` on the uplink."""
        message, hop, law = copy.message, (copy.at, copy.ahead[0]), self.cluster.law
        operation, r, size, link = message.operation, message.round, message.table["bytes"], self.cluster.links[hop]
        counter = link.number if copy.receiver is None else copy.receiver + (len(copy.ahead) - 1 << 20)
        worse, later = self.trouble(hop)
        loss = 1.0 - (1.0 - link.loss) * (1.0 - worse) if worse else link.loss
        travel, _, losses = law.hop(
            message.key, counter, message.sender + (message.again + message.invalid << 20), link.base_ms, loss
        )
        operation.transmissions[r] += 1
        begin = start
        if hop in self.load.link_ms_per_byte:
            begin = max(start, self.link_free.get(hop, 0.0))
            self.link_free[hop] = begin + size * self.load.link_ms_per_byte[hop]
        if copy.repeats >= losses:
            transmission = size * link.ms_per_byte
            copy.parts = copy.parts.plus(propagation=travel + later, transmission=transmission)
            self.schedule(begin + transmission + travel + later, lambda: self.arrive(copy))
            return
        operation.repeats[r] += 1
        if law.stream:
            wait = min(law.timeout(link.base_ms) * 2.0**copy.repeats, 120_000.0)
            copy.repeats += 1
            copy.parts = copy.parts.plus(retransmission=wait)
            again = lambda: self.ready(copy)  # noqa: E731
            self.schedule(begin + wait, again if self.by_client(copy) else self.while_up(copy.at, again))

    def arrive(self, copy: Copy) -> None:
        if copy.ahead:
            copy.came_from, copy.at, copy.ahead, copy.repeats = copy.at, copy.ahead[0], copy.ahead[1:], 0
        if not copy.ahead and copy.receiver == self.cluster.nodes:
            self.answer(copy)
        elif self.up(copy.at):
            line, size, received = self.line(copy.at), copy.message.table["bytes"], self.now
            came_from = copy.message.operation.client if copy.came_from < 0 else copy.came_from
            if self.cluster.leaves_host(came_from, copy.at):
                received = max(self.now, self.last_received.get(line, -math.inf) + size * self.cluster.downlink[copy.at])
                self.last_received[line] = received
            if received == self.now:
                self.received(copy)
            else:
                self.schedule(received, self.while_up(copy.at, lambda: self.received(copy)))

    def received(self, copy: Copy) -> None:
        """A live node has the copy; what is to be done with it waits for a core."""
        message, node = copy.message, copy.at
        table = message.table
        if copy.receiver is not None and not copy.ahead:
            self.at_replica(copy)
        elif copy.receiver is not None:
            if self.passes_on(node):
                copy.parts = copy.parts.plus(cpu=(table["transit"] + table["send"]) * self.cluster.slow[node])
                self.compute(node, self.job(table["transit"], table, [copy]))
        elif self.known(message, node):
            self.compute(node, Job(table["transit"]))
        else:
            self.flood(copy)

    def known(self, message: Message, node: int) -> bool:
        """Whether a flooded message, or a later one of the same sender and round, has come to the node before."""
        seen, which = message.operation.seen, (message.round, message.sender, message.invalid, node)
        if seen.get(which, -1) >= message.turn:
            return True
        seen[which] = message.turn
        return False

    def flood(self, copy: Copy) -> None:
        """Pass the first copy of a flooded message on to all other neighbours, and take it in where it is for this node."""
        message, node, table = copy.message, copy.at, copy.message.table
        onward = [to for to in self.cluster.around[node] if to != copy.came_from and self.passes_on(node)]
        passed = copy.parts.plus(cpu=(table["transit"] + table["send"]) * self.cluster.slow[node])
        job = self.job(table["transit"], table, [Copy(message, None, node, (to,), passed) for to in onward])
        if node in table["receivers"]:
            message.operation.useful[message.round] += self.wanted(message, node)
            job.ms += table["receive"] - table["transit"]
            copy.parts = copy.parts.plus(cpu=job.ms * self.cluster.slow[node])
            job.end = lambda: self.handled(copy)
        self.compute(node, job)

    def at_replica(self, copy: Copy) -> None:
        message, receive = copy.message, copy.message.table["receive"]
        message.operation.useful[message.round] += self.wanted(message, copy.at)
        copy.parts = copy.parts.plus(cpu=receive * self.cluster.slow[copy.at])
        self.compute(copy.at, Job(receive, [], lambda: self.handled(copy)))

    # CPU.

    def compute(self, node: int, job: Job, own: bool = False) -> None:
        if self.at_once:
            job.end()
            for _, copy in job.copies:
                if held_ms := self.held_ms(copy):
                    self.schedule(self.now + held_ms, self.while_up(node, lambda copy=copy: self.ready(copy)))
                else:
                    self.ready(copy)
        else:
            (self.machines[node].own if own else self.machines[node].received).append(job)
            self.dispatch(node)

    def dispatch(self, node: int) -> None:
        """Let idle cores begin what waits, a replica's own next steps first."""
        machine, pace = self.machines[node], self.pace(node)
        while machine.idle and (machine.own or machine.received):
            job = (machine.own or machine.received).popleft()
            machine.idle -= 1
            for after, copy in job.copies:
                ready_ms = self.now + pace * after + self.held_ms(copy)
                self.schedule(ready_ms, self.while_up(node, lambda copy=copy: self.ready(copy)))
            self.schedule(self.now + pace * job.ms, self.while_up(node, lambda job=job: self.finish(node, job)))

    def finish(self, node: int, job: Job) -> None:
        self.machines[node].idle += 1
        job.end()
        self.dispatch(node)


def simulate(load: Load, seed: int, count: int, replicate: int = 0) -> list[Operation]:
    """Simulate the first `count` operations of a replicate."""
    return Simulation(load, seed, replicate, count).run()
