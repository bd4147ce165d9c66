"""The worked example of docs/add_a_method.md, followed in a copy of the project: it trains, and stands in the table."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "add_a_method.md").read_text()
NEEDED = ("train.py", "pyproject.toml", "setup.cfg", "README.md", "daso", "conf", "hydra_plugins", "tests", "docs")
BLOCK = re.compile(
    r"^(`{3,})(?:python|yaml|markdown)\n(?:# |<!-- )([\w./]+)(?:, below: (.+?))?(?: -->)?\n(.*?)^\1$", re.M | re.S
)
SHORT = ("train.steps=20", "train.batch_size=4", "train.eval_every=10", "train.log_every=10", "track=none")
ITS_TESTS = (
    "tests/unit/test_tide.py", "tests/unit/test_strength_zero.py", "tests/unit/test_every_pair.py",
    "tests/config/test_knobs.py", "tests/config/test_method_pages.py", "tests/config/test_run_key.py",
    "tests/graph/test_imports.py", "tests/graph/test_first_step.py", "tests/graph/test_no_host_sync.py",
    "tests/resume/test_state_names.py", "tests/resume/test_presets_resume.py", "tests/report/test_preset_headers.py",
)  # fmt: skip


@pytest.fixture(scope="module")
def followed(tmp_path_factory):
    """A copy of the project with every block of the page written into it."""
    root = tmp_path_factory.mktemp("project")
    for name in NEEDED:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, root / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(ROOT / name, root / name)
    blocks = [match.groups()[1:] for match in BLOCK.finditer(PAGE)]
    assert len(blocks) == 10
    for name, place, text in blocks:
        path = root / name
        if place is None:
            assert not path.exists()
            path.write_text(text)
        else:
            lines = path.read_text().splitlines(keepends=True)
            [at] = [n for n, line in enumerate(lines) if line.startswith(place)]
            path.write_text("".join([*lines[: at + 1], text, *lines[at + 1 :]]))
    return root


def call(root, *arguments):
    environment = os.environ | {"PYTHONPATH": str(root), "COLUMNS": "200"}
    done = subprocess.run(
        [sys.executable, *arguments], cwd=root, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done.stdout


def test_the_method_trains_and_stands_in_the_table(followed):
    said = call(followed, "train.py", "experiment=quickstart", "algorithm=fixmatch_tide", *SHORT)
    assert "fixmatch_tide" in said
    assert "train/tide/share/class/9" in next(followed.glob("outputs/*/metrics.jsonl")).read_text()
    table = call(followed, "-m", "daso.report", "table=mine", "metric=bacc")
    assert re.search(r"^\W*fixmatch_tide\b.*\d", table, re.M)


@pytest.mark.slow
def test_what_is_tested_of_every_method_is_true_of_it(followed):
    for line in re.findall(r"^python -c \"(.+)\"$", PAGE, re.M):
        call(followed, "-c", line)
    call(followed, "-m", "ruff", "check", "daso", "tests/unit/test_tide.py")
    call(followed, "-m", "ruff", "format", "--check", "daso", "tests/unit/test_tide.py")
    call(followed, "-m", "mypy")
    call(followed, "-m", "pytest", "-n", "0", "-q", "-p", "no:cacheprovider", *ITS_TESTS, "-k", "tide or not [")


def test_every_file_that_the_page_names_exists():
    named = re.findall(r"`((?:daso|tests|docs|conf)/[\w/.-]+\.(?:py|md|yaml))`", PAGE)
    ours = {match[2] for match in BLOCK.finditer(PAGE)}
    assert [name for name in named if name not in ours and not (ROOT / name).exists()] == []
