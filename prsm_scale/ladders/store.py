"""Checks on disk: a folder beside those of runs, with the same provenance."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from prsm_scale.columns import VALIDATION_COLUMNS
from prsm_scale.table_runs import write_tables

TABLE: Final = "validation.parquet"
PAGE: Final = "validation.md"


def write_checks(
    out_dir: str | os.PathLike[str],
    rows: Sequence[Mapping[str, Any]],
    page: str,
    settings: Mapping[str, Any],
    command: str | None = None,
) -> Path:
    """Write validation.parquet and validation.md into a new folder under `out_dir`.

    Parameters
    ----------
    out_dir
        Folder that holds the runs; made if need be.
    rows
        Values of VALIDATION_COLUMNS; `run_id` is filled in.
    page
        Text of the page.
    settings
        Arguments of `validate`.
    command
        Command line that started it, if one did.

    Raises
    ------
    UsageError
        If the folder cannot be written.
    PrsmScaleError
        If a file cannot be written.
    """
    return write_tables(out_dir, settings, {TABLE: (VALIDATION_COLUMNS, rows)}, {PAGE: page}, command)
