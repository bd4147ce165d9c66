"""A knob that another one's value switches off changes no number and no key, and a person who sets it hears so."""

from functools import cache

import pytest

from daso.settings.unread import inert
from tests.training import composed, trained

SHORT = ("train.steps=6", "train.eval_every=6", "train.log_every=2")  # and everything happens within
RAMPS = ["algorithm.ramp_up=0.9", "algorithm.ramp_shape=exp"]
HEADS = ["debias.tau=1", "debias.tau_expansive=1", "debias.weight_expansive=2", "debias.weight_cons=1"]
FALLING = ["debias.gamma=3", "debias.rate=0.1", "debias.bias_above=-9"]
CONTRAST = ["debias.contrast_temperature=0.3", "debias.graph_temperature=0.3", "debias.share=0.5", "debias.sharpen=2"]
SECOND = ["debias.warm=0.5", "debias.lr=0.1", "debias.weight_decay=0", "debias.ema_decay=0", "debias.alpha=2"]
LDAM = ["algorithm=supervised_ldam_drw"]
CASES = {  # what is chosen; the values that switch knobs off; these, at other values than usual
    "pseudolabel": (["algorithm=pseudolabel"], ["algorithm.cons_weight=0"], RAMPS),
    "meanteacher": (["algorithm=meanteacher"], ["algorithm.cons_weight=0"], RAMPS),
    "mixmatch": (["algorithm=mixmatch"], ["algorithm.cons_weight=0"], RAMPS),
    "remixmatch": (["algorithm=remixmatch"], ["algorithm.cons_weight=0", "algorithm.kl_weight=0"], RAMPS),
    "usadtm": (["algorithm=usadtm"], ["algorithm.mi_weight=0"], ["algorithm.mi_start=0.7"]),
    "cb": (["algorithm=fixmatch_cb"], ["supervised.beta=0"], ["supervised.defer=0.3"]),
    "ldam": ([*LDAM, "supervised.margins_at_once=true"], ["supervised.beta=0"], ["supervised.defer=0.3"]),
    "ldam at once": (LDAM, ["supervised.defer=0"], ["supervised.margins_at_once=true"]),
    "align": (["algorithm=fixmatch_da"], ["align.window=1"], ["align.restart=3"]),
    "align, no window": (["algorithm=fixmatch_da"], ["align.restart=1"], ["align.window=5"]),
    "align, short": (["algorithm=fixmatch_da"], ["align.restart=3"], ["align.window=64"]),
    "align, no average": (
        ["algorithm=fixmatch_da", "align.momentum=0.9"],
        ["align.restart=1"],
        ["align.momentum=0.5"],
    ),
    "align, one batch": (["algorithm=fixmatch_da"], ["align.restart=1"], ["align.momentum=0.5"]),
    "align, uniform": (
        ["algorithm=fixmatch_darp", "darp.goal=labeled", "align=da"],
        ["align.temperature=0"],
        ["align.goal=refine"],
    ),
    "darp, never": (
        ["algorithm=fixmatch_darp", "imb.gamma_u=1"],
        ["darp.warmup=1"],
        ["darp.goal=labeled"],
    ),
    "darp": (
        ["algorithm=fixmatch_darp", "darp.goal=labeled"],
        ["darp.warmup=1"],
        ["darp.alpha=3", "darp.every=2", "darp.iterations=2", "darp.refine_on_first=true"],
    ),
    "darp, each step": (
        ["algorithm=fixmatch_darp", "darp.goal=labeled", "darp.warmup=0.5"],
        ["darp.every=1"],
        ["darp.refine_on_first=true"],
    ),
    "abc": (
        ["algorithm=fixmatch_abc_daso", "daso.warmup_steps=2", "daso.update_every=2"],
        ["abc.weight=0"],
        ["abc.every=2", "abc.blend=false"],
    ),
    "daso, in its warm-up": (
        ["algorithm=fixmatch_abc_daso", "daso.warmup_steps=2", "daso.update_every=2", "abc.every=2"],
        ["daso.warmup_steps=6"],
        [
            *("daso.t_proto=0.5", "daso.t_dist=3", "daso.blend=0.5", "daso.align_weight=2", "daso.update_every=1"),
            *("daso.queue_size=3", "daso.balanced_queue=false", "abc.blend=false"),
        ],
    ),
    "freematch": (["algorithm=fixmatch_freematch"], ["confidence.momentum=1"], ["confidence.quantile=0.8"]),
    "softmatch": (
        ["algorithm=fixmatch_softmatch"],
        ["confidence.momentum=1"],
        ["confidence.goal=labeled_ema", "confidence.n_sigma=1"],
    ),
    "adsh": (
        ["algorithm=fixmatch_adsh", "confidence.every=2"],
        ["confidence.every=3"],
        ["confidence.net=teacher", "confidence.view=weak", "confidence.safe=true"],
    ),
    "flexmatch": (
        ["algorithm=fixmatch_flexmatch"],
        ["algorithm.threshold=0"],
        ["confidence.map=linear", "confidence.warmup=false"],
    ),
    "simpro": (
        ["algorithm=fixmatch_simpro", "debias.every=2"],
        ["debias.every=6"],
        ["debias.momentum=0.5", "debias.prior=sizes"],
    ),
    "saw": (
        ["algorithm=fixmatch_saw"],
        ["balance.scale=0"],
        ["balance.every=2", "balance.beta=0.9", "balance.unseen=first", "balance.counted_by=survey"],
    ),
    "saw, all alike": (["algorithm=fixmatch_saw"], ["balance.beta=0"], ["balance.every=2"]),
    "saw, surveyed": (["algorithm=fixmatch_saw"], ["balance.counted_by=survey"], ["balance.unseen=first"]),
    "acr, one classifier": (
        ["algorithm=fixmatch_acr"],
        ["debias.weight=0"],
        ["debias.tau_fixed=1", "debias.momentum=0.5", "debias.estimate_by=counts", "debias.reversed_by=rank"],
    ),
    "acr, no strength": (["algorithm=fixmatch_acr"], ["debias.tau=0"], ["debias.anchors=none"]),
    "acr, neither": (
        ["algorithm=fixmatch_acr"],
        ["debias.weight=0", "debias.tau=0"],
        ["debias.every=2", "debias.start=0.7", "debias.anchors=none"],
    ),
    "acr, still": (
        ["algorithm=fixmatch_acr"],
        ["debias.start=1"],
        [
            *["debias.every=2", "debias.momentum=0.5", "debias.anchors=none"],
            *["debias.reversed_by=rank", "debias.estimate_by=counts"],
        ],
    ),
    "scssl": (
        ["algorithm=fixmatch_scssl"],
        ["debias.weight=0"],
        [*HEADS, *FALLING, "debias.floor=0.5", "debias.start=0.5", "debias.assumed=uniform"],
    ),
    "scssl, one of two": (["algorithm=fixmatch_scssl"], ["debias.weight_expansive=0"], ["debias.tau_expansive=1"]),
    "scssl, no anchor": (["algorithm=fixmatch_scssl"], ["debias.start=1"], FALLING),
    "scssl, fixed": (["algorithm=fixmatch_scssl", "debias.start=0.3"], ["debias.rate=0"], ["debias.bias_above=-9"]),
    "ccl": (
        ["algorithm=fixmatch_ccl"],
        ["debias.weight=1", "debias.smooth_weight=0"],
        [*CONTRAST, "debias.centres=identity", "debias.contrast_prior=unlabeled"],
    ),
    "ccl, still": (
        ["algorithm=fixmatch_ccl"],
        ["debias.start=1"],
        ["debias.every=2", "debias.momentum=0", "debias.momentum_all=0"],
    ),
    "ccl, no graph": (["algorithm=fixmatch_ccl"], ["debias.share=0"], ["debias.graph_temperature=0.3"]),
    "ccl, one classifier": (
        ["algorithm=fixmatch_ccl", "debias.weight=1", "debias.smooth_weight=0"],
        ["debias.balanced=false"],
        ["debias.tau=1"],
    ),
    "ccl, contrast alone": (["algorithm=fixmatch_ccl"], ["debias.weight=0"], ["debias.unlabeled_weight=5"]),
    "cossl": (["algorithm=fixmatch_cossl"], ["debias.start=1"], [*SECOND, "debias.least=1"]),
    "cossl, cold": (["algorithm=fixmatch_cossl", "debias.start=0.3"], ["debias.warm=0"], ["debias.alpha=2"]),
    "weight decay": (
        ["algorithm=fixmatch"],
        ["optim.weight_decay=0"],
        ["optim.decay=state", "optim.decay_norm_bias=false"],
    ),
    "average": (["algorithm=fixmatch"], ["optim.ema_decay=0"], ["optim.ema_warmup=false", "optim.ema_buffers=copy"]),
    "stairs": (["algorithm=supervised"], ["optim.gamma=1"], ["optim.milestones=[0.5]"]),
    "cosine": (
        ["algorithm=fixmatch", "optim.schedule=cosine", "optim.warmup=0.3"],
        ["optim.warmup=0"],
        ["optim.cosine_after_warmup=true"],
    ),
    "no stairs": (["algorithm=supervised"], ["optim.milestones=[]"], ["optim.gamma=0.5"]),
    "crop": (["algorithm=fixmatch"], ["dataset.crop_pad=0"], ["dataset.padding=zero"]),
}
each = pytest.mark.parametrize(("chosen", "off", "knobs"), CASES.values(), ids=CASES)
config = cache(lambda *overrides: composed(*SHORT, *overrides))


@each
def test_what_is_switched_off_enters_no_key_and_is_named(chosen, off, knobs):
    set_all = config(*chosen, *off, *knobs)
    assert set_all.run_key == config(*chosen, *off).run_key
    assert len(inert(set_all, knobs)) == len(knobs)


@each
def test_what_is_not_switched_off_changes_the_key(chosen, off, knobs):
    read = [knob for knob in knobs if not inert(config(*chosen, knob), [knob])]
    keys = {config(*chosen, knob).run_key for knob in read}
    assert len(keys - {config(*chosen).run_key}) == len(read) > 0


@each
def test_what_is_switched_off_changes_no_number(chosen, off, knobs, tmp_path):
    plain, other = (trained(config(*chosen, *off, *more), tmp_path)[1] for more in ([], knobs))
    assert plain == other


def test_values_that_mean_the_same_have_one_key():
    keys = {config("algorithm=fixmatch_scssl", f"debias.gamma={value}").run_key for value in ("0", "0.5", "1")}
    assert len(keys) == 1
