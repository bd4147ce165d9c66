"""What ends a run or a command: each is seen as a sentence, never as a traceback."""

import argparse
import re
from collections.abc import Iterator, Sequence
from difflib import get_close_matches
from typing import NoReturn

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


class Flags(argparse.ArgumentParser):
    """A command line of flags whose mistakes are sentences; one that is written as other commands have it, `key=value`,
    is told how it is written here.
    """

    def read(self, arguments: Sequence[str]) -> argparse.Namespace:
        """What a command line says.

        Raises:
            UserError: a mistake.
        """
        known = dict(self._flags())
        for argument in arguments:
            key, equals, value = argument.partition("=")
            if equals and (flag := f"--{key.replace('_', '-')}") in known:
                raise UserError(f"{argument} is not possible: write {flag}{f' {value}' * (known[flag].nargs != 0)}.")
        return self.parse_args(arguments)

    def error(self, message: str) -> NoReturn:
        """Raise a mistake that argparse has found."""
        more = f"{self.prog} --help says more"
        if found := re.fullmatch(r"argument .*: invalid choice: '?(.*?)'? \(choose from (.*)\)", message):
            choices = found[2].replace("'", "")
            near = get_close_matches(found[1], choices.split(", "), 1)
            right = f"did you mean {near[0]}?" if near else f"choose one of {choices}."
            raise UserError(f"{found[1]} is not possible: {right}")
        if found := re.fullmatch(r"unrecognized arguments: (.*)", message):
            flag = found[1].split()[0]
            if flag in dict(self._flags()):  # of another command
                raise UserError(f"{found[1]} is not possible here: {more}.")
            near = get_close_matches(flag, dict(self._flags()), 1)
            raise UserError(f"{found[1]} is not possible: {f'did you mean {near[0]}?' if near else f'{more}.'}")
        if found := re.fullmatch(r"the following arguments are required: (.*)", message):
            meant = next((action.help for action in self._actions if action.metavar == found[1] and action.help), "")
            raise UserError(f"{found[1]} is missing behind {self.prog}: {f'it is {meant}; ' * bool(meant)}{more}.")
        raise UserError(f"{message.removeprefix('argument ')}; {more}.")

    def _flags(self) -> Iterator[tuple[str, argparse.Action]]:
        """The flags, those of commands within this one too."""
        for action in self._actions:
            yield from ((flag, action) for flag in action.option_strings)
            if isinstance(action, argparse._SubParsersAction):
                for parser in action.choices.values():
                    yield from parser._flags()
