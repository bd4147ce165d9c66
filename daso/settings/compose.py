"""From option files and a command line to a `Config`, and on to the run that it describes."""

import copy
import json
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields, is_dataclass, replace
from functools import cache

from hydra import compose, initialize_config_dir
from hydra.core.config_store import ConfigStore
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import MissingMandatoryValue, OmegaConfBaseException

from daso.data.sizes import class_counts, unlabeled_counts
from daso.errors import UserError
from daso.machine.devices import gpus_asked, parallel_jobs
from daso.outputs.naming import method_name
from daso.schema import ALGORITHMS, OPTIONS, UNKNOWN, Config, ImbalanceConfig, paper_t_dist, require
from daso.settings.checks import check
from daso.settings.epochs import timed
from daso.settings.identity import identified, knobs
from daso.settings.images import filled
from daso.settings.mistakes import explain, no_such_key
from daso.settings.option_files import entries, lacking
from daso.settings.options import CONF, PACKAGE, own_folders
from daso.settings.refusals import refuse_no_switch

OF_A_RECIPE = "it follows from the recipe, which recipe= chooses"
DERIVED = ("run_key", "dataset.splits_checksum", "dataset.files_checksum", "model.weights_checksum", "train.epoch")

Compose = Callable[[tuple[str, ...]], DictConfig]

CCL = {  # knob -> data set -> value, at 250,000 steps
    "start": {"cifar10": 0.042, "cifar10_reversed": 0.012, "elsewhere": 0.012},
    "momentum": {"cifar10": 0.5, "cifar10_reversed": 0.999, "elsewhere": 0.5},
    "momentum_all": {"cifar10": 0.9, "cifar10_reversed": 0.999, "elsewhere": 0.5},
}
USB_PLAIN = {"da", "flexmatch", "freematch", "softmatch"}  # parts of learners that are no imbalance method there


def t_dist(dataset: str, imb: DictConfig) -> float:
    """The paper's T_dist."""
    return paper_t_dist(dataset, _matched(imb))


def paper_darp_goal(imb: DictConfig) -> str:
    """Where DARP's class distribution comes from (App. C.3): assumed known when gamma_l = gamma_u, else estimated."""
    return "labeled" if _matched(imb) else "estimate"


def paper_align(imb: DictConfig) -> str:
    """ReMixMatch's distribution alignment in the reference's files: `da` when gamma_l = gamma_u, else `none`."""
    return "da" if _matched(imb) else "none"


def _matched(imb: DictConfig) -> bool:
    """Whether labeled and unlabeled classes are distributed alike."""
    node = _built(imb)
    return node is not None and node.matched


def _built(imb: DictConfig) -> ImbalanceConfig | None:
    try:
        node = OmegaConf.to_object(imb)
    except (UserError, OmegaConfBaseException):  # refused with its own key when the node is built
        return None
    assert isinstance(node, ImbalanceConfig)
    return node


def paper_semi_aves_lr(algorithm: str) -> float:
    """The paper's learning rate on Semi-Aves (App. C.2)."""
    known = ALGORITHMS.get(algorithm)
    return 0.04 if known is None or known.reads_unlabeled else 0.1


def paper_mu(algorithm: str) -> int:
    """The paper's unlabeled images per labeled image for a learner (Table 10)."""
    require(algorithm in ALGORITHMS, "algorithm.name", algorithm, f"one of {', '.join(ALGORITHMS)}")
    return ALGORITHMS[algorithm].unlabeled_ratio


def of(key: object, table: Mapping[object, object], other: object) -> object:
    """The entry of a table, such as `${of:${dataset.name},{stl10:16},8}`; `other` where it has none."""
    return table.get(key, other)


def usb_schedule(*, _root_: DictConfig) -> str:
    """USB's learning-rate schedule: a cosine for its plain learners, constant for every imbalance method, beside one or
    as one."""
    learner, *beside = method_name(_root_).split("_")
    rebalances = learner in ALGORITHMS and ALGORITHMS[learner].rebalances
    return "cosine" if not rebalances and {*beside} <= USB_PLAIN else "constant"


def paper_ccl(knob: str, dataset: str, imb: DictConfig, period: int) -> float:
    """A knob of CCL's published commands: CIFAR-10 has its own ones, and others again where it is reversed."""
    node = _built(imb)
    if dataset != "cifar10":
        kind = "elsewhere"
    else:
        reverse = node is not None and not isinstance(node.gamma_u, str) and node.gamma_u < 1
        kind = "cifar10_reversed" if reverse else "cifar10"
    if knob == "every":
        return max(1, period // 5) if kind == "cifar10_reversed" else period
    return CCL[knob][kind]


def cdmad_decay(learner: str, dataset: str, classes: int, imb: DictConfig) -> float:
    """Weight decay in CDMAD's code: by data set, and less from 30,000 images on, labeled and unlabeled together."""
    if dataset == "stl10" or _images(classes, imb) >= 30_000:
        return 0.02 if learner == "remixmatch" else 0.01
    return 0.08 if dataset == "cifar100" else 0.04


def _images(classes: int, imb: DictConfig) -> int:
    """Labeled and unlabeled images together, where the unlabeled set is made of training images."""
    node = _built(imb)
    if node is None or node.m1 == UNKNOWN:
        return 0
    return sum(class_counts(node.n1, node.gamma_l, classes)) + sum(unlabeled_counts(node, classes, seed=0))


def register() -> None:
    """Make schemas, resolvers and sweepers known to Hydra; may be called again, as worker processes do."""
    if (root := str(PACKAGE.parent)) not in sys.path:  # hydra_plugins lies beside the package
        sys.path.append(root)
    # Hydra copies the one store that there is for each group that its help lists; what it loads is a copy already
    setattr(ConfigStore, "__deepcopy__", lambda self, memo: self)  # noqa: B010  mypy refuses the plain assignment
    _store("schema", "config", Config)
    for group, options in OPTIONS.items():
        for name, node in options.items():
            _store(f"schema/{group}", name, node)
    _register_resolvers()


_STORED: dict[tuple[str, str], type] = {}


def _store(group: str, name: str, node: type) -> None:
    """Once in each process: to make the node of a schema takes as long as to load an option file."""
    if _STORED.get((group, name)) is not node:
        ConfigStore.instance().store(group=group, name=name, node=node)
        _STORED[group, name] = node


def _register_resolvers() -> None:
    OmegaConf.register_new_resolver("paper_t_dist", t_dist, replace=True)
    OmegaConf.register_new_resolver("paper_darp_goal", paper_darp_goal, replace=True)
    OmegaConf.register_new_resolver("paper_align", paper_align, replace=True)
    OmegaConf.register_new_resolver("paper_semi_aves_lr", paper_semi_aves_lr, replace=True)
    OmegaConf.register_new_resolver("paper_mu", paper_mu, replace=True)
    OmegaConf.register_new_resolver("place", os.path.expanduser, replace=True)
    OmegaConf.register_new_resolver("of", of, replace=True)
    OmegaConf.register_new_resolver("usb_schedule", usb_schedule, replace=True)
    OmegaConf.register_new_resolver("paper_ccl", paper_ccl, replace=True)
    OmegaConf.register_new_resolver("cdmad_decay", cdmad_decay, replace=True)
    OmegaConf.register_new_resolver("parallel_jobs", parallel_jobs, replace=True, use_cache=True)
    OmegaConf.register_new_resolver("gpus_asked", gpus_asked, replace=True)


def resolve(cfg: DictConfig, arguments: list[str] | None = None) -> Config:
    """Turn a composed configuration into a checked `Config` with its run key.

    Args:
        cfg: the configuration.
        arguments: the overrides that it came from, for what was typed; those of the command line by default.

    Raises:
        UserError: an unknown key, a value without meaning, a place without value, nodes that do not go together.
    """
    _register_resolvers()
    arguments = sys.argv[1:] if arguments is None else arguments
    _refuse_unknown_keys(cfg, arguments)
    refuse_no_switch(arguments)
    for key in DERIVED:
        value = OmegaConf.select(cfg, key)
        require(not value, key, value, "it follows from the configuration and is never set")
    for argument in arguments:
        require(not argument.lstrip("+").startswith("recipe.name="), *argument.partition("=")[::2], OF_A_RECIPE)
    for entry in entries(arguments):
        right = f"{entry.place}: {OF_A_RECIPE}"
        require(entry.key != "recipe.name" or entry.group == "recipe", entry.key, entry.value, right)
    try:
        config = OmegaConf.to_object(cfg)
    except OmegaConfBaseException as error:
        if isinstance(error, MissingMandatoryValue):
            missing = sorted(OmegaConf.missing_keys(cfg))[0]
            where = lacking(missing, arguments)
            raise UserError(f"{missing} has no value: choose one with {missing}=...{where}") from error
        raise UserError(explain(error, arguments)) from error
    assert isinstance(config, Config)
    _refuse_two_lengths(config, arguments)
    config = timed(filled(config, arguments))
    check(config, arguments)
    return identified(config)


def _refuse_two_lengths(config: Config, arguments: list[str]) -> None:
    """Refuse steps that were asked for beside epochs, which would decide: a length of a run is told once."""
    typed = {key: value for key, _, value in (argument.lstrip("+").partition("=") for argument in arguments)}
    telling = ("experiment", "train") if "train" in typed else ("experiment",)  # a recipe's `train` is not a person's
    lengths = (entry for entry in entries(arguments) if entry.key == "train.steps" and entry.group in telling)
    told = [(entry.value, f" ({entry.place})") for entry in lengths]
    if "train.steps" in typed:
        told = [(typed["train.steps"], "")]
    elif "train.epochs" in typed:  # which takes the place of a file's steps
        return
    for value, place in told if config.train.epochs else ():
        right = f"train.epochs={config.train.epochs:g} says how long the run is; train.epochs=0 leaves it to the steps"
        raise UserError(f"train.steps={value}{place} is not possible: {right}.")


def configuration(overrides: Sequence[str], composed: Compose | None = None) -> Config:
    """What `train.py` would run for a command line, without running it.

    Composing is slow, so it happens once per set of choices; imbalance and values, of which a sweep has many, are put
    on a copy.

    Args:
        overrides: the command line.
        composed: composes a configuration and keeps it.

    Raises:
        UserError: as `resolve`.
    """
    values = [item for item in overrides if item.partition("=")[0] in knobs()]
    sizes = [CONF / f"{item.replace('=', '/')}.yaml" for item in overrides if item.startswith("imbalance=")]
    plain = len(sizes) == 1 and sizes[0].is_file() and "defaults" not in (node := _option(sizes[0]))
    rest = [item for item in overrides if item not in values and not (plain and item.startswith("imbalance="))]
    try:
        cfg = copy.deepcopy((composed or _composed)(tuple(rest)))
        if plain:
            cfg.imb = OmegaConf.merge(cfg.imb, node)
        for override in OverridesParser.create().parse_overrides(values):
            OmegaConf.update(cfg, override.key_or_group, override.value())
    except Exception as error:
        raise UserError(explain(error, list(overrides))) from error
    return resolve(cfg, list(overrides))


def reseeded(config: Config, seed: int) -> Config:
    """`config` with another seed, for option files that make nothing else depend on it.

    Raises:
        UserError: as `resolve`.
    """
    config = replace(config, seed=seed)
    check(config)
    return identified(config)


_option = cache(OmegaConf.load)


@cache
def _composed(overrides: tuple[str, ...]) -> DictConfig:
    register()
    own = [f"hydra.searchpath=[{json.dumps(str(folder))}]" for folder in own_folders()]
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return compose("config", [*own, *overrides])


def _refuse_unknown_keys(node: DictConfig, arguments: list[str], path: str = "") -> None:
    """`+key=value` may add anything to a structured node: refuse what the schema does not have."""
    kind = OmegaConf.get_type(node) or Config
    if not is_dataclass(kind):  # a value that its node judges itself
        return
    known = {field.name for field in fields(kind)}
    for key in map(str, node):
        full = path + key
        if key not in known:
            raise UserError(no_such_key(full, arguments, [path + name for name in sorted(known)]))
        child = node._get_node(key)
        if isinstance(child, DictConfig) and not child._is_missing() and not child._is_interpolation():
            _refuse_unknown_keys(child, arguments, f"{full}.")
