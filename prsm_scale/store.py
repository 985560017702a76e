"""Runs on disk: a journal while a sweep lasts, then Parquet, CSV and JSON with their provenance.

The rule that keeps a run whole: while `journal.jsonl` is in the folder, it is the run. Every other file is
renamed into place once it is on disk, and the journal goes last.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import os
import platform
import secrets
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq

from prsm_scale.atomic import append_line, dumps, failing_in_one_line, plain_data, reason, replacing, sync_folder, write_text
from prsm_scale.columns import (
    FIT_COLUMNS,
    SCENARIO_COLUMNS,
    Column,
    arrow_schema,
    validate_row,
    validate_rows,
)
from prsm_scale.errors import UsageError, file_name
from prsm_scale.operations import OperationFiles
from prsm_scale.reading import JOURNAL, METADATA_KEY, SCHEMA_VERSION, read_run

if TYPE_CHECKING:
    import pandas as pd

_PACKAGES = ("numpy", "numba", "scipy", "networkx", "pandas", "pyarrow")


@dataclass(frozen=True, eq=False)
class StoredRun:
    """A run as read back.

    Parameters
    ----------
    path
        Folder of the run, or the file that is all of it.
    scenarios, fits
        One row a scenario, one row a fitted curve; no fits while the run is unfinished.
    provenance
        What made the run: versions, sweep and its digest, seed, command, times.
    finished
        Whether the sweep came to its end.
    """

    path: Path
    scenarios: pd.DataFrame
    fits: pd.DataFrame
    provenance: dict[str, Any]
    finished: bool


class RunStore:
    """Writer of one run's folder; made by `create` or `resume`, with one writer at a time.

    Attributes
    ----------
    path
        Folder of the run.
    run_id
        Name of the run, and of its folder.
    provenance
        What will be stored with the results.
    operations
        Files of the scenarios' single operations, where the run keeps them; a scenario's come before its row.
    """

    def __init__(self, path: Path, provenance: dict[str, Any], rows: Sequence[dict[str, Any]], save_operations: bool) -> None:
        self.path = path
        self.run_id: str = provenance["run_id"]
        self.provenance = provenance
        self._rows = {row["scenario_id"]: row for row in rows}
        self.operations = OperationFiles(path) if save_operations else None

    @classmethod
    def create(
        cls,
        out_dir: str | os.PathLike[str],
        sweep: Mapping[str, Any],
        run_id: str | None = None,
        command: str | None = None,
        save_operations: bool = False,
    ) -> RunStore:
        """Make the folder of a new run and open its journal.

        Parameters
        ----------
        out_dir
            Folder that holds the runs; made if need be.
        sweep
            The sweep's axes and settings, enough to run it again.
        run_id
            Name of the run; by default the time in UTC and six random hex digits.
        command
            Command line that started the run, if one did.
        save_operations
            Whether to keep the single operations of each scenario too.

        Raises
        ------
        UsageError
            If the folder cannot be written, exists already, or `run_id` is no plain folder name.
        """
        now = datetime.now(UTC)
        name = file_name("run_id", run_id or f"{now:%Y%m%d-%H%M%S}-{secrets.token_hex(3)}")
        path = Path(out_dir) / name
        provenance = made_by(name, now, sweep, command)
        try:
            path.mkdir(parents=True)
            _write_journal(path, provenance, [])
            return cls(path, provenance, [], save_operations)
        except FileExistsError as error:
            raise UsageError("out", str(path), "a folder that does not exist yet") from error
        except OSError as error:
            raise UsageError("out", str(out_dir), f"a writable folder ({reason(error)})") from error

    @classmethod
    def resume(
        cls, path: str | os.PathLike[str], sweep: Mapping[str, Any] | None = None, save_operations: bool = False
    ) -> RunStore:
        """Open a run to add scenarios to it, whether or not it was finished.

        A line that an interruption left half written is dropped.

        Parameters
        ----------
        path
            Folder of the run, or a file in it.
        sweep
            Axes and settings to go on with, in place of those that were noted down.
        save_operations
            See `create`; a run that keeps its operations goes on to do so.

        Raises
        ------
        UsageError
            If there is no run at `path`, it cannot be read, or it cannot be written.
        """
        held = read_run(path)
        if held.path.is_file():
            raise UsageError("run", str(path), "the folder of a run; a single file of results is finished")
        provenance = held.provenance | (_of_sweep(sweep) if sweep is not None else {})
        with failing_in_one_line(held.path):
            store = cls(held.path, provenance, held.rows, save_operations or OperationFiles.has(held.path))
            _write_journal(held.path, provenance, held.rows)
        return store

    @property
    def scenarios(self) -> pd.DataFrame:
        """One row a scenario, as `load` would give them."""
        return _to_frame(arrow_table(list(self._rows.values()), SCENARIO_COLUMNS))

    @property
    def completed(self) -> frozenset[str]:
        """The `scenario_id` of every scenario that the run holds, with its operations where they are kept."""
        kept = self.operations
        if kept is None:
            return frozenset(self._rows)
        return frozenset(name for name, row in self._rows.items() if kept.holds(name) or not row["feasible"])

    def append(self, row: Mapping[str, Any]) -> None:
        """Add one scenario, in place of the same one if there is one; when this returns, the row is on disk.

        Parameters
        ----------
        row
            Values of SCENARIO_COLUMNS; `run_id` is filled in.

        Raises
        ------
        ValueError
            If the row does not fit the registry.
        PrsmScaleError
            If it cannot be written (disk full, folder gone); what was on disk stays whole.
        """
        checked = validate_row({**row, "run_id": self.run_id}, SCENARIO_COLUMNS)
        with failing_in_one_line(self.path):
            append_line(self.path / JOURNAL, dumps(checked))
        self._rows[checked["scenario_id"]] = checked

    def finish(self, fits: Sequence[Mapping[str, Any]]) -> StoredRun:
        """Write Parquet, CSV and JSON of the whole run, then drop the journal.

        Parameters
        ----------
        fits
            Rows of FIT_COLUMNS; `run_id` is filled in.

        Returns
        -------
        StoredRun
            The run as `load` gives it.

        Raises
        ------
        ValueError
            If a row does not fit the registry.
        PrsmScaleError
            If a file cannot be written; the journal then still holds the run.
        """
        fit_rows = validate_rows([{**fit, "run_id": self.run_id} for fit in fits], FIT_COLUMNS)
        provenance = self.provenance | {"finished_utc": datetime.now(UTC).isoformat(timespec="seconds")}
        rows = list(self._rows.values())
        scenarios = arrow_table(rows, SCENARIO_COLUMNS, provenance)
        fitted = arrow_table(fit_rows, FIT_COLUMNS, provenance)
        stored = StoredRun(self.path, _to_frame(scenarios), _to_frame(fitted), provenance, finished=True)
        with failing_in_one_line(self.path):
            write_parquet(self.path / "scenarios.parquet", scenarios)
            write_parquet(self.path / "fits.parquet", fitted)
            write_text(self.path / "scenarios.csv", stored.scenarios.to_csv(index=False, lineterminator="\n"))
            _write_json(self.path / "scenarios.json", {"provenance": provenance, "scenarios": rows})
            _write_json(self.path / "run.json", {"provenance": provenance, "fits": fit_rows})
            if self.operations is not None:
                self.operations.join(self._rows, {METADATA_KEY: dumps(provenance)})
            (self.path / JOURNAL).unlink()
            sync_folder(self.path)
        return stored


def load(path: str | os.PathLike[str]) -> StoredRun:
    """Read a run back, finished or not.

    Parameters
    ----------
    path
        Folder of the run, or a file in it; or a single Parquet file of results, or the JSON or CSV file beside it.

    Raises
    ------
    UsageError
        If there is no run, or its files are damaged, of a newer version, or not prsm-scale's.
    """
    held = read_run(path)
    scenarios, fits = (_to_frame(arrow_table(*one)) for one in ((held.rows, SCENARIO_COLUMNS), (held.fits, FIT_COLUMNS)))
    return StoredRun(held.path, scenarios, fits, held.provenance, held.finished)


def frame(rows: Sequence[Mapping[str, Any]], columns: Sequence[Column]) -> pd.DataFrame:
    """Make the DataFrame that writing `rows` and loading them again gives.

    A missing float is NaN, a missing integer pandas' NA (never a float column), a missing text NaN.

    Raises
    ------
    ValueError
        If a row does not fit the registry.
    """
    return _to_frame(arrow_table(validate_rows(rows, columns), columns))


def made_by(run_id: str, created: datetime, sweep: Mapping[str, Any], command: str | None) -> dict[str, Any]:
    """What makes a run: versions, settings and their digest, seed, command and time."""
    from prsm_scale import __version__

    packages = {}
    for name in _PACKAGES:
        with suppress(importlib.metadata.PackageNotFoundError):
            packages[name] = importlib.metadata.version(name)
    return {
        "schema_version": SCHEMA_VERSION,
        "run_id": run_id,
        "created_utc": created.isoformat(timespec="seconds"),
        "prsm_scale": __version__,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "packages": packages,
        "command": command,
        **_of_sweep(sweep),
    }


def _of_sweep(sweep: Mapping[str, Any]) -> dict[str, Any]:
    plain = plain_data(sweep)
    digest = hashlib.sha256(dumps(plain, sort_keys=True).encode()).hexdigest()
    return {"seed": plain.get("seed"), "sweep": plain, "sweep_digest": digest}


def arrow_table(rows: list[dict[str, Any]], columns: Sequence[Column], provenance: Mapping[str, Any] | None = None) -> pa.Table:
    """Make a table of checked rows, with what made them in its metadata."""
    metadata = {METADATA_KEY: dumps(provenance)} if provenance else None
    return pa.Table.from_pylist(rows, schema=arrow_schema(columns, metadata))


def _to_frame(table: pa.Table) -> pd.DataFrame:
    import pandas as pd

    integers = [field.name for field in table.schema if field.nullable and pa.types.is_integer(field.type)]
    nullable = {pa.int32(): pd.Int32Dtype(), pa.int64(): pd.Int64Dtype()}
    parts = [
        table.drop_columns(integers).to_pandas(),
        table.select(integers).to_pandas(types_mapper=nullable.get),
    ]
    together: pd.DataFrame = pd.concat(parts, axis="columns")
    names: list[str] = table.column_names
    return together[names]


def _write_journal(folder: Path, provenance: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]) -> None:
    write_text(folder / JOURNAL, "".join(f"{dumps(line)}\n" for line in (provenance, *rows)))


def write_parquet(path: Path, table: pa.Table) -> None:
    """Write a table, which is there as a whole or not at all."""
    with replacing(path) as file:
        pq.write_table(table, file, compression="zstd", write_page_checksum=True)


def _write_json(path: Path, value: Any) -> None:
    write_text(path, f"{dumps(value, indent=1)}\n")
