"""Options of the command line that stand for settings, made from the settings themselves."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import fields
from typing import Any

import click

from prsm_scale.axes import as_tuple, is_user_graph
from prsm_scale.config import AXES, Scenario, Sweep
from prsm_scale.errors import UsageError

_FLAGS = {"byzantine_ratio": "byzantine"}
_LISTS = ("regions", "placement")
_HIDDEN = ("graph", "graph_digest")
AXIS_SECTION = "Axes: one value, or several separated by commas"
SCENARIO_SECTION = "Scenario: one value each"
_SETTING_SECTION = "Settings: one value each"
RUN_SECTION = "This run"
_THRESHOLD_SECTION = "What counts as too much or too little"
_TARGET_SECTION = "Targets"


class SectionOption(click.Option):
    """An option that the help lists under a heading of its own."""

    def __init__(self, *names: Any, section: str = RUN_SECTION, **attributes: Any) -> None:
        super().__init__(*names, **attributes)
        self.section = section


class SectionCommand(click.Command):
    """A command whose options are listed in sections."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the options, section by section."""
        sections: dict[str, list[tuple[str, str]]] = {}
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx)
            if record is not None:
                sections.setdefault(getattr(parameter, "section", RUN_SECTION), []).append(record)
        for title, records in sections.items():
            with formatter.section(title):
                formatter.write_dl(records)


RUN_OPTIONS = (
    SectionOption(["--config"], metavar="FILE", help="TOML file of settings; options go before it"),
    SectionOption(["--out"], metavar="FOLDER", default="results", help="where runs are stored [results]"),
    SectionOption(["--resume"], metavar="RUN", help="go on with this run, by its own settings unless others are given"),
    SectionOption(["--threads"], type=click.IntRange(min=1), help="threads to use [one per processor]"),
    SectionOption(["--dry-run"], is_flag=True, help="list the scenarios and stop"),
    SectionOption(["--json", "as_json"], is_flag=True, help="print one JSON document in place of tables"),
    SectionOption(["--plot"], metavar="FILE", help="write a figure as well (.png, .svg or .pdf)"),
    SectionOption(["--quiet", "-q"], is_flag=True, help="no progress, and the run's folder in place of tables"),
)
"""Options of every command that makes a run."""


def setting_options() -> Iterator[SectionOption]:
    """One option for each setting of a sweep, axes first."""
    schemas = Scenario.model_json_schema()["properties"]
    others = [name for name in Scenario.model_fields if name not in AXES and name not in _HIDDEN]
    for name in ("nodes", *(axis for axis in AXES if axis != "nodes"), *others):
        yield _option(name, schemas[name])


def scenario_options(left_out: Collection[str], helps: Mapping[str, str]) -> Iterator[SectionOption]:
    """One option for each setting of a single scenario, but those left out; `helps` goes before their own help texts."""
    for option in setting_options():
        if option.name not in left_out:
            option.section = SCENARIO_SECTION
            option.help = helps.get(option.name or "", option.help)
            yield option


def given_settings(values: Mapping[str, Any]) -> dict[str, Any]:
    """Take the options that the user gave."""
    return {name: value for name, value in values.items() if name in Sweep.model_fields and value is not None}


def threshold_options() -> Iterator[SectionOption]:
    """One option for each threshold of the findings."""
    from prsm_scale.analysis.thresholds import Thresholds

    for one in fields(Thresholds):
        is_text = isinstance(one.default, str)
        default = "" if one.default is None else f" [{one.default if is_text else format(one.default, 'g')}]"
        yield SectionOption(
            [f"--{one.name.replace('_', '-')}", one.name],
            section=_THRESHOLD_SECTION,
            metavar="TEXT" if is_text else "NUMBER",
            help=one.metadata["meaning"] + default,
            callback=lambda ctx, parameter, text: text if text is None else _number(text),
        )


def target_options() -> Iterator[SectionOption]:
    """One option for each target of a plan."""
    from prsm_scale.planning.targets import Targets

    for name, field in Targets.model_fields.items():
        default = "" if field.is_required() or field.default is None else f" [{field.default:g}]"
        yield SectionOption(
            [f"--{name.replace('_', '-')}", name],
            section=_TARGET_SECTION,
            metavar="NUMBER",
            help=f"{field.description}{default}",
            callback=lambda ctx, parameter, text: text if text is None else _number(text),
        )


def one_scenario(settings: Mapping[str, Any], defaults: Mapping[str, Any]) -> Scenario:
    """Make the one scenario of settings of which each has one value.

    Parameters
    ----------
    settings
        What the user gave.
    defaults
        What stands where that gives nothing; `nodes` not where a graph has its own.

    Raises
    ------
    UsageError
        One line for each fault, or for each setting with several values.
    """
    graph = any(map(is_user_graph, as_tuple(settings.get("topology"))))
    own = {name: value for name, value in defaults.items() if not (graph and name == "nodes")}
    sweep = Sweep(**(own | dict(settings)))
    several = [UsageError(name, settings[name], "one value") for name in AXES if len(as_tuple(getattr(sweep, name))) > 1]
    if several:
        raise UsageError.gather(several)
    (scenario,) = sweep.scenarios()
    return scenario


def _option(name: str, schema: Mapping[str, Any]) -> SectionOption:
    kinds = {kind.get("type") for kind in (schema, *schema.get("anyOf", ()))}
    flag = f"--{_FLAGS.get(name, name).replace('_', '-')}"
    section = AXIS_SECTION if name in AXES else _SETTING_SECTION
    meaning = schema["description"] + _default(name)
    if "boolean" in kinds:
        return SectionOption([flag, name], section=section, help=meaning, is_flag=True, default=None)
    is_number = bool(kinds & {"integer", "number"}) and name != "nodes"
    several = name in _LISTS or (name in AXES and name != "nodes")

    def convert(ctx: click.Context, parameter: click.Parameter, text: str | None) -> Any:
        if text is None or not (several or is_number):
            return text
        read = _number if is_number or name == "placement" else str.strip
        values = [read(part) for part in text.split(",")]
        return values if several and values != ["random"] and values != ["worst"] else values[0]

    kind = "NUMBER" if is_number else "TEXT"
    return SectionOption([flag, name], section=section, help=meaning, metavar=kind, callback=convert)


def _default(name: str) -> str:
    field = Sweep.model_fields[name]
    value = "10..1000" if name == "nodes" else field.default
    shown = value[0] if isinstance(value, tuple) else value
    return "" if shown is None or shown is False else f" [{shown}]"


def _number(text: str) -> Any:
    """Read a number; what is none stays text, for the setting itself to reject by name."""
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text.strip()
