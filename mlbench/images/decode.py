"""Decoding of image files to upright sRGB images, no larger than needed."""

from __future__ import annotations

import math
from pathlib import Path
from typing import NamedTuple

from PIL import Image

from mlbench.errors import DataError
from mlbench.images.bit_depth import to_eight_bits
from mlbench.images.colour import to_srgb
from mlbench.images.formats import UnreadableImageError, open_image

__all__ = ["Box", "Decoded", "UnreadableImageError", "decode", "read_image"]

#: x1, y1, x2, y2 in pixels of the upright image, x2 and y2 exclusive.
Box = tuple[float, float, float, float]

_ORIENTATION = 0x0112  # in EXIF
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_TURNED = (5, 6, 7, 8)  # width and height are exchanged


class Decoded(NamedTuple):
    """An upright sRGB image. size: (width, height) of the full upright image in the file. remarks: notes for
    the user on how it was read, worded equally for all files."""

    image: Image.Image
    size: tuple[int, int]
    remarks: tuple[str, ...] = ()


def decode(
    data: bytes, *, short_side: int = 0, box: Box | None = None, white: float | None = None
) -> Decoded:
    """Decode the first frame of a file to an upright sRGB image, cropped to `box`.

    A JPEG is decoded at 1/2, 1/4 or 1/8 of its size, which is much faster, if the shorter side of the result
    is at least `short_side` pixels; 0 means full size. The whole file is read in any case, so that damage is
    found. Colours are converted from the file's ICC profile; transparent pixels are shown on white. white:
    the value of white in channels with more than 8 bits (see `to_eight_bits`).

    Raises UnreadableImageError with the reason.
    """
    remarks: list[str] = []
    try:
        image = open_image(data)
        if image.format not in ("JPEG", "MPO") and getattr(image, "is_animated", False):
            remarks.append("several frames or pages; the first is read")
        size = image.size
        if short_side:
            wanted = min(size if box is None else (box[2] - box[0], box[3] - box[1]))
            share = min(1.0, short_side / max(wanted, 1))
            image.draft(None, (max(1, math.ceil(size[0] * share)), max(1, math.ceil(size[1] * share))))
        shown = to_eight_bits(image, data, white, remarks)
        image.load()
        orientation = image.getexif().get(_ORIENTATION, 1)
        if orientation in _UPRIGHT:
            shown = shown.transpose(_UPRIGHT[orientation])
        if orientation in _TURNED:
            size = size[1], size[0]
        if box is not None:
            shown = shown.crop(_scaled_box(box, shown.width / size[0], shown.height / size[1]))
        return Decoded(to_srgb(shown, image.info.get("icc_profile"), remarks), size, tuple(remarks))
    except UnreadableImageError:
        raise
    except Image.DecompressionBombError:
        most = 2 * (Image.MAX_IMAGE_PIXELS or 0)
        raise UnreadableImageError(f"more than {most:,} pixels; make it smaller") from None
    except Exception as error:  # Pillow raises many types of errors for damaged files
        raise UnreadableImageError(" ".join(str(error).split()) or type(error).__name__) from None


def read_image(
    path: Path, *, short_side: int, box: Box | None = None, white: float | None = None
) -> Image.Image:
    """`decode` a file that was readable when the data set was indexed.

    Raises DataError if it is no longer readable.
    """
    try:
        return decode(path.read_bytes(), short_side=short_side, box=box, white=white).image
    except OSError as error:
        reason = error.strerror or str(error)
    except UnreadableImageError as error:
        reason = str(error)
    raise DataError(f"{path}: cannot be read any more ({reason}); start again to index the images anew")


def _scaled_box(box: Box, x: float, y: float) -> tuple[int, int, int, int]:
    left, top = round(box[0] * x), round(box[1] * y)
    return left, top, max(left + 1, round(box[2] * x)), max(top + 1, round(box[3] * y))
