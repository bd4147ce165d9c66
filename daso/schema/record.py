"""What a method is made of: its configuration is its record, from which building, checks and printed names follow."""

from collections.abc import Callable, Mapping
from enum import Enum
from typing import Any, ClassVar, TypeVar

NONE = "none"
"""The option of a node with which nothing fills its places."""


class Offer(Enum):
    """A place of the training step that a learner opens to slots; its value says what is true of one that does not."""

    LABELED_LOGITS = "has a labeled loss of its own"  # else: a labeled loss on plain labeled images
    PSEUDO = "makes no pseudo-labels open to slots"  # else: a distribution that passes through align, refine, blend
    THRESHOLD = "has no confidence threshold"  # else: a threshold from which a pseudo-label counts
    CONFIDENCE = "has no confidence threshold of one classifier"  # else: one that a state may follow
    WEIGHTS = "has no cross-entropy of pseudo-labels in which classes could weigh"  # else: they may, by class
    FURTHER = "takes no further views of labeled images into its step"  # else: features of those that slots ask for
    SOURCE = "lets nothing else make its pseudo-labels"  # else: logits of another network, from its weak views
    STRONG = "has no strong view"  # else: features of a strong view of the same unlabeled images


class Record:
    """The base of every node that chooses a method. Class variables describe it, fields are its knobs.

    A field's metadata `{"needs": offer}` names what the learner must offer wherever the value is not 0.
    """

    name: str
    __dataclass_fields__: ClassVar[dict[str, Any]]
    absent: ClassVar[str] = NONE  # the option that adds nothing: left out of the run key
    part: ClassVar[str] = ""  # dotted path of the class that is built from it
    printed: ClassVar[str] = ""  # what tables call it; empty: they do not
    places: ClassVar[frozenset[str]] = frozenset()  # of the step, that it alone fills
    needs: ClassVar[frozenset[Offer]] = frozenset()  # what the learner must offer
    reads_threshold: ClassVar[bool] = False  # compares confidences with the learner's threshold
    batches_aside: ClassVar[int] = 0  # of its own, that it reads beside the learner's
    periodic: ClassVar[bool] = False  # its option file takes `every`, its period, from train.period
    apart: ClassVar[Mapping[str, str]] = {}  # "node=option", or a whole "node", that it cannot stand beside -> why

    def remarks(self, steps: int) -> list[str]:
        """Sentences about knobs that in a phase of `steps` steps run but probably do not mean what they say."""
        return []


Kind = TypeVar("Kind", bound=type[Record])
OPTIONS: dict[str, dict[str, type[Record]]] = {}
"""Node -> name -> the dataclass that holds the knobs of this option. In the order of tables."""


def option(node: str, *names: str) -> Callable[[Kind], Kind]:
    """Register a dataclass as what `node` holds under one of `names`."""

    def register(kind: Kind) -> Kind:
        known = OPTIONS.setdefault(node, {})
        for name in names:
            assert name not in known, f"{node}={name} is taken"
            known[name] = kind
        return kind

    return register
