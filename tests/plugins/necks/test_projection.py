"""Necks: sizes known from a publication, order of layers, and predictions that come true."""

import itertools
from typing import get_args

import pytest
import torch
from torch import nn

from mlbench.contracts import FeatureShape, NeckShape, TokensShape
from mlbench.errors import OptionError
from mlbench_necks import projection

DOCUMENTS = FeatureShape(256, 4, 4)  # lcnet_050 at 128 px
TOKENS = TokensShape(24, 3, 2, 5)
NECKS = ["flatten", "gap", "gem", "squeeze"]
CLASSES = {name: getattr(projection, name.capitalize()) for name in (*NECKS, "token")}
NORMS = get_args(projection.Norm)


def build(name, shape, **options):
    return CLASSES[name](**options).build(shape)


def predict(name, shape, **options):
    return CLASSES[name](**options).predict(shape)


def count(module):
    return sum(parameter.numel() for parameter in module.parameters())


def features_of(shape, n=2):
    size = (n, *shape) if isinstance(shape, FeatureShape) else (n, shape[3] + shape[1] * shape[2], shape[0])
    return torch.rand(size)


@pytest.mark.parametrize(
    ("name", "parameters"), [("flatten", 1_115_136), ("squeeze", 345_088), ("gap", 132_096)]
)
@pytest.mark.parametrize("norm", ["ln", "bn"])
def test_neck_has_the_published_number_of_parameters(name, parameters, norm):
    neck = build(name, DOCUMENTS, dim=256, norm=norm)
    assert count(neck) == parameters
    assert sum(p.numel() * p.element_size() for p in neck.parameters()) == 4 * parameters


@pytest.mark.parametrize("name", NECKS)
@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("shape", [DOCUMENTS, FeatureShape(90, 3, 5), TOKENS])
@pytest.mark.parametrize(
    ("dim", "layers", "bias"), [(1, 2, False), (48, 1, True), (48, 2, True), (48, 1, False)]
)
def test_neck_predicts_what_it_builds(name, norm, shape, dim, layers, bias):
    options = {"dim": dim, "norm": norm, "layers": layers, "bias": bias}
    neck = build(name, shape, **options)
    assert predict(name, shape, **options) == NeckShape(count(neck), dim)
    assert neck(features_of(shape)).shape == (2, neck.dim) == (2, dim)


@pytest.mark.parametrize("name", [*NECKS, "token"])
def test_neck_has_one_linear_layer_where_it_is_told_to(name):
    neck = build(name, TOKENS, dim=4, norm="bn", layers=1, bias=True)
    assert [type(layer) for layer in neck.projection] == [nn.Linear, nn.BatchNorm1d]
    assert neck.projection[0].bias is not None


@pytest.mark.parametrize("name", NECKS)
def test_neck_takes_a_sequence_as_the_map_behind_its_tokens(name):
    neck = build(name, TOKENS, dim=4).eval()
    other = build(name, FeatureShape(24, 3, 2), dim=4).eval()
    values = list(neck.state_dict().values())
    other.load_state_dict(dict(zip(other.state_dict(), values, strict=True)))
    sequence = features_of(TOKENS, n=3)
    feature_map = torch.stack([sequence[:, 5 + 2 * y + x] for y in range(3) for x in range(2)], -1)
    torch.testing.assert_close(neck(sequence), other(feature_map.view(3, 24, 3, 2)))


def test_token_takes_the_first_of_the_sequence():
    neck = build("token", TOKENS, dim=4)
    sequence = features_of(TOKENS)
    assert torch.equal(neck.gather(sequence), sequence[:, 0])
    assert predict("token", TOKENS, dim=4) == NeckShape(count(neck), 4)


@pytest.mark.parametrize("function", [build, predict])
@pytest.mark.parametrize(
    ("shape", "given"),
    [(FeatureShape(24, 3, 2), "a map"), (TokensShape(24, 3, 2, 0), "a sequence without a class token")],
)
def test_token_refuses_features_without_a_class_token(function, shape, given):
    with pytest.raises(OptionError, match=rf"gives {given}; set output: tokens on a transformer"):
        function("token", shape)


@pytest.mark.parametrize(("power", "expected"), [(1.0, 2.5), (3.0, (100 / 4) ** (1 / 3)), (200.0, 4.0)])
def test_gem_goes_from_the_mean_to_the_largest(power, expected):
    neck = build("gem", FeatureShape(1, 2, 2), power=power).double()
    features = torch.tensor([[[[1.0, 2.0], [3.0, 4.0]]]], dtype=torch.float64)
    assert neck.gather(features).item() == pytest.approx(expected, rel=0.01)


def test_gem_learns_its_power():
    gather = build("gem", FeatureShape(3, 2, 2)).double().gather
    features = torch.rand(4, 3, 2, 2, dtype=torch.float64) + 0.1
    assert torch.autograd.gradcheck(
        lambda x, p: torch.func.functional_call(gather, {"power": p}, x),
        (features.requires_grad_(), gather.power.detach().clone().requires_grad_()),
    )


def test_gem_has_finite_gradients_for_zeros_and_in_half_precision():
    neck = build("gem", FeatureShape(3, 2, 2), dim=2, norm="none")
    with torch.autocast("cpu", dtype=torch.bfloat16):
        neck(torch.zeros(4, 3, 2, 2, dtype=torch.bfloat16)).sum().backward()
    assert all(parameter.grad.isfinite().all() for parameter in neck.parameters())
    assert (neck.gather(torch.zeros(1, 3, 2, 2, dtype=torch.bfloat16)) > 0).all()


@pytest.mark.parametrize("ratio", [1, 3, 90])
def test_squeeze_predicts_what_it_builds_at_any_ratio(ratio):
    shape = FeatureShape(90, 2, 2)
    neck = build("squeeze", shape, dim=8, ratio=ratio)
    assert predict("squeeze", shape, dim=8, ratio=ratio) == NeckShape(count(neck), 8)
    assert neck.gather(torch.rand(2, *shape)).shape == (2, 90 // ratio * 4)


@pytest.mark.parametrize("function", [build, predict])
def test_squeeze_refuses_a_ratio_that_leaves_no_channel(function):
    with pytest.raises(OptionError, match=r"ratio 91 leaves none of the backbone's 90 channels") as caught:
        function("squeeze", FeatureShape(90, 2, 2), ratio=91)
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
    neck = build("gap", DOCUMENTS, norm=norm)
    assert [type(layer) for layer in neck.projection] == [nn.Linear, *kinds, nn.Linear, *kinds]
    assert all(layer.bias is None for layer in neck.projection if isinstance(layer, nn.Linear))


def test_gap_takes_the_mean_of_each_channel():
    features = torch.arange(2 * 3 * 4.0).view(1, 6, 2, 2)
    means = build("gap", FeatureShape(6, 2, 2)).gather(features)
    assert means.tolist() == [[1.5, 5.5, 9.5, 13.5, 17.5, 21.5]]


@pytest.mark.parametrize("name", NECKS)
def test_neck_does_not_depend_on_the_layout_in_memory(name):
    shape = FeatureShape(8, 3, 3)
    neck = build(name, shape, dim=4).eval()
    features = torch.rand(5, *shape)
    channels_last = features.contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(neck(channels_last), neck(features))


@pytest.mark.parametrize("name", NECKS)
def test_neck_tells_positions_apart_unless_it_averages(name):
    shape = FeatureShape(8, 3, 3)
    neck = build(name, shape, dim=4).eval()
    features = torch.rand(1, *shape)
    same = torch.allclose(neck(features), neck(features.flip(3)), atol=1e-5)
    assert same is (name in ("gap", "gem"))


@pytest.mark.parametrize(("name", "norm"), list(itertools.product(NECKS, ["ln", "ln_bn"])))
def test_neck_trains_every_parameter(name, norm):
    neck = build(name, FeatureShape(8, 2, 2), dim=4, norm=norm)
    embeddings = neck(torch.rand(6, 8, 2, 2))
    (embeddings * torch.rand_like(embeddings)).sum().backward()
    assert all(
        parameter.grad is not None and parameter.grad.abs().sum() > 0 for parameter in neck.parameters()
    )
