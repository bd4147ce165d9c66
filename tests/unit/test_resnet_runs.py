"""Runs of a ResNet: built from the configuration, started from published weights, known by their content."""

import pytest
import torch
import torchvision.models

from daso.errors import UserError
from daso.outputs.rundir import RunDir
from daso.run.build import build, data_of
from daso.run.training import data_for
from daso.settings.compose import configuration
from daso.sweep.graph import Job
from daso.sweep.plan import COPIES, RESNET_WEIGHTS, disk_bytes
from daso.sweep.planned import print_plan
from tests import pictures
from tests.training import CPU


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    root = tmp_path_factory.mktemp("photos")
    return pictures.folder(root, train={"a": 4, "b": 3}, unlabeled={"x": 4}, test={"a": 1, "b": 1})


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    path = tmp_path_factory.mktemp("weights") / "theirs.pth"
    torch.manual_seed(0)
    torch.save(torchvision.models.resnet18(weights=None).state_dict(), path)
    return path


def composed(photos, *overrides):
    files = ["dataset=folder", f"dataset.root={photos}", "dataset.resolution=32", "model=resnet18", "track=none"]
    return configuration([*files, "train.steps=2", "train.batch_size=2", *overrides])


def built(config):
    return build(config, CPU, *data_of(config))


def test_daso_s_prototypes_have_the_width_of_the_encoder(photos):
    config = composed(photos, "algorithm=fixmatch_daso")
    parts = built(config)
    assert parts.nets.student.encoder.out_dim == config.model.features == 512
    state = parts.slots.state_dict()
    assert 512 in {size for values in state.values() for size in values.shape}
    parts.engine(parts.engine.draw(0, 0, 2, 0.1), parts.method.flags(0))


def test_a_run_starts_from_the_file_and_its_classifier_from_the_seed(photos, weights):
    plain, loaded = built(composed(photos)), built(composed(photos, f"model.weights={weights}"))
    theirs = torch.load(weights)
    for net in loaded.nets:
        assert torch.equal(net.encoder.layer3[0].conv1.weight, theirs["layer3.0.conv1.weight"])
        assert torch.equal(net.heads["cls"].weight, plain.nets.student.heads["cls"].weight)
    assert not torch.equal(plain.nets.student.encoder.conv1.weight, theirs["conv1.weight"])


def test_the_content_of_the_weights_decides_the_run_and_their_place_does_not(photos, weights, tmp_path):
    (tmp_path / "copy.pth").write_bytes(weights.read_bytes())
    torch.save(torchvision.models.resnet18(weights=None).state_dict(), tmp_path / "other.pth")
    paths = [f"model.weights={path}" for path in (weights, tmp_path / "copy.pth", tmp_path / "other.pth")]
    keys = [composed(photos, *more).run_key for more in (*([path] for path in paths), [])]
    assert keys[0] == keys[1]
    assert len(set(keys)) == 3


def test_weights_of_another_network_end_in_one_sentence(photos, weights):
    with pytest.raises(UserError, match=r"theirs\.pth is of another network: it has no layer1\.2"):
        built(composed(photos, "model=resnet34", f"model.weights={weights}"))


def test_weights_of_another_network_are_refused_before_anything_is_decoded(weights, tmp_path):
    photos = pictures.folder(tmp_path / "photos", train={"a": 2, "b": 2}, unlabeled={"x": 2}, test={"a": 1, "b": 1})
    config = composed(photos, "model=resnet34", f"model.weights={weights}", f"out_root={tmp_path}")
    with pytest.raises(UserError, match="is of another network"):
        data_for(config, RunDir(tmp_path, config.run_key))
    assert not [*photos.glob(".daso/*.u8")]


def test_a_plan_tells_of_published_weights_that_are_not_here(photos, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    print_plan([Job([], composed(photos, "model.weights=imagenet", f"out_root={tmp_path}"))], True)
    assert "weights model.weights=imagenet needs resnet" in " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize(
    ("overrides", "says"),
    [
        (["model.depth=20"], "model.depth=20 is not possible: one of 18, 34, 50"),
        (["model.width=2"], "model.width=2 is not possible: a ResNet has one shape for each depth"),
        (["model=wrn10_1", "model.weights=x.pth"], "model.weights=x.pth is not possible: there are files for a ResNet"),
        (["model.weights=/nowhere.pth"], "model.weights=/nowhere.pth is not possible: there is no such file"),
    ],
)
def test_impossible_networks_are_refused(photos, overrides, says):
    with pytest.raises(UserError) as caught:
        composed(photos, *overrides)
    assert says in str(caught.value)


@pytest.mark.parametrize("depth", RESNET_WEIGHTS)
def test_a_plan_knows_how_large_the_network_is(photos, depth):
    net = getattr(torchvision.models, f"resnet{depth}")(weights=None)
    assert sum(p.numel() for name, p in net.named_parameters() if not name.startswith("fc.")) == RESNET_WEIGHTS[depth]
    needed = disk_bytes(composed(photos, f"model=resnet{depth}", "algorithm=fixmatch"))
    assert needed == pytest.approx(4 * COPIES * RESNET_WEIGHTS[depth], rel=0.03)
