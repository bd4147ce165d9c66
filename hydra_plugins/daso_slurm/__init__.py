"""Submitit's SLURM launcher for sweeps in which jobs die, found by Hydra through this folder's name."""

import shlex
import shutil
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra.core.singleton import Singleton
from hydra.core.utils import JobReturn, JobStatus

from daso.errors import RunFailed
from daso.schema import require
from daso.sweep.callback import SweepReport
from daso.sweep.graph import NAMED, waves
from daso.sweep.session import Session

if TYPE_CHECKING:
    from submitit import Job

ROOT = str(Path(__file__).resolve().parents[2])  # where a job finds this module

try:
    from hydra_plugins.hydra_submitit_launcher import config, submitit_launcher
except ImportError:  # it comes with an extra, and without it no option file leads here
    pass
else:

    class SlurmLauncher(submitit_launcher.SlurmLauncher):
        """As submitit's, except that a job which ends without a result is reported, and the others are waited for.

        What is still in the queue comes from `squeue`, for not every cluster keeps the accounts that submitit asks.
        """

        def require_cluster(self) -> None:
            """Raise a `UserError` where there is no SLURM to take jobs."""
            right = "there is no SLURM here (no srun); hydra/launcher=joblib_gpu runs the jobs on this machine"
            require(shutil.which("srun") is not None, "hydra/launcher", "slurm", right)

        def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
            """Submit the jobs, those that wait for nobody as one array and each later wave as another; await them."""
            import submitit
            from submitit.core.utils import JobPaths

            own = ("submitit_folder", "max_num_timeout")
            common = set(config.BaseQueueConf.__dataclass_fields__)
            options = {k if k in common else f"slurm_{k}": v for k, v in self.params.items() if k not in own}
            options["slurm_setup"] = [
                f"export PYTHONPATH={shlex.quote(ROOT)}:$PYTHONPATH",
                *(options["slurm_setup"] or []),
            ]
            folder = JobPaths.get_first_id_independent_folder(self.params["submitit_folder"])
            made = withdraw(folder)
            executor = submitit.AutoExecutor(
                folder=self.params["submitit_folder"],
                cluster="slurm",
                slurm_max_num_timeout=self.params["max_num_timeout"],
            )
            state = Singleton.get_state()
            unlimited = len(job_overrides) <= self.params["array_parallelism"]  # which holds for one array only
            jobs: dict[int, Job[JobReturn]] = {}  # by position
            for wave, awaited in arrays(job_overrides, SweepReport.session):
                first = [jobs[i].job_id for i in (awaited if unlimited else jobs)]
                options["slurm_additional_parameters"] = after(first, self.params["additional_parameters"] or {})
                executor.update_parameters(**options)
                numbers = [initial_job_idx + i for i in wave]
                try:
                    submitted = executor.map_array(
                        self,
                        [list(job_overrides[i]) for i in wave],
                        ["hydra.sweep.dir"] * len(wave),
                        numbers,
                        [f"job_id_for_{number}" for number in numbers],
                        [state] * len(wave),
                    )
                except Exception:
                    if made and not jobs:
                        leave_nothing(folder)
                    raise
                jobs |= zip(wave, submitted)
                turn = f", after {len(first)} of the others" if first else ""
                print(f"SLURM has {len(wave)} jobs, from {submitted[0].job_id} on{turn}.", flush=True)
            print(f"They write to {executor.folder}.", flush=True)
            return wait([job for _, job in sorted(jobs.items())])


def withdraw(folder: Path) -> bool:
    """Make the folder of SLURM's scripts and logs one that only its user reads: scripts hold `setup` as it was typed.

    One that is there already stays as it is. Returns whether it was made.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    try:
        folder.mkdir(mode=0o700)
    except FileExistsError:
        return False
    return True


def leave_nothing(folder: Path) -> None:
    """Remove what was written for jobs that SLURM did not take, and the folder unless others use it."""
    for path in [*folder.glob(".submission_file_*.sh"), *folder.glob("[0-9a-f]*.pkl")]:
        if "_" not in path.stem.removeprefix(".submission_file_"):  # the number of a job that was taken
            path.unlink(missing_ok=True)
    with suppress(OSError):
        folder.rmdir()


def arrays(job_overrides: Sequence[Sequence[str]], session: Session | None) -> Iterator[tuple[list[int], list[int]]]:
    """Jobs by position, in waves: those that can be in the queue together, and those that must have ended before.

    Args:
        job_overrides: the jobs, with the names of their runs.
        session: knows which of them wait for which.
    """
    names = [[item for item in overrides if item.startswith(NAMED)] for overrides in job_overrides]
    keys = [name[-1].removeprefix(NAMED).strip("'") if name else str(i) for i, name in enumerate(names)]
    before = {key: session.needs(key) if session else [] for key in keys}
    wave = waves(before)
    for number in range(max(wave.values()) + 1):
        chosen = [i for i, key in enumerate(keys) if wave[key] == number]
        needs = {need for i in chosen for need in before[keys[i]]}
        yield chosen, [i for i, key in enumerate(keys) if key in needs]


def after(jobs: Sequence[str], parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Parameters of `sbatch`, for an array that starts when `jobs` have ended, and all else that it waits for."""
    if not jobs:
        return dict(parameters)
    both = filter(None, [parameters.get("dependency"), f"afterany:{':'.join(jobs)}"])
    return {**parameters, "dependency": ",".join(both)}


POLL = 1.0  # seconds until the first look at the queue; later looks are up to ...
SLOWEST = 30.0  # ... seconds apart
PATIENCE = 20.0  # seconds that the result of a job which left the queue may take to appear


def wait(jobs: Sequence["Job[JobReturn]"]) -> list[JobReturn]:
    """What each job returned; for one that is gone without a result, why.

    Once the sweep is asked to stop, jobs that have not started are taken back; the others hear of it themselves.
    """
    found: dict[str, JobReturn] = {}
    missing: dict[str, float] = {}  # jobs that left the queue: since when
    pause, taken_back = POLL, False
    while waiting := [job for job in jobs if job.job_id not in found]:
        session = SweepReport.session
        if not taken_back and session is not None and session.stopping() is not None:
            subprocess.run(["scancel", "--state=PENDING", *(job.job_id for job in waiting)], check=False)
            taken_back = True
        queue = queued()
        for job in waiting:
            if job.paths.result_pickle.exists():
                found[job.job_id] = result(job)
            elif queue is None or job.job_id in queue:
                missing.pop(job.job_id, None)
            elif time.monotonic() - missing.setdefault(job.job_id, time.monotonic()) > PATIENCE:
                found[job.job_id] = lost(f"SLURM ended job {job.job_id} without a result; see {job.paths.stderr}.")
        if len(found) < len(jobs):
            time.sleep(pause)
            pause = min(1.5 * pause, PATIENCE / 4 if missing or taken_back else SLOWEST)
    return [found[job.job_id] for job in jobs]


def queued() -> set[str] | None:
    """The names of this user's jobs that wait or run; None if SLURM does not answer."""
    question = ["squeue", "--me", "--noheader", "--array", "--format=%i"]
    try:
        answer = subprocess.run(question, capture_output=True, text=True, timeout=60, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return set(answer.stdout.split())


def result(job: "Job[Any]") -> JobReturn:
    """What a job that wrote its result returned."""
    try:
        returned: JobReturn = job.results()[0]
    except Exception as error:  # it failed outside of the run, or its result cannot be read
        return lost(f"SLURM's job {job.job_id} failed: {str(error).strip().splitlines()[-1]}; see {job.paths.stderr}.")
    return returned


def lost(reason: str) -> JobReturn:
    """The return of a job that cannot return anymore."""
    return JobReturn(_return_value=RunFailed(reason), status=JobStatus.FAILED)
