"""What a configuration may not say, and what is only remarked upon; nothing here reads data."""

from dataclasses import replace
from functools import cache

import pytest

from daso.errors import UserError
from daso.schema import ALGORITHMS, UNKNOWN, Config, Includes
from daso.settings.checks import check
from tests.compose import config_of as composed

config_of = cache(composed)
IMPOSSIBLE = [
    # options, key, value, and what the sentence must say
    ("cifar10", "imb.gamma_l", 0.5, ["imb.gamma_l=0.5", "1 or more"]),
    ("cifar10", "imb.gamma_l", float("nan"), ["imb.gamma_l=nan"]),
    ("cifar10", "imb.gamma_l", float("inf"), ["imb.gamma_l=inf", "finite"]),
    ("cifar10", "imb.gamma_u", 0, ["imb.gamma_u=0", "1/100"]),
    ("cifar10", "imb.gamma_u", "-3", ["imb.gamma_u=-3", "1/100"]),
    ("cifar10", "imb.gamma_u", "1/5000", ["imb.gamma_u=0.0002", "imb.m1=3000", "empty"]),
    ("cifar10", "imb.gamma_u", UNKNOWN, ["imb.gamma_u=unknown", "a number"]),
    ("cifar10", "imb.n1", 0, ["imb.n1=0", "at least one"]),
    ("cifar10", "imb.n1", 1501, ["imb.n1 + imb.m1=1501 + 3000", "5000 training images", "4500 at most"]),
    ("cifar10", "imb.m1", 0, ["imb.m1=0", "at least one"]),
    ("cifar10", "imb.m1", "many", ["imb.m1=many", "a number of images"]),
    ("cifar10", "imb.m1", UNKNOWN, ["imb.m1=unknown", "a number"]),
    ("cifar100", "imb.gamma_l", 151.0, ["imb.gamma_l=151", "imb.n1=150", "empty"]),
    ("stl10", "imb.n1", 451, ["imb.n1=451", "450 at most"]),
    ("stl10", "imb.m1", 300, ["imb.m1=300", "imb.m1=unknown"]),
    ("stl10", "imb.gamma_u", 10, ["imb.gamma_u=10", "imb.gamma_u=unknown"]),
    ("cifar10", "dataset.num_valid", -10, ["dataset.num_valid=-10", "0 or more"]),
    ("cifar10", "dataset.num_valid", 7, ["dataset.num_valid=7", "multiple of 10"]),
    ("cifar10", "dataset.num_valid", 50000, ["dataset.num_valid=50000", "5000"]),
    ("cifar10", "dataset.root", "", ["dataset.root=", "a folder"]),
    ("cifar10", "dataset.mean", [0.5], ["dataset.mean=[0.5]", "per channel"]),
    ("cifar10", "train.steps", 0, ["train.steps=0", "1 or more"]),
    ("cifar10", "train.mu", 0, ["train.mu=0", "1 or more"]),
    ("cifar10", "train.threads", 100_000, ["train.threads=100000", "1024 at most"]),
    ("cifar10", "track.experiment", " ", ["track.experiment=", "the name of an experiment"]),
    ("cifar10", "track.uri", "mlruns", ["track.uri=mlruns", "sqlite:///mlflow.db"]),
    ("cifar10", "track.uri", "ftp://host/x", ["track.uri=ftp://host/x", "http://host:5000"]),
    ("cifar10", "daso.warmup_steps", 99, ["daso.warmup_steps=99", "daso.update_every=100"]),
    ("cifar10", "daso.t_dist", 0.0, ["daso.t_dist=0.0", "positive"]),
    ("cifar10", "daso.name", "dasso", ["daso.name=dasso", "none, daso"]),
    ("cifar10", "algorithm.threshold", 1.5, ["algorithm.threshold=1.5", "between 0 and 1"]),
    ("cifar10", "supervised.name", "la", ["supervised.name=la", "choose it with supervised=la"]),
    ("cifar10", "supervised.name", "focal", ["supervised.name=focal", "ce, la, cb, ldam_drw"]),
    ("cifar10", "protocol.name", "crest", ["protocol.name=crest", "choose it with protocol=crest"]),
    ("cifar10", "algorithm.name", "mixmatch", ["algorithm.name=mixmatch", "choose it with algorithm=mixmatch"]),
    ("cifar10", "optim.lr", float("inf"), ["optim.lr=inf", "finite"]),
    ("cifar10", "optim.momentum", 0.0, ["optim.momentum=0.0", "Nesterov"]),
    ("cifar10", "optim.name", "lion", ["optim.name=lion", "sgd, adam"]),
    ("cifar10", "model.bn_momentum", 0.0, ["model.bn_momentum=0.0", "above 0"]),
    ("cifar10", "model.last_bn_eps", 0.0, ["model.last_bn_eps=0.0", "positive"]),
    ("cifar10", "dataset.strong", "strongest", ["dataset.strong=strongest", "paper, usb"]),
    ("cifar10", "dataset.unlabeled_includes", Includes.train, ["dataset.unlabeled_includes=train", "labeled or none"]),
    ("cifar10", "recipe.reports", "top1", ["recipe.reports=top1", "top1_median20"]),
    ("cifar10", "model.depth", 29, ["model.depth=29", "28"]),
    ("cifar10", "seed", -1, ["seed=-1", "whole number from 0"]),
    ("cifar10", "device", "gpu", ["device=gpu", "cuda:1"]),
]


def changed(config: Config, key: str, value: object) -> Config:
    node, _, name = key.rpartition(".")
    return replace(config, **({node: replace(getattr(config, node), **{name: value})} if node else {name: value}))


@pytest.mark.parametrize(
    ("dataset", "key", "value", "says"), IMPOSSIBLE, ids=[f"{d} {k}={v}" for d, k, v, _ in IMPOSSIBLE]
)
def test_an_impossible_value_is_refused_by_name(dataset, key, value, says):
    with pytest.raises(UserError) as refusal:
        check(changed(config_of(f"dataset={dataset}"), key, value))
    assert all(part in str(refusal.value) for part in says), refusal.value


@pytest.mark.parametrize(("key", "slot"), [("daso.name", "daso"), ("align.name", "da")])
def test_a_slot_that_needs_pseudo_labels_is_refused_on_a_learner_without(key, slot):
    with pytest.raises(UserError, match=f"{key}={slot} .* makes no pseudo-labels"):
        check(changed(config_of("algorithm=supervised"), key, slot))


def test_an_alignment_loss_is_refused_on_a_learner_without_a_strong_view():
    config = config_of("algorithm=fixmatch_daso")

    class Weak(type(config.algorithm)):
        offers = config.algorithm.offers - {o for o in config.algorithm.offers if o.name == "STRONG"}

    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(ALGORITHMS, "weak", Weak)
        weak = replace(config, algorithm=Weak("weak"))
        with pytest.raises(UserError, match=r"daso\.align_weight=1\.0 .* no strong view"):
            check(weak)
        assert check(changed(weak, "daso.align_weight", 0.0)) == []


@pytest.mark.parametrize(
    "uri", ["", "sqlite:///m.db", "postgresql+psycopg2://u@h/d", "http://127.0.0.1:9", "databricks"]
)
def test_a_store_that_may_only_be_away_is_not_refused(uri):
    check(changed(config_of("experiment=quickstart"), "track.uri", uri))


def test_the_paper_s_sizes_fill_a_class_to_the_last_image():
    check(config_of("dataset=cifar10"))  # 500 + 1500 + 3000 = 5000
    check(config_of("experiment=quickstart", "dataset.num_valid=40"))  # 4 + 20 + 100 = 124


def test_a_warm_up_as_long_as_the_run_is_remarked_upon():
    [remark] = check(config_of("algorithm=fixmatch_daso", "daso.warmup_steps=250000"))
    assert remark.startswith(
        "DASO never blends in this run, which trains as it would without it, its evaluation aside (daso.ema_bn=official), "
    )
    [remark] = check(config_of("algorithm=fixmatch_daso", "daso.warmup_steps=250000", "daso.ema_bn=clean"))
    assert remark.startswith("DASO never blends in this run, which trains as it would without it, because ")
    assert check(config_of("algorithm=fixmatch", "daso.warmup_steps=250000")) == []


@pytest.mark.parametrize(
    ("overrides", "diverges"),
    [
        (["algorithm=supervised_ldam_drw"], False),
        (["algorithm=supervised_ldam_drw", "supervised.margins_at_once=true"], True),
        (["algorithm=supervised_ldam_drw", "supervised.margins_at_once=true", "optim.lr=0.01"], False),
        (["algorithm=fixmatch", "supervised=ldam_drw"], True),
        (["algorithm=supervised_cb"], False),
    ],
)
def test_margins_on_steep_logits_at_a_high_rate_are_remarked_upon(overrides, diverges):
    assert any("diverges: optim.lr=0.01 trains" in text for text in check(config_of(*overrides))) is diverges


def test_a_median_over_few_evaluations_is_remarked_upon():
    [remark] = check(config_of("algorithm=fixmatch", "train.steps=1000"))
    assert "median of only 2 evaluations" in remark


@pytest.mark.parametrize(
    ("overrides", "says"),
    [
        (["algorithm=fixmatch", "abc=paper", "supervised=ldam_drw"], r"margins .* do not go together, so"),
        (
            ["algorithm=remixmatch", "abc=paper"],
            r"abc\.name=abc .* has a labeled loss of its own, so abc=none or, .* algorithm=fixmatch_abc",
        ),
        (
            ["algorithm=usadtm", "darp=paper"],
            r"darp\.name=darp .* algorithm=usadtm makes no pseudo-labels open to slots, so darp=none",
        ),
        (["model=resnet18", "train.batch_size=1"], r"train\.batch_size=1 .* images of 32 pixels .* so 2 or more"),
        (["algorithm=meanteacher", "confidence=boss"], r"confidence\.name=boss .* has no confidence threshold"),
        (["algorithm=fixmatch", "supervised=la", "supervised.tau=-1"], r"supervised\.tau=-1\.0 .* 0 \(plain"),
        (["algorithm=fixmatch_da", "align.goal=refine"], r"align\.goal=refine .* no slot assumes a distribution"),
        (["algorithm=fixmatch_darp", "darp.goal=shipped"], r"darp\.goal=shipped .* no estimate for this setting"),
        (
            ["experiment=quickstart", "algorithm=fixmatch_darp", "imb.gamma_l=20"],
            r"darp\.goal=estimate .* held-out images",
        ),
        (
            ["experiment=quickstart", "protocol=estimate", "imb.gamma_l=20"],
            r"protocol\.name=estimate .* held-out images",
        ),
    ],
)
def test_a_combination_that_cannot_work_is_refused_in_a_sentence(overrides, says):
    with pytest.raises(UserError, match=says):
        composed(*overrides)


def test_a_warm_up_that_leaves_no_refinement_is_remarked_upon():
    [remark] = [
        text
        for text in check(config_of("algorithm=fixmatch_darp", "train.steps=1009", "darp.warmup=0.999"))
        if "DARP" in text
    ]
    assert "DARP never refines in this run" in remark
    assert not any("DARP" in text for text in check(config_of("algorithm=fixmatch_darp", "train.steps=20")))
