"""Results of scaling tests side by side."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import prsm_scale as ps
from prsm_scale.dashboard import PerformanceDashboard
from prsm_scale.errors import PrsmScaleError, UsageError

QUICK = {"node_counts": [4, 7, 10], "network_topology": "fully_connected", "byzantine_ratios": [0.0, 0.25], "operations": 16}


@pytest.fixture(scope="module")
def result() -> ps.ScalingTestResult:
    return ps.ScalingTestController().run_test(ps.ScalingTestConfig(name="quick", **QUICK))


def test_results_side_by_side(result: ps.ScalingTestResult, tmp_path: Path) -> None:
    file = ps.ScalingTestController(tmp_path).save_scaling_results(result)
    dashboard = PerformanceDashboard()
    dashboard.load_scaling_results(result)
    dashboard.load_scaling_results(file)
    assert len(dashboard.table) == 2 * 6 and set(dashboard.table["configuration"]) == {"quick"}
    page = dashboard.save_html(tmp_path / "page.html").read_text()
    assert page.count("<h2>quick</h2>") == page.count("data:image/png;base64,") == 2
    assert "pipeline_window" in page or "replica_cpu" in page
    assert not re.search(r"(src|href)=\"(?!data:)", page)  # nothing is fetched


def test_none_and_what_cannot_be_read_or_written(result: ps.ScalingTestResult, tmp_path: Path) -> None:
    dashboard = PerformanceDashboard()
    assert "no results" in dashboard._repr_html_() and dashboard.table.empty
    with pytest.raises(UsageError, match="a file that can be read"):
        dashboard.load_scaling_results(tmp_path / "none.json")
    with pytest.raises(PrsmScaleError):
        dashboard.save_html(tmp_path / "none" / "page.html")
