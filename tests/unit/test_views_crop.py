"""The random resized crop: its boxes against torchvision, its pixels against Pillow, its two forms against each other."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_array_equal
from PIL import Image, ImageOps
from scipy.stats import chi2_contingency, kstest, uniform
from torchvision.transforms import RandomResizedCrop

from daso.data.views import Views, ViewSpec, draw
from daso.data.views.boxes import central_boxes, longest_box, random_boxes
from daso.data.views.crop import Ragged, ResizedCrop
from daso.data.views.resize import taps
from daso.types import View


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def noise(sizes, seed=0):
    random = np.random.RandomState(seed)
    return [random.randint(0, 256, (*size, 3), dtype=np.uint8) for size in sizes]


def ragged(images, gap=0):
    """The images back to back, `gap` bytes between them."""
    buffer = np.concatenate([np.concatenate([image.ravel(), np.zeros(gap, np.uint8)]) for image in images])
    start = np.cumsum([0, *(image.size + gap for image in images[:-1])])
    size = torch.tensor([image.shape[:2] for image in images])
    return Ragged(torch.from_numpy(buffer), torch.from_numpy(start), size)


def by_pillow(image, box, flip, side):
    """Crop, then resize along x, then along y, then mirror."""
    y, x, h, w = box.tolist()
    cut = Image.fromarray(image).crop((x, y, x + w, y + h))
    square = cut.resize((side, h), Image.Resampling.BILINEAR).resize((side, side), Image.Resampling.BILINEAR)
    return np.moveaxis(np.asarray(ImageOps.mirror(square) if flip else square), -1, 0)


def both_forms(images, side):
    size = torch.tensor([image.shape[:2] for image in images])
    return ResizedCrop(side), ResizedCrop(side, longest_box(size), "static")


def assert_equals_pillow(images, box, flip, side):
    source = ragged(images)
    expected = np.stack([by_pillow(*one, side) for one in zip(images, box, flip.tolist())])
    for crop in both_forms(images, side):
        assert_array_equal(crop(source, box, flip), expected, crop.form)


@given(
    sizes=st.lists(st.tuples(st.integers(1, 90), st.integers(1, 90)), min_size=1, max_size=12),
    side=st.integers(1, 40),
    seed=st.integers(0, 1000),
)
def test_any_box_of_any_image_equals_pillow(sizes, side, seed):
    box, draws = random_boxes(torch.tensor(sizes), generator(seed)), generator(seed + 1)
    assert_equals_pillow(noise(sizes, seed), box, torch.rand(len(sizes), generator=draws) < 0.5, side)


@pytest.mark.parametrize("side", [5, 32])
def test_boxes_at_the_borders_of_what_there_is_equal_pillow(side):
    """Whole images, single pixels, single lines, the corners, an aspect of 8."""
    whole = [(20, 160), (60, 40), (1, 1), (33, 1)]
    images = noise([*whole, *[(30, 40)] * 6])
    boxes = [(0, 0, h, w) for h, w in whole]
    boxes += [(0, 0, 1, 1), (29, 39, 1, 1), (0, 39, 30, 1), (29, 0, 1, 40), (0, 0, 9, 12), (21, 28, 9, 12)]
    box, flip = torch.tensor(boxes), torch.arange(len(images)) % 2 == 0
    static = ResizedCrop(side, 160, "static")
    expected = np.stack([by_pillow(*one, side) for one in zip(images, box, flip.tolist())])
    assert_array_equal(static(ragged(images), box, flip), expected)
    assert_array_equal(ResizedCrop(side)(ragged(images), box, flip), expected)


def test_five_hundred_random_boxes_equal_pillow():
    sizes = [(h, w) for h, w in np.random.RandomState(3).randint(30, 130, (25, 2)).tolist()] * 20
    box = random_boxes(torch.tensor(sizes), generator(5))
    images = noise(sizes[:25])
    source = ragged(images)
    start, size = source.start.repeat(20), source.size.repeat(20, 1)
    flip = torch.rand(500, generator=generator(6)) < 0.5
    static = ResizedCrop(24, longest_box(size), "static")
    got = static(Ragged(source.bytes, start, size), box, flip)
    for k in range(500):
        assert_array_equal(got[k], by_pillow(images[k % 25], box[k], bool(flip[k]), 24))


@pytest.mark.parametrize("side", [7, 32])
def test_extreme_pixels_are_not_wrapped(side):
    images = [np.full((50, 70, 3), value, np.uint8) for value in (0, 255)]
    images.append(np.kron(np.indices((50, 70)).sum(0)[..., None] % 2, np.ones(3)).astype(np.uint8) * 255)
    assert_equals_pillow(images, random_boxes(torch.tensor([[50, 70]] * 3), generator()), torch.zeros(3).bool(), side)


def test_an_image_depends_on_no_byte_beside_its_own():
    images = noise([(20, 30), (9, 12)])
    box, flip = torch.tensor([[0, 4, 20, 26], [0, 0, 9, 12]]), torch.tensor([False, True])
    for crop in both_forms(images, 16):
        assert torch.equal(crop(ragged(images), box, flip), crop(ragged(images, gap=7), box, flip))


def test_many_images_are_taken_in_parts_without_a_seam():
    sizes = [(9 + k % 7, 8 + k % 5) for k in range(70)]
    box = random_boxes(torch.tensor(sizes), generator())
    assert_equals_pillow(noise(sizes), box, torch.arange(70) % 3 == 0, 8)


def test_the_weights_are_integers_that_sum_to_one_in_fixed_point():
    for size in (1, 2, 31, 32, 33, 100, 511):
        first, weight = taps(size, 32)
        assert weight.dtype == np.int32
        assert np.abs(weight.sum(1) - 2**22).max() <= weight.shape[1]
        assert (first >= 0).all()
        assert (first < size).all()


def test_the_static_form_is_one_graph_for_all_boxes():
    images = noise([(20, 30), (31, 22)])
    grouped, static = both_forms(images, 8)
    graphs = []

    def backend(graph, inputs):
        graphs.append(graph)
        return graph

    torch._dynamo.reset()
    traced = torch.compile(static, fullgraph=True, dynamic=False, backend=backend)
    source = ragged(images)
    for seed in range(3):
        box, flip = random_boxes(source.size, generator(seed)), torch.tensor([True, False])
        assert torch.equal(traced(source, box, flip), grouped(source, box, flip))
    assert len(graphs) == 1
    torch._dynamo.reset()


def test_tables_are_no_part_of_the_state():
    assert not ResizedCrop(8, 30, "static").state_dict()


SHAPES = [(100, 100), (80, 120), (96, 64), (60, 200)]


@pytest.mark.parametrize("shape", SHAPES)
def test_boxes_are_distributed_as_torchvision_s(shape):
    count = 10_000
    own = random_boxes(torch.tensor([shape] * count), generator(1)).numpy()
    torch.manual_seed(2)
    image = torch.empty(3, *shape)
    theirs = np.array([RandomResizedCrop.get_params(image, (0.08, 1.0), (3 / 4, 4 / 3)) for _ in range(count)])
    assert_same_distribution(*(box[:, 2] * box[:, 3] for box in (own, theirs)))
    assert_same_distribution(*(np.log(box[:, 3] / box[:, 2]) for box in (own, theirs)))
    for axis in (0, 1):
        assert_same_distribution(*(box[:, axis] for box in (own, theirs)))


def assert_same_distribution(own, theirs, bins=20):
    edges = np.unique(np.quantile(theirs, np.linspace(0, 1, bins + 1)))
    edges[-1] += 1
    counts = np.array([np.histogram(values, edges)[0] for values in (own, theirs)])
    assert counts.sum() >= 0.999 * 2 * len(own)
    assert chi2_contingency(counts[:, counts.sum(0) > 0]).pvalue > 1e-3


def test_every_box_lies_in_its_image_and_is_no_longer_than_the_tables():
    size = torch.tensor([(h, w) for h in (1, 2, 3, 7, 40, 300) for w in (1, 2, 3, 7, 40, 300)] * 50)
    box = random_boxes(size, generator())
    assert (box[:, :2] >= 0).all()
    assert (box[:, 2:] >= 1).all()
    assert (box[:, :2] + box[:, 2:] <= size).all()
    for one, boxes in zip(size[:36], box.view(50, 36, 4).transpose(0, 1)):
        assert boxes[:, 2:].max() <= longest_box(one[None])
        assert central_boxes(one[None])[0, 2:].max() <= longest_box(one[None])


@pytest.mark.parametrize(("shape", "box"), [((10, 100), [0, 43, 10, 13]), ((100, 10), [43, 0, 13, 10])])
def test_where_no_box_fits_the_largest_in_the_middle_is_taken(shape, box):
    """An image so long that of ten boxes hardly one fits; torchvision's rule for the rest."""
    boxes = random_boxes(torch.tensor([shape] * 2000), generator())
    assert (boxes == torch.tensor(box)).all(1).float().mean() > 0.3


def test_how_many_random_numbers_are_drawn_depends_on_no_size():
    states = []
    for shape in SHAPES:
        used = generator(9)
        random_boxes(torch.tensor([shape] * 4), used)
        states.append(used.get_state())
    assert all(torch.equal(state, states[0]) for state in states)


def test_the_place_of_a_box_is_uniform_over_the_room_it_has():
    box = random_boxes(torch.tensor([[10_000, 10_000]] * 5000), generator(4)).double()
    free = 10_000 - box[:, 2:]
    roomy = free[:, 0] > 1000
    assert kstest((box[:, 0] / free[:, 0])[roomy].numpy(), uniform.cdf).pvalue > 1e-3


@pytest.mark.parametrize("shape", [(256, 384), (384, 256), (100, 37), (1, 9)])
def test_the_evaluation_view_shows_the_central_square(shape):
    y, x, h, w = central_boxes(torch.tensor([shape]))[0].tolist()
    side = max(round(min(shape) * 224 / 256), 1)
    assert (y, x, h, w) == ((shape[0] - side) // 2, (shape[1] - side) // 2, side, side)


SPEC = ViewSpec(0, 16, 3, True, 0, 8, (0.5,) * 3, (0.25,) * 3, resized_crop=True)


def views_of(sizes, spec=SPEC):
    longest = longest_box(torch.tensor(sizes))
    return Views(spec), Views(spec, "static", longest)


@pytest.mark.parametrize("view", list(View))
def test_every_view_of_unequal_images_has_the_same_bytes_in_both_forms(view):
    sizes = [(20, 30), (41, 17), (16, 16), (9, 60)] * 4
    source, draws = ragged(noise(sizes)), draw(view, 16, generator(3), SPEC, torch.tensor(sizes))
    grouped, static = (views.augment(source, view, draws) for views in views_of(sizes))
    assert grouped.shape == (16, 3, 16, 16)
    assert torch.equal(grouped, static)


def test_a_strong_view_is_the_weak_one_augmented_as_square_images_are():
    sizes = [(20, 30), (41, 17)] * 8
    source, draws = ragged(noise(sizes)), draw(View.STRONG, 16, generator(4), SPEC, torch.tensor(sizes))
    views, _ = views_of(sizes)
    weak = views.augment(source, View.WEAK, draws)
    square = ViewSpec(16, 16, 3, False, 0, 8, (0.5,) * 3, (0.25,) * 3)
    stay = draws._replace(flip=torch.zeros(16, dtype=torch.bool), crop=torch.zeros(16, 2, dtype=torch.int64))
    assert torch.equal(views.augment(source, View.STRONG, draws), Views(square).augment(weak, View.STRONG, stay))


def test_many_pixels_are_augmented_in_parts_without_a_seam(monkeypatch):
    sizes = [(20, 30), (41, 17)] * 8
    source, draws = ragged(noise(sizes)), draw(View.STRONG, 16, generator(5), SPEC, torch.tensor(sizes))
    whole = [views.augment(source, View.STRONG, draws) for views in views_of(sizes)]
    monkeypatch.setattr("daso.data.views.views.PIXELS_AT_ONCE", 5 * 16 * 16)
    parts = [views.augment(source, View.STRONG, draws) for views in views_of(sizes)]
    assert all(torch.equal(a, b) for a, b in zip(whole, parts))


def test_the_identity_view_shows_the_central_square_and_draws_no_number():
    used = generator(6)
    before = used.get_state()
    size = torch.tensor([(20, 30), (41, 17)])
    draws = draw(View.IDENTITY, 2, used, SPEC, size)
    assert torch.equal(draws.crop, central_boxes(size))
    assert not draws.flip.any()
    assert torch.equal(used.get_state(), before)


def test_views_of_unequal_images_trace_as_one_graph():
    sizes = [(20, 30), (41, 17)]
    grouped, static = views_of(sizes)
    torch._dynamo.reset()
    traced = torch.compile(static, fullgraph=True, dynamic=False, backend="eager")
    source = ragged(noise(sizes))
    for view in (View.WEAK, View.STRONG):
        draws = draw(view, 2, generator(7), SPEC, source.size)
        expected = grouped(source, view, draws, torch.float32)
        assert torch.equal(traced(source, view, draws, torch.float32), expected)
    torch._dynamo.reset()
