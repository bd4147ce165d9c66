"""What tells runs apart that have one name: the knobs that decide their numbers and that no name has."""

from collections.abc import Mapping, Sequence
from typing import Any

from daso.errors import UserError
from daso.outputs.naming import run_name, typed
from daso.schema import Config
from daso.settings.identity import science
from daso.settings.restored import flat, restore

NAMED = ("imb.", "dataset.name", "seed")  # knobs, or what they begin with, that a name has
GROUPS = ("model", "optim", "train")  # whose options no name has
FILES = "dataset.files_checksum"


def decisive(config: Config) -> dict[str, Any]:
    """The knobs that decide a run's numbers, by dotted keys; imported splits by the folder that a person named."""
    knobs = flat(science(config))
    if knobs.pop("dataset.splits_checksum", None):
        knobs["dataset.splits"] = config.dataset.splits
    return knobs


def told(config: Config, overrides: Sequence[str]) -> list[str]:
    """What a person typed that decides a run's numbers and that its name does not have, such as `lr=0.1`.

    Args:
        config: the run's.
        overrides: as typed.
    """
    knobs, words = decisive(config), {}
    for override in overrides:
        key, _, option = override.lstrip("+").partition("=")
        if key in GROUPS:
            words[key] = f"{key}={option}"
        elif key in knobs and not key.startswith(NAMED):
            words[key] = f"{key.rpartition('.')[2]}={written(knobs[key])}"
    return list(words.values())


def differing(configs: Sequence[Mapping[str, Any] | None]) -> list[list[str]]:
    """For each resolved configuration the knobs that differ among those of its name, such as `lr=0.1`; nothing of one
    that cannot be read.
    """
    named: dict[str, list[int]] = {}
    for place, config in enumerate(configs):
        try:
            named.setdefault(run_name(config or {}), []).append(place)
        except (AttributeError, KeyError, TypeError, ValueError):  # of another version
            continue
    words: list[list[str]] = [[] for _ in configs]
    for places in (places for places in named.values() if len(places) > 1):
        knobs = {place: found for place in places if (found := _knobs(configs[place] or {}))}
        for key in dict.fromkeys(key for some in knobs.values() for key in some):
            values = {place: some[key] for place, some in knobs.items() if key in some}
            said = {place: written(value) for place, value in values.items()}
            if len({*map(repr, values.values())}) == 1 and len(values) == len(knobs):
                continue
            if len({*said.values()}) < len({*map(repr, values.values())}):  # rounded, they are alike
                said = {place: str(value) for place, value in values.items()}
            for place, value in said.items():
                words[place].append(f"{key.rpartition('.')[2]}={value}")
    return words


def written(value: Any) -> str:
    """The value of a knob as people type it, long numbers in four digits."""
    if isinstance(value, list):
        return f"[{','.join(map(written, value))}]"
    return str(value).lower() if isinstance(value, bool) else typed(str(value))


def _knobs(config: Mapping[str, Any]) -> dict[str, Any]:
    """What decides the numbers of a run whose configuration this version reads; nothing of any other."""
    try:
        knobs = decisive(restore(dict(config)))
    except UserError:
        return {}
    return knobs | ({FILES: knobs[FILES][:6]} if FILES in knobs else {})
