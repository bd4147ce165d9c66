"""What a person is told about image files: how far their store is, and what is in them by class."""

import time
from collections.abc import Callable

from daso.data.images.build import Progress
from daso.data.images.source import Gallery, census
from daso.data.split import Split
from daso.outputs.files import replace_file
from daso.outputs.rundir import RunDir
from daso.track.console import Console

PAUSE = 10.0  # seconds between two lines about one store


def telling(console: Console, now: Callable[[], float] = time.monotonic) -> Callable[[str], Progress]:
    """Who tells a console how far the store of a set is: when it begins, now and then, and at its end."""

    def of_set(name: str) -> Progress:
        last, said = now() - PAUSE, False

        def progress(done: int, total: int) -> None:
            nonlocal last, said
            finished = done == total
            if (finished and said) or (not finished and now() - last >= PAUSE):
                last, said = now(), True
                console.note(f"Storing {name} images: {done:,} of {total:,}.")

        return progress

    return of_set


def tell(data: Gallery, split: Split, folder: RunDir, console: Console | None) -> None:
    """Write the table of classes into the run's folder, and say what a person should know about the images."""
    counted = census(data, split)
    replace_file(folder.classes, counted.csv().encode(errors="surrogateescape"))
    if console is not None:
        for sentence in data.notes:
            console.warn(sentence)
        for line in [*data.index.notes, *counted.lines()]:
            console.note(line)
