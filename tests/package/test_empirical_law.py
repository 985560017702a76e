"""Laws of one's own: a file of values, each as likely as any other."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import special

import prsm_scale as ps
from prsm_kernels import sample_hops, stream_key
from prsm_scale.delays import kernel_law, read_delays
from prsm_scale.errors import UsageError

MESSAGES = 1 << 18


def written(folder: Path, text: str) -> str:
    file = folder / "values.csv"
    file.write_text(text, encoding="utf-8")
    return str(file)


def drawn(base_ms: float = 0.0, **settings: Any) -> np.ndarray[Any, Any]:
    """Delays of messages over one hop under a scenario's law."""
    law, _ = kernel_law(ps.Scenario(nodes=4, **settings))
    out = np.empty(MESSAGES, np.float32)
    sample_hops(np.array(stream_key(3, 1), np.uint32), np.array([base_ms], np.float32), np.zeros(1, np.float32), law, out)
    return out.astype(np.float64)


@pytest.mark.parametrize(
    "text", ["3\n1\n2\n", "delay_ms\n3\n1\n2\n", "# measured\n3,1\n2", "\ufeff3, 1 ,2", "a,b\n3,1\n\n2,\n", "# a\ndelay\n3\n1\n2"]
)
def test_files_are_read(tmp_path: Path, text: str) -> None:
    assert read_delays(written(tmp_path, text)).tolist() == [1.0, 2.0, 3.0]


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("1\n-2\n", "a file of numbers from 0 to 1e+09, it has -2"),
        ("1\nnan\n", "a file of numbers from 0 to 1e+09, it has nan"),
        ("1\n2e9\n", "a file of numbers from 0 to 1e+09, it has 2e+09"),
        ("1\nfast\n", "a CSV file of numbers (could not convert string to float: 'fast')"),
        ("", "a file with a number"),
        ("delay\n", "a file with a number"),
    ],
)
def test_a_bad_file_is_one_line(tmp_path: Path, text: str, line: str) -> None:
    with pytest.raises(UsageError) as caught:
        read_delays(written(tmp_path, text))
    assert caught.value.lines[0].startswith("delay: '")
    assert caught.value.lines[0].endswith(f"is not allowed: {line}")


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "binary.csv").write_bytes(b"\xff\xfe")
    for file, told in (("none.csv", "a file that can be read (No such file"), ("binary.csv", "a CSV file of numbers (")):
        with pytest.raises(UsageError, match=rf"is not allowed: {told}".replace("(", r"\(")):
            read_delays(str(tmp_path / file))


def test_jitter_needs_a_mean(tmp_path: Path) -> None:
    file = written(tmp_path, "0\n0\n")
    assert (drawn(delay=f"empirical({file})") == 0).all()
    with pytest.raises(UsageError, match=r"jitter: .* is not allowed: a file with a number above 0"):
        kernel_law(ps.Scenario(nodes=4, jitter=f"empirical({file})"))


@pytest.mark.parametrize("share", [0.5, 0.3, 0.001])
def test_two_values(tmp_path: Path, share: float) -> None:
    """Drawn by a table of 4096 quantiles, of which one at most lies on the step."""
    count = round(1000 * share)
    delay = f"empirical({written(tmp_path, ','.join(['100'] * count + ['300'] * (1000 - count)))})"
    sample = drawn(delay=delay)
    assert sample.min() == 100 and sample.max() == 300
    assert ((sample > 100) & (sample < 300)).mean() < (0.005 if share != 0.5 else 1e-4)
    error = 5 * math.sqrt(share * (1 - share) / MESSAGES)
    assert abs((sample == 100).mean() - share) < error + 0.005 * share
    _, mean = kernel_law(ps.Scenario(nodes=4, delay=delay))
    assert mean == pytest.approx(300 - 200 * share)


def test_jitter_takes_the_shape_alone(tmp_path: Path) -> None:
    """Values of mean 2 become a jitter of mean `jitter_fraction` times the base."""
    sample = drawn(base_ms=100.0, jitter=f"empirical({written(tmp_path, '1,3')})", jitter_fraction=0.1)
    assert sorted(set(sample.round(3))) == pytest.approx([105.0, 115.0], abs=0.01)


def test_values_of_a_normal_law_give_the_peers_number(tmp_path: Path) -> None:
    """733.79 ms with standard error 0.10, see tests/statistical/test_closed_forms.py."""
    quantiles = 250 + 50 * special.ndtri((np.arange(100_000) + 0.5) / 100_000)
    np.savetxt(tmp_path / "normal.csv", quantiles)
    commit = ps.simulate(
        nodes=4, network="ideal", free_cpu=True, rate=0, operations=100_000, delay=f"empirical({tmp_path / 'normal.csv'})"
    ).commit_ms
    assert abs(commit.mean() - 733.79) < 4 * math.hypot(0.10, commit.std(ddof=1) / math.sqrt(commit.size))
