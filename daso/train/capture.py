"""Work of static shapes, recorded once as a CUDA graph and replayed: no Python and no launches per step any more."""

from collections import Counter
from collections.abc import Callable, Hashable
from functools import partial
from typing import Any, Generic, Protocol, TypeVar

import torch

Key = TypeVar("Key", bound=Hashable)
Result = TypeVar("Result")
WARMUP = 3  # calls of a key before it is recorded: kernels are compiled and chosen, state is created


class Graphs(Protocol):
    """What recording needs of a device."""

    def warm(self, work: Callable[[], Any]) -> Any:
        """Do the work once, where it would be recorded."""

    def capture(self, work: Callable[[], Any]) -> tuple[Callable[[], None], Any]:
        """Record the work without doing it: what does it, and its result, which every replay writes anew."""


class CudaGraphs:
    """Graphs of one device. They share their memory: they run one after the other, and no result outlives the next."""

    def __init__(self, device: torch.device) -> None:
        self._stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
        self._pool: Any = None

    def warm(self, work: Callable[[], Any]) -> Any:
        """Do the work on the stream that is recorded from later, in order with everything else."""
        outside = torch.cuda.current_stream()
        self._stream.wait_stream(outside)
        with torch.cuda.stream(self._stream):
            result = work()
        outside.wait_stream(self._stream)
        return result

    def capture(self, work: Callable[[], Any]) -> tuple[Callable[[], None], Any]:
        """Record the work."""
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, pool=self._pool, stream=self._stream):
            result = work()
        self._pool = graph.pool()
        return graph.replay, result


class Captured(Generic[Key, Result]):
    """A function whose inputs and state stay at their addresses, done as a graph after a few calls of each key.

    Every call does the work exactly once, recorded or not.

    Args:
        work: key -> result. The key alone decides which operations are done.
        graphs: None does the work as it is, every time.
        warmup: calls of a key before it is recorded.
    """

    def __init__(self, work: Callable[[Key], Result], graphs: Graphs | None, warmup: int = WARMUP) -> None:
        self._work, self._graphs, self._warmup = work, graphs, warmup
        self._seen: Counter[Key] = Counter()
        self._recorded: dict[Key, tuple[Callable[[], None], Result]] = {}

    def __call__(self, key: Key) -> Result:
        """Do the work; the result of a recorded key is overwritten by its next call."""
        if self._graphs is None:
            return self._work(key)
        if key not in self._recorded:
            self._seen[key] += 1
            if self._seen[key] <= self._warmup:
                result: Result = self._graphs.warm(partial(self._work, key))
                return result
            self._recorded[key] = self._graphs.capture(partial(self._work, key))
        replay, result = self._recorded[key]
        replay()
        return result
