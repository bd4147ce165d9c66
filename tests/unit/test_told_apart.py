"""What tells runs of one name apart: in the list of runs, and in the names that trackers show."""

import csv
import io
from dataclasses import replace

from daso import runs
from daso.outputs.files import write_json
from daso.outputs.rundir import RunDir
from daso.settings.apart import differing, told
from daso.settings.identity import plain, to_yaml
from tests.compose import tiny


def test_runs_of_one_name_differ_in_the_knobs_that_decide_their_numbers():
    first, other = plain(tiny("optim.lr=0.05", "device=cpu")), plain(tiny("optim.lr=1e-3", "train.log_every=15"))
    seed, foreign = plain(tiny("seed=1", "optim.lr=1")), {"dataset": {"name": "digits"}}
    said = differing([first, other, seed, foreign, None])
    assert said == [["lr=0.05"], ["lr=0.001"], ["lr=1.0"], [], []]  # whatever the seed


def test_trials_of_a_study_do_not_tell_plain_runs_apart(tmp_path, capsys):
    for rate, sweep in (("0.05", None), ("0.1", "study warm"), ("0.2", "study warm"), ("0.3", "a grid")):
        config = tiny(f"optim.lr={rate}", f"train.steps={50 if sweep == 'study warm' else 60}")
        run = RunDir(tmp_path, config.run_key)
        run.path.mkdir()
        run.resolved.write_text(to_yaml(config))
        write_json(run.card, {"tags": {"run_key": config.run_key, "sweep_name": sweep}})
    runs.main(["--root", str(tmp_path), "--csv"])
    rows = csv.DictReader(io.StringIO(capsys.readouterr().out))
    assert {row["differs"] for row in rows} == {"lr=0.05", "lr=0.3", "study=warm lr=0.1", "study=warm lr=0.2"}


def test_folders_of_one_name_are_told_apart_by_their_paths_and_what_follows_is_not_told(tmp_path):
    dataset = replace(tiny().dataset, name="folder", reader="folder", crop="pad", source_size=8, crop_pad=1, cutout=4)
    configs = [
        plain(replace(tiny(), dataset=replace(dataset, root=f"{place}/pics", files_checksum=place * 8, **sizes)))
        for place, sizes in (("a", {}), ("b", {"resolution": 16, "source_size": 16, "crop_pad": 2, "cutout": 8}))
    ]
    assert differing(configs) == [["resolution=8", "root=a/pics"], ["resolution=16", "root=b/pics"]]


def test_long_numbers_are_rounded_unless_that_makes_them_alike():
    def said(*rates):
        return differing([plain(tiny(f"optim.lr={rate}")) for rate in rates])

    assert said("0.0123456789012", "0.5") == [["lr=0.01235"], ["lr=0.5"]]
    assert said("0.0123456789012", "0.0123456789013") == [["lr=0.0123456789012"], ["lr=0.0123456789013"]]


def test_a_run_is_named_by_what_was_typed_and_decides_its_numbers_and_is_not_in_its_name():
    overrides = ["experiment=quickstart", "seed=3", "imb.gamma_l=5", "optim.lr=0.05", "model=wrn28_8", "device=cpu"]
    overrides += ["train.log_every=5"]
    assert told(tiny(*overrides[1:5]), overrides) == ["lr=0.05", "model=wrn28_8"]


def test_a_list_has_a_column_of_what_differs_where_anything_does(tmp_path, capsys):
    for rate in ("0.05", "1e-3"):
        config = tiny(f"optim.lr={rate}")
        run = RunDir(tmp_path, config.run_key)
        run.path.mkdir()
        run.resolved.write_text(to_yaml(config))
        runs.main(["--root", str(tmp_path)])
        head, *lines = capsys.readouterr().out.splitlines()
        assert ("differs" in head) == (len(lines) == 2)
    assert sorted(word for line in lines for word in line.split() if word.startswith("lr=")) == ["lr=0.001", "lr=0.05"]
    runs.main(["--root", str(tmp_path), "--csv"])
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert {row["differs"] for row in rows} == {"lr=0.05", "lr=0.001"}
