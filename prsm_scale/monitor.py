"""What the host does while a run lasts: CPU, memory, network and disk, sampled in a thread of its own."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Final, Self

from prsm_scale.host_columns import HOST_COLUMNS

INTERVAL_S: Final = 1.0
SHORTEST_S: Final = 0.1
"""Time over which a share of CPU means something: ten ticks of the clock by which systems count it."""
_PATIENCE_S: Final = 1.0  # for a last sample that some device holds up
_MIB: Final = 2.0**20

_Readers = dict[tuple[str, ...], Callable[[], Sequence[Any]]]


class HostMonitor:
    """Samples the host at the start, then once an interval, and at the end of a ``with`` block.

    It never fails the block: what a platform does not tell is None in the samples. Nor does it hold the block up: the samples are
    taken in a daemon thread, which ends with the block, however that ends.

    Parameters
    ----------
    interval_s : float
        Time between two samples.

    Examples
    --------
    >>> with HostMonitor() as monitor:
    ...     total = sum(range(1000))
    >>> len(monitor.samples)
    2
    """

    def __init__(self, interval_s: float = INTERVAL_S) -> None:
        self.interval_s = interval_s
        self.cost_seconds = 0.0
        """CPU time that taking the samples took, without that of loading psutil."""
        self._samples: list[dict[str, Any]] = []
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._begun_s = 0.0
        self._process_s = 0.0

    @property
    def samples(self) -> list[dict[str, Any]]:
        """The samples so far, values by name of HOST_COLUMNS."""
        return list(self._samples)

    @property
    def cost_share(self) -> float | None:
        """`cost_seconds` over the CPU time of the whole process during the block; None before its end."""
        return self.cost_seconds / self._process_s if self._process_s > 0 else None

    def __enter__(self) -> Self:
        """Start to sample."""
        self._stop.clear()
        self._begun_s = time.process_time()
        self._thread = threading.Thread(target=self._watch, name="host-monitor", daemon=True)
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Take the last sample."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join(_PATIENCE_S)
        self._process_s += time.process_time() - self._begun_s

    def _watch(self) -> None:
        readers: _Readers = _attempt(_readers, {})
        began, last = self.cost_seconds - time.thread_time(), time.monotonic()
        over = False
        while True:
            now = time.monotonic()
            known = now - last >= SHORTEST_S  # never at first, where psutil's answer is for no time at all
            self._samples.append(_sample(readers) | ({} if known else _NO_CPU))
            self.cost_seconds = began + time.thread_time()
            if over:
                return
            last, over = now, self._stop.wait(self.interval_s)


_NO_CPU: Final = {"cpu_percent": None, "process_cpu_percent": None}


def _readers() -> _Readers:
    """What to ask for each group of columns; one process object, since it remembers what its CPU share is counted from."""
    import psutil

    process = psutil.Process()

    def memory() -> tuple[float, float, float]:
        held = psutil.virtual_memory()
        return held.percent, held.used / _MIB, held.available / _MIB

    def network() -> tuple[int, int]:
        counted = psutil.net_io_counters()
        return counted.bytes_sent, counted.bytes_recv

    def disk() -> tuple[int, int]:
        counted = psutil.disk_io_counters()
        return counted.read_bytes, counted.write_bytes

    return {
        ("cpu_percent",): lambda: (psutil.cpu_percent(None),),
        ("memory_percent", "memory_used_mb", "memory_available_mb"): memory,
        ("process_cpu_percent",): lambda: (process.cpu_percent(None),),
        ("process_memory_mb",): lambda: (process.memory_info().rss / _MIB,),
        ("network_bytes_sent", "network_bytes_recv"): network,
        ("disk_read_bytes", "disk_write_bytes"): disk,
    }


def _sample(readers: _Readers) -> dict[str, Any]:
    sample: dict[str, Any] = dict.fromkeys(column.name for column in HOST_COLUMNS)
    sample["timestamp"] = datetime.now(UTC).isoformat(timespec="milliseconds")
    for names, read in readers.items():
        sample.update(zip(names, _attempt(read, ()), strict=False))
    return sample


def _attempt(read: Callable[[], Any], otherwise: Any) -> Any:
    """Ask the platform, which may lack a counter (psutil then gives None), forbid it, or fail in its own way."""
    try:
        return read()
    except Exception:
        return otherwise
