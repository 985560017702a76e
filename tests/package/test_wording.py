"""Numbers as people read them."""

from __future__ import annotations

from typing import Any

import pytest

from prsm_scale.wording import estimate, number, percent, some_nodes


@pytest.mark.parametrize(
    ("value", "text"),
    [(1.0, "100%"), (0.99999, "<100%"), (0.5, "50%"), (0.12345, "12.35%"), (0.0001, "0.01%"), (0.00004, "<0.01%"), (0.0, "0%"),
     (None, "-")],
)  # fmt: skip
def test_percent(value: float | None, text: str) -> None:
    assert percent(value) == text


@pytest.mark.parametrize(
    ("value", "ends", "text"),
    [
        (4.1, (3.8, None), "4.10 [3.80, -]"),
        (4.1, (None, None), "4.10"),
        (4.1, None, "4.10"),
        (None, (1.0, 2.0), "-"),
    ],
)
def test_estimate(value: Any, ends: Any, text: str) -> None:
    assert estimate(value, ends, number) == text


@pytest.mark.parametrize(
    ("nodes", "among", "text"),
    [
        ([10, 20, 40], [4, 10, 20, 40, 80], "n = 10 to 40"),
        ([10, 40], [10, 20, 40], "n = 10, 40"),
        ([10, 20], [10, 20], "n = 10, 20"),
        ([4, 10, 1000], [4, 10, 20, 1000], "n = 4, 10, 1,000"),
        ([1000], [4, 1000], "n = 1,000"),
    ],
)
def test_some_nodes(nodes: list[int], among: list[int], text: str) -> None:
    assert some_nodes(nodes, among) == text
