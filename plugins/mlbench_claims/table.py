"""Claims that published numbers are reproduced."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Self

from pydantic import Field, model_validator

from mlbench.plugin import Cases, ClaimOptions, Evidence, Finding, OptionError, hint

__all__ = ["Published"]


class Published(ClaimOptions):
    """Published numbers beside ours, row by row: each of ours is within the tolerance of the published one.

    Every number is tested from both sides (two one-sided tests). The claim is supported where all are
    within their tolerance, and refuted where any is outside of it.

    Raises OptionError for a quantity without a tolerance."""

    rows: Annotated[Mapping[str, Annotated[Mapping[str, float], Field(min_length=1)]], Field(min_length=1)]
    """For each case the published numbers by quantity, such as {flatten: {recall_at_1: 0.9}}."""
    within: Annotated[Mapping[str, Annotated[float, Field(ge=0)]], Field(min_length=1)]
    """For each quantity the largest difference that the source allows, in the quantity's unit."""

    @model_validator(mode="after")
    def _has_tolerances(self) -> Self:
        for name in self.quantities():
            if name not in self.within:
                raise OptionError(f"table: no tolerance for {name!r} ({hint(name, self.within)})", "within")
        return self

    def compared(self) -> Sequence[Sequence[Cases]]:
        # Each is compared with its own published number, and not with another.
        return [[case] for case in self.rows]

    def quantities(self) -> Sequence[str]:
        return list(dict.fromkeys(name for row in self.rows.values() for name in row))

    def judge(self, evidence: Evidence) -> Finding:
        effects = []
        for case, row in self.rows.items():
            for name, published in row.items():
                values = evidence.values([case], name)
                within = self.within[name] + 1e-9 * abs(published)
                label = f"{case} {name} (published {published:g})"
                # Of the two sides the one that is nearer to its limit decides.
                sides = (
                    values.level_of(0, bound=published - within, label=label),
                    values.level_of(0, bound=published + within, at_most=True, label=label),
                )
                effects.append(max(sides, key=lambda side: (side.support, -side.refute)))
        return Finding.of_all(effects)
