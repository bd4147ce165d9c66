"""Student and teacher."""

from collections.abc import Mapping

import torch

from daso.nn.net import Net
from daso.nn.wrn import WideResNet
from daso.schema import Config
from daso.train.rng import generator
from daso.types import Head, Nets


def build_nets(config: Config, heads: Mapping[str, Head], device: torch.device, dtype: torch.dtype) -> Nets:
    """Student and teacher, equal at the start; the weights are drawn from the run's seed, on the CPU."""
    layout = torch.channels_last if config.train.channels_last else torch.contiguous_format

    def make() -> Net:
        model = config.model
        encoder = WideResNet(model.depth, model.width, config.dataset.channels, model.stem_stride)
        return Net(encoder, config.dataset.num_classes, heads)

    student, teacher = make(), make().requires_grad_(False)
    student.init(generator(config.seed, "init"))
    teacher.load_state_dict(student.state_dict())
    for net in (student, teacher):
        net.to(device=device, dtype=dtype).to(memory_format=layout)
    return Nets(student, teacher)
