"""Figure 12: how uncertain networks are about unlabeled images of the classes and of none of them.

Legend: K bins of the entropy.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple
from zipfile import BadZipFile

import numpy as np

from daso.report.collect import Run
from daso.report.figures.canvas import Canvas, Series, patch, signs, stroke
from daso.report.figures.draw import SCREEN, Array

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COUNTS = "count_per_entropy_bin"  # of the published bars
KINDS = {"U_in": "#0072b2", "U_out": "#d55e00"}  # images of the classes, and of none
WORDS = {"U_in": "of the classes (U_in)", "U_out": "of none (U_out)"}


class Histograms(NamedTuple):
    """Images by the entropy of their prediction; means over runs."""

    edges: Array  # [K+1], nats
    images: Mapping[str, Array]  # kind -> [K]


def measured(runs: Sequence[Run]) -> Histograms | None:
    """What the runs have left, or None where none has images of both kinds."""
    found = []
    for run in runs:
        try:
            with np.load(run.folder.openset, allow_pickle=False) as kept:
                found.append((kept["edges"], kept["inside"], kept["outside"]))
        except (OSError, KeyError, ValueError, EOFError, BadZipFile):
            continue
    if not found:
        return None
    inside, outside = (np.mean([each[k] for each in found], axis=0) for k in (1, 2))
    return Histograms(found[0][0], {"U_in": inside, "U_out": outside})


def printed(series: Series) -> Histograms | None:
    """The published bars of a method, or None; bins that are not printed hold nothing."""
    bars = {kind: series.published.get((COUNTS, kind), {}) for kind in KINDS}
    spans_of = sorted({tuple(map(float, text.split("-"))) for known in bars.values() for text in known})
    if not spans_of:
        return None
    width = spans_of[0][1] - spans_of[0][0]
    bins = round(spans_of[-1][1] / width)
    images = {kind: np.zeros(bins) for kind in KINDS}
    for kind, known in bars.items():
        for text, value in known.items():
            images[kind][round(float(text.split("-")[0]) / width)] = value
    return Histograms(np.arange(bins + 1) * spans_of[-1][1] / bins, images)


def entropies(series: Sequence[Series], title: str, canvas: Canvas = SCREEN) -> "Figure | None":
    """A panel a method: own histograms filled, from zero and over each other, published ones as outlines.

    None where neither is there.
    """
    drawn = [(one, own, known) for one in series for own, known in [(measured(one.runs), printed(one))] if own or known]
    if not drawn:
        return None
    figure, axes = canvas.axes(title, len(drawn))
    for ax, (one, own, known) in zip(axes, drawn):
        for kind, color in KINDS.items():
            if own:
                _stairs(ax, own, kind, color, canvas.thin, fill=True)
            if known:
                _stairs(ax, known, kind, color, canvas.thin, fill=False)
        shown = one if own else one._replace(runs=())
        ax.set_title(one.label if canvas.paper else shown.told, fontsize=canvas.size(10))
        ax.set(xlabel="entropy of the\nprediction (nats)", ylabel="unlabeled images", xlim=(0, None), ylim=(0, None))
    handles: list[Any] = [patch(WORDS[kind], color=color, alpha=0.45) for kind, color in KINDS.items()]
    handles += [patch("published", fill=False, edgecolor="black")] * any(known for _, _, known in drawn)
    mine = [one for one, own, _ in drawn if own]
    handles += [stroke(text, linestyle="") for text in (signs(mine) if mine and canvas.paper is None else ())]
    canvas.legend(figure, handles)
    return figure


def _stairs(ax: "Axes", found: Histograms, kind: str, color: str, thin: float, fill: bool) -> None:
    ax.stairs(
        found.images[kind],
        found.edges,
        color=color,
        fill=fill,
        alpha=0.45 if fill else None,
        linewidth=0 if fill else 1.2 * thin,
    )
