"""What ends a run or a command: each is seen as a sentence, never as a traceback."""

from daso.credentials import mask

AFRESH = "bring back the right file, or start that run afresh with force=true"  # what is left where nothing less helps


class _Sentence(Exception):  # noqa: N818  it is what its heirs are told by
    """Told by one sentence, which is shown and stored: credentials in it are masked."""

    def __init__(self, *parts: str) -> None:
        super().__init__(*map(mask, parts))


class UserError(_Sentence):
    """A mistake that the user can mend: the message names the key, the value, and what would be right."""


class Damaged(UserError):  # noqa: N818  it names a state of a file
    """A file of a run is not what the run wrote: what is wrong with it, and the remedy that loses least."""

    def __init__(self, what: str, remedy: str) -> None:
        super().__init__(what, remedy)
        self.what, self.remedy = self.args

    def __str__(self) -> str:
        return f"{self.what}: {self.remedy}."


class RunFailed(_Sentence):
    """A run that started and cannot go on (loss not finite, GPU memory, disk full); it is marked FAILED and keeps its
    last good checkpoint."""


class CannotCompile(RunFailed):
    """The way of executing steps that `train.compile` asks for does not work on this machine."""


class Interrupted(KeyboardInterrupt):
    """The run was told to stop by a signal and has written a checkpoint; the exit code is 128 + signum."""

    def __init__(self, signum: int) -> None:
        super().__init__(signum)
        self.signum = signum
