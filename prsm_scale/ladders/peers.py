"""Ladder (c): what other simulators say of the same model."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from importlib.resources import files
from typing import Any, Final

from prsm_scale.config import Scenario
from prsm_scale.ladders.checks import Check, Estimate, relative_error, standard_errors_bar
from prsm_scale.ladders.quantities import predicted
from prsm_scale.ladders.tasks import Simulate, Task, about

LADDER: Final = "peers"
_METRIC: Final = "mean_commit_ms"
_MESSAGES: Final = {"rounds": 1.5e8, "events": 1e7}
"""Messages worth simulating for a row on each engine."""
# operations one at a time, to which the window means nothing: a small one makes it quick to find what the system can do
_SETTINGS: Final[dict[str, Any]] = {"network": "ideal", "free_cpu": True, "rate": 0, "window": 4, "delay": "normal(250,50)"}


@dataclass(frozen=True)
class Figure:
    """What a peer says of one size: mean in ms, and its standard error where it is published."""

    peer: str
    source: str
    note: str
    mean: float
    error: float | None = None


def tasks(engines: Iterable[str], quick: bool = False) -> list[Task]:
    """One task for each size and engine, with every peer that has a figure for it.

    Parameters
    ----------
    engines
    quick
        A tenth of the operations.
    """
    text = (files("prsm_scale") / "data" / "peers.toml").read_text(encoding="utf-8")
    figures: dict[tuple[int, int], list[Figure]] = {}
    for peer, table in tomllib.loads(text).items():
        for nodes, silent, mean, *error in table["rows"]:
            of_peer = Figure(peer, table["source"], table["note"], mean, *error)
            figures.setdefault((nodes, silent), []).append(of_peer)
    return [
        Task(f"peers, n = {nodes}, {silent} silent, {engine}", partial(_run, scenario_of(nodes, silent, engine, quick), told))
        for (nodes, silent), told in figures.items()
        for engine in engines
    ]


def scenario_of(nodes: int, silent: int, engine: str, quick: bool) -> Scenario:
    """The peers' model at one size."""
    messages = _MESSAGES[engine] * (0.1 if quick else 1.0)
    operations = int(min(max(messages / (2 * nodes * nodes), 64), 200_000))
    faults = {"placement": list(range(1, silent + 1))} if silent else {}
    return Scenario(nodes=nodes, operations=operations, engine=engine, **_SETTINGS, **faults)


def _run(scenario: Scenario, figures: Sequence[Figure], simulate: Simulate) -> Iterable[Check]:
    found = predicted(simulate(scenario), _METRIC, "ms") or Estimate.exact(0.0)
    for figure in figures:
        theirs = Estimate.with_error(figure.mean, figure.error or 0.0)
        yield Check(
            LADDER, f"{figure.peer}, n = {scenario.nodes}, {scenario.byzantine_count} silent", figure.peer, metric=_METRIC,
            unit="ms", predicted=found, reference=theirs, error=relative_error(found, theirs),
            bar=None if figure.error is None else standard_errors_bar(found, theirs), note=figure.note, source=figure.source,
            **about(scenario),
        )  # fmt: skip
