"""Columns of what the host did while a run lasted: one row a sample; see `prsm_scale.columns`."""

from __future__ import annotations

from typing import Final

from prsm_scale.columns import Column

HOST_FILE: Final = "host_resources.parquet"


def _real(name: str, unit: str, meaning: str) -> Column:
    return Column(name, "float64", unit, meaning)


def _bytes(name: str, meaning: str) -> Column:
    return Column(name, "int64", "B", meaning)


HOST_COLUMNS: Final[tuple[Column, ...]] = (
    Column("timestamp", "string", "", "when the sample was taken, ISO 8601 in UTC", False),
    _real("cpu_percent", "%", "use of all processors since the sample before; missing where that was less than 0.1 s ago"),
    _real("memory_percent", "%", "memory in use, of all there is"),
    _real("memory_used_mb", "MB", "memory in use, MiB"),
    _real("memory_available_mb", "MB", "memory that can be had without swapping, MiB"),
    _real(
        "process_cpu_percent",
        "%",
        "use of processors by this process since the sample before, 100 for each that was busy; missing like cpu_percent",
    ),
    _real("process_memory_mb", "MB", "resident memory of this process, MiB"),
    _bytes("network_bytes_sent", "bytes sent by the host since it started, all interfaces"),
    _bytes("network_bytes_recv", "bytes received by it"),
    _bytes("disk_read_bytes", "bytes read from disks since the host started; missing where it has no such counter"),
    _bytes("disk_write_bytes", "bytes written to them"),
)
