"""What a person is warned of while a run trains: each kind once, and at its last step in the summary."""

from collections.abc import Sequence

from torch import Tensor

CHANCE, SILENT = "The balanced test accuracy is at chance", "The network never predicts"  # two ways to collapse
NAMED = 10  # classes that a sentence lists


def collapse(balanced_accuracy: float, confusion: Tensor, progress: float, names: Sequence[str] = ()) -> list[str]:
    """Sentences about a collapsed network in the second half of a phase: accuracy at chance, classes never predicted.

    Args:
        balanced_accuracy: on the test set, percent.
        confusion: [C,C] counts of the test set, rows = truth.
        progress: share of the steps done, of the phase.
        names: what people call the classes, if they have names; else they are numbered.
    """
    if progress < 0.5:
        return []
    chance = 100 / len(confusion)
    if balanced_accuracy <= 1.2 * chance:
        return [f"{CHANCE} ({chance:.3g} %): the network has collapsed."]
    silent = (confusion.sum(0) == 0).nonzero().flatten().tolist()
    if not silent:
        return []
    noun = "class" if len(silent) == 1 else "classes"
    listed = ", ".join(names[k] if names else str(k) for k in silent[:NAMED])
    more = f" and {len(silent) - NAMED} more" if len(silent) > NAMED else ""
    return [f"{SILENT} {noun} {listed}{more} on the test set."]


def alike(one: str, other: str) -> bool:
    """Whether two sentences warn of the same thing, whatever the step and the classes."""
    return one.endswith(other) or any(kind in one and kind in other for kind in (CHANCE, SILENT))


def noted(warned: list[str], step: int, text: str) -> tuple[list[str], bool]:
    """The warnings of a run, each with its last step, after one more; and whether it is the first of its kind."""
    others = [said for said in warned if not alike(said, text)]
    return [*others, f"Step {step}: {text}"], len(others) == len(warned)
