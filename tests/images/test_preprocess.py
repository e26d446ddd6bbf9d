from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from torchvision.transforms.v2 import InterpolationMode
from torchvision.transforms.v2 import functional as F

from mlbench.images.preprocess import PADDING, centre_crop, to_square


def noise(width: int, height: int) -> Image.Image:
    pixels = np.random.default_rng([width, height]).integers(0, 256, (height, width, 3), np.uint8)
    return Image.fromarray(pixels)


@settings(max_examples=60, deadline=None)
@given(
    st.integers(1, 150),
    st.integers(1, 150),
    st.integers(16, 64),
    st.sampled_from(["squash", "crop", "pad"]),
    st.sampled_from([1.0, 0.95, 0.875, 0.5]),
)
def test_to_square_equals_torchvision_to_the_bit(width, height, size, resize, ratio) -> None:
    image = expected = noise(width, height)
    expected = F.center_crop(expected, [max(1, round(height * ratio)), max(1, round(width * ratio))])
    side = min(expected.size)
    if resize == "crop":
        expected = F.center_crop(expected, [side, side])
    elif resize == "pad":
        side = max(expected.size)
        left, top = ((side - each) // 2 for each in expected.size)
        right, bottom = side - expected.width - left, side - expected.height - top
        expected = F.pad(expected, [left, top, right, bottom], fill=PADDING)
    expected = F.resize(expected, [size, size], InterpolationMode.BILINEAR, antialias=True)
    found = to_square(centre_crop(image, ratio), size, resize)
    assert (np.asarray(found) == np.asarray(expected)).all()


def test_to_square_squashes_crops_and_pads() -> None:
    left, right = np.zeros((10, 10, 3), np.uint8), np.full((10, 10, 3), 200, np.uint8)
    wide = Image.fromarray(np.concatenate([left, right], 1))
    squashed = np.asarray(to_square(wide, 16, "squash"))
    assert squashed[:, 0].max() == 0
    assert squashed[:, -1].min() == 200
    cropped = np.asarray(to_square(wide, 16, "crop"))
    assert cropped[0, 0].max() == 0  # the centre: 5 columns of each half
    assert cropped[0, -1].min() == 200
    padded = np.asarray(to_square(wide, 20, "pad"))
    assert (padded[:4] == 128).all()
    assert (padded[-4:] == 128).all()
    assert padded[10, 0].max() == 0


def test_a_long_strip_is_padded_without_a_square_of_its_length() -> None:
    strip = Image.new("RGB", (20_000, 40), (200, 0, 0))
    found = np.asarray(to_square(strip, 100, "pad"))
    assert (found[49:51] == (200, 0, 0)).any(axis=0).all()
    assert (found[:40] == PADDING).all()
    assert (found[-40:] == PADDING).all()


def test_to_square_leaves_an_image_of_the_right_size_unchanged() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (16, 16, 3), np.uint8)
    assert (np.asarray(to_square(Image.fromarray(pixels), 16, "squash")) == pixels).all()
