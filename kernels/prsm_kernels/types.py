"""Arrays that kernels take, grouped. All are C-contiguous; times in ms; `n` replicas, `m` directed edges, `R` rounds."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Ints = NDArray[np.int32]


class Law(NamedTuple):
    """Law of a message's delay over one hop: ``base + (offset + slope * base) * variate``."""

    kind: int
    """`codes.LAW_NONE`, `LAW_EXPONENTIAL` or `LAW_TABLE`."""
    offset: np.float32
    """Scale of the variate that does not depend on the link, ms."""
    slope: np.float32
    """Scale of the variate as a share of the link's base delay."""
    least: np.float32
    """The shortest delay as a share of the base delay; 0 where the law may fall below the base."""
    table: Floats
    """Quantiles, see `delay.quantile_table`; one element where `kind` needs none."""
    rto_offset: np.float32
    """Retransmission time-out of a hop is ``max(200, rto_offset + rto_slope * base)``, ms."""
    rto_slope: np.float32
    stream: bool
    """True: a lost copy is sent again. False: it is gone."""


class Paths(NamedTuple):
    """How a message gets from one replica to another."""

    kind: int
    """`codes.DIRECT`, `ROUTED` or `GOSSIP`."""
    base_ms: Floats
    """Direct: (n * n,), [receiver * n + sender]. Else (m,), by directed edge."""
    loss: Floats
    """Loss probability of a hop: direct (1,) or (n * n,); else (m,)."""
    ms_per_byte: Floats
    """Transmission time of a hop: direct (n,), the sender's line; else (m,) by directed edge, 0 within a host."""
    indptr: Ints
    """(n + 1,) CSR rows of directed edges by their first node; (1,) when direct."""
    target: Ints
    """(m,) node at the end of a directed edge."""
    source: Ints
    """(m,) node at the start of a directed edge."""
    reverse: Ints
    """(m,) the edge in the other direction."""
    last_edge: Ints
    """(n * n,), [source * n + node]: edge by which the shortest path from source enters node; -1 none."""
    order: Ints
    """(n * n,), [source * n + k]: nodes by distance from source, -1 after the last reachable one."""
    relay_ms: Floats
    """(R', n * n): waiting at relays. Routed [slot, receiver * n + sender], the sum along the path; gossip
    [slot, source * n + node], what a copy waits more at node than before it."""
    work: int
    """Draws per message, about: 1, or hops of a routed message."""
    forward_ms: np.float32
    """CPU time with which a relay at full pace delays a message that it forwards."""
    near: NDArray[np.uint8]
    """(n * n,), [receiver * n + sender]: 1 where the first hop of a unicast message stays within the sender's host; (1,) where
    each replica has a host of its own."""
    line_place: Ints
    """Copies of a multicast that take the line of the sender's host before this one, -1 for one that takes none: direct and
    routed (n * n,), [receiver * n + sender]; gossip (m,) by directed edge; (1,) where each replica has a host of its own."""


class Rounds(NamedTuple):
    """A protocol's table for one system: who sends to whom, how many arrivals end a round, what a message costs."""

    kind: Ints
    """(R,) `codes.TO_PRIMARY`, `AMONG_REPLICAS` or `TO_CLIENT`."""
    senders: Ints
    """All rounds' senders, concatenated."""
    sender_at: Ints
    """(R + 1,) offsets into `senders`."""
    receivers: Ints
    receiver_at: Ints
    need: Ints
    """(R * n,), [round * n + receiver]: arrivals from others that complete the round."""
    bytes: Floats
    """(R,) bytes of a message on the wire."""
    handle_ms: Floats
    """(R * n,), [round * n + receiver]: CPU time of a received message, its duplicates and forwarding included."""
    fanout: Ints
    """(R * n,), [round * n + sender]: copies that the sender puts on its uplink."""
    addressed: Ints
    """(R * n,), [round * n + sender]: replicas to which the sender's message goes."""
    sign_ms: Floats
    """(R * n,), [round * n + sender]: CPU time before the first copy of a message can leave."""
    send_ms: Floats
    """(R * n,), [round * n + sender]: CPU time of each copy sent."""
    in_ms: Floats
    """(R * n,), [round * n + receiver]: time of the downlink for each arrival, its duplicates and those at its host included."""
    line_first: Ints
    """(R * n,), [round * n + sender]: copies made before the first that takes the line."""
    line_copies: Ints
    """(R * n,), [round * n + sender]: copies that take the line; of a reply, where client and replica are on different hosts."""
    quorum_ms: Floats
    """(R * n,), [round * n + receiver]: CPU time once, when the round's arrivals are complete; 0 where none are awaited."""
    relay_slot: Ints
    """(R,) row of `Paths.relay_ms`, -1 where relays do not queue."""
    side: NDArray[np.uint8]
    """(R * n,), [round * n + replica]: values for which a replica votes, as bits; a message counts where sender and receiver have
    one in common."""
    noise: Ints
    """(R,) arrivals at a receiver that count for nothing, at most: votes for other values, and invalid messages."""
    base: Ints
    """(R,) round from whose end on replicas wait for `timer_ms` before they enter this one, -1 for the start; -2 for none."""
    timer_ms: Floats
    """(R,)."""
    proposal: int
    """Round of the last proposal: with what is before it the operation's views have failed, where it is not round 1."""
    commit_round: int
    """Round whose completion by `commit_need` replicas is the commit."""
    commit_need: int
    client_need: int
    """Matching replies that the client waits for."""


class Machines(NamedTuple):
    """What replicas have, and how busy other operations keep them."""

    cores: int
    contended: bool
    """False: CPU and NIC cost nothing, and messages do not wait for one another."""
    last_round: int
    """Last round among replicas; after it no arrival is carried on."""
    alive: NDArray[np.uint8]
    """(n,) 0 for a silent replica, which sends nothing and passes nothing on."""
    honest: NDArray[np.uint8]
    """(n,) 0 for a faulty replica."""
    relays: NDArray[np.uint8]
    """(n,) 0 for a replica that passes nothing on."""
    hold_ms: Floats
    """(n,) by how much a replica's own messages leave late."""
    invalid: Ints
    """(n,) invalid messages that a replica sends after each of its own to replicas."""
    in_ms_per_byte: Floats
    """(n,) downlink."""
    out_ms_per_byte: Floats
    """(n,) uplink."""
    slow: Floats
    """(n,) factor on a replica's CPU times: 1, or more where it has less than its cores; costs in `Rounds` hold it already."""
    shared: bool
    """Whether replicas share hosts, and so their lines."""
    host: Ints
    """(n,) host of each replica, from 0 ascending; its own number where hosts are not shared."""
    busy: np.float32
    """Probability that an operation waits behind others at all."""
    cpu_wait_ms: Floats
    """(n,) mean wait behind other operations for a CPU."""
    nic_wait_ms: Floats
    """(n,) for an uplink."""
    relay_wait_ms: Floats
    """(n * n,), [receiver * n + sender]: at the relays of a unicast message; (1,) for none."""
    slowed_ms: Floats
    """(R * n,), [round * n + receiver]: how much later a round's messages have been handled since others' come in between."""


class Batch(NamedTuple):
    """Operations to simulate, and where their results go. `B` operations, a multiple of 16."""

    operation: NDArray[np.uint32]
    """(B,) number of each operation within its replicate."""
    replicate: NDArray[np.uint32]
    """(B,)."""
    client: Ints
    """(B,) replica with which the operation's client sits."""
    primary: int
    """Of the view that serves."""
    split: bool
    """Whether that primary tells replicas different values."""
    keys: NDArray[np.uint32]
    """(R + 2, 2) stream key of each round, of the waits, and of their strata."""
    latency_ms: Floats
    """(B,) out: request to last needed reply, inf if never."""
    commit_ms: Floats
    """(B,) out: primary's proposal to commit by `commit_need` replicas."""
    flight_ms: Floats
    """(B,) out: primary's proposal to its own commit."""
    breakdown_ms: Floats
    """(B, 6) out, by `codes.PROPAGATION` ...: parts of the latency."""
    sent: NDArray[np.int64]
    """(B, R) out: messages sent."""
    useful: NDArray[np.int64]
    """(B, R) out: messages that arrived before their receiver's round was complete."""
    repeats: NDArray[np.int64]
    """(B, R) out: retransmissions (stream) or losses (datagram)."""
    violated: NDArray[np.uint8]
    """(B,) out: whether replicas of both sides have committed."""
    waits: Floats
    """(B, 2) out: how long the operation waits behind others, at its replicas and at relays, in units of the mean; 1 where none
    waits."""
    lost_ms: Floats
    """(B,) out: by how much longer than on average the last request to a replica took for retransmissions; 0 over datagrams."""


class Scratch(NamedTuple):
    """Working memory of one thread, made by `batch.make_scratch`."""

    progress: NDArray[np.int64]
    """(4,) block, round, stage, position: where the next call goes on."""
    keys: NDArray[np.uint32]
    """(7 * 16,): key lanes of the round under way, of the waits and of their strata; numbers of the operations."""
    client: NDArray[np.int64]
    """(16,): replica with which each lane's client sits."""
    done_ms: Floats
    """((R + 1) * n * 16,): completion of each round by each replica; row 0 is the start."""
    first_ms: Floats
    """(R * n * 16,): when the first copy of a round's message has left the CPU."""
    backlog_ms: Floats
    """(R * n * 16,): when the sender's uplink was free for it."""
    queued: NDArray[np.uint8]
    """(R * n,): 1 where that was later than the first copy in any lane."""
    uplink_ms: Floats
    """(n * 16,): when the uplink is free."""
    bursts: NDArray[np.int64]
    """(R * most replicas of a host,): bursts of one host and lane, by their beginnings, or replicas by their arrivals."""
    hosted_ms: Floats
    """(n * 16,): when a shared downlink has taken in the message of a round's only sender."""
    downlink_ms: Floats
    """(n * 16,)."""
    core_ms: Floats
    """(n * cores * 16,): when each core is free, ascending."""
    carry_ms: Floats
    """(n * carried * 16,): arrivals of earlier rounds not yet handled."""
    carried: Ints
    """(n,) how many."""
    row_ms: Floats
    """(longest * 16,): arrivals at one receiver, in the order of the senders."""
    sorted_ms: Floats
    """(longest * 16,): the same with what is carried, sorted."""
    critical: NDArray[np.uint32]
    """(R * n * 16,): whose message completed the receiver's round; the receiver itself if none did."""
    critical_ms: Floats
    """(R * n * 16,): arrival of that message."""
    committed_ms: Floats
    """(n * 16,): commits of the live replicas."""
    wave_ms: Floats
    """(WAVES * n * 16,) when gossiping: arrivals of the messages that are being flooded."""
    moved_on: NDArray[np.uint8]
    """(n,) when gossiping: whether a node has passed the message on since that came to it sooner than before."""
    edge_ms: Floats
    """(m,) when gossiping: the least time from when a message of the round is ready at a node until a copy is over an edge."""
    near: NDArray[np.int64]
    """(n,) when gossiping: edges by which a node may be reached sooner."""
    flood_ms: Floats
    """(n * n * 16,) when gossiping: [receiver, source] arrival of each message."""
    lane: Floats
    """(4 * 16,): base delay, loss threshold, transmission time and relay's factor of a hop that differs between lanes."""
    wait: Floats
    """(2 * 16,): how long each lane waits behind other operations, in units of the mean: at its replicas, and at relays."""
    lost_ms: Floats
    """(16,): see `Batch.lost_ms`."""
    moved: Floats
    """(16,): 1 for lanes whose message takes the hop under way."""
    at: NDArray[np.int64]
    """(17,): node at which each lane's message is; then the number of replicas."""
    root: NDArray[np.int64]
    """(16,): node from which each lane's message comes."""
    leaf: NDArray[np.int64]
    """(16,): node to which it goes."""
    node: NDArray[np.int64]
    """(16,): replica that the walk back from the client has reached."""
    ids: NDArray[np.uint32]
    """(2 * 16,): receivers and senders that differ between lanes."""
    counts: NDArray[np.uint32]
    """(2 * 16,): useful messages and repeats of the round under way."""
