"""Every output of the timm backbone against timm's model, for different model families."""

import functools

import pytest
import timm
import torch

from mlbench.contracts import BackboneShape, FeatureShape, TokensShape
from mlbench.errors import OptionError, WeightsError
from mlbench_backbones.cut_backbone import CutBackbone, cut_index
from mlbench_backbones.timm_backbone import Timm
from mlbench_backbones.timm_network import layers_for


def build_timm(image_size, **options):
    return Timm(**options).build(image_size)


def predict_timm(image_size, **options):
    return Timm(**options).predict(image_size)


def slow(*values):
    return pytest.param(*values, marks=pytest.mark.slow)


# Model, image size, number of prefix tokens (None: no map), a layer to cut at.
MODELS = [
    ("vit_tiny_patch16_224", 48, 1, "blocks.10"),
    ("deit_tiny_distilled_patch16_224", 48, 2, "blocks.6"),
    slow("vit_small_patch16_dinov3", 64, 5, "blocks.11"),
    ("eva02_tiny_patch14_224", 42, 1, "blocks.3"),
    ("xcit_nano_12_p8_224", 64, 1, "norm"),
    ("mixer_s32_224", 64, 0, "blocks.4"),
    ("levit_128s", 224, 0, "stages.1"),
    slow("volo_d1_224", 64, 1, "norm"),
    ("swin_s3_tiny_224", 64, 0, "layers.3"),
    slow("swinv2_cr_tiny_224", 64, 0, "stages.2"),
    ("mambaout_femto", 64, 0, "stages.3"),
    ("crossvit_tiny_240", 240, None, None),
    ("convit_tiny", 48, 1, None),
    slow("hiera_tiny_224", 64, None, "blocks.9"),
    ("mobilenetv3_small_050", 64, 0, "conv_head"),
    ("tf_efficientnet_lite0", 64, 0, "blocks.6"),
    ("convnext_atto", 64, 0, "stages.3"),
]
WITH_TOKENS = [m for m in MODELS if getattr(m, "values", m)[2]]
SMALL = ["vit_tiny_patch16_224", "levit_128s", "swin_s3_tiny_224", "mobilenetv3_small_050"]


@functools.cache
def timm_model(model, image_size):
    """timm's model without its classifier and without zero weights that would hide a layer."""
    configuration = timm.get_pretrained_cfg(model)
    size = {"img_size": image_size} if configuration.fixed_input_size and image_size != 224 else {}
    torch.manual_seed(0)
    network = timm.create_model(model, num_classes=0, **size).eval()
    for parameter in network.parameters():
        parameter.data += 0.05 * torch.randn_like(parameter)
    return network


@pytest.fixture
def checkpoint(tmp_path):
    def save(model, image_size):
        path = tmp_path / "model.pth"
        torch.save(timm_model(model, image_size).state_dict(), path)
        return str(path)

    return save


def images_of(size):
    return torch.randn(2, 3, size, size, generator=torch.Generator().manual_seed(1))


def count(module):
    return sum(parameter.numel() for parameter in module.parameters())


@pytest.mark.parametrize(("model", "size", "tokens", "layer"), MODELS)
def test_pooled_features_match_timm(model, size, tokens, layer, checkpoint):
    images = images_of(size)
    backbone = build_timm(size, model=model, weights=checkpoint(model, size), output="pooled").eval()
    with torch.no_grad():
        vectors = timm_model(model, size)(images)
        torch.testing.assert_close(backbone(images), vectors[:, :, None, None])
    assert backbone.feature_shape == FeatureShape(vectors.shape[1], 1, 1)
    if layer is not None:
        assert_cut(model, size, "pooled", layer, images)


@pytest.mark.parametrize(("model", "size", "tokens", "layer"), WITH_TOKENS)
def test_tokens_and_map_match_timm(model, size, tokens, layer, checkpoint):
    images, path = images_of(size), checkpoint(model, size)
    with torch.no_grad():
        expected = timm_model(model, size).forward_features(images)
        sequence = build_timm(size, model=model, weights=path, output="tokens").eval()
        torch.testing.assert_close(sequence(images), expected)
        feature_map = build_timm(size, model=model, weights=path).eval()
        made = feature_map(images)
    channels, height, width = feature_map.feature_shape
    assert sequence.feature_shape == TokensShape(channels, height, width, tokens)
    assert expected.shape[1:] == (tokens + height * width, channels)
    assert made.shape == (2, channels, height, width)
    torch.testing.assert_close(made.flatten(2).transpose(1, 2), expected[:, tokens:])
    if layer is not None:
        assert_cut(model, size, "map", layer, images)
        assert_cut(model, size, "tokens", layer, images)


def assert_cut(model, size, output, layer, images):
    """Assert that both parts exist and compute the uncut backbone's output."""
    network = timm_model(model, size)
    layers = layers_for(model, network, output, size)
    cut = cut_index("", model, layers, layer)
    assert 0 < cut < layers.named
    with torch.no_grad():
        whole, parts = (
            CutBackbone(layers, c, mean=(0,) * 3, std=(1,) * 3, weights="").eval() for c in (0, cut)
        )
        expected = whole(images)
        torch.testing.assert_close(parts.trained(parts.frozen(images)), expected, rtol=0, atol=0)
        torch.testing.assert_close(parts(images), expected, rtol=0, atol=0)
    assert count(parts.frozen) > 0
    assert count(parts.trained) > 0
    assert count(parts) == count(parts.frozen) + count(parts.trained) == count(whole)
    state = parts.frozen.state_dict()
    assert sum(value.numel() for value in state.values()) >= count(parts.frozen)


@pytest.mark.parametrize("model", ["vit_tiny_patch16_224", "deit_tiny_distilled_patch16_224"])
def test_map_matches_timms_intermediates(model):
    network = timm_model(model, 64)
    layers = layers_for(model, network, "map", 64)
    backbone = CutBackbone(layers, 0, mean=(0,) * 3, std=(1,) * 3, weights="").eval()
    images = images_of(64)
    with torch.no_grad():
        expected = network.forward_intermediates(images, indices=1, norm=True, intermediates_only=True)[-1]
        torch.testing.assert_close(backbone(images), expected)


@pytest.mark.parametrize("model", ["swin_s3_tiny_224", "swinv2_cr_tiny_224", "mambaout_femto"])
def test_map_has_its_channels_first(model):
    network = timm_model(model, 64)
    features = network.forward_features(images_of(64))
    backbone = build_timm(64, model=model, weights="none")
    assert backbone.feature_shape.channels == network.num_features
    assert backbone(images_of(64)).shape == (2, network.num_features, 2, 2)
    assert features.numel() == 2 * network.num_features * 4


@pytest.mark.parametrize("model", ["resnet18", "swin_s3_tiny_224"])
def test_tokens_of_a_model_without_any_are_its_map_row_by_row(model):
    torch.manual_seed(0)
    feature_map = build_timm(64, model=model, weights="none").eval()
    torch.manual_seed(0)
    sequence = build_timm(64, model=model, weights="none", output="tokens").eval()
    assert sequence.feature_shape == TokensShape(*feature_map.feature_shape, tokens=0)
    with torch.no_grad():
        expected = feature_map(images_of(64)).flatten(2).transpose(1, 2)
        torch.testing.assert_close(sequence(images_of(64)), expected)


@pytest.mark.parametrize("output", ["map", "tokens", "pooled"])
@pytest.mark.parametrize(("model", "size", "tokens", "layer"), MODELS)
def test_predict_matches_build(model, size, tokens, layer, output):
    options = {"model": model, "weights": "none", "output": output}
    if tokens is None and output != "pooled":
        for function in (build_timm, predict_timm):
            with pytest.raises(OptionError, match=f"has no {output} in spatial order") as caught:
                function(size, **options)
            assert caught.value.option == "output"
        return
    backbone = build_timm(size, **options)
    predicted = predict_timm(size, **options)
    assert predicted.feature_shape in (None, backbone.feature_shape)
    assert predicted.parameters in (None, count(backbone))
    native = timm.get_pretrained_cfg(model).input_size[-1]
    assert None not in predict_timm(native, **options)[:2]


def test_head_convolution_is_pooled_too():
    assert predict_timm(64, output="pooled").feature_shape == (1280, 1, 1)
    assert predict_timm(64).feature_shape == (320, 2, 2)


@pytest.mark.parametrize(
    ("model", "drop_path"), [("vit_tiny_patch16_224", 0.5), ("resnet18", 0.5), ("convnext_atto", 0.5)]
)
def test_drop_path_drops_branches_in_training(model, drop_path):
    images = images_of(64)
    backbone = build_timm(64, model=model, weights="none", drop_path=drop_path)
    for parameter in backbone.parameters():
        parameter.data += 0.05 * torch.randn_like(parameter)
    backbone.eval()
    assert torch.equal(backbone(images), backbone(images))
    for module in backbone.modules():  # batch statistics would tell two steps apart without any drop path
        module.training = type(module).__name__ == "DropPath"
    assert not torch.equal(backbone(images), backbone(images))


@pytest.mark.parametrize("function", [build_timm, predict_timm])
@pytest.mark.parametrize("model", ["densenet121", "vgg11_bn"])
def test_drop_path_is_refused_where_there_is_none(function, model):
    with pytest.raises(OptionError, match=f"{model} has no stochastic depth") as caught:
        function(64, model=model, weights="none", drop_path=0.1)
    assert caught.value.option == "drop_path"


@pytest.mark.parametrize(
    ("model", "layer", "message"),
    [
        ("vit_tiny_patch16_224", "blocks.12", r"no layer 'blocks\.12' .*did you mean 'blocks\.\d+'\?"),
        ("crossvit_tiny_240", "blocks.1", r"not a sequence of layers.*expected all or none"),
        ("resnet18", "conv5_block1_out", r"no layer 'conv5_block1_out' .*in timm that is 'layer4\.1'"),
    ],
)
def test_invalid_cut_is_refused(model, layer, message):
    size = 240 if model == "crossvit_tiny_240" else 64
    with pytest.raises(OptionError, match=message) as caught:
        build_timm(size, model=model, weights="none", output="pooled", trainable_from=layer)
    assert caught.value.option == "trainable_from"


@pytest.mark.parametrize("model", SMALL)
def test_none_leaves_nothing_to_train(model):
    backbone = build_timm(64, model=model, weights="none", output="pooled", trainable_from="none")
    assert list(backbone.trained.parameters()) == []
    assert count(backbone.frozen) > 0


def test_position_embeddings_of_a_file_are_resized(tmp_path):
    path = tmp_path / "model.pth"
    torch.save(timm.create_model("vit_tiny_patch16_224", num_classes=7).state_dict(), path)
    file = {"file": str(path)}
    expected = timm.create_model(
        "vit_tiny_patch16_224", num_classes=0, img_size=64, pretrained=True, pretrained_cfg_overlay=file
    ).eval()
    backbone = build_timm(64, model="vit_tiny_patch16_224", weights=str(path), output="tokens").eval()
    with torch.no_grad():
        torch.testing.assert_close(backbone(images_of(64)), expected.forward_features(images_of(64)))


@pytest.mark.parametrize(
    ("drop", "message"), [("blocks.3.mlp.fc1.weight", "is missing"), ("cls_token", "is missing")]
)
def test_incomplete_weights_of_a_transformer_do_not_fit(tmp_path, drop, message):
    path = tmp_path / "model.pth"
    state = timm.create_model("vit_tiny_patch16_224").state_dict()
    del state[drop]
    torch.save(state, path)
    with pytest.raises(WeightsError, match=f"{drop} {message}"):
        build_timm(64, model="vit_tiny_patch16_224", weights=str(path), output="tokens")


def test_predict_of_a_varying_shape_is_none():
    predicted = predict_timm(160, model="beit_base_patch16_224", weights="none")
    assert predicted[:2] == BackboneShape(None, FeatureShape(768, 10, 10))[:2]
