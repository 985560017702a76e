"""Where the replicas are and what lies between them: network conditions, regions and latency matrices."""

from __future__ import annotations

import csv
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from prsm_kernels.rng import uniform_pairs
from prsm_scale.axes import Environment
from prsm_scale.errors import UsageError, did_you_mean, one_of
from prsm_scale.sites import Sites, lines_mbps, place_replicas, with_last_mile
from prsm_scale.topology import TopologyGraph

PACKAGED_MATRIX: Final = "latency_matrix_aws_relab.csv"
SAME_REGION_MS: Final = 0.25
"""One-way delay within a region. The diagonals of published matrices are TCP connect times through public
endpoints, not this."""

_BLOCK_LINKS: Final = 1 << 16
"""Links drawn at a time: more leave the processor's cache and take twice as long."""

Float32Array = npt.NDArray[np.float32]
Float64Array = npt.NDArray[np.float64]
LinkArrays = tuple[Float32Array, Float32Array, Float32Array]
Ends = npt.NDArray[np.integer[Any]]
LinkFunction = Callable[[Ends, Ends], Float64Array]
"""From senders and receivers, which broadcast, to base delays in ms, or to losses."""


@dataclass(frozen=True)
class Condition:
    """A network condition.

    Attributes
    ----------
    name : str
        Name in results.
    min_ms, max_ms : float
        Range of the one-way base delay of a link.
    loss : float
        Probability, 0 .. 1, that a copy is lost on a link.
    bandwidth_mbps : float
        Of a replica's uplink, and of its downlink; infinite where unlimited.
    """

    name: str
    min_ms: float
    max_ms: float
    loss: float
    bandwidth_mbps: float


# Delays and losses are the definitions of the conditions. Bandwidths: the national, regional and global
# settings of Kauri's experiments (Neiheiser, Matos and Rodrigues, SOSP 2021) for lan, wan and
# intercontinental, and a bad line for poor.
CONDITIONS: Final = {
    condition.name: condition
    for condition in (
        Condition("ideal", 0.0, 0.0, 0.0, math.inf),
        Condition("lan", 1.0, 5.0, 0.0001, 1000.0),
        Condition("wan", 50.0, 100.0, 0.001, 100.0),
        Condition("intercontinental", 150.0, 300.0, 0.005, 25.0),
        Condition("poor", 200.0, 500.0, 0.02, 10.0),
    )
}


@dataclass(frozen=True, eq=False)
class LatencyMatrix:
    """Round-trip times between regions.

    Attributes
    ----------
    regions : tuple of str
        Names, in the order of rows and columns.
    rtt_ms : ndarray of float64, shape (regions, regions)
        From row to column; NaN where the file is blank. The diagonal is not used.
    source : str
        File it came from.
    """

    regions: tuple[str, ...]
    rtt_ms: Float64Array
    source: str


@dataclass(frozen=True, eq=False)
class Links:
    """What every link and every replica's line is like.

    Attributes
    ----------
    base_ms : ndarray of float32
        One-way base delay. Complete graph: shape (n, n), C-contiguous, indexed [receiver, sender], zero on
        the diagonal. Else shape (m,), by directed link of the graph's CSR (row = sender, column = receiver).
        Zero but for last miles where the scenario gives a `delay` law, which stands in place of base and jitter.
    loss : ndarray of float32
        Probability that a copy is lost. Shape (1,) for one loss everywhere or (n, n) on a complete graph,
        else (m,).
    uplink_mbps, downlink_mbps : ndarray of float32, shape (n,)
        Lines of the replicas; may be infinite.
    edge_bandwidth_mbps : ndarray of float32
        Bandwidth of the link itself, infinite where the graph gives none. Shape (1,) or (n, n) on a complete
        graph, else (m,).
    condition : Condition
        The scenario's condition, with its own values in place where given.
    regions : tuple of str
        Region of each replica, "" for each outside a multi-region environment.
    sites : Sites
        Hosts, last miles and CPU shares of the replicas.
    """

    base_ms: Float32Array
    loss: Float32Array
    uplink_mbps: Float32Array
    downlink_mbps: Float32Array
    edge_bandwidth_mbps: Float32Array
    condition: Condition
    regions: tuple[str, ...]
    sites: Sites


def resolve_condition(scenario: Any) -> Condition:
    """Network condition of a scenario, with its own range, loss and bandwidth in place where given.

    Raises
    ------
    UsageError
        Unknown condition; a range of delays that is empty or negative.
    """
    try:
        base = CONDITIONS[scenario.network]
    except KeyError:
        raise UsageError("network", scenario.network, one_of(CONDITIONS, scenario.network)) from None

    def own(field: str, otherwise: float) -> float:
        value = getattr(scenario, field)
        return otherwise if value is None else float(value)

    low, high = own("delay_min_ms", base.min_ms), own("delay_max_ms", base.max_ms)
    if not 0 <= low <= high < math.inf:
        field = "delay_min_ms" if scenario.delay_min_ms is not None else "delay_max_ms"
        range_ms = f"{low:g} to {high:g} ms on network {base.name!r} is no range of delays"
        raise UsageError(field, getattr(scenario, field), range_ms)
    return Condition(base.name, low, high, own("loss", base.loss), own("bandwidth_mbps", base.bandwidth_mbps))


def build_links(scenario: Any, graph: TopologyGraph, cores: int) -> Links:
    """Place the replicas and draw the links of a scenario.

    Parameters
    ----------
    scenario : Scenario
        Uses `network` and what overrides it, `delay`, `environment`, `regions`, `latency_matrix` and `seed`.
    graph : TopologyGraph
        Of the same scenario. What it says of a link goes before what condition and hosts give.
    cores : int
        Of a replica.

    Returns
    -------
    Links
        `local_simulation`: the base delay of a link is uniform in the condition's range, one draw for both
        directions that depends on the seed and the two replicas only, so that it is the same for every n and
        every topology. `multi_region_cloud`: replicas are dealt over the regions in turn, the base delay is
        half the matrix's round-trip time from the sender's to the receiver's region, and 0.25 ms within one.
        `docker_cluster`: links within a host have the delay of its bridge and lose nothing, others are as in
        `local_simulation`; replicas of a host have its line, the condition's, together. `hybrid_edge`: as
        `local_simulation`, and on top of that, of what the graph gives and of a `delay` law the last mile of each
        end; its lines are no wider than the condition's. See `prsm_scale.sites`.

    Raises
    ------
    UsageError
        As in `resolve_condition`, `read_latency_matrix` and `select_regions`; an environment that there is
        not.
    """
    if scenario.environment not in list(Environment):
        raise UsageError("environment", scenario.environment, one_of(Environment, scenario.environment))
    condition, nodes = resolve_condition(scenario), graph.nodes
    dealt, one_way_ms = _dealt_regions(scenario)
    sites = place_replicas(scenario, cores)
    values = _within_hosts(scenario, sites, condition, _base_delays(scenario.seed, condition, one_way_ms))
    base, loss, bandwidth = (_dense_links if graph.complete else _sparse_links)(graph, *values)
    if scenario.delay is not None:
        base[...] = 0.0
    base, loss = with_last_mile(scenario, sites, _ends(graph), base, loss)
    if graph.complete:
        np.fill_diagonal(base, 0.0)
    regions = tuple(dealt[replica % len(dealt)] for replica in range(nodes))
    lines = lines_mbps(scenario, sites, condition.bandwidth_mbps)
    return Links(base, loss, *lines, bandwidth, condition, regions, sites)


def _ends(graph: TopologyGraph) -> tuple[Ends, Ends]:
    """Senders and receivers of the links, in the layout of `Links.base_ms`."""
    replicas = np.arange(graph.nodes)
    return (replicas, replicas[:, None]) if graph.complete else (_link_senders(graph), graph.indices)


def _dealt_regions(scenario: Any) -> tuple[tuple[str, ...], Float64Array | None]:
    if scenario.environment == Environment.MULTI_REGION_CLOUD:
        return select_regions(read_latency_matrix(scenario.latency_matrix), scenario.regions)
    return ("",), None


def _within_hosts(scenario: Any, sites: Sites, condition: Condition, delays: LinkFunction) -> tuple[LinkFunction, LinkFunction]:
    """Delays and losses of links, those within hosts included."""

    def losses(sender: Ends, receiver: Ends) -> Float64Array:
        return np.full(np.broadcast_shapes(sender.shape, receiver.shape), condition.loss)

    if not sites.shared:
        return delays, losses
    host = sites.host

    def placed(values: LinkFunction, within: float) -> LinkFunction:
        return lambda sender, receiver: np.where(host[sender] == host[receiver], within, values(sender, receiver))

    return placed(delays, scenario.bridge_delay_ms), placed(losses, 0.0)


def _base_delays(seed: int, condition: Condition, one_way_ms: Float64Array | None) -> LinkFunction:
    if one_way_ms is not None:
        count = len(one_way_ms)
        return lambda sender, receiver: one_way_ms[sender % count, receiver % count]
    low, span = condition.min_ms, condition.max_ms - condition.min_ms
    if span == 0.0:
        return lambda sender, receiver: np.full(np.broadcast_shapes(sender.shape, receiver.shape), low)
    return lambda sender, receiver: low + span * uniform_pairs(seed, sender, receiver)


def _sparse_links(graph: TopologyGraph, delays: LinkFunction, losses: LinkFunction) -> LinkArrays:
    ends = _link_senders(graph), graph.indices
    return _given_or(graph.delay_ms, delays(*ends)), _given_or(graph.loss, losses(*ends)), graph.bandwidth_mbps.copy()


def _dense_links(graph: TopologyGraph, delays: LinkFunction, losses: LinkFunction) -> LinkArrays:
    nodes = graph.nodes
    base = np.empty((nodes, nodes), np.float32)
    replicas = np.arange(nodes)
    step = max(1, _BLOCK_LINKS // nodes)
    for start in range(0, nodes, step):
        base[start : start + step] = delays(replicas, replicas[start : start + step, None])
    np.fill_diagonal(base, 0.0)
    loss, bandwidth = losses(replicas[:1], replicas[-1:]).astype(np.float32), np.full(1, np.inf, np.float32)
    # where hosts are shared, the first replica's links within its own host and to the last one tell losses apart
    common = losses(replicas[:1], replicas[:1]).astype(np.float32) == loss
    links = (graph.indices, _link_senders(graph))
    base[links] = _given_or(graph.delay_ms, base[links])
    if not (common.all() and np.isnan(graph.loss).all()):
        loss = losses(replicas, replicas[:, None]).astype(np.float32)
        loss[links] = _given_or(graph.loss, loss[links])
    if not np.isinf(graph.bandwidth_mbps).all():
        bandwidth = np.full((nodes, nodes), np.inf, np.float32)
        bandwidth[links] = graph.bandwidth_mbps
    return base, loss, bandwidth


def _link_senders(graph: TopologyGraph) -> npt.NDArray[np.int64]:
    return np.repeat(np.arange(graph.nodes), np.diff(graph.indptr))


def _given_or(given: Float32Array, otherwise: npt.NDArray[np.floating[Any]]) -> Float32Array:
    return np.where(np.isnan(given), otherwise, given).astype(np.float32)


def read_latency_matrix(path: str | None = None) -> LatencyMatrix:
    """Read round-trip times between regions.

    Parameters
    ----------
    path : str, optional
        CSV in milliseconds: the first row names the columns (to), the first column the rows (from), in any
        order; lines that begin with `#` are skipped, blank cells are unknown. Default: 21 AWS regions (see
        the first line of the packaged file for its source).

    Raises
    ------
    UsageError
        If the file is missing or is not such a matrix.
    """
    source = path or PACKAGED_MATRIX
    try:
        file = Path(path) if path else files("prsm_scale") / "data" / PACKAGED_MATRIX
        lines = file.read_text(encoding="utf-8-sig").splitlines()
        rows = [row for row in csv.reader(line for line in lines if not line.startswith("#")) if any(row)]
    except OSError as error:
        raise UsageError("latency_matrix", source, f"the file cannot be read ({error.strerror or error})") from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise UsageError("latency_matrix", source, f"the file is not CSV ({error})") from None
    try:
        return _parse_matrix(rows, source)
    except ValueError as error:
        raise UsageError("latency_matrix", source, str(error)) from None


def _parse_matrix(rows: list[list[str]], source: str) -> LatencyMatrix:
    if len(rows) < 2:
        raise ValueError("the file has no matrix")
    columns, names = [cell.strip() for cell in rows[0][1:]], [row[0].strip() for row in rows[1:]]
    for kind, have, other in (("column", columns, names), ("row", names, columns)):
        for name in other:
            if have.count(name) != 1:
                raise ValueError(f"region {name!r} has {have.count(name) or 'no'} {kind}s, one is needed")
    rtt_ms = np.empty((len(names), len(names)))
    for name, row in zip(names, rows[1:], strict=True):
        if len(row) != len(rows[0]):
            raise ValueError(f"row {name!r} has {len(row) - 1} values, {len(columns)} are needed")
        rtt_ms[columns.index(name)] = [_rtt(cell, name, to) for cell, to in zip(row[1:], columns, strict=True)]
    return LatencyMatrix(tuple(columns), rtt_ms, source)


def _rtt(cell: str, start: str, end: str) -> float:
    if not cell.strip():
        return math.nan
    try:
        value = float(cell)
    except ValueError:
        value = math.nan
    if not 0 <= value < math.inf:
        raise ValueError(f"from {start!r} to {end!r} it has {cell.strip()!r}, not a time in milliseconds")
    return value


def select_regions(matrix: LatencyMatrix, regions: Sequence[str] | None = None) -> tuple[tuple[str, ...], Float64Array]:
    """Take the chosen regions out of a matrix.

    Parameters
    ----------
    matrix : LatencyMatrix
        Round-trip times.
    regions : sequence of str, optional
        Names; one that is repeated gets replicas each time. Default: all.

    Returns
    -------
    tuple of str
        The chosen regions.
    ndarray of float64
        One-way delays in ms from row to column: half the round-trip time, 0.25 within a region.

    Raises
    ------
    UsageError
        If there are none, one is not in the matrix, or the matrix is blank between two of them.
    """
    chosen = matrix.regions if regions is None else tuple(regions)
    if not chosen:
        raise UsageError("regions", (), f"one or more of the regions in {matrix.source}")
    for name in chosen:
        if name not in matrix.regions:
            near = did_you_mean(name, matrix.regions)
            allowed = f"one of the {len(matrix.regions)} regions in {matrix.source}{near}"
            raise UsageError("regions", name, allowed)
    index = np.array([matrix.regions.index(name) for name in chosen])
    one_way_ms = matrix.rtt_ms[np.ix_(index, index)] / 2
    one_way_ms[index[:, None] == index] = SAME_REGION_MS
    blank = np.argwhere(np.isnan(one_way_ms))
    if len(blank):
        start, end = (chosen[place] for place in blank[0])
        raise UsageError("latency_matrix", matrix.source, f"it is blank from {start!r} to {end!r}")
    return chosen, one_way_ms
