"""Speed of the rounds engine: nanoseconds per message beside a floor measured in the same run.

The floor draws one Threefry uniform, adds and compares it for each message, and stores nothing. Each figure is the best of
several repetitions on one thread; ratios to the floor carry over between machines better than the figures themselves.
"""

import resource
import time
from collections.abc import Iterator

import numpy as np
from llvmlite.binding import get_host_cpu_name

from prsm_kernels import LANES, make_scratch, simulate
from prsm_kernels._jit import kernel
from prsm_kernels.lanes import add_mask, load, spread, spread_int, store, to_float
from prsm_kernels.rng import threefry2x32
from prsm_scale.batches import empty_batch
from prsm_scale.config import Scenario
from prsm_scale.plans import make_plan
from prsm_scale.system import build_system

NODES = (10, 32, 100, 316, 1000, 3162)
SETTINGS = {
    "no contention": {"network": "ideal", "delay_min_ms": 50.0, "delay_max_ms": 100.0, "loss": 0.001, "free_cpu": True},
    "CPU and NIC": {"network": "wan"},
}


@kernel
def floor(keys, messages, limit, out):
    """Count uniforms that, added to a constant, stay below a limit."""
    k0, k1 = load(keys, 0), load(keys, LANES)
    count = spread_int(np.uint32(0))
    base = spread(np.float32(50.0))
    for i in range(messages // LANES):
        bits, _ = threefry2x32(k0, k1, spread_int(np.uint32(7)), spread_int(np.uint32(i)))
        count = add_mask(count, base + to_float(bits >> np.uint32(8)) < limit)
    store(out, 0, count)


def best(run, repetitions: int) -> float:
    """Shortest time of `run`, s, after one call to warm up."""
    run()
    times = []
    for _ in range(repetitions):
        begun = time.perf_counter()
        run()
        times.append(time.perf_counter() - begun)
    return min(times)


def engine_ns(nodes: int, settings: dict, operations: int, repetitions: int) -> float:
    """Time per message of a fault-free PBFT operation on a complete graph, ns."""
    system = build_system(make_plan(Scenario(nodes=nodes, rate=0.0, **settings)), 0)
    number = np.arange(operations, dtype=np.uint32)
    batch = empty_batch(system, np.zeros(operations, np.uint32), number)
    scratch = make_scratch(system.rounds, system.paths, system.machines)

    def run() -> None:
        scratch.progress[:] = 0
        simulate(system.rounds, system.paths, system.plan.law, system.machines, batch, scratch, 1 << 60)

    seconds = best(run, repetitions)
    return seconds / batch.sent.sum() * 1e9


def report(quick: bool) -> Iterator[str]:
    """Lines of the table; `quick` takes fewer sizes and repetitions."""
    repetitions = 3 if quick else 7
    out, keys = np.zeros(LANES, np.uint32), np.arange(2 * LANES, dtype=np.uint32)
    messages = 1 << 24
    base = best(lambda: floor(keys, messages, np.float32(53.0), out), repetitions) / messages * 1e9
    yield f"{get_host_cpu_name()}; floor: {base:.2f} ns per message (one draw, one add, one compare)"
    yield ""
    yield f"{'n':>5} {'':14} {'ns/message':>10} {'x floor':>8}"
    for nodes in NODES[: 5 if quick else 6]:
        operations = int(np.clip(40_000_000 // (2 * nodes**2), LANES, 4096)) // LANES * LANES
        for name, settings in SETTINGS.items():
            ns = engine_ns(nodes, settings, operations, repetitions if nodes < 3000 else 1)
            yield f"{nodes:5} {name:14} {ns:10.2f} {ns / base:8.1f}"
    yield ""
    yield f"peak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MB"
