"""Lines of text, set from glyphs that are drawn once and then scaled.

Drawing the letters of each line anew would take most of the time of a document.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from PIL import Image

from mlbench_datasets.fonts import Face, font

__all__ = ["Line", "height", "line", "width"]

# Pixels per em at which glyphs are measured and drawn, for larger text at powers of two.
_DRAWN = 64

# Glyphs are halved down to this size before they are set in a line.
_SMALLEST = 16


class Line(NamedTuple):
    """A line of text. mask: its coverage, mode L. left, top: position of the mask's corner relative to the
    start of the baseline, in pixels."""

    mask: Image.Image
    left: float
    top: float


class _Glyph(NamedTuple):
    """A character. coverage: (H, W) uint8. left, top: position of its corner relative to the start of the
    baseline, in pixels. advance: distance to the start of the next character, in ems."""

    coverage: np.ndarray
    left: int
    top: int
    advance: float


@lru_cache(maxsize=256)
def height(face: Face) -> tuple[float, float]:
    """Ascent above and descent below the baseline, in ems."""
    ascent, descent = font(face, _DRAWN).getmetrics()
    return ascent / _DRAWN, descent / _DRAWN


def width(words: str, face: Face) -> float:
    """Width of a line in ems."""
    glyphs = _glyphs(face, _DRAWN)
    return sum(glyphs[character].advance for character in words)


@lru_cache(maxsize=8)  # embossed text is the same line several times
def line(words: str, face: Face, size: float) -> Line | None:
    """A line of text, `size` pixels per em; None for blank text. Callers must not change the mask."""
    drawn = max(_SMALLEST, 1 << math.ceil(math.log2(size)))
    glyphs, start, placed = _glyphs(face, drawn), 0.0, []
    for character in words:
        coverage, left, top, advance = glyphs[character]
        if coverage.size:
            x = round(start) + left
            placed.append((coverage, x, top, x + coverage.shape[1], top + coverage.shape[0]))
        start += advance * drawn
    if not placed:
        return None
    _, lefts, tops, rights, bottoms = zip(*placed, strict=True)
    left, top, scale = min(lefts), min(tops), size / drawn
    wide, high = math.ceil(scale * (max(rights) - left)), math.ceil(scale * (max(bottoms) - top))
    canvas = np.zeros((math.ceil(high / scale), math.ceil(wide / scale)), dtype=np.uint8)
    for coverage, x0, y0, x1, y1 in placed:
        spot = canvas[y0 - top : y1 - top, x0 - left : x1 - left]
        np.maximum(spot, coverage, out=spot)
    mask = Image.fromarray(canvas)
    if drawn != size:
        mask = mask.resize((wide, high), Image.Resampling.BILINEAR, (0, 0, wide / scale, high / scale))
    return Line(mask, scale * left, scale * top)


class _Glyphs(dict[str, _Glyph]):
    """The glyphs of a face at one size, drawn when they are first used."""

    def __init__(self, face: Face, size: int) -> None:
        self._face, self._size = face, size

    def __missing__(self, character: str) -> _Glyph:
        drawn = self._halved(character) if self._size < _DRAWN else self._drawn(character)
        self[character] = drawn
        return drawn

    def _drawn(self, character: str) -> _Glyph:
        face = font(self._face, self._size)
        mask, (left, top) = face.getmask2(character, "L", anchor="ls")
        wide, high = mask.size
        coverage = np.frombuffer(bytes(mask), dtype=np.uint8).reshape(high, wide)
        return _Glyph(coverage, left, top, face.getlength(character) / self._size)

    def _halved(self, character: str) -> _Glyph:
        coverage, left, top, advance = _glyphs(self._face, 2 * self._size)[character]
        high, wide = coverage.shape
        down, right = top % 2, left % 2
        padded = np.zeros((down + high + (down + high) % 2, right + wide + (right + wide) % 2), np.uint16)
        padded[down : down + high, right : right + wide] = coverage
        quarters = padded[::2, ::2] + padded[1::2, ::2] + padded[::2, 1::2] + padded[1::2, 1::2]
        return _Glyph(((quarters + 2) // 4).astype(np.uint8), left // 2, top // 2, advance)


@lru_cache(maxsize=512)
def _glyphs(face: Face, size: int) -> _Glyphs:
    return _Glyphs(face, size)
