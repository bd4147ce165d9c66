"""Which configuration and which metric give a published cell, and which cells a configuration gives.

A configuration is a tuple of overrides of `train.py` without the seed, such as
`("dataset=cifar10", "imbalance=cifar10_n500_m4000_g100", "algorithm=fixmatch_daso")`. Equal configurations have equal
tuples, so that a run that serves several cells is trained once.
"""

import re
from functools import cache
from typing import NamedTuple

from daso.errors import UserError
from daso.published.numbers import Published, footnotes, numbers
from daso.schema import ALGORITHMS, LONG_TAILED, OPTIONS

TABLES = ("1", "2", "3", "4", "5", "6", "7", "8", "11", "12", "13", "14", "15", "16", "17")
"""The paper's tables on CIFAR-10, CIFAR-100 and STL-10, and Table 4 on Semi-Aves."""

DATASETS = {
    "cifar10-lt": "cifar10",
    "cifar100-lt": "cifar100",
    "stl10-lt": "stl10",
    "semi-aves:U=in": "semi_aves",
    "semi-aves:U=in+out": "semi_aves",
}
TITLES = {"cifar10": "CIFAR10-LT", "cifar100": "CIFAR100-LT", "stl10": "STL10-LT", "semi_aves": "Semi-Aves"}
AVES_KNOBS = {  # that the paper sets otherwise there, by re-balancer
    "crest": ("protocol.generations=3", "protocol.alpha=1.4285714285714286"),  # its exponent is 1 / alpha: 0.7
    "crest+": ("protocol.generations=3", "protocol.alpha=1.4285714285714286"),
}
OTHERS = ("usb", "seval")  # protocols of others than the paper
AFTER_LA = "la-inf"  # not trained: the run of the other re-balancers, read after subtracting the log prior
LEARNERS = {name: record.printed for name, record in ALGORITHMS.items()}
PRINTED = {
    name: record.printed
    for node, options in OPTIONS.items()
    for name, record in options.items()
    if node != "algorithm" and record.printed and name != record.absent
}
OPTION_WORDS = {printed.lower(): name for name, printed in PRINTED.items()}
REBALANCERS = {printed.lower(): printed for printed in PRINTED.values()} | {AFTER_LA: "LA (inf)"}
METRIC, METRIC_AFTER_LA, METRIC_LAST = "test/top1_median20", "test/top1_la_median20", "test/top1"

KNOBS = {
    "L": "daso.queue_size",
    "T_proto": "daso.t_proto",
    "lambda_align": "daso.align_weight",
    "T_dist": "daso.t_dist",
}
PAPER_VALUES = {"L": "256", "T_proto": "0.05", "lambda_align": "1"}
PAPER_T_DIST = {"cifar10": "1.5", "stl10": "0.3"}  # of the two settings of the ablations
SWITCHES = {
    "blend=off": "daso.blend=0",
    "align=off": "daso.align_weight=0",
    "v=0": "daso.blend=0",
    "v=1": "daso.blend=1",
    "v=0.5": "daso.blend=0.5",
    "bal=off": "daso.balanced_queue=false",
    "ema=off": "daso.ema_encoder=false",
}
FULL_METHOD = {"blend=on", "align=on", "v=dist-aware", "bal=on", "ema=on"}

Overrides = tuple[str, ...]


class Setting(NamedTuple):
    """Class sizes and imbalance, as printed; the unlabeled set of STL-10 is `unknown`, what a source does not say
    empty.
    """

    n1: str
    m1: str
    gamma_l: str
    gamma_u: str
    shape: str = LONG_TAILED  # of the unlabeled classes, such as `middle`


class Cell(NamedTuple):
    """A published cell, and what gives it."""

    table: str
    dataset: str  # an option of the group dataset
    row: str  # the method
    column: str  # the setting
    overrides: Overrides
    metric: str  # a key of summary.json
    mean: float  # published, in percent
    std: float | None  # published; None where the paper prints none
    source: str
    footnotes: tuple[str, ...]
    setting: Setting
    learner: str  # an option of the group algorithm


AVES = Setting("53", "unknown", "3.53", "unknown")  # of all its cells: the counts of the published lists


def cells(table: str | int) -> list[Cell]:
    """The cells of a table, in the order of print.

    Raises:
        UserError: the paper has no such table, or its data set is not one of this project.
    """
    name = str(table)
    if name not in TABLES:
        raise UserError(f"table={name} is not possible: one of {', '.join(TABLES)}.")
    return list(_cells(name))


def grid(table: str | int, dataset: str | None = None) -> list[Overrides]:
    """The distinct configurations of a table, or of its part on one data set, in the order of print."""
    chosen = [cell for cell in cells(table) if dataset in (None, cell.dataset)]
    if not chosen:
        known = ", ".join(dict.fromkeys(cell.dataset for cell in cells(table)))
        raise UserError(f"dataset={dataset} is not possible: Table {table} has {known}.")
    return list(dict.fromkeys(cell.overrides for cell in chosen))


def served_by(overrides: Overrides) -> list[Cell]:
    """Every cell of every table that a configuration gives."""
    return [cell for table in TABLES for cell in _cells(table) if cell.overrides == overrides]


def overrides_of(number: Published) -> Overrides:
    """The configuration of a published number."""
    dataset = DATASETS[number.dataset]
    plain, _ = _split(number.rebalancer)
    words = [OPTION_WORDS.get(word, word) for word in plain if word != AFTER_LA]
    if dataset == "semi_aves":
        algorithm = f"algorithm={'_'.join([number.learner, *words])}"
        return (f"dataset={dataset}", f"imbalance={dataset}_default", algorithm, *_of_aves(number, plain))
    return (
        f"dataset={dataset}",
        f"imbalance={imbalance_option(dataset, setting_of(number))}",
        f"algorithm={'_'.join([number.learner, *words])}",
        *_alignment(number, dataset, plain),
        *_variant(number, dataset),
    )


def algorithm_of(overrides: Overrides) -> str:
    """The option of `algorithm=` in a configuration of a published number."""
    return overrides[2].partition("=")[2]


def setting_of(number: Published) -> Setting:
    """Class sizes and imbalance of a published number."""
    if DATASETS.get(number.dataset) == "semi_aves":
        return AVES
    m1 = "unknown" if number.gamma_u == "unknown" else number.m1
    return Setting(number.n1, m1, number.gamma_l, number.gamma_u)


def has_place(number: Published) -> bool:
    """Whether the paper's data sets and kinds of imbalance can express a published number of any source."""
    if DATASETS.get(number.dataset) == "semi_aves":
        return True
    return number.dataset in DATASETS and number.gamma_u in (number.gamma_l, "1", f"1/{number.gamma_l}", "unknown")


def imbalance_option(dataset: str, setting: Setting) -> str:
    """The option of the group imbalance, such as `cifar10_n500_m4000_g100_reversed`."""
    if setting.gamma_u == "unknown":
        return f"{dataset}_n{setting.n1}_g{setting.gamma_l}"
    kind = {setting.gamma_l: "", "1": "_uniform", f"1/{setting.gamma_l}": "_reversed"}[setting.gamma_u]
    return f"{dataset}_n{setting.n1}_m{setting.m1}_g{setting.gamma_l}{kind}"


def row_label(learner: str, rebalancer: str) -> str:
    """A method as tables call it, such as `FixMatch + LA + DASO` or `FixMatch + DASO, T_dist=0.3`."""
    plain, variants = _split(rebalancer)
    label = " + ".join([LEARNERS[learner], *(REBALANCERS[word] for word in plain)])
    return ", ".join([label, *variants])


def column_label(setting: Setting) -> str:
    """A setting in short, such as `N1=500 M1=4000 gl=100 gu=1/100`."""
    sizes = f"N1={setting.n1}" + ("" if setting.m1 == "unknown" else f" M1={setting.m1}")
    return f"{sizes} gl={setting.gamma_l} gu={setting.gamma_u}"


def rebalancers_of(number: Published) -> list[str]:
    """The re-balancers of a published number, such as `["la", "crest+"]`."""
    return _split(number.rebalancer)[0]


@cache
def _cells(table: str) -> tuple[Cell, ...]:
    return tuple(_cell(number) for number in numbers() if number.table == table and number.protocol not in OTHERS)


def _cell(number: Published) -> Cell:
    plain, _ = _split(number.rebalancer)
    setting = setting_of(number)
    return Cell(
        table=number.table,
        dataset=DATASETS[number.dataset],
        row=row_label(number.learner, number.rebalancer),
        column=_aves_label(number) if setting is AVES else column_label(setting),
        overrides=overrides_of(number),
        metric=METRIC_AFTER_LA if AFTER_LA in plain else METRIC_LAST if number.metric == "top1_last" else METRIC,
        mean=number.mean,
        std=number.std,
        source=number.source,
        footnotes=footnotes(number),
        setting=setting,
        learner=number.learner,
    )


def _split(rebalancer: str) -> tuple[list[str], list[str]]:
    """`daso[bal=on,ema=off]` -> re-balancers `["daso"]`, variants `["bal=on", "ema=off"]`."""
    match = re.fullmatch(r"([^\[]+)(?:\[(.*)\])?", rebalancer)
    assert match is not None
    joined = re.sub(r"\+(?=\+|$)", "\0", match[1])  # the + that belongs to a name
    words = [word.replace("\0", "+") for word in joined.split("+")]
    return [word for word in words if word != "none"], match[2].split(",") if match[2] else []


def _variant(number: Published, dataset: str) -> Overrides:
    """The overrides of an ablation; none at the paper's own point, and none where there is no DASO to vary."""
    plain, variants = _split(number.rebalancer)
    found = []
    for variant in variants if "daso" in plain else []:
        knob, _, value = variant.partition("=")
        if variant in SWITCHES:
            found.append(SWITCHES[variant])
        elif variant not in FULL_METHOD and value != (PAPER_VALUES | {"T_dist": PAPER_T_DIST[dataset]})[knob]:
            found.append(f"{KNOBS[knob]}={value}")
    return tuple(found)


def _of_aves(number: Published, plain: list[str]) -> Overrides:
    """What a run on Semi-Aves is told beside its method; a learner of labels alone reads neither unlabeled set."""
    found = ["model=resnet34", "model.weights=imagenet"]
    if number.dataset.endswith("in+out") and number.learner != "supervised":
        found.append("dataset.unlabeled=in_out")
    return (*found, *(knob for word in plain for knob in AVES_KNOBS.get(word, ())))


def _aves_label(number: Published) -> str:
    """A column of Table 4, such as `U=in, last`."""
    kind = "last" if number.metric == "top1_last" else "median"
    return f"{number.dataset.partition(':')[2]}, {kind}"


def _alignment(number: Published, dataset: str, plain: list[str]) -> Overrides:
    """ReMixMatch + DASO was published with distribution alignment on CIFAR-100 alone."""
    return ("align=da",) if (number.learner, plain, dataset) == ("remixmatch", ["daso"], "cifar100") else ()
