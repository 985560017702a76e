"""Writing that leaves what was there whole, and strict JSON."""

import errno
import io
import json
import math
from enum import StrEnum
from pathlib import Path

import pytest

from prsm_scale import atomic


class FullDisk:
    """An unbuffered file on a disk that has no room for more than some bytes."""

    def __init__(self, file, room):
        self.file, self.room = file, room

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.file.close()

    def __getattr__(self, name):
        return getattr(self.file, name)

    def write(self, data):
        if self.room == 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        written = self.file.write(data[: self.room])
        self.room -= written
        return written


def full_disk(path, mode, buffering):
    return FullDisk(io.FileIO(path, mode), room=100)


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "file"
    path.write_text("old\n")
    return path


def names(path):
    return [child.name for child in path.parent.iterdir()]


def test_appended_line_is_there(file):
    atomic.append_line(file, "é")
    assert file.read_text() == "old\né\n"


@pytest.mark.parametrize("length", [99, 100, 101, 1000])
def test_line_is_whole_or_not_there_when_the_disk_is_full(file, monkeypatch, length):
    monkeypatch.setattr(atomic, "open", full_disk, raising=False)
    line = "x" * (length - 1)
    if length <= 100:
        atomic.append_line(file, line)
        assert file.read_text() == f"old\n{line}\n"
    else:
        with pytest.raises(OSError, match="No space left"):
            atomic.append_line(file, line)
        assert file.read_text() == "old\n"


def test_line_that_does_not_reach_the_disk_is_taken_back(file, monkeypatch):
    def fail(_):
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(atomic.os, "fsync", fail)
    with pytest.raises(OSError, match="Input/output error"):
        atomic.append_line(file, "new")
    assert file.read_text() == "old\n"


def test_line_goes_to_a_file_that_exists(tmp_path):
    with pytest.raises(FileNotFoundError):
        atomic.append_line(tmp_path / "none", "new")


def test_file_is_replaced(file):
    atomic.write_text(file, "new")
    assert file.read_text() == "new"
    assert names(file) == ["file"]


def test_file_is_old_until_the_block_ends(file):
    with atomic.replacing(file) as partial:
        partial.write(b"new")
        partial.flush()
        assert file.read_text() == "old\n"


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_failure_before_the_rename_leaves_the_old_file_alone(file, monkeypatch, call):
    def fail(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(atomic.os, call, fail)
    with pytest.raises(OSError, match="No space left"):
        atomic.write_text(file, "new")
    assert file.read_text() == "old\n"
    assert names(file) == ["file"]


def test_interruption_leaves_the_old_file_alone(file):
    with pytest.raises(KeyboardInterrupt), atomic.replacing(file) as partial:
        partial.write(b"half")
        raise KeyboardInterrupt
    assert file.read_text() == "old\n"
    assert names(file) == ["file"]


def test_settings_become_plain_data():
    class Kind(StrEnum):
        A = "a"

    given = {
        "kind": Kind.A,
        3: (1, 2.5, None, True),
        "path": Path("x"),
        "wide": math.inf,
        "deep": [{"n": -math.inf}],
    }
    plain = json.loads(atomic.dumps(atomic.plain_data(given)))
    assert plain == {
        "kind": "a",
        "3": [1, 2.5, None, True],
        "path": "x",
        "wide": "inf",
        "deep": [{"n": "-inf"}],
    }


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_json_refuses_what_is_no_number(value):
    with pytest.raises(ValueError, match="not JSON compliant"):
        atomic.dumps({"a": value})


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (OSError(errno.ENOSPC, "No space left on device", "file"), "No space left on device"),
        (OSError("two\nlines"), "two"),
        (ValueError(""), "ValueError"),
    ],
)
def test_reason_is_one_line(error, text):
    assert atomic.reason(error) == text
