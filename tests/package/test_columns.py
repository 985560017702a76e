"""The registry of columns: names, the check of a row, the Arrow schema and the docs table."""

from enum import StrEnum

import numpy as np
import pytest

from prsm_scale.columns import (
    FIT_COLUMNS,
    GROUP_COLUMNS,
    OPERATION_COLUMNS,
    SCENARIO_COLUMNS,
    Column,
    arrow_schema,
    docs_table,
    validate_row,
)
from prsm_scale.host_columns import HOST_COLUMNS

REGISTRIES = {"scenario": SCENARIO_COLUMNS, "fit": FIT_COLUMNS, "operation": OPERATION_COLUMNS, "host": HOST_COLUMNS}
UNIT_OF_ENDING = {"_ms": "ms", "_mb": "MB", "_bytes": "B", "_ops_per_second": "1/s", "_seconds": "s"}
SMALL = (
    Column("name", "string", "", "a text", nullable=False),
    Column("count", "int32", "", "a number", nullable=False),
    Column("large", "int64", "", "a larger number"),
    Column("value", "float64", "ms", "a measurement"),
    Column("good", "bool", "", "a truth", nullable=False),
)
ROW = {"name": "a", "count": 1, "large": 2**40, "value": 0.5, "good": True}


@pytest.mark.parametrize("columns", REGISTRIES.values(), ids=REGISTRIES)
def test_names_are_unique_and_explained(columns):
    names = [column.name for column in columns]
    assert len(set(names)) == len(names)
    assert all(name.isidentifier() and name.islower() for name in names)
    assert all(column.meaning and "|" not in column.meaning for column in columns)


@pytest.mark.parametrize("columns", REGISTRIES.values(), ids=REGISTRIES)
def test_unit_in_the_name_is_the_unit(columns):
    for column in columns:
        for ending, unit in UNIT_OF_ENDING.items():
            if column.name.endswith(ending):
                assert column.unit == unit, column.name


@pytest.mark.parametrize("columns", REGISTRIES.values(), ids=REGISTRIES)
def test_each_end_of_an_interval_has_the_other_and_the_estimate(columns):
    names = {column.name for column in columns}
    for low in (name for name in names if "_low" in name):
        assert low.replace("_low", "_high") in names
        assert {low.replace("_low", ""), low.replace("_low", "_rate")} & names


def test_groups_are_axes_of_scenarios_and_of_fits():
    for columns in (SCENARIO_COLUMNS, FIT_COLUMNS):
        required = {column.name for column in columns if not column.nullable}
        assert set(GROUP_COLUMNS) <= required
    assert "node_count" not in GROUP_COLUMNS


@pytest.mark.parametrize("name", ["mean_latency_ms", "p99_latency_ms", "bottleneck", "cpu_max_replica"])
def test_what_a_failed_scenario_lacks_may_be_missing(name):
    assert next(column for column in SCENARIO_COLUMNS if column.name == name).nullable


def test_row_comes_back_in_the_order_of_the_registry():
    assert list(validate_row(dict(reversed(ROW.items())), SMALL).items()) == list(ROW.items())


def test_numpy_scalars_and_enums_become_plain_values():
    class Kind(StrEnum):
        A = "a"

    given = {
        "name": Kind.A,
        "count": np.int64(1),
        "large": np.int32(7),
        "value": np.float32(0.5),
        "good": np.bool_(True),
    }
    row = validate_row(given, SMALL)
    assert row == {**ROW, "large": 7}
    assert [type(value) for value in row.values()] == [str, int, int, float, bool]


@pytest.mark.parametrize("value", [None, float("nan"), float("inf"), -float("inf"), np.float64("nan")])
def test_no_finite_value_is_a_missing_value(value):
    assert validate_row({**ROW, "value": value}, SMALL)["value"] is None


def test_nullable_column_may_be_left_out_and_whole_number_may_stand_for_a_float():
    row = validate_row({"name": "a", "count": 1, "value": 3, "good": False}, SMALL)
    assert row["large"] is None
    assert type(row["value"]) is float


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"extra": 1, "another": 2}, "columns that the registry lacks: another, extra"),
        ({"name": None}, "name: a value is missing"),
        ({"name": 3}, "name: 3 is not of type string"),
        ({"count": float("nan")}, "count: a value is missing"),
        ({"count": 1.0}, "count: 1.0 is not of type int32"),
        ({"count": True}, "count: True is not of type int32"),
        ({"count": 2**31}, "count: 2147483648 does not fit int32"),
        ({"large": -(2**63) - 1}, "large: -9223372036854775809 does not fit int64"),
        ({"value": "fast"}, "value: 'fast' is not of type float64"),
        ({"value": True}, "value: True is not of type float64"),
        ({"good": 1}, "good: 1 is not of type bool"),
    ],
)
def test_row_that_does_not_fit_is_refused(change, message):
    with pytest.raises(ValueError, match=message):
        validate_row(ROW | change, SMALL)


def test_largest_seed_fits():
    (seed,) = (column for column in SCENARIO_COLUMNS if column.name == "seed")
    assert validate_row({"seed": 2**63 - 1}, [seed]) == {"seed": 2**63 - 1}


def test_arrow_schema_carries_type_nullability_unit_and_meaning():
    schema = arrow_schema(SMALL, {"key": "text"})
    assert [str(field.type) for field in schema] == ["string", "int32", "int64", "double", "bool"]
    assert [field.nullable for field in schema] == [False, False, True, True, False]
    assert schema.field("value").metadata == {b"unit": b"ms", b"meaning": b"a measurement"}
    assert schema.metadata == {b"key": b"text"}


@pytest.mark.parametrize("columns", REGISTRIES.values(), ids=REGISTRIES)
def test_docs_table_has_a_line_for_each_column(columns):
    lines = docs_table(columns).splitlines()
    assert len(lines) == len(columns) + 2
    assert all(line.count("|") == 5 for line in lines)
    assert all(f"`{column.name}`" in line for column, line in zip(columns, lines[2:], strict=True))


def test_docs_table_says_what_may_be_missing():
    lines = docs_table(SMALL).splitlines()
    assert lines[2] == "| `name` | string |  | a text |"
    assert lines[5] == "| `value` | float64, may be missing | ms | a measurement |"
