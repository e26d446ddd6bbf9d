"""Lines of text, set from glyphs that are drawn once at a few sizes and then scaled.

Drawing the same letters anew for each line takes most of the time of a document.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import NamedTuple

from PIL import Image, ImageDraw

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


@lru_cache(maxsize=256)
def height(face: Face) -> tuple[float, float]:
    """Ascent above and descent below the baseline, in ems."""
    ascent, descent = font(face, _DRAWN).getmetrics()
    return ascent / _DRAWN, descent / _DRAWN


def width(words: str, face: Face) -> float:
    """Width of a line in ems."""
    return sum(_advance(face, character) for character in words)


@lru_cache(maxsize=8)  # embossed text is the same line several times
def line(words: str, face: Face, size: float) -> Line | None:
    """A line of text, `size` pixels per em; None for blank text. Callers must not change the mask."""
    drawn = max(_SMALLEST, 1 << math.ceil(math.log2(size)))
    start, placed = 0.0, []
    for character in words:
        mask, left, top = _glyph(face, drawn, character)
        if mask is not None:
            placed.append((mask, round(start) + left, top))
        start += _advance(face, character) * drawn
    if not placed:
        return None
    left, top = min(x for _, x, _ in placed), min(y for _, _, y in placed)
    scale = size / drawn
    wide = math.ceil(scale * (max(x + mask.width for mask, x, _ in placed) - left))
    high = math.ceil(scale * (max(y + mask.height for mask, _, y in placed) - top))
    canvas = Image.new("L", (math.ceil(wide / scale), math.ceil(high / scale)))
    for mask, x, y in placed:
        canvas.paste(255, (x - left, y - top), mask)
    if drawn != size:
        canvas = canvas.resize((wide, high), Image.Resampling.BILINEAR, (0, 0, wide / scale, high / scale))
    return Line(canvas, scale * left, scale * top)


@lru_cache(maxsize=16384)
def _advance(face: Face, character: str) -> float:
    """Distance in ems from the start of a character to that of the next."""
    return font(face, _DRAWN).getlength(character) / _DRAWN


@lru_cache(maxsize=16384)
def _glyph(face: Face, size: int, character: str) -> tuple[Image.Image | None, int, int]:
    """A character's coverage, None for a blank one, and the position of its corner relative to the start of
    the baseline, in pixels."""
    if size < _DRAWN:
        return _halved(*_glyph(face, 2 * size, character))
    mask, (left, top) = font(face, size).getmask2(character, "L", anchor="ls")
    if not all(mask.size):
        return None, 0, 0
    return Image.frombytes("L", mask.size, bytes(mask)), left, top


def _halved(mask: Image.Image | None, left: int, top: int) -> tuple[Image.Image | None, int, int]:
    if mask is None:
        return None, 0, 0
    before = left % 2, top % 2
    padded = Image.new("L", (before[0] + mask.width, before[1] + mask.height))
    padded.paste(mask, before)
    return padded.reduce(2), left // 2, top // 2
