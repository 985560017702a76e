"""What a user may ask for: one scenario, a sweep over many, and the TOML file that holds a sweep."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, fields
from functools import cached_property, lru_cache
from itertools import islice, product
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import Field, field_serializer, model_validator

from prsm_scale.axes import (
    AUTO,
    FROM_GRAPH,
    GRAPH_OBJECT,
    AuthenticationChoice,
    Axis,
    Dissemination,
    DisseminationChoice,
    Engine,
    EnvironmentChoice,
    NetworkChoice,
    NodeAxis,
    Positive,
    ProfileChoice,
    ProtocolChoice,
    Rate,
    Ratio,
    Seed,
    Topology,
    TopologyChoice,
    Whole,
    as_tuple,
    is_graph,
    is_graph_file,
    is_user_graph,
)
from prsm_scale.errors import UsageError
from prsm_scale.laws import from_folder, law_file
from prsm_scale.nodes import FEWEST_NODES, MOST_NODES, parse_nodes
from prsm_scale.settings import ONLY_WITH, YOUNG, Settings, setting
from prsm_scale.validation import read_toml

if TYPE_CHECKING:
    from prsm_scale.topology import TopologyGraph

DEFAULT_NODES = "10..1000"
MOST_SCENARIOS = 100_000
AXES = (
    "topology",
    "network",
    "environment",
    "profile",
    "protocol",
    "dissemination",
    "authentication",
    "byzantine_ratio",
    "rate",
    "payload_bytes",
    "batch",
    "seed",
    "nodes",
)
"""Settings of which a sweep takes several values, in the order of its scenarios; the last varies fastest."""

MOST_FAULTS = 10
MOST_EVENT_NODES = 4096
"""Replicas that the events engine takes; at this size one operation alone has 34 million messages."""


class Scenario(Settings):
    """One point: everything that decides a result.

    Every setting is a keyword; ``prsm-scale sweep --help`` and the descriptions in ``Scenario.model_fields``
    tell what each means. One that is None takes its value from the network condition, profile or topology.

    Raises
    ------
    UsageError
        One line for each setting that is unknown, has a value it may not have, or contradicts another.

    Notes
    -----
    `topology` takes a NetworkX graph or the path of a graph file too; `nodes` may be left out then. A list of
    replica ids as `placement` sets `byzantine_ratio`. In a finished scenario `dissemination` is never None.
    """

    nodes: Whole = setting(..., "replicas", ge=FEWEST_NODES, le=MOST_NODES)
    topology: TopologyChoice = setting(
        "fully_connected", "fully_connected, ring, star, mesh, hierarchical, random, or a graph file"
    )
    graph: Any = Field(None, exclude=True, repr=False)
    graph_digest: str | None = None
    network: NetworkChoice = setting("wan", "condition of the links: ideal, lan, wan, intercontinental, poor")
    environment: EnvironmentChoice = setting(
        "local_simulation", "where replicas run: local_simulation, docker_cluster, multi_region_cloud, hybrid_edge"
    )
    profile: ProfileChoice = setting("standard", "CPU and memory of a replica: minimal, light, standard, heavy, extreme")
    protocol: ProtocolChoice = setting("pbft", "table of rounds to run: pbft")
    dissemination: DisseminationChoice = setting(None, "direct, gossip, routed [direct where all are linked, else gossip]")
    authentication: AuthenticationChoice = setting("ed25519", "what authenticates a message: ed25519, secp256k1, bls, mac")
    byzantine_ratio: Ratio = setting(0.0, "share of replicas that are faulty")
    rate: Rate = setting(10.0, "operations offered per second")
    payload_bytes: Positive = setting(512, "size of one operation's payload")
    batch: Positive = setting(1, "operations carried by one proposal")
    seed: Seed = setting(0, "seed of all draws")

    @model_validator(mode="before")
    @classmethod
    def _resolve(cls, given: dict[str, Any]) -> dict[str, Any]:
        """Fill in what other settings decide: a graph's nodes, dissemination, ratio of listed faults."""
        topology = given.get("topology", Topology.FULLY_CONNECTED)
        settings = {**given, "graph": None, "graph_digest": None}
        complete, partial = topology == Topology.FULLY_CONNECTED, topology in list(Topology)[1:]
        if is_user_graph(topology):
            graph, facts = _user_graph(topology, given.get("graph"))
            complete, partial = facts.complete, not facts.complete
            if given.get("nodes", FROM_GRAPH) not in (FROM_GRAPH, facts.nodes):
                allowed = f"{FROM_GRAPH!r}, or {facts.nodes} as the graph has"
                raise UsageError("nodes", given["nodes"], allowed)
            name = GRAPH_OBJECT if is_graph(topology) else topology
            settings |= {"topology": name, "graph": graph, "graph_digest": facts.digest, "nodes": facts.nodes}
        if settings.get("nodes") == FROM_GRAPH:
            allowed = "a number; only a graph file or a NetworkX graph has its own"
            raise UsageError("nodes", FROM_GRAPH, allowed)
        if settings.get("dissemination", AUTO) in (None, AUTO):
            settings["dissemination"] = Dissemination.DIRECT if complete else Dissemination.GOSSIP
        elif settings["dissemination"] == Dissemination.DIRECT and partial:
            allowed = "gossip or routed, as not every pair of replicas is linked"
            raise UsageError("dissemination", "direct", allowed)
        if not settings.get("byzantine_ratio") and not isinstance(settings.get("placement", ""), str):
            settings["byzantine_ratio"] = _listed_ratio(settings["placement"], settings.get("nodes"))
        return settings

    @model_validator(mode="after")
    def _agree(self) -> Scenario:
        """Reject settings that contradict each other."""
        faults = list(_contradictions(self))
        if faults:
            raise UsageError.gather(faults)
        return self

    @field_serializer("protocol")
    def _protocol_name(self, value: Any) -> str:
        return str(getattr(value, "name", value))

    def but(self, **changes: Any) -> Scenario:
        """The scenario with some settings changed, checked like any other."""
        return Scenario(**({name: getattr(self, name) for name in Scenario.model_fields} | changes))

    @property
    def byzantine_count(self) -> int:
        """Number of faulty replicas, floor(byzantine_ratio n)."""
        # 0.29 * 100 falls a rounding error short of the 29 that is meant.
        return math.floor(round(self.byzantine_ratio * self.nodes, 9))

    @property
    def proposals_per_ms(self) -> float:
        """Rate at which proposals are offered in open loop."""
        return self.rate / self.batch / 1000.0

    @cached_property
    def scenario_id(self) -> str:
        """16 hexadecimal digits of SHA-256 over all that decides the result."""
        settings = self.model_dump(mode="json")
        if self.graph_digest:
            settings["topology"] = GRAPH_OBJECT
        for name in YOUNG:
            if settings[name] == Scenario.model_fields[name].default:
                del settings[name]
        settings |= {name: _file_digest(path, Path(path).stat().st_mtime_ns) for name, path in _files(self).items()}
        if not isinstance(self.protocol, str):
            settings["protocol"] = _table_digest(self.protocol)
        canonical = json.dumps(settings, sort_keys=True, allow_nan=False)
        return hashlib.sha256(canonical.encode()).hexdigest()[:16]


class Sweep(Settings):
    """A grid of scenarios.

    Every setting of `Scenario` is a keyword; those in `AXES` take one value or several, and `nodes` takes the
    grammar of `prsm_scale.nodes.parse_nodes` (default ``"10..1000"``) or, for a graph, the word ``"file"``.

    Raises
    ------
    UsageError
        One line for each fault, of the sweep or of any of its scenarios.

    Examples
    --------
    >>> sweep = Sweep(nodes="10..40", topology=["mesh", "star"], network="lan")
    >>> [(one.topology, one.nodes) for one in sweep.scenarios()]
    [('mesh', 10), ('mesh', 20), ('mesh', 40), ('star', 10), ('star', 20), ('star', 40)]
    """

    nodes: NodeAxis = parse_nodes(DEFAULT_NODES)
    topology: Axis[TopologyChoice] = ("fully_connected",)
    network: Axis[NetworkChoice] = ("wan",)
    environment: Axis[EnvironmentChoice] = ("local_simulation",)
    profile: Axis[ProfileChoice] = ("standard",)
    protocol: Axis[ProtocolChoice] = ("pbft",)
    dissemination: Axis[DisseminationChoice] = (None,)
    authentication: Axis[AuthenticationChoice] = ("ed25519",)
    byzantine_ratio: Axis[Ratio] = (0.0,)
    rate: Axis[Rate] = (10.0,)
    payload_bytes: Axis[Positive] = (512,)
    batch: Axis[Positive] = (1,)
    seed: Axis[Seed] = (0,)

    @model_validator(mode="before")
    @classmethod
    def _count_graph(cls, given: dict[str, Any]) -> dict[str, Any]:
        """Take the nodes from the graph where nobody gives a count."""
        own_count = any(map(is_user_graph, as_tuple(given.get("topology"))))
        return {"nodes": FROM_GRAPH if own_count else DEFAULT_NODES, **given}

    @model_validator(mode="after")
    def _all_allowed(self) -> Sweep:
        """Build every scenario once, so that a fault shows before any is simulated."""
        size = math.prod(len(self._axis(name)) for name in AXES)
        if size > MOST_SCENARIOS:
            raise UsageError("sweep", f"{size} scenarios", f"at most {MOST_SCENARIOS}")
        faults = list(islice(scenario_faults(self._points()), MOST_FAULTS))
        if faults:
            raise UsageError.gather(faults)
        return self

    def scenarios(self) -> list[Scenario]:
        """Every scenario of the grid, in the order of `AXES`: neighbours differ in `nodes`."""
        return [Scenario(**point) for point in self._points()]

    def to_dict(self) -> dict[str, Any]:
        """Every setting as a value that JSON can hold; ``Sweep(**settings)`` makes the same sweep."""
        return {name: _storable(getattr(self, name)) for name in type(self).model_fields}

    def to_toml(self) -> str:
        """Text of a configuration file that makes the same sweep."""
        # A JSON string, number or list is valid TOML too; what is None is left to its default.
        settings = self.to_dict().items()
        return "".join(f"{k} = {json.dumps(v, ensure_ascii=False)}\n" for k, v in settings if v is not None)

    def _axis(self, name: str) -> tuple[Any, ...]:
        return as_tuple(getattr(self, name))

    def _points(self) -> Iterator[dict[str, Any]]:
        alike = {name: getattr(self, name) for name in Settings.model_fields}
        for values in product(*map(self._axis, AXES)):
            point = alike | dict(zip(AXES, values, strict=True))
            of_no_use = (name for name, (axis, value) in ONLY_WITH.items() if point[axis] != value)
            for name in of_no_use:
                del point[name]
            yield point


def scenario_faults(points: Iterable[dict[str, Any]]) -> Iterator[UsageError]:
    """Tell what is wrong with the settings of any of several scenarios, each fault once."""
    seen: set[str] = set()
    for point in points:
        try:
            Scenario(**point)
        except UsageError as error:
            fresh = [fault for fault in error.faults if str(fault) not in seen]
            seen.update(map(str, fresh))
            yield from fresh


def load_sweep(path: str | Path, **overrides: Any) -> Sweep:
    """Read a sweep from a TOML file.

    Parameters
    ----------
    path
        File whose keys are the settings of `Sweep`. Paths in it are relative to its own folder.
    **overrides
        Settings that go before those of the file.

    Raises
    ------
    UsageError
        If the file cannot be read, is not TOML, or as `Sweep` does.
    """
    return Sweep(**(read_config(path) | overrides))


def read_config(path: str | Path) -> dict[str, Any]:
    """Settings of a TOML file, paths in it relative to its own folder; see `load_sweep`."""
    file = Path(path)
    settings = read_toml(path, "config")
    for name, located in _FROM_FOLDER.items():
        if name in settings:
            value = settings[name]
            several = isinstance(value, list)
            settings[name] = [located(one, file.parent) for one in value] if several else located(value, file.parent)
    return settings


_FROM_FOLDER: dict[str, Callable[[Any, Path], Any]] = {
    "topology": lambda value, folder: str(folder / value) if is_graph_file(value) else value,
    "latency_matrix": lambda value, folder: str(folder / value) if isinstance(value, str) else value,
    "delay": from_folder,
    "jitter": from_folder,
}
"""How to take what a setting names from the folder of its configuration file."""


@lru_cache(maxsize=16)
def _graph_file(path: str, _modified_ns: int) -> tuple[Any, TopologyGraph]:
    from prsm_scale.topology import graph_topology, read_graph

    graph = read_graph(path)
    return graph, graph_topology(graph, path)


def _user_graph(topology: Any, graph: Any) -> tuple[Any, TopologyGraph]:
    """Graph of a topology that no generator makes, and its checked form."""
    from prsm_scale.topology import graph_topology

    if is_graph_file(topology):
        file = Path(topology)
        return _graph_file(str(file), file.stat().st_mtime_ns if file.exists() else 0)
    graph = topology if is_graph(topology) else graph
    if graph is None:
        raise UsageError("topology", topology, "the NetworkX graph itself, given from Python, or a graph file")
    return graph, graph_topology(graph)


def _files(scenario: Scenario) -> dict[str, str]:
    """Path of the file behind each setting that has one; graphs have a digest of their own."""
    laws = {name: law_file(getattr(scenario, name)) for name in ("delay", "jitter")}
    return {name: path for name, path in {"latency_matrix": scenario.latency_matrix, **laws}.items() if path}


@lru_cache(maxsize=16)
def _file_digest(path: str, _modified_ns: int) -> str:
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()


def _listed_ratio(placement: Any, nodes: Any) -> float:
    return min(1.0, len(as_tuple(placement)) / nodes) if isinstance(nodes, int) and nodes > 0 else 0.0


def _contradictions(scenario: Scenario) -> Iterator[UsageError]:
    nodes, low, high = scenario.nodes, scenario.delay_min_ms, scenario.delay_max_ms
    if low is not None and high is not None and low > high:
        yield UsageError("delay_min_ms", low, f"at most delay_max_ms, which is {high:g}")
    if scenario.delay is not None:
        for name in ("delay_min_ms", "delay_max_ms", "jitter"):
            if getattr(scenario, name) != Scenario.model_fields[name].default:
                yield UsageError(name, getattr(scenario, name), "left out where delay stands in its place")
    if scenario.mesh_degree is not None and scenario.mesh_degree >= nodes:
        yield UsageError("mesh_degree", scenario.mesh_degree, f"less than nodes, which is {nodes}")
    for name, path in _files(scenario).items():
        if not Path(path).is_file():
            yield UsageError(name, getattr(scenario, name), "a CSV file that is there")
    if scenario.client_site is not None and scenario.client_site >= nodes:
        yield UsageError("client_site", scenario.client_site, f"a replica id from 0 to {nodes - 1}")
    if scenario.clients is not None and scenario.engine != Engine.EVENTS:
        yield UsageError("clients", scenario.clients, "only with engine events")
    if scenario.engine == Engine.EVENTS and nodes > MOST_EVENT_NODES:
        yield UsageError("nodes", nodes, f"at most {MOST_EVENT_NODES} with engine events")
    if isinstance(scenario.placement, tuple):
        if scenario.client_site in scenario.placement:
            yield UsageError("client_site", scenario.client_site, "a replica that is not faulty")
        if scenario.placement[-1] >= nodes:
            yield UsageError("placement", scenario.placement, f"replica ids from 0 to {nodes - 1}")
        if scenario.byzantine_count != len(scenario.placement):
            yield UsageError("byzantine_ratio", scenario.byzantine_ratio, "left out where placement lists the replicas")


def _storable(value: Any) -> Any:
    if isinstance(value, tuple):
        return [AUTO if item is None else _storable(item) for item in value]
    if isinstance(value, float) and math.isinf(value):
        return "inf"
    if is_graph(value):
        return GRAPH_OBJECT
    return value if isinstance(value, str | int | float | None) else value.name


def _table_digest(protocol: Any) -> str:
    """Digest of a table of rounds, its laws of size told apart by their values at a few points."""
    from prsm_scale.protocols import SizeInputs

    names = [field.name for field in fields(SizeInputs)]
    probes = [SizeInputs(**{name: 10 + step * k for k, name in enumerate(names, 1)}) for step in (1, 7, 1000)]
    table = json.dumps(asdict(protocol), default=lambda law: [law(probe) for probe in probes], sort_keys=True)
    return hashlib.sha256(table.encode()).hexdigest()
