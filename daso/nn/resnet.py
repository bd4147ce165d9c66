"""ResNet-18, -34 and -50 (He et al. 2016), the encoders of larger images, with torchvision's parameter names.

So the weights that torchvision publishes are loaded by name. Strides are torchvision's too: a bottleneck has its in the
3x3 convolution.
Shape legend: B batch, c image channels, H W image, D features.
"""

import re
from collections.abc import Mapping

from torch import Tensor, nn
from torch.nn import functional as F

from daso.nn.norm import BatchNorm
from daso.nn.wrn import conv3x3, pool

BLOCKS = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3), 50: (3, 4, 6, 3)}  # in each of the four stages, by depth
BOTTLENECK = 50  # the depth from which blocks are bottlenecks
WIDTH = 64  # of the first stage


class Downsample(nn.Sequential):
    """The shortcut of a block that changes the size: a 1x1 convolution and a normalisation."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__(nn.Conv2d(inputs, outputs, 1, stride, bias=False), BatchNorm(outputs))

    def forward(self, x: Tensor, running_stats: bool = False) -> Tensor:
        """[B,in,H,W] -> [B,out,H/stride,W/stride]."""
        convolution, norm = self
        out: Tensor = norm(convolution(x), running_stats)
        return out


class BasicBlock(nn.Module):
    """Two 3x3 convolutions and a shortcut past them."""

    expansion = 1

    def __init__(self, inputs: int, width: int, stride: int) -> None:
        super().__init__()
        self.conv1, self.bn1 = conv3x3(inputs, width, stride), BatchNorm(width)
        self.conv2, self.bn2 = conv3x3(width, width), BatchNorm(width)
        self.downsample = Downsample(inputs, width, stride) if stride > 1 or inputs != width else None

    def forward(self, x: Tensor, running_stats: bool = False) -> Tensor:
        """[B,in,H,W] -> [B,width,H/stride,W/stride]."""
        branch = F.relu(self.bn1(self.conv1(x), running_stats), inplace=True)
        branch = self.bn2(self.conv2(branch), running_stats)
        shortcut = x if self.downsample is None else self.downsample(x, running_stats)
        return F.relu(branch.add_(shortcut), inplace=True)


class Bottleneck(nn.Module):
    """1x1, 3x3 and 1x1 convolutions, the last to four times the width, and a shortcut past them."""

    expansion = 4

    def __init__(self, inputs: int, width: int, stride: int) -> None:
        super().__init__()
        outputs = width * self.expansion
        self.conv1, self.bn1 = nn.Conv2d(inputs, width, 1, bias=False), BatchNorm(width)
        self.conv2, self.bn2 = conv3x3(width, width, stride), BatchNorm(width)
        self.conv3, self.bn3 = nn.Conv2d(width, outputs, 1, bias=False), BatchNorm(outputs)
        self.downsample = Downsample(inputs, outputs, stride) if stride > 1 or inputs != outputs else None

    def forward(self, x: Tensor, running_stats: bool = False) -> Tensor:
        """[B,in,H,W] -> [B,4*width,H/stride,W/stride]."""
        branch = F.relu(self.bn1(self.conv1(x), running_stats), inplace=True)
        branch = F.relu(self.bn2(self.conv2(branch), running_stats), inplace=True)
        branch = self.bn3(self.conv3(branch), running_stats)
        shortcut = x if self.downsample is None else self.downsample(x, running_stats)
        return F.relu(branch.add_(shortcut), inplace=True)


class ResNet(nn.Module):
    """ResNet without its classifier: [B,c,H,W] -> pooled features [B,D], D = 512, or 2048 for depth 50.

    Args:
        depth: 18, 34 or 50.
        channels: of the images, 3 or 1.
    """

    def __init__(self, depth: int, channels: int = 3) -> None:
        super().__init__()
        assert depth in BLOCKS, f"a ResNet of depth {depth} is not known"
        block: type[BasicBlock | Bottleneck] = Bottleneck if depth >= BOTTLENECK else BasicBlock
        self.conv1, self.bn1 = nn.Conv2d(channels, WIDTH, 7, 2, padding=3, bias=False), BatchNorm(WIDTH)
        inputs, stages = WIDTH, []
        for stage, count in enumerate(BLOCKS[depth]):
            width, blocks = WIDTH << stage, nn.ModuleList()
            for number in range(count):
                blocks.append(block(inputs, width, 2 if stage and not number else 1))
                inputs = width * block.expansion
            stages.append(blocks)
        self.layer1, self.layer2, self.layer3, self.layer4 = stages
        self.out_dim = inputs

    def maps(self, x: Tensor, running_stats: bool = False) -> Tensor:
        """What is pooled, [B,D,h,w]; `running_stats` as in `BatchNorm`."""
        x = F.relu(self.bn1(self.conv1(x), running_stats), inplace=True)
        x = F.max_pool2d(x, 3, 2, padding=1)
        for stage in (self.layer1, self.layer2, self.layer3, self.layer4):
            for block in stage:
                x = block(x, running_stats)
        return x

    def forward(self, x: Tensor, running_stats: bool = False) -> Tensor:
        """Encode images; `running_stats` as in `BatchNorm`."""
        return pool(self.maps(x, running_stats))


def unfitting(encoder: nn.Module, weights: Mapping[str, Tensor]) -> str:
    """Why weights are not those of an encoder, as a clause; empty if they fit and can be loaded.

    A classifier (`fc`) may be among them, and the count of batches of a normalisation may lack: older files have none.
    """
    own = encoder.state_dict()
    given = {name: values for name, values in weights.items() if not name.startswith("fc.")}
    missing = [name for name in own if name not in given and not name.endswith("num_batches_tracked")]
    strange = [name for name in given if name not in own]
    if missing or strange:
        lacks = f"has no {missing[0]}" if missing else f"has {strange[0]}, which the network lacks"
        return f"it {lacks}"
    for name, values in given.items():
        if values.shape != own[name].shape:
            shapes = (" x ".join(map(str, t.shape)) for t in (values, own[name]))
            return "its {} is {}, where the network has {}".format(name, *shapes)
    return ""


def load_weights(encoder: nn.Module, weights: Mapping[str, Tensor]) -> None:
    """Take published weights into an encoder that they fit (`unfitting` says nothing)."""
    missing, strange = encoder.load_state_dict(weights, strict=False)
    assert all(re.search(r"num_batches_tracked$", name) for name in missing), missing
    assert all(name.startswith("fc.") for name in strange), strange
