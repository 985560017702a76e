"""``prsm-scale run``: a scaling test of one's own."""

from __future__ import annotations

from typing import Any

import click

from prsm_scale.cli.options import SectionCommand
from prsm_scale.cli.scaling_tests import TEST_OPTIONS, run_tests


def _run(config: str, **options: Any) -> None:
    from prsm_scale.controller.configurations import read_config_file

    run_tests([read_config_file(config)], command=f"run {config}", **options)


command = SectionCommand(
    "run",
    params=[click.Argument(["config"], metavar="CONFIG"), *TEST_OPTIONS],
    callback=_run,
    help="""Run a scaling test of your own, and store its result.

    CONFIG is a TOML or JSON file with the fields of prsm_scale.ScalingTestConfig, or a result, which is then run again.

    \b
    name = "my_test"
    node_counts = [10, 50, 100, 500]
    network_topology = "hierarchical"
    network_conditions = ["wan", "intercontinental"]
    byzantine_ratios = [0.0, 0.15]
    seed = 7""",
)
