"""Kernels as plain Python (NUMBA_DISABLE_JIT=1): the same results as compiled, and honest branch coverage."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from tests.kernels.plain_run import EVENTS, SYSTEMS, results

ROUNDINGS = 1e-6
"""Relative. `multiply_add` rounds once when compiled and, through float64, very rarely twice in plain Python; all else is
rounded alike. So a message's delay may differ by a unit in the last place (6e-8), and a latency by a few."""


@pytest.fixture(scope="module")
def plain(plain_run):
    """Results without compilation, and the coverage report of the run."""
    with np.load(plain_run.found) as found:
        return dict(found), json.loads(plain_run.coverage.read_text())


@pytest.fixture(scope="module")
def compiled():
    return results()


@pytest.mark.parametrize("name", SYSTEMS)
def test_times_are_those_of_compiled_kernels(name, plain, compiled):
    """Latencies, commit times and their parts; never to arrive is never in both."""
    for field in ("latency_ms", "commit_ms"):
        ours, theirs = plain[0][f"{name}: {field}"], compiled[f"{name}: {field}"]
        assert np.allclose(ours, theirs, rtol=ROUNDINGS), field
    latency = compiled[f"{name}: latency_ms"]
    ended = np.isfinite(latency)
    ours, theirs = plain[0][f"{name}: breakdown_ms"][ended], compiled[f"{name}: breakdown_ms"][ended]
    assert np.allclose(ours, theirs, rtol=0, atol=4 * ROUNDINGS * latency[ended].max(initial=1.0))


@pytest.mark.parametrize("name", SYSTEMS)
def test_counts_are_those_of_compiled_kernels(name, plain, compiled):
    for field in ("sent", "useful", "repeats"):
        assert np.array_equal(plain[0][f"{name}: {field}"], compiled[f"{name}: {field}"]), field


@pytest.mark.parametrize("name", EVENTS)
def test_events_are_those_of_compiled_kernels(name, plain, compiled):
    names = [key for key in compiled if key.startswith(f"events, {name}: ")]
    assert len(names) == 10
    for key in names:
        assert np.allclose(plain[0][key], compiled[key], rtol=ROUNDINGS, atol=1e-3), key


def test_systems_are_not_trivial(compiled):
    """Some end, one cannot, some lose messages."""
    ends = {name: bool(np.isfinite(compiled[f"{name}: latency_ms"]).any()) for name in SYSTEMS}
    assert not ends["cut in two"] and not ends["cut in two, gossip"]
    assert sum(ends.values()) == len(ends) - 2
    assert any(compiled[f"{name}: repeats"].any() for name in SYSTEMS)


@pytest.mark.parametrize("name", ["kth_arrivals", "sort_lanes", "sample_hops"])
def test_small_kernels_agree(name, plain, compiled):
    assert np.allclose(plain[0][name], compiled[name], rtol=ROUNDINGS)


def test_branch_coverage(plain):
    """Of all files together; lanes.py has the code that makes LLVM's vectors, which runs only when compiling."""
    files = {Path(name).name: file["summary"] for name, file in plain[1]["files"].items()}

    def covered(names):
        parts = [files[name] for name in names]
        done = sum(part["covered_lines"] + part["covered_branches"] for part in parts)
        return done / sum(part["num_statements"] + part["num_branches"] for part in parts)

    assert covered(set(files) - {"lanes.py", "_jit.py"}) > 0.95
    assert covered(files) > 0.9
    branches = [
        files[name] for name in ("rounds.py", "batch.py", "client.py", "trace.py", "queueing.py", "quorum.py", "delay.py")
    ]
    assert sum(b["covered_branches"] for b in branches) / sum(b["num_branches"] for b in branches) > 0.9
