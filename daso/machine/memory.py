"""How much address space this process may use, where a shell or a scheduler limits it (`ulimit -v`); needs no torch."""

import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from daso.errors import UserError

ROOM = 400 << 20  # bytes: what the smallest run takes beside the libraries


def address_limit() -> int | None:
    """Bytes of address space that this process may use; None without a limit."""
    limit = resource.getrlimit(resource.RLIMIT_AS)[0]
    return None if limit == resource.RLIM_INFINITY else limit


def require_room() -> None:
    """Refuse to start what would end in an error of some library, or a crash.

    Raises:
        UserError: the limit leaves less than the smallest run takes.
    """
    limit, statm = address_limit(), Path("/proc/self/statm")
    if limit is None or not statm.exists():
        return
    used = int(statm.read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    if limit - used < ROOM:
        raise UserError(f"{_limited(limit)}, of which the libraries take {_gib(used)}: allow {_gib(used + 2 * ROOM)}.")


@contextmanager
def loading() -> Iterator[None]:
    """Imports of large libraries.

    Raises:
        UserError: there is a limit, and one of them could not be loaded.
    """
    try:
        yield
    except ImportError as error:
        limit = address_limit()
        if limit is None:
            raise
        raise UserError(f"{_limited(limit)}, into which torch cannot be loaded ({error}): allow some more.") from error


def _limited(limit: int) -> str:
    return f"The address space is limited to {_gib(limit)} (ulimit -v)"


def _gib(size: int) -> str:
    return f"{size / 2**30:.1f} GiB"
