"""Layer names of Keras in timm."""

import pytest
import timm

from mlbench_backbones.keras_layers import timm_name


@pytest.mark.parametrize(
    ("model", "keras", "expected"),
    [
        ("resnet50", "conv5_block1_out", "layer4.1"),
        ("resnet50", "conv2_block2_out", "layer1.2"),
        ("resnet152", "conv4_block35_out", "layer3.35"),
        ("tf_efficientnetv2_l", "block7a_expand_conv", "blocks.6.0"),
        ("tf_efficientnetv2_l", "block6c_expand_conv", "blocks.5.2"),
        ("efficientnet_b0", "block1a_dwconv", "blocks.0.0"),
    ],
)
def test_timm_name_is_a_layer_of_the_model(model, keras, expected):
    import torch

    assert timm_name(keras) == expected
    with torch.device("meta"):
        network = timm.create_model(model)
    assert network.get_submodule(expected) is not None


def test_block7a_begins_the_last_stage():
    import torch

    with torch.device("meta"):
        assert len(timm.create_model("tf_efficientnetv2_l").blocks) == 7
        assert len(timm.create_model("resnet50").layer4) == 3


@pytest.mark.parametrize(
    "name", ["layer4.1", "conv1_conv", "conv6_block1_out", "top_conv", "block9a_expand_conv"]
)
def test_timm_name_of_an_unknown_layer_is_empty(name):
    assert timm_name(name) == ""
