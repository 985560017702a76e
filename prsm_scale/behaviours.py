"""The words for what faulty replicas do, and who is primary."""

from __future__ import annotations

from enum import StrEnum

from prsm_scale.errors import UsageError, one_of


class Behaviour(StrEnum):
    """What a faulty replica does."""

    SILENT = "silent"
    DELAY = "delay"
    EQUIVOCATE = "equivocate"
    FLOOD = "flood"
    DROP_RELAY = "drop_relay"


class PrimaryPolicy(StrEnum):
    """Who is the primary of an operation in a view."""

    STABLE = "stable"
    ROTATING = "rotating"


def parse_behaviour(text: str) -> dict[Behaviour, float]:
    """Shares of behaviours, as in ``silent:0.5,equivocate:0.5``; one without a share stands alone.

    Raises
    ------
    UsageError
        If a behaviour is unknown or comes twice, or shares are no numbers from 0 to 1 that add up to 1.
    """
    shares: dict[Behaviour, float] = {}
    for part in str(text).split(","):
        name, _, share = part.strip().partition(":")
        if name not in list(Behaviour):
            raise UsageError("behaviour", text, f"{one_of(Behaviour, name)}, or several with shares, as in silent:0.5,flood:0.5")
        if Behaviour(name) in shares:
            raise UsageError("behaviour", text, "each behaviour once")
        try:
            shares[Behaviour(name)] = float(share) if share else 1.0
        except ValueError:
            raise UsageError("behaviour", text, "shares as numbers, as in silent:0.5,flood:0.5") from None
    if not all(0.0 <= share <= 1.0 for share in shares.values()) or abs(sum(shares.values()) - 1.0) > 1e-9:
        raise UsageError("behaviour", text, "shares from 0 to 1 that add up to 1, as in silent:0.5,flood:0.5")
    return shares


def spell_behaviour(shares: dict[Behaviour, float]) -> str:
    """Write shares as `parse_behaviour` reads them, in one spelling."""
    if len(shares) == 1:
        return str(next(iter(shares)))
    return ",".join(f"{name}:{share:g}" for name, share in shares.items())
