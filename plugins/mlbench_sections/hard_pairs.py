"""Hard pairs: images that the embeddings place too far apart, or too near."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Any, ClassVar

from pydantic import Field

from mlbench.plugin import CaseFindings, PageContext, Section, SectionOptions
from mlbench_sections.detail import Made, by_case, picture, share

__all__ = ["HardPairs", "pair_rows"]

#: Pairs of each kind of all cases together.
_TOTAL = 72


class HardPairs(SectionOptions):
    """The hardest positives, pairs of one class with the lowest similarity, and the hardest negatives, pairs
    of different classes with the highest. Wrong labels are among them."""

    place: ClassVar[int] = 450

    pairs: Annotated[int, Field(ge=1, le=100)] = 18
    """Pairs of each kind of a case at most; fewer where there are many cases."""

    def build(self, context: PageContext) -> Section | None:
        count = share(context, self.pairs, _TOTAL, 3)

        def part(case: str, found: CaseFindings) -> Made:
            hardest = (found.details.hardest_positives, found.details.hardest_negatives)
            positives, negatives = (
                pair_rows(context, case, pairs, range(min(count, len(pairs)))) for pairs in hardest
            )
            if not positives and not negatives:
                return None
            fitted = found.details.sweep.fitted
            limit = None if fitted is None else 1 - fitted
            return {"positives": positives, "negatives": negatives, "limit": limit}, {}

        return by_case(context, "Hard pairs", "hard_pairs", part)


def pair_rows(context: PageContext, case: str, pairs: Any, places: Iterable[int]) -> list[dict[str, Any]]:
    """Pairs for a template, by their places: both images, their similarity, and whether they are of one
    class."""
    return [
        {
            "a": picture(context, case, int(pairs.a[at])),
            "b": picture(context, case, int(pairs.b[at])),
            "similarity": float(pairs.similarity[at]),
            "same": bool(pairs.same[at]),
        }
        for at in places
    ]
