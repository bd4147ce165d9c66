import copy
import math
from collections.abc import Mapping

import pytest
import torch
import torchvision
from torch import nn
from torch.nn import functional as F

from daso.nn.net import CLASSIFIER, Net, UniformLinear
from daso.nn.wrn import WideResNet, pool, rectify
from daso.schema import ModelConfig
from daso.types import Head
from tests.golden_fill import fill


def small(channels: int = 3, stem_stride: int = 1, heads: Mapping[str, Head] = CLASSIFIER) -> Net:
    net = Net(WideResNet(10, 1, channels, stem_stride), 7, heads)
    net.init(torch.Generator().manual_seed(0))
    return net


def projection(features: int, outputs: int) -> nn.Module:
    """Two layers, the last one without a bias."""
    layers = nn.Linear(features, features), nn.BatchNorm1d(features), nn.ReLU(), nn.Linear(features, outputs, False)
    return nn.Sequential(*layers)


def images(n: int = 6, channels: int = 3, size: int = 16, seed: int = 1) -> torch.Tensor:
    return torch.randn(n, channels, size, size, generator=torch.Generator().manual_seed(seed))


def state(net: nn.Module) -> dict[str, torch.Tensor]:
    return {k: v.clone() for k, v in net.state_dict().items()}


def same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


@pytest.mark.parametrize("depth", [10, 16, 28])
def test_depth_counts_the_convolutions_projections_included(depth: int) -> None:
    encoder = WideResNet(depth, 2)
    assert sum(isinstance(m, nn.Conv2d) for m in encoder.modules()) == depth
    assert encoder(images()).shape == (6, 128)


@pytest.mark.parametrize("stem_stride", [1, 2])
def test_small_gray_images_pass(stem_stride: int) -> None:
    assert small(1, stem_stride).predict(images(4, 1, 8)).shape == (4, 7)


def test_stem_stride_two_quarters_the_first_stage() -> None:
    seen = []
    net = small(stem_stride=2)
    net.encoder.blocks[0].register_forward_hook(lambda module, args, out: seen.append(out.shape))
    net.encode(images(size=16))
    assert seen == [(6, 16, 8, 8)]


@pytest.mark.parametrize("resolution", [1, 4, 5, 8, 9, 31, 32, 33])
@pytest.mark.parametrize(
    ("config", "maps"),
    [
        (ModelConfig("wrn", 10), WideResNet(10, 1).maps),
        (ModelConfig("wrn", 10, stem_stride=2), WideResNet(10, 1, stem_stride=2).maps),
        (ModelConfig("resnet", 18), torch.nn.Sequential(*list(torchvision.models.resnet18().children())[:-2])),
    ],
    ids=["wrn", "stride 2", "resnet"],
)
def test_the_side_of_the_last_maps_is_known(config, maps, resolution) -> None:
    assert config.map_side(resolution) == maps(torch.zeros(2, 3, resolution, resolution)).shape[-1]


def test_a_batch_of_one_keeps_its_batch_dimension() -> None:
    assert small().encode(images(1)).shape == (1, 64)


def test_heads_are_those_that_are_declared_in_their_order() -> None:
    net = small(heads={"second": Head(), "cls": Head(), "turns": Head(4), "projection": Head(5, projection)})
    assert list(net.heads) == ["second", "cls", "turns", "projection"]
    assert [net.predict(images(), head).shape[1] for head in net.heads] == [7, 7, 4, 5]


def test_a_head_draws_its_weights_after_those_before_it() -> None:
    one, more = small(), small(heads=CLASSIFIER | {"projection": Head(5, projection)})
    assert same(state(one), {name: value for name, value in state(more).items() if name in state(one)})
    assert more.heads["projection"][0].weight.std().item() == pytest.approx(math.sqrt(2 / (64 + 64)), rel=0.1)
    assert more.heads["projection"][3].bias is None


def test_running_statistics_are_used_and_left_alone_in_training_mode() -> None:
    net = small()
    net.predict(images(seed=2))
    before, evaluated = state(net), copy.deepcopy(net).eval().encode(images())
    assert torch.equal(net.encode(images(), running_stats=True), evaluated)
    assert same(state(net), before)


def test_running_statistics_follow_the_library_rule_in_training_mode() -> None:
    net = small().double()
    x = images(size=8).double()
    net.encode(x)
    stem = F.conv2d(x, net.encoder.stem.weight, padding=1)
    bn = net.encoder.blocks[0].bn1
    torch.testing.assert_close(bn.running_mean, 0.1 * stem.mean((0, 2, 3)))
    torch.testing.assert_close(bn.running_var, 0.9 + 0.1 * stem.var((0, 2, 3), unbiased=True))
    assert bn.num_batches_tracked == 1
    assert bn.num_batches_tracked.dtype == torch.int64


def test_first_block_alone_activates_its_shortcut() -> None:
    net = small().double().eval()
    first, second = net.encoder.blocks[:2]
    for block in (first, second):
        nn.init.zeros_(block.conv2.weight)
    nn.init.constant_(second.shortcut.weight, 1.0)
    x = torch.randn(2, 16, 4, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    activated = F.leaky_relu(x / math.sqrt(1 + 1e-5), 0.1)
    torch.testing.assert_close(first(x), activated)
    torch.testing.assert_close(second(x)[:, 0], x[:, :, ::2, ::2].sum(1))


def test_init_depends_on_the_generator_alone() -> None:
    first, again = small(heads=CLASSIFIER | {"rot": Head(4)}), small(heads=CLASSIFIER | {"rot": Head(4)})
    torch.manual_seed(123)
    again.predict(images())
    again.init(torch.Generator().manual_seed(0))
    assert same(state(first), state(again))
    again.init(torch.Generator().manual_seed(1))
    assert not torch.equal(first.encoder.stem.weight, again.encoder.stem.weight)


def test_init_keeps_every_tensor_in_place() -> None:
    net = small().double().to(memory_format=torch.channels_last)
    before = [t.data_ptr() for t in [*net.parameters(), *net.buffers()]]
    net.init(torch.Generator().manual_seed(5))
    assert before == [t.data_ptr() for t in [*net.parameters(), *net.buffers()]]


def test_init_has_the_spread_of_the_reference() -> None:
    net = Net(WideResNet(16, 4), 100)
    net.init(torch.Generator().manual_seed(0))
    for module in net.modules():
        if isinstance(module, nn.Conv2d) and module.weight.numel() > 10_000:
            fan_out = module.weight.numel() / module.in_channels
            assert module.weight.std().item() == pytest.approx(math.sqrt(2 / fan_out), rel=0.03)
        elif isinstance(module, nn.BatchNorm2d):
            assert torch.equal(module.weight, torch.ones_like(module.weight))
            assert torch.equal(module.bias, torch.zeros_like(module.bias))
    assert net.heads["cls"].weight.std().item() == pytest.approx(math.sqrt(2 / 356), rel=0.03)
    assert not net.heads["cls"].bias.any()


def test_init_is_the_same_in_both_precisions() -> None:
    single, double = small(), small().double()
    double.init(torch.Generator().manual_seed(0))
    for a, b in zip(single.parameters(), double.parameters(), strict=True):
        torch.testing.assert_close(a.double(), b, rtol=1e-6, atol=0)


def test_both_memory_formats_compute_the_same_step() -> None:
    plain = Net(WideResNet(10, 2), 7).double()
    fill(plain, 9)
    last = copy.deepcopy(plain).to(memory_format=torch.channels_last)
    x, y = images(8).double(), torch.arange(8) % 7
    for net, batch in ((plain, x), (last, x.contiguous(memory_format=torch.channels_last))):
        F.cross_entropy(net.predict(batch), y).backward()
    for (name, a), b in zip(plain.named_parameters(), last.parameters(), strict=True):
        torch.testing.assert_close(a.grad, b.grad, rtol=1e-9, atol=1e-12, msg=name)


@pytest.mark.parametrize(
    ("layout", "other"),
    [(torch.channels_last, torch.contiguous_format), (torch.contiguous_format, torch.channels_last)],
)
def test_pooling_is_the_mean_and_its_gradient_does_not_lie_in_the_other_layout(
    layout: torch.memory_format, other: torch.memory_format
) -> None:
    x = images(channels=8).contiguous(memory_format=layout).requires_grad_()
    assert torch.equal(pool(x), x.mean((2, 3)))
    received: list[torch.Tensor] = []
    rectified = rectify(x * 2)
    rectified.register_hook(received.append)
    pool(rectified).sum().backward()
    assert not received[0].is_contiguous(memory_format=other)


def test_no_forward_changes_its_input() -> None:
    x = images()
    before = x.clone()
    small().predict(x)
    assert torch.equal(x, before)


def test_encode_traces_into_one_graph_in_both_forms() -> None:
    net = small()
    graphs: list[torch.fx.GraphModule] = []

    def backend(graph: torch.fx.GraphModule, inputs: list[torch.Tensor]) -> object:
        graphs.append(graph)
        return graph.forward

    def both(x: torch.Tensor) -> torch.Tensor:
        return net.classify(net.encode(x)) + net.classify(net.encode(x, running_stats=True))

    expected = copy.deepcopy(net)
    traced = torch.compile(both, backend=backend, fullgraph=True, dynamic=False)(images())
    eager = expected.predict(images()) + expected.classify(expected.encode(images(), running_stats=True))
    torch.testing.assert_close(traced, eager)
    assert same(state(net), state(expected))
    assert len(graphs) == 1


def test_normalisations_side_by_side_are_pooled_each_for_itself_and_answer_by_their_mean() -> None:
    net = Net(WideResNet(10, 1), 7, norms=3).double()
    net.init(torch.Generator().manual_seed(0))
    with torch.no_grad():
        for g, norm in enumerate(net.norms):
            norm.weight.add_(g)
            norm.bias.sub_(g)
    x = images().double()
    apart, maps = net.encode_apart(x), net.encoder.maps(x)
    assert apart.shape == (3, 6, 64)
    for g, norm in enumerate(net.norms):
        expected = F.batch_norm(maps, None, None, norm.weight, norm.bias, training=True).mean((2, 3))
        torch.testing.assert_close(apart[g], expected)
        torch.testing.assert_close(norm.running_mean, 0.1 * maps.mean((0, 2, 3)))
    net.eval()
    logits = [net.classify(f) for f in net.encode_apart(x)]
    torch.testing.assert_close(net.predict(x), sum(logits) / 3)


def test_a_uniform_layer_starts_within_the_root_of_its_inputs() -> None:
    heads = {"cls": Head(), "even": Head(make=UniformLinear)}
    head = small(heads=heads).heads["even"]
    for parameter in head.parameters():
        assert 0.9 / 8 < parameter.abs().max() < 1 / 8 or parameter.ndim == 1
        assert parameter.abs().max() < 1 / 8
        assert parameter.std() > 0
    assert torch.equal(small(heads=heads).heads["cls"].weight, small().heads["cls"].weight)
