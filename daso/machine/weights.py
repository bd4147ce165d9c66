"""Published weights of an encoder, from a file that is there: nothing is downloaded inside a job.

To find a file and to know it by its content needs no torch: a configuration is resolved without.
"""

import hashlib
import os
import re
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from daso.errors import UserError

if TYPE_CHECKING:
    from torch import Tensor, nn

IMAGENET = "imagenet"  # the word for torchvision's own file
KEY = "model.weights"
HASH_DIGITS = 8  # as many as stand in the names of published files


class Published(NamedTuple):
    """A file that torchvision publishes; eight digits in its name are the head of its SHA-256 checksum."""

    name: str
    megabytes: float

    @property
    def url(self) -> str:
        """Where it is."""
        return f"https://download.pytorch.org/models/{self.name}"


PUBLISHED = {  # trained on ImageNet, IMAGENET1K_V1, by depth of the ResNet
    18: Published("resnet18-f37072fd.pth", 44.7),
    34: Published("resnet34-b627a593.pth", 83.3),
    50: Published("resnet50-0676ba61.pth", 97.8),
}


def find(weights: str, depth: int) -> Path:
    """The file that `model.weights` names: a path, or torchvision's file in torch's cache.

    Raises:
        UserError: it is not there.
    """
    if weights == IMAGENET:
        published = PUBLISHED[depth]
        path = hub() / published.name
        if path.is_file():
            return path
        told = f"{KEY}={weights} needs {published.name} ({published.megabytes} MB), which is not in {hub()}"
        raise UserError(f"{told}: put it there from {published.url}, or name its path with {KEY}=PATH.")
    path = Path(weights).expanduser()
    if not path.is_file():
        raise UserError(f"{KEY}={weights} is not possible: there is no such file; a path, or {IMAGENET}.")
    return path


def checksum(weights: str, depth: int) -> str:
    """8 hex digits of the content that `model.weights` names; torchvision's file need not be here, its name tells.

    Raises:
        UserError: as `find` and `content_hash`, of a path.
    """
    if weights == IMAGENET:
        return PUBLISHED[depth].name.rpartition("-")[2].removesuffix(".pth")
    return content_hash(find(weights, depth))


def hub() -> Path:
    """The folder in which torch keeps what it has downloaded."""
    cache_home = os.environ.get("XDG_CACHE_HOME", "~/.cache")
    home = os.environ.get("TORCH_HOME", os.path.join(cache_home, "torch"))
    return Path(home).expanduser() / "hub" / "checkpoints"


@cache
def content_hash(path: Path) -> str:
    """8 hex digits of a file's SHA-256 checksum.

    Raises:
        UserError: it does not fit the digits in the file's name.
    """
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while piece := file.read(1 << 20):
            digest.update(piece)
    found = digest.hexdigest()
    named = re.search(r"-([0-9a-f]{8})\.pth$", path.name)
    if named and not found.startswith(named[1]):
        raise UserError(f"{KEY}={path} is damaged: its SHA-256 checksum begins with {found[:8]}, not as its name says.")
    return found[:HASH_DIGITS]


def load_into(encoder: "nn.Module", path: Path) -> None:
    """Set an encoder's parameters and statistics to those of a file.

    Raises:
        UserError: it is damaged, no file of weights, or one of another network.
    """
    from daso.nn.resnet import load_weights

    load_weights(encoder, _fitting(encoder, path))


def check(weights: str, depth: int, channels: int) -> None:
    """Judge what `model.weights` names, without a network to load it into.

    Raises:
        UserError: as `find` and `load_into`.
    """
    import torch

    from daso.nn.resnet import ResNet

    with torch.device("meta"):
        encoder = ResNet(depth, channels)
    _fitting(encoder, find(weights, depth))


def _fitting(encoder: "nn.Module", path: Path) -> dict[str, "Tensor"]:
    from daso.nn.resnet import unfitting

    content_hash(path)
    if why := unfitting(encoder, weights := _read(path)):
        raise UserError(f"{KEY}={path} is of another network: {why}.")
    return weights


def _read(path: Path) -> dict[str, "Tensor"]:
    import pickle

    import torch

    try:
        weights = torch.load(path, map_location="cpu", weights_only=True)
    except (RuntimeError, pickle.UnpicklingError, EOFError, OSError, ValueError, KeyError) as error:
        raise UserError(f"{KEY}={path} is not possible: it is no file of weights.") from error
    if not isinstance(weights, dict) or not all(isinstance(value, torch.Tensor) for value in weights.values()):
        raise UserError(f"{KEY}={path} is not possible: it holds no table of tensors by name.")
    return weights
