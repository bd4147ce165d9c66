from pathlib import Path

import pytest
import torch


@pytest.fixture
def benchmark(monkeypatch):
    """The benchmark `step.py`, whose baseline is a second, plain implementation of the whole step."""
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2] / "benchmarks"))
    import step

    return step


def test_fixmatch_daso_equals_its_plain_implementation_over_several_steps(benchmark):
    """Loops over images, tensors and classes against the batched step: through warm-up, blend and alignment."""
    config = benchmark.make_config("wrn10_1", 4, benchmark.Precision.fp32)
    assert benchmark.compare(config, torch.float64, 5) < 1e-9


def test_a_difference_between_the_two_is_seen(benchmark):
    config = benchmark.make_config("wrn10_1", 4, benchmark.Precision.fp32)
    ours = benchmark.Ours(config, torch.float64)
    plain = benchmark.Official(ours)
    plain.step.queue.cap = 1
    differences = [benchmark.difference(benchmark.losses_of(ours, t), benchmark.losses_of(plain, t)) for t in range(4)]
    assert differences[0] < 1e-9
    assert differences[-1] > 1e-6
