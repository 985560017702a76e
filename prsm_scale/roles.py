"""What a round asks of the primary and of every other replica."""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

from prsm_scale.protocols import Pattern, Round, Senders, quorum_size
from prsm_scale.views import ASK_ALL


class Roles(NamedTuple):
    """What a round asks, as pairs (of the primary, of each backup)."""

    sends: tuple[bool, bool]
    receives: tuple[bool, bool]
    need: tuple[int, int]
    """Arrivals from others that complete the round."""
    addressed: tuple[int, int]
    """Replicas to which the message goes."""


@lru_cache(maxsize=256)
def roles(step: Round, nodes: int, faults: int) -> Roles:
    """What a round asks where so many of the nodes may be faulty."""
    need = quorum_size(step.quorum, nodes, faults) - step.primary_counts
    primary_own = step.own_counts and step.senders is not Senders.BACKUPS
    backup_own = step.own_counts and step.senders is not Senders.PRIMARY
    to_all = step.pattern in (Pattern.ALL_TO_ALL, Pattern.PRIMARY_TO_ALL)
    others = nodes - 1 if to_all else 1
    return Roles(
        _sends(step), _receives(step), (max(need - primary_own, 0), max(need - backup_own, 0)),
        (0 if step.pattern is Pattern.ALL_TO_PRIMARY else others, others),
    )  # fmt: skip


def _sends(step: Round) -> tuple[bool, bool]:
    if step.senders is Senders.CLIENT:
        return False, False
    leads = step.senders is not Senders.BACKUPS and step.pattern is not Pattern.ALL_TO_PRIMARY
    return leads, step.senders is not Senders.PRIMARY


def _receives(step: Round) -> tuple[bool, bool]:
    if step.pattern is Pattern.ALL_TO_ALL or step is ASK_ALL:
        return True, True
    return step.pattern in (Pattern.CLIENT_TO_PRIMARY, Pattern.ALL_TO_PRIMARY), step.pattern is Pattern.PRIMARY_TO_ALL
