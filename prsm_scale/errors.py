"""Errors that prsm-scale raises on purpose; anything else that escapes is a bug."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from pathlib import Path

_LONGEST_VALUE, _END = 80, 54


class PrsmScaleError(Exception):
    """Something failed for a reason that one line can tell; the command line exits with 1."""

    exit_code = 1

    @property
    def lines(self) -> list[str]:
        """The messages, one line each."""
        return [" ".join(str(self).split())]


class UsageError(PrsmScaleError, ValueError):
    """Input that is not allowed; the command line exits with 2.

    Parameters
    ----------
    field
        Name of the field, option or file at fault.
    value
        What was given.
    allowed
        What would have been accepted, as text that completes "is not allowed: ...".
    also
        Further faults of the same input, reported with this one.
    """

    exit_code = 2

    def __init__(self, field: str, value: object, allowed: str, also: Iterable[UsageError] = ()) -> None:
        self.field = field
        self.value = value
        self.allowed = allowed
        self.also = tuple(also)
        # All arguments go to Exception so that the error survives pickling between processes.
        super().__init__(field, value, allowed, self.also)

    @classmethod
    def gather(cls, faults: Iterable[UsageError]) -> UsageError:
        """Make one error of at least one fault, dropping faults that read the same."""
        first, *rest = {str(fault): fault for group in faults for fault in group.faults}.values()
        return cls(first.field, first.value, first.allowed, rest)

    @property
    def faults(self) -> tuple[UsageError, ...]:
        """Every fault on its own, this one first."""
        return (UsageError(self.field, self.value, self.allowed), *self.also)

    @property
    def lines(self) -> list[str]:
        """One line for each fault."""
        return [f"{one.field}: {_short(one.value)} is not allowed: {one.allowed}" for one in self.faults]

    def __str__(self) -> str:
        """Join the lines."""
        return "\n".join(self.lines)


class SweepInterrupted(KeyboardInterrupt):
    """Ctrl-C during a sweep whose finished scenarios are on disk.

    Parameters
    ----------
    path
        Folder of the run, from which it can be resumed.
    done, total
        Scenarios finished, and scenarios of the sweep.
    """

    def __init__(self, path: Path, done: int, total: int) -> None:
        self.path = path
        self.done = done
        self.total = total
        super().__init__(path, done, total)


def file_name(field: str, value: object) -> str:
    """Check that a value can be the name of a file or a folder anywhere.

    Raises
    ------
    UsageError
        If it cannot.
    """
    if not isinstance(value, str) or not re.fullmatch(r"\w[\w.-]*", value):
        raise UsageError(field, value, "letters, digits, '_', '-' and '.', not starting with '-' or '.'")
    return value


def one_of(choices: Iterable[str], given: object = None) -> str:
    """Say which values are allowed, with the nearest one where `given` looks like a slip of the pen.

    Examples
    --------
    >>> one_of(["mesh", "star"], "msh")
    "one of mesh, star (did you mean 'mesh'?)"
    """
    names = [str(name) for name in choices]
    return f"one of {', '.join(names)}{did_you_mean(given, names)}"


def did_you_mean(given: object, names: Iterable[str]) -> str:
    """Name the nearest of `names` in parentheses, or return empty text where none is near."""
    near = difflib.get_close_matches(str(given).lower(), [str(name) for name in names], n=1)
    return f" (did you mean {near[0]!r}?)" if near else ""


def _short(value: object) -> str:
    """Write a value in 80 characters, of a long one its beginning and its end, where a path has its name."""
    text = " ".join(repr(value).split())
    return text if len(text) <= _LONGEST_VALUE else f"{text[: _LONGEST_VALUE - 3 - _END]}...{text[-_END:]}"
