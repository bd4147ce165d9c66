"""Getting the files of a data set: found, or downloaded once by whichever job comes first, and checked.

Checksums (MD5) are compared at every start, before a byte is interpreted: a CIFAR batch is a pickle.
"""

import hashlib
import shutil
import socket
import tarfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path

from daso.errors import UserError

LOCK, INCOMING = ".download.lock", ".incoming"
SILENCE_S = 60.0  # a server that says nothing for so long is given up
FAILURES = (OSError, RuntimeError, HTTPException, tarfile.TarError, EOFError, KeyError)


@dataclass(frozen=True)
class Archive:
    """A published tar archive of which some files are needed."""

    url: str
    name: str
    md5: str
    folder: str  # inside the archive, and inside `dataset.root`
    files: Mapping[str, str]  # name -> MD5


def from_archive(root: Path, dataset: str, archive: Archive) -> Path:
    """The folder that holds the checked files of `archive`, downloaded and unpacked into `root` if any is missing.

    An archive that the user put into `root` is unpacked instead of downloaded. A file appears under its final name
    only when it is whole, so a process killed half-way leaves nothing that a later one takes for data.

    Raises:
        UserError: the download fails, nothing can be written, or a file is not the published one.
    """
    folder = root / archive.folder

    def missing() -> list[str]:
        return [name for name in archive.files if not (folder / name).is_file()]

    def install(incoming: Path) -> None:
        tar_path = root / archive.name
        if tar_path.is_file():
            check(tar_path, md5_of(tar_path), archive.md5, dataset, root)
        else:
            tar_path = incoming / archive.name
            download(archive.url, incoming, archive.name, archive.md5)
        folder.mkdir(exist_ok=True)
        with tarfile.open(tar_path) as tar:
            for name in missing():
                member = tar.extractfile(f"{archive.folder}/{name}")
                assert member is not None, f"{archive.folder}/{name} is no regular file"
                with (incoming / name).open("wb") as out:
                    shutil.copyfileobj(member, out, 1 << 20)
                (incoming / name).replace(folder / name)

    fetch(root, dataset, missing, install, f"put {archive.name} (from {archive.url}) into {root}")
    for name, md5 in archive.files.items():
        check(folder / name, md5_of(folder / name), md5, dataset, root)
    return folder


def fetch(
    root: Path, dataset: str, missing: Callable[[], Iterable[str]], install: Callable[[Path], None], advice: str
) -> None:
    """Run `install(folder for half-finished files)` unless nothing is missing; one process at a time per `root`.

    Raises:
        UserError: one sentence with what failed and `advice`, which file to put where.
    """
    if root.exists() and not root.is_dir():
        raise UserError(f"dataset.root={root} is not possible: it is a file; name a folder.")
    if not missing():
        return
    from filelock import FileLock

    try:
        root.mkdir(parents=True, exist_ok=True)
        with FileLock(root / LOCK):
            if missing():  # another process may have installed them while this one waited
                incoming = root / INCOMING
                incoming.mkdir(exist_ok=True)
                try:
                    install(incoming)
                finally:
                    shutil.rmtree(incoming, ignore_errors=True)
    except FAILURES as error:
        reason = str(error).strip().partition("\n")[0] or type(error).__name__
        raise UserError(
            f"dataset.root={root}: {dataset} is not there and cannot be downloaded ({reason}); {advice}."
        ) from error


def download(url: str, folder: Path, name: str, md5: str) -> None:
    """Download `url` to `folder/name` with torchvision's progress bar and checksum.

    Raises:
        OSError, RuntimeError, HTTPException: whatever the network or the checksum says.
    """
    from torchvision.datasets.utils import download_url

    with _socket_timeout(SILENCE_S):
        download_url(url, str(folder), name, md5)


def md5_of(path: Path) -> str:
    """MD5 of a file, read in pieces."""
    digest = hashlib.md5(usedforsecurity=False)
    with path.open("rb") as file:
        while piece := file.read(1 << 20):
            digest.update(piece)
    return digest.hexdigest()


def check(path: Path, found: str, published: str, dataset: str, root: Path) -> None:
    """Raise a `UserError` unless the two checksums agree."""
    if found != published:
        raise UserError(
            f"dataset.root={root}: {path} is damaged (its checksum is not that of {dataset}); "
            "put an intact copy there, or delete it and it is downloaded."
        )


@contextmanager
def _socket_timeout(seconds: float) -> Iterator[None]:
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(seconds)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)
