"""What the host asks of everything that a step is made of: the learner, and whatever fills a place beside it."""

from abc import ABCMeta
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeVar

from torch import Tensor, nn

from daso.types import Draw, Facts, Flags, Head, Sizes, View, Wanted

Value = TypeVar("Value")


class Part(nn.Module, metaclass=ABCMeta):
    """The defaults fit a part without a head, noise, flags, phases or numbers of its own.

    All state lives in registered buffers and changes in place, so that it is saved, moved and captured. Names of heads,
    flags, noise streams, losses and metrics are the run's: two parts that take the same one are refused.
    """

    heads: Mapping[str, Head] = {}  # of the network that the part trains, in the order of their initialisation
    answers: str | None = None  # the head that answers at test time, where this part decides it
    switches: tuple[str, ...] = ()  # every name that `flags` may give
    further_views: tuple[View, ...] = ()  # of the labeled images, that join the step's pass beside the learner's
    wants: Mapping[str, Wanted] = {}  # batches of the part's own, by name: `Batch.aside`

    @classmethod
    def of(cls, config: Any, facts: Facts) -> "Part":
        """The part that a configuration node describes, for a run of these facts."""
        raise NotImplementedError(f"{cls.__name__} is not built from a configuration")

    def flags(self, step: int) -> Flags:
        """Those of `switches` that are on at `step` of the phase."""
        return ()

    def draws(self, sizes: Sizes) -> dict[str, Draw]:
        """The random numbers that the part reads from `noise`, by stream name."""
        return {}

    def relabel(self, counts: Tensor) -> None:
        """A new phase begins on fresh networks, with `counts` [C] int64 labeled images per class."""

    def metrics(self) -> dict[str, Tensor]:
        """What there is to log of the part's state, by name: [] a number, [C] one per class, on its device.

        Asked once a log period, between two steps; the numbers travel to the host with all others.
        """
        return {}

    def alarms(self, measured: Mapping[str, float]) -> list[str]:
        """Sentences about numbers of a log period, by the names of `metrics`, that a person should know of."""
        return []


class Together:
    """Several parts, asked as one on the host.

    Raises:
        AssertionError: wherever two parts take the same name.
    """

    parts: Sequence[Part]

    @property
    def heads(self) -> dict[str, Head]:
        """The heads that the parts train, in their order; two may share one if they mean the same."""
        out: dict[str, Head] = {}
        for name, head in (item for part in self.parts for item in part.heads.items()):
            assert out.setdefault(name, head) == head, f"two parts have a head {name}, of different kinds"
        return out

    @property
    def classifiers(self) -> tuple[str, ...]:
        """The heads whose outputs are the classes."""
        return tuple(name for name, head in self.heads.items() if head.outputs is None)

    @property
    def answers(self) -> str:
        """The head, or reading, that answers at test time."""
        found = [part.answers for part in self.parts if part.answers is not None]
        assert len(found) < 2, f"the heads {' and '.join(found)} want to answer at test time"
        return found[0] if found else "cls"

    @property
    def further_views(self) -> tuple[View, ...]:
        """The views of labeled images that the parts ask for, in the order of `Batch.further`; one part's at most."""
        found = [part.further_views for part in self.parts if part.further_views]
        assert len(found) < 2, "two parts ask for views of labeled images"
        return found[0] if found else ()

    @property
    def wants(self) -> dict[str, Wanted]:
        """The batches that parts want beside the learner's, by name."""
        return joined("batch", (part.wants for part in self.parts))

    @property
    def switches(self) -> tuple[str, ...]:
        """Every flag that there is."""
        return tuple(joined("flag", (dict.fromkeys(part.switches) for part in self.parts)))

    def flags(self, step: int) -> Flags:
        """The traced graph that `step` of the phase needs."""
        return tuple(sorted(name for part in self.parts for name in part.flags(step)))

    def draws(self, sizes: Sizes) -> dict[str, Draw]:
        """The noise streams of a step."""
        return joined("noise stream", (part.draws(sizes) for part in self.parts))

    def relabel(self, counts: Tensor) -> None:
        """A new phase begins on fresh networks, with `counts` [C] int64 labeled images per class."""
        for part in self.parts:
            part.relabel(counts)

    def metrics(self) -> dict[str, Tensor]:
        """What there is to log of the parts' state, by name."""
        return joined("metric", (part.metrics() for part in self.parts))

    def alarms(self, measured: Mapping[str, float]) -> list[str]:
        """What the parts warn of, by the numbers of a log period."""
        return [text for part in self.parts for text in part.alarms(measured)]


def joined(kind: str, found: Iterable[Mapping[str, Value]]) -> dict[str, Value]:
    """What several parts have by name, in their order; `kind` says what of, should two have the same name."""
    out: dict[str, Value] = {}
    for some in found:
        for name, value in some.items():
            assert name not in out, f"two parts have a {kind} {name}"
            out[name] = value
    return out
