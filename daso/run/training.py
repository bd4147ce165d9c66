"""The training of a run in its folder: data, checkpoint, journal and mirror around the loop."""

from typing import Any

import torch

from daso.data import index_files, sources
from daso.data import split as splits
from daso.errors import UserError
from daso.machine.execution import hardware
from daso.machine.signals import StopRequest
from daso.machine.version import code_version
from daso.outputs.files import replace_file, write_json
from daso.outputs.naming import method_name, objective, ratio, run_name
from daso.outputs.rundir import RunDir
from daso.run.build import build, data_of
from daso.run.resume import check_environment, compare_code, forced_by
from daso.run.stages import own, remarks
from daso.run.summary import draw_figures, facts, last_log, summarise
from daso.schema import Config, Provenance
from daso.settings.identity import plain, to_yaml
from daso.track.console import Console
from daso.track.jsonl import Journal
from daso.track.mirror import Mirror, artifacts
from daso.track.mlflow import Status, resolve_uri
from daso.train import checkpoint
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
    parts = prepare(own(config), folder, device)  # a refusal is not to stand below warnings
    of_files = sources.remarks(config.dataset, config.reads_unlabeled)
    of_splits = index_files.remarks(config, splits.load(folder.splits), parts.counts)
    for sentence in [*of_files, *provenance.warnings, *remarks(own(config)), *of_splits]:
        console.warn(sentence)
    state = State()
    code = str(code_version())
    if folder.checkpoint.exists():
        saved = checkpoint.load(folder.checkpoint, config.run_key, device)
        check_environment(saved["environment"], environment, config.resume_across)
        compare_code(saved["environment"]["code"], console)
        state.unpack(parts, saved)
    replace_file(folder.resolved, to_yaml(config).encode())
    name, steps = provenance.name or run_name(plain(config)), parts.config.train.steps
    forced = provenance.start if config.force else forced_by(folder)
    card = {"name": name, "tags": _tags(config, provenance), "steps": steps, "forced": forced}
    write_json(folder.card, card | {"device": hardware(device), "compile": environment["compile"]})
    journal = Journal(folder.metrics)
    journal.truncate(state.step, state.rows)
    mirror = None
    if config.track.name == "mlflow":
        uri = resolve_uri(config.track.uri)
        mirror = Mirror(folder, uri, config.track.experiment, console.warn)
        mirror.start()
    console.header(facts(name, parts, environment, state))
    status: Status = "KILLED"
    try:
        report = _Report(journal, console, mirror)
        with console.progress(state.step, steps):
            train(parts, state, report, folder.checkpoint, environment | {"code": code}, stop)
        summary = summarise(parts, state, environment | {"code": code}, last_log(folder))
        write_json(folder.summary, summary)
        draw_figures(folder, state)
        console.summary(summary)
        status = "FINISHED"
    except Exception:
        status = "FAILED"
        raise
    finally:
        journal.close()
        if mirror is not None:
            mirror.finish(status, artifacts(folder), timeout=20 if status == "KILLED" else 120)
    folder.mark_done()
    return objective(summary)


def prepare(config: Config, folder: RunDir, device: torch.device) -> Parts:
    """Load data and build the run; the split is saved beside it, or compared with the one that is.

    Raises:
        UserError: the data set is not the one that the run was started on.
    """
    arrays, split = data_of(config)
    if not folder.splits.exists():
        splits.save(split, folder.splits)
    elif splits.checksum(splits.load(folder.splits)) != splits.checksum(split):
        raise UserError(
            f"dataset.root={config.dataset.root} holds other data than run {folder.key} was started on: "
            "bring the old data back, or start afresh with force=true."
        )
    return build(config, device, arrays, split)


class _Report:
    """What the loop tells, told on: to the journal, the console, and MLflow."""

    def __init__(self, journal: Journal, console: Console, mirror: Mirror | None) -> None:
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

    def sync(self) -> int:
        return self._journal.sync()


def _tags(config: Config, provenance: Provenance) -> dict[str, str]:
    code = code_version()
    return {
        "run_key": config.run_key,
        "git_commit": code.commit or "unknown",
        "git_dirty": str(bool(code.changes)).lower(),
        "dataset": config.dataset.name,
        "algorithm": config.algorithm.name,
        "method": method_name(plain(config)),
        "gamma_l": ratio(config.imb.gamma_l),
        "gamma_u": ratio(config.imb.gamma_u),
        "overrides": " ".join(provenance.overrides),
        **provenance.tags,
        **{f"choice.{group}": option for group, option in provenance.choices.items()},
    }
