"""What a run measures between two reports: accumulated on the device, read by the host once a period.

Shape legend: B batch, C classes. Confusion counts have rows = truth (row C = unknown), columns = prediction.
"""

from collections.abc import Callable, Mapping
from functools import partial
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from daso.data.images.listing import OUT
from daso.train.later import Later
from daso.types import Labels, Outcome

Counts = np.ndarray
USED = "used"  # the kind of pseudo-label that a thresholded loss was trained with, each by its weight
OUTSIDE = "out"  # kind: the final labels of images that are known to be of none of the classes


def confusion(truth: Tensor, predicted: Tensor, classes: int) -> Tensor:
    """Counts [C+1, C] int64 of (truth, predicted) pairs [B]; a truth of -1 counts in the last row.

    A product of indicator matrices: exact, of static shape, deterministic on every device and without a host sync.
    """
    rows = torch.arange(classes + 1, device=truth.device)
    truth = torch.where(truth < 0, classes, truth)
    t = (truth[:, None] == rows).to(torch.float32)
    p = (predicted[:, None] == rows[:classes]).to(torch.float32)
    return (t.T @ p).to(torch.int64)


class PseudoLabelCounts(NamedTuple):
    """One window of one kind of pseudo-label (final, linear or semantic), on the host."""

    pairs: Counts  # [C+1, C]
    confident: int  # of them with a confidence of at least the threshold


class Meters:
    """Window sums: losses and training accuracy, reset at each log; pseudo-label counts, reset at each evaluation."""

    def __init__(
        self,
        classes: int,
        threshold: float,
        device: torch.device,
        accuracy: str = "top1",
        prior: Counts | None = None,
        everything: Counts | None = None,
        outside: bool = False,
    ) -> None:
        self.classes = classes
        self.threshold = threshold
        self.device = device
        self.accuracy = accuracy  # the name of the training accuracy
        self.prior = prior  # [C] true class distribution of the unlabeled set, where it is known
        self.everything = everything  # [C] of all training images, where it is known
        self.outside = outside  # whether some unlabeled images are known to be of none of the classes
        self.sums: dict[str, Tensor] = {}  # name -> [2]: sum, and number of steps, or of images
        # kind -> [C+2, C]: confusion counts, of `USED` summed weights; then a row that starts with `confident`
        self.labels: dict[str, Tensor] = {}
        self.seen = torch.zeros(classes, dtype=torch.int64, device=device)  # labeled images per class

    @torch.no_grad()
    def add(self, outcome: Outcome, y: Tensor, truth: Tensor | None) -> None:
        """Add one step: its losses, the labeled accuracy against y [Bl], the pseudo-labels against truth [Bu]."""
        values = {f"loss_{name}": loss for name, loss in outcome.losses.items()}
        if len(values) > 1:
            values["loss_total"] = torch.stack(list(values.values())).sum()
        values[self.accuracy] = (outcome.logits_l.argmax(1) == y).to(torch.float64).mean() * 100
        self._add(values)
        if outcome.target is None or truth is None:
            return
        self.seen.index_add_(0, y, torch.ones_like(y))
        chosen = outcome.chosen
        final = Labels(outcome.target.label if chosen is None else chosen.label, outcome.target.conf)
        for kind, labels in (
            ("final", final),
            ("linear", outcome.target.linear),
            ("semantic", outcome.target.semantic),
        ):
            if labels is not None:
                self._count(kind, labels, truth)
        for head, labels in (outcome.target.aside or {}).items():
            self._count(head, labels, truth)
        for group, which in (outcome.target.groups or {}).items():
            self._judge(group, final.label == truth, which & (truth >= 0))
        if chosen is not None:
            used = self._table(USED, torch.float64).view(-1)
            used.index_add_(0, self._cells(chosen.label, truth), chosen.weight.to(torch.float64))
        if self.outside:
            self._count(OUTSIDE, final, truth, truth == OUT)

    def read_train(self) -> Later[dict[str, float]]:
        """Means over the steps since the last call, by name; then starts a new window."""
        names = list(self.sums)
        later = Later(list(self.sums.values()), lambda rows: means(dict(zip(names, rows, strict=True))))
        for value in self.sums.values():
            value.zero_()
        return later

    def with_distances(self, metrics: dict[str, float]) -> dict[str, float]:
        """`metrics`, and how far those of `TRUTH` among them are from the truth, if that is known."""
        found: dict[str, float] = {}
        for name, compare in TRUTH.items():
            truth = self.everything if name == ALL else self.prior
            if truth is not None and f"{name}/class/0" in metrics:
                values = np.array([metrics[f"{name}/class/{k}"] for k in range(self.classes)])
                found |= compare(values, truth)
        return metrics | found

    def finite(self) -> bool:
        """Whether every loss summed so far in this window is finite. One device read."""
        return not self.sums or bool(torch.isfinite(torch.stack(list(self.sums.values()))).all())

    def read_labels(self) -> Later[dict[str, float]]:
        """Pseudo-label metrics since the last call, by name; then starts a new window."""
        kinds = list(self.labels)
        later = Later(
            [self.seen, *self.labels.values()],
            lambda host: label_metrics(dict(zip(kinds, host[1:], strict=True)), host[0]),
        )
        for value in (self.seen, *self.labels.values()):
            value.zero_()
        return later

    def state_dict(self) -> dict[str, dict[str, Tensor]]:
        """The open windows, for an exact resume."""
        return {"sums": self.sums, "labels": self.labels, "seen": {"labeled": self.seen}}

    def load_state_dict(self, state: dict[str, dict[str, Tensor]]) -> None:
        """Continue the windows of a checkpoint."""
        self.sums = {name: value.to(self.device) for name, value in state["sums"].items()}
        self.labels = {name: value.to(self.device) for name, value in state["labels"].items()}
        self.seen = state["seen"]["labeled"].to(self.device)

    def _judge(self, group: str, right: Tensor, which: Tensor) -> None:
        """Sum which labels are right [B], of the images `which` [B] alone."""
        self._sum(f"pl/right/{group}").add_(torch.stack([right & which, which]).sum(1))

    def _add(self, values: dict[str, Tensor]) -> None:
        sums = torch.stack([value.to(torch.float64) for value in values.values()])
        rows = torch.stack([sums, torch.ones_like(sums)], 1)
        torch._foreach_add_([self._sum(name) for name in values], list(rows))

    def _sum(self, name: str) -> Tensor:
        if name not in self.sums:
            self.sums[name] = torch.zeros(2, dtype=torch.float64, device=self.device)
        return self.sums[name]

    def _count(self, kind: str, labels: Labels, truth: Tensor, which: Tensor | None = None) -> None:
        """Count labels [B], or those of them that `which` [B] tells."""
        table, cells = self._table(kind, torch.int64), self._cells(labels.label, truth)
        confident = labels.conf >= self.threshold
        ones = torch.ones_like(cells) if which is None else which.to(cells.dtype)
        table.view(-1).index_add_(0, cells, ones)
        table[-1, 0] += (confident if which is None else confident & which).sum()

    def _table(self, kind: str, dtype: torch.dtype) -> Tensor:
        if kind not in self.labels:
            self.labels[kind] = torch.zeros(self.classes + 2, self.classes, dtype=dtype, device=self.device)
        return self.labels[kind]

    def _cells(self, label: Tensor, truth: Tensor) -> Tensor:
        """[B] where in a flat table the pairs count; the cost knows no C."""
        return torch.where(truth < 0, self.classes, truth) * self.classes + label


def read_metrics(metrics: Mapping[str, Tensor]) -> Later[dict[str, float]]:
    """The parts' own numbers, by name: [] as they are, [C] as `name/class/k`."""

    def finish(host: list[Tensor]) -> dict[str, float]:
        out: dict[str, float] = {}
        for name, value in zip(metrics, host, strict=True):
            row = {name: value} if value.ndim == 0 else {f"{name}/class/{k}": entry for k, entry in enumerate(value)}
            out |= {name: entry.item() for name, entry in row.items()}
        return out

    return Later(list(metrics.values()), finish)


def prior_distances(estimate: Counts, truth: Counts, of: str = "prior") -> dict[str, float]:
    """`prior/l1`, and `prior/kl` = KL(truth || estimate) in nats, of an estimate [C] and the true distribution [C].

    Args:
        estimate, truth: as said; an estimate of nothing has no distance.
        of: the first part of the names.
    """
    if not estimate.any():
        return {}
    estimate = estimate / estimate.sum()
    here = truth > 0
    ratio = truth[here] / np.maximum(estimate[here], np.finfo(float).tiny)
    return {
        f"{of}/l1": float(np.abs(estimate - truth).sum()),
        f"{of}/kl": float((truth[here] * np.log(ratio)).sum()),
    }


def fresh_distance(fresh: Counts, truth: Counts) -> dict[str, float]:
    """`prior/fresh_kl`: mean of both Kullback-Leibler divergences, in nats, with 1e-12 as the least share."""
    p, q = (np.maximum(share, 1e-12) for share in (truth, fresh))
    return {"prior/fresh_kl": float(((p - q) * np.log(p / q)).sum() / 2)}


def correlation(bias: Counts, truth: Counts) -> dict[str, float]:
    """`bias/unlabeled`: correlation of a bias [C] with the log of the true distribution; 0 where one is constant."""
    here = truth > 0
    bias, logs = bias[here], np.log(truth[here])
    flat = np.ptp(bias) == 0 or np.ptp(logs) == 0
    return {"bias/unlabeled": 0.0 if flat else float(np.corrcoef(bias, logs)[0, 1])}


ALL = "prior/all"
TRUTH: dict[str, Callable[[Counts, Counts], dict[str, float]]] = {
    "prior/estimate": prior_distances,
    ALL: partial(prior_distances, of=ALL),
    "prior/fresh": fresh_distance,
    "balance/counts": partial(prior_distances, of="balance"),
    "bias": correlation,
}
"""What is compared with the true class distribution of the unlabeled set, or, `ALL`, of all training images, by the
names of `Part.metrics`.
"""


def means(sums: dict[str, Tensor]) -> dict[str, float]:
    """Of host sums [2] (sum, number of steps) by name; without those of no step."""
    return {name: (row[0] / row[1]).item() for name, row in sums.items() if row[1] > 0}


def label_metrics(tables: dict[str, Tensor], seen: Tensor) -> dict[str, float]:
    """Metrics of the kinds of pseudo-labels in a window, and the imbalance of its labeled images, `seen` [C]."""
    out: dict[str, float] = {}
    for kind, table in ((kind, table.numpy()) for kind, table in tables.items() if kind != USED):
        if table[:-1].any():
            out |= pseudo_label_metrics(PseudoLabelCounts(table[:-1], int(table[-1, 0])), f"pl/{kind}")
    if USED in tables and tables["final"].any():
        out |= utilisation_metrics(tables[USED].numpy()[:-1], tables["final"].numpy()[:-1])
    if out:
        counts = seen.numpy()
        if OUTSIDE in tables and (confident := int(tables["final"][-1, 0])):
            out[f"pl/{OUTSIDE}/share"] = int(tables[OUTSIDE][-1, 0]) / confident
        out["pl/labeled/imbalance"] = float(counts.max() / counts.min()) if counts.all() else float("nan")
    return out


def utilisation_metrics(used: Counts, made: Counts) -> dict[str, float]:
    """How much the pseudo-labels of a window count in the loss that they train.

    Args:
        used: [C+1, C] summed weights of (truth, label) pairs.
        made: [C+1, C] their numbers.

    Returns:
        `pl/utilisation`: the mean weight, and of each class of labels; `pl/utilisation_right`: of right ones alone;
        `pl/used/right`: the share of right ones in the summed weight; `pl/used/imbalance`: max / min of the classes'
        summed weights, over those that have one, -1 if there is none.
    """
    by_class, labels = used.sum(0), made.sum(0)
    shares = np.divide(by_class, labels, out=np.full(len(labels), np.nan), where=labels > 0)
    positive = by_class[by_class > 0]
    out = {"pl/utilisation": float(by_class.sum() / labels.sum())}
    out |= {f"pl/utilisation/class/{k}": float(share) for k, share in enumerate(shares)}
    out["pl/used/imbalance"] = float(positive.max() / positive.min()) if positive.size else -1.0
    if made[:-1].any():
        known, right, right_used = used[:-1].sum(), np.trace(made[:-1]), np.trace(used[:-1])
        out["pl/utilisation_right"] = float(right_used / right) if right else float("nan")
        out["pl/used/right"] = float(right_used / known) if known else float("nan")
    return out


def pseudo_label_metrics(counts: PseudoLabelCounts, prefix: str) -> dict[str, float]:
    """Recall, precision, coverage and imbalance of one window (protocol section 6, verdicts Q31 and Q32).

    Every unlabeled sample of the window counts, whatever its confidence. Where the truth is unknown (STL-10) only
    coverage, imbalance and class counts are given. A class absent from the window has no recall, a class never
    predicted no precision: both are NaN and left out of the means; `precision_official` counts the latter as -1, as the
    reference does. Imbalance is max / min over the classes with a count, -1 if there is none.
    """
    known, predicted = counts.pairs[:-1], counts.pairs.sum(0)
    total = int(predicted.sum())
    positive = predicted[predicted > 0]
    out = {
        f"{prefix}/coverage": counts.confident / total if total else float("nan"),
        f"{prefix}/imbalance": float(positive.max() / positive.min()) if positive.size else -1.0,
    }
    out |= {f"{prefix}/count/class/{k}": float(n) for k, n in enumerate(predicted)}
    if not known.any():
        return out
    hits, truth = np.diag(known).astype(float), known.sum(1)
    recall = np.divide(hits, truth, out=np.full(len(hits), np.nan), where=truth > 0)
    known_predicted = known.sum(0)
    precision = np.divide(hits, known_predicted, out=np.full(len(hits), np.nan), where=known_predicted > 0)
    gain = np.divide(known_predicted, truth, out=np.full(len(hits), np.nan), where=truth > 0)
    out |= {
        f"{prefix}/recall": float(np.nanmean(recall)),
        f"{prefix}/precision": float(np.nanmean(precision)),
        f"{prefix}/precision_official": float(np.nan_to_num(precision, nan=-1.0).mean()),
    }
    for name, values in (("recall", recall), ("precision", precision), ("gain", gain)):
        out |= {f"{prefix}/{name}/class/{k}": float(v) for k, v in enumerate(values)}
    return out
