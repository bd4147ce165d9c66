"""What only a GPU can show."""

import pytest
import torch

from daso.machine.execution import configure_torch
from daso.run.build import build, data_of
from daso.run.stages import own, prerequisites
from daso.run.start import run
from daso.schema import Compile
from daso.train.loop import State, train
from tests.compose import NOWHERE, tiny
from tests.graph.presets import PRESETS
from tests.training import Rows

pytestmark = pytest.mark.gpu
CUDA = torch.device("cuda")


@pytest.fixture(autouse=True)
def fresh():
    torch.compiler.reset()
    yield
    torch.compiler.reset()


def parts_of(*overrides: str):
    config = tiny("device=cuda", *overrides)
    for stage in prerequisites(config):
        run(stage, NOWHERE)
    config = own(config)
    configure_torch(config, CUDA)
    return build(config, CUDA, *data_of(config))


def take(parts, steps: range) -> None:
    for step in steps:
        parts.engine(parts.engine.draw(step, step, 1000, 0.03), parts.slots.flags(step))


def losses(parts, steps: int) -> dict[str, float]:
    take(parts, range(steps))
    return {name: value for name, value in parts.meters.read_train().get().items() if name.startswith("loss")}


@pytest.mark.parametrize("mode", ["none", "graph"])
@pytest.mark.parametrize("algorithm", ["fixmatch", "fixmatch_daso"])
def test_a_hundred_steps_never_wait_for_the_device(algorithm, mode):
    parts = parts_of(f"algorithm={algorithm}", "train.steps=200", f"train.compile={mode}")
    take(parts, range(40))  # past the warm-up of DASO and the recording of both phases
    torch.cuda.set_sync_debug_mode("error")
    try:
        take(parts, range(40, 140))
    finally:
        torch.cuda.set_sync_debug_mode("default")


@pytest.mark.parametrize("preset", PRESETS)
def test_recorded_steps_give_the_plain_loop_s_losses(preset, tmp_path):
    def rows(mode: str) -> list:
        parts = parts_of(
            f"algorithm={preset}", f"train.compile={mode}", "train.precision=fp32", "train.steps=20",
            "train.eval_every=10", "train.log_every=1", "daso.warmup_steps=8", "daso.update_every=4", "darp.every=2",
            "darp.goal=labeled", "protocol.generations=2", "imb.gamma_u=10", f"out_root={tmp_path}",
        )  # fmt: skip
        report = Losses()
        train(parts, State(), report, tmp_path / f"{mode}.pt", {})
        return report.kept

    for plain, graph in zip(rows("none"), rows("graph"), strict=True):
        assert plain.keys() == graph.keys()
        for name, value in plain.items():
            assert graph[name] == pytest.approx(value, rel=2e-3, abs=1e-4), name


class Losses(Rows):
    """The losses of every step."""

    def row(self, event, step, values):
        if event == "train":
            self.kept.append({name: value for name, value in values.items() if name.startswith("train/loss")})


def test_nothing_is_compiled_again_after_the_warm_up():
    parts = parts_of("algorithm=fixmatch_daso", "train.steps=200", "train.compile=graph")
    assert parts.engine.mode is Compile.graph
    take(parts, range(40))
    torch._dynamo.config.error_on_recompile = True
    try:
        take(parts, range(40, 140))
    finally:
        torch._dynamo.config.error_on_recompile = False


@pytest.mark.parametrize("mode", ["none", "graph"])
def test_a_deterministic_run_gives_the_same_bits_twice(mode):
    overrides = ("algorithm=fixmatch_daso", "train.steps=200", f"train.compile={mode}")
    assert losses(parts_of(*overrides), 60) == losses(parts_of(*overrides), 60)
