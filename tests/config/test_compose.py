"""What a command line composes to."""

import re
import resource
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from hydra import compose, initialize_config_dir

from daso.schema import UNKNOWN
from daso.settings.compose import check, resolve
from daso.settings.identity import plain, to_yaml
from daso.settings.options import groups
from tests.compose import CONF, config_of
from tests.pictures import data_set

TABLE_SIZES = {  # paper App. C.1 and Table 2: (N1, M1, gamma_l, gamma_u)
    "cifar10_n500_m4000_g100": (500, 4000, 100, 100),
    "cifar10_n500_m4000_g150": (500, 4000, 150, 150),
    "cifar10_n500_m4000_g100_uniform": (500, 4000, 100, 1),
    "cifar10_n500_m4000_g100_reversed": (500, 4000, 100, 0.01),
    "cifar10_n1500_m3000_g100": (1500, 3000, 100, 100),
    "cifar10_n1500_m3000_g150": (1500, 3000, 150, 150),
    "cifar10_n1500_m3000_g100_uniform": (1500, 3000, 100, 1),
    "cifar10_n1500_m3000_g100_reversed": (1500, 3000, 100, 0.01),
    "cifar100_n50_m400_g10": (50, 400, 10, 10),
    "cifar100_n50_m400_g20": (50, 400, 20, 20),
    "cifar100_n150_m300_g10": (150, 300, 10, 10),
    "cifar100_n150_m300_g20": (150, 300, 20, 20),
    "stl10_n150_g10": (150, UNKNOWN, 10, UNKNOWN),
    "stl10_n150_g20": (150, UNKNOWN, 20, UNKNOWN),
    "stl10_n450_g10": (450, UNKNOWN, 10, UNKNOWN),
    "stl10_n450_g20": (450, UNKNOWN, 20, UNKNOWN),
}


@pytest.mark.parametrize(
    "line",
    [
        "experiment=quickstart algorithm=fixmatch_daso daso.t_dist=0.7 seed=3 out_root=o",
        "imbalance=cifar10_n500_m4000_g100_reversed algorithm=fixmatch_la_daso",
        "dataset=cifar100 algorithm=remixmatch imb.gamma_l=20 imb.gamma_u=1/10 optim.lr=0.1",
        "dataset=stl10 recipe=usb algorithm=fixmatch_abc train.steps=100 track=none",
    ],
)
def test_a_configuration_that_is_composed_once_for_all_its_values_is_the_one_that_runs(line):
    overrides = line.split()
    found = config_of(*overrides)
    with initialize_config_dir(CONF, version_base="1.3"):
        assert found == resolve(compose("config", overrides), overrides)


@pytest.mark.parametrize("name", TABLE_SIZES)
def test_the_paper_s_settings_are_options_by_name(name):
    imb = config_of(f"dataset={name.split('_')[0]}", f"imbalance={name}").imb
    assert (imb.n1, imb.m1, imb.gamma_l, imb.gamma_u) == TABLE_SIZES[name]


def test_cifar100_composes_its_own_sizes_and_gamma_u_follows_gamma_l():
    config = config_of("dataset=cifar100", "algorithm=fixmatch_daso", "imb.gamma_l=20")
    assert (config.imb.n1, config.imb.m1, config.imb.gamma_u) == (150, 300, 20)
    assert config.daso.t_dist == 0.3
    assert config.train.steps == 250000


@pytest.mark.parametrize(
    ("overrides", "t_dist"),
    [
        (["dataset=cifar10"], 1.5),
        (["dataset=cifar10", "imb.gamma_l=150"], 1.5),
        (["dataset=cifar10", "imb.gamma_u=1"], 0.3),
        (["dataset=cifar10", "imb.gamma_u=1/100"], 0.3),
        (["dataset=cifar10", "imb.gamma_u=1", "imb.gamma_l=1"], 1.5),
        (["dataset=cifar100"], 0.3),
        (["dataset=stl10"], 0.3),
        (["dataset=fashion_mnist"], 0.3),
        (["dataset=cifar10", "daso.t_dist=0.5"], 0.5),
        (["dataset=cifar100", "daso.t_dist=1.5"], 1.5),
    ],
)
def test_t_dist_follows_the_paper_unless_it_is_given(overrides, t_dist):
    assert config_of("algorithm=fixmatch_daso", *overrides).daso.t_dist == t_dist


@pytest.mark.parametrize(
    ("overrides", "goal"),
    [
        (["dataset=cifar10"], "labeled"),
        (["dataset=cifar100", "imb.gamma_l=20"], "labeled"),
        (["dataset=cifar10", "imb.gamma_u=1/100"], "estimate"),
        (["dataset=stl10"], "estimate"),
        (["dataset=stl10", "darp.goal=shipped"], "shipped"),
        (["dataset=cifar10", "darp.goal=estimate"], "estimate"),
    ],
)
def test_the_classes_of_the_unlabeled_set_are_estimated_where_they_are_not_known(overrides, goal):
    assert config_of("algorithm=fixmatch_darp", *overrides).darp.goal == goal


@pytest.mark.parametrize(
    ("algorithm", "mu"), [("fixmatch", 2), ("fixmatch_daso", 2), ("supervised", 1), ("remixmatch", 1), ("usadtm", 1)]
)
def test_mu_is_the_learner_s_own_unless_it_is_given(algorithm, mu):
    assert config_of(f"algorithm={algorithm}").train.mu == mu
    assert config_of(f"algorithm={algorithm}", "train.mu=5").train.mu == 5


@pytest.mark.parametrize(
    ("preset", "by_hand"),
    [
        ("fixmatch_daso", ["algorithm=fixmatch", "daso=paper"]),
        ("fixmatch_la", ["algorithm=fixmatch", "supervised=la"]),
        ("fixmatch_da", ["algorithm=fixmatch", "align=da"]),
        ("fixmatch_la_daso", ["algorithm=fixmatch", "supervised=la", "daso=paper"]),
        ("fixmatch_la_da", ["algorithm=fixmatch", "supervised=la", "align=da"]),
        ("fixmatch_cb", ["algorithm=fixmatch", "supervised=cb"]),
        ("fixmatch_cb_daso", ["algorithm=fixmatch", "supervised=cb", "daso=paper"]),
        ("meanteacher_daso", ["algorithm=meanteacher", "daso=paper", "daso.align_weight=0"]),
        ("mixmatch_daso", ["algorithm=mixmatch", "daso=blend_only"]),
        ("remixmatch_daso", ["algorithm=remixmatch", "align=none", "daso=paper"]),
        ("supervised_la", ["algorithm=supervised", "supervised=la"]),
        ("supervised_cb", ["algorithm=supervised", "supervised=cb"]),
        ("supervised_ldam_drw", ["algorithm=supervised", "supervised=ldam_drw"]),
        ("fixmatch_abc", ["algorithm=fixmatch", "abc=paper"]),
        ("fixmatch_la_abc_daso", ["algorithm=fixmatch", "supervised=la", "abc=paper", "daso=paper"]),
        ("fixmatch_la_darp", ["algorithm=fixmatch", "supervised=la", "darp=paper"]),
        ("fixmatch_boss", ["algorithm=fixmatch", "confidence=boss"]),
        ("fixmatch_cdmad_daso", ["algorithm=fixmatch_cdmad", "daso=paper"]),
        ("fixmatch_debiaspl", ["algorithm=fixmatch", "debias=debiaspl"]),
        ("fixmatch_la_saw", ["algorithm=fixmatch", "supervised=la", "balance=saw"]),
        ("fixmatch_saw_daso", ["algorithm=fixmatch", "balance=saw", "daso=paper"]),
        ("fixmatch_freematch", ["algorithm=fixmatch", "confidence=freematch"]),
        ("fixmatch_freematch_daso", ["algorithm=fixmatch", "confidence=freematch", "daso=paper"]),
        ("fixmatch_softmatch_daso", ["algorithm=fixmatch", "confidence=softmatch", "daso=paper"]),
        ("fixmatch_flexmatch_saw", ["algorithm=fixmatch", "confidence=flexmatch", "balance=saw"]),
        ("fixmatch_la_freematch", ["algorithm=fixmatch", "supervised=la", "confidence=freematch"]),
        ("fixmatch_cdmad_freematch", ["algorithm=fixmatch", "debias=cdmad", "confidence=freematch"]),
        ("fixmatch_adsh", ["algorithm=fixmatch", "confidence=adsh"]),
        ("remixmatch_saw", ["algorithm=remixmatch", "balance=saw"]),
        ("remixmatch_darp", ["algorithm=remixmatch", "align=matched_refine", "darp=paper"]),
    ],
)
def test_a_preset_is_its_slots_and_nothing_else(preset, by_hand):
    assert config_of(f"algorithm={preset}") == config_of(*by_hand)


@pytest.mark.parametrize("preset", groups()["algorithm"])
def test_a_preset_s_first_lines_say_cell_command_and_published_number(preset):
    cell, command, published = (Path(CONF) / "algorithm" / f"{preset}.yaml").read_text().splitlines()[:3]
    assert "Paper: " in cell
    assert published.startswith("# Published: ")
    program, *overrides = command.removeprefix("# Command: python ").split()
    assert program == "train.py"
    assert f"algorithm={preset}" in overrides
    assert check(config_of(*overrides)) == []


@pytest.mark.parametrize(
    ("overrides", "align"),
    [
        (["dataset=cifar10"], "da"),
        (["dataset=cifar100", "imb.gamma_l=20"], "da"),
        (["dataset=cifar10", "imb.gamma_u=1"], "none"),
        (["dataset=cifar10", "imb.gamma_u=1/100"], "none"),
        (["dataset=stl10"], "none"),
        (["dataset=stl10", "align=da"], "da"),
        (["dataset=cifar10", "align=none"], "none"),
    ],
)
def test_remixmatch_aligns_to_the_labeled_prior_where_it_is_the_unlabeled_one_s_unless_told_otherwise(overrides, align):
    assert config_of("algorithm=remixmatch", *overrides).align.name == align


def test_supervised_brings_the_label_only_schedule():
    optim = config_of("algorithm=supervised").optim
    assert (optim.lr, optim.schedule.name, optim.warmup, optim.gamma) == (0.1, "multistep", 0.025, 0.01)
    assert [fraction * 250000 for fraction in optim.milestones] == [199999, 225000]


def test_semi_supervised_learners_keep_a_constant_learning_rate():
    optim = config_of("algorithm=fixmatch").optim
    assert (optim.lr, optim.schedule.name, optim.momentum, optim.weight_decay) == (0.03, "constant", 0.9, 5e-4)


@pytest.mark.parametrize("dataset", groups()["dataset"])
def test_every_data_set_composes_without_a_warning(dataset, tmp_path):
    assert check(config_of(*data_set(tmp_path, dataset))) == []


OTHERS = [f"imbalance={name}" for name in groups()["imbalance"] if name not in TABLE_SIZES]
OTHERS += [f"{group}={option}" for group in ("model", "optim") for option in groups()[group]]


@pytest.mark.parametrize("option", OTHERS)
def test_every_other_option_composes(option, tmp_path):
    group, _, name = option.partition("=")
    fitting = [d for d in groups()["dataset"] if group == "imbalance" and name.startswith(f"{d}_")]
    config_of(option, *data_set(tmp_path, *fitting) if fitting else [])


def test_quickstart_is_the_known_setting():
    config = config_of("experiment=quickstart")
    assert config.dataset.name == "digits"
    assert (config.imb.n1, config.imb.m1, config.imb.gamma_l, config.imb.gamma_u) == (20, 100, 10, 1)
    assert (config.model.depth, config.model.width) == (10, 1)
    assert (config.train.steps, config.train.batch_size, config.train.mu) == (1000, 16, 2)
    assert (config.daso.warmup_steps, config.daso.update_every, config.daso.t_dist) == (150, 50, 0.3)
    assert config.optim.ema_decay == 0.995
    assert check(config) == []


@pytest.mark.parametrize("experiment", groups()["experiment"])
def test_the_command_line_has_the_last_word(experiment):
    overrides = ["algorithm=fixmatch", "model=wrn28_8", "train.steps=77", "imb.gamma_l=3"]
    config = config_of(f"experiment={experiment}", *overrides)
    assert (config.daso.name, config.model.width, config.train.steps, config.imb.gamma_l) == ("none", 8, 77, 3)


def test_resolved_yaml_reads_back_to_the_same_values():
    config = config_of("experiment=quickstart", "imb.gamma_u=1/10")
    assert yaml.safe_load(to_yaml(config)) == plain(config)


def test_help_names_every_option_of_ours():
    done = subprocess.run([sys.executable, "train.py", "--help"], capture_output=True, text=True, cwd=Path(CONF).parent)
    shown = re.sub(r"\n  (?=\w+(,|\n))", " ", done.stdout)  # long lists take several lines
    assert "schema" not in shown
    assert max(map(len, done.stdout.splitlines())) <= 120
    folders = {path.parent for path in Path(CONF).rglob("*.yaml")} - {Path(CONF)}
    for folder in folders:
        options = ", ".join(sorted(path.stem for path in folder.glob("*.yaml")))
        group = folder.relative_to(CONF).as_posix()
        assert f"{group}: {options}\n" in shown or f"{group}={options}." in shown


def test_the_version_is_that_of_the_code_and_of_what_it_stands_on():
    done = subprocess.run(
        [sys.executable, "train.py", "--version"], capture_output=True, text=True, cwd=Path(CONF).parent
    )
    assert re.fullmatch(r"daso .+, torch [\d.]+\S*, hydra-core [\d.]+, mlflow [\d.]+\n", done.stdout)


@pytest.mark.parametrize("arguments", [["--cfg", "job", "--resolve"], ["--help"]])
def test_looking_at_the_configuration_imports_nothing_heavy(arguments):
    code = (
        "import sys, runpy\n"
        f"sys.argv = ['train.py', *{arguments!r}]\n"
        "try: runpy.run_path('train.py', run_name='__main__')\n"
        "except SystemExit: pass\n"
        "heavy = {'torch', 'mlflow', 'sklearn', 'matplotlib', 'torchvision', 'numpy'} & set(sys.modules)\n"
        "sys.exit(f'imported {heavy}' if heavy else 0)"
    )
    before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=Path(CONF).parent)
    assert done.returncode == 0, done.stderr
    assert "n1: 1500" in done.stdout
    assert (
        resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime - before < 3
    )  # CPU seconds; about half a second when idle
