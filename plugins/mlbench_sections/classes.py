"""Classes: which ones are found, and which are taken for others."""

from __future__ import annotations

import math
from typing import Annotated, Any, ClassVar

from pydantic import Field

from mlbench.plugin import CaseFindings, PageContext, Section, SectionOptions
from mlbench_sections.detail import Made, by_case, share

__all__ = ["Classes"]

#: Rows of all cases together.
_TOTAL = 800


class Classes(SectionOptions):
    """Classes ranked by their own Recall@1 and F1, the worst first, and the pairs of classes that are
    confused most often."""

    place: ClassVar[int] = 500

    classes: Annotated[int, Field(ge=1)] = 200
    """Classes of a case at most, the worst ones; fewer where there are many cases."""
    confusions: Annotated[int, Field(ge=1, le=100)] = 25
    """Confused pairs of classes of a case at most."""

    def build(self, context: PageContext) -> Section | None:
        most = share(context, self.classes, _TOTAL, 20)

        def part(case: str, found: CaseFindings) -> Made:
            classes, confused = found.details.classes, found.details.confused
            rows = [
                {
                    "name": classes.names[at],
                    "images": int(classes.images[at]),
                    "recall": _number(classes.recall_at_1[at]),
                    "f1": _number(classes.f1[at]),
                }
                for at in range(len(classes))
            ]
            rows.sort(
                key=lambda row: tuple(math.inf if row[key] is None else row[key] for key in ("recall", "f1"))
            )
            if not rows:
                return None
            pairs = [
                (classes.names[int(a)], classes.names[int(b)], int(count))
                for a, b, count in zip(confused.a, confused.b, confused.count, strict=True)
            ]
            values: dict[str, Any] = {
                "rows": rows[:most],
                "left_out": max(0, len(rows) - most),
                "confused": pairs[: self.confusions],
                "table": f"classes-{list(context.findings).index(case)}",
            }
            return values, {}

        return by_case(context, "Classes", "classes", part)


def _number(value: float) -> float | None:
    return None if math.isnan(value) else float(value)
