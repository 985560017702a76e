"""Operations of a run's scenarios on disk: a file for each scenario while the run lasts, one for all of them in the end."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from prsm_scale.atomic import failing_in_one_line, reason, replacing
from prsm_scale.axes import Engine
from prsm_scale.columns import OPERATION_COLUMNS, arrow_schema
from prsm_scale.errors import UsageError

if TYPE_CHECKING:
    from prsm_scale.outcome import Outcome

WHOLE = "operations.parquet"
_PARTS = "operations"


def operation_arrays(outcome: Outcome) -> dict[str, Any]:
    """One array for each of OPERATION_COLUMNS, with NaN for a missing value."""
    operations, scenario = outcome.operations, outcome.scenario
    success = operations.latency_ms <= scenario.operation_timeout_ms
    from prsm_scale.metrics import most_votes

    late, few = np.isfinite(operations.latency_ms), most_votes(outcome) < outcome.plan.quorum
    failure = "no_quorum" if few else "timed_out" if scenario.engine == Engine.EVENTS else "no_answer"
    why = np.where(late, "timed_out", failure)
    return {
        "scenario_id": np.full(success.size, scenario.scenario_id),
        "replicate": operations.replicate.astype(np.int32),
        "operation": operations.operation.astype(np.int64),
        "latency_ms": np.where(success, operations.latency_ms, np.nan),
        "commit_ms": np.where(np.isfinite(operations.commit_ms), operations.commit_ms, np.nan),
        "success": success,
        "view_changes": operations.view_changes.astype(np.int32),
        "fate": np.where(success, "answered", "failed"),
        "reason": np.where(success, np.where(operations.view_changes > 0, "view_change", ""), why),
    }


class OperationFiles:
    """Files of a run under way, in its folder `operations`, each of which is renamed into place once it is whole.

    Parameters
    ----------
    run
        Folder of the run. If it has operations.parquet already, that is taken apart again.
    """

    def __init__(self, run: Path) -> None:
        self._whole, self._folder = run / WHOLE, run / _PARTS
        self._folder.mkdir(exist_ok=True)
        if self._whole.exists():
            self._take_apart()

    def _take_apart(self) -> None:
        try:
            with pq.ParquetFile(self._whole) as file:
                for table in map(file.read_row_group, range(file.num_row_groups)):
                    self._write(table["scenario_id"][0].as_py(), table)
        except pa.ArrowException as error:
            raise UsageError("run", str(self._whole), f"a whole Parquet file ({reason(error)})") from error

    @staticmethod
    def has(run: Path) -> bool:
        """Whether a run keeps its operations."""
        return (run / WHOLE).exists() or (run / _PARTS).exists()

    def holds(self, scenario_id: str) -> bool:
        """Whether the operations of a scenario are there."""
        return self._part(scenario_id).exists()

    def add(self, scenario_id: str, arrays: Mapping[str, Any]) -> None:
        """Write the operations of a scenario.

        Parameters
        ----------
        scenario_id
            The scenario.
        arrays
            One array for each of OPERATION_COLUMNS, all of one length; NaN stands for a missing value.

        Raises
        ------
        PrsmScaleError
            If the file cannot be written.
        """
        schema = arrow_schema(OPERATION_COLUMNS)
        columns = [pa.array(arrays[field.name], type=field.type, from_pandas=True) for field in schema]
        with failing_in_one_line(self._folder):
            self._write(scenario_id, pa.Table.from_arrays(columns, schema=schema))

    def join(self, scenario_ids: Iterable[str], metadata: Mapping[str, str]) -> None:
        """Write operations.parquet, a row group for each scenario in this order, and drop the parts."""
        schema = arrow_schema(OPERATION_COLUMNS, metadata)
        with replacing(self._whole) as file, pq.ParquetWriter(file, schema, compression="zstd") as writer:
            for part in filter(Path.exists, map(self._part, scenario_ids)):
                with pq.ParquetFile(part) as held:
                    table = held.read()
                writer.write_table(table, row_group_size=max(1, table.num_rows))
        shutil.rmtree(self._folder)

    def _part(self, scenario_id: str) -> Path:
        return self._folder / f"{scenario_id}.parquet"

    def _write(self, scenario_id: str, table: pa.Table) -> None:
        with replacing(self._part(scenario_id)) as file:
            pq.write_table(table, file, compression="zstd")
