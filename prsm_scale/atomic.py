"""Writing files so that what was there stays whole: rename into place, append or take back, strict JSON."""

from __future__ import annotations

import json
import math
import os
import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO

from prsm_scale.errors import PrsmScaleError


@contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """Give a file to write that takes the place of `path` only once it is whole and on disk.

    If the block fails, `path` is as it was and nothing is left beside it.
    """
    partial = path.with_name(f".{path.name}.{secrets.token_hex(4)}.partial")
    try:
        with open(partial, "xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, path)
        sync_folder(path.parent)
    finally:
        partial.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write a whole UTF-8 file, or none of it."""
    with replacing(path) as file:
        file.write(text.encode())


def append_line(path: Path, text: str) -> None:
    """Add one line to an existing file and wait until it is on disk; on failure take all of it back.

    Raises
    ------
    OSError
        If the file does not exist, or the line cannot be written.
    """
    line = f"{text}\n".encode()
    with open(path, "r+b", buffering=0) as file:
        end = file.seek(0, os.SEEK_END)
        try:
            while line:
                line = line[file.write(line) :]
            os.fsync(file.fileno())
        except OSError:
            file.truncate(end)
            raise


def sync_folder(folder: Path) -> None:
    """Wait until a folder's own entries are on disk, without which a rename does not outlive a power cut."""
    with suppress(PermissionError):  # Windows opens no folders, and needs none of this
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def plain_data(value: Any) -> Any:
    """Bring settings into what strict JSON can hold.

    An infinite setting becomes the text "inf", which reads back as the number; unknown objects become text.
    """
    if isinstance(value, Mapping):
        return {str(key): plain_data(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain_data(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value if isinstance(value, str | int | float | None) else str(value)


def strict(value: Any) -> Any:
    """Bring results into what strict JSON can hold: keys as text, tuples as lists, NaN and infinity as null."""
    if isinstance(value, Mapping):
        return {str(key): strict(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [strict(item) for item in value]
    value = value.item() if hasattr(value, "item") else value
    return None if isinstance(value, float) and not math.isfinite(value) else value


def dumps(value: Any, *, indent: int | None = None, sort_keys: bool = False) -> str:
    """Render strict JSON; NaN and infinity are refused with ValueError, never written."""
    return json.dumps(value, allow_nan=False, ensure_ascii=False, indent=indent, sort_keys=sort_keys)


def reason(error: BaseException) -> str:
    """Say in one line why an operation on a file failed."""
    text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return text.splitlines()[0] if text else type(error).__name__


@contextmanager
def failing_in_one_line(folder: Path) -> Iterator[None]:
    """Turn a failure to write below `folder` into an error that one line tells."""
    try:
        yield
    except OSError as error:
        message = f"cannot write to {folder}: {reason(error)}; what was there is kept"
        raise PrsmScaleError(message) from error
