"""``prsm-scale suite``: the configurations of the scaling tests, one after another."""

from __future__ import annotations

from typing import Any

from prsm_scale.cli.options import SectionCommand, SectionOption
from prsm_scale.cli.output import terminal
from prsm_scale.cli.scaling_tests import TEST_OPTIONS, run_tests


def _run(only: str | None, listing: bool, **options: Any) -> None:
    from prsm_scale.controller.configurations import choose, told_configs

    told = told_configs()
    chosen = choose([config for config, _ in told], only) if only else [config for config, _ in told]
    if listing:
        _list([(config, about) for config, about in told if config in chosen])
        return
    run_tests(chosen, command="suite", **options)


def _list(told: list[tuple[Any, str]]) -> None:
    from prsm_scale.report.tables import plain_table

    columns = ("configuration", "nodes", "topology", "profile", "network", "byzantine", "1/s", "what it tells")
    rows = [
        (
            config.name,
            ",".join(map(str, config.node_counts)),
            config.network_topology.value,
            config.resource_profile.value,
            ",".join(one.value for one in config.network_conditions),
            ",".join(f"{ratio:g}" for ratio in config.ratios),
            f"{config.target_operations_per_second:g}",
            about,
        )
        for config, about in told
    ]
    terminal().print(plain_table(columns, rows, left=(*columns[:6], columns[-1])))


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
