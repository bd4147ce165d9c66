"""What only a GPU can show. The same kernels are compared bit for bit; other kernels over one step, for then a rounding
has not yet made a pseudo-label another one.
"""

import pytest
import torch
from torch.utils._pytree import tree_leaves

from daso.machine.execution import configure_torch
from daso.run.build import build, data_of
from daso.schema import Compile
from daso.train.capture import CudaGraphs
from daso.train.loop import State, train
from tests.graph.presets import CORE, PRESETS, brief
from tests.graph.test_first_step import FIRST_STEP
from tests.training import Rows

pytestmark = pytest.mark.gpu
CUDA = torch.device("cuda")


@pytest.fixture(autouse=True)
def fresh():
    torch.compiler.reset()
    yield
    torch.compiler.reset()


def parts_of(preset, out_root, *overrides, graphs=None):
    config = brief(preset, out_root, "device=cuda", "train.precision=fp32", *overrides)
    configure_torch(config, CUDA)
    return build(config, CUDA, *data_of(config), graphs=graphs)


def take(parts, steps: range) -> None:
    for step in steps:
        parts.engine(parts.engine.draw(step, step, 1000, 0.03), parts.method.flags(step))


def losses(parts, steps: int) -> dict[str, float]:
    take(parts, range(steps))
    return {name: value for name, value in parts.meters.read_train().get().items() if name.startswith("loss")}


def outcome(parts, out_root) -> tuple[list, list[str]]:
    """Rows of a whole run, and everything that its checkpoint would hold."""
    rows, state = Rows(), State()
    train(parts, state, rows, out_root / "checkpoint.pt", {})
    saved = tree_leaves(state.pack(parts) | {"seconds": 0, "run_key": ""})
    return rows.kept, [str(leaf.tolist() if isinstance(leaf, torch.Tensor) else leaf) for leaf in saved]


@pytest.mark.parametrize("mode", ["none", "graph"])
@pytest.mark.parametrize("preset", ["fixmatch", "fixmatch_daso"])
def test_a_hundred_steps_never_wait_for_the_device(preset, mode, tmp_path):
    parts = parts_of(preset, tmp_path, "train.steps=200", f"train.compile={mode}")
    take(parts, range(40))  # past the warm-up of DASO and the recording of both phases
    torch.cuda.set_sync_debug_mode("error")
    try:
        take(parts, range(40, 140))
    finally:
        torch.cuda.set_sync_debug_mode("default")


@pytest.mark.parametrize("preset", PRESETS)
def test_recorded_steps_give_the_plain_loop_s_bits(preset, tmp_path):
    plain = outcome(parts_of(preset, tmp_path, "train.compile=none"), tmp_path)
    recorded = outcome(parts_of(preset, tmp_path, "train.compile=none", graphs=CudaGraphs(CUDA)), tmp_path)
    assert recorded == plain


@pytest.mark.parametrize("preset", CORE)
def test_recorded_compiled_steps_give_the_compiled_loop_s_bits(preset, tmp_path):
    compiled = outcome(parts_of(preset, tmp_path, "train.compile=default"), tmp_path)
    recorded = outcome(parts_of(preset, tmp_path, "train.compile=graph"), tmp_path)
    assert recorded == compiled


@pytest.mark.parametrize("preset", CORE)
def test_a_first_compiled_step_gives_the_plain_one_s_losses(preset, tmp_path):
    plain = losses(parts_of(preset, tmp_path, "train.compile=none"), 1)
    assert losses(parts_of(preset, tmp_path, "train.compile=default"), 1) == pytest.approx(plain, **FIRST_STEP)


def test_nothing_is_compiled_again_after_the_warm_up(tmp_path):
    parts = parts_of("fixmatch_daso", tmp_path, "train.steps=200", "train.compile=graph")
    assert parts.engine.mode is Compile.graph
    take(parts, range(40))
    torch._dynamo.config.error_on_recompile = True
    try:
        take(parts, range(40, 140))
    finally:
        torch._dynamo.config.error_on_recompile = False


@pytest.mark.parametrize("mode", ["none", "graph"])
def test_a_deterministic_run_gives_the_same_bits_twice(mode, tmp_path):
    overrides = ("fixmatch_daso", tmp_path, "train.steps=200", f"train.compile={mode}")
    assert losses(parts_of(*overrides), 60) == losses(parts_of(*overrides), 60)
