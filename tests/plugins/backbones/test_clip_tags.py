"""open_clip's table of tags, read without torch, against open_clip's functions."""

import subprocess
import sys

import open_clip
from open_clip import pretrained

from mlbench_backbones.clip_tags import clean_tag, model_on_hub, tags_of


def test_tags_match_open_clip():
    for model in open_clip.list_models():
        tags = tags_of(model)
        assert list(tags) == pretrained.list_pretrained_tags_by_model(model)
        for tag, settings in tags.items():
            own = pretrained.get_pretrained_cfg(model, tag)
            assert bool(settings.get("quick_gelu")) == bool(own.get("quick_gelu")), (model, tag)
            assert settings.get("hf_hub", "") == own["hf_hub"], (model, tag)


def test_tags_are_compared_as_open_clip_does():
    assert clean_tag("laion2B-s34B-b79K") == "laion2b_s34b_b79k"


def test_model_on_hub_is_found_by_its_repository():
    assert model_on_hub("laion/CLIP-ViT-B-32-laion2B-s34B-b79K") == ("ViT-B-32", "laion2b_s34b_b79k")
    assert model_on_hub("someone/else") is None


def test_tags_are_read_without_torch():
    code = "import sys; from mlbench_backbones.clip_tags import tags_of; "
    code += "assert tags_of('ViT-B-32')['openai']['quick_gelu'] is True; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
