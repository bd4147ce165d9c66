"""Views equal the recorded ones: every operation, and the whole pipelines."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal

from daso.data.views import Draws, Views, ViewSpec
from daso.data.views.draws import Op
from daso.types import View

GOLDEN = Path(__file__).parents[1] / "golden"
FORMS = ["grouped", "static"]
CIFAR10 = ((0.4914, 0.4822, 0.4465), (0.2471, 0.2435, 0.2616))
CIFAR100 = ((0.5071, 0.4865, 0.4409), (0.2673, 0.2564, 0.2762))
SPECS = {
    "cifar10": ViewSpec(32, 32, 3, True, 4, 16, *CIFAR10),
    "cifar100": ViewSpec(32, 32, 3, True, 4, 16, *CIFAR100),
    "stl10": ViewSpec(96, 32, 3, True, 4, 16, *CIFAR10),
}
KINDS = {
    "weak": View.WEAK,
    "strong_rafirst": View.STRONG,
    "strong_ralast": View.STRONG_LAST,
    "eval": View.IDENTITY,
}
OPS = np.load(GOLDEN / "augment_ops.npz")
PIPELINES = np.load(GOLDEN / "augment_pipelines.npz")
SIGNED = {"Rotate", "ShearX", "ShearY", "TranslateX", "TranslateY"}


def chw(images: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.moveaxis(images, -1, -3).copy())


def still(n: int, **changes: torch.Tensor) -> Draws:
    """Draws that change nothing (with crop padding 0)."""
    whole = torch.zeros(n, 2, dtype=torch.int64)
    none = torch.zeros(n, 0, dtype=torch.int64)
    return Draws(torch.zeros(n, dtype=torch.bool), whole, none, none, none, torch.zeros(n, 0))._replace(**changes)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("index", range(14), ids=[str(name) for name in OPS["op_order"]])
def test_each_operation_equals_its_recording(index: int, form: str) -> None:
    spec = dataclasses.replace(SPECS["cifar10"], crop_pad=0, cutout=0)
    views = Views(spec, form)
    images, name = chw(OPS["images"]), str(OPS["op_order"][index])
    n = len(images)
    for key, sign in [(f"op_{name}_pos", 1), (f"op_{name}_neg", -1)] if name in SIGNED else [(f"op_{name}", 1)]:
        recorded = chw(OPS[key])
        for level, expected in zip(OPS["levels"], recorded):
            k = {field: torch.full((n, 1), int(v)) for field, v in (("op", index), ("level", level), ("sign", sign))}
            assert_array_equal(views.augment(images, View.STRONG, still(n, **k)), expected, f"{key} level {level}")


def test_operations_stand_in_the_recorded_order() -> None:
    assert [op.name.replace("_", "") for op in Op] == [str(name).upper() for name in OPS["op_order"]]


@pytest.mark.parametrize("form", FORMS)
def test_cutout_equals_its_recording(form: str) -> None:
    spec = dataclasses.replace(SPECS["cifar10"], crop_pad=0)
    images = chw(OPS["images"])
    for centre, expected in zip(OPS["cutout_xy"], chw(OPS["cutout_out"])):
        draws = still(len(images), cutout=torch.from_numpy(centre).expand(len(images), 2))
        assert_array_equal(Views(spec, form).augment(images, View.STRONG, draws), expected, f"centre {centre}")


def test_crop_equals_its_recording() -> None:
    images = chw(OPS["images"])
    for offset, expected in zip(OPS["crop_offsets_ij"], chw(OPS["crop_out"])):
        draws = still(len(images), crop=torch.from_numpy(offset).expand(len(images), 2))
        assert_array_equal(Views(SPECS["cifar10"]).augment(images, View.WEAK, draws), expected, f"offset {offset}")


def test_flip_equals_its_recording() -> None:
    images = chw(OPS["images"])
    draws = still(len(images), flip=torch.ones(len(images), dtype=torch.bool))
    spec = dataclasses.replace(SPECS["cifar10"], crop_pad=0)
    assert_array_equal(Views(spec).augment(images, View.WEAK, draws), chw(OPS["flip_out"]))


PIPELINE_NAMES = sorted(key.removesuffix("_u8") for key in PIPELINES if key.endswith("_u8"))


def recorded_draws(name: str) -> Draws:
    column = dict(zip((str(c) for c in PIPELINES["draw_columns"]), PIPELINES[f"{name}_draws"].T))

    def pair(stem: str) -> torch.Tensor:
        return torch.from_numpy(np.stack([column[f"{stem}0"], column[f"{stem}1"]], axis=1).astype(np.int64))

    return Draws(
        flip=torch.from_numpy(column["flip"] > 0),
        crop=torch.from_numpy(np.stack([column["i"], column["j"]], axis=1).astype(np.int64)),
        op=torch.where(pair("applied") > 0, pair("op"), -1),
        level=pair("level"),
        sign=1 - 2 * pair("neg"),
        cutout=torch.from_numpy(np.stack([column["cut_x"], column["cut_y"]], axis=1)),
    )


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", PIPELINE_NAMES)
def test_each_pipeline_equals_its_recording(name: str, form: str) -> None:
    dataset, kind = name.split("_", 1)
    images = chw(PIPELINES["stl10_images" if dataset == "stl10" else "small_images"])
    draws, expected = recorded_draws(name), chw(PIPELINES[f"{name}_u8"])
    views = Views(SPECS[dataset], form)
    got = views.augment(images[torch.arange(len(expected)) % len(images)], KINDS[kind], draws)
    assert_array_equal(got, expected)
    tensors = views.normalise(got, torch.float32)
    assert_allclose(tensors[0], PIPELINES[f"{name}_tensor0"], rtol=0, atol=1e-6)
    assert_allclose(
        tensors.double().sum((1, 2, 3)), PIPELINES[f"{name}_tensor_sum"], rtol=0, atol=1e-6 * tensors[0].numel()
    )
