"""Checks on disk: a folder beside those of runs, with the same provenance."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from prsm_scale.atomic import failing_in_one_line, sync_folder, write_text
from prsm_scale.columns import VALIDATION_COLUMNS, validate_rows
from prsm_scale.store import JOURNAL, RunStore, arrow_table, write_parquet

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
    run = RunStore.create(out_dir, settings, command=command)
    checked = validate_rows([{**row, "run_id": run.run_id} for row in rows], VALIDATION_COLUMNS)
    provenance = run.provenance | {"finished_utc": datetime.now(UTC).isoformat(timespec="seconds")}
    with failing_in_one_line(run.path):
        write_parquet(run.path / TABLE, arrow_table(checked, VALIDATION_COLUMNS, provenance))
        write_text(run.path / PAGE, page)
        (run.path / JOURNAL).unlink()
        sync_folder(run.path)
    return run.path
