"""A slow, plain twin of the rounds engine: objects, dicts and float64, one operation and one message at a time.

It shares nothing with the engine but the published recipe of its random numbers: a key for each (seed, domain, index), from it
one for each (operation, replicate), and as counter the receiver (with the hop above 20 bits) or the directed link, and the
sender. Everything else is written here again from the description of the model, for reading, not for speed: queues are lists,
the k-th arrival comes out of ``sorted``, floods are Dijkstra's algorithm, delays are in `delay_twin`.

Where the engine approximates, the twin keeps the same rule: a replica takes messages of a later round in after its quorum of the
earlier one; waits at relays, and the laws of waits behind other operations, are given; a replica handles what an earlier round
left over in the CPU time of the round before the present one, and receives it at the present size; and where there is such, it
handles likewise what counts for nothing in the present one. Over relays an invalid message is as long on its way as the valid one
that it follows. Who never gets so far as to start a timer is left behind by the views that follow.

The way through views that fail is in `views_twin`.
"""

from __future__ import annotations

import heapq
import math
from typing import Any

from tests.reference.delay_twin import INF, OPERATION, exponential, single, stream_key, threefry, unit
from tests.reference.rounds_model import PARTS, PROPOSAL, Cluster, Link, Message, Replica, Result


def kth(values: list[float], k: int) -> float:
    return sorted(values)[k - 1] if k <= len(values) else INF


class Operation:
    """One operation, carried from request to reply."""

    def __init__(self, cluster: Cluster, seed: int, operation: int, replicate: int):
        self.cluster = cluster
        count, after = len(cluster.rounds), cluster.rounds[-1]["column"] + 1
        self.number = operation
        streams = [stream_key(seed, OPERATION, stream) for stream in [table["stream"] for table in cluster.rounds] + [after]]
        self.keys = [threefry(stream, (operation, replicate)) for stream in streams]
        self.keys.append(threefry(stream_key(seed, OPERATION, after + 1), (operation // 16, replicate)))
        live = [i for i in range(cluster.nodes) if i not in cluster.silent]
        self.client = cluster.client_site(seed, operation, replicate)
        self.replicas = {i: Replica(0.0, [0.0] * cluster.cores) for i in live}
        self.history: list[dict[int, float]] = []
        self.starts: dict[int, list[float]] = {}
        self.bursts: dict[int, list[tuple[float, int, int, int, float, float]]] = {}
        """Host -> bursts of its nodes: when the first copy is ready for the line; round and sender; copies; line and step, ms."""
        self.out: dict[int, float] = {}
        self.deciding: list[dict[int, Message | None]] = []
        self.sent, self.useful, self.repeats = [0] * count, [0] * count, [0] * count
        self.close: list[float] = []

    def run(self) -> Result:
        cluster = self.cluster
        latency, last = INF, None
        for r, table in enumerate(cluster.rounds):
            self.deciding.append({})
            self.wait_for_timers(table)
            if table["kind"] in ("to_primary", "to_all"):
                self.request(r)
            elif table["kind"] == "among":
                self.depart(r)
                self.deliver(r)
            else:
                self.depart(r)
                latency, last = self.reply(r)
            self.history.append({i: replica.ready for i, replica in self.replicas.items()})
        sides, done = cluster.rounds[-1]["sides"], self.history[cluster.commit_round]
        committed = kth([done[i] for i in done if len(sides[i]) == 1], cluster.commit_need)
        commit = committed - self.proposed if committed < INF else INF
        values = {value for i in cluster.honest if done[i] < INF for value in sides[i]}
        ends = [time for times in self.history for time in times.values()] + [latency]
        last_ms = max(time for time in [0.0, *ends] if time < INF)
        counts = [self.by_column(counted) for counted in (self.sent, self.useful, self.repeats)]
        return Result(latency, commit, *counts, self.breakdown(latency, last), last_ms, len(values) > 1, self.close)

    @property
    def proposed(self) -> float:
        """When the primary of the view that serves made its proposal."""
        return self.history[self.cluster.proposal - 1].get(self.cluster.primary, INF)

    def by_column(self, counted: list[int]) -> list[int]:
        total = [0] * self.cluster.columns
        for table, count in zip(self.cluster.rounds, counted, strict=True):
            total[table["column"]] += count
        return total

    def wait_for_timers(self, table: dict[str, Any]) -> None:
        """Let replicas enter a round when their time-out is over, where it is one that brings them there."""
        if table["base"] is None:
            return
        for i, replica in self.replicas.items():
            began = self.history[table["base"]][i] if table["base"] >= 0 else 0.0
            replica.ready = began + table["timer"]

    def counted(self, r: int, i: int, j: int) -> bool:
        """Whether a message of i counts at j: they vote for a common value, or j for a wrong one and i for A."""
        sides = self.cluster.rounds[r]["sides"]
        return bool(sides[i] & (sides[j] or {"A"}))

    def waits(self, where: int) -> float:
        """How long the operation waits behind others, in means: not, or exponential; 16 operations in turn share the law out.

        One draw at its replicas (`where` 0), one at relays (1).
        """
        busy = self.cluster.busy
        if busy == 0.0:
            return 0.0
        within, turn = threefry(self.keys[-2], (0, where))[0], threefry(self.keys[-1], (0, where))[0]
        share = (self.number + turn) % 16 * 2.0**31 + unit(within)
        return max(0.0, (exponential(single(share) / 16.0) + math.log(busy)) / busy)

    def behind(self, sender: int, receiver: int) -> float:
        """Wait behind others at the relays of a unicast message."""
        return self.waits(1) * self.cluster.relay_behind.get((sender, receiver), 0.0)

    def hop(self, r: int, link: Link, counter: int, sender: int) -> tuple[float, float, int]:
        """(propagation and jitter, time lost to retransmission, losses) of one hop."""
        return self.cluster.law.hop(self.keys[r], counter, sender, link.base_ms, link.loss)

    def carry(self, r: int, root: int, leaf: int, ends: tuple[int, int], leave: float) -> Message:
        """Send one message from node to node along its path; `ends` are (receiver, sender) in the counter."""
        cluster, table = self.cluster, self.cluster.rounds[r]
        message = Message(root, r, leave, dict.fromkeys(PARTS, 0.0))
        node, hop = leaf, 0
        while node != root:
            if cluster.dissemination == "direct":
                previous = root
            elif (root, node) not in cluster.before:
                message.arrival = INF
                return message
            else:
                previous = cluster.before[root, node]
            link = cluster.links[previous, node]
            travel, extra, losses = self.hop(r, link, ends[0] + (hop << 20), ends[1])
            message.parts["propagation"] += travel
            message.parts["retransmission"] += extra
            message.parts["transmission"] += table["bytes"] * link.ms_per_byte
            message.parts["cpu"] += cluster.forward_ms * cluster.slow[previous] if previous != root else 0.0
            message.repeats += losses
            node, hop = previous, hop + 1
        message.arrival = leave + sum(message.parts.values())
        return message

    def request(self, r: int) -> None:
        """Carry the client's request to the primary, or to all replicas."""
        cluster, table = self.cluster, self.cluster.rounds[r]
        self.sent[r] = 1 if table["kind"] == "to_primary" else cluster.nodes
        for j in table["receivers"]:
            replica = self.replicas[j]
            message = self.carry(r, self.client, j, (j, cluster.nodes), replica.ready)
            message.arrival += self.behind(self.client, j)
            self.repeats[r] += message.repeats
            if message.arrival == INF:
                replica.ready = INF
                continue
            replica.downlink_free = message.arrival
            _, end = replica.compute(message.arrival, table["handle"][j])
            replica.ready = end + self.waits(0) * cluster.cpu_wait[j]
            self.deciding[r][j] = message
            self.useful[r] += 1

    def depart(self, r: int) -> None:
        """Let every sender sign, then hand one copy after another from its CPU to its uplink."""
        cluster, table = self.cluster, self.cluster.rounds[r]
        self.starts, self.out = {}, {}
        for i in table["senders"]:
            replica = self.replicas[i]
            if replica.ready == INF:
                continue
            self.sent[r] += 1 if table["kind"] == "to_client" else len(table["addressed"][i])
            copies, sign, send = self.copies(r, i), table["sign"] * cluster.slow[i], table["send"] * cluster.slow[i]
            begin, _ = replica.compute(replica.ready, sign + copies * send)
            hold_ms = cluster.hold_ms.get(i, 0.0)
            self.out[i] = begin + sign + send + hold_ms
            self.out[i] += self.waits(0) * cluster.nic_wait[i] if cluster.host is None else 0.0
            self.starts[i] = []
            for k in range(copies if cluster.host is None else 0):
                self.starts[i].append(max(self.out[i] + k * send, replica.uplink_free))
                replica.uplink_free = self.starts[i][k] + table["bytes"] * cluster.uplink[i]
        if cluster.host is not None:
            self.share_lines(r)

    def share_lines(self, r: int) -> None:
        """Let the bursts of a host's nodes take its line one after the other, by their beginnings."""
        cluster, table = self.cluster, self.cluster.rounds[r]
        taken: dict[int, tuple[float, list[bool]]] = {}
        for i, out in self.out.items():
            flooded = cluster.dissemination == "gossip" and table["kind"] == "among"
            far = [cluster.leaves_host(i, to if flooded else cluster.first_hop(i, to)) for to in self.goals(r, i)]
            begin = out + (far.index(True) if any(far) else 0) * table["send"] * cluster.slow[i]
            begin += self.waits(0) * cluster.nic_wait[i]
            line = table["bytes"] * cluster.uplink[i]
            step = max(line, table["send"] * cluster.slow[i])
            self.bursts.setdefault(cluster.host[i], []).append((begin, r, i, sum(far), line, step))
            taken[i] = begin, far
        for i, (begin, far) in taken.items():
            free, send, place = 0.0, table["send"] * cluster.slow[i], 0
            before = sorted(burst for burst in self.bursts[cluster.host[i]] if burst[:3] < (begin, r, i))
            for start, _, _, copies, line, step in before:
                if copies:
                    free = max(start + (copies - 1) * step, max(start, free) + (copies - 1) * line) + line
            for k, leaves in enumerate(far):
                ready = self.out[i] + k * send
                self.starts[i].append(
                    max(ready, max(begin, free) + place * table["bytes"] * cluster.uplink[i]) if leaves else ready
                )
                place += leaves

    def goals(self, r: int, i: int) -> list[int]:
        """Where the copies of sender i's message go, one after the other."""
        cluster, table, n = self.cluster, self.cluster.rounds[r], self.cluster.nodes
        if table["kind"] == "to_client":
            return [self.client]
        each = sorted(table["addressed"][i], key=lambda to: (to - i) % n)
        if cluster.dissemination == "gossip":
            each = cluster.around[i]
        return each * (1 + cluster.invalid.get(i, 0))

    def copies(self, r: int, i: int) -> int:
        table = self.cluster.rounds[r]
        if table["kind"] == "to_client":
            return 1
        each = len(self.cluster.around[i]) if self.cluster.dissemination == "gossip" else len(table["addressed"][i])
        return each * (1 + self.cluster.invalid.get(i, 0))

    def deliver(self, r: int) -> None:
        """Carry the messages of a round among replicas, and complete it where enough arrive."""
        cluster, table = self.cluster, self.cluster.rounds[r]
        flooded = {i: self.flood(r, i) for i in self.starts} if cluster.dissemination == "gossip" else {}
        taken_in = {}
        if len(table["senders"]) == 1 and cluster.host is not None and not flooded:
            taken_in = self.share_downlinks(r, table["senders"][0])
        for j in table["receivers"]:
            if table["need"][j] == 0:
                continue
            messages, expected = [], 0
            for i in table["senders"]:
                if i == j:
                    continue
                invalid = cluster.invalid.get(i, 0)
                expected += 1 + invalid
                if i in self.starts:
                    valid = flooded[i][j] if flooded else self.unicast(r, i, j)
                    valid.counts = self.counted(r, i, j)
                    if valid.counts:
                        valid.arrival = taken_in.get(j, valid.arrival)
                    messages += [valid, *(self.invalid(r, j, valid, again) for again in range(1, invalid + 1))]
            self.repeats[r] += sum(message.repeats for message in messages)
            self.complete(r, j, [message for message in messages if message.arrival < INF], expected)

    def share_downlinks(self, r: int, i: int) -> dict[int, float]:
        """When hosts have taken in the messages of the only sender of a round, one after the other; those from other hosts."""
        cluster, table, free, taken_in = self.cluster, self.cluster.rounds[r], {}, {}
        came = [(self.unicast(r, i, j).arrival, j) for j in table["receivers"] if i in self.starts and self.counted(r, i, j)]
        for arrival, j in sorted(came):
            host, before = cluster.host[j], i if cluster.dissemination == "direct" else cluster.before.get((i, j), j)
            if cluster.host[before] != host:
                free[host] = taken_in[j] = max(arrival, free.get(host, -INF) + table["bytes"] * cluster.downlink[j])
        return taken_in

    def invalid(self, r: int, j: int, valid: Message, again: int) -> Message:
        """The `again`-th invalid message that follows a valid one to j."""
        i, cluster, table = valid.sender, self.cluster, self.cluster.rounds[r]
        if cluster.dissemination == "direct":
            message = self.unicast(r, i, j, again)
        else:
            spacing = (
                max(table["send"] * cluster.slow[i], table["bytes"] * cluster.uplink[i])
                * self.copies(r, i)
                / (1 + cluster.invalid[i])
            )
            message = Message(i, r, valid.arrival + again * spacing, {}, valid.repeats)
        message.counts = False
        return message

    def unicast(self, r: int, i: int, j: int, again: int = 0) -> Message:
        """Copies leave in the order of the ring: to i + 1, i + 2, ..., and after the last one, if `again`, once more."""
        n = self.cluster.nodes
        order = sorted(self.cluster.rounds[r]["addressed"][i], key=lambda to: (to - i) % n)
        message = self.carry(r, i, j, (j, i + (again << 20)), self.starts[i][order.index(j) + again * len(order)])
        message.arrival += self.cluster.relay_wait.get((r, i, j), 0.0) + self.behind(i, j)
        return message

    def flood(self, r: int, i: int) -> dict[int, Message]:
        """First arrival of sender i's message everywhere: each node passes it on once, but not to where it should come from."""
        cluster, size = self.cluster, self.cluster.rounds[r]["bytes"]
        best: dict[int, float] = {i: self.out[i]}
        queue = [(self.out[i], i)]
        settled: set[int] = set()
        while queue:
            arrived, node = heapq.heappop(queue)
            if node in settled:
                continue
            settled.add(node)
            if node in cluster.silent or (node in cluster.dropping and node != i):
                continue
            for to, leave in self.leaves(r, i, node, arrived):
                link = cluster.links[node, to]
                travel, extra, _ = self.hop(r, link, link.number, i)
                time = leave + size * link.ms_per_byte + travel + extra
                if time < best.get(to, INF):
                    best[to] = time
                    heapq.heappush(queue, (time, to))
        return {j: Message(i, r, best.get(j, INF), self.flood_parts(r, i, j, best.get(j, INF))) for j in self.replicas}

    def leaves(self, r: int, i: int, node: int, arrived: float) -> list[tuple[int, float]]:
        """(neighbour, when the copy of sender i's message for it starts onto the uplink of `node`)."""
        cluster, table = self.cluster, self.cluster.rounds[r]
        around = cluster.around[node]
        if node == i:
            return list(zip(around, self.starts[i], strict=False))
        send, line = table["send"] * cluster.slow[node], table["bytes"] * cluster.uplink[node]
        held = cluster.relay_wait.get((r, i, node), 0.0)
        line_wait = self.waits(1) * cluster.nic_wait[node] if cluster.relay_behind else 0.0
        if cluster.relay_behind:
            held += self.waits(1) * cluster.cpu_wait[node]
        at = arrived + cluster.forward_ms * cluster.slow[node] + held
        came_from, leaves = cluster.before[i, node], []
        for place, to in enumerate(around):
            earlier = [other for other in around[:place] if other != came_from]
            far = [other for other in earlier if cluster.leaves_host(node, other)]
            lines = len(far) if cluster.leaves_host(node, to) else 0
            waited = line_wait if cluster.leaves_host(node, to) else 0.0
            leaves.append((to, at + waited + max(len(earlier) * send, lines * line)))
        return leaves

    def flood_parts(self, r: int, i: int, j: int, arrival: float) -> dict[str, float]:
        """Parts of a flooded message by its undisturbed path; what detours and losses add counts as propagation."""
        cluster, size = self.cluster, self.cluster.rounds[r]["bytes"]
        parts = dict.fromkeys(PARTS, 0.0)
        waiting, node = 0.0, j
        while node != i and (i, node) in cluster.before:
            previous = cluster.before[i, node]
            parts["transmission"] += size * cluster.links[previous, node].ms_per_byte
            leave = dict(self.leaves(r, i, previous, 0.0))[node]
            if previous == i:
                waiting += leave - self.out[i]
            else:
                parts["cpu"] += cluster.forward_ms * cluster.slow[previous]
                waiting += leave - cluster.forward_ms * cluster.slow[previous]
            node = previous
        parts["propagation"] = max(0.0, arrival - self.out[i] - waiting - parts["transmission"] - parts["cpu"])
        return parts

    def complete(self, r: int, j: int, messages: list[Message], expected: int) -> None:
        """Pass arrivals through downlink and CPU, first come first served, until the round's need is met."""
        cluster, table, replica = self.cluster, self.cluster.rounds[r], self.replicas[j]
        in_ms = table["bytes"] * cluster.downlink[j] * cluster.receive_line.get((r, j), cluster.receptions[j])

        def decides(message: Message) -> bool:
            return message.round == r and message.counts

        queue = sorted(messages + replica.left_over, key=lambda message: (message.arrival, not decides(message)))
        other = cluster.rounds[r - 1 if replica.surplus else r]["handle"][j]
        replica.surplus = max(0, expected + replica.surplus - table["need"][j])
        need, finished, last = table["need"][j], INF, None
        while queue and need > 0:
            message = queue.pop(0)
            replica.downlink_free = max(message.arrival, replica.downlink_free + in_ms)
            _, end = replica.compute(replica.downlink_free, table["handle"][j] if decides(message) else other)
            if decides(message):
                need, finished, last = need - 1, end, message
        replica.left_over = queue
        if need > 0:
            finished, last = INF, None
        time = max(finished, replica.ready)
        if time < INF and table["quorum"] > 0.0:
            _, time = replica.compute(time, table["quorum"] * cluster.slow[j])
        self.deciding[r][j] = last if finished > replica.ready else None
        replica.ready = time + self.waits(0) * cluster.cpu_wait[j] + cluster.slowed.get((r, j), 0.0)
        counting = [message for message in messages if message.counts]
        self.useful[r] += sum(message.arrival <= replica.ready for message in counting)
        self.close += [abs(message.arrival - replica.ready) for message in counting if message is not last]

    def reply(self, r: int) -> tuple[float, Message | None]:
        """Carry the replies; the client is answered when enough of them agree."""
        n, sides = self.cluster.nodes, self.cluster.rounds[r]["sides"]
        messages = [self.carry(r, i, self.client, (n, i), starts[0]) for i, starts in self.starts.items()]
        for message in messages:
            message.arrival += self.behind(message.sender, self.client)
        self.repeats[r] = sum(message.repeats for message in messages)
        answers = []
        for value in ("A", "B"):
            agreeing = [message for message in messages if value in sides[message.sender]]
            latency = kth([message.arrival for message in agreeing], self.cluster.client_need)
            answers.append((latency, value, [message for message in agreeing if message.arrival <= min(latency, 1e300)]))
        latency, _, arrived = min(answers)
        self.useful[r] = len(arrived)
        decided = [message for message in arrived if message.arrival == latency]
        return latency, decided[-1] if decided else None

    def breakdown(self, latency: float, last: Message | None) -> list[float]:
        """Where the latency went, along the messages that decided it; what they do not explain is queueing."""
        total = dict.fromkeys(PARTS, 0.0)
        if last is None:
            return list(total.values())
        node: int | None = None
        since = self.cluster.proposal if self.cluster.proposal > PROPOSAL else 0
        total["view_change"] = self.proposed if since else 0.0
        for r in reversed(range(since, len(self.cluster.rounds))):
            table = self.cluster.rounds[r]
            message = last if node is None else self.deciding[r].get(node)
            if node in self.deciding[r] and table["kind"] == "among":
                total["cpu"] += table["quorum"] * self.cluster.slow[node]
            if message is None:
                continue
            for part, value in message.parts.items():
                total[part] += value
            total["cpu"] += table["handle"][node] if node is not None else 0.0
            node = message.sender
            total["cpu"] += (table["sign"] + table["send"]) * self.cluster.slow[node] if table["kind"] != "to_primary" else 0.0
        total["queueing"] = max(0.0, latency - sum(total.values()))
        return list(total.values())


def simulate(cluster: Cluster, seed: int, operations: list[tuple[int, int]]) -> list[Result]:
    """Simulate operations, given as (operation, replicate)."""
    return [Operation(cluster, seed, operation, replicate).run() for operation, replicate in operations]
