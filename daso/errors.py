"""The one exception that a user sees as a sentence, never as a traceback."""


class UserError(Exception):
    """A mistake that the user can mend: the message names the key, the value, and what would be right."""


class RunFailed(Exception):  # noqa: N818  it names a state of a run, like Interrupted
    """A run that started and cannot go on (loss not finite, GPU memory, disk full); it is marked FAILED and keeps its
    last good checkpoint."""


class CannotCompile(RunFailed):
    """The way of executing steps that `train.compile` asks for does not work on this machine."""


class Interrupted(KeyboardInterrupt):
    """The run was told to stop by a signal and has written a checkpoint; the exit code is 128 + signum."""

    def __init__(self, signum: int) -> None:
        super().__init__(signum)
        self.signum = signum
