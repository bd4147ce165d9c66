"""What goes wrong ends in one sentence, leaves the last good checkpoint, and can be mended."""

import errno
import os
from pathlib import Path

import pytest
import torch

from daso.errors import RunFailed, UserError
from daso.machine import execution
from daso.outputs.files import read_json
from daso.outputs.rundir import RunDir, RunState
from daso.protocol.base import Protocol
from daso.run import build
from daso.run.start import run
from daso.schema import Compile
from daso.train import checkpoint
from daso.train.step import TrainStep
from tests.compose import NOWHERE, tiny


def short(tmp_path, *overrides):
    return tiny(f"out_root={tmp_path}", "train.steps=20", "train.eval_every=20", "daso.warmup_steps=10", *overrides)


def folder_of(config):
    return RunDir(config.out_root, config.run_key)


@pytest.fixture
def breaks_at_step_12(monkeypatch):
    """After the first checkpoint (step 10) and before the second: the given error instead of a step."""

    def arm(error):
        step, calls = TrainStep.__call__, iter(range(1, 100))

        def broken(self, *args):
            if next(calls) == 12:
                raise error
            return step(self, *args)

        monkeypatch.setattr(TrainStep, "__call__", broken)

    return arm


def test_a_loss_that_is_not_finite_fails_the_run_and_keeps_the_last_good_checkpoint(tmp_path):
    config = short(tmp_path, "optim.lr=1e12", "train.checkpoint_every=1", "train.log_every=20")
    with pytest.raises(RunFailed, match="not finite at step"):
        run(config, NOWHERE)
    folder = folder_of(config)
    assert folder.state() is RunState.failed
    assert "not finite" in str(folder.reason())
    saved = torch.load(folder.checkpoint, weights_only=True)
    assert all(torch.isfinite(total).all() for total in saved["meters"]["sums"].values())


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (torch.OutOfMemoryError("CUDA out of memory"), "out of memory: a smaller train.batch_size"),
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED"), "out of memory: a smaller train.batch_size"),
        (RuntimeError("could not create a primitive"), "out of memory: a smaller train.batch_size"),
        (RuntimeError("[enforce fail at alloc_cpu.cpp:127] err == 0. Default"), "cpu is out of memory"),
        (MemoryError(), "cpu is out of memory: .* or fewer jobs on this machine"),
        (OSError(errno.ENOMEM, "Cannot allocate memory"), "cpu is out of memory"),
        (OSError(errno.ENOSPC, "No space left on device"), "disk is full"),
        (OSError(errno.EIO, "Input/output error", "/data/x"), "A file .*: /data/x: input/output error"),
        (OSError(errno.ESTALE, "Stale file handle"), "A file cannot be read or written: stale file handle"),
    ],
)
def test_a_run_that_fails_from_outside_can_be_continued(tmp_path, breaks_at_step_12, monkeypatch, error, sentence):
    config = short(tmp_path)
    with monkeypatch.context():
        breaks_at_step_12(error)
        with pytest.raises(RunFailed, match=sentence):
            run(config, NOWHERE)
    folder = folder_of(config)
    assert folder.state() is RunState.failed
    assert torch.load(folder.checkpoint, weights_only=True)["step"] == 10
    monkeypatch.undo()
    run(config, NOWHERE)
    assert folder.state() is RunState.done


def test_a_checkpoint_that_cannot_be_written_fails_the_run(tmp_path, monkeypatch):
    def full(*args):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(RunFailed, match=r"checkpoint.pt could not be written: the disk is full"):
        run(short(tmp_path), NOWHERE)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a disk that is always full")
def test_a_disk_that_is_full_for_torch_is_called_so(tmp_path):
    (tmp_path / "checkpoint.tmp").symlink_to("/dev/full")
    with pytest.raises(RunFailed, match=r"checkpoint.pt could not be written: the disk is full"):
        checkpoint.save(tmp_path / "checkpoint.pt", {"weights": torch.zeros(100_000)})
    assert not list(tmp_path.iterdir())


def test_a_disk_without_room_for_a_single_file_is_a_sentence(tmp_path, monkeypatch):
    def full(path, content):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))

    for module in ("daso.outputs.files", "daso.run.training", "daso.track.jsonl"):
        monkeypatch.setattr(f"{module}.replace_file", full)
    with pytest.raises(RunFailed, match="The disk is full: free some space"):
        run(short(tmp_path), NOWHERE)


def test_an_unreadable_checkpoint_is_refused(tmp_path):
    config = short(tmp_path)
    folder = folder_of(config)
    folder.path.mkdir()
    folder.checkpoint.write_bytes(b"not a checkpoint")
    with pytest.raises(UserError, match=r"is unreadable .*: bring back"):
        run(config, NOWHERE)
    assert folder.checkpoint.read_bytes() == b"not a checkpoint"


def test_the_checkpoint_of_another_run_is_refused(tmp_path):
    mine, other = short(tmp_path), short(tmp_path, "seed=1")
    run(other, NOWHERE)
    folder_of(mine).path.mkdir()
    folder_of(mine).checkpoint.write_bytes(folder_of(other).checkpoint.read_bytes())
    with pytest.raises(UserError, match=f"belongs to run {other.run_key}, not to {mine.run_key}"):
        run(mine, NOWHERE)


def test_a_resume_elsewhere_is_refused_unless_it_is_asked_for(tmp_path, breaks_at_step_12, monkeypatch):
    config = short(tmp_path)
    breaks_at_step_12(OSError(errno.ENOSPC, ""))
    with pytest.raises(RunFailed):
        run(config, NOWHERE)
    monkeypatch.undo()
    path = folder_of(config).checkpoint
    saved = torch.load(path, weights_only=True)
    saved["environment"]["device"] = "cuda"
    torch.save(saved, path)
    with pytest.raises(UserError, match=r"device was cuda and is cpu.*resume_across=true"):
        run(config, NOWHERE)
    run(short(tmp_path, "resume_across=true"), NOWHERE)
    assert folder_of(config).state() is RunState.done


def test_another_split_than_the_runs_own_is_refused(tmp_path):
    config, other = short(tmp_path), short(tmp_path, "seed=1")
    run(other, NOWHERE)
    folder_of(config).path.mkdir()
    folder_of(config).splits.write_bytes(folder_of(other).splits.read_bytes())
    with pytest.raises(UserError, match="holds other data than run"):
        run(config, NOWHERE)


def test_a_folder_that_may_not_be_read_is_a_sentence(tmp_path, monkeypatch):
    config = short(tmp_path)
    exists = Path.exists

    def refuse(self, **kwargs):
        if self.name == "DONE":
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(self))
        return exists(self, **kwargs)

    monkeypatch.setattr(Path, "exists", refuse)
    with pytest.raises(RunFailed, match=r"DONE: permission denied; its owner can allow it"):
        run(config, NOWHERE)


def test_a_second_process_on_the_same_run_is_refused(tmp_path):
    config = short(tmp_path)
    with folder_of(config).lock(), pytest.raises(UserError, match=f"is taken by process {os.getpid()}"):
        run(config, NOWHERE)


def test_a_run_that_waits_for_another_process_takes_no_device(tmp_path, monkeypatch):
    taken = []
    monkeypatch.setattr("daso.machine.devices.place", lambda *args: taken.append(args))
    config = short(tmp_path)
    with folder_of(config).lock(), pytest.raises(UserError, match="is taken by process"):
        run(config, NOWHERE, patience=0.1)
    assert taken == []


def test_evaluating_again_gives_the_runs_numbers_and_changes_nothing(tmp_path, capsys):
    config = short(tmp_path)
    result = run(config, NOWHERE._replace(overrides=["optim.lr=0.05"]))
    (name,) = [line for line in capsys.readouterr().out.splitlines() if line.endswith(" s0 lr=0.03")]
    before = {path: path.stat().st_mtime_ns for path in folder_of(config).path.rglob("*") if path.is_file()}
    again = run(short(tmp_path, "eval_only=true"), NOWHERE)
    assert again == result
    out = capsys.readouterr().out.splitlines()
    assert name in out
    assert "Evaluated again after 20 of 20 steps." in out
    assert before == {path: path.stat().st_mtime_ns for path in folder_of(config).path.rglob("*") if path.is_file()}


def test_no_unlabeled_truth_reaches_training(tmp_path, monkeypatch):
    from daso.data.pool import Pool

    honest = short(tmp_path / "honest")
    run(honest, NOWHERE)
    build = Pool.build

    def shuffled(*args):
        pool = build(*args)
        pool.unlabeled_y.copy_(pool.unlabeled_y[torch.randperm(len(pool.unlabeled_y))])
        return pool

    monkeypatch.setattr(Pool, "build", shuffled)
    scrambled = short(tmp_path / "scrambled")
    run(scrambled, NOWHERE)
    states = [torch.load(folder_of(c).checkpoint, weights_only=True)["student"] for c in (honest, scrambled)]
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])


@pytest.fixture
def compiles(monkeypatch):
    """`auto` compiles, as on a GPU, with a compiler that leaves functions as they are and fails at a given call."""

    def arm(fails_at):
        def compiled(function, **kwargs):
            def call(*args):
                if next(calls) >= fails_at:
                    raise RuntimeError("no C compiler")
                return function(*args)

            return call

        calls = iter(range(1, 1000))
        monkeypatch.setattr(torch, "compile", compiled)

    real = execution.effective_compile
    for module in (execution, build):
        monkeypatch.setattr(
            module,
            "effective_compile",
            lambda train, device: Compile.default if train.compile is Compile.auto else real(train, device),
        )
    return arm


@pytest.fixture
def without_a_compiler(compiles):
    compiles(fails_at=1)


def test_where_a_compiler_fails_that_nobody_asked_for_the_run_does_without(tmp_path, without_a_compiler, capsys):
    config = short(tmp_path)
    run(config, NOWHERE)
    said = " ".join(capsys.readouterr().out.split())
    assert "train.compile=default does not work here (no C compiler): train.compile=none would run" in said
    assert read_json(folder_of(config).summary)["compile"] == "none"


def test_a_run_that_does_without_the_compiler_goes_on_without_it(
    tmp_path, without_a_compiler, breaks_at_step_12, capsys
):
    config = short(tmp_path)
    breaks_at_step_12(OSError(errno.ENOSPC, ""))
    with pytest.raises(RunFailed, match="disk is full"):
        run(config, NOWHERE)
    capsys.readouterr()
    run(config, NOWHERE)
    assert "train.compile" not in capsys.readouterr().out
    assert read_json(folder_of(config).summary)["compile"] == "none"
    run(short(tmp_path, "eval_only=true"), NOWHERE)


def test_a_compiler_that_fails_late_leaves_the_numbers_of_a_run_without_one(tmp_path, compiles, capsys):
    plain = short(tmp_path / "plain", "train.compile=none")
    run(plain, NOWHERE)
    config = short(tmp_path / "late")
    compiles(fails_at=12)
    run(config, NOWHERE)
    assert "So this run starts again with that" in " ".join(capsys.readouterr().out.split())
    states = [torch.load(folder_of(c).checkpoint, weights_only=True)["student"] for c in (plain, config)]
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])


def test_a_compiler_that_fails_on_a_partial_run_costs_nothing_of_it(tmp_path, compiles, breaks_at_step_12, monkeypatch):
    config = short(tmp_path)
    compiles(fails_at=100)
    with monkeypatch.context():
        breaks_at_step_12(OSError(errno.ENOSPC, ""))
        with pytest.raises(RunFailed, match="disk is full"):
            run(config, NOWHERE)
    compiles(fails_at=1)
    with pytest.raises(RunFailed, match=r"train\.compile=none would run with resume_across=true"):
        run(config, NOWHERE)
    assert torch.load(folder_of(config).checkpoint, weights_only=True)["step"] == 10
    run(short(tmp_path, "train.compile=none", "resume_across=true"), NOWHERE)
    assert folder_of(config).state() is RunState.done


@pytest.mark.parametrize("place", ["begin", "measured"])
def test_where_a_compiler_fails_between_two_steps_the_run_does_without_too(
    place, tmp_path, compiles, monkeypatch, capsys
):
    compiles(fails_at=100)
    plain, calls = getattr(Protocol, place), iter(range(100))

    def fails_once(self, *args):
        if next(calls) == 0:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), "gcc")
        return plain(self, *args)

    monkeypatch.setattr(Protocol, place, fails_once)
    config = short(tmp_path)
    run(config, NOWHERE)
    assert "directory: 'gcc'): train.compile=none would run" in " ".join(capsys.readouterr().out.split())
    assert read_json(folder_of(config).summary)["compile"] == "none"


def test_an_evaluation_that_cannot_be_compiled_says_what_would_run(tmp_path, compiles):
    compiles(fails_at=100)
    run(short(tmp_path, "train.compile=default"), NOWHERE)
    compiles(fails_at=1)
    with pytest.raises(RunFailed, match=r"does not work here .no C compiler.: train.compile=none would run"):
        run(short(tmp_path, "train.compile=default", "eval_only=true"), NOWHERE)


def test_where_a_compiler_fails_that_was_asked_for_the_run_fails(tmp_path, without_a_compiler):
    config = short(tmp_path, "train.compile=default")
    with pytest.raises(RunFailed, match=r"train.compile=none would run"):
        run(config, NOWHERE)
    assert folder_of(config).state() is RunState.failed


def test_a_collapse_is_told_with_its_step_in_the_summary_too(tmp_path):
    config = short(tmp_path, "optim.lr=1e-9")  # a network that learns nothing stays at chance
    run(config, NOWHERE)
    told = read_json(folder_of(config).summary)["warnings"]
    assert len(told) > 0
    assert all(sentence.startswith("Step 20: ") for sentence in told)
