"""The store of decoded images: built once, whole or not there, and never taken for what it is not."""

import errno
import json
import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from PIL import Image

from daso.data.images import build, store
from daso.data.images.build import ready, refuse_broken
from daso.data.images.decode import Rule
from daso.data.images.store import Request, check, load, remove, stores
from daso.errors import UserError
from tests import pictures

FIT = Rule("fit", 16)
SIZES = [(30, 20), (20, 30), (40, 18), (12, 9), (25, 25), (33, 21), (16, 16)]


def requested(root, rule=FIT, count=7):
    """A request for pictures of every kind of size, which are written."""
    paths = [f"{k:02}.png" for k in range(count)]
    for k, path in enumerate(paths):
        root.mkdir(exist_ok=True)
        pictures.picture(k, *SIZES[k % len(SIZES)]).save(root / path)
    return Request(root, paths, [(root / path).stat().st_size for path in paths], rule)


@pytest.fixture
def request_(tmp_path):
    return requested(tmp_path / "photos")


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "store"


@pytest.fixture
def chunks_of_two(monkeypatch):
    monkeypatch.setattr(build, "CHUNK", 2)


def images(found):
    """Every image of a store."""
    pixels = found.map()
    return [pixels[a:b].reshape(*size, 3) for a, b, size in zip(found.start, found.ends, found.size)]


def expected(request):
    return [np.asarray(request.rule.render(Image.open(request.root / path))) for path in request.paths]


def assert_holds(found, request):
    assert len(found.size) == len(request.paths)
    for got, wanted in zip(images(found), expected(request)):
        assert_array_equal(got, wanted)


@pytest.mark.parametrize("rule", [FIT, Rule("centre", 16, 14), Rule("fit", 1000)])
def test_it_holds_every_image_as_its_rule_renders_it(folder, tmp_path, rule, chunks_of_two):
    request = requested(tmp_path / "photos", rule)
    assert_holds(ready(folder, request, threads=2), request)
    assert_holds(load(folder, request.key), request)
    assert not list(folder.glob("*.part"))


def test_number_of_threads_and_chunks_change_no_byte(tmp_path, request_, monkeypatch):
    contents = []
    for threads, chunk in ((1, 1024), (1, 3), (4, 2)):
        monkeypatch.setattr(build, "CHUNK", chunk)
        contents.append(ready(tmp_path / f"{threads}{chunk}", request_, threads=threads).pixels.read_bytes())
    assert len(set(contents)) == 1


def test_a_store_that_is_there_is_not_built_again(folder, request_, monkeypatch):
    ready(folder, request_)
    monkeypatch.setattr(build, "decode", None)
    ready(folder, request_)


def test_images_once_stored_are_needed_no_longer(folder, request_):
    ready(folder, request_)
    shutil.rmtree(request_.root)
    assert len(ready(folder, request_).size) == len(SIZES)


def test_another_rule_or_other_files_make_another_store(tmp_path, request_):
    others = [
        Request(request_.root, request_.paths, request_.bytes, Rule("fit", 17)),
        Request(request_.root, request_.paths, request_.bytes, Rule("centre", 16, 14)),
        Request(request_.root, request_.paths[1:], request_.bytes[1:], FIT),
        Request(request_.root, request_.paths, [request_.bytes[0] + 1, *request_.bytes[1:]], FIT),
    ]
    assert len({request_.key, *(other.key for other in others)}) == 5
    assert Request(tmp_path / "moved", request_.paths, request_.bytes, FIT).key == request_.key


def test_how_far_it_is_is_told(folder, request_, chunks_of_two):
    told = []
    ready(folder, request_, progress=lambda done, total: told.append((done, total)))
    assert told == [(0, 7), (2, 7), (4, 7), (6, 7), (7, 7)]


KILLED = """
import os, sys
from pathlib import Path
from daso.data.images import build
from daso.data.images.decode import Rule
from daso.data.images.store import Request
root, folder, after = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
paths = sorted(path.name for path in root.iterdir())
build.CHUNK = 2
build.ready(folder, Request(root, paths, [(root / path).stat().st_size for path in paths], Rule("fit", 16)),
            progress=lambda done, total: done >= after and os.kill(os.getpid(), 9))
"""


@pytest.mark.parametrize("after", [0, 4])
def test_a_killed_build_goes_on_where_it_was(folder, request_, monkeypatch, chunks_of_two, after):
    command = [sys.executable, "-c", KILLED, str(request_.root), str(folder), str(after)]
    assert subprocess.run(command, check=False).returncode == -9
    assert load(folder, request_.key) is None
    made, decode = [], build.decode
    monkeypatch.setattr(build, "decode", lambda path, size: made.append(path) or decode(path, size))
    assert_holds(ready(folder, request_), request_)
    assert len(made) == 7 - after


@pytest.mark.parametrize("damage", ["torn line", "no pixels", "short pixels", "torn head"])
def test_what_a_killed_build_left_is_used_only_where_it_fits(folder, request_, chunks_of_two, damage):
    class Killed(Exception): ...

    def kill(done, total):
        if done >= 4:
            raise Killed

    with pytest.raises(Killed):
        ready(folder, request_, progress=kill)
    (part,), (pixels,) = folder.glob("*.part"), folder.glob("*.u8")
    if damage == "torn line":
        part.write_text(part.read_text()[:-9])
    elif damage == "no pixels":
        pixels.unlink()
    elif damage == "short pixels":
        os.truncate(pixels, 100)
    else:
        part.write_text(part.read_text()[:9])
    assert_holds(ready(folder, request_), request_)


def test_of_two_that_build_at_once_one_builds_and_the_other_waits(folder, request_, monkeypatch, chunks_of_two):
    monkeypatch.setattr(build, "POLL", 0.01)
    made, decode, first_waits, second_saw = [], build.decode, threading.Event(), []

    def slow(path, size):
        made.append(path)
        if len(made) > 4:
            first_waits.wait(10)
        return decode(path, size)

    def seen(done, total):
        second_saw.append(done)
        if done:
            first_waits.set()

    monkeypatch.setattr(build, "decode", slow)
    first = threading.Thread(target=ready, args=(folder, request_))
    first.start()
    while len(made) < 3:
        pass
    assert_holds(ready(folder, request_, progress=seen), request_)
    first.join()
    assert sorted(path.name for path in made) == request_.paths
    assert max(second_saw) >= 2


def spoil(request):
    """Four of the seven files become unusable in the four ways that are seen at different times."""
    (request.root / "01.png").write_bytes(b"x" * request.bytes[1])  # no image at all
    content = bytearray((request.root / "03.png").read_bytes())
    content[80] ^= 255
    (request.root / "03.png").write_bytes(content)  # damaged inside
    (request.root / "04.png").unlink()
    (request.root / "06.png").write_bytes(b"")


def test_every_broken_file_is_found_and_the_others_are_kept(folder, request_, chunks_of_two):
    spoil(request_)
    found = ready(folder, request_, threads=2)
    reasons = {row: reason.split(" (")[0] for row, reason in found.broken.items()}
    assert reasons == {
        1: "is no image", 3: "is damaged", 4: "is not there",
        6: f"has 0 bytes, and had {request_.bytes[6]} when the index was made",
    }  # fmt: skip
    for row in (0, 2, 5):
        assert_array_equal(images(found)[row], np.asarray(FIT.render(Image.open(request_.root / request_.paths[row]))))


def test_broken_files_of_all_stores_are_refused_in_one_sentence_and_listed(folder, request_):
    spoil(request_)
    found = ready(folder, request_)
    with pytest.raises(UserError) as caught:
        refuse_broken([(found, request_), (found, request_)])
    listed = folder / f"{request_.key}.broken.csv"
    assert str(caught.value).startswith(
        f"8 of 14 images in {request_.root} cannot be used: 01.png is no image, 03.png is"
    )
    assert f"and others, all listed in {listed} and {listed}; mend or remove them, or leave them out" in str(
        caught.value
    )
    assert [line.split(",")[0] for line in listed.read_text().splitlines()] == [
        "path", "01.png", "03.png", "04.png", "06.png",
    ]  # fmt: skip


def test_a_whole_store_is_not_refused(folder, request_):
    refuse_broken([(ready(folder, request_), request_)])


def test_files_that_have_been_mended_are_stored_at_the_next_start(folder, request_):
    content = (request_.root / "01.png").read_bytes()
    spoil(request_)
    assert len(ready(folder, request_).broken) == 4
    assert len(ready(folder, request_).broken) == 4
    (request_.root / "01.png").write_bytes(content)
    again = ready(folder, request_)
    assert sorted(again.broken) == [3, 4, 6]
    assert_array_equal(images(again)[1], expected(Request(request_.root, ["01.png"], [0], FIT))[0])


def test_transparent_images_are_counted(folder, tmp_path):
    request = requested(tmp_path / "photos", count=3)
    image = pictures.picture(0).convert("RGBA")
    image.putalpha(7)
    image.save(request.root / "01.png")
    sizes = [(request.root / path).stat().st_size for path in request.paths]
    assert ready(folder, Request(request.root, request.paths, sizes, FIT)).transparent == 1


def test_a_disk_without_room_is_known_before_anything_is_written(folder, request_, monkeypatch):
    usage = shutil.disk_usage("/")._replace(free=1_000)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    with pytest.raises(UserError, match=r"dataset\.store=.* need 0\.0 MB there and 0\.0 MB are free; free some"):
        ready(folder, request_)
    assert not list(folder.glob("*.u8")) + list(folder.glob("*.part"))


@pytest.mark.parametrize("where", ["posix_fallocate", "pwrite"])
def test_a_disk_that_fills_up_ends_in_one_sentence_and_leaves_nothing_half(folder, request_, monkeypatch, where):
    def refuse(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, where, refuse)
    with pytest.raises(UserError, match=r"dataset\.store=.*: its disk is full; free some space or name another folder"):
        ready(folder, request_)
    assert [path.suffix for path in folder.iterdir()] == [".lock"]


def test_a_folder_that_cannot_be_written_is_named(tmp_path, request_):
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=r"dataset\.store=.*file/store is not possible: nothing can be written there"):
        ready(tmp_path / "file/store", request_)


@pytest.mark.parametrize("damage", ["version", "text", "pixels gone", "pixels short", "checksums"])
def test_a_store_that_is_not_what_it_should_be_is_named_with_the_remedy(folder, request_, damage):
    found = ready(folder, request_)
    told = folder / f"{request_.key}.json"
    content = json.loads(told.read_text())
    if damage == "version":
        told.write_text(json.dumps(content | {"format": 99}))
    elif damage == "text":
        told.write_text("{}")
    elif damage == "checksums":
        told.write_text(json.dumps(content | {"crc": content["crc"][:-1]}))
    elif damage == "pixels gone":
        found.pixels.unlink()
    else:
        os.truncate(found.pixels, 50)
    with pytest.raises(
        UserError, match=rf"remove it with python -m daso\.store remove dataset\.store=.* key={request_.key}"
    ):
        ready(folder, request_)


def test_changed_pixels_are_found_by_a_look_at_some_and_by_one_at_all(folder, request_):
    found = ready(folder, request_)
    check(found, request_, seed=0)
    assert found.damaged(range(7)) == []
    place = int(found.start[2]) + 5
    with found.pixels.open("r+b") as file:
        file.seek(place)
        file.write(bytes([found.map()[place] ^ 1]))
    assert found.damaged(range(7)) == [2]
    with pytest.raises(UserError, match=r"\.u8 is damaged \(image 02\.png in it is not what was written\)"):
        check(found, request_, seed=0)


def test_stores_are_listed_with_what_is_in_them(folder, request_, tmp_path, chunks_of_two):
    ready(folder, request_, of="labeled images of photos")
    other = requested(tmp_path / "photos", Rule("centre", 16, 14))
    with pytest.raises(ZeroDivisionError):
        ready(folder, other, progress=lambda done, total: 1 / (4 - done))
    whole, unfinished = sorted(stores(folder), key=lambda one: one.images == 0)
    assert (whole.key, whole.of, whole.rule, whole.images) == (request_.key, "labeled images of photos", FIT, 7)
    assert whole.state == "whole"
    assert whole.bytes == sum(image.nbytes for image in expected(request_))
    assert unfinished.key == other.key
    assert "not finished" in unfinished.state


def test_a_removed_store_is_gone_and_others_stay(folder, request_, tmp_path):
    other = requested(tmp_path / "photos", Rule("centre", 16, 14))
    ready(folder, request_), ready(folder, other)
    assert remove(folder, request_.key) >= sum(image.nbytes for image in expected(request_))
    assert load(folder, request_.key) is None
    assert [one.key for one in stores(folder)] == [other.key]
    with pytest.raises(UserError, match="there is no such store in"):
        remove(folder, request_.key)


def test_a_store_that_is_being_built_is_not_removed(folder, request_, chunks_of_two):
    def attempt(done, total):
        if done == 4:
            with pytest.raises(UserError, match="a process builds this store"):
                remove(folder, request_.key)

    assert_holds(ready(folder, request_, progress=attempt), request_)


def test_a_store_larger_than_four_gigabytes_has_64_bit_places(folder):
    size = np.array([[40_000, 40_000]] * 3)
    big = store.Store(Path(folder), "0" * 12, size, np.zeros(3, np.int64), {}, 0)
    assert big.start.tolist() == [0, 4_800_000_000, 9_600_000_000]
