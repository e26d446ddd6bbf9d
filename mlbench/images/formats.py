"""Image formats: which are read, by which suffixes files of them are known, and how a file is opened."""

from __future__ import annotations

import io
import warnings
from functools import cache
from importlib.util import find_spec

from PIL import Image, UnidentifiedImageError

__all__ = ["HEIF_SUFFIXES", "IMAGE_SUFFIXES", "UnreadableImageError", "open_image"]

# Named, because others of Pillow's readers start programs (EPS runs Ghostscript) or take nearly any bytes
# for an image (TGA).
_FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "TIFF", "GIF", "PPM", "JPEG2000", "AVIF")

#: Of photos as iPhones take them, which need pillow-heif.
HEIF_SUFFIXES = frozenset((".heic", ".heif", ".hif"))

#: File names that are taken for images, in lower case.
IMAGE_SUFFIXES = frozenset(
    (
        *(".avif", ".bmp", ".gif", ".j2c", ".j2k", ".jfif", ".jp2", ".jpc", ".jpe", ".jpeg", ".jpf"),
        *(".jpg", ".jpx", ".mpo", ".pbm", ".pgm", ".png", ".pnm", ".ppm", ".tif", ".tiff", ".webp"),
        *(HEIF_SUFFIXES if find_spec("pillow_heif") else ()),
    )
)

_HEIF_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")


class UnreadableImageError(Exception):
    """A file that is no image, a damaged one, or one of a kind that cannot be shown as RGB."""


def open_image(data: bytes) -> Image.Image:
    """The image in the bytes of a file, not decoded yet. Raises UnreadableImageError for another file."""
    heif = data[4:8] == b"ftyp" and data[8:12] in _HEIF_BRANDS
    if heif and not _heif():
        raise UnreadableImageError("HEIC needs pillow-heif; pip install 'mlbench[heic]'")
    try:
        with warnings.catch_warnings():
            # Pillow's word for what is large; what is too large is its error.
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            return Image.open(io.BytesIO(data), formats=("HEIF",) if heif else _FORMATS)
    except UnidentifiedImageError:
        # Pillow's own message shows an address in memory.
        raise UnreadableImageError("not an image" if data else "empty file") from None


@cache
def _heif() -> bool:
    """Have Pillow read HEIF, where that is installed."""
    try:
        from pillow_heif import register_heif_opener
    except ImportError:
        return False
    register_heif_opener()
    return True
