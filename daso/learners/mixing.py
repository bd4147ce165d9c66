"""MixUp over labeled and unlabeled images (Zhang et al. 2018), and passes whose batch statistics see some of each.

Shape legend: N mixed images, B images of a pass, C classes.
"""

import numpy as np
import torch
from torch import Generator, Tensor

from daso.nn.net import Net
from daso.types import Draw, Noise


def mixing_draws(images: int, alpha: float) -> dict[str, Draw]:
    """`lam` [] float64: a sample of Beta(alpha, alpha); `perm` [N] int64: a permutation of N = `images` rows."""

    def lam(generator: Generator) -> Tensor:  # torch's own Beta takes no generator
        sample = np.random.default_rng(generator.initial_seed()).beta(alpha, alpha)
        return torch.tensor(sample, dtype=torch.float64)

    def perm(generator: Generator) -> Tensor:
        return torch.randperm(images, generator=generator)

    return {"lam": lam, "perm": perm}


def mix(x: Tensor, noise: Noise) -> Tensor:
    """Every row of `x` [N,...] mixed with another one, itself weighing at least a half (MixMatch, Eq. 8 to 11)."""
    lam = torch.maximum(noise["lam"], 1 - noise["lam"])
    return lam * x + (1 - lam) * x[noise["perm"]]


def predict_interleaved(net: Net, images: Tensor, size: int) -> Tensor:
    """Logits [N,C] of `images` [N,c,H,W], in passes of `size` images after `interleave`."""
    chunks = interleave(list(torch.split(images, size)))
    return torch.cat(interleave([net.predict(chunk) for chunk in chunks]))


def interleave(chunks: list[Tensor]) -> list[Tensor]:
    """Swap parts between n chunks [B,...], so that the first holds some rows of each; its own inverse.

    Every chunk is cut into n groups, the last B mod n of them one row longer; group i of the first chunk changes
    places with group i of chunk i.
    """
    n, size = len(chunks), len(chunks[0])
    assert all(len(chunk) == size for chunk in chunks), "chunks of equal size"
    sizes = [size // n + (i >= n - size % n) for i in range(n)]
    groups = [list(torch.split(chunk, sizes)) for chunk in chunks]
    for i in range(1, n):
        groups[0][i], groups[i][i] = groups[i][i], groups[0][i]
    return [torch.cat(group) for group in groups]
