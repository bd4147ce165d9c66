import copy

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from daso.nn import ema
from daso.nn.net import Net
from daso.nn.wrn import WideResNet


def net(seed: int = 0) -> Net:
    made = Net(WideResNet(10, 1), 5)
    made.init(torch.Generator().manual_seed(seed))
    return made


def moved(seed: int = 1) -> Net:
    """A net whose running statistics and batch counts are not those of a fresh one."""
    made = net(seed)
    for _ in range(3):
        made.encode(torch.randn(4, 3, 8, 8, generator=torch.Generator().manual_seed(seed)))
    return made


@given(step=st.integers(0, 10**6), limit=st.floats(0, 0.9999))
def test_decay_is_the_smaller_of_ramp_and_limit(step: int, limit: float) -> None:
    assert float(ema.ema_decay(torch.tensor(step), limit)) == pytest.approx(min(step / (step + 1), limit), abs=1e-15)


def test_decay_is_a_device_scalar_in_double_precision() -> None:
    decay = ema.ema_decay(torch.tensor(3), 0.999)
    assert (decay.shape, decay.dtype) == ((), torch.float64)


def test_first_update_makes_the_teacher_an_exact_copy() -> None:
    student, teacher = moved(1), moved(2)
    ema.update(student, teacher, torch.tensor(0), 0.999)
    for a, b in zip(student.state_dict().values(), teacher.state_dict().values(), strict=True):
        assert torch.equal(a, b)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_parameters_and_running_statistics_are_averaged(dtype: torch.dtype) -> None:
    student, teacher = moved(1).to(dtype), moved(2).to(dtype)
    before = copy.deepcopy(teacher.state_dict())
    ema.update(student, teacher, torch.tensor(10_000), 0.9)
    for (name, old), new, seen in zip(before.items(), teacher.state_dict().values(), student.state_dict().values()):
        if "num_batches" not in name:
            torch.testing.assert_close(new, 0.9 * old + 0.1 * seen)


def test_batch_count_is_copied_as_an_integer() -> None:
    student, teacher = moved(1), net(2)
    ema.update(student, teacher, torch.tensor(50), 0.999)
    counts = [b for name, b in teacher.named_buffers() if "num_batches" in name]
    assert counts
    assert all(c == 3 and c.dtype == torch.int64 for c in counts)


def test_student_and_every_address_stay() -> None:
    student, teacher = moved(1), moved(2)
    before = copy.deepcopy(student.state_dict())
    addresses = [t.data_ptr() for t in teacher.state_dict().values()]
    ema.update(student, teacher, torch.tensor(7), 0.999)
    assert addresses == [t.data_ptr() for t in teacher.state_dict().values()]
    assert all(torch.equal(a, b) for a, b in zip(before.values(), student.state_dict().values(), strict=True))


def test_memory_format_of_the_two_may_differ() -> None:
    student, teacher = moved(1), moved(2).to(memory_format=torch.channels_last)
    expected = moved(2)
    for t in (teacher, expected):
        ema.update(student, t, torch.tensor(5), 0.9)
    assert all(torch.equal(a, b) for a, b in zip(teacher.parameters(), expected.parameters(), strict=True))


def test_grouped_gpu_form_agrees_with_the_cpu_form() -> None:
    sources, one = list(moved(1).double().parameters()), [p.detach() for p in moved(2).double().parameters()]
    other, weight = [t.clone() for t in one], torch.tensor(0.3, dtype=torch.float64)
    with torch.no_grad():
        ema.blend_one_by_one(one, sources, weight)
        ema.blend_grouped(other, sources, weight)
    for a, b in zip(one, other, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-14, atol=1e-14)


def test_update_traces_into_one_graph_and_never_again_as_steps_go_by() -> None:
    student, teacher, expected = moved(1), moved(2), moved(2)
    graphs = []

    def backend(graph: torch.fx.GraphModule, inputs: list[torch.Tensor]) -> object:
        graphs.append(graph)
        return graph.forward

    traced = torch.compile(ema.update, backend=backend, fullgraph=True, dynamic=False)
    for step in range(4):
        traced(student, teacher, torch.tensor(step), 0.9)
        ema.update(student, expected, torch.tensor(step), 0.9)
    assert len(graphs) == 1
    for a, b in zip(teacher.state_dict().values(), expected.state_dict().values(), strict=True):
        torch.testing.assert_close(a, b)
