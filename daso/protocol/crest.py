"""CReST (Wei et al., CVPR 2021): generations, each trained from scratch on a labeled set that the last one enlarged.

Shape legend: N unlabeled images, C classes.
"""

import torch
from torch import Tensor

from daso.protocol.base import Phase, Protocol, Stage
from daso.schema import CrestPlusProtocol, CrestProtocol
from daso.types import Facts


class Crest(Protocol):
    """Between two generations the EMA network labels the unlabeled set; most of what it takes for a rare class, and
    least of what it takes for a frequent one, joins the initial labeled set. Then everything starts over.

    The unlabeled set, the alignment's goal and window, and the prior of the evaluation stay.

    Args:
        steps: of the whole run.
        generations: their number; 1 is the base algorithm.
        counts: [C] int64 initial labeled images per class.
        unlabeled: N.
        alpha: inverse exponent of the selection rates.
        t_min: CReST+: the temperature of the alignment's goal in the last generation; None leaves it alone.
    """

    counts: Tensor
    rows: Tensor
    labels: Tensor

    def __init__(
        self, steps: int, generations: int, counts: Tensor, unlabeled: int, alpha: float, t_min: float | None = None
    ) -> None:
        super().__init__(steps)
        self.generations, self.alpha, self.t_min = generations, alpha, t_min
        self.register_buffer("counts", counts.to("cpu", torch.int64, copy=True))
        self.register_buffer("rows", torch.full((unlabeled,), -1))  # selected rows in their order, then -1
        self.register_buffer("labels", torch.full((unlabeled,), -1))  # what they were selected for

    @classmethod
    def of(cls, config: CrestProtocol, facts: Facts) -> "Crest":
        """For the labeled and unlabeled images of the run."""
        assert facts.unlabeled, "a generation selects from the unlabeled set"
        t_min = config.t_min if isinstance(config, CrestPlusProtocol) else None
        return cls(facts.steps, config.generations, facts.counts, facts.unlabeled, config.alpha, t_min)

    def phase(self, step: int) -> Phase:
        """The generation of `step`; where they cannot be equally long, later ones have a step more."""
        number = ((step + 1) * self.generations - 1) // self.steps
        start = self._start(number)
        return Phase(number, start, self._start(number + 1) - start)

    def begin(self, phase: Phase, stage: Stage) -> None:
        """Select, then re-initialise in place: networks, momentum, labeled set, learner and slots."""
        if phase.number > 0:
            self._keep(*select(stage.predict_unlabeled(), self.counts, self.alpha))
            stage.nets.student.init(stage.generator("init", phase.number))
            stage.nets.teacher.load_state_dict(stage.nets.student.state_dict())
            for state in stage.optimizer.state.values():
                for value in state.values():
                    value.zero_()
            stage.method.relabel(self._extend(phase.number, stage))
        if self.t_min is not None:
            stage.method.slots.soften(temperature(phase.number, self.generations, self.t_min))

    def restore(self, stage: Stage) -> None:
        """Give the feed the labeled set of the generation that has begun."""
        self._extend(int(self.current), stage)

    def metrics(self) -> dict[str, float]:
        """Generation (from 0), how many images were selected for it, and the temperature of its alignment's goal."""
        found = {"crest/generation": float(self.current), "crest/selected": float((self.rows >= 0).sum())}
        if self.t_min is not None:
            found["crest/temperature"] = temperature(int(self.current), self.generations, self.t_min)
        return found

    def _start(self, number: int) -> int:
        return number * self.steps // self.generations

    def _keep(self, rows: Tensor, labels: Tensor) -> None:
        for buffer, values in ((self.rows, rows), (self.labels, labels)):
            buffer.fill_(-1)
            buffer[: len(values)] = values.cpu()

    def _extend(self, number: int, stage: Stage) -> Tensor:
        taken = int((self.rows >= 0).sum())
        return stage.feed.extend(self.rows[:taken], self.labels[:taken], number, self._start(number))


def select(p: Tensor, counts: Tensor, alpha: float) -> tuple[Tensor, Tensor]:
    """Rows to add to the labeled set and their labels, class by class, the most confident first (DASO paper, App. C.3).

    Of the rows predicted as the class of rank r (0: most labels) the share (N_{C-1-r} / N_0)^(1/alpha) is taken,
    rounded down, N in order of rank; all of the rarest class, least of the most frequent.

    Args:
        p: [N,C] class distributions.
        counts: [C] int64 initial labeled images per class.
        alpha: inverse exponent.
    """
    conf, label = p.max(1)
    # Products are rounded down: float32 decides as the reference does, and one device for all, as powers differ.
    counts = counts.to("cpu", torch.float32)
    rates = (counts / counts.max()) ** (1 / alpha)
    by_rank = counts.argsort(descending=True, stable=True)
    share = torch.empty_like(rates)
    share[by_rank] = rates[by_rank.flip(0)]
    candidates = torch.bincount(label, minlength=len(counts))
    rows = conf.argsort(descending=True, stable=True)
    rows = rows[label[rows].argsort(stable=True)]  # by class, within one by confidence
    rank = torch.arange(len(rows), device=p.device) - (candidates.cumsum(0) - candidates)[label[rows]]
    rows = rows[rank < (share.to(p.device) * candidates).to(torch.int64)[label[rows]]]
    return rows, label[rows]


def temperature(number: int, generations: int, t_min: float) -> float:
    """The temperature of the alignment's goal: from 1 in the first generation linearly to `t_min` in the last."""
    f = number / (generations - 1) if generations > 1 else 0.0
    return 1 - f + f * t_min
