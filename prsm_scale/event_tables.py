"""Systems as the events engine takes them: a protocol's rounds by role, and what replicas do about faults."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from prsm_kernels import stream_key
from prsm_kernels.codes import AMONG_REPLICAS, TO_CLIENT, TO_PRIMARY
from prsm_kernels.event_types import EventFaults, EventScript, EventTable
from prsm_kernels.rng import DOMAIN_OPERATION, seed_words
from prsm_scale.behaviours import PrimaryPolicy
from prsm_scale.faults import DELAY, DROP_RELAY, EQUIVOCATE, FLOOD, HONEST, sides
from prsm_scale.protocols import Pattern
from prsm_scale.roles import roles
from prsm_scale.system import System
from prsm_scale.view_change import Timing
from prsm_scale.views import NEW_VIEW, VIEW_CHANGE

_KINDS = {Pattern.CLIENT_TO_PRIMARY: TO_PRIMARY, Pattern.ALL_TO_CLIENT: TO_CLIENT}


def event_table(system: System, replicate: int) -> EventTable:
    """A system's rounds, and those of a view change, as the events engine takes them."""
    plan, n = system.plan, system.alive.size
    steps = [*plan.protocol.rounds, VIEW_CHANGE, NEW_VIEW]
    jobs = [*plan.jobs, plan.views.change, plan.views.new_view]
    kind = np.array([_KINDS.get(step.pattern, AMONG_REPLICAS) for step in steps], np.int32)
    asked = [roles(step, n, plan.faults) for step in steps]
    receives = np.array([one.receives for one in asked], np.uint8)
    need = np.array([one.need for one in asked], np.int32) * receives
    need[kind == TO_CLIENT] = 0

    def times(name: str) -> NDArray[np.float64]:
        return np.array([getattr(job, name) for job in jobs], np.float64)

    seed, rounds = plan.scenario.seed, len(plan.protocol.rounds)
    checks = times("quorum_ms").astype(np.float32)[:, None] * (need > 0)
    return EventTable(
        kind=kind,
        bytes=times("size_bytes").astype(np.float32).astype(np.float64),
        sign_ms=times("create_ms"),
        send_ms=times("send_ms"),
        receive_ms=times("receive_ms"),
        transit_ms=times("transit_ms"),
        quorum_ms=checks.astype(np.float64),
        need=need.astype(np.int32),
        sends=np.array([one.sends for one in asked], np.uint8),
        receives=receives,
        addressed=np.array([one.addressed for one in asked], np.int32),
        keys=np.array([stream_key(seed, DOMAIN_OPERATION, r) for r in range(rounds)], np.uint32),
        seed=np.array(seed_words(seed), np.uint32),
        slow=plan.links.sites.slow.astype(np.float64),
        rounds=rounds,
        commit_round=[step.name for step in plan.protocol.rounds].index(plan.protocol.commit_round),
        commit_need=n - plan.faults,
        client_need=int(system.rounds.client_need),
        rotating=bool(plan.scenario.primary_policy == PrimaryPolicy.ROTATING),
        replicate=replicate,
    )


def event_faults(system: System, timing: Timing | None, script: EventScript | None) -> EventFaults:
    """What replicas of a system do about faults.

    Parameters
    ----------
    system : System
    timing : Timing or None
        None where no time-outs run.
    script : EventScript or None
    """
    plan, behaviour = system.plan, system.behaviour
    equivocates = behaviour == EQUIVOCATE
    primaries = [np.flatnonzero(equivocates == split) for split in (False, True)]
    # without a primary of the kind, its line is not read
    lines = [sides(behaviour, int(some[0])) if some.size else np.ones_like(behaviour, np.uint8) for some in primaries]
    views = plan.views
    hashing_ms = views.certificate_bytes * views.byte_ms
    timing = timing or Timing(np.inf, np.inf, 0.0)
    return EventFaults(
        view_timeout_ms=float(timing.view_timeout_ms),
        client_timeout_ms=float(timing.client_timeout_ms),
        joins=plan.faults + 1,
        quorum=plan.quorum,
        certificate_bytes=float(views.certificate_bytes),
        certificate_ms=np.array([views.certificate_ms + hashing_ms, hashing_ms]),
        certificate_sign_ms=float(views.certificate_bytes * views.create_byte_ms),
        honest=(behaviour == HONEST).astype(np.uint8),
        equivocates=equivocates.astype(np.uint8),
        side=np.array(lines, np.uint8),
        drops=(behaviour == DROP_RELAY).astype(np.uint8),
        invalid=np.where(behaviour == FLOOD, plan.scenario.flood_factor, 0).astype(np.int32),
        hold_ms=np.where(behaviour == DELAY, timing.hold_ms, 0.0),
        script=script or _quiet(behaviour.size),
    )


def _quiet(nodes: int) -> EventScript:
    """A script in which nothing happens."""
    nothing = np.zeros((1, nodes))
    return EventScript(
        at_ms=np.zeros(1), alive=np.ones((1, nodes), np.uint8), slow=nothing + 1.0, group=nothing.astype(np.int32),
        hold_ms=nothing, loss=np.zeros(1, np.float32), delay_ms=np.zeros(1),
    )  # fmt: skip
