"""``prsm-scale suite``: the configurations of the scaling tests, one after another."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from prsm_scale.cli.options import SectionCommand, SectionOption
from prsm_scale.cli.output import terminal
from prsm_scale.cli.scaling_tests import TEST_OPTIONS, run_tests

if TYPE_CHECKING:
    from prsm_scale.controller.config import ScalingTestConfig


def _run(only: str | None, listing: bool, **options: Any) -> None:
    from prsm_scale.controller.configurations import choose, comprehensive_scaling_configs

    configs = comprehensive_scaling_configs()
    chosen = choose(configs, only) if only else configs
    if listing:
        _list(chosen)
    else:
        run_tests(chosen, command="suite", **options)


def _list(configs: list[ScalingTestConfig]) -> None:
    from prsm_scale.report.tables import plain_table

    rows = [
        (
            one.name,
            ", ".join(map(str, one.node_counts)),
            ", ".join([one.network_topology, one.resource_profile, *one.network_conditions]),
        )
        for one in configs
    ]
    terminal().print(plain_table(("configuration", "nodes", "system"), rows, left=("configuration", "nodes", "system")))


command = SectionCommand(
    "suite",
    params=[
        SectionOption(["--only"], metavar="NAMES", help="configurations, or kinds of them, separated by commas"),
        SectionOption(["--list", "listing"], is_flag=True, help="list the configurations and stop"),
        *TEST_OPTIONS,
    ],
    callback=_run,
    help="""Run the twelve configurations of the scaling tests, and store each one's result.

    \b
    prsm-scale suite
    prsm-scale suite --only network_impact
    prsm-scale suite --only topology_comparison_ring,byzantine --full
    prsm-scale suite --list

    A configuration that fails does not stop the others; the exit code is then 4.""",
)
