"""Pictures of methods side by side: own runs filled and solid, published values hollow and dotted.

Legend: C classes in label order (0 = most labeled images), S seeds.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeVar

import numpy as np

from daso.errors import UserError
from daso.report.collect import Run
from daso.report.stats import FEW_STEPS, MORE_STEPS, shortcomings, spans, wanting

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

COLORS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00", "#7f7f7f", "#000000")
PAPER_STEPS = 250_000
ACROSS = 3  # panels beside each other
QUANTITIES = {
    "pl_recall": ("pl/final/recall/class", "pseudo-label recall"),
    "pl_precision": ("pl/final/precision/class", "pseudo-label precision"),
    "test_top1": ("test/class", "test accuracy (%)"),
}
SPREAD = "± standard deviation over seeds"
CLASSES = "class (0 has most labeled images)"
STYLES: dict[str, Literal["-", "-.", "--"]] = {"overall": "-", "majority": "-.", "minority": "--"}
Array = np.ndarray[Any, Any]
Item = TypeVar("Item")


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


def parts(classes: int) -> dict[str, list[int]]:
    """All classes, the first and the last fifth of them (paper section 4.5, App. E.3)."""
    fifth = max(classes // 5, 1)
    return {
        "overall": list(range(classes)),
        "majority": list(range(fifth)),
        "minority": list(range(classes - fifth, classes)),
    }


def groups(classes: int) -> list[list[int]]:
    """Head, middle and tail as in Figure 2: of ten classes three, four and three."""
    edge = round(0.3 * classes)
    return [list(range(edge)), list(range(edge, classes - edge)), list(range(classes - edge, classes))]


def bars(series: Sequence[Series], chosen: Sequence[list[int]], title: str) -> "Figure":
    """Grouped bars over groups of classes: recall, precision, accuracy (Figure 2 with `groups`).

    More than six groups have a line of the picture for each quantity.
    """
    long = len(chosen) > 2 * ACROSS
    title = _titled(title, series)
    figure, axes = _axes(title, 3, across=1, size=(12.9, 2.5)) if long else _axes(title, 3)
    names = [f"C{ks[0]}-C{ks[-1]}" if len(ks) > 1 else f"C{ks[0]}" for ks in chosen]
    for ax, (quantity, (metric, label)) in zip(axes, QUANTITIES.items()):
        drawn = [
            (color, own, one.published.get((quantity, "")))
            for one, color in zip(series, COLORS)
            for own in [per_class(one.runs, metric)]
        ]
        width = 0.8 / max(sum((own is not None) + bool(known) for _, own, known in drawn), 1)
        place = np.arange(len(chosen)) - 0.4 + width / 2
        for color, own, known in drawn:
            if own is not None:
                heights = np.array([[_mean(row[ks]) for ks in chosen] for row in own])
                spread = heights.std(0, ddof=1) if len(heights) > 1 else None
                ax.bar(place, heights.mean(0), 0.9 * width, color=color, yerr=spread, capsize=2)
                place = place + width
            if known:
                values = [known.get(name, math.nan) for name in names]
                ax.bar(place, values, 0.9 * width, fill=False, ec=color, hatch="///")
                place = place + width
        ax.set(ylabel=label, xticks=range(len(chosen)), ylim=(0, _top(quantity)))
        ax.set_xticklabels(names)
        if not long or ax is axes[-1]:
            ax.set_xlabel(CLASSES)
    bar = _line(SPREAD, linestyle="", marker="|", markersize=12)
    _key(figure, series, published=_patch("published", fill=False, edgecolor="black", hatch="///"), spread=bar)
    return figure


def curves(series: Sequence[Series], classes: int, title: str, shown: Sequence[str]) -> "Figure":
    """Pseudo-label recall and test accuracy over training (Figures 3 and 10); `shown` are keys of `parts`."""
    figure, axes = _axes(_titled(title, series), 2)
    steps = {run.steps for one in series for run in one.runs}
    share = (bool(steps - {PAPER_STEPS}) and any(one.published for one in series)) or len(steps) > 1
    for ax, quantity in zip(axes, ("pl_recall", "test_top1")):
        metric, label = QUANTITIES[quantity]
        for one, color in zip(series, COLORS):
            for part in shown:
                classes_of = parts(classes)[part]
                x, y, spread = curve(one.runs, metric, classes_of)
                if len(x):
                    x = x / max(run.steps for run in one.runs) * 100 if share else x
                    ax.plot(x, y, STYLES[part], color=color, linewidth=1.8)
                    ax.fill_between(x, y - spread, y + spread, color=color, alpha=0.15, linewidth=0)
                if known := one.published.get((quantity, part)):
                    at = np.array([float(step) for step in known]) * (100 / PAPER_STEPS if share else 1)
                    ax.plot(at, list(known.values()), STYLES[part], color=color, linewidth=0.8, alpha=0.55)
        ax.set(ylabel=label, xlabel="% of training" if share else "steps", ylim=(0, _top(quantity)))
        ax.xaxis.set_major_formatter(lambda x, _: f"{x / 1000:g}k" if x >= 10_000 else f"{x:g}")
    band, thin = _patch(SPREAD, facecolor="black", alpha=0.15), _line("published", linewidth=0.8, alpha=0.55)
    _key(figure, series, *[_line(part, linestyle=STYLES[part]) for part in shown], published=thin, spread=band)
    return figure


def scatter(series: Sequence[Series], classes: int, title: str) -> "Figure":
    """Recall, precision and accuracy of each class, means over seeds, with least-squares lines (Figures 5 to 8)."""
    figure, axes = _axes(_titled(title, series), 3)
    for ax, (quantity, (metric, label)) in zip(axes, QUANTITIES.items()):
        for one, color in zip(series, COLORS):
            if (own := per_class(one.runs, metric)) is not None:
                with np.errstate(all="ignore"):
                    _points(ax, np.arange(classes), _means(own), color, own=True)
            if known := one.published.get((quantity, "")):
                at = np.array([int(name[1:]) for name in known])
                _points(ax, at, np.array(list(known.values())), color, own=False)
        ax.set(ylabel=label, xlabel=CLASSES, ylim=_whole(quantity))
    hollow = _line("published", linestyle=":", linewidth=1.2, marker="o", markerfacecolor="none")
    _key(figure, series, _line("least-squares line", linewidth=1.6), published=hollow)
    return figure


def matrices(rows: Mapping[str, Mapping[str, Array]], title: str) -> "Figure":
    """Confusion matrices [C,C] (rows = truth, normalised to 1) by origin and method (Figure 9).

    The matrices of a method stand below each other.
    """
    labels = list(dict.fromkeys(label for row in rows.values() for label in row))
    lines = [
        (origin, line) for line in _lines(labels) for origin, row in rows.items() if any(label in row for label in line)
    ]
    columns = min(len(labels), ACROSS)
    figure = _figure(3.6 * columns, 3.7 * len(lines) + 0.6)
    grid = figure.subplots(len(lines), columns, squeeze=False)
    for ax in grid.flat:
        ax.set_axis_off()
    for axes, (origin, line) in zip(grid, lines):
        for ax, label in zip(axes, line):
            if (matrix := rows[origin].get(label)) is not None:
                _matrix(ax, matrix, f"{label}, {origin}: {100 * np.diag(matrix).mean():.1f} %")
    figure.suptitle(f"{title}\n(share of each true class; in percent: mean of the diagonal)")
    return figure


def clouds(embeddings: Mapping[str, tuple[Array, Array]], title: str) -> "Figure":
    """Points [N,2] coloured by their class [N] (-1: unknown), one panel a method (Figures 4 and 11)."""
    figure, axes = _axes(title, len(embeddings), size=(4.3, 4.2))
    for ax, (label, (points, y)) in zip(axes, embeddings.items()):
        known = sorted(set(y.tolist()) - {-1})
        ax.scatter(points[y < 0, 0], points[y < 0, 1], s=5, color="#999999", linewidths=0)
        for k in known:
            color = _color(known.index(k), len(known))
            ax.scatter(points[y == k, 0], points[y == k, 1], s=5, color=color, linewidths=0, label=f"C{k}")
        ax.set_title(label, fontsize=10)
        ax.set(xticks=[], yticks=[])
        ax.grid(visible=False)
    handles, names = axes[0].get_legend_handles_labels()
    if len(names) <= 20:
        figure.legend(
            handles, names, loc="outside lower center", ncols=10, frameon=False, markerscale=3, handletextpad=0.1
        )
    return figure


def save(figure: "Figure", path: Path) -> list[Path]:
    """Write PNG and SVG.

    Raises:
        UserError: the folder cannot be written.
    """
    made = [path.with_suffix(suffix) for suffix in (".png", ".svg")]
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        for file in made:
            figure.savefig(file, dpi=150)
    except OSError as error:
        raise UserError(f"out={path.parent} is not possible: {(error.strerror or str(error)).lower()}.") from error
    return made


def per_class(runs: Sequence[Run], metric: str) -> Array | None:
    """Final values [S,C] of all seeds, or None where no run has them; NaN for classes without a value."""
    rows = [[math.nan if v is None else v for v in run.per_class(metric)] for run in runs]
    values = np.array(rows, dtype=float)
    return values if values.size and np.isfinite(values).any() else None


def curve(runs: Sequence[Run], metric: str, classes: Sequence[int]) -> tuple[Array, Array, Array]:
    """Steps [T], and mean and sample deviation [T] over seeds of the mean over `classes`."""
    found: dict[int, list[float]] = {}
    for run in runs:
        for row in run.evaluations:
            value = _mean(np.array([row.get(f"{metric}/{k}") for k in classes], dtype=float))
            if math.isfinite(value):
                found.setdefault(int(row["step"]), []).append(value)
    steps = sorted(found)
    means = np.array([np.mean(found[step]) for step in steps])
    spread = np.array([np.std(found[step], ddof=1) if len(found[step]) > 1 else 0.0 for step in steps])
    return np.array(steps, dtype=float), means, spread


def _mean(values: Array) -> float:
    finite = values[np.isfinite(values)]
    return float(finite.mean()) if finite.size else math.nan


def _means(values: Array) -> Array:
    return np.array([_mean(column) for column in values.T])


def _points(ax: "Axes", x: Array, y: Array, color: str, own: bool) -> None:
    size = 22 if len(x) <= 20 else 7
    ax.scatter(x, y, s=size, color=color if own else "none", edgecolors=color, linewidths=0.8, alpha=0.8)
    finite = np.isfinite(y)
    if finite.sum() > 1:
        slope, offset = np.polyfit(x[finite], y[finite], 1)
        ax.plot(x, slope * x + offset, "-" if own else ":", color=color, linewidth=1.6 if own else 1.2)


def _matrix(ax: "Axes", matrix: Array, title: str) -> None:
    ax.set_axis_on()
    ax.imshow(matrix, cmap="Blues", vmin=0, vmax=1)
    ax.set(xlabel="predicted class", ylabel="true class")
    ax.set_title(title, fontsize=9)
    if len(matrix) <= 20:
        for (i, j), value in np.ndenumerate(matrix):
            if value >= 0.005:
                ink = "white" if value > 0.6 else "black"
                ax.text(j, i, f"{value:.2f}".lstrip("0"), ha="center", va="center", fontsize=6, color=ink)


def _figure(width: float, height: float) -> "Figure":
    """An empty figure outside of matplotlib's global state."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height))
    figure.set_layout_engine("constrained", w_pad=0.1, h_pad=0.08)  # inches: no label touches the next panel
    return figure


def _axes(
    title: str, panels: int, across: int = ACROSS, size: tuple[float, float] = (4.3, 3.9)
) -> "tuple[Figure, list[Axes]]":
    rows, columns = math.ceil(panels / across), min(panels, across)
    figure = _figure(size[0] * columns, size[1] * rows + 0.4 * (rows > 1))
    axes = list(figure.subplots(rows, columns, squeeze=False).flat)
    for ax in axes[panels:]:
        ax.set_axis_off()
    for ax in axes[:panels]:
        ax.grid(axis="y", alpha=0.3)
        ax.set_axisbelow(True)
    figure.suptitle(title)
    return figure, axes[:panels]


def _lines(items: Sequence[Item]) -> Iterator[Sequence[Item]]:
    """Items in the lines of a picture."""
    return (items[start : start + ACROSS] for start in range(0, len(items), ACROSS))


def _key(figure: "Figure", series: Sequence[Series], *others: Any, published: Any, spread: Any = None) -> None:
    """The legend: methods, `others`, and how deviation and published values are drawn, where they are.

    A panel that stayed empty says so.
    """
    for ax in figure.axes:
        if ax.axison and not ax.has_data():
            ax.text(0.5, 0.5, "no values", transform=ax.transAxes, ha="center", color="#6b6b6b")
    handles: list[Any] = [
        _patch(_named(one), facecolor=color if one.runs else "none", edgecolor=color)
        for one, color in zip(series, COLORS)
    ]
    handles += others
    handles += [spread] * (spread is not None and any(len(one.runs) > 1 for one in series))
    handles += [published] * any(one.published for one in series)
    signs = {sign for one in series for sign in one.marks}
    handles += [_line(text, linestyle="") for text in wanting(signs, max(one.min_seeds for one in series))]
    columns = _columns([len(handle.get_label()) for handle in handles], figure.get_figwidth())
    rows = math.ceil(len(handles) / columns)
    figure.set_figheight(figure.get_figheight() + 0.2 * max(rows - 2, 0))  # the panels keep their height
    figure.legend(handles=handles, loc="outside lower center", ncols=columns, frameon=False, fontsize=9)


def _columns(lengths: Sequence[int], width: float) -> int:
    """How many columns of a legend stand beside each other in `width` inches, for labels of so many letters."""
    for columns in range(len(lengths), 1, -1):
        widest = [max(part) for part in np.array_split(lengths, columns)]
        if sum(0.6 + 0.075 * letters for letters in widest) <= width:
            return columns
    return 1


def _line(label: str, **style: Any) -> "Line2D":
    from matplotlib.lines import Line2D

    return Line2D([], [], color="black", label=label, **style)


def _patch(label: str, **style: Any) -> "Patch":
    from matplotlib.patches import Patch

    return Patch(label=label, **style)


def _named(one: Series) -> str:
    if not one.runs:
        return f"{one.label} (published only)"
    facts = [spans(run.seed for run in one.runs), *[one.length] * bool(one.length)]
    return f"{one.label} ({', '.join(facts)}){one.marks}"


def _titled(title: str, series: Sequence[Series]) -> str:
    shown = len(COLORS)
    return f"{title}\n(the first {shown} of {len(series)} methods)" if len(series) > shown else title


def _top(quantity: str) -> float:
    return 102.0 if quantity == "test_top1" else 1.02


def _whole(quantity: str) -> tuple[float, float]:
    """Limits that cut no marker at either end."""
    return (-3.0, 103.0) if quantity == "test_top1" else (-0.03, 1.03)


def _color(index: int, count: int) -> Any:
    from matplotlib import colormaps

    return colormaps["tab10"](index) if count <= 10 else colormaps["turbo"](index / max(count - 1, 1))
