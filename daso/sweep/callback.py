"""What surrounds the jobs of a sweep: one tracking store before they start, one table after they end."""

import errno
import hashlib
import shlex
import signal
import sys
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import FrameType
from typing import Any, ClassVar, cast

from hydra.core.utils import JobReturn
from hydra.experimental.callback import Callback
from omegaconf import DictConfig, OmegaConf

from daso.credentials import ADDRESSES, hold, mask
from daso.errors import Interrupted, UserError
from daso.machine.signals import leave_terminal
from daso.machine.streams import outlive_readers
from daso.outputs.files import replace_file
from daso.outputs.naming import objective
from daso.outputs.rundir import RunDir, RunState
from daso.schema import Config, TuneConfig
from daso.settings.identity import KEY_DIGITS
from daso.settings.unread import refuse_unread
from daso.sweep.graph import Job, ancestors, standing, steps_of, summary_of
from daso.sweep.line import SweepLine
from daso.sweep.session import FAILED, FINISHED, REFUSED, STOPPED, End, JobResult, Session, code_of, unwritable
from daso.sweep.supervise import ENDING, follow_parent, is_worker
from daso.sweep.tables import print_ends, print_means
from daso.track import sweeps
from daso.track.follower import Status
from daso.track.hints import after_sweep
from daso.track.progress import then
from daso.track.terminal import complain, print_line

STATUSES: dict[str, Status] = {FINISHED: "FINISHED", STOPPED: "KILLED"}  # in MLflow; of all other states FAILED
NOWHERE = (errno.ENOENT, errno.ENOTDIR, errno.ENAMETOOLONG)  # of a file that is not there, or cannot be
UNTOLD = "MLflow was not told how the sweep ended: the same command again does it."
OWN = ("grid", "study")  # sweepers of this project: they plan, read `sweep` and `tune`, and say what the jobs are


class SweepReport(Callback):
    """Opens a sweep's session and tracking store, collects how the jobs ended, and closes with their table.

    A first signal asks the jobs to write their checkpoints and end; a second one ends everything at once.
    """

    session: ClassVar[Session | None] = None  # the sweep that this process started, or works for
    _open: ClassVar["SweepReport | None"] = None

    def __init__(self) -> None:
        self._session: Session | None = None
        self._own = False
        self._handlers: dict[int, Any] = {}
        self._jobs: Sequence[Job] = ()
        self._alone = False  # whether it has one job, and none will come
        self._known: dict[str, End] = {}  # by run key: ends that no job of this start writes down
        self._sweep: sweeps.Sweep | None = None
        self._line: SweepLine | None = None
        self._out_root = self._table = ""
        self._fresh = False  # whether MLflow's store was made for the sweep
        self._at_once = False  # whether a second signal ended the sweep
        self._unwritable: UserError | None = None  # why no job can write to the sweep's folder

    def __getstate__(self) -> dict[str, Any]:
        return {"_session": self._session}

    def on_run_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Take the credentials of option files out of the configuration of a single run, which Hydra may save."""
        _withhold(config)

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Open the session; a plan opens none.

        Raises:
            SystemExit: the sweep is told what its sweeper does not read, or has no place for its notes; the sentence is
                on stderr. Of another exception, Hydra would make a warning and go on.
        """
        _withhold(config)  # of which launchers and Hydra's own sweepers write copies
        try:
            self._start(config)
        except UserError as error:
            print(error, file=sys.stderr)
            sys.exit(2)
        except Exception as error:
            print(f"The sweep could not be opened: {error}", file=sys.stderr)
            sys.exit(1)

    def _start(self, config: DictConfig) -> None:
        sweeper = config.hydra.runtime.choices["hydra/sweeper"]
        self._own = sweeper in OWN
        self._table = str(OmegaConf.select(config, "sweep.table") or "")
        typed = cast(list[str], OmegaConf.to_container(config.hydra.overrides.task))
        refuse_unread(sweeper, typed + _told(config, sweeper))
        if OmegaConf.select(config, "plan"):
            return
        root = Path(str(config.hydra.sweep.dir))
        try:
            self._session = Session.start(root)
        except OSError as error:
            self._unwritable = unwritable(root, error)
            self._session = Session.apart()
        SweepReport.session, SweepReport._open = self._session, self
        if threading.current_thread() is threading.main_thread():
            heard = [number for number in ENDING if signal.getsignal(number) is not signal.SIG_IGN]  # as under nohup
            self._handlers = {number: signal.signal(number, self._stop) for number in heard}
        tracked = OmegaConf.select(config, "track.mlflow") or OmegaConf.select(config, "track.name") == "mlflow"
        if not self._own and tracked:
            sweeps.start(sweeps.Sweep(str(config.track.uri), str(config.track.experiment)))

    def expect(
        self,
        jobs: Sequence[Job],
        before: Mapping[str, End],
        name: str,
        key: str = "",
        more: bool = False,
        warned: bool = False,
    ) -> None:
        """Learn what the sweep consists of, and show it, in MLflow as well; a study says it again whenever it grows.

        Args:
            jobs: all of it, with the stages.
            before: how those ended that will not be started, by run key.
            name: what people call it.
            key: its identity in MLflow; empty: that of the runs that were asked for, whatever stages they still need.
            more: whether it will grow.
            warned: whether it was said what the settings of its jobs should be warned of.
        """
        self._jobs, self._alone = jobs, len(jobs) == 1 and not more
        self._known |= before
        runs = {job.key for job in jobs if job.key and job.asked}
        labels = {job.key: job.label for job in jobs if job.key}
        config = next((job.config for job in jobs if job.config is not None), None)
        if self._session is None or config is None:
            return
        tags: dict[str, str] = {}
        self._out_root = config.out_root
        if "mlflow" in config.track.trackers:
            key = key or hashlib.sha256(" ".join(sorted(runs)).encode()).hexdigest()[:KEY_DIGITS]
            command = shlex.join(["python", *map(mask, sys.argv)])
            grown = self._sweep is not None
            self._sweep = sweeps.Sweep(config.track.uri, config.track.experiment, key, name, command, labels)
            tags = self._sweep.tags
            if not grown:
                self._fresh = sweeps.start(self._sweep)
        left = [job for job in jobs if job.key and job.key not in self._known]
        shown = {"name": name, "steps": steps_of(jobs), "before": sorted(before)}
        told = {"needs": ancestors(left), "alone": self._alone, "warned": warned}
        self._session.share({"labels": labels, "tags": tags, **told, **shown})
        self._line = self._line or SweepLine(self._session)
        self._line.expect(jobs, before, more)

    def show(self) -> None:
        """Say how the sweep goes, as far as there is news; of the process that started it."""
        if self._line is not None:
            self._line.tick()

    @classmethod
    def tick(cls) -> None:
        """As `show`, of the sweep that this process started; nothing happens in all others."""
        if cls._open is not None:
            cls._open.show()

    def refuse_unwritable(self, jobs: Sequence[Job]) -> None:
        """Refuse to launch jobs whose folder cannot be written.

        Raises:
            UserError: one of them would have to write to it.
        """
        if self._unwritable and any(job.config is not None and not job.config.eval_only for job in jobs):
            raise self._unwritable

    def refuse(self, job: Job, number: int, reason: str) -> None:
        """Learn that a job is not launched, and write it down as its own process would."""
        end = End([mask(item) for item in job.overrides], REFUSED, job.key, reason=reason)
        self._known[job.key] = end
        if self._session is not None:
            with suppress(OSError):
                self._session.end(number, end)

    def hear(self, jobs: Sequence[Job], returns: Sequence[JobReturn]) -> None:
        """Learn what jobs returned, as far as it was not written down: a full disk has no room for it."""
        told = self.ended()
        for job, returned in zip(jobs, returns):
            result = returned._return_value
            if isinstance(result, JobResult) and job.key not in told:
                self._known[job.key] = End(job.overrides, result.state, job.key, float(result), result.reason)

    def lose(self, jobs: Sequence[Job], reasons: Mapping[str, str]) -> None:
        """Learn that jobs ended without a word; `reasons` says more, by run key, unless their workers were killed."""
        killed = "its worker was killed, again and again; perhaps for its memory"
        for job in jobs:
            self._known[job.key] = End(job.overrides, FAILED, job.key, reason=reasons.get(job.key, killed))

    def stopping(self) -> int | None:
        """Why all jobs are to end, or None."""
        return None if self._session is None else self._session.stopping()

    def ended(self) -> set[str]:
        """The run keys of the jobs that ended, or need not begin."""
        return self._known.keys() | {end.key for end in (self._session.ends() if self._session else [])}

    def ends(self) -> list[End]:
        """How all jobs ended, in their order."""
        told = self._session.ends() if self._session else []
        by_key = dict(self._known)
        for end in told:  # of two jobs that are one run, the one that waited for the other's lock says little
            if end.key and not (end.state == REFUSED and end.key in by_key and by_key[end.key].state == FINISHED):
                by_key[end.key] = end
        planned = {job.key for job in self._jobs}
        named = [job.label if not job.asked or self._alone else "" for job in self._jobs]
        ends = [_end(job, by_key)._replace(label=name) for job, name in zip(self._jobs, named)]
        return ends + [end for end in told if end.key not in planned]

    def on_job_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Take part in the session; runs in the job's process. What Hydra wrote down of the configuration, such as the
        environment and the launcher's values, is masked.
        """
        _mask_copies(config.hydra)
        SweepReport.session = self._session
        outlive_readers()
        if is_worker():
            signal.signal(signal.SIGINT, signal.SIG_IGN)  # the process that started the sweep hears it
            follow_parent()

    def on_job_end(self, config: DictConfig, job_return: JobReturn, **kwargs: Any) -> None:
        """Write down how a job ended; runs in the job's process."""
        result = job_return._return_value
        if self._session is not None and isinstance(result, JobResult):
            overrides = [mask(str(item)) for item in config.hydra.overrides.task]
            end = End(overrides, result.state, result.key, float(result), result.reason)
            with suppress(OSError):  # no room for it; the launcher hears it all the same
                self._session.end(config.hydra.job.num, end)
            SweepReport.tick()
            if SweepReport._open is not None and SweepReport._open._line is not None:
                SweepReport._open._line.clear()  # for what the launcher says of the next job

    def on_multirun_end(self, config: DictConfig, **kwargs: Any) -> None:
        """Close; exit with an error if a job did not finish."""
        if (code := self.close()) != 0:
            sys.exit(code)

    @classmethod
    def close(cls) -> int:
        """Print the table of the sweep that this process started, if it is still open, and end its run in MLflow.

        Returns:
            0; 1 if a job did not finish, 2 if all were refused for one reason; 128 + signal number after a signal.
        """
        report, cls._open = cls._open, None
        session = None if report is None else report._session
        if report is None or session is None:
            return 0
        report.show()
        if report._line is not None:
            report._line.clear()
        ends, stop = report.ends(), session.stopping()
        session.close()
        cls.session = None
        try:
            report._tell(ends, stop)
        except KeyboardInterrupt:
            complain(UNTOLD)
        except Exception as error:  # which Hydra would make a mere warning of, and forget the exit code
            print(f"The sweep cannot be shown: {error}", file=sys.stderr)
        for number, handler in report._handlers.items():
            signal.signal(number, handler)
        if stop:
            return 128 + stop
        untold = not ends and not report._own  # other sweepers do not say what jobs there are, and always have some
        return 1 if untold else code_of(ends)

    def _tell(self, ends: Sequence[End], stop: int | None) -> None:
        asked = [job for job in self._jobs if job.asked]
        if ends:
            print_ends(ends, asked)
        config = next((job.config for job in asked if job.config is not None), None)
        done = config is not None and any(end.state == FINISHED for end in ends)
        if done:
            print_means(asked, ends)
        self._tell_mlflow(ends, stop)
        if done and config is not None:
            for line in after_sweep(self._out_root, config.track, self._table):
                print_line(line)

    def _tell_mlflow(self, ends: Sequence[End], stop: int | None) -> None:
        began = any(RunDir(self._out_root, job.key).path.exists() for job in self._jobs if job.key)
        if self._sweep is not None and self._fresh and not began:
            sweeps.withdraw(self._sweep)
        elif self._sweep is not None and self._at_once:
            complain(UNTOLD)
        elif self._sweep is not None:
            if stop:
                complain(
                    "MLflow is told so, which takes some seconds; the same signal again leaves it to the next start."
                )
            statuses = {end.key: STATUSES.get(end.state, "FAILED") for end in ends}
            sweeps.finish(self._sweep, self._out_root, statuses)

    def _stop(self, signum: int, frame: FrameType | None) -> None:
        assert self._session is not None
        if signum == signal.SIGHUP:
            leave_terminal()
        if self._session.stopping() is not None:
            self._at_once = True
            raise Interrupted(signum)
        self._session.ask_to_stop(signum)
        busy = "each job writes a checkpoint. The same signal again ends them at once."
        idle = "no job is under way. What is prepared takes some seconds; the same signal again ends it at once."
        complain(f"Stopping: {busy if self._session.busy() else idle}")


def _withhold(config: DictConfig) -> None:
    for key in ADDRESSES:
        value = str(OmegaConf.select(config, key, throw_on_resolution_failure=False) or "")
        if (masked := hold(value)) != value:
            OmegaConf.update(config, key, masked)


def _mask_copies(hydra: DictConfig) -> None:
    copies = [Path(hydra.sweep.dir, "multirun.yaml")]
    if hydra.output_subdir is not None:
        copies += Path(hydra.runtime.output_dir, hydra.output_subdir).glob("*.yaml")
    for path in copies:
        try:
            text = path.read_text()
        except OSError as error:
            if error.errno in NOWHERE:  # what is wrong with the place is said elsewhere
                continue
            raise
        if (masked := mask(text)) != text:
            replace_file(path, masked.encode())


def _end(job: Job, ends: Mapping[str, End]) -> End:
    """How a job ended; what its folder says counts, whoever was in time to say otherwise."""
    if job.config is None:
        return End(job.overrides, REFUSED, reason=job.reason)
    end = ends.get(job.key) or End([], STOPPED, job.key, reason=_unfinished(job.config))
    if end.state != FINISHED and (summary := summary_of(job.config)) is not None:
        reason = "finished by another process" if end.state == REFUSED else f"finished, though {end.reason}"
        end = End([], FINISHED, job.key, objective(summary), reason)
    return end._replace(overrides=job.overrides)


def _unfinished(config: Config) -> str:
    """What is left of a run that the sweep did not bring to an end, or did not begin."""
    if standing(config) is RunState.new:
        return "not started"
    return then(RunDir(config.out_root, config.run_key), config.force)


def _told(config: DictConfig, sweeper: str) -> list[str]:
    """What makes a sweep another one than its sweeper's, as overrides; a grid may have the settings of a study."""
    usual = {"sweep.table": "", "plan": False} | ({} if sweeper == "grid" else {"tune.study": TuneConfig.study})
    values = {key: OmegaConf.select(config, key) for key in usual}
    return [f"{key}={str(value).lower()}" for key, value in values.items() if value not in (None, usual[key])]
