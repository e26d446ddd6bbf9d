"""Backgrounds of photographed documents: procedural desk tops, wood, cloth, stone and tiles."""

from __future__ import annotations

import colorsys
import math

import numpy as np
from PIL import Image

__all__ = ["SURFACES", "surface"]

#: Kinds of surface, all equally likely.
SURFACES = ("plain", "wood", "fabric", "stone", "tiles")

_GRID = 24


def surface(generator: np.random.Generator, size: int) -> Image.Image:
    """A random surface: RGB, size x size pixels.

    Draws the same number of values for every kind of surface.
    """
    choice, hue, saturation, value, tilt, frequency, depth, phase = generator.random(8).tolist()
    noise = (generator.random((_GRID, _GRID), dtype=np.float32) - np.float32(0.5)) * np.float32(12**0.5)
    kind = SURFACES[int(choice * len(SURFACES))]
    wood = kind == "wood"
    hue, saturation = (0.05 + 0.05 * hue, 0.35 + 0.35 * saturation) if wood else (hue, 0.5 * saturation**2)
    dark = np.array(colorsys.hsv_to_rgb(hue, saturation, 0.2 + 0.35 * value), dtype=np.float32)
    light = np.array(colorsys.hsv_to_rgb(hue, 0.8 * saturation, 0.5 + 0.45 * value), dtype=np.float32)

    axis = np.linspace(-1.0, 1.0, size, dtype=np.float32)
    slope = math.cos(math.tau * tilt) * axis[:, None] + math.sin(math.tau * tilt) * axis
    if kind == "wood":
        grain = _stretch(noise[:2], size) + 0.35 * _stretch(noise, size)
        pattern = np.sin((8 + 14 * frequency) * axis[None, :] + 1.6 * grain) * 0.6 + 0.25 * grain
        pattern = pattern if phase < 0.5 else pattern.T
    elif kind == "fabric":
        threads = np.sin((60 + 80 * frequency) * axis + phase)
        pattern = 0.6 * threads[:, None] * threads + 0.2 * _stretch(noise[:6, :6], size)
    elif kind == "stone":
        pattern = 0.5 * _stretch(noise[:5, :5], size) + 0.5 * _stretch(noise, size)
    elif kind == "tiles":
        joints = np.abs((axis * (1.5 + 2 * frequency) + phase) % 1.0 - 0.5) > 0.47
        pattern = 0.2 * _stretch(noise[:5, :5], size) - 1.4 * (joints[:, None] | joints)
    else:
        pattern = 0.12 * _stretch(noise[:5, :5], size)
    share = np.clip(0.5 + 0.3 * slope + (0.15 + 0.3 * depth) * pattern, 0.0, 1.0)
    pixels = dark + (light - dark) * share[:, :, None]
    return Image.fromarray((pixels * 255.0).astype(np.uint8))


def _stretch(grid: np.ndarray, size: int) -> np.ndarray:
    """A small float32 grid, smoothly enlarged to size x size."""
    return np.asarray(Image.fromarray(grid).resize((size, size), Image.Resampling.BICUBIC))
