"""Learner, slots and protocol from their records: a configuration names the class that is built from it.

So no method is named here, nor anywhere but in its own file and its record.
"""

from functools import cache, partial
from importlib import import_module
from typing import Any

import torch
from torch import Tensor

from daso.data.split import Split
from daso.learners.base import Learner, Method
from daso.nn.part import Part
from daso.protocol.base import Protocol
from daso.run.stages import assumed_counts, encoder_of
from daso.schema import NONE, Config, FixMatchAlgorithm, Passes, Record
from daso.slots.slots import Slots
from daso.types import Facts, Sizes


def facts_of(config: Config, counts: Tensor, rows: int, split: Split | None = None, shared: int = 0) -> Facts:
    """What parts may know of the run of `config`. What must be read from other runs is read when it is asked for.

    Args:
        config: of the run itself, see `own`.
        counts: [C] int64 labeled images per class.
        rows: images of the unlabeled set, the first `shared` of which are the labeled ones.
        split: which images the run uses; None where it starts from no other run.
    """

    @cache
    def assumed() -> Tensor:
        return torch.tensor(assumed_counts(config, rows), dtype=torch.float64)

    return Facts(
        num_classes=config.dataset.num_classes,
        features=config.model.features,
        channels=config.dataset.channels,
        resolution=config.dataset.resolution,
        white=tuple((1 - mean) / std for mean, std in zip(config.dataset.mean, config.dataset.std, strict=True)),
        counts=counts,
        unlabeled=rows,
        sizes=Sizes(config.train.batch_size, config.train.batch_size * config.train.mu),
        threshold=getattr(config.algorithm, "threshold", FixMatchAlgorithm.threshold),
        floor=getattr(config.algorithm, "floor", 0.0),
        steps=config.train.steps,
        phase_steps=config.phase_steps,
        assumed=assumed,
        encoder=partial(encoder_of, config, split) if split is not None else dict,
        separate=config.train.passes is Passes.separate,
        shared=shared,
    )


def build_method(config: Config, facts: Facts, device: torch.device, dtype: torch.dtype) -> Method:
    """The learner that `algorithm` names, and the slots that are filled.

    Raises:
        AssertionError: two parts take the same name, or the same place.
    """
    learner = class_of(config.algorithm).of(config.algorithm, facts)
    assert isinstance(learner, Learner), "algorithm names a learner"
    nodes = [node for name, node in config.records.items() if name not in ("algorithm", "protocol")]
    filled = frozenset[str]().union(*(node.places for node in nodes if node.name != node.absent))
    nodes = [node for node in nodes if node.name != node.absent or not node.places & filled]  # what others fill, anew
    parts = [class_of(node).of(node, facts) for node in nodes if node.part and node.name != NONE]
    assert all(isinstance(part, Part) for part in parts), "a slot is a part"
    return Method(learner.to(device=device, dtype=dtype), Slots(*parts).to(device=device, dtype=dtype))


def build_protocol(config: Config, facts: Facts) -> Protocol:
    """What happens between the phases of the run."""
    protocol = class_of(config.protocol).of(config.protocol, facts)
    assert isinstance(protocol, Protocol), "protocol names a protocol"
    return protocol


def class_of(record: Record) -> Any:
    """The class that a record names."""
    module, _, name = record.part.rpartition(".")
    return getattr(import_module(module), name)
