"""Backgrounds of photographed documents: procedural desk tops, wood, cloth, stone and tiles."""

from __future__ import annotations

import colorsys
import math
from functools import lru_cache

import numpy as np
from PIL import Image

__all__ = ["SURFACES", "surface"]

#: Kinds of surface, all equally likely.
SURFACES = ("plain", "wood", "fabric", "stone", "tiles")

_GRID = 24

# Share of the light colour in each entry of the palette: (256, 1).
_SHARES = np.linspace(0, 1, 256)[:, None]


def surface(generator: np.random.Generator, size: int) -> Image.Image:
    """A random surface: RGB, size x size pixels.

    Draws the same number of values for every kind of surface.
    """
    choice, hue, saturation, value, tilt, frequency, depth, phase = generator.random(8).tolist()
    noise = (generator.random((_GRID, _GRID), dtype=np.float32) - np.float32(0.5)) * np.float32(12**0.5)
    kind = SURFACES[int(choice * len(SURFACES))]
    wood = kind == "wood"
    hue, saturation = (0.05 + 0.05 * hue, 0.35 + 0.35 * saturation) if wood else (hue, 0.5 * saturation**2)
    dark = np.array(colorsys.hsv_to_rgb(hue, saturation, 255 * (0.2 + 0.35 * value)))
    light = np.array(colorsys.hsv_to_rgb(hue, 0.8 * saturation, 255 * (0.5 + 0.45 * value)))

    # All colours lie on a line between two: the image is made of the entries of a palette.
    axis, coarse = _axis(size), _axis(_GRID)
    contrast = 255 * (0.15 + 0.3 * depth)
    slope = 76.5 * math.cos(math.tau * tilt), 76.5 * math.sin(math.tau * tilt)
    smooth = (127.5 + slope[0] * coarse)[:, None] + slope[1] * coarse
    if kind == "wood":
        fine = _stretch(_stretch(noise[:2], _GRID) + np.float32(0.35) * noise, size)
        entries = np.sin((8 + 14 * frequency) * axis + 1.6 * fine)
        entries *= 0.6 * contrast
        fine *= 0.25 * contrast
        entries += fine
        entries = _stretch(smooth, size) + (entries if phase < 0.5 else entries.T)
    elif kind == "fabric":
        threads = np.sin((60 + 80 * frequency) * axis + phase)
        entries = (0.6 * contrast * threads)[:, None] * threads
        entries += _stretch(smooth + 0.2 * contrast * _stretch(noise[:6, :6], _GRID), size)
    elif kind == "stone":
        entries = _stretch(smooth + contrast / 2 * (_stretch(noise[:5, :5], _GRID) + noise), size)
    elif kind == "tiles":
        joints = np.abs((axis * (1.5 + 2 * frequency) + phase) % 1.0 - 0.5) > 0.47
        entries = _stretch(smooth + 0.2 * contrast * _stretch(noise[:5, :5], _GRID), size)
        entries -= np.float32(1.4 * contrast) * (joints[:, None] | joints)
    else:
        entries = _stretch(smooth + 0.12 * contrast * _stretch(noise[:5, :5], _GRID), size)
    np.maximum(entries, 0, out=entries)
    np.minimum(entries, 255, out=entries)
    image = Image.fromarray(entries.astype(np.uint8))
    image.putpalette((dark + (light - dark) * _SHARES).astype(np.uint8).tobytes())
    return image.convert("RGB")


@lru_cache(maxsize=8)
def _axis(size: int) -> np.ndarray:
    """Coordinates from -1 to 1: (size,) float32. Callers must not change them."""
    return np.linspace(-1.0, 1.0, size, dtype=np.float32)


def _stretch(grid: np.ndarray, size: int) -> np.ndarray:
    """A small float32 grid, smoothly enlarged to size x size."""
    return np.array(Image.fromarray(grid).resize((size, size), Image.Resampling.BICUBIC))
