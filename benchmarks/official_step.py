"""A DASO step as the public code of the paper family takes it: the baseline of `step.py`.

Written from the method's description, in the plain style of its time: one Pillow call chain per image, contiguous
float32, rectifiers and sums into new memory, a Python loop per tensor, per class and per sample, a host read per logged
number.
"""

import copy

import numpy as np
import torch
import torch.nn.functional as F
from official_data import Row, augment
from PIL import Image
from torch import Tensor, nn
from torchvision.transforms import functional as T

from daso.data.views import ViewSpec
from daso.nn.net import Net
from daso.schema import Config
from daso.types import View


class PlainBlock(nn.Module):
    """A pre-activation residual block."""

    def __init__(self, inputs: int, outputs: int, stride: int, first: bool) -> None:
        super().__init__()
        self.first = first
        pre = nn.Sequential(nn.BatchNorm2d(inputs), nn.LeakyReLU(0.1))
        if first:
            self.pre = pre
        self.shortcut = (
            nn.Conv2d(inputs, outputs, 1, stride, bias=False) if stride > 1 or inputs != outputs else nn.Identity()
        )
        if not first:
            self.pre = pre
        self.branch = nn.Sequential(
            nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False),
            nn.BatchNorm2d(outputs),
            nn.LeakyReLU(0.1),
            nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False),
        )

    def forward(self, x: Tensor) -> Tensor:
        a = self.pre(x)
        return self.shortcut(a if self.first else x) + self.branch(a)


class PlainNet(nn.Module):
    """Wide ResNet and classifier, with the parameters in the same order as `Net`'s."""

    def __init__(self, depth: int, width: int, channels: int, classes: int) -> None:
        super().__init__()
        self.stem = nn.Conv2d(channels, 16, 3, 1, 1, bias=False)
        blocks: list[nn.Module] = []
        inputs = 16
        for outputs, stride in ((16 * width, 1), (32 * width, 2), (64 * width, 2)):
            for i in range((depth - 4) // 6):
                blocks.append(PlainBlock(inputs, outputs, stride if i == 0 else 1, first=not blocks))
                inputs = outputs
        self.blocks = nn.Sequential(*blocks)
        self.tail = nn.Sequential(nn.BatchNorm2d(inputs), nn.LeakyReLU(0.1))
        self.classifier = nn.Linear(inputs, classes)

    def encode(self, x: Tensor) -> Tensor:
        return F.adaptive_avg_pool2d(self.tail(self.blocks(self.stem(x))), 1).flatten(1)

    @torch.no_grad()
    def copy_from(self, net: Net) -> None:
        for own, other in zip(self.parameters(), net.parameters(), strict=True):
            own.copy_(other)


class ListQueue:
    """The last features of each class, concatenated and cut per class; prototypes are their means."""

    def __init__(self, classes: int, dim: int, cap: int, dtype: torch.dtype = torch.float32) -> None:
        self.features = [torch.zeros(0, dim, dtype=dtype) for _ in range(classes)]
        self.prototypes = torch.zeros(classes, dim, dtype=dtype)
        self.cap = cap

    def push(self, features: Tensor, labels: Tensor) -> None:
        for k in range(len(self.features)):
            rows = torch.where(labels == k)[0]
            if len(rows) > 0:
                self.features[k] = torch.cat([self.features[k], features[rows]])[-self.cap :]
                self.prototypes[k] = self.features[k].mean(0)


class ListHistogram:
    """Pseudo-labels of the last period in a list; counted class by class at its end."""

    def __init__(self, classes: int, period: int) -> None:
        self.pushed: list[Tensor] = []
        self.counts = torch.zeros(classes)
        self.period = period

    def push(self, labels: Tensor) -> None:
        self.pushed.append(labels.clone())

    def update(self, step: int) -> None:
        if (step + 1) % self.period == 0:
            labels = torch.cat(self.pushed)
            for k in range(len(self.counts)):
                self.counts[k] = torch.sum(labels == k).item()
            self.pushed = []


@torch.no_grad()
def average(student: nn.Module, teacher: nn.Module, step: int, decay: float) -> None:
    """The EMA, tensor by tensor over the state dict, each into new memory first."""
    d = min(1 - 1 / (step + 1), decay)
    state = student.state_dict()
    for name, value in teacher.state_dict().items():
        value.copy_(d * value + (1 - d) * state[name])


class OfficialStep:
    """FixMatch + DASO on lists and loops.

    Args:
        config: of the run that it is compared with.
        net: whose parameters it starts from.
    """

    def __init__(self, config: Config, net: Net) -> None:
        dtype = next(net.parameters()).dtype
        model, dataset = config.model, config.dataset
        self.config, self.dtype, self.spec = config, dtype, ViewSpec.of(dataset)
        self.student = PlainNet(model.depth, model.width, dataset.channels, dataset.num_classes).to(dtype)
        self.student.copy_from(net)
        self.teacher = copy.deepcopy(self.student).requires_grad_(False)
        optim = config.optim
        self.optimizer = torch.optim.SGD(
            self.student.parameters(), optim.lr, optim.momentum, 0, optim.weight_decay, optim.nesterov, foreach=False
        )
        self.queue = ListQueue(dataset.num_classes, 64 * model.width, config.daso.queue_size, dtype)
        self.histogram = ListHistogram(dataset.num_classes, config.daso.update_every)
        self.window: dict[str, list[int]] = {"labels": [], "final": [], "linear": [], "semantic": [], "truth": []}
        self.logged: dict[str, float] = {}

    def view(self, images: np.ndarray, rows: list[int], view: View, draws: list[Row]) -> Tensor:
        """One batch of one view: an image at a time, then collated."""
        tensors = []
        for row, draw in zip(rows, draws, strict=True):
            image = augment(Image.fromarray(images[row]), view, draw, self.spec)
            tensor = T.pil_to_tensor(image).to(self.dtype).div(255)
            tensors.append(T.normalize(tensor, self.spec.mean, self.spec.std))
        return torch.stack(tensors)

    def semantic(self, features: Tensor) -> Tensor:
        similarity = F.cosine_similarity(features[:, None], self.queue.prototypes[None], dim=2, eps=1e-8)
        return similarity / self.config.daso.t_proto

    def __call__(self, step: int, x: Tensor, y: Tensor, u_w: Tensor, u_s: Tensor, truth: Tensor) -> dict[str, float]:
        """One step; gives its losses."""
        daso, b, bu = self.config.daso, len(x), len(u_w)
        with torch.no_grad():
            self.queue.push(self.teacher.encode(x), y)
        features = self.student.encode(torch.cat([x, u_w, u_s]))
        f_l, f_w, f_s = features.split([b, bu, bu])
        z_l, z_w, z_s = (self.student.classifier(f) for f in (f_l, f_w, f_s))
        losses, semantic = {"cls": F.cross_entropy(z_l, y)}, torch.full((bu,), -1)
        with torch.no_grad():
            p = z_w.softmax(1)
            linear = p.argmax(1)
        if step >= daso.warmup_steps:
            with torch.no_grad():
                q = self.semantic(f_w).softmax(1)
                semantic = q.argmax(1)
                weight = (self.histogram.counts / self.histogram.counts.sum()).to(p.dtype) ** (1 / daso.t_dist)
                v = (weight / weight.max())[linear][:, None]
                p = (1 - v) * p + v * q
            losses["align"] = -(q * self.semantic(f_s).log_softmax(1)).sum(1).mean()
        conf, label = p.max(1)
        self.histogram.push(label)
        mask = (conf >= self.config.algorithm.threshold).to(p.dtype)  # type: ignore[attr-defined]
        losses["cons"] = (mask * F.cross_entropy(z_s, label, reduction="none")).mean()
        self.optimizer.zero_grad()
        sum(losses.values()).backward()  # type: ignore[union-attr]
        self.optimizer.step()
        average(self.student, self.teacher, step, self.config.optim.ema_decay)
        self.histogram.update(step)
        self.log(losses, z_l, y, mask)
        for name, values in zip(self.window, (y, label, linear, semantic, truth), strict=True):
            self.window[name].extend(values.tolist())
        return {name: self.logged[name] for name in losses}

    def log(self, losses: dict[str, Tensor], logits: Tensor, y: Tensor, mask: Tensor) -> None:
        self.logged = {name: loss.item() for name, loss in losses.items()}
        top = logits.topk(5, dim=1).indices.t()
        hits = top == y[None]
        self.logged |= {f"top{k}": hits[:k].reshape(-1).float().sum().item() / len(y) for k in (1, 5)}
        self.logged["mask"] = mask.mean().item()
