"""The Wide ResNet with its heads, the rule that fills it, and the rule that samples it."""

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

SLOPE = 0.1


def activated(norm, x):
    return F.leaky_relu(norm(x), SLOPE)


class Block(nn.Module):
    """Residual block: BN-LReLU, conv, BN-LReLU, conv, with a shortcut.

    In the very first block of the net the shortcut starts from the activated input, in all others from the raw one.
    Parameters are registered in the order of the fill rule.
    """

    def __init__(self, wide_in, wide_out, stride, first=False):
        super().__init__()
        self.first = first
        if first:
            self.norm1 = nn.BatchNorm2d(wide_in)
        needed = stride >= 2 or wide_in != wide_out
        self.shortcut = nn.Conv2d(wide_in, wide_out, 1, stride, bias=False) if needed else None
        if not first:
            self.norm1 = nn.BatchNorm2d(wide_in)
        self.conv1 = nn.Conv2d(wide_in, wide_out, 3, stride, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(wide_out)
        self.conv2 = nn.Conv2d(wide_out, wide_out, 3, 1, 1, bias=False)

    def forward(self, x):
        a = activated(self.norm1, x)
        branch = self.conv2(activated(self.norm2, self.conv1(a)))
        start = a if self.first else x
        return branch + (start if self.shortcut is None else self.shortcut(start))


class Network(nn.Module):
    """WRN-28-`width` encoder, linear classifier, and whichever further heads are asked for."""

    def __init__(self, classes, width=1, rotation=False, auxiliary=False):
        super().__init__()
        widths = [16, 16 * width, 32 * width, 64 * width]
        self.stem = nn.Conv2d(3, 16, 3, 1, 1, bias=False)
        blocks = []
        for stage, stride in enumerate((1, 2, 2)):
            for k in range(4):
                wide_in = widths[stage] if k == 0 else widths[stage + 1]
                first = stage == 0 and k == 0
                blocks.append(Block(wide_in, widths[stage + 1], stride if k == 0 else 1, first))
        self.blocks = nn.ModuleList(blocks)
        self.norm = nn.BatchNorm2d(widths[-1])
        self.classifier = nn.Linear(widths[-1], classes)
        if rotation:
            self.rotation = nn.Linear(widths[-1], 4)
        if auxiliary:
            self.auxiliary = nn.Linear(widths[-1], classes)
        self.to(torch.float64)

    def encode(self, x):
        """Images [N,3,H,W] -> pooled features [N,D]."""
        x = self.stem(x)
        for block in self.blocks:
            x = block(x)
        return activated(self.norm, x).mean(dim=(2, 3))

    def forward(self, x):
        return self.classifier(self.encode(x))


def parameters(net):
    """Parameters in registration order, weight before bias."""
    return list(net.parameters())


def statistics(net):
    """BatchNorm means and variances in registration order."""
    return [b for b in net.buffers() if b.is_floating_point()]


@torch.no_grad()
def fill(net, seed, gain):
    """Set every parameter by the golden files' fill rule."""
    k = 0
    for module in net.modules():
        for name, p in module.named_parameters(recurse=False):
            z = torch.from_numpy(np.random.RandomState(1000 * seed + k).standard_normal(tuple(p.shape)))
            if isinstance(module, nn.Conv2d):
                out, _, kh, kw = p.shape
                p.copy_(z * (2 / (out * kh * kw)) ** 0.5)
            elif isinstance(module, nn.BatchNorm2d):
                p.copy_(1 + 0.1 * z if name == "weight" else 0.1 * z)
            elif name == "weight":
                p.copy_(gain * z * (2 / (p.shape[0] + p.shape[1])) ** 0.5)
            else:
                p.copy_(0.1 * z)
            k += 1


def made(classes, seed, gain, rotation=False, auxiliary=False):
    """A network by the fill rule, fresh statistics, train mode."""
    net = Network(classes, 1, rotation, auxiliary)
    fill(net, seed, gain)
    return net


def sampled(tensors, most):
    """At most `most` entries of each tensor by the golden files' sampling rule, concatenated."""
    out = []
    for t in tensors:
        flat = t.detach().numpy().reshape(-1)
        out.append(flat[np.unique(np.linspace(0, flat.size - 1, min(most, flat.size)).astype(int))])
    return np.concatenate(out)
