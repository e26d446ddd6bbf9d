"""Models as sequences of layers, found with forward hooks."""

import pytest
import torch
from torch import nn

from mlbench_backbones.sequence import MethodLayer, called_layers, sequence_of, sequential, without_layers


class Model(nn.Module):
    """Patches, positions, blocks, norm. how: the blocks' arguments after their input."""

    def __init__(self, how="nothing"):
        super().__init__()
        self.how = how
        self.patches = nn.Conv2d(3, 4, 2, 2)
        self.positions = nn.Parameter(torch.randn(4, 2, 2))
        self.scale = nn.Parameter(torch.ones(()))
        self.blocks = nn.ModuleList([Scaled(), Scaled(), Scaled()])
        self.norm = nn.GroupNorm(1, 4)
        self.head = nn.Linear(4, 2)

    def forward_features(self, x):
        x = self.patches(x) + self.positions
        given = {
            "nothing": (),
            "constant": (torch.full((1,), 2.0),),
            "number": (3.0,),
            "learnt": (self.scale * 2,),
            "image": (x.mean(),),
            "batch": (torch.ones(len(x), 1, 1, 1),),
        }[self.how]
        for block in self.blocks:
            x = block(x, *given)
        return self.norm(x)


class Scaled(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(4, 4, 1)

    def forward(self, x, scale=1.0):
        return self.conv(x) * scale


def images(n=1):
    return torch.randn(n, 3, 4, 4)


@pytest.mark.parametrize(
    ("how", "names"),
    [
        ("nothing", ["patches", "blocks.0", "blocks.1", "blocks.2", "norm"]),
        ("constant", ["patches", "blocks.0", "blocks.1", "blocks.2", "norm"]),
        ("number", ["patches", "blocks.0", "blocks.1", "blocks.2", "norm"]),
        ("learnt", ["patches", "norm"]),
        ("image", ["patches", "norm"]),
        ("batch", ["patches", "norm"]),
    ],
)
def test_sequence_is_cut_only_where_one_tensor_passes(how, names):
    model = Model(how).eval()
    layers = sequence_of(model, "forward_features", images())
    assert [name for name, _ in layers] == names
    batch = images(3)
    torch.testing.assert_close(sequential(layers)(batch), model.forward_features(batch))
    mine = {id(parameter) for _, layer in layers for parameter in layer.parameters()}
    assert mine == {id(parameter) for parameter in model.parameters()}


def test_sequence_has_the_gradients_of_the_model():
    model = Model("learnt").eval()
    layers = sequence_of(model, "forward_features", images())
    sequential(layers)(images(2)).pow(3).sum().backward()
    assert model.scale.grad is not None
    assert model.blocks[0].conv.weight.grad is not None


def test_constant_argument_moves_with_its_layer_but_is_not_a_parameter():
    layers = dict(sequence_of(Model("constant").eval(), "forward_features", images()))
    bound = layers["blocks.1"].to("meta")
    assert [buffer.is_meta for buffer in bound.buffers()] == [True]
    assert all("argument" not in key for key in bound.state_dict())


class Twice(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Conv2d(3, 3, 1)

    def forward_features(self, x):
        return self.layer(self.layer(x))


class Skips(nn.Module):
    def __init__(self):
        super().__init__()
        self.one, self.two = nn.Conv2d(3, 3, 1), nn.Conv2d(3, 3, 1)

    def forward_features(self, x):
        y = self.one(x)
        return self.two(y) + x


@pytest.mark.parametrize("model", [Twice(), Skips()])
def test_model_that_is_not_a_sequence_gives_none(model):
    assert sequence_of(model.eval(), "forward_features", images()) is None


def test_called_layers_are_in_order_and_leave_no_hook():
    model = Model()
    names, output = called_layers(model.forward_features, model, images())
    assert names == ["patches", "blocks.0", "blocks.1", "blocks.2", "norm"]
    assert output.shape == (1, 4, 2, 2)
    assert not any(layer._forward_hooks for layer in model.modules())


def test_without_layers_shares_the_rest_and_leaves_the_model_unchanged():
    model = Model()
    twin = without_layers(model, {"blocks.1", "norm"})
    assert list(twin.blocks) == [model.blocks[0], model.blocks[2]]
    assert isinstance(twin.norm, nn.Identity)
    assert twin.positions is model.positions
    assert (len(model.blocks), type(model.norm)) == (3, nn.GroupNorm)
    assert MethodLayer(twin, "forward_features")(images()).shape == (1, 4, 2, 2)
