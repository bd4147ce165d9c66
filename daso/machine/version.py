"""Which code is running: the git commit of this checkout, and whether it has local changes; installed, its content."""

import hashlib
import json
import os
import subprocess
from functools import cache
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import NamedTuple

PACKAGE = Path(__file__).resolve().parents[1]
ROOT = PACKAGE.parent
CODE = ("daso", "conf", "hydra_plugins", "train.py")  # what a run's numbers can depend on
SUFFIXES = {".py", ".yaml", ".csv", ".j2"}


class CodeVersion(NamedTuple):
    """The commit, and a digest of the local changes (empty: none). Without a checkout the commit is empty where the
    installer did not record it, and the digest is that of the installed files.
    """

    commit: str
    changes: str

    def __str__(self) -> str:
        if not self.commit:
            return f"installed files {self.changes}" if self.changes else "unknown"
        return self.commit[:10] + (f" with local changes ({self.changes})" if self.changes else "")


@cache
def code_version() -> CodeVersion:
    """The version of the code of this process."""
    return version_of(ROOT)


def version_of(root: Path) -> CodeVersion:
    """The version of the code below `root`; files that git does not know yet are local changes as well.

    The repository is the one that holds this code, whatever the environment says (`GIT_DIR` in hooks) and whoever owns
    it; one that only surrounds it, as that of a project whose virtual environment it is installed in, is none.
    """
    checkout = next((folder for folder in (root, *root.parents) if (folder / ".git").exists()), None)
    if checkout is None or not _git(checkout, root, "ls-files", "--", *CODE):
        return _installed(root)
    commit = _git(checkout, root, "rev-parse", "HEAD").strip()
    if not commit:
        return CodeVersion("", "")
    changes = [_git(checkout, root, "diff", "--no-ext-diff", "--no-textconv", "HEAD", "--", *CODE).encode()]
    others = _git(checkout, root, "ls-files", "-z", "--others", "--exclude-standard", "--", *CODE)
    for name in others.split("\0")[:-1]:
        changes += [name.encode(), (root / name).read_bytes()]
    return CodeVersion(commit, hashlib.blake2b(b"".join(changes), digest_size=4).hexdigest() if any(changes) else "")


def _installed(root: Path) -> CodeVersion:
    """The commit that pip installed from, if it came from a repository; else a digest of the files."""
    if not (root / PACKAGE.name).is_dir():
        return CodeVersion("", "")
    commit = _recorded_commit() if root == ROOT else ""
    plugins = (root / "hydra_plugins").glob("daso_*")
    files = [
        path for folder in (root / PACKAGE.name, *plugins) for path in folder.rglob("*") if path.suffix in SUFFIXES
    ]
    content = hashlib.blake2b(digest_size=4)
    for path in sorted(files):
        content.update(path.relative_to(root).as_posix().encode() + path.read_bytes())
    return CodeVersion(commit, "" if commit else content.hexdigest())


def _recorded_commit() -> str:
    try:
        origin = json.loads(distribution("daso").read_text("direct_url.json") or "{}")
    except (PackageNotFoundError, ValueError):
        return ""
    return str(origin.get("vcs_info", {}).get("commit_id", ""))


def _git(checkout: Path, folder: Path, *arguments: str) -> str:
    """What git says of the repository in `checkout`, asked in `folder`; empty where it refuses.

    Named like that, git neither looks for another repository nor asks who owns this one; nothing of its configuration
    is run, and nothing is written.
    """
    where = ["--git-dir", str(checkout / ".git"), "--work-tree", str(checkout), "-c", "core.fsmonitor=false"]
    environment = {key: value for key, value in os.environ.items() if not key.startswith("GIT_")}
    environment["GIT_OPTIONAL_LOCKS"] = "0"
    try:
        done = subprocess.run(
            ["git", *where, *arguments], cwd=folder, env=environment, capture_output=True, text=True, timeout=10
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout if done.returncode == 0 else ""
