"""What pictures stand on: their axes, legend and files, to look at on a screen or to print in a paper's column."""

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from textwrap import fill
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from daso.errors import UserError
from daso.outputs.files import why
from daso.report.collect import Run
from daso.report.figures.classes import depth
from daso.report.stats import FEW_STEPS, MORE_STEPS, shortcomings, spans, wanting

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

COLORS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00", "#7f7f7f", "#000000")
ACROSS = 3  # panels beside each other
NARROW = 1.5  # inches of a printed panel at least
LETTER = 0.0075  # inches of a title's letter, for each point of its size
LARGE, SMALL = 12, 10  # points of a title alone, and of one with remarks
TALL = 1.35  # inches of a printed panel at most
HIGH = 22  # letters beside a printed panel at most
SPREAD = "± standard deviation over seeds"
PRINT: dict[Any, Any] = {  # of a paper's figures: its fonts, embedded as TrueType, and thin lines
    "font.size": 7,
    "axes.labelsize": 7,
    "axes.titlesize": 7,
    "xtick.labelsize": 6,
    "ytick.labelsize": 6,
    "legend.fontsize": 6.5,
    "axes.linewidth": 0.5,
    "xtick.major.width": 0.5,
    "ytick.major.width": 0.5,
    "xtick.major.size": 2,
    "ytick.major.size": 2,
    "hatch.linewidth": 0.4,
    "pdf.fonttype": 42,
    "svg.fonttype": "path",
}


class Paper(NamedTuple):
    """A figure for print: nothing in it that is said in the text beside it."""

    kind: str  # pdf, svg, png
    width: float  # inches


class Form(NamedTuple):
    """Which files a figure becomes, and how methods are called in it."""

    folder: Path
    stem: str = ""  # of the file's name; empty: the figure's own
    printed: bool = False  # methods as papers print them
    paper: Paper | None = None  # None: PNG and SVG for a screen

    def path(self, name: str, part: str = "", several: bool = False) -> Path:
        """Where a picture goes, without suffix: the figure's `name` and its `part`, such as `figure10_a`; or the stem,
        with the part where it is one of several.
        """
        words = [self.stem, part * several] if self.stem else [name, part]
        return self.folder / "_".join(word for word in words if word)


class Series(NamedTuple):
    """One method in a picture."""

    label: str
    runs: Sequence[Run]  # finished ones of the same steps, one a seed
    published: Mapping[tuple[str, str], Mapping[str, float]] = {}  # (quantity, part) -> x -> y
    goal: int = 0  # the steps that are asked for
    min_seeds: int = 1

    @property
    def marks(self) -> str:
        """What the runs want: seeds, steps, one sign each."""
        steps = self.runs[0].steps if self.runs else 0
        return shortcomings(len(self.runs), steps, self.goal or steps, self.min_seeds) if self.runs else ""

    @property
    def length(self) -> str:
        """`1000 of 250000 steps` where they are not those asked for, else nothing."""
        other = {FEW_STEPS, MORE_STEPS} & set(self.marks)
        return f"{self.runs[0].steps} of {self.goal} steps" if other else ""

    @property
    def told(self) -> str:
        """The method, its seeds, and what they want."""
        if not self.runs:
            return f"{self.label} (published only)"
        facts = [spans(run.seed for run in self.runs), *[self.length] * bool(self.length)]
        return f"{self.label} ({', '.join(facts)}){self.marks}"


class Canvas:
    """Makes the figures of one form.

    Args:
        paper: how they are printed; None: for a screen.
    """

    def __init__(self, paper: Paper | None = None) -> None:
        self.paper = paper
        self.thin = 1.0 if paper is None else 0.55  # of lines and markers
        self.told = ""  # what a picture shows, and what there is to say against it

    @contextmanager
    def style(self) -> Iterator[None]:
        """The sizes of fonts and lines, for drawing and for writing."""
        from matplotlib import rc_context

        with rc_context(PRINT if self.paper else {}):
            yield

    def size(self, points: float) -> float:
        """The size of a font that has `points` on a screen."""
        return points if self.paper is None else min(points, 6.5)

    def upright(self, label: str) -> str:
        """A label beside a panel; in print in two lines where it is longer than a panel is high."""
        return label if self.paper is None or len(label) <= HIGH else fill(label, len(label) // 2 + 1)

    def figure(self, width: float, height: float) -> "Figure":
        """An empty figure outside of matplotlib's global state; in print as wide as is asked for, to scale."""
        from matplotlib.figure import Figure

        if self.paper is not None:
            width, height = self.paper.width, height * self.paper.width / width
        figure = Figure(figsize=(width, height))
        pads = (0.1, 0.08) if self.paper is None else (0.02, 0.02)
        figure.set_layout_engine("constrained", w_pad=pads[0], h_pad=pads[1])  # inches: no label touches the next panel
        return figure

    def axes(
        self, title: str, panels: int, across: int = ACROSS, size: tuple[float, float] = (4.3, 3.9)
    ) -> "tuple[Figure, list[Axes]]":
        """A figure of panels, at most `across` beside each other; in print as many as have room, or one a line."""
        if self.paper is not None:
            fitting = max(int(self.paper.width / NARROW), 1)
            across = across if min(panels, across) <= fitting else 1
        rows, columns = math.ceil(panels / across), min(panels, across)
        if self.paper is None:
            figure = self.figure(size[0] * columns, size[1] * rows + 0.4 * (rows > 1))
        else:
            panel = self.paper.width / columns
            figure = self.figure(self.paper.width, rows * min(0.85 * panel, TALL) + 0.25)
        axes = list(figure.subplots(rows, columns, squeeze=False).flat)
        for ax in axes[panels:]:
            ax.set_axis_off()
        for ax in axes[:panels]:
            self.ruled(ax)
        self.title(figure, title)
        return figure, axes[:panels]

    def strip(self, title: str, panels: int, groups: int) -> "tuple[Figure, list[Axes]]":
        """As `axes`, for panels of many groups of bars."""
        return self.axes(title, panels, across=1, size=(12.9, 2.5))

    def ruled(self, ax: "Axes") -> None:
        """Draw faint lines behind what a panel shows."""
        ax.grid(axis="y", alpha=0.3, linewidth=0.8 * self.thin)
        ax.set_axisbelow(True)

    def deepen(self, figure: "Figure", axes: "Sequence[Axes]") -> None:
        """Make a printed picture taller by what names below its panels take, so that the panels keep their height."""
        if self.paper is not None:
            lines = {place.rowspan.start for ax in axes if (place := ax.get_subplotspec())}
            figure.set_figheight(figure.get_figheight() + len(lines) * max(depth(ax.xaxis) for ax in axes))

    def title(self, figure: "Figure", text: str) -> None:
        """Say on a screen what a picture shows; in a paper the caption does."""
        self.told = text
        if self.paper is None:
            size = SMALL if "\n" in text else LARGE  # what there is to say against a picture may be long
            letters = int(figure.get_figwidth() / (LETTER * size))
            lines = "\n".join(fill(line, letters) for line in text.splitlines()).splitlines()
            figure.suptitle("\n".join(lines), fontsize=size)
            figure.set_figheight(figure.get_figheight() + 0.2 * max(len(lines) - 1, 0))  # the panels keep theirs

    def handles(self, series: Sequence[Series], *others: Any, published: Any, spread: Any = None) -> list[Any]:
        """The legend: methods, `others`, and how deviation and published values are drawn, where they are.

        On a screen it names seeds and signs as well; in print a text beside the file does.
        """
        screen = self.paper is None
        handles: list[Any] = [
            patch(one.told if screen else one.label, facecolor=color if one.runs else "none", edgecolor=color)
            for one, color in zip(series, COLORS)
        ]
        handles += others
        if screen:
            handles += [spread] * (spread is not None and has_spread(series))
        handles += [published] * any(one.published for one in series)
        if screen:
            handles += [stroke(text, linestyle="") for text in signs(series)]
        return handles

    def key(self, figure: "Figure", series: Sequence[Series], *others: Any, published: Any, spread: Any = None) -> None:
        """Draw the legend of methods."""
        self.legend(figure, self.handles(series, *others, published=published, spread=spread))

    def legend(self, figure: "Figure", handles: Sequence[Any], **looks: Any) -> None:
        """Draw a legend below the panels, in as many columns as have room."""
        screen = self.paper is None
        letter, gap, height = (0.075, 0.6, 0.2) if screen else (0.052, 0.42, 0.13)
        columns = columns_of([len(handle.get_label()) for handle in handles], figure.get_figwidth(), letter, gap)
        rows = math.ceil(len(handles) / columns)
        grown = height * max(rows - 2 * screen, 0)  # the panels keep their height
        figure.set_figheight(figure.get_figheight() + grown)
        tight: dict[str, Any] = (
            {} if screen else {"handlelength": 1.9, "columnspacing": 0.9, "handletextpad": 0.4, "borderpad": 0.1}
        )
        looks = tight | {"frameon": False, "fontsize": self.size(9)} | looks
        figure.legend(handles=handles, loc="outside lower center", ncols=columns, **looks)

    def save(self, figure: "Figure", path: Path, notes: Sequence[str] = ()) -> list[Path]:
        """Write PNG and SVG; in print the one file, and what there is to know of it in a text beside it.

        Raises:
            UserError: the folder cannot be written.
        """
        paper = self.paper
        kinds = ("png", "svg") if paper is None else (paper.kind,)
        made = [path.with_name(f"{path.name}.{kind}") for kind in kinds]
        undated = {"pdf": {"CreationDate": None}, "svg": {"Date": None}}
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with self.style():
                for kind, file in zip(kinds, made):
                    figure.savefig(file, dpi=150 if paper is None else 600, metadata=undated.get(kind))
            if paper is not None:
                made.append(path.with_name(f"{path.name}.txt"))
                made[-1].write_text("\n".join(notes) + "\n", encoding="utf-8")
        except OSError as error:
            raise UserError(f"out={path.parent} is not possible: {why(error)}.") from error
        return made


def is_lowest(ax: "Axes") -> bool:
    """Whether no panel stands below."""
    place = ax.get_subplotspec()
    return place is None or place.is_last_row()


def has_spread(series: Sequence[Series]) -> bool:
    """Whether some method has several seeds."""
    return any(len(one.runs) > 1 for one in series)


def signs(series: Sequence[Series]) -> list[str]:
    """What the signs behind the methods mean."""
    return wanting({sign for one in series for sign in one.marks}, max(one.min_seeds for one in series))


def stroke(label: str, **style: Any) -> "Line2D":
    """A line of the legend."""
    from matplotlib.lines import Line2D

    return Line2D([], [], color="black", label=label, **style)


def patch(label: str, **style: Any) -> "Patch":
    """An area of the legend."""
    from matplotlib.patches import Patch

    return Patch(label=label, **style)


def columns_of(lengths: Sequence[int], width: float, letter: float, gap: float) -> int:
    """How many columns of a legend stand beside each other in `width` inches, for labels of so many letters."""
    for columns in range(len(lengths), 1, -1):
        widest = [max(part) for part in np.array_split(lengths, columns)]
        if sum(gap + letter * letters for letters in widest) <= width:
            return columns
    return 1
