"""Settings that no open recording covers, each with a pool, rows and random draws made by rule."""

from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import numpy as np

from .methods import VIEWS
from .replay import Run, replay
from .settings import settings

RECORDED = Path(__file__).parents[1] / "golden" / "e2e" / "pool_c10.npz"
FILL_SEED, GAIN, BATCH = 5, 2.5, 6
ASSUMED = (31, 7)  # head count and imbalance of the formula behind DARP's target counts

COMMON = {"ALGORITHM.CONFIDENCE_THRESHOLD": 0.4, "SOLVER.BASE_LR": 0.01}
DASO = {
    "ALGORITHM.DASO.PRETRAIN_STEPS": 3,
    "ALGORITHM.DASO.PL_DIST_UPDATE_PERIOD": 2,
    "MODEL.QUEUE.MAX_SIZE": 4,
}
LA = {"ALGORITHM.LOGIT_ADJUST.APPLY": True}
DA = {"MODEL.DIST_ALIGN.APPLY": True}
NO_DA = {"MODEL.DIST_ALIGN.APPLY": False}
DARP = {"ALGORITHM.DARP.APPLY": True, "ALGORITHM.DARP.WARMUP_RATIO": 0.45, "ALGORITHM.DARP.PER_ITERS": 3}
ABC = {"ALGORITHM.ABC.APPLY": True}
CREST = {"ALGORITHM.CREST.GEN_PERIOD_STEPS": 2}
PLAIN_CREST = {"ALGORITHM.CREST.PROGRESSIVE_ALIGN": False, **NO_DA}
COST = {"MODEL.LOSS.WITH_LABELED_COST_SENSITIVE": True, "MODEL.LOSS.WARMUP_ITERS": 4}
LABEL_ONLY = {"SOLVER.WARMUP_ITERS": 3, "SOLVER.STEPS": [4, 5], "SOLVER.GAMMA": 0.1}
RAMP = {"ALGORITHM.CONS_RAMPUP_ITERS_RATIO": 0.5}


@dataclass
class Case:
    """A setting: a shipped file with overrides, and how long it runs on what."""

    file: str
    overrides: dict = field(default_factory=dict)
    steps: int = 6
    taken: int | None = None  # steps taken, if not all
    first: int = 0  # iteration of the first of them
    pool: str = "c10"
    class_aware: bool = False
    encoder_of: str = ""  # the case whose trained encoder it starts from

    @property
    def cfg(self):
        return settings(self.file, {**COMMON, **self.overrides})


CASES = {
    "supervised_cb": Case("supervised", {**LABEL_ONLY, **COST, "MODEL.LOSS.COST_SENSITIVE.LOSS_OVERRIDE": ""}),
    "supervised_ldam": Case("supervised", {**LABEL_ONLY, **COST}),
    "supervised_class_aware": Case("supervised", LABEL_ONLY, class_aware=True),
    "supervised_la_c100": Case("supervised", {**LABEL_ONLY, **LA, "ALGORITHM.LOGIT_ADJUST.TAU": 0.5}, pool="c100"),
    "crt": Case("crt", class_aware=True, encoder_of="supervised_cb"),
    "fixmatch_cb": Case("fixmatch", {**COST, "MODEL.LOSS.COST_SENSITIVE.LOSS_OVERRIDE": ""}),
    "fixmatch_la": Case("fixmatch", LA),
    "fixmatch_cosine": Case("fixmatch", {"SOLVER.APPLY_SCHEDULER": True}),
    "fixmatch_da": Case("fixmatch", DA),
    "fixmatch_la_da": Case("fixmatch", {**LA, **DA, "MODEL.DIST_ALIGN.TEMPERATURE": 0.5}),
    "fixmatch_darp": Case("fixmatch", DARP, steps=9),
    "fixmatch_la_darp": Case("fixmatch", {**LA, **DARP}, steps=9),
    "fixmatch_da_darp": Case("fixmatch", {**DA, **DARP}, steps=9),
    "fixmatch_crest": Case("fixmatch_crest", {**CREST, **PLAIN_CREST}),
    "fixmatch_crest_plus": Case("fixmatch_crest", CREST),
    "fixmatch_la_crest_plus": Case("fixmatch_crest", {**CREST, **LA, "SOLVER.APPLY_SCHEDULER": True}),
    "fixmatch_la_abc": Case("fixmatch_abc", LA),
    "fixmatch_abc_half": Case("fixmatch_abc", steps=1000, taken=4, first=498),
    "fixmatch_abc_late": Case("fixmatch_abc", steps=250000, taken=4, first=249498),
    "fixmatch_daso_c100": Case("fixmatch_daso", {**DASO, "ALGORITHM.DASO.DIST_TEMP": 0.3}, steps=8, pool="c100"),
    "fixmatch_daso_stl": Case("fixmatch_daso", {**DASO, "ALGORITHM.DASO.DIST_TEMP": 0.3}, steps=8, pool="stl"),
    "fixmatch_daso_fixed": Case("fixmatch_daso", {**DASO, "ALGORITHM.DASO.WITH_DIST_AWARE": False}),
    "fixmatch_daso_unaligned": Case(
        "fixmatch_daso", {**DASO, "ALGORITHM.DASO.PSA_LOSS_WEIGHT": 0.0, "ALGORITHM.DASO.PRETRAIN_STEPS": 2}
    ),
    "fixmatch_la_daso": Case("fixmatch_daso", {**DASO, **LA, "MODEL.QUEUE.MAX_SIZE": 2}, steps=8),
    "fixmatch_abc_daso": Case("fixmatch_daso", {**DASO, **ABC}, steps=8),
    "fixmatch_abc_daso_own": Case("fixmatch_daso", {**DASO, **ABC, "ALGORITHM.ABC.DASO_PSEUDO_LABEL": False}),
    "fixmatch_la_abc_daso": Case("fixmatch_daso", {**DASO, **ABC, **LA}),
    "fixmatch_crest_stl": Case("fixmatch_crest", {**CREST, **PLAIN_CREST}, pool="stl"),
    "pseudolabel": Case("pseudolabel", RAMP),
    "pseudolabel_exp": Case("pseudolabel", {**RAMP, "ALGORITHM.CONS_RAMPUP_SCHEDULE": "exp"}),
    "meanteacher_daso": Case("meanteacher", {**DASO, "ALGORITHM.MEANTEACHER.APPLY_DASO": True}, steps=8),
    "mixmatch_daso": Case("mixmatch", {**DASO, **RAMP, "ALGORITHM.MIXMATCH.APPLY_DASO": True}, steps=8),
    "mixmatch_c100": Case("mixmatch", RAMP, steps=4, pool="c100"),
    "remixmatch_unaligned": Case("remixmatch", {**RAMP, **NO_DA}),
    "remixmatch_darp": Case("remixmatch", {**RAMP, **DARP}, steps=9),
    "remixmatch_darp_unaligned": Case("remixmatch", {**RAMP, **DARP, **NO_DA}, steps=9),
    "remixmatch_daso_da": Case("remixmatch_daso", {**DASO, **RAMP, **DA}, steps=8),
    "remixmatch_daso_stl": Case("remixmatch_daso", {**DASO, "ALGORITHM.DASO.DIST_TEMP": 0.3}, pool="stl"),
    "remixmatch_crest": Case("remixmatch_crest", {**CREST, **PLAIN_CREST, **RAMP}),
    "remixmatch_crest_plus": Case("remixmatch_crest", {**CREST, **RAMP}),
    "usadtm": Case("usadtm", {"ALGORITHM.USADTM.PRETRAIN_STEPS": 3}),
    "usadtm_c100": Case("usadtm", {"ALGORITHM.USADTM.PRETRAIN_STEPS": 2}, steps=4, pool="c100"),
}


@cache
def pool(name):
    """Images of 8 x 8: the recorded pool's, every fourth pixel; `stl` hides the unlabeled truth; `c100` recolours."""
    with np.load(RECORDED) as arrays:
        recorded = dict(arrays)
    for key in ("labeled", "eval", "unlabeled_views"):
        recorded[key] = recorded[key][..., ::4, ::4, :]
    if name == "stl":
        recorded["unlabeled_y"] = np.full(len(recorded["unlabeled_y"]), -1)
    return hundred(recorded) if name == "c100" else recorded


def hundred(small):
    """A pool of 100 classes: 4 to 1 labeled and 3 to 1 unlabeled images a class, each a recoloured one of ten classes."""

    def images(source, labels):
        picked = source[(7 * labels + np.arange(len(labels))) % len(source)]
        return picked + (37 * labels[:, None, None, None]).astype(np.uint8)

    labels = {
        key: np.repeat(np.arange(100), counts(most, most, 100)) for key, most in (("labeled", 4), ("unlabeled", 3))
    }
    out = {f"{key}_y": y for key, y in labels.items()} | {"eval_y": np.arange(100)}
    out |= {"labeled": images(small["labeled"], out["labeled_y"]), "eval": images(small["eval"], out["eval_y"])}
    out["unlabeled_views"] = np.stack([images(view, out["unlabeled_y"]) for view in small["unlabeled_views"]])
    return out


def counts(head, gamma, classes):
    """The long-tailed counts of the specification (2.2)."""
    return [int(head * (1 / gamma) ** (r / (classes - 1.0))) for r in range(classes)]


def class_aware_rows(labels, total, beta=0.999):
    """Rows drawn with replacement by the effective number of their class (3), shuffling left out."""
    n = np.bincount(labels)
    weights = ((1 - beta) / (1 - beta**n))[labels]
    return np.random.RandomState(0).choice(len(labels), total, p=weights / weights.sum())


def darp_target(pool, classes):
    """Formula counts, scaled to the size of the pool."""
    formula = np.array(counts(*ASSUMED, classes), float)
    return formula * len(pool["unlabeled_y"]) / formula.sum()


def inputs(case):
    """Labeled rows [T,B], unlabeled rows [T,Bu], and draws, in the order that they are consumed in."""
    rng, images, cfg = np.random.RandomState(0), pool(case.pool), case.cfg
    name, taken = cfg["ALGORITHM.NAME"], case.taken or case.steps
    unlabeled = BATCH * (2 if name == "DASO" or name.startswith("FixMatch") else 1)
    n, m = len(images["labeled_y"]), len(images["unlabeled_y"])
    if case.class_aware:
        labeled = class_aware_rows(images["labeled_y"], taken * BATCH).reshape(taken, BATCH)
    elif name.endswith("CReST"):
        labeled = rng.random_sample((taken, BATCH))
    else:
        labeled = np.stack([rng.permutation(n)[:BATCH] for _ in range(taken)])
    rows = np.stack([rng.permutation(m)[:unlabeled] for _ in range(taken)])
    mixed = BATCH * (1 + len(VIEWS[name]))
    draws = {
        "beta": [rng.beta(0.75, 0.75) for _ in range(taken)],
        "perm": [rng.permutation(mixed) for _ in range(taken)],
        "rot": [rng.randint(0, 4, BATCH) for _ in range(taken)],
        "bern_u": [rng.random_sample(size) for _ in range(taken) for size in (BATCH, unlabeled)],
    }
    return labeled, rows, draws


def encoder_state(case):
    """Parameters and statistics, in registration order, of the raw network's encoder at the end of a case."""
    run = reference_run(case)
    replay(run, *inputs(case)[:2], case.first)
    return [value.clone() for key, value in run.model.state_dict().items() if not key.startswith("classifier")]


def reference_run(case):
    images = pool(case.pool)
    classes = len(np.unique(images["labeled_y"]))
    target = darp_target(images, classes)
    run = Run(case.cfg, images, classes, case.steps, inputs(case)[2], FILL_SEED, GAIN, target)
    if case.encoder_of:
        own = run.model.state_dict()
        run.model.load_state_dict(own | dict(zip(own, encoder_state(CASES[case.encoder_of]), strict=False)))
    return run


def reference_record(case):
    """The reference's run of a case, under the keys of the recorded ones."""
    return replay(reference_run(case), *inputs(case)[:2], case.first)
