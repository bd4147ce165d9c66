"""Numbers on their way from the device to the host: the device goes on with the next steps meanwhile."""

from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

import torch
from torch import Tensor

Result = TypeVar("Result")
Next = TypeVar("Next")


class Later(Generic[Result]):
    """A result that is computed on the host once its tensors are there.

    The tensors are copied when this is made, in the order of the device's work: what is done to them afterwards changes
    nothing.

    Args:
        tensors: on any device.
        finish: the same ones on the host -> the result.
    """

    def __init__(self, tensors: Sequence[Tensor], finish: Callable[[list[Tensor]], Result]) -> None:
        self._copies = [_copy(t) for t in tensors]
        self._finish = finish
        self._done: torch.cuda.Event | None = None
        if any(t.is_cuda for t in tensors):
            self._done = torch.cuda.Event()  # type: ignore[no-untyped-call]
            self._done.record()

    def ready(self) -> bool:
        """Whether `get` would not wait."""
        return self._done is None or bool(self._done.query())  # type: ignore[no-untyped-call]

    def get(self) -> Result:
        """The result; waits for the device where it must."""
        if self._done is not None:
            self._done.synchronize()
        return self._finish(self._copies)

    def then(self, use: Callable[[Result], Next]) -> "Later[Next]":
        """This result, used for another one when it is asked for."""
        chained: Later[Next] = Later([], lambda _: use(self.get()))
        chained._done = self._done
        return chained


def _copy(tensor: Tensor) -> Tensor:
    return tensor.to("cpu", non_blocking=True) if tensor.is_cuda else tensor.clone()
