"""Runs read back: folders of runs, single files of results, and what is wrong with those that cannot be read."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from prsm_scale.atomic import reason
from prsm_scale.columns import FIT_COLUMNS, SCENARIO_COLUMNS, Column, validate_row, validate_rows
from prsm_scale.errors import UsageError
from prsm_scale.host_columns import HOST_FILE
from prsm_scale.operations import WHOLE

SCHEMA_VERSION = 1
"""Version of the files' layout; a file with a larger one is refused."""

METADATA_KEY = "prsm_scale"
JOURNAL = "journal.jsonl"
"""File that is a run, or whatever else the folder is for, until it is finished."""
TABLE = "scenarios.parquet"
_FILES = (JOURNAL, TABLE, "fits.parquet", "scenarios.csv", "scenarios.json", "run.json", WHOLE, HOST_FILE)
_BESIDE = (".json", ".csv")
"""What may lie beside a single Parquet file of results, under the same name."""


class Contents(NamedTuple):
    """What a run holds, checked; `path` is its folder, or the file that is all of it."""

    path: Path
    provenance: dict[str, Any]
    rows: list[dict[str, Any]]
    fits: list[dict[str, Any]]
    finished: bool


def read_run(path: str | os.PathLike[str]) -> Contents:
    """Read a run, finished or not; see `prsm_scale.store.load`."""
    place = Path(path)
    if place.is_file():
        if place.name not in _FILES and place.suffix in (".parquet", *_BESIDE):
            return _read_results(place)
        place = place.parent if place.name in _FILES else place
    if (place / JOURNAL).is_file():
        return Contents(place, *_read_journal(place / JOURNAL), fits=[], finished=False)
    if (place / TABLE).is_file():
        provenance, rows = read_parquet(place / TABLE, SCENARIO_COLUMNS)
        _, fits = read_parquet(place / "fits.parquet", FIT_COLUMNS)
        return Contents(place, provenance, rows, fits, finished=True)
    allowed = f"a folder that holds a run ({TABLE}, or {JOURNAL}), or a Parquet file of results"
    raise UsageError("run", str(path), allowed)


def _read_results(file: Path) -> Contents:
    """Read a single file of results, which its Parquet file holds whole; what lies beside that stands for it."""
    table = file.with_suffix(".parquet")
    if file.suffix in _BESIDE and not table.is_file():
        raise UsageError("run", str(file), f"a file with {table.name} beside it, which holds the results")
    if file.suffix == ".json":
        _check_json(file)
    provenance, rows = read_parquet(table if file.suffix in _BESIDE else file, SCENARIO_COLUMNS)
    return Contents(table, provenance, rows, fits=[], finished=True)


def _check_json(file: Path) -> None:
    try:
        document = json.loads(file.read_bytes())
    except (OSError, ValueError) as error:
        raise UsageError("run", str(file), f"a whole JSON file ({reason(error)})") from error
    if not isinstance(document, dict) or not isinstance(document.get("provenance"), dict):
        raise UsageError("run", str(file), "a file written by prsm-scale")


def _read_journal(path: Path) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    try:
        first, *lines = path.read_bytes().split(b"\n")
    except OSError as error:
        raise UsageError("run", str(path), f"a readable file ({reason(error)})") from error
    provenance = _checked_provenance(path, first)
    lines = [line for line in lines if line]
    rows: dict[str, dict[str, Any]] = {}
    for number, line in enumerate(lines, start=1):
        try:
            row = validate_row(json.loads(line), SCENARIO_COLUMNS)
            rows[row["scenario_id"]] = row
        except (ValueError, TypeError) as error:
            # Only the write that an interruption cut short may be broken, and that is the last one.
            if number < len(lines):
                allowed = f"a whole journal; line {number + 1} is damaged"
                raise UsageError("run", str(path), allowed) from error
    return provenance, list(rows.values())


def read_parquet(path: Path, columns: Sequence[Column]) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Read what made a table, and its checked rows; damaged files and those of others are a UsageError."""
    try:
        with pq.ParquetFile(path, page_checksum_verification=True) as file:
            table = file.read()
    except (OSError, ValueError, pa.ArrowException) as error:
        raise UsageError("run", str(path), f"a whole Parquet file ({reason(error)})") from error
    provenance = _checked_provenance(path, (table.schema.metadata or {}).get(METADATA_KEY.encode(), b""))
    try:
        return provenance, validate_rows(table.to_pylist(), columns)
    except ValueError as error:
        raise UsageError("run", str(path), f"a file with prsm-scale's columns ({error})") from error


def _checked_provenance(path: Path, text: bytes) -> dict[str, Any]:
    try:
        provenance: dict[str, Any] = json.loads(text)
        version, _ = int(provenance["schema_version"]), provenance["run_id"]
    except (ValueError, TypeError, KeyError) as error:
        raise UsageError("run", str(path), "a file written by prsm-scale") from error
    if version > SCHEMA_VERSION:
        allowed = f"schema version {SCHEMA_VERSION} or older, not {version}: update prsm-scale"
        raise UsageError("run", str(path), allowed)
    return provenance
