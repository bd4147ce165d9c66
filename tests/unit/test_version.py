"""The code's version tells every state of the files that numbers depend on apart."""

import subprocess

import pytest

from daso.machine.version import CodeVersion, version_of


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
