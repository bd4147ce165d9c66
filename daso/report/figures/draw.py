"""Pictures of methods side by side: own runs filled and solid, published values hollow and dotted.

Legend: C classes in label order (0 = most labeled images), S seeds.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeVar

import numpy as np

from daso.report.collect import Run
from daso.report.figures.canvas import ACROSS, COLORS, SPREAD, Canvas, Series, columns_of, is_lowest, patch, stroke
from daso.report.figures.classes import CLASSES, NAMED_CLASSES, called_together, name_classes, panel_width, parts

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SCREEN = Canvas()
PAPER_STEPS = 250_000


class Quantity(NamedTuple):
    """What a panel shows of each class, or as a mean over classes."""

    metric: str  # of the journal and summary.json, of each class
    mean: str  # what its mean over classes is called
    each: str  # what it is called of a class


QUANTITIES = {
    "pl_recall": Quantity("pl/final/recall/class", "pseudo-label recall", "pseudo-label recall"),
    "pl_precision": Quantity("pl/final/precision/class", "pseudo-label precision", "pseudo-label precision"),
    "test_top1": Quantity("test/class", "balanced test accuracy (%)", "test recall (%)"),
}
BALANCED = "balanced test accuracy: mean of the recalls of the classes; the accuracy where each has as many test images"
MATRICES = "share of each true class; in percent: mean of the diagonal"
FREE, NAMES = 0.8, 0.4  # of a matrix's panel: what is left beside names at most, and how long they are
CURVES = ("pl_recall", "test_top1")
PARTS = {
    "overall": "all classes",
    "majority": "fifth with most labeled images",
    "minority": "fifth with fewest labeled images",
}
"""What a legend calls the parts of a figure; in print it has the paper's words, which are the keys."""
STYLES: dict[str, Literal["-", "-.", "--"]] = {"overall": "-", "majority": "-.", "minority": "--"}
Array = np.ndarray[Any, Any]
Item = TypeVar("Item")


def bars(
    series: Sequence[Series],
    chosen: Sequence[list[int]],
    title: str,
    canvas: Canvas = SCREEN,
    called: Sequence[str] = (),
) -> "Figure":
    """Grouped bars over groups of classes: recall, precision, accuracy (Figure 2 with `groups`).

    More than six groups have a line of the picture for each quantity. Groups stand over what people call their classes,
    where `called` has a name for each.
    """
    shown = _shown(series, lambda one, metric: per_class(one.runs, metric) is not None)
    told = titled(title, series, shown)
    long = len(chosen) > 2 * ACROSS
    figure, axes = canvas.strip(told, len(shown), len(chosen)) if long else canvas.axes(told, len(shown))
    whiskers: dict[str, Any] = {"capsize": 2 * canvas.thin, "error_kw": {"lw": 1.5 * canvas.thin}}
    single = all(len(ks) == 1 for ks in chosen)
    names = [f"C{ks[0]}-C{ks[-1]}" if len(ks) > 1 else f"C{ks[0]}" for ks in chosen]
    for ax, quantity in zip(axes, shown):
        drawn = [
            (color, own, one.published.get((quantity, "")))
            for one, color in zip(series, COLORS)
            for own in [per_class(one.runs, QUANTITIES[quantity].metric)]
        ]
        width = 0.8 / max(sum((own is not None) + bool(known) for _, own, known in drawn), 1)
        place = np.arange(len(chosen)) - 0.4 + width / 2
        for color, own, known in drawn:
            if own is not None:
                heights = np.array([[_mean(row[ks]) for ks in chosen] for row in own])
                spread = heights.std(0, ddof=1) if len(heights) > 1 else None
                ax.bar(place, heights.mean(0), 0.9 * width, color=color, yerr=spread, **whiskers)
                place = place + width
            if known:
                values = [known.get(name, math.nan) for name in names]
                ax.bar(place, values, 0.9 * width, fill=False, ec=color, hatch="///")
                place = place + width
        label = QUANTITIES[quantity].each if single else QUANTITIES[quantity].mean
        ax.set(
            ylabel=canvas.upright(label),
            xticks=range(len(chosen)),
            ylim=(0, _top(quantity)),
            xlim=(-0.5, len(chosen) - 0.5),
        )
        if called and single:
            name_classes(ax.xaxis, len(chosen), called, panel_width(figure, ax))
        else:
            ax.set_xticklabels([called_together(ks, called) for ks in chosen] if called else names)
        if is_lowest(ax):
            ax.set_xlabel(NAMED_CLASSES if called else CLASSES)
    canvas.deepen(figure, axes)
    mark = stroke(SPREAD, linestyle="", marker="|", markersize=12)
    canvas.key(figure, series, published=patch("published", fill=False, edgecolor="black", hatch="///"), spread=mark)
    return figure


def curves(
    series: Sequence[Series], classes: int, title: str, shown: Sequence[str], canvas: Canvas = SCREEN
) -> "Figure":
    """Pseudo-label recall and balanced test accuracy over training (Figures 3 and 10); `shown` are keys of `parts`."""
    quantities = _shown(series, lambda one, metric: len(curve(one.runs, metric, range(classes))[0]) > 0, CURVES)
    figure, axes = canvas.axes(titled(title, series, quantities, CURVES), len(quantities))
    steps = {run.steps for one in series for run in one.runs}
    share = (bool(steps - {PAPER_STEPS}) and any(one.published for one in series)) or len(steps) > 1
    for ax, quantity in zip(axes, quantities):
        metric, label, _ = QUANTITIES[quantity]
        for one, color in zip(series, COLORS):
            for part in shown:
                classes_of = parts(classes)[part]
                x, y, spread = curve(one.runs, metric, classes_of)
                if len(x):
                    x = x / max(run.steps for run in one.runs) * 100 if share else x
                    dot = "o" if len(x) == 1 else None  # a single evaluation is no line
                    ax.plot(x, y, STYLES[part], color=color, linewidth=1.8 * canvas.thin, marker=dot, markersize=4)
                    ax.fill_between(x, y - spread, y + spread, color=color, alpha=0.15, linewidth=0)
                if known := one.published.get((quantity, part)):
                    at = np.array([float(step) for step in known]) * (100 / PAPER_STEPS if share else 1)
                    ax.plot(
                        at, list(known.values()), STYLES[part], color=color, linewidth=0.8 * canvas.thin, alpha=0.55
                    )
        ax.set(ylabel=canvas.upright(label), xlabel="% of training" if share else "steps", ylim=(0, _top(quantity)))
        ax.xaxis.set_major_formatter(lambda x, _: f"{x / 1000:g}k" if x >= 10_000 else f"{x:g}")
    band, thin = patch(SPREAD, facecolor="black", alpha=0.15), stroke("published", linewidth=0.8, alpha=0.55)
    lines = [stroke(part if canvas.paper else PARTS[part], linestyle=STYLES[part]) for part in shown]
    canvas.key(figure, series, *lines, published=thin, spread=band)
    return figure


def scatter(
    series: Sequence[Series], classes: int, title: str, canvas: Canvas = SCREEN, called: Sequence[str] = ()
) -> "Figure":
    """Recall, precision and test recall of each class, means over seeds, with least-squares lines (Figures 5 to 8).

    Classes stand by what people call them, where `called` has a name for each.
    """
    shown = _shown(series, lambda one, metric: per_class(one.runs, metric) is not None)
    figure, axes = canvas.axes(titled(title, series, shown), len(shown))
    for ax, quantity in zip(axes, shown):
        metric, _, label = QUANTITIES[quantity]
        for one, color in zip(series, COLORS):
            if (own := per_class(one.runs, metric)) is not None:
                with np.errstate(all="ignore"):
                    _points(ax, np.arange(classes), _means(own), color, canvas.thin, own=True)
            if known := one.published.get((quantity, "")):
                at = np.array([int(name[1:]) for name in known])
                _points(ax, at, np.array(list(known.values())), color, canvas.thin, own=False)
        margin = max(0.03 * classes, 0.5)
        ax.set(ylabel=canvas.upright(label), ylim=_whole(quantity), xlim=(-margin, classes - 1 + margin))
        if called:
            name_classes(ax.xaxis, classes, called, panel_width(figure, ax))
        if is_lowest(ax):
            ax.set_xlabel(NAMED_CLASSES if called else CLASSES.replace("C0", "0"))  # the axis has numbers
    canvas.deepen(figure, axes)
    hollow = stroke("published", linestyle=":", linewidth=1.2, marker="o", markerfacecolor="none")
    canvas.key(figure, series, stroke("least-squares line", linewidth=1.6), published=hollow)
    return figure


def matrices(
    rows: Mapping[str, Mapping[str, Array]], title: str, canvas: Canvas = SCREEN, called: Sequence[str] = ()
) -> "Figure":
    """Confusion matrices [C,C] (rows = truth, normalised to 1) by origin and method (Figure 9).

    The matrices of a method stand below each other. Classes stand by what people call them, where `called` has a name
    for each.
    """
    labels = list(dict.fromkeys(label for row in rows.values() for label in row))
    lines = [
        (origin, line) for line in _lines(labels) for origin, row in rows.items() if any(label in row for label in line)
    ]
    columns = min(len(labels), ACROSS)
    figure = canvas.figure(3.6 * columns, 3.7 * len(lines) + 0.6)
    grid = figure.subplots(len(lines), columns, squeeze=False)
    for ax in grid.flat:
        ax.set_axis_off()
    for axes, (origin, beside) in zip(grid, lines):
        for ax, label in zip(axes, beside):
            if (matrix := rows[origin].get(label)) is not None:
                name = f"{label}, {origin}" if len(rows) > 1 or canvas.paper is None else label
                _matrix(ax, matrix, f"{name}: {100 * np.diag(matrix).mean():.1f} %", canvas)
                if called:
                    ax.tick_params(labelsize=canvas.size(8))
                    name_classes(ax.xaxis, len(matrix), called, FREE * panel_width(figure, ax), NAMES)
                    name_classes(ax.yaxis, len(matrix), called, FREE * panel_width(figure, ax), NAMES)
                    if ax is not axes[0]:  # the names at the first one stand for all of its line
                        ax.set(ylabel="")
                        ax.tick_params(labelleft=False)
    canvas.deepen(figure, [ax for ax in grid.flat if ax.axison])
    canvas.title(figure, f"{title}\n({MATRICES})")
    return figure


def clouds(
    embeddings: Mapping[str, tuple[Array, Array]], title: str, canvas: Canvas = SCREEN, called: Sequence[str] = ()
) -> "Figure":
    """Points [N,2] coloured by their class [N] (-1: unknown), one panel a method (Figures 4 and 11).

    Classes stand by what people call them, where `called` has a name for each.
    """
    figure, axes = canvas.axes(title, len(embeddings), size=(4.3, 4.2))
    dot = 5 * canvas.thin**2
    for ax, (label, (points, y)) in zip(axes, embeddings.items()):
        known = sorted(set(y.tolist()) - {-1})
        ax.scatter(points[y < 0, 0], points[y < 0, 1], s=dot, color="#999999", linewidths=0)
        for k in known:
            color = _color(known.index(k), len(known))
            name = called_together([k], called) if called else f"C{k}"
            ax.scatter(points[y == k, 0], points[y == k, 1], s=dot, color=color, linewidths=0, label=name)
        ax.set_title(label, fontsize=canvas.size(10))
        ax.set(xticks=[], yticks=[])
        ax.grid(visible=False)
    handles, names = axes[0].get_legend_handles_labels()
    if 0 < len(names) <= 20:
        letter, gap, most = (0.1, 0.3, 10) if canvas.paper is None else (0.06, 0.25, 5)
        figure.legend(
            handles,
            names,
            loc="outside lower center",
            ncols=min(columns_of([len(name) for name in names], figure.get_figwidth(), letter, gap), most),
            frameon=False,
            markerscale=3,
            handletextpad=0.1,
        )
    return figure


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


def _points(ax: "Axes", x: Array, y: Array, color: str, thin: float, own: bool) -> None:
    size = (22 if len(x) <= 20 else 7) * thin**2
    ax.scatter(x, y, s=size, color=color if own else "none", edgecolors=color, linewidths=0.8 * thin, alpha=0.8)
    finite = np.isfinite(y)
    if finite.sum() > 1:
        slope, offset = np.polyfit(x[finite], y[finite], 1)
        ax.plot(x, slope * x + offset, "-" if own else ":", color=color, linewidth=(1.6 if own else 1.2) * thin)


def _matrix(ax: "Axes", matrix: Array, title: str, canvas: Canvas) -> None:
    ax.set_axis_on()
    ax.imshow(matrix, cmap="Blues", vmin=0, vmax=1)
    ax.set(xlabel="predicted class", ylabel="true class")
    ax.set_title(title, fontsize=canvas.size(9))
    if len(matrix) <= 20:
        letters = 6 if canvas.paper is None else min(6.0, 0.85 * canvas.paper.width)
        for (i, j), value in np.ndenumerate(matrix):
            if value >= 0.005:
                ink = "white" if value > 0.6 else "black"
                ax.text(j, i, f"{value:.2f}".lstrip("0"), ha="center", va="center", fontsize=letters, color=ink)


def _lines(items: Sequence[Item]) -> Iterator[Sequence[Item]]:
    """Items in the lines of a picture."""
    return (items[start : start + ACROSS] for start in range(0, len(items), ACROSS))


def titled(
    title: str, series: Sequence[Series], shown: Sequence[str] = (), among: Sequence[str] = tuple(QUANTITIES)
) -> str:
    """A title that says where not all methods have room, and which quantities no run has."""
    methods = f"\n(the first {len(COLORS)} of {len(series)} methods)" * (len(series) > len(COLORS))
    absent = [QUANTITIES[quantity].each for quantity in among if shown and quantity not in shown]
    return (
        title
        + methods
        + f"\n(not measured without unlabeled images of known class: {' and '.join(absent)})" * bool(absent)
    )


def _shown(
    series: Sequence[Series], has: Callable[[Series, str], bool], among: Sequence[str] = tuple(QUANTITIES)
) -> list[str]:
    """The quantities of which there is a value, measured or published; all where there is none of any."""
    found = [
        quantity
        for quantity in among
        if any(any(q == quantity for q, _ in one.published) or has(one, QUANTITIES[quantity].metric) for one in series)
    ]
    return found or list(among)


def _top(quantity: str) -> float:
    return 102.0 if quantity == "test_top1" else 1.02


def _whole(quantity: str) -> tuple[float, float]:
    """Limits that cut no marker at either end."""
    return (-3.0, 103.0) if quantity == "test_top1" else (-0.03, 1.03)


def _color(index: int, count: int) -> Any:
    from matplotlib import colormaps

    return colormaps["tab10"](index) if count <= 10 else colormaps["turbo"](index / max(count - 1, 1))
