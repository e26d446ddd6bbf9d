"""Claims: statements about the cases of a suite, and what the records of a run say about them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

__all__ = ["Cases", "Effect", "Finding"]

#: One case by its name, or every case with these labels on axes of the matrix, as {"neck.norm": "ln"}.
Cases = str | Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Effect:
    """One number that a claim is about, estimated over samples, and the test of it against a bound.

    value: the mean. low, high: its interval, None for a single sample. unit: that of the quantity; "%" for
    relative differences, where 0.1 is 10 %, and "x" for ratios. bound: the claim is that the number is above
    it; with at_most, that it is not. support: p-value whose smallness shows that it is: the probability of
    samples as clear as these or clearer if it were just not. refute: likewise that it is not. samples: number
    of them. kind: what a sample is; an exact quantity, such as a size, has one that is the same in every
    seed. spread: standard deviation of the samples, None where they have none. needed: number of seeds with
    which such an effect would be decided with 80 % probability; None where that is not known or more than
    1,000.
    """

    label: str
    value: float
    low: float | None = None
    high: float | None = None
    unit: str = ""
    bound: float = 0.0
    at_most: bool = False
    support: float = 1.0
    refute: float = 1.0
    samples: int = 0
    kind: Literal["seeds", "rounds", "exact"] = "seeds"
    spread: float | None = None
    needed: int | None = None


@dataclass(frozen=True, slots=True)
class Finding:
    """What records say about a claim.

    effect: the number that the verdict rests on most. support, refute: p-values, as of an `Effect`, of the
    claim as a whole. parts: further numbers, such as the effect in each stratum or each row of a table. note:
    what else is to be known, one line. least: the smallest p-value that any values of these cases could give,
    where it does not fall with the number of samples, as in a permutation test over few variants. It must not
    depend on the values. A claim that even this p-value would not decide is not counted among the claims for
    whose number p-values are corrected.
    """

    effect: Effect
    support: float
    refute: float
    parts: tuple[Effect, ...] = ()
    note: str = ""
    least: float = 0.0

    @classmethod
    def of(
        cls, effect: Effect, parts: Sequence[Effect] = (), note: str = "", *, least: float = 0.0
    ) -> Finding:
        """The claim that one effect makes."""
        return cls(effect, effect.support, effect.refute, tuple(parts), note, least)

    @classmethod
    def of_all(cls, effects: Sequence[Effect], parts: Sequence[Effect] = (), note: str = "") -> Finding:
        """The claim that every one of several effects holds.

        It is shown where each is (intersection-union test), and refuted where any is (Bonferroni). The effect
        with the least support stands for all."""
        weakest = max(effects, key=lambda effect: (effect.support, -effect.refute))
        refute = min(1.0, len(effects) * min(effect.refute for effect in effects))
        return cls(weakest, weakest.support, refute, (*effects, *parts), note)
