"""Necks: sizes known from a publication, order of layers, and predictions that come true."""

import itertools
from typing import get_args

import pytest
import torch
from torch import nn

from mlbench.contracts import FeatureShape, NeckShape
from mlbench.errors import OptionError
from mlbench_necks import projection

DOCUMENTS = FeatureShape(256, 4, 4)  # lcnet_050 at 128 px
NECKS = ["flatten", "gap", "squeeze"]
NORMS = get_args(projection.Norm)


def count(module):
    return sum(parameter.numel() for parameter in module.parameters())


@pytest.mark.parametrize(
    ("name", "parameters"), [("flatten", 1_115_136), ("squeeze", 345_088), ("gap", 132_096)]
)
@pytest.mark.parametrize("norm", ["ln", "bn"])
def test_neck_has_the_published_number_of_parameters(name, parameters, norm):
    assert count(getattr(projection, name)(DOCUMENTS, dim=256, norm=norm)) == parameters


@pytest.mark.parametrize("name", NECKS)
@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("shape", [DOCUMENTS, FeatureShape(90, 3, 5)])
@pytest.mark.parametrize("dim", [1, 48])
def test_neck_predicts_what_it_builds(name, norm, shape, dim):
    neck = getattr(projection, name)(shape, dim=dim, norm=norm)
    predicted = getattr(projection, f"predict_{name}")(shape, dim=dim, norm=norm)
    assert predicted == NeckShape(count(neck), dim)
    assert neck(torch.rand(2, *shape)).shape == (2, neck.dim) == (2, dim)


@pytest.mark.parametrize("ratio", [1, 3, 90])
def test_squeeze_predicts_what_it_builds_at_any_ratio(ratio):
    shape = FeatureShape(90, 2, 2)
    neck = projection.squeeze(shape, dim=8, ratio=ratio)
    assert projection.predict_squeeze(shape, dim=8, ratio=ratio) == NeckShape(count(neck), 8)
    assert neck.gather(torch.rand(2, *shape)).shape == (2, 90 // ratio * 4)


@pytest.mark.parametrize("function", [projection.squeeze, projection.predict_squeeze])
def test_squeeze_refuses_a_ratio_that_leaves_no_channel(function):
    with pytest.raises(OptionError, match=r"ratio 91 leaves none of the backbone's 90 channels") as caught:
        function(FeatureShape(90, 2, 2), ratio=91)
    assert caught.value.option == "ratio"


@pytest.mark.parametrize(
    ("norm", "kinds"),
    [
        ("none", []),
        ("bn", [nn.BatchNorm1d]),
        ("ln", [nn.LayerNorm]),
        ("ln_bn", [nn.LayerNorm, nn.BatchNorm1d]),
        ("bn_ln", [nn.BatchNorm1d, nn.LayerNorm]),
    ],
)
def test_neck_norms_follow_each_linear_layer_in_the_order_written(norm, kinds):
    neck = projection.gap(DOCUMENTS, norm=norm)
    assert [type(layer) for layer in neck.projection] == [nn.Linear, *kinds, nn.Linear, *kinds]
    assert all(layer.bias is None for layer in neck.projection if isinstance(layer, nn.Linear))


def test_gap_takes_the_mean_of_each_channel():
    features = torch.arange(2 * 3 * 4.0).view(1, 6, 2, 2)
    means = projection.gap(FeatureShape(6, 2, 2)).gather(features)
    assert means.tolist() == [[1.5, 5.5, 9.5, 13.5, 17.5, 21.5]]


@pytest.mark.parametrize("name", NECKS)
def test_neck_does_not_depend_on_the_layout_in_memory(name):
    shape = FeatureShape(8, 3, 3)
    neck = getattr(projection, name)(shape, dim=4).eval()
    features = torch.rand(5, *shape)
    channels_last = features.contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(neck(channels_last), neck(features))


@pytest.mark.parametrize("name", NECKS)
def test_neck_tells_positions_apart_unless_it_averages(name):
    shape = FeatureShape(8, 3, 3)
    neck = getattr(projection, name)(shape, dim=4).eval()
    features = torch.rand(1, *shape)
    same = torch.allclose(neck(features), neck(features.flip(3)), atol=1e-5)
    assert same is (name == "gap")


@pytest.mark.parametrize(("name", "norm"), list(itertools.product(NECKS, ["ln", "ln_bn"])))
def test_neck_trains_every_parameter(name, norm):
    neck = getattr(projection, name)(FeatureShape(8, 2, 2), dim=4, norm=norm)
    embeddings = neck(torch.rand(6, 8, 2, 2))
    (embeddings * torch.rand_like(embeddings)).sum().backward()
    assert all(
        parameter.grad is not None and parameter.grad.abs().sum() > 0 for parameter in neck.parameters()
    )
