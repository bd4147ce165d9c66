"""What a person is told before a run, and what it leaves at its end: facts, final numbers, figures."""

import math
import platform
import time
from collections.abc import Sequence
from typing import Any

import torch

from daso.outputs.rundir import RunDir
from daso.track.figures import confusion_figure, pseudo_label_figure
from daso.track.jsonl import TIME, Mark, tail
from daso.train.checkpoint import fingerprint
from daso.train.loop import Parts, State


def facts(name: str, parts: Parts, environment: dict[str, Any], state: State) -> dict[str, Any]:
    """What a person wants to see before a run starts."""
    told, images, known = sizes_of(parts)
    return {
        "name": name,
        "run_key": parts.config.run_key,
        "labeled": parts.counts,
        "unlabeled": told or images,  # per class; one number where the class of some is unknown, or none
        "unlabeled_known": known,
        "held_out": {name: len(y) for name, (_, y) in parts.splits.items()},
        "parameters": sum(p.numel() for p in parts.nets.student.parameters()),
        "steps": parts.config.train.steps,
        "start": state.step,
        **environment,
    }


def sizes_of(parts: Parts) -> tuple[list[int], int, int]:
    """Unlabeled images of a run: of each class [C] (nothing where one is unknown), in all, and of known class."""
    unlabeled = parts.feed.pool.unlabeled_y
    if unlabeled is None:
        return [], 0, 0
    known = int((unlabeled >= 0).sum())
    told = known == len(unlabeled) > 0
    classes = parts.config.dataset.num_classes
    return torch.bincount(unlabeled, minlength=classes).tolist() if told else [], len(unlabeled), known


def last_log(folder: RunDir) -> dict[str, Any]:
    """The newest losses, speed and memory in the run's journal, by name."""
    rows = [row for row in tail(folder.metrics) if row["event"] == "train"]
    return {name: value for row in rows[-1:] for name, value in row.items() if name not in ("event", "step", TIME)}


def summarise(
    parts: Parts, state: State, environment: dict[str, Any], logged: dict[str, Any], journal: Mark
) -> dict[str, Any]:
    """The final numbers and what they were made with, flat.

    Args:
        parts, state, environment: of the run.
        logged: the newest row of the training log.
        journal: what its rows are known by.
    """
    config = parts.config
    several = len(parts.method.classifiers) > 1 or parts.slots.reading is not None
    return {
        "run_key": config.run_key,
        "status": "FINISHED",
        "dataset": config.dataset.name,
        "recipe": config.recipe.name,
        "reports": config.recipe.reports,
        "steps": state.step,
        "seconds": round(state.seconds, 3),
        "finished": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "python": platform.python_version(),
        **environment,
        **({"answers": parts.method.answers} if several else {}),  # the classifier that test/top1 is of
        "warnings": state.warned,
        "weights": fingerprint(parts.nets.student.state_dict()),
        **{f"journal_{name}": value for name, value in journal.items()},
        **logged,
        **state.last,
    }


def draw_figures(folder: RunDir, state: State, names: Sequence[str] = ()) -> None:
    """Confusion matrix of the test set, and recall and precision of the pseudo-labels where there are any.

    Args:
        names: what people call the classes, if they have names.
    """
    folder.figures.mkdir(exist_ok=True)
    confusion_figure(state.confusion.numpy(), folder.figures / "confusion.png", names)
    classes = len(state.confusion)

    def per_class(name: str) -> list[float]:
        return [state.last.get(f"pl/final/{name}/class/{k}", math.nan) for k in range(classes)]

    recall, precision = per_class("recall"), per_class("precision")
    if not all(map(math.isnan, recall)):
        pseudo_label_figure(recall, precision, folder.figures / "pseudo_labels.png", names)
