"""The network of a run: an encoder and its heads.

Shape legend: B batch, c image channels, H W image, D features, C classes, G normalisations side by side.
"""

import math
from collections.abc import Mapping

import torch
from torch import Generator, Tensor, nn
from torch.func import functional_call

from daso.nn.norm import BatchNorm
from daso.nn.resnet import ResNet
from daso.nn.wrn import WideResNet, pool
from daso.types import Head

CLASSIFIER = {"cls": Head()}


class UniformLinear(nn.Linear):
    """A linear layer whose weights and biases start uniform within 1 / sqrt(fan-in), as torch's own do."""


class Net(nn.Module):
    """Encoder plus heads, of which `cls` is the classifier.

    Args:
        encoder: maps [B,c,H,W] to [B,D].
        num_classes: C.
        heads: by name, in the order in which they are initialised.
        norms: G, normalisations of what the encoder would pool, each pooled for itself; 0 for none.
    """

    def __init__(
        self,
        encoder: WideResNet | ResNet,
        num_classes: int,
        heads: Mapping[str, Head] = CLASSIFIER,
        norms: int = 0,
    ) -> None:
        super().__init__()
        self.encoder = encoder
        self.norms = nn.ModuleList(BatchNorm(encoder.out_dim) for _ in range(norms))
        made = {k: head.make(encoder.out_dim, head.outputs or num_classes) for k, head in heads.items()}
        self.heads = nn.ModuleDict(made)

    def encode(self, x: Tensor, running_stats: bool = False) -> Tensor:
        """Images [B,c,H,W] -> features [B,D]; where there are several normalisations, the mean of theirs.

        With `running_stats` the encoder normalises by its running statistics and leaves them as they are, in training
        mode as well; otherwise the mode decides, as in any module.
        """
        if len(self.norms):
            return self.encode_apart(x, running_stats).mean(0)
        features: Tensor = self.encoder(x, running_stats)
        return features

    def encode_apart(self, x: Tensor, running_stats: bool = False) -> Tensor:
        """Images [B,c,H,W] -> features [G,B,D] of each normalisation; `running_stats` as in `encode`."""
        maps = self.encoder.maps(x, running_stats)
        return torch.stack([pool(norm(maps, running_stats)) for norm in self.norms])

    def encode_aside(self, x: Tensor) -> Tensor:
        """Images [B,c,H,W] -> features [B,D] by the statistics of these very images, which move no running ones."""
        assert not len(self.norms), "normalisations side by side would move"
        buffers = {name: buffer.clone() for name, buffer in self.encoder.named_buffers()}
        features: Tensor = functional_call(self.encoder, buffers, (x,))
        return features

    def classify(self, f: Tensor, head: str = "cls") -> Tensor:
        """Features [...,D] -> outputs of one head, for `cls` the logits [...,C]."""
        logits: Tensor = self.heads[head](f)
        return logits

    def bias(self, head: str) -> Tensor:
        """[C] of a head that is a linear layer, without gradient."""
        layer = self.heads[head]
        assert isinstance(layer, nn.Linear), f"the head {head} is no linear layer"
        return layer.bias.detach()

    def weight(self, head: str) -> Tensor:
        """The weight [C,D] of a linear head."""
        weight = self.heads[head].weight
        assert isinstance(weight, Tensor), "a linear head"
        return weight

    def predict(self, x: Tensor, head: str = "cls") -> Tensor:
        """Images [B,c,H,W] -> outputs of one head."""
        return self.classify(self.encode(x), head)

    @torch.no_grad()
    def init(self, generator: Generator) -> None:
        """Set every parameter and running statistic afresh, in place, from a CPU generator.

        Convolutions are normal with variance 2 / fan-out, linear weights Xavier-normal, normalisations the identity,
        biases 0, but those of convolutions, like all of a `UniformLinear`, uniform within 1 / sqrt(fan-in). Numbers are
        drawn in float32 on the CPU: every device, dtype and memory format starts from the same.
        """
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                fan_out = module.out_channels * module.kernel_size[0] * module.kernel_size[1]
                _normal(module.weight, math.sqrt(2 / fan_out), generator)
                if module.bias is not None:
                    _uniform(module.bias, module.weight[0].numel(), generator)
            elif isinstance(module, UniformLinear):
                for parameter in module.parameters():
                    _uniform(parameter, module.in_features, generator)
            elif isinstance(module, nn.Linear):
                _normal(module.weight, math.sqrt(2 / (module.in_features + module.out_features)), generator)
                if module.bias is not None:
                    module.bias.zero_()
            elif isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
                module.reset_parameters()


def mlp(features: int, outputs: int) -> nn.Module:
    """A head of two linear layers with a normalisation and a rectifier between them."""
    return nn.Sequential(
        nn.Linear(features, features), nn.BatchNorm1d(features), nn.ReLU(), nn.Linear(features, outputs)
    )


def _normal(weight: Tensor, std: float, generator: Generator) -> None:
    weight.copy_(torch.randn(weight.shape, generator=generator, dtype=torch.float32) * std)


def _uniform(parameter: Tensor, fan_in: int, generator: Generator) -> None:
    bound = 1 / math.sqrt(fan_in)
    parameter.copy_(torch.rand(parameter.shape, generator=generator) * 2 * bound - bound)
