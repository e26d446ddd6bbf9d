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
    """Description of a named value: summary, unit, and the better direction (None: neither)."""

    summary: str
    unit: str = ""
    higher_is_better: bool | None = True


@runtime_checkable
class RankMetric(Protocol):
    """A metric of each query's ranking. mlbench computes means over queries, means by class and intervals."""

    def per_query(self, ranks: Ranks) -> Mapping[str, np.ndarray]:
        """Name to (Q,) float. May be called with a part of the queries at a time."""
        ...


@runtime_checkable
class CurveMetric(Protocol):
    """A metric of the verification curve over all pairs."""

    def of_curve(self, curve: Curve, threshold: float | None) -> Mapping[str, np.ndarray | float | str]:
        """Name to value, or to a text with the reason why there is no value.

        threshold: cosine similarity that the threshold policy found on the calibration split, None where it
        found none. For intervals the curve has a leading axis with one curve for each resample; values then
        have that axis too."""
        ...


@runtime_checkable
class EmbeddingMetric(Protocol):
    """A metric of the embeddings themselves, without an interval."""

    def of_embeddings(self, embeddings: Embeddings) -> Mapping[str, float | str]:
        """Name to value, or to a text with the reason why there is no value."""
        ...


@dataclass(frozen=True, slots=True)
class Target:
    """Target of a threshold policy: a property of `Curve` shall be at least `value`, or at most where
    `at_most`."""

    quantity: Literal["precision", "tpr", "fpr", "accuracy"]
    value: float
    at_most: bool = False

    def met(self, value: float) -> bool:
        """Whether this value of the quantity meets the target."""
        return value <= self.value if self.at_most else value >= self.value


class ThresholdPolicy(Protocol):
    """Chooses the threshold to deploy.

    A policy may have an attribute `target`, a `Target`: a run then reports where the test pairs miss it. It
    may have an attribute `notes`, lines with warnings about its options."""

    def __call__(self, curve: Curve | None) -> float:
        """The cosine similarity in [-1, 1] at and above which two images are accepted as the same.

        curve: of the calibration split, None where there is none. Called again with resamples of the curve,
        whose counts need not be whole numbers, for the interval of the threshold. Raises ThresholdError when
        no threshold fits, with the nearest value that the curve reaches."""
        ...
