"""Cards: bank cards, identity cards, membership cards, business cards."""

from __future__ import annotations

from PIL import Image

from mlbench_datasets.documents.design import Design
from mlbench_datasets.documents.emblems import emblem
from mlbench_datasets.documents.ornaments import guilloche, pattern, square_code
from mlbench_datasets.documents.palette import blend
from mlbench_datasets.documents.pictures import picture, portrait
from mlbench_datasets.documents.sheet import Sheet
from mlbench_datasets.documents.words import Words

__all__ = ["bank_card", "business_card", "identity_card", "membership_card"]

_WHITE, _BLACK = (255, 255, 255), (0, 0, 0)
_SILVER, _GOLD = (205, 208, 212), (214, 178, 94)


def bank_card(scale: float, family: Words, member: Words, look: Design) -> Image.Image:
    """A chip, embossed digits, a bank's name and emblem over a gradient or a picture."""
    colours = look.colours
    sheet = Sheet(100, 63, scale, colours.primary)
    dark = blend(colours.primary, _BLACK, 0.45)
    sheet.gradient(0, 0, 100, 63, (colours.primary, dark))
    backdrop = family.below(3)
    if backdrop == 0:
        for ring in range(6, 0, -1):
            sheet.disc(84, 60, 9 * ring, blend(dark, colours.accent, 0.55 - 0.08 * ring))
        emblem(sheet, member, 52, 32, 17, blend(dark, colours.accent, 0.6), dark)
    elif backdrop == 1:
        veil = Image.new("RGB", (120, 76), dark)
        scenery = picture(member, 120, 100 / 63).resize(veil.size)
        sheet.picture(Image.blend(scenery, veil, 0.45), 0, 0, 100, 63)
    else:
        pattern(sheet, member, 0, 15, 100, 63, (dark, blend(dark, colours.accent, 0.4)))
    sheet.box(0, 0, 100, 15, dark)
    emblem(sheet, member, 9, 7.5, 5.5, _WHITE, colours.primary)
    sheet.text(18, 7.5, member.word().upper(), look.heavy, 12, _WHITE, "lm", fit=50)
    sheet.text(96, 7.5, family.pick(("DEBIT", "CREDIT", "PREPAID", "WORLD")), look.bold, 6, _GOLD, "rm")
    sheet.box(8, 20, 22, 31, _GOLD, blend(_GOLD, _BLACK, 0.4), 0.4, radius=1.6)
    for y in (23.7, 27.3):
        sheet.line([(8, y), (22, y)], blend(_GOLD, _BLACK, 0.4), 0.3)
    sheet.embossed(7, 33, member.code("9999 9999 9999 9999"), look.mono, 10, _SILVER, fit=86)
    sheet.embossed(7, 52, member.name().upper(), look.bold, 6, _SILVER, fit=66)
    sheet.embossed(
        64, 46.5, f"{member.between(1, 12):02d}/{member.between(26, 39)}", look.mono, 6, _SILVER, fit=20
    )
    sheet.disc(86, 55, 5, colours.accent)
    sheet.disc(92, 55, 5, _SILVER if family.chance(0.5) else _GOLD)
    return sheet.image


def identity_card(scale: float, family: Words, member: Words, look: Design) -> Image.Image:
    """An issuing country, a portrait, fields, a machine-readable zone or a code."""
    colours = look.colours
    sheet = Sheet(100, 66, scale, colours.soft)
    pattern(sheet, member, 0, 14, 100, 66, (colours.soft, blend(colours.soft, colours.primary, 0.12)))
    guilloche(sheet, family, 16, 62, colours)
    left = family.chance(0.7)
    photo = 4 if left else 68
    fields = 36 if left else 5
    sheet.box(0, 0, 100, 14, colours.primary)
    emblem(sheet, family, 8, 7, 5, _WHITE, colours.primary)
    sheet.text(16, 7, family.word().upper(), look.bold, 8, _WHITE, "lm", fit=46)
    title = family.pick(("IDENTITY CARD", "DRIVING LICENCE", "RESIDENCE", "STUDENT", "PRESS", "STAFF"))
    if look.foreign:
        sheet.text(97, 7, family.word(look.foreign.script), look.foreign, 8, _WHITE, "rm", fit=32)
    else:
        sheet.text(97, 7, title, look.sans, 5.2, _WHITE, "rm", fit=34)
    sheet.box(photo - 0.7, 17.3, photo + 28.7, 52.7, blend(colours.primary, _WHITE, 0.3))
    sheet.picture(portrait(member, 90), photo, 18, photo + 28, 52)
    first, _, last = member.name().partition(" ")
    values = (last.upper(), first.upper(), member.date(), member.code("AA9999999"))
    for row, (label, value) in enumerate(zip(("Name", "Given name", "Born", "No."), values, strict=True)):
        sheet.text(fields, 16 + 9.6 * row, label, look.sans, 3, colours.primary)
        sheet.text(fields, 18.6 + 9.6 * row, value, look.bold, 5.6, colours.ink, fit=57)
    if family.chance(0.6):
        sheet.box(0, 55.5, 100, 66, blend(colours.paper, _WHITE, 0.5))
        zone = f"{last.upper()}++{first.upper()}++++++++++++"[:22] + member.digits(8)
        sheet.text(50, 60.7, zone, look.mono, 5.6, colours.ink, "mm", fit=94)
    else:
        sheet.text(5, 60, member.name(), look.hand, 8, (30, 40, 110), "lm", fit=40)
        sheet.box(56, 56, 96, 64, colours.accent, radius=1)
        sheet.text(76, 60, member.code("AA-999-999"), look.bold, 5.6, _WHITE, "mm", fit=37)
    return sheet.image


def membership_card(scale: float, family: Words, member: Words, look: Design) -> Image.Image:
    """A club's large emblem on colour, its name, a member's number and a matrix code."""
    colours = look.colours
    sheet = Sheet(100, 62, scale, colours.paper)
    split = family.pick((0, 1))
    sheet.box(0, 0, 40, 62, colours.primary) if split else sheet.box(0, 0, 100, 36, colours.primary)
    x, y, size = (20, 25, 16) if split else (17, 18, 14)
    emblem(sheet, member, x, y, size, colours.paper, colours.accent)
    trade = family.trade().upper()
    if split:
        sheet.text(20, 53, member.code("99-999"), look.mono, 8, colours.paper, "mm", fit=34)
        sheet.text(45, 8, member.word(), look.serif, 15, colours.primary, fit=52)
        sheet.text(45, 26, f"{trade} CLUB", look.bold, 6, colours.accent, fit=52)
    else:
        sheet.text(36, 7, member.word(), look.serif, 15, colours.paper, fit=60)
        sheet.text(36, 25, f"{trade} CLUB", look.bold, 6, colours.soft, fit=60)
        sheet.text(6, 42, member.code("9999 9999"), look.mono, 8, colours.ink, fit=56)
    sheet.text(45 if split else 6, 52, member.name(), look.sans, 5.6, colours.ink, fit=28 if split else 60)
    square_code(sheet, member, 76, 39, 20, colours.ink, _WHITE)
    return sheet.image


def business_card(scale: float, family: Words, member: Words, look: Design) -> Image.Image:
    """A name in large letters, a company, an address; an emblem at the side."""
    colours = look.colours
    inverted = family.chance(0.4)
    paper, ink = (colours.primary, colours.paper) if inverted else (colours.paper, colours.ink)
    strong = colours.soft if inverted else colours.primary
    sheet = Sheet(100, 58, scale, paper)
    sheet.box(0, 52, 100, 58, colours.accent)
    emblem(sheet, member, 81, 21, 16, strong, paper)
    face = family.pick((look.serif, look.hand, look.heavy))
    first, _, last = member.name().partition(" ")
    sheet.text(6, 5, first, face, 12, ink, fit=56)
    sheet.text(6, 18, last, face, 12, strong, fit=56)
    company, town = member.word(), family.word()
    sheet.text(6, 34, f"{company} {family.trade()}".upper(), look.bold, 5, ink, fit=58)
    sheet.text(6, 40, f"{member.between(1, 240)} {member.word()} Street, {town}", look.sans, 4.4, ink, fit=58)
    sheet.text(6, 45.5, member.code("+99 99 999 9999"), look.sans, 4.4, ink, fit=58)
    sheet.text(81, 44, company, look.serif, 6, strong, "mm", fit=30)
    return sheet.image
