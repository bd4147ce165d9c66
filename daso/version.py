"""Which code is running: the git commit of this checkout, and whether it has local changes."""

import hashlib
import subprocess
from functools import cache
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent


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
    commit, diff = _git("rev-parse", "HEAD"), _git("diff", "HEAD", "--", "daso", "conf", "train.py")
    if not commit:
        return CodeVersion("", "")
    return CodeVersion(commit.strip(), hashlib.blake2b(diff.encode(), digest_size=4).hexdigest() if diff else "")


def _git(*arguments: str) -> str:
    try:
        done = subprocess.run(["git", "-C", str(ROOT), *arguments], capture_output=True, text=True, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout if done.returncode == 0 else ""
