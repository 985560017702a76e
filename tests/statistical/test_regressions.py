"""False alarms and found shifts of a comparison of runs, on simulated rows.

Where every message draws its delay, a seed is another sample of the same system; where links are drawn, it is another system.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd
import pytest

import prsm_scale as ps
from prsm_scale.analysis.compare import compare
from prsm_scale.analysis.differences import difference, estimate_of
from prsm_scale.columns import SCENARIO_COLUMNS
from prsm_scale.store import frame

rng = np.random.default_rng(5)
SAMPLES = 60
NODES = (4, 7)
LOSSY = {"loss": 0.05, "operation_timeout_ms": 60.0}


@dataclass
class Rows:
    scenarios: pd.DataFrame


def samples(nodes, low=1.0, high=5.0, count=SAMPLES, first=0, **settings):
    law = {"delay": f"uniform({low},{high})"} | settings
    scenarios = [dict(nodes=nodes, seed=seed, network="lan", operations=400, **law) for seed in range(first, first + count)]
    return [ps.simulate(**scenario).row | {"run_id": "r"} for scenario in scenarios]


@pytest.fixture(scope="module")
def calm():
    return {nodes: samples(nodes) for nodes in NODES}


def as_run(rows, version, scenarios=None):
    """Rows as if all had one seed, of another version, and of the same scenarios as other rows."""
    texts = [one["scenario"] for one in scenarios or rows]
    told = [row | {"seed": 0, "version": version, "scenario": text} for row, text in zip(rows, texts, strict=True)]
    return Rows(frame(told, SCENARIO_COLUMNS))


def pairs(rows, count):
    """Runs of one row for each n, two by two without a change."""
    for _ in range(count):
        chosen = [rng.choice(len(each), 2, replace=False) for each in rows.values()]
        yield tuple(
            as_run([each[at[side]] for each, at in zip(rows.values(), chosen, strict=True)], version)
            for side, version in ((0, "1"), (1, "2"))
        )


def alarms(found):
    return len(found.regressions) + len(found.improvements)


@pytest.mark.parametrize("settings", [{}, LOSSY], ids=["calm", "lossy"])
def test_runs_without_a_change_raise_an_alarm_in_one_of_a_hundred(calm, settings):
    rows = {nodes: samples(nodes, **settings) for nodes in NODES} if settings else calm
    count = 200
    raised = sum(alarms(compare(before, after)) > 0 for before, after in pairs(rows, count))
    # pairs share rows: as many independent ones as there are disjoint pairs bound the error
    assert raised / count <= 0.01 + 4 * np.sqrt(0.01 * 0.99 / (SAMPLES / 2))
    careless = sum(alarms(compare(before, after, tolerance=0.0, level=0.5)) > 0 for before, after in pairs(rows, 40))
    assert careless > 10


@pytest.mark.parametrize(("shift", "share"), [(1.1, 1.0), (1.005, 0.0)])
def test_planted_shifts_of_all_delays(calm, shift, share):
    """Ten per cent are found nearly always in 400 operations, half a per cent never."""
    shifted = {nodes: samples(nodes, 1.0 * shift, 5.0 * shift, 30, first=1000) for nodes in NODES}
    found = []
    for at in range(30):
        before, after = (
            as_run([each[nodes][at] for nodes in NODES], version, [calm[nodes][0] for nodes in NODES])
            for each, version in ((calm, "1"), (shifted, "2"))
        )
        worse = {(change.row["node_count"], change.metric) for change in compare(before, after).regressions}
        found.append({(nodes, "mean_latency_ms") for nodes in NODES} <= worse)
        assert not compare(before, after).improvements
        better = {change.metric for change in compare(after, before).improvements}
        assert ("mean_latency_ms" in better) == bool(worse)
    assert np.mean(found) == pytest.approx(share, abs=0.1)


def test_a_planted_loss_of_success_is_found():
    before, after = (
        samples(4, count=20, first=first, loss=loss, operation_timeout_ms=60.0) for first, loss in ((400, 0.02), (450, 0.06))
    )
    found = 0
    for one, other in zip(before, after, strict=True):
        metrics = {change.metric for change in compare(as_run([one], "1"), as_run([other], "2", [one])).regressions}
        found += "success_rate" in metrics
    assert found >= 18


@pytest.fixture(scope="module")
def drawn():
    return samples(4, count=48, delay=None)


class TestDrawnLinks:
    """Links drawn from 1 to 5 ms: a seed is another system, and a row's interval tells nothing of that."""

    def groups(self, rows, size, version):
        return [
            Rows(frame([row | {"version": version} for row in rows[at : at + size]], SCENARIO_COLUMNS))
            for at in range(0, 48, size)
        ]

    def test_intervals_alone_would_be_fooled(self, drawn):
        metric = "mean_latency_ms"
        chances = [
            difference(estimate_of(one, metric), estimate_of(other, metric)).p
            for one, other in zip(drawn, drawn[1:], strict=False)
        ]
        assert np.mean(np.array(chances) < 1e-3) > 0.5

    @pytest.mark.parametrize("size", [2, 3, 4])
    def test_several_seeds_raise_no_alarm(self, drawn, size):
        runs = self.groups(drawn, size, "1")
        found = [compare(one, other) for one, other in zip(runs, runs[1:], strict=False)]
        assert sum(map(alarms, found)) == 0
        assert all(change.p is not None for one in found for change in one.changes if change.metric == "mean_latency_ms")

    def test_a_planted_shift_is_found(self, drawn):
        slow = {name: drawn[0][name] for name in ("scenario", "version")}
        late = [row | slow for row in samples(4, count=8, first=100, delay=None, delay_min_ms=2.0, delay_max_ms=10.0)]
        found = compare(Rows(frame(drawn[:8], SCENARIO_COLUMNS)), Rows(frame(late, SCENARIO_COLUMNS)))
        worse = {change.metric for change in found.regressions}
        assert "mean_latency_ms" in worse
        assert not found.improvements
