"""What `demo`, `suite` and `run` do alike: scaling tests run, stored and shown."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from prsm_scale.atomic import dumps
from prsm_scale.cli import INTERRUPTED, PROGRAM
from prsm_scale.cli.options import SectionOption
from prsm_scale.cli.output import command_line, print_run, terminal
from prsm_scale.cli.progress import ProgressLines

if TYPE_CHECKING:
    from prsm_scale.controller.config import ScalingTestConfig
    from prsm_scale.controller.result import ScalingTestResult
    from prsm_scale.controller.suite import Ended, Told
    from prsm_scale.progress import Progress

FAILED: Final = 1
PARTLY: Final = 4

TEST_OPTIONS: Final = (
    SectionOption(["--out"], metavar="FOLDER", default="scaling_test_results", help="where results go [scaling_test_results]"),
    SectionOption(["--full"], is_flag=True, help="simulate all operations that are offered, not as many as the precision needs"),
    SectionOption(["--threads"], type=click.IntRange(min=1), help="threads to use [one per processor]"),
    SectionOption(["--json", "as_json"], is_flag=True, help="print one JSON document in place of tables"),
    SectionOption(["--quiet", "-q"], is_flag=True, help="no progress, and the results' files in place of tables"),
)


def run_tests(
    configs: Sequence[ScalingTestConfig], *, command: str, out: str, full: bool, threads: int | None, as_json: bool, quiet: bool
) -> None:
    """Run configurations, store each one's result as soon as it is done, show them, and exit with 4 if some failed."""
    from prsm_scale.controller.suite import Task, run_tasks

    ended: dict[str, Ended] = {}
    tasks = [Task(config, Path(out), full, command_line()) for config in configs]
    try:
        with ProgressLines(quiet) as lines, closing(run_tasks(tasks, threads, _telling(configs, lines))) as results:
            for one in results:
                ended[one.config.name] = one
                lines.end(one.config.name)
                _complain(one, alone=len(configs) == 1)
    except KeyboardInterrupt:
        rest = [one.name for one in configs if one.name not in ended]
        _tell_rest(command, out, full, rest, sum(one.error is None for one in ended.values()), len(configs))
        raise click.exceptions.Exit(INTERRUPTED) from None
    in_order = [ended[config.name] for config in configs]
    done = [(one.result, one.file) for one in in_order if one.result is not None and one.file is not None]
    failed = [one.config.name for one in in_order if one.error is not None]
    _show(done, as_json, quiet)
    if failed:
        click.echo(f"{PROGRAM}: {len(failed)} of {len(configs)} configurations failed: {', '.join(failed)}", err=True)
        raise click.exceptions.Exit(PARTLY if done else FAILED)


def _telling(configs: Sequence[ScalingTestConfig], lines: ProgressLines) -> Told:
    """What shows the progress of a configuration, after a line about each as it begins."""
    counts = {one.name: len(one.network_conditions) * len(one.byzantine_ratios) * len(one.node_counts) for one in configs}
    begun: list[str] = []

    def told(name: str, progress: Progress) -> None:
        if name not in begun:
            begun.append(name)
            lines.announce(f"{len(begun)}/{len(configs)} {name}: {counts[name]} scenarios")
        lines.tell(name, progress)

    return told


def _complain(ended: Ended, alone: bool) -> None:
    """Say why a configuration has failed; of one alone that is the failure of the command."""
    if ended.error is None:
        return
    if alone:
        raise ended.error
    for line in ended.error.lines:
        click.echo(f"{PROGRAM}: error: {ended.config.name}: {line}", err=True)


def _tell_rest(command: str, out: str, full: bool, rest: Sequence[str], done: int, total: int) -> None:
    """Say what is stored, and by which command to go on."""
    click.echo(f"{PROGRAM}: interrupted; {done} of {total} configurations are in {out}", err=True)
    words = [PROGRAM, *command.split(" ", 1), *(["--only", ",".join(rest)] if command == "suite" else [])]
    words += ["--out", out, *(["--full"] if full else [])]
    click.echo(f"go on with: {shlex.join(words)}", err=True)


def _show(done: Sequence[tuple[ScalingTestResult, Path]], as_json: bool, quiet: bool) -> None:
    if as_json:
        from prsm_scale.controller.files import document

        documents = [document(result, result.provenance | {"run_id": file.stem, "file": str(file)}) for result, file in done]
        click.echo(dumps(documents[0] if len(done) == 1 else {"results": documents}, indent=1))
    elif quiet:
        for _, file in done:
            click.echo(file)
    elif done:
        _print(done)


def _print(done: Sequence[tuple[ScalingTestResult, Path]]) -> None:
    from prsm_scale.report.scaling_tests import LEGEND, recommendations, summary_table

    console = terminal()
    if len(done) == 1:
        from prsm_scale.analysis.sweep_fits import fit_scenarios
        from prsm_scale.columns import FIT_COLUMNS
        from prsm_scale.runs import Run
        from prsm_scale.store import frame

        ((result, file),) = done
        fits = frame([{**fit, "run_id": ""} for fit in fit_scenarios(result.scenarios)], FIT_COLUMNS)
        print_run(Run(result.config.to_dict(), result.scenarios, fits, file))
        console.print("what helped, simulated:")
        for line in recommendations(result):
            console.print(f"  {line}", soft_wrap=True)
    else:
        console.print(summary_table([result for result, _ in done]))
        console.print(LEGEND, soft_wrap=True)
        console.print("\nwhat helped most, simulated:")
        for result, _ in done:
            console.print(f"  {result.config.name}: {recommendations(result)[0]}", soft_wrap=True)
        console.print()
        for _, file in done:
            console.print(str(file), soft_wrap=True)
