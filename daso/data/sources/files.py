"""Getting the files of a data set: found, or downloaded once by whichever job comes first, and compared with what its
makers published.

Checksums (MD5) are compared at every start, before anything slow and before a byte is interpreted.
`dataset.verify=false` takes other files as they are: the run then carries a checksum of them in its key.
"""

import gzip
import hashlib
import lzma
import shlex
import shutil
import socket
import tarfile
import zlib
from abc import ABC, abstractmethod
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from http.client import HTTPException
from pathlib import Path
from typing import IO, cast

from filelock import Timeout

from daso.errors import UserError
from daso.outputs.locks import lock_on

LOCK, INCOMING = ".download.lock", ".incoming"
REMOVALS = 100  # of a folder by other processes, until one that wants it gives up
SILENCE_S = 60.0  # a server that says nothing for so long is given up
UNPACKING = (OSError, EOFError, tarfile.TarError, zlib.error, lzma.LZMAError)  # what a damaged packing ends in
FAILURES = (*UNPACKING, RuntimeError, HTTPException)
PIECE = 1 << 20  # bytes
NAMED = 3  # files that a sentence names
TAKE = "dataset.verify=false takes the files as they are"


@dataclass(frozen=True)
class Source(ABC):
    """Where a data set comes from."""

    files: Mapping[str, str]  # name -> MD5 of the content, as published
    classes: int
    unlabeled: tuple[str, ...] = ()  # of the files, those that hold nothing but the data set's own unlabeled images
    octets: int = 0  # of a download

    @abstractmethod
    def find(self, root: Path, name: str) -> Path | None:
        """The file of that name in `root`, if it is there."""

    @abstractmethod
    def has_archive(self, root: Path) -> bool:
        """Whether the files can be unpacked from what a person put into `root`."""

    @abstractmethod
    def install(self, root: Path, incoming: Path, missing: Iterable[str], verify: bool) -> None:
        """Bring missing files: from an archive in `root`, or by a download.

        A file appears under its final name only when it is whole, so a process killed half-way leaves nothing that a
        later one takes for data.

        Args:
            incoming: a folder for half-finished files.
            verify: take nothing out of an archive that is not as published.

        Raises:
            UserError: what a person put there lacks a file, is damaged, or holds another one.
            OSError, RuntimeError, HTTPException: whatever disk, network or checksum say.
        """

    @abstractmethod
    def advice(self, root: Path) -> str:
        """Which files to put where."""

    def names(self, unlabeled: bool) -> list[str]:
        """The files of a run that reads unlabeled images, or of one that does not."""
        return [name for name in self.files if unlabeled or name not in self.unlabeled]

    def paths(self, root: Path, names: Iterable[str]) -> dict[str, Path]:
        """Those of the files that are in `root`."""
        found = {name: self.find(root, name) for name in names}
        return {name: path for name, path in found.items() if path is not None}

    def foreign(self, root: Path, names: Iterable[str]) -> dict[str, Path]:
        """Those of the files in `root` whose content is not the published one."""
        return {name: path for name, path in self.paths(root, names).items() if md5_of(path) != self.files[name]}

    def checksum(self, root: Path, names: Collection[str]) -> str:
        """16 hex digits over the content of the files; empty where all are as published, or will be downloaded."""
        if not self.foreign(root, names):
            return ""
        text = "".join(f"{name}:{md5_of(path)}\n" for name, path in sorted(self.paths(root, names).items()))
        return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()


def obtain(source: Source, root: Path, dataset: str, names: Collection[str], verify: bool) -> dict[str, Path]:
    """The paths of files, brought into `root` if any is missing; one process at a time per `root`.

    Raises:
        UserError: one sentence with what is wrong with what is there, or what failed and which file to put where.
    """
    if root.exists() and not root.is_dir():
        raise UserError(f"dataset.root={root} is not possible: it is a file; name a folder.")
    if verify:
        refuse_foreign(source, root, dataset, names)
    missing = _missing(source, root, names)
    if missing:
        if not source.has_archive(root) and source.foreign(root, names):  # a download would mix two data sets
            beside = "beside files that are not the published ones; put it there, for nothing is downloaded to such"
            raise UserError(f"dataset.root={root}: {listed(missing)} of {dataset} is missing {beside}.")
        _bring(source, root, dataset, names, verify)
    if verify:
        refuse_foreign(source, root, dataset, names)
    return source.paths(root, names)


def lacking(source: Source, root: Path, dataset: str, names: Collection[str]) -> str:
    """What of a data set is to be downloaded: its name, or files of it; empty where nothing is."""
    missing = [] if source.has_archive(root) else _missing(source, root, names)
    return "" if not missing else dataset if len(missing) == len(names) else f"{listed(missing)} of {dataset}"


def refuse_foreign(source: Source, root: Path, dataset: str, names: Iterable[str]) -> None:
    """Raise a `UserError` if a file is there whose content is not the published one."""
    found = source.foreign(root, names)
    if found:
        are, copies, them = ("are", "intact copies", "them") if len(found) > 1 else ("is", "an intact copy", "it")
        shown = listed([str(path.relative_to(root)) for path in found.values()])
        raise UserError(
            f"dataset.root={root}: {shown} {are} damaged or changed (by checksum not what {dataset} published); "
            f"put {copies} there, or delete {them} for a download; {TAKE}."
        )


def listed(names: Collection[str]) -> str:
    """Some names in a sentence, and how many more there are."""
    few = list(names)[:NAMED]
    if len(names) > NAMED:
        return f"{', '.join(few)} and {len(names) - NAMED} more"
    return " and ".join(filter(None, [", ".join(few[:-1]), few[-1]]))


def download(url: str, folder: Path, name: str, md5: str) -> None:
    """Download `url` to `folder/name` with torchvision's progress bar and checksum.

    Raises:
        OSError, RuntimeError, HTTPException: whatever the network or the checksum says.
    """
    from torchvision.datasets.utils import download_url

    with _socket_timeout(SILENCE_S):
        download_url(url, str(folder), name, md5)


def opened(path: Path) -> IO[bytes]:
    """The content of a file, unpacked."""
    return cast(IO[bytes], gzip.open(path)) if path.suffix == ".gz" else path.open("rb")


def pieces(file: IO[bytes]) -> Iterator[bytes]:
    """The rest of an open file, piece by piece."""
    return iter(lambda: file.read(PIECE), b"")


def md5_of(path: Path) -> str:
    """MD5 of a file's unpacked content, read once for each state of the file; empty where the packing is damaged."""
    stat = path.stat()
    return _md5_of(path, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino)


def _missing(source: Source, root: Path, names: Iterable[str]) -> list[str]:
    return [name for name in names if source.find(root, name) is None]


def _bring(source: Source, root: Path, dataset: str, names: Collection[str], verify: bool) -> None:
    wanted = lacking(source, root, dataset, names) or dataset
    made = not root.exists()
    try:
        with _alone(root):
            missing = _missing(source, root, names)  # another process may have brought them while this one waited
            if missing:
                incoming = root / INCOMING
                incoming.mkdir(parents=True, exist_ok=True)
                try:
                    source.install(root, incoming, missing, verify)
                finally:
                    shutil.rmtree(incoming, ignore_errors=True)
    except FAILURES as error:
        if made:
            _leave_nothing(root)
        if source.has_archive(root):
            done, remedy = "unpacked", source.advice(root)
        else:
            command = f"python -m daso.data fetch {dataset} --root {shlex.quote(str(root))}"
            elsewhere = "brings it on a machine with a network (--mirror URL from another place)"
            done, remedy = "downloaded", f"{command} {elsewhere}, or {source.advice(root)}"
        failure = f"{wanted} is not there and cannot be {done} ({_plainly(error)})"
        raise UserError(f"dataset.root={root}: {failure}; {remedy}.") from error


def _plainly(error: BaseException) -> str:
    """Why files did not come, without what libraries put around it."""
    inner = getattr(error, "reason", None)  # of an error of urllib's
    if isinstance(inner, socket.gaierror):
        return "this machine has no network, or finds no such server"
    if isinstance(inner, OSError):
        return inner.strerror or str(inner)
    return str(error).strip().partition("\n")[0] or type(error).__name__


@contextmanager
def _alone(root: Path) -> Iterator[None]:
    """Hold a folder's lock, and make the folder; another process, in vain, may be removing it just then."""
    for left in range(REMOVALS)[::-1]:
        root.mkdir(parents=True, exist_ok=True)
        try:
            held = lock_on(root / LOCK).acquire()
        except FileNotFoundError:
            if not left:
                raise
            continue
        with held:
            yield
        return


def _leave_nothing(root: Path) -> None:
    """Remove a folder that was made for files which did not come, unless somebody else uses it."""
    with suppress(OSError, Timeout), lock_on(root / LOCK).acquire(timeout=0):
        for inner in sorted(root.rglob("*/"), reverse=True):
            with suppress(OSError):  # one that is not empty
                inner.rmdir()
        if {path.name for path in root.iterdir()} <= {LOCK}:
            (root / LOCK).unlink()
            root.rmdir()


@cache
def _md5_of(path: Path, *_state: int) -> str:
    digest = hashlib.md5(usedforsecurity=False)
    try:
        with opened(path) as file:
            for piece in pieces(file):
                digest.update(piece)
    except (EOFError, gzip.BadGzipFile, zlib.error):
        return ""
    return digest.hexdigest()


@contextmanager
def _socket_timeout(seconds: float) -> Iterator[None]:
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(seconds)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)
