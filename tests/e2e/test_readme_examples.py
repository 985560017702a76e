"""The examples on the pages run, and what they show is what the program says now."""

from __future__ import annotations

import re

import numpy as np
import pytest

from tests.e2e.program import ROOT, code_blocks, run

pytestmark = pytest.mark.e2e
README, KERNELS = ROOT / "README.md", ROOT / "kernels" / "README.md"
MOST_NODES_RUN = 80


def test_kernels_inside_another_model():
    """Both examples of kernels/README.md are the same model: their means agree within four standard errors."""
    names, means = {}, []
    for block in code_blocks(KERNELS, "python"):
        exec(compile(block, str(KERNELS), "exec"), names)
        latency_ms = names["latency_ms"]
        means.append((latency_ms.mean(dtype=np.float64), latency_ms.std() / np.sqrt(latency_ms.size)))
    (array_mean, array_error), (lane_mean, lane_error) = means
    assert abs(array_mean - lane_mean) < 4 * np.hypot(array_error, lane_error)
    assert 140 < array_mean < 160


def test_the_python_quick_start_in_small(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (block,) = code_blocks(README, "python")
    assert '"10..320"' in block and "nodes=100" in block
    names = {}
    exec(compile(block.replace('"10..320"', '"4,8,12"').replace("nodes=100", "nodes=10"), str(README), "exec"), names)
    assert len(names["run"].scenarios) == 12
    assert names["again"].scenarios["scenario_id"].tolist() == names["run"].scenarios["scenario_id"].tolist()
    assert "saturation_ops_per_second" in capsys.readouterr().out


def test_the_output_shown_is_that_of_the_program(tmp_path):
    """The rows of few replicas, which take no time; `python docs/make.py` brings the page up to date."""
    shown = "\n".join(code_blocks(README, "console"))
    rows = re.findall(r"^ *(\d+)  .*%.*$", shown, re.MULTILINE)
    few = [n for n in rows if int(n) <= MOST_NODES_RUN]
    assert "$ prsm-scale sweep --nodes 10..1000\n" in shown and few == ["10", "20", "40", "80"]
    now = run(tmp_path, "sweep", "--nodes", ",".join(few)).stdout
    for n in few:
        old, new = (re.search(rf"^ *{n}  .*%.*$", text, re.MULTILINE).group().split() for text in (shown, now))
        assert old == new
