"""prsm-scale: how PBFT-style consensus scales, from 4 to 1000+ replicas, by simulation.

Public names load on first use, so that importing the package is fast.
"""

from importlib import import_module
from typing import Any

__version__ = "0.1.0"

_HOMES = {
    "AccuracyWarning": "cautions",
    "FaultScript": "fault_scripts",
    "NetworkCondition": "controller.config",
    "NetworkTopology": "controller.config",
    "ResourceProfile": "controller.config",
    "ScalingEnvironment": "controller.config",
    "ScalingTestConfig": "controller.config",
    "ScalingTestController": "controller.controller",
    "ScalingTestResult": "controller.result",
    "Scenario": "config",
    "Sweep": "config",
    "load_sweep": "config",
    "PrsmScaleError": "errors",
    "UsageError": "errors",
    "Protocol": "protocols",
    "Round": "protocols",
    "Run": "runs",
    "load": "runs",
    "load_curve": "load_runs",
    "compare": "analysis.compare",
    "fault_run": "fault_runs",
    "history": "analysis.history",
    "load_fault_scripts": "fault_scripts",
    "parse_nodes": "nodes",
    "plan": "planning.plan",
    "recommend": "experiments.recommending",
    "simulate": "runs",
    "sweep": "runs",
    "validate": "ladders.run",
}

__all__ = ["__version__", *_HOMES]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(set(globals()) | set(_HOMES))
