"""Student and teacher."""

from collections.abc import Mapping

import torch

from daso.machine import weights
from daso.nn.net import Net
from daso.nn.resnet import ResNet
from daso.nn.wrn import Details, WideResNet
from daso.schema import Config
from daso.train.rng import generator
from daso.types import Head, Nets


def build_nets(
    config: Config, heads: Mapping[str, Head], device: torch.device, dtype: torch.dtype, norms: int = 0
) -> Nets:
    """Student and teacher, equal at the start; `heads` and `norms` as of `Net`.

    The weights are drawn from the run's seed, on the CPU; those of an encoder that starts from a file are the file's.

    Raises:
        UserError: `model.weights` names a file of another network.
    """
    student, teacher = unset_net(config, heads, norms), unset_net(config, heads, norms).requires_grad_(False)
    student.init(generator(config.seed, "init"))
    if config.model.weights:
        weights.load_into(student.encoder, weights.find(config.model.weights, config.model.depth))
    teacher.load_state_dict(student.state_dict())
    for net in (student, teacher):
        place(net, config, device, dtype)
    return Nets(student, teacher)


def unset_net(config: Config, heads: Mapping[str, Head], norms: int = 0) -> Net:
    """A network of the run's kind on the CPU, with weights of no meaning; `heads` and `norms` as of `Net`."""
    model, channels = config.model, config.dataset.channels
    encoder: WideResNet | ResNet
    if model.name == "resnet":
        encoder = ResNet(model.depth, channels)
    else:
        details = Details(model.bn_momentum, model.bn_eps, model.last_bn_eps, model.stem_bias, model.raw_branch)
        encoder = WideResNet(model.depth, model.width, channels, model.stem_stride, details)
    return Net(encoder, config.dataset.num_classes, heads, norms)


def place(net: Net, config: Config, device: torch.device, dtype: torch.dtype) -> None:
    """Move a network to where it computes, in the memory format of the run."""
    layout = torch.channels_last if config.train.channels_last else torch.contiguous_format
    net.to(device=device, dtype=dtype).to(memory_format=layout)
