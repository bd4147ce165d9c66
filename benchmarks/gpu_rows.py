"""The rows of `gpu.py`: what they are, how each is measured in a process of its own, and the file that keeps them.

Needs nothing but the standard library, so that a table can be read back anywhere.
"""

import json
import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

ENVIRONMENT, REFERENCE = "environment", "reference"
Figures = dict[str, Any]


class Speed(NamedTuple):
    """A method's steps, executed in one way."""

    method: str
    precision: str
    compile: str
    recorded: bool = False  # as a CUDA graph even if `compile` does not ask for it
    overrides: str = ""  # of the configuration, e.g. another data set and network
    limit: float = 150.0  # seconds, compiling included
    part: int = 1

    @property
    def name(self) -> str:
        how = "graph of eager kernels" if self.recorded else self.compile
        return " ".join(filter(None, (self.method, self.precision, how, self.overrides)))


class Together(NamedTuple):
    """Several runs at once on one GPU."""

    runs: int
    of: Speed
    limit: float = 90.0
    part: int = 1

    @property
    def name(self) -> str:
        return f"{self.runs} at once: {self.of.name}"


class Photos(NamedTuple):
    """A method's steps on a synthetic store of photos of unequal size, as on Semi-Aves."""

    place: str  # device: all of them on the GPU; host: read from the disk, a step ahead
    method: str
    precision: str = "bf16"
    compile: str = "graph"
    limit: float = 240.0
    part: int = 3

    @property
    def name(self) -> str:
        return f"photos on the {self.place}: {self.method} {self.precision} {self.compile}"


class Tests(NamedTuple):
    """Tests that need a GPU, by words of their names."""

    words: str
    limit: float = 150.0
    part: int = 1

    @property
    def name(self) -> str:
        return f"tests: {self.words}"


class Planted(NamedTuple):
    """What a row may come to: it dies, or it never ends. The smoke run has both, to show that the others survive."""

    fault: str
    limit: float
    part: int = 1

    @property
    def name(self) -> str:
        return f"planted {self.fault}"


Row = Speed | Together | Photos | Tests | Planted


class Lines:
    """A file of JSON lines: what is known of a row is on the disk as soon as it is known."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)

    def add(self, **values: object) -> None:
        """Append a line."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("a") as file:
            file.write(json.dumps(values) + "\n")
            file.flush()
            os.fsync(file.fileno())

    def read(self) -> Iterator[Figures]:
        """Every whole line; one that a crash has torn is no line."""
        for line in self.path.read_text().splitlines() if self.path.exists() else []:
            try:
                values = json.loads(line)
            except ValueError:
                continue
            if isinstance(values, dict):
                yield values


def gathered(files: Iterable[Lines]) -> tuple[list[Figures], dict[str, Figures]]:
    """The environments that were measured in, and the figures of every row: of the same ones the newest."""
    environments: list[Figures] = []
    rows: dict[str, Figures] = {}
    for values in (line for file in files for line in file.read()):
        if ENVIRONMENT in values:
            environments.append(values[ENVIRONMENT])
        elif "row" in values:
            if values.get("begun"):
                rows.pop(str(values["row"]), None)
            rows.setdefault(str(values["row"]), {}).update(values)
    return environments, rows


def measure(
    rows: Iterable[Row],
    command: Callable[[Row], list[str]],
    lines: Lines,
    seconds: float,
    done: Callable[[Row], None] = lambda row: None,
) -> None:
    """Measure each row in a process of its own; one that fails, or takes too long, says so in a line and costs no more.

    Args:
        rows: in the order of their worth.
        command: what measures a row; it adds its lines itself.
        lines: where to.
        seconds: in all; no process lives longer.
        done: called after each row.
    """
    end = time.monotonic() + seconds
    for row in rows:
        lines.add(row=row.name, begun=time.time())
        left = end - time.monotonic()
        failure = Failure("there was no time left", "") if left < 1 else run(command(row), min(row.limit, left))
        if failure is not None:
            lines.add(row=row.name, **failure._asdict())
        done(row)


class Failure(NamedTuple):
    """Why a command failed."""

    failed: str  # in a line
    output: str  # the last that it said


def run(command: list[str], limit: float) -> Failure | None:
    """Run a command: neither it nor what it starts lives longer than `limit` seconds."""
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
        process = subprocess.Popen(command, stdout=out, stderr=err, preexec_fn=os.setpgrp)
        with ending(process):
            try:
                code = process.wait(limit)
            except subprocess.TimeoutExpired:
                code = None
        if code == 0:
            return None
        said = [line.rstrip() for file in (out, err) if not file.seek(0) for line in file if line.strip()]
    why = f"it took more than {limit:g} s" if code is None else f"exit code {code}"
    return Failure(f"{why}: {said[-1][:300]}" if said else why, "\n".join(said[-30:]))


@contextmanager
def ending(process: "subprocess.Popen[str]") -> Iterator[None]:
    """Leave nothing behind of a process and of those that it started, whatever happens within."""
    try:
        yield
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
