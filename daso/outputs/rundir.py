"""A run's folder `<out_root>/<run_key>/`: what is in it, who works on it, how far it is, and what of it to believe."""

import csv
import io
import os
import shutil
import socket
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from difflib import get_close_matches
from enum import Enum
from pathlib import Path
from typing import Any

from filelock import BaseFileLock, Timeout

from daso.errors import Damaged, UserError
from daso.outputs.files import damage_of, digest, read_file, read_json, read_yaml, why, write_json
from daso.outputs.locks import lock_on, marker
from daso.outputs.naming import STUDY

LATEST = "latest"
"""What a person may say instead of a key: the run that was finished last."""

UNFINISHED = (".*.tmp", ".splits.npz.*", "checkpoint.tmp")  # what a killed process leaves of a file


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
        self.card = self.path / "run.json"  # {"name", "tags", "steps", "forced", "device", ...}: for others
        self.splits = self.path / "splits.npz"
        self.classes = self.path / "classes.csv"  # names and sizes of the classes, of a data set of image files
        self.metrics = self.path / "metrics.jsonl"
        self.summary = self.path / "summary.json"
        self.checkpoint = self.path / "checkpoint.pt"
        self.previous = before(self.checkpoint)  # while the run trains
        self.log = self.path / "console.log"  # what a person was told, start after start
        self.openset = self.path / "openset.npz"  # how uncertain the network is about unlabeled images of no class
        self.figures = self.path / "figures"
        self.mirror = self.path / "mlflow.json"  # which MLflow run mirrors this one, and up to where
        self.wandb = self.path / "wandb.json"  # the same of W&B
        self.done = self.path / "DONE"
        self._failed = self.path / "FAILED"
        self._lock = self.path / "lock"
        self._holder = self.path / "lock.json"
        self._made_root = False  # by `lock`

    @classmethod
    def named(cls, out_root: str | Path, name: str) -> "RunDir":
        """The run that a person names, by its key in `out_root` or by its folder."""
        folder = Path(name) if Path(name).is_dir() else Path(out_root, name)
        return cls(folder.absolute().parent, folder.name)

    @contextmanager
    def lock(self, patience: float = 5.0) -> Iterator[None]:
        """Create the folder and be the only process that works on it; see `lock_on` for what happens when it dies.

        Args:
            patience: seconds to wait for a holder that is about to end.

        Raises:
            UserError: another process holds it, or the folder cannot be written.
        """
        lock = self._acquire(patience)
        try:
            for left in [path for pattern in UNFINISHED for path in self.path.glob(pattern)]:
                with suppress(OSError):
                    left.unlink()
            with suppress(OSError):  # a full disk; the lock holds all the same
                write_json(self._holder, {"pid": os.getpid(), "host": socket.gethostname(), "since": time.time()})
            yield
        finally:
            with suppress(OSError):
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
        begun = self.begun() or self.metrics.exists() or self.resolved.exists()
        return RunState.partial if begun else RunState.new

    def begun(self) -> bool:
        """Whether there is a checkpoint to go on from."""
        return self.checkpoint.exists() or self.previous.exists()

    def numbers(self) -> dict[str, Any] | None:
        """The final numbers of a finished run; None where there are none to believe."""
        found = read_json(self.summary) if self.done.exists() else None
        return found if found and found.get("run_key", self.key) == self.key and _are_numbers(found) else None

    def about(self) -> dict[str, Any]:
        """What `run.json` tells; empty where it is not there, damaged, or of another run."""
        found = read_json(self.card) or {}
        tags = found.get("tags")
        return found if isinstance(tags, dict) and tags.get("run_key", self.key) == self.key else {}

    def study(self) -> str:
        """The search that tried it; empty where it was asked for as it is."""
        name = str(self.about().get("tags", {}).get("sweep_name", ""))
        return name.removeprefix(STUDY) if name.startswith(STUDY) else ""

    def content(self) -> str:
        """What the network of a finished run is known by: its weights, or, of earlier versions, the checkpoint's bytes.

        Raises:
            UserError: the file that tells is damaged, or not there.
        """
        numbers = self.numbers()
        if numbers is None:
            raise Damaged(f"{self.summary} is missing or damaged", "the command that trained that run writes it anew")
        return str(numbers["weights"]) if "weights" in numbers else digest(read_file(self.checkpoint))

    def config(self) -> dict[str, Any] | None:
        """The content of `resolved.yaml`; None where it is not there, damaged, or of another run."""
        found = read_yaml(self.resolved)
        return found if found is not None and found.get("run_key") == self.key else None  # the last line of all

    def mark_done(self) -> None:
        """Say that the run is finished and everything is written. The last act of a run."""
        self.clear()
        self.previous.unlink(missing_ok=True)  # the numbers are written: one copy is enough
        write_json(self.done, {"time": time.time()})

    def require_files(self) -> None:
        """Refuse to work where a run's file cannot be.

        Raises:
            UserError: a folder, or a link that leads nowhere, is in a file's place, or a file in that of a folder.
        """
        files = (
            self.resolved,
            self.card,
            self.splits,
            self.metrics,
            self.summary,
            self.checkpoint,
            self.previous,
            self.log,
        )
        for path in (*files, self.done, self._failed):
            if path.is_dir():
                raise UserError(f"{path} is a folder where a file belongs: move it away and start the same line again.")
            if path.is_symlink() and not path.exists():
                raise UserError(f"{path} is a link that leads nowhere: bring back what it stands for, or remove it.")
        if self.figures.exists() and not self.figures.is_dir():
            raise UserError(f"{self.figures} is a file where a folder belongs: move it away.")

    def class_names(self) -> list[str]:
        """What people call the classes, 0 to C-1; nothing where they have numbers alone, or their table is damaged."""
        rows = self.class_rows()
        return [row["name"] for row in rows] if all(row.get("name") is not None for row in rows) else []

    def class_rows(self) -> list[dict[str, str]]:
        """The table of classes, 0 to C-1; nothing where there is none, or it is damaged."""
        try:
            with self.classes.open(newline="", encoding="utf-8", errors="surrogateescape") as file:
                return list(csv.DictReader(file))
        except (OSError, csv.Error):
            return []

    def renamed(self) -> str:
        """What is wrong with a folder whose files agree that they are a run of another key; empty where they do not."""
        told = [(read_yaml(self.resolved) or {}).get("run_key"), (read_json(self.summary) or {}).get("run_key")]
        if told[0] != told[1] or told[0] in (None, self.key):
            return ""
        return f"{self.path} is the folder of run {told[0]} under another name: call it {told[0]} again."

    def troubles(self) -> list[str]:
        """Sentences about a finished run: what it left and is not what it wrote, with the remedy that loses least.

        A journal that nobody touched since the summary was written is taken at its size.
        """
        if not self.done.exists():
            return []
        if renamed := self.renamed():
            return [renamed]
        anew = f"the command that trained run {self.key} writes it anew and trains nothing for it"
        found = [f"{path} is missing or damaged: {anew}." for path in self.mendable()]
        numbers = self.numbers()
        if numbers is not None and not self.journal_stands(numbers):
            found.append(
                f"{self.metrics} is damaged: the final numbers of run {self.key} stand, its curves do not; "
                "bring back the right file, or train it again with force=true."
            )
        return found

    def journal_stands(self, numbers: dict[str, Any]) -> bool:
        """Whether the journal is the one that the final numbers were written with; of old versions nobody knows."""
        if "journal_digest" not in numbers:
            return True
        try:
            journal = self.metrics.stat()
            if journal.st_size != numbers["journal_bytes"]:
                return False
            untouched = journal.st_mtime_ns <= self.summary.stat().st_mtime_ns
            return untouched or digest(self.metrics.read_bytes()) == numbers["journal_digest"]
        except OSError:
            return False

    def mendable(self) -> list[Path]:
        """The damaged files of a finished run that its checkpoint and its data set make good."""
        good = {
            self.summary: self.numbers() is not None,
            self.resolved: self.config() is not None,
            self.splits: self._split_stands(),
        }
        return [path for path, stands in good.items() if not stands]

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

        The lock stays, and so do the log and the notes of the MLflow and W&B runs, which are replaced, not doubled.
        """
        keep = {self._lock, marker(self._lock), self._holder, self.mirror, self.wandb, self.log}
        first = [self.done, self.checkpoint, self.previous]  # a kill in between leaves a run that starts afresh
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

    def give_up(self) -> None:
        """Remove the folder of a run that was refused before it began, while its lock is held, and an out_root that was
        made for it; what else lies in them stays, and they with it.
        """
        if self.begun() or any(path.exists() for path in (self.metrics, self.resolved, self.done, self._failed)):
            return
        for path in (self.log, self.classes, self._holder, marker(self._lock), self._lock):
            path.unlink(missing_ok=True)
        with suppress(OSError):
            self.path.rmdir()
            if self._made_root:
                self.root.rmdir()

    def _split_stands(self) -> bool:
        if not self.splits.exists():  # it is in nobody's way
            return True
        try:
            return damage_of(io.BytesIO(self.splits.read_bytes())) is None
        except PermissionError:
            return True  # it may be whole
        except Exception:  # a damaged file may raise anything
            return False

    def _acquire(self, patience: float) -> BaseFileLock:
        for _ in range(100):
            try:
                self._made_root = self._made_root or not self.root.exists()
                self.path.mkdir(parents=True, exist_ok=True)
                lock = lock_on(self._lock)
                lock.acquire(timeout=patience, poll_interval=0.1)
            except Timeout:
                raise UserError(f"Run {self.key} is taken by {self._who()}.") from None
            except OSError as error:
                if (
                    isinstance(error, FileNotFoundError) and self.root.is_dir()
                ):  # the folder was removed while we waited
                    continue
                place = error.filename or self._lock
                raise UserError(f"out_root={self.root} is not possible: {place}: {why(error)}.") from error
            if self._lock.exists():
                return lock
            lock.release()  # of a file that is gone: nobody's lock
        raise UserError(f"Run {self.key} cannot be locked: its folder {self.path} is removed again and again.")

    def _held(self) -> bool:
        if not self._lock.exists():
            return False
        try:
            probe = lock_on(self._lock)
            probe.acquire(timeout=0)
        except Timeout:
            return True
        except OSError:  # a folder of somebody else that we may only read
            return self._holder.exists()
        probe.release()
        return False

    def _who(self) -> str:
        """Who holds the lock, and what to do about it."""
        holder, held = read_json(self._holder) or {}, marker(self._lock)
        who = f"process {holder['pid']} on {holder['host']}" if {"pid", "host"} <= holder.keys() else "another process"
        if held.exists():  # a lock that outlives its process
            return f"{who}: wait for it, stop it, or, if it was killed, remove {held}, which nothing else does here"
        return f"{who}: wait for it, or stop it"


def _are_numbers(summary: dict[str, Any]) -> bool:
    """Whether every metric of a summary is a number, or None."""
    measured = [v for name, v in summary.items() if name in ("steps", "seconds") or "/" in name]
    return all(value is None or isinstance(value, int | float) for value in measured)


def runs_in(root: Path) -> list[RunDir]:
    """The folders in `root` that may be runs, by name; one that this user may not look into is named and left out."""
    folders = sorted(path for path in root.iterdir() if path.is_dir())
    closed = [path for path in folders if not os.access(path, os.R_OK | os.X_OK)]
    for path in closed:
        print(f"{path} is left out: permission denied.", file=sys.stderr)
    return [RunDir(root, path.name) for path in folders if path not in closed]


def without_runs(root: Path) -> str:
    """Why a folder that somebody names holds no runs, as a part of a sentence; empty where it holds some."""
    if not root.is_dir():
        near = get_close_matches(root.name, [path.name for path in root.parent.glob("*/")], 1)
        return f"there is no folder {root}" + (f"; did you mean {root.with_name(near[0])}?" if near else "")
    if RunDir.named(root.parent, str(root.resolve())).resolved.is_file():
        return f"it is a run itself; name the folder that it lies in, {root.parent}"
    return (
        "" if any(run.resolved.is_file() or run.done.is_file() for run in runs_in(root)) else f"no run lies in {root}"
    )


def finished_last(runs: Iterable[RunDir]) -> RunDir | None:
    """The run that was finished last, or None where none is finished."""
    finished = [run for run in runs if run.state() is RunState.done]
    return max(finished, key=lambda run: run.done.stat().st_mtime_ns, default=None)


def before(checkpoint: Path) -> Path:
    """Where the checkpoint before the last one is kept."""
    return checkpoint.with_name(f"{checkpoint.stem}.previous{checkpoint.suffix}")
