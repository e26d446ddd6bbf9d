"""Claims that what is found on one network holds on another."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Literal, Self

from pydantic import Field, model_validator

from mlbench.plugin import (
    Cases,
    ClaimOptions,
    Effect,
    Evidence,
    Finding,
    OptionError,
    Values,
    numpy_generator,
)
from mlbench_claims.words import cases_text

if TYPE_CHECKING:
    import numpy as np

__all__ = ["Transfer"]

#: Draws of the means for the interval of a correlation.
_DRAWS = 4000

_Row = Annotated[tuple[Cases, ...], Field(min_length=3)]


class Transfer(ClaimOptions):
    """What variants gain on a small network predicts what they gain on a large one.

    ranking: the variants, the reference among them, correlate between both sizes. Two things are uncertain:
    the mean of each variant over seeds, and whether other variants would behave the same. The interval of
    the correlation is about the first; the claim holds where it excludes 0 and a permutation test
    over the variants rejects chance too. Four variants have only 24 orders, too few for the second at the 5 %
    level; five are needed.

    gains: every variant gains at least as much over the reference on the large network as on the small one,
    each tested by itself.

    Raises OptionError where both rows have different lengths, or the same case at the same place."""

    small: _Row
    """Cases of the small network: the reference first, then the variants."""
    large: _Row
    """The same of the large network, in the same order."""
    metric: str
    """A metric, or a speed, a peak of memory or a size."""
    of: Literal["ranking", "gains"] = "ranking"
    """What transfers: the ranking of the variants, or the size of each gain."""
    correlation: Literal["spearman", "kendall", "pearson"] = "spearman"
    """The correlation that decides on a ranking; the others are shown beside it."""
    within: Annotated[float, Field(ge=0)] = 0.0
    """How much smaller a gain may be on the large network and still count as large enough."""

    @model_validator(mode="after")
    def _has_equal_rows(self) -> Self:
        if len(self.small) != len(self.large):
            raise OptionError(
                f"transfer: small has {len(self.small)} cases and large {len(self.large)}; expected as many",
                "large",
            )
        for one, other in zip(self.small, self.large, strict=True):
            if one == other:
                raise OptionError(f"transfer: compares {cases_text(one)!r} with itself", "large")
        return self

    def compared(self) -> Sequence[Sequence[Cases]]:
        return [self.small, self.large]

    def quantities(self) -> Sequence[str]:
        return [self.metric]

    def judge(self, evidence: Evidence) -> Finding:
        values = evidence.values([*self.small, *self.large], self.metric)
        return self._gains(values) if self.of == "gains" else self._ranking(values)

    def _gains(self, values: Values) -> Finding:
        growth = [
            values.effect(
                self._weights(variant, small=-1.0, large=1.0),
                bound=-self.within,
                label=f"gain of {cases_text(self.large[variant])} less the small one's",
            )
            for variant in range(1, len(self.small))
        ]
        return Finding.of_all(growth, self._parts(values))

    def _ranking(self, values: Values) -> Finding:
        import numpy as np

        from mlbench_claims.correlations import least_tail

        samples = values.sign * np.array(values.matrix())
        effects = {
            name: self._correlation(samples, name, values) for name in ("spearman", "kendall", "pearson")
        }
        others = [effect for name, effect in effects.items() if name != self.correlation]
        count = len(self.small)
        note = f"{count} variants have too few orders for a verdict on their ranking; 5 are needed"
        return Finding.of(
            effects[self.correlation],
            (*others, *self._parts(values)),
            note if count < 5 else "",
            least=least_tail(count),
        )

    def _correlation(self, samples: np.ndarray, name: str, values: Values) -> Effect:
        """The correlation of the means, tested against 0. samples: (S, small and large)."""
        import numpy as np

        from mlbench_claims.correlations import CORRELATIONS, mean_draws, permutation_tails

        count = len(self.small)
        generator = numpy_generator(0, "transfer")
        means = samples.mean(axis=0)
        found = float(CORRELATIONS[name](means[:count], means[count:]))
        label = f"{name.capitalize()} correlation of {count} variants"
        tails = permutation_tails(means[:count], means[count:], name, generator)
        if values.kind == "exact":
            above, below = tails
            return Effect(label, found, found, found, support=above, refute=below, samples=1, kind="exact")
        if len(samples) < 2:
            return Effect(label, found, samples=len(samples), kind=values.kind)
        draws = mean_draws(samples, _DRAWS, generator)
        drawn = CORRELATIONS[name](draws[:, :count], draws[:, count:])
        low, high = np.quantile(drawn, [(1 - values.level) / 2, (1 + values.level) / 2])
        noise = [(np.count_nonzero(beyond) + 1) / (_DRAWS + 1) for beyond in (drawn <= 0, drawn >= 0)]
        support, refute = (float(max(pair)) for pair in zip(tails, noise, strict=True))
        return Effect(
            label,
            found,
            float(low),
            float(high),
            support=support,
            refute=refute,
            samples=len(samples),
            kind=values.kind,
        )

    def _parts(self, values: Values) -> list[Effect]:
        """The gains of every variant on both networks."""
        return [
            values.effect(
                self._weights(variant, small=small, large=large),
                label=f"{cases_text(row[variant])} against {cases_text(row[0])}",
            )
            for variant in range(1, len(self.small))
            for row, small, large in ((self.small, 1.0, 0.0), (self.large, 0.0, 1.0))
        ]

    def _weights(self, variant: int, *, small: float, large: float) -> list[float]:
        """Weights of the variant's gain over the reference on both networks."""
        place = [float(each == variant) - float(each == 0) for each in range(len(self.small))]
        return [*(small * each for each in place), *(large * each for each in place)]
