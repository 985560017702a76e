"""The command as users run it: in a process of its own, in a folder of its own, without a terminal."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any, NoReturn

ROOT = Path(__file__).resolve().parent.parent.parent
_SCRIPT = shutil.which("prsm-scale", path=str(Path(sys.executable).parent))
_CALL = "from prsm_scale.cli import main; main()"

PROGRAM = [_SCRIPT] if _SCRIPT else [sys.executable, "-c", _CALL]
"""The installed script; in a checkout that is not installed, the function that it calls."""
ENVIRONMENT = os.environ if _SCRIPT else os.environ | {"PYTHONPATH": os.pathsep.join(map(os.path.abspath, sys.path))}

PROVENANCE_FIELDS = ("run_id", "wall_seconds", "messages_per_second")
"""What two runs of one scenario may differ in."""


def run(folder: Path, *words: str, code: int = 0) -> subprocess.CompletedProcess[str]:
    """Run a command in `folder`, and hold it to its exit code and to showing no traceback."""
    done = subprocess.run(
        [*PROGRAM, *words], cwd=folder, env=ENVIRONMENT, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=500
    )
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    return done


def strict_json(text: str) -> Any:
    """Read JSON that holds no NaN and no infinity."""

    def refuse(name: str) -> NoReturn:
        raise AssertionError(f"{name} is no JSON")

    return json.loads(text, parse_constant=refuse)


def results(document: dict[str, Any]) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Scenarios and fits of a run's JSON without what differs from run to run."""
    scenarios, fits = (
        [{name: value for name, value in row.items() if name not in PROVENANCE_FIELDS} for row in document[part]]
        for part in ("scenarios", "fits")
    )
    return scenarios, fits


def code_blocks(page: Path, *languages: str) -> list[str]:
    """Fenced code of a Markdown page in these languages."""
    return re.findall(rf"^```(?:{'|'.join(languages)})\n(.*?)^```", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
