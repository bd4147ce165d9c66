"""What belongs to a study beside its trials: all that is not searched, as far as any trial reads it."""

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from omegaconf import DictConfig, OmegaConf

from daso.schema import Config
from daso.settings.identity import science
from daso.settings.unread import reader_of
from hydra_plugins.daso_study._space import Searched


def corners(space: Mapping[str, Searched]) -> list[dict[str, Any]]:
    """Values of all keys: the first of each, the last ones, and between them; and each value beside the first ones."""
    values = {key: searched.values() for key, searched in space.items()}
    first = {key: mine[0] for key, mine in values.items()}
    most = max(map(len, values.values()))
    together = [{key: mine[min(i, len(mine) - 1)] for key, mine in values.items()} for i in range(most)]
    return together + [first | {key: value} for key, mine in values.items() for value in mine[1:]]


def setting(
    base: Config, tried: Iterable[Config], space: Mapping[str, Searched], seeds: Sequence[int]
) -> dict[str, str]:
    """What must not change while a study goes on, flat: as set where any trial reads it.

    Args:
        base: the configuration with no value of what is searched.
        tried: those with values of it; none of them: what `base` reads, as earlier versions wrote it down.
        space: what is searched.
        seeds: of each trial.
    """
    read: dict[str, str] = {}
    for config in tried:
        read = {key: value for key, value in _flat(science(config, True)).items() if not reader_of(config, key)} | read
    by_base = _flat(science(base))
    here = {key: value for key, value in _flat(science(base, True)).items() if key in read}  # whatever they follow from
    kept = {key: value for key, value in (by_base | read | here).items() if key not in (*space, "seed")}
    searched = {key: str(searched.distribution) for key, searched in space.items()}
    return kept | searched | {"tune.seeds": str(list(seeds))}


def telling(
    theirs: Mapping[str, str], ours: Mapping[str, str], composed: DictConfig, lines: Sequence[str]
) -> str | None:
    """The key that tells two settings apart: rather one that was typed or chosen than one that follows from others.

    Args:
        theirs, ours: the settings.
        composed: the configuration of ours, before references in it are replaced by what they refer to.
        lines: the overrides that it came from.
    """
    typed = {line.lstrip("+").partition("=")[0] for line in lines}
    differing = [key for key in theirs.keys() | ours.keys() if theirs.get(key) != ours.get(key)]
    return min(differing, key=lambda key: (_follows(composed, key), key not in typed, key), default=None)


def _follows(composed: DictConfig, key: str) -> bool:
    """Whether the value of a key follows from others, such as `${train.period}`."""
    node, _, name = key.rpartition(".")
    parent = OmegaConf.select(composed, node) if node else composed
    return isinstance(parent, DictConfig) and name in parent and OmegaConf.is_interpolation(parent, name)


def _flat(node: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """A nested configuration as {"a.b": "value"}."""
    found: dict[str, str] = {}
    for key, value in node.items():
        found |= _flat(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {prefix + key: json.dumps(value)}
    return found
