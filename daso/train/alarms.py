"""What a person is warned of while a run trains: each kind once, and at its last step in the summary."""

from collections.abc import Sequence

from torch import Tensor

from daso.schema import Precision

CHANCE, SILENT = "The balanced test accuracy is at chance", "The network never predicts"  # two ways to say little
NAMED = 10  # classes that a sentence lists


def collapse(balanced_accuracy: float, confusion: Tensor, progress: float, names: Sequence[str] = ()) -> list[str]:
    """Sentences about a network that answers alike in the second half of a phase: accuracy at chance, silent classes.

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
        return [f"{CHANCE} ({chance:.3g} %): the network has not learned yet, or has collapsed."]
    silent = (confusion.sum(0) == 0).nonzero().flatten().tolist()
    if not silent:
        return []
    noun = "class" if len(silent) == 1 else "classes"
    listed = ", ".join(names[k] if names else str(k) for k in silent[:NAMED])
    more = f" and {len(silent) - NAMED} more" if len(silent) > NAMED else ""
    return [f"{SILENT} {noun} {listed}{more} on the test set."]


def not_finite(what: str, step: int, saved: int, precision: Precision) -> str:
    """The sentence that a run ends with whose numbers are not finite any more.

    Args:
        what: is not finite.
        step: at which it was found.
        saved: the step of the newest checkpoint; 0 where there is none.
        precision: that the run computes in.
    """
    stays = f"its checkpoint of step {saved} stays" if saved else "no checkpoint was written before"
    finer = "" if precision is Precision.fp32 else f", or train.precision={Precision.fp32.value},"
    return f"The {what} is not finite at step {step}, and {stays}: a smaller optim.lr{finer} usually helps."


def alike(one: str, other: str) -> bool:
    """Whether two sentences warn of the same thing, whatever the step and the classes."""
    return one.endswith(other) or any(kind in one and kind in other for kind in (CHANCE, SILENT))


def noted(warned: list[str], step: int, text: str) -> tuple[list[str], bool]:
    """The warnings of a run, each with its last step, after one more; and whether it is the first of its kind."""
    others = [said for said in warned if not alike(said, text)]
    return [*others, f"Step {step}: {text}"], len(others) == len(warned)
