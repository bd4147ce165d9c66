"""The grid sweeper of this project, found by Hydra through this folder's name."""

import gc
import os
import re
import signal
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import BrokenExecutor
from contextlib import contextmanager
from functools import cache
from itertools import product

from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.core_plugins.basic_launcher import BasicLauncher
from hydra.core.config_store import ConfigStore
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.plugins import Plugins
from hydra.plugins.launcher import Launcher
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf, open_dict

from daso.command.launch import refuse_unknown_hydra_keys
from daso.errors import Interrupted, RunFailed, UserError
from daso.machine.version import code_version
from daso.outputs.naming import objective, run_name
from daso.outputs.rundir import RunDir
from daso.schema import Config, require
from daso.settings.compose import configuration, reseeded
from daso.settings.identity import plain
from daso.sweep import here
from daso.sweep.callback import SweepReport
from daso.sweep.caution import cautions_of
from daso.sweep.graph import Job, in_order, needed, summary_of, with_stages
from daso.sweep.grid import doubles, labels, table_runs, varying
from daso.sweep.planned import print_plan
from daso.sweep.session import FAIL_FAST, FINISHED, End, Session
from daso.track.console import counted
from daso.track.terminal import announce, complain, print_line
from daso.track.trackers import untold
from hydra_plugins.daso_sweeper._options import Options
from hydra_plugins.daso_sweeper._values import single_values

POLL = 0.5  # seconds between two looks whether a sweep that is to stop has come to rest
SEED = re.compile(r"seed=\d+")
READS_SEED = re.compile(r"\$\\?\{[^}]*\bseed\b")  # Hydra escapes the brace in overrides
MANY = 20  # jobs that take a while to look at
PARALLEL = "JoblibLauncher"
HERE = ("BasicLauncher", PARALLEL)  # launchers whose jobs run on this machine
CLEARING = "ignore:resource_tracker:UserWarning"  # of the process that clears up behind joblib's, after a kill too
TRIES = 3  # starts of workers in a row in which no job ends


class GridSweeper(Sweeper):
    """Every combination of the values on the command line, for each run of a paper table where one is named.

    All jobs are resolved before the first is launched: what cannot run is refused, what is finished is skipped, what
    occurs twice runs once. Then the launcher gets the rest in one batch, and what it loses, again.

    Args:
        params: overrides that hold unless the command line says otherwise.
    """

    def __init__(self, params: dict[str, str] | None = None) -> None:
        self.params = params or {}
        self.launched = 0  # jobs so far
        self.doubles = ""  # which jobs are the runs of others
        self.of_table = False  # whether the jobs are those of a paper table
        self.seed_is_read = False  # whether an option makes anything depend on the seed

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Take what Hydra hands out.

        Raises:
            UserError: Hydra's own part was given a key that it does not have, or a value that no launcher can use.
        """
        refuse_unknown_hydra_keys(config.hydra, sys.argv[1:])
        at_once = OmegaConf.select(config, "hydra.launcher.n_jobs")
        require(at_once != 0, "hydra.launcher.n_jobs", at_once, "1 or more, or -1 for as many as there are cores")
        self.context, self.config = hydra_context, config
        loader = hydra_context.config_loader
        assert isinstance(loader, ConfigLoaderImpl)
        loader.repository = Options(loader.repository)
        self.launcher: Launcher = Plugins.instance().instantiate_launcher(
            hydra_context=hydra_context, task_function=task_function, config=config
        )
        if type(self.launcher).__name__ == PARALLEL and CLEARING not in sys.warnoptions:
            sys.warnoptions.append(CLEARING)  # which that process inherits

    def sweep(self, arguments: list[str]) -> None:
        """Run the sweep, or say what it would do.

        Raises:
            UserError: none of the jobs can run, all for the same reason or not: the first one's. Or the folder of the
                sweep cannot be written.
        """
        combinations = self._combinations(arguments)
        if len(combinations) > MANY and not self.config.plan:
            announce(f"Starting; {len(combinations)} jobs are looked at first.")
        gc.disable()  # nothing of what follows is garbage
        jobs = in_order(with_stages(self._jobs(combinations)))
        gc.enable()
        if all(job.config is None for job in jobs):
            raise UserError(jobs[0].reason)
        if self.config.plan:
            at_once = max(int(OmegaConf.select(self.config, "hydra.launcher.n_jobs") or 1), 1)
            plan = next(job.config.plan for job in jobs if job.config is not None)
            sys.exit(print_plan(jobs, plan, at_once, self.doubles))
        if len(combinations) <= MANY:
            announce(f"Starting a sweep of {counted(len(jobs), 'job')}.")
        if self.doubles:
            print_line(self.doubles)
        for job in jobs:
            if job.config is None:
                complain(job.reason, job.label)
        finished = finished_before(jobs)
        left = [job for job in jobs if job.config is not None and job.key not in finished]
        (report,) = [report for report in self.context.callbacks.callbacks if isinstance(report, SweepReport)]
        report.refuse_unwritable(left)
        wrong = self.lacking(left, report, alone=not finished)
        runs = [(job.config, job.overrides * job.asked, job.key not in finished) for job in jobs if job.config]
        for sentence in cautions_of(runs):
            complain(f"Warning: {sentence}")
        report.expect(jobs, finished, self._name(combinations), warned=True)
        if self.config.fail_fast and any(job.config is None for job in jobs):
            return
        self.launch(left, report, wrong)

    def _combinations(self, arguments: list[str]) -> list[list[str]]:
        """The overrides of each job, without those of the sweep itself."""
        parser = OverridesParser.create(config_loader=self.context.config_loader)
        given: dict[str, list[str]] = {}
        asked: dict[str, list[str]] = {}
        for override in parser.parse_overrides([*(f"{k}={v}" for k, v in self.params.items()), *arguments]):
            own = override.key_or_group.startswith("sweep.")
            (asked if own else given)[override.get_key_element()] = single_values(override)
        products = [list(combination) for combination in product(*given.values())]
        if len(given.get("plan", [])) > 1:
            raise UserError("plan=true,false is not possible: a sweep has one plan, of all its jobs.")
        self.of_table = bool(self.config.sweep.table) or "sweep.table" in asked
        if not self.of_table:
            for key, values in asked.items():
                raise UserError(f"{values[0]} is not possible: without sweep.table=... nothing reads {key}.")
            return products
        rows = [
            [item for item in row if item.partition("=")[0] not in given]
            for table in _asked("table", asked, self.config)
            for dataset in _asked("dataset", asked, self.config) or [""]
            for row in table_runs(table, dataset, _asked("rows", asked, self.config))
        ]
        return [[*row, *rest] for row in rows for rest in products]

    def _jobs(self, combinations: Sequence[list[str]]) -> list[Job]:
        """Each run once, and what cannot be one."""
        composed = cache(self.compose)
        unseeded = cache(lambda overrides: configuration(overrides, composed))

        def described(overrides: list[str]) -> Config:
            seeds = [item for item in overrides if SEED.fullmatch(item)]
            if seeds and not READS_SEED.search(" ".join(overrides)):
                config = unseeded(tuple(item for item in overrides if item not in seeds))
                if not self.seed_is_read:
                    return reseeded(config, int(seeds[-1].partition("=")[2]))
            return configuration(overrides, composed)

        jobs: dict[str, Job] = {}
        twice: dict[str, tuple[list[str], list[str]]] = {}
        for overrides, label in zip(combinations, labels(combinations)):
            try:
                config = described(overrides)
                name = label if len(combinations) > 1 else run_name(plain(config))
                job = Job(overrides, config, label=name, needs=needed(config))
            except UserError as error:
                job = Job(overrides, None, str(error), label)
            first = jobs.setdefault(job.key or label, job)
            if first.overrides != overrides:
                twice[label] = (overrides, first.overrides)
        again = len(combinations) - len({tuple(combination) for combination in combinations})
        self.doubles = doubles(list(twice.values()), list(twice), len(combinations), again)
        return list(jobs.values())

    def compose(self, overrides: tuple[str, ...]) -> DictConfig:
        """The configuration of a job, without Hydra's part.

        Raises:
            UserError: it is a sweep itself, of another kind than this one.
        """
        composed = self.context.config_loader.load_sweep_config(self.config, list(overrides))
        if (
            composed.sweep.table and not self.of_table
        ) or composed.hydra.sweeper._target_ != self.config.hydra.sweeper._target_:
            experiment = composed.hydra.runtime.choices.experiment
            raise UserError(f"experiment={experiment} is not possible as one of several: it is a sweep by itself.")
        with open_dict(composed):
            del composed["hydra"]
        self.seed_is_read = self.seed_is_read or bool(READS_SEED.search(OmegaConf.to_yaml(composed)))
        return composed

    def _name(self, combinations: Sequence[Sequence[str]]) -> str:
        """What the sweep is called: its experiment, and what varies in it."""
        experiment = self.config.hydra.runtime.choices.get("experiment", "none")
        keys = ", ".join(varying(combinations)) or "one run"
        return keys if experiment == "none" else f"{experiment}: {keys}"

    def lacking(self, jobs: Sequence[Job], report: SweepReport, alone: bool) -> dict[str, str]:
        """Why jobs cannot run, by run key, of those that want data or a device which is not here; nobody knows that of
        jobs that run elsewhere.

        Args:
            jobs: what is to be launched.
            report: knows whether the sweep is to stop.
            alone: whether the sweep has no other job that is possible.

        Raises:
            UserError: nothing is left of it: the first job's reason. Or there is no cluster to launch them on.
        """
        if jobs and (require_cluster := getattr(self.launcher, "require_cluster", None)):
            require_cluster()
        if type(self.launcher).__name__ not in HERE:
            return {}
        configs = [job.config for job in jobs if job.config is not None]
        wrong = here.lacking(configs, lambda: report.stopping() is not None)
        if alone and wrong and all(job.key in wrong for job in jobs):
            raise UserError(wrong[jobs[0].key])
        for reason in dict.fromkeys(wrong.values()):
            complain(reason)
        return wrong

    def launch(self, jobs: Sequence[Job], report: SweepReport, wrong: Mapping[str, str]) -> None:
        """Launch jobs, each run once, and again those that go down with a worker. No two launches share a number.

        Args:
            jobs: the jobs.
            report: learns how they end.
            wrong: why some cannot run, by run key.
        """
        for job in (job for job in jobs if job.key in wrong):
            report.refuse(job, self.launched, wrong[job.key])
            self.launched += 1
        if wrong and self.config.fail_fast:
            return
        jobs, vain = in_order(job for job in jobs if job.key not in wrong), 0
        while jobs and vain < TRIES:
            reasons = self._launch_once(jobs, self.launched, report)
            self.launched += len(jobs)
            if report.stopping() is not None:
                return
            ended = report.ended()
            left = [job for job in jobs if job.key not in ended]
            vain = vain + 1 if len(left) == len(jobs) else 0
            if reasons is not None or vain == TRIES:
                report.lose(left, reasons or {})
                return
            jobs = left

    def _launch_once(self, jobs: Sequence[Job], number: int, report: SweepReport) -> dict[str, str] | None:
        """Launch jobs, numbered from `number`; what each returned, by run key, or None if a worker was killed."""
        parallel = None if isinstance(self.launcher, BasicLauncher) else report.session
        try:
            with interrupted_at_rest(parallel), shown(report, parallel is not None):
                returns = self.launcher.launch([job.launched for job in jobs], initial_job_idx=number)
        except BrokenExecutor:
            return None
        except Interrupted:
            stop = report.stopping()
            if stop == FAIL_FAST:
                return {}
            raise Interrupted(stop or signal.SIGINT) from None
        report.hear(jobs, returns)
        values = [returned._return_value for returned in returns]
        return {job.key: str(v) if isinstance(v, RunFailed) else repr(v) for job, v in zip(jobs, values)}


@contextmanager
def interrupted_at_rest(session: Session | None) -> Iterator[None]:
    """Interrupt the block once the sweep was asked to stop and no job is under way: launchers start all they have."""
    over = threading.Event()

    def wait() -> None:
        assert session is not None
        at_rest = 0
        while not over.wait(POLL):
            at_rest = at_rest + 1 if session.stopping() is not None and not session.busy() else 0
            if at_rest == 2:  # not between two jobs
                os.kill(os.getpid(), signal.SIGINT)
                return

    if session is not None:
        threading.Thread(target=wait, name="rest", daemon=True).start()
    try:
        yield
    finally:
        over.set()


@contextmanager
def shown(report: SweepReport, parallel: bool) -> Iterator[None]:
    """Show how the sweep goes while a launcher has the word; one that runs the jobs in this process lets it be shown by
    them, for it forks, which no second thread should be amid.
    """
    over = threading.Event()

    def show() -> None:
        while not over.wait(POLL):
            report.show()

    thread = threading.Thread(target=show, name="shown", daemon=True)
    if parallel:
        thread.start()
    try:
        yield
    finally:
        over.set()
        if parallel:
            thread.join()


def _asked(name: str, asked: Mapping[str, list[str]], config: DictConfig) -> list[str]:
    """The values of `sweep.<name>`: those of the command line, else those of the configuration."""
    if f"sweep.{name}" in asked:
        items = [item.partition("=")[2] for item in asked[f"sweep.{name}"]]
        return [part for item in items for part in item.strip("[]").split(",") if part]
    value = config.sweep[name]
    return [str(item) for item in ([value] if isinstance(value, str) else value) if item]


def finished_before(jobs: Sequence[Job]) -> dict[str, End]:
    """How those jobs ended, by run key, that need not be run; says if other code ran them."""
    found, others, runs = {}, set(), []
    for job in jobs:
        summary = None if job.config is None else summary_of(job.config)
        if summary is None:  # or damaged: the job writes it anew
            continue
        found[job.key] = End(job.overrides, FINISHED, job.key, objective(summary), "finished before")
        others |= {str(summary.get("code"))} - {str(code_version())}
        runs.append(job.config)
    if others:
        made = f"made by code {', '.join(sorted(others))}, this is {code_version()}"
        print(f"Some runs that are finished already were {made}: force=true does them again.", file=sys.stderr)
    beside = [name for name in runs[0].track.trackers if name != "mlflow"] if runs else []  # which a sweep ends with
    for sentence in untold([RunDir(run.out_root, run.run_key) for run in runs], beside):
        complain(f"Warning: {sentence}")
    return found


ConfigStore.instance().store(
    group="hydra/sweeper", name="grid", node={"_target_": f"{__name__}.{GridSweeper.__name__}", "params": None}
)
