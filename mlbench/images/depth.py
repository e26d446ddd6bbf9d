"""Depth: images with more than 8 bits in a channel brought to 8, by the value that is white in them."""

from __future__ import annotations

import re
import struct
import sys
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from PIL import Image, ImageFile

from mlbench.images.formats import UnreadableImageError, open_image

__all__ = ["to_eight_bits"]

#: What white is taken to be where the file does not say: the first of these that no pixel is above.
_WHITES = (0xFF, 0xFFF, 0xFFFF)

_GREY = ("I", "I;16", "I;16L", "I;16B", "I;16N", "F")
_COLOUR = ("RGB", "RGBA", "LA")
_WHITE_IS_ZERO = 0
_TIFF_BITS, _TIFF_PHOTOMETRIC, _TIFF_MAX, _TIFF_SMAX = 258, 262, 281, 341
_PNG_GREY_ALPHA = 4
#: The order of bytes in which the lower one is taken for the upper.
_ORDER = {"B": "L", "L": "B", "N": "B" if sys.byteorder == "little" else "L"}


def to_eight_bits(image: Image.Image, data: bytes, white: float | None, remarks: list[str]) -> Image.Image:
    """The image with 8 bits in a channel; the image itself, not decoded yet, where it has no more.

    data: the file that it was opened from. white: the value to be shown as white. Where it is None, the file
    says it, by the bits of its format or in a field of its own; else it is the largest value of 8, 12 or 16
    bits that holds the image's pixels, and unless that is all of 16 bits, `remarks` says so. No image whose
    pixels differ from 0 becomes black, unless by the `white` that was asked for.

    Raises UnreadableImageError for integers above 16 bits and floats without any word on white.
    """
    if image.mode in _GREY:
        stated = _stated(image, data)
        negative = _tags(image).get(_TIFF_PHOTOMETRIC) == _WHITE_IS_ZERO
        values = np.asarray(image)
        if image.format == "PPM" and image.mode == "I":  # 16 bits, which Pillow keeps in 32
            values = values.astype(np.uint16)
        levels = _levels(values, white, stated, remarks)
        return Image.fromarray(255 - levels if negative else levels)
    if not _is_deep_colour(image, data):
        return image
    _mend_planes(image)
    stated = _stated(image, data)
    colours = len(image.getbands()) - ("A" in image.getbands())
    peak = np.asarray(image)[..., :colours].max()
    if white is None and stated is None and peak > (_WHITES[1] >> 8) + 1:
        return image  # all of 16 bits: Pillow's upper 8 are right (which it may have rounded)
    samples = _samples(image, data)
    shown = _levels(samples[..., :colours], white, stated, remarks)
    if colours < samples.shape[-1]:
        alpha = samples[..., colours:]
        # Opaque has the value of white, where all channels were filled from the same end.
        opaque = next(each for each in _WHITES if alpha.max() <= each)
        shown = np.concatenate([shown, _scaled(alpha, opaque)], axis=-1)
    return Image.frombytes(image.mode, image.size, np.ascontiguousarray(shown).tobytes())


def _levels(values: np.ndarray, white: float | None, stated: float | None, remarks: list[str]) -> np.ndarray:
    """Values as levels from 0 to 255."""
    low, peak = values.min(), values.max()
    if not (np.isfinite(low) and np.isfinite(peak)):
        raise UnreadableImageError("pixels that are not numbers; save it with 8 or 16 bits")
    if low < 0:
        raise UnreadableImageError("pixels below 0, which have no agreed black; save it with 8 or 16 bits")
    if white is not None:
        if peak > white:
            remarks.append(f"pixels above white, {white:g}, shown as white")
        return _scaled(values, white)
    if stated is not None and peak <= stated:
        levels = _scaled(values, stated)
        if peak == 0 or levels.any():
            return levels
    if not np.issubdtype(values.dtype, np.integer) or peak > _WHITES[-1]:
        kind = "32-bit integers" if np.issubdtype(values.dtype, np.integer) else "floating-point pixels"
        raise UnreadableImageError(
            f"{kind} have no agreed white; save it with 8 or 16 bits, or say which value is white"
        )
    white = next(each for each in _WHITES if peak <= each)
    if peak and (white < _WHITES[-1] or values.dtype.itemsize > 2):
        remarks.append(f"wide pixels that do not say what white is, taken as {white} (see option white)")
    return _scaled(values, white)


def _scaled(values: np.ndarray, white: float) -> np.ndarray:
    if white == 0xFFFF and np.issubdtype(values.dtype, np.integer):
        return (np.minimum(values, 0xFFFF) >> 8).astype(np.uint8)  # the upper 8 bits, as Pillow does it
    return np.floor(np.minimum(values / white, 1) * 255 + 0.5).astype(np.uint8)


def _stated(image: Image.Image, data: bytes) -> float | None:
    """The value that the file says is white, if it does."""
    if image.format == "PNG":
        bits = _significant_bits(data)
        # The standard has these bits at the upper end. Where they stand at the lower, they say what is white.
        return None if bits is None else float((1 << bits) - 1)
    if image.format == "PPM":
        white = _ppm_white(image)
        if white == 0xFFFF:  # what every writer of 16 bits puts there
            return None
        return float(0xFFFF if image.mode == "I" else white)  # Pillow brings greys to 16 bits
    if image.format == "JPEG2000":
        return float(0xFFFF)  # Pillow brings the bits that it has to 16
    tags = _tags(image)
    depths = _sequence(tags.get(_TIFF_BITS))
    if depths and max(depths) < 16:
        return float((1 << max(depths)) - 1)
    for tag in (_TIFF_SMAX, _TIFF_MAX):
        values = [float(value) for value in _sequence(tags.get(tag))]
        if values and max(values) > 0:
            return max(values)
    return None


def _ppm_white(image: Image.Image) -> int:
    """The largest value that the header of a PPM states."""
    args = _tiles(image)[0].args
    if isinstance(args, tuple) and isinstance(args[-1], int):
        return args[-1]
    return 0xFFFF if "16" in str(args) else 0xFF


def _tiles(image: Image.Image) -> list[ImageFile._Tile]:
    """Where and how the pixels lie in the file, until they are decoded."""
    return getattr(image, "tile", [])


def _tags(image: Image.Image) -> Any:
    return getattr(image, "tag_v2", {})


def _sequence(value: Any) -> Sequence[Any]:
    return () if value is None else value if isinstance(value, tuple | list) else (value,)


def _significant_bits(data: bytes) -> int | None:
    """Of a PNG's sBIT chunk, if it has one."""
    at = 8
    while at + 8 <= len(data):
        size, kind = struct.unpack_from(">I4s", data, at)
        if kind == b"IDAT":
            return None
        if kind == b"sBIT" and 0 < size <= 4:
            bits = max(data[at + 8 : at + 8 + size])
            return bits if 0 < bits <= 16 else None
        at += 12 + size
    return None


def _is_deep_colour(image: Image.Image, data: bytes) -> bool:
    """Whether an image, of which Pillow keeps the upper 8 bits, has 16 in a channel."""
    if image.mode not in _COLOUR:
        return False
    if image.format == "PNG":
        return data[24] == 16
    if image.format == "TIFF":
        return 16 in _sequence(_tags(image).get(_TIFF_BITS))
    return image.format == "PPM" and _ppm_white(image) > 0xFF


def _samples(image: Image.Image, data: bytes) -> np.ndarray:
    """All 16 bits of an image of colours: (H, W, channels) uint16."""
    if image.format == "PPM":
        (tile,) = _tiles(open_image(data))
        body = data[tile.offset :]
        plain = tile.codec_name == "ppm_plain"
        values = np.array(body.split(), np.uint16) if plain else np.frombuffer(body, ">u2")
        return values[: image.width * image.height * 3].reshape(image.height, image.width, 3)
    if image.format == "PNG" and data[25] == _PNG_GREY_ALPHA:
        raw = np.asarray(_reopened(data, "LA;16B", "RGBA"), np.uint16)
        grey, alpha = raw[..., 0] << 8 | raw[..., 1], raw[..., 2] << 8 | raw[..., 3]
        return np.stack([grey, grey, grey, alpha], axis=-1)
    lower = np.asarray(_reopened(data, r";16([BLN])", lambda found: f";16{_ORDER[found[1]]}"))
    return np.asarray(image, np.uint16) << 8 | lower


def _reopened(data: bytes, raw_mode: str, other: str | Callable[[re.Match[str]], str]) -> Image.Image:
    """The image with the lower bytes in place of the upper ones, by another raw mode for its decoder."""
    image = open_image(data)
    _mend_planes(image)

    def changed(tile: ImageFile._Tile) -> ImageFile._Tile:
        args = tile.args if isinstance(tile.args, tuple) else (tile.args,)
        args = (re.sub(raw_mode, other, str(args[0])), *args[1:])
        return tile._replace(args=args if isinstance(tile.args, tuple) else args[0])

    image.tile = [changed(tile) for tile in _tiles(image)]  # type: ignore[attr-defined]
    return image


def _mend_planes(image: Image.Image) -> None:
    """Have the planes of an uncompressed TIFF read with 16 bits: Pillow 13.0 reads them as if they had 8."""
    tiles: list[Any] = _tiles(image)
    if image.format == "TIFF" and len(tiles) > 1 and tiles[0].args[0] == "R":
        order = "B" if _tags(image).prefix == b"MM" else "L"
        image.tile = [  # type: ignore[attr-defined]
            tile._replace(args=(f"{tile.args[0]};16{order}", *tile.args[1:])) for tile in tiles
        ]
