"""CPU costs and sizes of one's own system, in place of the published ones: ``sign_ms=0.07,verify_ms=0.13``."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Final

from prsm_scale.errors import UsageError, one_of

COSTS: Final = {
    "sign_ms": "to make a signature or MAC",
    "verify_ms": "to check one",
    "aggregate_ms": "to decode a vote's signature and add it to the sum, where votes are aggregated",
    "key_ms": "to add a public key, there",
    "receive_ms": "kernel and network stack, to take one message in",
    "send_ms": "likewise, to send one copy",
    "receive_byte_ms": "to hash and decode a byte received",
    "create_byte_ms": "to encode and hash a byte of a new message",
    "signature_bytes": "size of a signature or MAC",
    "header_bytes": "transport and network headers of a message",
    "message_bytes": "size of every message, in place of what the protocol's table says",
}
"""What may be set, and what it is."""


def parse_costs(given: str | Mapping[str, Any], field: str = "costs") -> dict[str, float]:
    """Read costs from text or from a mapping of names to numbers.

    Parameters
    ----------
    given
        ``"sign_ms=0.07, verify_ms=0.13"``, or the same as a mapping; names are those of `COSTS`.
    field
        Name used in errors.

    Returns
    -------
    dict
        In the order of `COSTS`; sizes in bytes are whole numbers.

    Raises
    ------
    UsageError
        For an unknown name, one that is given twice, or a value that is no number of 0 or more.

    Examples
    --------
    >>> parse_costs("verify_ms=0.13, sign_ms=0.07")
    {'sign_ms': 0.07, 'verify_ms': 0.13}
    """
    pairs = list(given.items()) if isinstance(given, Mapping) else _pairs(given, field)
    found: dict[str, float] = {}
    for name, value in pairs:
        if name not in COSTS:
            raise UsageError(field, name, one_of(COSTS, name))
        if name in found:
            raise UsageError(field, name, "each name once")
        found[name] = _number(name, value, field)
    return {name: found[name] for name in COSTS if name in found}


def spell_costs(costs: Mapping[str, float]) -> str:
    """Write costs as the text that `parse_costs` reads.

    Examples
    --------
    >>> spell_costs({"sign_ms": 0.5, "header_bytes": 28})
    'sign_ms=0.5,header_bytes=28'
    """
    return ",".join(f"{name}={value!r}" for name, value in costs.items())


def _pairs(text: object, field: str) -> list[tuple[str, str]]:
    parts = [part.partition("=") for part in str(text).split(",") if part.strip()]
    if not parts or not all(equals for _, equals, _ in parts):
        raise UsageError(field, text, "names and numbers, as in sign_ms=0.07,verify_ms=0.13")
    return [(name.strip(), value.strip()) for name, _, value in parts]


def _number(name: str, value: object, field: str) -> float:
    whole = name.endswith("_bytes")
    try:
        number = float(value) if isinstance(value, str | int | float) and not isinstance(value, bool) else math.nan
    except ValueError:
        number = math.nan
    if not 0 <= number < math.inf or (whole and number != int(number)):
        raise UsageError(field, f"{name}={value}", f"{name}=NUMBER, {'a whole number' if whole else 'a number'}, 0 or more")
    return int(number) if whole else number
