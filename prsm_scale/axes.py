"""The named values of a scenario's axes, and the checks that turn a user's words into them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BeforeValidator, Field, Strict, ValidationInfo

from prsm_scale.behaviours import PrimaryPolicy, parse_behaviour, spell_behaviour
from prsm_scale.costs import parse_costs, spell_costs
from prsm_scale.errors import UsageError, one_of
from prsm_scale.laws import LawField, parse_law
from prsm_scale.nodes import parse_nodes

FROM_GRAPH = "file"
"""The word for `nodes` where a graph file or a NetworkX graph sets the count."""

AUTO = "auto"
"""The word for a dissemination that suits the topology; None in Python."""

GRAPH_OBJECT = "graph"
"""The topology of a scenario whose graph was passed as an object."""

GRAPH_SUFFIXES = (".graphml", ".edgelist", ".csv", ".txt")
"""Endings by which a topology is known to be a file."""


class Topology(StrEnum):
    """Generated graphs; a graph file or a NetworkX graph serves as well."""

    FULLY_CONNECTED = "fully_connected"
    RING = "ring"
    STAR = "star"
    MESH = "mesh"
    HIERARCHICAL = "hierarchical"
    RANDOM = "random"


class Network(StrEnum):
    """Network conditions: delay, loss, bandwidth and jitter of the links."""

    IDEAL = "ideal"
    LAN = "lan"
    WAN = "wan"
    INTERCONTINENTAL = "intercontinental"
    POOR = "poor"


class Environment(StrEnum):
    """Where the replicas run."""

    LOCAL_SIMULATION = "local_simulation"
    DOCKER_CLUSTER = "docker_cluster"
    MULTI_REGION_CLOUD = "multi_region_cloud"
    HYBRID_EDGE = "hybrid_edge"


class Profile(StrEnum):
    """CPU and memory of one replica."""

    MINIMAL = "minimal"
    LIGHT = "light"
    STANDARD = "standard"
    HEAVY = "heavy"
    EXTREME = "extreme"


class Dissemination(StrEnum):
    """How a message reaches replicas: over its own link, by flooding, or along shortest paths."""

    DIRECT = "direct"
    GOSSIP = "gossip"
    ROUTED = "routed"


class Authentication(StrEnum):
    """What authenticates a message."""

    ED25519 = "ed25519"
    SECP256K1 = "secp256k1"
    BLS = "bls"
    MAC = "mac"


class Transport(StrEnum):
    """What becomes of a lost copy: sent again, or gone."""

    STREAM = "stream"
    DATAGRAM = "datagram"


class Placement(StrEnum):
    """Which replicas are faulty, where no list says so."""

    RANDOM = "random"
    WORST = "worst"


class ReplyQuorum(StrEnum):
    """How many matching replies end an operation; see `prsm_scale.protocols.QuorumLaw`."""

    ONE = "one"
    F_PLUS_ONE = "f_plus_one"
    QUORUM = "quorum"
    MAJORITY = "majority"
    ALL = "all"


class Engine(StrEnum):
    """What computes a scenario."""

    ROUNDS = "rounds"
    EVENTS = "events"
    MEANFIELD = "meanfield"


NOT_AVAILABLE_YET = frozenset({Engine.MEANFIELD})


def choice(kinds: type[StrEnum]) -> BeforeValidator:
    """Accept the available values of an enumeration, as plain text."""
    names = [kind.value for kind in kinds if kind not in NOT_AVAILABLE_YET]

    def check(value: Any, info: ValidationInfo) -> str:
        if isinstance(value, str) and value in names:
            return str(value)
        later = f" ({value} is not available yet)" if value in list(kinds) else ""
        raise UsageError(info.field_name or "", value, f"{one_of(names, value)}{later}")

    return BeforeValidator(check)


def law(field: LawField) -> BeforeValidator:
    """Accept a law of delay or jitter, in its shortest spelling."""
    return BeforeValidator(lambda text: str(parse_law(text, field)))


def plain(value: Any) -> Any:
    """Turn NumPy scalars and arrays into Python numbers and lists."""
    return value.tolist() if hasattr(value, "tolist") else value


def is_graph(value: object) -> bool:
    """Whether `value` is a graph object; NetworkX is too slow to import only to ask it."""
    return hasattr(value, "number_of_nodes") and hasattr(value, "edges")


def is_graph_file(value: object) -> bool:
    """Whether a topology is the path of a graph file, there or not."""
    return isinstance(value, (str, Path)) and Path(value).suffix.lower() in GRAPH_SUFFIXES


def is_user_graph(value: object) -> bool:
    """Whether a topology is a graph object, the word that stands for one, or the path of a graph file."""
    return is_graph(value) or is_graph_file(value) or value == GRAPH_OBJECT


def check_topology(value: Any, info: ValidationInfo) -> Any:
    """Accept the name of a generated graph, the path of a graph file, or a NetworkX graph."""
    if isinstance(value, str) and value in list(Topology):
        return str(value)
    if is_user_graph(value):
        return str(value) if isinstance(value, Path) else value
    files = ", ".join(GRAPH_SUFFIXES)
    raise UsageError(info.field_name or "", value, f"{one_of(Topology, value)}, or a graph file ({files})")


def check_protocol(value: Any, info: ValidationInfo) -> Any:
    """Accept the name of a shipped protocol, or a table of rounds."""
    from prsm_scale.protocols import PROTOCOLS, get_protocol

    table = get_protocol(value)
    return table.name if table is PROTOCOLS.get(table.name) else table


def check_costs(value: Any, info: ValidationInfo) -> Any:
    """Accept costs as text or as a mapping, in one spelling."""
    return None if value is None else spell_costs(parse_costs(value, info.field_name or ""))


def check_behaviour(value: Any) -> str:
    """Accept one behaviour of faulty replicas, or several with their shares."""
    return spell_behaviour(parse_behaviour(str(value)))


def check_dissemination(value: Any) -> Any:
    """Accept the word that leaves the choice to the topology."""
    return None if value == AUTO else value


def check_node_axis(value: Any) -> tuple[int, ...] | str:
    """Accept the nodes grammar, or the word that leaves the count to the graph."""
    return FROM_GRAPH if value == FROM_GRAPH else parse_nodes(value)


def check_placement(value: Any, info: ValidationInfo) -> Any:
    """Accept a rule that places faulty replicas, or the list of them."""
    if isinstance(value, str) and value in list(Placement):
        return str(value)
    ids = as_tuple(value)
    if ids and all(type(item) is int and item >= 0 for item in ids) and len(set(ids)) == len(ids):
        return tuple(sorted(ids))
    allowed = f"{one_of(Placement, value)}, or different replica ids from 0"
    raise UsageError(info.field_name or "", value, allowed)


def as_tuple(value: Any) -> tuple[Any, ...]:
    """Wrap one value in a tuple, or make a tuple of several; a mapping is one, as its keys are no values."""
    value = plain(value)
    if isinstance(value, Iterable) and not isinstance(value, str | Mapping) and not is_graph(value):
        return tuple(map(plain, value))
    return (value,)


def check_names(value: Any, info: ValidationInfo) -> tuple[Any, ...]:
    """Accept one value or several, but not none."""
    values = as_tuple(value)
    if not values:
        raise UsageError(info.field_name or "", value, "one value or more")
    return values


def check_axis(value: Any, info: ValidationInfo) -> tuple[Any, ...]:
    """Accept one value or several of an axis, and keep each once."""
    return tuple({repr(item): item for item in check_names(value, info)}.values())


T = TypeVar("T")
Whole = Annotated[int, Strict()]
Real = Annotated[float, Strict()]
Axis = Annotated[tuple[T, ...], BeforeValidator(check_axis)]
Names = Annotated[tuple[str, ...], BeforeValidator(check_names)]
Bandwidth = Annotated[
    float,
    Strict(),
    Field(gt=0, allow_inf_nan=True),
    BeforeValidator(lambda value: math.inf if value == "inf" else value),
]
Ratio = Annotated[Real, Field(ge=0, le=1)]
Rate = Annotated[Real, Field(ge=0)]
Positive = Annotated[Whole, Field(ge=1)]
Seed = Annotated[Whole, Field(ge=0, le=2**63 - 1)]

TopologyChoice = Annotated[Any, BeforeValidator(check_topology)]
NetworkChoice = Annotated[str, choice(Network)]
EnvironmentChoice = Annotated[str, choice(Environment)]
EngineChoice = Annotated[str, choice(Engine)]
ReplyQuorumChoice = Annotated[str, choice(ReplyQuorum)]
TransportChoice = Annotated[str, choice(Transport)]
PlacementChoice = Annotated[Any, BeforeValidator(check_placement)]
JitterLaw = Annotated[str, law("jitter")]
FilePath = Annotated[str, BeforeValidator(lambda value: str(value) if isinstance(value, Path) else value)]
DelayLaw = Annotated[str, law("delay")]
BehaviourMix = Annotated[str, BeforeValidator(check_behaviour)]
PrimaryPolicyChoice = Annotated[str, choice(PrimaryPolicy)]
CostsText = Annotated[str, BeforeValidator(check_costs)]
NodeAxis = Annotated[tuple[int, ...] | Literal["file"], BeforeValidator(check_node_axis)]
ProfileChoice = Annotated[str, choice(Profile)]
ProtocolChoice = Annotated[Any, BeforeValidator(check_protocol)]
DisseminationChoice = Annotated[Annotated[str, choice(Dissemination)] | None, BeforeValidator(check_dissemination)]
AuthenticationChoice = Annotated[str, choice(Authentication)]
