"""The notebooks run as they are, through the public API alone, and hold the outputs of this version.

If what one prints has changed with the model: python docs/make.py.
"""

from __future__ import annotations

import os

import nbformat
import pytest
from nbclient import NotebookClient

from tests.e2e.program import ENVIRONMENT, ROOT

pytestmark = pytest.mark.e2e
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
ALLOWED_IMPORTS = {"matplotlib", "numpy", "pandas", "prsm_scale", "tempfile"}


@pytest.fixture(params=NOTEBOOKS, ids=lambda path: path.stem)
def notebook(request):
    return nbformat.read(request.param, as_version=4)


def code_cells(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def printed(notebook):
    """What each cell printed; drawings and tables follow the versions of the libraries that make them."""
    return [[out.text for out in cell.outputs if out.output_type == "stream"] for cell in code_cells(notebook)]


def test_outputs_are_kept_and_small(notebook):
    nbformat.validate(notebook)
    cells = code_cells(notebook)
    assert all(cell.outputs for cell in cells)
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    assert len(nbformat.writes(notebook)) < 150_000


def test_only_the_public_api_is_used(notebook):
    lines = [line.split() for cell in code_cells(notebook) for line in cell.source.splitlines()]
    modules = [words[1].split(".")[0] for words in lines if words[:1] in (["import"], ["from"])]
    assert set(modules) <= ALLOWED_IMPORTS
    assert not any("prsm_scale." in word for words in lines for word in words)


def test_it_runs_and_prints_what_it_holds(notebook, tmp_path, monkeypatch):
    for name, value in ENVIRONMENT.items():
        monkeypatch.setitem(os.environ, name, value)
    before = printed(notebook)
    NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(tmp_path)}}).execute()
    assert printed(notebook) == before
    assert list(tmp_path.iterdir()) == []
