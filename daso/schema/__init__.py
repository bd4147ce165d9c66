"""The complete list of knobs: what a run can be told, with types, defaults and the checks that need one node alone.

Pure dataclasses, no Hydra here. `conf/` holds the option files, `daso/settings/compose.py` resolves them into a
`Config`. Checks that span several nodes stand in `daso/settings/checks.py`.

A field's metadata says how it enters the run key (`daso/settings/identity.py`): `NOT_SCIENCE` for what changes no
number of a run; `{"neutral": value}` for a field added later, with the value that reproduces life before the field
existed; `{"same": {value: other}}` for a value added later that means what the other one does; `{"by": field}` for a
name, which is hashed as that field's value; `read_by(...)` for a field that only some options read. `record.py` says
how a dataclass is the record of a method.
"""

from daso.schema.base import DIST, NOT_SCIENCE, UNKNOWN, Provenance, missing_reader, require, require_one_of
from daso.schema.confidence import BossConfidence, ConfidenceConfig
from daso.schema.data import AUTO, LONG_TAILED, SHAPES, DatasetConfig, ImbalanceConfig, parse_gamma_u
from daso.schema.debias import (
    AcrDebias,
    AllPrior,
    Anchors,
    Blank,
    BlankBn,
    CdmadDebias,
    Centroids,
    DebiasConfig,
    DebiasPlDebias,
    EstimateBy,
    ReversedBy,
    SimProDebias,
)
from daso.schema.labeled import ClassBalancedLoss, LogitAdjustedLoss, MarginBalancedLoss, SupervisedLossConfig
from daso.schema.learners import (
    ALGORITHMS,
    AlgorithmConfig,
    FixMatchAlgorithm,
    LabeledViews,
    MeanTeacherAlgorithm,
    MixMatchAlgorithm,
    PseudoLabelAlgorithm,
    PseudoLabels,
    RampedAlgorithm,
    RampShape,
    ReMixMatchAlgorithm,
    RetrainAlgorithm,
    SupervisedAlgorithm,
    UsadtmAlgorithm,
)
from daso.schema.protocol import (
    CrestPlusProtocol,
    CrestProtocol,
    CrtProtocol,
    EstimateProtocol,
    FrozenBn,
    ProtocolConfig,
    SamplerConfig,
)
from daso.schema.record import NONE, OPTIONS, Offer, Record
from daso.schema.run import Config
from daso.schema.slots import AbcConfig, AlignConfig, DarpConfig, DasoConfig, EmaBn, paper_t_dist, parse_blend
from daso.schema.sweep import SweepConfig
from daso.schema.training import (
    EPOCH,
    RESNETS,
    WORTH_COMPILING,
    Compile,
    ModelConfig,
    OptimConfig,
    Precision,
    Schedule,
    TrackConfig,
    TrainConfig,
)
from daso.schema.tuning import TuneConfig

__all__ = [
    "ALGORITHMS",
    "AUTO",
    "DIST",
    "EPOCH",
    "LONG_TAILED",
    "NONE",
    "NOT_SCIENCE",
    "OPTIONS",
    "RESNETS",
    "SHAPES",
    "UNKNOWN",
    "WORTH_COMPILING",
    "AbcConfig",
    "AcrDebias",
    "AlgorithmConfig",
    "AlignConfig",
    "AllPrior",
    "Anchors",
    "Blank",
    "BlankBn",
    "BossConfidence",
    "CdmadDebias",
    "Centroids",
    "ClassBalancedLoss",
    "Compile",
    "ConfidenceConfig",
    "Config",
    "CrestPlusProtocol",
    "CrestProtocol",
    "CrtProtocol",
    "DarpConfig",
    "DasoConfig",
    "DatasetConfig",
    "DebiasConfig",
    "DebiasPlDebias",
    "EmaBn",
    "EstimateBy",
    "EstimateProtocol",
    "FixMatchAlgorithm",
    "FrozenBn",
    "ImbalanceConfig",
    "LabeledViews",
    "LogitAdjustedLoss",
    "MarginBalancedLoss",
    "MeanTeacherAlgorithm",
    "MixMatchAlgorithm",
    "ModelConfig",
    "Offer",
    "OptimConfig",
    "Precision",
    "ProtocolConfig",
    "Provenance",
    "PseudoLabelAlgorithm",
    "PseudoLabels",
    "RampShape",
    "RampedAlgorithm",
    "ReMixMatchAlgorithm",
    "Record",
    "RetrainAlgorithm",
    "ReversedBy",
    "SamplerConfig",
    "Schedule",
    "SimProDebias",
    "SupervisedAlgorithm",
    "SupervisedLossConfig",
    "SweepConfig",
    "TrackConfig",
    "TrainConfig",
    "TuneConfig",
    "UsadtmAlgorithm",
    "missing_reader",
    "paper_t_dist",
    "parse_blend",
    "parse_gamma_u",
    "require",
    "require_one_of",
]
