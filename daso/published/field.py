"""What the field has published on long-tailed semi-supervised learning, by the protocol that a number was made in.

Three sources: the DASO paper's tables and USB's own runs of the same methods (`published.csv`), and the papers after
them (`field.csv`), each number with its protocol, reported rule, venue and source; `notes.csv` says what speaks against
a number. Numbers of different protocols answer different questions and are never compared: FixMatch alone gives 67.8 in
one and 72.4 in another. Imports nothing heavy.
"""

import csv
from collections.abc import Iterator
from functools import cache
from typing import NamedTuple

from daso import schema
from daso.published.cells import (
    AFTER_LA,
    DATASETS,
    LEARNERS,
    REBALANCERS,
    Setting,
    overrides_of,
    rebalancers_of,
    setting_of,
)
from daso.published.numbers import DATA, Published, footnotes, numbers

RULES = schema.RULES | {"last": "last evaluation", "unstated": "rule not stated"}
"""How a paper makes one number of a run's evaluations."""

LONG_TAILED = {printed: name for printed, name in DATASETS.items() if name != "semi_aves"}  # Semi-Aves: by its classes
COLLAPSED = 5.0  # points of deviation above which some of the runs have
USB_LABELS = {"cossl": "CoSSL"}  # methods that are not of this project


class Protocol(NamedTuple):
    """A way of training and of reporting: data, optimisation, network and evaluation."""

    title: str
    rule: str  # of `RULES`, where a number does not say otherwise
    decimals: int  # as it is printed
    recipe: bool = True  # whether `recipe=` trains in it


PROTOCOLS = {
    "daso": Protocol("DASO's code: 250,000 steps at a constant rate", "median20", 1),
    "acr": Protocol("ACR's code, also CCL's: 250,000 steps with a cosine, mu=1", "mean20", 1),
    "simpro": Protocol("SimPro's code: 43,000 steps with a cosine, mu=8 or 16", "mean20", 1),
    "usb": Protocol("USB's code and its forks: 262,144 steps", "best", 2),
    "cdmad": Protocol("CDMAD's code: Adam, balanced accuracy", "mean20", 1),
    "darp": Protocol("DARP's code: Adam", "mean20", 1, recipe=False),
    "wrn28_8": Protocol("a WRN-28-8, four times as wide as all others", "unstated", 1, recipe=False),
    "foundation": Protocol("fine-tuned foundation models", "unstated", 1, recipe=False),
    "unverified": Protocol("protocols not verified, not even alike among themselves", "unstated", 2, recipe=False),
}


class Reported(NamedTuple):
    """One published number of the field; texts as printed."""

    protocol: str  # of `PROTOCOLS`
    recipe: str  # the recipe that trains in just this way; empty for none, as of a number quoted from elsewhere
    rule: str  # of `RULES`
    metric: str  # top1 or bacc, and top1_la after logit adjustment at test time
    dataset: str  # an option of the group dataset, or a name as in `published.csv`
    setting: Setting
    method: str
    algorithm: str  # what to say on the command line, such as `fixmatch_la protocol=crest`; empty where it is not ours
    mean: str
    std: str  # empty where none is printed
    venue: str
    source: str
    table: str  # of the source; empty where it has no number
    notes: tuple[str, ...]

    @property
    def printed(self) -> str:
        """Mean and deviation as the source prints them."""
        return self.mean + (f" ± {self.std}" if self.std else "")


@cache
def reported() -> tuple[Reported, ...]:
    """Every number of the field, source by source, in the order of print."""
    return (*_of_paper(), *_of_usb(), *_of_field())


def datasets() -> list[str]:
    """The data sets that somebody has published a number on."""
    return list(dict.fromkeys(number.dataset for number in reported()))


def _of_paper() -> Iterator[Reported]:
    for number in numbers():
        if number.protocol == "paper":
            rule = "last" if number.metric == "top1_last" else "median20"
            venue = "CVPR 2022" if "daso" in rebalancers_of(number) else "CVPR 2022 (DASO)"
            found = _reported(number, "daso", rule, venue, footnotes(number))
            yield found._replace(source="DASO (CVPR 2022)", table=number.table)


def _of_usb() -> Iterator[Reported]:
    texts = _notes()
    for number in numbers():
        if number.protocol == "usb":
            words = rebalancers_of(number)
            names = [name for word in words for name in (f"usb_{number.learner}_{word}", f"usb_{word}")]
            keys = [name for name in names if name in texts][:1]
            keys += ["spread"] * (number.std is not None and number.std > COLLAPSED)
            found = _reported(number, "usb", "best", "USB results 2023", tuple(texts[key] for key in keys))
            yield found._replace(source="USB, classic_cv_imb.csv")


def _of_field() -> Iterator[Reported]:
    texts = _notes()
    with (DATA / "field.csv").open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            places = _setting(row.pop("n1"), row.pop("m1"), row.pop("gamma_l"), row.pop("gamma_u"), row.pop("shape"))
            notes = tuple(texts[key] for key in row.pop("notes").split())
            dataset = row.pop("dataset")
            yield Reported(dataset=LONG_TAILED.get(dataset, dataset), setting=places, notes=notes, **row)


def _reported(number: Published, protocol: str, rule: str, venue: str, notes: tuple[str, ...]) -> Reported:
    words = rebalancers_of(number)
    label = " + ".join([LEARNERS[number.learner], *((USB_LABELS | REBALANCERS)[word] for word in words)])
    ours = number.dataset in LONG_TAILED
    overrides = overrides_of(number) if ours else ()
    return Reported(
        protocol=protocol,
        recipe=protocol if ours else "",
        rule=rule,
        metric="top1_la" if AFTER_LA in words else "top1",
        dataset=LONG_TAILED.get(number.dataset, number.dataset),
        setting=setting_of(number),
        method=label,
        algorithm=" ".join(override.removeprefix("algorithm=") for override in overrides[2:]),
        mean=f"{number.mean:.{PROTOCOLS[protocol].decimals}f}",
        std="" if number.std is None else f"{number.std:.2f}",
        venue=venue,
        source="",
        table="",
        notes=notes,
    )


def _setting(n1: str, m1: str, gamma_l: str, gamma_u: str, shape: str) -> Setting:
    if gamma_u == "natural":
        gamma_l = "natural"
    return Setting(n1, "unknown" if gamma_u == "unknown" else m1, gamma_l, gamma_u, shape or schema.LONG_TAILED)


@cache
def _notes() -> dict[str, str]:
    with (DATA / "notes.csv").open(newline="", encoding="utf-8") as file:
        return {row["key"]: row["text"] for row in csv.DictReader(file)}
