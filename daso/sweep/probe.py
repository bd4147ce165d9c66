"""How fast runs are on this machine: a short one of each kind, the compiler's time apart."""

import os
import shutil
from collections.abc import Sequence
from concurrent.futures import BrokenExecutor, ProcessPoolExecutor
from contextlib import redirect_stdout, suppress
from dataclasses import replace
from math import nan
from multiprocessing import get_context
from pathlib import Path

from daso.errors import RunFailed, UserError
from daso.outputs.rundir import RunDir
from daso.schema import Compile, Config, Provenance, TrackConfig
from daso.settings.identity import identified
from daso.sweep import here
from daso.sweep.plan import PROBES, Item, Kind, Speed, settled_speed
from daso.sweep.session import FAILED, FINISHED, REFUSED, JobResult, code_of
from daso.track.console import duration
from daso.track.terminal import complain, print_line

STEPS = 200
LOGGED = 20  # steps between two looks at the clock


def probe(items: Sequence[Item]) -> tuple[int, dict[Kind, Speed]]:
    """Train a run of each kind that is left for some steps, beside the real ones, and say how fast it was.

    The runs stay in `<out_root>/.probes`, without their networks: later plans know the speed.

    Returns:
        The exit code: 0; 2 where nothing can be timed, for one mistake; 1 where else a kind was not timed. And how fast
        the kinds were that were.
    """
    found: dict[Kind, Speed] = {}
    kinds: dict[Kind, Item] = {}
    for item in (item for item in items if item.left):
        kinds.setdefault(item.kind, item)
    lacks = here.lacking(item.config for item in kinds.values())
    for reason in dict.fromkeys(lacks.values()):
        names = [kind.said for kind, item in kinds.items() if lacks.get(item.config.run_key) == reason]
        complain(f"{', '.join(names)} cannot be timed: {reason}")
    ends = [JobResult(nan, REFUSED, reason=reason) for reason in lacks.values()]
    for kind, item in kinds.items():
        if item.config.run_key not in lacks:
            print_line(f"Timing {STEPS} steps of {kind.said} ...")
            ends.append(_timed(kind, item))
            if ends[-1].state != FINISHED:
                complain(f"{kind.said} cannot be timed: {ends[-1].reason}")
            elif speed := _speed(_run(kind, item)):
                found[kind] = speed
    return code_of(ends), found


def _run(kind: Kind, item: Item) -> RunDir:
    """Where a probe lies."""
    config = probed(item.config, kind)
    return RunDir(config.out_root, config.run_key)


def _speed(run: RunDir) -> Speed | None:
    """How fast a probe was."""
    step = settled_speed(run)
    return None if step is None else Speed(str(run.about().get("device", "unknown")), step, 1)


def _timed(kind: Kind, item: Item) -> JobResult:
    """Time a kind of run, say how fast it was, and remove what no plan reads."""
    config = probed(item.config, kind)
    run, root = _run(kind, item), Path(item.config.out_root)
    fresh = not root.exists()
    # a process of its own that is not forked: torch may be at work in this one
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as apart:
        try:
            end = apart.submit(_train, config, kind).result()
        except BrokenExecutor:
            end = JobResult(nan, FAILED, reason="Its process was killed, perhaps for its memory.")
    if end.state == FINISHED:
        if told := said(run):
            print_line(told)
        else:
            end = JobResult(nan, FAILED, reason=f"It told nothing; see {run.log}.")
    for path in (run.checkpoint, run.previous, run.splits):
        path.unlink(missing_ok=True)
    shutil.rmtree(run.figures, ignore_errors=True)
    if fresh:
        with suppress(OSError):  # something is in it
            root.rmdir()
    return end


def probed(config: Config, kind: Kind) -> Config:
    """The short run that tells how fast `config` is."""
    train = replace(config.train, steps=STEPS, eval_every=STEPS, log_every=LOGGED, checkpoint_every=STEPS)
    root, nowhere = str(Path(config.out_root, PROBES)), TrackConfig("none")
    return identified(replace(config, train=train, track=nowhere, out_root=root, force=True, plan=False))


def said(run: RunDir) -> str:
    """What a finished probe tells; empty where it tells nothing."""
    step = settled_speed(run)
    summary = run.numbers() or {}
    seconds, steps = summary.get("seconds"), summary.get("steps")
    if step is None or not seconds or not steps:
        return ""
    apart = max(seconds - steps * step, 0.0)
    device = run.about().get("device", "this device")
    return f"{step:.3g} s a step on {device}; {duration(apart)} beside them, to compile, to warm up and to evaluate."


def _train(config: Config, kind: Kind) -> JobResult:
    """Train a probe in this process; returns how it ended."""
    from daso.machine.execution import resolve_device
    from daso.run.start import run

    with open(os.devnull, "w") as nowhere, redirect_stdout(nowhere):
        try:
            on_gpu = resolve_device(config.device).type == "cuda"
            train = replace(config.train, compile=Compile[kind.compile[on_gpu]])
            run(replace(config, train=train), Provenance([], {}, True, []))
        except (UserError, RunFailed) as error:
            return JobResult(nan, REFUSED if isinstance(error, UserError) else FAILED, reason=str(error))
    return JobResult(nan)
