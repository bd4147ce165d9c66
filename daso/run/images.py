"""What a person is told about image files: how far their store is, and what is in them by class."""

import time
from collections.abc import Callable

from daso.data.images.build import Progress
from daso.data.images.source import Gallery, census, index_of_dataset, is_published, sentences
from daso.data.split import Split
from daso.outputs.files import replace_file
from daso.outputs.rundir import RunDir
from daso.schema import Config
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


def changed(config: Config, folder: RunDir) -> list[str]:
    """Sentences about what is said of a finished run's images otherwise than when it was made, and not in its key: the
    names of their classes, and of which classes the unlabeled ones are known to be. No image is opened.

    Args:
        config: the resolved configuration.
        folder: of the run.
    """
    dataset, rows = config.dataset, folder.class_rows()
    if not dataset.reader or is_published(dataset):
        return []
    index = index_of_dataset(dataset)
    try:
        names = [row["name"] for row in rows]
        known = [int(row["labeled"]) + int(row.get("unlabeled_known", 0)) for row in rows]
    except (KeyError, TypeError, ValueError):  # a damaged table, which is no matter here
        return []
    if len(rows) != len(index.names):
        return []
    found = [f"class {was} is called {now} now" for was, now in zip(names, index.names) if was != now][:1]
    counted = config.reads_unlabeled and dataset.broken == "refuse"  # else some images are in no table
    if counted and known != (index.counts("labeled") + index.counts("unlabeled")).tolist():
        found.append("unlabeled images are known to be of other classes now")
    return [f"Since this run was made, {what}: force=true does it again." for what in found]


def tell(data: Gallery, split: Split, folder: RunDir, console: Console | None) -> None:
    """Write the table of classes into the run's folder, and say what a person should know about the images."""
    counted = census(data, split)
    replace_file(folder.classes, counted.csv().encode(errors="surrogateescape"))
    if console is not None:
        for sentence in data.notes:
            console.warn(sentence)
        for line in sentences(data.index, counted, headed=True):
            console.note(line)
