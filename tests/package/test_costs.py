"""Costs of one's own: their grammar, their one spelling, and what is refused."""

from __future__ import annotations

from typing import Any

import pytest

from prsm_scale.config import Scenario, Sweep
from prsm_scale.costs import COSTS, parse_costs, spell_costs
from prsm_scale.errors import UsageError


def test_text_and_mapping_are_read_alike_in_the_order_of_the_names() -> None:
    given = {"header_bytes": 28, "verify_ms": 0.13, "sign_ms": 0.07}
    assert list(parse_costs(given)) == ["sign_ms", "verify_ms", "header_bytes"]
    assert parse_costs(" header_bytes = 28.0,verify_ms=.13, sign_ms=7e-2 ") == given
    assert parse_costs(spell_costs(parse_costs(given))) == given


def test_one_spelling_makes_one_scenario() -> None:
    text = "sign_ms=0.07,header_bytes=28"
    ones = [
        Scenario(nodes=4, costs=costs)
        for costs in (text, " header_bytes=28, sign_ms=7e-2", {"sign_ms": 0.07, "header_bytes": 28})
    ]
    assert {one.costs for one in ones} == {text}
    assert len({one.scenario_id for one in ones}) == 1
    assert ones[0].scenario_id != Scenario(nodes=4).scenario_id
    assert Sweep(nodes=4, costs=text).scenarios()[0].costs == text


@pytest.mark.parametrize(
    ("given", "line"),
    [
        ("sing_ms=1", "costs: 'sing_ms' is not allowed: one of sign_ms, "),
        ("sign_ms", "costs: 'sign_ms' is not allowed: names and numbers, as in sign_ms=0.07"),
        ("", "costs: '' is not allowed: names and numbers"),
        (3, "costs: 3 is not allowed: names and numbers"),
        ("sign_ms=1,sign_ms=2", "costs: 'sign_ms' is not allowed: each name once"),
        ("sign_ms=fast", "costs: 'sign_ms=fast' is not allowed: sign_ms=NUMBER, a number, 0 or more"),
        ("sign_ms=-1", "costs: 'sign_ms=-1' is not allowed"),
        ("sign_ms=nan", "costs: 'sign_ms=nan' is not allowed"),
        ({"sign_ms": True}, "costs: 'sign_ms=True' is not allowed"),
        ("header_bytes=1.5", "costs: 'header_bytes=1.5' is not allowed: header_bytes=NUMBER, a whole number, 0 or more"),
    ],
)
def test_what_is_no_cost_is_refused_in_one_line(given: Any, line: str) -> None:
    with pytest.raises(UsageError) as caught:
        Scenario(nodes=4, costs=given)
    assert caught.value.lines == [caught.value.lines[0]]
    assert caught.value.lines[0].startswith(line)


def test_every_name_says_what_it_is() -> None:
    assert all(meaning and name.endswith(("_ms", "_bytes")) for name, meaning in COSTS.items())
