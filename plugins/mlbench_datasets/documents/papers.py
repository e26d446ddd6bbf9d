"""Papers: receipts, invoices, certificates, tickets, book covers, newspapers."""

from __future__ import annotations

from PIL import Image

from mlbench_datasets.documents.design import Design
from mlbench_datasets.documents.emblems import emblem
from mlbench_datasets.documents.ornaments import barcode, frame, guilloche, pattern, seal, stripes
from mlbench_datasets.documents.palette import blend
from mlbench_datasets.documents.pictures import picture, portrait
from mlbench_datasets.documents.sheet import Sheet
from mlbench_datasets.documents.words import Words

__all__ = ["book_cover", "certificate", "invoice", "newspaper", "receipt", "ticket"]

_WHITE, _BLACK = (255, 255, 255), (0, 0, 0)


def receipt(scale: float, family: Words, member: Words, look: Design) -> Image.Image:
    """A receipt: shop, date, goods with prices, total, barcode."""
    ink = (45, 45, 52)
    sheet = Sheet(64, 100, scale, (250, 249, 245))
    inverse, face = family.chance(0.5), family.pick((look.heavy, look.serif, look.tech))
    head = member.between(26, 38)
    if inverse:
        sheet.box(0, 0, 64, head - 1, ink)
    front, back = (_WHITE, ink) if inverse else (ink, _WHITE)
    emblem(sheet, member, 32, head / 2 - 6, head / 2 - 9, front, back)
    sheet.text(32, head - 7.5, member.word().upper(), face, 11, front, "mm", fit=58)
    address = f"{member.between(1, 99)} {family.word()} Road"
    sheet.text(32, head + 3.5, address, look.mono, 4, ink, "mm", fit=56)
    sheet.text(32, head + 8, member.date(), look.mono, 4, ink, "mm")
    y = head + 14.0
    for _ in range(member.between(2, 5)):
        sheet.text(5, y, member.word(), look.mono, 4.6, ink, "lm", fit=36)
        sheet.text(59, y, member.price(20), look.mono, 4.6, ink, "rm")
        y += 5.4
    sheet.line([(5, y), (59, y)], ink, 0.5)
    sheet.text(5, y + 6, "TOTAL", look.bold, 7, ink, "lm")
    sheet.text(59, y + 6, member.price(), look.heavy, 9, ink, "rm", fit=24)
    barcode(sheet, member, 8, y + 13, 56, max(y + 18, 97), ink, _WHITE)
    return sheet.image


def invoice(scale: float, family: Words, member: Words, look: Design) -> Image.Image:
    """A letterhead, a customer, a table, a sum."""
    colours = look.colours
    sheet = Sheet(71, 100, scale, _WHITE)
    sheet.box(0, 0, 71, 24, colours.primary)
    pattern(sheet, member, 0, 20, 71, 24, (colours.accent, colours.primary))
    emblem(sheet, member, 12, 10, 8.5, _WHITE, colours.primary)
    sheet.text(24, 10, member.word(), look.serif, 12, _WHITE, "lm", fit=45)
    title = family.pick(("INVOICE", "STATEMENT", "ORDER", "QUOTE"))
    sheet.text(6, 31, title, look.heavy, 8, colours.accent, "lm", fit=38)
    sheet.text(66, 31, member.code("No. 99999"), look.mono, 4, colours.ink, "rm")
    sheet.text(6, 36, member.name(), look.bold, 4.6, colours.ink)
    sheet.text(6, 41.5, f"{member.between(1, 99)} {member.word()} Lane", look.sans, 4, colours.ink)
    sheet.box(5, 49, 66, 55, colours.soft)
    sheet.text(7, 52, "Item", look.bold, 3.6, colours.ink, "lm")
    sheet.text(64, 52, "Sum", look.bold, 3.6, colours.ink, "rm")
    rows = member.between(1, 5)
    for row in range(rows):
        y = 58.5 + 5.6 * row
        sheet.text(7, y, member.phrase(2), look.sans, 4, colours.ink, "lm", fit=38)
        sheet.text(64, y, member.price(), look.mono, 4, colours.ink, "rm")
        sheet.line([(5, y + 2.8), (66, y + 2.8)], colours.soft, 0.3)
    sheet.box(30, 87, 66, 96, colours.accent, radius=1)
    sheet.text(48, 91.5, f"€ {member.price(999)}", look.bold, 6.5, _WHITE, "mm", fit=34)
    sheet.text(6, 92, member.name(), look.hand, 6, (30, 40, 110), "lm", fit=22)
    return sheet.image


def certificate(scale: float, family: Words, member: Words, look: Design) -> Image.Image:
    """An award with a border: name, subject, date, signature, seal."""
    colours = look.colours
    sheet = Sheet(100, 72, scale, colours.paper)
    emblem(sheet, member, 50, 37, 29, blend(colours.paper, colours.primary, 0.2), colours.paper)
    guilloche(sheet, family, 12, 60, colours)
    frame(sheet, family, 2.5, colours.primary)
    title = family.pick(("Certificate", "Diploma", "Award", "Licence", "Honours"))
    sheet.text(50, 12.5, title, family.pick((look.serif, look.hand)), 13, colours.primary, "mm", fit=84)
    sheet.text(
        50, 24, f"of the {family.word()} School of {family.word()}", look.sans, 4.4, colours.ink, "mm", fit=80
    )
    sheet.text(50, 35, member.name(), family.pick((look.hand, look.italic)), 13, colours.ink, "mm", fit=82)
    sheet.line([(14, 42), (86, 42)], colours.accent, 0.5)
    sheet.text(38, 48, member.word().upper(), look.bold, 7, colours.accent, "mm", fit=56)
    sheet.text(38, 55, member.date(), look.sans, 4.4, colours.ink, "mm")
    sheet.text(24, 64, member.name(), look.hand, 6, (30, 40, 110), "mm", fit=32)
    seal(sheet, member, 81, 54, 14.5, member.phrase(2).upper(), look.bold, colours.primary, colours.paper)
    return sheet.image


def ticket(scale: float, family: Words, member: Words, look: Design) -> Image.Image:
    """An event, a seat, a stub behind a perforation, stripes and a barcode."""
    colours = look.colours
    sheet = Sheet(100, 50, scale, colours.soft)
    slant = family.uniform(-8, 8)
    stripes(sheet, 0, 0, 100, 5, (colours.primary, colours.accent), 6, slant)
    stripes(sheet, 0, 45, 100, 50, (colours.primary, colours.accent), 6, slant)
    if family.chance(0.5):
        sheet.picture(picture(member, 50, 0.6), 0, 5, 24, 45)
    else:
        pattern(sheet, member, 0, 5, 24, 45, (colours.primary, blend(colours.primary, _WHITE, 0.35)))
        emblem(sheet, member, 12, 25, 10, colours.paper, colours.primary)
    face = family.pick((look.heavy, look.serif, look.tech, look.hand))
    sheet.text(27, 14, member.word(), face, 14, colours.primary, "lm", fit=45)
    if look.foreign:
        sheet.text(27, 26, member.phrase(2, look.foreign.script), look.foreign, 7, colours.ink, "lm", fit=45)
    else:
        sheet.text(27, 26, f"{member.phrase(1)} {family.trade()}", look.bold, 6, colours.ink, "lm", fit=45)
    sheet.text(
        27, 36, f"{member.date()} {member.between(10, 23)}:00", look.mono, 5, colours.ink, "lm", fit=45
    )
    for dot in range(11):
        sheet.disc(74, 8.2 + 3.4 * dot, 0.7, colours.paper)
    sheet.text(87, 12, member.code("A99"), look.heavy, 11, colours.primary, "mm", fit=22)
    sheet.text(87, 21.5, f"€ {member.price()}", look.bold, 5.4, colours.ink, "mm", fit=22)
    barcode(sheet, member, 78, 27, 97, 42, colours.ink, _WHITE)
    return sheet.image


def book_cover(scale: float, family: Words, member: Words, look: Design) -> Image.Image:
    """A title over a picture or a figure, an author, a publisher's emblem."""
    colours = look.colours
    sheet = Sheet(68, 100, scale, colours.primary)
    title = member.phrase(2).split()
    face = family.pick((look.heavy, look.serif, look.italic))
    kind = family.below(3)
    if kind == 0:
        sheet.picture(picture(member, 130, 68 / 60), 0, 40, 68, 100)
    elif kind == 1:
        sheet.box(8, 42, 60, 90, colours.accent)
        sheet.picture(portrait(member, 110), 14, 44, 54, 90)
    else:
        sheet.gradient(0, 0, 68, 100, (colours.primary, blend(colours.primary, _BLACK, 0.5)))
        sheet.disc(34, 65, 24, colours.soft)
        emblem(sheet, member, 34, 65, 19, colours.accent, colours.soft)
    for row, word in enumerate(title):
        sheet.text(34, 13 + 15 * row, word, face, 15, colours.paper, "mm", fit=60)
    sheet.box(0, 91, 68, 100, colours.ink)
    sheet.text(34, 95.5, member.name().upper(), look.bold, 5.4, colours.paper, "mm", fit=60)
    emblem(sheet, family, 6, 95.5, 3, colours.paper, colours.ink)
    return sheet.image


def newspaper(scale: float, family: Words, member: Words, look: Design) -> Image.Image:
    """A masthead, a headline, a picture and grey columns."""
    ink, paper = (38, 36, 34), (238, 233, 220)
    sheet = Sheet(76, 100, scale, paper)
    sheet.text(
        38,
        9,
        f"The {family.word()} {family.pick(('Times', 'Post', 'Herald', 'Mail'))}",
        look.serif,
        10,
        ink,
        "mm",
        fit=70,
    )
    sheet.line([(3, 15.5), (73, 15.5)], ink, 0.6)
    sheet.text(4, 18.5, member.date(), look.sans, 3.2, ink, "lm")
    sheet.text(72, 18.5, f"€ {family.price(4)}", look.sans, 3.2, ink, "rm")
    sheet.line([(3, 21.5), (73, 21.5)], ink, 0.3)
    for row in range(2):
        sheet.text(38, 28 + 10.5 * row, member.word().upper(), look.heavy, 10, ink, "mm", fit=70)
    wide = family.chance(0.5)
    left, right = (4, 72) if wide else (28, 72)
    sheet.picture(picture(member, 120, (right - left) / 34), left, 46, right, 80)
    for column in range(3):
        x = 4 + 23.4 * column
        top = 83 if wide or column else 47
        for row in range(int((98 - top) / 2.6)):
            sheet.text(
                x, top + 2.6 * row, member.phrase(3), look.sans, 2.6, blend(paper, ink, 0.75), fit=21.5
            )
    return sheet.image
