"""A network and batches small enough to run every method in milliseconds."""

import copy

import torch

from daso.nn.net import Net
from daso.nn.wrn import WideResNet
from daso.train.rng import generator
from daso.types import Batch, Clock, Nets

CLASSES, DIM, LABELED, UNLABELED, SIDE = 4, 64, 6, 8, 8
COUNTS = torch.tensor([12, 6, 3, 2])


def nets(dtype=torch.float32, heads=("cls",)):
    """Student and an equal teacher: WRN-10-1."""
    student = Net(WideResNet(10, 1), CLASSES, heads)
    student.init(generator(0, "toy"))
    student.to(dtype)
    return Nets(student, copy.deepcopy(student).requires_grad_(False))


def batch(step, views=2, dtype=torch.float32):
    """The batch of a step, the same for every caller."""
    g = generator(0, "toy/batch", step)
    x = torch.randn(LABELED, 3, SIDE, SIDE, generator=g)
    u = torch.randn(views, UNLABELED, 3, SIDE, SIDE, generator=g)
    y = torch.randint(CLASSES, (LABELED,), generator=g)
    return Batch(x.to(dtype), y, tuple(u.to(dtype)), torch.arange(UNLABELED) + step)


def clock(step, steps=10):
    return Clock(torch.tensor(step), torch.tensor(step / steps, dtype=torch.float64))
