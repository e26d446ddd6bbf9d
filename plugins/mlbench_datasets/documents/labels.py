"""Labels and packs: wine, jars and tins, cartons, medicine."""

from __future__ import annotations

from PIL import Image

from mlbench_datasets.documents.design import Design
from mlbench_datasets.documents.emblems import emblem
from mlbench_datasets.documents.ornaments import barcode, frame, stripes
from mlbench_datasets.documents.palette import blend
from mlbench_datasets.documents.pictures import picture, still_life
from mlbench_datasets.documents.sheet import Sheet
from mlbench_datasets.documents.words import Words

__all__ = ["carton", "jar_label", "medicine_box", "wine_label"]

_WHITE, _BLACK, _GOLD = (255, 255, 255), (0, 0, 0), (190, 150, 70)
_GRAPES = ("PINOT NOIR", "RIESLING", "MERLOT", "SYRAH", "GAMAY", "MALBEC", "CHENIN", "VERDEJO", "NEBBIOLO")
_GOODS = ("HONEY", "OLIVES", "TEA", "COFFEE", "JAM", "RICE", "PASTA", "COCOA", "BISCUITS", "PICKLES", "OATS")


def wine_label(scale: float, family: Words, member: Words, look: Design) -> Image.Image:
    """An estate's name in serifs, a picture or an emblem, a grape and a vintage."""
    colours = look.colours
    dark = family.chance(0.25)
    paper, ink = (blend(colours.ink, _BLACK, 0.2), _GOLD) if dark else (colours.paper, colours.ink)
    strong = _GOLD if dark else colours.primary
    sheet = Sheet(78, 100, scale, paper)
    frame(sheet, family, 2.5, strong)
    pictured, estate = family.chance(0.5), family.pick(("CHATEAU", "DOMAINE", "TENUTA", "BODEGA", "WEINGUT"))
    sheet.text(39, 11, estate, look.sans, 5, ink, "mm")
    if pictured:
        sheet.picture(picture(member, 120, 1.75), 9, 42, 69, 72)
    else:
        emblem(sheet, member, 39, 55, 15, strong, paper)
    sheet.text(39, 20, member.word(), look.serif, 16, strong, "mm", fit=66)
    sheet.text(39, 33, member.phrase(2), look.italic, 7.5, ink, "mm", fit=62)
    sheet.line([(14, 76), (64, 76)], strong, 0.5)
    sheet.text(39, 81, member.pick(_GRAPES), look.bold, 7, ink, "mm", fit=60)
    sheet.text(39, 89.5, str(member.year(1975)), look.serif, 8, strong, "mm")
    sheet.text(8, 93, "75cl", look.sans, 3.4, ink, "lm")
    sheet.text(70, 93, f"{family.between(11, 14)}.5% vol", look.sans, 3.4, ink, "rm")
    return sheet.image


def jar_label(scale: float, family: Words, member: Words, look: Design) -> Image.Image:
    """A wide label: a brand in script or heavy letters on a band, fruit, contents, a barcode."""
    colours = look.colours
    sheet = Sheet(100, 62, scale, colours.soft)
    stripes(
        sheet,
        0,
        0,
        100,
        62,
        (colours.soft, blend(colours.soft, colours.accent, 0.18)),
        family.uniform(5, 10),
        0,
    )
    oval = family.chance(0.5)
    if oval:
        ellipse = [value * scale for value in (22, 2, 99, 46)]
        sheet.draw.ellipse(ellipse, colours.primary, colours.paper, sheet.pixels(1))
    else:
        sheet.box(24, 5, 98, 41, colours.primary, colours.paper, 1, radius=3)
    sheet.text(
        66,
        20,
        member.word(),
        family.pick((look.hand, look.heavy, look.serif)),
        18,
        colours.paper,
        "mm",
        fit=54,
    )
    if look.foreign:
        sheet.text(66, 34, member.phrase(2, look.foreign.script), look.foreign, 7, _WHITE, "mm", fit=46)
    else:
        sheet.text(66, 34, member.phrase(2).upper(), look.sans, 5, colours.paper, "mm", fit=44)
    sheet.picture(still_life(member, 80), 2, 7, 34, 39)
    sheet.box(2, 7, 34, 39, None, colours.paper, 1.2, radius=2)
    sheet.box(0, 48, 100, 62, colours.accent)
    sheet.text(5, 55, member.pick(_GOODS), look.heavy, 10, _WHITE, "lm", fit=48)
    sheet.text(58, 55, f"{member.between(1, 9)}50 g", look.bold, 6.5, _WHITE, "lm")
    barcode(sheet, member, 78, 50.5, 96, 59.5, colours.ink, _WHITE)
    return sheet.image


def carton(scale: float, family: Words, member: Words, look: Design) -> Image.Image:
    """The front of a carton: a burst, a large brand over slanted colours, a picture of the content."""
    colours = look.colours
    sheet = Sheet(74, 100, scale, colours.primary)
    sheet.gradient(0, 0, 74, 100, (colours.primary, blend(colours.primary, _BLACK, 0.35)))
    level = family.uniform(38, 48)
    sheet.polygon([(0, level + 8), (74, level - 6), (74, 100), (0, 100)], colours.paper)
    sheet.polygon([(0, level + 8), (74, level - 6), (74, level - 3), (0, level + 11)], colours.accent)
    heading = family.pick((look.heavy, look.hand, look.tech))
    sheet.text(37, 15, member.word(), heading, 19, _WHITE, "mm", fit=66)
    if look.foreign:
        sheet.text(37, 30, member.word(look.foreign.script), look.foreign, 11, colours.soft, "mm", fit=60)
    else:
        sheet.text(37, 30, member.phrase(2), look.italic, 8, colours.soft, "mm", fit=60)
    still, goods = family.chance(0.5), member.pick(_GOODS)
    if still:
        sheet.picture(still_life(member, 110), 18, 50, 66, 90)
    else:
        sheet.disc(42, 69, 21, colours.soft)
        emblem(sheet, member, 42, 69, 17, colours.accent, colours.soft)
    sheet.text(4, 95, goods, look.heavy, 8, colours.ink, "lm", fit=44)
    sheet.text(70, 95, f"{member.between(2, 9)}00 g", look.bold, 5, colours.ink, "rm")
    sheet.disc(11, 60, 9, colours.accent)
    sheet.text(
        11,
        60,
        member.pick(("NEW", "BIO", "XL", "+20%", "-50%", "HOT", "No. 1")),
        look.bold,
        6,
        _WHITE,
        "mm",
        fit=15,
    )
    return sheet.image


def medicine_box(scale: float, family: Words, member: Words, look: Design) -> Image.Image:
    """A white box: a drug's name, its dose in a coloured field, waves, small print."""
    colours = look.colours
    sheet = Sheet(100, 56, scale, _WHITE)
    for number in range(4):
        share = 0.25 + 0.2 * number
        sheet.polygon(
            [
                (0, 56),
                (0, 34 + 6 * number),
                (36, 40 + 4 * number),
                (70, 32 + 7 * number),
                (100, 38 + 5 * number),
                (100, 56),
            ],
            blend(_WHITE, colours.primary, share),
        )
    emblem(sheet, family, 92, 9, 6, colours.accent, _WHITE)
    sheet.text(5, 4, member.word(), look.bold, 16, colours.primary, fit=78)
    sheet.text(5, 22, member.phrase(2).lower(), look.sans, 6, colours.ink, fit=60)
    dose = f"{member.pick((5, 10, 20, 25, 40, 50, 75, 100, 200, 250, 400, 500))} mg"
    sheet.box(66, 20, 97, 33, colours.accent, radius=2)
    sheet.text(81.5, 26.5, dose, look.heavy, 9, _WHITE, "mm", fit=28)
    if look.foreign:
        sheet.text(5, 31, member.phrase(2, look.foreign.script), look.foreign, 6, colours.ink, fit=55)
    sheet.text(
        5,
        51,
        f"{member.between(1, 12)}0 {family.pick(('tablets', 'capsules', 'sachets'))}",
        look.bold,
        5.4,
        _WHITE,
        "lm",
    )
    sheet.text(95, 51, family.word(), look.serif, 5.4, _WHITE, "rm")
    return sheet.image
