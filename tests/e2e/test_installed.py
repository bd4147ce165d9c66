"""Installed, the program needs no checkout: what it reads travels with it, and any folder will do."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from daso.machine.streams import STARTS

ROOT = Path(__file__).resolve().parents[2]
SOURCES = ("setup.py", "setup.cfg", "pyproject.toml", "README.md", "LICENSE", "daso", "conf", "hydra_plugins")
OWN = "# @package _global_\ndefaults:\n  - override /algorithm: fixmatch\n\ntrain:\n  steps: 30\n"


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    """The files that a wheel puts into a site-packages folder."""
    source, built = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("site-packages")
    built_in(source, "build_py", "--build-lib", built)
    return built


def built_in(source, *arguments):
    """Copy what is installed into a folder, and build it there."""
    for name in SOURCES:
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        copy(ROOT / name, source / name)
    command = [sys.executable, "setup.py", "-q", *map(str, arguments)]
    subprocess.run(command, cwd=source, check=True, capture_output=True)


@pytest.fixture
def installed(library, tmp_path):
    """Runs `python -m ...` with the installed files, in a folder that has nothing to do with them."""

    def call(*arguments):
        environment = os.environ | {"PYTHONPATH": str(library), "COLUMNS": "200"}
        command = [sys.executable, "-m", *arguments]
        return subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)

    return call


def files(folder):
    found = (path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
    return {path for path in found if "__pycache__" not in path.parts}


def test_the_wheel_takes_every_file_of_the_program_along(library):
    assert files(library / "daso" / "conf") == files(ROOT / "conf")
    assert files(library / "hydra_plugins") == files(ROOT / "hydra_plugins")
    assert {path for path in files(library / "daso") if path.parts[0] != "conf"} == files(ROOT / "daso")
    assert {path.name for path in library.iterdir()} == {"daso", "hydra_plugins"}


def test_the_folder_above_an_editable_clone_is_not_taken_for_the_package(tmp_path):
    clone, wheels, packages = tmp_path / "daso", tmp_path / "wheels", tmp_path / "site-packages"
    clone.mkdir()
    built_in(clone, "editable_wheel", "--dist-dir", wheels)
    (wheel,) = wheels.glob("*.whl")
    shutil.unpack_archive(wheel, packages, "zip")
    code = f"import site; site.addsitedir({str(packages)!r}); import daso, sys; sys.exit(daso.load.__module__)"
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    command = [sys.executable, "-S", "-c", code]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.stderr.strip() == "daso"


def test_the_program_finds_its_options_plugins_and_a_person_s_own_options_from_any_folder(installed, tmp_path):
    (tmp_path / "mine" / "experiment").mkdir(parents=True)
    (tmp_path / "mine" / "experiment" / "small.yaml").write_text(OWN)
    done = installed("daso", "--config-dir", "mine", "-m", "experiment=quickstart,small", "plan=true")
    assert (done.returncode, done.stderr) == (0, f"{STARTS}\n")
    assert "1,030 to train, of 1,030" in done.stdout
    assert "daso --config-dir mine -m experiment=quickstart,small plan=probe" in done.stdout.replace("\n", "")


def test_the_splits_command_works_from_any_folder(installed, tmp_path):
    done = installed("daso.splits", "experiment=quickstart", "out=here")
    assert done.returncode == 0
    assert done.stderr in ("", f"{STARTS}\n")  # where it takes a while
    assert len(list((tmp_path / "here").rglob("labeled.txt"))) == 1
