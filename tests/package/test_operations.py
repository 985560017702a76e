"""Single operations of a run: in one file in the end, whatever happened on the way."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from pandas.testing import assert_frame_equal

import prsm_scale as ps
from prsm_scale import atomic
from prsm_scale.columns import OPERATION_COLUMNS, arrow_schema
from prsm_scale.config import Sweep
from prsm_scale.errors import PrsmScaleError, SweepInterrupted, UsageError
from prsm_scale.runs import Run, run_sweep

GRID: dict[str, Any] = {"nodes": "4,7", "byzantine_ratio": [0, 0.6], "operations": 32}


def run(folder: Path, resume: Path | None = None, save: bool = True, progress: Any = None, **changes: Any) -> Run:
    return run_sweep(Sweep(**(GRID | changes)), folder, resume=resume, save_operations=save, progress=progress)


def operations_of(path: Path | None) -> pd.DataFrame:
    assert path is not None
    return pd.read_parquet(path / "operations.parquet")


def files(path: Path | None) -> set[str]:
    assert path is not None
    return {file.name for file in path.iterdir()}


def interrupted(folder: Path, save: bool = True) -> Path:
    """A run that Ctrl-C ended in its third scenario."""

    def stop(progress: Any) -> None:
        if progress.done == 2:
            raise KeyboardInterrupt

    with pytest.raises(SweepInterrupted) as caught:
        run(folder, save=save, progress=stop)
    assert (caught.value.done, caught.value.total) == (2, 4)
    return caught.value.path


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return run(tmp_path_factory.mktemp("whole"))


def test_every_operation_of_every_scenario_is_a_row(whole: Run) -> None:
    assert whole.path is not None
    table = pq.read_table(whole.path / "operations.parquet")
    assert table.schema.equals(arrow_schema(OPERATION_COLUMNS))
    assert b'"run_id"' in table.schema.metadata[b"prsm_scale"]
    stored = operations_of(whole.path)
    for scenario, (_, rows) in zip(Sweep(**GRID).scenarios(), stored.groupby("scenario_id", sort=False), strict=True):
        outcome = ps.simulate(**scenario.model_dump())
        assert set(rows["scenario_id"]) == {scenario.scenario_id}
        assert np.array_equal(rows["replicate"], outcome.operations.replicate)
        assert np.array_equal(rows["operation"], outcome.operations.operation)
        for name in ("latency_ms", "commit_ms"):
            assert np.array_equal(rows[name].fillna(np.inf), getattr(outcome, name))
        assert rows["success"].mean() == outcome.row["success_rate"]


def test_without_being_asked_nothing_of_it_is_stored(tmp_path: Path) -> None:
    assert "operations.parquet" not in files(run(tmp_path, save=False, nodes=4).path)


def test_what_succeeds_too_late_has_no_latency(tmp_path: Path) -> None:
    middle = float(np.median(ps.simulate(nodes=4, operations=32).latency_ms))
    table = operations_of(run(tmp_path, nodes=4, byzantine_ratio=0, operation_timeout_ms=middle).path)
    assert table["success"].sum() == table["latency_ms"].count() == 16
    assert table["commit_ms"].count() == 32


def test_an_interrupted_run_goes_on_to_keep_them(tmp_path: Path, whole: Run) -> None:
    path = interrupted(tmp_path)
    assert files(path) == {"journal.jsonl", "operations", "host_resources.parquet"}
    assert len(files(path / "operations")) == 2
    again = run(tmp_path, resume=path, save=False)
    assert_frame_equal(operations_of(again.path), operations_of(whole.path))
    assert files(path) == files(whole.path)


def test_a_run_that_has_none_is_simulated_again_for_them(tmp_path: Path, whole: Run) -> None:
    path = interrupted(tmp_path, save=False)
    before = ps.load(path).scenarios
    again = run(tmp_path, resume=path)
    assert_frame_equal(operations_of(path), operations_of(whole.path))
    drop = ["wall_seconds", "messages_per_second"]
    assert_frame_equal(again.scenarios[:2].drop(columns=drop), before.drop(columns=drop))
    assert len(again.scenarios) == 4


def test_a_finished_run_can_be_extended(tmp_path: Path, whole: Run) -> None:
    first = run(tmp_path, nodes=4)
    again = run(tmp_path, resume=first.path, save=False)
    ours, theirs = (table.sort_values(["scenario_id", "replicate", "operation"], ignore_index=True) for table in
                    (operations_of(again.path), operations_of(whole.path)))  # fmt: skip
    assert_frame_equal(ours, theirs)


def test_nothing_that_is_there_is_simulated_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = run(tmp_path, byzantine_ratio=0, nodes=[4, 1_000_000])
    assert first.scenarios["feasible"].tolist() == [True, False]
    monkeypatch.setattr("prsm_scale.runs.simulate_scenario", pytest.fail)
    again = run(tmp_path, resume=first.path, byzantine_ratio=0, nodes=[4, 1_000_000])
    assert len(operations_of(again.path)) == 32


def test_a_failure_on_the_way_loses_nothing(tmp_path: Path, whole: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    replace = atomic.os.replace  # type: ignore[attr-defined]

    def fail(source: Any, target: Any) -> None:
        if Path(target).name == "operations.parquet":
            raise OSError(28, "No space left on device")
        replace(source, target)

    with monkeypatch.context() as patch:
        patch.setattr("prsm_scale.atomic.os.replace", fail)
        with pytest.raises(PrsmScaleError, match="No space left on device; what was there is kept"):
            run(tmp_path)
    (path,) = tmp_path.iterdir()
    assert "journal.jsonl" in files(path)
    assert len(files(path / "operations")) == 4
    monkeypatch.setattr("prsm_scale.runs.simulate_scenario", pytest.fail)
    assert_frame_equal(operations_of(run(tmp_path, resume=path).path), operations_of(whole.path))


def test_a_damaged_file_is_one_line(tmp_path: Path) -> None:
    path = run(tmp_path, nodes=4).path
    assert path is not None
    (path / "operations.parquet").write_bytes(b"PAR1")
    with pytest.raises(UsageError, match=r"^run: .* is not allowed: a whole Parquet file"):
        run(tmp_path, resume=path)
    assert "journal.jsonl" not in files(path)
