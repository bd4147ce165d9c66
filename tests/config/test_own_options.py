"""A person's own option files, in a folder that `--config-dir` names."""

import pytest

OWN = "# @package _global_\ndefaults:\n  - override /algorithm: fixmatch\n\ntrain:\n  steps: 30\n"


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


def test_a_folder_that_is_not_there_is_named(command, tmp_path):
    code, _, err, _ = command("--config-dir", "nowhere", "experiment=quickstart")
    assert code == 2
    assert err == "--config-dir nowhere is not possible: there is no such folder.\n"
