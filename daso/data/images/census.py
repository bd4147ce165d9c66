"""How many images each class has in each set, told before anything is trained.

Legend: C classes, M unlabeled images.
"""

import csv
import io
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from daso.data.images.listing import OUT, UNKNOWN, enumerate_some

Integers = npt.NDArray[np.int64]
FEW = 5  # labeled images below which a class is named
UNBALANCED = 2  # most over fewest test images of a class from which top-1 accuracy misleads


class Census(NamedTuple):
    """The images of a run by class; class 0 has most labeled ones."""

    names: Sequence[str]  # C
    original: Sequence[str]  # C, what the files call the classes
    labeled: Integers  # [C]
    valid: Integers  # [C]
    test: Integers  # [C]
    truth: Integers  # [M] class of the unlabeled images, UNKNOWN or OUT

    def lines(self, headed: bool = False) -> list[str]:
        """What a person should know about the images, a sentence or a fact a line.

        Args:
            headed: whether a run's header has the sizes of the sets by class, which is all unless classes are unknown.
        """
        order = np.argsort(-self.labeled, kind="stable")
        most, middle, least = (int(order[k]) for k in (0, len(order) // 2, -1))
        spread = (
            f"{self._of(most)} (most), {self._of(middle)} (median), "
            f"{self._of(least)} (fewest): imbalance {self.labeled[most] / self.labeled[least]:.3g}"
        )
        if self.labeled[most] == self.labeled[least]:
            spread = f"{self.labeled[most]:,} of each class"
        facts = [f"{len(self.names)} classes, labeled images {spread}"]
        if not headed or (self.truth < 0).any():
            facts.append(self._sets())
        if few := self._where(self.labeled < FEW):
            facts.append(f"below {FEW} labeled images: {enumerate_some(few)}")
        for name, counts in (("validation", self.valid), ("test", self.test)):
            if counts.any() and (absent := self._where(counts == 0)):
                facts.append(f"no {name} image, so no recall: {enumerate_some(absent)}")
        present = self.test[self.test > 0]
        if present.max() >= UNBALANCED * present.min():
            spread = f"{present.max():,} to {present.min():,} images a class"
            facts.append(f"the test set is not balanced ({spread}): bacc is the number to read")
        return facts

    def csv(self) -> str:
        """A line a class: number, names, images in each set; of the unlabeled one those with a known class."""
        columns: Mapping[str, Sequence[object]] = {
            "class": range(len(self.names)),
            "name": self.names,
            "original": self.original,
            "labeled": self.labeled.tolist(),
            "valid": self.valid.tolist(),
            "test": self.test.tolist(),
        }
        if (self.truth != UNKNOWN).any():
            known = np.bincount(self.truth[self.truth >= 0], minlength=len(self.names))
            columns = {**columns, "unlabeled_known": known.tolist()}
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows(zip(*columns.values(), strict=True))
        return text.getvalue()

    def _where(self, which: npt.NDArray[np.bool_]) -> list[str]:
        return [name for name, hit in zip(self.names, which.tolist(), strict=True) if hit]

    def _of(self, k: int) -> str:
        return f"{self.labeled[k]:,} {self.names[k]}"

    def _sets(self) -> str:
        sets = {"labeled": self.labeled.sum(), "unlabeled": len(self.truth), "valid": self.valid.sum()}
        sets["test"] = self.test.sum()
        parts = [f"{name} {n:,}" for name, n in sets.items() if n]
        outside, unknown = (int((self.truth == code).sum()) for code in (OUT, UNKNOWN))
        kinds = {"of a known class": len(self.truth) - outside - unknown, "of none": outside, "unknown": unknown}
        told = ", ".join(f"{n:,} {kind}" for kind, n in kinds.items() if n)
        if len(self.truth):
            parts[1] += f" ({told})"
        return f"images: {', '.join(parts)}"
