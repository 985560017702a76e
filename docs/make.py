"""Make what these pages take from the program itself: columns, validation, the README's output and figures, the notebook.

    python docs/make.py [--columns | --validation]

With ``--columns`` only docs/columns.md, in no time; with ``--validation`` only docs/validation.md, in some minutes; else the
README's commands and the notebook run too.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from prsm_scale import validate
from prsm_scale.columns import FIT_COLUMNS, OPERATION_COLUMNS, SCENARIO_COLUMNS, VALIDATION_COLUMNS, docs_table
from prsm_scale.fault_columns import FAULT_COLUMNS, TIMELINE_COLUMNS
from prsm_scale.host_columns import HOST_COLUMNS, HOST_FILE

ROOT = Path(__file__).resolve().parent.parent
COLUMNS = ROOT / "docs" / "columns.md"
VALIDATION = ROOT / "docs" / "validation.md"
README = ROOT / "README.md"

_SECTIONS = (
    ("scenarios.parquet", "One row a scenario; the same columns in `scenarios.csv` and `scenarios.json`.", SCENARIO_COLUMNS),
    (
        "fits.parquet",
        "One row for each group of scenarios that differ in n alone, quantity and law; of `load`, that differ in the rate alone.",
        FIT_COLUMNS,
    ),
    (
        "operations.parquet",
        "One row an operation, all scenarios of the run one after another; written where `--save-operations` asks for it.",
        OPERATION_COLUMNS,
    ),
    (
        HOST_FILE,
        "One row a sample of the host while `sweep` ran, about one a second; not written with `--no-monitor`.",
        HOST_COLUMNS,
    ),
    ("validation.parquet", "One row a prediction that `validate` holds against something.", VALIDATION_COLUMNS),
    ("faults.parquet", "One row for each replicate under a fault script, see docs/fault_scripts.md.", FAULT_COLUMNS),
    ("fault_timeline.parquet", "One row for each replicate under a fault script and bin of time.", TIMELINE_COLUMNS),
)
_HEAD = """# Columns of a run's files

Made from the registry in `prsm_scale/columns.py` by `python docs/make.py --columns`. A value that may be missing is null in
Parquet and JSON and empty in CSV; NaN and infinity are never written.
"""


def columns_page() -> str:
    """Text of docs/columns.md."""
    parts = [f"\n## {file}\n\n{told}\n\n{docs_table(columns)}" for file, told, columns in _SECTIONS]
    return _HEAD + "".join(parts)


def shown_commands(readme: str) -> list[str]:
    """Commands of the README whose output stands below them."""
    return re.findall(r"^\$ (prsm-scale .*)$", readme, re.MULTILINE)


def figure_commands(readme: str) -> list[str]:
    """Commands of the README that make a figure of docs/img."""
    return re.findall(r"^prsm-scale .* docs/img/.*$", readme, re.MULTILINE)


def run(command: str) -> str:
    """Run a command from an empty folder, its figure going to docs/img, and return what the terminal would show."""
    words = [str(ROOT / word) if word.startswith("docs/img/") else word for word in command.split()[1:]]
    program = [sys.executable, "-c", "from prsm_scale.cli import main; main()", *words]
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(program, cwd=folder, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=True)
    return "\n".join(line.rstrip() for line in done.stdout.replace(f"{ROOT}/", "").strip().splitlines())


def with_outputs(readme: str) -> str:
    """Put the present output below each command of the README."""
    for command in shown_commands(readme):
        block = re.compile(rf"^\$ {re.escape(command)}\n.*?^```", re.MULTILINE | re.DOTALL)
        text = f"$ {command}\n{run(command)}\n```"
        readme = block.sub(lambda _, text=text: text, readme)
    return readme


def execute_notebook(path: Path) -> None:
    """Run a notebook in place, and keep nothing in it that differs from run to run."""
    import nbformat
    from nbclient import NotebookClient

    notebook = nbformat.read(path, as_version=4)
    with tempfile.TemporaryDirectory() as folder:
        NotebookClient(notebook, timeout=600, resources={"metadata": {"path": folder}}).execute()
    for cell in notebook.cells:
        cell.metadata.clear()
    notebook.metadata["language_info"] = {"name": "python"}
    nbformat.write(notebook, path)


def main() -> None:
    """Write the pages."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--columns", action="store_true", help="write docs/columns.md only")
    parser.add_argument("--validation", action="store_true", help="write docs/validation.md only")
    given = parser.parse_args()
    if not given.validation:
        COLUMNS.write_text(columns_page(), encoding="utf-8")
    if not given.columns:
        VALIDATION.write_text(validate().page, encoding="utf-8")
    if not given.columns and not given.validation:
        readme = README.read_text(encoding="utf-8")
        README.write_text(with_outputs(readme), encoding="utf-8")
        for command in figure_commands(readme):
            run(command)
        for path in sorted((ROOT / "notebooks").glob("*.ipynb")):
            execute_notebook(path)


if __name__ == "__main__":
    main()
