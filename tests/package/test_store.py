"""Runs on disk: what is written comes back, and a failure never harms what was there."""

import errno
import json
import math
import resource
from contextlib import contextmanager

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pandas.testing import assert_frame_equal

from prsm_scale import __version__, atomic
from prsm_scale.columns import FIT_COLUMNS, SCENARIO_COLUMNS, arrow_schema
from prsm_scale.errors import PrsmScaleError, UsageError
from prsm_scale.store import SCHEMA_VERSION, RunStore, load

SAMPLES = {"string": 'é, "b"\n', "bool": True, "int32": -(2**31), "int64": 2**63 - 1, "float64": 0.1 + 0.2}
SWEEP = {"nodes": [10, 20], "seed": 7, "bandwidth_mbps": math.inf, "byzantine_ratio": (0.0, 0.1)}


def full_row(columns=SCENARIO_COLUMNS, **values):
    return {column.name: SAMPLES[column.dtype] for column in columns} | values


def sparse_row(columns=SCENARIO_COLUMNS, **values):
    """A row in which everything is missing that may be."""
    return {name: value for name, value in full_row(columns).items() if name in required(columns)} | values


def required(columns):
    return {column.name for column in columns if not column.nullable}


def files(path):
    return sorted(child.name for child in path.iterdir())


@pytest.fixture
def store(tmp_path):
    return RunStore.create(tmp_path / "results", SWEEP, run_id="run", command="prsm-scale sweep")


@pytest.fixture
def filled(store):
    store.append(full_row(scenario_id="a"))
    store.append(sparse_row(scenario_id="b"))
    return store


@pytest.fixture
def finished(filled):
    filled.finish([full_row(FIT_COLUMNS), sparse_row(FIT_COLUMNS)])
    return filled


def one_line(error):
    assert isinstance(error, PrsmScaleError)
    assert len(error.lines) == 1
    assert "\n" not in str(error)
    return str(error)


class TestRoundTrip:
    def test_parquet_has_every_column_with_its_type_and_nulls(self, finished):
        for name, columns in (("scenarios", SCENARIO_COLUMNS), ("fits", FIT_COLUMNS)):
            table = pq.read_table(finished.path / f"{name}.parquet")
            assert table.schema.equals(arrow_schema(columns))
            full, sparse = table.to_pylist()
            assert full == full_row(columns, run_id="run", **({"scenario_id": "a"} if name == "scenarios" else {}))
            for column in columns:
                assert (sparse[column.name] is None) == column.nullable

    def test_frame_keeps_types_and_missing_values(self, finished):
        stored = load(finished.path)
        for frame, columns in ((stored.scenarios, SCENARIO_COLUMNS), (stored.fits, FIT_COLUMNS)):
            assert list(frame.columns) == [column.name for column in columns]
            for column in columns:
                dtype = str(frame[column.name].dtype)
                nullable_integer = column.nullable and column.dtype.startswith("int")
                expected = column.dtype.capitalize() if nullable_integer else column.dtype
                assert dtype == ("str" if expected == "string" else expected), column.name
                assert frame[column.name].isna().tolist() == [False, column.nullable]

    def test_same_frames_from_memory_from_finish_and_from_disk(self, filled):
        from_memory = filled.scenarios
        from_finish = filled.finish([sparse_row(FIT_COLUMNS)])
        from_disk = load(filled.path)
        assert_frame_equal(from_memory, from_disk.scenarios)
        assert_frame_equal(from_finish.scenarios, from_disk.scenarios)
        assert_frame_equal(from_finish.fits, from_disk.fits)
        assert from_finish.provenance == from_disk.provenance

    def test_same_frame_from_the_journal_and_from_parquet(self, filled):
        unfinished = load(filled.path)
        filled.finish([])
        assert not unfinished.finished
        assert load(filled.path).finished
        assert_frame_equal(unfinished.scenarios, load(filled.path).scenarios)

    def test_nan_and_infinity_are_missing(self, store):
        store.append(full_row(scenario_id="a", mean_latency_ms=math.nan, saturation_ops_per_second=math.inf))
        row = load(store.path).scenarios.iloc[0]
        assert row[["mean_latency_ms", "saturation_ops_per_second"]].isna().all()

    def test_csv_reads_back(self, finished):
        frame = pd.read_csv(finished.path / "scenarios.csv")
        stored = load(finished.path).scenarios
        assert list(frame.columns) == list(stored.columns)
        assert frame["mean_latency_ms"][0] == pytest.approx(SAMPLES["float64"], rel=1e-15)
        assert frame["topology"].tolist() == stored["topology"].tolist()
        assert frame["cpu_max_replica"].isna().tolist() == [False, True]

    def test_json_is_strict_and_complete(self, finished):
        def refuse(constant):
            raise AssertionError(constant)

        scenarios = json.loads((finished.path / "scenarios.json").read_text(), parse_constant=refuse)
        run = json.loads((finished.path / "run.json").read_text(), parse_constant=refuse)
        assert [row["scenario_id"] for row in scenarios["scenarios"]] == ["a", "b"]
        assert scenarios["scenarios"][1]["mean_latency_ms"] is None
        assert len(run["fits"]) == 2
        assert run["provenance"] == scenarios["provenance"] == load(finished.path).provenance

    def test_run_may_be_named_by_a_file_in_it(self, finished):
        assert load(finished.path / "scenarios.parquet").path == finished.path

    def test_empty_run(self, store):
        stored = store.finish([])
        assert len(stored.scenarios) == len(stored.fits) == 0
        assert_frame_equal(load(store.path).scenarios, stored.scenarios)

    def test_the_same_scenario_again_takes_its_place(self, filled):
        filled.append(full_row(scenario_id="a", node_count=9))
        for table in (filled.scenarios, load(filled.path).scenarios, filled.finish([]).scenarios):
            assert table["scenario_id"].tolist() == ["a", "b"]
            assert table["node_count"].tolist()[0] == 9


class TestProvenance:
    def test_is_in_the_parquet_metadata(self, finished):
        for name in ("scenarios", "fits"):
            metadata = pq.read_metadata(finished.path / f"{name}.parquet").metadata
            assert json.loads(metadata[b"prsm_scale"]) == load(finished.path).provenance

    def test_tells_how_to_run_it_again(self, finished):
        provenance = load(finished.path).provenance
        assert provenance["schema_version"] == SCHEMA_VERSION
        assert provenance["run_id"] == "run"
        assert provenance["prsm_scale"] == __version__
        assert provenance["packages"]["numpy"] == np.__version__
        assert provenance["command"] == "prsm-scale sweep"
        assert provenance["seed"] == 7
        assert provenance["sweep"]["nodes"] == [10, 20]
        assert provenance["created_utc"] <= provenance["finished_utc"]

    def test_infinite_setting_reads_back_as_the_number(self, finished):
        assert float(load(finished.path).provenance["sweep"]["bandwidth_mbps"]) == math.inf

    def test_digest_names_the_sweep(self, tmp_path):
        first, again, other = (
            RunStore.create(tmp_path, sweep).provenance["sweep_digest"]
            for sweep in (SWEEP, dict(reversed(SWEEP.items())), SWEEP | {"seed": 8})
        )
        assert first == again != other

    def test_run_id_is_time_and_chance(self, tmp_path):
        first, second = (RunStore.create(tmp_path, SWEEP).run_id for _ in range(2))
        assert first != second
        assert pd.to_datetime(first[:15], format="%Y%m%d-%H%M%S")
        assert int(first[16:], 16) < 2**24


class TestResume:
    def test_completed_scenarios_are_known(self, filled):
        assert RunStore.resume(filled.path).completed == {"a", "b"}

    def test_unfinished_run_goes_on(self, filled):
        resumed = RunStore.resume(filled.path)
        resumed.append(full_row(scenario_id="c"))
        assert load(filled.path).scenarios["scenario_id"].tolist() == ["a", "b", "c"]

    def test_finished_run_goes_on(self, finished):
        before = load(finished.path)
        resumed = RunStore.resume(finished.path)
        assert "journal.jsonl" in files(finished.path)
        assert_frame_equal(load(finished.path).scenarios, before.scenarios)
        resumed.append(full_row(scenario_id="c"))
        resumed.finish([])
        after = load(finished.path)
        assert_frame_equal(after.scenarios.iloc[:2], before.scenarios)
        assert after.provenance["created_utc"] == before.provenance["created_utc"]

    def test_settings_to_go_on_with_are_noted_down(self, finished):
        before = load(finished.path).provenance
        after = RunStore.resume(finished.path, SWEEP | {"seed": 8}).provenance
        assert (after["seed"], after["sweep"]["seed"]) == (8, 8)
        assert after["sweep_digest"] != before["sweep_digest"]
        assert RunStore.resume(finished.path).provenance == after

    def test_line_torn_at_any_byte_is_dropped(self, filled):
        journal = filled.path / "journal.jsonl"
        whole = journal.read_bytes()
        last = whole[:-1].rfind(b"\n") + 1
        for cut in (last, last + 1, (last + len(whole)) // 2, len(whole) - 2):
            journal.write_bytes(whole[:cut])
            assert load(filled.path).scenarios["scenario_id"].tolist() == ["a"]
        journal.write_bytes(whole[:-1])
        assert load(filled.path).scenarios["scenario_id"].tolist() == ["a", "b"]

    def test_torn_line_is_gone_after_resuming(self, filled):
        with open(filled.path / "journal.jsonl", "ab") as journal:
            journal.write(b'{"scenario_id": "c", "node_')
        resumed = RunStore.resume(filled.path)
        resumed.append(full_row(scenario_id="c"))
        assert load(filled.path).scenarios["scenario_id"].tolist() == ["a", "b", "c"]

    def test_damage_before_the_last_line_is_refused(self, filled):
        journal = filled.path / "journal.jsonl"
        lines = journal.read_bytes().splitlines(keepends=True)
        journal.write_bytes(lines[0] + lines[1][:40] + b"\n" + lines[2])
        with pytest.raises(UsageError, match="line 2 is damaged") as caught:
            load(filled.path)
        one_line(caught.value)


@contextmanager
def file_size_limit(size):
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


class TestFailure:
    def test_disk_full_in_the_journal(self, filled, monkeypatch):
        def fail(*_):
            raise OSError(errno.ENOSPC, "No space left on device")

        with monkeypatch.context() as patch:
            patch.setattr("prsm_scale.store.append_line", fail)
            with pytest.raises(PrsmScaleError, match="No space left on device") as caught:
                filled.append(full_row(scenario_id="c"))
        assert str(filled.path) in one_line(caught.value)
        assert caught.value.exit_code == 1
        assert filled.completed == {"a", "b"}
        filled.append(full_row(scenario_id="c"))
        assert load(filled.path).scenarios["scenario_id"].tolist() == ["a", "b", "c"]

    def test_line_that_the_system_cuts_short_is_taken_back(self, filled):
        journal = filled.path / "journal.jsonl"
        before = journal.read_bytes()
        with file_size_limit(len(before) + 100), pytest.raises(PrsmScaleError, match="too large"):
            filled.append(full_row(scenario_id="c"))
        assert journal.read_bytes() == before

    def test_row_that_does_not_fit_leaves_the_journal_alone(self, filled):
        before = (filled.path / "journal.jsonl").read_bytes()
        with pytest.raises(ValueError, match="node_count"):
            filled.append(full_row(node_count="ten"))
        assert (filled.path / "journal.jsonl").read_bytes() == before

    @pytest.mark.parametrize("failing", ["scenarios.parquet", "fits.parquet", "scenarios.csv", "run.json"])
    def test_failure_between_write_and_replace(self, filled, monkeypatch, failing):
        filled.finish([])
        old = {name: (filled.path / name).read_bytes() for name in files(filled.path)}
        resumed = RunStore.resume(filled.path)
        resumed.append(full_row(scenario_id="c"))
        replace = atomic.os.replace

        def fail(source, target):
            if target.name == failing:
                raise OSError(errno.ENOSPC, "No space left on device")
            replace(source, target)

        with monkeypatch.context() as patch:
            patch.setattr(atomic.os, "replace", fail)
            with pytest.raises(PrsmScaleError, match="No space left") as caught:
                resumed.finish([])
        one_line(caught.value)
        assert (filled.path / failing).read_bytes() == old[failing]
        assert files(filled.path) == sorted([*old, "journal.jsonl"])
        assert load(filled.path).scenarios["scenario_id"].tolist() == ["a", "b", "c"]
        RunStore.resume(filled.path).finish([])
        assert load(filled.path).finished

    def test_disk_full_in_parquet_leaves_no_half_file(self, filled):
        size = (filled.path / "journal.jsonl").stat().st_size
        with file_size_limit(size // 4), pytest.raises(PrsmScaleError) as caught:
            filled.finish([])
        one_line(caught.value)
        assert files(filled.path) == ["journal.jsonl"]

    def test_killed_before_the_journal_was_dropped(self, filled, monkeypatch):
        journal = (filled.path / "journal.jsonl").read_bytes()
        filled.finish([])
        (filled.path / "journal.jsonl").write_bytes(journal)
        stored = load(filled.path)
        assert not stored.finished
        assert stored.scenarios["scenario_id"].tolist() == ["a", "b"]

    def test_folder_gone(self, filled):
        (filled.path / "journal.jsonl").unlink()
        with pytest.raises(PrsmScaleError, match="cannot write"):
            filled.append(full_row(scenario_id="c"))


class TestRefusal:
    def refused(self, path, match):
        with pytest.raises(UsageError, match=match) as caught:
            load(path)
        assert str(path.name) in one_line(caught.value)
        with pytest.raises(UsageError, match=match):
            RunStore.resume(path)

    def rewrite(self, path, change):
        table = pq.read_table(path)
        pq.write_table(change(table), path)

    def test_nothing_there(self, tmp_path):
        self.refused(tmp_path / "none", "a folder that holds a run")

    def test_file_that_is_no_run(self, tmp_path):
        (tmp_path / "notes.txt").write_text("hello")
        self.refused(tmp_path / "notes.txt", "a folder that holds a run")

    def test_foreign_parquet(self, tmp_path):
        pq.write_table(pa.table({"a": [1]}), tmp_path / "scenarios.parquet")
        self.refused(tmp_path, "a file written by prsm-scale")

    def test_foreign_journal(self, tmp_path):
        (tmp_path / "journal.jsonl").write_text("[1, 2]\n")
        self.refused(tmp_path, "a file written by prsm-scale")

    def test_truncated_parquet(self, finished):
        path = finished.path / "scenarios.parquet"
        path.write_bytes(path.read_bytes()[:-20])
        self.refused(finished.path, "a whole Parquet file")

    def test_empty_parquet(self, finished):
        (finished.path / "scenarios.parquet").write_bytes(b"")
        self.refused(finished.path, "a whole Parquet file")

    def test_missing_fits(self, finished):
        (finished.path / "fits.parquet").unlink()
        self.refused(finished.path, "a whole Parquet file")

    def test_newer_schema(self, finished):
        newer = json.dumps(finished.provenance | {"schema_version": SCHEMA_VERSION + 1})
        path = finished.path / "scenarios.parquet"
        self.rewrite(path, lambda table: table.replace_schema_metadata({"prsm_scale": newer}))
        self.refused(finished.path, f"not {SCHEMA_VERSION + 1}: update prsm-scale")

    def test_newer_journal(self, store):
        journal = store.path / "journal.jsonl"
        journal.write_text(json.dumps(store.provenance | {"schema_version": SCHEMA_VERSION + 1}) + "\n")
        self.refused(store.path, "update prsm-scale")

    def test_missing_required_column(self, finished):
        self.rewrite(finished.path / "scenarios.parquet", lambda table: table.drop_columns("node_count"))
        self.refused(finished.path, "node_count: a value is missing")

    def test_missing_nullable_column_of_an_older_version_is_filled(self, finished):
        self.rewrite(finished.path / "scenarios.parquet", lambda table: table.drop_columns("mean_latency_ms"))
        assert load(finished.path).scenarios["mean_latency_ms"].isna().all()

    def test_out_folder_that_cannot_be_made(self, tmp_path):
        (tmp_path / "file").write_text("")
        with pytest.raises(UsageError, match="a writable folder") as caught:
            RunStore.create(tmp_path / "file" / "results", SWEEP)
        one_line(caught.value)
        assert caught.value.field == "out"

    def test_out_folder_that_cannot_be_written(self, tmp_path, monkeypatch):
        def refuse(*_, **__):
            raise PermissionError(errno.EACCES, "Permission denied")

        monkeypatch.setattr(atomic, "open", refuse, raising=False)
        with pytest.raises(UsageError, match="a writable folder \\(Permission denied\\)"):
            RunStore.create(tmp_path, SWEEP)

    def test_run_that_exists(self, store):
        with pytest.raises(UsageError, match="does not exist yet"):
            RunStore.create(store.path.parent, SWEEP, run_id="run")

    @pytest.mark.parametrize("run_id", ["../away", "a/b", ".hidden", "-x", " "])
    def test_run_id_that_is_no_folder_name(self, tmp_path, run_id):
        with pytest.raises(UsageError, match="run_id"):
            RunStore.create(tmp_path, SWEEP, run_id=run_id)
        assert files(tmp_path) == []
