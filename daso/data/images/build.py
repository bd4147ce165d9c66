"""Building a store: once, by whichever process comes first, on all CPUs it may use; killed, it goes on where it was.

Legend: N images.
"""

import csv
import io
import json
import os
import time
import zlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
import PIL
from filelock import FileLock, Timeout
from PIL import features

from daso.data.images.decode import Broken, decode, measure
from daso.data.images.store import (
    BROKEN,
    DESCRIPTION,
    LOCK,
    PIXELS,
    UNFINISHED,
    Integers,
    Request,
    Store,
    description,
    ends_of,
    full,
    load,
    room_for,
)
from daso.errors import UserError
from daso.outputs.files import replace_file, write_json

CHUNK = 1024  # images between two moments from which a killed build goes on
POLL = 0.5  # seconds between two looks at the progress of another process

Progress = Callable[[int, int], None]
"""Told how many images of how many are done."""


def ready(
    folder: Path, request: Request, of: str = "", threads: int = 1, progress: Progress = lambda done, total: None
) -> Store:
    """The store of a request: found, waited for while another process builds it, or built.

    Images that cannot be used are in it as `Store.broken`, without pixels. They are tried again at every start: a store
    whose broken files have been mended is built anew.

    Args:
        folder: where stores are kept.
        request: what is to be in it.
        of: what a list of stores calls it.
        threads: how many decode at once.
        progress: called now and then.

    Raises:
        UserError: nothing can be written, the disk is full, or a store that is there is damaged.
    """
    key = request.key
    store = load(folder, key)
    if store is not None and not _mended(store, request):
        return store
    with _writing(folder), _turn(folder, request, progress):
        store = load(folder, key)
        if store is not None and not _mended(store, request):  # built while this process waited
            return store
        with ThreadPoolExecutor(threads, thread_name_prefix="store") as pool:
            build = _Build(folder, request, of, pool, progress)
            try:
                build.run()
            except BaseException as error:
                pool.shutdown(cancel_futures=True)
                if isinstance(error, OSError) and full(error):
                    build.discard()
                raise
    built = load(folder, key)
    assert built is not None
    return built


def refuse_broken(built: Sequence[tuple[Store, Request]]) -> None:
    """Refuse stores with broken images, and leave a list of them beside each.

    Raises:
        UserError: there are any; it names the first three.
    """
    named, lists = [], []
    for store, request in built:
        found = [(request.paths[row], why) for row, why in store.broken.items()]
        if found:
            named += [f"{path} {reason}" for path, reason in found]
            lists.append(str(store.folder / f"{store.key}{BROKEN}"))
            text = io.StringIO()
            csv.writer(text).writerows([("path", "reason"), *found])
            with suppress(OSError):
                replace_file(Path(lists[-1]), text.getvalue().encode(errors="surrogateescape"))
    if not named:
        return
    rest = f", and others, all listed in {' and '.join(lists)}" if len(named) > 3 else ""
    total = sum(len(request.paths) for _, request in built)
    raise UserError(
        f"{len(named)} of {total:,} images in {built[0][1].root} cannot be used: {', '.join(named[:3])}{rest}; mend "
        "or remove them, or leave them out with dataset.broken=skip."
    )


class _Build:
    """One process's work on one store."""

    def __init__(self, folder: Path, request: Request, of: str, pool: ThreadPoolExecutor, progress: Progress) -> None:
        self.request, self.of, self.pool, self.progress = request, of, pool, progress
        key = request.key
        self.folder = folder
        self.pixels, self.part = folder / f"{key}{PIXELS}", folder / f"{key}{UNFINISHED}"
        self.told = folder / f"{key}{DESCRIPTION}"

    def run(self) -> None:
        """Measure, allocate, fill; write the description last."""
        total = len(self.request.paths)
        size, broken, done = self._begun() or self._begin()
        start = np.concatenate([np.zeros(1, np.int64), ends_of(size)]).tolist()
        todo = [k for k in range(-(-total // CHUNK)) if k not in done]
        finished = sum(len(made["crc"]) for made in done.values())
        self.progress(finished, total)
        with self.pixels.open("r+b") as file, self.part.open("a") as part:
            for number, made in self._chunks(todo, broken, start, file.fileno()):
                os.fsync(file.fileno())
                done[number] = made
                part.write(json.dumps({"chunk": number, **made}) + "\n")
                part.flush()
                os.fsync(part.fileno())
                finished += len(made["crc"])
                self.progress(finished, total)
        crc = [value for k in sorted(done) for value in done[k]["crc"]]
        bad = {**broken, **{int(row): why for k in sorted(done) for row, why in done[k]["broken"].items()}}
        facts = {
            "crc": crc,
            "broken": {str(row): bad[row] for row in sorted(bad)},
            "transparent": sum(made["transparent"] for made in done.values()),
            "made": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
            "made_with": {"pillow": PIL.__version__, "libjpeg_turbo": features.version("libjpeg_turbo")},
        }
        write_json(self.told, description(self.request, self.of, size, facts))
        self.part.unlink()

    def discard(self) -> None:
        """Remove what there is of the store, whole or not."""
        for path in (self.told, self.part, self.pixels):
            path.unlink(missing_ok=True)

    def _begun(self) -> tuple[Integers, dict[int, str], dict[int, dict[str, Any]]] | None:
        """What a killed process has left: sizes, images without one, finished chunks."""
        try:
            head, *lines = self.part.read_text().split("\n")
            told = json.loads(head)
            size = np.array([told["heights"], told["widths"]], dtype=np.int64).T.reshape(-1, 2)
            if self.pixels.stat().st_size != int(ends_of(size)[-1]):
                return None
        except (OSError, ValueError, KeyError):
            return None
        done = {}
        for line in lines:
            with suppress(ValueError):  # the last line may be torn
                made = json.loads(line)
                done[int(made.pop("chunk"))] = made
        return size, {int(row): why for row, why in told["broken"].items()}, done

    def _begin(self) -> tuple[Integers, dict[int, str], dict[int, dict[str, Any]]]:
        """Measure every image, and allocate the file."""
        self.discard()
        found = list(self.pool.map(self._measure, range(len(self.request.paths)), chunksize=1))
        broken = {row: why for row, why in enumerate(found) if isinstance(why, str)}
        sizes = [self.request.rule.size(*((0, 0) if isinstance(one, str) else one)) for one in found]
        size = np.array(sizes, dtype=np.int64).reshape(-1, 2)
        total = int(ends_of(size)[-1])
        room_for(self.folder, total)
        with self.pixels.open("wb") as file:
            allocate(file.fileno(), total)
        told = {"heights": size[:, 0].tolist(), "widths": size[:, 1].tolist()}
        replace_file(self.part, (json.dumps({**told, "broken": broken}) + "\n").encode())
        return size, broken, {}

    def _chunks(
        self, todo: list[int], broken: dict[int, str], start: list[int], file: int
    ) -> Iterator[tuple[int, dict[str, Any]]]:
        """Finished chunks; the images of the next one are begun before the last of this one is done."""
        pending: list[tuple[int, list[Any]]] = []
        for number in [*todo, None]:
            if number is not None:
                rows = range(number * CHUNK, min((number + 1) * CHUNK, len(self.request.paths)))
                jobs = [self.pool.submit(self._make, k, start[k : k + 2], file, broken.get(k)) for k in rows]
                pending.append((number, jobs))
            if len(pending) > 1 or (number is None and pending):
                first, jobs = pending.pop(0)
                made = [job.result() for job in jobs]
                bad = {first * CHUNK + k: why for k, (_, _, why) in enumerate(made) if why is not None}
                transparent = sum(shown for _, shown, _ in made)
                yield first, {"crc": [crc for crc, _, _ in made], "broken": bad, "transparent": transparent}

    def _measure(self, row: int) -> tuple[int, int] | str:
        try:
            return measure(*self.request.file(row))
        except Broken as reason:
            return str(reason)

    def _make(self, row: int, span: list[int], file: int, why: str | None) -> tuple[int, bool, str | None]:
        """Decode an image into its place, which stays black where it cannot be used.

        Returns:
            Its checksum, whether it is transparent, and why it is broken: `why`, if that is known before, or None.
        """
        nothing = bytes(span[1] - span[0])
        if why is not None:
            return zlib.crc32(nothing), False, why
        try:
            image, transparent = decode(*self.request.file(row))
        except Broken as reason:
            return zlib.crc32(nothing), False, str(reason)
        content = self.request.rule.render(image).tobytes()
        if len(content) != len(nothing):
            return zlib.crc32(nothing), False, "has a head that lies about its size"
        write_at(file, content, span[0])
        return zlib.crc32(content), transparent, None


def allocate(file: int, size: int) -> None:
    """Give a file its length, and the disk the whole of it where the file system can promise that.

    Raises:
        OSError: there is no room.
    """
    if hasattr(os, "posix_fallocate") and size:
        try:
            os.posix_fallocate(file, 0, size)
        except OSError as error:
            if full(error):
                raise
    os.ftruncate(file, size)


def write_at(file: int, content: bytes, place: int) -> None:
    """Write all of `content` at byte `place`."""
    view = memoryview(content)
    while view:
        written = os.pwrite(file, view, place)
        view, place = view[written:], place + written


def _mended(store: Store, request: Request) -> bool:
    """Whether a broken image of a store can be used by now."""
    for row in store.broken:
        with suppress(Broken):
            decode(*request.file(row))
            return True
    return False


@contextmanager
def _writing(folder: Path) -> Iterator[None]:
    """Turn what a disk can refuse into a sentence."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        yield
    except OSError as error:
        if full(error):
            raise UserError(
                f"dataset.store={folder} is not possible: its disk is full; free some space or name another folder."
            ) from error
        raise UserError(
            f"dataset.store={folder} is not possible: nothing can be written there ({error.strerror or error}); "
            "name a folder of yours."
        ) from error


@contextmanager
def _turn(folder: Path, request: Request, progress: Progress) -> Iterator[None]:
    """Be the only process that builds this store; while another one is, tell how far it is."""
    lock, total = FileLock(folder / f"{request.key}{LOCK}"), len(request.paths)
    while True:
        try:
            lock.acquire(timeout=0)
            break
        except Timeout:
            with suppress(OSError):
                lines = (folder / f"{request.key}{UNFINISHED}").read_text().count("\n")
                progress(min(max(lines - 1, 0) * CHUNK, total), total)
            time.sleep(POLL)
    try:
        yield
    finally:
        lock.release()
