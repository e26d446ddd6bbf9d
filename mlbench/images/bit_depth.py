"""Depth: images with more than 8 bits in a channel brought to 8, by the value that is white in them."""

from __future__ import annotations

import struct

import numpy as np
from PIL import Image

from mlbench.images.formats import UnreadableImageError
from mlbench.images.sixteen_bits import has_sixteen_bit_colour, ppm_white, sixteen_bit_samples, tiff_field

__all__ = ["to_eight_bits"]

#: What white is taken to be where the file does not say: the first of these that no pixel is above.
_WHITES = (0xFF, 0xFFF, 0xFFFF)

_GREY = ("I", "I;16", "I;16L", "I;16B", "I;16N", "F")
_WHITE_IS_ZERO = 0
_TIFF_BITS, _TIFF_PHOTOMETRIC, _TIFF_SMAX = 258, 262, 341


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
        negative = _WHITE_IS_ZERO in tiff_field(image, _TIFF_PHOTOMETRIC)
        values = np.asarray(image)
        if values.dtype.kind == "u":
            values = values.astype(np.uint16, copy=False)  # in the order of this machine
        if image.format == "PPM" and image.mode == "I":  # 16 bits, which Pillow keeps in 32
            values = values.astype(np.uint16)
        levels = _levels(values, white, stated, remarks)
        return Image.fromarray(255 - levels if negative else levels)
    if not has_sixteen_bit_colour(image, data):
        return image
    stated = _stated(image, data)
    colours = len(image.getbands()) - ("A" in image.getbands())
    peak = np.asarray(image)[..., :colours].max()
    if white is None and stated is None and peak > (_WHITES[1] >> 8) + 1:
        return image  # all of 16 bits: Pillow's upper 8 are right (which it may have rounded)
    samples = sixteen_bit_samples(image, data)
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
    if values.dtype == np.uint16:  # by a table, which is quick and needs no room
        table = np.arange(0x10000)
        # All of 16 bits by their upper 8, as Pillow does it.
        return (table >> 8).astype(np.uint8)[values] if white == 0xFFFF else _scaled(table, white)[values]
    return np.floor(np.minimum(values / white, 1) * 255 + 0.5).astype(np.uint8)


def _stated(image: Image.Image, data: bytes) -> float | None:
    """The value that the file says is white, if it does."""
    if image.format == "PNG":
        bits = _significant_bits(data)
        # The standard has these bits at the upper end. Where they stand at the lower, they say what is white.
        return None if bits is None else float((1 << bits) - 1)
    if image.format == "PPM":
        white = ppm_white(image)
        if white == 0xFFFF:  # what every writer of 16 bits puts there
            return None
        return float(0xFFFF if image.mode == "I" else white)  # Pillow brings greys to 16 bits
    if image.format == "JPEG2000":
        return float(0xFFFF)  # Pillow brings the bits that it has to 16
    depths = tiff_field(image, _TIFF_BITS)
    if depths and max(depths) < 16:
        return float((1 << max(depths)) - 1)
    return max(map(float, tiff_field(image, _TIFF_SMAX)), default=0.0) or None


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
