"""A sheet to draw a document on, in units of a hundredth of its longer side."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw

from mlbench_datasets.documents.lettering import height, line, width
from mlbench_datasets.documents.palette import Colour, blend
from mlbench_datasets.fonts import Face, shape

__all__ = ["Point", "Sheet"]

Point = tuple[float, float]

# Share of a line's width to the left of its anchor.
_SHARES = {"l": 0.0, "m": 0.5, "r": 1.0}

# Distance of letters on an arch, as a multiple of that on a line.
_SPACING = 1.08


class Sheet:
    """An RGB image of width x height units; `scale` pixels to a unit.

    All positions and lengths are in units, x to the right and y down from the top left corner.
    """

    def __init__(self, width: float, height: float, scale: float, paper: Colour) -> None:
        self.width, self.height, self.scale = width, height, scale
        self.image = Image.new("RGB", (round(width * scale), round(height * scale)), paper)
        self.draw = ImageDraw.Draw(self.image)

    def pixels(self, length: float) -> int:
        """`length` units in whole pixels, at least one."""
        return max(1, round(length * self.scale))

    def _scaled(self, points: Sequence[Point]) -> list[Point]:
        return [(x * self.scale, y * self.scale) for x, y in points]

    def box(
        self,
        left: float,
        top: float,
        right: float,
        bottom: float,
        fill: Colour | None = None,
        outline: Colour | None = None,
        line: float = 0.5,
        radius: float = 0.0,
    ) -> None:
        """A rectangle, with rounded corners if a radius is given."""
        edges = tuple(value * self.scale for value in (left, top, right, bottom))
        width = self.pixels(line) if outline else 0
        self.draw.rounded_rectangle(edges, radius * self.scale, fill, outline, width)

    def disc(
        self,
        x: float,
        y: float,
        radius: float,
        fill: Colour | None = None,
        outline: Colour | None = None,
        line: float = 0.5,
    ) -> None:
        edges = tuple(v * self.scale for v in (x - radius, y - radius, x + radius, y + radius))
        self.draw.ellipse(edges, fill, outline, self.pixels(line) if outline else 0)

    def polygon(self, points: Sequence[Point], fill: Colour) -> None:
        self.draw.polygon(self._scaled(points), fill)

    def line(self, points: Sequence[Point], fill: Colour, width: float = 0.5) -> None:
        self.draw.line(self._scaled(points), fill, self.pixels(width))

    def gradient(self, left: float, top: float, right: float, bottom: float, ends: Sequence[Colour]) -> None:
        """A rectangle with a gradient from the first of `ends` at its top to the second at its bottom."""
        x0, x1, y0, y1 = (round(v * self.scale) for v in (left, right, top, bottom))
        if x1 <= x0 or y1 <= y0:
            return
        first, last = np.array(ends, dtype=np.float64)
        column = np.rint(first + (last - first) * np.linspace(0, 1, y1 - y0)[:, None]).astype(np.uint8)
        rectangle = Image.fromarray(column[:, None]).resize((x1 - x0, y1 - y0), Image.Resampling.NEAREST)
        self.image.paste(rectangle, (x0, y0))

    def text(
        self,
        x: float,
        y: float,
        words: str,
        face: Face,
        size: float,
        fill: Colour,
        anchor: str = "la",
        fit: float | None = None,
    ) -> float:
        """One line of text, `size` units per em, reduced to at most `fit` units in width.

        anchor: the point of the text at (x, y), as in Pillow: its left end, middle or right end ("l", "m",
        "r"), then its ascender line or the middle between that and the descender line ("a", "m").
        Returns the width in units.
        """
        words = shape(words, face.script)
        pixels, ems = max(4.0, size * self.scale), width(words, face)
        if fit is not None and ems * pixels > fit * self.scale:
            pixels = max(4.0, fit * self.scale / ems)
        ascent, descent = height(face)
        start = x * self.scale - _SHARES[anchor[0]] * ems * pixels
        baseline = y * self.scale + (ascent if anchor[1] == "a" else (ascent - descent) / 2) * pixels
        drawn = line(words, face, pixels)
        if drawn is not None:
            self.image.paste(fill, (round(start + drawn.left), round(baseline + drawn.top)), drawn.mask)
        return ems * pixels / self.scale

    def embossed(
        self, x: float, y: float, words: str, face: Face, size: float, fill: Colour, fit: float
    ) -> None:
        """Raised characters: lit from above, with a shadow below."""
        step = 0.3 + 0.03 * size
        self.text(x + step, y + step, words, face, size, blend(fill, (0, 0, 0), 0.75), fit=fit)
        self.text(x - step, y - step, words, face, size, blend(fill, (255, 255, 255), 0.8), fit=fit)
        self.text(x, y, words, face, size, fill, fit=fit)

    def arched(
        self,
        x: float,
        y: float,
        radius: float,
        words: str,
        face: Face,
        size: float,
        fill: Colour,
        middle: float,
    ) -> None:
        """Text on a circle around (x, y), upright towards the outside. middle: position of the text's middle,
        in degrees clockwise from the top."""
        pixels = max(4.0, size * self.scale)
        ascent, descent = height(face)
        advances = [_SPACING * width(letter, face) * pixels for letter in words]
        arc = radius * self.scale
        angle = math.radians(middle) - sum(advances) / 2 / arc
        side = round(2 * pixels)
        for letter, advance in zip(words, advances, strict=True):
            angle += advance / 2 / arc
            drawn = line(letter, face, pixels)
            if drawn is not None:
                start = side / 2 - advance / _SPACING / 2
                baseline = side / 2 + (ascent - descent) / 2 * pixels
                stamp = Image.new("L", (side, side))
                stamp.paste(drawn.mask, (round(start + drawn.left), round(baseline + drawn.top)))
                stamp = stamp.rotate(-math.degrees(angle), Image.Resampling.BILINEAR)
                corner = (
                    round(x * self.scale + arc * math.sin(angle) - side / 2),
                    round(y * self.scale - arc * math.cos(angle) - side / 2),
                )
                self.image.paste(fill, corner, stamp)
            angle += advance / 2 / arc

    def picture(self, picture: Image.Image, left: float, top: float, right: float, bottom: float) -> None:
        """`picture`, stretched over a rectangle."""
        x0, x1, y0, y1 = (round(v * self.scale) for v in (left, right, top, bottom))
        self.image.paste(picture.resize((x1 - x0, y1 - y0), Image.Resampling.BILINEAR), (x0, y0))
