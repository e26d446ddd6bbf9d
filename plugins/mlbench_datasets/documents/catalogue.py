"""All kinds of document, and the function that draws one from a seed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

from PIL import Image

from mlbench.plugin import numpy_generator
from mlbench_datasets.documents import cards, labels, papers, signs
from mlbench_datasets.documents.design import Design, design
from mlbench_datasets.documents.words import Words

__all__ = ["LAYOUTS", "draw_document", "layout_of"]

_Layout = Callable[[float, Words, Words, Design], Image.Image]

#: Kinds of document by name, all equally likely. A layout takes pixels per unit, the random words of the
#: family, those of the member, and the family's design.
LAYOUTS: Mapping[str, _Layout] = MappingProxyType(
    {
        layout.__name__: layout
        for layout in (
            cards.bank_card,
            cards.business_card,
            cards.identity_card,
            cards.membership_card,
            labels.carton,
            labels.jar_label,
            labels.medicine_box,
            labels.wine_label,
            papers.book_cover,
            papers.certificate,
            papers.invoice,
            papers.newspaper,
            papers.receipt,
            papers.ticket,
            signs.notice,
            signs.shop_sign,
            signs.station_board,
            signs.street_sign,
        )
    }
)


def layout_of(seed: int, split: str, family: int) -> str:
    """The kind of document of a family."""
    return tuple(LAYOUTS)[numpy_generator(seed, "textimage", split, "layout", family).integers(len(LAYOUTS))]


def draw_document(seed: int, split: str, label: int, *, family_size: int, pixels: int) -> Image.Image:
    """Document `label` of a split, its longer side `pixels` long: RGB.

    `family_size` consecutive labels are look-alikes: they share kind, palette, typefaces and fixed parts.
    The picture depends on these arguments alone.
    """
    family, member = divmod(label, family_size)
    shared = Words(numpy_generator(seed, "textimage", split, "family", family))
    own = Words(numpy_generator(seed, "textimage", split, "member", family, member))
    return LAYOUTS[layout_of(seed, split, family)](pixels / 100, shared, own, design(shared, own))
