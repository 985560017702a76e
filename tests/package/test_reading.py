"""Single files of results, and what is wrong with those that cannot be read."""

import json

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pandas.testing import assert_frame_equal

from prsm_scale.columns import SCENARIO_COLUMNS
from prsm_scale.errors import UsageError
from prsm_scale.reading import SCHEMA_VERSION
from prsm_scale.store import RunStore, arrow_table, load, write_parquet


@pytest.fixture
def run(tmp_path, sample_row, sample_run):
    return sample_run(tmp_path / "results", [sample_row(n) for n in (10, 20, 40, 80)])


@pytest.fixture
def flat(tmp_path, run):
    """The same run as a Parquet file with JSON and CSV beside it."""
    file = tmp_path / "scaling_test_demo_20250623_160404.parquet"
    file.write_bytes((run.path / "scenarios.parquet").read_bytes())
    file.with_suffix(".json").write_text(json.dumps({"config": {}, "provenance": run.provenance}))
    file.with_suffix(".csv").write_text("node_count\n10\n")
    return file


def refused(path, match):
    with pytest.raises(UsageError, match=match) as caught:
        load(path)
    (line,) = caught.value.lines
    assert path.name in line
    assert caught.value.exit_code == 2


@pytest.mark.parametrize("suffix", [".parquet", ".json", ".csv"])
def test_a_single_file_is_a_run(flat, run, suffix):
    stored = load(flat.with_suffix(suffix))
    assert_frame_equal(stored.scenarios, run.scenarios)
    assert stored.fits.empty
    assert stored.path == flat
    assert stored.provenance == run.provenance
    assert stored.finished


def test_a_single_file_cannot_be_gone_on_with(flat):
    before = flat.read_bytes()
    with pytest.raises(UsageError, match="a single file of results is finished"):
        RunStore.resume(flat)
    assert flat.read_bytes() == before


def test_the_table_has_to_be_there(flat):
    flat.unlink()
    assert flat.with_suffix(".csv").is_file()
    refused(flat.with_suffix(".json"), "with scaling_test_demo_20250623_160404.parquet beside it")


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.9, 0.999])
def test_truncated_tables(flat, share):
    whole = flat.read_bytes()
    flat.write_bytes(whole[: int(share * len(whole))])
    refused(flat, "a whole Parquet file")


@pytest.mark.parametrize("at", range(2, 100, 3))
def test_damaged_bytes_never_change_a_number(flat, run, at):
    data = bytearray(flat.read_bytes())
    place = at * len(data) // 100
    data[place : place + 16] = bytes(byte ^ 0xFF for byte in data[place : place + 16])
    flat.write_bytes(data)
    try:
        assert_frame_equal(load(flat).scenarios, run.scenarios)
    except UsageError as error:
        assert len(error.lines) == 1
        assert flat.name in error.lines[0]


@pytest.mark.parametrize("text", ['{"config": ', "", "[1]", "{}", '{"provenance": 3}', "\udcff"])
def test_damaged_and_foreign_json(flat, text):
    flat.with_suffix(".json").write_bytes(text.encode(errors="surrogateescape"))
    refused(flat.with_suffix(".json"), r"a whole JSON file|a file written by prsm-scale")


def test_a_newer_schema_is_told_before_its_columns(flat, run):
    newer = run.provenance | {"schema_version": SCHEMA_VERSION + 1}
    table = pa.table({"new_column": [1]}).replace_schema_metadata({"prsm_scale": json.dumps(newer)})
    pq.write_table(table, flat)
    refused(flat, f"schema version {SCHEMA_VERSION} or older, not {SCHEMA_VERSION + 1}: update prsm-scale")


def test_tables_of_others(flat, tmp_path):
    pd.DataFrame({"node_count": [4]}).to_parquet(flat)
    refused(flat, "a file written by prsm-scale")
    other = tmp_path / "notes.parquet"
    other.write_text("not a table")
    refused(other, "a whole Parquet file")


def test_columns_that_this_version_lacks(flat, run):
    table = arrow_table([], SCENARIO_COLUMNS, run.provenance).append_column("later", pa.array([], pa.int32()))
    write_parquet(flat, table.slice(0, 0))
    assert load(flat).scenarios.empty
    full = pq.read_table(run.path / "scenarios.parquet")
    write_parquet(flat, full.append_column("later", pa.array([1] * 4)))
    refused(flat, "columns that the registry lacks: later")
