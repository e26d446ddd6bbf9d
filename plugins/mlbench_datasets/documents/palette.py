"""Palettes: colours that match."""

from __future__ import annotations

import colorsys
from dataclasses import dataclass

from mlbench_datasets.documents.words import Words

__all__ = ["Colour", "Palette", "blend", "palette", "sibling", "tint"]

Colour = tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class Palette:
    """paper and ink contrast. primary and accent are strong colours, readable on paper and as a background of
    paper. soft is a light shade of primary, a background for ink."""

    paper: Colour
    ink: Colour
    primary: Colour
    accent: Colour
    soft: Colour


# paper, ink, primary, accent
_SCHEMES = (
    ("fbf7ec", "2a211c", "7b1e28", "b8862f"),
    ("f6f1e4", "1f2a2e", "1f4e5f", "c8553d"),
    ("ffffff", "14213d", "14467c", "d9480f"),
    ("f3efe6", "22301f", "35592f", "a8471e"),
    ("fdf6f0", "33202a", "8d2f5b", "2a7f7a"),
    ("f7f7f2", "1a1a1a", "1a1a1a", "c1121f"),
    ("eef3f7", "102a43", "0b6e8a", "c2410c"),
    ("fff8e1", "3b2412", "a23b0c", "2f5d50"),
    ("f4ecf7", "2b1c3d", "5b2a86", "b5651d"),
    ("f2efe9", "2d2a26", "8a6d3b", "5b1a18"),
    ("fefae0", "283618", "4f6b28", "9c5518"),
    ("f0f4ef", "16302b", "0f6b5c", "a33a5b"),
    ("fbeee6", "3d1f14", "c0392b", "1f4e79"),
    ("f8f4e3", "20233a", "2e3a87", "b3721b"),
    ("f5f0f0", "2a1a1f", "a4133c", "3f5e8c"),
    ("eaf4f4", "1b3a4b", "065a60", "9a4c1f"),
)


def palette(words: Words) -> Palette:
    """One of the schemes, with slightly shifted hues and tones."""
    shift, depth = words.uniform(-0.05, 0.05), words.uniform(0.85, 1.15)
    paper, ink, primary, accent = (_parse(code) for code in words.pick(_SCHEMES))
    if words.chance(0.25):
        primary, accent = accent, primary
    primary, accent = _turn(primary, shift, depth), _turn(accent, shift / 2, 1.0)
    return Palette(paper, ink, primary, accent, blend(paper, primary, 0.16))


def sibling(colours: Palette, words: Words) -> Palette:
    """The palette of another product of the same line: the hues of the strong colours are shifted by up to a
    sixth of the colour wheel."""
    primary = _turn(colours.primary, words.uniform(-1 / 6, 1 / 6), words.uniform(0.85, 1.2))
    accent = _turn(colours.accent, words.uniform(-1 / 6, 1 / 6), 1.0)
    paper = blend(colours.paper, primary, words.uniform(0, 0.12))
    return Palette(paper, colours.ink, primary, accent, blend(paper, primary, 0.16))


def blend(first: Colour, second: Colour, share: float) -> Colour:
    """The mean of two colours, with `share` of the second."""
    r, g, b = (round(one + (two - one) * share) for one, two in zip(first, second, strict=True))
    return r, g, b


def tint(hue: float, saturation: float, value: float) -> Colour:
    """A colour from hue, saturation and value in [0, 1]."""
    r, g, b = (round(255 * part) for part in colorsys.hsv_to_rgb(hue % 1, saturation, value))
    return r, g, b


def _turn(colour: Colour, shift: float, depth: float) -> Colour:
    """The colour with a shifted hue, at most `depth` times as light as before, so that text stays legible."""
    hue, saturation, value = colorsys.rgb_to_hsv(*(part / 255 for part in colour))
    turned = tint(hue + shift, saturation, value)
    return blend((0, 0, 0), turned, min(1.0, depth * _luminance(colour) / max(1.0, _luminance(turned))))


def _luminance(colour: Colour) -> float:
    return 0.3 * colour[0] + 0.59 * colour[1] + 0.11 * colour[2]


def _parse(code: str) -> Colour:
    return int(code[0:2], 16), int(code[2:4], 16), int(code[4:6], 16)
