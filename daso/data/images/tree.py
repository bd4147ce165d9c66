"""Walking through folders of images: sorted, links followed, everything left out counted."""

import os
from collections import Counter
from pathlib import Path

from daso.data.images.listing import OWN, wrong

# what Pillow reads with a frame of its own and 8 bits a channel; whether a file is what its ending says is seen later
ENDINGS = (".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".bmp", ".webp", ".tif", ".tiff", ".gif", ".ppm", ".pgm", ".pbm")


class Walk:
    """Finds images below folders of one root; remembers which folders it saw and what it left out."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.folders: list[Path] = []
        self.left_out: Counter[str] = Counter()  # by ending

    def entries(self, folder: Path) -> tuple[list[str], list[str]]:
        """Names of the folders and of the images in `folder`, sorted; whatever else lies there is counted.

        Raises:
            UserError: the folder cannot be read.
        """
        folders, images = [], []
        self.folders.append(folder)
        try:
            with os.scandir(folder) as found:
                for entry in found:
                    if entry.name.startswith("."):
                        self.left_out["hidden"] += entry.name != OWN
                    elif entry.is_dir():
                        folders.append(entry.name)
                    elif (ending := os.path.splitext(entry.name)[1].lower()) in ENDINGS:
                        images.append(entry.name)
                    else:
                        self.left_out[ending or "without ending"] += 1
        except OSError as error:
            raise wrong(folder, 0, f"this folder cannot be read ({error.strerror})") from error
        return sorted(folders), sorted(images)

    def images(self, folder: Path) -> list[str]:
        """All images in and below `folder`, as sorted paths relative to the root.

        Raises:
            UserError: a folder cannot be read, or a link leads back to a folder that it lies in.
        """
        return sorted(self._below(folder, ()))

    def _below(self, folder: Path, above: tuple[tuple[int, int], ...]) -> list[str]:
        status = folder.stat()
        own = (status.st_dev, status.st_ino)
        if own in above:
            raise wrong(folder, 0, "this link leads back to a folder that it lies in")
        folders, images = self.entries(folder)
        here = folder.relative_to(self.root).as_posix()
        found = [f"{here}/{name}" for name in images]
        for name in folders:
            found += self._below(folder / name, (*above, own))
        return found

    def notes(self) -> list[str]:
        """A sentence about what was left out, if anything was."""
        total = sum(self.left_out.values())
        if not total:
            return []
        kinds = ", ".join(f"{count} {ending}" for ending, count in sorted(self.left_out.items(), key=_most_first))
        return [f"{total} file{'s' * (total > 1)} of other kinds in {self.root} left out: {kinds}."]


def _most_first(counted: tuple[str, int]) -> tuple[int, str]:
    return -counted[1], counted[0]
