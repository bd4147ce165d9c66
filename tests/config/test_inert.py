"""A knob that a person typed and that nothing reads is spoken of."""

from functools import cache

import pytest
import torch

from daso.run.build.parts import build_method
from daso.schema import ALGORITHMS
from daso.schema.learners import COMPARES
from daso.schema.record import OPTIONS
from daso.settings.unread import inert
from daso.types import View
from tests.compose import config_of as composed
from tests.toy import facts

config_of = cache(composed)
OF_FILES = "a data set of image files, such as dataset=folder,"
BALANCED = ["debias.tau_fixed=1", "debias.tau_labeled=1", "debias.momentum=0.5", "debias.estimate_by=counts"]


@pytest.mark.parametrize(
    ("choices", "override", "reader"),
    [
        (["algorithm=fixmatch"], "optim.gamma=0.5", "optim.schedule=multistep"),
        (["algorithm=fixmatch"], "optim.milestones=[0.5]", "optim.schedule=multistep"),
        (["algorithm=fixmatch"], "optim.cosine_ratio=2", "optim.schedule=cosine"),
        (["algorithm=supervised"], "train.mu=3", "a learner of unlabeled images"),
        (["algorithm=supervised_la"], "optim.ema_decay=0.9", "a learner of unlabeled images"),
        (["dataset=digits"], "dataset.verify=false", "a data set of published files in dataset.root"),
        (["dataset=digits"], "dataset.rescan=true", OF_FILES),
        (["dataset=digits"], "dataset.place=host", OF_FILES),
        (["dataset=digits"], "dataset.broken=skip", OF_FILES),
        (["dataset=digits"], "dataset.store_side=300", OF_FILES),
        (["dataset=semi_aves", "dataset.crop=pad"], "dataset.store_side=300", "dataset.crop=resized"),
        (["dataset=semi_aves", "dataset.crop=pad"], "dataset.place=host", "dataset.crop=resized"),
        (["dataset=semi_aves"], "dataset.lists=elsewhere", "dataset=csv"),
        (["dataset=digits"], "dataset.unlabeled=in_out", "dataset=semi_aves"),
        (["algorithm=fixmatch"], "daso.t_proto=0.1", "another option than daso=none"),
        (["algorithm=fixmatch_daso", "daso.blend=0.5"], "daso.t_dist=0.5", "daso.blend=dist"),
        (["algorithm=supervised"], "imb.gamma_u=1", "a learner of unlabeled images"),
        (["algorithm=supervised"], "imb.unlabeled_shape=middle", "a learner of unlabeled images"),
        (["algorithm=mixmatch"], "dataset.cutout=8", "a learner of strong views"),
        (["algorithm=fixmatch_abc"], "abc.blend=false", "a method with semantic labels"),
        (["algorithm=fixmatch", "align=ema"], "align.window=3", "align.momentum=0"),
        *(
            ([f"algorithm=fixmatch_{name}"], "algorithm.threshold=0.9", COMPARES.said)
            for name in ("freematch", "softmatch")
        ),
        (["algorithm=fixmatch_darp"], "train.period=50", "a method that changes something once a period"),
        (["algorithm=fixmatch_debiaspl"], "debias.cld_by=most", "debias.cld_weight above 0"),
        *((["algorithm=fixmatch_acr", "debias.weight=0"], knob, "debias.weight above 0") for knob in BALANCED),
        (["algorithm=fixmatch_saw", "balance.scale=0"], "balance.beta=0.9", "balance.scale above 0"),
        (["algorithm=fixmatch_saw", "balance.scale=0"], "balance.unseen=first", "balance.scale above 0"),
        (["algorithm=supervised_crt"], "protocol.generations=3", "a protocol, or protocol.first, with generations"),
    ],
)
def test_an_override_that_nothing_reads_is_named_with_who_would_read_it(choices, override, reader):
    sentences = inert(config_of(*choices, override), [*choices, override])
    assert sentences == [f"{override} has no effect in this run: only {reader} reads it."]
    still_seen = ("train.period", "algorithm.threshold")  # by another knob, by a metric
    same = config_of(*choices, override).run_key == config_of(*choices).run_key
    assert same or override.startswith(still_seen)


@pytest.mark.parametrize(
    "overrides",
    [
        ["algorithm=fixmatch_daso", "daso.t_dist=0.5", "daso.t_proto=0.1", "train.mu=3", "optim.ema_decay=0.9"],
        ["algorithm=supervised", "optim.gamma=0.5", "optim.milestones=[0.5]", "optim.lr=0.2"],
        ["algorithm=fixmatch_la", "supervised.tau=2", "seed=3", "out_root=elsewhere", "train.steps=100"],
        ["dataset=cifar100", "dataset.root=/nowhere", "dataset.verify=false"],
        ["dataset=semi_aves", "dataset.unlabeled=in_out", "dataset.store_side=256", "dataset.place=host"],
        ["algorithm=fixmatch", "optim.schedule=cosine", "optim.cosine_ratio=2"],
        ["algorithm=fixmatch_crest_plus", "protocol.t_min=0.3", "protocol.generations=3"],
        ["algorithm=fixmatch_acr", "train.period=50"],
        ["algorithm=fixmatch_flexmatch", "algorithm.threshold=0.9"],
        ["algorithm=fixmatch_freematch", "abc=paper", "algorithm.threshold=0.9"],
        ["algorithm=fixmatch_scssl", "confidence=softmatch", "algorithm.threshold=0.9"],
    ],
)
def test_what_is_read_is_not_spoken_of(overrides):
    assert inert(config_of(*overrides), overrides) == []


@pytest.mark.parametrize("name", [name for name, kind in ALGORITHMS.items() if kind.printed])
def test_only_a_learner_without_strong_views_is_said_not_to_read_their_knobs(name):
    config = config_of(f"algorithm={name}")
    learner = build_method(config, facts(config, torch.full((10,), 5), 50), torch.device("cpu"), torch.float32).learner
    strong = {View.STRONG, View.STRONG_LAST} & {*learner.views, *learner.labeled_views}
    assert config.algorithm.strong_views_seen or not strong
    assert bool(strong) is config.algorithm.strong_views_seen


KINDS = [
    (node, name, kind) for node, kinds in OPTIONS.items() for name, kind in kinds.items() if hasattr(kind, "every")
]


@pytest.mark.parametrize(("node", "name", "kind"), [pytest.param(*k, id=f"{k[0]}={k[1]}") for k in KINDS])
def test_the_period_of_a_periodic_method_follows_the_knob(node, name, kind):
    option = "paper" if node in ("abc", "darp") else name
    for period in (50, 500):
        every = composed("algorithm=fixmatch", f"{node}={option}", f"train.period={period}").records[node].every
        assert (every == period) is kind.periodic
