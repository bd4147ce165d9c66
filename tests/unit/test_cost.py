"""What a step costs on a GPU that nobody timed."""

import subprocess

import pytest

from daso.run.work import work_of
from daso.sweep import cost
from daso.sweep.cost import card_of, seconds_per_step
from tests.compose import config_of
from tests.graph.presets import EVERY

PAPER = ("dataset=cifar10", "track=none")


def forward_flops(side=32, stem=16, blocks=4, widths=(32, 64, 128), classes=10):
    """Of WRN-28-2, by hand: every convolution's kernel times what it puts out, and the classifier."""
    flops, inputs = 2 * 9 * 3 * stem * side**2, stem
    for stage, outputs in enumerate(widths):
        side //= 2 if stage else 1
        flops += 2 * side**2 * (9 * inputs * outputs + inputs * outputs)  # the first, and the shortcut
        flops += 2 * side**2 * 9 * outputs * outputs * (2 * blocks - 1)
        inputs = outputs
    return flops + 2 * widths[-1] * classes


@pytest.fixture(scope="module")
def fixmatch():
    return work_of(config_of(*PAPER, "algorithm=fixmatch"))


def test_the_operations_of_a_step_are_those_of_its_passes_with_and_without_a_gradient(fixmatch):
    images, labeled = 64 + 128 + 128, 64
    trained = 3 * images * forward_flops()  # of its own, of the gradients of images and of weights
    assert fixmatch.flops == pytest.approx(trained, rel=0.01)
    daso = work_of(config_of(*PAPER, "algorithm=fixmatch_daso"))
    assert daso.flops - fixmatch.flops == pytest.approx(labeled * forward_flops(), rel=0.01)


@pytest.mark.parametrize("preset", EVERY)
def test_the_work_of_every_preset_is_known(preset):
    config = config_of("experiment=quickstart", f"algorithm={preset}", "track=none")
    work = work_of(config)
    assert work.flops > 1e6
    assert work.octets > 1e6


@pytest.mark.parametrize(
    ("precision", "compile", "milliseconds"), [("bf16", "graph", 2.3), ("tf32", "graph", 4.6), ("fp32", "graph", 10.9)]
)
def test_a_step_on_an_h200_takes_what_a_model_of_each_of_its_kernels_says(fixmatch, precision, compile, milliseconds):
    """The model of docs/performance.md, made kernel by kernel, with 35 % of the tensor cores' peak."""
    seconds = seconds_per_step(fixmatch, card_of("NVIDIA H200"), precision, compile)
    assert 1e3 * seconds == pytest.approx(milliseconds, rel=0.15)


def test_a_step_on_a_titan_xp_takes_what_the_paper_s_authors_told(fixmatch):
    """FixMatch: 250,000 steps in about six hours."""
    seconds = seconds_per_step(fixmatch, card_of("NVIDIA TITAN Xp"), "fp32", "none")
    assert 0.5 < seconds / (6 * 3600 / 250_000) < 2


def test_a_faster_card_and_smaller_numbers_take_less(fixmatch):
    def seconds(name, precision="auto", compile="graph"):
        return seconds_per_step(fixmatch, card_of(name), precision, compile)

    assert seconds("H200") < seconds("H100") < seconds("A100") < seconds("T4")
    assert seconds("H200", "bf16") < seconds("H200", "auto") == seconds("H200", "tf32") < seconds("H200", "fp32")
    assert seconds("H200", "bf16", "graph") < seconds("H200", "bf16", "default") < seconds("H200", "bf16", "none")
    assert seconds("RTX 3090", "tf32") <= seconds("RTX 3090", "fp32")  # whose units for it are no faster


@pytest.mark.parametrize(
    ("driver", "card"),
    [
        ("NVIDIA H100 80GB HBM3", "H100"),
        ("NVIDIA H100 PCIe", "H100 PCIe"),
        ("NVIDIA A100-SXM4-40GB", "A100 40GB"),
        ("NVIDIA A100-SXM4-80GB", "A100"),
        ("NVIDIA L40S", "L40S"),
        ("NVIDIA GeForce RTX 4090", "RTX 4090"),
        ("Tesla V100-SXM2-16GB", "V100"),
    ],
)
def test_a_card_is_known_by_the_driver_s_name(driver, card):
    assert card_of(driver).name == card


@pytest.mark.parametrize(
    "driver", ["NVIDIA L40", "NVIDIA GeForce RTX 4090 Laptop GPU", "NVIDIA H100 MIG 1g.10gb", "cpu"]
)
def test_another_card_is_not_taken_for_a_known_one(driver):
    assert card_of(driver) is None


def test_the_driver_is_asked_for_each_kind_of_gpu_once(monkeypatch):
    said = "NVIDIA A100-SXM4-80GB\nNVIDIA A100-SXM4-80GB\nNVIDIA L4\n"
    answer = subprocess.CompletedProcess([], 0, stdout=said)
    monkeypatch.setattr(cost.subprocess, "run", lambda *args, **kwargs: answer)
    assert cost.cards_here() == ["NVIDIA A100-SXM4-80GB", "NVIDIA L4"]


@pytest.mark.parametrize("error", [FileNotFoundError(), subprocess.TimeoutExpired("nvidia-smi", 30)])
def test_without_a_driver_there_is_no_gpu(error, monkeypatch):
    def fail(*args, **kwargs):
        raise error

    monkeypatch.setattr(cost.subprocess, "run", fail)
    assert cost.cards_here() == []
