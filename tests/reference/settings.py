"""The reference implementation's configuration, flat, by its own names (behaviour, section 10)."""

DEFAULTS = {
    "MODEL.WITH_ROTATION_HEAD": False,
    "MODEL.DIST_ALIGN.APPLY": False,
    "MODEL.DIST_ALIGN.TEMPERATURE": 1.0,
    "MODEL.QUEUE.MAX_SIZE": 256,
    "MODEL.LOSS.WITH_LABELED_COST_SENSITIVE": False,
    "MODEL.LOSS.UNLABELED_LOSS_WEIGHT": 1.0,
    "MODEL.LOSS.WARMUP_ITERS": 200000,
    "MODEL.LOSS.COST_SENSITIVE.LOSS_OVERRIDE": "",
    "MODEL.LOSS.COST_SENSITIVE.BETA": 0.999,
    "ALGORITHM.NAME": "Supervised",
    "ALGORITHM.CONFIDENCE_THRESHOLD": 0.95,
    "ALGORITHM.CONS_RAMPUP_SCHEDULE": "exp",
    "ALGORITHM.CONS_RAMPUP_ITERS_RATIO": 0.4,
    "ALGORITHM.MEANTEACHER.APPLY_DASO": False,
    "ALGORITHM.MIXMATCH.TEMPERATURE": 0.5,
    "ALGORITHM.MIXMATCH.APPLY_DASO": False,
    "ALGORITHM.REMIXMATCH.TEMPERATURE": 0.5,
    "ALGORITHM.REMIXMATCH.WEIGHT_KL": 1.0,
    "ALGORITHM.REMIXMATCH.WEIGHT_ROT": 1.0,
    "ALGORITHM.DASO.PRETRAIN_STEPS": 5000,
    "ALGORITHM.DASO.PROTO_TEMP": 0.05,
    "ALGORITHM.DASO.PL_DIST_UPDATE_PERIOD": 100,
    "ALGORITHM.DASO.WITH_DIST_AWARE": True,
    "ALGORITHM.DASO.DIST_TEMP": 1.0,
    "ALGORITHM.DASO.INTERP_ALPHA": 0.5,
    "ALGORITHM.DASO.PSA_LOSS_WEIGHT": 1.0,
    "ALGORITHM.CREST.GEN_PERIOD_STEPS": 50000,
    "ALGORITHM.CREST.ALPHA": 3.0,
    "ALGORITHM.CREST.TMIN": 0.5,
    "ALGORITHM.CREST.PROGRESSIVE_ALIGN": False,
    "ALGORITHM.ABC.APPLY": False,
    "ALGORITHM.ABC.DASO_PSEUDO_LABEL": True,
    "ALGORITHM.USADTM.PRETRAIN_STEPS": 500,
    "ALGORITHM.USADTM.DTM_THRES": 0.85,
    "ALGORITHM.USADTM.UC_LOSS_WEIGHT": 0.1,
    "ALGORITHM.LOGIT_ADJUST.APPLY": False,
    "ALGORITHM.LOGIT_ADJUST.TAU": 1.0,
    "ALGORITHM.DARP.APPLY": False,
    "ALGORITHM.DARP.WARMUP_RATIO": 0.4,
    "ALGORITHM.DARP.PER_ITERS": 10,
    "ALGORITHM.DARP.ALPHA": 2.0,
    "ALGORITHM.DARP.NUM_DARP_ITERS": 10,
    "SOLVER.BASE_LR": 0.03,
    "SOLVER.APPLY_SCHEDULER": False,
    "SOLVER.LR_SCHEDULER": "cosine",
    "SOLVER.COS_LR_RATIO": 7,
    "SOLVER.STEPS": [400000],
    "SOLVER.GAMMA": 0.2,
    "SOLVER.WARMUP_FACTOR": 0.0,
    "SOLVER.WARMUP_ITERS": 0,
}

_RAMPED = {"ALGORITHM.CONS_RAMPUP_SCHEDULE": "linear"}
_REMIXMATCH = {
    **_RAMPED,
    "ALGORITHM.CONS_RAMPUP_ITERS_RATIO": 0.016,
    "MODEL.WITH_ROTATION_HEAD": True,
    "MODEL.LOSS.UNLABELED_LOSS_WEIGHT": 1.5,
    "ALGORITHM.REMIXMATCH.WEIGHT_KL": 0.5,
    "ALGORITHM.REMIXMATCH.WEIGHT_ROT": 0.5,
}
_CREST = {"ALGORITHM.CREST.PROGRESSIVE_ALIGN": True, "MODEL.DIST_ALIGN.APPLY": True}

FILES = {
    "supervised": {
        "ALGORITHM.NAME": "Supervised",
        "SOLVER.BASE_LR": 0.1,
        "SOLVER.APPLY_SCHEDULER": True,
        "SOLVER.LR_SCHEDULER": "multi-step",
        "SOLVER.STEPS": [199999, 225000],
        "SOLVER.GAMMA": 0.01,
        "SOLVER.WARMUP_ITERS": 6250,
        "MODEL.LOSS.COST_SENSITIVE.LOSS_OVERRIDE": "LDAM",
    },
    "pseudolabel": {"ALGORITHM.NAME": "PseudoLabel", **_RAMPED},
    "meanteacher": {"ALGORITHM.NAME": "MeanTeacher", "MODEL.LOSS.UNLABELED_LOSS_WEIGHT": 50.0, **_RAMPED},
    "mixmatch": {
        "ALGORITHM.NAME": "MixMatch",
        "MODEL.LOSS.UNLABELED_LOSS_WEIGHT": 100.0,
        **_RAMPED,
        "ALGORITHM.CONS_RAMPUP_ITERS_RATIO": 0.016,
    },
    "remixmatch": {"ALGORITHM.NAME": "ReMixMatch", **_REMIXMATCH, "MODEL.DIST_ALIGN.APPLY": True},
    "remixmatch_crest": {"ALGORITHM.NAME": "ReMixMatchCReST", **_REMIXMATCH, **_CREST},
    "remixmatch_daso": {"ALGORITHM.NAME": "ReMixMatchDASO", **_REMIXMATCH, "ALGORITHM.DASO.DIST_TEMP": 1.5},
    "fixmatch": {"ALGORITHM.NAME": "FixMatch"},
    "fixmatch_abc": {"ALGORITHM.NAME": "FixMatchABC"},
    "fixmatch_crest": {"ALGORITHM.NAME": "FixMatchCReST", **_CREST},
    "fixmatch_daso": {"ALGORITHM.NAME": "DASO", "ALGORITHM.DASO.DIST_TEMP": 1.5},
    "usadtm": {"ALGORITHM.NAME": "USADTM"},
    "crt": {"ALGORITHM.NAME": "cRT"},
}
"""What each shipped CIFAR-10 file sets; `usadtm` and `crt` are none of them but names."""


def settings(file, overrides):
    """The resolved configuration of a shipped file ("cifar10/fixmatch.yaml" or "fixmatch") with overrides."""
    name = file.split("/")[-1].removesuffix(".yaml")
    unknown = [key for key in {**FILES[name], **overrides} if key not in DEFAULTS]
    assert not unknown, f"no such setting: {unknown}"
    return {**DEFAULTS, **FILES[name], **overrides}
