"""Figures of a run, from plain arrays; C classes, in label order (0 = most labeled images)."""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axis import Axis
    from matplotlib.figure import Figure

logging.getLogger("matplotlib").setLevel(logging.WARNING)  # it tells of its font cache when it is first used

ANNOTATED = 20  # up to so many classes each cell bears its number
DPI = 150
LONGEST_NAME = 20  # letters of a class's name that have room at an axis
SERIES = (("recall", "#1f77b4", -0.2), ("precision", "#d95f02", 0.2))  # name, color, place of the bar


def confusion_figure(counts: np.ndarray, path: Path, names: Sequence[str] = ()) -> None:
    """Draw a confusion matrix [C,C] (rows = truth) in percent of each row, as PNG.

    A class without images is a row of zeros. Few classes stand under their `names`, if they have any.
    """
    from matplotlib.colors import PowerNorm

    counts = np.asarray(counts, dtype=float)
    images = counts.sum(1, keepdims=True)
    percent = np.divide(100 * counts, images, out=np.zeros_like(counts), where=images > 0)
    classes = len(counts)
    figure = _figure(6.4, 5.6)
    axes = figure.subplots()
    # many classes share the errors of a row: without numbers to read, small shares must show by their color
    norm = PowerNorm(1.0 if classes <= ANNOTATED else 0.5, vmin=0, vmax=100)
    shown = axes.imshow(percent, cmap="Blues", norm=norm, interpolation="nearest")
    figure.colorbar(shown, ax=axes, label="% of the class's test images")
    axes.set(xlabel="predicted class", ylabel="true class")
    recall = np.diag(percent)[images[:, 0] > 0]
    axes.set_title(f"Confusion matrix, mean class recall {recall.mean() if recall.size else 0:.1f} %")
    _classes_at(axes.xaxis, classes, names, {"rotation": 45, "ha": "right"})
    _classes_at(axes.yaxis, classes, names, {})
    if classes <= ANNOTATED:
        size = 80 / max(classes, 9)
        for (row, column), value in np.ndenumerate(percent):
            if value >= 0.5:
                ink = "white" if value > 60 else "black"
                axes.text(column, row, f"{value:.0f}", ha="center", va="center", fontsize=size, color=ink)
    _save(figure, path)


def pseudo_label_figure(
    recall: Sequence[float], precision: Sequence[float], path: Path, names: Sequence[str] = ()
) -> None:
    """Draw recall and precision (fractions [C]; NaN = undefined) of the pseudo-labels of each class, as PNG.

    Few classes stand over their `names`, if they have any.
    """
    values = [np.asarray(list(series), dtype=float) for series in (recall, precision)]
    classes = np.arange(len(values[0]))
    figure = _figure(8.0, 4.0)
    axes = figure.subplots()
    undefined = False
    for series, (name, color, shift) in zip(values, SERIES, strict=True):
        known = np.isfinite(series)
        label = f"{name} (mean {series[known].mean() if known.any() else 0:.2f})"
        if len(classes) <= ANNOTATED:
            axes.bar(classes + shift, series, width=0.4, color=color, label=label)
        else:
            axes.plot(classes, series, ".", markersize=4, color=color, alpha=0.5)
            axes.plot(classes, _smooth(series), color=color, label=label)
        axes.plot(classes[~known] + shift, np.full((~known).sum(), 0.02), "x", markersize=5, color=color)
        undefined |= not known.all()
    axes.set(ylabel="fraction", ylim=(0, 1.02), xlim=(-0.6, len(classes) - 0.4))
    axes.set_xlabel("class (0 has most labeled images)" + "; x: undefined, nothing to count" * undefined)
    axes.set_title("Pseudo-labels of the last evaluation period")
    _classes_at(axes.xaxis, len(classes), names, {"rotation": 45, "ha": "right"})
    axes.grid(axis="y", alpha=0.3)
    axes.set_axisbelow(True)
    figure.legend(loc="outside lower center", ncols=2, frameon=False)
    _save(figure, path)


def _figure(width: float, height: float) -> "Figure":
    """An empty figure outside of matplotlib's global state, so that runs in one process do not meet."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def _classes_at(axis: "Axis", classes: int, names: Sequence[str], style: dict[str, Any]) -> None:
    """Mark the classes on an axis: few by their names in a `style`, if they have names; else by their numbers."""
    ticks = list(range(0, classes, 1 if classes <= ANNOTATED else 10))
    if len(names) == classes <= ANNOTATED:
        axis.set_ticks(ticks, [name[:LONGEST_NAME] for name in names], **style)
    else:
        axis.set_ticks(ticks)


def _smooth(series: np.ndarray, width: int = 9) -> np.ndarray:
    """Running mean over `width` neighbouring classes, passing over NaN."""
    padded = np.pad(series, width // 2, constant_values=np.nan)
    windows = np.lib.stride_tricks.sliding_window_view(padded, width)
    known = np.isfinite(windows)
    total = np.where(known, windows, 0).sum(1)
    mean: np.ndarray = np.divide(total, known.sum(1), out=np.full(len(series), np.nan), where=known.any(1))
    return mean


def _save(figure: "Figure", path: Path) -> None:
    """Write the PNG in one piece; metadata without date and version, so that equal data give equal files."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    FigureCanvasAgg(figure)
    temporary = path.with_name(f".{path.name}.tmp")
    figure.savefig(temporary, format="png", dpi=DPI, metadata={"Software": None})
    temporary.replace(path)
