"""A finished run from its folder: nothing is believed before it is compared with what the run wrote.

Legend: N images, C classes, D features.
"""

from difflib import get_close_matches
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from daso.data.images.source import files_of
from daso.data.sources import Arrays
from daso.data.sources import load as read_data
from daso.data.sources.class_names import CLASS_NAMES
from daso.errors import AFRESH, Damaged, UserError
from daso.machine.execution import resolve_device
from daso.outputs.naming import run_name
from daso.outputs.rundir import LATEST, RunDir, RunState, finished_last, runs_in, without_runs
from daso.schema import Config, DatasetConfig
from daso.settings.restored import restore, unknown
from daso.track.jsonl import Row, read
from daso.track.progress import reached
from daso.train import checkpoint, evaluate
from daso.trained.export import export
from daso.trained.network import Network, restored
from daso.trained.pictures import Lens, Pixels, chunks, several

AT_ONCE = 1 << 23  # pixels of a pass through the network
ANEW = "the command that trained that run writes it anew"
Numbers = npt.NDArray[np.float32]


class Trained:
    """A finished run: what answers, what it calls its classes, its final numbers, its curves.

    Attributes:
        key: the run's key.
        name: what tables call it.
        folder: where it lies.
        config: its resolved configuration, plain.
        classes: what people call the classes, in the order of the answers' columns.
        summary: everything in `summary.json`.
        network: uint8 [B,c,S,S] -> logits [B,C], a `torch.nn.Module`.
    """

    def __init__(self, run: RunDir, config: dict[str, Any], settings: Config, network: Network) -> None:
        self._run, self._settings = run, settings
        self.key, self.folder, self.config = run.key, run.path, config
        self.name = run_name(config)
        self.summary: dict[str, Any] = run.numbers() or {}
        self.classes = class_names(run, settings)
        self.network = network
        self._lens = Lens(settings.dataset)

    def __repr__(self) -> str:
        balanced = self.metrics.get("test/bacc")
        result = "" if balanced is None else f", test/bacc {balanced:.1f}"
        return f"<run {self.key}: {self.name}; {len(self.classes)} classes{result}>"

    def predict(self, images: Any) -> Numbers:
        """Probabilities [N,C] of images, as the run's evaluation would answer.

        Args:
            images: one or many of: a path, an image of Pillow, a uint8 array [H,W] or [H,W,C]; or [N,H,W,C] or [N,H,W].

        Raises:
            UserError: an image that cannot be used.
        """
        return self._each(images, lambda x: self.network(x).softmax(1), len(self.classes))

    def logits(self, images: Any) -> Numbers:
        """What `predict` is the softmax of, [N,C]."""
        return self._each(images, self.network, len(self.classes))

    def features(self, images: Any) -> Numbers:
        """Features [N,D] of the encoder, for images as `predict` takes them."""
        return self._each(images, self.network.features, self._settings.model.features)

    def predict_files(self, paths: list[Path]) -> tuple[Numbers, dict[int, str]]:
        """As `predict`, of those files that can be used; why the others cannot, by their places in `paths`."""
        pixels, broken = self._lens.try_all(paths)
        return self._ask(pixels, lambda x: self.network(x).softmax(1)), broken

    def test_images(self) -> tuple["Pixels | list[Path]", npt.NDArray[np.int64]]:
        """The test set that the run was evaluated on, in its order, as `predict` takes it, and its classes [N].

        Returns:
            Images uint8 [N,H,W,C], or [N,H,W] of a run on gray ones; N paths of a run on image files. Classes [N].

        Raises:
            UserError: the run's data set is not where it was, and cannot be downloaded again, or has changed.
        """
        dataset = self._settings.dataset
        if dataset.reader:
            return self._test_files(dataset)
        data: Arrays = read_data(dataset, unlabeled=False)
        images = np.moveaxis(data.test_x, 1, -1)
        return (images[..., 0] if dataset.channels == 1 else images), data.test_y

    def _test_files(self, dataset: DatasetConfig) -> tuple[list[Path], npt.NDArray[np.int64]]:
        paths, y = files_of(dataset, "test")
        if dataset.broken == "skip":
            _, left_out = self._lens.try_all(paths)
            good = [place for place in range(len(paths)) if place not in left_out]
            return [paths[place] for place in good], y[good]
        return paths, y

    def export(self, path: "str | Path") -> Path:
        """Write the network for use with torch alone, see `daso.trained.export`; returns where it is.

        Raises:
            UserError: the file cannot be written.
        """
        facts = {"run_key": self.key, "name": self.name, "classes": self.classes, "metrics": self.metrics}
        return export(self.network, self._settings.dataset, facts, Path(path))

    @property
    def at_once(self) -> int:
        """Images of a pass."""
        return max(1, min(evaluate.BATCH, AT_ONCE // self._settings.dataset.resolution**2))

    @cached_property
    def metrics(self) -> dict[str, float]:
        """The final numbers, such as `test/bacc`, in percent where they are accuracies."""
        return {k: float(v) for k, v in self.summary.items() if "/" in k and isinstance(v, int | float)}

    @cached_property
    def journal(self) -> list[Row]:
        """The rows of `metrics.jsonl`, oldest first.

        Raises:
            Damaged: they are not what the run wrote.
        """
        if not self._run.journal_stands(self.summary):
            right = "bring back the right file; network and final numbers do not depend on it"
            raise Damaged(f"{self._run.metrics} is missing or damaged", right)
        return list(read(self._run.metrics))

    def curve(self, metric: str) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]:
        """Steps [n] and values [n] of a metric over the training, such as `test/bacc` or `train/loss_cls`.

        Raises:
            UserError: no row has it.
        """
        rows = [(row["step"], row[metric]) for row in self.journal if row.get(metric) is not None]
        if not rows:
            there = sorted({name for row in self.journal for name in row if "/" in name and "/class/" not in name})
            near = [name for name in there if name.endswith(f"/{metric}")] or get_close_matches(metric, there, 1, 0.8)
            hint = f"did you mean {' or '.join(near)}?" if near else f"there are {', '.join(there)}."
            raise UserError(f"{metric} is not in the journal of run {self.key}: {hint}")
        steps, values = zip(*rows, strict=True)
        return np.array(steps, dtype=np.int64), np.array(values, dtype=np.float64)

    def _each(self, images: Any, ask: Any, width: int) -> Numbers:
        pictures = several(images, self._lens.channels)
        found = [self._ask(self._lens(some), ask) for some in chunks(pictures, self.at_once)]
        return np.concatenate(found) if found else np.zeros((0, width), dtype=np.float32)

    @torch.no_grad()
    def _ask(self, pixels: Pixels, ask: Any) -> Numbers:
        device = next(self.network.parameters()).device
        answer: Numbers = ask(torch.from_numpy(pixels).to(device)).float().cpu().numpy()
        return answer


def load_run(run: "str | Path", out_root: "str | Path" = "outputs", device: str = "auto") -> Trained:
    """As `daso.load`."""
    where = resolve_device(device)
    folder = find(run, out_root)
    _require_finished(folder)
    config, numbers = folder.config(), folder.numbers()
    if renamed := folder.renamed():
        raise UserError(renamed)
    if config is None:
        raise Damaged(f"{folder.resolved} is missing or damaged", ANEW)
    if numbers is None:
        raise Damaged(f"{folder.summary} is missing or damaged", ANEW)
    try:
        settings = restore(config)
        strange = unknown(config, settings, folder.key)
    except UserError as error:
        strange = str(error)
    if strange:
        raise UserError(f"Run {folder.key} is of another version, which alone can load it: {strange}.")
    if not folder.checkpoint.is_file():
        raise Damaged(f"{folder.checkpoint}, which holds the network, is not there", AFRESH)
    saved = checkpoint.load(folder.checkpoint, folder.key)
    name = f"The checkpoint {folder.checkpoint}"
    if "weights" in numbers and checkpoint.fingerprint(saved["student"]) != numbers["weights"]:
        raise Damaged(f"{name} is not the one that the run ended with", AFRESH)
    return Trained(folder, config, settings, restored(settings, saved, where, name))


def find(run: "str | Path", out_root: "str | Path") -> RunDir:
    """The run of a folder, or of a key or its beginning, or of `latest` the one that was finished last.

    Raises:
        UserError: there is none, or more than one.
    """
    folder, root = Path(run).expanduser(), Path(out_root).expanduser()
    if str(run) and folder.is_dir():  # an empty path is that of the working folder
        return RunDir.named(root, str(folder.resolve()))
    if str(run) and not root.is_dir():
        reason = without_runs(root)
        raise UserError(f"out_root={root} is not possible: {reason}{'' if reason.endswith('?') else '.'}")
    there = list(runs_in(root)) if root.is_dir() else []
    if str(run) == LATEST:
        if (last := finished_last(there)) is None:
            raise UserError(f"run={LATEST} is not possible: no run in out_root={root} is finished.")
        return last
    fits = [one for one in there if str(run) and one.key.startswith(str(run))]
    if len(fits) == 1:
        return fits[0]
    found = f"{', '.join(one.key for one in fits)} begin so" if fits else "there is no such folder"
    if get_close_matches(str(run), [LATEST]):
        raise UserError(f"run={run} is not possible: did you mean {LATEST}?")
    raise UserError(
        f"run={run} is not possible: the folder of a run, or its key in out_root={root}, or {LATEST}; {found}."
    )


def class_names(run: RunDir, settings: Config) -> list[str]:
    """What people call the classes, 0 to C-1: as the image files or the data set's makers do, else by number.

    Raises:
        Damaged: the run's table of classes is.
    """
    classes = settings.dataset.num_classes
    if not settings.dataset.reader:
        return list(CLASS_NAMES.get(settings.dataset.name, map(str, range(classes))))
    if not run.classes.is_file():
        return list(map(str, range(classes)))
    names = run.class_names()
    if len(names) != classes:
        remedy = "bring back the right file, or remove it, and the classes have numbers for names"
        raise Damaged(f"{run.classes} does not name the {classes} classes of the run", remedy)
    return names


def _require_finished(run: RunDir) -> None:
    state = run.state()
    if state is RunState.done:
        return
    if state is RunState.new:
        raise UserError(f"{run.path} is no run: the folder of one holds resolved.yaml, summary.json and checkpoint.pt.")
    step, steps = reached(run, state), run.about().get("steps", "?")
    if state is RunState.running:
        raise UserError(f"Run {run.key} is at step {step} of {steps}: wait until it is finished.")
    reason = f" ({str(run.reason()).rstrip('.')})" if state is RunState.failed else ""
    then = f"goes on from step {step} of {steps}" if step else "begins anew"
    raise UserError(f"Run {run.key} is not finished{reason}: start the line that began it again, and it {then}.")
