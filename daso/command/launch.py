"""From a composed configuration to the run, or the job of a sweep, that it describes."""

import sys
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import fields, is_dataclass
from math import nan
from typing import cast

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from daso.errors import RunFailed, UserError
from daso.machine.streams import STARTS, log_of
from daso.outputs.naming import run_name
from daso.outputs.rundir import RunDir, RunState
from daso.schema import Config, Provenance, require
from daso.settings.compose import resolve
from daso.settings.identity import plain
from daso.settings.mistakes import no_such_key
from daso.settings.unread import cautions, refuse_unread
from daso.sweep.callback import SweepReport
from daso.sweep.graph import Job, needed, reached, standing, with_stages
from daso.sweep.jobs import run_job
from daso.sweep.planned import print_plan
from daso.sweep.session import FAIL_FAST, FAILED, REFUSED, JobResult, Session
from daso.track.hints import after_run
from daso.track.terminal import announce, complain, print_line

Run = Callable[[Config, Provenance], float]


def refuse_unknown_hydra_keys(hydra: DictConfig, arguments: Sequence[str]) -> None:
    """Refuse what the command line adds with `+` to a part of Hydra that has a schema.

    Args:
        hydra: the composed node `hydra`.
        arguments: the command line.

    Raises:
        UserError: there is no such key.
    """
    for argument in arguments:
        key = argument.partition("=")[0]
        if not key.startswith(("+hydra.", "++hydra.")):
            continue
        node, path = hydra, "hydra"
        for name in key.lstrip("+").split(".")[1:]:
            kind = OmegaConf.get_type(node)
            known = [f"{path}.{field.name}" for field in fields(kind)] if is_dataclass(kind) else []
            path = f"{path}.{name}"
            if known and path not in known:
                raise UserError(no_such_key(path, arguments, known))
            child = node._get_node(name)
            if not isinstance(child, DictConfig):
                break
            node = child


def provenance(config: Config, session: Session | None = None, asked: bool = True) -> Provenance:
    """Where the running job's configuration came from.

    Args:
        config: what it runs.
        session: the sweep.
        asked: whether `config` is what its overrides lead to, and not a run that this is built on.
    """
    hydra = HydraConfig.get()
    choices = {
        group: option
        for group, option in hydra.runtime.choices.items()
        if asked and isinstance(option, str) and not group.startswith(("hydra/", "schema"))
    }
    overrides = _typed()
    shared = session.shared() if session else {}
    name = shared.get("labels", {}).get(config.run_key, "")
    warnings = cautions(config, overrides if asked else [])
    tags, start = shared.get("tags", {}), session.token if session else ""
    awaited = any(config.run_key in needs for needs in shared.get("needs", {}).values())
    warned = bool(shared.get("warned"))
    return Provenance(overrides, choices, in_sweep(), warnings, name, tags, start, warned, awaited)


def _typed() -> list[str]:
    """The overrides of the running job."""
    return [str(item) for item in HydraConfig.get().overrides.task]


def in_sweep() -> bool:
    """Whether the running job is one of a sweep's."""
    return bool(HydraConfig.get().mode == RunMode.MULTIRUN)


def launch(cfg: DictConfig, run: Run, prepare: Callable[[], None] = lambda: None) -> float:
    """Resolve and run one job. In a sweep it returns a `JobResult` whatever happens, short of a wish to stop.

    Args:
        cfg: the composed configuration.
        run: runs it.
        prepare: called once in a process that forks one for each of its jobs: imports what all of them need.

    Raises:
        SystemExit: outside sweeps, for a mistake (2), a failed run or a plan's probe that did (1); a sentence is on
            stderr.
        KeyboardInterrupt: a signal asked to stop.
    """
    return _job(cfg, run, prepare) if in_sweep() else _single(cfg, run)


def _single(cfg: DictConfig, run: Run) -> float:
    try:
        refuse_unknown_hydra_keys(cast(DictConfig, HydraConfig.get()), sys.argv[1:])
        for part in (HydraConfig.get().overrides.task, HydraConfig.get().overrides.hydra):
            refuse_unread("", cast(list[str], OmegaConf.to_container(part)))
        config = resolve(cfg)
        if not config.plan:
            announce(STARTS)
            trains = not config.eval_only and standing(config) is not RunState.done
            for sentence in [] if trains else cautions(config, _typed(), to_train=False):
                complain(f"Warning: {sentence}")
            _refuse_foreign_data(config)
            result = run(config, provenance(config))
            _tell_next(config, trains)
            return result
        job = Job(_typed(), config, label=run_name(plain(config)), needs=needed(config))
        if code := print_plan(with_stages([job]), config.plan):
            sys.exit(code)
        return nan
    except (UserError, RunFailed) as error:
        print(error, file=sys.stderr)
        sys.exit(2 if isinstance(error, UserError) else 1)


def _tell_next(config: Config, trained: bool) -> None:
    """Say where a run lies and what to do next; as all that a run says, in its folder as well where it was trained."""
    run = RunDir(config.out_root, config.run_key)
    with log_of(run.log) if trained and run.log.exists() else nullcontext() as log:
        for line in after_run(run, config.track):
            print_line(line)
            if log is not None:
                log.write(f"{line}\n")


def _refuse_foreign_data(config: Config) -> None:
    """Refuse data files that are not as published before what a run imports is waited for."""
    from daso.data.sources import refuse_foreign

    if config.eval_only or standing(config) is not RunState.done:
        refuse_foreign(config.dataset, config.reads_unlabeled)


def _job(cfg: DictConfig, run: Run, prepare: Callable[[], None]) -> JobResult:
    session = SweepReport.session
    try:
        asked = resolve(cfg)
        require(not asked.plan, "plan", "true", "a sweep has one plan; say it once, for all of its jobs")
        job = HydraConfig.get().job
        config = reached(asked, str(job.name))
    except UserError as error:
        result = JobResult(nan, REFUSED, "", str(error))
    else:

        def go() -> float:
            return run(config, provenance(config, session, config is asked))

        result = run_job(config, go, session, job.num, prepare, SweepReport.tick)
    if result.state in (FAILED, REFUSED):
        complain(result.reason, session.prefix(result.key) if session else "")
        if session and cfg.fail_fast:
            session.ask_to_stop(FAIL_FAST)
    return result
