"""ReMixMatch (Berthelot et al., ICLR 2020): MixMatch anchored to a weak view, plus pre-mixup and rotation losses."""

from collections.abc import Mapping

import torch
from torch import Generator, Tensor

from daso.learners.base import Learner
from daso.learners.mixing import mix, mixing_draws, predict_interleaved
from daso.learners.ramp import ramped
from daso.nn.part import joined
from daso.schema import LabeledViews, ReMixMatchAlgorithm
from daso.slots.losses import cross_entropy, one_hot
from daso.slots.slots import Slots
from daso.types import Batch, Clock, Draw, Facts, Feats, Flags, Head, Nets, Noise, Outcome, Sizes, View

ROTATIONS = 4  # 0, 90, 180, 270 degrees


class ReMixMatch(Learner):
    """Algorithm 1 of the paper with K = 2 strong views; distribution alignment is the slots'.

    Args:
        config: sharpening temperature, MixUp's alpha, weights and ramp-up.
    """

    views = (View.WEAK, View.STRONG_LAST, View.STRONG_LAST)
    heads: Mapping[str, Head] = {"cls": Head(), "rot": Head(ROTATIONS)}
    train_accuracy = "top1_mixed"

    def __init__(self, config: ReMixMatchAlgorithm) -> None:
        super().__init__()
        self.config = config
        if config.labeled_views is LabeledViews.weak_strong:
            self.labeled_views = (View.WEAK, View.STRONG_LAST)

    @classmethod
    def of(cls, config: ReMixMatchAlgorithm, facts: Facts) -> "ReMixMatch":
        """With the knobs alone."""
        return cls(config)

    def draws(self, sizes: Sizes) -> dict[str, Draw]:
        """`lam` and `perm` of MixUp; `rot` [Bu]: quarter turns."""

        def rot(generator: Generator) -> Tensor:
            return torch.randint(ROTATIONS, (sizes.unlabeled,), generator=generator)

        return mixing_draws(sizes.labeled + len(self.views) * sizes.unlabeled, self.config.alpha) | {"rot": rot}

    def forward(self, nets: Nets, batch: Batch, slots: Slots, noise: Noise, clock: Clock, flags: Flags) -> Outcome:
        """Losses `cls`, `cons`, `kl` (before MixUp) and `rot`, and the slots'.

        The guess takes a pass of its own, without gradient. Where a slot reads features, weak and first strong view
        share a pass with gradient instead, which then serves `kl` as well. Where the labeled images have a strong view,
        it is that one which is mixed, and the weak one adds a loss of its own to `cls`.
        """
        net, config, size, (weak, strong, _) = nets.student, self.config, len(batch.x), batch.u
        slots.observe(nets, batch, clock)
        f_s: Tensor | None = None
        if slots.reads_features:
            f_w, f_s = net.encode(torch.cat([weak, strong])).chunk(2)
        else:
            with torch.no_grad():
                f_w = net.encode(weak)
        with torch.no_grad():
            z_w = net.classify(f_w)
        target = slots.pseudo(slots.guess(z_w, f_w, nets), f_w, batch.idx, clock, flags, config.temperature)
        y, mixed = one_hot(batch.y, target.p), batch.extra or (batch.x,)
        q = mix(torch.cat([y, *[target.p] * len(batch.u)]), noise)
        z = predict_interleaved(net, mix(torch.cat([*mixed, *batch.u]), noise), size)
        f_s = net.encode(strong) if f_s is None else f_s
        cons = cross_entropy(z[size:], slots.weighed(q[size:]), floor=config.floor)
        kl = cross_entropy(net.classify(f_s), target.p)
        rot = cross_entropy(net.predict(rotate(strong, noise["rot"]), "rot"), noise["rot"])
        cls = cross_entropy(z[:size], slots.weighed(q[:size], labeled=True), floor=config.floor)
        if batch.extra:
            plain = slots.weighed(y, labeled=True)
            cls = cls + cross_entropy(net.predict(batch.x), plain, floor=config.floor)
        losses = {
            "cls": cls,
            "cons": ramped(config.cons_weight * cons, clock, config),
            "kl": ramped(config.kl_weight * kl, clock, config),
            "rot": config.rot_weight * rot,
        }
        losses = joined("loss", (losses, slots.aux(nets, Feats(None, f_w, (f_s,)), batch, target, noise, clock, flags)))
        return Outcome(losses, z[:size].detach(), target)


def rotate(images: Tensor, turns: Tensor) -> Tensor:
    """Every image of [B,c,H,H] turned counter-clockwise by its number of quarter turns [B] int64."""
    turned = torch.stack([images.rot90(k, (2, 3)) for k in range(ROTATIONS)])
    return turned[turns, torch.arange(len(turns), device=turns.device)]
