"""The grammar of node counts."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prsm_scale.errors import UsageError
from prsm_scale.nodes import FEWEST_NODES, MOST_NODES, parse_nodes

counts = st.integers(FEWEST_NODES, 5_000)


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ("10..1000", (10, 20, 40, 80, 160, 320, 640, 1000)),
        ("64..1024", (64, 128, 256, 512, 1024)),
        ("10..11", (10, 11)),
        ("10..10", (10,)),
        ("10,20,40", (10, 20, 40)),
        ("40, 10 ,20,10", (10, 20, 40)),
        ("4,16,64..1024", (4, 16, 64, 128, 256, 512, 1024)),
        ("10..100:30", (10, 40, 70, 100)),
        ("10..100:50", (10, 60)),
        ("10..1000/2", (10, 1000)),
        ("10..1000/3", (10, 100, 1000)),
        ("4..6/12", (4, 5, 6)),
        (" 4 .. 16 ", (4, 8, 16)),
        ("1000000", (1_000_000,)),
        (7, (7,)),
        ([20, 10, "40..80"], (10, 20, 40, 80)),
        (range(4, 7), (4, 5, 6)),
    ],
)
def test_grammar(spec: object, expected: tuple[int, ...]) -> None:
    assert parse_nodes(spec) == expected  # type: ignore[arg-type]


def test_log_spaced_points_rise_by_about_one_factor() -> None:
    points = parse_nodes("10..1000/12")
    assert len(points) == 12
    assert (points[0], points[-1]) == (10, 1000)
    ratios = [after / before for before, after in pairwise(points)]
    assert max(ratios) / min(ratios) < 1.05


@pytest.mark.parametrize(
    ("spec", "value", "allowed"),
    [
        ("0..5", "'0..5'", "from 4 to 1000000"),
        ("3", "'3'", "from 4 to 1000000"),
        (3, "3", "from 4 to 1000000"),
        ("10,3", "'3'", "from 4 to 1000000"),
        ("4..1000001", "'4..1000001'", "from 4 to 1000000"),
        ("1000..10", "'1000..10'", "a range that rises (10..1000)"),
        ("10...20", "'10...20'", "range (10..1000)"),
        ("10..20:0", "'10..20:0'", "a step of 1 or more"),
        ("10..20/1", "'10..20/1'", "2 to 10000 points"),
        ("10..20/10001", "'10..20/10001'", "2 to 10000 points"),
        ("4..1000000:1", "'4..1000000:1'", "at most 10000 points"),
        (range(4, 20_000), "range(4, 20000)", "at most 10000 points"),
        ("", "''", "list (10,20,40)"),
        ("10,,20", "''", "list (10,20,40)"),
        ("10..", "'10..'", "list (10,20,40)"),
        ("-10", "'-10'", "list (10,20,40)"),
        ("1e3", "'1e3'", "list (10,20,40)"),
        ("٤", "'٤'", "list (10,20,40)"),
        ("9" * 5_000, "...", "list (10,20,40)"),
        ("many", "'many'", "list (10,20,40)"),
        ([], "[]", "list (10,20,40)"),
        (10.0, "10.0", "list (10,20,40)"),
        (True, "True", "list (10,20,40)"),
        (None, "None", "list (10,20,40)"),
    ],
)
def test_bad_input_is_one_line(spec: object, value: str, allowed: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_nodes(spec)  # type: ignore[arg-type]
    (line,) = caught.value.lines
    assert line.startswith("nodes: ")
    assert value in line
    assert allowed in line
    assert len(line) < 250


def test_error_names_the_field_it_was_given_for() -> None:
    with pytest.raises(UsageError, match=r"^node_counts: "):
        parse_nodes("3", field="node_counts")


@given(first=counts, last=counts)
def test_doubling_series(first: int, last: int) -> None:
    first, last = sorted((first, last))
    points = parse_nodes(f"{first}..{last}")
    assert (points[0], points[-1]) == (first, last)
    assert all(after == 2 * before for before, after in pairwise(points[:-1]))
    assert len(points) < 2 or points[-1] <= 2 * points[-2]


@given(parts=st.lists(counts, min_size=1))
def test_result_is_sorted_without_repeats_and_parses_to_itself(parts: list[int]) -> None:
    points = parse_nodes(",".join(map(str, parts)))
    assert points == tuple(sorted(set(parts))) == parse_nodes(points)


@given(text=st.text())
def test_any_text_gives_counts_in_range_or_a_usage_error(text: str) -> None:
    try:
        points = parse_nodes(text)
    except UsageError:
        return
    assert all(FEWEST_NODES <= point <= MOST_NODES for point in points)
