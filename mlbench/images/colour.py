"""Conversion of images of any mode and colour profile to sRGB, with the LittleCMS of Pillow."""

from __future__ import annotations

import io
from functools import lru_cache

import numpy as np
from PIL import Image, ImageCms

__all__ = ["to_srgb"]

#: Profiles that differ from sRGB by at most this many levels are not converted: versions of sRGB differ by
#: one.
_SAME = 2

_GREY_MODES = ("1", "L", "LA", "La")


def to_srgb(image: Image.Image, profile: bytes | None, remarks: list[str]) -> Image.Image:
    """Convert an image with 8 bits per channel from its colour profile to sRGB, on a white background.

    profile: the ICC profile of the file. A profile that is damaged or for another mode is ignored, with an
    entry in `remarks`.
    """
    alpha = None
    if image.has_transparency_data:
        layer = image.convert("RGBA")
        alpha = layer.getchannel("A")
        image = image.convert("L") if image.mode in _GREY_MODES else layer.convert("RGB")
    shown = _converted(image, profile, remarks) if profile else None
    if shown is None:
        # `convert` copies even RGB images and so decodes lazily opened files.
        shown = image.convert("RGB")
    if alpha is None:
        return shown
    shown.putalpha(alpha)
    return Image.alpha_composite(Image.new("RGBA", shown.size, "white"), shown).convert("RGB")


def _converted(image: Image.Image, profile: bytes, remarks: list[str]) -> Image.Image | None:
    """The image in sRGB; None if it is already in sRGB or its profile cannot be used."""
    try:
        space = _space(profile)
        if image.mode in _GREY_MODES and space == "GRAY":
            image = image.convert("L")
        elif image.mode != "CMYK":
            image = image.convert("RGB")
        transform = _transform(profile, image.mode)
        return None if transform is None else ImageCms.applyTransform(image, transform)
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
        remarks.append("colour profile that cannot be used, colours taken as sRGB")
        return None


@lru_cache(maxsize=64)
def _space(profile: bytes) -> str:
    """The colour space of a profile: "RGB", "GRAY", "CMYK" or another."""
    return ImageCms.getOpenProfile(io.BytesIO(profile)).profile.xcolor_space.strip()


@lru_cache(maxsize=64)
def _transform(profile: bytes, mode: str) -> ImageCms.ImageCmsTransform | None:
    """The conversion of images of a mode to sRGB, with the settings of image editors; None if it has no
    effect."""
    transform = ImageCms.buildTransform(
        ImageCms.getOpenProfile(io.BytesIO(profile)),
        ImageCms.createProfile("sRGB"),
        mode,
        "RGB",
        renderingIntent=ImageCms.Intent.RELATIVE_COLORIMETRIC,
        flags=ImageCms.Flags.BLACKPOINTCOMPENSATION,
    )
    if mode == "CMYK":
        return transform
    levels = np.linspace(0, 255, 17).round().astype(np.uint8)
    grid = np.stack(np.meshgrid(levels, levels, levels), axis=-1).reshape(17, -1, 3)
    colours = (
        Image.fromarray(grid) if mode == "RGB" else Image.fromarray(np.arange(256, dtype=np.uint8)[None])
    )
    shown = ImageCms.applyTransform(colours, transform)
    assert shown is not None  # None only if converted in place
    change = np.asarray(shown, np.int16) - np.asarray(colours.convert("RGB"), np.int16)
    return None if np.abs(change).max() <= _SAME else transform
