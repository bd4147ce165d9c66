"""CoSSL (Fan et al., CVPR 2022): a balanced classifier on the average network's features labels for the encoder.

Shape legend: Bl / Bu labeled / unlabeled batch, C classes, D features.
"""

from collections.abc import Iterator, Mapping

import torch
from torch import Tensor

from daso.schema import CosslDebias
from daso.slots.base import Auxiliary, Blend, Interlude, Reading, Source
from daso.slots.linear import LinearHead, xavier
from daso.slots.losses import wide
from daso.slots.tails import levelled_over
from daso.types import Batch, Clock, Draw, Facts, Feats, Flags, Nets, Noise, Scene, Sizes, Target, View, Wanted

FLAG = "cossl"
PIECE = 10  # steps of the warm-up between which a run may stop


class Cossl(Source, Interlude, Reading, Auxiliary):
    """From a step on there is a linear head outside the networks. It is warmed up on features of the average network,
    as many of each class; then it makes the pseudo-labels, learns from a balanced batch in every step, and its average
    answers. No gradient of it reaches the encoder.

    Args:
        counts: [C] int64 labeled images per class, none zero.
        features: D.
        batch: Bl.
        first: the step of a phase from which there is a head.
        steps: of its warm-up.
        config: the head's optimizer, and how features are mixed.
    """

    answers = "tfe"
    switches = (FLAG,)
    wants: Mapping[str, Wanted] = {
        "balanced": Wanted(True, View.STRONG, FLAG),
        "mates": Wanted(False, View.STRONG, FLAG),
    }
    missing: Tensor
    warmed: Tensor
    ready: Tensor
    mixed: Tensor
    agreed: Tensor

    def __init__(self, counts: Tensor, features: int, batch: int, first: int, steps: int, config: CosslDebias) -> None:
        super().__init__()
        self.first, self.steps, self.batch, self.config = first, steps, batch, config
        self.head = LinearHead(features, len(counts), config.lr, config.weight_decay, config.ema_decay)
        self.register_buffer("missing", torch.zeros(len(counts), dtype=torch.float64))  # [C], by which images are mixed
        self.register_buffer("warmed", torch.zeros((), dtype=torch.int64))  # steps of the warm-up so far
        self.register_buffer("ready", torch.zeros((), dtype=torch.bool))  # whether it is over
        for name in ("mixed", "agreed"):  # shares of the last step, to be looked at
            self.register_buffer(name, torch.zeros((), dtype=torch.float64), persistent=False)
        self.relabel(counts)

    @classmethod
    def of(cls, config: CosslDebias, facts: Facts) -> "Cossl":
        """For the images of the run."""
        first, steps = (round(share * facts.phase_steps) for share in (config.start, config.warm))
        return cls(facts.counts, facts.features, facts.sizes.labeled, first, max(steps, 1), config)

    @torch.no_grad()
    def relabel(self, counts: Tensor) -> None:
        """Start afresh, without a head."""
        self.missing.copy_(1 - counts.to(self.missing.dtype) / counts.max())
        self.head.start(torch.zeros_like(self.head.weight), torch.zeros_like(self.head.bias))
        self.warmed.zero_()
        self.ready.fill_(False)
        self.done = False  # whether the warm-up is known to be over, without asking the device

    def flags(self, step: int) -> Flags:
        """`cossl` in steps with a head."""
        return (FLAG,) if step >= self.first else ()

    def draws(self, sizes: Sizes) -> dict[str, Draw]:
        """`cossl/coin` and `cossl/share` [Bl], uniform on [0,1): whether an image is mixed, and how much."""
        names = ("cossl/coin", "cossl/share")
        return dict.fromkeys(names, lambda generator: torch.rand(sizes.labeled, generator=generator))

    @torch.no_grad()
    def prepare(self, step: int, scene: Scene) -> Iterator[None]:
        """The warm-up, before the first step with a head; features are made anew where it goes on."""
        if step < self.first or self.done:
            return
        begun = int(self.warmed)  # read from the device once
        if begun < self.steps:
            f, y = yield from levelled_over(scene, len(self.missing), self.config.alpha, FLAG)
            if not begun:
                weight = xavier(self.head.weight.shape, scene.generator("init/cossl", 0))
                self.head.start(weight, torch.zeros_like(self.head.bias))
            rows = scene.shuffled("cossl", len(y))
            for k in range(begun, self.steps):
                chosen = rows(k, self.batch).to(y.device)
                self.head.learn(f[chosen], y[chosen])
                self.warmed.fill_(k + 1)
                if (k + 1) % PIECE == 0 and k + 1 < self.steps:
                    yield
            self.head.forget()
            self.ready.fill_(True)
        self.done = True

    @torch.no_grad()
    def source(self, nets: Nets, x: Tensor, flags: Flags) -> Tensor | None:
        """The head's logits [Bu,C], as it is before the step."""
        if FLAG not in flags:
            return None
        logits: Tensor = self.head(nets.teacher.encode(x, running_stats=True))
        return logits

    @torch.no_grad()
    def aux(
        self,
        nets: Nets,
        feats: Feats,
        batch: Batch,
        target: Target | None,
        noise: Noise,
        clock: Clock,
        flags: Flags,
        blend: Blend,
    ) -> dict[str, Tensor]:
        """`tfe`, the head's, without gradient; it learns by itself."""
        if FLAG not in flags:
            return {}
        assert batch.aside is not None
        assert target is not None
        assert target.plain is not None
        (x, y), mates = batch.aside["balanced"], batch.aside["mates"].x
        assert y is not None
        own, mate = wide(nets.teacher.encode(torch.cat([x, mates]), running_stats=True)).chunk(2)
        chosen = noise["cossl/coin"] < self.missing[y]
        share = self.config.least + (1 - self.config.least) * noise["cossl/share"].to(own.dtype)[:, None]
        f = torch.where(chosen[:, None], share * own + (1 - share) * mate, own)
        self.mixed.copy_(chosen.to(self.mixed.dtype).mean())
        self.agreed.copy_((target.plain.argmax(1) == target.linear.label).to(self.agreed.dtype).mean())
        return {"tfe": self.head.learn(f, y)}

    def read(self, features: Tensor, own: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """`tfe`: the head's average; the network's classifier until there is one."""
        return {"tfe": torch.where(self.ready, self.head(features, average=True).to(own["cls"].dtype), own["cls"])}

    def metrics(self) -> dict[str, Tensor]:
        """Of the last step: `tfe/mixed`, the share of mixed features; `tfe/agreement` of head and classifier."""
        return {"tfe/mixed": self.mixed.clone(), "tfe/agreement": self.agreed.clone()}
