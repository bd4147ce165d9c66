"""A method's page is complete: its sections, its knobs, its presets, its numbered differences."""

import re
from pathlib import Path

import pytest

from daso.settings.identity import knobs
from daso.settings.options import groups

ROOT = Path(__file__).parents[2]
PAGES = {path.stem: path.read_text() for path in sorted((ROOT / "docs" / "methods").glob("*.md"))}
EVERYTHING = "\n".join(PAGES.values())
SECTIONS = ["Formula", "Places of the step", "Hyper-parameters", "Metrics", "Differences"]
NODES = {
    "algorithm",
    "supervised",
    "align",
    "darp",
    "confidence",
    "abc",
    "daso",
    "debias",
    "balance",
    "sampler",
    "protocol",
}
KNOBS = [key for key in knobs() if key.partition(".")[0] in NODES and not key.endswith(".name")]


@pytest.mark.parametrize("page", PAGES)
def test_a_page_has_its_sections_in_order(page):
    headings = re.findall(r"^## (.+)$", PAGES[page], re.MULTILINE)
    assert [heading for heading in headings if heading in SECTIONS] == SECTIONS


@pytest.mark.parametrize("page", PAGES)
def test_the_differences_of_a_page_are_numbered_without_a_gap(page):
    found = re.findall(r"^(\d+)\. ", PAGES[page].partition("## Differences")[2], re.MULTILINE)
    assert found
    assert found == [str(n + 1) for n in range(len(found))]


@pytest.mark.parametrize("page", PAGES)
def test_the_files_that_a_page_names_exist(page):
    named = re.findall(r"`((?:daso|tests|benchmarks|multirun_scripts)/[\w/.]+)`", PAGES[page])
    linked = re.findall(r"\]\((?!http)([^)#]+)\)", PAGES[page])
    assert [name for name in named if not (ROOT / name).exists()] == []
    assert [name for name in linked if not (ROOT / "docs" / "methods" / name).exists()] == []


@pytest.mark.parametrize("key", KNOBS)
def test_every_knob_of_a_method_is_on_a_page(key):
    assert f"`{key}`" in EVERYTHING or f"`{key.partition('.')[2]}`" in EVERYTHING or f"`{key}=" in EVERYTHING


@pytest.mark.parametrize("preset", groups()["algorithm"])
def test_every_preset_is_on_a_page(preset):
    assert f"`{preset}`" in EVERYTHING or f"`algorithm={preset}`" in EVERYTHING


@pytest.mark.parametrize("page", PAGES)
def test_the_readme_leads_to_every_page(page):
    assert f"(docs/methods/{page}.md)" in (ROOT / "README.md").read_text()


@pytest.mark.parametrize(("folder", "lines"), [("learners", 120), ("slots", 150)])
def test_a_method_fits_a_page(folder, lines):
    files = [path for path in (ROOT / "daso" / folder).glob("*.py") if path.stem not in ("base", "slots")]
    lengths = {path.stem: len(path.read_text().splitlines()) for path in files}
    assert {name: length for name, length in lengths.items() if length > lines} == {}
