from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image, ImageCms
from profiles import DISPLAY_P3, cmyk_profile, converted, grey_profile, rgb_profile

from mlbench.images.decode import Decoded, decode

P3 = rgb_profile(DISPLAY_P3, 2.2)
UNUSABLE = ("colour profile that cannot be used, colours taken as sRGB",)


def encoded(image: Image.Image, format: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format, **options)
    return buffer.getvalue()


def patches() -> np.ndarray:
    """Patches of 16 pixels, large enough for JPEG, in ordinary and strong colours."""
    colours = np.array(
        [[234, 51, 35], [60, 180, 75], [20, 60, 200], [200, 180, 90], [128, 128, 128], [255, 255, 255]],
        np.uint8,
    )
    return colours.reshape(2, 3, 3).repeat(16, 0).repeat(16, 1)


def near(found: Image.Image, expected: np.ndarray, tolerance: int) -> bool:
    """Whether the centres of the patches are as expected."""
    middles = (slice(8, None, 16), slice(8, None, 16))
    return bool(np.abs(np.asarray(found, int)[middles] - expected.astype(int)[middles]).max() <= tolerance)


@pytest.mark.parametrize(
    ("format", "options"),
    [
        ("JPEG", {"quality": 95, "subsampling": 0}),
        ("PNG", {}),
        ("WEBP", {"lossless": True}),
        ("TIFF", {}),
        ("AVIF", {"quality": 100, "subsampling": "4:4:4"}),
    ],
)
def test_colours_are_converted_from_the_profile(format: str, options: dict[str, object]) -> None:
    stored = patches()
    expected = converted(stored, DISPLAY_P3, 2.2)
    assert np.abs(expected.astype(int) - stored).max() > 20  # a red that is much stronger in sRGB
    found = decode(encoded(Image.fromarray(stored), format, icc_profile=P3, **options))
    assert near(found.image, expected, 6 if format in ("JPEG", "AVIF") else 2)
    assert found.remarks == ()


def test_images_with_an_srgb_profile_are_unchanged() -> None:
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8))
    own = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    assert decode(encoded(image, "PNG", icc_profile=own)).image.tobytes() == image.tobytes()
    grey = image.convert("L")  # with the profile of the colour image, as some editors write it
    assert decode(encoded(grey, "PNG", icc_profile=own)).image.tobytes() == grey.convert("RGB").tobytes()


def test_the_profile_is_used_at_every_size_of_a_jpeg() -> None:
    stored = patches().repeat(8, 0).repeat(8, 1)
    data = encoded(Image.fromarray(stored), "JPEG", icc_profile=P3, quality=95)
    small = decode(data, short_side=32)
    assert small.image.size == (48, 32)
    assert near(small.image, converted(patches(), DISPLAY_P3, 2.2), 6)


def test_grey_profiles() -> None:
    ramp = Image.fromarray(np.arange(256, dtype=np.uint8).reshape(16, 16))
    for image in (ramp, Image.merge("LA", (ramp, Image.new("L", ramp.size, 255)))):
        shown = np.asarray(decode(encoded(image, "PNG", icc_profile=grey_profile(1.0))).image)
        assert np.array_equal(shown[..., 0], shown[..., 1])
        assert abs(int(shown[8, 0, 0]) - 188) <= 1  # half of the luminance is 188 in sRGB
        assert (shown[0, 0, 0], shown[15, 15, 0]) == (0, 255)
    deep = Image.fromarray(np.asarray(ramp, np.uint16) * 257)
    shown = np.asarray(decode(encoded(deep, "PNG", icc_profile=grey_profile(1.0))).image)
    assert abs(int(shown[8, 0, 0]) - 188) <= 1


def test_transparency_and_palettes_keep_their_profile() -> None:
    red = (234, 51, 35)
    expected = converted(np.array(red), DISPLAY_P3, 2.2)
    clear = Image.new("RGBA", (8, 8), (*red, 255))
    clear.putpixel((0, 0), (0, 0, 0, 0))
    for image in (clear, clear.quantize(4), Image.new("RGB", (8, 8), red).quantize(4)):
        shown = decode(encoded(image, "PNG", icc_profile=P3)).image
        assert np.abs(np.array(shown.getpixel((4, 4))) - expected).max() <= 2
        assert shown.getpixel((0, 0)) == (255, 255, 255) or image.mode == "P"


def test_cmyk_with_and_without_a_profile() -> None:
    plate = Image.new("CMYK", (32, 32), (255, 0, 0, 0))
    plate.paste((0, 0, 0, 0), (16, 0, 32, 32))
    lab = (200, 128, 128)  # L* 78, a light grey
    for format in ("JPEG", "TIFF"):
        shown = decode(encoded(plate, format, icc_profile=cmyk_profile(lab))).image
        ink, paper = np.array(shown.getpixel((5, 16))), np.array(shown.getpixel((26, 16)))
        assert np.abs(ink - 193).max() <= 4
        assert paper.min() >= 252
        plain = decode(encoded(plate, format)).image
        assert np.abs(np.array(plain.getpixel((5, 16))) - (0, 255, 255)).max() <= 4


def test_ycck_is_not_inverted() -> None:
    """Adobe's YCCK is CMYK with its first three channels converted to YCbCr as if they were RGB."""
    plate = Image.new("CMYK", (32, 32), (255, 0, 0, 0))
    plain = encoded(plate, "JPEG", quality=95)
    inks = Image.merge("RGB", plate.split()[:3])
    channels = [*inks.convert("YCbCr").split(), Image.new("L", plate.size, 255)]
    # The writer inverts CMYK; the transform in Adobe's segment states CMYK or YCCK.
    marked = encoded(
        Image.merge("CMYK", [each.point(lambda v: 255 - v) for each in channels]), "JPEG", quality=95
    )
    at = marked.index(b"Adobe") + 11
    assert plain[at] == 0
    ycck = marked[:at] + b"\x02" + marked[at + 1 :]
    for data in (plain, ycck):
        shown = decode(data).image
        assert np.abs(np.array(shown.getpixel((16, 16))) - (0, 255, 255)).max() <= 6


@pytest.mark.parametrize(
    "profile",
    [b"nonsense", P3[:200], P3[:300] + bytes(len(P3) - 300), cmyk_profile((0, 128, 128)), grey_profile(1.0)],
    ids=["nonsense", "cut", "zeros", "of CMYK", "of grey"],
)
def test_an_unusable_profile_is_a_remark(profile: bytes) -> None:
    stored = patches()
    found = decode(encoded(Image.fromarray(stored), "PNG", icc_profile=profile))
    assert found == Decoded(found.image, (48, 32), UNUSABLE)
    assert np.array_equal(np.asarray(found.image), stored)
