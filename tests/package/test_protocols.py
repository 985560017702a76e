"""Protocol tables: quorums, message counts, sizes, and tables that make no sense."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prsm_scale.errors import UsageError
from prsm_scale.protocols import (
    PBFT,
    PROTOCOLS,
    VOTE_FIELD_BYTES,
    FaultModel,
    Pattern,
    Protocol,
    QuorumLaw,
    Round,
    Senders,
    SizeInputs,
    fault_threshold,
    get_protocol,
    proposal_bytes,
    quorum,
    quorum_size,
    reply_bytes,
    request_bytes,
    vote_bytes,
)

SIZES = SizeInputs(
    nodes=10,
    payload_bytes=512,
    batch=3,
    header_bytes=44,
    signature_bytes=32,
    multicast_signature_bytes=64,
    request_signature_bytes=320,
)


@pytest.mark.parametrize(
    ("nodes", "faults", "votes"),
    [
        (4, 1, 3),
        (5, 1, 4),
        (6, 1, 4),
        (7, 2, 5),
        (10, 3, 7),
        (12, 3, 8),
        (64, 21, 43),
        (128, 42, 86),
        (1000, 333, 667),
    ],
)
def test_quorums_of_the_model(nodes: int, faults: int, votes: int) -> None:
    assert fault_threshold(nodes) == faults
    assert quorum(nodes, faults) == votes


@given(st.integers(4, 10**6))
def test_quorum_is_safe_live_and_the_least_such(nodes: int) -> None:
    faults = fault_threshold(nodes)
    votes = quorum(nodes, faults)
    assert 3 * faults + 1 <= nodes < 3 * (faults + 1) + 1
    assert 2 * votes - nodes >= faults + 1
    assert votes <= nodes - faults
    assert 2 * (votes - 1) - nodes < faults + 1


@given(st.integers(4, 10**6))
def test_other_laws(nodes: int) -> None:
    faults = fault_threshold(nodes, FaultModel.CRASH)
    assert quorum_size(QuorumLaw.ONE, nodes, faults) == 1
    assert quorum_size(QuorumLaw.F_PLUS_ONE, nodes, faults) == faults + 1
    assert quorum_size(QuorumLaw.ALL, nodes, faults) == nodes
    assert 2 * quorum_size(QuorumLaw.MAJORITY, nodes, faults) > nodes >= 2 * quorum_size(QuorumLaw.MAJORITY, nodes, faults) - 2
    assert nodes - faults >= quorum_size(QuorumLaw.MAJORITY, nodes, faults)


@pytest.mark.parametrize("nodes", [4, 7, 10, 1000])
def test_pbft_sends_2n_n_minus_1_messages_besides_requests_and_replies(nodes: int) -> None:
    copies = {step.name: step.copies(nodes) for step in PBFT.rounds}
    assert copies == {
        "request": 1,
        "pre_prepare": nodes - 1,
        "prepare": (nodes - 1) ** 2,
        "commit": nodes * (nodes - 1),
        "reply": nodes,
    }
    assert sum(copies.values()) - copies["request"] - copies["reply"] == 2 * nodes * (nodes - 1)


@pytest.mark.parametrize("nodes", [4, 7, 10])
def test_each_replica_handles_4n_minus_2_messages_a_request(nodes: int) -> None:
    """Emulab measured 14, 26 and 38 sent and received for n = 4, 7, 10, with a request and a reply."""
    between = sum(step.copies(nodes) for step in PBFT.rounds if step.name not in ("request", "reply"))
    assert 2 * between / nodes + 2 == 4 * nodes - 2


def test_sizes_are_sums_of_their_fields() -> None:
    assert request_bytes(SIZES) == 44 + 29 + 512 + 320
    assert vote_bytes(SIZES) == 44 + 53 + 64
    assert proposal_bytes(SIZES) == 44 + 53 + 64 + 3 * (29 + 512 + 320)
    assert reply_bytes(SIZES) == 44 + 29 + 32 + 32


def test_vote_with_the_fields_of_castros_code_is_near_its_measured_size() -> None:
    """PBFT with 20 B digests and 20 B MACs in place of SHA-256 and a signature has 109 B a message."""
    assert abs(44 + VOTE_FIELD_BYTES - 32 + 20 + 20 - 109) / 109 < 0.05


@given(st.integers(0, 10**6), st.integers(1, 1000))
def test_only_messages_that_carry_requests_grow_with_payload_and_batch(payload: int, batch: int) -> None:
    inputs = SizeInputs(4, payload, batch, 44, 64, 64, 64)
    more = SizeInputs(4, payload + 100, batch, 44, 64, 64, 64)
    grown = {step.name: step.size(more) - step.size(inputs) for step in PBFT.rounds}
    assert grown == {"request": 100, "pre_prepare": 100 * batch, "prepare": 0, "commit": 0, "reply": 0}


def test_pbft_rounds_say_whose_votes_count() -> None:
    _, pre_prepare, prepare, commit, reply = PBFT.rounds
    assert prepare.senders is Senders.BACKUPS and prepare.primary_counts and prepare.own_counts
    assert commit.senders is Senders.ALL and commit.own_counts and not commit.primary_counts
    assert pre_prepare.quorum is QuorumLaw.ONE and reply.quorum is QuorumLaw.F_PLUS_ONE
    assert PBFT.commit_round == "commit"
    assert [step.name for step in PBFT.rounds if step.per_request] == ["request", "reply"]


def test_protocols_are_found_by_name_or_passed_through() -> None:
    assert get_protocol("pbft") is PROTOCOLS["pbft"] is PBFT
    toy = Protocol("toy", (Round("go", Pattern.PRIMARY_TO_ALL, Senders.PRIMARY, vote_bytes),), "go", FaultModel.CRASH)
    assert get_protocol(toy) is toy
    assert toy.fault_threshold(5) == 2
    with pytest.raises(UsageError, match="did you mean 'pbft'"):
        get_protocol("pbtf")


@pytest.mark.parametrize(
    ("pattern", "senders"),
    [
        (Pattern.CLIENT_TO_PRIMARY, Senders.ALL),
        (Pattern.PRIMARY_TO_ALL, Senders.BACKUPS),
        (Pattern.ALL_TO_ALL, Senders.PRIMARY),
        (Pattern.ALL_TO_CLIENT, Senders.CLIENT),
    ],
)
def test_senders_must_fit_the_pattern(pattern: Pattern, senders: Senders) -> None:
    with pytest.raises(UsageError, match="senders"):
        Round("odd", pattern, senders, vote_bytes)


def test_tables_must_be_consistent() -> None:
    go = Round("go", Pattern.PRIMARY_TO_ALL, Senders.PRIMARY, vote_bytes)
    with pytest.raises(UsageError, match="each name once"):
        Protocol("twice", (go, go), "go")
    with pytest.raises(UsageError, match="commit_round: 'gone'"):
        Protocol("lost", (go,), "gone")


@pytest.mark.parametrize(
    ("pattern", "senders", "copies"),
    [
        (Pattern.ALL_TO_PRIMARY, Senders.ALL, 9),
        (Pattern.ALL_TO_PRIMARY, Senders.BACKUPS, 9),
        (Pattern.ALL_TO_CLIENT, Senders.BACKUPS, 9),
    ],
)
def test_copies_of_the_other_patterns(pattern: Pattern, senders: Senders, copies: int) -> None:
    assert Round("step", pattern, senders, vote_bytes).copies(10) == copies
