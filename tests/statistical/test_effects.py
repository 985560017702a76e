"""Taking an effect away changes the answer as theory says: its sign, and its size where there is a formula."""

from __future__ import annotations

import math

import numpy as np
import pytest

from prsm_kernels import LANES
from prsm_kernels.codes import AMONG_REPLICAS
from prsm_scale.capacity import work_of
from prsm_scale.config import Scenario
from prsm_scale.engine import _STARTS, simulate_scenario
from prsm_scale.estimates import wilson
from prsm_scale.protocols import proposal_bytes, reply_bytes, request_bytes, vote_bytes
from prsm_scale.resources import auth_costs, message_costs, size_inputs
from tests.support import FREE, IDEAL, INF, run_system, system_of

EQUAL = {"network": "lan", "delay_min_ms": 50.0, "delay_max_ms": 50.0, "loss": 0.0, "jitter": "none"}
"""Links that are all alike."""
SIGMAS = 4.5


def simulated(**settings):
    return simulate_scenario(Scenario(**settings))


def mean_and_error(values):
    return values.mean(), values.std(ddof=1) / math.sqrt(values.size)


# Delays.


@pytest.mark.parametrize("jitter", ["exponential", "gamma", "lognormal"])
def test_jitter_adds_in_proportion_to_its_fraction(jitter):
    """With equal links everything beyond three delays is jitter, and twice the fraction is twice that, draw for draw.

    As long as no message is a whole delay late, so that all ways from proposal to commit have three hops.
    """
    still, some, twice = (
        simulated(nodes=10, operations=512, **FREE, **(EQUAL | {"jitter": law, "jitter_fraction": fraction})).commit_ms
        for law, fraction in (("none", 0.05), (jitter, 0.05), (jitter, 0.10))
    )
    assert (still == 150.0).all()
    assert (some > 150.0).all()
    assert twice - 150.0 == pytest.approx(2 * (some - 150.0), rel=1e-4, abs=1e-3)


def test_waiting_for_fewer_of_many_is_shorter():
    """Order statistics: silent replicas leave less choice among the same number of votes."""
    times = [
        simulated(nodes=13, operations=4000, **IDEAL, delay="uniform(50,150)", **more).commit_ms.mean()
        for more in ({}, {"placement": (1, 2)}, {"placement": (1, 2, 3, 4)})
    ]
    assert times[0] + 5 < times[1] < times[2] - 5


@pytest.mark.parametrize("transport", ["stream", "datagram"])
def test_losses_come_at_their_rate(transport):
    """Of what was sent 1 - p arrives at first, and a stream repeats p / (1 - p) a message; errors of geometric counts."""
    loss, n, operations = 0.05, 10, 2000
    outcome = simulated(nodes=n, operations=operations, transport=transport, loss=loss, **FREE, jitter="none")
    among = outcome.systems[0].rounds.kind == AMONG_REPLICAS
    sent, repeats = (counts[:, among].sum() for counts in (outcome.operations.sent, outcome.operations.repeats))
    expected, variance = {"stream": (loss / (1 - loss), loss / (1 - loss) ** 2), "datagram": (loss, loss)}[transport]
    assert abs(repeats / sent - expected) < SIGMAS * math.sqrt(variance / sent)
    # of 2 n (n - 1) + n + 1 messages, some 1.1 go from a client to its own replica and cannot be lost
    assert outcome.row["message_delivery_rate"] == pytest.approx(1 - loss, abs=SIGMAS * math.sqrt(loss / sent) + loss * 1.2 / 191)
    assert (outcome.row["retransmissions"] > 0) == (transport == "stream")


def test_a_lost_request_costs_its_timeouts():
    """Where only the request was lost, k times, the latency is that without loss and 200 (2**k - 1) ms."""
    outcome = simulated(nodes=4, operations=30_000, **FREE, **(EQUAL | {"loss": 0.02}))
    repeats = outcome.operations.repeats
    alone = (repeats[:, 1:].sum(axis=1) == 0) & (repeats[:, 0] > 0)
    assert alone.sum() > 50
    late = 200.0 * (2.0 ** repeats[alone, 0] - 1)
    assert outcome.latency_ms[alone] == pytest.approx(250.0 + late, rel=1e-6)
    assert outcome.operations.breakdown_ms[alone, 4] == pytest.approx(late, rel=1e-6)
    # first copies of requests from elsewhere are lost with probability 2 %
    elsewhere = 0.75 * repeats.shape[0]
    assert abs((repeats[:, 0] > 0).sum() - 0.02 * elsewhere) < SIGMAS * math.sqrt(0.02 * elsewhere)


def test_loss_delays_and_a_lossless_net_has_no_repeats():
    lossless, lossy = (simulated(nodes=10, operations=2000, network="wan", loss=loss) for loss in (0.0, 0.05))
    assert lossless.row["retransmissions"] == 0 and lossless.row["retransmission_ms"] == 0
    assert lossy.row["mean_latency_low_ms"] > lossless.row["mean_latency_high_ms"]
    assert lossy.row["retransmission_ms"] > 5.0


# CPU and lines.


@pytest.mark.parametrize("transport", ["stream", "datagram"])
@pytest.mark.parametrize(("topology", "dissemination"), [("fully_connected", "direct"), ("star", "routed"), ("ring", "gossip")])
def test_costs_that_vanish_leave_what_no_costs_give(topology, dissemination, transport):
    """The queues' code with next to nothing to queue for equals the code without queues, operation by operation.

    Seen to fail where the mark of an earlier round turned arrivals that never come into numbers, or lost them.
    """
    common = {"nodes": 10, "topology": topology, "dissemination": dissemination, "transport": transport}
    common |= {"loss": 0.1, "operations": 320, "free_cpu": True, "rate": 0}
    free, queued = (simulated(**common, bandwidth_mbps=line) for line in (INF, 1e12))
    assert np.array_equal(np.isinf(free.latency_ms), np.isinf(queued.latency_ms))
    ended = np.isfinite(free.latency_ms)
    assert ended.any()
    assert queued.latency_ms[ended] == pytest.approx(free.latency_ms[ended], rel=1e-5)


@pytest.mark.parametrize("cores", [1, 4])
def test_computing_adds_what_the_breakdown_says(cores):
    """With constant delays and unlimited lines, all that CPUs add is CPU time and queueing."""
    free = simulated(nodes=7, operations=256, **FREE, **EQUAL)
    costed = simulated(nodes=7, operations=256, bandwidth_mbps=INF, rate=0, cores=cores, authentication="bls", **EQUAL)
    added = costed.latency_ms - free.latency_ms
    parts = costed.operations.breakdown_ms
    assert (added > 1.0).all()
    assert parts[:, 2] + parts[:, 3] == pytest.approx(added, rel=1e-3, abs=1e-3)
    assert (parts[:, [1, 4, 5]] == 0).all()


def test_more_cores_and_wider_lines_are_no_slower():
    common = {"nodes": 20, "operations": 256, "rate": 0, "payload_bytes": 20_000}
    by_cores = [simulated(**common, cores=cores).latency_ms.mean() for cores in (1, 2, 8)]
    by_line = [simulated(**common, bandwidth_mbps=line).latency_ms.mean() for line in (10, 50, 1000)]
    assert by_cores[0] > by_cores[1] >= by_cores[2]
    assert by_line[0] > by_line[1] > by_line[2]


def test_the_proposal_decides_at_low_bandwidth():
    """Of a quorum's voters the last had its copy of the proposal after q - 1 transmissions."""
    n, line = 31, 10.0
    slow = simulated(nodes=n, operations=64, rate=0, free_cpu=True, bandwidth_mbps=line, payload_bytes=50_000, **EQUAL)
    copy_ms = proposal_bytes(size_inputs(Scenario(nodes=n, payload_bytes=50_000))) * 8 / (1000 * line)
    voters = 20  # of the quorum of 21, without the primary
    assert slow.commit_ms.min() > 150.0 + (voters - 1) * copy_ms
    assert slow.commit_ms.max() < 150.0 + (n - 1) * copy_ms * 1.1


# Relays.


def test_the_hub_of_a_star_carries_what_leaves_send_each_other():
    """Of 2 n (n - 1) messages all between leaves, of replies those to a client at another leaf, of requests none."""
    n, line = 9, 100.0
    settings = dict(nodes=n, topology="star", dissemination="routed", bandwidth_mbps=line, **EQUAL)
    work = work_of(system_of(**settings))
    scenario = Scenario(**settings)
    inputs, stack = size_inputs(scenario), message_costs("stream")
    between, replies = 2 * (n - 1) * (n - 2), (n - 1) * (n - 2) / n
    passing = stack.receive_ms + stack.send_ms
    assert work.relay_cpu_ms[0] == pytest.approx((between + replies) * passing / 4, rel=1e-5)
    carried = between * vote_bytes(inputs) + replies * reply_bytes(inputs)
    assert work.relay_egress_ms[0] == pytest.approx(carried * 8 / (1000 * line), rel=1e-5)
    assert not work.relay_cpu_ms[1:].any() and not work.relay_egress_ms[1:].any()


def test_relays_cost_hops_and_then_queues():
    """Star against complete graph: two hops for one; then the hub's work on top."""
    common = dict(nodes=16, operations=128, rate=0, **EQUAL)
    star = {"topology": "star", "dissemination": "routed"}
    direct = simulated(**common, free_cpu=True, bandwidth_mbps=INF).commit_ms.mean()
    hops = simulated(**common, free_cpu=True, bandwidth_mbps=INF, **star).commit_ms.mean()
    queues = simulated(**common, bandwidth_mbps=5.0, **star).commit_ms.mean()
    lines = simulated(**common, bandwidth_mbps=5.0).commit_ms.mean()
    assert (direct, hops) == (150.0, 250.0)
    assert queues - hops > 2 * (lines - direct) > 0


def test_flooding_sends_over_every_link():
    """2 |E| - (n - 1) transmissions for each multicast: every node but the sender skips the neighbour it heard from."""
    n = 12
    row = simulated(nodes=n, topology="mesh", mesh_degree=4, operations=64, loss=0.0).row
    floods = 1 + (n - 1) + n
    assert row["message_count"] == 2 * n * (n - 1)
    flooded = floods * (n * 4 - (n - 1))
    unicast = 1 + n
    assert flooded + 0.5 * unicast < row["link_transmissions"] < flooded + n * unicast


@pytest.mark.parametrize("dissemination", ["gossip", "routed"])
def test_a_ring_cut_by_two_silent_replicas(dissemination):
    """Two islands, neither with a quorum: nothing ends, and nothing breaks."""
    row = simulated(nodes=8, topology="ring", dissemination=dissemination, placement=(2, 6), operations=64).row
    assert row["success_rate"] == 0.0 and row["reason"]
    assert all(not isinstance(value, float) or math.isfinite(value) for value in row.values())


@pytest.mark.parametrize("dissemination", ["gossip", "routed"])
def test_a_ring_that_some_replicates_cut(dissemination):
    """Two silent ones side by side leave a line of eight of ten, a quorum; apart, they leave islands without."""
    row = simulated(
        nodes=10, topology="ring", dissemination=dissemination, byzantine_ratio=0.2, replicates=24, operations=480
    ).row
    assert 0.0 < row["success_rate"] < 1.0
    assert all(not isinstance(value, float) or math.isfinite(value) for value in row.values())


# Load.


def test_an_operation_waits_with_the_probability_and_for_the_mean_of_the_queue_it_meets():
    settings = dict(nodes=4, cores=1, bandwidth_mbps=INF, network="lan", loss=0.0, authentication="bls")
    idle = system_of(**settings, rate=0)
    busy = system_of(**settings, rate=500.0 / work_of(idle).cpu_ms[0])
    waits = []
    for block in range(400):
        ends = [run_system(one, LANES, block * LANES, client=0)[1].done_ms.reshape(-1, 4, LANES)[1, 0] for one in (idle, busy)]
        waits.append((ends[1] - ends[0]).astype(np.float64))
    blocks, mean, chance = np.array(waits), float(busy.machines.cpu_wait_ms[0]), float(busy.machines.busy)
    found, error = mean_and_error(blocks.mean(axis=1))
    assert abs(found - mean) < SIGMAS * error
    assert abs((blocks > 0).mean() - chance) < SIGMAS * math.sqrt(0.25 / blocks.size)
    assert error < 0.1 * mean


def test_load_adds_queueing_and_an_idle_system_has_none_from_others():
    rows = [simulated(nodes=7, rate=rate, cores=1, operations=1600, authentication="bls").row for rate in (0.0, 20.0, 60.0)]
    queueing = [row["queueing_ms"] for row in rows]
    assert queueing[0] < queueing[1] < queueing[2]
    assert rows[2]["mean_latency_ms"] > rows[0]["mean_latency_ms"]
    assert 0 == rows[0]["utilisation"] < rows[1]["utilisation"] < rows[2]["utilisation"] < 1


@pytest.mark.parametrize("n", [4, 10, 50])
@pytest.mark.parametrize("loss", [0.0, 0.02])
def test_capacity_of_the_primarys_line(n, loss):
    """Bandwidth over the bytes it sends: n - 1 proposals and commits, a reply, and lost copies again."""
    settings = dict(nodes=n, bandwidth_mbps=50.0, free_cpu=True, loss=loss, payload_bytes=8192, window=10**6, operations=64)
    row = simulated(**settings).row
    inputs = size_inputs(Scenario(**settings))
    sent = ((n - 1) * (proposal_bytes(inputs) + vote_bytes(inputs)) + reply_bytes(inputs)) / (1 - loss)
    assert row["bottleneck"] == "primary_egress"
    assert row["saturation_ops_per_second"] == pytest.approx(50e6 / (8 * sent), rel=1e-5)
    assert row["saturation_ops_per_second"] == pytest.approx(50e6 / (8 * 8192 * (n - 1)), rel=0.12)


def test_capacity_of_the_primarys_cpu():
    """Four replicas, by hand: a request in, a proposal made and sent three times, three prepares in, and so on."""
    settings = dict(nodes=4, bandwidth_mbps=INF, window=10**6, operations=64, cores=2, loss=0.0)
    inputs, stack, auth = size_inputs(Scenario(**settings)), message_costs("stream"), auth_costs("ed25519")

    def into(size):
        return stack.receive_ms + size * stack.receive_byte_ms + auth.verify_ms

    def made(size, copies):
        return size * stack.create_byte_ms + auth.sign_ms + copies * stack.send_ms

    vote = vote_bytes(inputs)
    primary = into(request_bytes(inputs)) + made(proposal_bytes(inputs), 3) + 3 * into(vote)
    primary += made(vote, 3) + 3 * into(vote) + made(reply_bytes(inputs), 1)
    backup = into(proposal_bytes(inputs)) + auth.verify_ms + made(vote, 3) + 2 * into(vote)
    backup += made(vote, 3) + 3 * into(vote) + made(reply_bytes(inputs), 1)
    found = work_of(system_of(**settings)).demands
    assert found["primary_cpu"] == pytest.approx(primary / 2, rel=1e-5)
    assert found["replica_cpu"] == pytest.approx(backup / 2, rel=1e-5)
    row = simulated(**settings).row
    assert row["bottleneck"] in ("primary_cpu", "replica_cpu")
    assert row["saturation_ops_per_second"] == pytest.approx(2000 / max(primary, backup), rel=1e-5)
    assert simulated(**(settings | {"cores": 4})).row["saturation_ops_per_second"] == pytest.approx(
        2 * row["saturation_ops_per_second"], rel=1e-6
    )


def test_window_bounds_what_is_in_flight():
    """One proposal at a time, from proposal to the primary's own commit, as many a second as fit (Little's law)."""
    one = simulated(nodes=7, window=1, batch=8, rate=0.1, operations=4000, network="lan", free_cpu=True, bandwidth_mbps=INF)
    assert one.row["bottleneck"] == "pipeline_window"
    assert one.row["saturation_ops_per_second"] == pytest.approx(8 * 1000 / one.operations.flight_ms.mean(), rel=0.02)
    assert one.operations.flight_ms.mean() < 0.7 * one.row["mean_latency_ms"]


@pytest.mark.parametrize("batch", [1, 8, 64])
def test_batching_spreads_the_votes_over_more_operations(batch):
    """The primary's line again: one proposal and one commit for a batch, a reply for each of its operations."""
    settings = dict(nodes=30, batch=batch, payload_bytes=64, operations=64, window=10**6, free_cpu=True, loss=0.0)
    row, inputs = simulated(**settings).row, size_inputs(Scenario(**settings))
    sent = 29 * (proposal_bytes(inputs) + vote_bytes(inputs)) / batch + reply_bytes(inputs)
    assert row["saturation_ops_per_second"] == pytest.approx(100e6 / (8 * sent), rel=1e-5)
    assert row["message_count"] == 2 * 30 * 29


@pytest.mark.parametrize("over", [1.5, 3.0])
def test_above_capacity(over):
    """What is done is the capacity; where clients give up, success ends when the backlog is longer than they wait."""
    settings = dict(
        nodes=7, bandwidth_mbps=20.0, payload_bytes=20_000, window=10**6, operations=20_000, duration_s=60.0, loss=0.0
    )
    capacity = simulated(**(settings | {"operations": 64})).row["saturation_ops_per_second"]
    patient = simulated(**settings, rate=over * capacity, operation_timeout_ms=1e9).row
    assert patient["success_rate"] == 1.0
    assert patient["operations_per_second"] == pytest.approx(capacity, rel=1e-6)
    assert patient["utilisation"] == pytest.approx(over, rel=1e-6)
    assert patient["mean_latency_ms"] > 1000 * 60 * (over - 1) / 2

    hurried = simulated(**settings, rate=over * capacity, operation_timeout_ms=10_000.0).row
    growth = 60_000.0 * (over - 1)  # of the backlog over the test; operations come at any time of it
    rest = patient["mean_latency_ms"] - growth / 2
    share = (10_000.0 - rest) / growth
    error = math.hypot(math.sqrt(share * (1 - share)), 1 / math.sqrt(12)) / math.sqrt(20_000)
    assert hurried["success_rate"] == pytest.approx(share, abs=SIGMAS * error)
    assert hurried["operations_per_second"] == pytest.approx(over * capacity * hurried["success_rate"], rel=1e-6)
    assert hurried["operations_per_second"] < capacity


@pytest.mark.parametrize(("precision", "operations", "together"), [(0.01, 32, 4), (0.0003, 128, 16)])
def test_few_operations_tell_the_latency_above_capacity(precision, operations, together):
    """Those of a group start spread evenly over the test: the mean is that of many operations that start at any time."""
    settings = dict(nodes=7, bandwidth_mbps=20.0, payload_bytes=20_000, window=10**6, operation_timeout_ms=1e9, loss=0.0)
    rate = 1.5 * simulated(**settings, operations=64).row["saturation_ops_per_second"]
    few, many = (simulated(**settings, rate=rate, **more) for more in ({"precision": precision}, {"operations": 20_000}))
    assert few.messages == many.messages * operations // 20_000
    groups = [few.latency_ms[few.clusters == one] for one in np.unique(few.clusters)]
    assert [group.size for group in groups] == [_STARTS[-1] * together] * 8
    assert np.std([group.mean() for group in groups]) < 0.005 * few.row["mean_latency_ms"] < np.std(groups[0])
    for column in ("mean_latency_ms", "median_latency_ms", "p95_latency_ms"):
        assert few.row[column] == pytest.approx(many.row[column], rel=0.01), column
    half = (few.row["mean_latency_high_ms"] - few.row["mean_latency_low_ms"]) / 2
    assert half < 0.01 * few.row["mean_latency_ms"]
    assert few.row["mean_latency_ms"] == pytest.approx(many.row["mean_latency_ms"], abs=4 * half)


def test_above_capacity_starts_of_an_operation_tell_no_percentile_where_nothing_piles_up():
    """Then more operations are simulated; of those that succeed each counts once. Seen to fail with 32 operations for both."""
    settings = dict(nodes=7, network="lan", window=10**6)
    most = simulated(**settings, rate=0.01).row["saturation_ops_per_second"]
    barely, far = (simulated(**settings, rate=over * most) for over in (1.0005, 1.5))
    assert far.operations.alike.size == far.row["operations"] == 32 * _STARTS[-1] and not far.homogeneous
    assert np.unique(far.operations.alike).size == 32 < 128 < np.unique(barely.operations.alike).size
    assert barely.row["p99_latency_high_ms"] is not None
    patient = simulated(**settings, rate=1.5 * most, operation_timeout_ms=1e9).row
    assert patient["success_low"] == pytest.approx(wilson(32, 32)[0])


def test_below_capacity_what_is_offered_is_done():
    row = simulated(nodes=7, rate=25.0, operations=320).row
    assert row["operations_per_second"] == 25.0 and row["success_rate"] == 1.0
    assert row["saturation_ops_per_second"] > 25.0
