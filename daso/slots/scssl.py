"""SC-SSL (Tian, Wei & Zhang, AAAI 2026): two further classifiers whose thresholds are by class.

Shape legend: N unlabeled set, Bl / Bu labeled / unlabeled batch, K classifiers (`out`, `exp`), C classes.
"""

from collections.abc import Mapping

import torch
from torch import Tensor

from daso.nn.net import Net
from daso.schema import Assumed, ScSslDebias
from daso.slots.anchors import AnchoredThresholds
from daso.slots.base import Auxiliary, Blend, Observe, PostHoc, Survey
from daso.slots.losses import cross_entropy, labels, wide
from daso.slots.priors import correlation
from daso.types import Batch, Clock, Facts, Feats, Flags, Head, Nets, Noise, Target


class ScSsl(Observe, Auxiliary, PostHoc, Survey):
    """FixMatch (Eq. 7) for `out`, which answers without its bias, and for `exp`, whose stronger logit adjustment makes
    its guesses lean to rare classes. Each learns from its own guesses.

    How low the thresholds of rare classes begin depends on what `out` takes the unlabeled images for; they fall with
    each step in which its bias is large.

    Args:
        counts: [C] int64 labeled images per class, none zero; `relabel` replaces them.
        threshold: of confidence, where nothing lowers it.
        first: finished steps of a phase after which the unlabeled images are looked at; 0: never.
        config: strengths, weights, anchor, and how thresholds fall.
    """

    bias: Tensor  # [3,C] of cls, out, exp, when the last step began
    passed: Tensor  # [K,2] shares of the last step's images that train, by frequent and rare classes

    def __init__(self, counts: Tensor, threshold: float, first: int, config: ScSslDebias) -> None:
        super().__init__()
        self.config, self.first = config, first
        self.own = ("out", "exp")[: (config.weight > 0) + (config.weight * config.weight_expansive > 0)]
        self.answers = "out" if self.own else "cls"
        self.heads = {head: Head() for head in self.own or ("cls",)}
        self.thresholds = AnchoredThresholds(counts, threshold, config.gamma)
        self.register_buffer("bias", torch.zeros(3, len(counts)), persistent=False)
        self.register_buffer("passed", torch.zeros(2, 2), persistent=False)  # for the log
        self.relabel(counts)

    @classmethod
    def of(cls, config: ScSslDebias, facts: Facts) -> "ScSsl":
        """For the labeled images of the run and its learner's threshold."""
        first = max(1, round(config.start * facts.phase_steps)) if config.start < 1 else 0
        return cls(facts.counts, facts.threshold, first, config)

    def relabel(self, counts: Tensor) -> None:
        """Start afresh with the new labeled set: the learner's threshold for all, unless the anchor is given."""
        self.thresholds.restart(counts)
        if self.config.assumed is not Assumed.estimate:
            number = list(Assumed).index(self.config.assumed) - 1
            self.thresholds.begin(torch.full_like(self.thresholds.anchor, number))

    def log_prior(self) -> Tensor:
        """[C] of the labeled images."""
        counts = self.thresholds.counts.to(self.bias.dtype)
        return (counts / counts.sum()).log()

    def due(self, step: int) -> bool:
        """Once a phase, if at all."""
        return len(self.own) > 0 and self.config.assumed is Assumed.estimate and step == self.first

    @torch.no_grad()
    def survey(self, logits: Tensor) -> None:
        """Thresholds begin by the predictions, corrected as at test time."""
        self.thresholds.look(torch.bincount(logits.argmax(1), minlength=logits.shape[1]))

    @torch.no_grad()
    def observe(self, nets: Nets, batch: Batch, clock: Clock, feats_l: Tensor | None) -> None:
        """Thresholds of rare classes fall where `out` has a large bias."""
        for at, head in enumerate(("cls", *self.own) if self.own else ()):
            self.bias[at].copy_(nets.student.bias(head))
        self.thresholds.fall(self.bias[1] > self.config.bias_above, self.config.rate, self.config.floor)

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
        """`out_cls` and `out_cons`, `exp_cls` and `exp_cons`."""
        assert feats.l is not None
        assert target is not None
        assert target.aside is not None
        net, losses, config, views = nets.student, {}, self.config, len(feats.s)
        weights, taus = (1.0, config.weight_expansive), (config.tau, config.tau_expansive)
        for head, threshold, passed, weight, tau in zip(self.own, self.thresholds.values, self.passed, weights, taus):
            z_l, z_s = (wide(net.classify(f, head)) for f in (feats.l, torch.cat(feats.s)))
            with torch.no_grad():
                own = target.aside[head] = labels(wide(net.classify(feats.w, head)).softmax(1))
                kept = own.conf >= threshold.to(own.conf.dtype)[own.label]
                rare = self.thresholds.rare()[own.label]
                passed.copy_(torch.stack([kept & ~rare, kept & rare]).to(passed.dtype).mean(1))
            cls = cross_entropy(z_l + tau * self.log_prior().to(z_l.dtype), batch.y)
            cons = cross_entropy(z_s, own.label.repeat(views), kept.repeat(views))
            losses[f"{head}_cls"] = config.weight * weight * cls
            losses[f"{head}_cons"] = config.weight * weight * config.weight_cons * cons
        return losses

    def posthoc(self, net: Net, head: str) -> Tensor:
        """[C] the bias of `head`, which thus answers by its weights alone."""
        bias = wide(net.bias(head))
        return bias if self.own else torch.zeros_like(bias)

    def metrics(self) -> dict[str, Tensor]:
        """Thresholds, and shares of the last step's images that train; the biases, and the correlation of each with the
        log prior; what the thresholds know of the unlabeled images.
        """
        out = self.thresholds.metrics() if self.own else {}
        for head, threshold, passed in zip(self.own, self.thresholds.values, self.passed):
            for name, share in zip(("", "/frequent", "/rare"), (passed.sum(), *passed)):
                out[f"pl/utilisation/{head}{name}"] = share.clone()
            out[f"pl/threshold/{head}"] = threshold.clone()
            out[f"pl/threshold/{head}/at_floor"] = (threshold <= self.config.floor).sum()
        for head, bias in zip(("cls", *self.own) if self.own else (), self.bias):
            like = correlation(bias, self.log_prior())
            out |= {f"bias/{head}": bias.clone(), f"bias/{head}/labeled": like}
        return out

    def alarms(self, measured: Mapping[str, float]) -> list[str]:
        """Thresholds that have fallen as far as they may (SC2)."""
        rare = len(self.bias[0]) - len(self.bias[0]) // 2
        if any(measured[f"pl/threshold/{head}/at_floor"] < rare for head in self.own) or not self.own:
            return []
        return [f"SC-SSL's thresholds of all rare classes have fallen to debias.floor={self.config.floor:g}."]
