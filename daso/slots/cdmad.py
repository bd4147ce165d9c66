"""CDMAD (Lee & Kim, CVPR 2024): what a network says of an image without a pattern is its bias, and is taken off.

Shape legend: Bu unlabeled batch, C classes, c channels, R pixels per side.
"""

import math
from collections.abc import Mapping

import torch
from torch import Tensor

from daso.nn.net import Net
from daso.schema import Blank, BlankBn, CdmadDebias
from daso.slots.base import Adjust, Observe, PostHoc
from daso.slots.losses import wide
from daso.slots.priors import correlation
from daso.types import Batch, Clock, Facts, Nets

SETTLED = 20  # nats


class Cdmad(Observe, Adjust, PostHoc):
    """g*(x) = g(x) - g(I) with a blank image I, for pseudo-labels and at test time.

    For pseudo-labels g(I) is the trained network's, measured at the start of every step; at test time it is the
    evaluated network's, by its running statistics: two different functions, as in the published code (CD2).

    Args:
        counts: [C] int64 labeled images per class; the bias is compared with them, for the log alone.
        image: [c] the colour of I, in the network's input space.
        resolution: R.
        first: the step of a phase from which pseudo-labels are corrected.
        config: how I is normalised, and whether predictions are corrected.
    """

    bias: Tensor
    used: Tensor
    image: Tensor
    counts: Tensor
    flipped: Tensor

    def __init__(self, counts: Tensor, image: Tensor, resolution: int, first: int, config: CdmadDebias) -> None:
        super().__init__()
        self.first, self.config = first, config
        self.register_buffer("counts", counts.to(torch.int64, copy=True), persistent=False)
        self.register_buffer("flipped", torch.zeros(()), persistent=False)  # share of labels that the bias changes
        self.register_buffer("bias", torch.zeros(len(counts)))  # g(I) of the last step
        self.register_buffer("used", torch.zeros(len(counts)))  # what is taken off in this step: g(I), or nothing yet
        pixels = image.view(1, -1, 1, 1).repeat(1, 1, resolution, resolution)
        self.register_buffer("image", pixels, persistent=False)

    @classmethod
    def of(cls, config: CdmadDebias, facts: Facts) -> "Cdmad":
        """For the images of the run."""
        colours = {Blank.ones: torch.ones(facts.channels), Blank.zeros: torch.zeros(facts.channels)}
        image = colours.get(config.blank, torch.tensor(facts.white))
        first = math.ceil(round(config.start * facts.phase_steps, 6))
        return cls(facts.counts, image, facts.resolution, first, config)

    def relabel(self, counts: Tensor) -> None:
        """Forget the bias of a network that is gone."""
        self.counts.copy_(counts)
        self.bias.zero_()
        self.used.zero_()

    @torch.no_grad()
    def observe(self, nets: Nets, batch: Batch, clock: Clock, feats_l: Tensor | None) -> None:
        """Measure the bias of the trained network, before the step's own images."""
        net, config = nets.student, self.config
        if config.blank_bn is BlankBn.running:
            features = net.encode(self.image, running_stats=True)
        elif config.blank_moves_stats:
            features = net.encode(self.image)
        else:
            features = net.encode_aside(self.image)
        self.bias.copy_(net.classify(features)[0])
        self.used.copy_(torch.where(clock.step >= self.first, self.bias, 0))

    def adjust(self, z: Tensor, feats: Tensor, nets: Nets) -> Tensor:
        """Logits [Bu,C] less the bias, from the first step that is told so on."""
        adjusted = z - self.used.to(z.dtype)
        self.flipped.copy_((adjusted.argmax(1) != z.argmax(1)).to(self.flipped.dtype).mean())
        return adjusted

    def posthoc(self, net: Net, head: str) -> Tensor:
        """[C] what `head` of `net` says of the blank image, by the running statistics."""
        bias = wide(net.classify(net.encode(self.image, running_stats=True), head)[0])
        return bias if self.config.at_test else torch.zeros_like(bias)

    def metrics(self) -> dict[str, Tensor]:
        """Of the last step: `bias` [C], of mean 0; `bias/spread`, its largest less its smallest, in nats;
        `bias/labeled`, its correlation with the log prior of the labeled images; `bias/flipped`, the share of
        pseudo-labels that it changes.
        """
        prior = self.counts.to(self.bias.dtype).log()
        return {
            "bias": self.bias - self.bias.mean(),
            "bias/spread": self.bias.max() - self.bias.min(),
            "bias/labeled": correlation(self.bias, prior),
            "bias/flipped": self.flipped.clone(),
        }

    def alarms(self, measured: Mapping[str, float]) -> list[str]:
        """A bias that is too large to be one."""
        if measured["bias/spread"] <= SETTLED:
            return []
        return [f"CDMAD's bias spreads over more than {SETTLED} nats (train/bias/spread): statistics have not settled."]
