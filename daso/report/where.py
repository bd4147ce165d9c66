"""Settings of class sizes and imbalance: those of runs, those that are asked for, and those that a person writes."""

import re
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import NamedTuple

from daso.errors import UserError
from daso.outputs.naming import counts_name, dataset_name, imbalance_name, ratio, recipe_name
from daso.published.cells import DATASETS, TITLES, Setting
from daso.report.chosen import SHOWN, none_has
from daso.report.collect import Run
from daso.report.stats import listed
from daso.schema import LONG_TAILED, SHAPES, parse_gamma_u

OPTION = re.compile(r"(?P<dataset>\w+?)_n(?P<n1>\d+)(_m(?P<m1>\d+))?_g(?P<gamma_l>\d+)(_(?P<kind>\w+))?")
WORDS = {  # how people and tables write it -> what it is
    **dict.fromkeys(("n1", "imb.n1"), "n1"),
    **dict.fromkeys(("m1", "imb.m1"), "m1"),
    **dict.fromkeys(("gamma_l", "imb.gamma_l", "γl", "gl"), "gamma_l"),
    **dict.fromkeys(("gamma_u", "imb.gamma_u", "γu", "gu"), "gamma_u"),
    **dict.fromkeys(("gamma", "γ", "g"), "gamma"),
}
FORMS = "an option of imbalance=, such as cifar10_n500_m4000_g100, or as tables print it:"
PRINTED = "cifar10 N1=500 M1=4000 γ=100"


Heads = Callable[[], Sequence[str]]


class Where(NamedTuple):
    """Which settings are asked for; empty for all of them."""

    dataset: str = ""
    n1: str = ""
    m1: str = ""
    gamma_l: str = ""
    gamma_u: str = ""
    shape: str = ""
    recipe: str = ""  # a protocol of `PROTOCOLS`

    def has(self, dataset: str, setting: Setting, protocol: str) -> bool:
        """Whether something of this setting and protocol is asked for."""
        have = {**setting._asdict(), "dataset": dataset, "recipe": protocol}
        return all(value in ("", have[key]) for key, value in self._asdict().items())

    def has_run(self, run: Run) -> bool:
        """Whether a run is asked for; one of labels alone is whatever its unlabeled set would be."""
        setting, wanted = setting_of_run(run), self
        if not run.settings.reads_unlabeled:
            wanted = self.labeled
        names = (run.config["dataset"]["name"], dataset_name(run.config["dataset"]))
        return any(wanted.has(name, setting, recipe_name(run.config)) for name in names)

    def among(self, runs: Sequence[Run]) -> list[Run]:
        """The runs that are asked for.

        Raises:
            UserError: there are runs, but none of these settings; or none that reads unlabeled images, where some have
                these labeled ones.
        """
        found = [run for run in runs if self.plain.has_run(run)]
        readers = [run for run in runs if run.settings.reads_unlabeled and self.plain.labeled.has_run(run)]
        deciding = [run for run in found if run.settings.reads_unlabeled or not readers]
        if runs and not deciding:
            raise self._of_none(readers or runs)
        return found

    def _of_none(self, runs: Sequence[Run]) -> UserError:
        """What to say where no run is of the settings: the first value that none has, else which settings there are."""
        plain = self.plain
        for key, value in plain._asdict().items():
            values = [_value(run, key) for run in runs]
            if value and not any(Where(**{key: value}).has_run(run) for run in runs):
                return none_has(key, getattr(self, key), values)
        near = [run for run in runs if Where(dataset=plain.dataset).has_run(run)] or list(runs)
        have = dict.fromkeys(f"{_value(run, 'dataset')} {imbalance_name(run.config['imb'])}" for run in near)
        shown = listed([*[*have][:SHOWN], *["others"] * (len(have) > SHOWN)])
        return UserError(f"{self} is not possible: no run is of this setting; there are runs of {shown}.")

    @property
    def labeled(self) -> "Where":
        """The same without what is asked of the unlabeled set."""
        return self._replace(m1="", gamma_u="", shape="")

    @property
    def plain(self) -> "Where":
        """The same with the ratio of the unlabeled set as tables print it: `1/100` for `0.01`."""
        return self._replace(gamma_u=_ratio(self.gamma_u))

    def __str__(self) -> str:
        return " ".join(f"{key}={value}" for key, value in self._asdict().items() if value)


ANYWHERE = Where()


class Place(NamedTuple):
    """A setting of a data set; empty where a person leaves something unsaid."""

    dataset: str
    setting: Setting
    rest: str = ""  # what else tells columns apart, such as `steps=2000`
    unset: bool = False  # whether a column's head tells nothing else that somebody has set

    def fits(self, dataset: str, setting: Setting) -> bool:
        """Whether a column of these may be meant."""
        alike = all(own in ("", other) for own, other in zip(self.setting, setting))
        return self.dataset == dataset and alike and not self.rest


def setting_of_run(run: Run) -> Setting:
    """The setting of a run, in the words of the published ones."""
    imb = run.config["imb"]
    shape = imb.get("unlabeled_shape", LONG_TAILED)  # an older version has none
    if imb.get("unlabeled_counts"):
        shape = counts_name(imb["unlabeled_counts"])
    return Setting(str(imb["n1"]), str(imb["m1"]), ratio(imb["gamma_l"]), ratio(imb["gamma_u"]), shape)


def _value(run: Run, key: str) -> str:
    """What a run has of a field of `Where`."""
    if key == "dataset":
        return dataset_name(run.config["dataset"])
    return recipe_name(run.config) if key == "recipe" else str(getattr(setting_of_run(run), key))


def read_place(text: str, heads: Heads = tuple) -> Place:
    """The setting that a person writes: as an option of `imbalance=`, or as the heads of tables print it.

    Args:
        text: what is written.
        heads: of the columns that may be meant, for an example.

    Raises:
        UserError: it is neither.
    """
    if option := OPTION.fullmatch(text.strip()):
        kind, gamma = option["kind"] or "", option["gamma_l"]
        gamma_u = {"uniform": "1", "reversed": f"1/{gamma}"}.get(kind, gamma)
        shape = kind if kind in SHAPES else LONG_TAILED
        if kind in ("", "uniform", "reversed", *SHAPES):
            unknown = option["dataset"] == "stl10"
            m1, gamma_u = ("unknown", "unknown") if unknown else (option["m1"] or "", gamma_u)
            return Place(option["dataset"], Setting(option["n1"], m1, gamma, gamma_u, shape))
    titles = {title.lower(): name for name, title in TITLES.items()} | DATASETS
    first, *words = text.replace(",", " ").split() or [""]
    found: dict[str, str] = {}
    shapes, others = [], []
    for word in words:
        key, equals, value = word.partition("=")
        if equals and value and key.lower() in WORDS:
            found[WORDS[key.lower()]] = value
        elif equals and value:
            others.append(word)
        else:
            shapes.append(word)
    shape = "_".join(shapes) or LONG_TAILED
    if not found or "=" in first or not re.fullmatch(r"[\w-]+", shape):
        raise UserError(f"{FORMS} {_like(text, heads())}")
    both = _ratio(found.get("gamma", ""))
    gamma_l = _ratio(found.get("gamma_l", both))
    gamma_u = _ratio(found.get("gamma_u", "" if shapes else gamma_l))
    setting = Setting(found.get("n1", ""), found.get("m1", ""), gamma_l, gamma_u, shape)
    return Place(titles.get(first.lower(), first), setting, " ".join(others))


def _like(text: str, heads: Sequence[str]) -> str:
    """The head that ends in what is written, else the first, else one of the paper's."""
    ends = [head for head in heads if head.lower().endswith(f" {' '.join(text.split())}".lower())]
    return next(iter([*ends, *heads, PRINTED]))


def _ratio(text: str) -> str:
    with suppress(UserError):  # a word such as `natural`
        return ratio(parse_gamma_u(text)) if text else ""
    return text
