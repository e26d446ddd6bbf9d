"""Near duplicates: images that the embeddings cannot tell apart."""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import Field

from mlbench.plugin import CaseFindings, PageContext, Section, SectionOptions
from mlbench_sections.detail import Made, by_case, share
from mlbench_sections.hard_pairs import pair_rows

__all__ = ["Duplicates"]

#: Pairs of all cases together.
_TOTAL = 80


class Duplicates(SectionOptions):
    """The pairs of test images with a similarity of at least 0.98. Copies make a test easier than it looks;
    those in two classes are wrong labels, or classes that nothing can tell apart."""

    place: ClassVar[int] = 550

    pairs: Annotated[int, Field(ge=1, le=200)] = 16
    """Pairs of a case at most; fewer where there are many cases."""

    def build(self, context: PageContext) -> Section | None:
        count = share(context, self.pairs, _TOTAL, 4)

        def part(case: str, found: CaseFindings) -> Made:
            near = found.details.near
            places = sorted(range(len(near)), key=lambda at: bool(near.same[at]))[:count]
            across = len(near) - int(near.same.sum())
            rows = pair_rows(context, case, near, places)
            return {"total": int(near.total), "rows": rows, "known": len(near), "across": across}, {}

        return by_case(context, "Near duplicates", "duplicates", part)
