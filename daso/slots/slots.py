"""The facade that learners talk to: the order of a step's places is written here and nowhere else."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from daso.nn.part import Part, Together, joined
from daso.slots.base import (
    Adjust,
    Align,
    Auxiliary,
    Balance,
    Census,
    Confidence,
    Interlude,
    LabeledLoss,
    Observe,
    Offset,
    PostHoc,
    Reading,
    Refine,
    Scale,
    Semantic,
    Source,
    Survey,
)
from daso.slots.losses import cross_entropy, labels, sharpen, wide
from daso.types import Batch, Chosen, Clock, Feats, Flags, Guess, Nets, Noise, Target

PLACES = (
    *(LabeledLoss, Observe, Source, Adjust, Offset, Align, Refine, Semantic),  # in a step
    *(Confidence, Balance, Scale, Auxiliary),
    *(Census, PostHoc, Reading, Survey, Interlude),  # beside it, and between steps
)
SINGLE: dict[str, type[Any]] = {  # attribute -> the place that one part at most fills; the order of registration
    "labeled": LabeledLoss,
    "source": Source,
    "adjustment": Adjust,
    "offset": Offset,
    "align": Align,
    "refine": Refine,
    "semantic": Semantic,
    "confidence": Confidence,
    "balance": Balance,
    "scale": Scale,
    "correction": PostHoc,
    "reading": Reading,
    "interlude": Interlude,
}


class Slots(Together, nn.Module):
    """The filled places of one run. A place that no part fills is None and without effect.

    Args:
        parts: what fills them; a part goes wherever it has the interface. None is no part.
    """

    labeled: LabeledLoss
    source: Source | None
    adjustment: Adjust | None
    offset: Offset | None
    align: Align | None
    refine: Refine | None
    semantic: Semantic | None
    confidence: Confidence | None
    balance: Balance | None
    scale: Scale | None
    correction: PostHoc | None
    reading: Reading | None
    interlude: Interlude | None
    auxiliaries: Sequence[Auxiliary]
    surveyors: Sequence[Survey]
    extras: nn.ModuleList

    def __init__(self, *parts: Part | None) -> None:
        super().__init__()
        self.parts = [part for part in parts if part is not None]
        assert all(isinstance(part, PLACES) for part in self.parts), "every slot fills a place"
        for name, place in SINGLE.items():
            self._fill(name, place)
        assert self.labeled is not None, "a run has a labeled loss"
        self.auxiliaries = tuple(part for part in self.parts if isinstance(part, Auxiliary))
        self.surveyors = tuple(part for part in self.parts if isinstance(part, Survey))
        placed = {id(part) for part in self.children()}
        self.extras = nn.ModuleList(part for part in self.parts if id(part) not in placed)

    def _fill(self, name: str, place: type[Any]) -> None:
        """Take the part of a place; one that fills several is registered with the first, so that it is saved once."""
        part = self._filling(place)
        if part is not None and any(part is other for other in self.children()):
            self.__dict__[name] = part
        else:
            setattr(self, name, part)

    def _filling(self, place: type[Any]) -> Any:
        found = [part for part in self.parts if isinstance(part, place)]
        assert len(found) < 2, f"{' and '.join(type(part).__name__ for part in found)} fill the same place"
        return found[0] if found else None

    @property
    def reads_features(self) -> bool:
        """Whether any slot looks at the encoder's features of unlabeled images."""
        return self.semantic is not None or len(self.auxiliaries) > 0

    @property
    def wants_labeled_features(self) -> bool:
        """Whether `observe` can use labeled features of a teacher pass, by batch statistics, that the learner makes."""
        return self.semantic is not None and self.semantic.wants_labeled_features

    def supervised(self, logits: Tensor, y: Tensor, flags: Flags) -> Tensor:
        """The 0-d labeled loss of `logits` [Bl,C] against `y` [Bl]."""
        for part in self.parts:
            if isinstance(part, Census):
                part.note_labeled(logits)
        offset = None if self.offset is None else self.offset.offset_labeled()
        share = None if self.balance is None else self.balance.balance_labeled()
        z = _moved(logits, offset)
        weight = None if share is None else share.to(wide(z).dtype)[y]
        loss = self.labeled.supervised(z, y, flags, weight)
        return loss if self.scale is None else self.scale.scales()[0] * loss

    def weighed(self, q: Tensor, labeled: bool = False) -> Tensor:
        """Distributions `q` [B,C] that a loss is trained towards, times the weights of their classes."""
        if self.balance is None:
            return q
        share = self.balance.balance_labeled() if labeled else self.balance.balance()
        return q if share is None else q * share.to(q.dtype)

    def observe(self, nets: Nets, batch: Batch, clock: Clock, feats_l: Tensor | None = None) -> None:
        """Start of a step, before any other place. `feats_l` [Bl,D]: teacher features that the learner has anyway."""
        for part in self.parts:
            if isinstance(part, Observe):
                part.observe(nets, batch, clock, feats_l)

    @torch.no_grad()
    def guess(self, z: Tensor, feats: Tensor, nets: Nets, x: Tensor | None = None, flags: Flags = ()) -> Guess:
        """What a network takes unlabeled images for: source -> adjust -> softmax, in at least float32.

        Args:
            z: [Bu,C] logits of the classifier.
            feats: [Bu,D] features that they were made from.
            nets: the networks.
            x: [Bu,c,H,W] the images, from learners that let another network guess.
            flags: of the step.
        """
        z = wide(z)
        found = None if self.source is None or x is None else self.source.source(nets, x, flags)
        given = z if found is None else wide(found)
        adjusted = given if self.adjustment is None else self.adjustment.adjust(given, feats, nets)
        return Guess(adjusted.softmax(1), adjusted, z)

    @torch.no_grad()
    def pseudo(
        self, guess: Guess, feats_w: Tensor, idx: Tensor, clock: Clock, flags: Flags, temperature: float = 1.0
    ) -> Target:
        """Pseudo-labels from guesses: align -> sharpen -> refine -> blend. To be called once a step, or, where
        no filling has a state, once a classifier.

        Args:
            guess: of [Bu] images, as `guess` gives it, or a mean of several.
            feats_w: [Bu,D] features that it was made from.
            idx: [Bu] rows of the unlabeled set.
            temperature: the learner's own sharpening; 1 is none.
        """
        p = guess.p
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
        target = Target(p, label, conf, linear, semantic, guess.logits, guess.plain, {}, {})
        for part in self.parts:
            if isinstance(part, Census):
                part.note(target, idx)
        return target

    def consistency(
        self,
        z: Tensor,
        target: Target,
        chosen: Chosen,
        soft: bool = False,
        floor: float = 0.0,
    ) -> dict[str, Tensor]:
        """The loss `cons` of the views that pseudo-labels train, and what a slot adds: offset -> balance.

        Args:
            z: [V*Bu,C] logits of V views, one after the other.
            target: pseudo-labels of the [Bu] images.
            chosen: those that count, as `chosen` gives them.
            soft: train towards the distributions, not the labels.
            floor: as in `cross_entropy`.
        """
        views = len(z) // len(chosen.label)
        weight = chosen.weight
        q = self.weighed(target.p) if soft else chosen.label
        share = None if soft or self.balance is None else self.balance.balance()
        if share is not None:
            weight = weight * share.to(target.p.dtype)[q]
        offset = None if self.offset is None else self.offset.offset_strong()
        cons = cross_entropy(_moved(z, offset), _repeated(q, views), _repeated(weight, views), floor)
        cons = cons if self.scale is None else self.scale.scales()[1] * cons
        more = {} if self.confidence is None else self.confidence.consistency_losses(z, chosen.weight)
        return joined("loss", ({"cons": cons}, more))

    @torch.no_grad()
    def chosen(self, target: Target, idx: Tensor, threshold: float, clock: Clock) -> Chosen:
        """The pseudo-labels that count: those of at least `threshold`, unless a slot knows better. Once a step."""
        if self.confidence is None:
            chosen = Chosen(target.label, target.conf >= threshold)
        else:
            chosen = self.confidence.confident(target, idx, threshold, clock)
        for part in self.parts:
            if isinstance(part, Census):
                part.note_chosen(target, chosen)
        return chosen

    def aux(
        self, nets: Nets, feats: Feats, batch: Batch, target: Target | None, noise: Noise, clock: Clock, flags: Flags
    ) -> dict[str, Tensor]:
        """Loss terms beside the learner's own, by name."""
        losses = {} if self.semantic is None else self.semantic.losses(feats, flags)

        def blend(p: Tensor, feats_w: Tensor) -> Tensor:
            return p if self.semantic is None else self.semantic.blend(p, feats_w, flags)[0]

        found = [extra.aux(nets, feats, batch, target, noise, clock, flags, blend) for extra in self.auxiliaries]
        return joined("loss", [losses, *found])

    def soften(self, temperature: float) -> None:
        """A new phase begins, with this temperature of the class distribution to align to; host side."""
        assert self.align is not None, "nothing is aligned"
        self.align.soften(temperature)


def _moved(logits: Tensor, offset: Tensor | None) -> Tensor:
    return logits if offset is None else wide(logits) + offset.detach()


def _repeated(rows: Tensor, times: int) -> Tensor:
    return rows if times == 1 else rows.repeat(times, *[1] * (rows.ndim - 1))
