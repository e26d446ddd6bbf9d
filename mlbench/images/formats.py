"""Image formats: which are read, their file suffixes, and how a file is opened."""

from __future__ import annotations

import io
import warnings
from functools import cache
from importlib.util import find_spec

from PIL import Image, UnidentifiedImageError

__all__ = ["HEIF_SUFFIXES", "IMAGE_SUFFIXES", "UnreadableImageError", "open_image"]

# Not all formats of Pillow: some of its readers start programs (EPS runs Ghostscript) or accept almost any
# bytes (TGA).
_FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "TIFF", "GIF", "PPM", "JPEG2000", "AVIF")

#: Suffixes of HEIF photos, as iPhones take them; reading them needs pillow-heif.
HEIF_SUFFIXES = frozenset((".heic", ".heif", ".hif"))

#: Suffixes of image files, in lower case.
IMAGE_SUFFIXES = frozenset(
    (
        *(".avif", ".bmp", ".gif", ".j2c", ".j2k", ".jfif", ".jp2", ".jpc", ".jpe", ".jpeg", ".jpf"),
        *(".jpg", ".jpx", ".mpo", ".pbm", ".pgm", ".png", ".pnm", ".ppm", ".tif", ".tiff", ".webp"),
        *(HEIF_SUFFIXES if find_spec("pillow_heif") else ()),
    )
)

_HEIF_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")


class UnreadableImageError(Exception):
    """A file is not an image, is damaged, or cannot be converted to RGB."""


def open_image(data: bytes) -> Image.Image:
    """Open the image in the bytes of a file without decoding it. Raises UnreadableImageError for other
    files."""
    heif = data[4:8] == b"ftyp" and data[8:12] in _HEIF_BRANDS
    if heif and not _heif():
        raise UnreadableImageError("HEIC needs pillow-heif; pip install 'mlbench[heic]'")
    try:
        with warnings.catch_warnings():
            # Pillow warns of large images and raises an error for too large ones.
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            return Image.open(io.BytesIO(data), formats=("HEIF",) if heif else _FORMATS)
    except UnidentifiedImageError:
        # Pillow's message contains a memory address.
        raise UnreadableImageError("not an image" if data else "empty file") from None


@cache
def _heif() -> bool:
    """Register HEIF with Pillow; return whether pillow-heif is installed."""
    try:
        from pillow_heif import register_heif_opener
    except ImportError:
        return False
    register_heif_opener()
    return True
