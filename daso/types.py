"""What travels through one training step.

Shape legend: Bl / Bu labeled / unlabeled batch, V unlabeled views, C classes, D features, H W image.
"""

from collections.abc import Callable, Iterator, Mapping
from enum import Enum
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Generator, Tensor, nn

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


Flags = tuple[str, ...]
"""Names that select a traced graph, sorted: those of the parts' `switches` that are on. Each is a fact about the number
of the step alone; a step asks `"name" in flags`.
"""


class View(Enum):
    """How an image is prepared for the network (behaviour: FixMatch and ReMixMatch pipelines of the paper's code)."""

    IDENTITY = "identity"  # [resize] -> normalise; also the evaluation view
    WEAK = "weak"  # flip -> crop -> [resize] -> normalise
    STRONG = "strong"  # flip -> crop -> RandAugment, cutout -> [resize] -> normalise
    STRONG_LAST = "strong_last"  # flip -> crop -> [resize] -> RandAugment, cutout -> normalise
    SIM = "sim"  # resized crop -> flip -> colour jitter, gray, blur -> normalise (SimCLR's, Chen et al. 2020)


class Wanted(NamedTuple):
    """A batch of a part's own beside the learner's, of as many images as that has labeled ones."""

    balanced: bool  # labeled images, all classes equally often; else of all images, labeled and unlabeled alike
    view: View
    flag: str  # of the steps that it is made for


class Aside(NamedTuple):
    """Such a batch."""

    x: Tensor  # [Bl,c,H,W] float
    y: Tensor | None  # [Bl] int64 of balanced ones


class Batch(NamedTuple):
    """What a learner may see of the data. It holds no unlabeled ground truth, so none can leak."""

    x: Tensor  # [Bl,c,H,W] float: the labeled images, weak view
    y: Tensor  # [Bl] int64
    u: tuple[Tensor, ...]  # V x [Bu,c,H,W] float, in the order of the learner's `views`
    idx: Tensor  # [Bu] int64: row in the unlabeled set
    extra: tuple[Tensor, ...] = ()  # [Bl,c,H,W] each: further views of the labeled images, as the learner wants them
    further: tuple[Tensor, ...] = ()  # [Bl,c,H,W] each: those that slots ask for
    aside: dict[str, Aside] | None = None  # batches of parts' own


class Labels(NamedTuple):
    """One kind of pseudo-label, for the diagnostics."""

    label: Tensor  # [Bu] int64
    conf: Tensor  # [Bu]


class Guess(NamedTuple):
    """What a network takes unlabeled images for, before any slot that works on distributions. Carries no gradient."""

    p: Tensor  # [Bu,C] distribution: the softmax of `logits`, or a mean of several
    logits: Tensor | None = None  # [Bu,C] with what `adjust` makes of them; None where several views are averaged
    plain: Tensor | None = None  # [Bu,C] the classifier's own


class Target(NamedTuple):
    """A pseudo-label: what the learner's consistency loss is trained towards. Carries no gradient."""

    p: Tensor  # [Bu,C] distribution after align, sharpen, refine, blend
    label: Tensor  # [Bu] int64 = argmax p
    conf: Tensor  # [Bu] = max p
    linear: Labels  # the classifier's own, before the blend
    semantic: Labels | None = None  # the prototypes', None where there are none (yet)
    logits: Tensor | None = None  # [Bu,C] as in `Guess`
    plain: Tensor | None = None  # [Bu,C] as in `Guess`
    aside: dict[str, Labels] | None = None  # by head: what further ones are trained with, as they add it; for meters
    groups: dict[str, Tensor] | None = None  # [Bu] bool, by name: images whose labels meters judge apart, as parts say


class Chosen(NamedTuple):
    """What a thresholded consistency loss is trained with."""

    label: Tensor  # [Bu] int64
    weight: Tensor  # [Bu]: bool, or a number of at least 0


class Outcome(NamedTuple):
    """What one learner step gives back."""

    losses: dict[str, Tensor]  # 0-d each; the step minimises their plain sum
    logits_l: Tensor  # [Bl,C]: for the training accuracy
    target: Target | None  # None: the learner makes no pseudo-labels
    chosen: Chosen | None = None  # what the consistency loss was trained with; None: it has no threshold


class Feats(NamedTuple):
    """Encoder features of one step, per view. Whoever pairs weak with strong rows repeats the weak ones."""

    l: Tensor | None  # noqa: E741  [Bl,D], None if the learner sees labeled images mixed with others only
    w: Tensor  # [Bu,D]: the view that pseudo-labels are made from
    s: tuple[Tensor, ...] = ()  # [Bu,D] each: the strong views
    extra: tuple[Tensor, ...] = ()  # [Bl,D] each: further views of the labeled images, the learner's own
    further: tuple[Tensor, ...] = ()  # [Bl,D] each: those that slots ask for, without a loss of the learner's


class Nets(NamedTuple):
    """The trained network and its exponential moving average, which is always present."""

    student: "Net"
    teacher: "Net"


class Clock(NamedTuple):
    """Where the step stands, as device scalars, so that a compiled step does not depend on Python numbers."""

    step: Tensor  # [] int64: 0-based index of the current step (restarts with each CReST generation)
    progress: Tensor  # [] float64: step / steps of the schedule


class Sizes(NamedTuple):
    """Batch sizes, for drawing noise."""

    labeled: int  # Bl
    unlabeled: int  # Bu


class Head(NamedTuple):
    """A head of the network: what maps features [B,D] to its outputs."""

    outputs: int | None = None  # None: C
    make: Callable[[int, int], nn.Module] = nn.Linear  # (D, outputs) -> its layers


class Scene(NamedTuple):
    """What a part may see of its run between two steps. Rows are of all training images, on the CPU."""

    labeled: Tensor  # [n] rows of the labeled images
    y: Tensor  # [n] int64 their classes
    unlabeled: Tensor  # [m] rows of the others
    # (rows, view, stream) -> features [B,D] of the average network, by its running statistics, batch by batch
    features: Callable[[Tensor, View, str], Iterator[Tensor]]
    # (stream, n) -> (step, batch) -> rows [batch] of n: one permutation after another
    shuffled: Callable[[str, int], Callable[[int, int], Tensor]]
    generator: Callable[[str, int], Generator]  # (stream, index) -> CPU generator of the run


class Facts(NamedTuple):
    """What a part may know of its run when it is built."""

    num_classes: int  # C
    features: int  # D
    channels: int
    resolution: int  # pixels per side
    white: tuple[float, ...]  # [channels] the brightest pixel, in the network's input space
    counts: Tensor  # [C] int64: labeled images per class, none zero
    unlabeled: int  # N: images of the unlabeled set
    sizes: Sizes
    threshold: float  # the learner's, of a pseudo-label's confidence
    floor: float  # the learner's, added to probabilities inside logarithms
    steps: int  # of the run
    phase_steps: int  # of a phase, or of the shortest one
    assumed: Callable[[], Tensor]  # [C] float64: images per class that the unlabeled set is assumed to hold, sum N
    encoder: Callable[[], Mapping[str, Tensor]]  # the encoder's state in the run that this one starts from
    separate: bool = False  # every view of a step takes a pass through the network of its own
    shared: int = 0  # so many rows at the head of the unlabeled set are the labeled images

    @property
    def own(self) -> Tensor:
        """[N] bool: unlabeled images that are labeled ones too."""
        return torch.arange(self.unlabeled) < self.shared
