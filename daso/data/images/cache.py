"""An index kept beside the images, so that not every start walks through all files again.

It holds while the folders and lists that it was made from are as they were. A file that was replaced by another of the
same name in place is not noticed; `dataset.rescan` looks again, and finds it if its length is another one.
"""

import hashlib
import io
import os
import time
import zipfile
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from daso.data.images.index import Index, index_of
from daso.data.images.listing import Listing
from daso.outputs.files import replace_file

FORMAT = 1
TICK = 2.0  # seconds: a folder that changed so shortly before it was read may have changed after it as well
TEXTS = ("names", "original", "paths", "notes")


def index_at(
    folder: Path, what: str, read: Callable[[], Listing], rescan: bool = False
) -> tuple[Index, Callable[[], None]]:
    """The index that `read` gives, or the one that is kept in `folder`; and what keeps it there, for whoever writes to
    that folder in any case: to look at a configuration or a plan leaves nothing.

    The truth of unlabeled images stands in a file of its own.

    Args:
        folder: where indices are kept; where nothing can be written they are made anew each time.
        what: which index it is: the options that `read` was made with.
        rescan: whether to look at the files in any case.

    Raises:
        UserError: as the reader and `index_of`.
    """
    name = f"index-{hashlib.blake2b(what.encode(), digest_size=4).hexdigest()}"
    path, truth = folder / f"{name}.npz", folder / f"{name}.truth.npy"
    kept = None if rescan else _load(path, truth)
    if kept is not None:
        return kept, lambda: None
    began = time.time()
    listing = read()
    index, watched = index_of(listing), [str(watched) for watched in listing.watched]

    def keep() -> None:
        if not rescan and _load(path, truth) is not None:  # another process has
            return
        with suppress(OSError):
            folder.mkdir(parents=True, exist_ok=True)
            stamps = _stamps(watched)
            _save(path, truth, index, {"began": np.array(began), "watched": _pack(list(stamps)), **_times(stamps)})

    return index, keep


def _save(path: Path, truth: Path, index: Index, extra: Mapping[str, npt.NDArray[Any]]) -> None:
    texts = {name: _pack(getattr(index, name)) for name in TEXTS}
    parts = {"sets": _pack([name for name, _ in index.parts]), "sizes": np.array([n for _, n in index.parts])}
    own = {
        "format": np.array(FORMAT),
        "published": np.array(index.published),
        "root": _pack([str(index.root)]),
        "labels": index.labels,
        "bytes": index.bytes,
    }
    replace_file(truth, _npy(index.truth))
    content = io.BytesIO()
    arrays: dict[str, Any] = {**texts, **parts, **own, **extra}
    np.savez(content, **arrays)
    replace_file(path, content.getvalue())


def _load(path: Path, truth: Path) -> Index | None:
    """What `_save` wrote, while it holds."""
    try:
        with np.load(path, allow_pickle=False) as kept:
            watched = _unpack(kept["watched"])
            stamps = dict(zip(watched, kept["times"].tolist(), strict=True))
            settled = all(stamp / 1e9 < float(kept["began"]) - TICK for stamp in stamps.values())
            if int(kept["format"]) != FORMAT or not settled or _stamps(watched) != stamps:
                return None
            values = {name: tuple(_unpack(kept[name])) for name in TEXTS}
            index = Index(
                root=Path(_unpack(kept["root"])[0]),
                parts=tuple(zip(_unpack(kept["sets"]), kept["sizes"].tolist(), strict=True)),
                labels=kept["labels"],
                bytes=kept["bytes"],
                truth=np.load(truth, allow_pickle=False),
                published=bool(kept["published"]),
                **values,
            )
    except (OSError, KeyError, ValueError, EOFError, IndexError, zipfile.BadZipFile):
        return None
    return index if len(index.truth) == len(index.rows("unlabeled")) else None


def _stamps(watched: list[str]) -> dict[str, int]:
    """When each folder and list changed last, in nanoseconds; one that is gone has not been since 0."""
    return {path: os.stat(path).st_mtime_ns if os.path.exists(path) else 0 for path in watched}


def _times(stamps: Mapping[str, int]) -> dict[str, npt.NDArray[np.int64]]:
    return {"times": np.array(list(stamps.values()), dtype=np.int64)}


def _npy(values: npt.NDArray[Any]) -> bytes:
    content = io.BytesIO()
    np.save(content, values)
    return content.getvalue()


def _pack(texts: tuple[str, ...] | list[str]) -> npt.NDArray[np.uint8]:
    """Texts as bytes, each ended by a zero, which no path holds."""
    return np.frombuffer(b"".join(os.fsencode(text) + b"\0" for text in texts), dtype=np.uint8)


def _unpack(packed: npt.NDArray[np.uint8]) -> list[str]:
    return [os.fsdecode(text) for text in packed.tobytes().split(b"\0")[:-1]]
