"""What the stores of image files will take, told before they are built."""

import pytest

from daso.data.images.needs import needs
from daso.run.build import data_of
from daso.settings.compose import configuration
from tests import pictures

VIEWS = {"square": ["dataset.crop=pad"], "whole": ["dataset.crop=resized", "dataset.store_side=16"]}


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    return pictures.photos(tmp_path_factory.mktemp("photos"))


def composed(root, views, *more):
    own = [f"dataset.root={root}", "dataset.resolution=12", *VIEWS[views], "model=wrn10_1", *more]
    return configuration(["dataset=folder", "algorithm=fixmatch", "track=none", *own])


@pytest.mark.parametrize("views", VIEWS)
def test_of_few_files_it_is_what_the_stores_then_take(photos, tmp_path, views):
    config = composed(photos, views, f"dataset.store={tmp_path}")
    (found,) = needs([config.dataset])
    assert found.images == 60
    data_of(config)
    assert found.bytes == sum(path.stat().st_size for path in found.folder.glob("*.u8"))
    assert needs([config.dataset]) == []


def test_stores_that_runs_share_are_needed_once(photos, tmp_path):
    place = f"dataset.store={tmp_path}"
    several = [composed(photos, "square", place, f"dataset.labels_per_class={n}").dataset for n in (2, 3)]
    (found,) = needs([*several, composed(photos, "whole", place).dataset])
    assert found.images == 60 + 42 + 18  # those that are evaluated are of another size there


def test_of_semi_aves_it_is_known_before_the_images_are_here(tmp_path):
    sets = [
        configuration(["dataset=semi_aves", f"dataset.root={tmp_path}", "algorithm=fixmatch", f"dataset.unlabeled={u}"])
        for u in ("in", "in_out")
    ]
    for config, training, gigabytes in zip(sets, (32_599, 154_807), (16.8, 80.0)):
        (found,) = needs([config.dataset])
        assert found.images == training + 8000
        assert found.bytes - 8000 * 224 * 224 * 3 == pytest.approx(1e9 * gigabytes, rel=0.06)
        assert "dataset=semi_aves needs its lists" in found.missing
    assert [need.images for need in needs(config.dataset for config in sets)] == [162_807]
