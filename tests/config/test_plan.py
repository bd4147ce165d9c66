"""What `plan=` says of any sweep and of a single run: what is done, what is left, what it costs, what cannot run."""

import math
import re
import shlex
from pathlib import Path

import pytest
import torch

from daso.data.images.source import census_ahead
from daso.data.sources import SOURCES
from daso.outputs.files import write_json
from daso.outputs.rundir import RunDir
from daso.run.work import Operation, Work
from daso.sweep import probe
from daso.sweep.graph import said_of
from daso.sweep.plan import disk_bytes
from daso.sweep.session import FAILED, JobResult
from tests import pictures
from tests.compose import config_of

ROOT = Path(__file__).parents[2]


TINY = ["dataset=digits", "imbalance=digits_default", "model=wrn10_1", "train.steps=20"]


def test_a_plan_trains_nothing_and_names_what_cannot_run(sweep, tmp_path):
    code, out, _, jobs = sweep("experiment=quickstart", "algorithm=fixmatch,supervised", "daso=paper", "plan=true")
    assert (code, jobs) == (1, [])
    assert "runs          1: 1 new" in out
    assert "algorithm=supervised makes no pseudo-labels" in out
    assert not (tmp_path / "out").exists()


def test_a_plan_names_what_runs_will_warn_of_each_once_and_a_recipe_that_is_not_the_paper_s(sweep):
    grid = ("experiment=quickstart", "algorithm=fixmatch_daso,supervised", "imb.gamma_u=1", "train.steps=100")
    out = sweep(*grid, "seed=0,1", "plan=true")[1]
    assert [line.split("  ")[1] for line in out.splitlines() if line.startswith("warning  ")] == [
        "DASO never blends in this run, which trains as it would without it, its evaluation aside "
        "(daso.ema_bn=official), because daso.warmup_steps=150 is not below "
        "train.steps=100. (2 runs of 4)",
        "top1_median20 is the median of only 2 evaluations: train.eval_every=50 with train.steps=100.",
        "imb.gamma_u=1 has no effect in this run: only a learner of unlabeled images reads it. (2 runs of 4)",
    ]
    rows = sweep("recipe=usb", "algorithm=fixmatch,fixmatch_daso", "plan=true")[1].splitlines()
    assert [line.split("│")[1].strip() for line in rows if line.startswith("│")] == [
        "fixmatch recipe=usb",
        "fixmatch_daso recipe=usb",
    ]


def test_a_refused_job_is_named_once(sweep):
    out = sweep("experiment=quickstart", "algorithm=fixmatc,fixmatch", "plan=full")[1]
    assert "not possible  algorithm=fixmatc is not possible: did you mean fixmatch?" in out
    assert ("Each run" in out, out.count("Plan: 1 run")) == (True, 1)
    assert said_of("crt from_run=x", "protocol.from_run=x is not possible: no.").startswith("crt from_run=x: ")


def test_an_override_that_changes_nothing_is_said_of_finished_runs_too(command, sweep, tmp_path):
    line = ["experiment=quickstart", "algorithm=fixmatch", "daso.t_dist=0.5"]
    run = RunDir(tmp_path / "out", config_of(*line).run_key)
    run.path.mkdir(parents=True)
    run.done.touch()
    write_json(run.summary, {"test/top1_median20": 60.5, "steps": 1000})
    said = "daso.t_dist=0.5 has no effect in this run: only another option than daso=none reads it."
    assert f"Warning: {said}\n" in sweep(*line)[2]
    assert f"warning  {said}" in sweep(*line, "plan=true")[1]
    code, _, err, jobs = command(*line, f"out_root={run.root}", "track=none")
    assert (code, len(jobs)) == (0, 1)
    assert f"Warning: {said}\n" in err


def test_a_plan_says_which_data_will_be_downloaded(sweep, tmp_path):
    grid = ("experiment=table1_cifar10", "sweep.rows=supervised,fixmatch", "plan=true")
    _, out, _, _ = sweep(*grid, f"dataset.root={tmp_path}")
    said = f"data   cifar10 is not in {tmp_path}: the first start downloads it (170 MB), where there is a network"
    assert [" ".join(line.split()) for line in out.splitlines() if line.startswith("data")] == [" ".join(said.split())]
    batches = tmp_path / "cifar-10-batches-py"
    batches.mkdir()
    for name in SOURCES["cifar10"].files:
        (batches / name).touch()
    assert "downloaded" not in sweep(*grid, f"dataset.root={tmp_path}")[1]


def test_a_plan_says_how_far_each_run_is(sweep, tmp_path):
    out_root = tmp_path / "out"
    runs = [
        RunDir(out_root, config_of("experiment=quickstart", "track=none", f"seed={seed}").run_key) for seed in range(3)
    ]
    for run in runs:
        run.path.mkdir(parents=True)
    runs[0].mark_done()
    runs[1].metrics.write_text('{"event": "train", "step": 450, "time/unix": 0, "time/steps_per_second": 8.0}\n')
    torch.save({"step": 400}, runs[1].checkpoint)
    runs[2].mark_failed("The loss is not finite.")
    _, out, _, jobs = sweep("experiment=quickstart", "seed=0,1,2,3", "plan=full")
    assert jobs == []
    assert "4: 1 done, 1 partial, 1 failed, 1 new" in out
    assert "400 of 1,000" in out
    assert "2,600 to train, of 4,000" in out


def test_a_plan_of_runs_that_would_lie_in_a_file_is_refused(command, tmp_path):
    (tmp_path / "file").touch()
    code, out, err, _ = command("experiment=quickstart", "track=none", f"out_root={tmp_path}/file/in", "plan=true")
    assert (code, out) == (2, "")
    assert err == f"out_root={tmp_path}/file/in is not possible: {tmp_path}/file is a file; name a folder.\n"


def test_a_plan_says_which_images_the_first_run_decodes(sweep, tmp_path):
    root = pictures.photos(tmp_path / "photos")
    files = ("dataset=folder", f"dataset.root={root}", "dataset.resolution=12", "model=wrn10_1")
    config = config_of(*files, "algorithm=fixmatch")
    _, out, _, _ = sweep(*files, "algorithm=fixmatch", "seed=0,1", "plan=true")
    assert f"store  60 images to be decoded once, about 1 MB in {root}/.daso, where" in re.sub(" {3,}", "  ", out)
    assert not (root / ".daso").exists()
    build = f"python -m daso.store build dataset=folder dataset.root={root} dataset.resolution=12"
    assert f"their files have not been opened: {build} finds broken ones" in " ".join(out.split())
    told = [line.strip() for line in re.findall(r"^data +(.*)$", out, re.MULTILINE)]
    assert told == census_ahead(config.dataset, config.imb, 0, True).lines()
    assert "imbalance" in told[0]
    _, out, _, _ = sweep(*files, "algorithm=fixmatch", "dataset.labels_per_class=2,3", "plan=true")
    assert not re.search(r"^data ", out, re.MULTILINE)  # of several settings


def test_a_plan_tells_of_images_all_that_a_run_tells_of_them(sweep, tmp_path):
    root = tmp_path / "photos"
    unlabeled = {"cat": 2, "strange": 2}
    pictures.folder(root, train={"cat": 6, "hat": 3}, unlabeled=unlabeled, valid={"cat": 1, "hat": 1})
    files = ("dataset=folder", f"dataset.root={root}", "dataset.resolution=12", "model=wrn10_1")
    said = " ".join(sweep(*files, "algorithm=fixmatch", "plan=true")[1].split())
    assert "data below 5 labeled images: hat" in said
    assert "data There is no test set: the images of the validation set serve as one." in said
    assert f"data The folders in {root}/unlabeled are not taken for the truth of its images: strange would" in said


def test_a_plan_asks_whether_folders_of_images_were_meant(sweep, tmp_path):
    pictures.folder(tmp_path, train={"cat": 1, "hat": 1})
    said = " ".join(sweep("experiment=table1_cifar10", f"dataset.root={tmp_path}", "plan=true")[1].split())
    right = "which holds train/<class>/: did you mean dataset=folder?"
    assert f"data dataset.root={tmp_path} is not possible: cifar10 is not in {tmp_path}, {right}" in said


def test_a_plan_estimates_hours_from_runs_of_the_kind(sweep, tmp_path):
    config = config_of("experiment=quickstart", "track=none")
    run = RunDir(tmp_path / "out", config.run_key)
    run.path.mkdir(parents=True)
    from daso.settings.identity import to_yaml

    run.resolved.write_text(to_yaml(config))
    write_json(run.card, {"name": "", "tags": {}, "device": "cpu"})
    write_json(run.summary, {"steps": 1000, "seconds": 7200})
    run.mark_done()
    _, out, _, _ = sweep("experiment=quickstart", "seed=0,1,2", "plan=true", "hydra/launcher=joblib")
    assert "4.0 h on cpu for 2 runs, one after another" in out
    assert not re.search(r" $", out, re.MULTILINE)
    _, out, _, _ = sweep("experiment=quickstart", "train.steps=20", "seed=0", "plan=true")
    assert "2m24s on cpu for 1 run, one after another" in out
    _, out, _, _ = sweep("experiment=quickstart", "seed=1", "train.batch_size=8,4", "plan=true")
    assert out.count("unknown for fixmatch") == 1
    (command,) = re.findall(r"200 steps a kind of run: (.*)", out)
    assert command.startswith("python train.py -m ")
    assert command.endswith("experiment=quickstart seed=1 train.batch_size=8,4 plan=probe")


def test_a_short_run_on_a_gpu_does_not_tell_how_fast_a_compiled_one_is(sweep, tmp_path, monkeypatch):
    from daso.settings.identity import to_yaml

    def finished(steps_per_second, *overrides):
        config = config_of("experiment=quickstart", "track=none", *overrides)
        run = RunDir(tmp_path / "out", config.run_key)
        run.path.mkdir(parents=True)
        run.resolved.write_text(to_yaml(config))
        write_json(run.card, {"name": "", "tags": {}, "device": "NVIDIA H200"})
        write_json(run.summary, {"steps": 200, "seconds": 200 / steps_per_second})
        run.mark_done()

    monkeypatch.setattr("shutil.which", lambda name: name)
    plan = ("experiment=quickstart", "train.steps=36000", "seed=1", "plan=true")
    finished(10, "train.steps=200")
    _, out, _, _ = sweep(*plan)
    assert "unknown for fixmatch" in out
    finished(100, "train.steps=200", "train.compile=graph")
    _, out, _, _ = sweep(*plan)
    assert "6m00s on NVIDIA H200 for 1 run" in out


@pytest.fixture
def timed(tmp_path):
    """Leaves a finished run of FixMatch on a GPU, with further overrides."""
    from daso.settings.identity import to_yaml

    def finish(device, steps_per_second, *overrides):
        config = config_of("experiment=quickstart", "algorithm=fixmatch", "track=none", *overrides)
        run = RunDir(tmp_path / "out", config.run_key)
        run.path.mkdir(parents=True)
        run.resolved.write_text(to_yaml(config))
        write_json(run.card, {"name": "", "tags": {}, "device": device})
        write_json(run.summary, {"steps": 1000, "seconds": 1000 / steps_per_second})
        run.mark_done()

    return finish


def test_a_plan_of_kinds_that_differ_names_the_range_of_their_speeds(sweep, timed):
    timed("cpu", 10.0, "train.batch_size=8")
    timed("cpu", 4.0, "train.batch_size=4")
    kinds = ("experiment=quickstart", "algorithm=fixmatch", "train.batch_size=8,4", "seed=1", "plan=true")
    assert "(by 2 runs that took 0.1 to 0.25 s a step)" in sweep(*kinds)[1]


ESTIMATED = ("experiment=quickstart", "algorithm=fixmatch", "seed=1,2", "plan=true")


def test_a_plan_estimates_hours_on_a_gpu_that_nobody_timed_until_a_run_was(sweep, timed, monkeypatch):
    monkeypatch.setattr("daso.sweep.plan.cards_here", lambda: ["NVIDIA H100 80GB HBM3"])
    _, out, _, _ = sweep(*ESTIMATED)
    (line,) = [line for line in out.splitlines() if "an estimate" in line]
    assert re.search(r"about \d+s on NVIDIA H100 80GB HBM3 for 2 runs, one after another", line)
    assert re.search(r"\(fixmatch with \S+ TFLOP and \S+ GB a step\)", line)
    assert "only estimated for fixmatch" in out
    timed("NVIDIA H100 80GB HBM3", 10.0)
    _, out, _, _ = sweep(*ESTIMATED)
    assert "3m20s on NVIDIA H100 80GB HBM3 for 2 runs" in out
    assert "an estimate" not in out


def test_a_run_that_was_timed_on_another_gpu_corrects_the_estimate(sweep, timed, monkeypatch):
    monkeypatch.setattr("daso.sweep.plan.cards_here", lambda: ["NVIDIA H100 80GB HBM3"])
    work = Work([Operation(0, 10**9)], 0)  # what takes as long as memory does
    monkeypatch.setattr("daso.run.work.work_of", lambda config: work)
    timed("NVIDIA H200", 10.0, "train.compile=graph")
    _, out, _, _ = sweep(*ESTIMATED, "train.compile=graph")
    assert "about 4m47s on NVIDIA H100 80GB HBM3 for 2 runs, one after another (fixmatch as on NVIDIA H200)" in out
    assert "3m20s on NVIDIA H200 for 2 runs" in out


def test_where_a_gpu_is_asked_for_that_is_not_here_the_known_ones_are_compared(sweep, monkeypatch):
    monkeypatch.setattr("daso.sweep.plan.cards_here", list)
    _, out, _, _ = sweep(*ESTIMATED, "device=cuda")
    assert re.search(r"about \S+ on B200, \S+ on H200, .* on TITAN Xp for 2 runs", out)
    _, out, _, _ = sweep(*ESTIMATED)
    assert "an estimate" not in out


def test_a_step_whose_work_cannot_be_counted_has_no_estimate_and_its_plan_all_else(sweep, monkeypatch):
    def fail(config):
        raise RuntimeError("data-dependent")

    monkeypatch.setattr("daso.sweep.plan.cards_here", lambda: ["NVIDIA H100 80GB HBM3"])
    monkeypatch.setattr("daso.run.work.work_of", fail)
    code, out, _, _ = sweep(*ESTIMATED)
    assert code == 0
    assert "unknown for fixmatch" in out


def test_a_plan_counts_the_runs_that_others_are_built_on(sweep):
    _, out, _, _ = sweep("experiment=quickstart", "algorithm=supervised_crt", "daso=none", "seed=0", "plan=true")
    assert "2: 2 new" in out
    assert "1,400 to train" in out  # the classifier's stage takes 40 % more


def cells_of(line):
    return [cell.strip() for cell in re.split("[│┃]", line)[1:-1]]


def test_a_plan_says_by_row_what_is_done_and_new_and_the_runs_only_when_asked(sweep, tmp_path):
    done = config_of("experiment=quickstart", "algorithm=fixmatch", "track=none", "seed=0")
    run = RunDir(tmp_path / "out", done.run_key)
    run.path.mkdir(parents=True)
    run.mark_done()
    grid = ("experiment=quickstart", "algorithm=fixmatch,fixmatch_daso", "imb.gamma_l=10,5", "seed=0,1,2")
    _, out, _, _ = sweep(*grid, "plan=true")
    rows = {cells[0]: cells[1:] for cells in map(cells_of, out.splitlines()) if len(cells) > 4}
    assert rows["row"] == ["runs", "done", "partial", "new", "steps left"]
    assert rows["fixmatch"] == ["6", "1", "", "5", "5,000"]
    assert rows["fixmatch_daso"] == ["6", "", "", "6", "6,000"]
    assert done.run_key not in out
    assert "plan=full" in out
    _, out, _, _ = sweep(*grid, "plan=full")
    assert done.run_key in out
    assert len(re.findall(r"[0-9a-f]{12} ", out)) == 12


def test_the_commands_of_a_plan_can_be_pasted_with_what_was_typed(command, tmp_path):
    mine = tmp_path / "my options"
    mine.mkdir()
    arguments = ("--config-dir", str(mine), "-m", "experiment=quickstart", "seed=0,1", "plan=true", "track=none")
    _, out, _, _ = command(*arguments, f"out_root={tmp_path / 'out'}")
    for plan in ("full", "probe"):
        (line,) = [line for line in out.splitlines() if line.endswith(f"plan={plan}")]
        typed = shlex.split(line.partition(": ")[2])
        assert typed[:6] == ["python", "train.py", "--config-dir", str(mine), "-m", "experiment=quickstart"]
        assert "plan=true" not in typed


def test_a_probe_times_each_kind_of_run_once_and_its_plan_goes_by_it_alone(sweep, timed, tmp_path):
    tiny = ("experiment=quickstart", "algorithm=supervised", "seed=0,1", "train.batch_size=4", "track=mlflow")
    timed("cpu", 2, "algorithm=supervised", "train.batch_size=4", "seed=7")  # which the probe outvotes
    code, out, _, jobs = sweep(*tiny, "plan=probe")
    assert (code, jobs) == (0, [])
    assert out.count("Timing 200 steps of supervised on wrn10_1") == 1
    assert "beside them" in out, out
    (step,) = re.findall(r"(\S+) s a step on cpu; \S+ beside them", out)
    (folder,) = (tmp_path / "out" / ".probes").iterdir()
    assert not list(folder.glob("*.pt"))
    assert f"(by 1 run that took {step} s a step)" in out
    _, out, _, _ = sweep(*tiny, "plan=true")
    assert "(by 2 runs that took" in out
    assert "unknown" not in out


def test_a_probe_that_cannot_be_made_ends_the_plan_with_its_code(sweep, command, monkeypatch, tmp_path):
    def lacking(configs, stopping=None):
        return {config.run_key: "No such data." for config in configs}

    kinds = ("experiment=quickstart", "algorithm=fixmatch,supervised", "daso=none", "plan=probe")
    code, out, err, _ = sweep(*kinds, lacking=lacking)
    assert (code, "2: 2 new" in out) == (2, True)
    assert err == "fixmatch on wrn10_1, supervised on wrn10_1 cannot be timed: No such data.\n"
    alone = ("experiment=quickstart", "plan=probe", "track=none", f"out_root={tmp_path / 'out'}")
    assert command(*alone, lacking=lacking)[0] == 2
    monkeypatch.setattr(probe, "_timed", lambda kind, item: JobResult(math.nan, FAILED, reason="The loss is nan."))
    code, out, err, _ = sweep(*kinds)
    assert (code, "2: 2 new" in out, err.count("cannot be timed: The loss is nan.")) == (1, True, 2)


@pytest.mark.parametrize("value", ["maybe", "7"])
def test_a_plan_of_no_kind_is_a_sentence(sweep, value):
    code, _, err, jobs = sweep("experiment=quickstart", "seed=0,1", f"plan={value}")
    assert (code, jobs) == (2, [])
    assert f"plan={value} is not possible: it is true, full" in err or f"plan={value} is not possible" in err


def test_a_single_run_has_a_plan_as_well(command, tmp_path):
    code, out, _, jobs = command("experiment=quickstart", "plan=true", f"out_root={tmp_path / 'out'}", "track=none")
    assert (code, jobs) == (0, [])
    assert "1: 1 new" in out
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("overrides", [[], ["algorithm=fixmatch"], ["model=wrn10_1"], ["dataset=digits"]])
def test_the_disk_estimate_is_what_the_networks_take(overrides):
    from daso.nn.net import Net
    from daso.nn.wrn import WideResNet

    config = config_of(*overrides)
    net = Net(WideResNet(config.model.depth, config.model.width, config.dataset.channels), config.dataset.num_classes)
    floats = 3 * sum(parameter.numel() for parameter in net.parameters())
    if config.daso.name != "none":
        floats += config.dataset.num_classes * 256 * net.encoder.out_dim
    assert disk_bytes(config) == pytest.approx(4 * floats + 500_000, rel=0.02)
