"""``prsm-scale recommend``: which changes help."""

from __future__ import annotations

from typing import Any

import click

from prsm_scale.atomic import dumps
from prsm_scale.cli import PROGRAM
from prsm_scale.cli.options import SectionCommand, SectionOption, threshold_options
from prsm_scale.cli.output import load_run, terminal

_EXPERIMENTS = "Experiments"
_CONDITIONS = ("min_success", "min_ops_per_node_per_second", "max_latency_ms", "latency")
"""Thresholds by which n is chosen."""


def _recommend(
    result: str,
    nodes: int | None,
    only: str | None,
    candidates: str | None,
    min_gain: float | None,
    max_messages: int | None,
    threads: int | None,
    out: str,
    everything: bool,
    as_json: bool,
    quiet: bool,
    **options: Any,
) -> None:
    from prsm_scale.analysis.thresholds import Thresholds
    from prsm_scale.cli.progress import ProgressLine
    from prsm_scale.experiments.recommending import recommend

    thresholds = Thresholds(**{name: value for name, value in options.items() if value is not None})
    limits: dict[str, Any] = {"min_gain": min_gain, "max_messages": max_messages}
    stored = load_run(result, out)
    if not stored.finished:
        click.echo(f"{PROGRAM}: {stored.path} is unfinished; what it holds so far is looked at", err=True)
    with ProgressLine(1, quiet, "") as progress:
        found = recommend(
            stored,
            thresholds=thresholds,
            nodes=nodes,
            candidates=candidates,
            only=[name.strip() for name in only.split(",")] if only is not None else None,
            **{name: value for name, value in limits.items() if value is not None},
            threads=threads,
            progress=progress,
        )
    if as_json:
        ends = {"run": stored.provenance["run_id"], "path": str(stored.path), "finished": stored.finished}
        click.echo(dumps(ends | found.to_dict(), indent=1))
        return
    from prsm_scale.report.recommendations import recommendation_parts

    console = terminal()
    for part in recommendation_parts(found, everything):
        console.print(part)


command = SectionCommand(
    "recommend",
    params=[
        click.Argument(["result"]),
        SectionOption(
            ["--nodes"], section=_EXPERIMENTS, type=int, help="n of the experiments [the smallest that fails, or the largest]"
        ),
        SectionOption(["--only"], section=_EXPERIMENTS, metavar="TEXT", help="families to try, as in topology,batch [all]"),
        SectionOption(
            ["--candidates"], section=_EXPERIMENTS, metavar="FILE", help="TOML file of candidates in place of those shipped"
        ),
        SectionOption(["--min-gain"], section=_EXPERIMENTS, type=float, help="gain from which a change helps [0.05]"),
        SectionOption(
            ["--max-messages"],
            section=_EXPERIMENTS,
            type=int,
            help="messages of an experiment, about [8000000]",
        ),
        SectionOption(["--out"], metavar="FOLDER", default="results", help="where a run lies that is given by name [results]"),
        SectionOption(["--threads"], type=click.IntRange(min=1), help="experiments at once [one per processor]"),
        SectionOption(["--all", "everything"], is_flag=True, help="show what does not help as well"),
        SectionOption(["--json", "as_json"], is_flag=True, help="print one JSON document in place of tables"),
        SectionOption(["--quiet", "-q"], is_flag=True, help="no progress"),
        *(one for one in threshold_options() if one.name in _CONDITIONS),
    ],
    callback=_recommend,
    help="""Simulate changes of the systems of a stored run where they fail, and tell which help and by how much.

    \b
    prsm-scale recommend RESULT
    prsm-scale recommend RESULT --nodes 200 --only topology,batch --all
    prsm-scale recommend RESULT --max-latency-ms 500 --latency p95 --json

    RESULT is a run's folder or file, or the name of either where it lies in results/. Changes are simulated with the seed of
    the run, so that gains are tight; a change that was not simulated is not shown.""",
)
