"""Ladder (a): scenarios whose results are known in closed form."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from prsm_scale.config import Scenario
from prsm_scale.ladders.checks import EXACT, Check, Estimate, relative_error, standard_errors_bar
from prsm_scale.ladders.quantities import METRICS, predicted
from prsm_scale.ladders.tasks import Simulate, Task, about
from prsm_scale.protocols import (
    FaultModel,
    Pattern,
    Protocol,
    QuorumLaw,
    Round,
    Senders,
    fault_threshold,
    quorum,
)

LADDER: Final = "closed_forms"
# A window means nothing to operations one at a time, and a small one makes it quick to find what the system can do.
_ALONE: Final[dict[str, Any]] = {"rate": 0, "window": 4}
_IDEAL: Final[dict[str, Any]] = {"network": "ideal", "free_cpu": True}
_COPY_MS: Final = 8.0
"""A proposal of 100 kB on an uplink of 100 Mbit/s."""


@dataclass(frozen=True)
class Form:
    """A result that is known.

    Attributes
    ----------
    case, group : str
        What is known, and what kind of thing it is.
    metric : str
        Quantity, one of `prsm_scale.ladders.quantities.METRICS`.
    value : float
        Its value.
    settings : dict
        Of the scenario.
    drawn : bool
        Whether the prediction is a mean over draws, which is held to its standard errors.
    """

    case: str
    group: str
    metric: str
    value: float
    settings: dict[str, Any]
    drawn: bool = False


def one_round(faults: FaultModel) -> Protocol:
    """A table whose replicas commit what the primary proposes: the commit time is an order statistic of its copies."""
    rounds = (
        Round("request", Pattern.CLIENT_TO_PRIMARY, Senders.CLIENT, lambda inputs: 1, QuorumLaw.ONE, per_request=True),
        Round("propose", Pattern.PRIMARY_TO_ALL, Senders.PRIMARY, lambda inputs: 100_000, QuorumLaw.ONE, own_counts=True),
        Round("reply", Pattern.ALL_TO_CLIENT, Senders.ALL, lambda inputs: 1, QuorumLaw.F_PLUS_ONE, per_request=True),
    )
    return Protocol(f"one_round_{faults}", rounds, "propose", faults)


def _counts() -> Iterator[Form]:
    for n in (4, 7, 10, 31, 64):
        settings = {"nodes": n, "operations": 16, **_ALONE}
        yield Form(f"2n(n-1), n = {n}", "messages", "message_count", 2.0 * n * (n - 1), settings)
        yield Form(f"4n-2 at the primary, n = {n}", "messages", "messages_per_replica", 4.0 * n - 2, settings)


def _constant_delays() -> Iterator[Form]:
    for n in (4, 31, 64):
        settings = {"nodes": n, "operations": 16, "delay": "constant(250)", "client_site": 0, **_IDEAL, **_ALONE}
        yield Form(f"3 delays of 250 ms, n = {n}", "delays", "mean_commit_ms", 750.0, settings)
        yield Form(f"with the reply 4, n = {n}", "delays", "mean_latency_ms", 1000.0, settings)
    star = {"nodes": 7, "operations": 16, "delay": "constant(250)", "topology": "star", "dissemination": "routed"}
    yield Form("5 delays by way of a hub, n = 7", "delays", "mean_commit_ms", 1250.0, star | _IDEAL | _ALONE)


def _bounds() -> Iterator[Form]:
    for n in (4, 12):
        spare = n - quorum(n, fault_threshold(n))
        for beyond in (0, 1):
            settings = {"nodes": n, "operations": 64, "placement": list(range(1, spare + beyond + 1)), **_ALONE}
            yield Form(f"{spare + beyond} of {n} silent", "quorums", "success_rate", 1.0 - beyond, settings)


def _order_statistics() -> Iterator[Form]:
    low, high = 100.0, 300.0
    for n in (4, 10, 40):
        for faults in FaultModel:
            k = n - fault_threshold(n, faults) - 1
            settings = {"nodes": n, "operations": 40_000, "delay": f"uniform({low:g},{high:g})", **_IDEAL, **_ALONE}
            mean = low + (high - low) * k / n
            yield Form(
                f"{k} of {n - 1} uniform({low:g}, {high:g})", "order statistics", "mean_commit_ms", mean,
                settings | {"protocol": one_round(faults)}, drawn=True,
            )  # fmt: skip


def _uplink() -> Iterator[Form]:
    line = {**_IDEAL, "delay": "constant(20)", "bandwidth_mbps": 100.0, "protocol": one_round(FaultModel.BYZANTINE)}
    for n in (4, 40):
        k = n - fault_threshold(n) - 1
        settings = {**line, "nodes": n, "operations": 16, **_ALONE}
        yield Form(f"copy {k} of 100 kB, 100 Mbit/s", "uplink", "mean_commit_ms", 20.0 + _COPY_MS * k, settings)
    for rho in (0.3, 0.7):
        service = 3 * _COPY_MS
        wait = rho * service / (2.0 * (1.0 - rho))
        settings = {**line, "nodes": 4, "operations": 80_000, "rate": 1000.0 * rho / service}
        mean = 20.0 + 2 * _COPY_MS + wait
        yield Form(f"M/D/1 at the uplink, load {rho:g}", "uplink", "mean_commit_ms", mean, settings, drawn=True)


FORMS: Final = (_counts, _constant_delays, _bounds, _order_statistics, _uplink)


def tasks(engines: Iterable[str]) -> list[Task]:
    """One task for each form and engine."""
    forms = [form for make in FORMS for form in make()]
    return [Task(f"{form.case}, {engine}", partial(_run, form, engine)) for form in forms for engine in engines]


def _run(form: Form, engine: str, simulate: Simulate) -> Iterable[Check]:
    scenario = Scenario(**form.settings, engine=engine)
    known, found = Estimate.exact(form.value), predicted(simulate(scenario), form.metric, METRICS[form.metric])
    found = found or Estimate.exact(0.0)
    bar = standard_errors_bar(found, known) if form.drawn else EXACT
    yield Check(
        LADDER, form.case, form.group, metric=form.metric, unit=METRICS[form.metric], predicted=found, reference=known,
        error=relative_error(found, known), bar=bar, note="bar: four standard errors" if form.drawn else "", **about(scenario),
    )  # fmt: skip
