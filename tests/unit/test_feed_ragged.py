"""Batches of images of unequal size: equal wherever the images are, and free of what a learner must not know."""

from functools import partial
from itertools import chain

import numpy as np
import pytest
import torch

from daso.data.feed import Feed
from daso.data.freight import Freight
from daso.data.images.build import ready
from daso.data.images.decode import Rule
from daso.data.images.store import Request
from daso.data.pool import RaggedPool
from daso.data.ragged import Resident, Shelf
from daso.data.streams import Stream, permutation_round
from daso.data.views import Views, ViewSpec
from daso.data.views.boxes import longest_box
from daso.train.rng import generator
from daso.types import Sizes, View
from tests import pictures

CPU = torch.device("cpu")
SPEC = ViewSpec(0, 12, 3, True, 0, 6, (0.5,) * 3, (0.25,) * 3, resized_crop=True)
LABELED, ALL = 20, 60


@pytest.fixture(scope="module")
def shelf(tmp_path_factory):
    root = tmp_path_factory.mktemp("photos")
    paths = [f"{k:02}.png" for k in range(ALL)]
    for k, path in enumerate(paths):
        pictures.picture(k, 14 + k % 9, 12 + k % 13).save(root / path)
    request = Request(root, paths, [(root / path).stat().st_size for path in paths], Rule("fit", 100))
    return Shelf.of([ready(root / "store", request)])


def feed_of(images, form="grouped", truth=None):
    labels = torch.arange(LABELED) % 4
    truth = torch.full((ALL - LABELED,), -1) if truth is None else truth
    nothing = torch.zeros(0, 3, 12, 12, dtype=torch.uint8)
    pool = RaggedPool(images, labels, truth, None, None, nothing, labels[:0], torch.bincount(labels))
    return Feed(
        pool=pool,
        views=Views(SPEC, form, longest_box(images.size)),
        unlabeled_views=(View.WEAK, View.STRONG),
        labeled=lambda y, phase: Stream(partial(generator, 0, f"labeled/{phase}"), permutation_round(len(y))),
        unlabeled=Stream(partial(generator, 0, "unlabeled"), permutation_round(ALL - LABELED)),
        sizes=Sizes(6, 9),
        generator=partial(generator, 0),
    )


def flat(batch):
    return [batch.x, batch.y, batch.idx, *batch.u]


def steps_of(feed, steps=range(12)):
    """Batches; the labeled set grows before step 5, as after a generation."""
    found = []
    for step in steps:
        if step == 5:
            feed.extend(torch.tensor([3, 8, 30]), torch.tensor([0, 1, 2]), phase=1, start=5)
        found.append(flat(feed(step)[0]))
    return found


def assert_same(one, other):
    assert all(torch.equal(a, b) for a, b in zip(chain(*one), chain(*other), strict=True))


@pytest.fixture(scope="module")
def expected(shelf):
    return steps_of(feed_of(Resident(shelf, CPU)))


def test_a_batch_holds_the_images_of_its_rows(shelf, expected):
    _, _, idx, weak, strong = expected[0]
    assert weak.shape == strong.shape == (9, 3, 12, 12)
    assert len(set(idx.tolist())) == 9
    feed = feed_of(Resident(shelf, CPU))
    given = feed.draw(0)
    box, flip = given["views/unlabeled/0/crop"], given["views/unlabeled/0/flip"]
    for k, row in enumerate(idx.tolist()):
        number = LABELED + row
        y, x, h, w = box[k].tolist()
        image = pictures.picture(number, 14 + number % 9, 12 + number % 13).crop((x, y, x + w, y + h))
        square = np.asarray(image.resize((12, h), 2).resize((12, 12), 2))
        shown = torch.from_numpy((square[:, ::-1] if flip[k] else square).copy()).permute(2, 0, 1)
        torch.testing.assert_close(weak[k], (shown / 255 - 0.5) / 0.25, rtol=0, atol=1e-6)


@pytest.mark.parametrize("ahead", [0, 1, 3])
@pytest.mark.parametrize("threads", [1, 4])
def test_images_read_ahead_give_the_batches_of_resident_ones(shelf, expected, threads, ahead):
    images = Freight(shelf, 15, CPU, threads, ahead)
    assert_same(steps_of(feed_of(images)), expected)
    images.close()


def test_both_forms_give_the_same_batches(shelf, expected):
    assert_same(steps_of(feed_of(Resident(shelf, CPU), form="static")), expected)


def test_a_guess_that_is_never_right_changes_nothing(shelf, expected):
    images = Freight(shelf, 15, CPU)
    expect = images.expect
    images.expect = lambda rows: expect((rows + 1) % ALL)
    assert_same(steps_of(feed_of(images)), expected)
    images.close()


def test_a_run_that_is_resumed_in_the_middle_is_fed_the_same(shelf, expected):
    images = Freight(shelf, 15, CPU)
    feed = feed_of(images)
    feed.extend(torch.tensor([3, 8, 30]), torch.tensor([0, 1, 2]), phase=1, start=5)
    assert_same([flat(feed(step)[0]) for step in range(8, 12)], expected[8:])
    images.close()


@pytest.mark.parametrize("ahead", [0, 1, 3])
def test_what_comes_next_is_read_while_the_step_runs_and_once(shelf, ahead, monkeypatch):
    images, asked = Freight(shelf, 15, CPU, ahead=ahead), []
    read = images._read
    monkeypatch.setattr(images, "_read", lambda rows: asked.append(rows.tolist()) or read(rows))
    feed, needed = feed_of(images), []
    for step in range(6):
        given = feed.draw(step)
        needed.append([*given["rows/labeled"].tolist(), *(given["rows/unlabeled"] + LABELED).tolist()])
        assert len(asked) == step + 1 + ahead
    assert asked[:6] == needed
    images.close()


@pytest.mark.parametrize("form", ["grouped", "static"])
def test_unlabeled_images_are_evaluated_by_their_central_square(shelf, form):
    for images in (Resident(shelf, CPU), Freight(shelf, 15, CPU)):
        feed = feed_of(images, form)
        rows = torch.arange(ALL - LABELED)
        plain = torch.cat([feed.plain(some) for some in torch.split(rows, 15)])
        assert plain.shape == (40, 3, 12, 12)
        for row in (0, 7, 39):
            number = LABELED + row
            width, height = 14 + number % 9, 12 + number % 13
            side = round(min(width, height) * 224 / 256)
            x, y = (width - side) // 2, (height - side) // 2
            image = pictures.picture(number, width, height).crop((x, y, x + side, y + side))
            square = np.asarray(image.resize((12, side), 2).resize((12, 12), 2))
            np.testing.assert_array_equal(plain[row].permute(1, 2, 0), square)


def test_the_truth_reaches_no_batch(shelf, expected):
    truth = torch.arange(ALL - LABELED) % 6 - 2
    feed = feed_of(Resident(shelf, CPU), truth=truth)
    assert_same(steps_of(feed), expected)
    batch, told = feed(11)
    assert torch.equal(told, truth[batch.idx])
    assert not any(name.startswith("truth") for name in feed.draw(0))
