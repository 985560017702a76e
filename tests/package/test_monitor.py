"""Sampling of the host: what is sampled, what it costs, that it never fails a run, and where it is kept."""

from __future__ import annotations

import sys
import threading
import time
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import psutil
import pytest
from click.testing import CliRunner

import prsm_scale as ps
from prsm_scale.cli import main
from prsm_scale.errors import SweepInterrupted
from prsm_scale.host_columns import HOST_COLUMNS, HOST_FILE
from prsm_scale.monitor import INTERVAL_S, HostMonitor
from prsm_scale.progress import Progress
from prsm_scale.runs import run_sweep

FIELDS = [
    "timestamp", "cpu_percent", "memory_percent", "memory_used_mb", "memory_available_mb", "process_cpu_percent",
    "process_memory_mb", "network_bytes_sent", "network_bytes_recv", "disk_read_bytes", "disk_write_bytes",
]  # fmt: skip
HOSTLESS = ["run_id", "wall_seconds", "messages_per_second"]
"""Columns that tell of the run and not of the system."""


def burn(seconds: float) -> None:
    end = time.thread_time() + seconds
    while time.thread_time() < end:
        pass


def threads_of_monitors() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "host-monitor"]


def test_fields_are_those_of_the_interface() -> None:
    with HostMonitor() as monitor:
        pass
    assert [column.name for column in HOST_COLUMNS] == FIELDS
    assert all(list(sample) == FIELDS for sample in monitor.samples)


def test_samples_at_both_ends_and_in_between() -> None:
    with HostMonitor(0.2) as monitor:
        burn(0.5)
    first, *others = monitor.samples
    assert len(others) >= 2
    assert first["cpu_percent"] is None and first["process_cpu_percent"] is None
    assert all(0 <= one["cpu_percent"] <= 100 for one in others if one["cpu_percent"] is not None)
    assert max(one["process_cpu_percent"] or 0 for one in others) > 5
    assert 0 < first["process_memory_mb"] < first["memory_used_mb"] + first["memory_available_mb"]
    times = [datetime.fromisoformat(one["timestamp"]) for one in monitor.samples]
    assert times == sorted(times)
    assert all(one.utcoffset() == timedelta(0) for one in times)


def test_no_share_of_cpu_over_no_time() -> None:
    with HostMonitor() as monitor:
        pass
    assert [sample["process_cpu_percent"] for sample in monitor.samples] == [None, None]


def test_counters_that_a_platform_lacks_are_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    def forbidden() -> Any:
        raise psutil.AccessDenied

    monkeypatch.setattr(psutil, "disk_io_counters", lambda: None)
    monkeypatch.setattr(psutil, "net_io_counters", forbidden)
    with HostMonitor() as monitor:
        pass
    sample = monitor.samples[-1]
    missing = {"network_bytes_sent", "network_bytes_recv", "disk_read_bytes", "disk_write_bytes"}
    assert {name for name, value in sample.items() if value is None} - missing <= {"cpu_percent", "process_cpu_percent"}
    assert all(sample[name] is None for name in missing)


def test_a_host_that_tells_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "psutil", None)
    with HostMonitor() as monitor:
        pass
    assert len(monitor.samples) == 2
    assert {name for name, value in monitor.samples[0].items() if value is not None} == {"timestamp"}


@pytest.mark.parametrize("kind", [ValueError, KeyboardInterrupt])
def test_it_ends_at_once_with_the_block_however_that_ends(kind: type[BaseException]) -> None:
    """The next sample is an hour away."""
    monitor = HostMonitor(3600)
    with pytest.raises(kind), monitor:
        assert len(threads_of_monitors()) == 1
        raise kind
    assert threads_of_monitors() == []
    assert len(monitor.samples) == 2


def test_samples_cost_less_than_a_hundredth_of_their_interval() -> None:
    """Of CPU time, which does not depend on what else the machine does."""
    with HostMonitor(0) as monitor:
        while len(monitor.samples) < 200:
            time.sleep(0.01)
    assert 0 < monitor.cost_seconds / len(monitor.samples) < 0.01 * INTERVAL_S
    assert monitor.cost_share is not None


def test_all_that_samples_cost_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    held = psutil.virtual_memory()

    def slow() -> Any:
        burn(0.05)
        return held

    monkeypatch.setattr(psutil, "virtual_memory", slow)
    with HostMonitor() as monitor:
        assert monitor.cost_share is None
        burn(0.1)
    count = len(monitor.samples)
    assert 0.05 * count <= monitor.cost_seconds < 0.05 * count + 0.05
    assert monitor.cost_share is not None
    assert 0.05 * count / (0.05 * count + 0.2) < monitor.cost_share < 1


GRID = ps.Sweep(nodes=[4, 7, 10], operations=32)


class TestRuns:
    def test_results_are_the_same_with_and_without(self, tmp_path: Path) -> None:
        watched, alone = (run_sweep(GRID, tmp_path, monitor=monitor) for monitor in (True, False))
        assert watched.scenarios.drop(columns=HOSTLESS).equals(alone.scenarios.drop(columns=HOSTLESS))
        assert list(watched.host_resources) == FIELDS
        assert len(watched.host_resources) >= 2
        assert alone.path is not None and not (alone.path / HOST_FILE).exists()
        assert list(alone.host_resources) == FIELDS and alone.host_resources.empty

    def test_a_run_that_is_gone_on_with_keeps_its_samples(self, tmp_path: Path) -> None:
        def stop(progress: Progress) -> None:
            if progress.done == 1:
                raise KeyboardInterrupt

        with pytest.raises(SweepInterrupted) as caught:
            run_sweep(GRID, tmp_path, progress=stop)
        first = ps.load(caught.value.path).host_resources
        run = run_sweep(GRID, tmp_path, resume=caught.value.path)
        assert run.host_resources[: len(first)].equals(first)
        assert len(run.host_resources) > len(first) >= 2
        assert ps.load(run.path).host_resources.equals(run.host_resources)  # type: ignore[arg-type]

    def test_what_made_the_samples_is_in_the_file(self, tmp_path: Path) -> None:
        from prsm_scale.reading import read_parquet

        run = run_sweep(GRID, tmp_path)
        assert run.path is not None
        provenance, rows = read_parquet(run.path / HOST_FILE, HOST_COLUMNS)
        assert provenance["run_id"] == run.path.name
        assert len(rows) == len(run.host_resources)

    @pytest.mark.parametrize("damage", [Path.mkdir, lambda file: file.write_bytes(b"PAR1 and no more")])
    def test_a_file_of_samples_that_is_no_use_fails_nothing(self, tmp_path: Path, damage: Any) -> None:
        run = run_sweep(GRID, tmp_path, monitor=False)
        assert run.path is not None
        damage(run.path / HOST_FILE)
        assert ps.load(run.path).host_resources.empty
        assert len(run_sweep(GRID, tmp_path, resume=run.path).scenarios) == 3

    def test_samples_in_memory(self, tmp_path: Path) -> None:
        run = ps.sweep(nodes=4, operations=32, monitor=True)
        assert len(run.host_resources) >= 2
        assert ps.load(run.save(tmp_path)).host_resources.equals(run.host_resources)
        assert ps.sweep(nodes=4, operations=32).host_resources.empty

    def test_the_command_can_do_without(self, tmp_path: Path) -> None:
        command = ["sweep", "--nodes", "4", "--operations", "32", "--quiet", "--out", str(tmp_path)]
        for flags, kept in (([], True), (["--no-monitor"], False)):
            result = CliRunner().invoke(main, [*command, *flags])
            assert result.exit_code == 0, result.stderr
            assert (Path(result.stdout.strip()) / HOST_FILE).exists() is kept
