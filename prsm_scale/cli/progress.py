"""Live progress of a sweep, on stderr."""

from __future__ import annotations

from types import TracebackType
from typing import TYPE_CHECKING, Self

from rich.progress import BarColumn, TaskID, TextColumn
from rich.progress import Progress as Bar

from prsm_scale.cli.output import terminal
from prsm_scale.wording import number

if TYPE_CHECKING:
    from prsm_scale.progress import Progress


class ProgressLine:
    """A line with what is done, how fast, and how long it will take; nothing where stderr is no terminal."""

    def __init__(self, total: int, quiet: bool, announcement: str) -> None:
        console = terminal(stderr=True)
        self._total = total
        self._announcement = "" if quiet else announcement
        self._bar = Bar(
            BarColumn(20),
            TextColumn("{task.fields[told]}"),
            console=console,
            transient=True,
            disable=quiet or not console.is_terminal,
        )
        self._task = TaskID(0)

    def __enter__(self) -> Self:
        """Show the line."""
        self._bar.start()
        self._task = self._bar.add_task("", total=self._total, told=f"0/{self._total} scenarios")
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Take the line away."""
        self._bar.stop()

    def __call__(self, progress: Progress) -> None:
        """Tell what a sweep reports; at first, once its input has been accepted, what it will do."""
        if self._announcement:
            self._bar.console.print(self._announcement, soft_wrap=True)
            self._announcement = ""
        told = f"{progress.done}/{progress.total} scenarios  {number(progress.messages_per_second)} messages/s"
        if progress.seconds_left is not None:
            told += f"  {_clock(progress.seconds_left)} left"
        self._bar.update(
            self._task,
            completed=progress.done + progress.share,
            total=progress.total,
            told=f"{told}  {progress.current}",
        )


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
