"""Semi-Aves in the form of its lists and in that of the challenge, on a tiny tree."""

import json
import os
import random
from pathlib import Path

import pytest

from daso.data.images import index_of
from daso.data.images.semi_aves import SHA256, read
from daso.errors import UserError
from tests import pictures

TRAIN = [("7", 0), ("7", 1), ("7", 2), ("12", 0), ("12", 1), ("3", 0)]
VALID = [("3", 30), ("7", 30), ("12", 30)]
TEST = {0: "3", 1: "12", 2: "7", 10: "3"}
INSIDE = {0: "7", 1: "12", 2: "7", 10: "3"}
OUTSIDE = {0: "201", 1: "950"}


def labeled(pairs):
    return [(f"trainval_images/{label}/{n}.jpg", label) for label, n in pairs]


def numbered(folder, labels):
    return [(f"{folder}/{n}.jpg", label) for n, label in labels.items()]


def write_images(root):
    lines = [*labeled(TRAIN + VALID), *numbered("test", TEST), *numbered("u_train_in", INSIDE)]
    return pictures.write(root, *(path for path, _ in lines + numbered("u_train_out", OUTSIDE)), width=22)


def write_lists(home, oracle=True):
    home.mkdir(parents=True, exist_ok=True)
    unlabeled = {"u_train_in": numbered("u_train_in", INSIDE), "u_train_out": numbered("u_train_out", OUTSIDE)}
    lists = {"l_train": labeled(TRAIN), "val": labeled(VALID), "test": numbered("test", TEST)}
    lists["l_train_val"] = sorted(labeled(TRAIN + VALID))
    for name, lines in unlabeled.items():
        lists[name] = [(path, "-1") for path, _ in lines]
        if oracle:
            lists[f"{name}_oracle"] = sorted(lines, key=lambda line: int(line[1]))
    for name, lines in lists.items():
        (home / f"{name}.txt").write_text("".join(f"{path} {label}\n" for path, label in lines))


def write_annotations(home):
    (home / "annotation").mkdir(parents=True)
    sets = {"l_train": labeled(TRAIN), "val": labeled(VALID), "test": numbered("test", dict.fromkeys(TEST))}
    sets |= {"u_train_in": numbered("u_train_in", dict.fromkeys(INSIDE, -1))}
    sets |= {"u_train_out": numbered("u_train_out", dict.fromkeys(OUTSIDE, -1))}
    for name, lines in sets.items():
        images = [{"id": 100 + k, "file_name": path, "width": 22, "height": 20} for k, (path, _) in enumerate(lines)]
        truth = [
            {"id": k, "image_id": 100 + k, "category_id": int(label)} for k, (_, label) in enumerate(lines) if label
        ]
        (home / f"annotation/anno_{name}.json").write_text(json.dumps({"images": images, "annotations": truth}))
        (home / f"annotation/._anno_{name}.json").write_bytes(b"\0Mac OS X")
    answers = "".join(f"{n},{label}\n" for n, label in TEST.items())
    (home / "solution.csv").write_text(f"Id,Category\n{answers}")


@pytest.fixture
def root(tmp_path):
    write_images(tmp_path / "semi_aves")
    write_lists(tmp_path / "semi_aves")
    return tmp_path


def rows(index, name):
    return [index.paths[row] for row in index.rows(name)]


def test_labeled_are_training_and_validation_images_and_the_classes_are_renumbered_by_their_number(root):
    index = index_of(read(root))
    assert index.original == ("7", "12", "3")
    assert index.counts("labeled").tolist() == [4, 3, 2]
    assert rows(index, "labeled")[:3] == [f"trainval_images/{path}.jpg" for path in ("3/0", "3/30", "7/0")]
    assert len(index.rows("valid")) == 0


def test_equal_classes_are_in_the_order_of_their_numbers(root):
    two_each = [line for line in labeled(TRAIN + VALID) if line[0].split("/")[2] in ("0.jpg", "30.jpg")]
    (root / "semi_aves/l_train_val.txt").write_text("".join(f"{path} {label}\n" for path, label in two_each))
    assert index_of(read(root)).original == ("3", "7", "12")


def test_both_forms_give_the_same_index(root, tmp_path_factory):
    other = write_images(tmp_path_factory.mktemp("challenge"))
    write_annotations(other)
    lists, annotations = (index_of(read(place, "in_out")) for place in (root, other))
    assert annotations.checksum == lists.checksum
    assert annotations.paths == lists.paths
    assert annotations.truth.tolist() == [-1] * 4 + [-2] * 2


def test_file_names_of_the_challenge_may_lack_their_folder(tmp_path):
    write_annotations(write_images(tmp_path))
    before = index_of(read(tmp_path))
    path = tmp_path / "annotation/anno_test.json"
    path.write_text(path.read_text().replace("test/", ""))
    assert index_of(read(tmp_path)).paths == before.paths


def test_unlabeled_images_are_in_the_order_of_their_numbers_whatever_the_lists_order(root):
    home = root / "semi_aves"
    before = index_of(read(root))
    assert rows(before, "unlabeled") == [f"u_train_in/{n}.jpg" for n in (0, 1, 2, 10)]
    os.replace(home / "u_train_in_oracle.txt", home / "u_train_in.txt")
    after = index_of(read(root))
    assert after.paths == before.paths
    assert after.truth.tolist() == before.truth.tolist()


def test_the_oracle_tells_the_truth_and_photos_of_other_species_are_of_no_class(root):
    index = index_of(read(root, "in_out"))
    assert [index.original[k] for k in index.truth[:4]] == ["7", "12", "7", "3"]
    assert index.truth[4:].tolist() == [-2, -2]
    assert index.parts == (("labeled", 9), ("unlabeled", 4), ("unlabeled", 2), ("test", 4))


def test_without_the_oracle_the_truth_is_unknown_but_for_the_other_species(root):
    for path in (root / "semi_aves").glob("*_oracle.txt"):
        path.unlink()
    assert index_of(read(root, "in_out")).truth.tolist() == [-1] * 4 + [-2] * 2


def test_the_other_species_are_wanted_only_where_they_are_used(root):
    (root / "semi_aves/u_train_out").rename(root / "elsewhere")
    assert len(index_of(read(root)).rows("unlabeled")) == 4
    with pytest.raises(UserError, match=r"u_train_out lie neither in .*semi_aves nor in .*: unpack the four archives"):
        read(root, "in_out")


def test_the_images_may_lie_one_folder_above_the_lists(root):
    before = index_of(read(root)).checksum
    for folder in ("trainval_images", "u_train_in", "u_train_out", "test"):
        (root / "semi_aves" / folder).rename(root / folder)
    assert index_of(read(root)).checksum == before
    assert index_of(read(root / "semi_aves")).checksum == before


def test_species_have_their_names(root):
    (root / "semi_aves/semi_aves_class_names.txt").write_text("3 Larus_fuscus\n7 Anas_acuta\n12 Ara_ararauna\n")
    assert index_of(read(root)).names == ("Anas_acuta", "Ara_ararauna", "Larus_fuscus")


def test_names_and_truth_that_come_later_are_noticed(tmp_path):
    write_lists(tmp_path / "semi_aves", oracle=False)
    write_images(tmp_path)
    watched = read(tmp_path).watched
    (tmp_path / "semi_aves/u_train_in_oracle.txt").write_text("")
    (tmp_path / "semi_aves/semi_aves_class_names.txt").write_text("")
    assert {path.name for path in watched} >= {"u_train_in_oracle.txt", "semi_aves_class_names.txt"}


def test_lists_that_are_not_the_published_ones_are_remarked_upon(root):
    assert sum("is not the published list" in note for note in read(root, "in_out").notes) == 4


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        ("l_train_val.txt", "trainval_images/3/0.jpg 200\n", "l_train_val.txt, line 1, is not possible: 200 is no class"),
        ("test.txt", "test/0.jpg 3\ntest/1.jpg\n", "test.txt, line 2, is not possible: nothing is no class"),
        ("test.txt", "test/0.jpg 3\ntest/1.jpg 4\n", "test.txt, line 2, is not possible: test/1.jpg is of class 4, and there "
         "are no labeled images of it"),
        ("test.txt", "test/0.jpg 3\ntest/77.jpg 3\n", "test.txt, line 2, is not possible: test/77.jpg is not there"),
    ],
)  # fmt: skip
def test_lists_that_cannot_be_used_end_in_one_sentence(root, name, text, says):
    (root / "semi_aves" / name).write_text(text)
    with pytest.raises(UserError, match=says):
        index_of(read(root))


def test_missing_lists_and_answers_are_named(root):
    (root / "semi_aves/test.txt").unlink()
    with pytest.raises(UserError, match=r"there is neither test\.txt nor annotation/anno_test\.json in it"):
        read(root)
    with pytest.raises(
        UserError,
        match=r"needs its lists \(l_train_val\.txt, annotation/anno_l_train\.json\), which are neither in .*: unpack the .*"
        r" the lists of cvl-umass/ssl-evaluation into .*elsewhere/semi_aves",
    ):
        read(root / "elsewhere")


def test_test_images_of_the_challenge_need_their_answers(tmp_path):
    write_annotations(write_images(tmp_path))
    (tmp_path / "solution.csv").unlink()
    with pytest.raises(UserError, match=r"there is neither test\.txt nor solution\.csv in it"):
        read(tmp_path)


@pytest.mark.parametrize("text", ["{", "[]", '{"images": [{"id": 1, "file_name": ""}], "annotations": []}'])
def test_damaged_annotations_are_named(tmp_path, text):
    write_annotations(write_images(tmp_path))
    (tmp_path / "annotation/anno_val.json").write_text(text)
    with pytest.raises(
        UserError, match=r"anno_val\.json is not possible: it is no list of images and annotations in JSON"
    ):
        read(tmp_path)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"Id,Category\n0,200\n", r"solution\.csv, line 2, is not possible: 200 is no class of test/0\.jpg"),
        (b"Id,Category\n0\n", r"solution\.csv, line 2, is not possible: nothing is no class of test/0\.jpg"),
        (b"Id,Category\n", r"solution\.csv is not possible: nothing is no class of test/0\.jpg"),
        (b"\xff\xfe", r"solution\.csv is not possible: it is no text in UTF-8"),
    ],
)
def test_answers_that_cannot_be_used_are_named_by_their_line(tmp_path, content, says):
    write_annotations(write_images(tmp_path))
    (tmp_path / "solution.csv").write_bytes(content)
    with pytest.raises(UserError, match=says):
        read(tmp_path)


def test_shuffled_lists_give_the_same_index(root):
    before = index_of(read(root, "in_out"))
    for path in (root / "semi_aves").glob("*.txt"):
        lines = path.read_text().splitlines()
        random.Random(1).shuffle(lines)
        path.write_text("\n".join(lines))
    after = index_of(read(root, "in_out"))
    assert (after.paths, after.truth.tolist()) == (before.paths, before.truth.tolist())


LISTS = os.environ.get("DASO_SEMI_AVES_LISTS")


@pytest.mark.skipif(not LISTS, reason="DASO_SEMI_AVES_LISTS names no folder of the published lists")
def test_the_published_lists_hold_the_counted_images(tmp_path):
    home = tmp_path / "semi_aves"
    home.mkdir()
    for name in SHA256:
        if Path(LISTS, name).is_file():
            (home / name).symlink_to(Path(LISTS, name))
    for path in home.glob("*.txt"):
        for line in path.read_text().splitlines():
            image = home / line.rpartition(" ")[0]
            image.parent.mkdir(parents=True, exist_ok=True)
            image.touch()
    index = index_of(read(tmp_path, "in_out"))
    assert index.parts == (("labeled", 5959), ("unlabeled", 26640), ("unlabeled", 122208), ("test", 8000))
    assert index.original[:10] == ("23", "13", "5", "26", "73", "4", "10", "11", "27", "30")
    counts = index.counts("labeled")
    assert (counts.max(), counts.min()) == (53, 15)
    assert [counts[:67].sum(), counts[67:134].sum(), counts[134:].sum()] == [2598, 1982, 1379]
    assert set(index.counts("test").tolist()) == {40}
    assert (index.counts("unlabeled").max(), index.counts("unlabeled").min()) == (229, 16)
    assert (index.truth == -2).sum() == 122208
    assert index.notes == ()
