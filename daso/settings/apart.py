"""What tells runs apart that have one name: the knobs that decide their numbers and that no name has."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from daso.errors import UserError
from daso.outputs.naming import dataset_name, run_name, typed
from daso.schema import Config
from daso.settings.identity import science
from daso.settings.images import following
from daso.settings.restored import flat, restore

NAMED = ("imb.", "dataset.name", "seed")  # knobs, or what they begin with, that a name has
GROUPS = ("model", "optim", "train")  # whose options no name has
FILES = "dataset.files_checksum"
DIGITS = 6  # of a checksum, where they tell


def decisive(config: Config) -> dict[str, Any]:
    """The knobs that decide a run's numbers, by dotted keys, without those that follow from others; imported splits by
    the folder that a person named.
    """
    left_out = following(config.dataset)
    knobs = {key: value for key, value in flat(science(config)).items() if key not in left_out}
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
    """For each resolved configuration the knobs that differ among those of its name but for the seed, such as `lr=0.1`;
    nothing of one that cannot be read.
    """
    named: dict[str, list[int]] = {}
    datasets: dict[str, list[int]] = {}
    restored: dict[int, Config] = {}
    for place, config in enumerate(configs):
        try:
            named.setdefault(run_name({**(config or {}), "seed": ""}), []).append(place)
            datasets.setdefault(dataset_name((config or {})["dataset"]), []).append(place)
            restored[place] = restore(dict(config or {}))
        except (AttributeError, KeyError, TypeError, ValueError, UserError):  # of another version
            continue
    files: dict[int, str] = {}
    for places in datasets.values():
        called = called_files(restored[place] for place in places if place in restored)
        files |= {place: called[restored[place].dataset.files_checksum] for place in places if place in restored}
    words: list[list[str]] = [[] for _ in configs]
    for places in (places for places in named.values() if len(places) > 1):
        knobs = {place: decisive(restored[place]) for place in places if place in restored}
        for key in dict.fromkeys(key for some in knobs.values() for key in some if key != "seed"):
            values = {place: some[key] for place, some in knobs.items() if key in some}
            said = {place: written(value) for place, value in values.items()}
            if len({*map(repr, values.values())}) == 1 and len(values) == len(knobs):
                continue
            if len({*said.values()}) < len({*map(repr, values.values())}):  # rounded, they are alike
                said = {place: str(value) for place, value in values.items()}
            for place, value in said.items():
                words[place].append(files[place] if key == FILES else f"{key.rpartition('.')[2]}={value}")
    return words


def called_files(configs: Iterable[Config]) -> dict[str, str]:
    """What tells files of one name apart, by their checksum: as much of the paths of a person's own as differs, such as
    `root=july/photos`; some digits of the checksum where one path had several, or the files have a published name.
    """
    datasets = {config.dataset.files_checksum: config.dataset for config in configs}
    places = {files: Path(dataset.lists or dataset.root).parts for files, dataset in datasets.items()}
    own = all(dataset.reader for dataset in datasets.values())
    for length in range(1, max(map(len, places.values()), default=0) + 1):
        tails = {files: "/".join(parts[-length:]) for files, parts in places.items()}
        if own and len({*tails.values()}) == len(tails) and all(tails.values()):
            return {files: f"root={tail}" for files, tail in tails.items()}
    short = len({files[:DIGITS] for files in datasets}) == len(datasets)
    return {files: f"{FILES.rpartition('.')[2]}={files[: DIGITS if short else None]}" for files in datasets}


def written(value: Any) -> str:
    """The value of a knob as people type it, long numbers in four digits."""
    if isinstance(value, list):
        return f"[{','.join(map(written, value))}]"
    return str(value).lower() if isinstance(value, bool) else typed(str(value))
