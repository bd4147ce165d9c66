"""Which RandAugment and which cutout a strong view is: that of the paper's code, or that of USB's."""

from typing import NamedTuple


class Policy(NamedTuple):
    """Numbers of a strong view. Both draw from the same 14 operations (FixMatch's, Sohn et al. 2020, Table 12)."""

    operations: int  # per image, drawn with replacement
    skipped: bool  # whether a fair coin leaves each of them out
    levels: int  # magnitudes 1, ..., levels, equally likely
    first: float  # where level 1 lies on the scale, counted from level 0
    scale: float  # length of the scale: a level is (level - 1 + first) / scale of an operation's maximum
    whole: bool  # whether rotations are whole degrees and translations whole pixels
    fill: tuple[int, int, int]  # colour of the cutout
    random_side: bool  # whether the cutout's side is uniform between 0 and the nominal one

    def magnitude(self, level: int, maximum: float, bias: float = 0.0) -> float:
        """The strength of an operation at a level."""
        return (level - 1 + self.first) * maximum / self.scale + bias

    def rounded(self, value: float) -> float:
        """Degrees or pixels as they are applied."""
        return float(int(value)) if self.whole else value


GRAY = 127
POLICIES = {
    # the reference's: the tenth level is never drawn
    "paper": Policy(2, True, 9, 1.0, 10.0, True, (GRAY, GRAY, GRAY), False),
    # USB's: magnitudes are real numbers there, here the middles of 60 equal parts
    "usb": Policy(3, False, 60, 0.5, 60.0, False, (125, 123, 114), True),
}
