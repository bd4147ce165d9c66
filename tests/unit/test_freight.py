"""Images of unequal size, resident or read ahead: the same bytes wherever they are and whatever was expected."""

import os
import time

import numpy as np
import pytest
import torch

from daso.data.freight import Freight
from daso.data.images.build import ready
from daso.data.images.decode import Rule
from daso.data.images.store import Request
from daso.data.ragged import Resident, Shelf
from daso.errors import RunFailed, UserError
from tests import pictures

CPU = torch.device("cpu")
SIZES = [(9 + k % 7, 5 + k % 11) for k in range(60)]  # width, height


@pytest.fixture(scope="module")
def stores(tmp_path_factory):
    """Sixty images of unequal size in two stores."""
    root = tmp_path_factory.mktemp("photos")
    paths = [f"{k:02}.png" for k in range(60)]
    for k, path in enumerate(paths):
        pictures.picture(k, *SIZES[k]).save(root / path)
    size = [(root / path).stat().st_size for path in paths]
    requests = [Request(root, paths[part], size[part], Rule("fit", 100)) for part in (slice(0, 25), slice(25, 60))]
    return [ready(root / "store", request) for request in requests]


@pytest.fixture
def freight(stores):
    made = Freight(Shelf.of(stores), 8, CPU)
    yield made
    made.close()


def image(images, start, row):
    height, width = images.size[row].tolist()
    return images.bytes[start : start + height * width * 3].view(height, width, 3).numpy()


def assert_holds(images, rows):
    start = images.load(rows)
    for place, row in zip(start.tolist(), rows.tolist()):
        np.testing.assert_array_equal(image(images, place, row), np.asarray(pictures.picture(row, *SIZES[row])))


def test_a_resident_image_is_that_of_its_file(stores):
    images = Resident(Shelf.of(stores), CPU)
    assert_holds(images, torch.arange(60))
    assert_holds(images, torch.tensor([59, 0, 24, 25, 25]))


def test_some_of_the_images_may_be_taken_in_any_order(stores):
    order = np.array([30, 3, 4, 5, 59, 24, 25])
    images = Resident(Shelf.of(stores).take(order), CPU)
    for place, row in zip(images.load(torch.arange(7)).tolist(), range(7)):
        expected = np.asarray(pictures.picture(int(order[row]), *SIZES[order[row]]))
        np.testing.assert_array_equal(image(images, place, row), expected)


def test_large_sets_are_read_in_pieces(stores, monkeypatch):
    monkeypatch.setattr("daso.data.ragged.PIECE", 100)
    assert_holds(Resident(Shelf.of(stores), CPU), torch.arange(60))


def test_images_are_brought_when_they_are_asked_for(freight):
    for step in range(5):
        assert_holds(freight, torch.randint(60, (8,), generator=torch.Generator().manual_seed(step)))


@pytest.mark.parametrize("ahead", [0, 1, 3])
@pytest.mark.parametrize("threads", [1, 4])
def test_a_right_and_a_wrong_guess_bring_the_same_bytes(stores, threads, ahead, monkeypatch):
    monkeypatch.setattr("daso.data.freight.LEAST", 2)
    made = Freight(Shelf.of(stores), 8, CPU, threads, ahead)
    draws = torch.Generator().manual_seed(0)
    steps = [torch.randint(60, (8,), generator=draws) for _ in range(30)]
    for step, rows in enumerate(steps):
        for following in steps[step + 1 : step + 1 + step % 5]:
            made.expect(following if step % 3 else (following + 1) % 60)
        assert_holds(made, rows)
    made.close()


def test_images_that_nobody_came_for_are_passed_over(stores, monkeypatch):
    made = Freight(Shelf.of(stores), 8, CPU, ahead=3)
    one, two, three = (torch.arange(8) + 10 * k for k in range(3))
    for rows in (one, two, three):
        made.expect(rows)
    monkeypatch.setattr(made, "_read", None)
    assert_holds(made, two)
    assert_holds(made, three)
    made.close()


def test_what_was_expected_and_right_is_not_read_again(freight, monkeypatch):
    rows = torch.tensor([3, 50, 7])
    freight.expect(rows)
    monkeypatch.setattr(freight, "_read", None)
    assert_holds(freight, rows)


def test_the_address_of_the_images_never_changes(freight):
    addresses = set()
    for step in range(5):
        freight.load(torch.arange(step, step + 8))
        addresses.add(freight.bytes.data_ptr())
    assert len(addresses) == 1


def test_the_room_is_enough_for_the_largest_images_again_and_again(freight):
    largest = int(torch.argmax(freight.size.prod(1)))
    assert_holds(freight, torch.full((8,), largest))


def test_fewer_images_than_a_step_s_may_be_asked_for(freight):
    assert_holds(freight, torch.tensor([5]))
    assert len(freight.load(torch.zeros(0, dtype=torch.int64))) == 0


def test_expecting_more_than_there_is_room_for_overwrites_nothing_that_is_needed(freight):
    rows = torch.arange(8)
    freight.load(rows)
    before = freight.bytes.clone()
    for step in range(7):
        freight.expect(torch.arange(step, step + 8))
    assert torch.equal(freight.bytes, before)
    assert_holds(freight, torch.arange(6, 14))


def test_the_time_that_steps_wait_is_known(freight, monkeypatch):
    read = freight._reader.read
    monkeypatch.setattr(freight._reader, "read", lambda *a: (time.sleep(0.02), read(*a)))
    freight.load(torch.tensor([1, 2]))
    assert freight.waited >= 0.03


def test_a_file_that_ends_too_early_is_named_at_the_step_that_needs_it(stores, tmp_path):
    short = tmp_path / "short.u8"
    short.write_bytes(stores[0].pixels.read_bytes()[:-10])
    shelf = Shelf.of(stores)
    made = Freight(shelf._replace(files=(short, shelf.files[1])), 8, CPU)
    made.expect(torch.tensor([24, 30]))
    assert_holds(made, torch.tensor([23, 30]))  # it was expected, but nobody came for it
    made.expect(torch.tensor([24, 30]))
    with pytest.raises(RunFailed, match=r"short\.u8 ends too early: remove its store, and it is built anew"):
        made.load(torch.tensor([24, 30]))
    with pytest.raises(RunFailed, match=r"short\.u8 ends too early"):
        Resident(made.shelf, CPU)
    made.close()


def test_a_file_that_is_not_there_is_named_before_the_first_step(stores, tmp_path):
    shelf = Shelf.of(stores)._replace(files=(tmp_path / "gone.u8", stores[1].pixels))
    open_before = len(os.listdir("/proc/self/fd"))
    for make in (lambda: Freight(shelf, 8, CPU), lambda: Resident(shelf, CPU)):
        with pytest.raises(UserError, match=r"gone\.u8 cannot be read \(No such file or directory\)"):
            make()
    assert len(os.listdir("/proc/self/fd")) == open_before
