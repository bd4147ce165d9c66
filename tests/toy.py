"""A network and batches small enough to run every method in milliseconds."""

import copy

import torch
from torch import nn

from daso.learners.base import Method
from daso.nn.net import CLASSIFIER, Net
from daso.nn.norm import BatchNorm
from daso.nn.wrn import Block, WideResNet, conv3x3, rectify
from daso.run.build.parts import facts_of
from daso.schema import OptimConfig, Schedule
from daso.train.optimizer import build_optimizer
from daso.train.rng import generator
from daso.train.step import TrainStep
from daso.types import Aside, Batch, Clock, Nets, Sizes

CLASSES, DIM, LABELED, UNLABELED, SIDE = 4, 64, 6, 8, 8
COUNTS = torch.tensor([12, 6, 3, 2])


class OneBlock(nn.Module):
    """The smallest network with all that a Wide ResNet is made of, for tests that trace."""

    out_dim = DIM

    def __init__(self):
        super().__init__()
        self.stem, self.block, self.bn = conv3x3(3, 16, 2), Block(16, DIM, 2), BatchNorm(DIM)

    def maps(self, x, running_stats=False):
        return rectify(self.bn(self.block(self.stem(x), running_stats), running_stats))

    def forward(self, x, running_stats=False):
        return self.maps(x, running_stats).mean((2, 3))


def nets(dtype=torch.float32, heads=CLASSIFIER, classes=CLASSES, encoder=None, norms=0):
    """Student and an equal teacher: WRN-10-1, or `encoder`."""
    student = Net(encoder or WideResNet(10, 1), classes, heads, norms)
    student.init(generator(0, "toy"))
    student.to(dtype)
    return Nets(student, copy.deepcopy(student).requires_grad_(False))


def facts(config, counts, unlabeled=0, shared=0):
    """What parts may know of the run of `config`, with `counts` labeled images per class and `unlabeled` others, of
    which the first `shared` are labeled ones too.
    """
    return facts_of(config, counts, unlabeled, shared=shared)


def batch(step, views=2, dtype=torch.float32, unlabeled=UNLABELED, labeled_views=1, further=0, wants=()):
    """The batch of a step, the same for every caller; more labeled views are images of their own."""
    g = generator(0, "toy/batch", step)
    x = torch.randn(LABELED, 3, SIDE, SIDE, generator=g)
    u = torch.randn(views, unlabeled, 3, SIDE, SIDE, generator=g)
    y = torch.randint(CLASSES, (LABELED,), generator=g)
    more = [torch.randn(LABELED, 3, SIDE, SIDE, generator=g).to(dtype) for _ in range(labeled_views - 1 + further)]
    extra, asked = tuple(more[: labeled_views - 1]), tuple(more[labeled_views - 1 :])
    own = {name: Aside(torch.randn(LABELED, 3, SIDE, SIDE, generator=g).to(dtype), y) for name in wants}
    return Batch(x.to(dtype), y, tuple(u.to(dtype)), torch.arange(unlabeled) + step, extra, asked, own)


def clock(step, steps=10):
    return Clock(torch.tensor(step), torch.tensor(step / steps, dtype=torch.float64))


def noise(learner, slots, step, unlabeled=UNLABELED):
    """Everything random of a step beside the images."""
    draws = Method(learner, slots).draws(Sizes(LABELED, unlabeled))
    return {name: draw(generator(0, f"noise/{name}", step)) for name, draw in draws.items()}


def train(learner, slots, steps=6, dtype=torch.float32, classes=CLASSES, unlabeled=UNLABELED, encoder=None):
    """The outcome of every one of a run's steps, on networks and slots of `dtype`, and the networks."""
    method = Method(learner, slots)
    trained = nets(dtype, method.heads, classes, encoder, norms=learner.norms)
    learner.to(dtype), slots.to(dtype)
    optim = OptimConfig(name="sgd", lr=0.03, schedule=Schedule.constant)
    step = TrainStep(trained, learner, slots, build_optimizer(trained.student, optim), optim)
    outcomes = []
    for t in range(steps):
        labeled = len(learner.labeled_views), len(method.further_views), method.wants
        images = batch(t, len(learner.views), dtype, unlabeled, *labeled)
        outcomes.append(step(images, noise(learner, slots, t, unlabeled), clock(t, steps), method.flags(t)))
    return outcomes, trained
