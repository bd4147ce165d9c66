"""The notebook of a first run: it runs from its first cell to its last, and what is stored of it is what it shows."""

import json
import os
import re
from pathlib import Path

import pytest

from tests.compose import config_of

ROOT = Path(__file__).resolve().parents[2]
NOTEBOOK = ROOT / "docs" / "notebooks" / "first_run.ipynb"
STORED = json.loads(NOTEBOOK.read_bytes())
PICTURES = 5


def outputs(notebook):
    return [output for cell in notebook["cells"] for output in cell.get("outputs", [])]


def pictures(notebook):
    return [output["data"]["image/png"] for output in outputs(notebook) if "image/png" in output.get("data", {})]


def text(notebook):
    return "".join("".join(output.get("text", "")) for output in outputs(notebook))


def test_what_is_stored_is_whole_and_small():
    assert all(cell["execution_count"] for cell in STORED["cells"] if cell["cell_type"] == "code")
    assert {output["output_type"] for output in outputs(STORED)} <= {"stream", "display_data", "execute_result"}
    assert len(pictures(STORED)) == PICTURES
    assert NOTEBOOK.stat().st_size < 200_000
    assert not re.search(r"/(home|root|tmp|work|Users)/", text(STORED))
    said = text(STORED).splitlines()
    assert [line for line in said if line != line.rstrip()] == []  # no line was filled up to a terminal's width
    assert {"folder", "next"} <= {line.partition(" ")[0] for line in said}  # the program's last words, as they are now


def test_it_loads_the_run_that_it_trains():
    key = config_of("experiment=quickstart", "track=none").run_key
    assert f'daso.load("{key}")' in NOTEBOOK.read_text().replace('\\"', '"')
    assert text(STORED).count(key) >= 2


def test_its_links_lead_somewhere():
    words = "".join("".join(cell["source"]) for cell in STORED["cells"] if cell["cell_type"] == "markdown")
    links = re.findall(r"\]\((?!http)([^)#]+)\)", words)
    assert links
    assert [link for link in links if not (NOTEBOOK.parent / link).exists()] == []


@pytest.mark.slow
def test_it_runs_from_the_first_cell_to_the_last(tmp_path, monkeypatch):
    import nbformat
    from nbclient import NotebookClient

    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]))
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    NotebookClient(notebook, timeout=500, resources={"metadata": {"path": str(tmp_path)}}).execute()
    assert len(pictures(notebook)) == PICTURES
    assert (tmp_path / "outputs").is_dir()
