"""What travels through one training step.

Shape legend: Bl / Bu labeled / unlabeled batch, V unlabeled views, C classes, D features, H W image.
"""

from collections.abc import Callable
from enum import Enum
from typing import TYPE_CHECKING, NamedTuple

from torch import Generator, Tensor

if TYPE_CHECKING:
    from daso.nn.net import Net

Noise = dict[str, Tensor]
"""Every random number of a step beside the augmentation's, by stream name; drawn outside the step."""

Given = dict[str, Tensor]
"""Everything that one step reads and the next one reads anew: rows, labels, random numbers, clock, learning rate; by
name, of the same shapes in every step of a run.
"""

Draw = Callable[[Generator], Tensor]
"""How one noise stream is drawn: from a CPU generator keyed by (seed, stream, step)."""


class View(Enum):
    """How an image is prepared for the network (behaviour: FixMatch and ReMixMatch pipelines of the paper's code)."""

    IDENTITY = "identity"  # [resize] -> normalise; also the evaluation view
    WEAK = "weak"  # flip -> crop -> [resize] -> normalise
    STRONG = "strong"  # flip -> crop -> RandAugment, cutout -> [resize] -> normalise
    STRONG_LAST = "strong_last"  # flip -> crop -> [resize] -> RandAugment, cutout -> normalise


class Batch(NamedTuple):
    """What a learner may see of the data. It holds no unlabeled ground truth, so none can leak."""

    x: Tensor  # [Bl,c,H,W] float: the labeled images, weak view
    y: Tensor  # [Bl] int64
    u: tuple[Tensor, ...]  # V x [Bu,c,H,W] float, in the order of the learner's `views`
    idx: Tensor  # [Bu] int64: row in the unlabeled set


class Labels(NamedTuple):
    """One kind of pseudo-label, for the diagnostics."""

    label: Tensor  # [Bu] int64
    conf: Tensor  # [Bu]


class Target(NamedTuple):
    """A pseudo-label: what the learner's consistency loss is trained towards. Carries no gradient."""

    p: Tensor  # [Bu,C] distribution after align, sharpen, refine, blend
    label: Tensor  # [Bu] int64 = argmax p
    conf: Tensor  # [Bu] = max p
    linear: Labels  # the classifier's own, before the blend
    semantic: Labels | None = None  # the prototypes', None where there are none (yet)


class Outcome(NamedTuple):
    """What one learner step gives back."""

    losses: dict[str, Tensor]  # 0-d each; the step minimises their plain sum
    logits_l: Tensor  # [Bl,C]: for the training accuracy
    target: Target | None  # None: the learner makes no pseudo-labels


class Feats(NamedTuple):
    """Encoder features of one step, per view."""

    l: Tensor | None  # noqa: E741  [Bl,D], None if the learner sees labeled images mixed with others only
    w: Tensor  # [Bu,D]: the view that pseudo-labels are made from
    s: Tensor | None  # [Bu,D]: the strong view, None if the learner has none


class Nets(NamedTuple):
    """The trained network and its exponential moving average, which is always present."""

    student: "Net"
    teacher: "Net"


class Clock(NamedTuple):
    """Where the step stands, as device scalars, so that a compiled step does not depend on Python numbers."""

    step: Tensor  # [] int64: 0-based index of the current step (restarts with each CReST generation)
    progress: Tensor  # [] float64: step / steps of the schedule


class Flags(NamedTuple):
    """Python bools that select a traced graph; each is a fact about the step number alone."""

    semantic: bool = False  # past DASO's warm-up: semantic labels, blend and alignment loss are on
    deferred: bool = False  # past the deferral: the labeled loss weighs its classes
    solve: bool = False  # pseudo-labels of the whole unlabeled set are refined in this step


class Sizes(NamedTuple):
    """Batch sizes, for drawing noise."""

    labeled: int  # Bl
    unlabeled: int  # Bu
