"""``prsm-scale plan``: how many replicas a load allows, on what machines and lines, and by which steps to get there."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from prsm_scale.atomic import dumps, failing_in_one_line, write_text
from prsm_scale.cli.options import SectionCommand, SectionOption, given_settings, one_scenario, scenario_options, target_options
from prsm_scale.cli.output import print_plan, terminal
from prsm_scale.cli.progress import ProgressLine
from prsm_scale.config import Scenario, read_config
from prsm_scale.errors import UsageError

if TYPE_CHECKING:
    from prsm_scale.planning.targets import Targets

_HELP = {
    "profile": "largest profile of a replica there may be [extreme]",
    "bandwidth_mbps": "largest uplink and downlink of a replica there may be, Mbit/s; inf for unlimited [the network's]",
}
_OPTIONS = (
    SectionOption(["--config"], metavar="FILE", help="TOML file of targets and settings; options go before it"),
    SectionOption(["--save"], metavar="FILE", help="write the JSON document to a file as well"),
    SectionOption(["--threads"], type=click.IntRange(min=1), help="threads to use [one per processor]"),
    SectionOption(["--dry-run"], is_flag=True, help="check all, list the smallest and the largest scenario, and stop"),
    SectionOption(["--json", "as_json"], is_flag=True, help="print one JSON document in place of tables"),
    SectionOption(["--quiet", "-q"], is_flag=True, help="no progress"),
)


def _run(
    config: str | None, save: str | None, threads: int | None, dry_run: bool, as_json: bool, quiet: bool, **options: Any
) -> None:
    from prsm_scale.planning.plan import ends, find_plan

    targets, scenario = _request(config, options)
    if save:
        _check_file(save)
    if dry_run:
        print_plan(ends(targets, scenario), str(targets), as_json, targets=targets.model_dump())
        return
    told = f"n = {targets.min_nodes:,} to {targets.max_nodes:,}, {scenario.topology}, {scenario.network}; {targets}"
    with ProgressLine(1, quiet, told) as progress:
        plan = find_plan(targets, scenario, threads, progress)
    document = dumps(plan.to_dict(), indent=1)
    if as_json:
        click.echo(document)
    else:
        from prsm_scale.report.capacity_plan import plan_parts

        console = terminal()
        for part in plan_parts(plan):
            console.print(part)
    if save:
        with failing_in_one_line(Path(save).absolute().parent):
            write_text(Path(save), f"{document}\n")
        click.echo(f"plan in {save}", err=True)


def _request(config: str | None, options: dict[str, Any]) -> tuple[Targets, Scenario]:
    """Make the targets and the scenario of a file and of options, with every fault of either told at once."""
    from prsm_scale.planning.plan import split_settings
    from prsm_scale.planning.targets import DEFAULT_PROFILE, Targets

    given = {name: value for name, value in options.items() if name in Targets.model_fields and value is not None}
    targets, settings = split_settings((read_config(config) if config else {}) | given_settings(options) | given)
    shared = {"rate": targets.target_ops, "nodes": targets.min_nodes}
    return targets, one_scenario(settings | shared, {"profile": DEFAULT_PROFILE})


def _check_file(file: str) -> None:
    """Reject a file that could not be written, before simulations go before it."""
    place = Path(file).absolute()
    if not place.parent.is_dir() or place.is_dir() or not os.access(place.parent, os.W_OK):
        raise UsageError("save", file, "a file in a folder that is there and can be written to")


def _options() -> Iterator[click.Option]:
    from prsm_scale.planning.targets import LEFT_OUT, Targets

    yield from target_options()
    yield from scenario_options({*LEFT_OUT, *Targets.model_fields}, _HELP)


command = SectionCommand(
    "plan",
    params=[*_options(), *_OPTIONS],
    callback=_run,
    help="""Plan for a load: the largest n that meets the targets, the smallest machines and lines, and a roll-out.

    \b
    prsm-scale plan --target-ops 50 --max-p99-ms 2000 --byzantine 0.2
    prsm-scale plan --target-ops 20 --topology mesh --network lan --profile heavy --stages 4 --save plan.json

    Saturation throughput has to exceed the target by so much that the headroom is left unused. Where no n meets the
    targets, the plan says why and by how much; that is an answer too, with exit code 0 and "met": false in --json.""",
)
