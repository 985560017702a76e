"""The way of an operation through views, written again from docs/faults.md for the twin of the rounds engine.

Behaviours are words, sides are sets of values, and a way is a list of dicts, one for each round, which `rounds_twin.Cluster`
describes. Where that page leaves it open:

- Who delays, floods or drops is told a value and votes for it like an honest replica, and is dealt to the sides with them.
- Who equivocates under an honest primary goes through the rounds as one on the side of the honest, and its own VIEW-CHANGE counts
  for itself.
- NEW-VIEW counts whoever sends it. In a view that fails, rounds after the first votes are left out.
- All live replicas ask for the next view a time-out after they know of the operation, the primary that failed too.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

Leg = dict[str, Any]
A, B = "A", "B"
REQUEST, PROPOSAL = 0, 1


@dataclass(frozen=True)
class Setting:
    """What decides an operation's way.

    Each of `steps` is a round of the protocol: pattern, senders, quorum (how many), own and primary (whether those count),
    is_commit, and of its messages bytes and CPU ms: receive, sign, send, check (a complete quorum); `change` and `new_view` too.
    """

    behaviour: tuple[str, ...]
    """Of each replica; empty for one that is honest."""
    steps: tuple[dict[str, Any], ...]
    change: dict[str, Any]
    new_view: dict[str, Any]
    quorum: int
    view_timeout_ms: float
    client_timeout_ms: float
    reach: tuple[int, ...]
    """Of each replica: live ones that its messages get to, itself included."""

    @property
    def nodes(self) -> int:
        return len(self.behaviour)

    @property
    def live(self) -> list[int]:
        return self.those(lambda what: what != "silent")

    def those(self, wanted: Any) -> list[int]:
        return [i for i, what in enumerate(self.behaviour) if wanted(what)]


def sides(setting: Setting, primary: int) -> dict[int, set[str]]:
    """Values for which each live replica votes under a primary."""
    liars = setting.those(lambda what: what == "equivocate")
    told = [i for i in setting.live if i not in liars]
    if primary not in liars:
        return {i: {A} if i in told else set() for i in setting.live}
    half = math.ceil(len(told) / 2)
    return {i: {A, B} if i in liars else {A} if i in told[:half] else {B} for i in setting.live}


def serves(setting: Setting, primary: int) -> bool:
    """Whether a view with this primary does not fail."""
    if setting.behaviour[primary] == "equivocate":
        return sum(A in side for side in sides(setting, primary).values()) >= setting.quorum
    return setting.behaviour[primary] != "silent" and setting.reach[primary] >= setting.quorum


def first_serving(setting: Setting) -> int | None:
    return next((p for p in range(setting.nodes) if serves(setting, p)), None)


def rotating_first(setting: Setting, block: int, u: float) -> int:
    """Where a block of operations starts: after one of those that serve, which blocks visit in golden steps from a draw on."""
    serving = [p for p in range(setting.nodes) if serves(setting, p)]
    many = len(serving)
    step = max(1, round(many * (math.sqrt(5) - 1) / 2))
    while math.gcd(step, many) != 1:
        step += 1
    return (serving[(int(u * many) + block * step) % many] + 1) % setting.nodes


def view_messages(
    nodes: int, quorum: int, header_bytes: int, message: Any, auth: Any
) -> tuple[dict[str, float], dict[str, float]]:
    """VIEW-CHANGE and NEW-VIEW with nothing prepared: sizes by the table of docs/faults.md, costs from those of any message.

    `auth` signs; it is Ed25519 under MACs.
    """
    signed = header_bytes + 20 + auth.signature_bytes
    if auth.aggregated:
        certificate, proof = 40 + auth.signature_bytes + math.ceil(nodes / 8), auth.verify_ms + quorum * auth.key_ms
    else:
        certificate, proof = 40 + quorum * auth.signature_bytes, quorum * auth.verify_ms

    def job(size: int, checks: float) -> dict[str, float]:
        return {
            "bytes": size,
            "receive": message.receive_ms + size * message.receive_byte_ms + checks,
            "sign": size * message.create_byte_ms + auth.sign_ms,
            "send": message.send_ms,
            "check": 0.0,
        }

    change = signed + certificate
    return job(change, auth.verify_ms + proof), job(signed + quorum * change, auth.verify_ms)


def leg_of(setting: Setting, r: int, view: int, primary: int) -> Leg:
    """Round r of the protocol, under a primary."""
    step, n, live = setting.steps[r], setting.nodes, setting.live
    backups = [i for i in live if i != primary]
    leaders = [i for i in live if i == primary]
    senders = {"client": [], "primary": leaders, "backups": backups, "all": live}[step["senders"]]
    everyone = list(range(n))
    goals, receivers, kind = {
        "client_to_primary": ([primary], leaders, "to_primary"),
        "primary_to_all": (everyone, backups, "among"),
        "all_to_all": (everyone, live, "among"),
        "all_to_primary": ([primary], leaders, "among"),
        "all_to_client": ([], [], "to_client"),
    }[step["pattern"]]
    if step["pattern"] == "all_to_primary":
        senders = backups
    votes = {"client": everyone, "all": everyone, "primary": [primary], "backups": [j for j in everyone if j != primary]}
    given = {j: int(step["own"] and j in votes[step["senders"]]) + int(step["primary"]) for j in receivers}
    return _leg(
        setting, kind, step, primary, senders, receivers,
        need={j: max(0, step["quorum"] - given[j]) for j in receivers},
        addressed={i: [j for j in goals if j != i] for i in senders},
        sides=sides(setting, primary), stream=r + 64 * view, column=r,
    )  # fmt: skip


def _leg(
    setting: Setting,
    kind: str,
    costs: dict[str, Any],
    primary: int,
    senders: Sequence[int],
    receivers: Sequence[int],
    **more: Any,
) -> Leg:
    """A round on the way; without time-out unless `more` has it."""
    cost = {name: costs[name] for name in ("bytes", "receive", "sign", "send")} | {"quorum": costs["check"]}
    return (
        {"kind": kind, "primary": primary, "senders": senders, "receivers": receivers, "base": None, "timer": 0.0} | cost | more
    )


def way(setting: Setting, first: int) -> list[Leg]:
    """Rounds of an operation whose first primary is `first`: of the views that fail, and of the one that serves."""
    legs, view, primary = [leg_of(setting, REQUEST, 0, first)], 0, first
    while first_serving(setting) is not None and not serves(setting, primary):
        legs += _failed_view(setting, view, primary, len(legs))
        view, primary = view + 1, (primary + 1) % setting.nodes
    return legs + [leg_of(setting, r, view, primary) for r in range(1, len(setting.steps))]


def _failed_view(setting: Setting, view: int, primary: int, place: int) -> list[Leg]:
    """What a view that fails adds to a way: what is sent in it, and the change to the next. `place` is where it begins."""
    n, live, heir = setting.nodes, setting.live, (primary + 1) % setting.nodes
    count, voters = len(setting.steps), _voters(setting)
    others = {i: [j for j in range(n) if j != i] for i in live}
    legs: list[Leg] = []
    known = place - 1
    """Round from whose end replicas wait: they have entered the view, or asked for it."""
    if setting.behaviour[primary] == "equivocate":
        commit = next(r for r, step in enumerate(setting.steps) if step["is_commit"])
        legs += [leg_of(setting, r, view, primary) for r in range(1, min(2, commit) + 1)]
        known = known if view else place
    elif view == 0:
        asked = setting.steps[REQUEST]
        legs.append(
            _leg(setting, "to_all", asked, primary, [], live, need=dict.fromkeys(live, 1), addressed={}, sides=voters,
                 stream=60, column=REQUEST, base=-1, timer=setting.client_timeout_ms)
        )  # fmt: skip
        known = place
    late = {"base": known, "timer": setting.view_timeout_ms * 2**view}
    need = dict.fromkeys(live, setting.quorum - 1)
    stream = 62 + 64 * view
    legs.append(
        _leg(setting, "among", setting.change, heir, live, live, need=need, addressed=others, sides=voters,
             stream=stream, column=count, **late)
    )  # fmt: skip
    if serves(setting, heir) or setting.behaviour[heir] == "equivocate":
        backups = [i for i in live if i != heir]
        legs.append(
            _leg(setting, "among", setting.new_view, heir, [heir], backups, need=dict.fromkeys(backups, 1), addressed=others,
                 sides={i: {A} for i in live}, stream=stream + 1, column=count + 1)
        )  # fmt: skip
    return legs


def _voters(setting: Setting) -> dict[int, set[str]]:
    """Whose VIEW-CHANGEs count."""
    return {i: set() if setting.behaviour[i] == "equivocate" else {A} for i in setting.live}
