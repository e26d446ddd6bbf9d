"""Signs: street names, shop fronts, station boards, notices."""

from __future__ import annotations

from PIL import Image

from mlbench_datasets.documents.design import Design
from mlbench_datasets.documents.emblems import emblem
from mlbench_datasets.documents.ornaments import stripes
from mlbench_datasets.documents.palette import blend
from mlbench_datasets.documents.sheet import Sheet
from mlbench_datasets.documents.words import Words

__all__ = ["notice", "shop_sign", "station_board", "street_sign"]

_WHITE, _BLACK = (255, 255, 255), (0, 0, 0)
_AMBER = (255, 178, 40)


def street_sign(scale: float, family: Words, member: Words, look: Design) -> Image.Image:
    """An enamel plate: the name of a street, the town above, a number at the side."""
    colours = look.colours
    light = family.chance(0.4)
    plate, ink = (_WHITE, colours.primary) if light else (colours.primary, _WHITE)
    sheet = Sheet(100, 50, scale, plate)
    sheet.box(1.5, 1.5, 98.5, 48.5, None, ink, 1.2, radius=4)
    for x, y in ((5, 5), (95, 5), (5, 45), (95, 45)):
        sheet.disc(x, y, 1.2, (120, 120, 120))
    sheet.text(50, 9, family.word().upper(), look.sans, 5, ink, "mm")
    emblem(sheet, member, 12, 39, 6, ink, plate)
    kind = family.pick(("STREET", "ROAD", "LANE", "SQUARE", "AVENUE", "HILL"))
    face = family.pick((look.bold, look.heavy, look.serif))
    name = member.word().upper()
    if look.foreign:
        sheet.text(50, 20, member.word(look.foreign.script), look.foreign, 13, ink, "mm", fit=88)
        sheet.text(50, 36, f"{name} {kind}", face, 14, ink, "mm", fit=54)
    else:
        sheet.text(50, 22, name, face, 20, ink, "mm", fit=88)
        sheet.text(50, 38, kind, look.bold, 9, ink, "mm", fit=50)
    sheet.box(80, 34, 94, 44, colours.accent, radius=1.5)
    sheet.text(87, 39, str(member.between(1, 99)), look.bold, 9, _WHITE, "mm", fit=12)
    return sheet.image


def shop_sign(scale: float, family: Words, member: Words, look: Design) -> Image.Image:
    """A board over an awning: a shop's name, its trade, its emblem."""
    colours = look.colours
    board = blend(colours.primary, _BLACK, 0.25) if family.chance(0.6) else colours.paper
    ink = colours.paper if board != colours.paper else colours.primary
    sheet = Sheet(100, 64, scale, board)
    sheet.box(1.5, 1.5, 98.5, 42.5, None, colours.accent, 1)
    emblem(sheet, member, 16, 22, 15, blend(colours.accent, ink, 0.45), board)
    face = family.pick((look.hand, look.serif, look.heavy, look.tech))
    sheet.text(34, 17, member.word(), face, 19, ink, "lm", fit=62)
    trade = f"{member.trade()} & {member.trade()}".upper()
    if look.foreign:
        sheet.text(34, 35, member.phrase(2, look.foreign.script), look.foreign, 9, ink, "lm", fit=60)
    else:
        sheet.text(34, 35, trade, look.bold, 7, ink, "lm", fit=60)
    folds = member.between(5, 9)
    for fold in range(2 * folds):
        fill = colours.primary if fold % 2 else _WHITE
        left, wide = fold * 50 / folds, 50 / folds
        sheet.box(left, 44, left + wide, 58, fill)
        sheet.disc(left + wide / 2, 58, wide / 2, fill)
    return sheet.image


def station_board(scale: float, family: Words, member: Words, look: Design) -> Image.Image:
    """Departures in lit letters on black: times and places, and a platform's number."""
    sheet = Sheet(100, 68, scale, (22, 24, 28))
    colours = look.colours
    sheet.box(0, 0, 100, 13, colours.primary)
    sheet.text(
        4, 6.5, family.pick(("DEPARTURES", "ARRIVALS", "FERRIES", "COACHES")), look.bold, 8, _WHITE, "lm"
    )
    sheet.text(
        96, 6.5, f"{member.between(0, 23):02d}:{member.between(0, 59):02d}", look.mono, 8, _WHITE, "rm"
    )
    lamp = family.pick((_AMBER, (240, 240, 230), (150, 235, 120)))
    face = family.pick((look.mono, look.tech, look.heavy))
    sheet.box(72, 13, 100, 68, colours.accent)
    emblem(sheet, member, 86, 27, 10, _WHITE, colours.accent)
    sheet.text(86, 54, str(member.between(1, 24)), look.heavy, 24, _WHITE, "mm", fit=26)
    rows = member.between(3, 5)
    high = 55 / rows
    for row in range(rows):
        y = 13 + high * (row + 0.5)
        if row % 2:
            sheet.box(0, y - high / 2, 72, y + high / 2, (40, 43, 50))
        time = f"{member.between(0, 23):02d}:{member.between(0, 59):02d}"
        sheet.text(3, y, time, look.mono, 7, lamp, "lm", fit=20)
        sheet.text(25, y, member.word().upper(), face, 9, lamp, "lm", fit=45)
    return sheet.image


def notice(scale: float, family: Words, member: Words, look: Design) -> Image.Image:
    """A poster: hazard stripes or a band, one large word, its meaning, a telephone number."""
    colours = look.colours
    sheet = Sheet(72, 100, scale, colours.paper)
    hazard = family.chance(0.5)
    if hazard:
        stripes(sheet, 0, 0, 72, 12, ((250, 204, 21), _BLACK), 9, 10)
    else:
        sheet.box(0, 0, 72, 12, colours.primary)
    emblem(sheet, member, 36, 34, 18, colours.primary, colours.paper)
    word = member.word().upper()
    sheet.box(0, 56, 72, 74, colours.accent)
    sheet.text(36, 65, word, look.heavy, 16, _WHITE, "mm", fit=66)
    if look.foreign:
        sheet.text(36, 80, member.phrase(2, look.foreign.script), look.foreign, 9, colours.ink, "mm", fit=66)
    else:
        sheet.text(36, 80, member.phrase(2), look.bold, 7, colours.ink, "mm", fit=64)
    for row in range(2):
        sheet.text(36, 87 + 4.5 * row, member.sentence(4), look.sans, 3.8, colours.ink, "mm", fit=64)
    sheet.text(36, 96.5, member.code("99 999 9999"), look.mono, 4, colours.primary, "mm")
    return sheet.image
