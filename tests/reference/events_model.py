"""What the twin of the events engine is made of: load, messages and their copies, operations, jobs and machines."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from tests.reference.delay_twin import INF
from tests.reference.rounds_twin import PARTS, Cluster


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


@dataclass(eq=False)
class Message:
    """What a replica, or a client (n), sends to one or to all."""

    operation: Operation
    round: int
    sender: int
    table: dict[str, Any]
    """Of its round; its size and costs."""
    key: tuple[int, int]
    """Of its draws."""
    view: int = 0
    again: int = 0
    """How often its sender has sent it before."""
    invalid: int = 0
    """Number of a message that says nothing, as a flooding replica sends after a valid one; 0 for that."""
    turn: int = 0
    """How many events had been scheduled when it was sent: later for a later message."""


@dataclass
class Copy:
    """A copy of a message on its way over one hop after the other."""

    message: Message
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

    def __init__(self, number: int, start: float, client: int, rounds: int, live: list[int]):
        self.number, self.start_ms, self.client = number, start, client
        self.entered, self.completed = dict.fromkeys(live, -1), dict.fromkeys(live, -1)
        self.handled: Counter[tuple[int, int, int]] = Counter()
        """(view, round, replica): messages that count."""
        self.chain_of = dict.fromkeys(live, Parts())
        """Parts of each replica's time until it completed its last round."""
        self.seen: dict[tuple[int, int, int, int], int] = {}
        """Round, sender, invalid and node -> `Message.turn` of the latest such flooded message that has come to the node."""
        self.commits, self.replies, self.over, self.failed = 0, 0, False, False
        self.changing_ms = 0.0
        """When a copy of a view change for it last began to cross a link, or came."""
        self.failing_ms = 0.0
        """From the start to the proposal that has been answered, if views failed before it."""
        self.parts, self.proposed, self.committed, self.latency_ms, self.flight_ms = Parts(), INF, INF, INF, INF
        self.sent, self.useful, self.repeats, self.transmissions = ([0] * rounds for _ in range(4))

    @property
    def commit_ms(self) -> float:
        return self.committed - self.proposed if self.proposed < INF else INF

    @property
    def breakdown_ms(self) -> list[float]:
        """In the order of `rounds_twin.PARTS`; what nothing else explains is queueing."""
        parts = self.parts._asdict() | {"view_change": self.failing_ms}
        waited = {"queueing": self.latency_ms - sum(parts.values())} if self.latency_ms < INF else {}
        return list((dict.fromkeys(PARTS, 0.0) | parts | waited).values())


@dataclass
class Job:
    """CPU work of a replica: copies that get ready as it runs, and what happens at its end."""

    ms: float
    copies: list[tuple[float, Copy]] = field(default_factory=list)
    end: Callable[[], None] = lambda: None


@dataclass
class Machine:
    """What a replica computes with."""

    idle: int
    own: deque[Job] = field(default_factory=deque)
    received: deque[Job] = field(default_factory=deque)
