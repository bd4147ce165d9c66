"""The facade that learners talk to: the order of a step's places is written here and nowhere else."""

from collections.abc import Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn

from daso.nn.part import Part, Together, joined
from daso.slots.base import Align, Auxiliary, Confidence, LabeledLoss, Refine, Semantic
from daso.slots.losses import labels, sharpen
from daso.types import Batch, Clock, Feats, Flags, Labels, Nets, Noise, Target


class Slots(Together, nn.Module):
    """The filled places of one run. A place that no part fills is None and without effect.

    Args:
        parts: what fills them; a part goes wherever it has the interface. None is no part.
    """

    labeled: LabeledLoss
    align: Align | None
    refine: Refine | None
    semantic: Semantic | None
    confidence: Confidence | None
    extras: Sequence[Auxiliary]

    def __init__(self, *parts: Part | None) -> None:
        super().__init__()
        self.parts = [part for part in parts if part is not None]
        places = (LabeledLoss, Align, Refine, Semantic, Confidence, Auxiliary)
        assert all(isinstance(part, places) for part in self.parts), "every slot fills a place"
        self.labeled = self._filling(LabeledLoss)
        assert self.labeled is not None, "a run has a labeled loss"
        self.align = self._filling(Align)
        self.refine = self._filling(Refine)
        self.semantic = self._filling(Semantic)
        self.confidence = self._filling(Confidence)
        extras = nn.ModuleList(part for part in self.parts if isinstance(part, Auxiliary))
        self.extras = cast(Sequence[Auxiliary], extras)

    def _filling(self, place: type[Any]) -> Any:
        found = [part for part in self.parts if isinstance(part, place)]
        assert len(found) < 2, f"{' and '.join(type(part).__name__ for part in found)} fill the same place"
        return found[0] if found else None

    @property
    def reads_features(self) -> bool:
        """Whether any slot looks at the encoder's features of unlabeled images."""
        return self.semantic is not None or len(self.extras) > 0

    @property
    def wants_labeled_features(self) -> bool:
        """Whether `observe` can use labeled features of a teacher pass, by batch statistics, that the learner makes."""
        return self.semantic is not None and self.semantic.wants_labeled_features

    def supervised(self, logits: Tensor, y: Tensor, flags: Flags) -> Tensor:
        """The 0-d labeled loss of `logits` [Bl,C] against `y` [Bl]."""
        return self.labeled.supervised(logits, y, flags)

    def observe(self, nets: Nets, batch: Batch, clock: Clock, feats_l: Tensor | None = None) -> None:
        """Start of a step, before any other place. `feats_l` [Bl,D]: teacher features that the learner has anyway."""
        if self.semantic is not None:
            self.semantic.observe(nets, batch, clock, feats_l)

    @torch.no_grad()
    def pseudo(
        self, p: Tensor, feats_w: Tensor, idx: Tensor, clock: Clock, flags: Flags, temperature: float = 1.0
    ) -> Target:
        """Pseudo-labels from predictions: align -> sharpen -> refine -> blend. To be called once a step.

        Args:
            p: [Bu,C] class distributions of the classifier.
            feats_w: [Bu,D] features that they were made from.
            idx: [Bu] rows of the unlabeled set.
            temperature: the learner's own sharpening; 1 is none.
        """
        if self.align is not None:
            p = self.align.align(p)
        if temperature != 1.0:
            p = sharpen(p, temperature)
        if self.refine is not None:
            p = self.refine.refine(p, idx, clock, flags)
        linear, semantic = labels(p), None
        if self.semantic is not None:
            p, semantic = self.semantic.blend(p, feats_w, flags)
        label, conf = labels(p)
        if self.semantic is not None:
            self.semantic.count(label)
        return Target(p, label, conf, linear, semantic)

    def confident(self, target: Target, threshold: float) -> Tensor:
        """Weights [Bu] of the pseudo-labels in a consistency loss: those of at least `threshold`, unless a slot knows
        better.
        """
        if self.confidence is None:
            return target.conf >= threshold
        return self.confidence.confident(Labels(target.label, target.conf), threshold)

    def aux(
        self, nets: Nets, feats: Feats, batch: Batch, target: Target | None, noise: Noise, clock: Clock, flags: Flags
    ) -> dict[str, Tensor]:
        """Loss terms beside the learner's own, by name."""
        losses = {} if self.semantic is None else self.semantic.losses(feats, flags)

        def blend(p: Tensor, feats_w: Tensor) -> Tensor:
            return p if self.semantic is None else self.semantic.blend(p, feats_w, flags)[0]

        found = [extra.aux(nets, feats, batch, target, noise, clock, flags, blend) for extra in self.extras]
        return joined("loss", [losses, *found])

    def soften(self, temperature: float) -> None:
        """A new phase begins, with this temperature of the class distribution to align to; host side."""
        assert self.align is not None, "nothing is aligned"
        self.align.soften(temperature)
