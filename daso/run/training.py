"""The training of a run in its folder: data, checkpoint, journal and mirror around the loop."""

from typing import Any

import torch

from daso.credentials import mask, mask_all
from daso.data import index_files, sources
from daso.data import split as splits
from daso.data.images.source import Gallery
from daso.data.split import Split
from daso.errors import Damaged, UserError
from daso.machine import weights
from daso.machine.execution import hardware
from daso.machine.signals import StopRequest
from daso.machine.version import code_version
from daso.outputs.files import replace_file, write_record
from daso.outputs.naming import dataset_name, method_name, objective, ratio, run_name
from daso.outputs.rundir import RunDir
from daso.run.build import build, data_of
from daso.run.build.data import Data, unheard
from daso.run.images import tell, telling
from daso.run.openset import open_set_of, save_open_set
from daso.run.resume import check_environment, compare_code, forced_by, take_up
from daso.run.stages import own, remarks, without_estimate
from daso.run.summary import draw_figures, facts, last_log, sizes_of, summarise
from daso.schema import Config, Provenance
from daso.settings.apart import told
from daso.settings.identity import plain, to_yaml
from daso.track.console import Console
from daso.track.follower import Status
from daso.track.jsonl import Journal
from daso.track.mirror import artifacts
from daso.track.trackers import Followers, mirrored
from daso.train.loop import Parts, State, train


def train_run(
    config: Config,
    environment: dict[str, Any],
    provenance: Provenance,
    folder: RunDir,
    device: torch.device,
    console: Console,
    stop: StopRequest,
) -> float:
    """Train from where the run is to its end, and leave everything that a finished run has.

    Returns:
        The objective, as `daso.run.start.run`.
    """
    data, split = data_for(own(config), folder, console)  # a refusal is not to stand below warnings
    parts, state = assemble(own(config), folder, device, data, split), State()
    of_files = sources.remarks(config.dataset, config.reads_unlabeled)
    of_splits = index_files.remarks(config, split, parts.counts, sizes_of(parts)[0])
    for sentence in of_files:
        console.warn(sentence)
    for sentence in provenance.warnings:
        console.warn(sentence, aside=provenance.warned)
    for sentence in [*remarks(own(config)), *of_splits]:
        console.warn(sentence)
    if folder.begun():
        made_in = take_up(folder, parts, state, console)
        if state.step == parts.config.train.steps:  # what is written again was made there
            environment = {**made_in}
        check_environment(made_in, environment, config.resume_across)
        compare_code(str(made_in.get("code")), console)
    else:
        folder.metrics.unlink(missing_ok=True)  # rows of steps that are made again
    folder.done.unlink(missing_ok=True)  # of a run that goes on to write its summary again
    splits.save(split, folder.splits)
    came_to = {"device": hardware(device)} | {f"train.{name}": environment[name] for name in ("precision", "compile")}
    replace_file(folder.resolved, to_yaml(config, came_to).encode())
    environment = {"code": str(code_version())} | environment
    typed, steps = " ".join(told(config, provenance.overrides)), parts.config.train.steps
    name = run_name(plain(config), typed)
    card = {
        "name": provenance.name or name,
        "typed": typed,
        "tags": _tags(config, provenance),
        "steps": steps,
        "forced": provenance.start if config.force else forced_by(folder),
        "device": hardware(device),
        "precision": environment["precision"],
        "compile": environment["compile"],
        "splits": splits.checksum(split),
    }
    write_record(folder.card, mask_all(card))
    journal = Journal(folder.metrics, start=(state.step, state.journal) if state.step else None)
    mirror = mirrored(folder, config.track, console.warn)
    names = folder.class_names()
    console.header(facts(name, parts, environment, state))
    status: Status = "KILLED"
    try:
        report = _Report(journal, console, mirror)
        with console.progress(state.step, steps):
            train(parts, state, report, folder.checkpoint, environment, stop, names)
        if (seen := open_set_of(parts)) is not None:
            report.row("openset", steps, seen.metrics)
            save_open_set(folder, seen)
        summary = summarise(parts, state, environment, last_log(folder), journal.sync())
        summary |= seen.metrics if seen else {}
        write_record(folder.summary, summary)
        draw_figures(folder, state, names)
        console.summary(summary, names, state.history.count)
        folder.mark_done()
        status = "FINISHED"
    except Exception:
        status = "FAILED"
        raise
    finally:
        journal.close()
        if mirror is not None:
            mirror.finish(status, artifacts(folder))
    return objective(summary)


def data_for(config: Config, folder: RunDir, console: Console | None = None) -> tuple[Data, Split]:
    """The data set and which of its rows the run uses, compared with those that it was begun with.

    Args:
        console: is told about image files, if given.

    Raises:
        Damaged: nothing in the folder says any more what they were.
        UserError: they were others, or `model.weights` is not there, or of another network.
    """
    if config.model.weights:  # before a store is built for nothing
        weights.check(config.model.weights, config.model.depth, config.dataset.channels)
    data, split = data_of(config, telling(console) if console else unheard)
    told = {folder.about().get("splits")} - {None}
    try:
        if folder.splits.exists():
            told.add(splits.checksum(splits.load(folder.splits)))
    except Damaged as damage:
        if not told and folder.begun():
            remedy = "if the data set has not changed, remove the file, which then is written anew"
            raise Damaged(damage.what, remedy) from None
    if told and splits.checksum(split) not in told:
        raise UserError(
            f"dataset.root={config.dataset.root} holds other data than run {folder.key} was started on, of which "
            f"{folder.splits} tells: bring the old data back, or start afresh with force=true."
        )
    if isinstance(data, Gallery):
        tell(data, split, folder, console)
    return data, split


def assemble(config: Config, folder: RunDir, device: torch.device, data: Data, split: Split) -> Parts:
    """Build the run; of one that goes on, what its checkpoint holds need not be there in another way."""
    built = build(without_estimate(config) if folder.begun() else config, device, data, split)
    return built._replace(config=config)


def prepare(config: Config, folder: RunDir, device: torch.device) -> Parts:
    """Load data and build the run.

    Raises:
        UserError: as `data_for`.
    """
    return assemble(config, folder, device, *data_for(config, folder))


class _Report:
    """What the loop tells, told on: to the journal, the console, and trackers."""

    def __init__(self, journal: Journal, console: Console, mirror: Followers | None) -> None:
        self._journal, self._console, self._mirror = journal, console, mirror

    def row(self, event: str, step: int, values: dict[str, float]) -> None:
        self._journal.append(event, step, values)
        self._console.row(event, step, values)
        if self._mirror is not None:
            self._mirror.notify()

    def progress(self, step: int) -> None:
        self._console.advance(step)

    def warn(self, step: int, text: str) -> None:
        self._console.warn(f"Step {step}: {text}")

    def sync(self) -> dict[str, Any]:
        return self._journal.sync()


def _tags(config: Config, provenance: Provenance) -> dict[str, str]:
    code = code_version()
    return {
        "run_key": config.run_key,
        "git_commit": code.commit or "unknown",
        "git_dirty": str(bool(code.changes)).lower(),
        "dataset": dataset_name(plain(config.dataset)),
        "algorithm": config.algorithm.name,
        "method": method_name(plain(config)),
        "recipe": config.recipe.name,
        "gamma_l": ratio(config.imb.gamma_l),
        "gamma_u": ratio(config.imb.gamma_u),
        "overrides": " ".join(map(mask, provenance.overrides)),
        **provenance.tags,
        **{f"choice.{group}": option for group, option in provenance.choices.items()},
    }
