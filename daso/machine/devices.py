"""Which GPU or CPU cores a job computes on: the jobs of one user on one machine share them out among themselves.

A job holds a place on a unit (a GPU, or a CPU core) by locking a file; the kernel frees it if the job dies. Nothing is
kept in the environment or handed down by a launcher, so it works however the jobs were started.
"""

import os
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from filelock import FileLock, Timeout

from daso.errors import UserError

if TYPE_CHECKING:
    import torch

FOLDER = Path(tempfile.gettempdir(), f"daso-devices-{os.getuid()}")
POLL = 0.5  # seconds between two looks for a free place

_last: list[str] = []  # the units that this process held last: its memory may still be there


class Place(NamedTuple):
    """Where a job could compute."""

    device: "torch.device"
    units: list[str]  # names of the GPU or of the CPU cores
    cores: list[int]  # what to pin the process to; empty for a GPU


@contextmanager
def place(
    device: "torch.device", any_gpu: bool, jobs_per_device: int, threads: int, note: Callable[[str], None]
) -> Iterator["torch.device"]:
    """Hold a place for one job: on the GPU, or the set of CPU cores, with the fewest jobs.

    Args:
        device: as `resolve_device` gives it.
        any_gpu: whether any visible GPU will do instead of `device`.
        jobs_per_device: how many jobs may share a GPU or a core set, counting those that do not wait themselves; later
            ones wait. 0 never waits, and leaves the CPU's cores to the operating system.
        threads: cores in a core set.
        note: told once, in a sentence, if the job has to wait.

    Yields:
        The device, with its index.

    Raises:
        UserError: the lock files cannot be written.
    """
    if device.type == "cpu" and not jobs_per_device:
        yield device
        return
    places = gpus(device, any_gpu) if device.type == "cuda" else core_sets(threads)
    with ExitStack() as held:
        try:
            taken = take(places, jobs_per_device, held)
            if taken is None:
                what = "GPUs" if device.type == "cuda" else "CPU cores"
                note(f"All {what} are taken by other jobs (jobs_per_device={jobs_per_device}): waiting for a place.")
            while taken is None:
                time.sleep(POLL)
                taken = take(places, jobs_per_device, held)
        except OSError as error:
            if jobs_per_device:
                raise UserError(f"jobs_per_device={jobs_per_device} is not possible: {error}.") from error
            note(f"Jobs cannot share out the devices among themselves here: {error}.")
            taken = places[0]
        _last[:] = taken.units
        if taken.device.type == "cuda":
            import torch

            torch.cuda.set_device(taken.device)
        with pinned(taken.cores):
            yield taken.device


def gpus(device: "torch.device", any_gpu: bool) -> list[Place]:
    """A place on each visible GPU, or on `device` alone."""
    import torch

    indices = range(torch.cuda.device_count()) if any_gpu else [device.index or 0]
    found = []
    for index in indices:
        name = getattr(torch.cuda.get_device_properties(index), "uuid", index)  # the same whatever is visible
        found.append(Place(torch.device("cuda", index), [f"gpu-{name}"], []))
    return found


def core_sets(threads: int) -> list[Place]:
    """The cores that this process may use, in sets of `threads`; all in one set if there are fewer."""
    import torch

    cores = usable_cores()
    size = min(threads, len(cores))
    sets = [cores[start : start + size] for start in range(0, len(cores) - size + 1, size)]
    return [Place(torch.device("cpu"), [f"core-{core}" for core in chosen], chosen) for chosen in sets]


def take(places: list[Place], jobs_per_device: int, held: ExitStack, folder: Path | None = None) -> Place | None:
    """Take the place with the fewest jobs; among equals the one that this process had last, then the first.

    Args:
        places: where the job could go.
        jobs_per_device: jobs at most on each unit; 0 for any number.
        held: gets the locks, and frees them when it is closed.
        folder: where the lock files are.

    Returns:
        The place, or None if all are full.

    Raises:
        OSError: the lock files cannot be written.
    """
    folder = folder or FOLDER
    make_own(folder)
    with FileLock(folder / "choose.lock"):  # one job at a time looks and takes
        free = {unit: look(folder, unit) for place in places for unit in place.units}
        jobs = [max(free[unit][0] for unit in place.units) for place in places]
        choice = min(range(len(places)), key=lambda i: (jobs[i], places[i].units != _last, i))
        if jobs_per_device and jobs[choice] >= jobs_per_device:
            return None
        for unit in places[choice].units:
            held.enter_context(FileLock(free[unit][1]).acquire(timeout=0))
        return places[choice]


def make_own(folder: Path) -> None:
    """Make a folder that this user alone can write, in a place where everybody can.

    Raises:
        OSError: something else has its name, such as another user's folder, or a link that would lead locks astray.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    found = folder.lstat()
    own = stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid() and not found.st_mode & 0o022
    if not own:
        raise OSError(f"{folder} is no folder that only you can write; remove it, or set TMPDIR to a folder of yours")


def look(folder: Path, unit: str) -> tuple[int, Path]:
    """How many jobs are on a unit, and a lock file that none of them holds."""
    held = set()
    for path in folder.glob(f"{unit}.*.lock"):
        try:
            FileLock(path).acquire(timeout=0).lock.release()
        except Timeout:
            held.add(path)
    numbered = (folder / f"{unit}.{number}.lock" for number in range(len(held) + 1))
    return len(held), next(path for path in numbered if path not in held)


@contextmanager
def pinned(cores: list[int]) -> Iterator[None]:
    """Keep every thread of this process on `cores`, where the operating system can; [] leaves them as they are."""
    if not cores or not hasattr(os, "sched_setaffinity"):
        yield
        return
    before = os.sched_getaffinity(0)
    _pin(cores)
    try:
        yield
    finally:
        _pin(sorted(before))


def _pin(cores: list[int]) -> None:
    for thread in Path("/proc/self/task").iterdir():
        try:
            os.sched_setaffinity(int(thread.name), cores)
        except ProcessLookupError:  # it ended meanwhile
            continue


def usable_cores() -> list[int]:
    """The CPU cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))
    return list(range(os.cpu_count() or 1))


def parallel_jobs(device: str, jobs_per_device: int, threads: int) -> int:
    """How many jobs fit this machine: `jobs_per_device` (one at least) on each GPU or, without, on each core set.

    Args:
        device, jobs_per_device, threads: as configured; `cuda:1` is one GPU, `auto` and `cuda` are all.
    """
    if device.startswith("cuda:"):
        units = 1
    else:
        units = visible_gpus() if device != "cpu" else 0
        if not units:
            units = max(1, len(usable_cores()) // threads)
    return units * max(1, jobs_per_device)


def visible_gpus() -> int:
    """How many GPUs torch sees; asked in a process of its own, so that a sweep's parent needs no torch."""
    question = [sys.executable, "-c", "import torch; print(torch.cuda.device_count())"]
    return int(subprocess.run(question, capture_output=True, text=True, check=True).stdout.split()[-1])


def gpus_asked(device: str) -> int | None:
    """How many GPUs a cluster is asked for: one, or None (no such request) for a job that wants the CPU."""
    return None if device == "cpu" else 1
