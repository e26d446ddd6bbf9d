"""The shared design of a family of look-alikes: palette, typefaces, script."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from mlbench_datasets.documents.palette import Palette, palette, sibling
from mlbench_datasets.documents.words import Words
from mlbench_datasets.fonts import FACES, Face, Role

__all__ = ["Design", "design"]

# A quarter of the families are bilingual.
_SCRIPTS: tuple[Literal["arabic", "devanagari", "thai"], ...] = ("arabic", "devanagari", "thai")
_ROLES: tuple[Role, ...] = ("serif", "heavy", "sans", "bold", "italic", "hand", "mono", "tech")


@dataclass(frozen=True, slots=True)
class Design:
    """serif .. tech: the Latin face of each role. foreign: the face of the family's second language, None for
    families with one language."""

    colours: Palette
    serif: Face
    heavy: Face
    sans: Face
    bold: Face
    italic: Face
    hand: Face
    mono: Face
    tech: Face
    foreign: Face | None


def design(family: Words, member: Words) -> Design:
    """The design of a family, in the colours of one member. Always draws the same number of values."""
    colours = sibling(palette(family), member)
    faces = {role: family.pick(FACES[role]) for role in _ROLES}
    bilingual, script = family.chance(0.25), family.pick(_SCRIPTS)
    return Design(colours=colours, foreign=FACES[script][0] if bilingual else None, **faces)
