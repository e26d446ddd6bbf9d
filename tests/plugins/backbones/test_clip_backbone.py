"""The open_clip backbone against open_clip's towers, with weights from generated files."""

import functools
import json
import re

import open_clip
import pytest
import torch
from open_clip.model import _build_vision_tower
from safetensors.torch import save_file
from torch import nn

from mlbench.contracts import FeatureShape, TokensShape
from mlbench.errors import OptionError, WeightsError
from mlbench_backbones import clip_config
from mlbench_backbones.clip_backbone import OpenClip

CUTS = {"ViT-S-32": "transformer.resblocks.10", "RN50": "layer4.1", "ViT-B-32-SigLIP2-256": "trunk.blocks.9"}
CUTS |= {"convnext_tiny": "trunk.stages.3", "coca_ViT-B-32": "transformer.resblocks.11"}
FAST = ["ViT-S-32", "RN50"]


def build_tower(image_size, **options):
    return OpenClip(**options).build(image_size)


def predict_tower(image_size, **options):
    return OpenClip(**options).predict(image_size)


@pytest.fixture(autouse=True)
def _seeded():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield


@functools.cache
def tower(model, size):
    """open_clip's tower, without zero weights that would hide a layer."""
    torch.manual_seed(0)
    configuration = open_clip.get_model_config(model)
    vision = dict(configuration["vision_cfg"], image_size=size, timm_model_pretrained=False)
    visual = _build_vision_tower(configuration["embed_dim"], vision, configuration.get("quick_gelu", False))
    if hasattr(visual, "trunk"):
        visual.set_input_size(size)
    for parameter in visual.parameters():
        parameter.data += 0.05 * torch.randn_like(parameter)
    return visual.eval()


def save(visual, path, **more):
    state = {f"visual.{key}": value for key, value in visual.state_dict().items()} | more
    if path.suffix == ".safetensors":
        save_file(state, path)
    else:
        torch.save({"state_dict": {f"module.{key}": value for key, value in state.items()}}, path)
    return str(path)


def images_of(size):
    return torch.randn(2, 3, size, size, generator=torch.Generator().manual_seed(1))


def count(module):
    return sum(parameter.numel() for parameter in module.parameters())


@pytest.mark.parametrize(
    "model", [*FAST, *(pytest.param(m, marks=pytest.mark.slow) for m in CUTS if m not in FAST)]
)
def test_backbone_matches_open_clip(model, tmp_path):
    visual, images = tower(model, 64), images_of(64)
    path = save(visual, tmp_path / "model.pt")
    with torch.no_grad():
        expected = visual(images)
        expected = expected[0] if isinstance(expected, tuple) else expected
        for cut in ("all", CUTS[model], "none"):
            backbone = build_tower(64, model=model, weights=path, trainable_from=cut).eval()
            torch.testing.assert_close(backbone(images), expected[:, :, None, None])
            torch.testing.assert_close(backbone.trained(backbone.frozen(images)), expected[:, :, None, None])
        assert not list(backbone.trained.parameters())
    assert backbone.feature_shape == FeatureShape(expected.shape[1], 1, 1)
    assert count(backbone) == count(visual)


def test_tokens_and_map_match_the_tower(tmp_path):
    visual, images = tower("ViT-S-32", 64), images_of(64)
    path = save(visual, tmp_path / "model.safetensors")
    with torch.no_grad():
        own = visual.forward_intermediates(
            images, indices=1, normalize_intermediates=True, output_extra_tokens=True
        )
        tokens = build_tower(64, model="ViT-S-32", weights=path, output="tokens").eval()
        feature_map = build_tower(64, model="ViT-S-32", weights=path, output="map").eval()
        expected = own["image_intermediates"][-1]
        torch.testing.assert_close(feature_map(images), expected)
        sequence = torch.cat([own["image_intermediates_prefix"][-1], expected.flatten(2).mT], 1)
        torch.testing.assert_close(tokens(images), sequence)
    assert tokens.feature_shape == TokensShape(384, 2, 2, 1)
    assert feature_map.feature_shape == FeatureShape(384, 2, 2)


def test_map_of_the_resnet_is_before_its_pool(tmp_path):
    visual, images = tower("RN50", 64), images_of(64)
    path = save(visual, tmp_path / "model.pth")
    with torch.no_grad():
        expected = visual.forward_intermediates(images, indices=1)["image_intermediates"][-1]
        feature_map = build_tower(64, model="RN50", weights=path, output="map").eval()
        torch.testing.assert_close(feature_map(images), expected)
        tokens = build_tower(64, model="RN50", weights=path, output="tokens").eval()
        torch.testing.assert_close(tokens(images), expected.flatten(2).mT)
    assert tokens.feature_shape == TokensShape(2048, 2, 2, 0)


@pytest.mark.parametrize("output", ["pooled", "tokens", "map"])
@pytest.mark.parametrize(("model", "size"), [("ViT-S-32", 96), ("ViT-S-16", 40), ("RN50", 64)])
def test_predict_matches_build(model, size, output):
    backbone = build_tower(size, model=model, weights="none", output=output)
    predicted = predict_tower(size, model=model, weights="none", output=output)
    assert predicted.feature_shape in (None, backbone.feature_shape)
    assert predicted.parameters in (None, count(backbone))
    if model != "RN50":
        assert None not in predicted[:2]


def test_predict_counts_transformers_exactly():
    counted = 0
    for model, file in clip_config._files().items():
        configuration = clip_config.read_config(model)
        predicted = clip_config.predict_tower(configuration, 224, "pooled").parameters
        if predicted is not None and predicted < 4e8:
            vision = dict(configuration["vision_cfg"], image_size=224)
            with torch.device("meta"):
                assert count(_build_vision_tower(configuration["embed_dim"], vision)) == predicted, file
            counted += 1
    assert counted > 20


def test_backbone_has_the_normalisation_of_its_tag():
    assert build_tower(64, model="ViT-S-32", weights="none").mean == pytest.approx(
        (0.481, 0.458, 0.408), abs=1e-3
    )
    _, mean, std, _ = clip_towers("ViT-B-16-SigLIP")
    assert (tuple(mean), tuple(std)) == ((0.5,) * 3, (0.5,) * 3)


def clip_towers(model):
    from mlbench_backbones.clip_weights import _normalisation

    return (None, *_normalisation(model, {}), None)


def test_positions_of_a_file_are_resized(tmp_path):
    path = save(tower("ViT-S-32", 64), tmp_path / "model.pt")
    backbone = build_tower(96, model="ViT-S-32", weights=path, output="tokens")
    assert backbone(images_of(96)).shape == (2, 10, 384)
    positions = backbone.trained.conv1.model.positional_embedding
    torch.testing.assert_close(positions[0], tower("ViT-S-32", 64).positional_embedding[0])
    assert positions.shape == (10, 384)


def test_text_tower_of_a_file_is_ignored(tmp_path):
    more = {"logit_scale": torch.ones(()), "token_embedding.weight": torch.ones(3, 2)}
    path = save(tower("ViT-S-32", 64), tmp_path / "model.pt", **more)
    backbone = build_tower(64, model="ViT-S-32", weights=path)
    assert count(backbone) == count(tower("ViT-S-32", 64))
    assert re.fullmatch(re.escape(path) + ", sha256 [0-9a-f]{64}", backbone.weights)
    assert predict_tower(64, model="ViT-S-32", weights=path).version in backbone.weights


def test_weights_of_another_tower_do_not_fit(tmp_path):
    path = save(tower("ViT-S-32", 64), tmp_path / "model.pt")
    with pytest.raises(
        WeightsError, match=r"as weights of RN50: visual\.conv1\.weight is .*; .* and \d+ more$"
    ):
        build_tower(64, model="RN50", weights=path)


def test_weights_of_a_file_run_no_code(tmp_path):
    path, sign = tmp_path / "model.pt", tmp_path / "sign"
    torch.save({"state_dict": Attack(sign)}, path)
    with pytest.raises(WeightsError, match=r"backbone open_clip: .* cannot be read as a checkpoint"):
        build_tower(64, model="ViT-S-32", weights=str(path))
    assert not sign.exists()


class Attack:
    def __init__(self, sign):
        self.sign = sign

    def __reduce__(self):
        return type(self.sign).touch, (self.sign,)


class Unreachable:
    def head(self, *arguments, **keywords):
        raise ConnectionError("no network")


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """An empty hub cache, without a network."""
    import huggingface_hub

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(huggingface_hub, "get_session", Unreachable)
    return tmp_path / "hub"


def test_unreachable_hub_error_advises_other_weights(hub):
    with pytest.raises(
        WeightsError,
        match=r"weights ViT-B-32 openai are not in the local cache .* answer; set weights to none or",
    ):
        build_tower(64, model="ViT-B-32", weights="openai")


def cache_weights(hub, visual, tag):
    """Put a tower into the hub's cache as the ViT-B-32 of a tag."""
    repository = open_clip.get_pretrained_cfg("ViT-B-32", tag)["hf_hub"].rpartition("/")[0]
    folder = hub / f"models--{repository.replace('/', '--')}"
    (folder / "refs").mkdir(parents=True)
    (folder / "refs" / "main").write_text("c0ffee")
    snapshot = folder / "snapshots" / "c0ffee"
    snapshot.mkdir(parents=True)
    save(visual, snapshot / "open_clip_model.safetensors")


@pytest.mark.parametrize(
    ("tag", "quick"),
    [
        ("openai", True),
        ("laion2b_s34b_b79k", False),
    ],
)
def test_cached_hub_weights_need_no_network_and_set_the_gelu(hub, tag, quick):
    cache_weights(hub, tower("ViT-B-32", 32), tag)
    backbone = build_tower(32, model="ViT-B-32", weights=tag)
    kinds = {type(module).__name__ for module in backbone.modules()}
    assert ("QuickGELU" in kinds, "GELU" in kinds) == (quick, not quick)
    assert re.fullmatch(rf"ViT-B-32 {tag} of open_clip, sha256 [0-9a-f]{{64}}", backbone.weights)


@pytest.fixture
def small(tmp_path, monkeypatch):
    """A small tower, in open_clip's configuration of ViT-B-32."""
    vision = {"layers": 2, "width": 64, "head_width": 32, "patch_size": 16}
    file = tmp_path / "ViT-B-32.json"
    file.write_text(json.dumps({"embed_dim": 32, "vision_cfg": vision, "text_cfg": {}}))
    monkeypatch.setattr(clip_config, "_files", lambda: {"ViT-B-32": file, "ViT-B-32-quickgelu": file})
    visual = _build_vision_tower(32, dict(vision, image_size=32))
    for parameter in visual.parameters():
        parameter.data += 0.2 * torch.randn_like(parameter)
    for block in visual.transformer.resblocks:
        block.mlp.c_fc.bias.data -= 2  # where the two activations differ most
        block.mlp.c_fc.weight.data *= 0.1
        block.mlp.c_proj.weight.data *= 50
    return visual


@pytest.mark.parametrize("tag", ["openai", "laion2b_s34b_b79k", "laion2B-s34B-b79K"])
def test_predict_has_the_version_of_the_built_hub_weights(hub, small, tag):
    assert predict_tower(32, weights=tag).version == ""
    cache_weights(hub, small, tag)
    version = predict_tower(32, weights=tag).version
    assert re.fullmatch("sha256 [0-9a-f]{64}", version)
    assert build_tower(32, weights=tag).weights.endswith(f", {version}")
    assert predict_tower(32, weights="none").version == ""


class QuickNetwork(nn.Module):
    def forward(self, x):
        return x * torch.sigmoid(1.702 * x)


def as_archive(state, path):
    """A TorchScript archive in OpenAI's format: these tensors, and code with QuickGELU."""
    network = QuickNetwork()
    for key, value in state.items():
        *folders, leaf = key.split(".")
        holder = network
        for name in folders:
            if name not in dict(holder.named_children()):
                holder.add_module(name, nn.Module())
            holder = holder.get_submodule(name)
        holder.register_buffer(leaf, value)
    torch.jit.script(network).save(path)


@pytest.mark.filterwarnings("ignore:.torch.jit")
@pytest.mark.parametrize("form", ["sizes", "archive"])
def test_openais_file_gives_the_embeddings_of_its_tag(hub, small, tmp_path, form):
    visual, images = small, images_of(32)
    cache_weights(hub, visual, "openai")
    state = {f"visual.{key}": value.half() for key, value in visual.state_dict().items()}
    path = tmp_path / "ViT-B-32.pt"
    if form == "sizes":
        sizes = {name: torch.tensor(32) for name in ("input_resolution", "context_length", "vocab_size")}
        torch.save(state | sizes, path)
    else:
        as_archive(state, path)

    def embedded(weights, **options):
        backbone = build_tower(32, model="ViT-B-32", weights=weights, **options).eval()
        with torch.no_grad():
            return backbone(images).flatten(1)

    named = embedded("openai")
    assert torch.cosine_similarity(named, embedded(str(path))).min() >= 0.999
    assert torch.cosine_similarity(named, embedded(str(path), quick_gelu=False)).min() < 0.999
    predict_tower(32, model="ViT-B-32", weights=str(path))


@pytest.mark.parametrize("function", [build_tower, predict_tower])
def test_file_with_an_unknown_gelu_is_refused(function, tmp_path):
    path = tmp_path / "model.pt"
    torch.save({"visual.proj": torch.ones(2)}, path)
    with pytest.raises(
        WeightsError, match=r"does not record whether it was trained with GELU or QuickGELU.*set quick_gelu"
    ):
        function(32, model="ViT-B-32", weights=str(path))
    for options in ({"quick_gelu": True}, {"quick_gelu": False}, {"model": "ViT-B-32-quickgelu"}):
        predict_tower(32, weights=str(path), **options)
    for model in ("RN50", "ViT-S-32", "ViT-B-16-SigLIP"):
        predict_tower(64, model=model, weights=str(path))


@pytest.mark.parametrize("function", [build_tower, predict_tower])
@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"model": "ViT-B-23"}, OptionError, r"has no model 'ViT-B-23' \(did you mean 'ViT-B-32'\?\)"),
        (
            {"weights": "laion2b_s34b_b79"},
            WeightsError,
            r"ViT-B-32 has no weights 'laion2b_s34b_b79' \(did you mean 'laion2b_s34b_b79k'\?\)",
        ),
        (
            {"model": "ViT-B-32-quickgelu", "weights": "laion2b_s34b_b79k"},
            WeightsError,
            r"ViT-B-32-quickgelu has no weights 'laion2b_s34b_b79k'",
        ),
        (
            {"model": "hf-hub:laion/CLIP-ViT-B-32-laion2B-s34B-b79K"},
            OptionError,
            r"is open_clip's ViT-B-32 with the weights laion2b_s34b_b79k; set model and weights",
        ),
        (
            {"model": "ViT-B/23"},
            OptionError,
            r"has no model 'ViT-B/23' \(did you mean 'ViT-B-32'\?\)",
        ),
        (
            {"model": "hf-hub:someone/model"},
            OptionError,
            r"'hf-hub:someone/model' is not an open_clip model; set model to its architecture",
        ),
        (
            {"weights": "no/model.pt"},
            WeightsError,
            r"'no/model\.pt' is not a file .*a tag of ViT-B-32",
        ),
    ],
)
def test_invalid_options_are_refused_by_predict_and_build(function, options, error, message):
    with pytest.raises(error, match=message):
        function(64, **options)


def test_unknown_layer_is_refused():
    with pytest.raises(
        OptionError, match=r"has no layer 'transformer\.resblocks\.12'.*did you mean"
    ) as caught:
        build_tower(64, model="ViT-S-32", weights="none", trainable_from="transformer.resblocks.12")
    assert caught.value.option == "trainable_from"


def test_images_smaller_than_a_patch_are_refused():
    for function in (build_tower, predict_tower):
        with pytest.raises(OptionError, match=r"images of 20 px are smaller than a patch, 32 px"):
            function(20, model="ViT-S-32", weights="none")


def test_model_name_may_have_a_slash():
    assert predict_tower(224, model="ViT-B/32", weights="none").parameters == 87_849_216


def test_tag_may_be_written_as_on_the_hub():
    predict_tower(224, model="ViT-B/32", weights="laion2B-s34B-b79K")


def test_catalogue_has_every_model_with_a_tag_that_exists():
    items = {item.name: item for item in OpenClip.catalogue()}
    assert set(items) == set(open_clip.list_models())
    assert items["ViT-B-32"].options == {"model": "ViT-B-32"}
    assert (items["ViT-B-32"].parameters, items["ViT-B-32"].image_size) == (87_849_216, 224)
    assert items["ViT-B-16-SigLIP-256"].options == {"model": "ViT-B-16-SigLIP-256", "weights": "webli"}
    tags = set(open_clip.list_pretrained())
    for item in items.values():
        assert (
            item.options.get("weights") == "none"
            or (item.name, item.options.get("weights", "openai")) in tags
        )
