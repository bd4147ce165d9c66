"""A run's folder `<out_root>/<run_key>/`: what is in it, who works on it, and how far it is."""

import json
import math
import os
import shutil
import socket
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from enum import Enum
from fractions import Fraction
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from daso.errors import UserError


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


def replace_file(path: Path, content: bytes) -> None:
    """Write `content` so that a kill or a full disk leaves the old file or the new one, never a part."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def write_json(path: Path, value: Mapping[str, Any]) -> None:
    """Write a JSON object atomically; numbers that are not finite become null."""
    replace_file(path, (json.dumps(_nullify(value), indent=2, allow_nan=False) + "\n").encode())


def read_json(path: Path) -> dict[str, Any] | None:
    """A JSON object, or None where there is no readable one."""
    try:
        value = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return None
    return value if isinstance(value, dict) else None


def method_name(config: Mapping[str, Any]) -> str:
    """The learner and the filled slots of a resolved configuration, e.g. `fixmatch_la_daso`."""
    fixed = ("dataset", "imb", "algorithm", "model", "optim", "train", "track")
    plain = ("none", "ce", "random")
    nodes = [node for key, node in config.items() if key not in fixed and isinstance(node, Mapping)]
    slots = [node["name"] for node in nodes if "name" in node]
    return "_".join([config["algorithm"]["name"], *(name for name in slots if name not in plain)])


def imbalance_name(imb: Mapping[str, Any]) -> str:
    """The imbalance setting in short, e.g. `N1=500 gl=100 gu=1/100`."""
    return f"N1={imb['n1']} gl={ratio(imb['gamma_l'])} gu={ratio(imb['gamma_u'])}"


def run_name(config: Mapping[str, Any]) -> str:
    """What a resolved configuration is called in tables: data set, method, imbalance, seed."""
    parts = (config["dataset"]["name"], method_name(config), imbalance_name(config["imb"]), f"s{config['seed']}")
    return " ".join(parts)


def objective(summary: Mapping[str, Any]) -> float:
    """What a sweep compares runs by: the paper's number on the validation set where there is one, else on the test
    set."""
    value = summary.get("valid/top1_median20", summary.get("test/top1_median20"))
    return math.nan if value is None else float(value)


def ratio(value: float | str) -> str:
    """An imbalance in short: `100`, `1/100`, `unknown`."""
    if isinstance(value, str):
        return value
    exact = Fraction(value).limit_denominator(10**6)
    return f"1/{exact.denominator}" if exact.numerator == 1 and exact.denominator > 1 else f"{value:g}"


def _nullify(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, Mapping):
        return {str(key): _nullify(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_nullify(item) for item in value]
    return value
