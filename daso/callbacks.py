"""What surrounds the jobs of a sweep: one tracking store before they start, one table after they end."""

import atexit
import json
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

from hydra.core.utils import JobReturn
from hydra.experimental.callback import Callback
from omegaconf import DictConfig, OmegaConf
from rich.console import Console
from rich.table import Table

from daso.errors import UserError

FINISHED, FAILED, REFUSED = "FINISHED", "FAILED", "REFUSED"


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


class SweepReport(Callback):
    """Initialises the tracking store once, collects how the jobs ended, and closes a sweep with their table.

    Jobs may run in other processes: their ends travel through files in a folder that goes when the sweep goes.
    """

    def __init__(self) -> None:
        self.folder = ""

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Make the store before jobs race for it."""
        sweep_dir = Path(str(config.hydra.sweep.dir))
        try:
            sweep_dir.mkdir(parents=True, exist_ok=True)
            self.folder = tempfile.mkdtemp(prefix=".sweep-", dir=sweep_dir)
        except OSError:  # the sweeper, which comes next and needs the folder as well, fails with it
            return
        atexit.register(shutil.rmtree, self.folder, ignore_errors=True)
        if OmegaConf.select(config, "track.name") == "mlflow":
            from daso.track import mlflow

            try:
                mlflow.init_store(mlflow.resolve_uri(str(config.track.uri)))
            except UserError as error:  # the runs go on without their mirror
                print(error, file=sys.stderr)

    def on_job_end(self, config: DictConfig, job_return: JobReturn, **kwargs: Any) -> None:
        """Write down how a job ended; runs in the job's process."""
        result = job_return._return_value
        if self.folder and isinstance(result, JobResult):
            self.note(f"{config.hydra.job.num:06d}", list(config.hydra.overrides.task), result)

    def note(self, job: str, overrides: list[str], result: JobResult) -> None:
        """Write down how `job` ended."""
        end = {
            "key": result.key,
            "overrides": overrides,
            "state": result.state,
            "result": float(result),
            "reason": result.reason,
        }
        (Path(self.folder) / f"{job}.json").write_text(json.dumps(end))

    def on_multirun_end(self, config: DictConfig, **kwargs: Any) -> None:
        """Print the table of jobs; exit with 1 if any did not finish."""
        ends = [json.loads(path.read_text()) for path in sorted(Path(self.folder).glob("*.json"))]
        shutil.rmtree(self.folder, ignore_errors=True)
        Console().print(table(ends))
        if any(end["state"] != FINISHED for end in ends):
            sys.exit(1)


def table(ends: list[dict[str, Any]]) -> Table:
    """The jobs of a sweep, one a row; overrides that all share are left out."""
    shared = set.intersection(*(set(end["overrides"]) for end in ends)) if len(ends) > 1 else set()
    done = sum(end["state"] == FINISHED for end in ends)
    grid = Table(title=f"{done} of {len(ends)} jobs finished")
    for column in ("run", "setting", "state", "result", "reason"):
        grid.add_column(column, overflow="fold")
    for end in ends:
        setting = " ".join(item for item in end["overrides"] if item not in shared)
        result = "" if end["result"] != end["result"] else f"{end['result']:.2f}"
        grid.add_row(end["key"], setting, end["state"], result, end["reason"])
    return grid
