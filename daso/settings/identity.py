"""What a configuration is as plain data, and which run it names. Neither Hydra nor torch is needed here."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import MISSING, fields, is_dataclass, replace
from enum import Enum
from functools import cache
from typing import Any, NamedTuple, get_type_hints

import yaml

from daso.credentials import mask_all
from daso.outputs.files import sealed
from daso.outputs.rundir import RunDir
from daso.schema import OPTIONS, Config, CrtProtocol, missing_reader, require

KEY_DIGITS = 12
PROMISED = frozenset({"80969647c25f"})
"""Keys that were recorded (tests/config/test_run_key.py) before what nothing reads was hashed at its usual value."""


def plain(node: Any) -> Any:
    """A configuration as nested dicts, lists and scalars; enums as their names."""
    if is_dataclass(node):
        return {f.name: plain(getattr(node, f.name)) for f in fields(node)}
    if isinstance(node, Enum):
        return node.name
    return [plain(item) for item in node] if isinstance(node, list) else node


def science(config: Any, as_set: bool = False) -> Any:
    """The part of a configuration that decides a run's numbers.

    Left out: fields marked `NOT_SCIENCE`, fields at their `neutral` value (a knob added later orphans no finished
    run), and slots that add nothing, whose other fields are inert. A value that means the `same` as another one stands
    as that one, a name as what it names, and a knob that nothing reads in this run at its usual value.

    Args:
        config: a `Config`.
        as_set: leave also what nothing reads as it was set.
    """
    return _science(config, config, as_set)


def _science(node: Any, config: Any, as_set: bool) -> Any:
    if not is_dataclass(node):
        return plain(node)
    kept: dict[str, Any] = {}
    for f in fields(node):
        value = getattr(node, f.name)
        absent = getattr(value, "absent", None)
        if not f.metadata.get("science", True) or (absent is not None and value.name == absent):
            continue
        if not as_set and (reader := missing_reader(f, config)) and reader.usual:
            value = reader.usual(config)
        if "neutral" in f.metadata and value == f.metadata["neutral"]:
            continue
        if "by" in f.metadata:
            value = getattr(node, f.metadata["by"])
        if "same" in f.metadata:
            value = f.metadata["same"].get(value, value)
        kept[f.name] = _science(value, config, as_set)
    return kept


def run_key(config: Config) -> str:
    """The run's name: 12 hex digits of a hash over `science(config)`; the order of fields plays no part."""
    before = _digest(science(config, as_set=True))
    return before if before in PROMISED else _digest(science(config))


def _digest(content: Any) -> str:
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:KEY_DIGITS]


def identified(config: Config) -> Config:
    """`config` with what follows from it filled in: the checksums of imported splits and of files of someone's own,
    what the run to start from holds, and the run's key.

    Raises:
        UserError: files that are not there, or cannot be used: the index files that `dataset.splits` names, those that
            `dataset.verify=false` takes, those of a data set of image files, `model.weights`; or `protocol.from_run`
            names no finished run.
    """
    splits_checksum = files_checksum = ""
    if config.dataset.splits:
        from daso.data import index_files, split

        splits_checksum = split.checksum(index_files.imported(config).split)
    if config.dataset.reader:
        from daso.data.images.source import identity_of

        files_checksum = identity_of(config.dataset)
    elif not config.dataset.verify:
        from daso.data import sources

        files_checksum = sources.files_checksum(config.dataset, config.reads_unlabeled)
    weights_checksum = ""
    if config.model.weights:
        from daso.machine import weights

        weights_checksum = weights.checksum(config.model.weights, config.model.depth)
    model = replace(config.model, weights_checksum=weights_checksum)
    protocol = config.protocol
    if isinstance(protocol, CrtProtocol):
        protocol = replace(protocol, from_content=_content(config.out_root, protocol.from_run))
    dataset = replace(config.dataset, splits_checksum=splits_checksum, files_checksum=files_checksum)
    config = replace(config, dataset=dataset, model=model, protocol=protocol, run_key="")
    return replace(config, run_key=run_key(config))


def _content(out_root: str, from_run: str) -> str:
    """What the run that `protocol.from_run` names is known by; empty where it names none."""
    if not from_run:
        return ""
    run = RunDir.named(out_root, from_run)
    right = f"{run.path} is no finished run; give the key of one in out_root, or its folder"
    require(run.done.exists(), "protocol.from_run", from_run, right)
    return run.content()


def to_yaml(config: Config, came_to: Mapping[str, str] | None = None) -> str:
    """The text of `resolved.yaml`: every knob with the value that the run used, credentials masked, and a checksum.

    Args:
        config: the configuration.
        came_to: by key, what a value came to on the machine of the run, such as `auto`; a comment beside it.
    """
    lines, node = [], ""
    for line in yaml.safe_dump(mask_all(plain(config)), sort_keys=False).splitlines():
        name, _, value = line.partition(":")
        node = node if line.startswith((" ", "-")) else name
        key = f"{node}.{name.strip()}" if line.startswith("  ") else name
        found = (came_to or {}).get(key, value.strip())
        lines.append(line if found == value.strip() else f"{line} # {found}")
    return sealed("".join(f"{line}\n" for line in lines))


class Knob(NamedTuple):
    """One key of the command line."""

    type: Any
    default: Any  # MISSING where a configuration file must choose


@cache
def knobs() -> Mapping[str, Knob]:
    """Every key that a configuration can hold, over all options."""
    found: dict[str, Knob] = {}

    def visit(cls: Any, path: str) -> None:
        hints = get_type_hints(cls)
        for f in fields(cls):
            key, kind = path + f.name, hints[f.name]
            if not is_dataclass(kind):
                default = f.default_factory() if f.default_factory is not MISSING else f.default
                found.setdefault(key, Knob(kind, default))
                continue
            for node in (kind, *OPTIONS.get(f.name, {}).values()):
                visit(node, f"{key}.")

    visit(Config, "")
    return found
