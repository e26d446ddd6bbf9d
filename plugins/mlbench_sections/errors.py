"""The worst wrong queries."""

from __future__ import annotations

import math
from typing import Annotated, Any, ClassVar

from pydantic import Field

from mlbench.plugin import CaseFindings, PageContext, Part, Section, SectionOptions
from mlbench_sections.detail import Made, by_case, picture, share

__all__ = ["Errors"]

#: Rows of a case, and of all cases together.
_MOST, _TOTAL = 50, 200

#: Rows of a case that are shown without a click.
_FIRST = 8


class Errors(SectionOptions):
    """Queries whose nearest image is of another class, the most wrong first, with their five nearest images
    and the nearest right one, which should have come first."""

    place: ClassVar[int] = 280

    rows: Annotated[int, Field(ge=1, le=200)] | None = None
    """Queries of a case at most; null for 50, and fewer where there are more than four cases in detail."""

    def build(self, context: PageContext) -> Section | None:
        rows = self.rows or share(context, _MOST, _TOTAL, 5)

        def part(case: str, found: CaseFindings) -> Made:
            details = found.details
            counted = int((details.rank > 0).sum())
            wrong = int((details.rank > 1).sum())
            shown = [_row(context, case, found, at) for at in range(min(rows, len(details.worst.query)))]
            if not counted:
                return None
            return {"counted": counted, "wrong": wrong, "rows": shown, "first": _FIRST}, {}

        section = by_case(context, "What it gets wrong", "errors", part)
        if section is None or not context.findings_note:
            return section
        note = Part('<p class="note">{{ note }}</p>', {"note": context.findings_note})
        return Section(section.title, (note, *section.parts))


def _row(context: PageContext, case: str, found: CaseFindings, at: int) -> dict[str, Any]:
    worst = found.details.worst
    nearest = [
        picture(context, case, int(image), similarity=float(similarity), same=bool(same))
        for image, similarity, same in zip(
            worst.nearest[at], worst.similarity[at], worst.same[at], strict=True
        )
        if image >= 0 and not math.isnan(similarity)
    ]
    target = int(worst.right[at])
    right = None
    if target >= 0:
        similarity = float(worst.right_similarity[at])
        right = picture(context, case, target, similarity=similarity, rank=int(worst.right_rank[at]))
    return {"query": picture(context, case, int(worst.query[at])), "nearest": nearest, "right": right}
