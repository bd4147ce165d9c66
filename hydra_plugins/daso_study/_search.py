"""One start of a study: find out what is left, ask for trials, launch their runs, tell the results."""

import hashlib
import re
import statistics
import sys
import warnings
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

import optuna
from optuna.exceptions import StorageInternalError
from optuna.trial import FrozenTrial, Trial, TrialState

from daso.credentials import hold
from daso.errors import UserError
from daso.outputs.naming import STUDY, typed
from daso.schema import Config, require
from daso.settings.compose import configuration
from daso.settings.identity import KEY_DIGITS
from daso.settings.unread import inert
from daso.sweep.callback import SweepReport
from daso.sweep.graph import Job, needed, summary_of, with_stages
from daso.sweep.session import FINISHED, STOPPED, End, unwritable
from daso.track.address import malformed, reveal, same_store
from daso.track.console import counted
from daso.track.follower import LIMIT, attempt, reason
from daso.track.mlflow import resolve_uri
from daso.track.terminal import complain
from hydra_plugins.daso_study import StudySweeper
from hydra_plugins.daso_study._owner import alone, file_of
from hydra_plugins.daso_study._setting import corners, setting, telling
from hydra_plugins.daso_study._space import Searched, idle, parse
from hydra_plugins.daso_sweeper import finished_before

SETTING = "setting"  # the study's attribute that says what it searches
FIXED = "fixed_params"  # Optuna's attribute of a queued trial


class Asked(NamedTuple):
    """A trial and its runs, one a seed."""

    trial: Trial
    values: list[str]  # overrides
    jobs: list[Job]


class Search:
    """A start of a study.

    Args:
        sweeper: composes and launches the runs.
        arguments: the overrides of the command line.

    Raises:
        UserError: the setting is not one that can be searched.
    """

    def __init__(self, sweeper: StudySweeper, arguments: Sequence[str]) -> None:
        self.sweeper = sweeper
        self.compose = cache(sweeper.compose)
        require(
            isinstance(sweeper.n_jobs, int) and sweeper.n_jobs >= 1, "hydra.sweeper.n_jobs", sweeper.n_jobs, "1 or more"
        )
        lines = [*(f"{key}={value}" for key, value in sweeper.params.items()), *arguments]
        self.space, self.fixed = parse(lines, sweeper.context.config_loader)
        self.base: Config = configuration(self.fixed, self.compose)
        self.tune = self.base.tune
        self.root = Path(self.base.out_root).absolute()
        self.storage = reveal(self.tune.storage) or f"sqlite:///{self.root}/studies.db"
        self.place = hold(self.storage)  # without its credentials
        self.key = hashlib.sha256(f"{self.place} {self.tune.study}".encode()).hexdigest()[:KEY_DIGITS]
        self.jobs: list[Job] = []
        self._tried = cache(self._configured)
        self._check()

    def run(self) -> None:
        """Search until the study has its trials, then leave its tables and figures in `out_root`.

        Trials of this start whose runs fail are not replaced: the next start tries other values in their place.

        Raises:
            UserError: the study is of another setting, another process searches it, or its storage cannot be used.
        """
        for sentence in idle(self.space, self._with):
            complain(sentence)
        if self.base.plan:
            with quiet(), self._stored():
                print(self._plan(self._done(self._look())))
            self._warn()
            return
        try:
            self.root.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise unwritable(self.root, error) from error
        with quiet(), self._stored(), alone(self.storage, self.tune.study, self._open) as study:
            missing = self.tune.n_trials - self._done(study)
            if missing <= 0:
                self._warn()
            queue_again(study, self.space)
            for left in range(missing, 0, -self.sweeper.n_jobs):
                if not self._launch(study, [self._ask(study) for _ in range(min(left, self.sweeper.n_jobs))]):
                    return
            self._conclude(study)

    def _check(self) -> None:
        key, held_out = "dataset.num_valid", self.base.dataset.num_valid
        right = "a search compares runs on the validation set and never on the test set, so hold images out with, "
        right += f"for example, {key}={4 * self.base.dataset.num_classes}"
        require(held_out > 0 and key not in self.space, key, held_out, right)
        require("seed" not in self.space, "seed", "(several)", "each trial runs the seeds of tune.seeds")
        probes = self.base.plan == "probe"
        require(
            not probes, "plan", self.base.plan, "true; a study's plan counts its trials, a single run's can be timed"
        )
        right = "name what to search, such as 'daso.t_dist=interval(0.1,2)', here or on the command line"
        require(bool(self.space), "hydra.sweeper.params", "(nothing)", right)
        wrong = malformed(self.storage)
        require(not wrong, "tune.storage", self.place, wrong)
        own = "mlflow" not in self.base.track.trackers or not same_store(resolve_uri(self.base.track.uri), self.storage)
        require(own, "tune.storage", self.place, "MLflow keeps its tables there; choose another database")
        self._check_values()

    def _check_values(self) -> None:
        """Try each choice and both ends of a range: with the other keys as they are, and with values of theirs.

        Raises:
            UserError: a key that cannot have its values, or with which every run is the same.
        """
        values = {key: searched.values() for key, searched in self.space.items()}
        others = [{}, *corners(self.space)]
        idle = []  # which may be so for another key's error alone
        for key, searched in self.space.items():
            tries = ([self._run_with(other | {key: value}) for value in values[key]] for other in others)
            first = next(tries)
            if not any(differ(runs) for runs in chain([first], tries)):
                if wrong := next((run for run in first if isinstance(run, UserError)), None):
                    raise UserError(f"{searched.line} cannot be searched: {wrong}")
                idle.append(searched.line)
        if idle:
            raise UserError(f"{idle[0]} cannot be searched: no value of it changes a run.")

    def _run_with(self, values: Mapping[str, Any]) -> str | UserError:
        """The key of the run with these values, or why there is none."""
        found = self._with(values)
        return found if isinstance(found, UserError) else found.run_key

    def _with(self, values: Mapping[str, Any]) -> Config | UserError:
        return self._tried(tuple(f"{key}={value}" for key, value in values.items()))

    def _configured(self, values: tuple[str, ...]) -> Config | UserError:
        try:
            return configuration([*self.fixed, *values], self.compose)
        except UserError as error:
            return error

    def _open(self) -> optuna.Study:
        try:
            study = optuna.create_study(
                storage=self.storage, study_name=self.tune.study, direction="maximize", load_if_exists=True
            )
        except Exception as error:
            raise self._unusable(error) from error
        self._compare(study)
        if study.user_attrs.get(SETTING) != (setting := self._setting()):
            study.set_user_attr(SETTING, setting)
        return study

    def _look(self) -> optuna.Study | None:
        """The study as it is, if it is there: nothing is made, for a plan writes nothing."""
        database = file_of(self.storage)
        if database is not None and not database.exists():
            return None
        try:
            study = optuna.load_study(storage=self.storage, study_name=self.tune.study)
        except KeyError:
            return None
        except Exception as error:
            raise self._unusable(error) from error
        self._compare(study)
        return study

    def _compare(self, study: optuna.Study) -> None:
        """Refuse to go on with a study of another setting; one of an earlier version is known by its runs as well."""
        ours, theirs = self._setting(), study.user_attrs.get(SETTING)
        before = setting(self.base, (), self.space, self.tune.seeds)
        if theirs is None or (theirs == before and self._made(study)):
            return
        if key := telling(theirs, ours, self.compose(tuple(self.fixed)), self.fixed):
            right = f"in that study {key} is {theirs.get(key, 'absent')} and not {ours.get(key, 'absent')}"
            require(False, "tune.study", self.tune.study, f"{right}; choose another name for another search")

    @contextmanager
    def _stored(self) -> Iterator[None]:
        try:
            yield
        except StorageInternalError as error:
            raise self._unusable(error) from error

    def _unusable(self, error: Exception) -> UserError:
        return UserError(f"tune.storage={self.place} cannot be used: {reason(error)}.")

    def _setting(self) -> dict[str, str]:
        return setting(self.base, self._at_corners(), self.space, self.tune.seeds)

    def _at_corners(self) -> list[Config]:
        return [config for config in map(self._with, corners(self.space)) if isinstance(config, Config)]

    def _warn(self) -> None:
        """Say of a line with which no trial is trained, and so none says it, what in it changes none."""
        said = [inert(config, self.fixed) for config in self._at_corners()]
        for sentence in said[0] if said else []:
            if all(sentence in others for others in said):
                complain(f"Warning: {sentence}")

    def _made(self, study: optuna.Study) -> bool:
        """Whether the runs of a study's trials are those that their values lead to here."""
        for trial in complete(study):
            keys = [job.key for job in self._jobs_of(trial)]
            if trial.user_attrs.get("runs", keys) != keys:
                return False
        return True

    def _done(self, study: optuna.Study | None) -> int:
        """How many trials are complete; says so."""
        done = 0 if study is None else len(complete(study))
        print(f"Study {self.tune.study}: {done} of {self.tune.n_trials} trials are complete.", flush=True)
        return done

    def _plan(self, done: int) -> str:
        left, seeds = max(self.tune.n_trials - done, 0), len(self.tune.seeds)
        runs = f"{counted(left, 'trial')} {'is' if left == 1 else 'are'} to come: {counted(left * seeds, 'run')}"
        runs += f" of {self.base.train.steps:,} steps"
        stages = self._stages(left)
        runs += f", built on {counted(stages, 'other run')}" if stages else ""
        return f"{runs}, searching {', '.join(self.space)}. Nothing was trained (plan=true)."

    def _stages(self, trials: int) -> int:
        """How many runs so many trials are built on: the same ones, or others where what is searched makes them so."""
        found: list[dict[str, Job]] = []
        for end in (0, -1):
            values = [f"{key}={searched.values()[end]}" for key, searched in self.space.items()]
            jobs = with_stages([self._job(0, [*values, f"seed={seed}"]) for seed in self.tune.seeds])
            found.append({job.key: job for job in jobs if not job.asked})
        first, last = found
        if first.keys() != last.keys():
            return trials * len(first)
        return sum(job.config is not None and summary_of(job.config) is None for job in first.values()) if trials else 0

    def _ask(self, study: optuna.Study) -> Asked:
        trial = ask(study, self.space, self.sweeper.sampler)
        return Asked(trial, overrides_of(trial), self._jobs_of(trial))

    def _jobs_of(self, trial: Trial | FrozenTrial) -> list[Job]:
        values = overrides_of(trial)
        return [self._job(trial.number, [*values, f"seed={seed}"]) for seed in self.tune.seeds]

    def _job(self, number: int, values: list[str]) -> Job:
        overrides, label = [*self.fixed, *values], f"trial {number} {values[-1]}"
        try:
            config = configuration(overrides, self.compose)
            return Job(overrides, config, label=label, needs=needed(config))
        except UserError as error:
            return Job(overrides, None, str(error), label)

    def _launch(self, study: optuna.Study, asked: Sequence[Asked]) -> bool:
        """Run all seeds of all trials at once and tell the study; False if the search is to end."""
        new = [job for one in asked for job in one.jobs]
        (report,) = [found for found in self.sweeper.context.callbacks.callbacks if isinstance(found, SweepReport)]
        known = {job.key for job in self.jobs}
        stages = [job for job in with_stages(new) if not job.asked and job.key not in known]
        finished = finished_before([*stages, *new])
        left = [job for job in [*stages, *new] if job.config and job.key not in finished]
        report.refuse_unwritable(left)
        wrong = self.sweeper.lacking(left, report, alone=not finished)
        self.jobs += [*stages, *new]
        report.expect(self.jobs, finished, f"{STUDY}{self.tune.study}", self.key, more=True)
        self.sweeper.launch(left, report, wrong)
        ends = {end.key: end for end in report.ends() if end.key}
        for trial, values, jobs in asked:
            got = [ends[job.key] if job.key else End([], "", reason=job.reason) for job in jobs]
            if any(end.state == STOPPED for end in got):
                return False
            tell(study, trial, got)
            print(said(study, trial.number, values, self.tune.n_trials), flush=True)
        return True

    def _conclude(self, study: optuna.Study) -> None:
        """Leave tables and figures in a folder of the study and in MLflow."""
        from daso.report import tuning

        if not complete(study):
            return
        folder = self.root / f"study_{re.sub(r'[^A-Za-z0-9_.-]', '_', self.tune.study)}"
        files = tuning.write(study, folder)
        print(f"Study {self.tune.study}: {describe(study.best_trial)}; see {folder}.", flush=True)
        if tuning.IMPORTANCE not in {file.name for file in files}:
            print(f"It has no {tuning.IMPORTANCE}: {tuning.EQUAL}.", flush=True)
        if "mlflow" in self.base.track.trackers:
            failure = attempt(lambda: tuning.log(study, files, self.base.track, self.key), stall=LIMIT)
            if failure:
                again = "the same command again, once it does, trains nothing and shows it"
                print(f"MLflow does not show the study ({failure}); {again}.", file=sys.stderr)


def overrides_of(trial: Trial | FrozenTrial) -> list[str]:
    """The values of a trial as overrides."""
    return [f"{key}={value}" for key, value in trial.params.items()]


def differ(runs: Sequence[str | UserError]) -> bool:
    """Whether each of some values gives a run, and not all of them the same."""
    return all(isinstance(run, str) for run in runs) and (len(runs) == 1 or len(set(runs)) > 1)


def ask(study: optuna.Study, space: Mapping[str, Searched], sampler: Callable[..., Any]) -> Trial:
    """The next trial; its values follow from the trials before it, however often the search was interrupted.

    The sampler's seed is the number of trials that got values of their own. A trial that was queued again did not, and
    one that was killed before it had all of its values is as if it had never been.
    """
    trials = study.get_trials(deepcopy=False)
    drawn = sum(FIXED not in trial.system_attrs and trial.params.keys() == space.keys() for trial in trials)
    study.sampler = sampler(seed=zlib.crc32(f"{study.study_name}/{drawn}".encode()))
    return study.ask({key: searched.distribution for key, searched in space.items()})


def queue_again(study: optuna.Study, space: Mapping[str, Searched]) -> None:
    """End the trials that a killed or stopped start left under way, and queue their values again."""
    queued = [trial.system_attrs.get(FIXED) for trial in study.get_trials(states=(TrialState.WAITING,))]
    for trial in study.get_trials(states=(TrialState.RUNNING,)):
        if trial.params.keys() == space.keys() and trial.params not in queued:
            study.enqueue_trial(trial.params)
        study.tell(trial.number, state=TrialState.FAIL)


def complete(study: optuna.Study) -> list[FrozenTrial]:
    """The trials that have a value."""
    return study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))


def tell(study: optuna.Study, trial: Trial, ends: Sequence[End]) -> None:
    """Give a trial the mean of its runs; one that did not finish fails it."""
    trial.set_user_attr("runs", [end.key for end in ends])
    values = [end.result for end in ends if end.state == FINISHED and end.result is not None]
    trial.set_user_attr("values", values)
    if len(values) == len(ends):
        study.tell(trial, statistics.fmean(values))
    else:
        trial.set_user_attr("reason", next(end.reason for end in ends if end.state != FINISHED))
        study.tell(trial, state=TrialState.FAIL)


def alike(one: FrozenTrial, other: FrozenTrial) -> bool:
    """Whether two trials have the same runs."""
    return bool(one.user_attrs.get("runs")) and one.user_attrs.get("runs") == other.user_attrs.get("runs")


def said(study: optuna.Study, number: int, values: Sequence[str], wanted: int) -> str:
    """How a trial went."""
    done = complete(study)
    mine = [trial for trial in done if trial.number == number]
    went = f"Trial {number}: {mine[0].value:.2f}" if mine else f"Trial {number} failed"
    twin = next((trial.number for trial in done if trial.number < number and mine and alike(trial, mine[0])), None)
    went += "" if twin is None else f" by the runs of trial {twin}, which no value here changes,"
    best = f"best {study.best_value:.2f} in trial {study.best_trial.number}; " if done else ""
    shown = " ".join(f"{key}={typed(value)}" for key, _, value in (item.partition("=") for item in values))
    return f"{went} with {shown}; {best}{len(done)} of {wanted} trials are complete."


def describe(best: FrozenTrial) -> str:
    """The best trial in a line."""
    values = (f"{k}={v:.4g}" if isinstance(v, float) else f"{k}={v}" for k, v in best.params.items())
    return f"best is trial {best.number} with {best.value:.2f}, {' '.join(values)}"


@contextmanager
def quiet() -> Iterator[None]:
    """Keep Optuna's notes about experimental parts from the console."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        yield
