"""What results say of themselves where they may be off."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

NOTABLE: Final = 0.10
"""Stated error from which results say so."""


class AccuracyWarning(UserWarning):
    """A result may be off by more than a tenth; the events engine knows better."""


def caution(row: Mapping[str, Any]) -> str:
    """What to tell the reader of a row of results; empty where its stated errors are small."""
    mean, tail = row.get("stated_mean_error"), row.get("stated_p99_error")
    if mean is None or tail is None or max(mean, tail) <= NOTABLE:
        return ""
    return (
        f"operations wait long for one another: the mean may be off by {100 * mean:.0f} %, the 99th percentile by "
        f"{100 * tail:.0f} %; engine events is exact"
    )
