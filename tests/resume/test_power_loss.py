"""A power cut may leave any file of a run torn, or zeros at its end: the same line ends with the undisturbed numbers, or
says in a sentence what is broken."""

import itertools
import shutil
import signal

import pytest

from daso.errors import Interrupted, UserError
from daso.machine.signals import StopRequest
from daso.outputs.files import read_json
from daso.outputs.rundir import RunDir
from daso.run.start import run
from daso.track.jsonl import TIME, read
from tests.compose import NOWHERE, tiny

SHORT = ["train.steps=20", "train.eval_every=4", "train.log_every=3", "train.checkpoint_every=100"]
STOP = 10
DAMAGES = {
    "empty": lambda whole: b"",
    "half": lambda whole: whole[: len(whole) // 2],
    "without its end": lambda whole: whole[:-2],
    "half zeros": lambda whole: whole[: len(whole) // 2] + bytes(len(whole) // 2),
    "zeros at its end": lambda whole: whole[:-20] + bytes(20),
}


def short(out_root):
    return tiny(f"out_root={out_root}", *SHORT, "daso.warmup_steps=6", "daso.update_every=4")


def folder_of(config):
    return RunDir(config.out_root, config.run_key)


def numbers(config):
    """Rows and final numbers, without what depends on the machine's mood."""
    rows = [*read(folder_of(config).metrics), read_json(folder_of(config).summary)]
    machine = (TIME, "time/", "memory/", "seconds", "finished")
    return [{k: v for k, v in row.items() if not k.startswith(machine)} for row in rows]


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    config = short(tmp_path_factory.mktemp("finished"))
    run(config, NOWHERE)
    return config


@pytest.fixture(scope="module")
def stopped(tmp_path_factory):
    config, asked = short(tmp_path_factory.mktemp("stopped")), itertools.count(1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(StopRequest, "__call__", lambda self: signal.SIGTERM if next(asked) == STOP else None)
        with pytest.raises(Interrupted):
            run(config, NOWHERE)
    return config


@pytest.fixture
def damaged(tmp_path):
    """A copy of a run, one of whose files is changed."""

    def copy(config, name, damage):
        shutil.copytree(config.out_root, tmp_path, dirs_exist_ok=True)
        path = tmp_path / config.run_key / name
        path.write_bytes(damage(path.read_bytes()))
        return short(tmp_path)

    return copy


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
@pytest.mark.parametrize("name", ["checkpoint.pt", "metrics.jsonl", "splits.npz"])
def test_what_a_stopped_run_cannot_do_without_is_named_with_the_remedy(stopped, damaged, name, damage):
    config = damaged(stopped, name, damage)
    with pytest.raises(UserError, match=rf"{name} .*(afresh with force=true|to start that run afresh)"):
        run(config, NOWHERE)


@pytest.mark.parametrize("name", ["resolved.yaml", "run.json"])
def test_what_a_stopped_run_makes_anew_may_be_broken(stopped, finished, damaged, name):
    config = damaged(stopped, name, DAMAGES["half zeros"])
    run(config, NOWHERE)
    assert numbers(config) == numbers(finished)


@pytest.mark.parametrize("rest", [b'{"event": "train", "st', bytes(100), bytes(100) + b"\n"], ids=repr)
def test_what_a_journal_holds_after_its_last_whole_row_is_cut_off(stopped, finished, damaged, rest):
    config = damaged(stopped, "metrics.jsonl", lambda whole: whole + rest)
    run(config, NOWHERE)
    assert numbers(config) == numbers(finished)


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_a_finished_run_writes_a_broken_summary_again(finished, damaged, damage):
    config = damaged(finished, "summary.json", damage)
    run(config, NOWHERE)
    assert numbers(config) == numbers(finished)


@pytest.mark.parametrize("damage", [DAMAGES["empty"], lambda whole: bytes(len(whole))], ids=["empty", "zeros"])
def test_a_finished_run_stays_finished_whatever_its_mark_holds(finished, damaged, damage, capsys):
    config = damaged(finished, "DONE", damage)
    run(config, NOWHERE)
    assert "nothing to train" in capsys.readouterr().out
