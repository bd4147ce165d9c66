"""Published weights from a file."""

import hashlib

import pytest
import torch
import torchvision.models

from daso.errors import UserError
from daso.machine.weights import PUBLISHED, content_hash, find, hub, load_into
from daso.nn.resnet import ResNet


@pytest.fixture(scope="module")
def resnet18(tmp_path_factory):
    path = tmp_path_factory.mktemp("weights") / "theirs.pth"
    torch.manual_seed(0)
    torch.save(torchvision.models.resnet18(weights=None).state_dict(), path)
    return path


@pytest.mark.parametrize("depth", PUBLISHED)
def test_names_sizes_and_addresses_are_torchvision_s(depth):
    theirs = getattr(torchvision.models, f"ResNet{depth}_Weights").IMAGENET1K_V1
    assert PUBLISHED[depth].url == theirs.url
    assert PUBLISHED[depth].megabytes == pytest.approx(theirs.meta["_file_size"], abs=0.06)


def test_a_file_gives_the_encoder_its_parameters(resnet18):
    own = ResNet(18)
    load_into(own, find(str(resnet18), 18))
    assert torch.equal(own.layer4[1].conv2.weight, torch.load(resnet18)["layer4.1.conv2.weight"])


def test_the_word_imagenet_looks_where_torch_keeps_its_downloads(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    assert hub() == tmp_path.joinpath("hub/checkpoints")
    assert str(hub()) == f"{torch.hub.get_dir()}/checkpoints"
    with pytest.raises(UserError) as caught:
        find("imagenet", 34)
    assert str(caught.value) == (
        f"model.weights=imagenet needs resnet34-b627a593.pth (83.3 MB), which is not in {hub()}: put it there from "
        "https://download.pytorch.org/models/resnet34-b627a593.pth, or name its path with model.weights=PATH."
    )
    hub().mkdir(parents=True)
    (hub() / "resnet34-b627a593.pth").touch()
    assert find("imagenet", 34) == hub() / "resnet34-b627a593.pth"


@pytest.mark.parametrize("variables", [{}, {"XDG_CACHE_HOME": "/cache"}])
def test_torch_s_folder_is_found_as_torch_finds_it(monkeypatch, variables):
    monkeypatch.delenv("TORCH_HOME", raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert str(hub()) == f"{torch.hub.get_dir()}/checkpoints"


def test_content_and_not_place_is_what_a_file_is_known_by(tmp_path):
    (tmp_path / "a.pth").write_bytes(b"weights")
    (tmp_path / "b.pth").write_bytes(b"weights")
    digest = hashlib.sha256(b"weights").hexdigest()
    assert content_hash(tmp_path / "a.pth") == content_hash(tmp_path / "b.pth") == digest[:8]
    named = tmp_path / f"net-{digest[:8]}.pth"
    named.write_bytes(b"weights")
    assert content_hash(named) == digest[:8]


def test_a_file_that_does_not_fit_its_name_is_damaged(tmp_path):
    path = tmp_path / "resnet34-b627a593.pth"
    path.write_bytes(b"half a download")
    with pytest.raises(UserError, match=r"resnet34-b627a593\.pth is damaged: its SHA-256 checksum begins with"):
        content_hash(path)


def test_weights_of_another_network_are_refused(resnet18):
    with pytest.raises(
        UserError, match=r"model\.weights=.*theirs\.pth is of another network: it has no layer1\.2\.conv1"
    ):
        load_into(ResNet(34), resnet18)


@pytest.mark.parametrize("content", [b"", b"no weights", b"PK\x03\x04"])
def test_a_file_that_is_none_of_weights_is_refused(tmp_path, content):
    (tmp_path / "x.pth").write_bytes(content)
    with pytest.raises(UserError, match=r"x\.pth is not possible: it is no file of weights"):
        load_into(ResNet(18), tmp_path / "x.pth")


def test_a_file_of_something_else_is_refused(tmp_path):
    torch.save([1, 2, 3], tmp_path / "x.pth")
    with pytest.raises(UserError, match=r"x\.pth is not possible: it holds no table of tensors by name"):
        load_into(ResNet(18), tmp_path / "x.pth")


def test_code_in_a_file_is_not_run(tmp_path):
    class Evil:
        def __reduce__(self):
            return (open, (str(tmp_path / "owned"), "w"))

    torch.save({"conv1.weight": Evil()}, tmp_path / "x.pth")
    with pytest.raises(UserError, match="it is no file of weights"):
        load_into(ResNet(18), tmp_path / "x.pth")
    assert not (tmp_path / "owned").exists()


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(UserError, match=r"model\.weights=.*gone\.pth is not possible: there is no such file"):
        find(str(tmp_path / "gone.pth"), 18)
