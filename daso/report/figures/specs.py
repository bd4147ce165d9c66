"""What each figure of the paper shows: its picture, its settings and methods, what speaks against its numbers."""

from typing import NamedTuple

from daso.published.cells import AVES

C10 = ("cifar10-lt", "500", "4000", "100", "100")
C100 = ("cifar100-lt", "50", "400", "10", "10")
UNIFORM = ("cifar10-lt", "1500", "3000", "100", "1")
BIRDS = ("semi-aves:U=in+out", AVES.n1, AVES.m1, AVES.gamma_l, AVES.gamma_u)
CLASSES = {"cifar10-lt": 10, "cifar100-lt": 100, "semi-aves:U=in+out": 200}
DASO, BASE = ("fixmatch", "daso"), ("fixmatch", "none")


class Spec(NamedTuple):
    """What a figure of the paper shows."""

    kind: str  # bars, curves, scatter, matrices, clouds, entropies
    setting: tuple[str, str, str, str, str]  # data set, N1, M1, gamma_l, gamma_u
    methods: tuple[tuple[str, str], ...]  # (learner, re-balancer)
    shown: tuple[str, ...] = ("overall", "minority")
    panel: str = ""  # of figures.csv, where a figure has several settings
    remark: str = ""


def _learner(name: str) -> tuple[tuple[str, str], ...]:
    return (name, "none"), (name, "daso")


GAIN = "the text speaks of a gain of 9 overall; the published curves end at 76.3 and 68.7, Table 1 gives 8.2"
FEWEST = "published: FixMatch's recall of the fifth with fewest images ends at 0.25, Figure 5's points give 0.18"
SINGLE = "published: single runs ({}), outside the deviations of Table 3 ({})"
SCATTER = (BASE, ("usadtm", "none"), DASO)
SPECS: dict[str, tuple[Spec, ...]] = {
    "2": (Spec("bars", C10, SCATTER),),
    "3": (Spec("curves", C10, (BASE, DASO), remark=f"{FEWEST};\n{GAIN}"),),
    "4": (Spec("clouds", C10, (BASE, DASO)),),
    "5": (Spec("scatter", C10, SCATTER),),
    "6": (Spec("scatter", C100, SCATTER, remark="published points outside the drawn range are missing"),),
    "7": (Spec("scatter", UNIFORM, _learner("meanteacher"), remark=SINGLE.format("45.4, 86.5", "46.4, 87.6")),),
    "8": (Spec("scatter", UNIFORM, _learner("mixmatch"), remark=SINGLE.format("37.3, 77.2", "35.7, 73.4")),),
    "9": (Spec("matrices", C10, (BASE, DASO, ("fixmatch", "abc+daso"))),),
    "10": (
        Spec("curves", C10, (BASE, DASO), ("overall", "majority", "minority"), "a"),
        Spec(
            "curves",
            C100,
            (BASE, DASO),
            ("overall", "majority", "minority"),
            "b",
            "the paper does not say N1 and γ of its CIFAR-100 panel",
        ),
    ),
    "11": (Spec("clouds", C10, (BASE, ("fixmatch", "daso[blend=off,align=on]"), DASO)),),
    "12": (Spec("entropies", BIRDS, (BASE, DASO)),),
}
NEEDS = {
    "clouds": "features of a method that learns from unlabeled images",
    "entropies": "unlabeled images that are known to be of none of the classes",
}
"""What only some runs have, of the kinds of pictures that show it."""


def alike(name: str) -> list[str]:
    """The figures that show the same of own runs as this one, itself among them."""
    kind, shown = SPECS[name][0].kind, SPECS[name][0].shown
    return [other for other, (first, *_) in SPECS.items() if (first.kind, first.shown) == (kind, shown)]
