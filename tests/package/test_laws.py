"""Laws of delay and jitter, read from text."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prsm_scale.errors import UsageError
from prsm_scale.laws import DELAY_LAWS, JITTER_LAWS, Law, LawField, from_folder, law_file, parse_law


@pytest.mark.parametrize(
    ("text", "field", "expected"),
    [
        ("none", "jitter", Law("none")),
        ("none()", "jitter", Law("none")),
        ("exponential", "jitter", Law("exponential")),
        ("normal", "jitter", Law("normal", (0.5,))),
        ("normal(0.2)", "jitter", Law("normal", (0.2,))),
        ("lognormal", "jitter", Law("lognormal", (0.5,))),
        ("gamma", "jitter", Law("gamma", (2.0,))),
        ("pareto", "jitter", Law("pareto", (3.0,))),
        ("constant(250)", "delay", Law("constant", (250.0,))),
        ("constant(0)", "delay", Law("constant", (0.0,))),
        ("uniform(0,100)", "delay", Law("uniform", (0.0, 100.0))),
        ("exponential(20)", "delay", Law("exponential", (20.0,))),
        ("  normal ( 250 , 5e1 ) ", "delay", Law("normal", (250.0, 50.0))),
        ("lognormal(80,0.3)", "delay", Law("lognormal", (80.0, 0.3))),
        ("gamma(80,2)", "delay", Law("gamma", (80.0, 2.0))),
        ("pareto(80,1.5)", "delay", Law("pareto", (80.0, 1.5))),
        ("empirical(delays.csv)", "delay", Law("empirical", file="delays.csv")),
        (" empirical ( my delays (2), all.csv ) ", "jitter", Law("empirical", file="my delays (2), all.csv")),
    ],
)
def test_laws(text: str, field: LawField, expected: Law) -> None:
    assert parse_law(text, field) == expected


@pytest.mark.parametrize(
    ("text", "field", "allowed"),
    [
        ("gama", "jitter", "(did you mean 'gamma'?)"),
        ("normall(250,50)", "delay", "(did you mean 'normal'?)"),
        ("constant(5)", "jitter", "one of none, exponential, normal(cv)"),
        ("none", "delay", "one of constant(c), uniform(a, b)"),
        ("normal(250)", "delay", "normal(mean, sd)"),
        ("normal", "delay", "normal(mean, sd)"),
        ("normal()", "jitter", "normal(cv)"),
        ("exponential(3)", "jitter", "exponential"),
        ("normal(250,fast)", "delay", "normal(mean, sd)"),
        ("normal(250,0)", "delay", "sd more than 0"),
        ("normal(-1,-1)", "delay", "mean more than 0, sd more than 0"),
        ("constant(-1)", "delay", "c 0 or more"),
        ("constant(nan)", "delay", "c 0 or more"),
        ("exponential(inf)", "delay", "mean more than 0"),
        ("pareto(80,1)", "delay", "shape more than 1"),
        ("pareto(1)", "jitter", "shape more than 1"),
        ("uniform(5,5)", "delay", "a less than b"),
        ("uniform(9,5)", "delay", "a less than b"),
        ("normal(1,2)(3)", "delay", "one of constant(c)"),
        ("", "delay", "one of constant(c)"),
        ("empirical", "delay", "empirical(FILE) (did you mean 'empirical(FILE)'?)"),
        ("empirical( )", "jitter", "pareto(shape), empirical(FILE)"),
    ],
)
def test_bad_law_is_one_line(text: str, field: LawField, allowed: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_law(text, field)
    (line,) = caught.value.lines
    assert line.startswith(f"{field}: {text!r} is not allowed: ")
    assert allowed in line


def test_text_that_is_none_at_all() -> None:
    with pytest.raises(UsageError, match=r"delay: 250 is not allowed: one of constant"):
        parse_law(250, "delay")  # type: ignore[arg-type]


def test_every_spelling_has_one_text_form() -> None:
    spellings = ("normal(250,50)", "normal(250.0, 50)", " normal( 2.5e2,50.00 )")
    assert {str(parse_law(text, "delay")) for text in spellings} == {"normal(250,50)"}
    assert str(parse_law("gamma", "jitter")) == "gamma(2)"
    assert str(parse_law("none", "jitter")) == "none"


@given(name=st.sampled_from(sorted(DELAY_LAWS)), data=st.data())
def test_text_form_reads_back(name: str, data: st.DataObject) -> None:
    sizes = st.floats(1.001, 1e6)
    values = data.draw(st.lists(sizes, min_size=len(DELAY_LAWS[name]), max_size=len(DELAY_LAWS[name])))
    if name == "uniform":
        values = [values[0], math.nextafter(values[0], math.inf) + values[1]]
    law = Law(name, tuple(values))
    assert parse_law(str(law), "delay") == law


def test_the_file_of_a_law() -> None:
    assert [law_file(law) for law in ("empirical( a (1).csv )", "normal(1,2)", "empirical", None)] == ["a (1).csv", "", "", ""]
    assert from_folder("empirical(a.csv)", Path("up")) == f"empirical({Path('up', 'a.csv')})"
    assert from_folder("empirical(/a.csv)", Path("up")) == "empirical(/a.csv)"
    assert [from_folder(law, Path("up")) for law in ("gamma(2)", 5)] == ["gamma(2)", 5]
    text = str(parse_law(" empirical( a (1).csv )", "delay"))
    assert parse_law(text, "delay") == Law("empirical", file="a (1).csv")


def test_every_jitter_law_has_a_bare_form() -> None:
    for name, parameters in JITTER_LAWS.items():
        law = parse_law(name, "jitter")
        assert len(law.params) == len(parameters)
        assert parse_law(str(law), "jitter") == law
