"""What a replica has and what messages cost it: profiles, CPU costs, message sizes, memory.

CPU costs are times of one core. Signatures are published figures on AMD Zen cores, chosen so that each scheme
is represented by one of its fast, widely used libraries; hashing, MACs and the network stack were measured on
one machine, an Intel Xeon (family 6 model 167) guest with 2 virtual CPUs, OpenSSL 3.0.19 and Linux 6.18. They
are defaults: a scenario's own `costs` go before them, and a table of one's own goes to `job_costs` and
`memory_need_mb` as an argument.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any, Final, TypeVar

from prsm_scale.costs import parse_costs
from prsm_scale.errors import UsageError, one_of
from prsm_scale.protocols import Pattern, Protocol, QuorumLaw, Round, SizeInputs, quorum_size

# Profiles.


@dataclass(frozen=True)
class ResourceProfile:
    """The machine of one replica: its name, cores, and memory in MiB."""

    name: str
    cores: int
    memory_mb: float


PROFILES: Final = {
    profile.name: profile
    for profile in (
        ResourceProfile("minimal", 1, 512.0),
        ResourceProfile("light", 2, 1024.0),
        ResourceProfile("standard", 4, 2048.0),
        ResourceProfile("heavy", 8, 4096.0),
        ResourceProfile("extreme", 16, 8192.0),
    )
}


def resolve_profile(scenario: Any) -> ResourceProfile:
    """Profile of a scenario, with its own `cores` and `memory_mb` in place of the profile's where given.

    Raises
    ------
    UsageError
        If there is no such profile.
    """
    try:
        profile = PROFILES[scenario.profile]
    except KeyError:
        raise UsageError("profile", scenario.profile, one_of(PROFILES, scenario.profile)) from None
    cores = profile.cores if scenario.cores is None else scenario.cores
    memory_mb = profile.memory_mb if scenario.memory_mb is None else scenario.memory_mb
    return ResourceProfile(profile.name, cores, memory_mb)


# Authentication.


@dataclass(frozen=True)
class AuthCosts:
    """What an authentication scheme costs.

    Attributes
    ----------
    name : str
        Name of the scheme.
    sign_ms, verify_ms : float
        CPU time to make one signature or MAC, and to check one.
    signature_bytes : int
        Its size on the wire.
    aggregated : bool
        True where the votes of a quorum are added up and checked once: each then costs `aggregate_ms` on
        arrival, and the quorum of k votes costs ``verify_ms + k * key_ms``.
    per_receiver : bool
        True for MACs: a multicast needs one for each receiver.
    aggregate_ms, key_ms : float
        CPU time to decode a vote's signature and add it to the sum, and to add one public key.
    """

    name: str
    sign_ms: float
    verify_ms: float
    signature_bytes: int
    aggregated: bool = False
    per_receiver: bool = False
    aggregate_ms: float = 0.0
    key_ms: float = 0.0


_HMAC_MS: Final = 1e3 * (64 / 292_337_350 + 64 / 428_011_610)
"""HMAC-SHA256 of 64 B at 292337.35 kB/s, `openssl speed -hmac`, which reuses the key's state; to it the two
compressions that absorb the key's pads are added, as SHA-256 of 64 B (two compressions) at 428011.61 kB/s.
Xeon guest of the module's first lines."""

AUTHENTICATION: Final = {
    auth.name: auth
    for auth in (
        # libsodium, AMD Ryzen 7 3700X: github.com/IntersectMBO/cardano-base/pull/219, comment of 2022-10-11.
        AuthCosts("ed25519", sign_ms=0.01877, verify_ms=0.04947, signature_bytes=64),
        # libsecp256k1. Sign: AMD Ryzen 7 3700X, cardano-base/pull/219 as above. Verify: AMD Threadripper
        # 2950X, window 15, github.com/bitcoin-core/secp256k1/pull/596, comment of 2019-03-08. Size:
        # libhotstuff include/hotstuff/crypto.h.
        AuthCosts("secp256k1", sign_ms=0.02791, verify_ms=0.0469, signature_bytes=64),
        # BLS12-381, keys in G1, signatures in G2 (96 B compressed): constantine, AMD Ryzen 7 7840U,
        # github.com/mratsim/constantine @e6bee85, README-PERFORMANCE.md. A key's addition is the difference
        # of its fast_aggregate_verify of 128 keys (703.117 us) and verify (630.002 us), by key. Adding up:
        # 59.317 us to decode and check the signature's group, there, and 1.486 us for the point addition:
        # BLST, Apple M1, github.com/logos-storage/logos-storage-research/issues/111.
        AuthCosts(
            "bls",
            sign_ms=0.233938,
            verify_ms=0.630002,
            signature_bytes=96,
            aggregated=True,
            aggregate_ms=0.059317 + 0.001486,
            key_ms=(0.703117 - 0.630002) / 128,
        ),
        AuthCosts("mac", sign_ms=_HMAC_MS, verify_ms=_HMAC_MS, signature_bytes=32, per_receiver=True),
    )
}


def auth_costs(name: str) -> AuthCosts:
    """Costs of an authentication scheme by name.

    Raises
    ------
    UsageError
        If there is no such scheme.
    """
    try:
        return AUTHENTICATION[name]
    except KeyError:
        raise UsageError("authentication", name, one_of(AUTHENTICATION, name)) from None


# Messages.


@dataclass(frozen=True)
class MessageCosts:
    """What any message costs, whatever signs it.

    Attributes
    ----------
    receive_ms, send_ms : float
        Kernel and network stack: to take one message in, and to send one copy.
    receive_byte_ms : float
        To take in one byte of a message that is read: hash and decode.
    create_byte_ms : float
        To make one byte of a new message: encode and hash, once however many copies leave.
    """

    receive_ms: float
    send_ms: float
    receive_byte_ms: float
    create_byte_ms: float


_HASH_BYTE_MS: Final = 1e3 / 1_769_192_270
"""SHA-256 over 8192 B at 1769192.27 kB/s, `openssl speed`, OpenSSL 3.0.19 with SHA-NI, Xeon guest."""

_DECODE_BYTE_MS: Final = 2.434e-6
_ENCODE_BYTE_MS: Final = 0.622e-6
"""borsh 1.8.0, AMD EPYC 7763, "log" data set: github.com/djkoloski/rust_serialization_benchmark @695b804
README."""

_STACK_MS: Final = {"stream": 3.52e-3, "datagram": 2.02e-3}
"""One 128 B message through Linux's loopback, send and receive together, in one thread: TCP 3.52 us, UDP 2.02
us (a C program on the Xeon guest). No NIC or driver is in it. Split evenly between the two sides, which is an
assumption."""


def message_costs(transport: str) -> MessageCosts:
    """Costs of a message over a `stream` (TCP) or `datagram` (UDP) transport."""
    try:
        half = _STACK_MS[transport] / 2
    except KeyError:
        raise UsageError("transport", transport, one_of(_STACK_MS, transport)) from None
    return MessageCosts(half, half, _HASH_BYTE_MS + _DECODE_BYTE_MS, _ENCODE_BYTE_MS + _HASH_BYTE_MS)


HEADER_BYTES: Final = {"stream": 44, "datagram": 28}
"""TCP/IP as in the analysis of "Safe Hints" (Singh et al. 2007): 44 B, counted once a message. UDP/IP: 8 + 20
B (RFC 768, RFC 791)."""


def size_inputs(scenario: Any, flooded: bool = False) -> SizeInputs:
    """Gather what message sizes depend on in a scenario.

    Parameters
    ----------
    scenario : Scenario
        Uses `nodes`, `payload_bytes`, `batch`, `authentication`, `client_authentication`, `transport` and `costs`.
    flooded : bool
        Whether multicasts are flooded (gossip), so that every copy carries the MACs of all receivers.
    """
    (auth, client), own = _authentication(scenario), _own_costs(scenario)
    multicast = auth.signature_bytes * (scenario.nodes - 1 if auth.per_receiver and flooded else 1)
    request = client.signature_bytes * (scenario.nodes if client.per_receiver else 1)
    return SizeInputs(
        nodes=scenario.nodes,
        payload_bytes=scenario.payload_bytes,
        batch=scenario.batch,
        header_bytes=int(own.get("header_bytes", HEADER_BYTES[scenario.transport])),
        signature_bytes=client.signature_bytes,
        multicast_signature_bytes=multicast,
        request_signature_bytes=request,
        message_bytes=int(own.get("message_bytes", 0)),
    )


# CPU time of the jobs of a round.


@dataclass(frozen=True)
class Costs:
    """All CPU costs of a scenario's replicas: of its messages, of what authenticates them, and those of clients."""

    message: MessageCosts
    auth: AuthCosts
    client: AuthCosts


def replica_costs(scenario: Any) -> Costs:
    """Gather the CPU costs of a scenario, its own `costs` in place of others; all zero where its `free_cpu` is set."""
    auth, client = _authentication(scenario)
    message = _with_own(message_costs(scenario.transport), scenario)
    if scenario.free_cpu:
        message = MessageCosts(0.0, 0.0, 0.0, 0.0)
        auth, client = (
            AuthCosts(one.name, 0.0, 0.0, one.signature_bytes, one.aggregated, one.per_receiver) for one in (auth, client)
        )
    return Costs(message, auth, client)


def _own_costs(scenario: Any) -> dict[str, float]:
    return parse_costs(scenario.costs) if scenario.costs else {}


_Costs = TypeVar("_Costs", AuthCosts, MessageCosts)


def _with_own(costs: _Costs, scenario: Any) -> _Costs:
    names = {field.name for field in fields(costs)}
    own: dict[str, Any] = {name: value for name, value in _own_costs(scenario).items() if name in names}
    return replace(costs, **own)


def _authentication(scenario: Any) -> tuple[AuthCosts, AuthCosts]:
    """Schemes between replicas, and between them and clients."""
    auth, name = _with_own(auth_costs(scenario.authentication), scenario), scenario.client_authentication
    return auth, auth_costs(name) if name else auth


@dataclass(frozen=True)
class JobCosts:
    """CPU milliseconds of the jobs that one round gives its nodes.

    Attributes
    ----------
    create_ms : float
        To make the sender's message: encode, hash, sign (for MACs: once for each receiver).
    send_ms : float
        To send one copy.
    receive_ms : float
        To take in one message: stack, hash, decode, verify.
    transit_ms : float
        To take in a message that is for others, or is known already: stack only. Passing it on costs
        `send_ms` a copy.
    quorum_ms : float
        Once, when the quorum is complete, before the round ends: to verify an aggregate. Zero for other
        schemes.
    size_bytes : int
        Bytes of one message; where there is one for each request of the batch, of all of them together, as
        are the times above.
    messages : int
        Messages that a copy stands for: the batch, where there is one for each request, else 1.
    """

    create_ms: float
    send_ms: float
    receive_ms: float
    transit_ms: float
    quorum_ms: float
    size_bytes: int
    messages: int


def job_costs(step: Round, costs: Costs, inputs: SizeInputs, faults: int) -> JobCosts:
    """CPU time of one round's jobs.

    Parameters
    ----------
    step : Round
        The round.
    costs : Costs
        From `replica_costs`.
    inputs : SizeInputs
        From `size_inputs`.
    faults : int
        f, for the size of an aggregated quorum.

    Returns
    -------
    JobCosts
    """
    with_client = step.pattern in (Pattern.CLIENT_TO_PRIMARY, Pattern.ALL_TO_CLIENT)
    auth, message = costs.client if with_client else costs.auth, costs.message
    size = step.message_bytes(inputs)
    times = inputs.batch if step.per_request else 1
    carried = 1 if step.per_request else inputs.batch
    aggregated = auth.aggregated and step.quorum is not QuorumLaw.ONE
    check = step.verifies * (auth.aggregate_ms if aggregated else auth.verify_ms)
    check += step.verifies_per_request * carried * costs.client.verify_ms
    votes = quorum_size(step.quorum, inputs.nodes, faults)
    return JobCosts(
        create_ms=times * (size * message.create_byte_ms + _signatures(step, auth, inputs.nodes) * auth.sign_ms),
        send_ms=times * message.send_ms,
        receive_ms=times * (message.receive_ms + size * message.receive_byte_ms + check),
        transit_ms=times * message.receive_ms,
        quorum_ms=times * step.verifies * (auth.verify_ms + votes * auth.key_ms) if aggregated else 0.0,
        size_bytes=times * size,
        messages=times,
    )


def _signatures(step: Round, auth: AuthCosts, nodes: int) -> int:
    """Signatures or MACs that the sender of one message makes."""
    if not auth.per_receiver:
        return step.signs
    receivers = {
        Pattern.CLIENT_TO_PRIMARY: nodes,  # every replica must be able to check the request
        Pattern.PRIMARY_TO_ALL: nodes - 1,
        Pattern.ALL_TO_ALL: nodes - 1,
        Pattern.ALL_TO_PRIMARY: 1,
        Pattern.ALL_TO_CLIENT: 1,
    }[step.pattern]
    return step.signs * receivers


# Memory.


@dataclass(frozen=True)
class MemoryModel:
    """What a replica holds besides its messages.

    All three are assumptions of this project: set them to your system's.

    Attributes
    ----------
    runtime_mb : float
        Process, libraries and buffers.
    state_mb : float
        The replicated service's state.
    message_overhead_bytes : int
        Book-keeping in memory for each logged message, besides its bytes.
    """

    runtime_mb: float = 64.0
    state_mb: float = 64.0
    message_overhead_bytes: int = 128


MEMORY: Final = MemoryModel()
_BYTES_PER_MB: Final = 1024.0 * 1024.0


def memory_need_mb(protocol: Protocol, inputs: SizeInputs, window: int, model: MemoryModel = MEMORY) -> float:
    """Memory that the busiest replica needs, in MiB.

    Between checkpoints it logs, for each of `window` batches, every message of every round that reached it,
    its own included; of replies, its own.

    Parameters
    ----------
    protocol : Protocol
        Its rounds say which messages there are.
    inputs : SizeInputs
        n and sizes.
    window : int
        Batches between checkpoints.
    model : MemoryModel
        What it holds besides.
    """
    logged = 0
    for step in protocol.rounds:
        times = inputs.batch if step.per_request else 1
        many = step.pattern in (Pattern.ALL_TO_ALL, Pattern.ALL_TO_PRIMARY)
        logged += times * (inputs.nodes if many else 1) * (step.message_bytes(inputs) + model.message_overhead_bytes)
    return model.runtime_mb + model.state_mb + window * logged / _BYTES_PER_MB
