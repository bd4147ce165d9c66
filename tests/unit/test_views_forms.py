"""The two forms of the views are one function, and the static one traces whole; normalisation; what a module owes."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from daso.data.views import Views, ViewSpec, draw
from daso.schema import DatasetConfig
from daso.types import View

MEAN, STD = (0.4914, 0.4822, 0.4465), (0.2471, 0.2435, 0.2616)


def spec_of(size: int, resolution: int, channels: int = 3) -> ViewSpec:
    return ViewSpec(
        size, resolution, channels, True, min(4, size - 1), min(16, size // 2), MEAN[:channels], STD[:channels]
    )


def images_of(n: int, spec: ViewSpec, seed: int = 0) -> torch.Tensor:
    shape = (n, spec.channels, spec.size, spec.size)
    return torch.from_numpy(np.random.RandomState(seed).randint(0, 256, shape).astype(np.uint8))


@given(seed=st.integers(0, 2**31), n=st.integers(1, 40), size=st.sampled_from([4, 8, 28, 32]),
       resolution=st.sampled_from([8, 32]), channels=st.sampled_from([1, 3]), view=st.sampled_from(list(View)))  # fmt: skip
def test_grouped_and_static_give_the_same_bytes(
    seed: int, n: int, size: int, resolution: int, channels: int, view: View
) -> None:
    spec = spec_of(size, resolution, channels)
    images, draws = images_of(n, spec, seed), draw(view, n, torch.Generator().manual_seed(seed), spec)
    grouped, static = (Views(spec, form).augment(images, view, draws) for form in ("grouped", "static"))
    assert torch.equal(grouped, static)


@pytest.mark.parametrize("view", list(View))
def test_the_static_form_traces_as_one_graph_for_all_draws(view: View) -> None:
    spec = spec_of(12, 8)
    views = Views(spec, "static")
    graphs = []

    def backend(graph, inputs):
        graphs.append(graph)
        return graph

    traced = torch.compile(views, fullgraph=True, dynamic=False, backend=backend)
    images = images_of(6, spec)
    for seed in range(4):
        draws = draw(view, 6, torch.Generator().manual_seed(seed), spec)
        expected = Views(spec)(images, view, draws, torch.float32)
        assert torch.equal(traced(images, view, draws, torch.float32), expected)
    assert len(graphs) == 1


@pytest.mark.parametrize("form", ["grouped", "static"])
@pytest.mark.parametrize("view", list(View))
def test_the_input_images_stay_as_they_are(view: View, form: str) -> None:
    spec = spec_of(32, 32)
    images = images_of(16, spec)
    before = images.clone()
    views = Views(spec, form)
    views(images, view, draw(view, 16, torch.Generator().manual_seed(0), spec), torch.float32)
    assert torch.equal(images, before)


def test_an_image_does_not_depend_on_its_neighbours_in_the_batch() -> None:
    spec = spec_of(32, 32)
    images, draws = images_of(16, spec), draw(View.STRONG, 16, torch.Generator().manual_seed(1), spec)
    views = Views(spec)
    whole = views.augment(images, View.STRONG, draws)
    alone = [
        views.augment(images[k : k + 1], View.STRONG, type(draws)(*(t[k : k + 1] for t in draws))) for k in range(16)
    ]
    assert torch.equal(whole, torch.cat(alone))


@pytest.mark.parametrize(
    ("dtype", "tolerance"), [(torch.float64, 1e-14), (torch.float32, 1e-6), (torch.bfloat16, 2e-2)]
)
def test_normalisation_subtracts_the_mean_and_divides_by_the_deviation(dtype: torch.dtype, tolerance: float) -> None:
    spec = spec_of(32, 32)
    images = torch.arange(256, dtype=torch.uint8).repeat(1, 3, 4).view(1, 3, 32, 32)
    got = Views(spec).normalise(images, dtype)
    mean, std = (np.array(v)[:, None, None] for v in (MEAN, STD))
    np.testing.assert_allclose(got.double(), (images.numpy() / 255 - mean) / std, rtol=0, atol=tolerance)
    assert got.dtype is dtype


def test_tables_are_no_part_of_the_state() -> None:
    assert not Views(spec_of(96, 32)).state_dict()


def test_a_spec_says_what_the_data_set_says() -> None:
    dataset = DatasetConfig(
        name="d", num_classes=2, class_size=9, channels=1, source_size=8, resolution=8, mean=[0.5], std=[0.25],
        flip=False, crop_pad=1, cutout=3,
    )  # fmt: skip
    assert ViewSpec.of(dataset) == ViewSpec(8, 8, 1, False, 1, 3, (0.5,), (0.25,))
