"""Locks on files that processes share, on file systems with and without locks of their own."""

import errno
import fcntl
import os
from pathlib import Path

from filelock import BaseFileLock, FileLock, SoftFileLock

MISSING = (errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP)  # what flock says on Lustre, NFS, FUSE without it
MARKER = ".held"  # ends the name of the file that is the lock where the file system has none


def lock_on(path: Path) -> BaseFileLock:
    """A lock on `path` that processes exclude each other by; all of them must see the file system alike.

    The kernel holds it, and frees it when the process dies. Where the file system has no such locks, `marker(path)` is
    the lock: a file with host and process id. Whoever comes next on the same host removes that of a dead process; on
    another host nobody can tell, and a person has to.

    Raises:
        OSError: the file cannot be written.
    """
    return FileLock(path) if has_locks(path) else SoftFileLock(marker(path))


def marker(path: Path) -> Path:
    """The file that is there while a lock is held that the kernel does not know of."""
    return path.with_name(path.name + MARKER)


def has_locks(path: Path) -> bool:
    """Whether the file system of `path`, a file that is created if need be, has locks that end with their process.

    Raises:
        OSError: the file cannot be written.
    """
    file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    try:
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):  # two ways to say that another process holds it
        return True
    except OSError as error:
        if error.errno not in MISSING:
            raise
        return False
    finally:
        os.close(file)
    return True
