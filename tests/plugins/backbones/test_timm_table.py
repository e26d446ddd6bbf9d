"""The table of timm's models against the models."""

import re

import pytest
import timm
from timm.models import get_deprecated_models

from mlbench.contracts import BackboneShape
from mlbench.errors import OptionError
from mlbench_backbones import make_table, timm_table
from mlbench_backbones.timm_backbone import Timm
from mlbench_backbones.timm_table import hub_repository, plain_name, predict_shape

# One model for each way of halving an image.
MODELS = [
    "convnext_atto",
    "densenet121",
    "edgenext_xx_small",
    "efficientvit_b0",
    "fastvit_t8",
    "ghostnet_100",
    "lcnet_050",
    "mobilenetv3_small_050",
    "mobilenetv4_conv_small_050",
    "mobileone_s0",
    "regnetx_002",
    "repvgg_a0",
    "resnet18",
    "resnet26d",
    "tf_efficientnet_lite0",
]


def build_timm(image_size, **options):
    return Timm(**options).build(image_size)


@pytest.fixture
def other_timm(monkeypatch):
    monkeypatch.setattr("importlib.metadata.version", lambda name: "0.0.1")


def built(model, image_size):
    backbone = build_timm(image_size, model=model, weights="none")
    return BackboneShape(sum(p.numel() for p in backbone.parameters()), backbone.feature_shape)


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("image_size", [96, 128, 160])
def test_table_matches_build(model, image_size):
    assert predict_shape(model, image_size) == built(model, image_size)


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("image_size", [67, 90])
def test_table_predicts_odd_sizes_exactly_or_not_at_all(model, image_size):
    assert predict_shape(model, image_size) in (None, built(model, image_size))


def test_table_knows_odd_sizes_of_common_models():
    for model, side in {
        "tf_efficientnet_lite0": 3,
        "lcnet_050": 3,
        "resnet50": 3,
        "convnext_atto": 2,
    }.items():
        assert predict_shape(model, 90).feature_shape.height == side


def test_table_has_every_model_and_tag_of_the_installed_timm():
    version, rows = timm_table._read()
    assert version == timm.__version__
    assert set(rows) == set(timm.list_models())
    full = {".".join(filter(None, (name, tag))) for name, row in rows.items() for tag in row.tags or ("",)}
    assert full == set(timm.list_models(include_tags=True))


def test_tags_begin_with_the_default():
    _, rows = timm_table._read()
    for name in MODELS:
        assert rows[name].tags == make_table.tags_of(name)
        assert rows[name].tags[0] == timm.get_pretrained_cfg(name).tag


def test_every_repository_matches_timm():
    full = timm.list_models(include_tags=True)
    names = {*full, *(name.partition(".")[0] for name in full)}
    expected = {name: getattr(timm.get_pretrained_cfg(name), "hf_hub_id", None) or "" for name in names}
    assert {name: hub_repository(name) for name in names} == expected
    assert "" in expected.values()


def test_repository_comes_from_another_timm_version(other_timm, monkeypatch):
    assert hub_repository("resnet50") == timm.get_pretrained_cfg("resnet50").hf_hub_id
    monkeypatch.setattr(timm_table, "_repositories", None)
    assert hub_repository("rdnet_tiny") == "naver-ai/rdnet_tiny.nv_in1k"
    assert hub_repository("resnet50.of_next_year") == ""


def test_renamed_models_match_timm():
    assert {name for name, new in get_deprecated_models().items() if new} == set(timm_table._renamed())
    for name, current in timm_table._renamed().items():
        with pytest.raises(
            OptionError, match=rf"timm has renamed {name}; set model to {re.escape(current)}$"
        ):
            plain_name(name)
        assert current.partition(".")[0] in timm_table._read()[1]


@pytest.mark.parametrize("prefix", ["", "timm/", "hf-hub:timm/", "hf_hub:timm/"])
@pytest.mark.parametrize("name", ["resnet18", "resnet18.a1_in1k"])
def test_plain_name_accepts_names_of_the_hub(prefix, name):
    assert plain_name(prefix + name) == name


@pytest.mark.parametrize(
    "model",
    [
        "hf-hub:someone/resnet18",
        "someone/resnet18",
        "hf-hub:resnet18",
        "local-dir:/models/x",
        "C:\\models\\x",
    ],
)
def test_plain_name_refuses_models_of_other_sources(model):
    with pytest.raises(OptionError, match=r"is not a timm model; set model to its architecture") as caught:
        plain_name(model)
    assert caught.value.option == "model"


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ("vit_base_patch16_224.augreg_in21", r"\(did you mean 'vit_base_patch16_224\.augreg_in21k'\?\)"),
        ("vit_base_patch16_223.augreg_in21k", r"\(did you mean 'vit_base_patch16_224\.augreg_in21k'\?\)"),
        ("resnet18d.zzzz", r"\(choose from: resnet18d\.ra2_in1k, resnet18d\.ra4_e3600_r224_in1k\)"),
        ("resnet_18.zzzz", r"\(did you mean 'resnet18'\?\)"),
    ],
)
def test_hints_keep_the_tag(model, message):
    with pytest.raises(OptionError, match=rf"has no model '{re.escape(model)}' {message}"):
        predict_shape(model, 224)


def test_table_of_another_timm_refuses_no_tag_and_no_name(other_timm):
    assert predict_shape("resnet18.of_next_year", 224) is not None
    assert plain_name("adv_inception_v3") == "adv_inception_v3"


def test_rows_are_consistent():
    _, rows = timm_table._read()
    assert {row.rounding for row in rows.values()} == {"ceil", "floor", "exact", "", "none"}
    for name, row in rows.items():
        numbers = (row.parameters, row.channels, row.stride)
        assert (numbers == (0, 0, 0)) == (row.rounding == "none"), name
        assert all(number > 0 for number in numbers) or row.rounding == "none", name
        assert (row.pooled > 0) == (row.pooled_parameters > 0), name
        assert row.size > 0, name
        assert row.per_position >= -1, name
        assert 0 <= row.tokens < 300, name


def test_table_has_an_output_for_every_model():
    _, rows = timm_table._read()
    assert [name for name, row in rows.items() if row.rounding == "none" and not row.pooled] == []
    for name, row in rows.items():
        output = "map" if row.rounding != "none" else "pooled"
        assert None not in predict_shape(name, row.size, output)[:2], name


def test_table_ignores_the_tag_of_the_weights():
    assert predict_shape("resnet18.a1_in1k", 64) == predict_shape("resnet18", 64)


def test_table_refuses_a_model_that_timm_does_not_have():
    with pytest.raises(OptionError, match=r"has no model 'resnet81' \(did you mean 'resnet18'\?\)") as caught:
        predict_shape("resnet81", 128)
    assert caught.value.option == "model"


@pytest.mark.usefixtures("other_timm")
def test_table_refuses_no_model_of_another_timm():
    assert predict_shape("resnet81", 128) is None
    assert predict_shape("resnet18", 128) is not None


@pytest.mark.parametrize(
    ("model", "output"), [("crossvit_tiny_240", "map"), ("mobilenetv5_300m_enc", "pooled")]
)
def test_table_refuses_an_output_that_a_model_does_not_have(model, output):
    with pytest.raises(OptionError, match=f"{model} has no {output}") as caught:
        predict_shape(model, 240, output)
    assert caught.value.option == "output"


@pytest.mark.parametrize(
    "model", ["resnet18", "lcnet_050", "vit_tiny_patch16_224", "hiera_tiny_224", "swin_s3_tiny_224"]
)
def test_make_table_reproduces_the_table(model):
    _, rows = timm_table._read()
    assert make_table.row_of(model) == rows[model]


def test_table_refuses_images_below_the_stride():
    with pytest.raises(OptionError, match=r"images of 20 px are smaller than the stride of convnext_atto"):
        predict_shape("convnext_atto", 20)


def test_catalogue_has_every_model_and_weights_that_exist() -> None:
    items = {item.name: item for item in timm_table.timm_catalogue()}
    assert items["resnet50"].options == {"model": "resnet50", "weights": "hub"}
    assert items["resnet50"].weights[0] == "a1_in1k"
    assert (items["resnet50"].parameters, items["resnet50"].image_size) == (23_508_032, 224)
    assert items["tf_efficientnet_lite0"].options == {"model": "tf_efficientnet_lite0"}
    assert items["efficientnet_b0_gn"].options == {"model": "efficientnet_b0_gn", "weights": "none"}
    assert items["efficientnet_b0_gn"].weights == ()
