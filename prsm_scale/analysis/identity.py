"""Which stored scenarios are the same one, whatever their seed and the version that simulated them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any

from prsm_scale.axes import GRAPH_OBJECT
from prsm_scale.config import Scenario

Row = Mapping[str, Any]


def identity(row: Row) -> str:
    """What was simulated, as canonical text: all settings that are not at their defaults, the seed left out.

    A setting that one version has and another has not is the same where the one has it at its default. A graph counts by its
    digest, another file by its path, and a protocol of one's own by its name.
    """
    return _identity(row["scenario"]) if row["scenario"] else str(row["scenario_id"])


def by_identity(rows: Iterable[Row]) -> dict[str, dict[int, Row]]:
    """Rows by what was simulated, and in that by seed, in the order in which they come."""
    groups: dict[str, dict[int, Row]] = {}
    for row in rows:
        groups.setdefault(identity(row), {})[row["seed"]] = row
    return groups


@lru_cache(maxsize=1 << 16)
def _identity(text: str) -> str:
    settings = json.loads(text)
    if settings.get("graph_digest"):
        settings["topology"] = GRAPH_OBJECT
    defaults = _defaults()
    told = {name: value for name, value in settings.items() if name != "seed" and value != defaults.get(name, ...)}
    return json.dumps(told, sort_keys=True)


@lru_cache(maxsize=1)
def _defaults() -> dict[str, Any]:
    return Scenario.model_construct().model_dump(mode="json", exclude={"nodes"})
