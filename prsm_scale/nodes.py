"""The grammar of node counts: ``10,20,40``, ``10..1000``, ``10..1000:50``, ``10..1000/12``."""

from __future__ import annotations

import re
from collections.abc import Iterable
from itertools import takewhile
from numbers import Integral

from prsm_scale.errors import UsageError

FEWEST_NODES = 4
"""PBFT tolerates its first fault with four replicas."""
MOST_NODES = 1_000_000
MOST_POINTS = 10_000

_GRAMMAR = "a number (10), list (10,20,40), range (10..1000), step (10..1000:50) or points (10..1000/12)"
_COUNTS = f"whole numbers from {FEWEST_NODES} to {MOST_NODES}"
_RANGE = re.compile(r"([0-9]{1,9})\s*\.\.\s*([0-9]{1,9})(?:\s*([:/])\s*([0-9]{1,9}))?")

NodesSpec = str | int | Iterable[str | int]


def parse_nodes(spec: NodesSpec, field: str = "nodes") -> tuple[int, ...]:
    """Turn a node-count specification into the counts to simulate.

    Parameters
    ----------
    spec
        A whole number, text in the grammar below, or an iterable of either. Commas separate parts of text:

        ``10``
            one count;
        ``10..1000``
            each count twice the last, the end always included;
        ``10..1000:50``
            linear steps, not passing the end;
        ``10..1000/12``
            twelve log-spaced counts, both ends included; counts that round to the same number merge.
    field
        Name used in errors.

    Returns
    -------
    tuple of int
        The counts, sorted, each once.

    Raises
    ------
    UsageError
        For text outside the grammar, a range that falls, or a count outside 4 to 1 000 000.

    Examples
    --------
    >>> parse_nodes("10..1000")
    (10, 20, 40, 80, 160, 320, 640, 1000)
    >>> parse_nodes("4,16,64..256")
    (4, 16, 64, 128, 256)
    """
    counts = sorted(set(_counts(spec, field)))
    if not counts:
        raise UsageError(field, spec, _GRAMMAR)
    if len(counts) > MOST_POINTS:
        raise UsageError(field, spec, f"at most {MOST_POINTS} points")
    return tuple(counts)


def _counts(spec: object, field: str) -> list[int]:
    if isinstance(spec, str):
        return [count for part in spec.split(",") for count in _part(part.strip(), field)]
    if isinstance(spec, Integral) and not isinstance(spec, bool):
        return [_checked(int(spec), spec, field)]
    if isinstance(spec, Iterable) and not isinstance(spec, (bytes, dict)):
        return [count for item in spec for count in _counts(item, field)]
    raise UsageError(field, spec, _GRAMMAR)


def _part(text: str, field: str) -> Iterable[int]:
    if re.fullmatch("[0-9]{1,9}", text):
        return [_checked(int(text), text, field)]
    match = _RANGE.fullmatch(text)
    if match is None:
        raise UsageError(field, text, _GRAMMAR)
    first, last = (_checked(int(end), text, field) for end in match.group(1, 2))
    if first > last:
        raise UsageError(field, text, f"a range that rises ({last}..{first})")
    kind, size = match.group(3), int(match.group(4) or 0)
    if kind == ":":
        return _stepped(first, last, size, text, field)
    if kind == "/":
        return _log_spaced(first, last, size, text, field)
    doubled = takewhile(lambda count: count < last, (first << k for k in range(MOST_NODES.bit_length())))
    return [*doubled, last]


def _stepped(first: int, last: int, step: int, text: str, field: str) -> range:
    if step < 1:
        raise UsageError(field, text, "a step of 1 or more")
    points = range(first, last + 1, step)
    if len(points) > MOST_POINTS:
        raise UsageError(field, text, f"at most {MOST_POINTS} points")
    return points


def _log_spaced(first: int, last: int, points: int, text: str, field: str) -> list[int]:
    if not 2 <= points <= MOST_POINTS:
        raise UsageError(field, text, f"2 to {MOST_POINTS} points")
    ratio = last / first
    inner = (round(first * ratio ** (k / (points - 1))) for k in range(1, points - 1))
    return [first, *inner, last]


def _checked(count: int, given: object, field: str) -> int:
    if not FEWEST_NODES <= count <= MOST_NODES:
        raise UsageError(field, given, _COUNTS)
    return count
