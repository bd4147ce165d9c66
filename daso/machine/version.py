"""Which code is running: the git commit of this checkout, and whether it has local changes."""

import hashlib
import subprocess
from functools import cache
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[2]
CODE = ("daso", "conf", "hydra_plugins", "train.py")  # what a run's numbers can depend on


class CodeVersion(NamedTuple):
    """The commit, and a digest of the local changes (empty: none). Both are empty where there is no git checkout."""

    commit: str
    changes: str

    def __str__(self) -> str:
        if not self.commit:
            return "unknown"
        return self.commit[:10] + (f" with local changes ({self.changes})" if self.changes else "")


@cache
def code_version() -> CodeVersion:
    """The version of the code of this process."""
    return version_of(ROOT)


def version_of(root: Path) -> CodeVersion:
    """The version of the code in a checkout; files that git does not know yet are local changes as well."""
    commit = _git(root, "rev-parse", "HEAD").strip()
    if not commit:
        return CodeVersion("", "")
    changes = [_git(root, "diff", "HEAD", "--", *CODE).encode()]
    for name in _git(root, "ls-files", "-z", "--others", "--exclude-standard", "--", *CODE).split("\0")[:-1]:
        changes += [name.encode(), (root / name).read_bytes()]
    return CodeVersion(commit, hashlib.blake2b(b"".join(changes), digest_size=4).hexdigest() if any(changes) else "")


def _git(root: Path, *arguments: str) -> str:
    try:
        done = subprocess.run(["git", "-C", str(root), *arguments], capture_output=True, text=True, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout if done.returncode == 0 else ""
