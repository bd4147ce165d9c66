"""CoSSL in the loop: what its head is before, in the middle of and after its warm-up."""

import pytest
import torch

from daso.errors import Interrupted
from daso.run.build import build, data_of
from daso.slots.linear import LinearHead
from daso.train.loop import State, train
from tests.training import CPU, Rows, composed, trained

CHOICES = ("algorithm=fixmatch_cossl", "algorithm.threshold=0.2", "debias.start=0.5", "debias.warm=4")
FIRST, WARM = 6, 48  # of 12 steps


class Told:
    """Asks a run to stop where it is asked for the n-th time."""

    def __init__(self, n):
        self.left = n

    def __call__(self):
        self.left -= 1
        return 15 if self.left == 0 else None


def test_a_run_that_is_stopped_in_the_warm_up_ends_as_one_that_was_not(tmp_path):
    config, paths = composed(*CHOICES), [tmp_path / name for name in ("whole", "stopped")]
    whole = build(config, CPU, *data_of(config))
    report = [Rows(), Rows()]
    train(whole, State(), report[0], paths[0], {})
    told, stops = Told(FIRST + 3 + 2), []  # after passes over labeled, weak and strong images, and 20 steps
    while True:
        parts, state = build(config, CPU, *data_of(config)), State()
        if stops:
            state.unpack(parts, torch.load(paths[1], weights_only=True))
        try:
            train(parts, state, report[1], paths[1], {}, told)
            break
        except Interrupted:
            stops.append((state.step, int(parts.slots.interlude.warmed)))
    assert stops == [(FIRST, 20)]
    assert report[0].kept == report[1].kept
    for mine, theirs in zip((parts.slots, *parts.nets), (whole.slots, *whole.nets), strict=True):
        pairs = zip(mine.state_dict().values(), theirs.state_dict().values(), strict=True)
        assert all(torch.equal(a, b) for a, b in pairs)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return trained(composed(*CHOICES, "seed=1"), tmp_path_factory.mktemp("run"), stop_after=100)


def test_until_there_is_a_head_the_classifier_answers_and_then_the_head(run):
    parts, rows = run
    found = {step: row for event, step, row in rows if event == "eval"}
    for step in (3, FIRST):
        assert found[step]["test/tfe/top1"] == found[step]["test/cls/top1"] == found[step]["test/top1"]
    for step in (9, 12):
        assert found[step]["test/top1"] == found[step]["test/tfe/top1"]
    losses = {step: row for event, step, row in rows if event == "train"}
    assert ["train/loss_tfe" in losses[step] for step in (3, FIRST, 9, 12)] == [False, False, True, True]
    assert int(parts.slots.interlude.warmed) == WARM
    assert parts.slots.interlude.ready


def test_the_networks_know_nothing_of_the_head(run):
    parts, _ = run
    assert set(parts.method.heads) == {"cls"}
    assert not any(buffer.requires_grad for buffer in parts.slots.buffers())


def test_a_step_of_the_head_is_that_of_torch_s_adam():
    generator, classes, features = torch.Generator().manual_seed(0), 4, 7
    head = LinearHead(features, classes, 0.01, 0.1, 0.9).double()
    layer = torch.nn.Linear(features, classes).double()
    head.start(layer.weight, layer.bias)
    groups = [{"params": [layer.weight], "weight_decay": 0.1}, {"params": [layer.bias]}]
    adam, average = torch.optim.Adam(groups, lr=0.01), layer.weight.detach().clone()
    for _ in range(5):
        f = torch.randn(6, features, generator=generator, dtype=torch.float64)
        y = torch.randint(classes, (6,), generator=generator)
        loss = torch.nn.functional.cross_entropy(layer(f), y)
        adam.zero_grad()
        loss.backward()
        assert float(head.learn(f, y)) == pytest.approx(loss.item(), rel=1e-12)
        adam.step()
        average = 0.9 * average + 0.1 * layer.weight.detach()
        torch.testing.assert_close(head.weight, layer.weight.detach(), rtol=1e-10, atol=1e-12)
        torch.testing.assert_close(head.bias, layer.bias.detach(), rtol=1e-10, atol=1e-12)
        torch.testing.assert_close(head.weight_average, average, rtol=1e-10, atol=1e-12)
