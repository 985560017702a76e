"""Speed of the events engine beside a SimPy model of the same scenario, in one run.

Fault-free PBFT on a complete graph with exponential delays and a CPU of one core at each replica, one operation after the other.
An event of the engine is one taken off its heap; one of SimPy is one that its environment processes. Messages a second
compare what users wait for. Both run on one thread.
"""

import random
import time
from collections.abc import Iterator

import numpy as np
import simpy

from prsm_scale.config import Scenario
from prsm_scale.events import EventRun
from prsm_scale.plans import make_plan
from prsm_scale.system import build_system

NODES = (4, 16, 64, 128)
SITE = 1
"""Replica with which the client sits."""
SETTINGS = {"network": "ideal", "delay": "exponential(5)", "cores": 1, "rate": 0.0, "client_site": SITE}
CONTENDED = {"network": "lan", "rate": 0.0}


class SimpyModel:
    """PBFT with a first-come first-served CPU at each replica, in SimPy as its tutorial would have it."""

    def __init__(self, nodes: int, system) -> None:
        self.env = simpy.Environment()
        self.nodes, self.quorum, self.faults = nodes, system.plan.quorum, system.plan.faults
        self.jobs = system.plan.jobs
        self.cpu = [simpy.Resource(self.env, capacity=1) for _ in range(nodes)]
        self.random = random.Random(1)
        self.events = self.messages = 0

    def work(self, node: int, duration: float):
        """Hold the CPU for a job."""
        with self.cpu[node].request() as turn:
            yield turn
            yield self.env.timeout(duration)

    def deliver(self, phase: int, node: int):
        """Carry one message to a replica and handle it."""
        self.messages += 1
        yield self.env.timeout(self.random.expovariate(0.2))
        yield from self.work(node, self.jobs[phase].receive_ms)
        self.count[phase][node] += 1
        yield from self.advance(node)

    def multicast(self, phase: int, node: int):
        """Sign, and send to all others one by one."""
        job = self.jobs[phase]
        yield from self.work(node, job.create_ms + (self.nodes - 1) * job.send_ms)
        for to in range(self.nodes):
            if to != node:
                self.env.process(self.deliver(phase, to))

    def reply(self, node: int):
        """Answer the client."""
        self.messages += 1
        yield from self.work(node, self.jobs[4].create_ms + self.jobs[4].send_ms)
        if node != SITE:
            yield self.env.timeout(self.random.expovariate(0.2))
        self.replies += 1
        if self.replies == self.faults + 1:
            self.ended.succeed()

    def advance(self, node: int):
        """Enter the next rounds as far as votes allow."""
        need = (None, 1, self.quorum - (1 if node == 0 else 2), self.quorum - 1)
        while self.stage[node] < 4 and self.count[self.stage[node]][node] >= need[self.stage[node]]:
            self.stage[node] += 1
            if self.stage[node] < 4:
                yield from self.multicast(self.stage[node], node)
            else:
                self.env.process(self.reply(node))

    def operation(self):
        """One request from start to answer."""
        self.count = [[0] * self.nodes for _ in range(4)]
        self.stage = [1] * self.nodes
        self.replies, self.ended = 0, self.env.event()
        self.messages += 1
        yield self.env.timeout(self.random.expovariate(0.2))
        yield from self.work(0, self.jobs[0].receive_ms)
        self.stage[0] = 2
        self.env.process(self.multicast(1, 0))
        self.env.process(self.advance(0))
        yield self.ended

    def run(self, operations: int) -> list[float]:
        """Latencies of operations, each in a system at rest."""
        latencies = []
        for _ in range(operations):
            begun, process = self.env.now, self.env.process(self.operation())
            process.callbacks.append(lambda _, begun=begun: latencies.append(self.env.now - begun))
            while self.env.peek() < float("inf"):
                self.env.step()
                self.events += 1
        return latencies


def engine_speed(settings: dict, nodes: int, operations: int) -> tuple[float, float, float]:
    """(events a second, messages a second, mean latency) of the events engine."""
    run = EventRun(build_system(make_plan(Scenario(nodes=nodes, **settings)), 0))
    run.measure(2)
    before, begun = run.events, time.perf_counter()
    found = run.measure(operations)
    seconds = time.perf_counter() - begun
    return (run.events - before) / seconds, found.sent[2:].sum() / seconds, float(found.latency_ms.mean())


def simpy_speed(nodes: int, operations: int) -> tuple[float, float, float]:
    """The same of the SimPy model."""
    model = SimpyModel(nodes, build_system(make_plan(Scenario(nodes=nodes, **SETTINGS)), 0))
    begun = time.perf_counter()
    latencies = model.run(operations)
    seconds = time.perf_counter() - begun
    return model.events / seconds, model.messages / seconds, float(np.mean(latencies))


def report(quick: bool) -> Iterator[str]:
    """Lines of the table."""
    yield "    n  million events/s  SimPy  messages/s    SimPy  ratio  mean ms   SimPy"
    for nodes in NODES[: 3 if quick else 4]:
        operations = int(np.clip(4_000_000 // nodes**2, 20, 4000)) // (4 if quick else 1)
        events, messages, mean = engine_speed(SETTINGS, nodes, operations)
        slow = max(4, operations // 60)
        events_s, messages_s, mean_s = simpy_speed(nodes, slow)
        yield (
            f"{nodes:5} {events / 1e6:17.1f} {events_s / 1e6:6.2f} {messages:11,.0f} {messages_s:8,.0f} "
            f"{messages / messages_s:6.0f} {mean:8.2f} {mean_s:7.2f}"
        )
    for nodes in (16, 64):
        events, messages, _ = engine_speed(CONTENDED, nodes, int(400_000 // nodes**2))
        yield f"{nodes:5} {events / 1e6:17.1f} {'':6} {messages:11,.0f}   lan, four cores and both lines"
