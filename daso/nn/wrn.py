"""Wide ResNet (Zagoruyko & Komodakis 2016), the encoder of the paper's CIFAR and STL tables.

Code bases after the paper's use variants of it that are called the same; `Details` names what they change.
Shape legend: B batch, c image channels, H W image, D features.
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from daso.nn.norm import BatchNorm

SLOPE = 0.1  # of the leaky rectifier
STEM_WIDTH = 16
FEATURES = 64  # D, per unit of width


class Details(NamedTuple):
    """What distinguishes networks of one depth and width; by default the paper's."""

    momentum: float = 0.1  # weight of a new batch in the running statistics
    eps: float = 1e-5  # added to the variance
    last_eps: float = 1e-5  # of the last normalisation
    stem_bias: bool = False  # whether the first convolution has one
    raw_branch: bool = False  # whether the first block of stages 2 and 3 convolves its input as it comes


PAPER = Details()


def conv3x3(inputs: int, outputs: int, stride: int = 1, bias: bool = False) -> nn.Conv2d:
    """A 3x3 convolution that keeps the size at stride 1."""
    return nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=bias)


def rectify(x: Tensor) -> Tensor:
    """Leaky rectifier, in place: its input is a fresh normalised tensor that nobody else reads."""
    return F.leaky_relu(x, SLOPE, inplace=True)


def pool(x: Tensor) -> Tensor:
    """Mean over the image, [B,c,H,W] -> [B,c].

    A sum, for its gradient takes on the layout of the images. That of `mean((2, 3))` lies in memory channels first, and
    the gradient of a rectifier whose images lie channels last then takes more than ten times as long.
    """
    return x.sum((2, 3)) / (x.shape[2] * x.shape[3])


class Block(nn.Module):
    """Two 3x3 convolutions, each after normalisation and rectifier, and a shortcut past them.

    `shared_preact` (the net's first block alone): the shortcut, too, starts from the activated input. `raw_branch`:
    the branch as well starts from the input as it comes; the first normalisation then follows the batches, but nothing
    reads its output, and its scale and shift get no gradient (as in USB's code).
    Registration order is part of the contract with the recorded vectors: the shortcut's convolution comes before the
    branch, and a shared pre-activation before both.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        stride: int,
        shared_preact: bool = False,
        raw_branch: bool = False,
        details: Details = PAPER,
    ) -> None:
        super().__init__()
        self.shared_preact, self.raw_branch = shared_preact, raw_branch
        eps, momentum = details.eps, details.momentum
        self.shortcut: nn.Conv2d | None = None
        if shared_preact:
            self.bn1 = BatchNorm(inputs, eps, momentum)
        if stride > 1 or inputs != outputs:
            self.shortcut = nn.Conv2d(inputs, outputs, 1, stride, bias=False)
        if not shared_preact:
            self.bn1 = BatchNorm(inputs, eps, momentum)
        self.conv1 = conv3x3(inputs, outputs, stride)
        self.bn2 = BatchNorm(outputs, eps, momentum)
        self.conv2 = conv3x3(outputs, outputs)

    def forward(self, x: Tensor, running_stats: bool = False) -> Tensor:
        """[B,in,H,W] -> [B,out,H/stride,W/stride]."""
        a = x if self.raw_branch else rectify(self.bn1(x, running_stats))
        if self.raw_branch and self.training and not running_stats:
            with torch.no_grad():
                self.bn1(x)  # for its running statistics alone
        shortcut = a if self.shared_preact else x
        if self.shortcut is not None:
            shortcut = self.shortcut(shortcut)
        branch: Tensor = self.conv2(rectify(self.bn2(self.conv1(a), running_stats)))
        return branch.add_(shortcut)


class WideResNet(nn.Module):
    """WRN-depth-width without its classifier: [B,c,H,W] -> pooled features [B,D], D = 64 * width, not normalised.

    Args:
        depth: 6n + 4, for n blocks in each of the three stages.
        width: the widening factor.
        channels: of the images, 3 or 1.
        stem_stride: 2 halves the resolution at the entrance (a cheaper net for larger images); the paper uses 1.
        details: what a code base does otherwise.
    """

    def __init__(
        self,
        depth: int,
        width: int,
        channels: int = 3,
        stem_stride: int = 1,
        details: Details = PAPER,
    ) -> None:
        super().__init__()
        assert depth >= 10, f"a Wide ResNet has depth 10 or more, not {depth}"
        assert (depth - 4) % 6 == 0, f"a Wide ResNet has depth 6n + 4, not {depth}"
        self.out_dim = FEATURES * width
        self.stem = conv3x3(channels, STEM_WIDTH, stem_stride, details.stem_bias)
        blocks: list[Block] = []
        inputs = STEM_WIDTH
        for outputs, stride in ((16 * width, 1), (32 * width, 2), (64 * width, 2)):
            for i in range((depth - 4) // 6):
                raw = details.raw_branch and i == 0 and len(blocks) > 0
                blocks.append(Block(inputs, outputs, stride if i == 0 else 1, not blocks, raw, details))
                inputs = outputs
        self.blocks = nn.ModuleList(blocks)
        self.bn = BatchNorm(inputs, details.last_eps, details.momentum)

    def maps(self, x: Tensor, running_stats: bool = False) -> Tensor:
        """What is pooled, [B,D,h,w]; `running_stats` as in `BatchNorm`."""
        x = self.stem(x)
        for block in self.blocks:
            x = block(x, running_stats)
        return rectify(self.bn(x, running_stats))

    def forward(self, x: Tensor, running_stats: bool = False) -> Tensor:
        """Encode images; `running_stats` as in `BatchNorm`."""
        return pool(self.maps(x, running_stats))
