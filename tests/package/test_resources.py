"""Profiles, CPU costs of messages and signatures, sizes and memory, against sums made by hand."""

from __future__ import annotations

from dataclasses import fields, replace
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prsm_scale.axes import Authentication, Profile, Transport
from prsm_scale.errors import UsageError
from prsm_scale.protocols import PBFT, Round, fault_threshold
from prsm_scale.resources import (
    AUTHENTICATION,
    HEADER_BYTES,
    MEMORY,
    PROFILES,
    JobCosts,
    MemoryModel,
    ResourceProfile,
    auth_costs,
    job_costs,
    memory_need_mb,
    message_costs,
    replica_costs,
    resolve_profile,
    size_inputs,
)

STEPS = {step.name: step for step in PBFT.rounds}


def scenario(**changes: Any) -> SimpleNamespace:
    defaults: dict[str, Any] = {
        "nodes": 10,
        "profile": "standard",
        "cores": None,
        "memory_mb": None,
        "free_cpu": False,
        "costs": None,
        "client_authentication": None,
        "authentication": "ed25519",
        "transport": "stream",
        "payload_bytes": 512,
        "batch": 1,
    }
    return SimpleNamespace(**defaults | changes)


def jobs(step: str | Round, flooded: bool = False, **changes: Any) -> JobCosts:
    point = scenario(**changes)
    table = STEPS[step] if isinstance(step, str) else step
    return job_costs(table, replica_costs(point), size_inputs(point, flooded), fault_threshold(point.nodes))


# Profiles


def test_profiles_are_those_of_the_model() -> None:
    assert list(PROFILES) == list(Profile)
    assert [(p.cores, p.memory_mb) for p in PROFILES.values()] == [
        (1, 512),
        (2, 1024),
        (4, 2048),
        (8, 4096),
        (16, 8192),
    ]


def test_profile_takes_own_cores_and_memory() -> None:
    assert resolve_profile(scenario()) == PROFILES["standard"]
    assert resolve_profile(scenario(cores=3, memory_mb=700.0)) == ResourceProfile("standard", 3, 700.0)
    with pytest.raises(UsageError, match="did you mean 'heavy'"):
        resolve_profile(scenario(profile="heavi"))


# Costs


def test_every_scheme_and_transport_has_its_costs() -> None:
    assert list(AUTHENTICATION) == list(Authentication)
    assert list(HEADER_BYTES) == list(Transport)
    for name in AUTHENTICATION:
        auth = auth_costs(name)
        assert 0 < auth.sign_ms <= auth.verify_ms < 1
        assert auth.aggregated == (name == "bls") and auth.per_receiver == (name == "mac")
    assert auth_costs("mac").verify_ms < auth_costs("ed25519").verify_ms / 50
    with pytest.raises(UsageError, match="did you mean 'ed25519'"):
        auth_costs("ed25518")
    with pytest.raises(UsageError, match="stream, datagram"):
        message_costs("pigeon")


def test_published_figures_are_entered_as_published() -> None:
    assert (auth_costs("ed25519").sign_ms, auth_costs("ed25519").verify_ms) == (0.01877, 0.04947)
    assert (auth_costs("secp256k1").sign_ms, auth_costs("secp256k1").verify_ms) == (0.02791, 0.0469)
    bls = auth_costs("bls")
    assert bls.verify_ms + 128 * bls.key_ms == pytest.approx(0.703117)
    assert auth_costs("mac").sign_ms == pytest.approx(0.000368, abs=1e-6)
    assert message_costs("stream").send_ms + message_costs("stream").receive_ms == pytest.approx(0.00352)
    assert message_costs("datagram").send_ms + message_costs("datagram").receive_ms == pytest.approx(0.00202)


def test_vote_costs_stack_bytes_and_one_signature() -> None:
    vote = jobs("prepare")
    hash_ms, decode_ms, encode_ms = 1e3 / 1_769_192_270, 2.434e-6, 0.622e-6
    assert vote.size_bytes == 44 + 53 + 64
    assert vote.create_ms == pytest.approx(0.01877 + 161 * (hash_ms + encode_ms))
    assert vote.send_ms == vote.transit_ms == 0.00176
    assert vote.receive_ms == pytest.approx(0.00176 + 161 * (hash_ms + decode_ms) + 0.04947)
    assert vote.quorum_ms == 0
    assert vote.messages == 1


def test_proposal_verifies_the_primary_and_each_client() -> None:
    one, ten = jobs("pre_prepare"), jobs("pre_prepare", batch=10)
    assert ten.size_bytes - one.size_bytes == 9 * (29 + 512 + 64)
    verifications = jobs("pre_prepare", batch=10).receive_ms - 0.00176 - ten.size_bytes * (1e3 / 1_769_192_270 + 2.434e-6)
    assert verifications == pytest.approx(11 * 0.04947)
    assert ten.create_ms - one.create_ms == pytest.approx(9 * 605 * (1e3 / 1_769_192_270 + 0.622e-6))
    assert ten.messages == 1


@pytest.mark.parametrize("step", ["request", "reply"])
def test_requests_and_replies_come_one_for_each_request_of_the_batch(step: str) -> None:
    one, seven = jobs(step), jobs(step, batch=7)
    assert seven.messages == 7
    for field in fields(JobCosts):
        assert getattr(seven, field.name) == pytest.approx(7 * getattr(one, field.name))


def test_macs_are_made_for_each_receiver_and_checked_once() -> None:
    mac_ms = auth_costs("mac").sign_ms
    small, large = jobs("commit", authentication="mac"), jobs("commit", authentication="mac", nodes=100)
    assert large.create_ms - small.create_ms == pytest.approx(90 * mac_ms)
    assert large.receive_ms == small.receive_ms
    assert large.size_bytes == small.size_bytes == 44 + 53 + 32
    reply = jobs("reply", authentication="mac", nodes=100)
    assert reply.create_ms < 10 * mac_ms


def test_macs_of_all_receivers_travel_in_requests_and_flooded_copies() -> None:
    assert jobs("request", authentication="mac").size_bytes == 44 + 29 + 512 + 10 * 32
    assert jobs("commit", authentication="mac", flooded=True).size_bytes == 44 + 53 + 9 * 32
    assert jobs("reply", authentication="mac", flooded=True).size_bytes == 44 + 29 + 32 + 32
    assert jobs("commit", flooded=True) == jobs("commit")


def test_aggregated_votes_are_added_up_and_verified_once_a_quorum() -> None:
    bls = auth_costs("bls")
    vote = jobs("commit", authentication="bls")
    plain = jobs("commit", authentication="bls", free_cpu=True)
    assert vote.quorum_ms == pytest.approx(bls.verify_ms + 7 * bls.key_ms)
    assert vote.receive_ms < bls.verify_ms / 5
    assert jobs("pre_prepare", authentication="bls").quorum_ms == 0
    assert jobs("pre_prepare", authentication="bls").receive_ms > 2 * bls.verify_ms
    assert plain.quorum_ms == 0


@pytest.mark.parametrize("authentication", AUTHENTICATION)
def test_free_cpu_makes_every_job_free_and_leaves_sizes(authentication: str) -> None:
    for step in PBFT.rounds:
        free = jobs(step, free_cpu=True, authentication=authentication, batch=3)
        paid = jobs(step, authentication=authentication, batch=3)
        assert (free.size_bytes, free.messages) == (paid.size_bytes, paid.messages)
        times = (free.create_ms, free.send_ms, free.receive_ms, free.transit_ms, free.quorum_ms)
        assert times == (0, 0, 0, 0, 0)


def test_datagrams_are_lighter() -> None:
    assert jobs("commit").size_bytes - jobs("commit", transport="datagram").size_bytes == 16
    assert jobs("commit", transport="datagram").send_ms < jobs("commit").send_ms


def test_a_table_of_ones_own_replaces_the_costs() -> None:
    point = scenario()
    dear = replace(replica_costs(point), auth=replace(auth_costs("ed25519"), verify_ms=1.0))
    change = job_costs(STEPS["commit"], dear, size_inputs(point), 3).receive_ms - jobs("commit").receive_ms
    assert change == pytest.approx(1.0 - 0.04947)


def test_costs_of_a_scenario_replace_the_published_ones() -> None:
    own = {"sign_ms": 1.0, "verify_ms": 2.0, "receive_ms": 4.0, "send_ms": 8.0, "receive_byte_ms": 0.0, "create_byte_ms": 0.0}
    changed, plain = jobs("commit", costs=own), jobs("commit")
    assert (changed.create_ms, changed.send_ms, changed.receive_ms, changed.transit_ms) == (1.0, 8.0, 6.0, 4.0)
    assert changed.size_bytes == plain.size_bytes
    only_one = jobs("commit", costs="verify_ms=1")
    assert only_one.receive_ms - plain.receive_ms == pytest.approx(1.0 - 0.04947)
    assert jobs("commit", costs=own, free_cpu=True).receive_ms == 0


def test_sizes_of_a_scenario_replace_those_of_the_table() -> None:
    plain = jobs("commit").size_bytes
    assert jobs("commit", costs="header_bytes=28").size_bytes == plain - 16
    assert jobs("commit", costs="signature_bytes=20").size_bytes == plain - 44
    for step in PBFT.rounds:
        assert jobs(step, costs="message_bytes=109").size_bytes == 109
    assert jobs("reply", costs="message_bytes=109", batch=3).size_bytes == 3 * 109
    logged = memory_need_mb(PBFT, size_inputs(scenario(costs="message_bytes=1000")), 64)
    assert logged == pytest.approx(128 + 64 * (1000 + 128) * (3 + 2 * 10) / 2**20)


def test_clients_may_have_a_scheme_of_their_own() -> None:
    """As in NeoBFT's PBFT, whose replicas sign and whose clients have MACs: only requests and replies get cheaper."""
    schemes = ((None, "secp256k1"), ("mac", "secp256k1"), (None, "mac"))
    both, mixed, macs = ({"client_authentication": client, "authentication": auth} for client, auth in schemes)
    for step in ("prepare", "commit"):
        assert jobs(step, **mixed) == jobs(step, **both)
    for step in ("request", "reply"):
        assert jobs(step, **mixed) == jobs(step, **macs)
    saved = jobs("pre_prepare", **both).receive_ms - jobs("pre_prepare", **mixed).receive_ms
    auth = AUTHENTICATION["secp256k1"].verify_ms - AUTHENTICATION["mac"].verify_ms
    grown = 10 * 32 - 64
    assert saved == pytest.approx(auth - grown * message_costs("stream").receive_byte_ms)
    assert jobs("pre_prepare", **mixed).size_bytes == jobs("pre_prepare", **both).size_bytes + grown
    dear = jobs("reply", **mixed, costs="sign_ms=1").create_ms
    assert dear == jobs("reply", **mixed).create_ms and jobs("reply", **both, costs="sign_ms=1").create_ms > 1


@given(st.sampled_from(list(AUTHENTICATION)), st.integers(4, 2000), st.integers(0, 10**6), st.integers(1, 500))
def test_costs_never_fall_with_payload_or_batch(authentication: str, nodes: int, payload: int, batch: int) -> None:
    for step in PBFT.rounds:
        point: dict[str, Any] = {
            "authentication": authentication,
            "nodes": nodes,
            "payload_bytes": payload,
            "batch": batch,
        }
        base = jobs(step, **point)
        for bigger in ({"payload_bytes": payload + 1}, {"batch": batch + 1}):
            more = jobs(step, **point | bigger)
            for field in fields(JobCosts):
                assert getattr(more, field.name) >= getattr(base, field.name)


# Memory


def test_memory_is_the_log_between_checkpoints_plus_state_and_runtime() -> None:
    sizes = size_inputs(scenario(batch=2))
    vote, proposal = 161 + 128, 161 + 2 * (29 + 512 + 64) + 128
    per_request = (44 + 29 + 512 + 64 + 128) + (44 + 29 + 32 + 64 + 128)
    logged = 64 * (2 * per_request + proposal + 2 * 10 * vote)
    assert memory_need_mb(PBFT, sizes, 64) == pytest.approx(64 + 64 + logged / 2**20)
    assert memory_need_mb(PBFT, sizes, 0) == MEMORY.runtime_mb + MEMORY.state_mb
    assert memory_need_mb(PBFT, sizes, 0, MemoryModel(runtime_mb=10, state_mb=5)) == 15


def test_large_batches_of_large_requests_pass_a_small_profile() -> None:
    need = memory_need_mb(PBFT, size_inputs(scenario(batch=100, payload_bytes=100_000)), 64)
    assert need > PROFILES["minimal"].memory_mb
    assert memory_need_mb(PBFT, size_inputs(scenario(nodes=1000)), 64) < PROFILES["minimal"].memory_mb
