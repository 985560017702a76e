"""``prsm-scale validate``: hold the program against what is known, its other engine, peers and deployed systems."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from prsm_scale.atomic import dumps, failing_in_one_line, write_text
from prsm_scale.cli.output import command_line, terminal
from prsm_scale.cli.progress import ProgressLine
from prsm_scale.errors import UsageError

if TYPE_CHECKING:
    from prsm_scale.ladders.run import Validation

_MISSED = 1


_HELP = """Hold the program against closed forms, its other engine, peers' figures and measured systems.

    \b
    prsm-scale validate
    prsm-scale validate --ladder closed_forms,peers --quick
    prsm-scale validate --cases mine.toml

    Exits with 1 if a bar is missed. docs/validation.md shows the last results.
"""


@click.command("validate", help=_HELP)
@click.option(
    "--ladder", default="closed_forms,engines,peers,measurements", show_default=True, metavar="TEXT", help="which to run"
)
@click.option("--cases", metavar="FILE", help="TOML file of measured systems of your own, and only these")
@click.option("--engine", metavar="TEXT", help="engine to hold against closed forms, peers and measurements [both, as cases say]")
@click.option("--quick", is_flag=True, help="leave out what takes long")
@click.option("--out", metavar="FOLDER", default="results", show_default=True, help="where runs are stored")
@click.option("--threads", type=click.IntRange(min=1), help="threads to use [one per processor]")
@click.option("--dry-run", is_flag=True, help="list what would be run and stop")
@click.option("--json", "as_json", is_flag=True, help="print one JSON document in place of tables")
@click.option("--markdown", metavar="FILE", help="write the tables as a Markdown page as well")
@click.option("--quiet", "-q", is_flag=True, help="no progress, and what misses its bar in place of tables")
def command(
    ladder: str,
    cases: str | None,
    engine: str | None,
    quick: bool,
    out: str,
    threads: int | None,
    dry_run: bool,
    as_json: bool,
    markdown: str | None,
    quiet: bool,
) -> None:
    """Hold the program against closed forms, its other engine, peers' figures and measured systems."""
    from prsm_scale.ladders.run import check_ladders, planned, validate

    ladders = check_ladders([name.strip() for name in ladder.split(",")])
    tasks = planned(ladders, quick, engine, cases)
    if markdown and not Path(markdown).absolute().parent.is_dir():
        raise UsageError("markdown", markdown, "a file in a folder that is there")
    if dry_run:
        names = [task.name for task in tasks]
        click.echo(dumps({"scenarios": names}, indent=1) if as_json else "\n".join(names))
        return
    with ProgressLine(len(tasks), quiet, f"{len(tasks)} rows to validate") as progress:
        validation = validate(ladders, quick, engine, cases, threads, progress)
    path = validation.save(out, command_line())
    if markdown:
        with failing_in_one_line(Path(markdown).parent):
            write_text(Path(markdown), validation.page)
    _show(validation, path, as_json, quiet)
    if not validation.met:
        raise click.exceptions.Exit(_MISSED)


def _show(validation: Validation, path: Path, as_json: bool, quiet: bool) -> None:
    missed = [bar.line for bar in validation.bars if not bar.met]
    if as_json:
        rows = [check.row() for check in validation.checks]
        click.echo(dumps({"path": str(path), "met": validation.met, "missed": missed, "checks": rows}, indent=1))
        return
    from prsm_scale.report.validation import render

    console = terminal()
    if not quiet:
        for part in render(validation):
            console.print(part)
            console.print()
    for line in missed or ("all bars are met",):
        console.print(line, soft_wrap=True)
    console.print(f"{len(validation.checks)} rows in {path}", soft_wrap=True)
