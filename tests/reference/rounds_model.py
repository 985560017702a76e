"""What the twin of the rounds engine is made of: clusters, messages on their way, replicas, results."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from tests.reference.delay_twin import CLIENT, TURN, DelayLaw, uniform

PROPOSAL = 1
"""Round of the protocol in which the primary proposes."""
PARTS = ("propagation", "transmission", "cpu", "queueing", "retransmission", "view_change")


@dataclass(frozen=True)
class Link:
    """A directed link; `number` is its place in the order of all."""

    number: int
    base_ms: float
    loss: float
    ms_per_byte: float


@dataclass(frozen=True)
class Cluster:
    """A replicate of a scenario in plain terms.

    Each of `rounds`, in the order of an operation's way, is a dict: kind ("to_primary", "to_all", "among", "to_client"), primary,
    senders and receivers (live nodes), need (receiver -> arrivals from others), bytes, handle (node -> CPU ms of a received
    message), sign, send and quorum (CPU ms of a new message, of a copy, and of a quorum that is complete), addressed (sender ->
    nodes it sends to, in any order), sides (live node -> values for which it votes), stream (of its draws), column (where it is
    counted), and timer (ms for which replicas wait before they enter it) from the end of the round at place base, -1 for the
    start, None where they do not.
    """

    nodes: int
    primary: int
    silent: frozenset[int]
    rounds: tuple[dict[str, Any], ...]
    dissemination: str
    links: dict[tuple[int, int], Link]
    before: dict[tuple[int, int], int]
    """(source, node) -> node before it on the shortest path; unless direct."""
    nearest: list[int]
    """Nodes by their distance from the primary."""
    law: DelayLaw
    cores: int
    uplink: list[float]
    downlink: list[float]
    """ms per byte."""
    receptions: list[float]
    """Copies of each message that reach a node, on average: 1, unless flooded."""
    forward_ms: float
    relay_wait: dict[tuple[int, int, int], float]
    """(round, sender, node) -> ms: routed, on the whole way to node; gossip, at node."""
    busy: float
    """Probability that an operation waits behind others."""
    cpu_wait: list[float]
    nic_wait: list[float]
    """Mean waits of each replica behind other operations."""
    relay_behind: dict[tuple[int, int], float]
    """(sender, receiver) -> mean wait behind other operations at the relays of a unicast message."""
    slowed: dict[tuple[int, int], float]
    """(round, node) -> how much later its messages have been handled because others' come in between."""
    commit_round: int
    commit_need: int
    client_need: int
    columns: int
    """By which messages are counted."""
    honest: frozenset[int]
    dropping: frozenset[int] = frozenset()
    """Nodes that pass nothing on, besides the silent ones."""
    hold_ms: dict[int, float] = field(default_factory=dict)
    """By how much a node's own messages leave late."""
    invalid: dict[int, int] = field(default_factory=dict)
    """Invalid messages that a node sends after each of its own to replicas."""
    slow: list[float] = field(default_factory=list)
    """Factor on each node's CPU times; the rounds' `handle` has it already."""
    host: list[int] | None = None
    """Host of each node, whose lines all on it share; None where each has its own."""
    receive_line: dict[tuple[int, int], float] = field(default_factory=dict)
    """(round, node) -> for how many messages at full rate each one that comes takes the downlink, where that is shared."""

    @cached_property
    def proposal(self) -> int:
        """Place of the last proposal."""
        return max(place for place, table in enumerate(self.rounds) if table["column"] == PROPOSAL)

    def client_site(self, seed: int, operation: int, replicate: int) -> int:
        """Node with which the client of an operation sits: in one sixteenth of those that live, each of sixteen in another."""
        live = [node for node in self.nearest if node not in self.silent]
        turn = int(uniform(seed, TURN, operation // 16, replicate) * 16)
        sixteenth = (5 * operation + turn) % 16
        return live[int((sixteenth + uniform(seed, CLIENT, operation, replicate)) / 16 * len(live))]

    def leaves_host(self, node: int, to: int) -> bool:
        """Whether a message from node to node takes lines."""
        return self.host is None or self.host[node] != self.host[to]

    def first_hop(self, i: int, to: int) -> int:
        """Node to which a message of i for another leaves."""
        while self.dissemination != "direct" and self.before.get((i, to), i) != i:
            to = self.before[i, to]
        return to

    @cached_property
    def around(self) -> dict[int, list[int]]:
        """Neighbours of each node, in the order of its links."""
        ordered = sorted(self.links, key=lambda ends: self.links[ends].number)
        return {node: [v for u, v in ordered if u == node] for node in range(self.nodes)}


@dataclass
class Message:
    """A message on its way to one receiver, and where its time goes."""

    sender: int
    round: int
    arrival: float
    parts: dict[str, float] = field(default_factory=dict)
    repeats: int = 0
    counts: bool = True


@dataclass
class Replica:
    ready: float
    cores: list[float]
    uplink_free: float = 0.0
    downlink_free: float = 0.0
    left_over: list[Message] = field(default_factory=list)
    surplus: int = 0
    """Messages sent to it beyond those that its rounds needed, whether they ever come or not."""

    def compute(self, ready: float, duration: float) -> tuple[float, float]:
        """Run a job on the core that is free first; returns its begin and end."""
        core = self.cores.index(min(self.cores))
        begin = max(ready, self.cores[core])
        self.cores[core] = begin + duration
        return begin, begin + duration


@dataclass(frozen=True)
class Result:
    latency_ms: float
    commit_ms: float
    sent: list[int]
    useful: list[int]
    repeats: list[int]
    breakdown_ms: list[float]
    """In the order of `PARTS`."""
    last_ms: float
    """The latest time at which anything was finished; the scale of what single precision may be off."""
    violated: bool
    close: list[float]
    """How near messages came to the end of their receiver's round, for those that did not decide it, ms."""
