"""A simulated phone camera that photographs a flat document.

The document lies on a random surface, seen at an angle, rotated, slightly off centre or cut off, under
coloured light with shadows and glare; the photograph is slightly blurred, noisy and compressed.
"""

from __future__ import annotations

import io
import math
from collections.abc import Iterator

import numpy as np
from PIL import Image, ImageFilter

from mlbench_datasets.surface import surface

__all__ = ["photograph"]

_DRAWS = 64
_FOCAL_LENGTH = 2.2  # in sides of the frame; that of a phone's main camera


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
    scene = _lay_down(document, background, draws)
    scene = _shake(scene, draws)
    scene = _expose(scene, noise, draws)
    return _develop(scene, draws)


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


def _lay_down(document: Image.Image, background: Image.Image, draws: _Draws) -> Image.Image:
    """The document on the background, in perspective, with the shadow of its edge."""
    size, proportions = background.width, np.array(document.size) / max(document.size)
    zoom = max(0.3, 1 - draws.amount(0.14) + draws.amount(0.07))
    turn = math.radians(draws.peaked(16))
    tilts = math.radians(draws.spread(14)), math.radians(draws.spread(14))
    shift = np.array([draws.spread(0.03), draws.spread(0.03)])
    shadow, shadow_width = draws.amount(0.5), 0.02 + draws.amount(0.05)
    shadow_shift = draws.spread(0.02), draws.spread(0.02)

    side = max(1, round(size * zoom))
    if document.mode != "RGB":
        document = document.convert("RGB")
    if max(document.size) > side:  # the transform below samples points, so average here
        fitted = min(document.width, side), min(document.height, side)
        document = document.resize(fitted, Image.Resampling.BILINEAR, reducing_gap=2.0)
    corners = (_project(zoom * proportions, turn, tilts) / proportions + shift + 0.5) * size
    right, bottom = document.size
    inverse = _perspective(corners, np.array([(0, 0), (right, 0), (right, bottom), (0, bottom)]))
    seen = document.transform((size, size), Image.Transform.PERSPECTIVE, inverse, Image.Resampling.BICUBIC)
    shade = shadow * _smooth(_inside(corners, size, shadow_shift) / (shadow_width * size) + 0.5)
    floor = np.asarray(background) * (1 - shade)[:, :, None]
    cover = np.clip(2 * _inside(corners, size, (0.0, 0.0)), 0, 1)
    return Image.composite(seen, _to_image(floor), Image.fromarray((255 * cover).astype(np.uint8)))


def _shake(scene: Image.Image, draws: _Draws) -> Image.Image:
    """Defocus blur and motion blur."""
    size = scene.width
    defocus = draws.amount(0.005, probability=0.5)
    motion, direction = draws.amount(0.018, probability=0.3), draws.angle()
    if defocus:
        scene = scene.filter(ImageFilter.GaussianBlur(defocus * size))
    steps = round(motion * size)
    if steps < 1:
        return scene
    pixels = np.asarray(scene)
    padded = np.pad(pixels, ((steps, steps), (steps, steps), (0, 0)), mode="edge")
    total = np.zeros(pixels.shape, dtype=np.uint16)
    for step in range(steps + 1):
        along = step - steps / 2
        x, y = steps + round(along * math.cos(direction)), steps + round(along * math.sin(direction))
        total += padded[y : y + size, x : x + size]
    return _to_image(total * np.float32(1 / (steps + 1)))


def _expose(scene: Image.Image, noise: np.ndarray, draws: _Draws) -> Image.Image:
    """Uneven light, a shadow with a soft edge, a reflection, and sensor noise."""
    size = scene.width
    y, x = np.meshgrid(*2 * [np.linspace(-1, 1, size, dtype=np.float32)], indexing="ij", sparse=True)

    falloff, direction = draws.amount(0.2), draws.angle()
    light = 1 - falloff / 2 * _along(x, y, direction)
    depth, direction = draws.amount(0.4, probability=0.35), draws.angle()
    edge, softness = draws.spread(0.7), 0.05 + draws.amount(0.5)
    if depth:
        light *= 1 - depth * _smooth((_along(x, y, direction) - edge) / softness)

    glare, direction = draws.amount(0.8, probability=0.3), draws.angle()
    centre = draws.spread(0.9), draws.spread(0.9)
    long, wide = 0.15 + draws.amount(1.2), 0.08 + draws.amount(0.15)
    grain = draws.amount(7)

    pixels = np.asarray(scene, dtype=np.float32) * light[:, :, None]
    if glare:
        u = _along(x - centre[0], y - centre[1], direction) / long
        v = _along(x - centre[0], y - centre[1], direction + math.pi / 2) / wide
        # A rational falloff has the same bits on every machine; exp has not.
        pixels += (255 * glare / (1 + u * u + v * v) ** 2)[:, :, None]
    noise *= grain
    return _to_image(pixels + noise)


def _develop(scene: Image.Image, draws: _Draws) -> Image.Image:
    """White balance, exposure, contrast and gamma, then JPEG and back."""
    warmth, tint = draws.spread(0.1), draws.spread(0.04)
    exposure, contrast, gamma = draws.spread(0.14), draws.spread(0.14), math.exp(draws.spread(0.2))
    levels = np.linspace(0, 1, 256)
    table = []
    for gain in (1 + warmth, 1 + tint, 1 - warmth):
        tone = np.clip(levels * gain * (1 + exposure), 0, 1) ** gamma
        table += np.clip(255 * ((tone - 0.5) * (1 + contrast) + 0.5) + 0.5, 0, 255).astype(int).tolist()
    loss = draws.amount(40)
    buffer = io.BytesIO()
    scene.point(table).save(buffer, "JPEG", quality=max(25, round(95 - loss)))
    buffer.seek(0)
    return Image.open(buffer).convert("RGB")


def _noise(generator: np.random.Generator, size: int) -> np.ndarray:
    """Noise with standard deviation 1: (size, size, 3) float32. The difference of two uniform bytes is close
    enough to normal noise here, and many times faster to draw."""
    first, second = np.frombuffer(generator.bytes(2 * 3 * size * size), dtype=np.uint8).reshape(
        2, size, size, 3
    )
    return np.subtract(first, second, dtype=np.float32) * np.float32(1 / 104.5)


def _project(sides: np.ndarray, turn: float, tilts: tuple[float, float]) -> np.ndarray:
    """Corners of a rotated and tilted sheet in the photograph: (4, 2), with the centre of the sheet at 0."""
    x, y = np.array([[-1, 1, 1, -1], [-1, -1, 1, 1]]) / 2 * sides[:, None]
    x, y = x * math.cos(turn) - y * math.sin(turn), x * math.sin(turn) + y * math.cos(turn)
    depth = x * math.sin(tilts[0]) + y * math.sin(tilts[1])
    nearness = _FOCAL_LENGTH / (_FOCAL_LENGTH + depth)
    return np.stack([x * math.cos(tilts[0]) * nearness, y * math.cos(tilts[1]) * nearness], axis=1)


def _perspective(source: np.ndarray, target: np.ndarray) -> list[float]:
    """Coefficients a..h of the perspective that maps four points (4, 2) of `source` to `target`:
    (ax + by + c, dx + ey + f) / (gx + hy + 1)."""
    x, y = source.T
    one, zero = np.ones(4), np.zeros(4)
    rows_u = np.stack([x, y, one, zero, zero, zero, -target[:, 0] * x, -target[:, 0] * y], axis=1)
    rows_v = np.stack([zero, zero, zero, x, y, one, -target[:, 1] * x, -target[:, 1] * y], axis=1)
    solution = np.linalg.solve(np.concatenate([rows_u, rows_v]), target.T.reshape(-1))
    return [float(value) for value in solution]


def _inside(corners: np.ndarray, size: int, shift: tuple[float, float]) -> np.ndarray:
    """Distance of each pixel to the edge of the shape with these corners, in pixels: (size, size), < 0
    outside."""
    axis = np.arange(size, dtype=np.float32) + 0.5
    moved = (corners + np.array(shift) * size).tolist()
    distance = np.full((size, size), np.inf, dtype=np.float32)
    for (x0, y0), (x1, y1) in zip(moved, moved[1:] + moved[:1], strict=True):
        length = max(math.hypot(x1 - x0, y1 - y0), 1e-6)
        dx, dy = (x1 - x0) / length, (y1 - y0) / length
        np.minimum(distance, (dx * (axis - y0))[:, None] - dy * (axis - x0), out=distance)
    return distance


def _along(x: np.ndarray, y: np.ndarray, direction: float) -> np.ndarray:
    return math.cos(direction) * x + math.sin(direction) * y


def _smooth(ramp: np.ndarray) -> np.ndarray:
    """A smooth step from 0 at 0 to 1 at 1."""
    ramp = np.clip(ramp, 0, 1)
    return np.asarray(ramp * ramp * (3 - 2 * ramp))


def _to_image(pixels: np.ndarray) -> Image.Image:
    return Image.fromarray(np.clip(pixels + 0.5, 0, 255).astype(np.uint8))
