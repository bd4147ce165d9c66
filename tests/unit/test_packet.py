"""What a step reads arrives unchanged, and always in the same place."""

from itertools import pairwise

import pytest
import torch

from daso.train.packet import ALIGNMENT, SLOTS, Packet

CPU = torch.device("cpu")


def given(seed: int) -> dict[str, torch.Tensor]:
    g = torch.Generator().manual_seed(seed)
    return {
        "flip": torch.rand(5, generator=g) < 0.5,
        "rows": torch.randint(99, (7,), generator=g),
        "nothing": torch.zeros(4, 0, dtype=torch.int64),
        "lam": torch.rand((), generator=g, dtype=torch.float64),
        "mask": torch.rand(3, 2, generator=g),
    }


def test_values_of_every_shape_and_type_arrive() -> None:
    packet = Packet(given(0), CPU)
    for seed in range(2 * SLOTS + 1):
        sent = packet.load(given(seed))
        for name, value in given(seed).items():
            assert torch.equal(sent[name], value)
            assert sent[name].dtype == value.dtype


def test_every_step_reads_the_same_addresses() -> None:
    packet = Packet(given(0), CPU)
    first = {name: value.data_ptr() for name, value in packet.load(given(1)).items()}
    second = {name: value.data_ptr() for name, value in packet.load(given(2)).items()}
    assert first == second


def test_tensors_are_aligned_and_apart() -> None:
    sent = Packet(given(0), CPU).tensors
    start = sent["flip"].data_ptr()
    ends = [(t.data_ptr() - start, t.data_ptr() - start + t.nbytes) for t in sent.values() if t.nbytes]
    assert all(begin % ALIGNMENT == 0 for begin, _ in ends)
    assert all(end <= begin for (_, end), (begin, _) in pairwise(ends))


def test_what_was_given_can_change_afterwards() -> None:
    packet, values = Packet(given(0), CPU), given(1)
    sent = packet.load(values)
    values["rows"].zero_()
    assert torch.equal(sent["rows"], given(1)["rows"])


@pytest.mark.parametrize("changed", [torch.zeros(7), torch.zeros(7, dtype=torch.int32)])
def test_a_value_of_another_type_is_no_value_of_this_step(changed: torch.Tensor) -> None:
    packet = Packet(given(0), CPU)
    with pytest.raises(AssertionError, match="rows changed its dtype"):
        packet.load(given(1) | {"rows": changed})
