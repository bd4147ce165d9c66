"""Every preset on image files: through the pool of small images, and through that of large ones, wherever they lie."""

import pytest

from daso.outputs.rundir import RunDir
from daso.run.start import run
from daso.track.jsonl import TIME, read
from tests import pictures
from tests.compose import NOWHERE
from tests.graph.presets import PRESETS, brief, cover, fillings

REACHING = (
    "/schema/algorithm",
    "/protocol",
    "/debias",
    "/confidence",
)  # what asks for views, rows or images of its own
LARGE = ("dataset.crop=resized", "dataset.store_side=16")
CORE = cover(PRESETS, lambda preset: {filled for filled in fillings(preset).items() if filled[0] in REACHING})
EVERY = [preset if preset in CORE else pytest.param(preset, marks=pytest.mark.slow) for preset in PRESETS]
ASKING = ("fixmatch_ccl", "fixmatch_cossl", "fixmatch_scssl")  # for images beside those of the step
PLACES = [preset if preset in ASKING else pytest.param(preset, marks=pytest.mark.slow) for preset in PRESETS]


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    return pictures.photos(tmp_path_factory.mktemp("photos"))


def rows(preset, photos, out_root, *overrides):
    """The journal of twelve steps, without times."""
    chosen = f"{preset} dataset=folder dataset.root={photos} dataset.resolution=12 imbalance=folder_default"
    config = brief(chosen, out_root, "imb.gamma_u=unknown", *overrides)
    run(config, NOWHERE)
    folder = RunDir(out_root, config.run_key)
    assert folder.done.exists()
    kept = read(folder.metrics)
    return [{k: v for k, v in row.items() if not k.startswith((TIME, "time/", "memory/"))} for row in kept]


@pytest.mark.parametrize("preset", EVERY)
def test_a_preset_trains_on_small_and_on_large_images(preset, photos, tmp_path, one_thread):
    for views in ((), (*LARGE, "dataset.place=host")):
        losses = [
            value
            for row in rows(preset, photos, tmp_path, *views)
            for name, value in row.items()
            if name.startswith("train/loss_")
        ]
        assert losses
        assert None not in losses  # as what is no finite number is written


@pytest.mark.parametrize("preset", PLACES)
def test_a_preset_is_the_same_on_images_in_memory_and_on_the_disk(preset, photos, tmp_path, one_thread):
    here, there = (rows(preset, photos, tmp_path / at, *LARGE, f"dataset.place={at}") for at in ("device", "host"))
    assert here == there
