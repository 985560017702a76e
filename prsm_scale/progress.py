"""How far a run has come."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Progress:
    """How far a sweep has come.

    Attributes
    ----------
    done, total : int
        Scenarios.
    messages : int
        Messages simulated so far.
    messages_per_second : float
    seconds_left : float or None
        None while nothing is known.
    current : str
        What is under way.
    share : float
        Part of the scenario under way that is done.
    """

    done: int
    total: int
    messages: int
    messages_per_second: float
    seconds_left: float | None
    current: str
    share: float
