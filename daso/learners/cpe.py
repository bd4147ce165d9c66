"""CPE (Ma et al., AAAI 2024): three classifiers, each for another class distribution of the unlabeled images.

Shape legend: Bl / Bu labeled / unlabeled batch, G nested groups of classes, C classes, D features.
"""

from collections.abc import Mapping

import torch
from torch import Tensor

from daso.learners.base import Learner
from daso.nn.net import Net, UniformLinear
from daso.schema import CpeAlgorithm
from daso.slots.losses import cross_entropy, wide
from daso.slots.slots import Slots
from daso.types import Batch, Clock, Facts, Flags, Head, Labels, Nets, Noise, Outcome, View

GROUPS = ("head", "medium", "tail")  # all classes; those from the medium ones on; those of the tail
LEAST = 1e-12  # added to the number of terms that a consistency loss is divided by


class Cpe(Learner):
    """FixMatch for each of three classifiers, which differ in the strength of the logit adjustment of their labeled
    losses, on features that are normalised once for each group of classes.

    Logits are means over the groups. A strong view is trained in every group that its pseudo-label belongs to. The
    second classifier answers.

    Args:
        counts: [C] int64 labeled images per class, none zero; `relabel` replaces them.
        config: threshold, strengths, where the groups begin.
    """

    heads: Mapping[str, Head] = {"cls": Head(), "cpe2": Head(make=UniformLinear), "cpe3": Head(make=UniformLinear)}
    answers = "cpe2"
    norms = len(GROUPS)
    views = (View.WEAK, View.STRONG)
    counts: Tensor
    members: Tensor
    passed: Tensor
    apart: Tensor

    def __init__(self, counts: Tensor, config: CpeAlgorithm) -> None:
        super().__init__()
        self.threshold, self.taus = config.threshold, config.taus
        self.cuts = [0, *(round(share * len(counts)) for share in (config.medium_from, config.tail_from))]
        self.register_buffer("counts", counts.to(torch.int64, copy=True))
        self.register_buffer("members", torch.zeros(len(GROUPS), len(counts), dtype=torch.bool))
        self.register_buffer("passed", torch.zeros(len(self.heads), len(GROUPS)), persistent=False)  # for the log
        self.register_buffer("apart", torch.zeros(len(GROUPS)), persistent=False)
        self.relabel(counts)

    @classmethod
    def of(cls, config: CpeAlgorithm, facts: Facts) -> "Cpe":
        """For the labeled images of the run."""
        return cls(facts.counts, config)

    def relabel(self, counts: Tensor) -> None:
        """Group the classes, and adjust, by the new labeled set."""
        rank = counts.argsort(descending=True, stable=True).argsort()
        self.counts.copy_(counts)
        self.members.copy_(torch.stack([rank >= cut for cut in self.cuts]))

    def forward(self, nets: Nets, batch: Batch, slots: Slots, noise: Noise, clock: Clock, flags: Flags) -> Outcome:
        """Losses `cls` and `cons` of each classifier. All views share one pass and its batch statistics."""
        net, sizes = nets.student, [len(x) for x in (batch.x, *batch.u)]
        slots.observe(nets, batch, clock)
        f = net.encode_apart(torch.cat([batch.x, *batch.u]))
        f_l, f_w, _ = torch.split(f.mean(0), sizes)
        f_s = f[:, -sizes[-1] :]
        prior = self.counts.to(torch.promote_types(f.dtype, torch.float32)) / self.counts.sum()
        losses, found, used, z_l, passed = {}, {}, {}, {}, []
        for head, tau in zip(self.heads, self.taus, strict=True):
            z_l[head] = net.classify(f_l, head)
            target = slots.pseudo(slots.guess(net.classify(f_w, head), f_w, nets), f_w, batch.idx, clock, flags)
            chosen = used[head] = slots.chosen(target, batch.idx, self.threshold, clock)
            weight = self.members[:, chosen.label] * chosen.weight
            prefix = "" if head == "cls" else f"{head}_"
            losses[f"{prefix}cls"] = cross_entropy(wide(z_l[head]) + tau * prior.log(), batch.y)
            losses[f"{prefix}cons"] = by_terms(net.classify(f_s, head), chosen.label, weight)
            found[head] = target
            passed.append((weight > 0).to(self.passed.dtype).mean(1))
        self._note(net, torch.stack(passed))
        target = found.pop(self.answers)._replace(aside={k: Labels(t.label, t.conf) for k, t in found.items()})
        return Outcome(losses, z_l[self.answers].detach(), target, used[self.answers])

    def metrics(self) -> dict[str, Tensor]:
        """Of the last step: `pl/utilisation/<head>`, shares of the images that train it, also by `/medium` and `/tail`;
        `norms/apart/<group>`, how far a normalisation's scales and shifts are from those of the group before it.
        """
        used = {f"{head}/{group}": self.passed[e, g] for e, head in enumerate(self.heads) for g, group in _numbered()}
        out = {f"pl/utilisation/{name.removesuffix('/head')}": share.clone() for name, share in used.items()}
        return out | {f"norms/apart/{group}": self.apart[g].clone() for g, group in _numbered()}

    @torch.no_grad()
    def _note(self, net: Net, passed: Tensor) -> None:
        self.passed.copy_(passed)
        affine = torch.cat(list(net.norms.parameters())).view(len(GROUPS), -1)  # scales, then shifts
        self.apart.copy_((affine - affine.roll(1, 0)).square().mean(1).sqrt())


def _numbered() -> list[tuple[int, str]]:
    return list(enumerate(GROUPS))


def by_terms(z: Tensor, label: Tensor, weight: Tensor) -> Tensor:
    """The mean cross entropy of the terms that count, 0-d; 0 where none does.

    Args:
        z: [G,Bu,C] logits.
        label: [Bu] int64.
        weight: [G,Bu] of each term.
    """
    weight = weight.to(wide(z).dtype)
    mean = cross_entropy(z.flatten(0, 1), label.repeat(len(z)), weight.flatten())
    return mean * (weight.numel() / (weight.sum() + LEAST))
