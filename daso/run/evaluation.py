"""The checkpoint of a run, evaluated again."""

import torch

from daso.errors import UserError
from daso.machine.execution import configure_torch
from daso.outputs.naming import objective, run_name
from daso.outputs.rundir import RunDir
from daso.run.openset import open_set_of
from daso.run.resume import as_begun, take_up
from daso.run.stages import own
from daso.run.summary import facts, last_log, summarise
from daso.run.training import prepare
from daso.schema import Config
from daso.settings.identity import plain
from daso.track.console import Console
from daso.train import evaluate
from daso.train.engine import explained
from daso.train.loop import State, evaluated, opinions_of, predictor, tallies


def evaluate_only(config: Config, folder: RunDir, device: torch.device, console: Console) -> float:
    """Evaluate the checkpoint of a finished or partial run again and print its table; changes nothing.

    Raises:
        UserError: there is no checkpoint.
        CannotCompile: it would be evaluated compiled, and cannot be.
    """
    if not folder.begun():
        raise UserError(f"eval_only=true found no checkpoint at {folder.checkpoint}: train the run first.")
    used = own(as_begun(config, device, folder))
    environment = configure_torch(used, device)
    parts, state = prepare(used, folder, device), State()
    take_up(folder, parts, state, console, to_train=False)
    name = run_name(plain(config), folder.about().get("typed", ""))
    console.header(facts(name, parts, environment, state))
    net = evaluated(parts)
    with explained(parts.engine.mode):
        counted = tallies(parts, opinions_of(parts, net, predictor(parts, net)))
    measured = evaluate.measure(counted, parts.counts).get().metrics
    console.note(f"Evaluated again after {state.step} of {parts.config.train.steps} steps.")
    summary = summarise(parts, state, environment, last_log(folder), {}) | measured
    if (seen := open_set_of(parts)) is not None:
        summary |= seen.metrics
    console.summary(summary, folder.class_names(), state.history.count)
    return objective(summary)
