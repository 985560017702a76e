"""``prsm-scale demo``: a small scaling test."""

from __future__ import annotations

from typing import Any

from prsm_scale.cli.options import SectionCommand
from prsm_scale.cli.scaling_tests import TEST_OPTIONS, run_tests


def _run(**options: Any) -> None:
    from prsm_scale.controller.config import ScalingTestConfig
    from prsm_scale.controller.configurations import DEMO

    run_tests([ScalingTestConfig(**DEMO)], command="demo", **options)


command = SectionCommand(
    "demo",
    params=list(TEST_OPTIONS),
    callback=_run,
    help="""Run a small scaling test: n = 10, 25 and 50 over a mesh on a WAN, without and with a tenth of faulty replicas.""",
)
