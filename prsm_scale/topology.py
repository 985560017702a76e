"""Who is linked to whom: generators, NetworkX graphs and files, as arrays with a fixed order of nodes.

The only importer of networkx.
"""

from __future__ import annotations

import ast
import csv
import hashlib
import math
import random
import re
from collections import namedtuple
from collections.abc import Callable
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cache, lru_cache
from pathlib import Path
from typing import Any, Final
from xml.etree.ElementTree import ParseError

import networkx as nx
import numpy as np
import numpy.typing as npt

from prsm_scale.axes import GRAPH_SUFFIXES
from prsm_scale.errors import UsageError, one_of
from prsm_scale.nodes import FEWEST_NODES

_MAX_TRIES: Final = 100
_RANGES: Final = {
    "delay_ms": (0.0, 1e9, math.nan),
    "bandwidth_mbps": (1e-6, math.inf, math.inf),
    "loss": (0.0, 0.999, math.nan),
}
"""Attributes of links: least, greatest, and value where the graph gives none."""
_ATTRIBUTES: Final = tuple(_RANGES)
_HEADERS: Final = (("u", "v"), ("source", "target"), ("from", "to"))

Float32Array = npt.NDArray[np.float32]
Int32Array = npt.NDArray[np.int32]


@dataclass(frozen=True, eq=False)
class TopologyGraph:
    """Links among replicas 0 .. n-1 as a directed compressed sparse row (CSR) structure.

    Attributes
    ----------
    name : str
        Name of the generator, path of the file, or "graph".
    nodes : int
        Number of replicas, n.
    complete : bool
        True when every pair is linked by design: `fully_connected`, or a user's complete graph. A generated
        mesh or random graph stays False even where it is so small that all pairs happen to be linked, so that
        a sweep over n keeps one way of dissemination.
    indptr : ndarray of int32, shape (n + 1,)
        Links from node u are entries ``indptr[u]:indptr[u + 1]``. All zero for `fully_connected`.
    indices : ndarray of int32, shape (m,)
        The node each link leads to, ascending within a row. Both directions of a link are present. Empty for
        `fully_connected`.
    delay_ms, bandwidth_mbps, loss : ndarray of float32, shape (m,)
        What the graph itself says of each directed link; where it says nothing NaN, infinity and NaN.
    labels : tuple of str
        The user's name of each node, in natural order ("n2" before "n10"); empty for generated graphs.
    digest : str
        16 hexadecimal digits of SHA-256 over all of the above but the names.
    """

    name: str
    nodes: int
    complete: bool
    indptr: Int32Array
    indices: Int32Array
    delay_ms: Float32Array
    bandwidth_mbps: Float32Array
    loss: Float32Array
    labels: tuple[str, ...]
    digest: str


def build_topology(scenario: Any) -> TopologyGraph:
    """Build the graph of a scenario.

    Parameters
    ----------
    scenario : Scenario
        Uses `nodes`, `topology`, `graph`, `mesh_degree`, `branching`, `edge_probability` and `seed`.

    Returns
    -------
    TopologyGraph
        The same arrays for the same inputs on any machine. Node 0 is the centre of a star, the root of a tree
        and the primary of view 0.

    Raises
    ------
    UsageError
        Unknown topology; parameters that no connected graph has; a graph or file that is unreadable,
        disconnected, has fewer than 4 nodes, another number of nodes than the scenario, self loops, parallel
        or one-way edges, or a delay, bandwidth or loss outside its range.
    """
    name = str(scenario.topology)
    if name not in TOPOLOGIES:
        return _user_topology(scenario, name)
    nodes = int(scenario.nodes)
    if nodes < FEWEST_NODES:
        raise UsageError("nodes", nodes, f"{FEWEST_NODES} or more")
    if name == "fully_connected":
        return _fully_connected(nodes)
    return _generated(name, _Shape(*(getattr(scenario, field) for field in _Shape._fields)), scenario.seed)


def _user_topology(scenario: Any, name: str) -> TopologyGraph:
    if scenario.graph is None and Path(name).suffix.lower() not in GRAPH_SUFFIXES:
        raise _fault(name, f"{one_of(TOPOLOGIES, name)}, or a file ({', '.join(GRAPH_SUFFIXES)})")
    graph = graph_topology(read_graph(name) if scenario.graph is None else scenario.graph, name)
    if graph.nodes != scenario.nodes:
        raise UsageError("nodes", scenario.nodes, f"the graph of topology {name!r} has {graph.nodes} nodes")
    return graph


def graph_topology(graph: Any, name: str = "graph") -> TopologyGraph:
    """Check a NetworkX graph and turn it into arrays.

    Parameters
    ----------
    graph : networkx.Graph or networkx.DiGraph
        Undirected, or directed with both directions of every edge (whose attributes may differ). Multigraph
        types are taken as long as no pair has two edges. Edge attributes `delay_ms` (one-way),
        `bandwidth_mbps` and `loss` (0 .. 1) are optional; others are ignored, save those that look like a
        misspelt one of these.
    name : str
        What to call it in errors and results.

    Returns
    -------
    TopologyGraph
        Nodes are numbered in the natural order of their labels.

    Raises
    ------
    UsageError
        As in `build_topology`.
    """
    if not isinstance(graph, nx.Graph):
        raise UsageError("topology", type(graph).__name__, "a networkx Graph or DiGraph")
    _check_structure(graph, name)
    return _to_csr(graph, name, sorted(graph, key=_natural_order))


def _check_structure(graph: Any, name: str) -> None:
    if len(graph) < FEWEST_NODES:
        raise _fault(name, f"the graph has {len(graph)} nodes, {FEWEST_NODES} or more are needed")
    loop = next(nx.nodes_with_selfloops(graph), None)
    if loop is not None:
        raise _fault(name, f"node {loop} is linked to itself")
    if graph.is_multigraph():
        pair = next(((u, v) for u, v in graph.edges() if graph.number_of_edges(u, v) > 1), None)
        if pair is not None:
            raise _fault(name, f"{_edge(*pair)} appears more than once")
    if graph.is_directed():
        pair = next(((u, v) for u, v in graph.edges() if not graph.has_edge(v, u)), None)
        if pair is not None:
            raise _fault(name, f"{_edge(*pair)} is one-way, links must lead both ways")
    undirected = graph.to_undirected(as_view=True)
    if not nx.is_connected(undirected):
        sizes = sorted(map(len, nx.connected_components(undirected)), reverse=True)
        more = ", ..." if len(sizes) > 6 else ""
        shown = ", ".join(map(str, sizes[:6]))
        raise _fault(name, f"the graph is disconnected: {len(sizes)} components of {shown}{more} nodes")


# Generators: nodes 0 .. n-1, all randomness from one seeded stream.


_Shape = namedtuple("_Shape", ("nodes", "mesh_degree", "branching", "edge_probability"))
"""What generated graphs depend on, beside a seed."""


@lru_cache(maxsize=32)
def _generated(name: str, shape: _Shape, seed: int) -> TopologyGraph:
    """Generate a graph, of which the scenarios of a run have few."""
    return _to_csr(_GENERATORS[name](shape, random.Random(seed)), name, range(shape.nodes))


def _ring(shape: _Shape, _: random.Random) -> Any:
    return nx.cycle_graph(shape.nodes)


def _star(shape: _Shape, _: random.Random) -> Any:
    return nx.star_graph(shape.nodes - 1)


def _hierarchical(shape: _Shape, _: random.Random) -> Any:
    if shape.branching < 1:
        raise UsageError("branching", shape.branching, "1 or more")
    return nx.full_rary_tree(shape.branching, shape.nodes)


def mesh_degree(nodes: int, degree: int | None = None) -> int:
    """Choose the degree of the random regular graph: max(4, ceil(log2 n)) at most n - 1, or the user's.

    A regular graph needs n * degree to be even; an odd degree on an odd number of nodes is raised by one.

    Raises
    ------
    UsageError
        If `degree` is outside 2 .. n - 1.
    """
    if degree is None:
        degree = min(nodes - 1, max(4, math.ceil(math.log2(nodes))))
    elif not 2 <= degree < nodes:
        raise UsageError("mesh_degree", degree, f"2 to {nodes - 1} for {nodes} nodes")
    return degree + (nodes * degree) % 2


def _mesh(shape: _Shape, stream: random.Random) -> Any:
    nodes, degree = shape.nodes, mesh_degree(shape.nodes, shape.mesh_degree)
    # On dense graphs NetworkX's algorithm takes unbearably long, so their complement is drawn instead.
    dense = degree > (nodes - 1) // 2

    def draw() -> Any:
        sparse = nx.random_regular_graph(nodes - 1 - degree if dense else degree, nodes, seed=stream)
        return nx.complement(sparse) if dense else sparse

    return _until_connected(draw, "mesh_degree", degree, "a larger degree, this one gives no connected graph")


def _random(shape: _Shape, stream: random.Random) -> Any:
    nodes, chance = shape.nodes, shape.edge_probability
    if chance is None:
        chance = min(1.0, 2.0 * math.log(nodes) / nodes)
    elif not 0.0 < chance <= 1.0:
        raise UsageError("edge_probability", chance, "above 0, up to 1")
    hint = f"about {math.log(nodes) / nodes:.2g} or more, or {nodes} nodes are hardly ever connected"
    return _until_connected(lambda: nx.fast_gnp_random_graph(nodes, chance, seed=stream), "edge_probability", chance, hint)


def _until_connected(draw: Callable[[], Any], field: str, value: object, allowed: str) -> Any:
    for _ in range(_MAX_TRIES):
        graph = draw()
        if nx.is_connected(graph):
            return graph
    raise UsageError(field, value, allowed)


def _fully_connected(nodes: int) -> TopologyGraph:
    none = np.empty(0, np.float32)
    digest = hashlib.sha256(f"fully_connected {nodes}".encode()).hexdigest()[:16]
    pointers, columns = np.zeros(nodes + 1, np.int32), np.empty(0, np.int32)
    return TopologyGraph("fully_connected", nodes, True, pointers, columns, none, none, none, (), digest)


_GENERATORS: Final[dict[str, Callable[[_Shape, random.Random], Any]]] = {
    "ring": _ring,
    "star": _star,
    "mesh": _mesh,
    "hierarchical": _hierarchical,
    "random": _random,
}
TOPOLOGIES: Final = ("fully_connected", *_GENERATORS)
"""Names of the topologies that are generated."""


def _to_csr(graph: Any, name: str, order: Any) -> TopologyGraph:
    number = {label: index for index, label in enumerate(order)}
    nodes = len(number)
    rows: list[tuple[float, ...]] = []
    for u, v, data in graph.edges(data=True):
        attributes = _attributes(data, _edge(u, v), name)
        rows.append((number[u], number[v], *attributes))
        if not graph.is_directed():
            rows.append((number[v], number[u], *attributes))
    rows.sort()
    table = np.array(rows, np.float64).reshape(-1, 5)
    ends = table[:, :2].astype(np.int32)
    indptr = np.searchsorted(ends[:, 0], np.arange(nodes + 1)).astype(np.int32)
    indices = np.ascontiguousarray(ends[:, 1])
    with np.errstate(over="ignore"):  # a bandwidth past the range of float32 is infinite
        delay_ms, bandwidth_mbps, loss = np.ascontiguousarray(table[:, 2:].T.astype(np.float32))
    complete = name not in TOPOLOGIES and len(rows) == nodes * (nodes - 1)
    hashed = hashlib.sha256(f"{nodes} {complete}".encode())
    for array in (indptr, indices, delay_ms, bandwidth_mbps, loss):
        hashed.update(array.astype(array.dtype.newbyteorder("<")).tobytes())
    labels = () if name in TOPOLOGIES else tuple(map(str, number))
    digest = hashed.hexdigest()[:16]
    return TopologyGraph(name, nodes, complete, indptr, indices, delay_ms, bandwidth_mbps, loss, labels, digest)


def _edge(u: object, v: object) -> str:
    return f"edge {u}-{v}"


def _fault(name: object, reason: str) -> UsageError:
    return UsageError("topology", str(name), reason)


def _natural_order(label: object) -> list[tuple[int, int, str]]:
    parts = re.split("([0-9]+)", str(label))
    return [(0, int(part), "") if part.isdecimal() else (1, 0, part) for part in parts if part]


# Attributes of links.


@cache
def _misspelt(key: str) -> str | None:
    """Name the attribute that `key` looks like without being it."""
    near = get_close_matches(key.lower(), _ATTRIBUTES, n=1, cutoff=0.75)
    return near[0] if near and key not in _ATTRIBUTES else None


def _attributes(data: dict[str, Any], edge: str, name: str) -> list[float]:
    for key in data:
        if meant := _misspelt(str(key)):
            raise _fault(name, f"{edge} has {key!r}, did you mean {meant!r}?")
    values = []
    for key, (least, greatest, absent) in _RANGES.items():
        given = data.get(key)
        try:
            value = absent if given is None or given == "" else float(given)
        except (TypeError, ValueError):
            value = math.nan
        if given not in (None, "") and not least <= value <= greatest:
            raise _fault(name, f"{edge} has {key} {given!s}, it must be {least:g} to {greatest:g}")
        values.append(value)
    return values


# Files.


def read_graph(path: str | Path) -> Any:
    """Read a graph from GraphML or from an edge list.

    Parameters
    ----------
    path : str or Path
        `.graphml`, or an edge list: a link per line, its fields separated by commas or blanks as `u v
        delay_ms bandwidth_mbps loss`, the last three optional, or as NetworkX writes them, `u v {'delay_ms':
        5}`. Lines that begin with `#` are skipped. A first line that begins with `u v` (or `source target`,
        `from to`) names the columns. A list that has some link in both directions is directed, so that the
        two may differ, and must have all links in both; otherwise links are undirected.

    Returns
    -------
    networkx.Graph or networkx.DiGraph
        Not yet checked: see `graph_topology`.

    Raises
    ------
    UsageError
        If the file is missing or cannot be understood.
    """
    file = Path(path)
    try:
        return nx.read_graphml(file) if file.suffix.lower() == ".graphml" else _read_edge_list(file)
    except OSError as error:
        raise _fault(path, f"the file cannot be read ({error.strerror or error})") from None
    except (ParseError, nx.NetworkXError, KeyError, TypeError, ValueError, SyntaxError, csv.Error) as error:
        if isinstance(error, UsageError):
            raise
        kind = "GraphML" if file.suffix.lower() == ".graphml" else "an edge list"
        raise _fault(path, f"the file is not {kind} ({error})") from None


def _read_edge_list(file: Path) -> Any:
    graph: Any = nx.DiGraph()
    columns: list[str] = []
    for number, text in enumerate(file.read_text(encoding="utf-8-sig").splitlines(), 1):
        line = text.strip()
        if not line or line.startswith("#"):
            continue
        cells, data = _cells(line)
        if not columns:
            has_header = tuple(cell.lower() for cell in cells[:2]) in _HEADERS
            columns = cells if has_header else ["u", "v", *_ATTRIBUTES]
            if has_header:
                continue
        if not 2 <= len(cells) <= len(columns):
            raise _fault(file, f"line {number} has {len(cells)} fields, 2 to {len(columns)} are needed")
        u, v = cells[:2]
        if graph.has_edge(u, v):
            raise _fault(file, f"line {number} repeats {_edge(u, v)}")
        graph.add_edge(u, v, **dict(zip(columns[2:], cells[2:], strict=False)), **data)
    two_way = any(u != v and graph.has_edge(v, u) for u, v in graph.edges())
    return graph if two_way else graph.to_undirected()


def _cells(line: str) -> tuple[list[str], dict[str, Any]]:
    """Split a line into its fields and the dictionary that NetworkX writes at its end."""
    line, brace, tail = line.partition("{")
    data = ast.literal_eval(brace + tail) if brace else {}
    cells = [cell.strip() for cell in next(csv.reader([line]))] if "," in line else line.split()
    return cells, data
