"""All 16 bits of the samples of colour images, of which Pillow decodes only the upper 8."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from PIL import Image, ImageFile

from mlbench.images.formats import open_image

__all__ = ["has_sixteen_bit_colour", "ppm_white", "sixteen_bit_samples", "tiff_field"]

_COLOUR = ("RGB", "RGBA", "LA")
_TIFF_BITS = 258
_PNG_GREY_ALPHA = 4
#: The byte order that swaps the lower and the upper byte.
_ORDER = {"B": "L", "L": "B", "N": "B" if sys.byteorder == "little" else "L"}


def has_sixteen_bit_colour(image: Image.Image, data: bytes) -> bool:
    """Whether an undecoded colour image has 16 bits per channel, of which Pillow decodes 8."""
    if image.mode not in _COLOUR:
        return False
    if image.format == "PNG":
        return data[24] == 16
    if image.format == "TIFF":
        if 16 not in tiff_field(image, _TIFF_BITS):
            return False
        _fix_planes(image)
        return True
    return image.format == "PPM" and ppm_white(image) > 0xFF


def sixteen_bit_samples(image: Image.Image, data: bytes) -> np.ndarray:
    """All bits of a colour image with 16 bits per channel, (H, W, channels) uint16."""
    if image.format == "PPM":
        (tile,) = _tiles(open_image(data))
        count = image.width * image.height * 3
        if tile.codec_name == "ppm_plain":
            values = np.array(data[tile.offset :].split()[:count]).astype(np.uint16)
        else:
            values = np.frombuffer(data, ">u2", count, tile.offset).astype(np.uint16)
        return values.reshape(image.height, image.width, 3)
    if image.format == "PNG" and data[25] == _PNG_GREY_ALPHA:
        raw = np.asarray(_reopened(data, "LA;16B", "RGBA"), np.uint16)
        grey, alpha = raw[..., 0] << 8 | raw[..., 1], raw[..., 2] << 8 | raw[..., 3]
        return np.stack([grey, grey, grey, alpha], axis=-1)
    lower = np.asarray(_reopened(data, r";16([BLN])", lambda found: f";16{_ORDER[found[1]]}"))
    return np.asarray(image, np.uint16) << 8 | lower


def ppm_white(image: Image.Image) -> int:
    """The largest sample value in the header of an undecoded PPM."""
    args = _tiles(image)[0].args
    if isinstance(args, tuple) and isinstance(args[-1], int):
        return args[-1]
    return 0xFFFF if "16" in str(args) else 0xFF


def tiff_field(image: Image.Image, tag: int) -> Sequence[Any]:
    """The values of a TIFF field; empty if the image is not a TIFF or lacks the field."""
    value = getattr(image, "tag_v2", {}).get(tag)
    return () if value is None else value if isinstance(value, tuple | list) else (value,)


def _tiles(image: Image.Image) -> list[ImageFile._Tile]:
    """Position and encoding of the pixels in the file; empty after decoding."""
    return getattr(image, "tile", [])


def _reopened(data: bytes, raw_mode: str, other: str | Callable[[re.Match[str]], str]) -> Image.Image:
    """The image decoded with another raw mode, which yields the lower bytes instead of the upper bytes."""
    image = open_image(data)
    _fix_planes(image)

    def changed(tile: ImageFile._Tile) -> ImageFile._Tile:
        args = tile.args if isinstance(tile.args, tuple) else (tile.args,)
        args = (re.sub(raw_mode, other, str(args[0])), *args[1:])
        return tile._replace(args=args if isinstance(tile.args, tuple) else args[0])

    image.tile = [changed(tile) for tile in _tiles(image)]  # type: ignore[attr-defined]
    return image


def _fix_planes(image: Image.Image) -> None:
    """Set 16 bits for the planes of an uncompressed TIFF: Pillow 13.0 reads them as 8 bits."""
    tiles: list[Any] = _tiles(image)
    if image.format == "TIFF" and len(tiles) > 1 and tiles[0].args[0] == "R":
        order = "B" if getattr(image, "tag_v2").prefix == b"MM" else "L"  # noqa: B009 - only TIFF images have it
        image.tile = [  # type: ignore[attr-defined]
            tile._replace(args=(f"{tile.args[0]};16{order}", *tile.args[1:])) for tile in tiles
        ]
