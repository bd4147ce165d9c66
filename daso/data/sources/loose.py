"""A data set that is published as a few packed files."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from daso.data.sources.files import Source, download


@dataclass(frozen=True, kw_only=True)
class LooseFiles(Source):
    """Files that may lie in `root` itself or in a folder below it, packed (.gz) or not.

    Packagers repack them, so `files` holds the checksums of what they contain.
    """

    url: str  # of the folder that holds them
    packed: Mapping[str, str]  # name -> MD5 of the .gz file there
    folder: str  # in `root`: where a download puts them
    package: str  # where else they come from

    def find(self, root: Path, name: str) -> Path | None:
        """The first of the places that holds the file."""
        places = (folder / file for folder in (root, root / self.folder) for file in (name, f"{name}.gz"))
        return next((place for place in places if place.is_file()), None)

    def has_archive(self, root: Path) -> bool:
        """Never: nothing is unpacked."""
        return False

    def install(self, root: Path, incoming: Path, missing: Iterable[str], verify: bool) -> None:
        """Download the missing files."""
        (root / self.folder).mkdir(parents=True, exist_ok=True)
        for name in missing:
            download(f"{self.url}{name}.gz", incoming, f"{name}.gz", self.packed[name])
            (incoming / f"{name}.gz").replace(root / self.folder / f"{name}.gz")

    def advice(self, root: Path) -> str:
        """Which files to put where."""
        return f"put {', '.join(f'{name}.gz' for name in self.files)} into {root}, or {self.package}"
