"""Adsh (Guo & Li, ICML 2022): thresholds that keep the same share of every class.

Shape legend: N unlabeled set, Bu unlabeled batch, C classes.
"""

from collections.abc import Mapping

import torch
from torch import Tensor

from daso.schema import AdshConfidence, SurveyedBy
from daso.slots.base import Survey
from daso.slots.losses import labels, wide
from daso.slots.thresholds import ClassThresholds
from daso.types import Chosen, Clock, Facts, Target, View

FIRST = 2  # periods before the first survey


class Adsh(ClassThresholds, Survey):
    """A label is argmax_k p_k / theta_k, and counts if that is at least 1.

    Between two periods the network looks at the whole unlabeled set: the share of the head class's images that reach
    the learner's threshold is kept of every class, its most confident images, and theta is the least of these.

    Args:
        counts: [C] int64 labeled images per class: the head has most; `relabel` replaces them.
        threshold: the learner's; of the head class, and the most that any class needs.
        config: period, and who looks at what.
    """

    surveys_head = "cls"  # whose pseudo-labels the thresholds are of
    theta: Tensor
    share: Tensor
    found: Tensor
    sure: Tensor
    head: Tensor
    changed: Tensor

    def __init__(self, counts: Tensor, threshold: float, config: AdshConfidence) -> None:
        super().__init__(counts)
        self.threshold, self.config = threshold, config
        self.surveys_teacher = config.net is SurveyedBy.teacher
        self.surveys_view = View(config.view)
        self.register_buffer("theta", torch.zeros(len(counts), dtype=torch.float64))
        self.register_buffer("share", torch.ones((), dtype=torch.float64))  # rho, of the last survey
        self.register_buffer("found", torch.zeros(len(counts), dtype=torch.int64))  # images by their label, in it
        self.register_buffer("sure", torch.zeros((), dtype=torch.int64))  # confident ones of the head class
        self.register_buffer("head", torch.zeros((), dtype=torch.int64))
        self.register_buffer("changed", torch.zeros((), dtype=torch.float64), persistent=False)
        self.relabel(counts)

    @classmethod
    def of(cls, config: AdshConfidence, facts: Facts) -> "Adsh":
        """For the labeled images of the run and its learner's threshold."""
        return cls(facts.counts, facts.threshold, config)

    def relabel(self, counts: Tensor) -> None:
        """Start afresh: the learner's threshold for every class, the head by `counts` [C]."""
        self.theta.fill_(self.threshold)
        self.share.fill_(1)
        self.found.zero_()
        self.sure.zero_()
        self.head.copy_(counts.argmax())

    def thresholds(self) -> Tensor:
        """[C] theta."""
        return self.theta

    @torch.no_grad()
    def confident(self, target: Target, idx: Tensor, threshold: float, clock: Clock) -> Chosen:
        """Labels by the ratio to their class's threshold, and those where it is at least 1."""
        p = target.p
        label, ratio = labels(p / self.theta.to(p.dtype).clamp(min=torch.finfo(p.dtype).tiny))
        self.changed.copy_((label != target.label).to(self.changed.dtype).mean())
        return Chosen(label, ratio >= 1)

    def due(self, step: int) -> bool:
        """Every period, from the end of the second on."""
        return step % self.config.every == 0 and step >= FIRST * self.config.every

    @torch.no_grad()
    def survey(self, logits: Tensor) -> None:
        """Thresholds by the confidences of all unlabeled images; a class without an image keeps its own.

        Without a confident image of the head class the share is 1: every label counts, unless `safe` says otherwise.
        """
        label, conf = labels(wide(logits).softmax(1))
        order = conf.argsort(descending=True, stable=True)
        order = order[label[order].argsort(stable=True)]  # class after class, the most confident first
        self.found.copy_(torch.bincount(label, minlength=len(self.theta)))
        here = label == self.head
        self.sure.copy_((here & (conf >= self.threshold)).sum())
        known = self.sure > 0
        share = torch.where(known, self.sure.to(torch.float64) / here.sum().clamp(min=1), 1.0)
        last = (self.found.to(torch.float64) * share - 1).round().clamp(min=0).to(torch.int64)  # rank of the last kept
        rows = (self.found.cumsum(0) - self.found + last).clamp(max=len(conf) - 1)
        least = conf[order][rows].to(self.theta.dtype).clamp(max=self.threshold)
        classes = torch.arange(len(self.theta), device=label.device)
        moves = (self.found > 0) & (classes != self.head)
        if self.config.safe:
            moves = moves & known
        self.theta.copy_(torch.where(moves, least, self.theta))
        self.share.copy_(share)

    def metrics(self) -> dict[str, Tensor]:
        """`pl/survey` [C]: images by label in the last survey; `pl/survey/share`: rho; `pl/survey/sure`: confident ones
        of the head class; `pl/changed`: the share of the last step's labels that the thresholds changed.
        """
        found = {"pl/survey": self.found, "pl/survey/share": self.share, "pl/survey/sure": self.sure}
        found = {name: value.clone() for name, value in (found | {"pl/changed": self.changed}).items()}
        return super().metrics() | found

    def alarms(self, measured: Mapping[str, float]) -> list[str]:
        """A survey that found no confident image of the head class."""
        surveyed = any(measured[f"pl/survey/class/{k}"] for k in range(len(self.theta)))
        if self.config.safe or measured["pl/survey/sure"] or not surveyed:
            return []
        return ["No head-class image is confident, so every label counts (confidence.safe=true keeps the thresholds)."]
