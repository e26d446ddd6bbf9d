"""Seals, barcodes, stripes, patterns and borders."""

from __future__ import annotations

import math

from mlbench_datasets.documents.emblems import emblem, ring
from mlbench_datasets.documents.palette import Colour, Palette, blend
from mlbench_datasets.documents.sheet import Sheet
from mlbench_datasets.documents.words import Words
from mlbench_datasets.fonts import Face

__all__ = ["barcode", "frame", "guilloche", "pattern", "seal", "square_code", "stripes"]


def seal(
    sheet: Sheet,
    words: Words,
    x: float,
    y: float,
    radius: float,
    text: str,
    face: Face,
    colour: Colour,
    paper: Colour,
) -> None:
    """A notary's seal: a toothed disc with text around an emblem."""
    teeth = 36
    outer, inner = ring(x, y, radius, teeth), ring(x, y, 0.92 * radius, teeth, 0.5 / teeth)
    sheet.polygon([point for pair in zip(outer, inner, strict=True) for point in pair], colour)
    sheet.disc(x, y, 0.86 * radius, None, paper, 0.02 * radius)
    sheet.disc(x, y, 0.52 * radius, None, paper, 0.02 * radius)
    sheet.arched(x, y, 0.69 * radius, text, face, 0.24 * radius, paper, 0)
    emblem(sheet, words, x, y, 0.36 * radius, paper, colour)


def barcode(
    sheet: Sheet,
    words: Words,
    left: float,
    top: float,
    right: float,
    bottom: float,
    ink: Colour,
    paper: Colour,
) -> None:
    """Bars of random widths on a patch of paper."""
    sheet.box(left - 1, top - 1, right + 1, bottom + 1, paper)
    at, step = left, (right - left) / 48
    while at < right - step:
        width = step * words.between(1, 3)
        sheet.box(at, top, min(right, at + width) - 0.15, bottom, ink)
        at += width + step * words.between(1, 3)


def square_code(
    sheet: Sheet, words: Words, left: float, top: float, side: float, ink: Colour, paper: Colour
) -> None:
    """A matrix of black and white cells with three finder marks."""
    cells = 15
    cell = side / cells
    sheet.box(left - cell, top - cell, left + side + cell, top + side + cell, paper)
    for row in range(cells):
        for column in range(cells):
            corner = (row < 6 and (column < 6 or column > cells - 7)) or (row > cells - 7 and column < 6)
            if words.chance(0.5) and not corner:
                x, y = left + column * cell, top + row * cell
                sheet.box(x, y, x + cell, y + cell, ink)
    for x, y in ((0, 0), (cells - 5, 0), (0, cells - 5)):
        sheet.box(left + x * cell, top + y * cell, left + (x + 5) * cell, top + (y + 5) * cell, ink)
        sheet.box(
            left + (x + 1) * cell, top + (y + 1) * cell, left + (x + 4) * cell, top + (y + 4) * cell, paper
        )
        sheet.box(
            left + (x + 1.8) * cell,
            top + (y + 1.8) * cell,
            left + (x + 3.2) * cell,
            top + (y + 3.2) * cell,
            ink,
        )


def stripes(
    sheet: Sheet,
    left: float,
    top: float,
    right: float,
    bottom: float,
    colours: tuple[Colour, Colour],
    step: float,
    lean: float,
) -> None:
    """Slanted stripes of two colours in a rectangle; lean: shift to the right from bottom to top."""
    patch = Sheet(right - left, bottom - top, sheet.scale, colours[0])
    at = -abs(lean) - step
    while at < patch.width + abs(lean):
        patch.polygon(
            [(at, patch.height), (at + lean, 0), (at + lean + step / 2, 0), (at + step / 2, patch.height)],
            colours[1],
        )
        at += step
    sheet.picture(patch.image, left, top, right, bottom)


def pattern(
    sheet: Sheet,
    words: Words,
    left: float,
    top: float,
    right: float,
    bottom: float,
    colours: tuple[Colour, Colour],
) -> None:
    """A rectangle of wrapping paper: stripes, dots, checks, chevrons, rings or triangles in two colours."""
    patch = Sheet(right - left, bottom - top, sheet.scale, colours[0])
    style, step, lean = words.below(6), words.uniform(7, 16), words.uniform(-20, 20)
    rows, columns = int(patch.height / step) + 2, int(patch.width / step) + 2
    if style == 0:
        stripes(sheet, left, top, right, bottom, colours, step, lean)
        return
    for row in range(rows):
        for column in range(columns):
            x, y = column * step, row * step
            if style == 1:
                patch.disc(x + (row % 2) * step / 2, y, step / 3.5, colours[1])
            elif style == 2 and (row + column) % 2:
                patch.box(x, y, x + step, y + step, colours[1])
            elif style == 3:
                zigzag = [(x, y), (x + step / 2, y + step / 2), (x + step, y)]
                patch.line(zigzag, colours[1], step / 4)
            elif style == 4:
                patch.disc(x, y, step * 0.6, None, colours[1], step / 9)
            elif style == 5:
                patch.polygon([(x, y + step), (x + step, y + step), (x + step / 2, y)], colours[1])
    sheet.picture(patch.image, left, top, right, bottom)


def frame(sheet: Sheet, words: Words, margin: float, colour: Colour) -> None:
    """A border along the edge of the sheet: double, corner-cut or dotted."""
    right, bottom = sheet.width - margin, sheet.height - margin
    style = words.below(3)
    sheet.box(margin, margin, right, bottom, None, colour, 0.9, radius=3 if style == 1 else 0)
    if style == 2:
        for x, y in ((margin, margin), (right, margin), (right, bottom), (margin, bottom)):
            sheet.disc(x, y, 2.4, colour)
    else:
        gap = margin + 1.8
        sheet.box(
            gap, gap, sheet.width - gap, sheet.height - gap, None, colour, 0.4, radius=2 if style == 1 else 0
        )


def guilloche(sheet: Sheet, words: Words, top: float, bottom: float, look: Palette) -> None:
    """Fine interlaced waves across the sheet, like those on banknotes and identity cards."""
    colour = blend(look.paper, look.primary, 0.3)
    lines, turns, second = words.between(4, 7), words.uniform(1, 3), words.uniform(2, 5)
    middle, high = (top + bottom) / 2, (bottom - top) / 2
    steps = [i / 40 for i in range(41)]
    for number in range(lines):
        phase = number / lines * math.pi
        curve = [
            (
                t * sheet.width,
                middle + high * math.sin(math.tau * turns * t + phase) * math.cos(second * t + phase),
            )
            for t in steps
        ]
        sheet.line(curve, colour, 0.35)
