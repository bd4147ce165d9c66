"""The network of a finished run as one module: from uint8 images to logits, with everything that evaluation does.

Legend: B images, c channels, S pixels per side of the data set's images, C classes, D features.
"""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn

from daso.data.views.normalise import Normalise
from daso.data.views.resize import Resize
from daso.errors import AFRESH, Damaged
from daso.machine.execution import build_autocast, effective_precision
from daso.nn.net import Net
from daso.nn.part import Part
from daso.run.build.networks import place, unset_net
from daso.run.build.parts import build_method, facts_of
from daso.run.stages import made
from daso.schema import Config, DatasetConfig, Precision
from daso.slots.base import Reading
from daso.slots.slots import Slots
from daso.train import checkpoint, evaluate

Autocast = Callable[[], AbstractContextManager[object]]


class Network(nn.Module):
    """uint8 images [B,c,S,S] -> logits [B,C], in at least float32: resizing, normalisation, network, correction.

    Args:
        net: what answers.
        dataset: whose images it takes.
        answers: the head that answers.
        bias: [C] what is taken off its logits, if a method corrects them.
        reading: what answers in place of a head, from the classifiers `read`.
        autocast: the context of a pass.
    """

    bias: Tensor | None

    def __init__(
        self,
        net: Net,
        dataset: DatasetConfig,
        answers: str = "cls",
        bias: Tensor | None = None,
        autocast: Autocast = nullcontext,
        reading: Reading | None = None,
        read: tuple[str, ...] = (),
    ) -> None:
        super().__init__()
        self.net, self.answers, self.autocast = net, answers, autocast
        self.reading, self.heads = reading, read or (answers,)
        self.resize = Resize(dataset.source_size, dataset.resolution) if dataset.resized else nn.Identity()
        self.normalise = Normalise(dataset.mean, dataset.std)
        self.register_buffer("bias", bias)

    def forward(self, images: Tensor) -> Tensor:
        """Logits [B,C]."""
        bias = self.bias
        taken = None if bias is None else lambda: bias
        read = None if self.reading is None else self.reading.read
        ask = evaluate.opinions(self.net, self.normalise, self.autocast, self.heads, self.answers, taken, read)
        return ask(self.resize(images))[""]

    def features(self, images: Tensor) -> Tensor:
        """Features [B,D] of the encoder, which every head starts from, in float32."""
        dtype = next(self.net.parameters()).dtype
        with self.autocast():
            found = self.net.encode(self.normalise(self.resize(images), dtype), running_stats=True)
        return found.to(torch.float32)


@torch.no_grad()
def restored(config: Config, saved: Mapping[str, Any], device: torch.device, name: str) -> Network:
    """The network that a finished run was evaluated with.

    No image is read: what parts know of their run's data shapes their training alone.

    Args:
        config: of the run.
        saved: the content of its checkpoint.
        device: where to compute; tf32 is fp32 where there is none.
        name: of the checkpoint, for a sentence.

    Raises:
        Damaged: the checkpoint does not fit the run.
    """
    own = made(config)
    rows = max(own.train.batch_size * own.train.mu, 1) if own.reads_unlabeled else 0
    facts = facts_of(own, torch.ones(own.dataset.num_classes, dtype=torch.int64), rows)
    method = build_method(own, facts, device, torch.float32)
    net, which = unset_net(own, method.heads, method.learner.norms), method.learner.evaluated
    net.requires_grad_(False).eval()
    reason = checkpoint.unlike(saved[which], net.state_dict(), which)
    if reason:
        raise Damaged(f"{name} does not fit this run ({reason})", AFRESH)
    net.load_state_dict(saved[which])
    place(net, own, device, torch.float32)
    precision = own.train.precision
    if precision is Precision.tf32 and device.type == "cpu":
        precision = Precision.fp32
    autocast = build_autocast(effective_precision(precision, device), device)
    bias, correction = None, method.slots.correction
    if correction is not None:
        _restore(correction, method.slots, saved)
        with autocast():
            bias = correction.posthoc(net, method.answers)
    reading = method.slots.reading
    if reading is None or method.answers in method.heads:
        return Network(net, own.dataset, method.answers, bias, autocast).to(device)
    _restore(reading, method.slots, saved)
    return Network(net, own.dataset, method.answers, bias, autocast, reading, method.classifiers).to(device)


def _restore(part: Part, slots: Slots, saved: Mapping[str, Any]) -> None:
    """Give a part of a run its state from a checkpoint."""
    prefix = next(name for name, module in slots.named_modules() if module is part) + "."
    found = {name.removeprefix(prefix): value for name, value in saved["slots"].items() if name.startswith(prefix)}
    part.load_state_dict(found)
