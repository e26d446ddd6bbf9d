"""Image files of any kind to upright RGB images, decoded no larger than needed."""

from __future__ import annotations

import io
import math
import warnings
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from mlbench.errors import DataError

__all__ = ["Box", "UnreadableImageError", "decode", "read_image"]

#: x1, y1, x2, y2 in pixels of the upright image, x2 and y2 exclusive.
Box = tuple[float, float, float, float]

# Named, because others of Pillow's readers start programs (EPS runs Ghostscript).
_FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "TIFF", "GIF", "PPM")
_SIXTEEN_BIT = ("I", "I;16", "I;16L", "I;16B", "I;16N")


class UnreadableImageError(Exception):
    """A file that is no image, a damaged one, or one of a kind that cannot be shown as RGB."""


def decode(
    data: bytes, *, short_side: int = 0, box: Box | None = None
) -> tuple[Image.Image, tuple[int, int]]:
    """The upright RGB image in the bytes of a file, cut to `box`, and the full upright (width, height).

    A JPEG is decoded at 1/2, 1/4 or 1/8 of its size, which is much faster, as long as the shorter side of
    the result keeps `short_side` pixels; 0 asks for the full size. All of the file is read either way, so
    damage is found. Raises UnreadableImageError with the reason.
    """
    try:
        with warnings.catch_warnings():
            # Pillow's word for what is large; what is too large is its error.
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            image = Image.open(io.BytesIO(data), formats=_FORMATS)
        size = image.size
        if short_side:
            wanted = min(size if box is None else (box[2] - box[0], box[3] - box[1]))
            share = min(1.0, short_side / max(wanted, 1))
            image.draft(None, (max(1, math.ceil(size[0] * share)), max(1, math.ceil(size[1] * share))))
        decoded = image.size
        shown = ImageOps.exif_transpose(image)
        upright = size if shown.size == decoded else (size[1], size[0])
        if box is not None:
            shown = shown.crop(_scaled(box, shown.width / upright[0], shown.height / upright[1]))
        return _rgb(shown), upright
    except UnidentifiedImageError:
        # Pillow's own message shows an address in memory.
        raise UnreadableImageError("not an image" if data else "empty file") from None
    except Image.DecompressionBombError:
        most = 2 * (Image.MAX_IMAGE_PIXELS or 0)
        raise UnreadableImageError(f"more than {most:,} pixels; make it smaller") from None
    except Exception as error:  # Pillow's readers raise nearly anything on damaged files
        raise UnreadableImageError(" ".join(str(error).split()) or type(error).__name__) from None


def read_image(path: Path, *, short_side: int, box: Box | None = None) -> Image.Image:
    """`decode` a file that could be read when the data set was indexed.

    Raises DataError if it no longer can be.
    """
    try:
        return decode(path.read_bytes(), short_side=short_side, box=box)[0]
    except OSError as error:
        reason = error.strerror or str(error)
    except UnreadableImageError as error:
        reason = str(error)
    raise DataError(f"{path}: cannot be read any more ({reason}); start again to index the images anew")


def _scaled(box: Box, x: float, y: float) -> tuple[int, int, int, int]:
    left, top = round(box[0] * x), round(box[1] * y)
    return left, top, max(left + 1, round(box[2] * x)), max(top + 1, round(box[3] * y))


def _rgb(image: Image.Image) -> Image.Image:
    """Any mode as RGB: 16 bits keep their upper 8, what is transparent is shown on white."""
    if image.mode in _SIXTEEN_BIT:
        grey = np.asarray(image)
        if grey.min() < 0 or grey.max() > 0xFFFF:
            raise UnreadableImageError("32-bit integers have no agreed white; save it with 8 or 16 bits")
        return Image.fromarray((grey >> 8).astype(np.uint8)).convert("RGB")
    if image.mode == "F":
        raise UnreadableImageError("floating-point pixels have no agreed white; save it with 8 or 16 bits")
    if image.has_transparency_data:
        layer = image.convert("RGBA")
        white = Image.new("RGBA", layer.size, "white")
        return Image.alpha_composite(white, layer).convert("RGB")
    # `convert` copies, also what is RGB already, and so forces lazy files to be decoded.
    return image.convert("RGB")
