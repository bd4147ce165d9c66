"""The facade that learners talk to: the order of a step's places is written here and nowhere else."""

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from daso.slots.base import Align, Auxiliary, Confidence, LabeledLoss, Refine, Semantic, Slot
from daso.slots.losses import labels, sharpen
from daso.types import Batch, Clock, Draw, Feats, Flags, Labels, Nets, Noise, Sizes, Target


class Slots(nn.Module):
    """The filled places of one run. An absent slot is None and leaves its place without effect."""

    labeled: LabeledLoss
    align: Align | None
    refine: Refine | None
    semantic: Semantic | None
    confidence: Confidence | None

    def __init__(
        self,
        supervised: LabeledLoss,
        align: Align | None = None,
        refine: Refine | None = None,
        semantic: Semantic | None = None,
        confidence: Confidence | None = None,
        extras: Iterable[Auxiliary] = (),
    ) -> None:
        super().__init__()
        self.labeled = supervised
        self.align = align
        self.refine = refine
        self.semantic = semantic
        self.confidence = confidence
        self.extras = nn.ModuleList(extras)

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
        loss: Tensor = self.labeled(logits, y, flags)
        return loss

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
            p = self.align(p)
        if temperature != 1.0:
            p = sharpen(p, temperature)
        if self.refine is not None:
            p = self.refine(p, idx, clock, flags)
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
        weight: Tensor = self.confidence(Labels(target.label, target.conf), threshold)
        return weight

    def aux(
        self, nets: Nets, feats: Feats, batch: Batch, target: Target | None, noise: Noise, clock: Clock, flags: Flags
    ) -> dict[str, Tensor]:
        """Loss terms beside the learner's own, by name."""
        losses = {} if self.semantic is None else self.semantic.losses(feats, flags)

        def blend(p: Tensor, feats_w: Tensor) -> Tensor:
            return p if self.semantic is None else self.semantic.blend(p, feats_w, flags)[0]

        for extra in self.extras:
            losses.update(extra(nets, feats, batch, target, noise, clock, flags, blend))
        return losses

    def draws(self, sizes: Sizes) -> dict[str, Draw]:
        """The noise streams of all slots."""
        return {name: draw for slot in self._filled() for name, draw in slot.draws(sizes).items()}

    def flags(self, step: int) -> Flags:
        """The traced graph that `step` of the phase needs; host side."""
        return Flags(**{name: value for slot in self._filled() for name, value in slot.flags(step).items()})

    def relabel(self, counts: Tensor) -> None:
        """The labeled set changed to `counts` [C] int64 images per class and a new phase begins; host side."""
        for slot in self._filled():
            slot.relabel(counts)

    def soften(self, temperature: float) -> None:
        """A new phase begins, with this temperature of the class distribution to align to; host side."""
        assert self.align is not None, "nothing is aligned"
        self.align.soften(temperature)

    @property
    def head(self) -> str:
        """The head of the network that answers at test time."""
        heads = [str(extra.head) for extra in self.extras]
        return heads[0] if heads else "cls"

    def _filled(self) -> list[Slot]:
        slots = (self.labeled, self.align, self.refine, self.semantic, self.confidence, *self.extras)
        return [slot for slot in slots if slot is not None]
