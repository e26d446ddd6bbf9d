"""Claims about weighted differences between cases: better, interaction, trend."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from pydantic import Field

from mlbench.plugin import Cases, ClaimOptions, Evidence, Finding
from mlbench_claims.words import cases_text

__all__ = ["Better", "Interaction", "Trend"]


class Better(ClaimOptions):
    """One case has a better value of a metric than another, by more than a minimum effect.

    Student's t test of the differences, paired by seed; of the logarithms of the ratios of the rounds, for a
    speed. With `by: 0` cases of equal metric stay inconclusive, however many seeds there are; with a positive
    `by` they refute the claim."""

    case: Cases
    """The case that is better, or labels on axes for several."""
    than: Cases
    """The case that it is better than, or labels on axes for several."""
    metric: str
    """A metric, or a speed, a peak of memory or a size."""
    by: float = 0.0
    """The minimum effect, in the metric's unit; for speeds, memory and sizes a share: 0.1 is 10 % faster, or
    that the other takes 10 % more."""

    def compared(self) -> Sequence[Sequence[Cases]]:
        return [[self.case, self.than]]

    def quantities(self) -> Sequence[str]:
        return [self.metric]

    def judge(self, evidence: Evidence) -> Finding:
        values = evidence.values([self.case, self.than], self.metric)
        weights = (1.0, -1.0)
        return Finding.of(
            values.effect(
                weights, bound=self.by, label=f"{cases_text(self.case)} against {cases_text(self.than)}"
            ),
            values.by_stratum(weights, bound=self.by),
        )


_Two = Annotated[tuple[Cases, Cases], Field(min_length=2, max_length=2)]


class Interaction(ClaimOptions):
    """The difference between two cases depends on a second factor: a 2 x 2 design.

    here: [A, B] and there: [A2, B2] are the same two choices, with the second factor at its two levels. With
    `flip` the claim is that A is better than B here and B2 better than A2 there, both by more than `by`; each
    must be shown for it. Without, it is that A's lead over B here exceeds A2's lead over B2 there by more
    than `by`."""

    here: _Two
    """[A, B]: the two cases at one level of the second factor."""
    there: _Two
    """[A2, B2]: the same two at the other level."""
    metric: str
    """A metric, or a speed, a peak of memory or a size."""
    by: float = 0.0
    """The minimum effect, in the metric's unit; for speeds, memory and sizes a share (0.1 is 10 %)."""
    flip: bool = True
    """Whether the claim is that the difference changes its sign."""

    def compared(self) -> Sequence[Sequence[Cases]]:
        return [[*self.here, *self.there]]

    def quantities(self) -> Sequence[str]:
        return [self.metric]

    def judge(self, evidence: Evidence) -> Finding:
        values = evidence.values([*self.here, *self.there], self.metric)
        (a, b), (a2, b2) = (tuple(map(cases_text, each)) for each in (self.here, self.there))
        contrast = (1.0, -1.0, -1.0, 1.0)
        bound = 0.0 if self.flip else self.by
        interaction = values.effect(contrast, bound=bound, label="interaction")
        if not self.flip:
            leads = (
                values.effect((1.0, -1.0, 0.0, 0.0), label=f"{a} against {b}"),
                values.effect((0.0, 0.0, 1.0, -1.0), label=f"{a2} against {b2}"),
            )
            return Finding.of(interaction, (*leads, *values.by_stratum(contrast, bound=bound)))
        leads = (
            values.effect((1.0, -1.0, 0.0, 0.0), bound=self.by, label=f"{a} against {b}"),
            values.effect((0.0, 0.0, -1.0, 1.0), bound=self.by, label=f"{b2} against {a2}"),
        )
        return Finding.of_all(leads, (interaction,))


class Trend(ClaimOptions):
    """A metric gets better along an ordered row of cases: the slope of a line through their values by place
    in the row, fitted in each seed, is above a minimum."""

    cases: Annotated[tuple[Cases, ...], Field(min_length=3)]
    """The cases in their order, at least three."""
    metric: str
    """A metric, or a speed, a peak of memory or a size."""
    by: float = 0.0
    """The minimum slope: gain of the metric from one case to the next, in its unit; for speeds, memory and
    sizes a share (0.1 is 10 %)."""

    def compared(self) -> Sequence[Sequence[Cases]]:
        return [self.cases]

    def quantities(self) -> Sequence[str]:
        return [self.metric]

    def judge(self, evidence: Evidence) -> Finding:
        values = evidence.values(self.cases, self.metric)
        count = len(self.cases)
        centred = [place - (count - 1) / 2 for place in range(count)]
        total = sum(place**2 for place in centred)
        slope = [place / total for place in centred]
        steps = [
            values.effect(
                [float(place == later) - float(place == later - 1) for place in range(count)],
                label=f"{cases_text(self.cases[later])} against {cases_text(self.cases[later - 1])}",
            )
            for later in range(1, count)
        ]
        effect = values.effect(slope, bound=self.by, label="gain from one case to the next")
        return Finding.of(effect, (*steps, *values.by_stratum(slope, bound=self.by)))
