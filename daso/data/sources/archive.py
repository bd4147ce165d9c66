"""A data set that is published as one tar archive."""

import hashlib
import tarfile
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from daso.data.sources.files import PIECE, TAKE, UNPACKING, Source, download, listed, pieces
from daso.errors import UserError


class _Member(NamedTuple):
    """A file of an archive, unpacked."""

    place: str  # in the archive
    path: Path
    md5: str


@dataclass(frozen=True, kw_only=True)
class Archive(Source):
    """A tar archive of which some files are needed.

    One that a person put into `root` may have been packed again, by anyone: it is judged by the files that it holds,
    wherever in it they lie.
    """

    url: str
    name: str
    md5: str
    folder: str  # in the archive, and in `root`

    def find(self, root: Path, name: str) -> Path | None:
        """`root/folder/name`."""
        path = root / self.folder / name
        return path if path.is_file() else None

    def has_archive(self, root: Path) -> bool:
        """Whether a person put the archive into `root`."""
        return (root / self.name).is_file()

    def install(self, root: Path, incoming: Path, missing: Iterable[str], verify: bool) -> None:
        """Unpack the missing files of a person's archive, or download it and unpack all that it has."""
        tar_path = root / self.name
        if not tar_path.is_file():
            tar_path = incoming / self.name
            download(self.url, incoming, self.name, self.md5)
            missing = [name for name in self.files if self.find(root, name) is None]
        chosen = self._choose(root, tar_path, _unpack(root, tar_path, incoming, set(missing)), missing, verify)
        (root / self.folder).mkdir(exist_ok=True)
        for name, path in chosen.items():
            path.replace(root / self.folder / name)

    def advice(self, root: Path) -> str:
        """Which archive to put where."""
        return f"put {self.name} (from {self.url}) into {root}"

    def _choose(
        self, root: Path, tar_path: Path, found: Mapping[str, list[_Member]], names: Iterable[str], verify: bool
    ) -> dict[str, Path]:
        """Of the unpacked files of each name the published one; without `verify` also one in place or alone.

        Raises:
            UserError: a name without a file, or with none that can be taken.
        """
        where = f"dataset.root={root}: {tar_path.name}"
        lacking = [name for name in names if name not in found]
        if lacking:
            raise UserError(f"{where} lacks {listed(lacking)}; {self.advice(root)}.")
        chosen: dict[str, Path] = {}
        for name in names:
            published = [member for member in found[name] if member.md5 == self.files[name]]
            in_place = [member for member in found[name] if member.place == f"{self.folder}/{name}"]
            options = published or ([] if verify else in_place or found[name])
            if not (published or in_place) and len({member.md5 for member in options}) > 1:
                raise UserError(f"{where} holds {len(options)} files {name}; put the right one into {self.folder}.")
            if options:
                chosen[name] = options[-1].path  # as tar does, where a file was added again
        foreign = [name for name in names if name not in chosen]
        if foreign:
            wrong = f"{listed(foreign)} in it {'are' if len(foreign) > 1 else 'is'} damaged or changed, by checksum"
            raise UserError(f"{where} is not as published: {wrong}; {self.advice(root)}; {TAKE}.")
        return chosen


def _unpack(root: Path, tar_path: Path, incoming: Path, names: set[str]) -> dict[str, list[_Member]]:
    """The files of an archive with one of the names, unpacked, in one pass to its end.

    Raises:
        UserError: it cannot be unpacked.
        OSError: the disk is full, or cannot be written.
    """
    found: dict[str, list[_Member]] = defaultdict(list)
    try:
        with tarfile.open(tar_path) as tar:
            for member in tar:
                place = PurePosixPath(member.name)
                file = tar.extractfile(member) if place.name in names and member.isfile() else None
                if file is None:
                    continue
                path = incoming / f"{place.name}.{len(found[place.name])}"
                digest = hashlib.md5(usedforsecurity=False)
                with path.open("wb") as out:
                    for piece in pieces(file):
                        digest.update(piece)
                        out.write(piece)
                found[place.name].append(_Member(str(place), path, digest.hexdigest()))
            while tar.fileobj and tar.fileobj.read(PIECE):  # what comes after the last file may be damaged as well
                pass
    except UNPACKING as error:
        if getattr(error, "errno", None) is not None:  # the system's, not the archive's
            raise
        right = "put an intact copy there, or delete it and it is downloaded"
        reason = str(error).strip().partition("\n")[0] or type(error).__name__
        message = f"dataset.root={root}: {tar_path} is damaged and cannot be unpacked ({reason}); {right}."
        raise UserError(message) from error
    return found
