"""Emblems: small heraldic and abstract signs, like those of banks, clubs and shops."""

from __future__ import annotations

import math
from collections.abc import Callable

from mlbench_datasets.documents.palette import Colour
from mlbench_datasets.documents.sheet import Point, Sheet
from mlbench_datasets.documents.words import Words

__all__ = ["emblem", "ring"]


def emblem(
    sheet: Sheet, words: Words, x: float, y: float, radius: float, front: Colour, back: Colour
) -> None:
    """A small heraldic or abstract sign around (x, y), drawn at random from `words`."""
    words.pick(_EMBLEMS)(sheet, words, x, y, radius, front, back)


def ring(x: float, y: float, radius: float, count: int, start: float = 0.0) -> list[Point]:
    """`count` points on a circle, the first `start` turns clockwise from the top."""
    angles = [math.tau * (i / count + start) for i in range(count)]
    return [(x + radius * math.sin(a), y - radius * math.cos(a)) for a in angles]


def _star(sheet: Sheet, words: Words, x: float, y: float, r: float, front: Colour, back: Colour) -> None:
    count, waist = words.pick((4, 5, 7, 8, 9, 11)), words.uniform(0.35, 0.75)
    outer, inner = ring(x, y, r, count), ring(x, y, r * waist, count, 0.5 / count)
    sheet.polygon([point for pair in zip(outer, inner, strict=True) for point in pair], front)
    sheet.disc(x, y, r * waist * words.uniform(0.3, 0.8), back)


def _flower(sheet: Sheet, words: Words, x: float, y: float, r: float, front: Colour, back: Colour) -> None:
    count = words.between(4, 9)
    petal = r * words.uniform(0.3, 0.42)
    for px, py in ring(x, y, r - petal, count, words.uniform()):
        sheet.disc(px, py, petal, front)
    sheet.disc(x, y, r * words.uniform(0.2, 0.4), back)


def _shield(sheet: Sheet, words: Words, x: float, y: float, r: float, front: Colour, back: Colour) -> None:
    def outline(k: float) -> list[Point]:
        return [
            (x - 0.8 * k, y - k),
            (x + 0.8 * k, y - k),
            (x + 0.8 * k, y + 0.1 * k),
            (x + 0.45 * k, y + 0.7 * k),
            (x, y + k),
            (x - 0.45 * k, y + 0.7 * k),
            (x - 0.8 * k, y + 0.1 * k),
        ]

    sheet.polygon(outline(r), front)
    sheet.polygon(outline(0.84 * r), back)
    charge = words.below(4)
    if charge == 0:
        sheet.polygon(
            [
                (x - 0.67 * r, y - 0.5 * r),
                (x + 0.67 * r, y + 0.2 * r),
                (x + 0.5 * r, y + 0.5 * r),
                (x - 0.67 * r, y - 0.1 * r),
            ],
            front,
        )
    elif charge == 1:
        sheet.box(x - 0.14 * r, y - 0.84 * r, x + 0.14 * r, y + 0.8 * r, front)
        sheet.box(x - 0.67 * r, y - 0.3 * r, x + 0.67 * r, y, front)
    elif charge == 2:
        sheet.polygon(
            [(x - 0.67 * r, y + 0.2 * r), (x, y - 0.5 * r), (x + 0.67 * r, y + 0.2 * r), (x, y + 0.8 * r)],
            front,
        )
    else:
        for px, py in ring(x, y - 0.1 * r, 0.38 * r, words.between(3, 5)):
            sheet.disc(px, py, 0.17 * r, front)


def _sun(sheet: Sheet, words: Words, x: float, y: float, r: float, front: Colour, back: Colour) -> None:
    count, core = words.between(8, 18), words.uniform(0.35, 0.6)
    for tip, foot in zip(ring(x, y, r, count), ring(x, y, 1.12 * r * core, count), strict=True):
        sheet.line([foot, tip], front, r * 0.1)
    sheet.disc(x, y, r * core, front)


def _peaks(sheet: Sheet, words: Words, x: float, y: float, r: float, front: Colour, back: Colour) -> None:
    sheet.disc(x, y, r, front)
    top, side = words.uniform(0.1, 0.6), words.uniform(-0.3, 0.3)
    sheet.polygon(
        [(x - 0.8 * r, y + 0.55 * r), (x + side * r, y - top * r), (x + 0.8 * r, y + 0.55 * r)], back
    )
    sheet.disc(x - math.copysign(0.45, side) * r, y - 0.4 * r, 0.16 * r, back)


def _tree(sheet: Sheet, words: Words, x: float, y: float, r: float, front: Colour, back: Colour) -> None:
    sheet.box(x - 0.1 * r, y, x + 0.1 * r, y + r, front)
    if words.chance(0.5):
        tiers = words.between(2, 4)
        for tier in range(tiers):
            top, wide = y - r + 1.3 * r * tier / tiers, r * (0.4 + 0.4 * tier / tiers)
            sheet.polygon([(x, top), (x + wide, top + 0.75 * r), (x - wide, top + 0.75 * r)], front)
    else:
        for px, py in ring(x, y - 0.3 * r, 0.4 * r, words.between(3, 7)):
            sheet.disc(px, py, 0.36 * r, front)


def _rings(sheet: Sheet, words: Words, x: float, y: float, r: float, front: Colour, back: Colour) -> None:
    count = words.between(2, 5)
    for px, py in ring(x, y, 0.45 * r, count, words.uniform()):
        sheet.disc(px, py, 0.55 * r, None, front, 0.13 * r)


def _crown(sheet: Sheet, words: Words, x: float, y: float, r: float, front: Colour, back: Colour) -> None:
    spikes = words.between(3, 5)
    points = [(x + 0.8 * r, y + 0.6 * r), (x - 0.8 * r, y + 0.6 * r)]
    for spike in range(spikes):
        at = x - r + 2 * r * spike / (spikes - 1)
        points.append((at, y - 0.5 * r))
        if spike < spikes - 1:
            points.append((at + r / (spikes - 1), y + 0.1 * r))
        sheet.disc(at, y - 0.62 * r, 0.15 * r, front)
    sheet.polygon(points, front)
    sheet.box(x - 0.8 * r, y + 0.68 * r, x + 0.8 * r, y + 0.85 * r, front)


def _leaf(sheet: Sheet, words: Words, x: float, y: float, r: float, front: Colour, back: Colour) -> None:
    pairs, lean = words.between(2, 5), words.uniform(0.35, 0.7)
    sheet.line([(x, y + r), (x, y - r)], front, 0.1 * r)
    for pair in range(pairs):
        foot = y + 0.8 * r - 1.5 * r * pair / pairs
        for side in (-1, 1):
            sheet.polygon(
                [
                    (x, foot),
                    (x + side * 0.25 * r, foot - 0.5 * r),
                    (x + side * lean * 1.3 * r, foot - 0.45 * r),
                    (x + side * 0.4 * r, foot - 0.05 * r),
                ],
                front,
            )


def _waves(sheet: Sheet, words: Words, x: float, y: float, r: float, front: Colour, back: Colour) -> None:
    rows, length = words.between(2, 4), words.uniform(0.5, 1.0)
    for row in range(rows):
        level = y - 0.6 * r + 1.2 * r * row / (rows - 1)
        steps = [i / 16 for i in range(-16, 17)]
        sheet.line(
            [(x + r * t, level + 0.16 * r * math.sin(math.tau * t / length)) for t in steps], front, 0.16 * r
        )


Emblem = Callable[[Sheet, Words, float, float, float, Colour, Colour], None]
_EMBLEMS: tuple[Emblem, ...] = (_star, _flower, _shield, _sun, _peaks, _tree, _rings, _crown, _leaf, _waves)
