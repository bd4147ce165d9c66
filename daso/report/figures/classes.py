"""The classes of a data set in pictures: which of them stand together, and what an axis calls them.

Legend: C classes in label order (0 = most labeled images).
"""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis
    from matplotlib.figure import Figure

CLASSES = "class (C0 has most labeled images)"
NAMED_CLASSES = "class (most labeled images first)"
LONGEST_NAME = 20  # letters of a class's name that have room at an axis
MOST_NAMES = 4  # that a group of bars has room for
SLANT = 30  # degrees of names below a panel, where there is room
FRAME = 0.8  # of a panel's width that is not the labels of the other axis
LETTER, LINE = 0.65, 1.15  # of a letter's size: the width that it takes, and the height
POINTS = 72  # in an inch


def parts(classes: int) -> dict[str, list[int]]:
    """All classes, the first and the last fifth of them (paper section 4.5, App. E.3)."""
    fifth = max(classes // 5, 1)
    return {
        "overall": list(range(classes)),
        "majority": list(range(fifth)),
        "minority": list(range(classes - fifth, classes)),
    }


def groups(classes: int) -> list[list[int]]:
    """Head, middle and tail as in Figure 2: of ten classes three, four and three; of two there is no middle."""
    edge = max(round(0.3 * classes), 1)
    third = [list(range(edge)), list(range(edge, classes - edge)), list(range(classes - edge, classes))]
    return [some for some in third if some]


def called_together(classes: Sequence[int], called: Sequence[str]) -> str:
    """What a group of classes is called: by its names, as far as they have room."""
    names = [called[k][:LONGEST_NAME] for k in classes]
    return "\n".join(names if len(names) <= MOST_NAMES else [names[0], f"and {len(names) - 2} more to", names[-1]])


def name_classes(axis: "Axis", classes: int, called: Sequence[str], width: float, share: float = 1.0) -> None:
    """Write the names of classes at an axis of their numbers.

    Below a panel they are level where they have room, else slanted, and upright where they stand close; of more than
    there is room for, every second has its name, or every third, ...

    Args:
        axis: the x or y axis.
        classes: C.
        called: the name of each.
        width: of the panel, in inches.
        share: of the width, that a name may be long.
    """
    size = max((float(label.get_fontsize()) for label in axis.get_ticklabels()), default=10.0)
    room = FRAME * width * POINTS / classes
    shown = range(0, classes, math.ceil(LINE * size / room))
    longest = min(LONGEST_NAME, int(share * width * POINTS / (LETTER * size)))
    names = [called[k][:longest] for k in shown]
    axis.set_ticks(shown, names)
    _turn(axis, LETTER * size * max(map(len, names)), room * shown.step, size)


def _turn(axis: "Axis", length: float, room: float, size: float) -> None:
    """Turn names of this length, in points, where they have less room."""
    from matplotlib.axis import XAxis

    if isinstance(axis, XAxis) and length > room:
        looks = {"rotation": SLANT, "ha": "right", "rotation_mode": "anchor"} if room > 2 * size else {"rotation": 90}
        for label in axis.get_ticklabels():
            label.set(**looks)


def depth(axis: "Axis") -> float:
    """The inches that what stands at an axis below a panel takes beyond a line."""
    found = [0.0]
    for label in axis.get_ticklabels():
        size, (first, *others) = float(label.get_fontsize()), label.get_text().split("\n")
        turned = math.sin(math.radians(label.get_rotation()))
        found.append((LETTER * len(first) * turned + LINE * len(others)) * size / POINTS)
    return max(found)


def panel_width(figure: "Figure", ax: "Axes") -> float:
    """The width of a panel with its labels, in inches."""
    place = ax.get_subplotspec()
    return figure.get_figwidth() / (place.get_gridspec().ncols if place else 1)
