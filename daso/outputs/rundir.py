"""A run's folder `<out_root>/<run_key>/`: what is in it, who works on it, and how far it is."""

import os
import shutil
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from enum import Enum
from pathlib import Path

from filelock import FileLock, Timeout

from daso.errors import UserError
from daso.outputs.files import read_json, write_json


class RunState(Enum):
    """How far a run is."""

    new = "new"  # nothing worth keeping
    partial = "partial"  # stopped or killed; starting it again continues it
    running = "running"  # a process holds its lock
    failed = "failed"  # stopped by an error, whose sentence is recorded
    done = "done"


class RunDir:
    """Paths, lock and state of one run. Creates nothing before `lock()`.

    Args:
        out_root: the folder of all runs.
        run_key: the run's identity.
    """

    def __init__(self, out_root: str | Path, run_key: str) -> None:
        self.root = Path(out_root).absolute()
        self.key = run_key
        self.path = self.root / run_key
        self.resolved = self.path / "resolved.yaml"  # the resolved configuration
        self.card = self.path / "run.json"  # {"name", "tags", "steps", "forced", "device", "compile"}: for others
        self.splits = self.path / "splits.npz"
        self.metrics = self.path / "metrics.jsonl"
        self.summary = self.path / "summary.json"
        self.checkpoint = self.path / "checkpoint.pt"
        self.figures = self.path / "figures"
        self.mirror = self.path / "mlflow.json"  # which MLflow run mirrors this one, and up to where
        self.done = self.path / "DONE"
        self._failed = self.path / "FAILED"
        self._lock = self.path / "lock"
        self._holder = self.path / "lock.json"

    @contextmanager
    def lock(self, patience: float = 5.0) -> Iterator[None]:
        """Create the folder and be the only process that works on it; freed by the kernel if the process dies.

        Args:
            patience: seconds to wait for a holder that is about to end.

        Raises:
            UserError: another process holds it, or the folder cannot be written.
        """
        lock = self._acquire(patience)
        try:
            with suppress(OSError):  # a full disk; the lock holds all the same
                write_json(self._holder, {"pid": os.getpid(), "host": socket.gethostname(), "since": time.time()})
            yield
        finally:
            self._holder.unlink(missing_ok=True)
            lock.release()

    def state(self) -> RunState:
        """How far the run is, from its files and its lock alone."""
        if self.done.exists():
            return RunState.done
        if self._held():
            return RunState.running
        if self._failed.exists():
            return RunState.failed
        begun = self.checkpoint.exists() or self.metrics.exists() or self.resolved.exists()
        return RunState.partial if begun else RunState.new

    def mark_done(self) -> None:
        """Say that the run is finished and everything is written. The last act of a run."""
        self.clear()
        write_json(self.done, {"time": time.time()})

    def mark_failed(self, reason: str) -> None:
        """Record the sentence that says why the run stopped, unless the disk has no room for it."""
        with suppress(OSError):
            write_json(self._failed, {"reason": reason, "time": time.time()})

    def reason(self) -> str | None:
        """Why the run failed, or None."""
        failed = read_json(self._failed)
        return None if failed is None else str(failed.get("reason"))

    def clear(self) -> None:
        """Forget an earlier failure: the run goes on."""
        self._failed.unlink(missing_ok=True)

    def reset(self) -> None:
        """Remove everything that the run made, for a fresh start.

        The lock stays, and so does the note of the MLflow run, which is then replaced and not doubled.
        """
        keep = {self._lock, self._holder, self.mirror}
        first = [self.done, self.checkpoint]  # a kill in between leaves a run that starts afresh
        for path in first + [p for p in sorted(self.path.glob("*")) if p not in keep]:
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)

    def remove(self) -> None:
        """Remove the folder.

        Raises:
            UserError: a process works on it.
        """
        with self.lock(patience=0):
            self.reset()
            shutil.rmtree(self.path)  # with its lock: a waiter finds it gone, and makes a new one

    def _acquire(self, patience: float) -> FileLock:
        lock = FileLock(self._lock)
        while True:
            try:
                self.path.mkdir(parents=True, exist_ok=True)
                with suppress(FileNotFoundError):  # the folder was removed while we waited
                    lock.acquire(timeout=patience, poll_interval=0.1)
            except Timeout:
                raise UserError(f"Run {self.key} is taken by {self._who()}: wait for it, or stop it.") from None
            except OSError as error:
                why = (error.strerror or type(error).__name__).lower()
                raise UserError(f"out_root={self.root} is not possible: {why}; name a writable folder.") from error
            if self._lock.exists() and lock.is_locked:
                return lock
            lock.release()  # of a file that is gone: nobody's lock

    def _held(self) -> bool:
        if not self._lock.exists():
            return False
        probe = FileLock(self._lock)
        try:
            probe.acquire(timeout=0)
        except Timeout:
            return True
        except OSError:  # a folder of somebody else that we may only read
            return self._holder.exists()
        probe.release()
        return False

    def _who(self) -> str:
        holder = read_json(self._holder)
        return "another process" if holder is None else f"process {holder['pid']} on {holder['host']}"
