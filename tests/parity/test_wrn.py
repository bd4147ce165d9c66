"""Wide ResNet against the recorded forward and backward passes (wrn.npz)."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from daso.nn.net import Net
from daso.nn.wrn import WideResNet
from tests.golden_fill import fill, parameters_in_order, sample

GOLDEN = np.load(Path(__file__).parents[1] / "golden" / "wrn.npz")
REL = {"f64": 1e-9, "f32": 1e-4}
DTYPE = {"f64": torch.float64, "f32": torch.float32}
FORMATS = {"contiguous": torch.contiguous_format, "channels_last": torch.channels_last}


def filled(
    width: int, dtype: torch.dtype = torch.float64, layout: torch.memory_format = torch.contiguous_format
) -> Net:
    net = Net(WideResNet(28, width), 10).to(dtype=dtype, memory_format=layout)
    fill(net, int(GOLDEN[f"w{width}_fill_seed"]))
    return net


def images(width: int, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    shape = (int(GOLDEN[f"w{width}_B"]), 3, 32, 32)
    return torch.from_numpy(np.random.RandomState(int(GOLDEN[f"w{width}_x"])).standard_normal(shape)).to(dtype)


def close(actual: torch.Tensor | np.ndarray, expected: np.ndarray, rel: float) -> None:
    """Relative to the largest entry: single entries may be arbitrarily near zero."""
    actual = actual.detach().numpy() if isinstance(actual, torch.Tensor) else actual
    np.testing.assert_allclose(actual, expected, rtol=rel, atol=rel * np.abs(expected).max())


@pytest.mark.parametrize("width", [1, 2])
def test_parameters_stand_in_the_recorded_registration_order(width: int) -> None:
    parameters = [p for _, _, p in parameters_in_order(filled(width))]
    assert ["x".join(map(str, p.shape)) for p in parameters] == list(GOLDEN[f"w{width}_param_shapes"])
    close(np.array([p.detach().reshape(-1)[0] for p in parameters]), GOLDEN[f"w{width}_param_first"], 1e-12)
    close(np.array([p.detach().norm() for p in parameters]), GOLDEN[f"w{width}_param_norm"], 1e-12)


@pytest.mark.parametrize(("width", "encoder", "tensors"), [(1, 368_848, 77), (2, 1_466_320, 78)])
def test_encoder_has_the_reference_number_of_parameters(width: int, encoder: int, tensors: int) -> None:
    parameters = list(WideResNet(28, width).parameters())
    assert (sum(p.numel() for p in parameters), len(parameters)) == (encoder, tensors)


@pytest.mark.parametrize("layout", FORMATS)
@pytest.mark.parametrize("precision", DTYPE)
@pytest.mark.parametrize("width", [1, 2])
def test_train_then_eval_forward_equal_the_recorded_ones(width: int, precision: str, layout: str) -> None:
    rel, key = REL[precision], f"w{width}_{precision}"
    net = filled(width, DTYPE[precision], FORMATS[layout])
    x = images(width, DTYPE[precision])
    features = net.encode(x)
    logits = net.classify(features)
    close(features, GOLDEN[f"{key}_train_features"], rel)
    close(logits, GOLDEN[f"{key}_train_logits"], rel)
    close(F.cross_entropy(logits, torch.from_numpy(GOLDEN[f"w{width}_y"])), GOLDEN[f"{key}_loss"], rel)
    net.eval()
    close(net.encode(x), GOLDEN[f"{key}_eval_features"], rel)
    close(net.predict(x), GOLDEN[f"{key}_eval_logits"], rel)


@pytest.mark.parametrize("layout", FORMATS)
@pytest.mark.parametrize("width", [1, 2])
def test_gradients_equal_the_recorded_ones(width: int, layout: str) -> None:
    net = filled(width, layout=FORMATS[layout])
    F.cross_entropy(net.predict(images(width)), torch.from_numpy(GOLDEN[f"w{width}_y"])).backward()
    gradients = [p.grad for _, _, p in parameters_in_order(net)]
    assert all(g is not None for g in gradients)
    close(np.array([g.norm() for g in gradients]), GOLDEN[f"w{width}_f64_grad_norm"], 1e-9)
    close(sample(gradients, 8), GOLDEN[f"w{width}_f64_grad_samples"], 1e-9)


@pytest.mark.parametrize("width", [1, 2])
def test_running_statistics_after_one_pass_equal_the_recorded_ones(width: int) -> None:
    net = filled(width)
    net.encode(images(width))
    statistics = [b for name, b in net.named_buffers() if "num_batches" not in name]
    close(np.array([b.norm() for b in statistics]), GOLDEN[f"w{width}_f64_buffer_norm_after_one_train_forward"], 1e-9)
    close(np.array([b.reshape(-1)[0] for b in statistics]), GOLDEN[f"w{width}_f64_buffer_first"], 1e-9)
