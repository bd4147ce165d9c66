"""The fill and sampling rules of the recorded vectors (tests/golden/README.md): `from tests.golden_fill import fill`."""

import math
from collections.abc import Iterable

import numpy as np
import torch
from torch import Tensor, nn


def parameters_in_order(module: nn.Module) -> list[tuple[nn.Module, str, nn.Parameter]]:
    """Every (owner, "weight" | "bias", parameter), modules in registration order, weight before bias."""
    return [
        (m, name, getattr(m, name))
        for m in module.modules()
        if isinstance(m, (nn.modules.conv._ConvNd, nn.modules.batchnorm._BatchNorm, nn.Linear))
        for name in ("weight", "bias")
        if getattr(m, name) is not None
    ]


@torch.no_grad()
def fill(module: nn.Module, seed: int, linear_gain: float = 1.0) -> None:
    """Set every parameter of `module` by the fill rule, in place, whatever its dtype; buffers are left alone."""
    for k, (owner, name, parameter) in enumerate(parameters_in_order(module)):
        z = np.random.RandomState(1000 * seed + k).standard_normal(tuple(parameter.shape))
        if isinstance(owner, nn.modules.conv._ConvNd):
            assert name == "weight", "the rule knows no convolution with a bias"
            out, _, kh, kw = parameter.shape
            z = z * math.sqrt(2 / (out * kh * kw))
        elif isinstance(owner, nn.Linear):
            z = linear_gain * z * math.sqrt(2 / sum(parameter.shape)) if name == "weight" else 0.1 * z
        else:
            z = 1 + 0.1 * z if name == "weight" else 0.1 * z
        parameter.copy_(torch.from_numpy(np.asarray(z)))


def usb_parameters(net: nn.Module, names: Iterable[str]) -> list[nn.Parameter]:
    """The parameters of a whole net that USB calls by `names`, such as block1.layer.0.convShortcut.weight."""
    known = dict(net.named_parameters())
    return [known[usb_name(name)] for name in names]


def usb_name(name: str) -> str:
    """What USB calls a tensor of its Wide ResNet -> what the project does."""
    first, *rest = name.split(".")
    if not first.startswith("block"):
        return ".".join([{"conv1": "encoder.stem", "bn1": "encoder.bn", "classifier": "heads.cls"}[first], *rest])
    _, block, layer, kind = rest  # four blocks in each of three stages
    place = 4 * (int(first.removeprefix("block")) - 1) + int(block)
    return f"encoder.blocks.{place}.{layer.replace('convShortcut', 'shortcut')}.{kind}"


@torch.no_grad()
def fill_usb(net: nn.Module, seed: int, names: Iterable[str], linear_gain: float = 1.0) -> None:
    """The fill rule in USB's registration order, `names`; its first convolution has a bias."""
    for k, (name, parameter) in enumerate(zip(names, usb_parameters(net, names), strict=True)):
        z = np.random.RandomState(1000 * seed + k).standard_normal(tuple(parameter.shape))
        if parameter.ndim == 4:
            z = z * math.sqrt(2 / (parameter.shape[0] * parameter.shape[2] * parameter.shape[3]))
        elif parameter.ndim == 2:
            z = linear_gain * z * math.sqrt(2 / sum(parameter.shape))
        else:
            z = 1 + 0.1 * z if name.endswith(".weight") else 0.1 * z
        parameter.copy_(torch.from_numpy(z))


def sample(tensors: Iterable[Tensor], per_tensor: int) -> np.ndarray:
    """Entries of each tensor by the sampling rule (64 for parameters, 16 for buffers, 8 for gradients), concatenated."""
    parts = []
    for tensor in tensors:
        flat = tensor.detach().cpu().contiguous().reshape(-1).numpy()
        rows = np.unique(np.linspace(0, flat.size - 1, min(per_tensor, flat.size)).astype(int))
        parts.append(flat[rows])
    return np.concatenate(parts)
