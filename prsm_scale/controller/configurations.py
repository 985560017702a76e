"""The configurations that come with the package, and those of a user's files."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any, Final

from prsm_scale.controller.config import ScalingTestConfig
from prsm_scale.errors import UsageError, one_of
from prsm_scale.validation import read_json, read_toml

_FILE: Final = "scaling_tests.toml"
DEMO: Final = {"name": "scaling_demo", "node_counts": [10, 25, 50], "byzantine_ratios": [0.0, 0.1]}


def comprehensive_scaling_configs() -> list[ScalingTestConfig]:
    """The twelve configurations of the suite, in the order in which it runs them."""
    return [ScalingTestConfig(**values) for values in _ready()]


def choose(configs: list[ScalingTestConfig], only: str) -> list[ScalingTestConfig]:
    """Those whose name or `test_type` is among comma-separated words, or begins with one.

    Raises
    ------
    UsageError
        For a word that fits none.
    """
    chosen: list[ScalingTestConfig] = []
    for word in filter(None, (part.strip() for part in only.split(","))):
        found = [one for one in configs if one.name.startswith(word) or one.metadata.get("test_type") == word]
        if not found:
            raise UsageError("only", word, one_of([one.name for one in configs], word))
        chosen += [one for one in found if one not in chosen]
    if not chosen:
        raise UsageError("only", only, one_of([one.name for one in configs]))
    return [one for one in configs if one in chosen]


def read_config_file(path: str | Path) -> ScalingTestConfig:
    """Read a configuration from a TOML file, or a JSON file: of its fields, or a result, whose configuration it then is.

    Raises
    ------
    UsageError
        If the file cannot be read, is neither, or its fields are not allowed.
    """
    file = Path(path)
    if file.suffix == ".toml":
        return ScalingTestConfig(**read_toml(file, "config"))
    if file.suffix != ".json":
        raise UsageError("config", str(path), "a .toml or .json file")
    values = read_json(file, "config")
    if isinstance(values.get("config"), dict):
        values = values["config"]
    return ScalingTestConfig(**values)


def _ready() -> Iterator[dict[str, Any]]:
    for table in read_toml(str(files("prsm_scale") / "data" / _FILE), "configurations")["tests"]:
        each, limits = table.pop("each", None), table.pop("limits", {})
        if each is None:
            yield table
            continue
        ((axis, values),) = each.items()
        for value in values:
            yield _filled(table, {axis: value}) | {axis: value} | limits.get(value, {})


def _filled(value: Any, words: Mapping[str, str]) -> Any:
    """Put values into the braces of all texts."""
    if isinstance(value, dict):
        return {name: _filled(one, words) for name, one in value.items()}
    return value.format(**words) if isinstance(value, str) else value
