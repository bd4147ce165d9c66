"""What torch.compile makes of a step: the plain one's numbers, and a cache that the next process finds."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch._dynamo.testing import CompileCounterWithBackend
from torch.utils._pytree import tree_leaves

from daso.data.views import Views, ViewSpec, draw
from daso.run.build import build, data_of
from daso.train.loop import evaluated, predictor
from daso.types import View
from tests.compose import config_of
from tests.graph.cpu_graph import CpuGraphs

ROOT = Path(__file__).resolve().parents[2]
CPU = torch.device("cpu")
TOLERANCE = 1e-9  # relative, in float64, over ten steps


def configured(mode, *overrides):
    return config_of(
        "experiment=quickstart", "track=none", f"train.compile={mode}", "train.batch_size=4", "imb.gamma_u=10",
        "daso.warmup_steps=4", "daso.update_every=2", *overrides,
    )  # fmt: skip


def built(mode, *overrides):
    config = configured(mode, *overrides)
    return build(config, CPU, *data_of(config), dtype=torch.float64)


def losses(parts, steps=10):
    rows = []
    for step in range(steps):
        parts.engine(parts.engine.draw(step, step, steps, 0.03), parts.method.flags(step))
        rows.append(parts.meters.read_train().get())
    return rows


@pytest.fixture(autouse=True)
def fresh():
    torch.compiler.reset()
    yield
    torch.compiler.reset()


@pytest.mark.parametrize("learner", ["fixmatch_daso", "remixmatch", "usadtm", "supervised"])
def test_making_a_batch_traces_whole_and_once(learner):
    config = config_of("experiment=quickstart", "track=none", f"algorithm={learner}")
    feed = build(config, CPU, *data_of(config), graphs=CpuGraphs()).feed
    graphs = CompileCounterWithBackend("eager")
    traced = torch.compile(feed.batch, backend=graphs, fullgraph=True, dynamic=False)
    for step in range(3):
        (batch, truth), (plain, plain_truth) = traced(feed.draw(step)), feed(step)
        assert all(torch.equal(a, b) for a, b in zip(tree_leaves(batch), tree_leaves(plain), strict=True))
        assert (truth is None) == (plain_truth is None)
    assert graphs.frame_count == 1


@pytest.mark.slow
def test_a_compiled_step_gives_the_plain_one_s_losses_in_both_phases():
    plain, compiled = losses(built("none")), losses(built("default"))
    for a, b in zip(compiled, plain, strict=True):
        assert a == pytest.approx(b, rel=TOLERANCE)


@pytest.mark.slow
def test_a_compiled_evaluation_gives_the_plain_one_s_logits():
    parts, plain = built("default"), built("none")
    images = parts.splits["test"][0]
    logits, expected = (predictor(p, evaluated(p))(images) for p in (parts, plain))
    torch.testing.assert_close(logits, expected, rtol=TOLERANCE, atol=1e-12)


@pytest.mark.slow
@pytest.mark.parametrize("view", [View.WEAK, View.STRONG, View.STRONG_LAST])
def test_compiled_views_give_the_plain_bytes(view):
    spec = ViewSpec(32, 32, 3, True, 4, 16, (0.5,) * 3, (0.25,) * 3)
    images = torch.randint(0, 256, (64, 3, 32, 32), generator=torch.Generator().manual_seed(0)).to(torch.uint8)
    compiled = torch.compile(Views(spec, "static").augment, fullgraph=True, dynamic=False)
    for seed in range(5):
        draws = draw(view, len(images), torch.Generator().manual_seed(seed), spec)
        assert torch.equal(compiled(images, view, draws), Views(spec).augment(images, view, draws))


PROGRAM = """
import json, os, sys, torch
from daso.machine.execution import configure_torch
from tests.graph.test_compiled import CPU, built, configured, losses
settings = "default", "out_root=" + sys.argv[1], "algorithm=supervised"
os.environ.pop("TORCHINDUCTOR_CACHE_DIR", None)  # which Inductor sets at its import, and for its children
configure_torch(configured(*settings), CPU)  # before anything asks Inductor for its cache, as a run does
parts = built(*settings)
losses(parts, 2)
print(json.dumps(torch._dynamo.utils.counters["inductor"]))
"""


@pytest.mark.slow
def test_what_one_job_compiled_the_next_one_finds(tmp_path):
    def job():
        command = [sys.executable, "-c", PROGRAM, str(tmp_path)]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
        return json.loads(done.stdout.splitlines()[-1])

    first, second = job(), job()
    assert first["fxgraph_cache_miss"] > 0
    assert second.get("fxgraph_cache_miss", 0) == 0
    assert second["fxgraph_cache_hit"] > 0
