"""Procedural photographs and prints for documents: portraits, landscapes, still lifes."""

from __future__ import annotations

import math

from PIL import Image

from mlbench_datasets.documents.palette import Colour, blend, tint
from mlbench_datasets.documents.sheet import Sheet
from mlbench_datasets.documents.words import Words

__all__ = ["picture", "portrait", "still_life"]

_SKINS: tuple[Colour, ...] = (
    (245, 214, 190),
    (232, 190, 160),
    (214, 164, 128),
    (180, 128, 92),
    (141, 92, 62),
    (98, 64, 46),
)
_HAIRS: tuple[Colour, ...] = (
    (32, 24, 22),
    (70, 44, 30),
    (120, 76, 40),
    (190, 150, 90),
    (150, 60, 30),
    (160, 160, 165),
)


def portrait(words: Words, pixels: int) -> Image.Image:
    """Head and shoulders, 4:5, `pixels` high."""
    sheet = Sheet(80, 100, pixels / 100, tint(words.uniform(), 0.25, words.uniform(0.6, 0.95)))
    skin, hair = words.pick(_SKINS), words.pick(_HAIRS)
    coat = tint(words.uniform(), words.uniform(0.2, 0.8), words.uniform(0.2, 0.8))
    wide, long = words.uniform(15, 20), words.uniform(21, 27)
    style, x, y = words.below(4), 40.0, 44.0
    if style == 1:  # long hair falls behind the shoulders
        sheet.box(x - wide - 7, y - long + 4, x + wide + 7, y + long + 14, hair, radius=14)
    shoulders = words.uniform(28, 36)
    sheet.box(x - shoulders, 78, x + shoulders, 125, coat, radius=16)
    sheet.box(x - 7, y + 10, x + 7, 84, blend(skin, (0, 0, 0), 0.15), radius=6)
    if words.chance(0.5):
        sheet.polygon(
            [(x - 10, 78), (x, 92), (x + 10, 78), (x + 16, 82), (x, 100), (x - 16, 82)], (240, 240, 240)
        )
    scale = sheet.scale
    if style != 3:
        lift = words.uniform(3, 8)
        sheet.draw.ellipse([v * scale for v in (x - wide - 3, y - long - lift, x + wide + 3, y + 8)], hair)
    sheet.draw.ellipse([v * scale for v in (x - wide, y - long + 2, x + wide, y + long)], skin)
    if style != 3:
        fringe = words.uniform(0.15, 0.5)
        sheet.draw.pieslice(
            [v * scale for v in (x - wide - 1, y - long - 2, x + wide + 1, y + long * fringe)], 180, 360, hair
        )
    eyes, brow = words.uniform(6, 8.5), words.uniform(4, 6)
    for side in (-1, 1):
        sheet.disc(x + side * eyes, y + 2, 2, (30, 25, 25))
        sheet.line([(x + side * (eyes - 4), y + 2 - brow), (x + side * (eyes + 4), y + 2 - brow)], hair, 1.6)
    if words.chance(0.3):
        for side in (-1, 1):
            sheet.disc(x + side * eyes, y + 2, 5.5, None, (40, 40, 45), 1.4)
        sheet.line([(x - eyes + 5, y + 2), (x + eyes - 5, y + 2)], (40, 40, 45), 1.4)
    beard, mouth = words.chance(0.25), words.uniform(4, 7)
    if beard:
        sheet.draw.pieslice(
            [v * scale for v in (x - wide, y - long + 4, x + wide, y + long + 3)], 15, 165, hair
        )
    sheet.line([(x, y + 4), (x + 1.5, y + 9)], blend(skin, (0, 0, 0), 0.3), 1.4)
    sheet.line([(x - mouth, y + 14), (x + mouth, y + 14)], (150, 60, 60), 2.2)
    return sheet.image


def picture(words: Words, pixels: int, ratio: float = 1.5) -> Image.Image:
    """Any picture, `ratio` times as wide as high, `pixels` wide."""
    return words.pick((_landscape, _landscape, _city, _abstract))(words, pixels, ratio)


def _city(words: Words, pixels: int, ratio: float) -> Image.Image:
    """Houses with lit windows under an evening or a morning sky."""
    high = 100 / ratio
    hue, night = words.uniform(), words.chance(0.5)
    sky = (
        tint(hue, 0.6, 0.35 if night else 0.9),
        tint(hue + words.uniform(0.05, 0.2), 0.4, 0.6 if night else 1.0),
    )
    sheet = Sheet(100, high, pixels / 100, sky[0])
    sheet.gradient(0, 0, 100, high, sky)
    wall, lamp = tint(words.uniform(), 0.35, 0.25 if night else 0.55), tint(0.13, 0.6 if night else 0.1, 1.0)
    left = 0.0
    while left < 100:
        wide, top = words.uniform(10, 24), high * words.uniform(0.15, 0.65)
        fill = blend(wall, (0, 0, 0), words.uniform(0, 0.4))
        sheet.box(left, top, left + wide, high, fill)
        if words.chance(0.3):
            sheet.polygon([(left, top), (left + wide / 2, top - wide / 2), (left + wide, top)], fill)
        y = top + 4
        while y < high - 4:
            for column in range(int(wide / 5)):
                sheet.box(
                    left + 1.5 + 5 * column,
                    y,
                    left + 4 + 5 * column,
                    y + 3,
                    lamp if words.chance(0.6) else sky[0],
                )
            y += 7
        left += wide
    return sheet.image


def _abstract(words: Words, pixels: int, ratio: float) -> Image.Image:
    """A modern painting: large discs, bars and triangles in a few colours."""
    high, hue = 100 / ratio, words.uniform()
    sheet = Sheet(100, high, pixels / 100, tint(hue, 0.3, 0.95))
    for _ in range(words.between(3, 6)):
        fill = tint(
            hue + words.pick((0.0, 0.08, 0.45, 0.55)), words.uniform(0.5, 0.9), words.uniform(0.4, 0.95)
        )
        x, y, size = words.uniform(0, 100), words.uniform(0, high), words.uniform(12, 34)
        shape = words.below(3)
        if shape == 0:
            sheet.disc(x, y, size, fill)
        elif shape == 1:
            sheet.box(x - size, y - size / 4, x + size, y + size / 4, fill)
        else:
            sheet.polygon([(x, y - size), (x + size, y + size), (x - size, y + size * 0.4)], fill)
    return sheet.image


def _landscape(words: Words, pixels: int, ratio: float) -> Image.Image:
    """Hills or sea under a sky."""
    high = 100 / ratio
    hue, dusk = words.uniform(), words.uniform()
    sky = (
        tint(0.5 + 0.3 * hue, 0.6 - 0.3 * dusk, 0.95 - 0.5 * dusk),
        tint(0.9 + 0.7 * words.uniform(), 0.45, 0.98),
    )
    sheet = Sheet(100, high, pixels / 100, sky[0])
    horizon = high * words.uniform(0.45, 0.85)
    sheet.gradient(0, 0, 100, horizon, sky)
    sheet.disc(
        words.uniform(15, 85), high * words.uniform(0.15, 0.45), words.uniform(5, 12), tint(0.12, 0.3, 1.0)
    )
    ground = words.uniform(0.05, 0.65)
    layers = words.between(2, 4)
    for layer in range(layers):
        depth = (layer + 1) / layers
        base = horizon * (0.7 + 0.3 * depth)
        rough, phase, pitch = words.uniform(3, 14), words.uniform(0, math.tau), words.uniform(1.5, 5)
        ridge = [
            (
                float(x),
                base
                - rough * math.sin(pitch * x / 30 + phase)
                - rough / 2 * abs(math.sin(2.7 * pitch * x / 30)),
            )
            for x in range(0, 101, 4)
        ]
        sheet.polygon(
            [(0, high), *ridge, (100, high)], blend(sky[1], tint(ground, 0.55, 0.4), 0.35 + 0.65 * depth)
        )
    if words.chance(0.4):
        sheet.gradient(0, horizon + 4, 100, high, (tint(0.55, 0.5, 0.7), tint(0.58, 0.7, 0.35)))
    else:
        for _ in range(words.between(2, 6)):
            x, size = words.uniform(4, 96), words.uniform(5, 12)
            sheet.polygon(
                [(x - size / 2.6, high), (x, high - 2 * size), (x + size / 2.6, high)], tint(0.32, 0.6, 0.22)
            )
    return sheet.image


def still_life(words: Words, pixels: int) -> Image.Image:
    """Fruit, or a bowl of it, on a plain ground: square, `pixels` wide."""
    ground = tint(words.uniform(), 0.2, 0.95)
    sheet = Sheet(100, 100, pixels / 100, ground)
    sheet.gradient(0, 0, 100, 100, (ground, blend(ground, (0, 0, 0), 0.25)))
    hue, bowl = words.uniform(), words.chance(0.5)
    count, size = words.between(2, 6), words.uniform(15, 22)
    for number in range(count):
        x = 50 + (number - (count - 1) / 2) * 66 / count
        y = words.uniform(40, 62)
        fill = tint(hue + words.uniform(-0.06, 0.06), 0.8, words.uniform(0.7, 0.95))
        sheet.disc(x, y, size, blend(fill, (0, 0, 0), 0.3))
        sheet.disc(x - 1.5, y - 1.5, size * 0.9, fill)
        sheet.disc(x - size * 0.35, y - size * 0.4, size * 0.2, blend(fill, (255, 255, 255), 0.7))
        sheet.line([(x, y - size * 0.8), (x + 3, y - size * 1.3)], (80, 55, 30), 2.5)
        sheet.polygon(
            [(x + 3, y - size * 1.2), (x + 14, y - size * 1.5), (x + 9, y - size)], tint(0.3, 0.6, 0.5)
        )
    if bowl:
        sheet.draw.pieslice(
            [v * sheet.scale for v in (12, 20, 88, 96)], 0, 180, tint(words.uniform(), 0.5, 0.5)
        )
    return sheet.image
