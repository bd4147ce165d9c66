"""Mean Teacher (Tarvainen & Valpola, NeurIPS 2017): the student's predictions follow those of its moving average."""

import torch

from daso.learners.base import Learner
from daso.learners.ramp import ramped
from daso.nn.part import joined
from daso.schema import MeanTeacherAlgorithm
from daso.slots.losses import squared_error, wide
from daso.slots.slots import Slots
from daso.types import Batch, Clock, Facts, Feats, Flags, Nets, Noise, Outcome, View


class MeanTeacher(Learner):
    """Section 2 of the paper: two weak views, one for each network; all images count, confident or not.

    Args:
        config: weight and ramp-up.
    """

    views = (View.WEAK, View.WEAK)  # the student's, the teacher's

    def __init__(self, config: MeanTeacherAlgorithm) -> None:
        super().__init__()
        self.config = config

    @classmethod
    def of(cls, config: MeanTeacherAlgorithm, facts: Facts) -> "MeanTeacher":
        """With the knobs alone."""
        return cls(config)

    def forward(self, nets: Nets, batch: Batch, slots: Slots, noise: Noise, clock: Clock, flags: Flags) -> Outcome:
        """Losses `cls` and `cons`, and the slots'.

        The teacher is in training mode. Where a slot learns from its features of labeled images, it makes them in the
        same pass, and the batch statistics are those of both.
        """
        student, views, sizes = nets.student, batch.u, [len(batch.x), len(batch.u[0])]
        with torch.no_grad():
            if slots.wants_labeled_features:
                feats_l, feats_t = torch.split(nets.teacher.encode(torch.cat([batch.x, views[1]])), sizes)
            else:
                feats_l, feats_t = None, nets.teacher.encode(views[1])
            z_t = nets.teacher.classify(feats_t)
        slots.observe(nets, batch, clock, feats_l)
        f = student.encode(torch.cat([batch.x, views[0]]))
        z_l, z_u = torch.split(student.classify(f), sizes)
        target = slots.pseudo(slots.guess(z_t, feats_t, nets), feats_t, batch.idx, clock, flags)
        cons = squared_error(wide(z_u).softmax(1), target.p)
        losses = {
            "cls": slots.supervised(z_l, batch.y, flags),
            "cons": ramped(self.config.cons_weight * cons, clock, self.config),
        }
        feats = Feats(f[: sizes[0]], feats_t)
        losses = joined("loss", (losses, slots.aux(nets, feats, batch, target, noise, clock, flags)))
        return Outcome(losses, z_l.detach(), target)
