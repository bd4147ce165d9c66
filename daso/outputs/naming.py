"""What people call a run, its method and its setting, and the number that runs are compared by."""

import math
import re
import zlib
from collections.abc import Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

from daso.schema import LONG_TAILED, UNKNOWN

DIGITS = 4  # significant ones of a long number
TYPED = 10  # digits that a number may have which somebody typed
FRACTION = re.compile(r"-?\d+(\.\d+|(\.\d+)?e[-+]?\d+)")
PAPER_RECIPE = "daso"
OWN_FILES = ("folder", "csv")  # options of `dataset=` for images of a person's own
STUDY = "study "  # what the name of a sweep begins with that is a search


def method_name(config: Mapping[str, Any]) -> str:
    """The learner and the filled slots of a resolved configuration, e.g. `fixmatch_la_daso`."""
    fixed = ("dataset", "imb", "algorithm", "model", "optim", "train", "track", "recipe")
    plain = ("none", "ce", "random")
    nodes = [node for key, node in config.items() if key not in fixed and isinstance(node, Mapping)]
    slots = [node["name"] for node in nodes if "name" in node]
    return "_".join([config["algorithm"]["name"], *(name for name in slots if name not in plain)])


def dataset_name(dataset: Mapping[str, Any]) -> str:
    """What a data set of a resolved configuration is called: a person's own images by the name of their folder, such as
    `photos`, unless `dataset.name` calls them otherwise.
    """
    name = str(dataset["name"])
    folder = Path(dataset.get("lists") or dataset.get("root") or "").name
    return folder if name in OWN_FILES and name == dataset.get("reader") and folder.strip(".") else name


def recipe_name(config: Mapping[str, Any]) -> str:
    """The recipe of a resolved configuration; the paper's for a version that had no other."""
    return str(config["recipe"]["name"]) if "recipe" in config else PAPER_RECIPE


def recipe_named(config: Mapping[str, Any]) -> list[str]:
    """`recipe=usb` as one word to go on with, none where it is the paper's."""
    recipe = recipe_name(config)
    return [f"recipe={recipe}"] * (recipe != PAPER_RECIPE)


def imbalance_name(imb: Mapping[str, Any]) -> str:
    """The imbalance setting in short, e.g. `N1=500 gl=100 gu=1/100`, or with `gu=100 middle` or `M=counts-1f2e3d4c`."""
    ratios = (ratio(imb["gamma_l"]), ratio(imb["gamma_u"]))
    if imb.get("unlabeled_counts"):
        return f"{setting_name(str(imb['n1']), ratios[0], UNKNOWN)} M={counts_name(imb['unlabeled_counts'])}"
    shape = imb.get("unlabeled_shape", LONG_TAILED)  # what an older version wrote has none
    return setting_name(str(imb["n1"]), *ratios, shape)


def setting_name(n1: str, gamma_l: str, gamma_u: str, shape: str = LONG_TAILED) -> str:
    """A setting in short, without what it does not say, and what is unknown of unlabeled images that are as they come.

    Args:
        n1: labeled images of the largest class, or nothing.
        gamma_l, gamma_u: imbalance as `ratio` writes it.
        shape: of the unlabeled set.
    """
    words = {f"N1={n1}": n1, f"gl={gamma_l}": True, f"gu={gamma_u}": gamma_u != UNKNOWN, shape: shape != LONG_TAILED}
    return " ".join(word for word, there in words.items() if there)


def counts_name(counts: Sequence[int]) -> str:
    """An explicit list of images per class in short: a checksum, as it may have a hundred entries."""
    return f"counts-{zlib.crc32(','.join(map(str, counts)).encode()):08x}"


def run_name(config: Mapping[str, Any], typed: object = "") -> str:
    """What a resolved configuration is called in tables: data set, method, a recipe that is not the paper's, imbalance,
    seed; behind these what else was `typed`, as the run's card has it.
    """
    parts = (
        dataset_name(config["dataset"]),
        method_name(config),
        *recipe_named(config),
        imbalance_name(config["imb"]),
        f"s{config['seed']}",
        str(typed),
    )
    return " ".join(filter(None, parts))


def objective(summary: Mapping[str, Any]) -> float:
    """What a sweep compares runs by: the paper's number on the validation set where there is one, else on the test
    set."""
    value = summary.get("valid/top1_median20", summary.get("test/top1_median20"))
    return math.nan if value is None else float(value)


def ratio(value: float | str) -> str:
    """An imbalance in short: `100`, `1/100`, `unknown`."""
    if isinstance(value, str):
        return value
    exact = Fraction(value).limit_denominator(10**6)
    return f"1/{exact.denominator}" if exact.numerator == 1 and exact.denominator > 1 else f"{value:g}"


def typed(value: str, digits: int | None = DIGITS) -> str:
    """A number as people type it, `1e13` or `1e-5`, where a parser has made 10000000000000.0 or 1e-05 of it.

    Args:
        value: the text of a value, which may be no number.
        digits: significant ones of a number that nobody types, such as 0.8362417982471931; None: all.
    """
    if not FRACTION.fullmatch(value):
        return value
    long = digits is not None and len(re.sub(r"e.*|\D", "", value).strip("0")) > TYPED
    short = re.sub(r"e\+?(-?)0*", r"e\1", f"{float(value):.{digits}g}" if long else f"{float(value):g}")
    return short if long or ("e" in short and float(short) == float(value)) else value
