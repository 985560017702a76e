"""Live progress of runs, on stderr."""

from __future__ import annotations

from types import TracebackType
from typing import TYPE_CHECKING, Self

from rich.progress import BarColumn, TaskID, TextColumn
from rich.progress import Progress as Bar

from prsm_scale.cli.output import terminal
from prsm_scale.wording import number

if TYPE_CHECKING:
    from prsm_scale.progress import Progress


class ProgressLines:
    """A line for each run under way, with what is done, how fast, and how long it will take; none where stderr is no terminal."""

    def __init__(self, quiet: bool) -> None:
        console = terminal(stderr=True)
        self._quiet = quiet
        self._lines: dict[str, TaskID] = {}
        self._bar = Bar(
            BarColumn(20),
            TextColumn("{task.fields[told]}"),
            console=console,
            transient=True,
            disable=quiet or not console.is_terminal,
        )

    def __enter__(self) -> Self:
        """Show the lines."""
        self._bar.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Take the lines away."""
        self._bar.stop()

    def announce(self, text: str) -> None:
        """Print a line that stays."""
        if not self._quiet:
            self._bar.console.print(text, soft_wrap=True)

    def begin(self, name: str, total: int) -> None:
        """Add the line of a run of so many scenarios."""
        self._lines[name] = self._bar.add_task("", total=total, told=f"{_named(name)}0/{total} scenarios")

    def tell(self, name: str, progress: Progress) -> None:
        """Tell what a run reports, after its name."""
        if name not in self._lines:
            self.begin(name, progress.total)
        told = f"{progress.done}/{progress.total} scenarios  {number(progress.messages_per_second)} messages/s"
        if progress.seconds_left is not None:
            told += f"  {_clock(progress.seconds_left)} left"
        self._bar.update(
            self._lines[name],
            completed=progress.done + progress.share,
            total=progress.total,
            told=f"{_named(name)}{told}  {progress.current}",
        )

    def end(self, name: str) -> None:
        """Take the line of a run away."""
        if name in self._lines:
            self._bar.remove_task(self._lines.pop(name))


class ProgressLine:
    """The line of the only run, and what is said once its input has been accepted."""

    def __init__(self, total: int, quiet: bool, announcement: str) -> None:
        self._total, self._announcement = total, announcement
        self._lines = ProgressLines(quiet)

    def __enter__(self) -> Self:
        """Show the line."""
        self._lines.__enter__()
        self._lines.begin("", self._total)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Take the line away."""
        self._lines.__exit__(kind, error, trace)

    def __call__(self, progress: Progress) -> None:
        """Tell what the run reports; at first what it will do."""
        if self._announcement:
            self._lines.announce(self._announcement)
            self._announcement = ""
        self._lines.tell("", progress)


def _named(name: str) -> str:
    return f"{name}  " if name else ""


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
