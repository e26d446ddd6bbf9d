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

    axis = _axis(size)
    if kind == "wood":
        fine = _stretch(_stretch(noise[:2], _GRID) + np.float32(0.35) * noise, size)
        pattern = np.sin((8 + 14 * frequency) * axis + 1.6 * fine) * 0.6 + 0.25 * fine
        pattern = pattern if phase < 0.5 else pattern.T
    elif kind == "fabric":
        threads = np.sin((60 + 80 * frequency) * axis + phase)
        pattern = (0.6 * threads)[:, None] * threads + 0.2 * _stretch(noise[:6, :6], size)
    elif kind == "stone":
        pattern = _stretch((_stretch(noise[:5, :5], _GRID) + noise) / 2, size)
    elif kind == "tiles":
        joints = np.abs((axis * (1.5 + 2 * frequency) + phase) % 1.0 - 0.5) > 0.47
        pattern = 0.2 * _stretch(noise[:5, :5], size) - 1.4 * (joints[:, None] | joints)
    else:
        pattern = 0.12 * _stretch(noise[:5, :5], size)
    # All colours lie on a line between two, so the image is made of the entries of a palette.
    direction = 255 * 0.3 * math.cos(math.tau * tilt), 255 * 0.3 * math.sin(math.tau * tilt)
    entries = (direction[0] * axis + 127.5)[:, None] + direction[1] * axis
    entries += 255 * (0.15 + 0.3 * depth) * pattern
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
    return np.asarray(Image.fromarray(grid).resize((size, size), Image.Resampling.BICUBIC))
