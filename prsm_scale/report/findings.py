"""Findings and recommended numbers of nodes for the terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Group, RenderableType
from rich.table import Table

from prsm_scale.analysis.bottlenecks import bottlenecks
from prsm_scale.analysis.recommendation import recommended_max_nodes
from prsm_scale.analysis.scaling import groups
from prsm_scale.report.series import labels
from prsm_scale.report.tables import titled

if TYPE_CHECKING:
    import pandas as pd

    from prsm_scale.analysis.thresholds import Thresholds


_WIDEST = "recommended at most"


def findings(scenarios: pd.DataFrame, thresholds: Thresholds | None = None) -> RenderableType:
    """Show what limits each group of scenarios that differ in n alone, and how many nodes are recommended."""
    parts = groups(scenarios)
    named = labels([dict(part.iloc[0]) for part in parts])
    return Group(*(titled(name, _table(part, thresholds)) for name, part in zip(named, parts, strict=True)))


def _table(group: pd.DataFrame, thresholds: Thresholds | None) -> Table:
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(no_wrap=True, min_width=len(_WIDEST))
    table.add_column()
    for one in bottlenecks(group, thresholds):
        table.add_row(one.kind.replace("_", " "), one.message)
    table.add_row(_WIDEST, recommended_max_nodes(group, thresholds).message)
    return table
