"""Every mistake on the command line is one sentence that names key, value and what would be right; exit code 2."""

import subprocess
import sys
from pathlib import Path

import pytest
from hydra.core.config_store import ConfigStore
from hydra.core.plugins import Plugins

from daso.errors import Interrupted, RunFailed, UserError
from daso.settings.field_names import hint
from daso.sweep.callback import SweepReport
from tests.compose import CONF

MISTAKES = [
    # what is typed, and what the sentence must say
    (["imb.gama_l=20"], ["imb.gama_l=20", "did you mean imb.gamma_l?"]),
    (["+imb.gama_l=20"], ["imb.gama_l=20", "did you mean imb.gamma_l?"]),
    (["++imb.gama_l=20"], ["imb.gama_l=20", "did you mean imb.gamma_l?"]),
    (["+foo=1"], ["foo=1", "no key foo"]),
    (["+daso.foo.bar=1"], ["daso.foo", "daso has", "t_dist"]),
    (["datset=cifar10"], ["datset=cifar10", "did you mean dataset?"]),
    (["dataset=cifar11"], ["dataset=cifar11", "did you mean cifar10?", "stl10"]),
    (["algorithm=fixmatch-daso"], ["algorithm=fixmatch-daso", "fixmatch_daso"]),
    (["daso=null"], ["daso=null", "daso=none", "paper"]),
    (["dataset=null"], ["dataset=null", "cifar10, cifar100"]),
    (["dataset="], ["dataset=", "cifar10, cifar100"]),
    (["algorithm="], ["algorithm= is not possible", "--help lists all options"]),
    (["algorithm=fixmach"], ["algorithm=fixmach", "did you mean fixmatch?"]),
    (["algorithm=daso"], ["algorithm=daso is not possible: did you mean fixmatch_daso or "]),
    (["algorithm=FixMatch-DASO"], ["did you mean fixmatch_daso?"]),
    (["algorithm=seval"], ["FixMatch + SEVAL is published, but not trained here; those that are stand under Methods"]),
    (["algorithm=vat"], ["no such method is trained here; nearest are meanteacher, pseudolabel"]),
    (["algorithm=freematch_daso"], ["did you mean fixmatch_freematch_daso?"]),
    (["algorithm=FixMatch+DASO"], ["did you mean fixmatch_daso?"]),
    (["train.epochs=3", "train.steps=50"], ["train.steps=50 is not possible: train.epochs=3 says how long the run is"]),
    (["algorithm=adamatch"], ["no such method is trained here; nearest are fixmatch, fixmatch_"]),
    (["dataset=/data/birds"], ["dataset=/data/birds", "your own images are dataset=folder dataset.root=/data/birds."]),
    (["dataset=~/birds"], ["dataset=folder dataset.root=~/birds"]),
    (["dataset=lists/labeled.csv"], ["your own images are dataset=csv dataset.lists=lists."]),
    (["--experiment", "quickstart"], ["--experiment is not possible: write experiment=quickstart."]),
    (["--experiment=quickstart"], ["--experiment=quickstart is not possible: write experiment=quickstart."]),
    (["--dataset", "cifar10", "seed=1"], ["write dataset=cifar10."]),
    (["--train.steps=100"], ["write train.steps=100."]),
    (["--seed"], ["write seed=VALUE."]),
    (["--lr", "0.1"], ["--lr is not possible: did you mean optim.lr=...?"]),
    (["--steps", "5"], ["--steps is not possible: did you mean train.steps=...?"]),
    (["--dataset-root", "x"], ["--dataset-root is not possible: did you mean dataset.root=...?"]),
    (["--seeds=1"], ["--seeds=1 is not possible: did you mean seed=... or tune.seeds=...?"]),
    (["--multrun"], ["--multrun is not possible: did you mean --multirun?"]),
    (["train.lr=0.1"], ["there is no key train.lr; did you mean optim.lr?"]),
    (["lr=0.1"], ["there is no key lr; did you mean optim.lr?"]),
    (["imb.gamma=20"], ["there is no key imb.gamma; did you mean imb.gamma_l or imb.gamma_u?"]),
    (["gamma=20"], ["there is no key gamma; did you mean imb.gamma_l or imb.gamma_u or "]),
    (["gpu=0"], ["there is no key gpu; did you mean device?"]),
    (["hydra.launcher.njobs=2"], ["did you mean hydra.launcher.n_jobs?"]),
    (["-plan"], ["-plan is not possible: write plan=true."]),
    (["-x"], ["-x"]),
    (["-quick"], ["-quick is not possible: there is no such flag; "]),
    (["-help"], ["-help is not possible: did you mean --help?"]),
    (["--resume"], ["--resume is not possible: nothing asks for it, as the same line started again goes on"]),
    (["resume=true"], ["resume=true is not possible: nothing asks for it"]),
    (["experiment=table1"], ["did you mean table1_cifar10 or table1_cifar100?"]),
    (["dataset=CIFAR10"], ["did you mean cifar10?"]),
    (["algorithm=fixmatch_cpe"], ["algorithm=fixmatch_cpe is not possible: did you mean cpe?"]),
    (["train.steps="], ["train.steps= is not possible: it is a whole number."]),
    (
        ["algorithm=fixmatch,", "fixmatch_daso"],
        ["algorithm=fixmatch, is not possible: values of a sweep are written wi"],
    ),
    (["\u201calgorithm=fixmatch\u201d"], ["its quotes are curly ones"]),
    (["\u2013m"], ["it begins with a dash where a hyphen is meant; write -m."]),
    (
        ["experiment=quickstart seed=1"],
        ["it is experiment=quickstart and seed=1 in one pair of quotes; each has its own."],
    ),
    (["track=[mlflow,tensorboad]"], ["there is no track=tensorboad; did you mean tensorboard?"]),
    (["experiment=quickstart", "+experiment=cpu"], ["without + and once, experiment=cpu; an option file of your own"]),
    (["++dataset=digits"], ["dataset is chosen without + and once, dataset=digits."]),
    (["--exp", "quickstart"], ["--exp is not possible: did you mean experiment=... or --experimental-rerun?"]),
    (["--multi", "seed=0,1"], ["--multi is not possible: did you mean --multirun?"]),
    (["--config-d=mine"], ["--config-d=mine is not possible: did you mean --config-dir?"]),
    (["algorithm=[fixmatch,supervised]"], ["one option at a time", "-m algorithm=fixmatch,supervised"]),
    (["experiment=tomorrow"], ["experiment=tomorrow", "--help lists all options, and --config-dir FOLDER adds"]),
    (["predict", "latest"], ["predict is not possible: write python -m daso.predict."]),
    (["seed", "=1"], ["=1 is not possible: an argument has the form key=value, without spaces."]),
    (["-m", "seed=0,", "1"], ["seed=0, cannot be read: values of a sweep are written without spaces, as in seed=0,1."]),
    (["hydra/launcher=nope"], ["hydra/launcher=nope", "joblib_gpu, slurm", "--info plugins"]),
    (["++nonsense.deep.er=1"], ["nonsense.deep.er=1", "no key nonsense"]),
    (["imb.gamma_u={a:1}"], ["imb.gamma_u={'a': 1}", "1/100"]),
    (["imb=null"], ["imb=null", "imb.n1"]),
    (["+hydra.foo=1"], ["hydra.foo=1", "no key hydra.foo"]),
    (["++hydra.launcher.n_job=2"], ["hydra.launcher.n_job=2", "no key hydra.launcher.n_job"]),
    (["-m", "++hydra.launcher.n_job=2", "seed=0,1", "hydra/launcher=joblib"], ["did you mean hydra.launcher.n_jobs?"]),
    (["-m", "seed=0,1", "hydra/launcher=joblib", "hydra.launcher.n_jobs=0"], ["hydra.launcher.n_jobs=0", "1 or more"]),
    (["-m", "experiment=tune_quickstart", "hydra.sweeper.n_jobs=x"], ["hydra.sweeper.n_jobs=x", "1 or more"]),
    (["-m", "experiment=tune_quickstart", "hydra.sweeper.sampler._target_=no"], ["hydra.sweeper.sampler", "'no'"]),
    ([""], ["An empty argument", "key=value"]),
    (["=5"], ["=5", "key=value"]),
    (["out_root=Übung"], ["out_root=Übung", "letters beyond a-z into quotes"]),
    (["--foo"], ["--foo", "--hydra-help"]),
    (["seed=1", "-m", "seed=0,1"], ["seed=0,1", "flags stand before key=value"]),
    (["--cfg", "jobs"], ["'jobs'", "choose from"]),
    (["~daso"], ["daso has no value"]),
    (["imb.n1=???"], ["imb.n1"]),
    (["train.steps=1e3"], ["train.steps=1e3", "a whole number, such as 1000"]),
    (["train.steps=10.0"], ["train.steps=10.0", "a whole number, such as 10."]),
    (["train.steps=1.2.3"], ["train.steps=1.2.3", "a whole number."]),
    (["seed=0..3"], ["seed=0..3", "a whole number; a sweep over several is -m seed=0,1,2, or -m 'seed=range(0,3)'."]),
    (["daso.queue_size=."], ["daso.queue_size=.", "a whole number."]),
    (["train.steps=abc"], ["train.steps=abc", "a whole number"]),
    (["train.steps=null"], ["train.steps=null", "a whole number"]),
    (["optim.lr=fast"], ["optim.lr=fast", "a number"]),
    (["force=true", "eval_only=true"], ["force=true is not possible", "eval_only=true evaluates what there is"]),
    (["force=maybe"], ["force=maybe", "true or false"]),
    (["train.precision=fp8"], ["train.precision=fp8", "auto, fp32, tf32, bf16"]),
    (["optim.milestones=[a,b]"], ["optim.milestones=[a,b]", "[0.5,0.9]"]),
    (["imb=3"], ["imb=3"]),
    (["train.steps=${nowhere}"], ["train.steps=${nowhere}", "nowhere"]),
    (["daso.t_dist=${no_such_rule:1}"], ["daso.t_dist", "no_such_rule"]),
    (["seed=0,1"], ["seed=0,1", "-m"]),
    (["out_root=a=b"], ["out_root=a=b", "quotes"]),
    (["seed=[1"], ["seed=[1", "quotes"]),
    (["quickstart"], ["quickstart", "key=value"]),
    (["+experiment=quickstart"], ["experiment"]),
    (["trian.steps=3"], ["trian.steps=3", "did you mean train.steps?"]),
    (["imb.gamma_u=1/0"], ["imb.gamma_u=1/0", "1/100"]),
    (["run_key=abc"], ["run_key=abc", "never set"]),
    (["algorithm.name=supervised"], ["algorithm.name=supervised", "algorithm=supervised"]),
    (["algorithm=supervised", "daso=paper"], ["daso.name=daso", "makes no pseudo-labels", "daso=none"]),
    (["algorithm=supervised", "algorithm.threshold=.9"], ["algorithm.threshold=.9", "the chosen algorithm has no"]),
    (["--cfg", "job", "--multirun"], ["--cfg"]),
]


@pytest.mark.parametrize(("typed", "says"), MISTAKES, ids=[" ".join(typed) for typed, _ in MISTAKES])
def test_a_mistake_is_one_sentence(command, typed, says):
    code, out, err, jobs = command(*typed)
    assert code == 2
    assert err.count("\n") == 1, err
    assert len(err) < 260
    assert all(part in err for part in says), err
    assert not out
    assert not jobs


def test_what_is_shown_and_could_not_run_says_so(command):
    code, out, err, _ = command("--cfg", "job", "--resolve", "imb.n1=0")
    assert code == 2
    assert "n1: 0\n" in out
    assert (
        err == "What is shown cannot run: imb.n1=0 is not possible: the head class needs at least one labeled image.\n"
    )
    assert command("--cfg", "job", "--resolve", "experiment=quickstart")[0] == 0


def test_a_launcher_without_its_package_names_the_extra(command, monkeypatch):
    Plugins.instance()  # which has registered those that are installed
    monkeypatch.delitem(ConfigStore.instance().repo["hydra"]["launcher"], "joblib.yaml")
    code, _, err, _ = command("-m", "hydra/launcher=joblib_gpu", "experiment=quickstart", "seed=0,1")
    assert code == 2
    right = "it needs a package more, pip install -e '.[sweep]'"
    assert err == f"hydra/launcher=joblib_gpu is not possible: {right}.\n"


def test_a_search_without_optuna_names_what_brings_it(command, monkeypatch):
    Plugins.instance()
    right = "it needs a package more, pip install -e ."
    monkeypatch.delitem(ConfigStore.instance().repo["hydra"]["sweeper"], "optuna.yaml", raising=False)
    code, _, err, _ = command("-m", "hydra/sweeper=optuna", "experiment=quickstart", "seed=0,1")
    assert (code, err) == (2, f"hydra/sweeper=optuna is not possible: {right}.\n")
    for name in [name for name in sys.modules if name.partition(".")[0] == "optuna"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "optuna", None)
    code, _, err, _ = command("-m", "experiment=tune_quickstart")
    assert (code, err) == (2, f"hydra/sweeper=study is not possible: {right}.\n")


def test_a_method_of_the_field_that_becomes_an_option_is_named(monkeypatch):
    presets = ["fixmatch", "fixmatch_boss", "fixmatch_softmatch"]
    assert hint("SoftMatch", presets) == "did you mean fixmatch_softmatch?"
    assert hint("softmatch", presets[:2]) == (
        "FixMatch + SoftMatch is published, but not trained here; nearest are fixmatch, fixmatch_boss"
    )
    assert hint("fixmatch_crt", presets) == "did you mean algorithm=fixmatch protocol=crt?"
    assert hint("BOSS + CReST+ w/ ABC", ["fixmatch", "boss"]) == (
        "did you mean algorithm=boss protocol=crest_plus abc=paper?"
    )
    assert hint("fixmatch_nonsense", presets) == ""
    assert hint("fixmach", presets) == ""
    assert hint("nonsense", presets) == ""


def test_a_folder_of_images_in_the_place_of_a_data_set_is_told_what_it_is(command, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "photos").mkdir()
    (tmp_path / "birds.csv").touch()
    assert "your own images are dataset=folder dataset.root=photos." in command("dataset=photos")[2]
    assert "your own images are dataset=csv dataset.lists=." in command("dataset=birds.csv")[2]
    said = command("dataset=photo")[2]
    assert "options are cifar10" in said
    assert "stl10; your own images are dataset=folder dataset.root=PATH." in said


def test_letters_beyond_a_z_may_stand_in_quotes(command):
    code, _, _, [(config, _)] = command("experiment=quickstart", "out_root='Übung 1'")
    assert (code, config.out_root) == (0, "Übung 1")


def test_a_mistake_on_the_real_command_line_leaves_no_trace(tmp_path):
    program = Path(CONF).parent / "train.py"
    done = subprocess.run(
        [sys.executable, program, "imb.gama_l=20"], capture_output=True, text=True, cwd=tmp_path, check=False
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def ended_by(error):
    def run(config, provenance):
        raise error

    return run


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (UserError("dataset.root=x is not there."), 2),
        (RunFailed("The loss is not finite."), 1),
        (Interrupted(2), 130),
        (Interrupted(15), 143),
        (KeyboardInterrupt(), 130),
    ],
)
def test_the_end_of_a_run_decides_the_exit_code(command, error, code):
    got, _, err, _ = command("experiment=quickstart", run=ended_by(error))
    assert got == code
    assert "Traceback" not in err


def test_a_defect_keeps_its_traceback(command):
    with pytest.raises(ZeroDivisionError):
        command("experiment=quickstart", run=lambda config, provenance: 1 / 0)


@pytest.mark.parametrize("error", [ZeroDivisionError("oh"), ValueError("n is 0"), KeyError("hydra")])
def test_a_defect_of_a_sweep_keeps_its_traceback_and_is_no_mistake_of_the_users(sweep, monkeypatch, error):
    monkeypatch.setattr(SweepReport, "expect", lambda *args, **told: ended_by(error)(None, None))
    with pytest.raises(type(error)):
        sweep("experiment=quickstart", "seed=0,1")


def test_a_cluster_that_takes_no_job_is_a_sentence_of_its_own(sweep, monkeypatch):
    error = pytest.importorskip("submitit.core.utils").FailedSubmissionError("sbatch: error: invalid partition\n")
    monkeypatch.setattr(SweepReport, "expect", lambda *args, **told: ended_by(error)(None, None))
    code, _, err, _ = sweep("experiment=quickstart", "seed=0,1")
    assert (code, err) == (1, "SLURM took no job: sbatch: error: invalid partition.\n")


def test_a_run_is_told_where_its_configuration_came_from(command):
    code, _, _, [(config, provenance)] = command("experiment=quickstart", "algorithm=fixmatch", "seed=3")
    assert code == 0
    assert config.seed == 3
    assert provenance.overrides == ["experiment=quickstart", "algorithm=fixmatch", "seed=3"]
    assert provenance.choices["dataset"] == "digits"
    assert provenance.choices["daso"] == "none"
    assert set(provenance.choices) > {"algorithm", "imbalance", "model", "experiment"}
    assert not any(group.startswith(("hydra", "schema")) for group in provenance.choices)
    assert not provenance.in_sweep
    assert provenance.warnings == []


def test_a_run_too_short_for_daso_is_warned(command):
    _, _, _, [(_, provenance)] = command("dataset=digits", "algorithm=fixmatch_daso", "train.steps=1000")
    assert any("DASO never blends" in warning for warning in provenance.warnings)
    assert any("median of only 2 evaluations" in warning for warning in provenance.warnings)
