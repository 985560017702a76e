"""``prsm-scale trace``: the messages of one operation, one by one."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from prsm_scale.atomic import dumps
from prsm_scale.axes import Engine
from prsm_scale.cli.options import SectionCommand, SectionOption, given_settings, one_scenario, scenario_options
from prsm_scale.cli.output import check_figure, print_plan, terminal
from prsm_scale.config import Scenario
from prsm_scale.errors import UsageError
from prsm_scale.nodes import FEWEST_NODES

if TYPE_CHECKING:
    from prsm_scale.tracing import Trace

MOST_ROWS = 60
_OF_NO_USE = ("engine", "operations", "precision", "replicates", "warmup", "duration_s")
"""Settings that decide what is made of many operations."""
_TRACE_OPTIONS = (
    SectionOption(["--operation"], type=click.IntRange(min=0), default=0, metavar="K", help="number of the operation [0]"),
    SectionOption(["--plot"], metavar="FILE", help="write a space-time diagram (.png, .svg or .pdf)"),
    SectionOption(["--perfetto"], metavar="FILE", help="write JSON that ui.perfetto.dev and chrome://tracing open"),
    SectionOption(["--all", "whole"], is_flag=True, help=f"list all transmissions, not the first {MOST_ROWS} alone"),
    SectionOption(["--dry-run"], is_flag=True, help="check the settings and stop"),
    SectionOption(["--json", "as_json"], is_flag=True, help="print one JSON document in place of tables"),
)


def _run(
    operation: int, plot: str | None, perfetto: str | None, whole: bool, dry_run: bool, as_json: bool, **options: Any
) -> None:
    scenario = one_scenario(given_settings(options) | {"engine": Engine.EVENTS}, {"nodes": FEWEST_NODES})
    _check_files(scenario, plot, perfetto)
    if dry_run:
        print_plan([scenario], f"operation {operation}", as_json)
        return
    from prsm_scale.events import trace_operations

    trace = trace_operations(scenario, first=operation, count=1)
    if as_json:
        click.echo(dumps(_document(trace.of(operation)), indent=1))
    else:
        _print(trace.of(operation), None if whole else MOST_ROWS)
    if plot:
        from prsm_scale.report.spacetime import save_diagram

        save_diagram(trace, operation, plot)
        click.echo(f"diagram in {plot}", err=True)
    if perfetto:
        from prsm_scale.report.perfetto import save_perfetto

        save_perfetto(trace, perfetto)
        click.echo(f"trace in {perfetto}; open it at https://ui.perfetto.dev", err=True)


def _check_files(scenario: Scenario, plot: str | None, perfetto: str | None) -> None:
    if plot:
        from prsm_scale.report.spacetime import MOST_NODES

        check_figure(plot)
        if scenario.nodes > MOST_NODES:
            raise UsageError("plot", plot, f"a diagram of at most {MOST_NODES} replicas; there are {scenario.nodes}")
    if perfetto and not Path(perfetto).absolute().parent.is_dir():
        raise UsageError("perfetto", perfetto, "a file in a folder that is there")


def _print(trace: Trace, most: int | None) -> None:
    from prsm_scale.report.messages import message_table, outcome, round_table, scene

    console = terminal()
    console.print(scene(trace), soft_wrap=True)
    console.print(outcome(trace), soft_wrap=True)
    console.print()
    console.print(message_table(trace, most))
    left = len(trace.hops) - (most or len(trace.hops))
    if left > 0:
        console.print(f"and {left:,} more transmissions; --all lists them")
    console.print()
    console.print(round_table(trace))
    console.print()
    console.print("times in ms since the operation started; late: of no use any more; begins, ends: its job at the CPU")


def _document(trace: Trace) -> dict[str, Any]:
    from prsm_scale.report.messages import rows_of

    return {
        "scenario": trace.scenario.model_dump(mode="json"),
        "operation": trace.operations[0],
        "client": trace.nodes,
        "rounds": trace.rounds,
        "hops": rows_of(trace.hops, trace.rounds),
        "marks": rows_of(trace.marks, trace.rounds),
        "jobs": rows_of(trace.jobs, trace.rounds),
    }


command = SectionCommand(
    "trace",
    params=[*scenario_options(_OF_NO_USE, {"nodes": f"replicas [{FEWEST_NODES}]"}), *_TRACE_OPTIONS],
    callback=_run,
    help="""Show what one operation's messages do, one by one, by the events engine.

    \b
    prsm-scale trace --nodes 4
    prsm-scale trace --nodes 4 --network lan --rate 100 --operation 3 --plot trace.svg --perfetto trace.json
    prsm-scale trace --nodes 7 --topology ring --dissemination gossip --json

    Nothing is stored but the files that are asked for.""",
)
