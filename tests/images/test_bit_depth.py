from __future__ import annotations

import io
import struct
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from PIL.TiffImagePlugin import ImageFileDirectory_v2

from mlbench.images.decode import Decoded, UnreadableImageError, decode


def encoded(image: Image.Image, format: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format, **options)
    return buffer.getvalue()


def png16(pixels: np.ndarray, significant: int = 0) -> bytes:
    """A PNG with 16 bits in each of 1 to 4 channels, which Pillow cannot write."""
    height, width, channels = pixels.shape
    kind = {1: 0, 2: 4, 3: 2, 4: 6}[channels]
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in pixels)
    chunks = [(b"IHDR", struct.pack(">IIBBBBB", width, height, 16, kind, 0, 0, 0))]
    if significant:
        chunks.append((b"sBIT", bytes([significant] * channels)))
    chunks += [(b"IDAT", zlib.compress(rows)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))
        for name, content in chunks
    )


def tiff16(pixels: np.ndarray, order: str, *, planar: bool = False) -> bytes:
    """An uncompressed TIFF with three channels of 16 bits."""
    height, width, channels = pixels.shape
    body = (pixels.transpose(2, 0, 1) if planar else pixels).astype(f"{order}u2").tobytes()
    parts = [body[at : at + len(body) // channels] for at in range(0, len(body), len(body) // channels)]
    strips = parts if planar else [body]
    after = 8 + 2 + 10 * 12 + 4
    bits, offsets, counts = after, after + 6, after + 6 + 4 * len(strips)
    start = counts + 4 * len(strips)
    places = [start + sum(map(len, strips[:at])) for at in range(len(strips))]
    sizes = [len(each) for each in strips]
    one = len(strips) == 1
    entries = [
        (256, 4, 1, width), (257, 4, 1, height), (258, 3, channels, bits), (259, 3, 1, 1), (262, 3, 1, 2),
        (273, 4, len(strips), places[0] if one else offsets), (277, 3, 1, channels), (278, 4, 1, height),
        (279, 4, len(strips), sizes[0] if one else counts), (284, 3, 1, 2 if planar else 1),
    ]  # fmt: skip
    mark = b"II*\0" if order == "<" else b"MM\0*"
    data = mark + struct.pack(f"{order}IH", 8, len(entries))
    for tag, kind, count, value in entries:
        form = f"{order}HHIHxx" if kind == 3 and count == 1 else f"{order}HHII"
        data += struct.pack(form, tag, kind, count, value)
    data += bytes(4) + struct.pack(f"{order}{channels}H", *[16] * channels)
    data += struct.pack(f"{order}{len(strips)}I", *places) + struct.pack(f"{order}{len(strips)}I", *sizes)
    return data + b"".join(strips)


def ppm16(pixels: np.ndarray, white: int) -> bytes:
    height, width, _ = pixels.shape
    return f"P6 {width} {height} {white}\n".encode() + pixels.astype(">u2").tobytes()


def ramp(top: int) -> np.ndarray:
    return np.linspace(0, top, 256).round().reshape(16, 16)


LEVELS = np.arange(256, dtype=np.uint8).reshape(16, 16)


def taken_as(white: int) -> tuple[str, ...]:
    return (f"more than 8 bits without a stated value of white, taken as {white} (see option white)",)


def greys(found: Decoded) -> np.ndarray:
    pixels = np.asarray(found.image)
    assert np.array_equal(pixels[..., 0], pixels[..., 2])
    return pixels[..., 0]


@pytest.mark.parametrize(
    ("top", "kind", "format", "remarks"),
    [
        (0xFFFF, np.uint16, "PNG", ()),
        (0xFFFF, np.uint16, "TIFF", ()),
        (0xFFFF, np.uint16, "PPM", ()),
        (0xFFF, np.uint16, "PNG", taken_as(0xFFF)),
        (0xFFF, np.uint16, "TIFF", taken_as(0xFFF)),
        (0xFFF, np.uint16, "PPM", taken_as(0xFFF)),
        (0xFF, np.uint16, "PNG", taken_as(0xFF)),
        (0xFF, np.int32, "TIFF", taken_as(0xFF)),
        (0xFFFF, np.int32, "TIFF", taken_as(0xFFFF)),
    ],
)
def test_grey_without_a_stated_white(top: int, kind: type, format: str, remarks: tuple[str, ...]) -> None:
    found = decode(encoded(Image.fromarray(ramp(top).astype(kind)), format))
    assert np.abs(greys(found).astype(int) - LEVELS).max() <= (0 if top != 0xFFFF else 1)
    assert found.remarks == remarks


def test_grey_with_a_stated_white() -> None:
    dark = ramp(600).astype(np.uint16)
    fields = ImageFileDirectory_v2()
    fields.tagtype[341] = 3
    fields[341] = 1023
    found = decode(encoded(Image.fromarray(dark), "TIFF", tiffinfo=fields))
    assert (greys(found).max(), found.remarks) == (round(600 / 1023 * 255), ())
    found = decode(png16(dark[..., None], significant=10))
    assert (greys(found).max(), found.remarks) == (round(600 / 1023 * 255), ())
    # The bits at the upper end, as in the standard.
    found = decode(png16(ramp(0xFFC0).astype(np.uint16)[..., None], significant=10))
    assert (greys(found).max(), found.remarks) == (255, ())
    header = f"P5 16 16 {1023}\n".encode()
    found = decode(header + dark.astype(">u2").tobytes())
    assert (greys(found).max(), found.remarks) == (150, ())


def test_grey_of_twelve_bits_in_a_tiff() -> None:
    values = (ramp(600).astype(np.uint16) & 0xFFF).reshape(-1, 2)
    packed = np.stack(
        [values[:, 0] >> 4, (values[:, 0] & 15) << 4 | values[:, 1] >> 8, values[:, 1] & 255], axis=1
    )
    data = bytearray(encoded(Image.fromarray(np.zeros((16, 12), np.uint16)), "TIFF"))
    image = Image.open(io.BytesIO(bytes(data)))
    (start,) = image.tag_v2[273]
    data[start : start + packed.size] = packed.astype(np.uint8).tobytes()
    for tag, old, new in ((256, 12, 16), (258, 16, 12)):
        entry = struct.pack("<H", tag)
        at = next(i for i in range(8, start) if data[i : i + 2] == entry and data[i + 8] == old)
        data[at + 8] = new
    found = decode(bytes(data))
    assert (greys(found).max(), found.remarks) == (round(600 / 4095 * 255), ())


def test_grey_whose_zero_is_white() -> None:
    data = bytearray(encoded(Image.fromarray(ramp(0xFFFF).astype(np.uint16)), "TIFF"))
    at = data.index(struct.pack("<HHIH", 262, 3, 1, 1))
    data[at + 8] = 0
    assert np.abs(greys(decode(bytes(data))).astype(int) - LEVELS[::-1, ::-1]).max() <= 1


@pytest.mark.parametrize("channels", [2, 3, 4])
@pytest.mark.parametrize("top", [0xFF, 0xFFF, 0xFFFF])
def test_colours_with_sixteen_bits(channels: int, top: int) -> None:
    pixels = np.random.default_rng(channels).integers(0, top + 1, (12, 9, channels)).astype(np.uint16)
    pixels[0, 0] = top
    if channels in (2, 4):
        pixels[..., -1] = top
    files = [png16(pixels)]
    if channels == 3:
        files += [tiff16(pixels, "<"), tiff16(pixels, ">"), tiff16(pixels, "<", planar=True)]
        plain = " ".join(map(str, pixels.ravel().tolist()))
        files += [ppm16(pixels, 0xFFFF) + b"x", f"P3 9 12 65535\n{plain}\n".encode()]
    colours = pixels[..., :1].repeat(3, -1) if channels == 2 else pixels[..., :3]
    for data in files:
        found = decode(data)
        assert np.abs(np.asarray(found.image, int) - colours * 255.0 / top).max() <= 1
        assert found.remarks == (taken_as(top) if top < 0xFFFF else ())


def test_white_given_by_the_user() -> None:
    dark = png16(ramp(600).astype(np.uint16)[..., None])
    assert greys(decode(dark, white=1023)).max() == round(600 / 1023 * 255)
    assert decode(dark, white=1023).remarks == ()
    found = decode(dark, white=300)
    assert (greys(found).max(), found.remarks) == (255, ("pixels above white, 300, shown as white",))
    for image in (Image.fromarray(ramp(1).astype(np.float32)), Image.fromarray(LEVELS / np.float32(255))):
        assert greys(decode(encoded(image, "TIFF"), white=1)).max() == 255
    colours = np.full((4, 4, 3), 600, np.uint16)
    assert np.asarray(decode(png16(colours), white=1023).image).max() == round(600 / 1023 * 255)
    eight = Image.fromarray(LEVELS)
    assert np.array_equal(greys(decode(encoded(eight, "PNG"), white=1023)), LEVELS)


def test_pixels_without_a_defined_white_are_refused() -> None:
    for image in (Image.new("F", (8, 8), 0.5), Image.new("I", (8, 8), 1 << 20)):
        with pytest.raises(
            UnreadableImageError, match=r"without a stated value of white; .* or set the value of white"
        ):
            decode(encoded(image, "TIFF"))
    with pytest.raises(UnreadableImageError, match="black is not defined"):
        decode(encoded(Image.new("I", (8, 8), -1), "TIFF"))
    with pytest.raises(UnreadableImageError, match="not finite numbers"):
        decode(encoded(Image.new("F", (8, 8), float("nan")), "TIFF"), white=1)


@settings(max_examples=60, derandomize=True, deadline=None)
@given(
    top=st.integers(1, 0xFFFF),
    channels=st.integers(1, 4),
    significant=st.sampled_from([0, 8, 10, 12, 16]),
    share=st.floats(0.0, 1.0),
)
def test_only_images_of_zeros_become_black(top: int, channels: int, significant: int, share: float) -> None:
    pixels = np.zeros((4, 4, channels), np.uint16)
    pixels[:2, :, : channels - (channels in (2, 4)) or 1] = max(1, round(top * share))
    pixels[0, 0, 0] = top
    if channels in (2, 4):
        pixels[..., -1] = 0xFFFF
    assert np.asarray(decode(png16(pixels, significant)).image).any()
