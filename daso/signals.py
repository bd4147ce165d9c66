"""Stop requests: remembered, and acted upon between two steps."""

import signal
import threading
from types import FrameType, TracebackType

from daso.errors import Interrupted


class StopRequest:
    """While entered, the first SIGINT or SIGTERM is remembered; a second one acts at once, without a checkpoint.

    Outside the main thread, where Python takes no signals, it never remembers one.
    """

    SIGNALS = (signal.SIGINT, signal.SIGTERM)

    def __init__(self) -> None:
        self.signum: int | None = None

    def __call__(self) -> int | None:
        """The remembered signal number, or None."""
        return self.signum

    def __enter__(self) -> "StopRequest":
        self._main = threading.current_thread() is threading.main_thread()
        if self._main:
            self._previous = {number: signal.signal(number, self._remember) for number in self.SIGNALS}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._main:
            for number, handler in self._previous.items():
                signal.signal(number, handler)

    def _remember(self, signum: int, frame: FrameType | None) -> None:
        if self.signum is not None:
            raise Interrupted(signum)
        self.signum = signum
