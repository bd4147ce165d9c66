"""How fast runs are on this machine: a short one of each kind, the compiler's time apart."""

import os
import shutil
from collections.abc import Sequence
from concurrent.futures import BrokenExecutor, ProcessPoolExecutor
from contextlib import redirect_stdout, suppress
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path

from daso.errors import RunFailed, UserError
from daso.outputs.rundir import RunDir
from daso.schema import Compile, Config, Provenance, TrackConfig
from daso.settings.identity import identified
from daso.sweep.plan import PROBES, Item, Kind, settled_speed
from daso.track.console import duration
from daso.track.terminal import print_line

STEPS = 200
LOGGED = 20  # steps between two looks at the clock


def probe(items: Sequence[Item]) -> None:
    """Train a run of each kind that is left for some steps, beside the real ones, and say how fast it was.

    The runs stay in `<out_root>/.probes`, without their networks: later plans know the speed.
    """
    kinds: dict[Kind, Item] = {}
    for item in (item for item in items if item.left):
        kinds.setdefault(item.kind, item)
    for kind, item in kinds.items():
        config = probed(item.config, kind)
        run, root = RunDir(config.out_root, config.run_key), Path(item.config.out_root)
        fresh = not root.exists()
        print_line(f"Timing {STEPS} steps of {kind.learner} on {kind.model} ...")
        # a process of its own that is not forked: torch may be at work in this one
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as apart:
            try:
                wrong = apart.submit(_train, config, kind).result()
            except BrokenExecutor:
                wrong = "It cannot be timed: its process was killed, perhaps for its memory."
        print_line(wrong or said(run))
        for path in (run.checkpoint, run.previous, run.splits):
            path.unlink(missing_ok=True)
        shutil.rmtree(run.figures, ignore_errors=True)
        if fresh:
            with suppress(OSError):  # something is in it
                root.rmdir()


def probed(config: Config, kind: Kind) -> Config:
    """The short run that tells how fast `config` is."""
    train = replace(config.train, steps=STEPS, eval_every=STEPS, log_every=LOGGED, checkpoint_every=STEPS)
    root, nowhere = str(Path(config.out_root, PROBES)), TrackConfig("none")
    return identified(replace(config, train=train, track=nowhere, out_root=root, force=True, plan=False))


def said(run: RunDir) -> str:
    """What a finished probe tells."""
    step = settled_speed(run)
    summary = run.numbers() or {}
    seconds, steps = summary.get("seconds"), summary.get("steps")
    if step is None or not seconds or not steps:
        return f"It told nothing; see {run.log}."
    apart = max(seconds - steps * step, 0.0)
    device = run.about().get("device", "this device")
    return f"{step:.3g} s a step on {device}; {duration(apart)} beside them, to compile, to warm up and to evaluate."


def _train(config: Config, kind: Kind) -> str:
    """Train a probe in this process; returns what went wrong, or nothing."""
    from daso.machine.execution import resolve_device
    from daso.run.start import run

    with open(os.devnull, "w") as nowhere, redirect_stdout(nowhere):
        try:
            on_gpu = resolve_device(config.device).type == "cuda"
            train = replace(config.train, compile=Compile[kind.compile[on_gpu]])
            run(replace(config, train=train), Provenance([], {}, True, []))
        except (UserError, RunFailed) as error:
            return f"It cannot be timed: {error}"
    return ""
