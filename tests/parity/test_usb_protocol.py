"""USB's network, parameter groups, schedule, EMA and class sizes against recorded ones (beyond/usb_protocol.npz)."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from daso.data.sizes import class_counts
from daso.nn import ema
from daso.nn.norm import BatchNorm
from daso.run.build import build_nets
from daso.schema import EmaBuffers
from daso.train.optimizer import build_optimizer
from daso.train.schedule import lr_factor
from daso.types import Head
from tests.compose import config_of
from tests.golden_fill import fill_usb, sample, usb_name, usb_parameters

GOLDEN = np.load(Path(__file__).parents[1] / "golden" / "beyond" / "usb_protocol.npz")
NAMES = [str(name) for name in GOLDEN["w2/param_names"]]
CONFIG = config_of("recipe=usb", "algorithm=fixmatch")
OPTIM = CONFIG.optim


@pytest.fixture(scope="module")
def net():
    made = build_nets(CONFIG, {"cls": Head()}, torch.device("cpu"), torch.float64).student
    fill_usb(made, json.loads(str(GOLDEN["w2/meta_json"]))["fill_seed"], NAMES)
    return made


def test_the_parameters_are_the_recorded_ones(net):
    parameters = usb_parameters(net, NAMES)
    assert {id(p) for p in parameters} == {id(p) for p in net.parameters()}
    assert [str(list(p.shape)) for p in parameters] == list(GOLDEN["w2/param_shapes"])
    assert sum(p.numel() for p in parameters) == GOLDEN["w2/number_of_parameters"]
    close([p.detach().flatten()[0] for p in parameters], GOLDEN["w2/params_first"])


def close(actual, expected, rel=1e-10):
    actual = actual.detach().numpy() if isinstance(actual, torch.Tensor) else np.asarray(actual)
    np.testing.assert_allclose(actual, expected, rtol=rel, atol=rel * max(1.0, float(np.abs(expected).max())))


def test_the_network_computes_learns_and_follows_its_batches_as_recorded(net):
    meta = json.loads(str(GOLDEN["w2/meta_json"]))
    x = torch.from_numpy(np.random.RandomState(meta["fill_seed"] + 1).standard_normal((meta["B"], 3, 32, 32)))
    y = torch.from_numpy(np.random.RandomState(meta["fill_seed"] + 2).randint(0, meta["C"], meta["B"]))
    features = net.encode(x)
    close(features, GOLDEN["w2/train_feat"])
    close(logits := net.classify(features), GOLDEN["w2/train_logits"])
    loss = F.cross_entropy(logits, y)
    close(loss, GOLDEN["w2/loss"])
    loss.backward()
    ordered, buffers = usb_parameters(net, NAMES), dict(net.named_buffers())
    assert [name for name, p in zip(NAMES, ordered) if p.grad is None] == list(GOLDEN["w2/no_gradient"])
    close(sample([p.grad for p in ordered if p.grad is not None], 8), GOLDEN["w2/grad_samples"])
    close(sample([buffers[usb_name(str(name))] for name in GOLDEN["w2/buffer_names"]], 16), GOLDEN["w2/buffer_samples"])
    net.eval()
    close(net.predict(x), GOLDEN["w2/eval_logits"])
    net.train()
    close(net.classify(net.encode(x, running_stats=True)), GOLDEN["w2/eval_logits"])


@pytest.mark.parametrize("kind", ["plain", "plugin"])
def test_weight_decay_acts_on_the_recorded_parameters(net, kind):
    decayed = {
        id(p) for group in build_optimizer(net, OPTIM).param_groups if group["weight_decay"] for p in group["params"]
    }
    names = [name for name, p in zip(NAMES, usb_parameters(net, NAMES)) if id(p) in decayed]
    assert names == list(GOLDEN[f"groups/{kind}_decayed"])


@pytest.mark.parametrize(("steps", "warmup"), [(262_144, 0), (1_048_576, 0), (1000, 100)])
def test_the_schedule_equals_the_recorded_one(steps, warmup):
    key = f"schedule/cosine_{steps}" + (f"_warm{warmup}" if warmup else "")
    optim = config_of("recipe=usb", "algorithm=fixmatch", f"optim.warmup={warmup / steps}").optim
    close([lr_factor(optim, int(step), steps) for step in GOLDEN[f"{key}_steps"]], GOLDEN[f"{key}_factor"], 1e-12)


def test_the_teacher_averages_weights_from_the_first_step_and_copies_statistics_as_recorded():
    seed = int(GOLDEN["ema/seed"])

    def make():
        return nn.Sequential(nn.Conv2d(2, 3, 3), BatchNorm(3, momentum=0.001), nn.Flatten(), nn.Linear(12, 3)).double()

    def fill(module, step):
        with torch.no_grad():
            for k, p in enumerate(module.parameters()):
                p.copy_(torch.from_numpy(np.random.RandomState(1000 * (seed + step) + k).standard_normal(p.shape)))

    student, teacher = make(), make()
    fill(student, 0)
    teacher.load_state_dict(student.state_dict())
    copies = OPTIM.ema_buffers is EmaBuffers.copy
    for step in range(1, 9):
        student(torch.from_numpy(np.random.RandomState(1000 * (seed + step) + 50).standard_normal((4, 2, 4, 4))))
        fill(student, step)
        ema.update(student, teacher, torch.tensor(step - 1), OPTIM.ema_decay, OPTIM.ema_warmup, copies)
        close(nn.utils.parameters_to_vector(teacher.parameters()), GOLDEN["ema/params"][step - 1])
        close(torch.cat([b.double().flatten() for b in teacher.buffers()]), GOLDEN["ema/buffers"][step - 1])


def test_classes_have_the_recorded_sizes():
    found = [key for key in GOLDEN.files if key.startswith("counts/")]
    for key in found:
        largest, classes, gamma = (int(part[1:]) for part in key.removeprefix("counts/").split("_"))
        ratio = gamma if gamma > 0 else -1 / gamma
        assert class_counts(largest, ratio, classes) == GOLDEN[key].tolist(), key
