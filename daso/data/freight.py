"""Images read from the disk when a step needs them, while those before it run.

Reader threads fill pinned host memory; on a GPU a stream of its own carries it over. Which images a step gets does not
depend on what was expected: a wrong guess costs time, nothing else.
Legend: N images of a run, B of a step.
"""

import time
import weakref
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from daso.data.ragged import Integers, Reader, Shelf

SPARE = 2  # blocks of host memory beside those that are read ahead: one on its way to the device, one to be free
LEAST = 64  # images that a thread reads at a time


@dataclass
class Slot:
    """A block of host memory that holds the images of one step."""

    block: Tensor  # [capacity] uint8
    rows: Integers = field(default_factory=lambda: np.zeros(0, np.int64))  # [B] what it holds, or will
    start: Tensor | None = None  # [B] int64: first byte of each
    used: int = 0  # bytes
    reads: tuple["Future[None]", ...] = ()
    sent: "torch.cuda.Event | None" = None  # when the device had it all


class Freight:
    """The images of a step in one buffer on the device, at an address that never changes.

    Args:
        shelf: where the images of the run lie.
        batch: images of a step at most.
        device: where they are brought.
        threads: how many read at once.
        ahead: of how many steps the images are read before they are asked for. One is enough where a step takes longer
            than its reading, and where reading takes longer more blocks of memory only delay the wait; 0 reads none.
    """

    far = True

    def __init__(self, shelf: Shelf, batch: int, device: torch.device, threads: int = 2, ahead: int = 1) -> None:
        self.shelf, self.batch, self.device, self.ahead = shelf, batch, device, ahead
        capacity = batch * int(shelf.length.max())
        self.size = torch.from_numpy(shelf.size)
        self.size_there = self.size.to(device)
        self.bytes = torch.zeros(capacity, dtype=torch.uint8, device=device)
        self.waited = 0.0  # seconds that steps had to wait for their images, in all
        cuda = device.type == "cuda"
        blocks = (torch.empty(capacity, dtype=torch.uint8, pin_memory=cuda) for _ in range(ahead + SPARE))
        self._slots = [Slot(block) for block in blocks]
        self._next = 0
        self._expected: deque[Slot] = deque()  # in the order in which they will be asked for
        self._staging = torch.empty_like(self.bytes) if cuda else self.bytes
        self._stream = torch.cuda.Stream(device) if cuda else None  # type: ignore[no-untyped-call]
        self._taken: torch.cuda.Event | None = None  # when the buffer had taken over what was staged
        self._reader = Reader(shelf.files)
        self._reader.open()
        self._threads = threads
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="freight")
        self.close = weakref.finalize(self, _close, self._pool, self._reader)  # also where nobody calls it

    def expect(self, rows: Tensor) -> None:
        """Begin to read the images `rows` [B], which will be asked for after those that are expected already.

        Where more are expected than are read ahead, the oldest are given up.
        """
        wanted = rows.numpy()
        if not self.ahead or any(np.array_equal(slot.rows, wanted) for slot in self._expected):
            return
        if len(self._expected) == self.ahead:
            self._give_up()
        self._expected.append(self._read(wanted))

    def load(self, rows: Tensor) -> Tensor:
        """Bring the images `rows` [B]; [B] int64 on the CPU, the first byte of each in `bytes`.

        Raises:
            RunFailed: a file cannot be read; what was read ahead says so here, not before.
        """
        wanted = rows.numpy()
        while self._expected and not np.array_equal(self._expected[0].rows, wanted):
            self._give_up()
        slot = self._expected.popleft() if self._expected else self._read(wanted)
        began = time.perf_counter()
        for read in slot.reads:
            read.result()
        self.waited += time.perf_counter() - began
        self._send(slot)
        assert slot.start is not None
        return slot.start

    def _give_up(self) -> None:
        """Expect the oldest images no more; their slot is free once what is under way has ended."""
        for read in self._expected.popleft().reads:
            read.cancel()

    def _read(self, rows: Integers) -> Slot:
        """Begin to fill the next slot."""
        assert len(rows) <= self.batch, "a step asks for no more images than it was said to"
        slot, self._next = self._slots[self._next], (self._next + 1) % len(self._slots)
        for read in slot.reads:  # of images that nobody came for
            read.cancel()
        for read in slot.reads:
            if not read.cancelled():
                read.exception()
        if slot.sent is not None:
            slot.sent.synchronize()
        some = self.shelf.take(rows)
        ends = np.cumsum(some.length)
        start = ends - some.length
        slot.rows, slot.start, slot.used = rows, torch.from_numpy(start), int(ends[-1]) if len(ends) else 0
        step = max(-(-len(rows) // self._threads), LEAST)
        spans = [slice(k, k + step) for k in range(0, len(rows), step)]
        slot.reads = tuple(
            self._pool.submit(self._fill, slot.block, some.take(np.arange(len(rows))[span]), start[span])
            for span in spans
        )
        return slot

    def _fill(self, block: Tensor, some: Shelf, places: Integers) -> None:
        memory = block.numpy()
        lines = zip(some.file.tolist(), some.start.tolist(), some.length.tolist(), places.tolist())
        for file, start, length, place in lines:
            self._reader.read(file, start, memory[place : place + length])

    def _send(self, slot: Slot) -> None:
        used = slot.used
        if self._stream is None:
            self.bytes[:used] = slot.block[:used]
            return
        main = torch.cuda.current_stream(self.device)
        with torch.cuda.stream(self._stream):
            if self._taken is not None:
                self._stream.wait_event(self._taken)
            self._staging[:used].copy_(slot.block[:used], non_blocking=True)
            slot.sent = self._stream.record_event()
        main.wait_event(slot.sent)
        self.bytes[:used].copy_(self._staging[:used], non_blocking=True)
        self._taken = main.record_event()


def _close(pool: ThreadPoolExecutor, reader: Reader) -> None:
    """Stop reading."""
    pool.shutdown(cancel_futures=True)
    reader.close()
