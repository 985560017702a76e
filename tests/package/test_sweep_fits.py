"""Rows of fitted curves: grouping of scenarios, left-out points, flags, and what the file can hold."""

import numpy as np
import pandas as pd
import pytest

from prsm_scale.analysis.sweep_fits import fit_scenarios
from prsm_scale.columns import FIT_COLUMNS, GROUP_COLUMNS, SCENARIO_COLUMNS, validate_rows
from prsm_scale.store import frame

NODES = np.array([10, 20, 40, 80, 160, 320, 640, 1000])
SAMPLES = {"string": "x", "bool": True, "int32": 1, "int64": 7, "float64": 0.5}


def noisy(values, relative_error):
    return values * np.exp(relative_error * np.random.default_rng(0).standard_normal(len(values)))


def scenarios(**columns):
    """A table of scenarios, one for each of NODES unless a column says otherwise."""
    length = max(len(values) for values in columns.values())
    base = {column.name: SAMPLES[column.dtype] for column in SCENARIO_COLUMNS}
    rows = [base | {name: values[place] for name, values in columns.items()} for place in range(length)]
    return frame(rows, SCENARIO_COLUMNS)


def pbft_like(nodes=NODES, **columns):
    latency = noisy(200 + 0.3 * nodes, 0.003)
    return scenarios(
        node_count=nodes.tolist(),
        saturation_ops_per_second=noisy(5e4 / nodes, 0.01),
        mean_latency_ms=latency,
        mean_latency_low_ms=0.99 * latency,
        mean_latency_high_ms=1.01 * latency,
        **columns,
    )


class TestFitScenarios:
    def test_rows_of_a_sweep(self):
        rows = validate_rows(fit_scenarios(pbft_like()), FIT_COLUMNS)
        assert [(row["quantity"], row["law"], row["chosen"]) for row in rows] == [
            ("saturation_ops_per_second", "power", True),
            ("saturation_ops_per_second", "usl", False),
            ("mean_latency_ms", "power", False),
            ("mean_latency_ms", "logarithmic", False),
            ("mean_latency_ms", "linear", True),
        ]
        power, law, *_, linear = rows
        assert power["exponent"] == pytest.approx(-1, abs=0.01)
        assert power["exponent_low"] < power["exponent"] < power["exponent_high"]
        assert power["delta_aicc"] == 0 < law["delta_aicc"]
        assert power["grid_n"] == 20
        assert power["efficiency_tier"] == "poor"
        assert "peak_outside_data" in law["flags"]
        assert linear["degraded_n"] == pytest.approx(349, rel=0.03)
        assert linear["degraded_n_low"] < linear["degraded_n"] < linear["degraded_n_high"]
        assert linear["explosion_n"] == pytest.approx(1367, rel=0.03)
        assert linear["flags"] == "explosion_outside_data"
        assert linear["grid_n"] == 640
        assert (linear["points"], linear["nodes_min"], linear["nodes_max"]) == (8, 10, 1000)

    def test_each_group_has_its_own_curves(self):
        both = pd.concat([pbft_like(topology=["star"] * 8), pbft_like(topology=["ring"] * 8)])
        rows = fit_scenarios(both.sample(frac=1, random_state=0))
        alone = fit_scenarios(pbft_like(topology=["ring"] * 8))
        assert len(rows) == 10
        assert sorted(map(str, (row for row in rows if row["topology"] == "ring"))) == sorted(map(str, alone))

    @pytest.mark.parametrize("axis", [name for name in GROUP_COLUMNS if name not in ("run_id",)])
    def test_every_axis_separates(self, axis):
        table = pd.concat([pbft_like(NODES[:2]), pbft_like(NODES[2:4])], ignore_index=True)
        kind = type(table[axis][0])
        table[axis] = [kind(value) for value in (1, 1, 2, 2)]
        assert {row["points"] for row in fit_scenarios(table)} == {2}

    def test_scenarios_without_a_result_are_left_out_and_flagged(self):
        table = pbft_like()
        table.loc[7, ["saturation_ops_per_second", "mean_latency_ms", "mean_latency_low_ms"]] = np.nan
        rows = fit_scenarios(table)
        assert all(row["flags"].startswith("missing_points") for row in rows)
        assert {(row["points"], row["nodes_max"]) for row in rows} == {(7, 640)}

    def test_zero_throughput_is_no_point(self):
        table = pbft_like()
        table.loc[0, "saturation_ops_per_second"] = 0.0
        assert fit_scenarios(table)[0]["nodes_min"] == 20

    def test_group_without_results_has_no_rows(self):
        table = pbft_like()
        table[["saturation_ops_per_second", "mean_latency_ms"]] = np.nan
        assert fit_scenarios(table) == []

    def test_single_scenario_has_no_rows(self):
        assert fit_scenarios(pbft_like(NODES[:1])) == []

    def test_empty_table_has_no_rows(self):
        assert fit_scenarios(frame([], SCENARIO_COLUMNS)) == []

    def test_two_scenarios(self):
        rows = validate_rows(fit_scenarios(pbft_like(NODES[:2])), FIT_COLUMNS)
        assert not any(row["chosen"] for row in rows)
        assert all("too_few_points" in row["flags"] for row in rows)
        assert all(row["aicc"] is None for row in rows)

    def test_latency_above_capacity_is_flagged(self):
        rows = fit_scenarios(pbft_like(utilisation=[0.5] * 7 + [1.2]))
        assert [("overloaded_points" in row["flags"]) for row in rows] == [False, False, True, True, True]

    def test_flat_latency(self):
        table = pbft_like()
        table["mean_latency_ms"] = 200.0
        for row in fit_scenarios(table)[2:]:
            assert row["degraded_n"] is None
            assert "no_degraded_n" in row["flags"]
