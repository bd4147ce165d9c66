"""`python -m daso.data fetch`: data sets brought into a folder, from their makers or from a mirror."""

import shutil
from dataclasses import replace

import pytest

from daso.data.__main__ import main
from daso.data.sources import SOURCES, load
from tests.published import config


@pytest.fixture
def two(cifar10, stl10):
    return {"cifar10": cifar10, "stl10": stl10}


def test_data_sets_are_fetched_once_and_then_read_without_a_network(two, tmp_path, capsys, monkeypatch, request):
    root = tmp_path / "data"
    assert main(["fetch", "cifar10", "stl10", "--root", str(root)]) == 0
    out, err = capsys.readouterr()
    assert f"Looking for cifar10 in {root}; what is missing is downloaded." in err.splitlines()[0]
    said = out.splitlines()
    assert said[0].startswith(f"cifar10 is in {root / 'cifar-10-batches-py'}: 6 files, ")
    assert said[1].startswith(f"stl10 is in {root / 'stl10_binary'}: 5 files, ")
    request.getfixturevalue("no_network")
    assert main(["fetch", "cifar10", "stl10", "--root", str(root)]) == 0
    assert len(load(config("cifar10", root)).train_y) == 50
    assert load(config("stl10", root)).unlabeled_x is not None


def test_a_mirror_takes_the_place_of_the_makers_address(two, tmp_path, monkeypatch):
    source = two["cifar10"].source
    mirror = two["cifar10"].archive.parent / "mirror"
    mirror.mkdir()
    shutil.move(two["cifar10"].archive, mirror / source.name)
    address = source.url.rpartition("/")[0]
    monkeypatch.setitem(SOURCES, "cifar10", replace(source, url="http://127.0.0.1:9/nowhere.tar.gz"))
    line = ["fetch", "cifar10", "--root", str(tmp_path / "data")]
    assert main(line) == 2
    assert not (tmp_path / "data").exists()  # nothing is left of what did not come
    assert main([*line, "--mirror", f"{address}/mirror/"]) == 0
    assert (tmp_path / "data" / source.folder / "test_batch").is_file()


def test_what_cannot_be_fetched_is_a_sentence_and_the_others_are_fetched(two, tmp_path, capsys):
    assert main(["fetch", "imagenet", "digits", "cifar10", "--root", str(tmp_path)]) == 2
    out, err = capsys.readouterr()
    assert err.splitlines()[0] == (  # progress bars follow
        "daso.data: imagenet cannot be fetched: this fetches cifar10, cifar100, stl10, fashion_mnist; "
        "others are files of your own."
    )
    assert out.splitlines()[0].startswith("digits comes with a package")
    assert out.splitlines()[1].startswith("cifar10 is in")


def test_a_value_among_the_names_is_refused_before_anything_is_fetched(capsys):
    assert main(["fetch", "cifar10", "root=/somewhere"]) == 2
    assert capsys.readouterr().err == "daso.data: root=/somewhere is not possible: write --root /somewhere.\n"


def test_a_command_alone_is_told_what_is_missing(capsys):
    assert main([]) == main(["fetch"]) == 2
    assert capsys.readouterr().err.splitlines() == [
        "daso.data: fetch NAME... is missing behind python -m daso.data: python -m daso.data --help says more.",
        "daso.data: NAME is missing behind python -m daso.data fetch: it is one of cifar10, cifar100, stl10, fashion_mnist; "
        "python -m daso.data fetch --help says more.",
    ]
