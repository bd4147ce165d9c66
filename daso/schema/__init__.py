"""The complete list of knobs: what a run can be told, with types, defaults and the checks that need one node alone.

Pure dataclasses, no Hydra here. `conf/` holds the option files, `daso/conf.py` resolves them into a `Config`.
Checks that span several nodes stand in `daso/checks.py`.

A field's metadata says how it enters the run key (`daso/identity.py`): `NOT_SCIENCE` for what changes no number of a
run; `{"neutral": value}` for a field added later, with the value that reproduces life before the field existed.
"""

from daso.schema.base import DIST, NOT_SCIENCE, UNKNOWN, Provenance, require, require_one_of
from daso.schema.data import DatasetConfig, ImbalanceConfig, parse_gamma_u
from daso.schema.learners import ALGORITHMS, AlgorithmConfig, FixMatchAlgorithm, Offer, SupervisedAlgorithm
from daso.schema.run import Config
from daso.schema.slots import AlignConfig, DasoConfig, EmaBn, SupervisedLossConfig, parse_blend
from daso.schema.training import Compile, ModelConfig, OptimConfig, Precision, Schedule, TrackConfig, TrainConfig

__all__ = [
    "ALGORITHMS",
    "DIST",
    "NOT_SCIENCE",
    "UNKNOWN",
    "AlgorithmConfig",
    "AlignConfig",
    "Compile",
    "Config",
    "DasoConfig",
    "DatasetConfig",
    "EmaBn",
    "FixMatchAlgorithm",
    "ImbalanceConfig",
    "ModelConfig",
    "Offer",
    "OptimConfig",
    "Precision",
    "Provenance",
    "Schedule",
    "SupervisedAlgorithm",
    "SupervisedLossConfig",
    "TrackConfig",
    "TrainConfig",
    "parse_blend",
    "parse_gamma_u",
    "require",
    "require_one_of",
]
