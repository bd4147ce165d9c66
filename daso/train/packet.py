"""What a step reads anew, sent to the device in one copy and always to the same addresses."""

import time
from collections.abc import Mapping

import torch
from torch import Tensor

from daso.types import Given

ALIGNMENT = 16  # bytes
SLOTS = 8  # steps that the host may be ahead of the device


class Packet:
    """Named tensors as views of one block of bytes on the device, filled from host memory that the device reads itself.

    A captured step reads its inputs here. The host writes into a ring of pinned blocks, so that it need not wait for a
    copy before it prepares the next step; it waits only when it is `SLOTS` steps ahead, and sleeps meanwhile: a core
    that spins is lost to the other runs of the machine.

    Args:
        like: tensors of the names, shapes and dtypes that every step will have.
        device: where they are sent.

    Attributes:
        waits: how often the host has waited so far.
        waited: for how many seconds in all.
    """

    def __init__(self, like: Mapping[str, Tensor], device: torch.device) -> None:
        self._places: dict[str, tuple[int, Tensor]] = {}
        size = 0
        for name, tensor in like.items():
            self._places[name] = (size, tensor)
            size += -(-tensor.nbytes // ALIGNMENT) * ALIGNMENT
        pinned = device.type == "cuda"
        self._block = torch.zeros(size, dtype=torch.uint8, device=device)
        self._host = [torch.zeros(size, dtype=torch.uint8, pin_memory=pinned) for _ in range(SLOTS)]
        self._sent: list[torch.cuda.Event | None] = [None] * SLOTS
        self._views = [self._named(block) for block in self._host]
        self._next = 0
        self.waits, self.waited = 0, 0.0
        self.tensors: Given = self._named(self._block)

    def load(self, given: Given) -> Given:
        """Send the values of one step; returns the device's tensors, the same ones every time."""
        assert given.keys() == self._places.keys(), "every step reads the same names"
        slot, self._next = self._next, (self._next + 1) % SLOTS
        if (event := self._sent[slot]) is not None and not event.query():  # type: ignore[no-untyped-call]
            began = time.perf_counter()
            event.synchronize()
            self.waits, self.waited = self.waits + 1, self.waited + time.perf_counter() - began
        for name, view in self._views[slot].items():
            assert view.shape == given[name].shape, f"{name} changed its shape"
            assert view.dtype == given[name].dtype, f"{name} changed its dtype"
            view.copy_(given[name])
        self._block.copy_(self._host[slot], non_blocking=True)
        if self._block.is_cuda:
            self._sent[slot] = sent = torch.cuda.Event(blocking=True)  # type: ignore[no-untyped-call]
            sent.record()
        return self.tensors

    def _named(self, block: Tensor) -> Given:
        return {
            name: block[start : start + like.nbytes].view(like.dtype).view(like.shape)
            for name, (start, like) in self._places.items()
        }
