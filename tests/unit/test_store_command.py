"""`python -m daso.store`."""

import pytest

from daso.data.images.store import stores
from daso.store import main
from tests import pictures

OPTIONS = ("dataset=folder", "dataset.resolution=12")


@pytest.fixture
def root(tmp_path):
    pictures.folder(tmp_path / "photos", train={"a": 3, "b": 2}, test={"a": 1, "b": 1})
    return tmp_path / "photos"


@pytest.fixture
def built(root, capsys):
    assert main(["build", *OPTIONS, f"dataset.root={root}"]) == 0
    capsys.readouterr()
    return root


def keys(folder):
    return {one.of.split()[0]: one.key for one in stores(folder)}


def test_it_builds_what_a_run_would_need(root, capsys):
    assert main(["build", *OPTIONS, f"dataset.root={root}"]) == 0
    out = capsys.readouterr().out
    assert "training images: 5 of 5" in out
    assert f"7 images of {root} are stored in {root}/.daso." in out
    assert set(keys(root / ".daso")) == {"training", "test"}


def test_it_lists_what_is_there(built, capsys):
    assert main(["list", f"dataset.root={built}"]) == 0
    out = capsys.readouterr().out
    assert "training images of photos" in out
    assert "centre 12 of 12" in out
    assert "whole" in out


def test_stores_in_a_folder_of_their_own_are_found_below_it(root, tmp_path, capsys):
    place = f"dataset.store={tmp_path / 'stores'}"
    assert main(["build", *OPTIONS, f"dataset.root={root}", place]) == 0
    assert main(["list", place]) == 0
    assert "training images of photos" in capsys.readouterr().out
    assert not (root / ".daso").exists()


def test_it_checks_every_image(built, capsys):
    assert main(["check", f"dataset.root={built}"]) == 0
    assert capsys.readouterr().out.count("intact") == 2
    path = built / ".daso" / f"{keys(built / '.daso')['training']}.u8"
    content = bytearray(path.read_bytes())
    content[3 * 12 * 12 * 4 + 7] ^= 1
    path.write_bytes(content)
    assert main(["check", f"dataset.root={built}"]) == 1
    out = capsys.readouterr().out
    assert "(training images of photos): damaged images 4; remove it" in out
    assert out.count("intact") == 1


def test_it_tells_of_a_store_of_another_version(built, capsys):
    path = built / ".daso" / f"{keys(built / '.daso')['test']}.json"
    path.write_text(path.read_text().replace('"format": 1', '"format": 99'))
    assert main(["check", f"dataset.root={built}"]) == 1
    out = capsys.readouterr().out
    assert "(test images of photos): of another version: remove it" in out
    assert out.count("intact") == 1


def test_it_removes_one_and_leaves_the_others(built, capsys):
    key = keys(built / ".daso")["training"]
    assert main(["remove", f"dataset.root={built}", f"key={key}"]) == 0
    assert "Freed 0.0 MB" in capsys.readouterr().out
    assert set(keys(built / ".daso")) == {"test"}


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["mend"], "mend is not possible: one of build, list, check, remove."),
        (["list"], "dataset.root= or dataset.store= is missing"),
        (["list", "dataset.root=/nowhere"], "no store is in /nowhere/.daso"),
        (["build", "dataset=digits"], "dataset=digits is not possible: it is no data set of image files"),
        (["build", "dataset=folder", "dataset.root=/nowhere"], "there is no such folder"),
        (["remove", "dataset.root=ROOT"], "key= is missing"),
        (["remove", "dataset.root=ROOT", "key=0"], "key=0 is not possible: there is no such store in"),
        (["check", "dataset.root=ROOT", "key=0"], "key=0 is not possible: there is no such store in"),
    ],
)
def test_a_mistake_is_one_sentence(built, capsys, arguments, says):
    assert main([argument.replace("ROOT", str(built)) for argument in arguments]) == 2
    err = capsys.readouterr().err
    assert says in err
    assert err.count("\n") == 1


def test_it_explains_itself(capsys):
    assert main([]) == 0
    assert "python -m daso.store build" in capsys.readouterr().out
