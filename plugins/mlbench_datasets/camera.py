"""A simulated phone camera that photographs a flat document.

The document lies on a random surface, seen at an angle, rotated, slightly off centre or cut off, under
coloured light with shadows and glare; the photograph is slightly blurred, noisy and compressed.
"""

from __future__ import annotations

import io
import math
from collections.abc import Iterator
from functools import lru_cache

import numpy as np
from PIL import Image, ImageFilter

from mlbench_datasets.perspective import CORNERS, inside, inverse, mapped, product, scaled, sheet
from mlbench_datasets.surface import surface

__all__ = ["SAMPLES", "photograph"]

#: Pixels of a document for each pixel of its photograph that show all of its details: the photograph samples
#: the document bilinearly, so fewer would blur and many more would alias.
SAMPLES = 1.5

_MOST_SAMPLES = 2.4  # a document with more is resized first
_DRAWS = 64
_LEAST_BLUR = 0.2  # standard deviation in pixels; less changes an edge by less than the noise

# Noise is the sum of the two halves of a byte: from 0 to 30, with this standard deviation.
_NOISE, _LOUDEST = math.sqrt(2 * (16**2 - 1) / 12), 30


def photograph(
    document: Image.Image, generator: np.random.Generator, *, size: int, strength: float = 1.0
) -> Image.Image:
    """A photograph of `document`, roughly cropped to it and made square: RGB, size x size pixels.

    strength scales all effects: at 0 the document is only resized, 1 is an ordinary snapshot, above 1 a
    careless one. The same state of `generator` gives the same bits; the number of values drawn depends on
    `size` alone.
    """
    draws = _Draws(generator.random(_DRAWS), strength)
    background = surface(generator, size)
    noise = _noise(generator, size)
    scene, light = _lay_down(document, background, draws)
    scene = _shake(scene, draws)
    levels, black, white = _expose(scene, light, noise, draws)
    return _develop(levels, black, white, draws)


class _Draws:
    """Uniform numbers, returned in order and scaled by the strength."""

    def __init__(self, uniforms: np.ndarray, strength: float) -> None:
        self._uniforms: Iterator[float] = iter(uniforms.tolist())
        self._strength = strength

    def angle(self) -> float:
        """Any direction, in radians, independent of the strength."""
        return 2 * math.pi * next(self._uniforms)

    def spread(self, limit: float) -> float:
        """Within ± limit, uniform."""
        return self._strength * limit * (2 * next(self._uniforms) - 1)

    def peaked(self, limit: float) -> float:
        """Within ± limit, mostly small."""
        value = 2 * next(self._uniforms) - 1
        return self._strength * limit * value**3

    def amount(self, limit: float, probability: float = 1.0) -> float:
        """Between 0 and limit if the event of this `probability` happens, else 0."""
        event, value = next(self._uniforms), next(self._uniforms)
        return self._strength * limit * value if event < probability else 0.0


def _lay_down(
    document: Image.Image, background: Image.Image, draws: _Draws
) -> tuple[Image.Image, np.ndarray]:
    """The document on the background, in perspective, and the light on it: (size, size) float32, 1 outside
    the shadow of the document's edge."""
    size, longer = background.width, max(document.size)
    width, height = document.width / longer, document.height / longer
    zoom = max(0.3, 1 - draws.amount(0.14) + draws.amount(0.07))
    turn = math.radians(draws.peaked(16))
    tilts = math.radians(draws.spread(14)), math.radians(draws.spread(14))
    shift = draws.spread(0.03), draws.spread(0.03)
    shadow, shadow_width = draws.amount(0.5), 0.02 + draws.amount(0.05)
    shadow_x, shadow_y = (round(draws.spread(0.02) * size) for _ in range(2))

    if document.mode != "RGB":
        document = document.convert("RGB")
    side = max(1, round(size * zoom))
    if longer > _MOST_SAMPLES * side:
        enough = math.ceil(SAMPLES * side)
        fitted = min(document.width, enough), min(document.height, enough)
        document = document.resize(fitted, Image.Resampling.BILINEAR, reducing_gap=2.0)
    seen_from = product(
        scaled(size / width, size / height, (shift[0] + 0.5) * size, (shift[1] + 0.5) * size),
        sheet(zoom * width, zoom * height, turn, tilts),
    )
    columns, rows = document.size
    *lines, (g, h, unit) = product(scaled(columns, rows, columns / 2, rows / 2), inverse(seen_from))
    coefficients = [value / unit for line in lines for value in line] + [g / unit, h / unit]
    seen = document.transform(
        (size, size), Image.Transform.PERSPECTIVE, coefficients, Image.Resampling.BILINEAR
    )

    margin = max(abs(shadow_x), abs(shadow_y)) if shadow else 0
    distance = inside([mapped(seen_from, *corner) for corner in CORNERS], size, margin)
    cover = 2 * distance[margin : margin + size, margin : margin + size]
    _limit(cover, 1)
    background.paste(seen, mask=Image.fromarray((255 * cover).astype(np.uint8)))
    light = np.ones((size, size), dtype=np.float32)
    if shadow:
        top, left = margin - shadow_y, margin - shadow_x
        shade = distance[top : top + size, left : left + size] * (shadow / (shadow_width * size))
        shade += shadow / 2
        _limit(shade, shadow)
        light -= cover
        light *= shade
        np.subtract(1, light, out=light)
    return background, light


def _shake(scene: Image.Image, draws: _Draws) -> Image.Image:
    """Defocus blur and motion blur."""
    size = scene.width
    defocus = draws.amount(0.005, probability=0.5)
    motion, direction = draws.amount(0.018, probability=0.3), draws.angle()
    blur = defocus * size
    if blur > 0.7:
        scene = scene.filter(ImageFilter.GaussianBlur(blur))
    elif blur > _LEAST_BLUR:  # the mean of three pixels with the same variance, in a third of the time
        scene = scene.filter(ImageFilter.BoxBlur(blur**2 / (2 - 2 * blur**2)))
    steps = round(motion * size)
    if steps < 1:
        return scene
    padded = _padded(np.asarray(scene), steps)
    total = np.zeros((size, size, 3), dtype=np.uint32 if steps > 250 else np.uint16)
    for step in range(steps + 1):
        along = step - steps / 2
        x, y = steps + round(along * math.cos(direction)), steps + round(along * math.sin(direction))
        total += padded[y : y + size, x : x + size]
    total //= steps + 1
    return Image.fromarray(total.astype(np.uint8))


def _expose(
    scene: Image.Image, light: np.ndarray, noise: np.ndarray, draws: _Draws
) -> tuple[np.ndarray, float, float]:
    """Uneven light, a shadow with a soft edge, a reflection, and sensor noise.

    light: as from `_lay_down`, changed in place. Returns the channels, (3, size, size) uint8, and the levels
    that stand for black and for white. These leave room for noise and reflections, so nothing is cut off.
    """
    x = _axis(scene.width)
    y = x[:, None]

    falloff, direction = draws.amount(0.2), draws.angle()
    if falloff:
        light *= 1 - _along(x, y, direction, falloff / 2)
    depth, direction = draws.amount(0.4, probability=0.35), draws.angle()
    edge, softness = draws.spread(0.7), 0.05 + draws.amount(0.5)
    if depth:
        shade = _smooth(_along(x, y, direction, 1 / softness) - edge / softness)
        shade *= -depth
        shade += 1
        light *= shade

    glare, direction = draws.amount(0.8, probability=0.3), draws.angle()
    centre = draws.spread(0.9), draws.spread(0.9)
    long, wide = 0.15 + draws.amount(1.2), 0.08 + draws.amount(0.15)
    grain = draws.amount(7)

    # The level 1 is `unit`: white in the lightest light with the loudest noise is just below 2 ** 16.
    brightest = 1 + falloff / math.sqrt(2) + glare
    unit = 65535 / (255 * brightest + _LOUDEST * grain / _NOISE)
    volume = int(unit * grain / _NOISE)
    lines = scene.tobytes("raw", "RGB;L")  # line by line, one channel after the other
    levels = np.frombuffer(lines, dtype=np.uint8).reshape(noise.shape).astype(np.uint16)
    light *= unit
    levels *= np.maximum(light, 0, out=light).astype(np.uint16)[:, None]
    if glare:
        u = _along(x - centre[0], y - centre[1], direction, 1 / long)
        v = _along(x - centre[0], y - centre[1], direction + math.pi / 2, 1 / wide)
        # A rational falloff has the same bits on every machine; exp has not.
        levels += (255 * unit * glare / (1 + u * u + v * v) ** 2).astype(np.uint16)[:, None]
    if volume:
        levels += np.uint16(volume) * noise
    levels >>= 8
    black = _LOUDEST / 2 * volume / 256 - 0.5
    return levels.astype(np.uint8).transpose(1, 0, 2), black, black + 255 * unit / 256


def _develop(levels: np.ndarray, black: float, white: float, draws: _Draws) -> Image.Image:
    """White balance, exposure, contrast and gamma, then JPEG and back. levels, black, white: as from
    `_expose`."""
    warmth, tint = draws.spread(0.1), draws.spread(0.04)
    exposure, contrast, gamma = draws.spread(0.14), draws.spread(0.14), math.exp(draws.spread(0.2))
    balance = np.array([1 + warmth, 1 + tint, 1 - warmth])[:, None]
    tone = (np.arange(256) - black) * ((1 + exposure) / (white - black)) * balance
    tone = _limit(tone, 1) ** gamma
    tone = _limit(255 * ((tone - 0.5) * (1 + contrast) + 0.5) + 0.5, 255).astype(np.uint8)
    size = levels.shape[1:]
    channels = [
        Image.frombuffer("L", size, channel.tobytes().translate(curve.tobytes()), "raw", "L", 0, 1)
        for curve, channel in zip(tone, levels, strict=True)
    ]
    loss = draws.amount(40)
    buffer = io.BytesIO()
    Image.merge("RGB", channels).save(buffer, "JPEG", quality=max(25, round(95 - loss)))
    # Half the time of Image.open, which also reads the header.
    return Image.frombytes("RGB", size, buffer.getvalue(), "jpeg", "RGB", "")


def _noise(generator: np.random.Generator, size: int) -> np.ndarray:
    """Noise from 0 to `_LOUDEST`: (size, 3, size) uint8. The sum of the two halves of a random byte is close
    enough to normal noise here, and many times faster to draw."""
    count = 3 * size * size
    words = generator.integers(0, 2**64, -(-count // 8), dtype=np.uint64)
    noise = words.astype("<u8", copy=False).view(np.uint8)[:count].reshape(size, 3, size)
    return (noise & 15) + (noise >> 4)


@lru_cache(maxsize=8)
def _axis(size: int) -> np.ndarray:
    """Coordinates from -1 to 1: (size,) float32. Callers must not change them."""
    return np.linspace(-1, 1, size, dtype=np.float32)


def _along(x: np.ndarray, y: np.ndarray, direction: float, scale: float) -> np.ndarray:
    """`scale` times the coordinate in a direction."""
    return scale * math.cos(direction) * x + scale * math.sin(direction) * y


def _smooth(ramp: np.ndarray) -> np.ndarray:
    """A smooth step from 0 at 0 to 1 at 1; changes its argument."""
    _limit(ramp, 1)
    rest = 3 - 2 * ramp
    rest *= ramp
    rest *= ramp
    return rest


def _limit(values: np.ndarray, largest: float) -> np.ndarray:
    """Limit an array in place to [0, largest], several times faster than np.clip at this size."""
    np.maximum(values, 0, out=values)
    return np.minimum(values, largest, out=values)


def _padded(pixels: np.ndarray, margin: int) -> np.ndarray:
    """(H, W, 3) with the pixels of its edges repeated `margin` times."""
    height, width, _ = pixels.shape
    padded = np.empty((height + 2 * margin, width + 2 * margin, 3), dtype=pixels.dtype)
    inner = padded[margin : margin + height]
    inner[:, margin : margin + width] = pixels
    inner[:, :margin] = pixels[:, :1]
    inner[:, margin + width :] = pixels[:, -1:]
    padded[:margin] = inner[0]
    padded[margin + height :] = inner[-1]
    return padded
