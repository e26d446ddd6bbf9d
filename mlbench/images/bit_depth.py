"""Reduction of images with more than 8 bits per channel to 8 bits, by their value of white."""

from __future__ import annotations

import struct

import numpy as np
from PIL import Image

from mlbench.images.formats import UnreadableImageError
from mlbench.images.sixteen_bits import has_sixteen_bit_colour, ppm_white, sixteen_bit_samples, tiff_field

__all__ = ["to_eight_bits"]

#: The value of white if the file does not state it: the first of these that no pixel exceeds.
_WHITES = (0xFF, 0xFFF, 0xFFFF)

_GREY = ("I", "I;16", "I;16L", "I;16B", "I;16N", "F")
_WHITE_IS_ZERO = 0
_TIFF_BITS = 258
_TIFF_PHOTOMETRIC = 262
_TIFF_SMAX = 341


def to_eight_bits(image: Image.Image, data: bytes, white: float | None, remarks: list[str]) -> Image.Image:
    """The image with 8 bits per channel; an image that already has 8 bits is returned undecoded.

    data: the bytes of its file. white: the value to show as white; None takes it from the file (the bits of
    its format, or a field). If the file does not state it, white is the largest value of 8, 12 or 16 bits
    that no pixel exceeds, with an entry in `remarks` unless that is the full 16 bits. Without a given
    `white`, only an image of zeros becomes black.

    Raises UnreadableImageError for integers above 16 bits and floats if white is neither given nor stated.
    """
    if image.mode in _GREY:
        stated = _stated(image, data)
        negative = _WHITE_IS_ZERO in tiff_field(image, _TIFF_PHOTOMETRIC)
        values = np.asarray(image)
        if values.dtype.kind == "u":
            values = values.astype(np.uint16, copy=False)  # in native byte order
        if image.format == "PPM" and image.mode == "I":  # 16 bits that Pillow stores in 32
            values = values.astype(np.uint16)
        levels = _levels(values, white, stated, remarks)
        return Image.fromarray(255 - levels if negative else levels)
    if not has_sixteen_bit_colour(image, data):
        return image
    stated = _stated(image, data)
    colours = len(image.getbands()) - ("A" in image.getbands())
    peak = np.asarray(image)[..., :colours].max()
    if white is None and stated is None and peak > (_WHITES[1] >> 8) + 1:
        return image  # the full 16 bits: the upper 8, which Pillow decodes (and may round), are right
    samples = sixteen_bit_samples(image, data)
    shown = _levels(samples[..., :colours], white, stated, remarks)
    if colours < samples.shape[-1]:
        alpha = samples[..., colours:]
        # The opaque alpha value is found like white.
        opaque = next(each for each in _WHITES if alpha.max() <= each)
        shown = np.concatenate([shown, _scaled(alpha, opaque)], axis=-1)
    return Image.frombytes(image.mode, image.size, np.ascontiguousarray(shown).tobytes())


def _levels(values: np.ndarray, white: float | None, stated: float | None, remarks: list[str]) -> np.ndarray:
    """Map values to levels from 0 to 255."""
    low, peak = values.min(), values.max()
    if not (np.isfinite(low) and np.isfinite(peak)):
        raise UnreadableImageError("pixels that are not finite numbers; save it with 8 or 16 bits")
    if low < 0:
        raise UnreadableImageError(
            "negative pixels, for which black is not defined; save it with 8 or 16 bits"
        )
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
            f"{kind} without a stated value of white; save it with 8 or 16 bits, or set the value of white"
        )
    white = next(each for each in _WHITES if peak <= each)
    if peak and (white < _WHITES[-1] or values.dtype.itemsize > 2):
        remarks.append(
            f"more than 8 bits without a stated value of white, taken as {white} (see option white)"
        )
    return _scaled(values, white)


def _scaled(values: np.ndarray, white: float) -> np.ndarray:
    if values.dtype == np.uint16:  # by a table, which is fast and needs little memory
        table = np.arange(0x10000)
        # The full 16 bits become their upper 8, as in Pillow.
        return (table >> 8).astype(np.uint8)[values] if white == 0xFFFF else _scaled(table, white)[values]
    return np.floor(np.minimum(values / white, 1) * 255 + 0.5).astype(np.uint8)


def _stated(image: Image.Image, data: bytes) -> float | None:
    """The value of white that the file states, else None."""
    if image.format == "PNG":
        bits = _significant_bits(data)
        # The standard places these bits at the upper end; files that place them at the lower end so state
        # white.
        return None if bits is None else float((1 << bits) - 1)
    if image.format == "PPM":
        white = ppm_white(image)
        if white == 0xFFFF:  # every writer of 16 bits states this
            return None
        return float(0xFFFF if image.mode == "I" else white)  # Pillow scales greys to 16 bits
    if image.format == "JPEG2000":
        return float(0xFFFF)  # Pillow scales the bits of the file to 16
    depths = tiff_field(image, _TIFF_BITS)
    if depths and max(depths) < 16:
        return float((1 << max(depths)) - 1)
    return max(map(float, tiff_field(image, _TIFF_SMAX)), default=0.0) or None


def _significant_bits(data: bytes) -> int | None:
    """The largest number of bits in a PNG's sBIT chunk, if it has one."""
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
