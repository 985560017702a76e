"""Laws of message delay and jitter, read from text such as ``normal(250, 50)`` or ``empirical(delays.csv)``."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from prsm_scale.errors import UsageError, did_you_mean

LawField = Literal["jitter", "delay"]

EMPIRICAL = "empirical"
"""The law whose values stand in a file: any other law, as a table of its values."""

_FORM = re.compile(r"\s*([a-z_]+)\s*(?:\(([^()]*)\))?\s*")
_FILE_FORM = re.compile(rf"\s*{EMPIRICAL}\s*\(\s*(.*\S)\s*\)\s*")


@dataclass(frozen=True)
class Parameter:
    """One parameter of a law.

    Attributes
    ----------
    name
        What it is called; milliseconds where it is a mean, a deviation or a limit of a delay.
    above
        Values must exceed this, or may equal it where `closed`.
    closed
        Whether `above` itself is allowed.
    default
        Value of a bare name, None where the parameter must be given.
    """

    name: str
    above: float = 0.0
    closed: bool = False
    default: float | None = None

    @property
    def allowed(self) -> str:
        """The allowed values in words."""
        bound = f"{self.above:g} or more" if self.closed else f"more than {self.above:g}"
        return f"{self.name} {bound}"

    def admits(self, value: float) -> bool:
        """Whether `value` lies in the parameter's range."""
        return math.isfinite(value) and (value > self.above or (self.closed and value == self.above))


_MEAN = Parameter("mean")

JITTER_LAWS: dict[str, tuple[Parameter, ...]] = {
    "none": (),
    "exponential": (),
    "normal": (Parameter("cv", default=0.5),),
    "lognormal": (Parameter("sigma", default=0.5),),
    "gamma": (Parameter("shape", default=2.0),),
    "pareto": (Parameter("shape", above=1.0, default=3.0),),
}
"""Laws of mean 1 (``none``: 0), which the link's base delay and the jitter fraction scale."""

DELAY_LAWS: dict[str, tuple[Parameter, ...]] = {
    "constant": (Parameter("c", closed=True),),
    "uniform": (Parameter("a", closed=True), Parameter("b", closed=True)),
    "exponential": (_MEAN,),
    "normal": (_MEAN, Parameter("sd")),
    "lognormal": (_MEAN, Parameter("sigma")),
    "gamma": (_MEAN, Parameter("shape")),
    "pareto": (_MEAN, Parameter("shape", above=1.0)),
}
"""Laws of the whole one-way delay, in milliseconds."""


@dataclass(frozen=True)
class Law:
    """A named distribution with its parameters, in the order of `JITTER_LAWS` or `DELAY_LAWS`.

    Attributes
    ----------
    name
        Name of the law.
    params
        Its parameters. Normal laws are truncated at 0, their parameters being those before truncation;
        ``sigma`` is the standard deviation of the logarithm, ``cv`` deviation over mean.
    file
        Path of the file that holds the values of an empirical law; empty for all others.
    """

    name: str
    params: tuple[float, ...] = ()
    file: str = ""

    def __str__(self) -> str:
        """Spell the law in its shortest form."""
        if self.file:
            return f"{self.name}({self.file})"
        if not self.params:
            return self.name
        return f"{self.name}({','.join(repr(value).removesuffix('.0') for value in self.params)})"


def parse_law(text: str, field: LawField) -> Law:
    """Read a law from text.

    Parameters
    ----------
    text
        A name, with its parameters in parentheses: ``none``, ``gamma(2)``, ``uniform(50, 100)``. As jitter, a
        bare name takes the default shape. ``empirical(FILE)`` takes each value in a file as likely as any other.
    field
        Which laws to accept: those of mean 1 for ``"jitter"`` (`JITTER_LAWS`), those in milliseconds for
        ``"delay"`` (`DELAY_LAWS`).

    Returns
    -------
    Law
        Its text form is the same for every spelling of the same law.

    Raises
    ------
    UsageError
        For an unknown law, a wrong number of parameters, or one out of range.

    Examples
    --------
    >>> str(parse_law("normal(250.0, 50)", "delay"))
    'normal(250,50)'
    >>> parse_law("gamma", "jitter")
    Law(name='gamma', params=(2.0,))
    """
    laws = JITTER_LAWS if field == "jitter" else DELAY_LAWS
    if file := law_file(text):
        return Law(EMPIRICAL, file=file)
    match = _FORM.fullmatch(text) if isinstance(text, str) else None
    if match is None or match.group(1) not in laws:
        given = match.group(1) if match else text
        forms = ", ".join(signature(name, parameters) for name, parameters in laws.items())
        in_file = f"{EMPIRICAL}(FILE)"
        raise UsageError(field, text, f"one of {forms}, {in_file}{did_you_mean(given, [*laws, in_file])}")
    name, inside = match.groups()
    parameters = laws[name]
    if inside is None and all(parameter.default is not None for parameter in parameters):
        return Law(name, tuple(parameter.default or 0.0 for parameter in parameters))
    values = _numbers(inside or "")
    if values is None or len(values) != len(parameters):
        raise UsageError(field, text, signature(name, parameters))
    outside = [p.allowed for p, value in zip(parameters, values, strict=True) if not p.admits(value)]
    if outside:
        raise UsageError(field, text, ", ".join(outside))
    if name == "uniform" and values[0] >= values[1]:
        raise UsageError(field, text, "uniform(a, b) with a less than b")
    return Law(name, values)


def law_file(law: Any) -> str:
    """Path of the file that holds the values of a law, given as text; empty where none does."""
    match = _FILE_FORM.fullmatch(law) if isinstance(law, str) else None
    return match.group(1) if match else ""


def from_folder(law: Any, folder: Path) -> Any:
    """Take the file of a law, given as text, from a folder; what has no file stays as it is."""
    file = law_file(law)
    return str(Law(EMPIRICAL, file=str(folder / file))) if file else law


def signature(name: str, parameters: tuple[Parameter, ...]) -> str:
    """Show how a law is written, e.g. ``normal(mean, sd)``."""
    return f"{name}({', '.join(p.name for p in parameters)})" if parameters else name


def _numbers(inside: str) -> tuple[float, ...] | None:
    try:
        return tuple(float(part) for part in inside.split(",")) if inside.strip() else ()
    except ValueError:
        return None
