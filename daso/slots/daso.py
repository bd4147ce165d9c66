"""DASO (Oh et al., CVPR 2022): a second, similarity-based pseudo-label, trusted where the classifier over-predicts.

Shape legend: Bu unlabeled batch, C classes, D features.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from daso.schema import DIST, DasoConfig, EmaBn
from daso.slots.base import Semantic
from daso.slots.losses import cosine, cross_entropy, labels
from daso.slots.prototypes import Prototypes
from daso.types import Batch, Clock, Facts, Feats, Flags, Labels, Nets


class Daso(Semantic):
    """Prototypes of teacher features (section 3.3), distribution-aware blend (Eq. 2-3) and semantic alignment (Eq. 4).

    Args:
        num_classes: C.
        dim: D, the width of the encoder.
        config: temperatures, weights and periods.
        counts: labeled images per class; needed where the queue is not balanced.
    """

    switches = ("semantic",)
    hist: Tensor
    pending: Tensor

    def __init__(self, num_classes: int, dim: int, config: DasoConfig, counts: Sequence[int] = ()) -> None:
        super().__init__()
        self.t_proto, self.t_dist = config.t_proto, config.t_dist
        self.align_weight = config.align_weight
        self.warmup_steps, self.update_every = config.warmup_steps, config.update_every
        self.share = None if config.blend == DIST else float(config.blend)
        self.ema_encoder = config.ema_encoder
        self.running_stats = config.ema_bn is EmaBn.clean
        self.wants_labeled_features = self.ema_encoder and not self.running_stats
        caps = config.queue_size if config.balanced_queue else shares(counts, num_classes * config.queue_size)
        self.prototypes = Prototypes(num_classes, dim, caps)
        self.register_buffer("hist", torch.zeros(num_classes, dtype=torch.int64))  # pseudo-labels, last full period
        self.register_buffer("pending", torch.zeros(num_classes, dtype=torch.int64))  # those of the running period

    @classmethod
    def of(cls, config: DasoConfig, facts: Facts) -> "Daso":
        """For the encoder and the labeled images of the run."""
        return cls(facts.num_classes, facts.features, config, facts.counts.tolist())

    def flags(self, step: int) -> Flags:
        """`semantic`: the warm-up is over."""
        return self.switches if step >= self.warmup_steps else ()

    def relabel(self, counts: Tensor) -> None:
        """Start afresh: the features were those of a network that is gone."""
        self.prototypes.reset()
        self.hist.zero_()
        self.pending.zero_()

    @torch.no_grad()
    def observe(self, nets: Nets, batch: Batch, clock: Clock, feats_l: Tensor | None) -> None:
        """Take a full period's counts into use, then the labeled images' features into the prototypes."""
        due = (clock.step > 0) & (clock.step % self.update_every == 0)
        self.hist.copy_(torch.where(due, self.pending, self.hist))
        self.pending.masked_fill_(due, 0)
        if feats_l is None:
            encoder = nets.teacher if self.ema_encoder else nets.student
            feats_l = encoder.encode(batch.x, running_stats=self.running_stats)
        self.prototypes.push(feats_l, batch.y)

    def similarity(self, feats: Tensor) -> Tensor:
        """[B,C] logits of the similarity classifier: cos(feats, prototypes) / t_proto (Eq. 2)."""
        return cosine(feats, self.prototypes.means()) / self.t_proto

    def weights(self, dtype: torch.dtype) -> Tensor:
        """[C] share v of the semantic label by linear label: (m_k / max m)^(1/t_dist), or the fixed one (section 3.3).

        Zero for all classes before anything was counted.
        """
        if self.share is not None:
            return torch.full(self.hist.shape, self.share, dtype=dtype, device=self.hist.device)
        return (self.hist.to(dtype) / self.hist.max().clamp(min=1)) ** (1 / self.t_dist)

    @torch.no_grad()
    def blend(self, p: Tensor, feats_w: Tensor, flags: Flags) -> tuple[Tensor, Labels | None]:
        """(1 - v) p + v q, q being the similarity classifier's distribution (Eq. 3), and q's labels; p in warm-up."""
        if "semantic" not in flags:
            return p, None
        q = self.similarity(feats_w).softmax(1)
        v = self.weights(p.dtype)[p.argmax(1), None]
        return (1 - v) * p + v * q, labels(q)

    def count(self, label: Tensor) -> None:
        """Count the final pseudo-labels [Bu], confident or not."""
        self.pending.index_add_(0, label, torch.ones_like(label))

    def losses(self, feats: Feats, flags: Flags) -> dict[str, Tensor]:
        """`align`: the strong views' similarities are trained towards the weak view's, for all images (Eq. 4)."""
        if "semantic" not in flags or self.align_weight == 0:
            return {}
        q = self.similarity(feats.w.detach()).softmax(1).repeat(len(feats.s), 1)
        return {"align": self.align_weight * cross_entropy(self.similarity(torch.cat(feats.s)), q)}


def shares(counts: Sequence[int], places: int) -> list[int]:
    """`places` divided among classes in proportion to their `counts`, rounded, at least one each."""
    return [max(1, round(places * n / sum(counts))) for n in counts]
