"""Working memory of `simulate`."""

from __future__ import annotations

import numpy as np
import pytest

from prsm_kernels import make_scratch, simulate
from prsm_scale.batches import empty_batch
from tests.kernels.plain_run import SYSTEMS
from tests.support import system_of


def simulated(system, scratch):
    number = np.arange(32, dtype=np.uint32)
    batch = empty_batch(system, np.zeros(32, np.uint32), number)
    simulate(system.rounds, system.paths, system.plan.law, system.machines, batch, scratch, 1 << 40)
    return batch


def filled(scratch):
    """The same memory as another use may have left it."""
    for array in scratch:
        array[:] = np.nan if array.dtype == np.float32 else 1
    return scratch


@pytest.mark.parametrize("name", SYSTEMS)
def test_used_memory_changes_no_bit(name):
    """Larger memory of another system, full of what is no number, serves as well as fresh zeros."""
    system = system_of(**({"nodes": 4} | SYSTEMS[name]))
    fresh = simulated(system, make_scratch(system.rounds, system.paths, system.machines))
    other = system_of(nodes=10, topology="ring", byzantine_ratio=0.2, cores=4)
    large = make_scratch(other.rounds, other.paths, other.machines)
    spare = filled(large)
    scratch = make_scratch(system.rounds, system.paths, system.machines, spare)
    assert any(np.shares_memory(one, two) for one, two in zip(scratch, spare, strict=True))
    used = simulated(system, scratch)
    for field, one, two in zip(fresh._fields, fresh, used, strict=True):
        assert np.array_equal(one, two), field


def test_lanes_begin_with_a_line_of_the_cache():
    system = system_of(nodes=7, topology="ring")
    scratch = make_scratch(system.rounds, system.paths, system.machines)
    again = make_scratch(system.rounds, system.paths, system.machines, scratch)
    for one, two in zip(scratch._fields, zip(scratch, again, strict=True), strict=True):
        if one.endswith("_ms"):
            assert {array.ctypes.data % 64 for array in two} == {0}, one
