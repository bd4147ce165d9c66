"""The ResNet encoders against torchvision's."""

import pytest
import torch
import torchvision.models

from daso.nn.net import Net
from daso.nn.resnet import ResNet, load_weights, unfitting
from daso.train.rng import generator


def theirs(depth, seed=0):
    """torchvision's network with random weights and moved statistics, without its classifier."""
    torch.manual_seed(seed)
    net = getattr(torchvision.models, f"resnet{depth}")(weights=None)
    with torch.no_grad():
        for module in net.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                module.running_mean.normal_(), module.running_var.uniform_(0.5, 2)
                module.weight.uniform_(0.5, 1.5), module.bias.normal_()
    features = torch.nn.Sequential(*list(net.children())[:-1], torch.nn.Flatten())
    return net, features


def images(n=2, side=40):
    return torch.rand(n, 3, side, side, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize(("depth", "width"), [(18, 512), (34, 512), (50, 2048)])
def test_published_weights_give_torchvision_s_features(depth, width):
    net, features = theirs(depth)
    own = ResNet(depth)
    assert unfitting(own, net.state_dict()) == ""
    load_weights(own, net.state_dict())
    assert own.out_dim == width
    net.eval(), own.eval()
    with torch.no_grad():
        torch.testing.assert_close(own(images()), features(images()), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("depth", [18, 50])
def test_a_training_step_has_torchvision_s_gradients_and_statistics(depth):
    net, features = theirs(depth)
    own = ResNet(depth)
    load_weights(own, net.state_dict())
    net.double().train(), own.double().train()
    for module in (own, features):
        module(images().double()).square().mean().backward()
    expected = dict(net.named_parameters())
    for name, parameter in own.named_parameters():
        torch.testing.assert_close(parameter.grad, expected[name].grad, rtol=1e-7, atol=1e-12)
    statistics = net.state_dict()
    for name, values in own.state_dict().items():
        torch.testing.assert_close(values, statistics[name], rtol=1e-7, atol=1e-12)


def test_resnet_34_has_21_3_million_parameters_and_torchvision_s_names():
    net, _ = theirs(34)
    own = ResNet(34)
    assert sum(p.numel() for p in own.parameters()) == 21_284_672
    assert list(own.state_dict()) == [name for name in net.state_dict() if not name.startswith("fc.")]


def test_running_statistics_are_used_and_left_alone_where_asked_for():
    own = ResNet(18).train()
    load_weights(own, theirs(18)[0].state_dict())
    before = {name: values.clone() for name, values in own.state_dict().items()}
    with torch.no_grad():
        inside = own(images(), running_stats=True)
        assert all(torch.equal(values, before[name]) for name, values in own.state_dict().items())
        assert torch.equal(inside, own.eval()(images()))
        own.train()(images())
    assert not torch.equal(own.bn1.running_mean, before["bn1.running_mean"])


def test_gray_images_have_a_stem_of_their_own():
    assert ResNet(18, channels=1)(torch.rand(2, 1, 32, 32)).shape == (2, 512)


def test_a_net_of_it_starts_from_its_generator_alone():
    def start():
        net = Net(ResNet(18), 10)
        net.init(generator(0, "init"))
        return net

    one, other = start(), start()
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), other.parameters()))
    std = one.encoder.layer2[0].conv1.weight.std().item()
    assert std == pytest.approx((2 / (128 * 9)) ** 0.5, rel=0.02)


def test_files_without_counts_of_batches_are_older_and_as_good():
    weights = {name: t for name, t in theirs(18)[0].state_dict().items() if not name.endswith("num_batches_tracked")}
    own = ResNet(18)
    assert unfitting(own, weights) == ""
    load_weights(own, weights)
    assert own.bn1.num_batches_tracked == 0


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda w: theirs(34)[0].state_dict(), "it has layer1.2.conv1.weight, which the network lacks"),
        (lambda w: {n: t for n, t in w.items() if n != "conv1.weight"}, "it has no conv1.weight"),
        (lambda w: {}, "it has no conv1.weight"),
        (lambda w: w | {"conv1.weight": torch.zeros(64, 1, 7, 7)},
         "its conv1.weight is 64 x 1 x 7 x 7, where the network has 64 x 3 x 7 x 7"),
    ],
)  # fmt: skip
def test_weights_of_another_network_are_known_as_such(change, says):
    assert unfitting(ResNet(18), change(theirs(18)[0].state_dict())) == says


def test_the_encoder_is_one_graph():
    torch._dynamo.reset()
    own = ResNet(18).eval()
    traced = torch.compile(own, fullgraph=True, dynamic=False, backend="eager")
    with torch.no_grad():
        assert torch.equal(traced(images(side=32)), own(images(side=32)))
    torch._dynamo.reset()
