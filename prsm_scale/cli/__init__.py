"""The command line: parse, call, render. Each command's module is imported when the command is used."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib import import_module
from typing import Any, NoReturn

import click

from prsm_scale.errors import PrsmScaleError

INTERRUPTED = 130
PROGRAM = "prsm-scale"

_COMMANDS = {
    "sweep": "Simulate a grid of scenarios and fit curves over the number of nodes.",
    "load": "Simulate systems at fractions of their capacity: how latency grows with load.",
    "faults": "Run a system under fault scripts: how far it falls, and how it recovers.",
    "demo": "Run a small scaling test: three sizes, in seconds.",
    "suite": "Run the twelve configurations of the scaling tests.",
    "run": "Run a scaling test of your own from a TOML or JSON file.",
    "plan": "Plan for a load: the largest n that meets targets, machines and lines, and a roll-out.",
    "show": "Show a stored run: table, plot and fitted curves.",
    "fit": "Fit the curves of a stored run again, and show all laws that were tried.",
    "history": "List the runs of a folder, and the trends of their metrics.",
    "compare": "Find what got worse and what got better from one run to another.",
    "recommend": "Simulate changes of the systems of a stored run, and tell which help.",
    "validate": "Hold the program against closed forms, its other engine, peers and measured systems.",
    "trace": "Show the messages of one operation: table, space-time diagram, Perfetto trace.",
}
"""Name and help line of each command; its module in this package has the same name."""


class LazyGroup(click.Group):
    """A group whose help needs no command's module, and whose failures are one line each."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Name the commands, in the order in which a user meets them."""
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import the module of a command."""
        if cmd_name not in _COMMANDS:
            return None
        command: click.Command = import_module(f"{__name__}.{cmd_name}").command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl(list(_COMMANDS.items()))

    def main(  # type: ignore[override]  # click's overloads tell apart what this always does
        self, args: Sequence[str] | None = None, prog_name: str | None = None, **extra: Any
    ) -> NoReturn:
        """Run the command line and exit: 0 done, 1 failed, 2 bad usage, 3 regression found, 4 partly done, 130 interrupted."""
        try:
            code = super().main(args, prog_name or PROGRAM, **(extra | {"standalone_mode": False}))
        except PrsmScaleError as error:
            _complain(error.lines)
            code = error.exit_code
        except click.exceptions.NoArgsIsHelpError as error:
            error.show()
            code = error.exit_code
        except click.ClickException as error:
            _complain([" ".join(error.format_message().split())])
            code = error.exit_code
        except (click.Abort, KeyboardInterrupt):
            click.echo(f"{PROGRAM}: interrupted", err=True)
            code = INTERRUPTED
        sys.exit(code if isinstance(code, int) else 0)


def _complain(lines: Sequence[str]) -> None:
    for line in lines:
        click.echo(f"{PROGRAM}: error: {line}", err=True)


def _show_version(ctx: click.Context, _: click.Parameter, wanted: bool) -> None:
    if wanted:
        from prsm_scale import __version__

        click.echo(f"{PROGRAM} {__version__}")
        ctx.exit()


@click.group(
    cls=LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    help="""Simulate how PBFT-style consensus scales, from 4 to 1000 replicas and more.

    \b
    prsm-scale sweep --nodes 10..1000
    prsm-scale sweep --nodes 4,16,64..1024 --topology mesh,star --network lan,wan
    prsm-scale show results/RUN
    """,
)
@click.option(
    "--version",
    is_flag=True,
    expose_value=False,
    is_eager=True,
    callback=_show_version,
    help="Show the version and exit.",
)
def main() -> None:
    """Take the options of the group; the commands do the work."""
