"""What methods share that give each class a confidence threshold of its own. C classes."""

from abc import abstractmethod

from torch import Tensor

from daso.slots.base import Confidence

GROUPS = ("many", "medium", "few")  # thirds of the classes by labeled images, as in evaluations


class ClassThresholds(Confidence):
    """A filling of `confidence` that compares with one threshold a class, and what there is to log of them.

    Args:
        counts: [C] int64 labeled images per class.
    """

    order: Tensor

    def __init__(self, counts: Tensor) -> None:
        super().__init__()
        order = counts.argsort(descending=True, stable=True)  # the classes with most labeled images first
        self.register_buffer("order", order, persistent=False)

    @abstractmethod
    def thresholds(self) -> Tensor:
        """[C] confidence from which a label of each class counts, as the state stands."""

    def metrics(self) -> dict[str, Tensor]:
        """`pl/threshold` [C]; its `min`, `median`, `max`, and its means over `GROUPS`."""
        theta = self.thresholds().clone()
        ranked = theta.sort().values
        middle = (ranked[(len(theta) - 1) // 2] + ranked[len(theta) // 2]) / 2
        found = {"pl/threshold": theta, "pl/threshold/min": ranked[0], "pl/threshold/median": middle}
        thirds = zip(GROUPS, theta[self.order].tensor_split(3), strict=True)
        return found | {"pl/threshold/max": ranked[-1]} | {f"pl/threshold/{name}": part.mean() for name, part in thirds}
