"""Evaluation: metrics and threshold policies."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol, runtime_checkable

if TYPE_CHECKING:
    import numpy as np

    from mlbench.evaluation.curve import Curve
    from mlbench.evaluation.embeddings import Embeddings
    from mlbench.evaluation.ranks import Ranks

__all__ = ["CurveMetric", "EmbeddingMetric", "Quantity", "RankMetric", "Target", "ThresholdPolicy"]


@dataclass(frozen=True, slots=True)
class Quantity:
    """A named value in a record: what it is, its unit, and which direction is better (None: neither)."""

    summary: str
    unit: str = ""
    higher_is_better: bool | None = True


@runtime_checkable
class RankMetric(Protocol):
    """A metric of every query's ranking. Its values are means over queries; by class and with an interval
    they come of themselves."""

    def per_query(self, ranks: Ranks) -> Mapping[str, np.ndarray]:
        """Name to (Q,) float. Called with some queries at a time when memory is short."""
        ...


@runtime_checkable
class CurveMetric(Protocol):
    """A metric of the verification curve over all pairs."""

    def of_curve(self, curve: Curve, threshold: float | None) -> Mapping[str, np.ndarray | float | str]:
        """Name to value; a text says why there is no value.

        threshold: the cosine similarity that the threshold policy found on the calibration split, None where
        it found none. The curve may have leading axes, one curve a resample, from which the interval comes:
        values have those axes then.
        """
        ...


@runtime_checkable
class EmbeddingMetric(Protocol):
    """A metric of the embeddings themselves; it has no interval."""

    def of_embeddings(self, embeddings: Embeddings) -> Mapping[str, float | str]:
        """Name to value; a text says why there is no value."""
        ...


@dataclass(frozen=True, slots=True)
class Target:
    """What a threshold policy aims at: that a quantity of the curve (the name of a property of `Curve`) is at
    least `value`, or at most where `at_most`."""

    quantity: Literal["precision", "tpr", "fpr", "accuracy"]
    value: float
    at_most: bool = False

    def met(self, value: float) -> bool:
        """Whether this value of the quantity is what was aimed at."""
        return value <= self.value if self.at_most else value >= self.value


class ThresholdPolicy(Protocol):
    """Chooses the threshold to deploy.

    A policy may have an attribute `target`, a `Target`, so that a run says where other pairs miss it, and an
    attribute `notes`, a sequence of lines on its options.
    """

    def __call__(self, curve: Curve | None) -> float:
        """The cosine similarity, in [-1, 1], at and above which two images are the same.

        curve: of the calibration split, None where there is none. Called again for resamples of it, whose
        counts need not be whole numbers, to find out how sure the threshold is. Raises ThresholdError when no
        threshold does what is asked, with what the curve can reach.
        """
        ...
