"""A person's own option files, in a folder that `--config-dir` names."""

import pytest

OWN = "# @package _global_\ndefaults:\n  - override /algorithm: fixmatch\n\ntrain:\n  steps: 30\n"
GLOBAL = "# @package _global_\n"
BROKEN = {
    # what the file holds, and what the sentence says behind its path
    "twice": (f"{GLOBAL}train:\n  steps: 30\n  steps: 40\n", "line 4: the key steps stands there a second time"),
    "twice at the top": (f"{GLOBAL}seed: 1\nforce: true\nseed: 2\n", "line 4: the key seed stands there a second time"),
    "a tab": (f"{GLOBAL}train:\n\tsteps: 30\n", "line 3: a tab"),
    "a tab after spaces": (f"{GLOBAL}train:\n  steps: 30\n \tmu: 3\n", "line 4: a tab"),
    "too far left": (f"{GLOBAL}train:\n  steps: 30\n mu: 2\n", "line 4: its indent"),
    "too far right": (f"{GLOBAL}train:\n  steps: 30\n    mu: 2\n", "line 4: its indent"),
    "empty": ("", "holds no key: an option file of experiment holds keys, below the line # @package _global_"),
    "a list": ("- a\n", "holds no key"),
    "a BOM": (b"\xef\xbb\xbf" + f"{GLOBAL}seed: 1\n".encode(), "begins with a byte order mark"),
    "another code": (f"{GLOBAL}# ".encode() + b"\xfc\nseed: 1\n", "line 2: it is not UTF-8"),
    "no package": ("train:\n  steps: 30\n", "line 1: the line # @package _global_ is missing"),
    "package too late": ("seed: 1\n# @package _global_\n", "line 1: the line # @package _global_ is missing"),
    "package misspelt": ("# @pakage _global_\nseed: 1\n", "line 1: the line # @package _global_ is missing"),
    "another package": ("# @package global\nseed: 1\n", "line 1: # @package global is no place"),
    "no space": (f"{GLOBAL}train:\n  steps:30\n", "line 3: steps:30 is one word; a colon wants a space"),
    "a star": (f"{GLOBAL}out_root: *x\n", "line 2: a value that begins with *"),
    "a quote": (f'{GLOBAL}out_root: "x\n', "line 3: it is no YAML"),
    "a tag": (f"{GLOBAL}x: !!python/object/apply:os.system [ls]\n", "line 2: the tag"),
    "two documents": (f"{GLOBAL}seed: 1\n---\nseed: 2\n", "--- begins a second document"),
    "no slash": (f"{GLOBAL}defaults:\n  - algorithm: fixmatch\n", "line 3: a group stands behind a slash there"),
    "too late": (
        f"{OWN.partition('train:')[0].strip()}\n  - quickstart\n",
        "line 4: quickstart stands in front of what",
    ),
    "no override": (
        f"{GLOBAL}defaults:\n  - /algorithm: fixmatch\n",
        "line 3: algorithm is chosen already, which takes",
    ),
    "a group": (f"{GLOBAL}defaults:\n  - experiment: cpu\n", "line 3: an option of experiment to go on from stands"),
    "a slash": (f"{GLOBAL}defaults:\n  - /cpu\n", "line 3: an option of experiment to go on from stands there alone"),
    "a key": (
        f"{GLOBAL}algorithm: fixmatch\n",
        "line 2: an option of algorithm is chosen in the defaults, as in - overr",
    ),
    "no list": (f"{GLOBAL}defaults: fixmatch\n", "line 2: defaults are a list"),
}


@pytest.fixture
def mine(tmp_path):
    """Writes option files into a folder of one's own, and gives the folder."""

    def write(**files):
        for name, content in files.items():
            path = tmp_path / "mine" / f"{name.replace('__', '/')}.yaml"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content.encode() if isinstance(content, str) else content)
        return str(tmp_path / "mine")

    return write


def test_they_are_options_like_the_project_s(command, mine):
    code, _, _, [(config, provenance)] = command("--config-dir", mine(experiment__small=OWN), "experiment=small")
    assert (code, config.train.steps, config.algorithm.name) == (0, 30, "fixmatch")
    assert provenance.choices["experiment"] == "small"


def test_an_experiment_may_go_on_from_another_one(command, mine):
    joined = OWN.replace("defaults:\n", "defaults:\n  - quickstart\n")
    code, _, _, [(config, _)] = command("--config-dir", mine(experiment__small=joined), "experiment=small")
    assert (code, config.train.steps, config.dataset.name, config.algorithm.name) == (0, 30, "digits", "fixmatch")


def test_what_they_compose_can_be_shown_and_swept(command, mine, tmp_path):
    folder = mine(experiment__small=OWN)
    assert command(f"--config-dir={folder}", "--cfg", "job", "experiment=small")[0] == 0
    where = f"out_root={tmp_path / 'out'}"
    code, _, _, jobs = command("--config-dir", folder, "-m", "experiment=small,quickstart", "track=none", where)
    assert (code, sorted(config.train.steps for config, _ in jobs)) == (0, [30, 1000])


def test_a_mistaken_name_is_compared_with_them(command, mine):
    code, _, err, _ = command("--config-dir", mine(experiment__small=OWN), "experiment=smal")
    assert code == 2
    assert "did you mean small?" in err


def test_a_file_that_lies_elsewhere_or_ends_otherwise_is_named(command, mine, tmp_path):
    folder = mine(experiment__small=OWN)
    _, _, err, _ = command("--config-dir", f"{folder}/experiment", "experiment=small")
    assert err.endswith(f"small.yaml lies where the folder experiment is looked for; --config-dir {folder}.\n")
    _, _, err, _ = command("--config-dir", mine(other=OWN), "experiment=other")
    assert err.endswith(
        f"other.yaml lies where the folder experiment is looked for; it belongs into {folder}/experiment.\n"
    )
    (tmp_path / "mine" / "experiment" / "tiny.yml").write_text(OWN)
    _, _, err, _ = command("--config-dir", folder, "experiment=tiny")
    assert err.endswith("tiny.yml is not read, for option files end in .yaml.\n")


def test_a_folder_that_is_not_there_is_named(command, tmp_path):
    code, _, err, _ = command("--config-dir", "nowhere", "experiment=quickstart")
    assert code == 2
    assert err == "--config-dir nowhere is not possible: there is no such folder.\n"


@pytest.mark.parametrize("kind", BROKEN)
def test_a_broken_file_is_named_with_line_and_what_is_missing(command, mine, kind):
    content, says = BROKEN[kind]
    folder = mine(experiment__broken=content)
    code, _, err, jobs = command("--config-dir", folder, "experiment=broken")
    assert (code, jobs, err.count("\n")) == (2, [], 1), err
    assert err.startswith(f"{folder}/experiment/broken.yaml")
    assert says in err


def test_a_broken_file_that_another_one_includes_is_named(command, mine):
    folder = mine(experiment__outer=f"{GLOBAL}defaults:\n  - inner\n", experiment__inner="train:\n\tsteps: 3\n")
    _, _, err, _ = command("--config-dir", folder, "experiment=outer")
    assert err.startswith(f"{folder}/experiment/inner.yaml, line 2: a tab")


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("  stepz: 30", "there is no key train.stepz; did you mean train.steps?"),
        ("  steps: many", "it is a whole number."),
    ],
)
def test_a_mistaken_key_or_value_in_a_file_is_told_with_its_line(command, mine, line, says):
    folder = mine(experiment__mistaken=f"{GLOBAL}train:\n{line}\n")
    code, _, err, _ = command("--config-dir", folder, "experiment=mistaken")
    assert code == 2
    assert f"({folder}/experiment/mistaken.yaml, line 3) is not possible: {says}" in err


def test_an_own_sizes_file_needs_the_package_of_its_group(command, mine):
    folder = mine(imbalance__short="n1: 20\nm1: 100\ngamma_l: 10\ngamma_u: 1\n")
    _, _, err, _ = command("--config-dir", folder, "dataset=digits", "imbalance=short")
    assert "imbalance/short.yaml, line 1: the line # @package imb is missing" in err


def test_a_broken_file_that_nobody_chose_is_not_blamed(command, mine):
    folder = mine(experiment__broken="", experiment__small=OWN)
    assert command("--config-dir", folder, "experiment=small")[0] == 0
    assert "seed=x" in command("--config-dir", folder, "experiment=small", "seed=x")[2]


@pytest.mark.parametrize(
    ("files", "typed", "says"),
    [
        (
            {"experiment__x": f"{GLOBAL}force: 5\n"},
            ["experiment=x"],
            "force=5 (FOLDER/experiment/x.yaml, line 2) is not",
        ),
        ({"train__x": "defaults:\n  - default\n\ndeterministic: -1\n"}, ["train=x"], "train.deterministic=-1 (FOLDER/"),
        (
            {"experiment__x": f"{GLOBAL}defaults:\n  - /experiment/y\n", "experiment__y": f"{GLOBAL}eval_only: 2\n"},
            ["experiment=x"],
            "eval_only=2 (FOLDER/experiment/y.yaml, line 2) is not possible: it is true or false.",
        ),
        (
            {"experiment__x": f"{GLOBAL}recipe:\n  name: usb\n"},
            ["experiment=x"],
            "recipe.name=usb is not possible: FOLDER/",
        ),
        (
            {"track__x": "uri: http://h:1\n"},
            ["track=x"],
            "track.name has no value: choose one with track.name=..., or in FOLDER/track/x.yaml: set it there, or",
        ),
    ],
)
def test_values_of_files_are_judged_like_typed_ones(command, mine, files, typed, says):
    folder = mine(**files)
    code, out, err, jobs = command("--config-dir", folder, *typed)
    assert (code, out, jobs, err.count("\n")) == (2, "", [], 1)
    assert says.replace("FOLDER", folder) in err
    assert command("--config-dir", folder, "--cfg", "job", *typed)[2] == f"What is shown cannot run: {err}"


def test_a_typed_value_stands_for_that_of_a_file(command, mine):
    folder = mine(experiment__x=f"{GLOBAL}force: 5\n")
    code, *_, jobs = command("--config-dir", folder, "experiment=x", "force=true")
    assert (code, len(jobs)) == (0, 1)
