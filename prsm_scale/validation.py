"""What is wrong with settings and files, in this package's own words."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from prsm_scale.errors import UsageError, did_you_mean

_KINDS = {
    "integer": "a whole number",
    "number": "a number",
    "boolean": "true or false",
    "array": "a list of names",
}
_BOUNDS = {
    "minimum": "{} or more",
    "exclusiveMinimum": "more than {}",
    "maximum": "at most {}",
    "exclusiveMaximum": "less than {}",
}


class Checked(BaseModel):
    """A table of a file, or the like: nothing but its fields is allowed, and what is wrong with it is a `UsageError`."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    def __init__(self, **given: Any) -> None:
        try:
            super().__init__(**given)
        except ValidationError as error:
            raise usage_error(error, type(self)) from None


def read_toml(path: str | Path, field: str) -> dict[str, Any]:
    """Tables of a TOML file that is the value of a field.

    Raises
    ------
    UsageError
        If it cannot be read, or is no TOML.
    """
    try:
        return tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(field, str(path), f"a TOML file that can be read ({error.strerror})") from None
    except ValueError as error:
        raise UsageError(field, str(path), f"a file in TOML ({error})") from None


def read_json(path: str | Path, field: str) -> dict[str, Any]:
    """The object of a JSON file that is the value of a field.

    Raises
    ------
    UsageError
        If it cannot be read, is no JSON, or holds no object.
    """
    try:
        told = json.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(field, str(path), f"a file that can be read ({error.strerror})") from None
    except ValueError as error:
        raise UsageError(field, str(path), f"a whole file in JSON ({error})") from None
    if not isinstance(told, dict):
        raise UsageError(field, str(path), "a JSON object with the fields of what it holds")
    return told


@contextmanager
def gathering(faults: list[UsageError], what: str) -> Iterator[None]:
    """Collect the usage errors of a block, with the name of what they are about."""
    try:
        yield
    except UsageError as error:
        faults.extend(UsageError(f"{what}: {fault.field}", fault.value, fault.allowed) for fault in error.faults)


def usage_error(error: ValidationError, model: type[BaseModel]) -> UsageError:
    """Make one error, with a fault for each that `error` holds.

    Parameters
    ----------
    error
        What constructing a `model` raised. Errors that are `UsageError` already are taken as they are.
    model
        The model whose fields are meant.
    """
    return UsageError.gather([_fault(found, model) for found in error.errors()])


def _fault(found: Mapping[str, Any], model: type[BaseModel]) -> UsageError:
    own = found.get("ctx", {}).get("error")
    if isinstance(own, UsageError):
        return own
    name, value = str(found["loc"][0]), found["input"]
    if found["type"] == "extra_forbidden":
        return UsageError(name, value, f"there is no such setting{did_you_mean(name, model.model_fields)}")
    if found["type"] == "missing":
        return UsageError(name, None, "a value is needed")
    schema = model.model_json_schema()["properties"][name]
    return UsageError(name, value, _allowed(schema, of_item=len(found["loc"]) > 1))


def _allowed(schema: Mapping[str, Any], of_item: bool) -> str:
    """Describe a JSON schema: kind and bounds of a number, or the type."""
    kinds = [schema, *schema.get("anyOf", ())]
    items = [kind["items"] for kind in kinds if of_item and "items" in kind]
    kind = next(one for one in (*items, *kinds) if "type" in one)
    bounds = " and ".join(text.format(kind[key]) for key, text in _BOUNDS.items() if key in kind)
    name = _KINDS.get(kind["type"], "text")
    return f"{name}, {bounds}" if bounds else name
