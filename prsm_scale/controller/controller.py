"""ScalingTestController: the scaling-test interface, over sweeps, analysis and store."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

from prsm_scale.config import Scenario
from prsm_scale.controller.config import ScalingTestConfig
from prsm_scale.controller.configurations import DEMO, comprehensive_scaling_configs
from prsm_scale.controller.files import save_result
from prsm_scale.controller.result import ScalingTestResult
from prsm_scale.controller.running import run_test
from prsm_scale.progress import Report

T = TypeVar("T")
Told = tuple[bool, float, dict[str, Any]]


class ScalingTestController:
    """Runs scaling tests and keeps their results.

    Every coroutine works in a thread of its own and leaves the event loop free; each has a plain method that does the same.

    Parameters
    ----------
    output_directory : path
        Where `save_scaling_results` writes; made when it is needed.
    threads : int, optional
        Default: one for each processor; the results do not depend on it.

    Examples
    --------
    In a script:

    >>> controller = ScalingTestController()
    >>> result = controller.run_demo()  # doctest: +SKIP

    In a notebook, or in a coroutine:

    >>> result = await controller.run_scaling_demo()  # doctest: +SKIP
    """

    def __init__(self, output_directory: str | os.PathLike[str] = "scaling_test_results", threads: int | None = None) -> None:
        self.output_directory = Path(output_directory)
        self.threads = threads
        self._operations: dict[str, Iterator[Told]] = {}
        self._lock = threading.Lock()

    # Plain methods.

    def create_comprehensive_scaling_configs(self) -> list[ScalingTestConfig]:
        """The twelve configurations of the suite."""
        return comprehensive_scaling_configs()

    def run_demo(self, progress: Report | None = None) -> ScalingTestResult:
        """Run a small test: n = 10, 25 and 50 over a mesh on a WAN, without and with a tenth of faulty replicas."""
        return self.run_test(ScalingTestConfig(**DEMO), progress)

    def run_test(
        self,
        config: ScalingTestConfig,
        progress: Report | None = None,
        *,
        full: bool = False,
        cancel: threading.Event | None = None,
    ) -> ScalingTestResult:
        """Run one configuration; see `prsm_scale.controller.running.run_test`.

        Parameters
        ----------
        config : ScalingTestConfig
        progress : callable, optional
            Called with a `Progress` as work gets done.
        full : bool
            Whether to simulate all operations that are offered in the test, in place of as many as the precision needs.
        cancel : threading.Event, optional
            Once it is set the test stops.
        """
        return run_test(config, full=full, threads=self.threads, progress=progress, cancel=cancel)

    def simulate_operation(self, config: ScalingTestConfig, nodes: int, byzantine_ratio: float = 0.0) -> Told:
        """Simulate one operation of a configuration.

        Parameters
        ----------
        config : ScalingTestConfig
        nodes : int
            Replicas; need not be among those of the configuration.
        byzantine_ratio : float
            Likewise.

        Returns
        -------
        success : bool
            Whether its client had its answer in time.
        latency_ms : float
            From request to answer; of one that fails the time after which its client gives up.
        metrics : dict
            Where the time went, messages, view changes, and the scenario's n, f and quorum.

        Notes
        -----
        A further call with the same arguments gives the next operation; another controller begins with the same ones.
        """
        scenario = config.scenario(nodes, byzantine_ratio)
        with self._lock:
            if scenario.scenario_id not in self._operations:
                self._operations[scenario.scenario_id] = _operations(scenario, self.threads)
            return next(self._operations[scenario.scenario_id])

    def save_scaling_results(self, result: ScalingTestResult) -> Path:
        """Write a result to the output directory as JSON, CSV and Parquet, and return the path of the JSON file.

        Raises
        ------
        UsageError
            If the directory cannot be made.
        PrsmScaleError
            If a file cannot be written; what was there is kept.
        """
        return save_result(result, self.output_directory)

    # Coroutines.

    async def run_scaling_demo(self) -> ScalingTestResult:
        """Run a small test; see `run_demo`."""
        return await self.run_comprehensive_scaling_test(ScalingTestConfig(**DEMO))

    async def run_comprehensive_scaling_test(
        self, config: ScalingTestConfig, progress: Report | None = None
    ) -> ScalingTestResult:
        """Run one configuration; see `run_test`. A task that is cancelled stops the simulation."""
        cancel = threading.Event()
        return await _in_thread(lambda: self.run_test(config, progress, cancel=cancel), cancel)

    async def simulate_scaled_consensus_operation(
        self, config: ScalingTestConfig, nodes: int, byzantine_ratio: float = 0.0
    ) -> Told:
        """Simulate one operation of a configuration; see `simulate_operation`."""
        return await _in_thread(lambda: self.simulate_operation(config, nodes, byzantine_ratio), threading.Event())


async def _in_thread(work: Callable[[], T], cancel: threading.Event) -> T:
    try:
        return await asyncio.to_thread(work)
    except asyncio.CancelledError:
        cancel.set()
        raise


def _operations(scenario: Scenario, threads: int | None) -> Iterator[Told]:
    """Operations of a scenario one after another; when all of a simulation have been told, those of the next seed follow."""
    from prsm_scale.engine import simulate_scenario
    from prsm_scale.metrics import PARTS

    while True:
        outcome = simulate_scenario(scenario, threads)
        done, plan = outcome.operations, outcome.plan
        about = {"node_count": scenario.nodes, "fault_threshold": plan.faults, "quorum": plan.quorum, "seed": scenario.seed}
        # replicates in turn, as placements of faulty replicas may differ between them
        for k in sorted(range(done.operation.size), key=lambda k: (int(done.operation[k]), int(done.replicate[k]))):
            latency_ms = float(done.latency_ms[k])
            success = latency_ms <= scenario.operation_timeout_ms
            told = dict(zip(PARTS, map(float, done.breakdown_ms[k]), strict=True)) if success else {}
            yield (
                success,
                latency_ms if success else float(scenario.operation_timeout_ms),
                about
                | told
                | {
                    "messages": int(done.sent[k].sum()),
                    "transmissions": float(done.transmissions[k].sum()),
                    "view_changes": int(done.view_changes[k]),
                    "safety_violation": bool(done.violated[k]),
                },
            )
        scenario = scenario.but(seed=scenario.seed + 1)
