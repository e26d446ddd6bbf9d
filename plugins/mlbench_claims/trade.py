"""Claims about a metric at a cost."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Self

from pydantic import Field, model_validator

from mlbench.plugin import MEASURED, Cases, ClaimOptions, Effect, Evidence, Finding, OptionError, hint

__all__ = ["Trade"]

#: A share by which a cost may exceed its limit through rounding.
_ROUNDING = 1e-9


class Trade(ClaimOptions):
    """A case reaches a metric, and costs at most so much: in bytes, parameters, milliseconds or memory.

    Alone, all numbers are absolute. Beside another case (`than`) at_least is the difference to its metric
    (-0.02: it loses at most .02) and at_most the ratios to its costs (0.5: at most half). The claim holds
    where the metric and every cost hold.

    Raises OptionError without any limit, for at_least without a metric, and for a cost that is a metric."""

    case: Cases
    """The case, or labels on axes for several."""
    than: Cases | None = None
    """The case that it is compared with; null for absolute numbers."""
    metric: str = ""
    """The metric; empty where only costs are compared."""
    at_least: float | None = None
    """The least value of the metric (the largest, where less is better), or the least difference to that of
    `than`, positive where it is better."""
    at_most: Mapping[str, Annotated[float, Field(gt=0)]] = {}
    """The largest value, or ratio to that of `than`, of each cost, such as {bytes: 3e6}."""

    @model_validator(mode="after")
    def _has_limits(self) -> Self:
        if (self.at_least is None) != (not self.metric):
            raise OptionError("trade: metric and at_least belong together; give both, or neither", "metric")
        if self.at_least is None and not self.at_most:
            raise OptionError("trade: nothing is claimed; give metric and at_least, or at_most", "at_most")
        for name in self.at_most:
            if name not in MEASURED:
                expected = f"expected speeds, memory and sizes ({hint(name, MEASURED)})"
                raise OptionError(f"trade: {name!r} is no cost; {expected}", "at_most")
        return self

    def compared(self) -> Sequence[Sequence[Cases]]:
        return [self._cases()]

    def quantities(self) -> Sequence[str]:
        return [*filter(None, [self.metric]), *self.at_most]

    def judge(self, evidence: Evidence) -> Finding:
        return Finding.of_all(list(self._effects(evidence)))

    def _cases(self) -> list[Cases]:
        return [self.case] if self.than is None else [self.case, self.than]

    def _effects(self, evidence: Evidence) -> Iterator[Effect]:
        cases = self._cases()
        if self.at_least is not None:
            values = evidence.values(cases, self.metric)
            if self.than is None:
                # Of a metric of which less is better, such as an error rate, at least as good is at most.
                yield values.level_of(0, bound=self.at_least, at_most=values.sign < 0, label=self.metric)
            else:
                yield values.effect((1.0, -1.0), bound=self.at_least, label=self.metric)
        for name, most in self.at_most.items():
            values = evidence.values(cases, name)
            limit = most * (1 + _ROUNDING)
            if self.than is None:
                yield values.level_of(0, bound=limit, at_most=True, label=name)
            else:
                yield values.ratio(bound=limit, label=name)
