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


def sample(tensors: Iterable[Tensor], per_tensor: int) -> np.ndarray:
    """Entries of each tensor by the sampling rule (64 for parameters, 16 for buffers, 8 for gradients), concatenated."""
    parts = []
    for tensor in tensors:
        flat = tensor.detach().cpu().contiguous().reshape(-1).numpy()
        rows = np.unique(np.linspace(0, flat.size - 1, min(per_tensor, flat.size)).astype(int))
        parts.append(flat[rows])
    return np.concatenate(parts)
