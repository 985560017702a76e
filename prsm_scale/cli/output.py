"""A run on the terminal: what `sweep`, `show` and `fit` print alike."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import click

from prsm_scale.atomic import dumps
from prsm_scale.errors import UsageError
from prsm_scale.report.series import common, records, split

if TYPE_CHECKING:
    import pandas as pd
    from rich.console import Console, RenderableType

    from prsm_scale.store import StoredRun

FIGURE_SUFFIXES = (".png", ".svg", ".pdf")


class Run(Protocol):
    """A run, just finished or read back."""

    @property
    def path(self) -> Path | None:
        """Folder of the run, where it has one."""

    @property
    def scenarios(self) -> pd.DataFrame:
        """One row a scenario."""

    @property
    def fits(self) -> pd.DataFrame:
        """One row a fitted curve."""


def load_run(name: str, out: str = "results") -> StoredRun:
    """Read a run by its folder, or by its name alone where it lies in `out`."""
    from prsm_scale.store import load

    return load(run_folder(name, out))


def run_folder(name: str, out: str = "results") -> Path:
    """Find a run's folder by its path, or by its name inside `out`."""
    inside = Path(out) / name
    return inside if not Path(name).exists() and inside.exists() else Path(name)


def check_figure(file: str) -> None:
    """Reject a figure that could not be written, before a simulation goes before it."""
    if Path(file).suffix.lower() not in FIGURE_SUFFIXES:
        raise UsageError("plot", file, f"a file that ends in {', '.join(FIGURE_SUFFIXES)}")
    if not Path(file).absolute().parent.is_dir():
        raise UsageError("plot", file, "a file in a folder that is there")


def print_run(run: Run) -> None:
    """Print a run's table, plot, fitted curves and folder."""
    from prsm_scale.report.fits import fit_summary
    from prsm_scale.report.tables import plots, result_table

    rows, console = records(run.scenarios), terminal()
    series = split(rows, records(run.fits))
    parts: list[RenderableType] = [common(rows), *map(result_table, series), *plots(series)]
    if any(one.fits for one in series):
        parts += ["fits over n, [95 % intervals]:", *map(fit_summary, (one for one in series if one.fits))]
    for part in filter(None, parts):
        console.print(part)
        console.print()
    console.print(f"{len(rows)} scenario{'s' * (len(rows) != 1)} in {run.path}", soft_wrap=True)


def print_json(run: Run) -> None:
    """Print a run as one JSON document."""
    document = {
        "run": run.path and run.path.name,
        "path": run.path and str(run.path),
        "scenarios": records(run.scenarios),
        "fits": records(run.fits),
    }
    click.echo(dumps(document, indent=1))


def write_figure(run: Run, file: str) -> None:
    """Write a figure of a run, and say so."""
    from prsm_scale.report.plots import save_figure

    save_figure(split(records(run.scenarios), records(run.fits)), file)
    click.echo(f"figure in {file}", err=True)


def terminal(stderr: bool = False) -> Console:
    """Make a console that keeps the width of tables when its output goes to a file, and plain text plain."""
    from rich.console import Console

    from prsm_scale.report.tables import WIDTH

    console = Console(stderr=stderr, markup=False, highlight=False, emoji=False)
    console.width = max(console.width, WIDTH) if console.is_terminal else WIDTH
    return console
