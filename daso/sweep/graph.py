"""What a sweep consists of: the runs that were asked for, and those that they are built on, which come first."""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from daso.outputs.rundir import RunDir, RunState
from daso.run.stages import own, prerequisites
from daso.schema import Config

NAMED = "hydra.job.name="  # Hydra's name of a job: the run that it makes


@dataclass
class Job:
    """A run of a sweep, or what was asked for and cannot be one."""

    overrides: list[str]  # of a stage: those of the first job that needs it
    config: Config | None  # None: refused, for `reason`
    reason: str = ""
    label: str = ""
    needs: list[Config] = field(default_factory=list)  # the runs that come first
    asked: bool = True  # False: only other jobs need it

    @property
    def key(self) -> str:
        """The run key; empty if refused."""
        return "" if self.config is None else self.config.run_key

    @property
    def launched(self) -> list[str]:
        """What a launcher gets: the overrides, and which of the runs that they lead to the job makes."""
        return [*self.overrides, f"{NAMED}'{self.key}'"]


def standing(config: Config) -> RunState:
    """How far a run is, as `force` would have it."""
    return RunState.new if config.force else RunDir(config.out_root, config.run_key).state()


def said_of(label: str, reason: str) -> str:
    """Why a job is not possible, with the job's label unless the reason begins with what that names."""
    return reason if label in reason.partition(" is not possible")[0] else f"{label}: {reason}"


def summary_of(config: Config) -> dict[str, Any] | None:
    """The summary of a run that need not be trained; None for every other one."""
    if config.eval_only or standing(config) is not RunState.done:
        return None
    return RunDir(config.out_root, config.run_key).numbers()


def numbers_of(config: Config) -> dict[str, Any] | None:
    """The final numbers of a run that is finished, whether it was forced or evaluated again; None of any other."""
    return RunDir(config.out_root, config.run_key).numbers()


def needed(config: Config) -> list[Config]:
    """The runs that `config` waits for; one that is done, begun, or only to be evaluated waits for none.

    Raises:
        UserError: a run that it names is not finished.
    """
    begun = not config.force and RunDir(config.out_root, config.run_key).begun()
    return [] if begun or config.eval_only or standing(config) is RunState.done else prerequisites(config)


def reached(config: Config, key: str) -> Config:
    """The run of this key: one that `config` waits for, or `config` itself, which every other key stands for."""
    for stage in needed(config) if key != config.run_key else []:
        if (found := reached(stage, key)).run_key == key:
            return found
    return config


def with_stages(jobs: Sequence[Job]) -> list[Job]:
    """`jobs`, each after the runs that it needs and that nobody asked for."""
    asked = {job.key for job in jobs}
    users: dict[str, list[str]] = defaultdict(list)  # who needs a run
    found: list[Job] = []

    def add(job: Job, user: str) -> None:
        for config in job.needs:
            if config.run_key not in users and config.run_key not in asked:
                add(Job(job.overrides, config, needs=needed(config), asked=False), user)
            users[config.run_key].append(user)
        found.append(job)

    for job in jobs:
        add(job, job.label)
    for job in found:
        if not job.asked and job.config is not None:
            job.label = _called(job.config, list(dict.fromkeys(users[job.key])))
    return found


def in_order(jobs: Iterable[Job]) -> list[Job]:
    """Jobs as they are to be started, each run once: one seed of everything, then the next one, so that a table has all
    of its rows early. Of a seed what others wait for, what waits for nobody, what waits; at last what cannot run.
    """
    asked = list(jobs)
    by_key = {job.key: job for job in asked if job.config is not None}
    before = ancestors(by_key.values())
    wave, awaited = waves(before), {key for keys in before.values() for key in keys}
    seeds = {job.key: job.config.seed for job in by_key.values() if job.config is not None}
    turn = {seed: place for place, seed in enumerate(dict.fromkeys(seeds.values()))}
    round_ = {key: max(turn[seeds[other]] for other in [key, *before[key]]) for key in by_key}
    started = sorted(by_key.values(), key=lambda job: (round_[job.key], wave[job.key], job.key not in awaited))
    return [*started, *(job for job in asked if job.config is None)]


def steps_of(jobs: Iterable[Job]) -> dict[str, int]:
    """The steps that the run of each job takes, by run key."""
    return {job.key: own(job.config).train.steps for job in jobs if job.config is not None}


def ancestors(jobs: Iterable[Job]) -> dict[str, list[str]]:
    """The run keys of all jobs that must end before each, by its own: what it needs, what that needs, and so on."""
    waits = {job.key: [config.run_key for config in job.needs] for job in jobs}

    def before(key: str) -> list[str]:
        direct = [need for need in waits[key] if need in waits]
        return list(dict.fromkeys(far for need in direct for far in [*before(need), need]))

    return {key: before(key) for key in waits}


def waves(before: Mapping[str, Collection[str]]) -> dict[str, int]:
    """The first wave of jobs that each can be in, from 0 on.

    Args:
        before: run keys of what must end before a job, by its own; what is no job itself is there already.
    """

    def wave(key: str) -> int:
        return max((wave(need) + 1 for need in before[key] if need in before), default=0)

    return {key: wave(key) for key in before}


def _called(stage: Config, users: Sequence[str]) -> str:
    what = "estimate for" if stage.protocol.name == "estimate" else "first stage of"
    more = f" and {len(users) - 1} more" if len(users) > 1 else ""
    return f"{what} {users[0]}{more}"
