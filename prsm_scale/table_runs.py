"""Tables beside the scenarios of a run, and runs that are a few tables, written at once when all is known."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from prsm_scale.atomic import failing_in_one_line, sync_folder, write_text
from prsm_scale.columns import Column, validate_rows
from prsm_scale.errors import UsageError
from prsm_scale.host_columns import HOST_COLUMNS, HOST_FILE
from prsm_scale.reading import JOURNAL, read_parquet
from prsm_scale.store import RunStore, arrow_table, write_parquet

Table = tuple[tuple[Column, ...], Iterable[Mapping[str, Any]]]
"""Columns, and rows of their values, of which `run_id` is filled in."""


def write_tables(
    out_dir: str | os.PathLike[str],
    settings: Mapping[str, Any],
    tables: Mapping[str, Table],
    texts: Mapping[str, str] | None = None,
    command: str | None = None,
) -> Path:
    """Write tables and texts, by the names of their files, into a new folder under `out_dir`, and return that folder.

    Raises
    ------
    UsageError
        If the folder cannot be written.
    PrsmScaleError
        If a file cannot be written.
    """
    run = RunStore.create(out_dir, settings, command=command)
    checked = {
        name: validate_rows([{**row, "run_id": run.run_id} for row in rows], columns) for name, (columns, rows) in tables.items()
    }
    provenance = run.provenance | {"finished_utc": datetime.now(UTC).isoformat(timespec="seconds")}
    with failing_in_one_line(run.path):
        for name, rows in checked.items():
            write_parquet(run.path / name, arrow_table(rows, tables[name][0], provenance))
        for name, text in (texts or {}).items():
            write_text(run.path / name, text)
        (run.path / JOURNAL).unlink()
        sync_folder(run.path)
    return run.path


def add_host_samples(run: RunStore, samples: Sequence[Mapping[str, Any]]) -> None:
    """Add samples of the host to those that a run's folder holds already.

    They are worth less than the run: where they cannot be written, it goes on without them.
    """
    if samples:
        rows = validate_rows([*host_samples(run.path), *samples], HOST_COLUMNS)
        with suppress(OSError):
            write_parquet(run.path / HOST_FILE, arrow_table(rows, HOST_COLUMNS, run.provenance))


def host_samples(folder: Path | None) -> list[dict[str, Any]]:
    """Samples of the host that a run's folder holds; none where it has no whole file of them."""
    file = folder and folder / HOST_FILE
    if file and file.is_file():
        with suppress(UsageError):
            return read_parquet(file, HOST_COLUMNS)[1]
    return []
