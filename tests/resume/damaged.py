"""Runs that are killed, files that are damaged, and what the same line makes of them."""

import random
import shutil
from dataclasses import replace

import pytest

from daso.errors import RunFailed, UserError
from daso.outputs.files import read_json
from daso.outputs.rundir import RunDir
from daso.run.start import run
from daso.track.jsonl import TIME, read
from daso.train.step import TrainStep
from tests.compose import NOWHERE
from tests.training import composed

KILLED_AT = 8  # of 12, with checkpoints of the steps 3 and 6, and rows after both
STOPPED = ["checkpoint.pt", "checkpoint.previous.pt", "metrics.jsonl", "splits.npz", "run.json", "resolved.yaml"]
FINISHED = ["checkpoint.pt", "metrics.jsonl", "splits.npz", "run.json", "resolved.yaml", "summary.json", "DONE"]
MADE_ANEW = {"summary.json", "resolved.yaml", "splits.npz"}  # of a finished run, by the line that trained it


def flipped(share):
    def flip(whole, rng):
        at = min(int(share * len(whole)), len(whole) - 1)
        return whole[:at] + bytes([whole[at] ^ (1 << rng.randrange(8))]) + whole[at + 1 :]

    return flip


def zeroed(whole, rng):
    at = rng.randrange(len(whole))
    return whole[:at] + bytes(min(4096, len(whole) - at)) + whole[at + 4096 :]


BYTES = {
    **{f"a byte flipped at {share}": flipped(share) for share in (0, 0.3, 0.6, 1)},
    "a page of zeros": zeroed,
    "half": lambda whole, rng: whole[: len(whole) // 2],
    "without its end": lambda whole, rng: whole[:-2],
    "zeros at its end": lambda whole, rng: whole[:-20] + bytes(20),
    "empty": lambda whole, rng: b"",
    "other text": lambda whole, rng: b"hello\n",
    "deep": lambda whole, rng: b"[" * 100_000 + b"]" * 100_000 + b"\n",
}
LIKE_OTHERS = {"a byte flipped at 0.3", "without its end", "zeros at its end"}  # another byte, another end
HOWS = [pytest.param(how, marks=pytest.mark.slow if how in LIKE_OTHERS else ()) for how in BYTES]
PLACES = ["another run's", "a folder", "a link to nowhere", "unreadable"]


class Kill(BaseException):
    """The process is gone."""


def short(out_root, *overrides):
    return replace(composed("train.checkpoint_every=3", *overrides), out_root=str(out_root))


def other(out_root):
    return short(out_root, "seed=1")


def folder_of(config):
    return RunDir(config.out_root, config.run_key)


def rows(config):
    """The journal, without what depends on the machine's mood."""
    mood = (TIME, "time/", "memory/")
    return [{k: v for k, v in row.items() if not k.startswith(mood)} for row in read(folder_of(config).metrics)]


def numbers(config):
    """The final numbers, likewise."""
    mood = ("time/", "memory/", "seconds", "finished", "journal_")
    return {k: v for k, v in read_json(folder_of(config).summary).items() if not k.startswith(mood)}


def kill_at(config, step):
    """Train until a step that never ends."""
    call, calls = TrainStep.__call__, iter(range(1, 1000))

    def killed(self, *args):
        if next(calls) > step:
            raise Kill
        return call(self, *args)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(TrainStep, "__call__", killed)
        with pytest.raises(Kill):
            run(config, NOWHERE)


def damage(path, how):
    path.write_bytes(BYTES[how](path.read_bytes(), random.Random(f"{path.name} {how}")))


def put_in_its_place(path, what, monkeypatch):
    if what == "another run's":
        shutil.copyfile(folder_of(other(path.parents[1])).path / path.name, path)
        return
    if what == "unreadable":
        monkeypatch.setattr(type(path), "read_bytes", refuse(path, type(path).read_bytes))
        return
    path.unlink()
    if what == "a folder":
        path.mkdir()
    else:
        path.symlink_to("/nowhere/at/all")


def refuse(path, read_bytes):
    def read(self):
        if self == path:
            raise PermissionError(13, "Permission denied", str(path))
        return read_bytes(self)

    return read


def held(config):
    """What the files hold, those about the process that works on them and what it said aside."""
    others = ("lock", "lock.json", "FAILED", "console.log")
    files = [path for path in folder_of(config).path.iterdir() if path.is_file()]
    return {path.name: open(path, "rb").read() for path in files if path.name not in others}


def started_again(config, name, monkeypatch):
    """What the same line says of a file that cannot be mended; nothing where it ends. A refusal changes no file."""
    left, said = held(config), ""
    try:
        run(config, NOWHERE)
    except (UserError, RunFailed) as error:
        said = str(error)
    monkeypatch.undo()
    if said:
        assert name in said
        assert "\n" not in said
        assert held(config) == left
    return said
