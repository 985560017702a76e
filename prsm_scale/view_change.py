"""Time-outs and messages of a view change: sizes, costs, and when; see docs/faults.md."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from prsm_kernels.delay import MIN_RTO_MS
from prsm_scale.axes import Transport
from prsm_scale.environments import resolve_condition
from prsm_scale.protocols import DIGEST_BYTES, SizeInputs
from prsm_scale.resources import Costs, JobCosts, auth_costs

VIEW_CHANGE_FIELD_BYTES: Final = 20
"""View, number of the stable checkpoint, sender, type and length, of 4 B each (Castro and Liskov, OSDI 1999, section 4.4)."""
CERTIFICATE_FIELD_BYTES: Final = DIGEST_BYTES + 8
"""Digest, view and number that the signatures of a certificate are for."""
LATENCIES_TO_TIMEOUT: Final = 4.0
REPEATS_TO_TIMEOUT: Final = 2.0
"""Least time-outs of a lost copy in T where copies are repeated, so that a lost one alone fails no view."""
_AT_REST: Final = 16


@dataclass(frozen=True)
class Timing:
    """When replicas and clients lose patience.

    Attributes
    ----------
    view_timeout_ms : float
        T, for which a replica waits for an operation that it knows.
    client_timeout_ms : float
        After which a client sends its request to all replicas.
    latency_ms : float
        L, the longest latency without faults and load.
    """

    view_timeout_ms: float
    client_timeout_ms: float
    latency_ms: float

    @property
    def hold_ms(self) -> float:
        """By how much a replica that delays sends late."""
        return max(0.0, self.view_timeout_ms - self.latency_ms)


@dataclass(frozen=True)
class ViewCosts:
    """Sizes and CPU times of a view change's messages.

    Attributes
    ----------
    change, new_view : JobCosts
        VIEW-CHANGE and NEW-VIEW where nothing is prepared.
    certificate_bytes : int
        What each prepared operation adds to a VIEW-CHANGE, and, times `quorum`, to a NEW-VIEW.
    certificate_ms : float
        CPU time to verify it, at each receiver of a VIEW-CHANGE.
    byte_ms : float
        CPU time for each byte received.
    create_byte_ms : float
        CPU time for each byte of a new message.
    quorum : int
        VIEW-CHANGEs in a NEW-VIEW.
    """

    change: JobCosts
    new_view: JobCosts
    certificate_bytes: int
    certificate_ms: float
    byte_ms: float
    create_byte_ms: float
    quorum: int


def view_costs(scenario: Any, costs: Costs, inputs: SizeInputs, quorum: int) -> ViewCosts:
    """Work out what a view change's messages cost.

    Parameters
    ----------
    scenario : Scenario
    costs : Costs
        From `resources.replica_costs`.
    inputs : SizeInputs
        From `resources.size_inputs`.
    quorum : int

    Notes
    -----
    A certificate is a digest and the signatures of a quorum, or one aggregate and n bits. MACs prove nothing to third parties, so
    that these messages are signed with Ed25519 under `mac` (Castro and Liskov, OSDI 1999, section 4.4).
    """
    auth, message = costs.auth, costs.message
    if auth.per_receiver and not scenario.free_cpu:
        auth = auth_costs("ed25519")
    signature_bytes = auth_costs("ed25519").signature_bytes if costs.auth.per_receiver else auth.signature_bytes
    certificate_bytes = CERTIFICATE_FIELD_BYTES + quorum * signature_bytes
    certificate_ms = quorum * auth.verify_ms
    if auth.aggregated:
        certificate_bytes = CERTIFICATE_FIELD_BYTES + signature_bytes + -(-inputs.nodes // 8)
        certificate_ms = auth.verify_ms + quorum * auth.key_ms
    own = inputs.header_bytes + VIEW_CHANGE_FIELD_BYTES + signature_bytes

    def job(size: int, proofs_ms: float) -> JobCosts:
        return JobCosts(
            create_ms=size * message.create_byte_ms + auth.sign_ms,
            send_ms=message.send_ms,
            receive_ms=message.receive_ms + size * message.receive_byte_ms + auth.verify_ms + proofs_ms,
            transit_ms=message.receive_ms,
            quorum_ms=0.0,
            size_bytes=size,
            messages=1,
        )

    change = job(own + certificate_bytes, certificate_ms)
    return ViewCosts(
        change, job(own + quorum * change.size_bytes, 0.0), certificate_bytes, certificate_ms,
        message.receive_byte_ms, message.create_byte_ms, quorum,
    )  # fmt: skip


def timing_of(scenario: Any) -> Timing:
    """Time-outs of a scenario: its own, or those that suit its latency without faults and load."""
    from prsm_scale.at_rest import latencies_at_rest

    latency_ms = float(np.max(latencies_at_rest(scenario, _AT_REST)))
    if not 0.0 < latency_ms < np.inf:
        latency_ms = scenario.operation_timeout_ms / LATENCIES_TO_TIMEOUT
    repeats = scenario.transport == Transport.STREAM and resolve_condition(scenario).loss > 0.0
    least_ms = REPEATS_TO_TIMEOUT * float(MIN_RTO_MS) if repeats else 0.0
    view_ms = scenario.view_timeout_ms or max(LATENCIES_TO_TIMEOUT * latency_ms, least_ms)
    return Timing(view_ms, scenario.client_timeout_ms or view_ms, latency_ms)
