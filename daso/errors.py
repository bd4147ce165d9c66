"""What ends a run or a command: each is seen as a sentence, never as a traceback."""

AFRESH = "bring back the right file, or start that run afresh with force=true"  # what is left where nothing less helps


class UserError(Exception):
    """A mistake that the user can mend: the message names the key, the value, and what would be right."""


class Damaged(UserError):  # noqa: N818  it names a state of a file
    """A file of a run is not what the run wrote: what is wrong with it, and the remedy that loses least."""

    def __init__(self, what: str, remedy: str) -> None:
        super().__init__(what, remedy)
        self.what, self.remedy = what, remedy

    def __str__(self) -> str:
        return f"{self.what}: {self.remedy}."


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
