"""The pre-activation ResNet: the published sizes, the order of its layers, cuts and stochastic depth."""

import pytest
import torch
from torch import nn

from mlbench.contracts import BackboneShape, FeatureShape
from mlbench.errors import OptionError
from mlbench_backbones.preact_backbone import PreactResNet
from mlbench_backbones.preact_network import Block, Excitation


def build_resnet(image_size, **options):
    return PreactResNet(**options).build(image_size)


def predict_resnet(image_size, **options):
    return PreactResNet(**options).predict(image_size)


def count(module):
    return sum(parameter.numel() for parameter in module.parameters())


@pytest.mark.parametrize(
    ("depth", "se", "published"),
    [(29, False, 0.335), (164, False, 1.726), (29, True, 0.369), (164, True, 1.928)],
)
def test_network_with_its_classifier_has_the_published_size(depth, se, published):
    backbone = build_resnet(32, depth=depth, se=se)
    classifier = nn.Linear(backbone.feature_shape.channels, 100)
    assert round((count(backbone) + count(classifier)) / 1e6, 3) == published


@pytest.mark.parametrize("depth", [11, 20, 29])
@pytest.mark.parametrize("se", [False, True])
@pytest.mark.parametrize("image_size", [32, 33, 3])
def test_predict_matches_build(depth, se, image_size):
    backbone = build_resnet(image_size, depth=depth, se=se)
    predicted = predict_resnet(image_size, depth=depth, se=se)
    assert predicted == BackboneShape(count(backbone), backbone.feature_shape)
    assert backbone(torch.rand(2, 3, image_size, image_size)).shape == (2, *backbone.feature_shape)
    assert predict_resnet(32).feature_shape == FeatureShape(256, 8, 8)


def test_network_has_its_depth():
    backbone = build_resnet(32, depth=29)
    convolutions = [m for m in backbone.modules() if isinstance(m, nn.Conv2d) and m.kernel_size == (3, 3)]
    bottlenecks = [m for m in backbone.modules() if isinstance(m, Block)]
    # One convolution before the blocks, three in each block, and the classifier.
    assert 1 + 3 * len(bottlenecks) + 1 == 29
    assert len(convolutions) == 1 + len(bottlenecks)


def naive_block(block, x):
    def convolve(norm, convolution, x):
        y = (x - norm.running_mean.view(1, -1, 1, 1)) / (norm.running_var.view(1, -1, 1, 1) + norm.eps).sqrt()
        y = y * norm.weight.view(1, -1, 1, 1) + norm.bias.view(1, -1, 1, 1)
        y = y.clamp(min=0)
        return y, nn.functional.conv2d(
            y, convolution.weight, stride=convolution.stride, padding=convolution.padding
        )

    activated, branch = convolve(block.norm1, block.conv1, x)
    _, branch = convolve(block.norm2, block.conv2, branch)
    _, branch = convolve(block.norm3, block.conv3, branch)
    if isinstance(block.excitation, Excitation):
        gate = block.excitation.squeeze(branch.mean((2, 3))).clamp(min=0)
        branch = branch * torch.sigmoid(block.excitation.excite(gate))[:, :, None, None]
    if block.shortcut is None:
        return x + branch
    return nn.functional.conv2d(activated, block.shortcut.weight, stride=block.shortcut.stride) + branch


@pytest.mark.parametrize(("inputs", "stride"), [(32, 1), (32, 2), (64, 1)])
@pytest.mark.parametrize("reduction", [None, 16])
def test_block_activates_before_it_convolves_and_gates_before_it_adds(inputs, stride, reduction):
    torch.manual_seed(0)
    block = Block(inputs, 16, stride, reduction, 0.0).double().eval()
    for norm in (block.norm1, block.norm2, block.norm3):
        norm.running_mean.normal_()
        norm.running_var.uniform_(0.5, 2)
        nn.init.normal_(norm.weight)
        nn.init.normal_(norm.bias)
    x = torch.randn(2, inputs, 6, 6, dtype=torch.float64)
    kept = x.clone()
    torch.testing.assert_close(block(x), naive_block(block, x))
    assert torch.equal(x, kept)


@pytest.mark.parametrize("name", ["conv1", "layer1.0", "layer2", "layer3.2", "norm", "all", "none"])
def test_cut_network_computes_the_same(name):
    torch.manual_seed(0)
    whole = build_resnet(32).eval()
    torch.manual_seed(0)
    backbone = build_resnet(32, trainable_from=name).eval()
    images = torch.randn(2, 3, 32, 32)
    assert torch.equal(backbone.trained(backbone.frozen(images)), whole(images))
    names = [*dict(backbone.frozen.named_children()), *dict(backbone.trained.named_children())]
    assert names == list(dict(whole.trained.named_children()))
    if name not in ("all", "none"):
        assert next(iter(dict(backbone.trained.named_children()))).startswith(name.replace(".", "_"))


def test_drop_path_grows_to_the_last_block():
    backbone = build_resnet(32, drop_path=0.4)
    rates = [getattr(m.drop_path, "drop_prob", 0.0) for m in backbone.modules() if isinstance(m, Block)]
    assert rates == pytest.approx([0.05 * i for i in range(9)])


@pytest.mark.parametrize("function", [build_resnet, predict_resnet])
def test_invalid_depth_is_refused(function):
    with pytest.raises(OptionError, match=r"depth 30 is not 9n \+ 2; the nearest such depth is 29") as caught:
        function(32, depth=30)
    assert caught.value.option == "depth"


def test_unknown_layer_is_refused():
    with pytest.raises(OptionError, match=r"no layer 'layer2\.3'.*did you mean 'layer") as caught:
        build_resnet(32, trainable_from="layer2.3")
    assert caught.value.option == "trainable_from"
