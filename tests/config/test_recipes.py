"""What `recipe=` composes to: the values of each code base, over data set and method, under experiment and command line."""

from dataclasses import replace
from functools import cache

import pytest

from daso.errors import UserError
from daso.outputs.naming import method_name, run_name
from daso.schema import ALGORITHMS, Decay, EmaBuffers, Includes, Padding, Passes, RecipeConfig, Resize, Schedule
from daso.settings.checks import check
from daso.settings.identity import plain
from daso.settings.options import groups
from tests.compose import config_of as composed

config_of = cache(composed)
FIXMATCH = "algorithm=fixmatch"
FOREIGN = [recipe for recipe in groups()["recipe"] if recipe != "daso"]
VALUES = {  # as the code bases have them, for FixMatch on CIFAR-10
    "acr": {
        "train": {"steps": 250_000, "batch_size": 64, "mu": 1, "eval_every": 500},
        "optim": {"name": "sgd", "lr": 0.03, "schedule": Schedule.cosine, "cosine_ratio": 7.0, "weight_decay": 5e-4,
                  "decay": Decay.gradient, "decay_norm_bias": False, "ema_decay": 0.999, "ema_warmup": False,
                  "ema_buffers": EmaBuffers.copy},
        "model": {"bn_momentum": 0.001, "bn_eps": 1e-5, "last_bn_eps": 1e-5, "stem_bias": False, "raw_branch": False},
        "dataset": {"num_valid": 0, "padding": Padding.reflect, "resize": Resize.before, "strong": "paper",
                    "unlabeled_includes": Includes.labeled},
        "recipe": {"name": "acr", "reports": "top1_mean20"},
    },
    "simpro": {
        "train": {"steps": 43_000, "batch_size": 64, "mu": 8, "eval_every": 500},
        "optim": {"lr": 0.17, "schedule": Schedule.cosine, "decay_norm_bias": False, "ema_warmup": False,
                  "ema_buffers": EmaBuffers.copy},
        "model": {"bn_momentum": 0.001, "bn_eps": 1e-5, "last_bn_eps": 1e-5},
        "dataset": {"num_valid": 0, "unlabeled_includes": Includes.none},
        "recipe": {"name": "simpro", "reports": "top1_mean20"},
    },
    "cdmad": {
        "train": {"steps": 250_000, "batch_size": 32, "mu": 2, "eval_every": 500, "passes": Passes.separate},
        "optim": {"name": "adam", "lr": 0.0015, "schedule": Schedule.constant, "weight_decay": 0.04,
                  "decay": Decay.state, "decay_norm_bias": True, "ema_decay": 0.999, "ema_warmup": False,
                  "ema_buffers": EmaBuffers.average},
        "model": {"bn_momentum": 0.001, "bn_eps": 0.001, "last_bn_eps": 0.001},
        "dataset": {"num_valid": 0, "padding": Padding.zero, "unlabeled_includes": Includes.labeled},
        "recipe": {"name": "cdmad", "reports": "bacc_mean20"},
    },
    "usb": {
        "train": {"steps": 262_144, "batch_size": 64, "mu": 2, "eval_every": 1024, "period": 1024},
        "optim": {"name": "sgd", "lr": 0.03, "schedule": Schedule.cosine, "decay_norm_bias": False,
                  "ema_warmup": False, "ema_buffers": EmaBuffers.copy},
        "model": {"bn_momentum": 0.001, "bn_eps": 1e-5, "last_bn_eps": 0.001, "stem_bias": True, "raw_branch": True},
        "dataset": {"num_valid": 0, "padding": Padding.reflect, "strong": "usb", "mean": [0.485, 0.456, 0.406],
                    "std": [0.229, 0.224, 0.225], "unlabeled_includes": Includes.none},
        "recipe": {"name": "usb", "reports": "top1_best"},
    },
}  # fmt: skip


@pytest.mark.parametrize("preset", ["fixmatch_daso", "supervised", "remixmatch", "fixmatch_crest_plus"])
def test_the_paper_s_recipe_is_what_there_is_without_one(preset):
    config = config_of(f"algorithm={preset}")
    assert config_of(f"algorithm={preset}", "recipe=daso") == config
    assert config.recipe == RecipeConfig()


def test_every_recipe_is_held_to_its_code_base():
    assert VALUES.keys() == {*FOREIGN}


@pytest.mark.parametrize("recipe", FOREIGN)
def test_a_recipe_has_the_values_of_its_code_base(recipe):
    config = plain(config_of(f"recipe={recipe}", FIXMATCH, "dataset=cifar10"))
    for node, values in VALUES[recipe].items():
        expected = {key: getattr(value, "name", value) for key, value in values.items()}
        assert {key: config[node][key] for key in expected} == expected


@pytest.mark.parametrize(
    ("overrides", "node", "values"),
    [
        (["recipe=simpro", "dataset=stl10"], "train", {"mu": 16}),
        (["recipe=acr", "dataset=stl10"], "dataset", {"unlabeled_includes": Includes.none, "num_valid": 0}),
        (["recipe=acr", "dataset=cifar100"], "dataset", {"mean": [0.5071, 0.4867, 0.4408]}),
        (["recipe=cdmad", "dataset=cifar100"], "dataset", {"std": [0.2675, 0.2565, 0.2761]}),
        (["recipe=usb", "dataset=stl10"], "dataset", {"unlabeled_includes": Includes.train}),
        (["recipe=usb", "dataset=digits"], "dataset", {"mean": [0.3053]}),
        (["recipe=cdmad", "algorithm=remixmatch"], "train", {"steps": 150_000, "batch_size": 64, "mu": 2}),
        (["recipe=cdmad", "algorithm=remixmatch"], "dataset", {"unlabeled_includes": Includes.none}),
        (["recipe=cdmad", "algorithm=remixmatch"], "optim", {"lr": 0.002, "weight_decay": 0.04}),
        (["recipe=cdmad", "algorithm=remixmatch", "imb.gamma_u=1"], "optim", {"weight_decay": 0.02}),
        (["recipe=cdmad", "imb.gamma_u=1"], "optim", {"weight_decay": 0.01}),  # 33,720 images
        (["recipe=cdmad", "imbalance=cifar10_n500_m4000_g100_reversed"], "optim", {"weight_decay": 0.04}),
        (["recipe=cdmad", "algorithm=remixmatch"], "train", {"passes": Passes.joint}),
        (["recipe=cdmad", "debias=cdmad"], "debias", {"blank_moves_stats": True}),
        (["recipe=acr", "debias=cdmad"], "debias", {"blank_moves_stats": False}),
        (["recipe=cdmad", "dataset=stl10"], "optim", {"weight_decay": 0.01}),
        (["recipe=cdmad", "dataset=cifar100"], "optim", {"weight_decay": 0.08}),
    ],
)
def test_what_a_recipe_says_may_depend_on_data_set_and_learner(overrides, node, values):
    config = getattr(config_of(*([] if any("algorithm" in o for o in overrides) else [FIXMATCH]), *overrides), node)
    assert {key: getattr(config, key) for key in values} == values


@pytest.mark.parametrize(
    ("algorithm", "schedule"),
    [
        ("fixmatch", "cosine"),
        ("remixmatch", "cosine"),
        ("supervised", "cosine"),
        ("fixmatch_freematch", "cosine"),
        ("fixmatch_flexmatch", "cosine"),
        ("fixmatch_softmatch", "cosine"),
        ("fixmatch_adsh", "constant"),
        ("fixmatch_daso", "constant"),
        ("fixmatch_la", "constant"),
        ("fixmatch_crest", "constant"),
        ("cpe", "constant"),
        ("fixmatch_scssl", "constant"),
        ("remixmatch_daso", "constant"),
    ],
)
def test_usb_s_rate_is_a_cosine_for_plain_learners_and_constant_beside_an_imbalance_method(algorithm, schedule):
    assert config_of("recipe=usb", f"algorithm={algorithm}").optim.schedule.name == schedule


@pytest.mark.parametrize(("recipe", "weight"), [("daso", 0.01), ("usb", 0.001)])
def test_the_fairness_loss_of_freematch_weighs_as_in_its_code_base(recipe, weight):
    assert config_of(f"recipe={recipe}", "algorithm=fixmatch_freematch").confidence.fair_weight == weight


@pytest.mark.parametrize("recipe", FOREIGN)
@pytest.mark.parametrize("learner", ALGORITHMS)
def test_every_learner_composes_in_every_recipe_and_is_another_run(learner, recipe):
    config = config_of(f"algorithm={learner}", f"recipe={recipe}")
    assert check(config) == []
    assert config.run_key != config_of(f"algorithm={learner}").run_key
    assert method_name(plain(config)) == method_name(plain(config_of(f"algorithm={learner}")))


@pytest.mark.parametrize("recipe", FOREIGN)
def test_the_command_line_has_the_last_word_over_a_recipe(recipe):
    typed = ["optim.lr=0.5", "train.steps=77", "dataset.num_valid=100", "model.bn_momentum=0.3", "train.mu=3"]
    config = config_of(f"recipe={recipe}", FIXMATCH, *typed)
    assert (config.optim.lr, config.train.steps, config.train.mu) == (0.5, 77, 3)
    assert (config.dataset.num_valid, config.model.bn_momentum) == (100, 0.3)


def test_an_option_that_is_chosen_on_the_command_line_replaces_the_recipe_s():
    config = config_of("recipe=cdmad", "optim=ssl", FIXMATCH)
    assert config.optim == config_of(FIXMATCH).optim
    assert config.train == config_of("recipe=cdmad", FIXMATCH).train


def test_a_recipe_s_optimisation_comes_before_a_learner_s_own():
    assert config_of("algorithm=supervised", "recipe=acr").optim == config_of(FIXMATCH, "recipe=acr").optim


@pytest.mark.parametrize("recipe", FOREIGN)
def test_an_experiment_s_budget_comes_before_a_recipe_s(recipe):
    config, paper = (config_of("experiment=quickstart", *more) for more in ([f"recipe={recipe}"], []))
    for key in ("steps", "batch_size", "eval_every"):
        assert getattr(config.train, key) == getattr(paper.train, key)
    assert config.optim.ema_decay == 0.995
    assert config.dataset.mean == paper.dataset.mean
    assert config.optim.ema_warmup is False
    assert config.model.bn_momentum == 0.001


def test_the_recipe_s_name_alone_makes_no_other_run():
    config = config_of(FIXMATCH)
    from daso.settings.identity import run_key

    assert run_key(replace(config, recipe=RecipeConfig("usb", "top1_best"))) == config.run_key


def test_a_run_is_named_after_its_method_and_its_recipe():
    assert run_name(plain(config_of(FIXMATCH, "recipe=usb", "seed=3"))) == (
        "cifar10 fixmatch recipe=usb N1=1500 gl=100 gu=100 s3"
    )
    assert "recipe" not in run_name(plain(config_of(FIXMATCH)))


@pytest.mark.parametrize(
    ("override", "says"),
    [
        ("recipe=fixmatch", "options are acr, cdmad, daso, simpro, usb"),
        ("recipe.name=usb", "it follows from the recipe, which recipe= chooses"),
        ("recipe.reports=top1", "one of top1_median20"),
    ],
)
def test_a_mistake_is_a_sentence(override, says):
    from daso.settings.compose import configuration

    with pytest.raises(UserError, match=says):
        configuration((override,))
