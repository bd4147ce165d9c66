"""cRT (Kang et al., ICLR 2020): a finished run's encoder stays as it is, its classifier is trained again."""

from collections.abc import Callable, Mapping

from torch import Tensor

from daso.protocol.base import Phase, Protocol, Stage
from daso.schema import CrtProtocol
from daso.types import Facts


class Crt(Protocol):
    """Starts from the encoder of a finished run's raw network, under a fresh classifier.

    Args:
        steps: of the second stage.
        encoder: gives that encoder's state; called when the run begins, not when it resumes.
    """

    def __init__(self, steps: int, encoder: Callable[[], Mapping[str, Tensor]]) -> None:
        super().__init__(steps)
        self.encoder = encoder

    @classmethod
    def of(cls, config: CrtProtocol, facts: Facts) -> "Crt":
        """From the run that this one is built on."""
        return cls(facts.steps, facts.encoder)

    def begin(self, phase: Phase, stage: Stage) -> None:
        """Take the encoder over, into student and teacher."""
        state = self.encoder()
        for net in stage.nets:
            net.encoder.load_state_dict(state)
