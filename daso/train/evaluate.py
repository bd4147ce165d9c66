"""Evaluation on resident images: counts on the device, every metric from them on the host.

Shape legend: N images, C classes.
"""

from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import AbstractContextManager
from statistics import median
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from daso.nn.net import Net
from daso.schema import WINDOW
from daso.train.later import Later
from daso.train.meters import confusion

BATCH = 1000  # images per evaluation pass
ASIDE = ("top1", "bacc", "gm")  # metrics of what stands beside the answer
NO_CLASS = -1  # label of what fills up the last batch

Predict = Callable[[Tensor], Tensor]
"""uint8 images [B,c,H,W] -> logits [B,C], in at least float32."""


Opinions = Callable[[Tensor], dict[str, Tensor]]
"""uint8 images [B,c,H,W] -> logits [B,C] by name: the answer, whose name is empty, and what stands beside it."""


def opinions(
    net: Net,
    normalise: Callable[[Tensor, torch.dtype], Tensor],
    autocast: Callable[[], AbstractContextManager[object]],
    heads: Collection[str],
    answers: str,
    bias: Callable[[], Tensor] | None = None,
    read: Callable[[Tensor, Mapping[str, Tensor]], dict[str, Tensor]] | None = None,
) -> Opinions:
    """The answer of a network, and the opinions of `heads` and readings if there are several, from one pass by running
    statistics.

    Args:
        net: what answers.
        normalise: uint8 images at network resolution and a dtype -> the network's input.
        autocast: the context of the pass.
        heads: the classifiers that are asked.
        answers: the one of them, or the reading, whose logits are the answer.
        bias: gives the [C] numbers that are taken off the answer; its logits with them then are the opinion `raw`.
        read: features [B,D] and the classifiers' logits -> what is read of them, by name.
    """
    dtype = next(net.parameters()).dtype

    def ask(images: Tensor) -> dict[str, Tensor]:
        with autocast():
            features = net.encode(normalise(images, dtype), running_stats=True)
            own = {head: net.classify(features, head) for head in heads}
            off = None if bias is None else bias()
        own = {head: z.to(torch.promote_types(z.dtype, torch.float32)) for head, z in own.items()}
        if read is not None:
            own |= read(features, own)
        found = {"": own[answers] if off is None else own[answers] - off}
        if len(own) > 1:
            found |= own
        return found if off is None else found | {"raw": own[answers]}

    return ask


class Tally(NamedTuple):
    """Sums over a data set, for plain logits or for logits minus the log prior."""

    confusion: Tensor  # [C+1, C] int64, rows = truth; the last one: of no class
    top5: Tensor  # [] int64
    cost: Tensor  # [] float64: sum of the cross entropies


Tallies = dict[str, tuple[Tally, Tally]]
"""Of every held-out set, by name: as predicted, and after subtracting the log prior. `set/name`: of what stands beside
the answer."""


@torch.no_grad()
def evaluate(
    predict: Opinions, x: Tensor, y: Tensor, log_prior: Tensor, batch: int = BATCH
) -> dict[str, tuple[Tally, Tally]]:
    """Tallies of a data set by the opinions' names, raw and logit-adjusted with tau = 1 (Q52).

    Args:
        predict: images -> logits by name.
        x: [N,c,H,W] uint8; y: [N] int64; log_prior: [C], log of the initial labeled class frequencies.
        batch: images per forward pass.
    """
    classes = log_prior.numel()
    nothing = _empty(classes, x.device), _empty(classes, x.device)
    found: dict[str, tuple[Tally, Tally]] = {}
    for images, labels in zip(equal_batches(x, batch), equal_batches(y, batch, NO_CLASS), strict=True):
        for name, logits in predict(images).items():
            raw, adjusted = found.get(name, nothing)
            raw = _add(raw, logits, labels, classes)
            found[name] = raw, _add(adjusted, logits - log_prior.to(logits.dtype), labels, classes)
    return found


@torch.no_grad()
def distributions(predict: Predict, x: Tensor, batch: int = BATCH) -> Tensor:
    """[N,C] class distributions of the images `x` [N,c,H,W] uint8, or of whatever `predict` takes N of."""
    return logits(predict, x, batch).softmax(1)


@torch.no_grad()
def logits(predict: Predict, x: Tensor, batch: int = BATCH) -> Tensor:
    """[N,C] logits, as `distributions`."""
    return torch.cat([predict(images) for images in equal_batches(x, batch)])[: len(x)]


def equal_batches(rows: Tensor, size: int, filling: int = 0) -> Iterator[Tensor]:
    """`rows` [N,...] in batches of one size, so that one compiled program serves all: `size`, or N where that is less.

    The last one is filled up with `filling`.
    """
    for batch in torch.split(rows, size):
        missing = min(size, len(rows)) - len(batch)
        yield torch.cat([batch, batch.new_full((missing, *batch.shape[1:]), filling)]) if missing else batch


class Measurement(NamedTuple):
    """One evaluation, on the host."""

    metrics: dict[str, float]  # of every held-out set
    confusion: Tensor  # [C,C] counts of the test set, rows = truth


def measure(tallies: Tallies, labeled: list[int]) -> Later[Measurement]:
    """All metrics of an evaluation, from its counts on the device and the numbers of labeled images per class."""
    groups = class_groups(labeled)

    def finish(host: list[Tensor]) -> Measurement:
        counts = [Tally(*host[i : i + 3]) for i in range(0, len(host), 3)]
        pairs = dict(zip(tallies, zip(counts[::2], counts[1::2], strict=True), strict=True))
        out: dict[str, float] = {}
        for name, (raw, adjusted) in pairs.items():
            found = metrics(raw, adjusted, groups, name)
            aside = "/" in name
            out |= {f"{name}/{metric}": found[f"{name}/{metric}"] for metric in ASIDE} if aside else found
        return Measurement(out, pairs["test"][0].confusion[:-1])

    return Later([tensor for pair in tallies.values() for tally in pair for tensor in tally], finish)


def metrics(raw: Tally, adjusted: Tally, groups: dict[str, list[int]], prefix: str) -> dict[str, float]:
    """All metrics of one data set, from host tallies, in percent (cost: nats); `_la` after subtracting the log prior.

    top1 and top5 are over images; bacc is the mean and gm the geometric mean of the class recalls; `groups` are the
    classes of many, medium and few labeled images; class/<k> is the recall of class k.
    """
    out: dict[str, float] = {}
    for suffix, tally in (("", raw), ("_la", adjusted)):
        counts = tally.confusion.numpy()[:-1]
        total, per_class = counts.sum(), counts.sum(1)
        recall = np.divide(np.diag(counts), per_class, out=np.full(len(counts), np.nan), where=per_class > 0) * 100
        out |= {
            f"{prefix}/top1{suffix}": float(np.trace(counts) / total * 100),
            f"{prefix}/top5{suffix}": float(tally.top5.item() / total * 100),
            f"{prefix}/cost{suffix}": float(tally.cost.item() / total),
            f"{prefix}/bacc{suffix}": mean_of_present(recall),
            f"{prefix}/gm{suffix}": geometric_mean(recall),
        }
        out |= {f"{prefix}/{name}{suffix}": mean_of_present(recall[ks]) for name, ks in groups.items()}
        out |= {f"{prefix}/class{suffix}/{k}": float(r) for k, r in enumerate(recall)}
    return out


def mean_of_present(recall: np.ndarray) -> float:
    """Mean of class recalls without those of classes that the set does not hold; nan where it holds none."""
    present = recall[~np.isnan(recall)]
    return float(present.mean()) if len(present) else float("nan")


def geometric_mean(recall: np.ndarray) -> float:
    """Geometric mean of class recalls; 0 as soon as one class is never right."""
    present = recall[~np.isnan(recall)]
    return float(np.exp(np.log(present).mean())) if (present > 0).all() else 0.0


def class_groups(counts: list[int]) -> dict[str, list[int]]:
    """Thirds of the classes by labeled count, most first: many, medium, few (the first thirds take the remainder)."""
    order = np.argsort(-np.asarray(counts), kind="stable")
    return {name: part.tolist() for name, part in zip(("many", "medium", "few"), np.array_split(order, 3), strict=True)}


class History:
    """Values of the tracked metrics at every evaluation so far, and the summaries that are reported of them."""

    def __init__(self, values: dict[str, list[float]] | None = None) -> None:
        self.values: dict[str, list[float]] = values or {}

    @property
    def count(self) -> int:
        """How many evaluations there were."""
        return max(map(len, self.values.values()), default=0)

    def add(self, measured: dict[str, float]) -> dict[str, float]:
        """Append one evaluation; returns medians, means and bests up to it."""
        out: dict[str, float] = {}
        for split in ("valid", "test"):
            for metric in ("top1", "top1_la", "bacc", "bacc_la"):
                name = f"{split}/{metric}"
                if name in measured:
                    seen = self.values.setdefault(name, [])
                    seen.append(measured[name])
                    last = seen[-WINDOW:]
                    out |= {f"{name}_median20": median(last), f"{name}_mean20": sum(last) / len(last)}
                    out[f"{name}_best"] = max(seen)
        return out


def _empty(classes: int, device: torch.device) -> Tally:
    return Tally(
        torch.zeros(classes + 1, classes, dtype=torch.int64, device=device),
        torch.zeros((), dtype=torch.int64, device=device),
        torch.zeros((), dtype=torch.float64, device=device),
    )


def _add(tally: Tally, logits: Tensor, y: Tensor, classes: int) -> Tally:
    top = logits.topk(min(5, classes), dim=1).indices
    return Tally(
        tally.confusion + confusion(y, logits.argmax(1), classes),
        tally.top5 + (top == y[:, None]).any(1).sum(),
        tally.cost + F.cross_entropy(logits, y, ignore_index=NO_CLASS, reduction="sum").to(torch.float64),
    )
