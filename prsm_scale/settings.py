"""The settings that a scenario and a sweep have alike."""

from __future__ import annotations

import math
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_serializer, model_validator

from prsm_scale.axes import (
    AuthenticationChoice,
    Bandwidth,
    BehaviourMix,
    CostsText,
    DelayLaw,
    EngineChoice,
    Environment,
    FilePath,
    JitterLaw,
    Names,
    PlacementChoice,
    Positive,
    PrimaryPolicyChoice,
    Ratio,
    Real,
    ReplyQuorumChoice,
    Topology,
    TransportChoice,
    Whole,
    as_tuple,
    plain,
)
from prsm_scale.errors import UsageError
from prsm_scale.validation import usage_error

ONLY_WITH: dict[str, tuple[str, str]] = {
    "mesh_degree": ("topology", Topology.MESH),
    "branching": ("topology", Topology.HIERARCHICAL),
    "edge_probability": ("topology", Topology.RANDOM),
    "regions": ("environment", Environment.MULTI_REGION_CLOUD),
    "latency_matrix": ("environment", Environment.MULTI_REGION_CLOUD),
    "replicas_per_host": ("environment", Environment.DOCKER_CLUSTER),
    "host_cores": ("environment", Environment.DOCKER_CLUSTER),
    "bridge_delay_ms": ("environment", Environment.DOCKER_CLUSTER),
    "edge_share": ("environment", Environment.HYBRID_EDGE),
    "edge_delay_ms": ("environment", Environment.HYBRID_EDGE),
    "edge_uplink_mbps": ("environment", Environment.HYBRID_EDGE),
    "edge_downlink_mbps": ("environment", Environment.HYBRID_EDGE),
    "edge_loss": ("environment", Environment.HYBRID_EDGE),
    "edge_cpu_share": ("environment", Environment.HYBRID_EDGE),
}
"""Settings that mean something for one value of an axis only."""

YOUNG = frozenset({
    "replicas_per_host", "host_cores", "bridge_delay_ms", "edge_share", "edge_delay_ms", "edge_uplink_mbps", "edge_downlink_mbps",
    "edge_loss", "edge_cpu_share", "max_memory_mb", "max_cpu_percent", "warmup_s",
})  # fmt: skip
"""Settings younger than stored results: at their defaults they leave a scenario's digest as it was without them."""


def setting(default: Any, meaning: str, **limits: Any) -> Any:
    """Declare a setting; `meaning` is its help text, with what None stands for in brackets."""
    return Field(default, description=meaning, **limits)


class Settings(BaseModel):
    """One value for each setting that is no axis of a sweep.

    Raises
    ------
    UsageError
        With a line for each fault.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=True, allow_inf_nan=False)

    mesh_degree: Whole | None = setting(None, "links per replica of a mesh [max(4, ceil(log2 n))]", ge=2)
    branching: Positive = setting(4, "children per node of a hierarchical topology")
    edge_probability: Real | None = setting(None, "chance of a link in a random topology [2 ln n / n]", gt=0, le=1)
    delay_min_ms: Real | None = setting(None, "least one-way delay of a link, with delay_max_ms", ge=0)
    delay_max_ms: Real | None = setting(None, "greatest one-way delay of a link, with delay_min_ms", ge=0)
    loss: Real | None = setting(None, "chance that a copy is lost on a link", ge=0, le=0.999)
    bandwidth_mbps: Bandwidth | None = setting(None, "uplink and downlink of a replica, Mbit/s; inf for unlimited")
    jitter: JitterLaw = setting(
        "exponential",
        "law of jitter: none, exponential, normal(cv), lognormal(sigma), gamma(shape), pareto(shape) or empirical(FILE)",
    )
    jitter_fraction: Real = setting(0.05, "mean jitter over the link's base delay", ge=0)
    delay: DelayLaw | None = setting(
        None,
        "law of every delay in ms, in place of base and jitter: constant(c), uniform(a,b), "
        "exponential(mean), normal(mean,sd), lognormal(mean,sigma), gamma(mean,shape), pareto(mean,shape), or empirical(FILE), "
        "each number in a CSV file as likely as any other",
    )
    transport: TransportChoice = setting("stream", "stream sends a lost copy again, datagram does not")
    regions: Names | None = setting(None, "regions of the latency matrix to deal replicas over [all]")
    latency_matrix: FilePath | None = setting(None, "CSV file of round-trip times in ms between regions [21 of AWS]")
    replicas_per_host: Positive = setting(8, "replicas that share a host")
    host_cores: Positive = setting(16, "CPU cores of a host; replicas that want more have their share of them")
    bridge_delay_ms: Real = setting(0.00904, "one-way delay between replicas of a host", ge=0)
    edge_share: Ratio = setting(0.5, "share of replicas behind a last mile")
    edge_delay_ms: Real = setting(14.0, "one-way delay that a last mile adds", ge=0)
    edge_uplink_mbps: Bandwidth = setting(20.0, "uplink of a last mile, Mbit/s; inf for that of the condition")
    edge_downlink_mbps: Bandwidth = setting(100.0, "its downlink, likewise")
    edge_loss: Real = setting(0.004, "chance that a last mile loses a copy", ge=0, le=0.999)
    edge_cpu_share: Real = setting(0.25, "share of a CPU that a replica behind a last mile has", gt=0, le=1)
    max_memory_mb: Real | None = setting(None, "memory of a replica above which a scenario is reported as over its limit", gt=0)
    max_cpu_percent: Real | None = setting(None, "CPU use of a replica above which it is, likewise", gt=0)
    cores: Positive | None = setting(None, "CPU cores of a replica [of the profile]")
    memory_mb: Real | None = setting(None, "memory of a replica [of the profile]", gt=0)
    free_cpu: bool = setting(False, "let computing cost nothing", strict=True)
    costs: CostsText | None = setting(
        None, "CPU ms and bytes of your own, as in sign_ms=0.07,verify_ms=0.13,header_bytes=28 [published figures]"
    )
    client_authentication: AuthenticationChoice | None = setting(
        None, "what authenticates requests and replies: ed25519, secp256k1, bls, mac [as authentication]"
    )
    placement: PlacementChoice = setting("random", "which replicas are faulty: random, worst, or their ids")
    behaviour: BehaviourMix = setting(
        "silent", "what they do: silent, delay, equivocate, flood, drop_relay, or shares as in silent:0.5,equivocate:0.5"
    )
    primary_policy: PrimaryPolicyChoice = setting("stable", "who is primary: stable until a view fails, or rotating by operation")
    view_timeout_ms: Real | None = setting(
        None,
        "time after which replicas change a view in which an operation is stuck [4 latencies at rest or more]",
        gt=0,
    )
    client_timeout_ms: Real | None = setting(
        None, "time after which a client asks all replicas, where some are faulty [view_timeout_ms]", gt=0
    )
    flood_factor: Positive = setting(10, "invalid messages that a flooding replica sends after each valid one")
    window: Positive = setting(64, "batches in flight at once")
    operation_timeout_ms: Real = setting(60_000.0, "time after which a client gives an operation up", gt=0)
    duration_s: Real = setting(60.0, "length of the test in virtual seconds", gt=0)
    warmup_s: Real = setting(0.0, "virtual seconds of load before the test, left out", ge=0)
    engine: EngineChoice = setting("rounds", "what computes a scenario: rounds, events")
    clients: Positive | None = setting(None, "clients that each wait for an answer and ask again, in place of rate (events)")
    client_site: Whole | None = setting(None, "replica with which all clients sit [drawn for each operation]", ge=0)
    reply_quorum: ReplyQuorumChoice | None = setting(
        None, "matching replies that a client waits for: one, f_plus_one, quorum, majority, all [the protocol's]"
    )
    warmup: Whole | None = setting(None, "operations left out at first (events) [by warmup_s and utilisation, at least 50]", ge=0)
    operations: Positive | None = setting(None, "operations per scenario [as many as `precision` needs]")
    precision: Real = setting(0.01, "95 % interval of the mean latency to reach, relative", gt=0, lt=1)
    replicates: Whole = setting(8, "independent repetitions that intervals come from", ge=2)

    def __init__(self, **settings: Any) -> None:
        try:
            super().__init__(**{name: plain(value) for name, value in settings.items()})
        except ValidationError as error:
            raise usage_error(error, type(self)) from None

    @field_serializer("bandwidth_mbps", "edge_uplink_mbps", "edge_downlink_mbps", when_used="json")
    def _without_infinity(self, value: float | None) -> float | str | None:
        return value if value is None or math.isfinite(value) else str(value)

    @model_validator(mode="after")
    def _of_use(self) -> Settings:
        """Reject settings that no value of their axis reads."""
        faults = [
            UsageError(name, getattr(self, name), f"only with {axis} {value}")
            for name, (axis, value) in ONLY_WITH.items()
            if getattr(self, name) != type(self).model_fields[name].default and value not in as_tuple(getattr(self, axis))
        ]
        if faults:
            raise UsageError.gather(faults)
        return self
