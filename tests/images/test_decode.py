from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pillow_heif
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from mlbench.errors import DataError
from mlbench.images.decode import UnreadableImageError, decode, read_image

pillow_heif.register_heif_opener()  # so that tests can write such files


def encoded(image: Image.Image, format: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format, **options)
    return buffer.getvalue()


def corners(width: int = 48, height: int = 32) -> np.ndarray:
    """An image with a red, green, blue and grey quarter."""
    pixels = np.full((height, width, 3), 90, np.uint8)
    pixels[: height // 2, : width // 2] = (220, 20, 20)
    pixels[: height // 2, width // 2 :] = (20, 200, 20)
    pixels[height // 2 :, : width // 2] = (20, 20, 210)
    return pixels


@pytest.mark.parametrize(
    "format", ["JPEG", "PNG", "WEBP", "BMP", "TIFF", "GIF", "PPM", "JPEG2000", "AVIF", "HEIF"]
)
def test_decode_reads_every_format(format: str) -> None:
    image, size, _ = decode(encoded(Image.fromarray(corners()), format))
    assert (image.mode, image.size, size) == ("RGB", (48, 32), (48, 32))
    assert np.abs(np.asarray(image, int)[4:12, 4:20] - corners()[4:12, 4:20]).mean() < 12


TO_STORED = {
    1: lambda a: a,
    2: np.fliplr,
    3: lambda a: np.rot90(a, 2),
    4: np.flipud,
    5: lambda a: a.transpose(1, 0, 2),
    6: lambda a: np.rot90(a, 1),
    7: lambda a: np.rot90(a.transpose(1, 0, 2), 2),
    8: lambda a: np.rot90(a, -1),
}
ORIENTATIONS = pytest.mark.parametrize("orientation", TO_STORED)


def turned(upright: np.ndarray, orientation: int, format: str, **options: object) -> bytes:
    """A file with an orientation in EXIF, as from a rotated camera."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored = np.ascontiguousarray(TO_STORED[orientation](upright))
    return encoded(Image.fromarray(stored), format, exif=exif.tobytes(), **options)


@pytest.mark.parametrize("format", ["JPEG", "PNG", "TIFF", "WEBP", "AVIF", "HEIF"])
@ORIENTATIONS
def test_decode_turns_upright_by_exif(format: str, orientation: int) -> None:
    upright = corners()
    image, size, _ = decode(turned(upright, orientation, format))
    assert size == image.size == (48, 32)
    assert np.abs(np.asarray(image, int)[2:14, 2:22] - upright[2:14, 2:22]).mean() < 12
    assert np.abs(np.asarray(image, int)[18:, 26:] - 90).mean() < 12


@pytest.mark.parametrize("format", ["JPEG", "PNG", "TIFF"])
@ORIENTATIONS
def test_decode_crops_boxes_from_the_upright_image(format: str, orientation: int) -> None:
    upright = np.random.default_rng(0).integers(0, 256, (6, 9, 3), dtype=np.uint8).repeat(40, 0).repeat(40, 1)
    data = turned(upright, orientation, format, **({"quality": 95} if format == "JPEG" else {}))
    found = decode(data, box=(40, 80, 200, 160))
    assert (found.image.size, found.size) == ((160, 80), (360, 240))
    assert np.abs(np.asarray(found.image, int) - upright[80:160, 40:200]).mean() < 4
    small = decode(data, short_side=20, box=(40, 80, 200, 160))
    assert small.size == (360, 240)
    assert small.image.size == ((40, 20) if format == "JPEG" else (160, 80))
    expected = np.asarray(found.image.resize(small.image.size, Image.Resampling.BOX), int)
    assert np.abs(np.asarray(small.image, int) - expected).mean() < 6


@ORIENTATIONS
def test_decode_returns_the_upright_size_of_an_image_that_is_square_when_small(orientation: int) -> None:
    """520 x 516 pixels become 65 x 65 at an eighth, which hides the orientation."""
    data = turned(np.zeros((516, 520, 3), np.uint8), orientation, "JPEG")
    found = decode(data, short_side=60)
    assert (found.image.size, found.size) == ((65, 65), (520, 516))


def test_decode_shows_transparency_on_white() -> None:
    clear = Image.new("RGBA", (8, 8), (255, 0, 0, 0))
    clear.putpixel((0, 0), (255, 0, 0, 255))
    for data in (
        encoded(clear, "PNG"),
        encoded(clear.quantize(4), "PNG"),
        encoded(Image.new("LA", (8, 8), (0, 0)), "PNG"),
        encoded(Image.new("L", (8, 8), 7), "PNG", transparency=7),
        encoded(Image.new("RGB", (8, 8), (1, 2, 3)), "PNG", transparency=(1, 2, 3)),
    ):
        image = decode(data).image
        assert image.mode == "RGB"
        assert image.getpixel((4, 4)) == (255, 255, 255)


def test_decode_converts_other_modes() -> None:
    cyan = Image.new("CMYK", (16, 16), (255, 0, 0, 0))
    image = decode(encoded(cyan, "JPEG")).image
    red, green, blue = image.getpixel((8, 8))
    assert red < 60 < 120 < min(green, blue)
    palette = Image.new("RGB", (16, 16), (200, 30, 30)).quantize(4)
    assert decode(encoded(palette, "PNG"))[0].getpixel((3, 3)) == (200, 30, 30)
    assert decode(encoded(Image.new("1", (16, 16), 1), "PNG"))[0].getpixel((3, 3)) == (255, 255, 255)


def test_decode_states_the_reason_for_unreadable_files() -> None:
    whole = encoded(Image.fromarray(corners(200, 200)), "JPEG")
    for data, reason in (
        (b"", "empty file"),
        (b"hello, I am text", "not an image"),
        (whole[: len(whole) // 2], "truncated"),
        # The reader that starts Ghostscript is not used.
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "not an image"),
    ):
        with pytest.raises(UnreadableImageError, match=reason) as caught:
            decode(data, short_side=16)
        assert "0x" not in str(caught.value)
        assert "\n" not in str(caught.value)


def test_decode_reads_the_first_frame_with_a_remark() -> None:
    frames = [Image.new("RGB", (16, 16), colour) for colour in ("red", "blue")]
    for format in ("GIF", "PNG", "WEBP", "TIFF", "AVIF"):
        found = decode(encoded(frames[0], format, save_all=True, append_images=frames[1:]))
        red, _, blue = found.image.getpixel((8, 8))
        assert red > 200 > 50 > blue
        assert found.remarks == ("several frames or pages; the first is read",)
    # A preview or depth map that phones add to a photo is not a frame.
    assert decode(encoded(frames[0], "MPO", save_all=True, append_images=frames[1:])).remarks == ()


def test_decode_refuses_bombs(monkeypatch: pytest.MonkeyPatch) -> None:
    data = encoded(Image.new("RGB", (64, 64)), "PNG")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    with pytest.raises(UnreadableImageError, match=r"more than .* pixels; make it smaller"):
        decode(data)


@settings(max_examples=40, derandomize=True, deadline=None)
@given(width=st.integers(1, 300), height=st.integers(1, 300), side=st.integers(1, 80))
def test_decode_small_keeps_the_short_side(width: int, height: int, side: int) -> None:
    image, size, _ = decode(encoded(Image.new("RGB", (width, height)), "JPEG"), short_side=side)
    assert size == (width, height)
    assert min(image.size) >= min(side, *size)
    assert image.width <= width


def test_decode_small_crops_the_same_box() -> None:
    pixels = corners(480, 320)
    exif = Image.Exif()
    exif[0x0112] = 6
    data = encoded(Image.fromarray(np.ascontiguousarray(np.rot90(pixels))), "JPEG", exif=exif, quality=95)
    full = decode(data, box=(200, 100, 360, 260)).image
    small, size, _ = decode(data, short_side=40, box=(200, 100, 360, 260))
    assert size == (480, 320)
    assert full.size == (160, 160)
    assert small.size == (40, 40)
    difference = np.asarray(full.resize((40, 40)), int) - np.asarray(small, int)
    assert np.abs(difference).mean() < 4


def test_read_image_reports_a_missing_or_damaged_file(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"gone\.png: cannot be read any more \(No such file"):
        read_image(tmp_path / "gone.png", short_side=8)
    (tmp_path / "bad.png").write_bytes(b"text")
    with pytest.raises(DataError, match=r"bad\.png: cannot be read any more \(not an image\)"):
        read_image(tmp_path / "bad.png", short_side=8)
