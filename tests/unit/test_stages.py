"""Runs that are built on other runs: what a second stage takes over, trains and keeps to itself."""

import shutil
from dataclasses import replace

import pytest
import torch

from daso.errors import UserError
from daso.outputs.files import write_json, write_record
from daso.outputs.rundir import RunDir
from daso.run import stages
from daso.run.start import run
from daso.schema import FrozenBn
from daso.settings.identity import identified
from daso.track.jsonl import TIME, read
from daso.train.checkpoint import fingerprint
from tests.compose import NOWHERE
from tests.training import composed


def weights(config):
    return torch.load(RunDir(config.out_root, config.run_key).checkpoint, weights_only=True)["student"]


def journal(config):
    rows = read(RunDir(config.out_root, config.run_key).metrics)
    return [{k: v for k, v in row.items() if not k.startswith((TIME, "time/", "memory/"))} for row in rows]


def crt(out_root, *overrides):
    return replace(composed("algorithm=supervised_crt", *overrides), out_root=str(out_root))


def keyed(config, **protocol):
    return identified(replace(config, protocol=replace(config.protocol, **protocol)))


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A run with two stages, and its first one."""
    config = crt(tmp_path_factory.mktemp("crt"))
    run(config, NOWHERE)
    return config, replace(composed("algorithm=supervised"), out_root=config.out_root)


def test_the_first_stage_is_the_ordinary_run_without_the_protocol(finished):
    config, first = finished
    assert [needed.run_key for needed in stages.prerequisites(config)] == [first.run_key]
    assert RunDir(first.out_root, first.run_key).done.exists()
    assert [row["step"] for row in journal(first) if row["event"] == "eval"] == [3, 6, 9, 12]


def test_the_second_stage_is_two_fifths_as_long_and_keeps_its_own_journal(finished):
    config, _ = finished
    assert [row["step"] for row in journal(config) if row["event"] == "eval"] == [3, 5]


def test_the_second_stage_trains_the_classifier_and_nothing_else(finished):
    config, first = finished
    ours, theirs = weights(config), weights(first)
    moved = {name for name in ours if not torch.equal(ours[name], theirs[name])}
    assert moved == {n for n in ours if n.startswith("heads.") or "running_" in n or n.endswith("num_batches_tracked")}


def test_clean_normalisation_leaves_the_running_statistics(finished, tmp_path):
    config, first = finished
    clean = keyed(config, frozen_bn=FrozenBn.clean)
    run(clean, NOWHERE)
    ours, theirs = weights(clean), weights(first)
    assert {name for name in ours if not torch.equal(ours[name], theirs[name])} == {
        "heads.cls.weight",
        "heads.cls.bias",
    }


def test_a_finished_first_stage_is_reused_even_when_the_second_is_forced(finished):
    config, first = finished
    folder = RunDir(first.out_root, first.run_key)
    before, rows = folder.checkpoint.stat().st_mtime_ns, journal(config)
    run(replace(config, force=True), NOWHERE)
    assert folder.checkpoint.stat().st_mtime_ns == before
    assert journal(config) == rows


@pytest.mark.parametrize("by", ["key", "folder"])
def test_a_named_run_stands_in_for_the_first_stage(finished, by):
    config, first = finished
    named = first.run_key if by == "key" else str(RunDir(first.out_root, first.run_key).path)
    other = keyed(config, from_run=named)
    assert other.run_key != config.run_key
    assert stages.prerequisites(other) == []
    run(other, NOWHERE)
    assert journal(other) == journal(config)


def test_a_named_run_is_one_however_it_is_named(finished, tmp_path, monkeypatch):
    config, first = finished
    copy = tmp_path / "elsewhere" / first.run_key
    shutil.copytree(RunDir(first.out_root, first.run_key).path, copy)
    monkeypatch.chdir(first.out_root)
    names = [first.run_key, f"./{first.run_key}", f"{first.out_root}/{first.run_key}", str(copy)]
    assert len({keyed(config, from_run=name).run_key for name in names}) == 1


@pytest.mark.parametrize("version", ["this", "an earlier"])
def test_a_named_run_with_another_network_is_another_one(finished, tmp_path, version):
    config, first = finished
    config = replace(config, out_root=str(tmp_path))
    run_dir = RunDir(tmp_path, first.run_key)
    shutil.copytree(RunDir(first.out_root, first.run_key).path, run_dir.path)
    if version == "an earlier":
        write_json(run_dir.summary, {k: v for k, v in run_dir.numbers().items() if k != "weights"})
    before = keyed(config, from_run=first.run_key)
    state = torch.load(run_dir.checkpoint, weights_only=True)
    state["student"]["encoder.stem.weight"] += 1
    torch.save(state, run_dir.checkpoint)
    if version == "this":
        with pytest.raises(UserError, match="its checkpoint is not the one that it ended with"):
            run(before, NOWHERE)
        write_record(run_dir.summary, run_dir.numbers() | {"weights": fingerprint(state["student"])})
    assert keyed(config, from_run=first.run_key).run_key != before.run_key
    run(keyed(config, from_run=first.run_key), NOWHERE)


def test_a_named_run_that_is_not_finished_is_refused(finished):
    with pytest.raises(UserError, match=r"protocol.from_run=0123456789ab .* no finished run"):
        run(keyed(finished[0], from_run="0123456789ab"), NOWHERE)


@pytest.mark.parametrize(
    ("override", "says"), [("seed=1", "other labeled images"), ("model.width=2", "another network")]
)
def test_a_named_run_of_other_images_or_network_is_refused(finished, override, says):
    config, first = finished
    other = replace(crt(config.out_root, override), out_root=config.out_root)
    with pytest.raises(UserError, match=says):
        run(keyed(other, from_run=first.run_key), NOWHERE)


def test_the_first_stage_may_have_generations_and_slots_of_its_own():
    config = composed("algorithm=fixmatch_la_crest_plus", "protocol=crt", "protocol.first=crest_plus")
    (first,) = stages.prerequisites(config)
    assert first.run_key == composed("algorithm=fixmatch_la_crest_plus").run_key
    second = stages.own(config)
    assert (second.supervised.name, second.align.name, second.sampler.name) == ("ce", "none", "class_aware")
    assert (second.protocol.name, second.run_key, second.train.steps) == ("crt", config.run_key, 5)


def test_a_run_without_stages_trains_its_own_configuration():
    config = composed("algorithm=fixmatch_crest")
    assert stages.prerequisites(config) == []
    assert stages.own(config) is config


def test_an_estimate_that_nothing_follows_is_not_made():
    darp = ["algorithm=fixmatch_darp", "imb.gamma_u=1", "darp.warmup=1"]
    assert stages.prerequisites(composed(*darp)) == []
    assert len(stages.prerequisites(composed(*darp, "align=da", "align.goal=refine"))) == 1
    assert len(stages.prerequisites(composed(*darp, "darp.warmup=0.5"))) == 1
