"""What the processes of one sweep share: how each job ended, and the wish to stop. Plain files, so that they also meet
on a network file system."""

import os
import shutil
import signal
import socket
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from filelock import FileLock, Timeout

from daso.errors import UserError
from daso.outputs.files import read_json, write_json

FINISHED, FAILED, REFUSED, STOPPED = "FINISHED", "FAILED", "REFUSED", "STOPPED"
FAIL_FAST = 0  # asked to stop by a failed job, not by a signal
PREFIX = ".sweep-"


def unwritable(folder: Path, error: OSError) -> UserError:
    """The sentence for a folder of runs that cannot be written."""
    why = (error.strerror or type(error).__name__).lower()
    return UserError(f"out_root={folder} is not possible: {why}; name a writable folder.")


class JobResult(float):
    """What a job of a sweep returns: its number (nan if it has none) and how it ended. Survives pickling."""

    def __new__(cls, value: float, state: str = FINISHED, key: str = "", reason: str = "") -> "JobResult":
        """A float that carries the job's end."""
        result = super().__new__(cls, value)
        result.state, result.key, result.reason = state, key, reason
        return result

    state: str
    key: str  # the run key; empty if the configuration was refused
    reason: str


class End(NamedTuple):
    """How a job ended."""

    overrides: list[str]
    state: str
    key: str = ""
    result: float | None = None
    reason: str = ""
    label: str = ""  # what it is called, where its overrides do not tell


def code_of(ends: Sequence[End | JobResult]) -> int:
    """The exit code that ends make: 0 where all finished, 2 for a mistake that all share, else 1."""
    if all(end.state == FINISHED for end in ends):
        return 0
    return 2 if {(end.state, end.reason) for end in ends} == {(REFUSED, ends[0].reason)} else 1


class Session:
    """One start of a sweep, shared by the process that started it and those of its jobs; may be pickled.

    Args:
        folder: where the processes meet; there while the sweep runs.
        owner: host and process id of the process that started the sweep.
    """

    def __init__(self, folder: Path, owner: tuple[str, int]) -> None:
        self.folder = folder
        self.owner = owner
        self._alive: FileLock | None = None
        self._made_root = False

    def __getstate__(self) -> dict[str, Any]:
        return {"folder": self.folder, "owner": self.owner, "_alive": None, "_made_root": False}

    @classmethod
    def start(cls, root: Path) -> "Session":
        """Make the folder in `root`, and remove those of sweeps that were killed.

        Raises:
            OSError: `root` cannot be written.
        """
        made = not root.exists()
        root.mkdir(parents=True, exist_ok=True)
        for left in root.glob(f"{PREFIX}*"):
            lock = FileLock(left / "alive")
            try:
                lock.acquire(timeout=0)
            except (Timeout, OSError, NotImplementedError):
                continue
            shutil.rmtree(left, ignore_errors=True)
            lock.release()
        # moved into place with its lock held: no other sweep takes it for one that was killed
        hidden = Path(tempfile.mkdtemp(prefix=".new", dir=root))
        alive = FileLock(hidden / "alive")
        with suppress(OSError, NotImplementedError):  # a file system without locks: what a kill leaves stays there
            alive.acquire()
        folder = hidden.with_name(hidden.name.replace(".new", PREFIX, 1))
        hidden.rename(folder)
        session = cls(folder, (socket.gethostname(), os.getpid()))
        session._alive, session._made_root = alive, made
        return session

    @classmethod
    def apart(cls) -> "Session":
        """As `start`, in a temporary folder of this machine, for jobs that have nothing to write to theirs."""
        return cls(Path(tempfile.mkdtemp(prefix="daso-sweep-")), (socket.gethostname(), os.getpid()))

    def close(self) -> None:
        """Remove the folder, and the one that it was made in if no job has left anything there."""
        shutil.rmtree(self.folder, ignore_errors=True)
        if self._made_root:
            with suppress(OSError):
                self.folder.parent.rmdir()
        if self._alive is not None:
            self._alive.release(force=True)

    @classmethod
    def under(cls, root: Path) -> list["Session"]:
        """Those whose folders lie in `root`, to look at: under way, or killed."""
        return [cls(folder, ("", 0)) for folder in sorted(root.glob(f"{PREFIX}*")) if folder.is_dir()]

    def alive(self) -> bool:
        """Whether the process that started the sweep lives, as far as its lock tells."""
        try:
            with FileLock(self.folder / "alive", timeout=0):
                return False
        except (Timeout, OSError, NotImplementedError):
            return True

    @property
    def token(self) -> str:
        """A name that no other start of a sweep has."""
        return self.folder.name.removeprefix(PREFIX)

    def owned(self) -> bool:
        """Whether this process started the sweep."""
        return self.owner == (socket.gethostname(), os.getpid())

    def begin(self, job: int, run_key: str) -> None:
        """Write down that this process works on job number `job`, a run."""
        self._write(f"{job:06d}.start", {"host": socket.gethostname(), "pid": os.getpid(), "run": run_key})

    def end(self, job: int, end: End) -> None:
        """Write down how job number `job` ended.

        Raises:
            OSError: there is no room for it.
        """
        try:
            self._write(f"{job:06d}.end", end._asdict())
        finally:
            (self.folder / f"{job:06d}.start").unlink(missing_ok=True)

    def ends(self) -> list[End]:
        """How jobs ended, by their number; that of a job which was started again counts last."""
        return [End(**value) for path in sorted(self.folder.glob("*.end")) if (value := read_json(path))]

    def ended_since(self, seen: set[str]) -> list[End]:
        """How those jobs ended that `seen`, names of files, does not hold yet; it then does."""
        new = [path for path in sorted(self.folder.glob("*.end")) if path.name not in seen]
        found = {path.name: value for path in new if (value := read_json(path))}
        seen.update(found)
        return [End(**value) for value in found.values()]

    def busy(self) -> set[str]:
        """The run keys of the jobs that are under way, in processes that live."""
        begun = [found for path in self.folder.glob("*.start") if (found := read_json(path)) is not None]
        return {process["run"] for process in begun if _lives(process)}

    def ask_to_stop(self, reason: int) -> None:
        """Ask all jobs to write a checkpoint and end; the first reason, a signal number or `FAIL_FAST`, counts."""
        if self.stopping() is None:
            self._write("stop", {"reason": reason})

    def stopping(self) -> int | None:
        """Why all jobs are to end, or None; a sweep that was ended, and not killed, leaves no folder."""
        asked = read_json(self.folder / "stop")
        if asked is not None:
            return int(asked["reason"])
        return None if self.folder.exists() else int(signal.SIGTERM)

    def share(self, runs: Mapping[str, Any]) -> None:
        """Tell the jobs what they cannot know by themselves."""
        self._write("shared", runs)

    def shared(self) -> dict[str, Any]:
        """What `share` told; empty if nothing."""
        return read_json(self.folder / "shared") or {}

    def label(self, run_key: str) -> str:
        """What the sweep calls a run; empty where no sweeper says what its jobs are."""
        return str(self.shared().get("labels", {}).get(run_key, ""))

    def prefix(self, run_key: str) -> str:
        """What the lines of a run begin with; empty where there is no other to tell it from."""
        return "" if self.shared().get("alone") else self.label(run_key)

    def needs(self, run_key: str) -> list[str]:
        """The run keys of the jobs of this sweep that a run is built on."""
        return list(self.shared().get("needs", {}).get(run_key, []))

    def _write(self, name: str, value: Mapping[str, Any]) -> None:
        if self.folder.exists():  # or the sweep is over: a job that outlives it has nobody to tell
            write_json(self.folder / name, value)


def _lives(process: Mapping[str, Any]) -> bool:
    if process["host"] != socket.gethostname():
        return True
    try:
        os.kill(process["pid"], 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True
