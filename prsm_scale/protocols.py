"""Protocols as data: a protocol is a tuple of rounds, and one generic kernel runs any of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from prsm_scale.errors import UsageError, one_of


class Pattern(StrEnum):
    """Who sends to whom in a round."""

    CLIENT_TO_PRIMARY = "client_to_primary"
    PRIMARY_TO_ALL = "primary_to_all"
    ALL_TO_ALL = "all_to_all"
    ALL_TO_PRIMARY = "all_to_primary"
    ALL_TO_CLIENT = "all_to_client"


class Senders(StrEnum):
    """Which of the nodes that a pattern could have send do so."""

    CLIENT = "client"
    PRIMARY = "primary"
    BACKUPS = "backups"
    ALL = "all"


class QuorumLaw(StrEnum):
    """How many arrivals end a round, as a law of n and f; see `quorum_size`."""

    ONE = "one"
    QUORUM = "quorum"
    F_PLUS_ONE = "f_plus_one"
    TWO_F_PLUS_ONE = "two_f_plus_one"
    MAJORITY = "majority"
    ALL = "all"


class FaultModel(StrEnum):
    """Which faults the protocol is made for."""

    BYZANTINE = "byzantine"
    CRASH = "crash"


@dataclass(frozen=True)
class SizeInputs:
    """What the size of a message may depend on.

    Attributes
    ----------
    nodes : int
        Number of replicas, n.
    payload_bytes : int
        Size of one request's content.
    batch : int
        Requests ordered together.
    header_bytes : int
        Transport and network headers of one message.
    signature_bytes : int
        What authenticates a reply: a signature or a MAC.
    multicast_signature_bytes : int
        What each copy of a multicast carries: a signature; or its receiver's MAC; or, where copies are
        flooded and so must serve everyone, n - 1 MACs.
    request_signature_bytes : int
        What authenticates a client's request to every replica: a signature, or n MACs.
    message_bytes : int
        Size of every message where it is not for the table of rounds to say; else 0.
    """

    nodes: int
    payload_bytes: int
    batch: int
    header_bytes: int
    signature_bytes: int
    multicast_signature_bytes: int
    request_signature_bytes: int
    message_bytes: int = 0


SizeLaw = Callable[[SizeInputs], int]
"""Bytes of one message, all headers included."""

_PATTERN_SENDERS: Final = {
    Pattern.CLIENT_TO_PRIMARY: (Senders.CLIENT,),
    Pattern.PRIMARY_TO_ALL: (Senders.PRIMARY,),
    Pattern.ALL_TO_ALL: (Senders.BACKUPS, Senders.ALL),
    Pattern.ALL_TO_PRIMARY: (Senders.BACKUPS, Senders.ALL),
    Pattern.ALL_TO_CLIENT: (Senders.BACKUPS, Senders.ALL),
}


@dataclass(frozen=True)
class Round:
    """One message pattern of a protocol.

    A replica enters the round when the previous one ended for it, sends what `pattern` and `senders` say, and
    leaves it when `quorum` messages have been processed.

    Attributes
    ----------
    name : str
        Name in results.
    pattern : Pattern
        Who sends to whom.
    senders : Senders
        Which nodes send.
    size : callable from SizeInputs to int
        Bytes of one message.
    quorum : QuorumLaw
        Arrivals that end the round.
    own_counts : bool
        Whether a sender's own message counts for itself, at once and without being sent.
    primary_counts : bool
        Whether the primary's message of the round before counts as its vote in this one, as PBFT's
        pre-prepare does.
    signs, verifies : int
        Signatures made for a message, and verified when it arrives.
    verifies_per_request : int
        Further signatures verified for each request of the batch that the message carries.
    per_request : bool
        Whether there is one message for each request of the batch (requests and replies), not one for the
        batch.
    """

    name: str
    pattern: Pattern
    senders: Senders
    size: SizeLaw
    quorum: QuorumLaw = QuorumLaw.QUORUM
    own_counts: bool = False
    primary_counts: bool = False
    signs: int = 1
    verifies: int = 1
    verifies_per_request: int = 0
    per_request: bool = False

    def __post_init__(self) -> None:
        """Refuse senders that the pattern cannot have."""
        allowed = _PATTERN_SENDERS[self.pattern]
        if self.senders not in allowed:
            raise UsageError(f"round {self.name!r}: senders", str(self.senders), one_of(allowed))

    def message_bytes(self, inputs: SizeInputs) -> int:
        """Bytes of one message of this round."""
        return inputs.message_bytes or self.size(inputs)

    def copies(self, nodes: int) -> int:
        """Count the messages of this round for one batch; where each request has its own, for one request."""
        senders = nodes - 1 if self.senders is Senders.BACKUPS else nodes
        return {
            Pattern.CLIENT_TO_PRIMARY: 1,
            Pattern.PRIMARY_TO_ALL: nodes - 1,
            Pattern.ALL_TO_ALL: senders * (nodes - 1),
            Pattern.ALL_TO_PRIMARY: nodes - 1,
            Pattern.ALL_TO_CLIENT: senders,
        }[self.pattern]


@dataclass(frozen=True)
class Protocol:
    """A protocol: its rounds in order, and what they tolerate.

    Attributes
    ----------
    name : str
        Name in results.
    rounds : tuple of Round
        In the order in which a replica goes through them.
    commit_round : str
        Name of the round whose end means that the replica has committed.
    fault_model : FaultModel
        Decides f as a function of n.

    Examples
    --------
    A protocol of one's own is a table; here a leader that waits for a majority:

    >>> propose = Round("propose", Pattern.PRIMARY_TO_ALL, Senders.PRIMARY, proposal_bytes, QuorumLaw.ONE)
    >>> vote = Round("vote", Pattern.ALL_TO_PRIMARY, Senders.ALL, vote_bytes, QuorumLaw.MAJORITY)
    >>> toy = Protocol("toy", (propose, vote), "vote", FaultModel.CRASH)
    >>> toy.fault_threshold(5)
    2
    """

    name: str
    rounds: tuple[Round, ...]
    commit_round: str
    fault_model: FaultModel = FaultModel.BYZANTINE

    def __post_init__(self) -> None:
        """Refuse repeated names and a commit round that is not there."""
        names = [step.name for step in self.rounds]
        if len(set(names)) != len(names):
            raise UsageError(f"protocol {self.name!r}: rounds", ", ".join(names), "each name once")
        if self.commit_round not in names:
            raise UsageError(f"protocol {self.name!r}: commit_round", self.commit_round, one_of(names, self.commit_round))

    def fault_threshold(self, nodes: int) -> int:
        """Faults f tolerated by `nodes` replicas under this protocol's fault model."""
        return fault_threshold(nodes, self.fault_model)


def fault_threshold(nodes: int, fault_model: FaultModel = FaultModel.BYZANTINE) -> int:
    """Faults f tolerated by design: floor((n - 1) / 3), or floor((n - 1) / 2) where replicas only crash."""
    return (nodes - 1) // (3 if fault_model is FaultModel.BYZANTINE else 2)


def quorum(nodes: int, faults: int) -> int:
    """Byzantine quorum ceil((n + f + 1) / 2), the least of which any two share f + 1 replicas.

    It is 2f + 1 only when n = 3f + 1: 12 replicas need 8, not 7.
    """
    return (nodes + faults + 2) // 2


def quorum_size(law: QuorumLaw, nodes: int, faults: int) -> int:
    """Arrivals that end a round.

    Parameters
    ----------
    law : QuorumLaw
        `one`; `quorum`, see `quorum`; `f_plus_one`; `two_f_plus_one`, which is safe only where
        n = 3f + 1; `majority`, floor(n / 2) + 1; `all`, n.
    nodes, faults : int
        n and f.
    """
    return {
        QuorumLaw.ONE: 1,
        QuorumLaw.QUORUM: quorum(nodes, faults),
        QuorumLaw.F_PLUS_ONE: faults + 1,
        QuorumLaw.TWO_F_PLUS_ONE: 2 * faults + 1,
        QuorumLaw.MAJORITY: nodes // 2 + 1,
        QuorumLaw.ALL: nodes,
    }[law]


# Sizes of messages. Fields as real implementations write them; headers and signatures come with `SizeInputs`.

VOTE_FIELD_BYTES: Final = 53
"""Vote without headers and signature: BFT-SMaRt's WRITE and ACCEPT have sender, number, epoch, type and
length of 4 B each, a SHA-256 of 32 and a flag of 1 (ConsensusMessage and SystemMessage.writeExternal
@681cec8c). With the 20 B digest and 20 B MAC of Castro's PBFT and 44 B of headers that makes 105 B; 109 B was
measured ("Safe Hints" draft, Singh et al. 2007)."""

REQUEST_FIELD_BYTES: Final = 29
"""BFT-SMaRt TOMMessage: seven fields of 4 B and one of 1 (TOMMessage.wExternal)."""

DIGEST_BYTES: Final = 32
"""SHA-256. A reply carries the digest of its result, the full result comes from one replica only (Castro and
Liskov, OSDI 1999, section 5.1); that one result is taken to be as short."""


def request_bytes(inputs: SizeInputs) -> int:
    """Size of one client's request."""
    return inputs.header_bytes + _request_body_bytes(inputs)


def proposal_bytes(inputs: SizeInputs) -> int:
    """Size of a proposal with the whole requests of its batch, as PBFT's pre-prepare."""
    return vote_bytes(inputs) + inputs.batch * _request_body_bytes(inputs)


def vote_bytes(inputs: SizeInputs) -> int:
    """Size of a vote on a digest, as PBFT's prepare and commit."""
    return inputs.header_bytes + VOTE_FIELD_BYTES + inputs.multicast_signature_bytes


def reply_bytes(inputs: SizeInputs) -> int:
    """Size of one replica's reply to one client."""
    return inputs.header_bytes + REQUEST_FIELD_BYTES + DIGEST_BYTES + inputs.signature_bytes


def _request_body_bytes(inputs: SizeInputs) -> int:
    return REQUEST_FIELD_BYTES + inputs.payload_bytes + inputs.request_signature_bytes


PBFT: Final = Protocol(
    "pbft",
    (
        Round(
            "request",
            Pattern.CLIENT_TO_PRIMARY,
            Senders.CLIENT,
            request_bytes,
            QuorumLaw.ONE,
            per_request=True,
        ),
        Round(
            "pre_prepare",
            Pattern.PRIMARY_TO_ALL,
            Senders.PRIMARY,
            proposal_bytes,
            QuorumLaw.ONE,
            own_counts=True,
            verifies_per_request=1,
        ),
        Round("prepare", Pattern.ALL_TO_ALL, Senders.BACKUPS, vote_bytes, own_counts=True, primary_counts=True),
        Round("commit", Pattern.ALL_TO_ALL, Senders.ALL, vote_bytes, own_counts=True),
        Round("reply", Pattern.ALL_TO_CLIENT, Senders.ALL, reply_bytes, QuorumLaw.F_PLUS_ONE, per_request=True),
    ),
    commit_round="commit",
)
"""Castro and Liskov, "Practical Byzantine fault tolerance", OSDI 1999: 2 n (n - 1) messages for a batch,
besides requests and replies."""

PROTOCOLS: Final[dict[str, Protocol]] = {PBFT.name: PBFT}
"""Shipped protocols by name."""


def get_protocol(protocol: str | Protocol) -> Protocol:
    """Look a protocol up by name; a table of one's own is passed through.

    Raises
    ------
    UsageError
        If no shipped protocol has this name.
    """
    if isinstance(protocol, Protocol):
        return protocol
    try:
        return PROTOCOLS[str(protocol)]
    except KeyError:
        raise UsageError("protocol", protocol, f"{one_of(PROTOCOLS, protocol)}, or a Protocol of your own") from None
