"""Pictures inside a page: each panel is a file of its own, and the page sets them beside or below each other."""

import base64
import io
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from daso.report.figures.canvas import ACROSS, Canvas, Series

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

POINTS = 72  # in an inch
LINES = {"-": "line", "--": "dashed", "-.": "dashdot", ":": "dotted"}
GROUP = 0.3  # inches of a panel that a group of bars takes at least


class Key(NamedTuple):
    """An entry of a legend."""

    text: str
    look: str  # area, hollow, bar, one of `LINES`; empty for a text alone
    color: str


class Picture(NamedTuple):
    """An image inside the page."""

    alt: str
    data: str  # a data: address
    least: int  # CSS px of its width on a screen: a point of its letters is then a px, and all can be read


class Drawing(NamedTuple):
    """Panels with their heading and legend."""

    title: str
    remarks: list[str]  # what there is to say against it
    key: list[Key]
    panels: list[Picture]


class Sheet(Canvas):
    """Makes the panels of one drawing."""

    def __init__(self) -> None:
        super().__init__()
        self._key: list[Key] = []
        self._figures: list[Figure] = []
        self._axes: list[Axes] = []

    def axes(
        self, title: str, panels: int, across: int = ACROSS, size: tuple[float, float] = (4.3, 3.9)
    ) -> "tuple[Figure, list[Axes]]":
        """A figure a panel; returns the first one and all panels."""
        self.told = title
        self._figures = [self.figure(*size) for _ in range(panels)]
        self._axes = [figure.subplots() for figure in self._figures]
        for ax in self._axes:
            self.ruled(ax)
        return self._figures[0], self._axes

    def strip(self, title: str, panels: int, groups: int) -> "tuple[Figure, list[Axes]]":
        """Panels of bars that a phone has room for as long as there are not too many groups."""
        return self.axes(title, panels, size=(max(5.0, GROUP * groups), 3.3))

    def key(self, figure: "Figure", series: Sequence[Series], *others: Any, published: Any, spread: Any = None) -> None:
        """Keep the entries of the legend, which the page writes."""
        self._key = [_entry(handle) for handle in self.handles(series, *others, published=published, spread=spread)]

    def drawing(self, draw: Callable[["Sheet"], object]) -> Drawing:
        """What `draw` draws on this sheet."""
        draw(self)
        title, *remarks = self.told.splitlines()
        panels = [_picture(figure, ax.get_ylabel()) for figure, ax in zip(self._figures, self._axes)]
        return Drawing(title, [remark.strip("()") for remark in remarks], self._key, panels)


def _picture(figure: "Figure", alt: str) -> Picture:
    stream = io.BytesIO()
    figure.savefig(stream, format="svg", metadata={"Date": None})
    data = "data:image/svg+xml;base64," + base64.b64encode(stream.getvalue()).decode()
    return Picture(alt, data, round(POINTS * figure.get_figwidth()))


def _entry(handle: Any) -> Key:
    """An area or a line of a legend as a page can write it."""
    from matplotlib.colors import to_hex
    from matplotlib.patches import Patch

    text = str(handle.get_label())
    if isinstance(handle, Patch):
        filled = to_hex(handle.get_facecolor(), keep_alpha=True)
        hollow = not handle.get_fill() or filled.endswith("00")
        return Key(text, "hollow", to_hex(handle.get_edgecolor())) if hollow else Key(text, "area", filled)
    look = LINES.get(handle.get_linestyle(), "")
    if not look and handle.get_marker() == "|":
        look = "bar"
    return Key(text, look, to_hex(handle.get_color()))
