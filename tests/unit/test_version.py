"""The code's version tells every state of the files that numbers depend on apart."""

import os
import shutil
import subprocess

import pytest

from daso.machine.version import CodeVersion, code_version, version_of


@pytest.fixture
def checkout(tmp_path):
    def git(*arguments):
        identity = ["-c", "user.name=a", "-c", "user.email=a@b.c"]
        subprocess.run(["git", *identity, *arguments], cwd=tmp_path, check=True, capture_output=True)

    (tmp_path / "daso").mkdir()
    (tmp_path / "daso" / "app.py").write_text("x = 1\n")
    (tmp_path / ".gitignore").write_text("*.pyc\n")
    git("init")
    git("add", ".")
    git("commit", "-m", "first")
    return tmp_path


def test_a_committed_state_has_no_changes(checkout):
    (checkout / "notes.txt").write_text("no code")
    (checkout / "daso" / "app.pyc").write_text("made from it")
    version = version_of(checkout)
    assert len(version.commit) == 40
    assert version.changes == ""


def test_every_change_of_a_file_is_another_version(checkout):
    seen = {version_of(checkout).changes}
    for name, text in [("app.py", "x = 2\n"), ("new.py", "y = 1\n"), ("new.py", "y = 2\n"), ("other.py", "y = 2\n")]:
        (checkout / "daso" / name).write_text(text)
        seen.add(version_of(checkout).changes)
    assert len(seen) == 5


def test_without_a_checkout_the_version_is_unknown(tmp_path):
    assert version_of(tmp_path) == CodeVersion("", "")
    assert str(version_of(tmp_path)) == "unknown"


@pytest.mark.parametrize("name", ["GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_OBJECT_DIRECTORY"])
def test_the_environment_of_a_hook_changes_nothing(checkout, monkeypatch, tmp_path_factory, name):
    other = tmp_path_factory.mktemp("other")
    subprocess.run(["git", "init", "-q", other], check=True)
    (checkout / "daso" / "app.py").write_text("x = 3\n")
    before = version_of(checkout)
    monkeypatch.setenv(name, str(other / ".git"))
    assert version_of(checkout) == before
    assert before.changes


def test_a_checkout_of_another_user_has_a_version(checkout, monkeypatch, tmp_path_factory):
    before, shim = version_of(checkout), tmp_path_factory.mktemp("bin") / "git"
    shim.write_text(f'#!/bin/sh\nGIT_TEST_ASSUME_DIFFERENT_OWNER=1 exec {shutil.which("git")} "$@"\n')
    shim.chmod(0o755)
    monkeypatch.setenv("PATH", f"{shim.parent}:{os.environ['PATH']}")
    assert subprocess.run(["git", "-C", checkout, "status"], capture_output=True).returncode != 0  # git refuses it
    assert version_of(checkout) == before


def test_a_subfolder_of_a_larger_repository_has_its_version_and_no_other_change_counts(checkout):
    version = version_of(checkout)
    inner = checkout / "vendor"
    shutil.copytree(checkout / "daso", inner / "daso")
    assert version_of(inner).commit == ""  # not known to the repository
    identity = ["-c", "user.name=a", "-c", "user.email=a@b.c"]
    for arguments in (["add", "."], [*identity, "commit", "-m", "vendored"]):
        subprocess.run(["git", *arguments], cwd=checkout, check=True, capture_output=True)
    assert version_of(inner).commit not in ("", version.commit)
    (checkout / "daso" / "app.py").write_text("x = 9\n")
    assert version_of(inner).changes == ""


def test_installed_in_a_project_of_its_own_the_version_is_that_of_the_files(checkout):
    packages = checkout / ".venv" / "site-packages"
    (packages / "daso").mkdir(parents=True)
    (packages / "daso" / "app.py").write_text("x = 1\n")
    (checkout / ".gitignore").write_text(".venv\n")
    seen = [version_of(packages)]
    (packages / "daso" / "app.py").write_text("x = 2\n")
    seen.append(version_of(packages))
    assert [version.commit for version in seen] == ["", ""]
    assert len({str(version) for version in seen} | {"unknown"}) == 3


def test_the_version_of_this_code_is_known():
    assert str(code_version()) != "unknown"
